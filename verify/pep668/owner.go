package pep668

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"time"
)

// manager is what has to be known of a distribution's package manager to ask it.
type manager struct {
	tool string // the program that installs
	// library comes before the name of a project, in the name of the package that holds it.
	library string
	// reinstall, available, installed and files are argv before the names of packages; owner before paths.
	reinstall, available, installed, files, owner []string
	// pipx and venv are packages; venv is empty where every Python has it.
	pipx, venv string
}

// plainWords is the environment for commands whose words are read.
var plainWords = []string{"env", "LC_ALL=C"}

var managers = []manager{
	{tool: "apt-get", library: "python3-", pipx: "pipx", venv: "python3-venv",
		reinstall: []string{"apt-get", "install", "--yes", "--reinstall"}},
	{tool: "dnf", library: "python3-", pipx: "pipx",
		reinstall: []string{"dnf", "reinstall", "--assumeyes"}, available: []string{"dnf", "--quiet", "--cacheonly", "repoquery"},
		installed: []string{"rpm", "--query"}, files: []string{"rpm", "--query", "--list"}, owner: []string{"rpm", "--query", "--queryformat", `%{NAME}\n`, "--file"}},
	{tool: "zypper", library: "python3-", pipx: "python3-pipx",
		reinstall: []string{"zypper", "--non-interactive", "install", "--force"}, available: []string{"zypper", "--non-interactive", "--quiet", "--no-refresh", "search", "--match-exact"},
		installed: []string{"rpm", "--query"}, files: []string{"rpm", "--query", "--list"}, owner: []string{"rpm", "--query", "--queryformat", `%{NAME}\n`, "--file"}},
	{tool: "pacman", library: "python-", pipx: "python-pipx",
		reinstall: []string{"pacman", "--sync", "--noconfirm"}, available: []string{"pacman", "--sync", "--info"},
		installed: []string{"pacman", "--query"}, files: []string{"pacman", "--query", "--list", "--quiet"}, owner: []string{"pacman", "--query", "--owns"}},
	{tool: "apk", library: "py3-", pipx: "pipx",
		reinstall: []string{"apk", "fix", "--reinstall"}, available: []string{"apk", "search", "--exact"},
		installed: []string{"apk", "info", "--installed"}, files: []string{"apk", "info", "--contents"}, owner: []string{"apk", "info", "--who-owns"}},
	{tool: "xbps-install", library: "python3-", pipx: "python3-pipx",
		reinstall: []string{"xbps-install", "--force", "--yes"}, available: []string{"xbps-query", "--repository", "--property", "pkgver"},
		installed: []string{"xbps-query"}, files: []string{"xbps-query", "--files"}, owner: []string{"xbps-query", "--ownedby"}},
}

// managerOf is the manager that an argv belongs to; nil for a stranger.
func managerOf(install []string) *manager {
	if len(install) == 0 {
		return nil
	}
	tool := path.Base(install[0])
	if tool == "yum" || tool == "microdnf" {
		tool = "dnf"
	}
	for i := range managers {
		if managers[i].tool == tool {
			return &managers[i]
		}
	}
	return nil
}

// packages is what the package database says about Pythons.
type packages struct {
	owner map[string]string // package by path: of interpreters, and of all files in site directories
	// markers are the packages of markers, there or not, by path.
	markers map[string]string
	// diverted are the paths to which dpkg moved files, by the original path.
	diverted map[string]string
	// since is when a package was unpacked, by package with its architecture; full is that name by package.
	since map[string]time.Time
	full  map[string]string
}

// own finds out who put every Python there, and reads the markers.
func (e *examination) own(ctx context.Context) {
	e.packages = packages{owner: map[string]string{}, markers: map[string]string{}, diverted: map[string]string{}, since: map[string]time.Time{}, full: map[string]string{}}
	var paths, trees []string
	for _, p := range e.report.Pythons {
		paths = append(paths, p.Real)
		for _, dir := range p.Site {
			if p.Venv == nil && strings.HasPrefix(dir, "/usr/lib/") && !slices.Contains(trees, dir) {
				trees = append(trees, dir)
			}
		}
	}
	switch {
	case e.isFile("/var/lib/dpkg/status"):
		e.dpkg(paths, trees)
	case e.manager != nil && len(paths) > 0:
		e.query(ctx, paths)
	}
	homes := e.homes()
	for i := range e.report.Pythons {
		p := &e.report.Pythons[i]
		p.Owner = e.ownerOf(p, homes)
		if p.Stdlib != "" {
			p.Marker = Read(e.Root, p.Stdlib, p.Language)
		}
	}
}

func (e *examination) ownerOf(p *Python, homes []home) Owner {
	prefix := path.Dir(path.Dir(p.Real))
	switch {
	case p.Venv != nil:
		return Owner{Kind: "venv"}
	case e.packages.owner[p.Real] != "":
		return Owner{Kind: "package", Name: e.packages.owner[p.Real]}
	case e.isFile(path.Join(prefix, "share/pybuild", path.Base(p.Real)+".json")):
		return Owner{Kind: "pybuild"}
	case e.isDir(path.Join(prefix, "conda-meta")):
		return Owner{Kind: "conda"}
	}
	for _, h := range homes {
		for _, root := range h.roots {
			if real, err := e.resolve(root); err == nil && strings.HasPrefix(p.Real, real+"/") {
				return Owner{Kind: h.kind}
			}
		}
	}
	return Owner{Kind: "other"}
}

const dpkgInfo = "/var/lib/dpkg/info"

// dpkg reads dpkg's lists of files, all that dpkg itself would read to answer one question, once for all questions.
func (e *examination) dpkg(paths, trees []string) {
	wanted := map[string]bool{}
	for _, p := range paths {
		wanted[p] = true
	}
	for _, entry := range e.list(dpkgInfo) {
		full, ok := strings.CutSuffix(entry.Name(), ".list")
		if !ok {
			continue
		}
		text, err := e.read(path.Join(dpkgInfo, entry.Name()), configLimit<<6)
		if err != nil {
			continue
		}
		pkg, _, _ := strings.Cut(full, ":")
		owns := false
		for line := range bytes.Lines(text) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			switch {
			case wanted[string(line)]:
				e.packages.owner[string(line)] = pkg
			case bytes.HasSuffix(line, []byte("/"+MarkerName)):
				e.packages.markers[string(line)] = pkg
			default:
				for _, tree := range trees {
					if len(line) > len(tree) && line[len(tree)] == '/' && string(line[:len(tree)]) == tree {
						e.packages.owner[string(line)] = pkg
						owns = true
					}
				}
			}
		}
		if owns {
			e.packages.full[pkg] = full
			if info, err := entry.Info(); err == nil {
				e.packages.since[pkg] = info.ModTime()
			}
		}
	}
	text, _ := e.read("/var/lib/dpkg/diversions", configLimit<<4)
	lines := strings.Split(string(text), "\n")
	for ; len(lines) >= 3; lines = lines[3:] { // from, to, by whom
		e.packages.diverted[lines[0]] = lines[1]
	}
}

// query asks the package manager who owns the paths: in one call where its answer names them.
func (e *examination) query(ctx context.Context, paths []string) {
	ask := func(paths ...string) []string {
		out, _ := e.run(ctx, slices.Concat(plainWords, e.manager.owner, paths)...) // fails when one of them has no owner
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	switch e.manager.owner[0] {
	case "rpm": // a line for each, in their order, unless one has two owners
		lines := ask(paths...)
		for i, p := range paths {
			line := ""
			if len(lines) == len(paths) {
				line = lines[i]
			} else {
				line = ask(p)[0]
			}
			if line != "" && !strings.Contains(line, " ") {
				e.packages.owner[p] = line
			}
		}
	case "xbps-query": // python3-3.12.7_1: /usr/bin/python3.12 (regular file)
		for _, p := range paths {
			if pkg, _, ok := strings.Cut(ask(p)[0], ": "); ok {
				e.packages.owner[p] = unversioned(pkg, 1)
			}
		}
	default: // /usr/bin/python3.12 is owned by python 3.12.7-1, or python3-3.12.7-r1 with apk
		for _, line := range ask(paths...) {
			file, pkg, ok := strings.Cut(line, " is owned by ")
			if !ok {
				continue
			}
			if name, _, spaced := strings.Cut(pkg, " "); spaced {
				pkg = name
			} else {
				pkg = unversioned(pkg, 2)
			}
			e.packages.owner[file] = pkg
		}
	}
}

// unversioned cuts the last fields, divided by hyphens, off the name of a package.
func unversioned(pkg string, fields int) string {
	for range fields {
		if i := strings.LastIndexByte(pkg, '-'); i > 0 {
			pkg = pkg[:i]
		}
	}
	return pkg
}
