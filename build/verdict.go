package build

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"pybuild/recipes"
)

// What can be wrong with an extension module.
const (
	StateMissing  = "missing"  // configure or setup.py did not find what it needs
	StateDisabled = "disabled" // configure was told, or in 3.11 decided, to leave it out
	StateFailed   = "failed"   // it did not compile or link
	StateRemoved  = "removed"  // it was built, and could not be imported
)

// ModuleFailure is an extension module that is not in a build.
type ModuleFailure struct {
	// Part is the part of the standard library that it belongs to; empty when the recipes know of none.
	Part string
	// Extension is its name, as Modules/Setup has it: "_ssl".
	Extension string
	// State is one of the constants above.
	State string
	// Reason is the line of a log that says why, empty when there is none.
	Reason string
}

// ModulesError says that a build goes without extension modules that were promised.
type ModulesError struct {
	Step    string
	Modules []ModuleFailure
	// Log is the path of the log that has the reasons.
	Log string
	// Err is how the step failed, a *StepError; nil when CPython was content without them.
	Err error
}

func (e *ModulesError) Error() string {
	lines := make([]string, 0, len(e.Modules)+1)
	lines = append(lines, e.Step+" left out extension modules that were promised:")
	for _, m := range e.Modules {
		line := fmt.Sprintf("  %s: %s is %s", m.Part, m.Extension, m.State)
		if m.State == StateFailed {
			line = fmt.Sprintf("  %s: %s failed", m.Part, m.Extension)
		}
		if m.Reason != "" {
			line += ": " + m.Reason
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func (e *ModulesError) Unwrap() error { return e.Err }

// Verdict is what CPython's own build says of the extension modules that it does not have. Every list is sorted, and has a name
// once. Modules that were disabled on purpose may be among the missing: until 3.11 CPython counts them when they could not have
// been built anyway. Disabled are those that were, and, in 3.11, those whose needs configure did not find.
type Verdict struct {
	Missing, Disabled, Failed, Removed []string
}

func (v Verdict) clean() Verdict {
	for _, list := range []*[]string{&v.Missing, &v.Disabled, &v.Failed, &v.Removed} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return v
}

var makefileState = regexp.MustCompile(`^MODULE_([A-Z0-9_]+)_STATE=(\w|/)+$`)

// MakefileVerdict reads what configure wrote into the Makefile, from 3.11 on: MODULE__SSL_STATE=missing. Older ones say nothing.
func MakefileVerdict(makefile io.Reader) (Verdict, error) {
	var v Verdict
	err := eachLine(makefile, func(line string) {
		// The names of all extension modules are in lower case, so that the Makefile's can be turned back.
		m := makefileState.FindStringSubmatch(line)
		switch {
		case m == nil:
		case strings.HasSuffix(line, "=missing"):
			v.Missing = append(v.Missing, strings.ToLower(m[1]))
		case strings.HasSuffix(line, "=disabled"):
			v.Disabled = append(v.Disabled, strings.ToLower(m[1]))
		}
	})
	return v.clean(), err
}

var extensionName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// LogVerdict reads what setup.py, or check_extension_modules.py from 3.12 on, writes at the end of make: headings, each followed
// by rows of up to three names and a line that is no such row. A profile-guided build has it twice, and both count. A log without
// it has an empty Verdict.
func LogVerdict(log io.Reader) (Verdict, error) {
	var v Verdict
	var section *[]string
	err := eachLogLine(log, func(line string) {
		switch line {
		case "The necessary bits to build these optional modules were not found:":
			section = &v.Missing
			return
		case "been built, they are *disabled* by configure:":
			section = &v.Disabled
			return
		case "Failed to build these modules:":
			section = &v.Failed
			return
		case "Following modules built successfully but were removed because they could not be imported:":
			section = &v.Removed
			return
		}
		names := strings.Fields(line)
		if len(names) == 0 || len(names) > 3 || !all(names, extensionName.MatchString) {
			section = nil
		}
		if section != nil {
			*section = append(*section, names...)
		}
	})
	return v.clean(), err
}

func all(list []string, f func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !f(s) })
}

// judge asks CPython what it left out in a step. It returns what was not promised either, which is for the user to know, and
// fails with a *ModulesError for what was. failed is how the step ended, nil when it went well; it is the error where modules are
// not the reason.
func (p *Plan) judge(s Step, failed *StepError) (others []ModuleFailure, err error) {
	var v Verdict
	log := p.log(s)
	switch {
	case s.Name == "configure" && failed == nil:
		v, err = p.configured()
		if _, statErr := os.Stat(p.configLog()); statErr == nil {
			log = p.configLog()
		}
	case s.Name == "compile":
		v, err = p.compiled(log, failed != nil)
	}
	if err != nil {
		return nil, err
	}
	modules, others := p.sort(v)
	if err := p.explain(log, modules); err != nil {
		return nil, fmt.Errorf("reading why modules are missing: %w", err)
	}
	if failed == nil {
		if len(modules) > 0 {
			return nil, &ModulesError{Step: s.Name, Modules: modules, Log: log}
		}
		return others, nil
	}
	// What make gave up on is a module's fault only where the log says so: a full disk or a killed compiler stops at some module, too.
	modules = slices.DeleteFunc(modules, func(m ModuleFailure) bool { return m.State == StateFailed && m.Reason == "" })
	if len(modules) > 0 {
		return nil, &ModulesError{Step: s.Name, Modules: modules, Log: log, Err: failed}
	}
	return nil, failed
}

// read opens a file for f, and closes it.
func read(name string, f func(io.Reader) error) (err error) {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return f(file)
}

// configured is the verdict of configure. Source without a Makefile has none.
func (p *Plan) configured() (v Verdict, err error) {
	err = p.readSource("Makefile", func(r io.Reader) (err error) {
		v, err = MakefileVerdict(r)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Verdict{}, fmt.Errorf("reading what configure found: %w", err)
	}
	return v, nil
}

// makeGaveUp is make's line about a command that failed, with or without the place in the Makefile.
var makeGaveUp = regexp.MustCompile(`\*\*\* \[(?:[^]]*: )?([^] ]+)\] Error `)

// compiled is the verdict of make. Where make failed, perhaps before it came to one, the modules that it gave up on count as
// failed.
func (p *Plan) compiled(log string, failed bool) (v Verdict, err error) {
	err = read(log, func(r io.Reader) (err error) {
		v, err = LogVerdict(r)
		return err
	})
	if err == nil && failed {
		err = read(log, func(r io.Reader) error {
			return eachLogLine(r, func(line string) {
				if m := makeGaveUp.FindStringSubmatch(line); m != nil {
					v.Failed = append(v.Failed, p.owners(m[1])...)
				}
			})
		})
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("reading what make left out: %w", err)
	}
	return v.clean(), nil
}

// owners are the promised extension modules that a file belongs to, one or none.
func (p *Plan) owners(path string) (list []string) {
	for name := range p.promised {
		if belongs(path, name) {
			list = append(list, name)
		}
	}
	return list
}

// sort divides a verdict: the promised modules, and the others that are not left out on purpose.
func (p *Plan) sort(v Verdict) (promised, others []ModuleFailure) {
	for _, group := range []struct {
		state string
		names []string
	}{{StateMissing, v.Missing}, {StateDisabled, v.Disabled}, {StateFailed, v.Failed}, {StateRemoved, v.Removed}} {
		for _, name := range group.names {
			m := ModuleFailure{Extension: name, State: group.state}
			if part := p.promised[name]; part != nil {
				m.Part = part.Name
				promised = append(promised, m)
			} else if !p.left[name] && group.state != StateDisabled { // somebody wanted that
				others = append(others, m)
			}
		}
	}
	return promised, others
}

var (
	modulesPath  = regexp.MustCompile(`\bModules/([\w./-]+)`)
	importFailed = regexp.MustCompile(`^\[ERROR\] (\w+) (?:failed to import: |\()|^\*\*\* WARNING: (?:renaming|importing extension) "(\w+)" `)
)

// belongs reports whether a path names a source, object or library of an extension module: Modules/_bz2module.c, Modules/_ssl.o,
// Modules/_sqlite/blob.c, Modules/zlib.cpython-313-x86_64-linux-gnu.so. It goes by CPython's habits; no file says it for all
// series.
func belongs(path, extension string) bool {
	m := modulesPath.FindStringSubmatch(path)
	if m == nil {
		return false
	}
	return slices.ContainsFunc(strings.Split(m[1], "/"), func(name string) bool {
		name, _, _ = strings.Cut(name, ".")
		switch name {
		case "_hashopenssl":
			name = "_hashlib"
		case "_sqlite":
			name = "_sqlite3"
		case "tkappinit":
			name = "_tkinter"
		}
		return name == extension || strings.TrimSuffix(name, "module") == extension
	})
}

// explain finds the reasons of the failures in a log.
func (p *Plan) explain(log string, modules []ModuleFailure) error {
	if len(modules) == 0 {
		return nil
	}
	ranks := make([]int, len(modules))
	return read(log, func(r io.Reader) error {
		return eachLogLine(r, func(line string) {
			for i, m := range modules {
				if rank := p.rank(line, m.Extension); rank > ranks[i] {
					ranks[i], modules[i].Reason = rank, strings.TrimSpace(line)
				}
			}
		})
	})
}

// rank says how well a line explains why an extension module is not there. Best is that it could not be imported, then an error in
// one of its files, then one about a header, library or function that its part needs; of equals the first counts.
func (p *Plan) rank(line, extension string) int {
	if m := importFailed.FindStringSubmatch(line); m != nil {
		if cmp.Or(m[1], m[2]) == extension {
			return 3
		}
		return 0
	}
	switch {
	case !errorLine.MatchString(line) || makeGaveUp.MatchString(line):
		return 0
	case belongs(line, extension):
		return 2
	case mentions(line, p.promised[extension]):
		return 1
	}
	return 0
}

// mentions reports whether a compiler's or linker's error is about what a part needs.
func mentions(line string, part *recipes.Part) bool {
	for _, probe := range part.Probes {
		words := append(slices.Clone(probe.Headers), probe.Symbol)
		for _, lib := range probe.Libs {
			words = append(words, "-l"+lib)
		}
		for _, word := range words {
			if i := strings.Index(line, word); i >= 0 && edge(line, i-1) && edge(line, i+len(word)) {
				return true
			}
		}
	}
	return false
}

// edge reports whether the byte at i cannot be part of the name next to it: curses.h is not in ncurses.h, nor -lz in -lzma.
func edge(line string, i int) bool {
	return i < 0 || i >= len(line) || strings.IndexByte(" \t:;,'`\"<>()", line[i]) >= 0
}
