package pep668

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// A Package is one of the distribution's, for a project that the user asked for.
type Package struct {
	Project string `json:"project"` // as the user called it
	// Name is the package; empty when the lists have none.
	Name string `json:"name,omitempty"`
	// Version is what would be installed, where the package manager says so.
	Version   string `json:"version,omitempty"`
	Installed bool   `json:"installed"`
}

// A Way is one way to get what the user wants.
type Way struct {
	// Way is package, pipx, venv, pybuild or override.
	Way string `json:"way"`
	// When says what it is good for.
	When string `json:"when"`
	// Commands do it on this machine, in this order. NAME stands for what is to be installed where nothing was asked for.
	Commands [][]string `json:"commands"`
	Note     string     `json:"note,omitempty"`
}

// calledOtherwise are projects that Debian and its kin call by another name: that which is imported, or was before it was renamed.
var calledOtherwise = map[string]string{
	"attrs": "attr", "beautifulsoup4": "bs4", "mysqlclient": "mysqldb", "opencv-python": "opencv", "pillow": "pil", "psycopg2-binary": "psycopg2",
	"pycairo": "cairo", "pygobject": "gi", "pyjwt": "jwt", "pyopenssl": "openssl", "pyserial": "serial", "python-dateutil": "dateutil",
	"pyusb": "usb", "pyyaml": "yaml", "pyxdg": "xdg", "pyzmq": "zmq", "scikit-image": "skimage", "scikit-learn": "sklearn",
}

// named are the packages that a project may be in, best first.
func (m *manager) named(project string) []string {
	lower := strings.ToLower(project)
	dashed := strings.ReplaceAll(lower, "_", "-")
	names := []string{dashed, plain(lower)}
	if short, ok := strings.CutPrefix(dashed, "python-"); ok {
		names = append(names, short)
	}
	if other, ok := calledOtherwise[plain(lower)]; ok && m.tool == "apt-get" {
		names = slices.Insert(names, 0, other)
	}
	var list []string
	for _, n := range names {
		if n = m.library + strings.TrimPrefix(n, m.library); !slices.Contains(list, n) {
			list = append(list, n)
		}
	}
	return list
}

// lookUp asks the distribution's lists for the projects, and for pipx and venv. It reads the lists that are there: none is fetched.
func (e *examination) lookUp(ctx context.Context) {
	if e.manager == nil {
		return
	}
	for _, project := range e.Names {
		names := e.manager.named(project)
		application := strings.ReplaceAll(strings.ToLower(project), "_", "-")
		if e.manager.available == nil {
			names = append(names, application)
		}
		found := e.policy(ctx, names...)
		p := Package{Project: project}
		for _, name := range names {
			if have, ok := found[name]; ok && (name != application || e.isPython(ctx, name)) {
				p.Name, p.Version, p.Installed = name, have.Version, have.Installed
				break
			}
		}
		e.report.Packages = append(e.report.Packages, p)
	}
}

// isPython says whether a package that has the name of a project without the library's prefix, as applications do, is of Python at
// all: others have taken the same names. Only apt says it quickly.
func (e *examination) isPython(ctx context.Context, pkg string) bool {
	out, err := e.run(ctx, slices.Concat(plainWords, []string{"apt-cache", "depends", pkg})...)
	return err == nil && strings.Contains(string(out), "Depends: python3")
}

// policy is what the lists have of these packages, by name.
func (e *examination) policy(ctx context.Context, names ...string) map[string]Package {
	found := map[string]Package{}
	if e.manager.available == nil {
		out, _ := e.run(ctx, slices.Concat(plainWords, []string{"apt-cache", "policy"}, names)...)
		name := ""
		for line := range strings.Lines(string(out)) {
			line = strings.TrimSuffix(line, "\n")
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch {
			case line != "" && line[0] != ' ':
				name = strings.TrimSuffix(line, ":")
			case key == "Installed" && value != "(none)":
				found[name] = Package{Name: name, Version: value, Installed: true}
			case key == "Candidate" && value != "(none)":
				found[name] = Package{Name: name, Version: value, Installed: found[name].Installed}
			}
		}
		return found
	}
	for _, name := range names {
		_, err := e.run(ctx, slices.Concat(plainWords, e.manager.installed, []string{name})...)
		if err == nil {
			found[name] = Package{Name: name, Installed: true}
			continue
		}
		// Some of them succeed without an answer when they find nothing.
		out, err := e.run(ctx, slices.Concat(plainWords, e.manager.available, []string{name})...)
		if err == nil && strings.Contains(string(out), name) {
			found[name] = Package{Name: name}
		}
	}
	return found
}

// install is the command that installs packages.
func (e *examination) install(names ...string) []string {
	return e.root(slices.Concat(e.Install, names)...)
}

// advise lists the ways out, those first that suit most.
func (e *examination) advise(ctx context.Context) {
	names := e.Names
	if len(names) == 0 {
		names = []string{"NAME"}
	}
	have := map[string]Package{}
	python := e.system()
	if e.manager != nil {
		ask := []string{e.manager.pipx}
		if e.manager.venv != "" {
			ask = append(ask, e.manager.venv, e.versionedVenv(python))
		}
		have = e.policy(ctx, ask...)
		e.advisePackages()
	}
	e.advisePipx(names, have)
	e.adviseVenv(python, names, have)
	e.adviseOwn(names)
	e.report.Advice = append(e.report.Advice, Way{Way: "override", Commands: [][]string{},
		When: "never on a machine that matters",
		Note: "`pip install --break-system-packages` does what it says: pip may put versions before, or over, those that the distribution's programs were tested with, " +
			"and the package manager does not know. A deleted marker does the same for everybody, until the next upgrade brings it back."})
}

func (e *examination) advisePackages() {
	w := Way{Way: "package", When: "when the distribution has it: its version fits the system, and is updated with it", Commands: [][]string{}}
	var missing, install, there []string
	for _, p := range e.report.Packages {
		switch {
		case p.Name == "":
			missing = append(missing, p.Project)
		case p.Installed:
			there = append(there, p.Name)
		case !slices.Contains(install, p.Name):
			install = append(install, p.Name)
		}
	}
	if len(install) > 0 {
		w.Commands = append(w.Commands, e.install(install...))
	}
	var notes []string
	if len(e.Names) == 0 {
		notes = append(notes, "`pybuild doctor NAME` looks NAME up in the distribution's lists.")
	}
	if len(there) > 0 {
		notes = append(notes, strings.Join(there, ", ")+" is installed already.")
	}
	if len(missing) > 0 {
		notes = append(notes, "The lists of packages do not have "+strings.Join(missing, ", ")+" by any name that was tried.")
		if len(e.Refresh) > 0 && e.manager.tool == "apt-get" && !e.lists() {
			notes = append(notes, "But there are no lists on this machine: fetch them, and ask again.")
			w.Commands = append(w.Commands, e.root(e.Refresh...))
		}
	}
	w.Note = strings.Join(notes, " ")
	e.report.Advice = append(e.report.Advice, w)
}

// lists says whether apt has lists of packages.
func (e *examination) lists() bool {
	return slices.ContainsFunc(e.list("/var/lib/apt/lists"), func(entry fs.DirEntry) bool {
		return strings.Contains(entry.Name(), "_Packages")
	})
}

func (e *examination) advisePipx(names []string, have map[string]Package) {
	w := Way{Way: "pipx", When: "for an application: a command that you run, not a module that you import", Commands: [][]string{}}
	there := slices.ContainsFunc(e.onPath(), func(dir string) bool { return e.isFile(path.Join(dir, "pipx")) })
	if !there {
		if e.manager == nil || have[e.manager.pipx].Name == "" {
			return
		}
		w.Commands = append(w.Commands, e.install(e.manager.pipx))
	}
	for _, name := range names {
		w.Commands = append(w.Commands, []string{"pipx", "install", name})
	}
	w.Note = "Each application gets an environment of its own below ~/.local, and its commands are in ~/.local/bin."
	e.report.Advice = append(e.report.Advice, w)
}

// system is the Python with which an environment is made: the one called python3, else the first with a marker.
func (e *examination) system() *Python {
	if p := e.called("python3"); p != nil && p.Error == "" && p.Venv == nil {
		return p
	}
	for i, p := range e.report.Pythons {
		if p.Error == "" && p.Venv == nil && strings.HasPrefix(p.Version, "3.") {
			return &e.report.Pythons[i]
		}
	}
	return nil
}

// versionedVenv is the package that brings venv to one of several Pythons of Debian's.
func (e *examination) versionedVenv(p *Python) string {
	if p == nil {
		return e.manager.venv
	}
	major, rest, _ := strings.Cut(p.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return "python" + major + "." + minor + "-venv"
}

func (e *examination) adviseVenv(p *Python, names []string, have map[string]Package) {
	if p == nil {
		return
	}
	w := Way{Way: "venv", When: "for a project of yours, in its own directory", Commands: [][]string{}}
	if !e.isFile(path.Join(p.Stdlib, "ensurepip/__init__.py")) && p.Owner.Kind == "package" && e.manager != nil && e.manager.venv != "" {
		pkg := e.versionedVenv(p)
		if have[pkg].Name == "" {
			pkg = e.manager.venv
		}
		w.Commands = append(w.Commands, e.install(pkg))
	}
	w.Commands = append(w.Commands,
		[]string{e.short(p), "-m", "venv", ".venv"},
		append([]string{".venv/bin/python", "-m", "pip", "install"}, names...))
	w.Note = "`. .venv/bin/activate` puts it first in PATH; there `pip` means the pip of the environment."
	e.report.Advice = append(e.report.Advice, w)
}

// short is how a user calls a Python: by the name alone where that is enough.
func (e *examination) short(p *Python) string {
	for _, program := range []string{"python3", "python"} {
		if e.called(program) == p {
			return program
		}
	}
	return p.Executable
}

// adviseOwn offers a Python without a marker: one of ours that is there, else one to be built.
func (e *examination) adviseOwn(names []string) {
	w := Way{Way: "pybuild", When: "when you want one in which pip simply works, next to the distribution's", Commands: [][]string{},
		Note: "It shares nothing with the distribution's Python, which stays as it is."}
	for i := range e.report.Pythons {
		if p := &e.report.Pythons[i]; p.Owner.Kind == "pybuild" && p.Install == Installs {
			w.Commands = append(w.Commands, e.rootFor(p, append([]string{p.Executable, "-m", "pip", "install"}, names...)))
			w.Note = p.Executable + " is there already. " + w.Note
			e.report.Advice = append(e.report.Advice, w)
			return
		}
	}
	if e.Series == "" {
		return
	}
	program := "/usr/local/bin/python" + e.Series
	w.Commands = append(w.Commands,
		e.root("pybuild", e.Series, "--prefix", "/usr/local", "--install-deps", "--yes"),
		e.root(append([]string{program, "-m", "pip", "install"}, names...)...))
	e.report.Advice = append(e.report.Advice, w)
}

// rootFor is a command that writes to the prefix of a Python.
func (e *examination) rootFor(p *Python, argv []string) []string {
	if strings.HasPrefix(p.Prefix, e.Home+"/") && e.Home != "/" {
		return argv
	}
	return e.root(argv...)
}
