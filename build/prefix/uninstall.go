package prefix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// Uninstall removes what the manifest m lists: its files and links as long as they are what the manifest says (modes aside), the
// compiled files that Python made of its sources, the directories that are empty then, and the manifest itself, last. What it
// keeps because it was changed, or because another Python's manifest lists it too, it returns, sorted by path; what is missing
// already is not mentioned.
//
// The error wraps fs.ErrNotExist when the prefix has no manifest of that name, is a *[ManifestError] or *[ConflictError] when the
// manifests cannot be relied on or reached, and a *[ChangeError] when everything was put back. After a *[LeftoverError] the
// removal is complete, and kept is valid.
func (p *Prefix) Uninstall(ctx context.Context, m *Manifest) (kept []Difference, err error) {
	if reason := m.check(); reason != "" {
		return nil, &ManifestError{File: p.manifestFile(m.Name), Reason: reason}
	}
	c, kept, err := p.planUninstall(ctx, m)
	if err != nil {
		return nil, err
	}
	err = p.apply(ctx, c)
	if _, failed := errors.AsType[*ChangeError](err); failed {
		return nil, err
	}
	return kept, err
}

func (p *Prefix) planUninstall(ctx context.Context, m *Manifest) (c *change, kept []Difference, err error) {
	h, err := p.holdings(m.Name)
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
	away := map[string]string{} // files that go or are missing already, and their types
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
		switch {
		case first.What == "missing":
			away[e.Path] = e.Type
		case h.others[e.Path] != "":
			kept = append(kept, Difference{Path: e.Path, What: "shared"})
		case first.What != "":
			kept = append(kept, first)
		default:
			away[e.Path] = e.Type
			gone[e.Path] = true
		}
	}
	compiled, caches, err := byproducts(p.root, away)
	if err != nil {
		return nil, nil, err
	}
	for name := range compiled {
		if h.others[name] == "" {
			gone[name] = true
		}
	}
	kept = slices.DeleteFunc(kept, func(d Difference) bool { return gone[d.Path] })

	dirs := caches
	for _, e := range m.Paths {
		if e.Type == typeDir {
			dirs = append(dirs, e.Path)
		}
	}
	dirs = slices.DeleteFunc(dirs, func(name string) bool { return h.others[name] != "" })
	files := slices.Sorted(maps.Keys(gone))
	rmdirs, err := emptied(p.root, dirs, gone)
	if err != nil {
		return nil, nil, err
	}

	c = new(change)
	c.begin()
	for _, name := range files {
		c.save(name)
	}
	c.ops = append(c.ops, rmdirs...)
	c.save(manifestPath(m.Name))
	c.ops = append(c.ops, operation{Do: flush, Path: home})
	c.end()
	// What holds the manifests is in use until the very end.
	c.tidy = append(c.tidy, operation{Do: prune, Path: home})
	if above := path.Dir(home); slices.Contains(dirs, above) {
		c.tidy = append(c.tidy, operation{Do: prune, Path: above})
	}
	return c, kept, nil
}
