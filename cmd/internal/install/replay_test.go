package install

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"testing"

	"pybuild/recipes"
)

// A recording is what was told of a real installation: how long its steps took, and when how much of them was done.
type recording struct {
	steps []recorded
	total float64 // seconds
}

type recorded struct {
	name    string
	seconds float64
	points  [][2]float64 // seconds and how much was done, from 0 to 1
}

// readRecording reads lines of a step with its seconds and of how much it counts, each followed by those of when how much was done.
func readRecording(t *testing.T, name string) (r recording) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var total float64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var s recorded
		var p [2]float64
		if n, _ := fmt.Sscanf(lines.Text(), "%s %f %f", &s.name, &s.seconds, &total); n == 3 {
			r.steps = append(r.steps, s)
			r.total += s.seconds
		} else if n, _ := fmt.Sscanf(lines.Text(), "\t%f %f", &p[0], &p[1]); n == 2 {
			last := &r.steps[len(r.steps)-1]
			p[1] /= total
			last.points = append(last.points, p)
		}
	}
	return r
}

// learn is what a machine knows after it.
func (r recording) learn() times {
	learnt := times{Seconds: map[string]float64{}, Curves: map[string]curve{}}
	for _, s := range r.steps {
		var c curve
		for _, p := range s.points {
			c = c.pass(p[1], p[0])
		}
		learnt.Seconds[s.name], learnt.Curves[s.name] = s.seconds, c.over(s.seconds)
	}
	return learnt
}

// replay returns by how much of the true total the predicted one is wrong at worst, once a quarter of the time has gone.
func (r recording) replay(known times) (worst float64) {
	var steps []expectation
	for _, s := range r.steps {
		steps = append(steps, expectation{name: s.name, expected: known.Seconds[s.name]})
	}
	before := 0.0
	for at, s := range r.steps {
		for elapsed := 0.0; elapsed < s.seconds; elapsed++ {
			fraction, counted := 0.0, 0.0
			for _, p := range s.points {
				if p[0] <= elapsed {
					fraction, counted = known.Curves[s.name].at(p[1]), p[0]
				}
			}
			if now := before + elapsed; now >= r.total/4 {
				worst = max(worst, math.Abs(now+estimate(steps, at, fraction, counted, elapsed)-r.total)/r.total)
			}
		}
		steps[at].took, steps[at].ended = s.seconds, true
		before += s.seconds
	}
	return worst
}

// The recording is an installation of 3.13.5 on two processors that others used, too, and more and more: it took five times as long as
// it would have alone. What a machine learnt from it predicts such another within a fifth, also when it is faster or slower by then.
func TestReplay(t *testing.T) {
	r := readRecording(t, "testdata/3.13.5-quick.txt")
	catalogue, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	quick, err := catalogue.Profile("quick")
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []float64{1. / 3, 0.5, 1, 2} {
		known := r.learn()
		for name := range known.Seconds {
			known.Seconds[name] *= by
		}
		worst := r.replay(known)
		t.Logf("with what was learnt when it took %.2f times as long: wrong by %.0f %%", by, 100*worst)
		if worst > 0.2 {
			t.Errorf("wrong by %.0f %%", 100*worst)
		}
	}
	t.Logf("with the seconds of the recipes: wrong by %.0f %%", 100*r.replay(times{Seconds: quick.Seconds}))
}
