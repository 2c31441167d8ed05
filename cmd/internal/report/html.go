package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

//go:embed page.html
var page string

// words are a state as people say it.
func words(s State) string { return strings.ReplaceAll(string(s), "-", " ") }

// mark is a state as one character, which tells it where colours cannot.
func mark(s State) string {
	switch s {
	case Passed:
		return "✓"
	case Failed:
		return "✗"
	case ExpectedFailure:
		return "≈"
	default:
		return "–"
	}
}

// meaning is what the legend says of a state.
func meaning(s State) string {
	switch s {
	case Passed:
		return "built, proven and installed"
	case Failed:
		return "was not built, or is not right"
	case ExpectedFailure:
		return "failed, as the matrix says that it must"
	default:
		return "the matrix has it, and nothing is known of it"
	}
}

// title is a cell as headings and links call it.
func title(c Cell) string {
	return fmt.Sprintf("%s, Python %s, %s", c.Distribution, c.Python, c.Profile)
}

// broken is the step in which a cell failed, "" where that is not known.
func broken(c Cell) string {
	for _, s := range c.Steps {
		if s.State == Failed {
			return s.Name
		}
	}
	return ""
}

// A count is how many cells are in a state.
type count struct {
	State State
	N     int
}

// counts are the states that cells are in, in the order of interest.
func (r *Report) counts() (list []count) {
	for _, s := range []State{Passed, Failed, ExpectedFailure, NotRun} {
		if n := r.Count(s); n > 0 {
			list = append(list, count{s, n})
		}
	}
	return list
}

// summary counts the cells: "12 cells: 10 passed, 2 failed".
func (r *Report) summary() string {
	var list []string
	for _, c := range r.counts() {
		list = append(list, fmt.Sprintf("%d %s", c.N, words(c.State)))
	}
	cells := "cells"
	if len(r.Cells) == 1 {
		cells = "cell"
	}
	return strings.TrimSuffix(fmt.Sprintf("%d %s: %s", len(r.Cells), cells, strings.Join(list, ", ")), ": ")
}

// A grid is the part of a report that has one profile: distributions down, Pythons across.
type grid struct {
	Profile string
	Pythons []string
	Rows    []row
}

type row struct {
	Distribution string
	Squares      []square
}

// A square is where a row and a column meet; Cell is nil where the matrix has none.
type square struct {
	Number int // of the cell in the report, from 1
	Python string
	Cell   *Cell
}

func (r *Report) grids() []grid {
	var profiles []string
	for _, c := range r.Cells {
		if !slices.Contains(profiles, c.Profile) {
			profiles = append(profiles, c.Profile)
		}
	}
	slices.Sort(profiles)
	var grids []grid
	for _, p := range profiles {
		g := grid{Profile: p}
		for _, c := range r.Cells {
			if c.Profile == p && !slices.Contains(g.Pythons, c.Python) {
				g.Pythons = append(g.Pythons, c.Python)
			}
		}
		slices.SortFunc(g.Pythons, natural)
		for i := range r.Cells {
			c := &r.Cells[i]
			if c.Profile != p {
				continue
			}
			if n := len(g.Rows); n == 0 || g.Rows[n-1].Distribution != c.Distribution {
				squares := make([]square, len(g.Pythons))
				for j := range squares {
					squares[j].Python = g.Pythons[j]
				}
				g.Rows = append(g.Rows, row{c.Distribution, squares})
			}
			s := &g.Rows[len(g.Rows)-1].Squares[slices.Index(g.Pythons, c.Python)]
			s.Number, s.Cell = i+1, c
		}
		grids = append(grids, g)
	}
	return grids
}

// A failure is the cells that failed for the same reason.
type failure struct {
	State   State
	Reason  string
	Squares []square
}

// failures are the reasons why cells failed, those that were expected last.
func (r *Report) failures() (list []failure) {
	for _, state := range []State{Failed, ExpectedFailure} {
		for i := range r.Cells {
			c := &r.Cells[i]
			if c.State != state {
				continue
			}
			same := func(f failure) bool { return f.State == state && f.Reason == c.Reason }
			j := slices.IndexFunc(list, same)
			if j < 0 {
				j, list = len(list), append(list, failure{State: state, Reason: c.Reason})
			}
			list[j].Squares = append(list[j].Squares, square{Number: i + 1, Python: c.Python, Cell: c})
		}
	}
	return list
}

// A line is the steps of a cell on the time that it took.
type line struct {
	Whole float64 // seconds
	Bars  []bar
}

// A bar is a step on the page's time line.
type bar struct {
	Step
	Left, Width string // percentages of the cell's time
}

// bars are the steps of a cell, each where it lies in the time of the cell.
func bars(c Cell) line {
	whole := c.Seconds
	for _, s := range c.Steps {
		whole = max(whole, s.Started+s.Seconds)
	}
	percent := func(part float64) string {
		if whole <= 0 {
			return "0"
		}
		return strconv.FormatFloat(math.Round(part/whole*1e4)/100, 'f', -1, 64)
	}
	list := make([]bar, len(c.Steps))
	for i, s := range c.Steps {
		list[i] = bar{s, percent(s.Started), percent(s.Seconds)}
	}
	return line{whole, list}
}

// duration is seconds for people.
func duration(seconds float64) string {
	switch n := int(math.Round(seconds)); {
	case seconds < 10:
		return fmt.Sprintf("%.1f s", seconds)
	case n < 100:
		return fmt.Sprintf("%d s", n)
	case n < 3600:
		return fmt.Sprintf("%d min %d s", n/60, n%60)
	default:
		return fmt.Sprintf("%d h %d min", n/3600, n%3600/60)
	}
}

// size is bytes for people.
func size(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

func cores(n float64) string { return fmt.Sprintf("%.1f", n) }

// HTML writes the report as one page, which needs nothing but itself. The markup is XML too.
func HTML(r *Report, w io.Writer) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"duration": duration, "size": size, "cores": cores, "join": strings.Join, "words": words, "mark": mark, "bars": bars, "inc": func(n int) int { return n + 1 },
		"title": title, "broken": broken, "meaning": meaning,
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{
		"Report": r, "One": len(r.Cells) == 1, "Summary": r.summary(), "Counts": r.counts(), "Failures": r.failures(), "Grids": r.grids(),
	})
}
