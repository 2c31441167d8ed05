package install

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pybuild/build"
	"pybuild/recipes"
)

func TestEstimate(t *testing.T) {
	// Three steps of 10, 60 and 30 seconds; what has ended is given by how long it took.
	for _, test := range []struct {
		name              string
		took              []float64
		fraction, elapsed float64
		since             float64 // that was counted
		want              float64
	}{
		{"the beginning", nil, 0, 0, 0, 100},
		{"within a step that does not say", nil, 0, 4, 0, 96},
		{"a step that takes too long", nil, 0, 30, 0, 91},
		{"a step went as expected", []float64{10}, 0, 0, 0, 90},
		{"a machine of half the speed", []float64{20}, 0, 0, 0, 135},
		{"a step says nothing yet, and others are slow", []float64{20}, 0, 45, 0, 90},
		{"half a step, as expected", []float64{10}, 0.5, 30, 0, 60},
		{"half a step, in half the time", []float64{10}, 0.5, 15, 0, 0.25*60*0.7 + 0.5*15 + 30*0.7},
		{"half a step, a while ago", []float64{10}, 0.5, 30, 12, 48},
		{"half a step, long ago", []float64{10}, 0.5, 30, 120, 33},
		{"nearly a whole step", []float64{10}, 0.99, 59.4, 0, 30.6},
		{"the last step", []float64{10, 60}, 0, 25, 0, 5},
		{"the end", []float64{10, 60, 30}, 0, 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			steps := []expectation{{expected: 10}, {expected: 60}, {expected: 30}}
			for i, s := range test.took {
				steps[i].took, steps[i].ended = s, true
			}
			if got := estimate(steps, len(test.took), test.fraction, test.elapsed, test.elapsed+test.since); math.Abs(got-test.want) > 1e-6 {
				t.Errorf("%v s left, want %v", got, test.want)
			}
		})
	}
	// Steps of which nothing is known.
	for _, test := range []struct {
		name              string
		fraction, elapsed float64
		want              float64
	}{
		{"nothing done", 0, 9, 50},
		{"a third is done", 1. / 3, 10, 70},
	} {
		if got := estimate([]expectation{{}, {expected: 50}}, 0, test.fraction, test.elapsed, test.elapsed); math.Abs(got-test.want) > 1e-6 {
			t.Errorf("%s: %v s left, want %v", test.name, got, test.want)
		}
	}
	// A step that was left out is not waited for.
	if got := estimate([]expectation{{expected: 80}, {expected: 50}}, 1, 0, 0, 0); got != 50 {
		t.Errorf("%v s left after a step that was left out, want 50", got)
	}
}

// told is a Reporter that remembers progress.
type told struct {
	silent
	mu       sync.Mutex
	progress []Progress
}

func (r *told) Progress(p Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress = append(r.progress, p)
}

func (r *told) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.progress) == 0 {
		return ""
	}
	p := r.progress[len(r.progress)-1]
	return fmt.Sprintf("%s %d/%d %s %.0f%% %s", p.Step, p.Done, p.Total, p.Unit, p.Percent, p.Left.Round(time.Second))
}

// trained is a profile whose installation takes 220 seconds.
var trained = &recipes.Profile{Name: "release", Seconds: map[string]float64{
	"unpack": 2, "configure": 20, "configure-known": 4, "instrument": 80, "train": 30, "compile": 80, "stage": 4, "inspect": 3, "commit": 1,
}}

// A tracker follows an installation that goes as it should, and one in which much was known before.
func TestTracker(t *testing.T) {
	type event struct {
		do    func(*tracker)
		after time.Duration
		want  string // what was told last
	}
	var done []func(error) // of the steps that run
	step := func(name string) func(*tracker) {
		return func(tr *tracker) { done = append(done, tr.Step("3.13.5", name)) }
	}
	end := func(*tracker) {
		done[len(done)-1](nil)
		done = done[:len(done)-1]
	}
	build := func(step, unit string, n, total int64) func(*tracker) {
		return func(tr *tracker) { tr.build(build.Progress{Step: step, Unit: unit, Done: n, Total: total}) }
	}
	nothing := func(*tracker) {}
	for _, test := range []struct {
		name   string
		events []event
	}{
		{"from the beginning", []event{
			{step("unpack"), time.Second, "unpack 0/0  0% 3m39s"},
			{func(tr *tracker) {
				tr.Progress(Progress{Version: "3.13.5", Step: "unpack", Unit: "bytes", Done: 5, Total: 10, Percent: -1, Left: -1})
			}, time.Second, "unpack 5/10 bytes 1% 3m38s"},
			{end, 0, "unpack 5/10 bytes 1% 3m38s"},
			{step("configure"), 20 * time.Second, "configure 0/0  10% 3m20s"},
			{end, 0, "configure 0/0  10% 3m20s"},
			{step("compile"), 0, "configure 0/0  10% 3m20s"},
			{build("instrument", "targets", 0, 400), 0, "compile 0/400 targets 10% 3m18s"},
			{nothing, 40 * time.Second, "compile 0/400 targets 28% 2m38s"},
			{build("instrument", "targets", 200, 400), 0, "compile 200/400 targets 28% 2m38s"},
			{nothing, 40 * time.Second, "compile 200/400 targets 46% 2m2s"},
			{end, 0, "compile 200/400 targets 46% 2m2s"},
			{step("train"), 0, "compile 200/400 targets 46% 2m2s"},
			{build("train", "tests", 22, 44), 0, "train 22/44 tests 55% 1m24s"},
		}},
		{"much is known", []event{
			{step("unpack"), 2 * time.Second, ""},
			{end, 0, ""},
			{step("configure"), 0, ""},
			{build("configure-known", "checks", 0, 700), 0, "configure 0/700 checks 1% 3m22s"},
			{nothing, 4 * time.Second, ""},
			{end, 0, ""},
			{step("compile"), 0, ""},
			{build("compile", "targets", 0, 400), 0, "compile 0/400 targets 6% 1m28s"},
			{nothing, 20 * time.Second, "compile 0/400 targets 28% 1m8s"},
			{build("compile", "targets", 100, 400), 0, "compile 100/400 targets 28% 1m8s"},
			{end, 0, ""},
			// The profile did not fit.
			{step("compile"), 0, ""},
			{build("instrument", "targets", 0, 400), 0, "compile 0/400 targets 28% 3m18s"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reporter := &told{}
				tr := newTracker(reporter, "3.13.5", filepath.Join(t.TempDir(), "times.json"), Options{Profile: trained})
				go tr.run()
				defer tr.stop()
				for i, e := range test.events {
					e.do(tr)
					time.Sleep(e.after)
					synctest.Wait()
					if got := reporter.last(); e.want != "" && got != e.want {
						t.Errorf("after event %d: %s, want %s", i+1, got, e.want)
					}
				}
				percent := -1.0
				for _, p := range reporter.progress {
					if p.Percent < percent || p.Percent >= 100 || p.Left < 0 || p.Version != "3.13.5" {
						t.Errorf("%+v after %v %%", p, percent)
					}
					percent = p.Percent
				}
				done = nil
			})
		})
	}
}

// What one installation took is what the next expects; what failed is not, nor how long a download took.
func TestRemember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "known", "times", "3.13-release-2.json")
		first := newTracker(&told{}, "3.13.5", file, Options{Profile: trained})
		for _, s := range []struct {
			name  string
			takes time.Duration
			err   error
		}{{"fetch", time.Minute, nil}, {"unpack", 3 * time.Second, nil}, {"configure", 40 * time.Second, errors.New("no")}, {"configure", 30 * time.Second, nil}, {"stage", 8 * time.Second, errors.New("no")}} {
			done := first.Step("3.13.5", s.name)
			time.Sleep(s.takes)
			done(s.err)
		}
		first.remember(map[string]int64{"configure": 713})
		second := newTracker(&told{}, "3.13.15", file, Options{Profile: trained})
		got := map[string]float64{}
		for _, s := range second.steps {
			got[s.name] = s.expected
		}
		want := map[string]float64{"check": 0, "fetch": 0, "unpack": 3, "configure": 30, "instrument": 80, "train": 30, "compile": 80, "stage": 4, "inspect": 3, "commit": 1}
		if !reflect.DeepEqual(got, want) || second.times.Counts["configure"] != 713 {
			t.Errorf("expects %v and %v, want %v", got, second.times.Counts, want)
		}
		if trained.Seconds["configure"] != 20 {
			t.Error("the profile has changed")
		}
	})
}

func TestTimes(t *testing.T) {
	good := `{"seconds":{"compile":58.5},"counts":{"compile":351},"curves":{}}` + "\n"
	for _, test := range []struct {
		name, text string
		known      bool
	}{
		{"good", good, true},
		{"empty", "", false},
		{"cut off", good[:20], false},
		{"null", "null", false},
		{"without counts", `{"seconds":{"compile":58.5},"curves":{}}`, false},
		{"without curves", `{"seconds":{"compile":58.5},"counts":{}}`, false},
		{"another thing", `{"seconds":{},"counts":{},"curves":{},"more":1}`, false},
		{"not numbers", `{"seconds":{"compile":"58"},"counts":{},"curves":{}}`, false},
		{"negative", `{"seconds":{"compile":-1},"counts":{"compile":351},"curves":{}}`, false},
		{"years", `{"seconds":{"compile":1e9},"counts":{"compile":351},"curves":{}}`, false},
		{"none", `{"seconds":{"compile":1},"counts":{"compile":0},"curves":{}}`, false},
		{"too many", `{"seconds":{"compile":1},"counts":{"compile":100000000},"curves":{}}`, false},
		{"a curve that ends too soon", `{"seconds":{},"counts":{},"curves":{"compile":[0.5]}}`, false},
		{"a curve that turns", `{"seconds":{},"counts":{},"curves":{"compile":[0.2,0.1,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3]}}`, false},
		{"a curve beyond the end", `{"seconds":{},"counts":{},"curves":{"compile":[0.2,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,0.3,1.3]}}`, false},
		{"too much", good[:len(good)-2] + strings.Repeat(" ", maxTimes) + "}", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "times.json")
			if err := os.WriteFile(name, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			got := readTimes(name)
			if known := got.Seconds["compile"] == 58.5 && got.Counts["compile"] == 351; known != test.known || !known && len(got.Seconds)+len(got.Counts) > 0 {
				t.Errorf("read %v", got)
			}
			if err := got.write(name); err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(name); err != nil || test.known && string(text) != good {
				t.Errorf("written %q, %v", text, err)
			}
		})
	}
	if got := readTimes(filepath.Join(t.TempDir(), "none")); len(got.Seconds)+len(got.Counts) > 0 || got.Seconds == nil || got.Counts == nil {
		t.Errorf("read %v from nothing", got)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := readTimes(file).write(filepath.Join(file, "below", "times.json")); err == nil {
		t.Error("written below a file")
	}
}

// Two compilations have two names, and everything that a profile knows the time of has a place.
func TestInOrder(t *testing.T) {
	c, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Profiles {
		for step := range p.Seconds {
			if step != build.KnownAnswers && !slices.Contains(inOrder, step) {
				t.Errorf("%s: %s has no place", p.Name, step)
			}
		}
	}
}

// What was learnt of a step is how it goes the next time.
func TestCurve(t *testing.T) {
	var c curve
	for seconds := 1.0; seconds <= 10; seconds++ { // half of it in the first tenth of the time
		done := 0.5 + 0.5*(seconds-1)/9
		c = c.pass(done, seconds)
	}
	c = c.over(10)
	if !c.valid() {
		t.Fatalf("%v is no curve", c)
	}
	for done, want := range map[float64]float64{0: 0, 0.25: 0.1, 0.5: 0.1, 0.75: 0.6, 1: 1} {
		if got := c.at(done); math.Abs(got-want) > 0.05 {
			t.Errorf("%v of the time when %v is done, want %v", got, done, want)
		}
	}
	if got := curve(nil).at(0.3); got != 0.3 {
		t.Errorf("of nothing learnt: %v", got)
	}
	if got := curve(nil).over(10); got != nil {
		t.Errorf("of nothing counted: %v", got)
	}
	if got := (curve{1, 2}).over(0); got != nil {
		t.Errorf("of no time: %v", got)
	}
}
