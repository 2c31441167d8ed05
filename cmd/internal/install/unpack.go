package install

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"pybuild/build/run"
	"pybuild/build/unpack"
	"pybuild/fetch"
)

// UnpackCommand is the command of the program that unpacks for [Installer.unpack], as another user; its arguments are the archive and
// an empty directory. It is for the program itself.
const UnpackCommand = "unpack-archive"

// unpack unpacks the archive into the workspace and returns the source tree. Where somebody else builds, the program runs itself as
// that user: an archive is a stranger's, however well it is signed.
func (in *Installer) unpack(ctx context.Context, tarball *fetch.File, w *workspace, b *builder, progress func(done, total int64)) (source string, err error) {
	if b == nil {
		return unpackFile(ctx, tarball.Path, w.source, progress)
	}
	// Neither the cache nor the program need be where the builder can see them.
	archive, program := filepath.Join(w.dir, tarball.Artifact.Name), filepath.Join(w.dir, "pybuild")
	if err := errors.Join(copyFile(archive, tarball.Path, 0o644), copyFile(program, "/proc/self/exe", 0o755)); err != nil {
		return "", &DirectoryError{Purpose: "build", Dir: w.dir, Err: err}
	}
	listener := &unpacking{progress: progress}
	err = run.Run(ctx, run.Command{
		Argv: []string{program, UnpackCommand, archive, w.source}, Dir: w.source, Env: []string{"HOME=" + w.home, "TMPDIR=" + w.home},
		Stdout: listener, Log: &listener.log, Confine: b.confine([]string{w.source, w.home}, w.dir),
	})
	switch {
	case ctx.Err() != nil:
		return "", err
	case listener.said.Refused != nil:
		listener.said.Refused.Archive = tarball.Path
		return "", listener.said.Refused
	case listener.said.Errno != 0:
		return "", fmt.Errorf("unpacking %s: %w", tarball.Path, &UnpackError{Text: listener.said.Error, Err: listener.said.Errno})
	case listener.said.Error != "":
		return "", fmt.Errorf("unpacking %s: %s", tarball.Path, listener.said.Error)
	case err != nil:
		return "", fmt.Errorf("unpacking %s: %w: %s", tarball.Path, err, bytes.TrimSpace(listener.log.Bytes()))
	}
	if filepath.Dir(listener.said.Source) != w.source {
		return "", fmt.Errorf("unpacking %s: the source is said to be in %s", tarball.Path, listener.said.Source)
	}
	return listener.said.Source, errors.Join(os.Remove(archive), os.Remove(program))
}

// UnpackError is what the operating system refused to another user.
type UnpackError struct {
	Text string
	Err  syscall.Errno
}

func (e *UnpackError) Error() string { return e.Text }
func (e *UnpackError) Unwrap() error { return e.Err }

func unpackFile(ctx context.Context, name, dir string, progress func(done, total int64)) (source string, err error) {
	archive, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("unpacking: %w", err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	return unpack.Tar(ctx, archive, dir, unpack.Limits{}, progress)
}

// unpacked is what the other user has to say, a JSON object a line.
type unpacked struct {
	Done, Total int64
	Source      string
	Refused     *unpack.RefusedError
	Errno       syscall.Errno
	Error       string
}

// unpacking listens.
type unpacking struct {
	progress func(done, total int64)
	line     []byte
	said     unpacked
	log      bytes.Buffer
}

func (u *unpacking) Write(p []byte) (int, error) {
	u.line = append(u.line, p...)
	for {
		line, rest, ok := bytes.Cut(u.line, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		u.line = rest
		var said unpacked
		if err := json.Unmarshal(line, &said); err != nil {
			return 0, err
		}
		if u.said = said; said.Total > 0 {
			u.progress(said.Done, said.Total)
		}
	}
}

// Unpack is what [UnpackCommand] does: it unpacks, and tells say how it goes.
func Unpack(ctx context.Context, archive, dir string, say func(any) error) error {
	source, err := unpackFile(ctx, archive, dir, func(done, total int64) { _ = say(unpacked{Done: done, Total: total}) })
	last := unpacked{Source: source}
	if err != nil {
		last.Error = err.Error()
		last.Refused, _ = errors.AsType[*unpack.RefusedError](err)
		last.Errno, _ = errors.AsType[syscall.Errno](err)
	}
	return say(last)
}
