package python

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// systemLibrary matches what is in /lib, /usr/lib, /lib64, /usr/libx32 and
// their kin, and not what is in /usr/local/lib.
var systemLibrary = regexp.MustCompile(`^(/usr)?/lib(32|64|x32)?/`)

// linkage looks at the shared libraries that were in the process after every
// module had been imported: names in files could be resolved otherwise here
// than there, these were really used.
func (in *inspection) linkage() (string, error) {
	var allowed []string
	for _, dir := range slices.Concat([]string{in.Prefix, in.ConfiguredPrefix}, in.Libraries) {
		allowed = append(allowed, dir)
		// The kernel tells names without symbolic links.
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			allowed = append(allowed, real)
		}
	}
	var foreign, ours []string
	for _, lib := range in.facts.Libraries {
		if strings.HasPrefix(path.Base(lib), "libpython"+in.series()) {
			ours = append(ours, lib)
		}
		if !systemLibrary.MatchString(lib) && !slices.ContainsFunc(allowed, func(dir string) bool { return below(lib, dir) }) {
			foreign = append(foreign, lib)
		}
	}
	var findings []error
	if foreign != nil {
		findings = append(findings, &ForeignError{Libraries: foreign})
	}
	switch {
	case in.Shared:
		findings = append(findings, in.libpython(ours)...)
	case ours != nil:
		findings = append(findings, &MismatchError{What: "libpython", Got: strings.Join(ours, ", "), Want: "part of the interpreter"})
	}
	return fmt.Sprintf("%d libraries", len(in.facts.Libraries)), join(findings)
}

// libpython checks that a shared library is found, and the right one: another
// Python of the same series may be installed, and its library would do.
func (in *inspection) libpython(loaded []string) (findings []error) {
	lib := filepath.Join(in.Prefix, "lib")
	if !slices.ContainsFunc(loaded, func(file string) bool { return samePath(path.Dir(file), lib) }) {
		got := "nowhere"
		if loaded != nil {
			got = strings.Join(loaded, ", ")
		}
		findings = append(findings, &MismatchError{What: "libpython", Got: got, Want: "in " + lib})
	}
	want := filepath.Join(in.ConfiguredPrefix, "lib")
	switch dirs, err := rpath(in.Executable); {
	case err != nil:
		findings = append(findings, fmt.Errorf("rpath: %w", err))
	case !slices.Contains(dirs, want):
		findings = append(findings, &MismatchError{What: "rpath", Got: fmt.Sprintf("%q", strings.Join(dirs, ":")), Want: want})
	}
	return findings
}

// rpath is the list of directories that an executable brings along for the
// dynamic linker.
func rpath(name string) (dirs []string, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	f, err := elf.NewFile(file)
	if err != nil {
		return nil, err
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			dirs = append(dirs, strings.Split(v, ":")...)
		}
	}
	return dirs, nil
}
