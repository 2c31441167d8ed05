package python

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Library is a shared library that files of this Python need.
type Library struct {
	Soname string   `json:"soname"` // as it is asked for
	Path   string   `json:"path"`   // without symbolic links, as it will be when installed; "" when it is missing
	Origin string   `json:"origin"` // one of the Origin constants
	Users  []string `json:"users"`  // the files that need it, relative to the prefix, sorted
}

// Where a library belongs. One from a directory of Request.Libraries is
// foreign, but allowed.
const (
	OriginSystem  = "system"
	OriginPrefix  = "prefix"
	OriginForeign = "foreign"
	OriginMissing = "missing"
)

// systemLibrary matches what is in /lib, /usr/lib, /lib64, /usr/libx32 and
// their kin, and not what is in /usr/local/lib.
var systemLibrary = regexp.MustCompile(`^(/usr)?/lib(32|64|x32)?/`)

// linkage knows libraries in two ways. Those in the process after every module
// had been imported were really used, also such as no file names. Those that
// files ask for are all of them, also such as nothing has used yet.
func (in *inspection) linkage() (string, error) {
	var foreign, libpython []string
	for _, lib := range in.facts.Libraries {
		if strings.HasPrefix(path.Base(lib), "libpython"+in.series()) {
			libpython = append(libpython, lib)
		}
		if in.origin(lib) == OriginForeign && !in.allowed(lib) {
			foreign = append(foreign, lib)
		}
	}
	var missing []error
	for _, lib := range in.libraries {
		switch {
		case lib.Origin == OriginMissing:
			missing = append(missing, &MissingLibraryError{Soname: lib.Soname, Users: lib.Users})
		case lib.Origin == OriginForeign && !in.allowed(lib.Path) && !slices.ContainsFunc(foreign, func(f string) bool { return samePath(f, lib.Path) }):
			foreign = append(foreign, lib.Path)
		}
	}
	var findings []error
	if foreign != nil {
		findings = append(findings, &ForeignError{Libraries: foreign})
	}
	findings = append(append(findings, in.broken...), missing...)
	findings = append(findings, in.searchPaths()...)
	if !in.Stranger { // whose own word on whether it is shared cannot be relied on
		findings = append(findings, in.libpython(libpython)...)
	}
	detail := fmt.Sprintf("%d libraries", len(in.facts.Libraries))
	if in.facts.Libraries == nil {
		detail = "libraries of the process are not known"
	}
	if len(in.files) > 0 {
		detail += fmt.Sprintf(", %d files need %d", len(in.files), len(in.libraries))
	}
	return detail, join(findings)
}

// origin is where the library with this path belongs.
func (in *inspection) origin(lib string) string {
	switch {
	case inside(lib, in.Prefix, in.ConfiguredPrefix):
		return OriginPrefix
	case systemLibrary.MatchString(lib):
		return OriginSystem
	}
	return OriginForeign
}

// allowed says whether the caller allows a foreign library.
func (in *inspection) allowed(lib string) bool { return inside(lib, in.Libraries...) }

// inside says whether path is below one of the directories, by any name of
// theirs: the kernel tells names without symbolic links.
func inside(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		if below(path, dir) {
			return true
		}
		real, err := filepath.EvalSymlinks(dir)
		return err == nil && below(path, real)
	})
}

// searchPaths is what is wrong with the directories that the files bring
// along for the dynamic linker: whoever owns one of them decides what is
// loaded, also long after the build.
func (in *inspection) searchPaths() (findings []error) {
	users := make(map[string][]string)
	for _, f := range in.files {
		for _, dir := range slices.Concat(f.rpath, f.runpath) {
			if real := f.expand(dir); real == "" || !in.trusted(real, dir) {
				users[dir] = append(users[dir], f.name)
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(users)) {
		slices.Sort(users[dir])
		findings = append(findings, &SearchPathError{Dir: dir, Users: slices.Compact(users[dir])})
	}
	return findings
}

// trusted says whether libraries may be looked for in dir. As it was written
// it may lead into the prefix from where the file is; a full name must be the
// one that the prefix will have.
func (in *inspection) trusted(dir, written string) bool {
	if systemLibrary.MatchString(dir+"/") || slices.ContainsFunc(in.Libraries, func(l string) bool { return dir == l || below(dir, l) }) {
		return true
	}
	prefix := in.ConfiguredPrefix
	if !filepath.IsAbs(written) {
		prefix = in.Prefix
	}
	// Were the stage below the prefix, both would fit.
	return (dir == prefix || below(dir, prefix)) &&
		(prefix == in.Prefix || dir != in.Prefix && !below(dir, in.Prefix))
}

// libpython checks that a shared library is found, and the right one: another
// Python of the same series may be installed, and its library would do.
func (in *inspection) libpython(loaded []string) (findings []error) {
	lib := filepath.Join(in.Prefix, "lib")
	for _, l := range in.libraries {
		known := slices.ContainsFunc(loaded, func(file string) bool { return samePath(file, l.Path) })
		if strings.HasPrefix(l.Soname, "libpython") && l.Origin != OriginPrefix && l.Origin != OriginMissing && !known {
			loaded = append(loaded, l.Path)
		}
	}
	if !in.Shared {
		if loaded != nil {
			findings = append(findings, &MismatchError{What: "libpython", Got: strings.Join(loaded, ", "), Want: "part of the interpreter"})
		}
		return findings
	}
	elsewhere := slices.ContainsFunc(loaded, func(file string) bool { return !samePath(path.Dir(file), lib) })
	if elsewhere || loaded == nil && in.facts.Libraries != nil {
		got := "nowhere"
		if loaded != nil {
			got = strings.Join(loaded, ", ")
		}
		findings = append(findings, &MismatchError{What: "libpython", Got: got, Want: "in " + lib})
	}
	want := filepath.Join(in.ConfiguredPrefix, "lib")
	switch f, err := readELF(in.Executable); {
	case err != nil:
		findings = append(findings, fmt.Errorf("rpath: %w", err))
	case f == nil:
		findings = append(findings, &MismatchError{What: in.Executable, Got: "no ELF file", Want: "one with an rpath"})
	default:
		f.dir = filepath.Join(in.ConfiguredPrefix, "bin")
		dirs := slices.Concat(f.runpath, f.rpath)
		if !slices.ContainsFunc(dirs, func(dir string) bool { return f.expand(dir) == want }) {
			findings = append(findings, &MismatchError{What: "rpath", Got: fmt.Sprintf("%q", strings.Join(dirs, ":")), Want: want})
		}
	}
	return findings
}

// atHome is the path that a file of a stage will have.
func (in *inspection) atHome(name string) string {
	for _, prefix := range []string{in.Prefix, realPath(in.Prefix)} {
		if rest, ok := strings.CutPrefix(name, strings.TrimSuffix(prefix, "/")+"/"); ok {
			return filepath.Join(in.ConfiguredPrefix, rest)
		}
	}
	return name
}

// now is where a path of the installed Python is while it is staged.
func (in *inspection) now(name string) string {
	if name == in.ConfiguredPrefix || below(name, in.ConfiguredPrefix) {
		return filepath.Join(in.Prefix, strings.TrimPrefix(name, in.ConfiguredPrefix))
	}
	return name
}

// realPath is the name without symbolic links, or the name itself.
func realPath(name string) string {
	if real, err := filepath.EvalSymlinks(name); err == nil {
		return real
	}
	return name
}
