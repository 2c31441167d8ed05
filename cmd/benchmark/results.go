package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// The names of what is written to the output.
const (
	resultsName    = "results.json"
	chartName      = "chart.svg"
	speedChartName = "speed.svg"
)

// Results is all that was measured, one single measurement after the other.
type Results struct {
	Version string  `json:"version"`
	Jobs    int     `json:"jobs"`
	Machine Machine `json:"machine"`
	// Root says who measured; PythonBuild that python-build itself was there.
	Root        bool  `json:"root"`
	PythonBuild bool  `json:"python_build"`
	Runs        []Run `json:"runs,omitempty"`
	// Interpreters are in the order in which they were named; the first is what the others are held against.
	Interpreters []Interpreter `json:"interpreters,omitempty"`
	Samples      []Sample      `json:"samples,omitempty"`
}

// Machine is what was measured on, in its own words.
type Machine struct {
	Processor string `json:"processor,omitempty"`
	Memory    string `json:"memory,omitempty"`
	System    string `json:"system,omitempty"`
	Compiler  string `json:"compiler,omitempty"`
}

// Run is one build.
type Run struct {
	Round   int       `json:"round"`
	Case    string    `json:"case"`
	Started time.Time `json:"started"`
	Usage
	// Disk is how many bytes the installation takes, Peak how many it and the build directory took at most, looked at now and then.
	Disk   int64   `json:"disk"`
	Peak   int64   `json:"peak"`
	Phases []Phase `json:"phases"`
}

// Phase is a part of a run, with its wall seconds.
type Phase struct {
	Name string  `json:"name"`
	Wall float64 `json:"wall"`
}

// readResults reads what write wrote.
func readResults(name string) (*Results, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &Results{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// write replaces the file as a whole: whoever interrupts it finds the one or the other.
func (r *Results) write(name string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Clean(name), append(text, '\n'), 0o644)
}

// sameSetting says that measurements of both can stand in one table.
func (r *Results) sameSetting(other *Results) bool {
	return r.Version == other.Version && r.Jobs == other.Jobs && r.PythonBuild == other.PythonBuild && r.Root == other.Root
}

func (r *Results) has(round int, name string) bool {
	return slices.ContainsFunc(r.Runs, func(run Run) bool { return run.Round == round && run.Case == name })
}

// of returns a figure of all runs of a case.
func (r *Results) of(name string, figure func(Run) float64) (figures []float64) {
	for _, run := range r.Runs {
		if run.Case == name {
			figures = append(figures, figure(run))
		}
	}
	return figures
}

func wall(r Run) float64 { return r.Wall }

// built are the cases that have run, in the order of the table.
func (r *Results) built() (built []Case) {
	s := setting{}
	if r.PythonBuild {
		s.pythonBuild = "python-build"
	}
	for _, c := range cases(s) {
		if len(r.of(c.Name, wall)) > 0 {
			built = append(built, c)
		}
	}
	return built
}

// A Spread is what is said of several figures.
type Spread struct{ Median, Min, Max float64 }

// spread is of at least one figure.
func spread(figures []float64) Spread {
	sorted := slices.Sorted(slices.Values(figures))
	n := len(sorted)
	return Spread{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1]}
}

// A pair of cases is something to know.
type pair struct{ what, of, to string }

var pairs = []pair{
	{"quick build against python-build", "quick", "python-build"},
	{"quick build against by hand", "quick", "by-hand"},
	{"quick build against the same by hand", "quick", "by-hand-same"},
	{"quick build, answers known, against python-build", "quick-known", "python-build"},
	{"profile-guided against by hand", "pgo", "pgo-by-hand"},
	{"profile-guided, profile kept, against by hand", "pgo-kept", "pgo-by-hand"},
	{"profile-guided with LTO against by hand", "lto", "lto-by-hand"},
	{"several releases in one call against one after the other", "several", "several-serial"},
	{"quick build, ccache warm, against without", "ccache", "quick"},
}

// ratios are the wall times of one case over those of another, round by round: only what ran in the same round is compared.
func (r *Results) ratios(p pair) (ratios []float64) {
	for _, a := range r.Runs {
		for _, b := range r.Runs {
			if a.Case == p.of && b.Case == p.to && a.Round == b.Round {
				ratios = append(ratios, a.Wall/b.Wall)
			}
		}
	}
	return ratios
}

// geometricMean is of at least one figure, all positive.
func geometricMean(figures []float64) float64 {
	sum := 0.0
	for _, f := range figures {
		sum += math.Log(f)
	}
	return math.Exp(sum / float64(len(figures)))
}

// Speed is how many times as fast as another an interpreter is: the geometric mean over all programs. Mean is of the smallest time of
// each program, because whatever disturbs a program only makes it slower; Min and Max are of single rounds.
type Speed struct{ Mean, Min, Max float64 }

// speedOf compares the interpreter name with the interpreter to, also program by program. ok is false when they have not run the same.
func (r *Results) speedOf(name, to string) (s Speed, programs map[string]float64, ok bool) {
	type key struct {
		interpreter, program string
		round                int // 0: the smallest of all
	}
	times := map[key]float64{}
	rounds, names := map[int]bool{}, map[string]bool{}
	for _, sample := range r.Samples {
		rounds[sample.Round], names[sample.Program] = true, true
		times[key{sample.Interpreter, sample.Program, sample.Round}] = sample.Seconds
		best := key{sample.Interpreter, sample.Program, 0}
		times[best] = min(sample.Seconds, cmp.Or(times[best], sample.Seconds))
	}
	// ratios of a round, only when both have run everything that was run in it
	ratios := func(round int) map[string]float64 {
		found := map[string]float64{}
		for program := range names {
			a, b := times[key{to, program, round}], times[key{name, program, round}]
			if a <= 0 || b <= 0 {
				return nil
			}
			found[program] = a / b
		}
		return found
	}
	mean := func(ratios map[string]float64) float64 {
		figures := make([]float64, 0, len(ratios))
		for _, program := range slices.Sorted(maps.Keys(ratios)) { // in the same order, because rounding depends on it
			figures = append(figures, ratios[program])
		}
		return geometricMean(figures)
	}
	programs = ratios(0)
	if len(programs) == 0 {
		return s, nil, false
	}
	s = Speed{Mean: mean(programs), Min: math.Inf(1)}
	for round := range rounds {
		if found := ratios(round); len(found) > 0 {
			s.Min, s.Max = min(s.Min, mean(found)), max(s.Max, mean(found))
		}
	}
	if s.Max == 0 { // no round is whole
		s.Min, s.Max = s.Mean, s.Mean
	}
	return s, programs, true
}
