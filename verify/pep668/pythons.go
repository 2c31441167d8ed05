package pep668

import (
	"context"
	_ "embed"
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// A Python is one interpreter, or one virtual environment.
type Python struct {
	// Executable is the name by which it was found first.
	Executable string `json:"executable"`
	// Names are all names that lead to it.
	Names []Name `json:"names"`
	// Real is the interpreter itself, without links.
	Real string `json:"real"`
	// Error says why it does not start; what comes after it is then not known.
	Error          string `json:"error,omitempty"`
	Version        string `json:"version"`
	Implementation string `json:"implementation"`
	Prefix         string `json:"prefix"`
	BasePrefix     string `json:"base_prefix"`
	// Venv is the virtual environment that it belongs to.
	Venv *Venv `json:"venv,omitempty"`
	// Stdlib is the directory in which pip looks for the marker; Scheme, Purelib, Platlib and Scripts are where pip installs to,
	// UserSite with --user, and Site what the interpreter imports from.
	Stdlib   string   `json:"stdlib"`
	Scheme   string   `json:"scheme"`
	Purelib  string   `json:"purelib"`
	Platlib  string   `json:"platlib"`
	Scripts  string   `json:"scripts"`
	UserSite string   `json:"user_site"`
	Site     []string `json:"site"`
	// Language is what it takes for the user's: "de_DE"; empty for that of the C locale.
	Language string `json:"language,omitempty"`
	Owner    Owner  `json:"owner"`
	Marker   Marker `json:"marker"`
	// Pip is its pip; nil for none.
	Pip *PipModule `json:"pip,omitempty"`
	// Install is what its pip does when told to install: Refuses and so on.
	Install string `json:"install"`
}

// A Name is a path that leads to a Python.
type Name struct {
	Path   string `json:"path"`
	OnPath bool   `json:"on_path"` // in a directory of PATH
	// Shadowed says that an earlier directory of PATH has the same name.
	Shadowed bool `json:"shadowed,omitempty"`
}

// Venv is a virtual environment.
type Venv struct {
	Dir string `json:"dir"`
	// SystemSite says that it sees the packages of the Python that it was made with.
	SystemSite bool   `json:"system_site"`
	Home       string `json:"home"` // the directory of that Python
}

// PipModule is a pip that a Python imports.
type PipModule struct {
	Version string `json:"version"`
	Path    string `json:"path"` // of its metadata
}

// An Owner is who put a Python there, and changes it.
type Owner struct {
	// Kind is package, pybuild, pyenv, uv, conda, homebrew, asdf, mise, venv or other.
	Kind string `json:"kind"`
	Name string `json:"name,omitempty"` // of the package
}

// candidate is what may be a Python.
type candidate struct {
	exec, real, venv string
	names            []Name
	// unasked says that it must not be run: nobody has called it, and it may be anybody's.
	unasked bool
}

var (
	pythonName = regexp.MustCompile(`^(python|pypy)([23](\.[0-9]+[td]*)?)?$`)
	pipName    = regexp.MustCompile(`^pip([23](\.[0-9]+t?)?)?$`)
)

// search finds everything that has the name of a Python, in PATH first.
func (e *examination) search() {
	dirs := e.onPath()
	onPath := len(dirs)
	dirs = append(dirs, "/usr/bin", "/usr/local/bin")
	add := func(prefixes ...string) {
		for _, p := range prefixes {
			dirs = append(dirs, path.Join(p, "bin"))
		}
	}
	add(e.Prefixes...)
	add(e.below("/opt/python")...)
	add(e.below("/opt")...)
	for _, manager := range e.homes() {
		add(manager.dirs...)
	}
	if venv, ok := e.env("VIRTUAL_ENV"); ok && venv != "" {
		add(e.absolute(venv))
	}
	trusted := len(dirs)
	add(path.Join(e.Dir, ".venv"), path.Join(e.Dir, "venv"))
	seen := map[string]bool{}
	first := map[string]bool{}
	for i, dir := range dirs {
		real, err := e.resolve(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		for _, entry := range e.list(real) {
			program := entry.Name()
			if !pythonName.MatchString(program) {
				continue
			}
			n := Name{Path: path.Join(dir, program), OnPath: i < onPath, Shadowed: i < onPath && first[program]}
			target := n.Path
			if e.isShim(dir) {
				if target = e.shim(program); target == "" {
					continue // of no Python that is selected here: pyenv goes on to the next in PATH, or stops
				}
			}
			known := len(e.candidates)
			c := e.add(target, n)
			if c == nil {
				continue
			}
			if n.OnPath {
				first[program] = true
			}
			if len(e.candidates) > known {
				c.unasked = i >= trusted
			}
		}
	}
}

// onPath are the directories of PATH.
func (e *examination) onPath() (dirs []string) {
	list, _ := e.env("PATH")
	for dir := range strings.SplitSeq(list, ":") {
		dirs = append(dirs, e.absolute(dir))
	}
	return dirs
}

// add notes that a program, by the name n, may be a Python; nil when it is none.
func (e *examination) add(file string, n Name) *candidate {
	real, err := e.resolve(file)
	if err != nil {
		return nil
	}
	info, err := fs.Lstat(e.fsys, fsName(real))
	if err != nil || !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return nil
	}
	c := &candidate{exec: file, real: real, venv: e.venvOf(file)}
	identity := real
	if c.venv != "" {
		identity = c.venv + ":" + real
	}
	if known, ok := e.candidate[identity]; ok {
		c = known
	} else {
		e.candidate[identity] = c
		e.candidates = append(e.candidates, c)
	}
	for _, other := range c.names {
		if other.Path == n.Path {
			return c
		}
	}
	c.names = append(c.names, n)
	return c
}

// venvOf is the virtual environment that an interpreter called by this name finds itself in: Python looks beside the name, not
// beside what it links to. The path has no links.
func (e *examination) venvOf(file string) string {
	for _, dir := range []string{path.Dir(file), path.Dir(path.Dir(file))} {
		if e.isFile(path.Join(dir, "pyvenv.cfg")) {
			if real, err := e.resolve(path.Dir(path.Dir(file))); err == nil {
				return real
			}
		}
	}
	return ""
}

//go:embed probe.py
var probeScript string

// sideBySide is how many interpreters are asked at once.
const sideBySide = 8

// probe asks every Python where it lives.
func (e *examination) probe(ctx context.Context) {
	e.report.Pythons = make([]Python, len(e.candidates))
	free := make(chan struct{}, sideBySide)
	var all sync.WaitGroup
	for i, c := range e.candidates {
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			p := e.ask(ctx, c)
			p.Executable, p.Real, p.Names = c.exec, c.real, c.names
			e.report.Pythons[i] = p
		})
	}
	all.Wait()
	for i, c := range e.candidates {
		p := &e.report.Pythons[i]
		if c.venv != "" {
			p.Venv = e.venv(c.venv)
		}
		if p.Error == "" {
			p.Pip = e.pipOf(p)
		}
	}
}

// ask has a Python tell about itself.
func (e *examination) ask(ctx context.Context, c *candidate) Python {
	p := Python{Site: []string{}}
	if c.unasked {
		e.guess(&p, c.venv)
		return p
	}
	// Not -I, which Python 2 does not know. -B: nothing is written.
	out, err := e.run(ctx, c.exec, "-E", "-s", "-S", "-B", "-c", probeScript)
	if err == nil {
		err = json.Unmarshal(out, &p)
	}
	if err != nil {
		p.Error = err.Error()
	}
	return p
}

// guess tells of an environment in the working directory what can be read. It is not run, because whoever made that directory
// chose what would run: the interpreter, and by pyvenv.cfg its library.
func (e *examination) guess(p *Python, venv string) {
	if venv == "" {
		p.Error = "not an environment, and not run from the working directory"
		return
	}
	p.Prefix, p.Implementation = venv, "cpython"
	p.Version = e.pyvenv(venv)["version"]
	if p.Version == "" {
		p.Version = e.pyvenv(venv)["version_info"]
	}
	for _, lib := range e.below(path.Join(venv, "lib")) {
		if site := path.Join(lib, "site-packages"); e.isDir(site) {
			p.Site, p.Purelib, p.Platlib, p.Scripts = append(p.Site, site), site, site, path.Join(venv, "bin")
		}
	}
}

// venv is the virtual environment in dir.
func (e *examination) venv(dir string) *Venv {
	cfg := e.pyvenv(dir)
	return &Venv{Dir: dir, Home: cfg["home"], SystemSite: strings.EqualFold(cfg["include-system-site-packages"], "true")}
}

// pyvenv reads pyvenv.cfg as Python does: lines of "key = value", without sections.
func (e *examination) pyvenv(dir string) map[string]string {
	text, err := e.read(path.Join(dir, "pyvenv.cfg"), configLimit)
	if err != nil {
		text, _ = e.read(path.Join(dir, "bin/pyvenv.cfg"), configLimit)
	}
	cfg := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, "=")
		cfg[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	return cfg
}

// pipOf finds the pip that a Python imports.
func (e *examination) pipOf(p *Python) *PipModule {
	for _, dir := range append([]string{p.UserSite}, p.Site...) {
		if p.Venv != nil && dir == p.UserSite && !p.Venv.SystemSite {
			continue
		}
		if m := e.pipIn(dir); m != nil {
			return m
		}
	}
	if p.Venv != nil && p.Venv.SystemSite {
		for i := range e.report.Pythons {
			if base := &e.report.Pythons[i]; base.Venv == nil && base.Real == p.Real && base.Error == "" {
				return e.pipOf(base)
			}
		}
	}
	return nil
}

func (e *examination) pipIn(dir string) *PipModule {
	for _, entry := range e.list(dir) {
		if project, version, ok := distribution(entry.Name()); ok && project == "pip" {
			return &PipModule{Version: version, Path: path.Join(dir, entry.Name())}
		}
	}
	return nil
}

// distribution takes the name of a directory of metadata apart: requests-2.31.0.dist-info.
func distribution(entry string) (project, version string, ok bool) {
	stem, isInfo := strings.CutSuffix(entry, ".dist-info")
	if !isInfo {
		if stem, isInfo = strings.CutSuffix(entry, ".egg-info"); !isInfo {
			return "", "", false
		}
	}
	project, version, ok = strings.Cut(stem, "-")
	version, _, _ = strings.Cut(version, "-py")
	return project, version, ok
}

// newer says whether version is at least a.b.c, by its numbers.
func newer(version string, least ...int) bool {
	fields := strings.Split(version, ".")
	for i, want := range least {
		if i >= len(fields) {
			return want == 0
		}
		digits := len(fields[i]) - len(strings.TrimLeft(fields[i], "0123456789"))
		have, err := strconv.Atoi(fields[i][:digits])
		if err != nil || have != want {
			return err == nil && have > want
		}
	}
	return true
}
