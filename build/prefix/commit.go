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
	"strconv"
	"strings"
)

// Commit moves the tree below stage, which mirrors the prefix, to where it belongs, in place of what an earlier manifest of the
// same name lists, and writes the manifest m.
//
// m.Paths must describe the stage: it is what [Scan] returned, perhaps with other modes, which are what the files get whatever
// the umask and whatever they have; their owner is the user who runs this. Directories that are there already keep mode, owner
// and set-id bits; new ones inherit the set-group-id bit, and files the group of a directory that has it. After success m is what
// was written: Format, Prefix and Aside are set, and Paths lacks what was yielded, and directories that no installation of ours
// created.
//
// Of the earlier installation go the files that it alone lists, the compiled files that Python made of its sources, and its
// directories that become empty. A path that exists but is in no manifest, or is in ours but was changed since, or in that of
// another Python, a directory in the place of a file, and what is in the way of a directory, are a *[ConflictError] before the
// first change, unless the options say otherwise. The other errors are *[TreeError], when m.Paths does not describe the stage;
// *[ManifestError], for m and for those in the prefix; *[ChangeError]; and *[LeftoverError], after which the installation is
// complete all the same.
//
// The stage is used up, also by a failure.
func (p *Prefix) Commit(ctx context.Context, stage string, m *Manifest, o Options) (err error) {
	written := *m
	written.Format, written.Prefix, written.Aside = format, p.dir, nil
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
	c, err := p.planCommit(&written, o)
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

// A planner computes the change that a commit is.
type planner struct {
	*holdings
	change
	root     *os.Root
	force    bool
	want     map[string]Entry // what the prefix will hold
	compiled map[string]bool  // what Python made of the sources that go or are replaced
	gone     map[string]bool  // what is removed before the first new path comes
	vacated  map[string]bool  // what is kept aside before that

	found    conflicts
	recorded []Entry          // the manifest's
	aside    []Aside          // the manifest's
	parents  map[string]group // of what comes
	created  map[string]bool  // new directories

	removes, asides, rmdirs, mkdirs, adds []operation
}

// A group is what a directory hands down to new files: gid if it has the set-group-id bit.
type group struct {
	set bool
	gid int
}

// planCommit computes the change that makes of the prefix what m says, and leaves in m.Paths only what is ours.
func (p *Prefix) planCommit(m *Manifest, o Options) (*change, error) {
	h, err := hold(p.root, p.dir, m.Name)
	if err != nil {
		return nil, err
	}
	if err := h.compare(p.root, o); err != nil {
		return nil, err
	}
	pl := &planner{
		holdings: h, root: p.root, force: o.Force, want: map[string]Entry{}, gone: map[string]bool{}, vacated: map[string]bool{},
		found: conflicts{}, parents: map[string]group{}, created: map[string]bool{},
	}
	for _, dir := range []string{path.Dir(home), home} {
		pl.want[dir] = Entry{Path: dir, Type: typeDir, Mode: "0755"}
	}
	for _, e := range m.Paths {
		if !h.taken || !o.yields(e.Path) {
			pl.want[e.Path] = e
		}
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
	slices.SortFunc(pl.aside, func(a, b Aside) int { return strings.Compare(a.Kept, b.Kept) })
	m.Paths, m.Aside = pl.recorded, pl.aside
	c := &pl.change
	if c.manifest, err = m.encode(); err != nil {
		return nil, err
	}
	c.Kind, c.Name, c.Version = kindInstall, m.Name, m.Version
	if pl.old != nil && pl.old.Version != m.Version {
		c.Kind = kindUpgrade
	}
	c.After = sum(c.manifest)
	if c.Before, err = manifestDigest(p.root, m.Name); err != nil {
		return nil, err
	}
	// What goes precedes what comes, which may have its name.
	c.Operations = slices.Concat(pl.removes, pl.asides, pl.rmdirs, pl.mkdirs, pl.adds)
	return c, nil
}

// remove finds what goes: files that the old manifest lists and the new one lacks, what was compiled from its sources, and then
// the directories that are empty without them.
func (pl *planner) remove() (err error) {
	var caches []string
	if pl.compiled, caches, err = byproducts(pl.root, pl.own); err != nil {
		return err
	}
	files := slices.AppendSeq(slices.Collect(maps.Keys(pl.own)), maps.Keys(pl.compiled))
	slices.Sort(files)
	for _, name := range slices.Compact(files) {
		e, stays := pl.want[name]
		if pl.own[name].Type == typeDir || pl.others[name] != "" || stays && e.Type != typeDir {
			continue
		}
		info, err := look(pl.root, name)
		switch {
		case err != nil:
			return err
		case info == nil || info.IsDir():
		case pl.changed[name]:
			if err := pl.keep(name, info, true); err != nil {
				return err
			}
		default:
			pl.removes = append(pl.removes, operation{Do: opRemove, Path: name, Old: pl.save(), Was: pl.own[name].SHA256})
			pl.gone[name] = true
		}
	}
	dirs := slices.DeleteFunc(slices.AppendSeq(caches, maps.Keys(pl.own)), func(name string) bool {
		return pl.ownFile(name) || pl.others[name] != "" || pl.want[name].Type == typeDir
	})
	empty, err := emptied(pl.root, dirs, pl.gone)
	if err != nil {
		return err
	}
	for _, e := range empty {
		if pl.inTheWay(e.name) {
			uid, gid := owner(e.info)
			pl.rmdirs = append(pl.rmdirs, operation{Do: opRmdir, Path: e.name, Mode: octal(e.info.Mode()), UID: uid, GID: gid})
		} else {
			pl.Prune = append(pl.Prune, e.name)
		}
	}
	return nil
}

// inTheWay says that a directory has the name of a file that comes, or is below one of that name.
func (pl *planner) inTheWay(dir string) bool {
	for ; dir != "."; dir = path.Dir(dir) {
		if e, ok := pl.want[dir]; ok && e.Type != typeDir {
			return true
		}
	}
	return false
}

// keep plans that what is called name is kept aside, if that is wanted; else it is a conflict. own says that an installation of
// ours put it there.
func (pl *planner) keep(name string, info fs.FileInfo, own bool) error {
	if !pl.force {
		pl.found[name] = obstacle{changed: own}
		return nil
	}
	kept := name + suffix
	for i := 1; ; i++ {
		is, err := look(pl.root, kept)
		if err != nil {
			return err
		}
		if _, wanted := pl.want[kept]; is == nil && !wanted {
			break
		}
		kept = name + suffix + "." + strconv.Itoa(i)
	}
	a := Aside{Path: name, Kept: kept, Own: own, Type: typeOf(info.Mode())}
	var err error
	switch a.Type {
	case typeFile:
		a.SHA256, a.Size, err = digest(pl.root, name)
	case typeLink:
		a.Target, err = pl.root.Readlink(name)
	case "":
		a.Type = typeOther
	}
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	pl.aside = append(pl.aside, a)
	pl.asides = append(pl.asides, operation{Do: opAside, Path: name, Kept: kept, Was: a.SHA256})
	pl.vacated[name] = true
	return nil
}

// directory plans a directory that must be there.
func (pl *planner) directory(e Entry) error {
	fresh := pl.created[path.Dir(e.Path)] || pl.gone[e.Path] || pl.vacated[e.Path]
	if !fresh {
		info, blocked, err := directory(pl.root, e.Path)
		switch {
		case err != nil:
			return err
		case blocked && pl.others[e.Path] != "":
			pl.found[e.Path] = obstacle{owner: pl.others[e.Path]}
		case blocked:
			is, err := look(pl.root, e.Path)
			if err == nil && is != nil {
				err = pl.keep(e.Path, is, pl.ownFile(e.Path))
			}
			if err != nil {
				return err
			}
		case info != nil:
			if pl.own[e.Path].Type == typeDir || pl.others[e.Path] != "" {
				return pl.record(e)
			}
			return nil // it was there before us
		}
	}
	above, err := pl.above(e.Path)
	if err != nil {
		return err
	}
	mode, _ := parseMode(e.Mode) // check saw to it
	if above.set {
		mode |= fs.ModeSetgid
	}
	if mode&fs.ModeSetgid == 0 {
		above.gid = os.Getegid()
	}
	pl.parents[e.Path] = group{set: mode&fs.ModeSetgid != 0, gid: above.gid}
	pl.created[e.Path] = true // nothing below it is looked at
	e.Mode = octal(mode)
	pl.mkdirs = append(pl.mkdirs, operation{Do: opMkdir, Path: e.Path, Mode: e.Mode})
	pl.recorded = append(pl.recorded, e)
	return nil
}

// above returns what the directory that name is in hands down to it.
func (pl *planner) above(name string) (group, error) {
	dir := path.Dir(name)
	if g, ok := pl.parents[dir]; ok {
		return g, nil
	}
	g := group{gid: os.Getegid()}
	info, err := pl.root.Stat(dir)
	switch {
	case err == nil && info.Mode()&fs.ModeSetgid != 0:
		g.set = true
		_, g.gid = owner(info)
	case err != nil && !absent(err) && !escapes(err): // these two are conflicts of their own
		return g, fmt.Errorf("commit: %w", err)
	}
	pl.parents[dir] = g
	return g, nil
}

// file plans a file or link that is in the stage.
func (pl *planner) file(e Entry) error {
	above, err := pl.above(e.Path)
	if err != nil {
		return err
	}
	in := incoming{Entry: e, name: strconv.Itoa(len(pl.incoming)), gid: above.gid}
	add := operation{Do: opAdd, Path: e.Path, New: in.name, SHA256: e.SHA256, Target: e.Target}
	if owner := pl.others[e.Path]; owner != "" {
		pl.found[e.Path] = obstacle{owner: owner}
		return nil
	}
	if !pl.created[path.Dir(e.Path)] && !pl.gone[e.Path] {
		info, err := look(pl.root, e.Path)
		switch {
		case err != nil:
			return err
		case info == nil:
		case info.IsDir() || pl.changed[e.Path] || !pl.ownFile(e.Path) && !pl.compiled[e.Path]:
			if err := pl.keep(e.Path, info, pl.changed[e.Path]); err != nil {
				return err
			}
		default:
			add.Do, add.Old, add.Was = opReplace, pl.save(), pl.own[e.Path].SHA256
		}
	}
	pl.recorded = append(pl.recorded, e)
	pl.incoming = append(pl.incoming, in)
	pl.adds = append(pl.adds, add)
	return nil
}

// inherit records what the old manifest lists, and is still ours to remove one day: directories that the stage lacks, and
// something foreign keeps from being removed; and what was kept aside.
func (pl *planner) inherit() error {
	for name, e := range pl.own {
		if _, known := pl.want[name]; e.Type == typeDir && !known && !pl.gone[name] {
			if err := pl.record(Entry{Path: name, Type: typeDir}); err != nil {
				return err
			}
		}
	}
	if pl.old == nil {
		return nil
	}
	for _, a := range pl.old.Aside {
		info, err := look(pl.root, a.Kept)
		if err != nil {
			return err
		}
		if info != nil {
			pl.aside = append(pl.aside, a)
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

// byproducts returns the compiled files that Python made of the sources among own, whether own lists them or not, and the
// directories they are in.
func byproducts(root *os.Root, own map[string]Entry) (compiled map[string]bool, caches []string, err error) {
	dirs := map[string]bool{}
	for name, e := range own {
		if e.Type != typeDir && strings.HasSuffix(name, ".py") {
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
			if source, ok := sourceOf(name); ok && f.Type().IsRegular() && own[source].Type != "" {
				compiled[name] = true
			}
		}
	}
	return compiled, caches, nil
}

// A named directory.
type named struct {
	name string
	info fs.FileInfo
}

// emptied returns those of dirs that hold nothing but what is gone, the deepest first, and adds them to gone.
func emptied(root *os.Root, dirs []string, gone map[string]bool) (empty []named, err error) {
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
		empty = append(empty, named{name, info})
	}
	return empty, nil
}
