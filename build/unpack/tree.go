package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name of an entry, in bytes. It bounds the memory that names take, and the depth of the tree.
const maxName = 1024

// A tree is what has been unpacked so far.
type tree struct {
	root  *os.Root
	limit int             // of nodes
	nodes map[string]kind // by clean name
	top   string          // the node above all others; empty before the first entry
	dirs  []dir           // those that had an entry
	buf   []byte          // for copying
}

// A dir is to have a modification time once nothing is added to it any more.
type dir struct {
	name  string
	mtime time.Time
}

func newTree(root *os.Root, limit int) *tree {
	return &tree{root: root, limit: limit, nodes: make(map[string]kind), buf: make([]byte, 128<<10)}
}

// A kind is what a name stands for.
type kind uint8

const (
	absent    kind = iota
	implied        // a directory that other entries are in, but that had none itself
	directory      // a directory that had an entry
	file
	symlink
)

func (k kind) String() string {
	switch k {
	case implied, directory:
		return "directory"
	case file:
		return "file"
	case symlink:
		return "symbolic link"
	}
	return "nothing"
}

// add creates what h describes, a file with the contents r. A refused entry leaves nothing behind, unless it is r that
// fails.
func (t *tree) add(h *tar.Header, r io.Reader) error {
	k, reason := kindOf(h)
	if reason != "" {
		return &RefusedError{Entry: h.Name, Reason: reason}
	}
	name, reason := cleanName(h.Name, k)
	if reason == "" {
		reason = t.check(name, k)
	}
	if reason == "" && k == symlink {
		reason = checkTarget(name, h.Linkname)
	}
	if reason != "" {
		return &RefusedError{Entry: h.Name, Reason: reason}
	}

	t.top, _, _ = strings.Cut(name, "/")
	for parent := range parents(name) {
		if t.nodes[parent] == absent {
			if err := t.mkdir(parent); err != nil {
				return err
			}
			t.nodes[parent] = implied
		}
	}
	was := t.nodes[name]
	t.nodes[name] = k
	switch k {
	case directory:
		t.dirs = append(t.dirs, dir{name, h.ModTime})
		if was == implied {
			return nil
		}
		return t.mkdir(name)
	case symlink:
		return t.root.Symlink(h.Linkname, name)
	default:
		return t.create(name, h, r)
	}
}

// finish sets the times of the directories.
func (t *tree) finish() error {
	for _, d := range t.dirs {
		if err := t.root.Chtimes(d.name, time.Time{}, d.mtime); err != nil {
			return err
		}
	}
	return nil
}

// mkdir creates a directory with all its permissions, which the umask might take away.
func (t *tree) mkdir(name string) error {
	if err := t.root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return t.root.Chmod(name, 0o755)
}

// create writes the file that h describes.
func (t *tree) create(name string, h *tar.Header, r io.Reader) error {
	f, err := t.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if h.Mode&0o100 != 0 {
		mode = 0o755
	}
	err = f.Chmod(mode)
	if err == nil {
		_, err = io.CopyBuffer(struct{ io.Writer }{f}, r, t.buf) // a bare file would not use the buffer
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.root.Chtimes(name, time.Time{}, h.ModTime)
}

// check returns the reason, if any, why there can be no node of kind k with that name.
func (t *tree) check(name string, k kind) (reason string) {
	top, _, below := strings.Cut(name, "/")
	if t.top == "" && !below && k != directory {
		return "is not in a top directory"
	}
	if t.top != "" && t.top != top {
		return fmt.Sprintf("is not in the top directory %q", t.top)
	}

	nodes := len(t.nodes)
	for parent := range parents(name) {
		switch was := t.nodes[parent]; was {
		case absent:
			nodes++
		case file, symlink:
			return fmt.Sprintf("lies below the %s %q", was, parent)
		}
	}
	switch was := t.nodes[name]; {
	case was == absent:
		nodes++
	case was == implied && k == directory:
	default:
		return fmt.Sprintf("has the name of an earlier %s", was)
	}
	if nodes > t.limit {
		return fmt.Sprintf("goes over the limit of %d entries", t.limit)
	}
	return ""
}

// parents yields the directories that name is in, outermost first.
func parents(name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := range len(name) {
			if name[i] == '/' && !yield(name[:i]) {
				return
			}
		}
	}
}

// kindOf returns the kind of node that h describes, or the reason why there is none.
func kindOf(h *tar.Header) (k kind, reason string) {
	switch h.Typeflag {
	case tar.TypeReg:
		for record := range h.PAXRecords {
			if strings.HasPrefix(record, "GNU.sparse.") {
				return absent, "is a sparse file"
			}
		}
		return file, ""
	case tar.TypeDir:
		k = directory
	case tar.TypeSymlink:
		k = symlink
	case tar.TypeLink:
		return absent, "is a hard link"
	case tar.TypeChar:
		return absent, "is a character device"
	case tar.TypeBlock:
		return absent, "is a block device"
	case tar.TypeFifo:
		return absent, "is a fifo"
	case tar.TypeGNUSparse:
		return absent, "is a sparse file"
	default:
		return absent, fmt.Sprintf("is of unknown type %q", h.Typeflag)
	}
	if h.Size != 0 { // readers disagree on whether data follows
		return absent, fmt.Sprintf("is a %s with a size", k)
	}
	return k, ""
}

// cleanName returns the name by which to know an entry: slash-separated, without . and .. in it; or the reason why it can
// have none. What tar writes for "tar -c ./Python-3.13.5" is fine.
func cleanName(name string, k kind) (clean, reason string) {
	name = strings.TrimPrefix(name, "./")
	if strings.HasPrefix(name, "/") {
		return "", "has an absolute name"
	}
	if k == directory {
		name = strings.TrimSuffix(name, "/")
	}
	switch {
	case name == "":
		return "", "has an empty name"
	case len(name) > maxName:
		return "", fmt.Sprintf("has a name of more than %d bytes", maxName)
	case !utf8.ValidString(name):
		return "", "has a name that is not UTF-8"
	case strings.ContainsFunc(name, unicode.IsControl):
		return "", "has a control character in its name"
	case fs.ValidPath(name) && name != ".":
		return name, ""
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", "has .. in its name"
		}
	}
	return "", "has an empty part or . in its name"
}

// checkTarget returns the reason, if any, why there can be no symbolic link called name with that target.
//
// Links are allowed to lead only to what is in the top directory. The directories that a link is in are real ones, so the
// .. that its target starts with are what they seem. What comes after may lead through other links, and .. behind one of
// these is anywhere: that is refused even if it looks harmless.
func checkTarget(name, target string) (reason string) {
	switch {
	case target == "":
		return "is a symbolic link to nothing"
	case target[0] == '/':
		return "is a symbolic link to an absolute name"
	case strings.ContainsFunc(target, unicode.IsControl):
		return "is a symbolic link to a name with a control character"
	}
	depth := strings.Count(name, "/") // of the link, 1 if it is in the top directory itself
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if down {
				return "is a symbolic link that goes down and up again"
			}
			if depth--; depth == 0 {
				return "is a symbolic link out of the top directory"
			}
		default:
			down = true
		}
	}
	return ""
}
