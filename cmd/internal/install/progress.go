package install

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/recipes"
)

// Progress says how far an installation is.
type Progress struct {
	Version string
	// Step is the step that runs; Unit is what is counted in it: bytes, checks, targets, tests, or nothing. Done and Total are how many
	// of them; Total is 0 when it is not known.
	Step, Unit  string
	Done, Total int64
	// Percent is how much of the whole installation is done, by time: it does not go back, and is less than 100. Left is how long it
	// will take yet. Both are negative where that cannot be known.
	Percent float64
	Left    time.Duration
}

// unknownProgress is the progress of a step alone.
func unknownProgress(version, step, unit string, done, total int64) Progress {
	return Progress{Version: version, Step: step, Unit: unit, Done: done, Total: total, Percent: -1, Left: -1}
}

// bytes returns what reports the bytes of a step.
func (in *Installer) bytes(version, step string) func(done, total int64) {
	return func(done, total int64) { in.Reporter.Progress(unknownProgress(version, step, "bytes", done, total)) }
}

// inOrder are the steps whose times are known or learnt. The two compilations of a guided build are told apart.
var inOrder = []string{"check", "fetch", "unpack", "configure", "instrument", "train", "compile", "test", "stage", "inspect", "commit"}

// firstLearnt is the first step whose time says something about the next installation. Those before it depend on what was there
// already.
var firstLearnt = slices.Index(inOrder, "unpack")

// A tracker is the Reporter of one installation: it hands on what it is told, and adds how far the whole is and how long it will take.
type tracker struct {
	Reporter
	version string
	file    string // where the times of this machine are kept
	times   times  // that are expected: of this machine, else of the recipes

	mu       sync.Mutex // of what follows
	start    time.Time
	open     []string // steps that have begun and not ended, the innermost last
	steps    []expectation
	at       int     // the step that runs or comes next
	stage    string  // the step that runs as package build calls it, empty between two
	fraction float64 // of its time that has gone, by what is done
	counted  float64 // when that was, in seconds since it began
	pace     curve   // of it, so far
	began    time.Time
	last     Progress
	took     map[string]float64 // seconds of what has ended, by stage
	curves   map[string]curve   // of the same
	clock    chan struct{}      // ends the clock
	stopped  chan struct{}      // by the clock
}

// trackEvery is how often an installation is told to be further although no step says so.
const trackEvery = time.Second

// track returns an installer that does the same, and reports how far it is with the installation of rel until the tracker is stopped.
func (in *Installer) track(rel *recipes.Selection, o Options) (*Installer, *tracker) {
	name := fmt.Sprintf("%s-%s-%d.json", strings.TrimPrefix(rel.Executable(), "python"), o.Profile.Name, cmp.Or(o.Jobs, host.Jobs(in.Root)))
	t := newTracker(in.Reporter, rel.String(), filepath.Join(in.Cache.Dir, "known", "times", name), o)
	go t.run()
	tracked := *in
	tracked.Reporter = t
	return &tracked, t
}

func newTracker(to Reporter, version, file string, o Options) *tracker {
	t := &tracker{
		Reporter: to, version: version, file: file, times: readTimes(file), start: time.Now(), took: map[string]float64{}, curves: map[string]curve{}, last: unknownProgress(version, "", "", 0, 0),
		clock: make(chan struct{}), stopped: make(chan struct{}),
	}
	for step, seconds := range o.Profile.Seconds {
		if _, known := t.times.Seconds[step]; !known {
			t.times.Seconds[step] = seconds
		}
	}
	for _, step := range inOrder {
		if step != "test" || o.Test {
			t.steps = append(t.steps, expectation{name: step, expected: t.times.Seconds[step]})
		}
	}
	return t
}

// goOn says that the installation goes on now, after so much work and perhaps much waiting.
func (t *tracker) goOn(took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start = time.Now().Add(-took)
}

// run tells how far the installation is, even when no step says so.
func (t *tracker) run() {
	defer close(t.stopped)
	clock := time.NewTicker(trackEvery)
	defer clock.Stop()
	for {
		select {
		case <-t.clock:
			return
		case <-clock.C:
			t.mu.Lock()
			t.tell()
			t.mu.Unlock()
		}
	}
}

// stop ends the clock. Nothing is told by it afterwards.
func (t *tracker) stop() {
	close(t.clock)
	<-t.stopped
}

// Step is the Reporter's.
func (t *tracker) Step(version, step string) func(error) {
	done := t.Reporter.Step(version, step)
	t.mu.Lock()
	t.open = append(t.open, step)
	t.last.Step, t.last.Unit, t.last.Done, t.last.Total = step, "", 0, 0
	if step != "compile" { // which of them is told with its progress
		t.begin(step)
	}
	t.mu.Unlock()
	return func(err error) {
		t.mu.Lock()
		t.open = t.open[:len(t.open)-1]
		t.last.Step, t.last.Unit, t.last.Done, t.last.Total = "", "", 0, 0
		if len(t.open) == 0 {
			t.end(err)
		} else {
			t.last.Step = t.open[len(t.open)-1]
		}
		t.mu.Unlock()
		done(err)
	}
}

// Progress is the Reporter's.
func (t *tracker) Progress(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress(p)
}

// build is told by package build.
func (t *tracker) build(p build.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begin(p.Step)
	t.progress(unknownProgress(t.version, t.last.Step, p.Unit, p.Done, p.Total))
}

func (t *tracker) progress(p Progress) {
	t.last.Step, t.last.Unit, t.last.Done, t.last.Total = p.Step, p.Unit, p.Done, p.Total
	if t.fraction = 0; p.Total > 0 {
		done := min(1, float64(p.Done)/float64(p.Total))
		t.counted = time.Since(t.began).Seconds()
		t.fraction, t.pace = t.times.Curves[t.stage].at(done), t.pace.pass(done, t.counted)
	}
	t.tell()
}

// begin says that a step has begun. Those before it have ended, or are left out; those after it are still to come, even when they were
// done once.
func (t *tracker) begin(stage string) {
	name := stage
	if name == build.KnownAnswers {
		name = "configure"
	}
	i := slices.IndexFunc(t.steps, func(s expectation) bool { return s.name == name })
	if i < 0 || stage == t.stage {
		return
	}
	for j := range t.steps[i:] {
		t.steps[i+j].ended = false
	}
	t.at, t.stage, t.began, t.fraction, t.pace = i, stage, time.Now(), 0, nil
	t.steps[i].expected = t.times.Seconds[stage]
}

// end says that the step that runs has ended.
func (t *tracker) end(err error) {
	if t.stage == "" {
		return
	}
	if err == nil {
		s := &t.steps[t.at]
		s.ended, s.took = true, time.Since(t.began).Seconds()
		if t.at >= firstLearnt {
			t.took[t.stage], t.curves[t.stage] = s.took, t.pace.over(s.took)
		}
		t.at++
	}
	t.stage, t.fraction = "", 0
}

// tell hands on how far the whole is.
func (t *tracker) tell() {
	if len(t.open) == 0 {
		return
	}
	elapsed := 0.0
	if t.stage != "" {
		elapsed = time.Since(t.began).Seconds()
	}
	left := estimate(t.steps, t.at, t.fraction, t.counted, elapsed)
	total := time.Since(t.start).Seconds()
	t.last.Left = time.Duration(left * float64(time.Second)).Round(100 * time.Millisecond)
	if total+left > 0 {
		t.last.Percent = max(t.last.Percent, min(99.9, 100*total/(total+left)))
	}
	t.Reporter.Progress(t.last)
}

// remember keeps how long the steps took on this machine, and how much they had to do.
func (t *tracker) remember(counts map[string]int64) {
	t.mu.Lock()
	learnt := readTimes(t.file)
	for stage, seconds := range t.took {
		learnt.Seconds[stage] = seconds
		if c := t.curves[stage]; c != nil {
			learnt.Curves[stage] = c
		}
	}
	t.mu.Unlock()
	for stage, n := range counts {
		learnt.Counts[stage] = n
	}
	if err := learnt.write(t.file); err != nil {
		t.Detail("how long it took is not kept: " + err.Error())
	}
}
