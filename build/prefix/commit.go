package prefix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// Commit moves the tree below stage, which mirrors the prefix, to where it belongs, in place of what an earlier manifest of the
// same name lists, and writes the manifest m.
//
// m.Paths must describe the stage: it is what [Scan] returned, perhaps with other modes, which are what the files get whatever
// the umask and whatever they have. Directories that are there already keep mode, owner and set-id bits; new ones inherit the
// set-group-id bit. After success m is what was written: Format and Prefix are set, and of the directories in Paths those are
// left that this or another installation of ours created.
//
// Files of the earlier manifest go even if somebody changed them; so do those that it alone lists, the compiled files that
// Python made of its sources, and its directories that become empty. A path that exists but is in no manifest, or in that of
// another Python, a directory in the place of a file, and what is in the way of a directory, are a *[ConflictError] before the
// first change. The other errors are *[TreeError], when m.Paths does not describe the stage; *[ManifestError], for m and for
// those in the prefix; *[ChangeError]; and *[LeftoverError], after which the installation is complete all the same.
//
// The stage is used up when it is on the same file system, and as before, but for modes, after any error but the last.
func (p *Prefix) Commit(ctx context.Context, stage string, m *Manifest) (err error) {
	written := *m
	written.Format, written.Prefix = format, p.dir
	if reason := written.check(); reason != "" {
		return &ManifestError{File: p.manifestFile(m.Name), Reason: reason}
	}
	from, err := os.OpenRoot(stage)
	if err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	if err := match(from, m.Paths); err != nil {
		return err
	}
	c, err := p.planCommit(&written)
	if err != nil {
		return err
	}
	c.stage = from
	err = p.apply(ctx, c)
	if _, complete := errors.AsType[*LeftoverError](err); complete || err == nil {
		*m = written
	}
	return err
}

// manifestFile is for errors.
func (p *Prefix) manifestFile(name string) string { return path.Join(p.dir, manifestPath(name)) }

// match compares the stage with the entries that should describe it, except for modes and digests.
func match(stage *os.Root, entries []Entry) error {
	there, err := list(stage)
	if err != nil {
		return err
	}
	for i := 0; i < len(there) || i < len(entries); i++ {
		wrong := func(name, reason string) error {
			return &TreeError{Dir: stage.Name(), Path: name, Reason: reason}
		}
		switch {
		case i == len(entries) || i < len(there) && there[i].Path < entries[i].Path:
			return wrong(there[i].Path, "is not in the manifest")
		case i == len(there) || there[i].Path > entries[i].Path:
			return wrong(entries[i].Path, "is only in the manifest")
		case there[i].Type != entries[i].Type || there[i].Size != entries[i].Size || there[i].Target != entries[i].Target:
			return wrong(there[i].Path, "is not what the manifest says")
		}
	}
	return nil
}

// holdings is what the manifests in a prefix say belongs to whom.
type holdings struct {
	old    *Manifest         // of the Python in question; nil if there is none
	own    map[string]string // its paths and their types
	others map[string]string // the paths of the other Pythons, directories included, and their names
}

func (p *Prefix) holdings(name string) (*holdings, error) {
	found := conflicts{}
	if err := found.passable(p.root, home); err != nil {
		return nil, err
	}
	if err := found.err(p.dir); err != nil {
		return nil, err
	}
	manifests, err := readManifests(p.root)
	if err != nil {
		return nil, err
	}
	h := &holdings{own: map[string]string{}, others: map[string]string{}}
	for _, m := range manifests {
		for _, e := range m.Paths {
			if m.Name == name {
				h.own[e.Path] = e.Type
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

// ownFile says that the manifest lists name, and not as a directory.
func (h *holdings) ownFile(name string) bool {
	return h.own[name] == typeFile || h.own[name] == typeLink
}

// A planner computes the change that a commit is.
type planner struct {
	*holdings
	root     *os.Root
	want     map[string]Entry // what the prefix will hold
	compiled map[string]bool  // what Python made of the sources that go or are replaced
	gone     map[string]bool  // what is away when the first new path comes

	found    conflicts
	recorded []Entry                // the manifest's
	created  map[string]fs.FileMode // new directories

	removed  []string
	emptied  []operation
	mkdirs   []operation
	places   []operation
	replaced map[string]bool
}

// planCommit computes the change that makes of the prefix what m says, and leaves in m.Paths only what is ours.
func (p *Prefix) planCommit(m *Manifest) (*change, error) {
	h, err := p.holdings(m.Name)
	if err != nil {
		return nil, err
	}
	pl := &planner{
		holdings: h, root: p.root, want: map[string]Entry{},
		found: conflicts{}, created: map[string]fs.FileMode{}, replaced: map[string]bool{},
	}
	for _, dir := range []string{path.Dir(home), home} {
		pl.want[dir] = Entry{Path: dir, Type: typeDir, Mode: "0755"}
	}
	for _, e := range m.Paths {
		pl.want[e.Path] = e
	}

	if err := pl.remove(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(pl.want)) { // parents first
		e := pl.want[name]
		if e.Type == typeDir {
			err = pl.directory(e)
		} else {
			err = pl.file(e)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := pl.found.err(p.dir); err != nil {
		return nil, err
	}
	if err := pl.inherit(); err != nil {
		return nil, err
	}

	slices.SortFunc(pl.recorded, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	m.Paths = pl.recorded
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	return pl.change(manifestPath(m.Name), data), nil
}

// remove finds what goes: files that the old manifest lists and the new one lacks, what was compiled from its sources, and then
// the directories that are empty without them.
func (pl *planner) remove() (err error) {
	var caches []string
	if pl.compiled, caches, err = byproducts(pl.root, pl.own); err != nil {
		return err
	}
	pl.gone = map[string]bool{}
	files := slices.AppendSeq(slices.Collect(maps.Keys(pl.own)), maps.Keys(pl.compiled))
	slices.Sort(files)
	for _, name := range slices.Compact(files) {
		e, stays := pl.want[name]
		if pl.own[name] == typeDir || pl.others[name] != "" || stays && e.Type != typeDir {
			continue
		}
		info, err := look(pl.root, name)
		if err != nil {
			return err
		}
		if info != nil && !info.IsDir() {
			pl.removed = append(pl.removed, name)
			pl.gone[name] = true
		}
	}
	dirs := slices.DeleteFunc(slices.AppendSeq(caches, maps.Keys(pl.own)), func(name string) bool {
		return pl.ownFile(name) || pl.others[name] != "" || pl.want[name].Type == typeDir
	})
	pl.emptied, err = emptied(pl.root, dirs, pl.gone)
	return err
}

// directory plans a directory that must be there.
func (pl *planner) directory(e Entry) error {
	above, fresh := pl.created[path.Dir(e.Path)]
	if !fresh && !pl.gone[e.Path] {
		info, blocked, err := directory(pl.root, e.Path)
		switch {
		case err != nil:
			return err
		case blocked:
			pl.found[e.Path] = pl.others[e.Path]
			pl.created[e.Path] = 0 // nothing below it is looked at
			return nil
		case info != nil:
			if pl.own[e.Path] == typeDir || pl.others[e.Path] != "" {
				return pl.record(e)
			}
			return nil // it was there before us
		}
	}
	if !fresh {
		info, err := pl.root.Stat(path.Dir(e.Path))
		if err == nil {
			above = info.Mode()
		} else if !absent(err) && !escapes(err) { // these two are conflicts of their own
			return fmt.Errorf("commit: %w", err)
		}
	}
	mode, _ := parseMode(e.Mode) // check saw to it
	mode |= above & fs.ModeSetgid
	pl.created[e.Path] = mode
	pl.mkdirs = append(pl.mkdirs, operation{Do: mkdir, Path: e.Path, Mode: mode})
	e.Mode = octal(mode)
	pl.recorded = append(pl.recorded, e)
	return nil
}

// file plans a file or link that is in the stage.
func (pl *planner) file(e Entry) error {
	mode, _ := parseMode(e.Mode)
	pl.recorded = append(pl.recorded, e)
	pl.places = append(pl.places, operation{Do: place, Path: e.Path, Mode: mode, Target: e.Target})
	if owner := pl.others[e.Path]; owner != "" {
		pl.found[e.Path] = owner
		return nil
	}
	if _, fresh := pl.created[path.Dir(e.Path)]; fresh || pl.gone[e.Path] {
		return nil
	}
	info, err := look(pl.root, e.Path)
	switch {
	case err != nil:
		return err
	case info == nil:
	case info.IsDir() || !pl.ownFile(e.Path) && !pl.compiled[e.Path]:
		pl.found[e.Path] = ""
	default:
		pl.replaced[e.Path] = true
	}
	return nil
}

// inherit records the directories that the old manifest lists, the stage lacks, and something foreign keeps from being removed:
// they are still ours to remove one day.
func (pl *planner) inherit() error {
	for name, kind := range pl.own {
		if _, known := pl.want[name]; kind == typeDir && !known && !pl.gone[name] {
			if err := pl.record(Entry{Path: name, Type: typeDir}); err != nil {
				return err
			}
		}
	}
	return nil
}

// record records a directory of ours as it is on disk, unless it is none any more.
func (pl *planner) record(e Entry) error {
	info, err := look(pl.root, e.Path)
	if err == nil && info != nil && info.IsDir() {
		e.Mode = octal(info.Mode())
		pl.recorded = append(pl.recorded, e)
	}
	return err
}

// change puts what was planned into order: what is saved needs the directory of the manifests; what goes precedes what comes,
// which may have its name; and the manifest is last.
func (pl *planner) change(manifest string, data []byte) *change {
	c := &change{manifest: data}
	var mkdirs []operation
	for _, o := range pl.mkdirs {
		if within(home, o.Path) {
			c.ops = append(c.ops, o)
		} else {
			mkdirs = append(mkdirs, o)
		}
	}
	if pl.old != nil {
		c.begin()
	}
	for _, name := range pl.removed {
		c.save(name)
	}
	c.ops = append(c.ops, pl.emptied...)
	c.ops = append(c.ops, mkdirs...)
	for _, o := range pl.places {
		if pl.replaced[o.Path] {
			c.save(o.Path)
		}
		c.ops = append(c.ops, o)
	}
	if pl.old != nil {
		c.save(manifest)
		c.end()
	}
	c.ops = append(c.ops, operation{Do: write, Path: manifest, Mode: 0o644}, operation{Do: flush, Path: home})
	return c
}

// byproducts returns the compiled files that Python made of the sources among own, whether own lists them or not, and the
// directories they are in.
func byproducts(root *os.Root, own map[string]string) (compiled map[string]bool, caches []string, err error) {
	dirs := map[string]bool{}
	for name, kind := range own {
		if kind != typeDir && strings.HasSuffix(name, ".py") {
			dirs[path.Join(path.Dir(name), "__pycache__")] = true
		}
	}
	compiled = map[string]bool{}
	for cache := range dirs {
		info, err := look(root, cache)
		if err != nil {
			return nil, nil, err
		}
		if info == nil || !info.IsDir() {
			continue
		}
		files, err := fs.ReadDir(root.FS(), cache)
		if err != nil {
			return nil, nil, fmt.Errorf("compiled files: %w", err)
		}
		caches = append(caches, cache)
		for _, f := range files {
			name := path.Join(cache, f.Name())
			if source, ok := sourceOf(name); ok && f.Type().IsRegular() && own[source] != "" {
				compiled[name] = true
			}
		}
	}
	return compiled, caches, nil
}

// emptied returns the operations that remove those of dirs that hold nothing but what is gone, the deepest first, and adds them
// to gone.
func emptied(root *os.Root, dirs []string, gone map[string]bool) (ops []operation, err error) {
	slices.Sort(dirs)
	for _, name := range slices.Backward(slices.Compact(dirs)) {
		info, err := look(root, name)
		if err != nil {
			return nil, err
		}
		if info == nil || !info.IsDir() {
			continue
		}
		children, err := fs.ReadDir(root.FS(), name)
		if err != nil {
			return nil, fmt.Errorf("empty directories: %w", err)
		}
		if slices.ContainsFunc(children, func(d fs.DirEntry) bool { return !gone[path.Join(name, d.Name())] }) {
			continue
		}
		gone[name] = true
		uid, gid := owner(info)
		ops = append(ops, operation{Do: rmdir, Path: name, Mode: info.Mode() & bits, UID: uid, GID: gid})
	}
	return ops, nil
}
