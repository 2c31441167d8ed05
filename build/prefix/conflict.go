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
	Name   string   // of the Python; "" counts every manifest as its own
	Files  []string // these paths themselves
	Trees  []string // everything below these directories
	Except []string // but not below these
}

// Options are how an installation treats what is not, or no longer, its own.
type Options struct {
	// Force keeps what is in the way aside, under its own name with .pybuild-old added, and records it in the manifest. Without it
	// that is a *[ConflictError]. What belongs to another Python always is.
	Force bool

	// Yield are files, and directories with all below them, that others may take over: patterns of [path.Match], relative to the
	// prefix. As soon as anything there is not as the installation before left it, other than missing, all of them stay as they
	// are, the new manifest lists none of them, and they are no conflict.
	Yield []string
}

// check refuses patterns that mean nothing.
func (o *Options) check() error {
	for _, pattern := range o.Yield {
		if _, err := path.Match(pattern, ""); err != nil || !validPath(pattern) {
			return &fs.PathError{Op: "yield", Path: pattern, Err: fs.ErrInvalid}
		}
	}
	return nil
}

// yields says that name is one of those that others may take over, or below one.
func (o *Options) yields(name string) bool {
	for _, pattern := range o.Yield {
		head := name
		if parts := strings.SplitN(name, "/", strings.Count(pattern, "/")+2); len(parts) == strings.Count(pattern, "/")+2 {
			head = strings.TrimSuffix(name, "/"+parts[len(parts)-1])
		}
		if ok, _ := path.Match(pattern, head); ok {
			return true
		}
	}
	return false
}

// A ConflictError reports paths in the prefix that are in the way of an installation and are not, or not any more, its own.
type ConflictError struct {
	Prefix  string
	Paths   []string          // relative to the prefix, sorted
	Owners  map[string]string // of those paths that another Python's manifest lists, its name
	Changed []string          // those paths that the installation before put there, and somebody has changed since; sorted
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
		} else if slices.Contains(e.Changed, p) {
			b.WriteString(" (changed since it was installed)")
		}
	}
	if more := len(e.Paths) - most; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	return b.String()
}

// An obstacle is what is in the way: foreign, unless one of these is set.
type obstacle struct {
	owner   string
	changed bool
}

// conflicts collects the paths of a [ConflictError].
type conflicts map[string]obstacle

func (c conflicts) err(dir string) error {
	if len(c) == 0 {
		return nil
	}
	e := &ConflictError{Prefix: dir, Paths: slices.Sorted(maps.Keys(c)), Owners: map[string]string{}}
	for _, name := range e.Paths {
		if o := c[name]; o.owner != "" {
			e.Owners[name] = o.owner
		} else if o.changed {
			e.Changed = append(e.Changed, name)
		}
	}
	return e
}

// Conflicts is [Conflicts] for the locked prefix.
func (p *Prefix) Conflicts(c Claim, o Options) error { return claimed(p.root, p.dir, c, o) }

// Conflicts says whether the prefix dir holds what an installation that claims c would have to replace and must not: anything at
// one of the files, any non-directory below one of the trees, and whatever is not a directory of the prefix on the way there;
// and what the installation before put anywhere, if it was changed since. What is as the manifest lists it is not in the way, nor
// are the compiled files that Python makes of such a source, nor what the options give away, nor what an installation kept aside.
// It needs no lock and changes nothing; a prefix that does not exist has no conflicts. The error is a *[ConflictError], a
// *[ManifestError], or says why the prefix cannot be examined.
func Conflicts(dir string, c Claim, o Options) (err error) {
	root, err := os.OpenRoot(dir)
	if absent(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("conflicts: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return claimed(root, dir, c, o)
}

func claimed(root *os.Root, dir string, c Claim, o Options) error {
	for _, name := range slices.Concat(c.Files, c.Trees, c.Except) {
		if !validPath(name) {
			return &fs.PathError{Op: "claim", Path: name, Err: fs.ErrInvalid}
		}
	}
	h, err := hold(root, dir, c.Name)
	if err != nil {
		return err
	}
	if err := h.compare(root, o); err != nil {
		return err
	}
	found := conflicts{}
	for name := range h.changed {
		found[name] = obstacle{changed: true}
	}
	add := func(name string, info fs.FileMode) {
		source, compiled := sourceOf(name)
		switch owner := h.others[name]; {
		case owner != "":
			found[name] = obstacle{owner: owner}
		case isKept(name), h.taken && o.yields(name), !info.IsDir() && (h.ownFile(name) || compiled && h.ownFile(source)):
		default:
			found[name] = obstacle{changed: h.ownFile(name)}
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
		if info != nil {
			add(name, info.Mode())
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
			case !d.IsDir():
				add(name, d.Type())
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if o.Force { // the rest can be kept aside
		maps.DeleteFunc(found, func(_ string, o obstacle) bool { return o.owner == "" })
	}
	return found.err(dir)
}

// holdings is what the manifests in a prefix say belongs to whom.
type holdings struct {
	old     *Manifest         // of the Python in question; nil if there is none
	own     map[string]Entry  // its paths
	others  map[string]string // the paths of the other Pythons, directories included, and their names
	changed map[string]bool   // those of its files that somebody has changed, or put something else in the place of
	taken   bool              // others took over what the options let them; nothing there is ours then
}

// hold reads the manifests, for the Python called name.
func hold(root *os.Root, dir, name string) (*holdings, error) {
	found := conflicts{}
	if err := found.passable(root, home); err != nil {
		return nil, err
	}
	if err := found.err(dir); err != nil {
		return nil, err // the manifests are beyond it
	}
	manifests, err := readManifests(root)
	if err != nil {
		return nil, err
	}
	h := &holdings{own: map[string]Entry{}, others: map[string]string{}, changed: map[string]bool{}}
	for _, m := range manifests {
		for _, e := range m.Paths {
			if m.Name == name || name == "" {
				h.own[e.Path] = e
			} else {
				h.others[e.Path] = m.Name
			}
		}
		if m.Name == name {
			h.old = m
		}
	}
	return h, nil
}

// compare finds what was changed, and lets go of what the options give away. Digests take time, so all processors work. Compiled
// files Python writes again as it likes.
func (h *holdings) compare(root *os.Root, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	entries := slices.Collect(maps.Values(h.own))
	found := make([]bool, len(entries))
	err := each(len(entries), func(i int) error {
		e := entries[i]
		if source, ok := sourceOf(e.Path); e.Type == typeDir || ok && h.ownFile(source) && e.Type == typeFile {
			if info, err := look(root, e.Path); e.Type == typeDir || err != nil || info == nil || info.Mode().IsRegular() {
				return err
			}
		}
		differences, err := differ(root, e, true)
		found[i] = len(differences) > 0 && differences[0].What != "missing"
		return err
	})
	for i, e := range entries {
		if found[i] {
			h.changed[e.Path] = true
		}
	}
	if err != nil {
		return err
	}
	return h.yield(root, o)
}

// yield finds out whether others took over what the options let them, and lets go of it.
func (h *holdings) yield(root *os.Root, o Options) error {
	for name := range h.changed {
		h.taken = h.taken || o.yields(name)
	}
	for _, pattern := range o.Yield {
		if h.taken {
			break
		}
		found, err := fs.Glob(root.FS(), pattern)
		if err != nil {
			return fmt.Errorf("conflicts: %w", err)
		}
		for _, top := range found {
			err := fs.WalkDir(root.FS(), top, func(name string, d fs.DirEntry, err error) error {
				if absent(err) || escapes(err) {
					return nil
				} else if err != nil {
					return fmt.Errorf("conflicts: %w", err)
				}
				source, compiled := sourceOf(name)
				if !d.IsDir() && !h.ownFile(name) && h.others[name] == "" && !(compiled && h.ownFile(source)) {
					h.taken = true
					return fs.SkipAll
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	if h.taken {
		maps.DeleteFunc(h.own, func(name string, _ Entry) bool { return o.yields(name) })
		maps.DeleteFunc(h.changed, func(name string, _ bool) bool { return o.yields(name) })
	}
	return nil
}

// ownFile says that the manifest lists name, and not as a directory.
func (h *holdings) ownFile(name string) bool {
	e, ok := h.own[name]
	return ok && e.Type != typeDir
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
			c[name[:i]] = obstacle{}
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
