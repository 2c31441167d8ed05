// Package report shows what became of installations, one or a whole matrix of them, in the four forms that are asked for: a page
// for people (HTML), a table for a comment (Markdown), JUnit XML for CI systems, and JSON, which [Parse] reads again, so that what
// many machines did becomes one report.
//
// It promises that the same cells give the same bytes, in whatever order they come; that the page is one file that needs no
// network, no script and no other file; and that nothing in a log, which is text by strangers, can be more than text. It must not
// know how a Python is built, and neither opens files nor reads clocks.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
)

// A State is what became of a cell or of a step.
type State string

// The states, from good to bad. Of a step there is only passed and failed.
const (
	Passed          State = "passed"
	NotRun          State = "not-run"
	ExpectedFailure State = "expected-failure"
	Failed          State = "failed"
)

// states are all of them; a later one outweighs those before it.
var states = []State{Passed, NotRun, ExpectedFailure, Failed}

// MaxLog is how many bytes of a log a report holds: of a longer one, the end.
const MaxLog = 256 << 10

// A Cell is one Python on one distribution.
type Cell struct {
	Distribution string `json:"distribution"` // "debian-13"
	Python       string `json:"python"`       // "3.13.5"
	Profile      string `json:"profile"`      // "quick"

	State State `json:"state"`
	// Reason says in a line why the state is not Passed.
	Reason string `json:"reason,omitempty"`
	// Status is pybuild's exit status.
	Status int `json:"status,omitempty"`
	// Seconds is how long it took, Size what the installation has in bytes.
	Seconds float64 `json:"seconds"`
	Size    int64   `json:"size"`
	// Missing names the parts of the standard library that are not there.
	Missing []string `json:"parts_missing,omitempty"`
	Steps   []Step   `json:"steps,omitempty"`
	// Excerpt is what of the log tells most.
	Excerpt string `json:"excerpt,omitempty"`
	// Log is the log, LogPath where it lies.
	Log     string `json:"log,omitempty"`
	LogPath string `json:"log_path,omitempty"`
}

// A Step is one part of the work on a cell. Steps may lie within each other.
type Step struct {
	Name string `json:"name"`
	// Started is seconds since the cell's beginning, Seconds how long the step took, CPU the seconds that processors worked on it.
	Started float64 `json:"started"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"`
	State   State   `json:"state"`
}

// Cores is how many processors the step kept busy, 0 when it was too short to tell.
func (s Step) Cores() float64 {
	if s.Seconds < 0.01 {
		return 0
	}
	return s.CPU / s.Seconds
}

// name is what a cell is told by.
func (c *Cell) name() string { return c.Distribution + " " + c.Python + " " + c.Profile }

func compareCells(a, b Cell) int {
	return cmp.Or(natural(a.Distribution, b.Distribution), natural(a.Python, b.Python), cmp.Compare(a.Profile, b.Profile))
}

// A Report is a set of cells.
type Report struct {
	Title string `json:"title"`
	Cells []Cell `json:"cells"`
}

// New makes a report in which every cell is there once, in order, with text that may be shown: what a terminal would obey is
// gone, and of long logs the end is left. Where a cell comes twice, the second is taken for a later stage of the same work.
func New(title string, cells ...Cell) *Report {
	r := &Report{Title: clean(title), Cells: []Cell{}}
	for _, c := range cells {
		c = c.cleaned()
		if i := slices.IndexFunc(r.Cells, func(d Cell) bool { return compareCells(c, d) == 0 }); i >= 0 {
			r.Cells[i] = r.Cells[i].then(c)
			continue
		}
		r.Cells = append(r.Cells, c)
	}
	slices.SortFunc(r.Cells, compareCells)
	return r
}

func (c Cell) cleaned() Cell {
	for _, s := range []*string{&c.Distribution, &c.Python, &c.Profile, &c.Reason, &c.LogPath} {
		*s = strings.Join(strings.Fields(clean(*s)), " ")
	}
	c.Excerpt, c.Log = end(clean(c.Excerpt)), end(clean(c.Log))
	c.Missing = slices.Clone(c.Missing)
	for i := range c.Missing {
		c.Missing[i] = strings.Join(strings.Fields(clean(c.Missing[i])), " ")
	}
	slices.Sort(c.Missing)
	c.Steps = slices.Clone(c.Steps)
	for i := range c.Steps {
		c.Steps[i].Name = strings.Join(strings.Fields(clean(c.Steps[i].Name)), " ")
	}
	return c
}

// then is the cell with a later stage added. The worse state tells, and of two that are equally bad the first.
func (c Cell) then(later Cell) Cell {
	for _, s := range later.Steps {
		s.Started = round(s.Started + c.Seconds)
		c.Steps = append(c.Steps, s)
	}
	c.Seconds = round(c.Seconds + later.Seconds)
	c.Size = max(c.Size, later.Size)
	c.Missing = slices.Compact(slices.Sorted(slices.Values(append(c.Missing, later.Missing...))))
	if slices.Index(states, later.State) > slices.Index(states, c.State) {
		c.State, c.Reason, c.Status, c.Excerpt = later.State, later.Reason, later.Status, later.Excerpt
	}
	if later.Log != "" {
		c.Log, c.LogPath = end(c.Log+later.Log), later.LogPath
	}
	return c
}

func round(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// An Expectation is a cell that a matrix has.
type Expectation struct {
	Distribution, Python, Profile string
	// Failure says why the cell cannot pass, "" where it must.
	Failure string
}

// Expect adds the cells that are expected and not there, as not run. A failure that was expected is one, and a cell that passes
// although its failure was expected fails, so that nobody goes on expecting it.
func (r *Report) Expect(list []Expectation) {
	for _, e := range list {
		want := Cell{Distribution: e.Distribution, Python: e.Python, Profile: e.Profile, State: NotRun}
		i := slices.IndexFunc(r.Cells, func(c Cell) bool { return compareCells(c, want) == 0 })
		if i < 0 {
			r.Cells = append(r.Cells, want.cleaned())
			continue
		}
		switch c := &r.Cells[i]; {
		case e.Failure == "":
		case c.State == Failed:
			c.State, c.Reason = ExpectedFailure, clean(e.Failure)+": "+c.Reason
		case c.State == Passed:
			c.State, c.Reason = Failed, "passed, and was expected to fail: "+clean(e.Failure)
		}
	}
	slices.SortFunc(r.Cells, compareCells)
}

// Count is how many cells are in a state.
func (r *Report) Count(s State) (n int) {
	for _, c := range r.Cells {
		if c.State == s {
			n++
		}
	}
	return n
}

// A FailedError says that cells of a report failed, and none of them was expected to.
type FailedError struct {
	// Cells are "DISTRIBUTION PYTHON PROFILE: reason".
	Cells []string
	// Of is how many cells the report has.
	Of int
}

func (e *FailedError) Error() string {
	return fmt.Sprintf("%d of %d cells failed:\n  %s", len(e.Cells), e.Of, strings.Join(e.Cells, "\n  "))
}

// Err is a *FailedError when a cell failed, else nil.
func (r *Report) Err() error {
	e := &FailedError{Of: len(r.Cells)}
	for _, c := range r.Cells {
		if c.State == Failed {
			e.Cells = append(e.Cells, c.name()+": "+c.Reason)
		}
	}
	if e.Cells == nil {
		return nil
	}
	return e
}

// An InvalidError reports a document that is no report.
type InvalidError struct {
	Reason string
	Err    error // why it cannot be decoded, if that is the reason
}

func (e *InvalidError) Error() string {
	if e.Err == nil {
		return "not a report: " + e.Reason
	}
	return "not a report: " + e.Reason + ": " + e.Err.Error()
}
func (e *InvalidError) Unwrap() error { return e.Err }

// document is a report in JSON.
type document struct {
	Format int `json:"format"` // 1
	Report
}

// Parse reads what [JSON] wrote. The error is that of r, or an *[InvalidError].
func Parse(r io.Reader) (*Report, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	var d document
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, &InvalidError{"JSON", err}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &InvalidError{Reason: "something follows it"}
	}
	if d.Format != 1 {
		return nil, &InvalidError{Reason: fmt.Sprintf("its format is %d", d.Format)}
	}
	for i, c := range d.Cells {
		c = c.cleaned()
		if reason := c.invalid(); reason != "" {
			return nil, &InvalidError{Reason: fmt.Sprintf("cell %d %s", i+1, reason)}
		}
	}
	return New(d.Title, d.Cells...), nil
}

// longest is as many seconds as any step may take: ten years.
const longest = 10 * 365 * 24 * 3600

// invalid is a predicate of what is wrong with a cell, "" when nothing is.
func (c *Cell) invalid() string {
	sane := func(seconds float64) bool { return seconds >= 0 && seconds <= longest }
	switch {
	case c.Distribution == "" || c.Python == "" || c.Profile == "":
		return "has no distribution, Python or profile"
	case !slices.Contains(states, c.State):
		return fmt.Sprintf("has the unknown state %q", c.State)
	case !sane(c.Seconds) || c.Size < 0:
		return "has a time or size that cannot be"
	}
	for _, s := range c.Steps {
		if s.Name == "" || s.State != Passed && s.State != Failed {
			return "has a step without a name or state"
		}
		if !sane(s.Started) || !sane(s.Seconds) || !sane(s.CPU) {
			return fmt.Sprintf("has a step %s with a time that cannot be", s.Name)
		}
	}
	return ""
}

// formats are the forms of a report, by the end of a file's name.
var formats = map[string]func(*Report, io.Writer) error{".html": HTML, ".json": JSON, ".xml": JUnit, ".md": Markdown}

// Extensions are the ends of file names that [Format] knows.
var Extensions = []string{".html", ".json", ".xml", ".md"}

// Format is how a report is written to the file called name; nil when its extension tells none.
func Format(name string) func(*Report, io.Writer) error { return formats[path.Ext(name)] }

// JSON writes what [Parse] reads.
func JSON(r *Report, w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(document{1, *r})
}
