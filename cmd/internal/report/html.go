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

// summary counts the cells: "12 cells: 10 passed, 2 failed".
func (r *Report) summary() string {
	var list []string
	for _, s := range []State{Passed, Failed, ExpectedFailure, NotRun} {
		if n := r.Count(s); n > 0 {
			list = append(list, fmt.Sprintf("%d %s", n, words(s)))
		}
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

// A bar is a step on the page's time line.
type bar struct {
	Step
	Left, Width string // percentages of the cell's time
}

// bars are the steps of a cell, each where it lies in the time of the cell.
func bars(c Cell) []bar {
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
	return list
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
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]any{"Report": r, "Summary": r.summary(), "Grids": r.grids()})
}
