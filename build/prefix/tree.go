package prefix

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// The types of an [Entry].
const (
	typeFile = "file"
	typeDir  = "dir"
	typeLink = "link"

	typeOther = "other" // only of an [Aside]
)

// An Entry describes one path of a tree.
type Entry struct {
	Path   string `json:"path"`             // relative to the tree, with slashes
	Type   string `json:"type"`             // "file", "dir" or "link"
	Mode   string `json:"mode"`             // four octal digits, set-id and sticky bits included: "0644"
	Size   int64  `json:"size"`             // of a file, in bytes; else 0
	SHA256 string `json:"sha256,omitempty"` // of a file, 64 lower-case hexadecimal digits
	Target string `json:"target,omitempty"` // of a link, as it is written in it
}

// A TreeError reports a tree that cannot be recorded, or a stage that is not what its manifest says.
type TreeError struct {
	Dir    string
	Path   string // relative to Dir
	Reason string // a predicate: "is a named pipe"
}

func (e *TreeError) Error() string { return fmt.Sprintf("%s: %q %s", e.Dir, e.Path, e.Reason) }

// Scan describes everything below dir, but not dir itself, sorted by path. Links are described, not followed. The error is a
// *[TreeError] for anything that is not a file, a directory or a link, and for a name that is not UTF-8.
func Scan(dir string) (entries []Entry, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("scanning: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	entries, err = list(root)
	if err != nil {
		return nil, err
	}
	err = each(len(entries), func(i int) error {
		e := &entries[i]
		if e.Type != typeFile {
			return nil
		}
		sum, size, err := digest(root, e.Path)
		if err == nil && size != e.Size {
			err = &TreeError{Dir: dir, Path: e.Path, Reason: "changed while it was read"}
		}
		e.SHA256 = sum
		return err
	})
	if err != nil {
		return nil, err
	}
	return entries, nil
}

// list is [Scan] without the digests.
func list(root *os.Root) (entries []Entry, err error) {
	err = fs.WalkDir(root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		info, err := root.Lstat(path)
		if err != nil {
			return err
		}
		e := Entry{Path: path, Type: typeOf(info.Mode()), Mode: octal(info.Mode())}
		switch e.Type {
		case typeFile:
			e.Size = info.Size()
		case typeLink:
			if e.Target, err = root.Readlink(path); err != nil {
				return err
			}
		case typeDir:
		default:
			return &TreeError{Dir: root.Name(), Path: path, Reason: "is neither a file, a directory nor a link"}
		}
		if !utf8.ValidString(path) || !utf8.ValidString(e.Target) {
			return &TreeError{Dir: root.Name(), Path: path, Reason: "has a name or target that is not UTF-8"}
		}
		entries = append(entries, e)
		return nil
	})
	if _, ok := errors.AsType[*TreeError](err); err != nil && !ok {
		err = fmt.Errorf("scanning %s: %w", root.Name(), err)
	}
	// WalkDir sorts within a directory, where "a-b" comes before "a", whose children are "a/…".
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries, err
}

// digest returns the SHA-256 of a file, in hexadecimal, and how many bytes it is of.
func digest(root *os.Root, name string) (sum string, size int64, err error) {
	f, err := root.Open(name)
	if err != nil {
		return "", 0, fmt.Errorf("scanning %s: %w", root.Name(), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	if err != nil {
		return "", 0, fmt.Errorf("scanning: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// each calls do for 0 to n-1 from as many goroutines as there are processors. After an error no more calls begin; of several
// errors the one with the lowest index is returned.
func each(n int, do func(i int) error) error {
	var (
		next, failed atomic.Int64
		workers      sync.WaitGroup
		errs         = make([]error, n)
	)
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for failed.Load() == 0 {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if errs[i] = do(i); errs[i] != nil {
					failed.Add(1)
				}
			}
		})
	}
	workers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A Difference is one way in which a path on disk is not what the manifest says.
type Difference struct {
	Path string `json:"path"`
	// What is "missing"; "type", it is something else; "size" or "changed", contents or target differ; "mode"; or "shared", only
	// from [Prefix.Uninstall]: another Python's manifest lists it too.
	What string `json:"what"`
}

// Quick compares type, size and mode of every path of the manifest with what is below dir. It opens no file. The differences
// are in the order of the paths; a path may have two, one of them "mode".
func (m *Manifest) Quick(dir string) ([]Difference, error) { return m.differences(dir, false) }

// Compare is [Manifest.Quick] that also compares the digests of files and the targets of links.
func (m *Manifest) Compare(dir string) ([]Difference, error) { return m.differences(dir, true) }

func (m *Manifest) differences(dir string, contents bool) (found []Difference, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("comparing: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	lists := make([][]Difference, len(m.Paths))
	err = each(len(m.Paths), func(i int) (err error) {
		lists[i], err = differ(root, m.Paths[i], contents)
		return err
	})
	if err != nil {
		return nil, err
	}
	return slices.Concat(lists...), nil
}

// differ compares one entry with what is on disk.
func differ(root *os.Root, e Entry, contents bool) (found []Difference, err error) {
	is := func(what string) { found = append(found, Difference{Path: e.Path, What: what}) }
	info, err := root.Lstat(e.Path)
	switch {
	case err != nil && (absent(err) || escapes(err)):
		is("missing")
		return found, nil
	case err != nil:
		return nil, fmt.Errorf("comparing %s: %w", root.Name(), err)
	case typeOf(info.Mode()) != e.Type:
		is("type")
		return found, nil
	}
	switch {
	case e.Type == typeFile && info.Size() != e.Size:
		is("size")
	case e.Type == typeFile && contents:
		sum, _, err := digest(root, e.Path)
		if err != nil {
			return nil, err
		}
		if sum != e.SHA256 {
			is("changed")
		}
	case e.Type == typeLink && contents:
		target, err := root.Readlink(e.Path)
		if err != nil {
			return nil, fmt.Errorf("comparing %s: %w", root.Name(), err)
		}
		if target != e.Target {
			is("changed")
		}
	}
	if e.Type != typeLink && octal(info.Mode()) != e.Mode { // the mode of a link means nothing
		is("mode")
	}
	return found, nil
}

// typeOf returns the type of an entry, or "" for one that no entry can have.
func typeOf(mode fs.FileMode) string {
	switch mode.Type() {
	case 0:
		return typeFile
	case fs.ModeDir:
		return typeDir
	case fs.ModeSymlink:
		return typeLink
	}
	return ""
}

// special pairs the bits above the permissions as Go and as Unix has them.
var special = [...]struct {
	mode fs.FileMode
	bits uint64
}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}}

// bits is the part of a mode that an [Entry] records.
const bits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// octal returns the mode of an [Entry].
func octal(mode fs.FileMode) string {
	n := uint64(mode.Perm())
	for _, s := range special {
		if mode&s.mode != 0 {
			n |= s.bits
		}
	}
	return fmt.Sprintf("%04o", n)
}

// parseMode is the inverse of octal.
func parseMode(s string) (mode fs.FileMode, ok bool) {
	n, err := strconv.ParseUint(s, 8, 12)
	if err != nil || len(s) != 4 {
		return 0, false
	}
	mode = fs.FileMode(n) & fs.ModePerm
	for _, s := range special {
		if n&s.bits != 0 {
			mode |= s.mode
		}
	}
	return mode, true
}
