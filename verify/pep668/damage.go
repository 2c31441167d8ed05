package pep668

import (
	"cmp"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// damage finds what pip has put over, or in front of, what the distribution installed.
func (e *examination) damage() {
	for i := range e.report.Pythons {
		p := &e.report.Pythons[i]
		if p.Error != "" || p.Owner.Kind != "package" {
			continue
		}
		for _, dir := range append(slices.Clone(p.Site), p.UserSite) {
			e.strays(p, dir)
		}
	}
	e.changed()
}

// strays finds projects that pip installed into a directory which a Python of the distribution imports from.
func (e *examination) strays(p *Python, dir string) {
	f := Finding{Risk: RiskMedium, Kind: "unowned", Path: dir}
	var names, files []string
	for _, entry := range e.list(dir) {
		project, version, ok := distribution(entry.Name())
		metadata := path.Join(dir, entry.Name())
		if !ok || e.packages.owner[metadata] != "" {
			continue
		}
		if by, err := e.read(path.Join(metadata, "INSTALLER"), 64); err != nil || strings.TrimSpace(string(by)) != "pip" {
			continue
		}
		item := project + " " + version
		if other := e.shadowed(p, project, dir); other != "" {
			item += " (hides the distribution's " + other + ")"
			f.Risk = RiskHigh
		}
		names, f.Items, files = append(names, project), append(f.Items, item), append(files, e.recorded(dir, metadata)...)
	}
	if len(names) == 0 {
		return
	}
	f.What = "Pip installed these into " + dir + ", for everybody: the distribution's programs import them, and no package knows of them."
	switch dir {
	case p.UserSite:
		f.Kind, f.Risk = "user-packages", RiskNote
		f.What = "Pip installed these into " + dir + ", for this user: the distribution's programs import them, too, when this user runs them."
		f.Undo = uninstall(p, names)
	case p.Purelib, p.Platlib:
		if f.Undo = uninstall(p, names); f.Undo != nil {
			f.Undo[0] = e.root(f.Undo[0]...)
		}
	default: // where no option but --target lets pip install, pip does not remove either
		f.Undo = [][]string{e.root(append([]string{"rm", "-r"}, files...)...)}
	}
	e.find(f)
}

// uninstall is the command by which a Python's pip removes projects; none without pip.
func uninstall(p *Python, names []string) [][]string {
	if p.Pip == nil {
		return nil
	}
	argv := []string{p.Executable, "-m", "pip", "uninstall", "--yes"}
	if newer(p.Pip.Version, 23, 0, 1) {
		argv = append(argv, "--break-system-packages") // even to remove what should not be there is what pip refuses
	}
	return [][]string{append(argv, names...)}
}

// recorded are the paths in dir that a project consists of and no package owns; a directory stands for all that is in it.
func (e *examination) recorded(dir, metadata string) []string {
	list := []string{metadata}
	text, _ := e.read(path.Join(metadata, "RECORD"), configLimit<<4)
	for line := range strings.Lines(string(text)) {
		file, _, _ := strings.Cut(strings.TrimSpace(line), ",")
		top, _, _ := strings.Cut(file, "/")
		if top == "" || top == ".." || top == "__pycache__" || !fs.ValidPath(file) {
			continue // elsewhere, or quoted, which no sane name is
		}
		if full := path.Join(dir, top); e.packages.owner[full] == "" {
			file = top
		}
		full := path.Join(dir, file)
		if _, err := fs.Lstat(e.fsys, fsName(full)); err == nil && e.packages.owner[full] == "" && !slices.Contains(list, full) {
			list = append(list, full)
		}
	}
	return list
}

// shadowed is the version of a project that a package installed into another directory of the same Python.
func (e *examination) shadowed(p *Python, project, dir string) string {
	for _, other := range p.Site {
		if other == dir {
			continue
		}
		for _, entry := range e.list(other) {
			have, version, ok := distribution(entry.Name())
			if ok && plain(have) == plain(project) && e.packages.owner[path.Join(other, entry.Name())] != "" {
				return version
			}
		}
	}
	return ""
}

// plain is the name of a project as all its spellings have it.
func plain(project string) string {
	return strings.ToLower(strings.NewReplacer("_", "-", ".", "-").Replace(project))
}

// changed finds files of packages in the site directories that are gone, or not what was unpacked. Only those are read that were
// written after their package, which pip's always are.
func (e *examination) changed() {
	bad := map[string][]string{}
	sums := map[string]map[string]string{}
	for _, file := range slices.Sorted(maps.Keys(e.packages.owner)) {
		pkg := e.packages.owner[file]
		full, ok := e.packages.full[pkg]
		if !ok || path.Ext(file) == ".pyc" || e.packages.diverted[file] != "" {
			continue
		}
		info, err := fs.Lstat(e.fsys, fsName(file))
		if errors.Is(err, fs.ErrNotExist) {
			bad[pkg] = append(bad[pkg], file+" (gone)")
			continue
		}
		if err != nil || !info.Mode().IsRegular() || !info.ModTime().After(e.packages.since[pkg]) {
			continue
		}
		if sums[pkg] == nil {
			sums[pkg] = e.sums(full)
		}
		want, known := sums[pkg][file]
		text, err := e.read(file, markerLimit)
		if sum := md5.Sum(text); known && err == nil && hex.EncodeToString(sum[:]) != want {
			bad[pkg] = append(bad[pkg], file)
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(bad)) {
		e.find(Finding{Risk: RiskHigh, Kind: "changed", Path: path.Dir(bad[pkg][0]), Items: bad[pkg],
			What: "These files of the package " + pkg + " are not what the distribution installed.", Undo: e.reinstall(pkg)})
	}
}

// sums are the digests of a package's files, by absolute path. They are MD5, which is enough against mishaps, and all there is.
func (e *examination) sums(full string) map[string]string {
	sums := map[string]string{}
	text, _ := e.read(path.Join(dpkgInfo, full+".md5sums"), configLimit<<6)
	for line := range strings.Lines(string(text)) {
		if sum, file, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  "); ok {
			sums["/"+file] = sum
		}
	}
	return sums
}

// reinstall makes the distribution put a package's files back.
func (e *examination) reinstall(pkg string) [][]string {
	if e.manager == nil {
		return nil
	}
	return [][]string{e.root(append(slices.Clone(e.manager.reinstall), pkg)...)}
}

// markers finds those of the distribution that are not where, or not what, its packages say.
func (e *examination) markers(ctx context.Context) {
	for i := range e.report.Pythons {
		p := &e.report.Pythons[i]
		if p.Error != "" || p.Owner.Kind != "package" {
			continue
		}
		pkg := cmp.Or(e.packages.markers[p.Marker.Path], p.Owner.Name)
		switch p.Marker.State {
		case MarkerAbsent:
			if e.manager != nil && e.manager.files != nil && e.packages.markers[p.Marker.Path] == "" {
				e.listed(ctx, p)
			}
		case MarkerOverlooked:
			e.find(Finding{Risk: RiskHigh, Kind: "marker-overlooked", Path: p.Marker.Path,
				What: "The distribution's marker " + p.Marker.Path + " is " + p.Marker.Problem + ", which pip overlooks: nothing keeps it from changing this Python.",
				Undo: append([][]string{e.root("rm", "-r", p.Marker.Path)}, e.reinstall(pkg)...)})
		case MarkerBroken:
			e.find(Finding{Risk: RiskMedium, Kind: "marker-broken", Path: p.Marker.Path,
				What: "The marker " + p.Marker.Path + " cannot be read (" + p.Marker.Problem + "): pip ends with an internal error instead of an explanation.",
				Undo: e.reinstall(pkg)})
		case MarkerUnknown:
			e.find(Finding{Risk: RiskNote, Kind: "marker-unknown", Path: p.Marker.Path,
				What: "Whether there is a marker at " + p.Marker.Path + " cannot be seen: " + p.Marker.Problem + "."})
		}
	}
	for _, marker := range slices.Sorted(maps.Keys(e.packages.markers)) {
		_, err := fs.Lstat(e.fsys, fsName(marker))
		gone := errors.Is(err, fs.ErrNotExist)
		to, diverted := e.packages.diverted[marker]
		switch {
		case diverted && gone:
			e.find(Finding{Risk: RiskHigh, Kind: "marker-diverted", Path: marker,
				What: "The distribution's marker was diverted to " + to + ": pip does not find it, and nothing keeps it from changing this Python. Upgrades of the distribution keep it away.",
				Undo: [][]string{e.root("dpkg-divert", "--rename", "--remove", marker)}})
		case diverted:
			e.find(Finding{Risk: RiskNote, Kind: "marker-diverted", Path: marker,
				What: "The marker " + marker + " is not the distribution's, which was diverted to " + to + "."})
		case gone:
			e.missing(marker, e.packages.markers[marker])
		}
	}
}

// missing reports a marker that a package should have.
func (e *examination) missing(marker, pkg string) {
	e.find(Finding{Risk: RiskHigh, Kind: "marker-missing", Path: marker,
		What: "The marker of the package " + pkg + " was deleted: nothing keeps pip from changing what the distribution's programs import. The next upgrade of the package brings it back.",
		Undo: e.reinstall(pkg)})
}

// listed looks for a marker that is not there in the list of files of the packages that should hold it.
func (e *examination) listed(ctx context.Context, p *Python) {
	// Fedora's interpreter and its library are two packages.
	for _, pkg := range []string{p.Owner.Name, p.Owner.Name + "-libs", "lib" + p.Owner.Name} {
		out, _ := e.run(ctx, slices.Concat(plainWords, e.manager.files, []string{pkg})...)
		for line := range strings.Lines(string(out)) {
			if "/"+strings.TrimLeft(strings.TrimSpace(line), "/") == p.Marker.Path {
				e.missing(p.Marker.Path, pkg)
				return
			}
		}
		if e.manager.owner[0] != "rpm" {
			return
		}
	}
}
