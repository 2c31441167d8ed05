package main

import (
	"slices"
	"strings"
	"testing"
)

// sampleResults has two rounds of three cases, of which one ran only once, and two interpreters.
func sampleResults() *Results {
	r := &Results{Version: "3.13.5", Jobs: 2, Root: true, Machine: Machine{Processor: "A | B", System: "Debian"}}
	add := func(round int, name string, wall float64) {
		r.Runs = append(r.Runs, Run{Round: round, Case: name, Usage: Usage{Wall: wall, CPU: wall * 1.5, Memory: 300 << 20, OwnCPU: wall / 100, OwnMemory: 50 << 20}, Disk: 90 << 20, Peak: 400 << 20})
	}
	add(1, "python-build", 80)
	add(1, "quick", 60)
	add(2, "quick-known", 60)
	add(2, "quick", 100)
	add(2, "python-build", 120)
	r.Interpreters = []Interpreter{{"by-hand", "/a", "3.13.5"}, {"quick", "/b", "3.13.5"}, {"distribution's python3.13", "/c", "3.13.1"}}
	for round := 1; round <= 2; round++ {
		r.Samples = append(r.Samples, Sample{round, "one", "by-hand", 1}, Sample{round, "one", "quick", 0.5}, Sample{round, "two", "by-hand", 1}, Sample{round, "two", "quick", 2 / float64(round)})
	}
	return r
}

func TestSpread(t *testing.T) {
	for _, test := range []struct {
		figures []float64
		want    Spread
	}{
		{[]float64{3}, Spread{3, 3, 3}},
		{[]float64{4, 1}, Spread{2.5, 1, 4}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9}},
		{[]float64{4, 3, 2, 1}, Spread{2.5, 1, 4}},
	} {
		if got := spread(test.figures); got != test.want {
			t.Errorf("%v: %+v, want %+v", test.figures, got, test.want)
		}
	}
}

// TestRatios: only what ran in the same round is compared.
func TestRatios(t *testing.T) {
	r := sampleResults()
	for _, test := range []struct {
		of, to string
		want   []float64
	}{
		{"quick", "python-build", []float64{0.75, 100.0 / 120}},
		{"quick-known", "python-build", []float64{0.5}},
		{"quick", "by-hand", nil},
	} {
		if got := r.ratios(pair{"", test.of, test.to}); !slices.Equal(got, test.want) {
			t.Errorf("%s / %s: %v, want %v", test.of, test.to, got, test.want)
		}
	}
}

// TestPairs: every pair is of cases that there are, which all have a group that stands together.
func TestPairs(t *testing.T) {
	var names, groups []string
	for _, c := range cases(setting{}) {
		names = append(names, c.Name)
		if len(groups) == 0 || groups[len(groups)-1] != c.Group {
			groups = append(groups, c.Group)
		}
	}
	for _, p := range slices.Concat(pairs, speedPairs) {
		if !slices.Contains(names, p.of) || !slices.Contains(names, p.to) {
			t.Errorf("%s / %s", p.of, p.to)
		}
	}
	for _, list := range [][]string{names, groups} {
		if sorted := slices.Compact(slices.Sorted(slices.Values(list))); len(sorted) != len(list) {
			t.Errorf("twice: %q", list)
		}
	}
	for _, c := range cases(setting{}) {
		if c.From != "" && !slices.Contains(names[:slices.Index(names, c.Name)], c.From) {
			t.Errorf("%s starts with %s, which does not come before it", c.Name, c.From)
		}
	}
}

func TestOrder(t *testing.T) {
	chosen := []Case{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	for round, want := range map[int]string{1: "a b c", 2: "c b a", 3: "a b c", 4: "c b a"} {
		if got := strings.Join(order(chosen, round), " "); got != want {
			t.Errorf("round %d: %s, want %s", round, got, want)
		}
	}
}

func TestSpeedOf(t *testing.T) {
	r := sampleResults()
	s, programs, ok := r.speedOf("quick", "by-hand")
	// The smallest times are 0.5 and 1: twice and once as fast. In the first round it was twice and half, in the second twice and once.
	if !ok || programs["one"] != 2 || programs["two"] != 1 || s.Min < 0.999 || s.Min > 1.001 || s.Mean < 1.414 || s.Mean > 1.415 || s.Max != s.Mean {
		t.Errorf("%+v, %v, %v", s, programs, ok)
	}
	if _, _, ok := r.speedOf("distribution's python3.13", "by-hand"); ok {
		t.Error("what has not run was compared")
	}
}

func TestMarkdown(t *testing.T) {
	const want = `CPython 3.13.5, 2 jobs; A \| B; Debian. Started by root: builds by hand run as root, pybuild's confined as an unprivileged user.

| wall time | pair | ratio: median [min–max] | cores busy | rounds |
|---|---|---|---|---|
| quick build against python-build | 'quick' / 'python-build' | 0.79 [0.75–0.83] | 1.50 / 1.50 | 2 |
| quick build, answers known, against python-build | 'quick-known' / 'python-build' | 0.50 [0.50–0.50] | 1.50 / 1.50 | 1 |

Medians of each case. Memory is that of the largest process; disk is what is installed, and the most that it and the build directory took.

| case | what | wall s | CPU s | cores busy | memory MiB | pybuild's own: memory MiB, CPU | disk MiB, at most |
|---|---|---|---|---|---|---|---|
| 'python-build' | python-build's flags, by hand | 100.0 | 150.0 | 1.50 | 300 |  | 90, 400 |
| 'quick' | pybuild, nothing known of earlier builds | 80.0 | 120.0 | 1.50 | 300 | 50, 0.7 % | 90, 400 |
| 'quick-known' | pybuild, configure's answers known | 60.0 | 90.0 | 1.50 | 300 | 50, 0.7 % | 90, 400 |

Speed of the interpreters: the geometric mean over all programs of the smallest CPU times, 'by-hand' = 1, more is faster; in brackets the slowest and the fastest single round.

| interpreter | version | speed |
|---|---|---|
| 'by-hand' | 3.13.5 | 1.00 [1.00–1.00] |
| 'quick' | 3.13.5 | 1.41 [1.00–1.41] |

| program | 'by-hand' | 'quick' |
|---|---|---|
| one | 1.00 | 2.00 |
| two | 1.00 | 1.00 |
`
	if got := sampleResults().markdown(); got != unquote(want) {
		t.Errorf("table\n%s\nwant\n%s", got, unquote(want))
	}
}

// unquote puts the backquotes back that a raw string cannot hold: those of names.
func unquote(s string) string {
	for _, name := range []string{"python-build", "quick-known", "quick", "by-hand"} {
		s = strings.ReplaceAll(s, "'"+name+"'", "`"+name+"`")
	}
	return s
}
