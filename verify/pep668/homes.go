package pep668

import (
	"cmp"
	"path"
	"strings"
)

// home is where a manager of Pythons keeps them.
type home struct {
	kind string // as in Owner.Kind
	// roots hold whatever belongs to the manager, dirs are the prefixes of Pythons in them.
	roots, dirs []string
}

// homes are the places of the managers that keep Pythons for a user.
func (e *examination) homes() []home {
	data := e.variable("XDG_DATA_HOME", path.Join(e.Home, ".local/share"))
	pyenv := e.pyenv()
	uv := e.variable("UV_PYTHON_INSTALL_DIR", path.Join(data, "uv/python"))
	asdf := e.variable("ASDF_DATA_DIR", path.Join(e.Home, ".asdf"))
	mise := e.variable("MISE_DATA_DIR", path.Join(data, "mise"))
	list := []home{
		{"pyenv", []string{pyenv}, e.below(path.Join(pyenv, "versions"))},
		{"uv", []string{uv}, e.below(uv)},
		{"asdf", []string{asdf}, e.below(path.Join(asdf, "installs/python"))},
		{"mise", []string{mise}, e.below(path.Join(mise, "installs/python"))},
	}
	conda := home{kind: "conda"}
	if active, ok := e.env("CONDA_PREFIX"); ok && active != "" {
		conda.dirs = append(conda.dirs, e.absolute(active))
	}
	for _, dir := range []string{"miniconda3", "anaconda3", "miniforge3", "mambaforge", "micromamba"} {
		conda.roots = append(conda.roots, path.Join(e.Home, dir))
	}
	conda.roots = append(conda.roots, "/opt/conda", "/opt/miniconda3", "/opt/anaconda3", "/opt/miniforge3")
	for _, root := range conda.roots {
		conda.dirs = append(append(conda.dirs, root), e.below(path.Join(root, "envs"))...)
	}
	brew := home{kind: "homebrew", roots: []string{"/home/linuxbrew/.linuxbrew", "/opt/homebrew", path.Join(e.Home, ".linuxbrew")}}
	brew.dirs = brew.roots
	return append(list, conda, brew)
}

// variable is a directory that a variable names.
func (e *examination) variable(name, otherwise string) string {
	value, _ := e.env(name)
	return e.absolute(cmp.Or(value, otherwise))
}

func (e *examination) pyenv() string { return e.variable("PYENV_ROOT", path.Join(e.Home, ".pyenv")) }

// isShim says whether dir holds pyenv's scripts that choose a Python when they are run.
func (e *examination) isShim(dir string) bool { return dir == path.Join(e.pyenv(), "shims") }

// shim is the program that pyenv chooses for its shim of this name; "" for none. Pyenv itself would take longer to say it than
// all Pythons together to be asked.
func (e *examination) shim(program string) string {
	for _, version := range e.selected() {
		if file := path.Join(e.pyenv(), "versions", version, "bin", program); e.isFile(file) {
			return file
		}
	}
	return ""
}

// selected are the versions that pyenv puts first here: by variable, by a file of the nearest directory, or for the user.
func (e *examination) selected() []string {
	if v, ok := e.env("PYENV_VERSION"); ok && v != "" {
		return strings.Split(v, ":")
	}
	files := []string{path.Join(e.pyenv(), "version")}
	for dir := e.Dir; ; dir = path.Dir(dir) {
		if file := path.Join(dir, ".python-version"); e.isFile(file) {
			files = []string{file}
			break
		}
		if dir == "/" || dir == "." {
			break
		}
	}
	var versions []string
	text, _ := e.read(files[0], configLimit)
	for line := range strings.Lines(string(text)) {
		if v := strings.Fields(line); len(v) > 0 && v[0][0] != '#' {
			versions = append(versions, e.patch(strings.TrimPrefix(v[0], "python-")))
		}
	}
	return versions
}

// patch is the newest installed version that a series stands for: "3.13" is 3.13.0.
func (e *examination) patch(version string) string {
	best := ""
	for _, dir := range e.below(path.Join(e.pyenv(), "versions")) {
		v := path.Base(dir)
		if v == version {
			return version
		}
		if rest, ok := strings.CutPrefix(v, version+"."); ok && (best == "" || len(rest) >= len(best)-len(version)-1 && v > best) {
			best = v
		}
	}
	return cmp.Or(best, version)
}
