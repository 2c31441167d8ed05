package python

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// elfFile is what the dynamic linker reads in a program or a shared library.
type elfFile struct {
	name    string // relative to the prefix
	dir     string // in which it is
	soname  string
	needed  []string
	rpath   []string // for itself and what it loads; not used beside a runpath
	runpath []string // for itself
	loader  string   // the dynamic linker; "" in a library
	class   elf.Class
	machine elf.Machine
}

// readELF is nil without an error when the file is something else, or an
// object file, which nobody loads.
func readELF(name string) (_ *elfFile, err error) {
	file, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(file, magic); err != nil || string(magic) != elf.ELFMAG {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return nil, err
	}
	e, err := elf.NewFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if e.Type != elf.ET_EXEC && e.Type != elf.ET_DYN {
		return nil, nil
	}
	f := &elfFile{dir: filepath.Dir(name), class: e.Class, machine: e.Machine}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			f.loader = string(bytes.TrimRight(text, "\x00"))
		}
	}
	for _, row := range []struct {
		tag elf.DynTag
		set func(values []string)
	}{
		{elf.DT_SONAME, func(v []string) { f.soname = strings.Join(v, "") }},
		{elf.DT_NEEDED, func(v []string) { f.needed = v }},
		{elf.DT_RPATH, func(v []string) { f.rpath = splitPath(v) }},
		{elf.DT_RUNPATH, func(v []string) { f.runpath = splitPath(v) }},
	} {
		values, err := e.DynString(row.tag)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		row.set(values)
	}
	return f, nil
}

func splitPath(values []string) (dirs []string) {
	for _, v := range values {
		dirs = append(dirs, strings.Split(v, ":")...)
	}
	return dirs
}

// expand is a directory of rpath as a full name, "" when it is none: one that
// depends on the working directory, or on the processor.
func (f *elfFile) expand(dir string) string {
	for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
		if rest, ok := strings.CutPrefix(dir, origin); ok && (rest == "" || rest[0] == '/') {
			dir = filepath.Join(f.dir, rest)
			break
		}
	}
	if !filepath.IsAbs(dir) || strings.Contains(dir, "$") {
		return ""
	}
	return filepath.Clean(dir)
}

// audit reads every file of this Python that the dynamic linker would load,
// and finds what they need.
func (in *inspection) audit() error {
	names, err := in.loadable()
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := readELF(name)
		var format *elf.FormatError
		switch {
		case errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			in.broken = append(in.broken, err)
		case err != nil:
			return err
		case f != nil:
			if f.name, err = filepath.Rel(in.Prefix, name); err != nil {
				return err
			}
			in.files = append(in.files, f)
		}
	}
	in.libraries = in.resolve()
	return nil
}

// loadable is the files that may be ELF files of this Python: in a stage all,
// in a prefix with other things in it those that are known to be its own.
func (in *inspection) loadable() (names []string, err error) {
	if in.Programs == nil {
		err = filepath.WalkDir(in.Prefix, func(name string, d fs.DirEntry, err error) error {
			// Most files are these; nobody loads one under such a name.
			if ext := path.Ext(name); err != nil || !d.Type().IsRegular() || ext == ".py" || ext == ".pyc" || ext == ".h" {
				return err
			}
			names = append(names, name)
			return nil
		})
		return names, err
	}
	for _, p := range in.Programs {
		names = append(names, filepath.Join(in.Prefix, "bin", p))
	}
	stdlib := in.facts.scheme().Stdlib
	if rest, ok := strings.CutPrefix(stdlib, in.facts.Prefix); ok {
		stdlib = filepath.Join(in.Prefix, rest) // the same by our name for it
	}
	for _, row := range []struct{ dir, pattern string }{
		{filepath.Join(in.Prefix, "lib"), "libpython" + in.series() + "*.so*"},
		{filepath.Join(stdlib, "lib-dynload"), "*.so"},
	} {
		entries, err := os.ReadDir(row.dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if ours, err := path.Match(row.pattern, e.Name()); err != nil {
				return nil, err
			} else if ours {
				names = append(names, filepath.Join(row.dir, e.Name()))
			}
		}
	}
	// A link and a file that is gone are the manifest's concern.
	return slices.DeleteFunc(names, func(name string) bool {
		info, err := os.Lstat(name)
		return err != nil || !info.Mode().IsRegular()
	}), nil
}

// resolve finds what the files need as the dynamic linker does, as far as it
// is the same in every process: not by LD_LIBRARY_PATH, which shows only in
// what was really loaded.
func (in *inspection) resolve() []Library {
	l := linker{in: in, loaded: make(map[string]string)}
	for _, name := range in.facts.Libraries {
		l.loaded[path.Base(name)] = name
		// Links give a library its name; the kernel tells the file.
		if f, err := readELF(name); err == nil && f != nil && f.soname != "" {
			l.loaded[f.soname] = name
		}
	}
	for _, f := range in.files {
		if samePath(filepath.Join(in.Prefix, f.name), in.Executable) {
			l.program = f
		}
	}
	loader := ""
	if l.program != nil {
		loader = l.program.loader
	}
	l.system = systemDirs(os.DirFS("/"), loader)

	type use struct{ soname, path string }
	users := make(map[use][]string)
	for _, f := range in.files {
		for _, soname := range f.needed {
			u := use{soname, l.find(f, soname)}
			users[u] = append(users[u], f.name)
		}
	}
	libraries := []Library{}
	for u, files := range users {
		slices.Sort(files)
		lib := Library{Soname: u.soname, Origin: OriginMissing, Users: slices.Compact(files)}
		if u.path != "" {
			lib.Path, lib.Origin = in.atHome(u.path), in.origin(u.path)
		}
		libraries = append(libraries, lib)
	}
	slices.SortFunc(libraries, func(a, b Library) int {
		if c := strings.Compare(a.Soname, b.Soname); c != 0 {
			return c
		}
		return strings.Compare(a.Path, b.Path)
	})
	return libraries
}

// linker looks for libraries.
type linker struct {
	in      *inspection
	program *elfFile          // the interpreter; nil: it is no ELF file
	loaded  map[string]string // name -> file of what was in the process
	system  []string          // where is looked last
}

// find is the file of a library that f needs, "" when there is none.
func (l *linker) find(f *elfFile, soname string) string {
	if strings.Contains(soname, "/") {
		if !filepath.IsAbs(soname) {
			return "" // from the working directory, wherever that is
		}
		return f.lookUp([]string{"/"}, l.in.now(soname))
	}
	own := f.runpath
	if own == nil {
		own = f.rpath
	}
	dirs := l.expand(f, own)
	if p := l.program; p != nil && p != f && f.runpath == nil && p.runpath == nil {
		dirs = append(dirs, l.expand(p, p.rpath)...)
	}
	if name := f.lookUp(dirs, soname); name != "" {
		return name
	}
	if name, ok := l.loaded[soname]; ok {
		return realPath(name)
	}
	return f.lookUp(l.system, soname)
}

// expand is where the directories that f names are now.
func (l *linker) expand(f *elfFile, dirs []string) (now []string) {
	for _, dir := range dirs {
		if dir = f.expand(dir); dir != "" {
			now = append(now, l.in.now(dir))
		}
	}
	return now
}

// lookUp is the first file of that name that f could load.
func (f *elfFile) lookUp(dirs []string, soname string) string {
	for _, dir := range dirs {
		name := filepath.Join(dir, soname)
		if lib, err := readELF(name); err == nil && lib != nil && lib.class == f.class && lib.machine == f.machine {
			return realPath(name)
		}
	}
	return ""
}

// systemDirs are the directories of the dynamic linker itself, as full names.
func systemDirs(root fs.FS, loader string) (dirs []string) {
	if name, musl := strings.CutPrefix(path.Base(loader), "ld-musl-"); musl {
		text, err := fs.ReadFile(root, "etc/ld-musl-"+strings.TrimSuffix(name, ".so.1")+".path")
		if err != nil {
			return []string{"/lib", "/usr/local/lib", "/usr/lib"}
		}
		return strings.FieldsFunc(string(text), func(r rune) bool { return r == ':' || r == '\n' })
	}
	dirs = confDirs(root, "etc/ld.so.conf", make(map[string]bool))
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

// confDirs reads a file like /etc/ld.so.conf, which names directories and
// other such files. One that cannot be read names none.
func confDirs(root fs.FS, file string, seen map[string]bool) (dirs []string) {
	if seen[file] {
		return nil
	}
	seen[file] = true
	text, err := fs.ReadFile(root, file)
	if err != nil {
		return nil
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(" \t\r:,", r) })
		switch {
		case len(fields) == 0 || fields[0] == "hwcap":
		case fields[0] != "include":
			for _, dir := range fields {
				if filepath.IsAbs(dir) {
					dirs = append(dirs, filepath.Clean(dir))
				}
			}
		default:
			for _, pattern := range fields[1:] {
				if path.IsAbs(pattern) {
					pattern = path.Clean(pattern)[1:]
				} else {
					pattern = path.Join(path.Dir(file), pattern)
				}
				files, err := fs.Glob(root, pattern)
				if err != nil {
					continue
				}
				for _, f := range files {
					dirs = append(dirs, confDirs(root, f, seen)...)
				}
			}
		}
	}
	return dirs
}
