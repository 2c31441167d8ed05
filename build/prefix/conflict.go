package prefix

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

// A Claim is what an installation will put into a prefix, as far as that is known before it is built. All paths are relative
// to the prefix, clean, with slashes.
type Claim struct {
	Files  []string // these paths themselves
	Trees  []string // everything below these directories
	Except []string // but not below these
}

// A ConflictError reports paths in the prefix that are in the way of an installation and are not its own.
type ConflictError struct {
	Prefix string
	Paths  []string          // relative to the prefix, sorted
	Owners map[string]string // of those paths that another Python's manifest lists, its name
}

func (e *ConflictError) Error() string {
	const most = 3
	var b strings.Builder
	fmt.Fprintf(&b, "in the way in %s: ", e.Prefix)
	for i, p := range e.Paths[:min(most, len(e.Paths))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p)
		if owner := e.Owners[p]; owner != "" {
			fmt.Fprintf(&b, " (of %s)", owner)
		}
	}
	if more := len(e.Paths) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// conflicts collects the paths of a [ConflictError]: to each its owner, or "".
type conflicts map[string]string

func (c conflicts) err(dir string) error {
	if len(c) == 0 {
		return nil
	}
	owners := maps.Clone(c)
	maps.DeleteFunc(owners, func(_, owner string) bool { return owner == "" })
	return &ConflictError{Prefix: dir, Paths: slices.Sorted(maps.Keys(c)), Owners: owners}
}

// Conflicts is [Conflicts] for the locked prefix.
func (p *Prefix) Conflicts(c Claim) error { return claimed(p.root, p.dir, c) }

// Conflicts says whether the prefix dir holds what an installation that claims c would have to replace: anything at one of the
// files, any non-directory below one of the trees, and whatever is not a directory of the prefix on the way there. What any
// manifest of ours lists is not in the way, nor are the compiled files that Python makes of such a source. It needs no lock
// and changes nothing; a prefix that does not exist has no conflicts. The error is a *[ConflictError], a *[ManifestError], or
// says why the prefix cannot be examined.
func Conflicts(dir string, c Claim) (err error) {
	root, err := os.OpenRoot(dir)
	if absent(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("conflicts: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return claimed(root, dir, c)
}

func claimed(root *os.Root, dir string, c Claim) error {
	found := conflicts{}
	if err := found.passable(root, home); err != nil {
		return err
	}
	if len(found) > 0 {
		return found.err(dir) // the manifests are beyond it
	}
	manifests, err := readManifests(root)
	if err != nil {
		return err
	}
	ours := map[string]bool{}
	for _, m := range manifests {
		for _, e := range m.Paths {
			ours[e.Path] = ours[e.Path] || e.Type != typeDir
		}
	}
	mine := func(name string) bool {
		source, ok := sourceOf(name)
		return ours[name] || ok && ours[source]
	}

	for _, name := range slices.Concat(c.Files, c.Trees, c.Except) {
		if !validPath(name) {
			return &fs.PathError{Op: "claim", Path: name, Err: fs.ErrInvalid}
		}
	}
	for _, name := range c.Files {
		if err := found.passable(root, path.Dir(name)); err != nil {
			return err
		}
		info, err := look(root, name)
		if err != nil {
			return err
		}
		if info != nil && (info.IsDir() || !mine(name)) {
			found[name] = ""
		}
	}
	for _, tree := range c.Trees {
		if err := found.passable(root, tree); err != nil {
			return err
		}
		err := fs.WalkDir(root.FS(), tree, func(name string, d fs.DirEntry, err error) error {
			switch {
			case absent(err) || escapes(err):
				return nil
			case err != nil:
				return fmt.Errorf("conflicts: %w", err)
			case slices.Contains(c.Except, name):
				if d.IsDir() {
					return fs.SkipDir
				}
			case !d.IsDir() && !mine(name):
				found[name] = ""
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return found.err(dir)
}

// passable adds the topmost part of name that is there and neither a directory nor a link to one in the prefix.
func (c conflicts) passable(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		info, blocked, err := directory(root, name[:i])
		if err != nil {
			return err
		}
		if blocked {
			c[name[:i]] = ""
		}
		if blocked || info == nil {
			return nil
		}
	}
	return nil
}

// look describes what is called name, a link itself; nil when nothing is, or when a link on the way leads out of the root.
func look(root *os.Root, name string) (fs.FileInfo, error) {
	info, err := root.Lstat(name)
	switch {
	case absent(err) || escapes(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("looking for %s in %s: %w", name, root.Name(), err)
	}
	return info, nil
}

// directory describes the directory called name, or the one in the prefix that a link of that name leads to. Without an error
// it returns nil when nothing is there, and blocked when what is there cannot serve as a directory.
func directory(root *os.Root, name string) (info fs.FileInfo, blocked bool, err error) {
	info, err = root.Lstat(name)
	if absent(err) {
		return nil, false, nil
	}
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if info, err = root.Stat(name); absent(err) || errors.Is(err, syscall.ELOOP) {
			return nil, true, nil
		}
	}
	switch {
	case escapes(err):
		return nil, true, nil
	case err != nil:
		return nil, false, fmt.Errorf("looking for %s in %s: %w", name, root.Name(), err)
	case !info.IsDir():
		return nil, true, nil
	}
	return info, false, nil
}

// sourceOf returns the source of which Python made the compiled file called name, if it has the name of one:
// d/__pycache__/m.cpython-313.opt-1.pyc is made of d/m.py.
func sourceOf(name string) (source string, ok bool) {
	cache, file := path.Split(name)
	dir, ok := strings.CutSuffix(cache, "__pycache__/")
	if !ok || dir != "" && !strings.HasSuffix(dir, "/") {
		return "", false
	}
	stem, ok := strings.CutSuffix(file, ".pyc")
	if !ok {
		return "", false
	}
	if ext := path.Ext(stem); strings.HasPrefix(ext, ".opt-") {
		stem = strings.TrimSuffix(stem, ext)
	}
	tag := path.Ext(stem) // of the interpreter
	stem = strings.TrimSuffix(stem, tag)
	if tag == "" || tag == "." || stem == "" {
		return "", false
	}
	return dir + stem + ".py", true
}
