package prefix

import (
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

// UninstallOptions are what goes besides the unchanged files of the manifest.
type UninstallOptions struct {
	Force bool // also files of the manifest that were changed

	// Purge also removes what was installed into the Trees: everything below them, and the files that the RECORD in each of their
	// *.dist-info lists, as long as they are in the prefix, are what it says, and belong to no other Python.
	Purge bool
	Trees []string // directories relative to the prefix: "lib/python3.13/site-packages"
}

// Uninstall removes what the manifest m lists: its files and links as long as they are what the manifest says (modes aside), the
// compiled files that Python made of its sources, the directories that are empty then, and the manifest itself. What was kept
// aside gets its name back when that is free, unless it was changed or was a file of an older installation. What Uninstall keeps
// because it was changed, or because another Python's manifest lists it too, it returns, sorted by path; what is missing
// already is not mentioned.
//
// The error wraps fs.ErrNotExist when the prefix has no manifest of that name, is a *[ManifestError] or *[ConflictError] when the
// manifests cannot be relied on or reached, and a *[ChangeError] when everything was put back. After a *[LeftoverError] the
// removal is complete, and kept is valid.
func (p *Prefix) Uninstall(ctx context.Context, m *Manifest, o UninstallOptions) (kept []Difference, err error) {
	if reason := m.check(); reason != "" {
		return nil, &ManifestError{File: p.manifestFile(m.Name), Reason: reason}
	}
	for _, tree := range o.Trees {
		if !ours(tree) {
			return nil, &fs.PathError{Op: "purge", Path: tree, Err: fs.ErrInvalid}
		}
	}
	c, kept, err := p.planUninstall(ctx, m, o)
	if err != nil {
		return nil, err
	}
	err = p.apply(ctx, c)
	if _, failed := errors.AsType[*ChangeError](err); failed {
		return nil, err
	}
	return kept, err
}

func (p *Prefix) planUninstall(ctx context.Context, m *Manifest, o UninstallOptions) (c *change, kept []Difference, err error) {
	h, err := hold(p.root, p.dir, m.Name)
	if err != nil {
		return nil, nil, err
	}
	if h.old == nil {
		return nil, nil, missing(p.manifestFile(m.Name), fs.ErrNotExist)
	}

	// Digests take time, so all processors compare.
	found := make([][]Difference, len(m.Paths))
	err = each(len(m.Paths), func(i int) (err error) {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("uninstall: %w", err)
		}
		if e := m.Paths[i]; e.Type != typeDir {
			found[i], err = differ(p.root, e, true)
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	away := map[string]Entry{} // files that go or are missing already
	gone := map[string]bool{}
	for i, e := range m.Paths {
		if e.Type == typeDir {
			continue
		}
		// A mode alone is nothing that anybody could miss. It comes last, so the first one tells.
		first := Difference{Path: e.Path}
		if len(found[i]) > 0 && found[i][0].What != "mode" {
			first = found[i][0]
		}
		force := o.Force
		if force && first.What == "type" {
			info, err := look(p.root, e.Path)
			if err != nil {
				return nil, nil, err
			}
			force = info != nil && !info.IsDir() // what is in a directory nobody has asked for
		}
		switch {
		case first.What == "missing":
			away[e.Path] = e
		case h.others[e.Path] != "":
			kept = append(kept, Difference{Path: e.Path, What: "shared"})
		case first.What != "" && !force:
			kept = append(kept, first)
		default:
			away[e.Path] = e
			gone[e.Path] = true
		}
	}
	compiled, dirs, err := byproducts(p.root, away)
	if err != nil {
		return nil, nil, err
	}
	for name := range compiled {
		if h.others[name] == "" {
			gone[name] = true
		}
	}
	if o.Purge {
		more, below, err := p.purge(o.Trees)
		if err != nil {
			return nil, nil, err
		}
		for _, name := range more {
			if h.others[name] == "" {
				gone[name] = true
			}
		}
		dirs = append(dirs, below...)
	}
	kept = slices.DeleteFunc(kept, func(d Difference) bool { return gone[d.Path] })

	c = new(change)
	c.Kind, c.Name, c.Version = kindUninstall, m.Name, m.Version
	if c.Before, err = manifestDigest(p.root, m.Name); err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		c.Operations = append(c.Operations, operation{Do: opRemove, Path: name, Old: c.save(), Was: h.own[name].SHA256})
	}
	for _, a := range m.Aside {
		back, err := p.comesBack(a, gone)
		if err != nil {
			return nil, nil, err
		}
		if back {
			c.Operations = append(c.Operations, operation{Do: opRestore, Path: a.Path, Kept: a.Kept})
			gone[a.Path] = false // of several that had this name the first has it again
		}
	}

	dirs = append(dirs, home) // nothing else is ever in there
	for _, e := range m.Paths {
		if e.Type == typeDir {
			dirs = append(dirs, e.Path)
		}
	}
	slices.Sort(dirs)
	for _, name := range slices.Backward(slices.Compact(dirs)) { // the deepest first
		if h.others[name] == "" || name == home {
			c.Prune = append(c.Prune, name)
		}
	}
	return c, kept, nil
}

// comesBack says that what was kept aside gets its name back.
func (p *Prefix) comesBack(a Aside, gone map[string]bool) (bool, error) {
	if a.Own {
		return false, nil
	}
	is, err := look(p.root, a.Path)
	if again, known := gone[a.Path]; err != nil || is != nil && !again || known && !again {
		return false, err
	}
	info, err := look(p.root, a.Kept)
	if err != nil || info == nil {
		return false, err
	}
	if a.Type == typeOther {
		return typeOf(info.Mode()) == "", nil
	}
	e := Entry{Type: a.Type, Size: a.Size, SHA256: a.SHA256, Target: a.Target}
	return e.same(p.root, a.Kept)
}

// purge returns the files that were installed into the trees, and the directories in these, the trees themselves included.
func (p *Prefix) purge(trees []string) (files, dirs []string, err error) {
	for _, tree := range trees {
		if info, err := look(p.root, tree); err != nil {
			return nil, nil, err
		} else if info == nil || !info.IsDir() {
			continue
		}
		err := fs.WalkDir(p.root.FS(), tree, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return fmt.Errorf("purge: %w", err)
			case d.IsDir():
				dirs = append(dirs, name)
				return nil
			}
			files = append(files, name)
			info, ok := strings.CutSuffix(name, ".dist-info/RECORD")
			if ok && path.Dir(info) == tree && d.Type().IsRegular() {
				listed, err := p.listed(name, tree)
				files = append(files, listed...)
				return err
			}
			return nil
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return files, dirs, nil
}

// maxRecord is the size in bytes of the largest RECORD that is read; one of 10 000 files has 1 MB.
const maxRecord = 16 << 20

// listed returns the files outside of the tree that a RECORD lists, and that are what it says. It is input that anybody who can
// publish a package may have written.
func (p *Prefix) listed(record, tree string) (files []string, err error) {
	f, err := p.root.Open(record)
	if err != nil {
		return nil, fmt.Errorf("purge: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := csv.NewReader(io.LimitReader(f, maxRecord))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	for {
		fields, err := r.Read()
		if err != nil { // the end, or what is no RECORD from here on
			return files, nil
		}
		name := fields[0]
		if rest, ok := strings.CutPrefix(name, p.dir+"/"); ok {
			name = path.Clean(rest)
		} else if path.IsAbs(name) {
			continue
		} else {
			name = path.Join(tree, name)
		}
		if !ours(name) || within(name, home) || within(name, tree) {
			continue
		}
		if same, err := asRecorded(p.root, name, fields[1:]); err != nil {
			return nil, err
		} else if same {
			files = append(files, name)
		}
	}
}

// asRecorded says that name is a file with the digest of a RECORD, as far as that has one, or a link.
func asRecorded(root *os.Root, name string, fields []string) (bool, error) {
	info, err := look(root, name)
	if err != nil || info == nil || info.IsDir() {
		return false, err
	}
	if !info.Mode().IsRegular() {
		return typeOf(info.Mode()) == typeLink, nil
	}
	if len(fields) == 0 || fields[0] == "" {
		return true, nil
	}
	text, ok := strings.CutPrefix(fields[0], "sha256=")
	want, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if !ok || err != nil {
		return false, nil
	}
	is, _, err := digest(root, name)
	return is == hex.EncodeToString(want), err
}
