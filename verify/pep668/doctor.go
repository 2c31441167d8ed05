package pep668

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// Exec runs a command with the user's environment and an empty standard input, and returns what it writes to standard output, also
// when it fails. The text of the error is fit for a person, in a line.
type Exec func(ctx context.Context, argv ...string) (stdout []byte, err error)

// A Request says which machine is examined, and for whom.
type Request struct {
	// Root is the file system of the machine.
	Root fs.FS
	// Environ is the user's environment, "NAME=value" each; Home and Dir are the user's absolute home and working directory.
	Environ   []string
	Home, Dir string
	// Exec runs interpreters and queries of the package manager.
	Exec Exec
	// Prefixes are absolute directories in which Pythons may be, besides those that are looked at anyway.
	Prefixes []string
	// Install is the argv by which the distribution installs packages, before their names; empty when that is not known. Refresh
	// fetches the lists of packages.
	Install, Refresh []string
	// Privilege is what comes before a command that only root may run; empty for root.
	Privilege []string
	// Series is the Python that a user is told to build: "3.13".
	Series string
	// Names are the projects that the user wants to install, as pip has them.
	Names []string
	// Patience is how long one command may take; 0 means 5 seconds.
	Patience time.Duration
}

// A Report is what was found.
type Report struct {
	// Answer is what `pip install` does here.
	Answer   Answer    `json:"answer"`
	Pythons  []Python  `json:"pythons"`
	Pips     []Pip     `json:"pips"`
	Findings []Finding `json:"findings"` // worst first
	Packages []Package `json:"packages"` // of the distribution, for the names that were asked for
	Advice   []Way     `json:"advice"`   // best first
}

// What `pip install` does with a Python.
const (
	Refuses   = "refuses"        // externally-managed-environment
	Installs  = "installs"       // no marker, or a virtual environment
	Overrides = "overrides"      // there is a marker, but a setting tells pip to ignore it or to install elsewhere
	Ignores   = "ignores"        // there is a marker, but this pip is older than PEP 668
	Demands   = "demands"        // pip wants a virtual environment by its configuration
	Crashes   = "crashes"        // pip cannot read the marker or its own configuration
	NoPip     = "no-pip"         // the Python has none
	NoStart   = "does-not-start" // the Python does not
	NoPython  = "no-python"      // of a name, or of the whole machine
)

// An Answer is what the user's next `pip install` will do.
type Answer struct {
	// Command is how pip is called here: "pip", "pip3", or "python3 -m pip" where there is no such program.
	Command []string `json:"command"`
	// Python is the interpreter that runs it, Python.Executable of one in the report.
	Python string `json:"python,omitempty"`
	// Does is one of the constants above.
	Does string `json:"does"`
}

// How much a finding matters.
const (
	RiskHigh   = "high"   // nothing keeps pip from changing what the distribution relies on
	RiskMedium = "medium" // something is not as the distribution made it, or pip writes where nobody expects it
	RiskNote   = "note"   // good to know
)

// A Finding is something that changes what pip does, or what pip did.
type Finding struct {
	Risk string `json:"risk"`
	// Kind is override, target, user, require-virtualenv, python, configuration; marker-missing, marker-diverted, marker-overlooked,
	// marker-broken, marker-unknown; unowned, changed, user-packages; mismatch.
	Kind string `json:"kind"`
	// What is a sentence or two for a person.
	What string `json:"what"`
	// Path and Line are where it is; Line 0 means the whole file.
	Path string `json:"path,omitempty"`
	Line int    `json:"line,omitempty"`
	// Items are the projects or files, when there can be several.
	Items []string `json:"items,omitempty"`
	// Undo are commands for a shell that take it back.
	Undo [][]string `json:"undo,omitempty"`
}

// examination is one run of Examine.
type examination struct {
	Request
	machine
	report     *Report
	candidates []*candidate
	candidate  map[string]*candidate // by identity
	manager    *manager              // nil when the distribution's is not known
	packages   packages
}

// Examine looks at every Python and every pip of the machine, and at what decides whether they refuse to install. It changes
// nothing. What cannot be read or does not start is part of the report; the error is only that of a cancelled context.
func Examine(ctx context.Context, r Request) (*Report, error) {
	if r.Patience == 0 {
		r.Patience = 5 * time.Second
	}
	e := &examination{Request: r, machine: machine{r.Root}, candidate: map[string]*candidate{}, manager: managerOf(r.Install)}
	e.report = &Report{Pythons: []Python{}, Pips: []Pip{}, Findings: []Finding{}, Packages: []Package{}, Advice: []Way{}}
	e.search()
	e.pips()
	e.probe(ctx)
	e.own(ctx)
	e.judge()
	e.mismatches()
	e.answer()
	e.damage()
	e.markers(ctx)
	e.lookUp(ctx)
	e.advise(ctx)
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return rank(a) - rank(b) })
	return e.report, nil
}

func rank(f Finding) int { return slices.Index([]string{RiskHigh, RiskMedium, RiskNote}, f.Risk) }

// env is the value of a variable; the last one counts.
func (r *Request) env(name string) (string, bool) {
	for _, v := range slices.Backward(r.Environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// absolute is a path as the user's shell understands it.
func (r *Request) absolute(file string) string {
	if rest, ok := strings.CutPrefix(file, "~/"); ok {
		return path.Join(r.Home, rest)
	}
	if path.IsAbs(file) {
		return path.Clean(file)
	}
	return path.Join(r.Dir, file)
}

// run runs a command for a limited time.
func (e *examination) run(ctx context.Context, argv ...string) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, e.Patience)
	defer cancel()
	out, err := e.Exec(limited, argv...)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = errors.New("did not end within " + e.Patience.String())
	}
	return out, err
}

// find adds a finding, unless it is there already: several Pythons share most settings.
func (e *examination) find(f Finding) {
	for _, other := range e.report.Findings {
		if other.Kind == f.Kind && other.Path == f.Path && other.Line == f.Line && other.What == f.What {
			return
		}
	}
	e.report.Findings = append(e.report.Findings, f)
}

// root is a command as root has to give it.
func (e *examination) root(argv ...string) []string { return slices.Concat(e.Privilege, argv) }

// python is the entry of an interpreter in the report.
func (e *examination) python(executable string) *Python {
	for i := range e.report.Pythons {
		if e.report.Pythons[i].Executable == executable {
			return &e.report.Pythons[i]
		}
	}
	return nil
}

// answer finds out what `pip install` does.
func (e *examination) answer() {
	for _, program := range []string{"pip", "pip3"} {
		for _, pip := range e.report.Pips {
			if path.Base(pip.Path) == program && !pip.Shadowed {
				e.report.Answer = Answer{Command: []string{program}, Python: pip.Python, Does: NoPython}
				if p := e.python(pip.Python); p != nil {
					e.report.Answer.Does = p.Install
				}
				return
			}
		}
	}
	e.report.Answer = Answer{Command: []string{"python3", "-m", "pip"}, Does: NoPython}
	for _, program := range []string{"python3", "python"} {
		if p := e.called(program); p != nil {
			e.report.Answer = Answer{Command: []string{program, "-m", "pip"}, Python: p.Executable, Does: p.Install}
			return
		}
	}
}

// called is the Python that a program of this name in PATH starts; nil for none.
func (e *examination) called(program string) *Python {
	for i, p := range e.report.Pythons {
		for _, n := range p.Names {
			if path.Base(n.Path) == program && n.OnPath && !n.Shadowed {
				return &e.report.Pythons[i]
			}
		}
	}
	return nil
}
