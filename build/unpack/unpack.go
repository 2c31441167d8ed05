// Package unpack turns a source archive, a tar compressed with xz or gzip, into a directory tree.
//
// It promises that nothing is created outside the directory it was given, whatever the archive says: everything goes
// through an [os.Root], and an archive that asks for more than plain files, directories and inner symbolic links below one
// top directory is refused, not repaired. The first odd entry stops the work with a [RefusedError] that names it.
//
// What is kept of an entry: its name, its contents, the owner's executable bit (0755 or 0644, directories 0755, whatever
// the umask), and the modification time of files and directories, because make compares them. Owners, the other mode bits
// and extended attributes are dropped.
//
// Decoding runs ahead of writing, in a goroutine that ends before [Tar] returns. Memory does not grow with the contents of
// the archive: about 5 MiB of buffers; the dictionary of an xz block, 8 MiB in Python's archives and at most 64 MiB, and
// that of the block before until it is collected; a few bytes a block; and the names of the entries, at most 1 KiB each.
//
// It does not know what is in the archive, where it came from, or whether it was verified. It does not clean up: after an
// error the caller removes the directory.
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// What a zero field of [Limits] stands for. A release of CPython has about 110 MB and 5000 entries.
const (
	DefaultBytes   = 2 << 30
	DefaultEntries = 100_000
)

// Limits bounds what an archive may unpack to. A zero field means its default.
type Limits struct {
	Bytes   int64 // of the decompressed archive, headers and padding included
	Entries int   // files, directories and links created, directories without an entry of their own included
}

// A RefusedError says why an archive was not unpacked to its end: it is damaged, or it asks for something that a source
// archive has no need of.
type RefusedError struct {
	Archive string // name of the archive, as it was opened
	Entry   string // the entry at fault, as the archive spells it; empty when it is the archive as a whole
	Reason  string // a predicate: "is a hard link", "is truncated"
}

func (e *RefusedError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("%s %s", e.Archive, e.Reason)
	}
	return fmt.Sprintf("%s: entry %q %s", e.Archive, e.Entry, e.Reason)
}

// Tar unpacks archive into dir, an existing empty directory, and returns the path of the archive's single top directory,
// which is below dir. The archive is read from start to end, whatever its file offset, which stays as it is. How it is
// compressed is told by its first bytes, not by its name.
//
// Now and then Tar calls progress, which may be nil, with the compressed bytes read so far and their total. It does so on
// the caller's goroutine.
//
// The error is a *[RefusedError] when the archive is at fault, wraps ctx.Err() after a cancellation, and wraps the
// operating system's error otherwise. After an error dir holds what came before the fault.
func Tar(ctx context.Context, archive *os.File, dir string, limits Limits, progress func(done, total int64)) (top string, err error) {
	if limits.Bytes == 0 {
		limits.Bytes = DefaultBytes
	}
	if limits.Entries == 0 {
		limits.Entries = DefaultEntries
	}
	if progress == nil {
		progress = func(done, total int64) {}
	}
	top, err = unpack(ctx, archive, dir, limits, progress)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		refused.Archive = archive.Name()
		return "", err
	}
	if err != nil {
		return "", fmt.Errorf("unpacking %s: %w", archive.Name(), err)
	}
	return filepath.Join(dir, top), nil
}

// unpack is Tar with everything filled in. It returns the name of the top directory.
func unpack(ctx context.Context, archive *os.File, dir string, limits Limits, progress func(done, total int64)) (top string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := checkEmpty(root); err != nil {
		return "", err
	}

	s, err := newStream(ctx, archive, limits.Bytes, progress)
	if err != nil {
		return "", err
	}
	defer s.close()

	t := newTree(root, limits.Entries)
	if err := extract(ctx, s, t); err != nil {
		return "", err
	}
	return t.top, t.finish()
}

// checkEmpty fails unless root is an empty directory: what lies there already would pass for the archive's.
func checkEmpty(root *os.Root) (err error) {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	switch _, err := d.Readdirnames(1); err {
	case io.EOF:
		return nil
	case nil:
		return &os.PathError{Op: "unpack", Path: root.Name(), Err: syscall.ENOTEMPTY}
	default:
		return err
	}
}

// extract adds the entries of s to t, and sees to it that s holds nothing else.
func extract(ctx context.Context, s *stream, t *tree) error {
	r := tar.NewReader(s)
	header := "does not hold a tar archive"
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if err == io.EOF && !s.ended {
			break // met the two zero blocks that end a tar, not just the end of the stream
		}
		// GODEBUG can make the reader say that a name is insecure. The tree says so anyway, and says why.
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return s.explain("", header)
		}
		header = fmt.Sprintf("has an invalid header after %q", h.Name)

		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // git archive notes the commit in one; nothing in it matters here
		}
		if h.Size > s.left {
			return &RefusedError{Entry: h.Name, Reason: overLimit(s.limit)}
		}
		if err := t.add(h, r); err != nil {
			if s.ended { // so it was reading that failed, not writing
				return s.explain(h.Name, "")
			}
			return err
		}
	}
	if t.top == "" {
		return &RefusedError{Reason: "holds no entries"}
	}
	return s.drain()
}
