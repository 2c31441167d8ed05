package pep668

import (
	"path"
	"strings"
)

// A Pip is a program of that name in PATH.
type Pip struct {
	Path string `json:"path"`
	// Shadowed says that an earlier directory of PATH has the same name.
	Shadowed bool `json:"shadowed,omitempty"`
	// Interpreter is what its first line names; empty when that cannot be said.
	Interpreter string `json:"interpreter,omitempty"`
	// Python is the Executable of the Python that runs it; empty when there is none.
	Python string `json:"python,omitempty"`
	// Problem says why there is no Python.
	Problem string `json:"problem,omitempty"`
}

// pips finds every pip in PATH. An interpreter that was not found yet is added to those to be asked.
func (e *examination) pips() {
	first := map[string]bool{}
	seen := map[string]bool{}
	for _, dir := range e.onPath() {
		real, err := e.resolve(dir)
		if err != nil || seen[real] {
			continue
		}
		seen[real] = true
		for _, entry := range e.list(real) {
			program := entry.Name()
			file := path.Join(dir, program)
			if !pipName.MatchString(program) || !e.isFile(file) {
				continue
			}
			p := Pip{Path: file, Shadowed: first[program]}
			if e.isShim(dir) {
				if file = e.shim(program); file == "" {
					continue
				}
			}
			first[program] = true
			p.Interpreter = e.interpreter(file)
			if p.Interpreter == "" {
				p.Problem = "its first line names no interpreter"
			} else if c := e.add(p.Interpreter, Name{Path: p.Interpreter}); c != nil {
				p.Python = c.exec
			} else {
				p.Problem = "there is no " + p.Interpreter
			}
			e.report.Pips = append(e.report.Pips, p)
		}
	}
}

// interpreter is what runs a script, by its first line.
func (e *examination) interpreter(file string) string {
	text, _ := e.read(file, 4096)
	line, rest, _ := strings.Cut(string(text), "\n")
	line, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return ""
	}
	switch {
	case path.Base(fields[0]) == "env" && len(fields) > 1:
		program := fields[len(fields)-1]
		for _, dir := range e.onPath() {
			if found := path.Join(dir, program); e.isFile(found) {
				if e.isShim(dir) {
					found = e.shim(program)
				}
				return found
			}
		}
		return ""
	case path.Base(fields[0]) == "sh":
		// A path that is too long or has a space in it does not fit into the first line; pip then writes '''exec' "PATH" "$0" "$@".
		second, _, _ := strings.Cut(rest, "\n")
		program, ok := strings.CutPrefix(second, "'''exec' ")
		if !ok {
			return ""
		}
		if quoted, ok := strings.CutPrefix(program, `"`); ok {
			program, _, _ = strings.Cut(quoted, `"`)
		} else {
			program, _, _ = strings.Cut(program, " ")
		}
		return program
	}
	return fields[0]
}

// mismatches finds programs that come from different Pythons although their names promise the same one.
func (e *examination) mismatches() {
	for _, pip := range e.report.Pips {
		if pip.Shadowed || pip.Python == "" {
			continue
		}
		program := "python" + strings.TrimPrefix(path.Base(pip.Path), "pip")
		python := e.called(program)
		if python == nil && program == "python" {
			program = "python3"
			python = e.called(program)
		}
		if python == nil || python.Executable == pip.Python {
			continue
		}
		e.find(Finding{Risk: RiskNote, Kind: "mismatch", Path: pip.Path,
			What: pip.Path + " installs for " + pip.Python + ", whereas " + program + " is " + python.Executable +
				": what it installs, " + program + " does not see. `" + program + " -m pip` is the pip of that one."})
	}
}
