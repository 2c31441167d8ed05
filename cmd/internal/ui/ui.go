// Package ui shows people and programs what an installation does: a bar on a terminal, plain lines elsewhere, JSON for programs.
// It is told facts and draws them; it must not decide anything, and standard output stays free for the answer.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// Options say how to show what happens.
type Options struct {
	// Out is where people look, standard error.
	Out io.Writer
	// JSON receives one object a line for every event; nil for none.
	JSON io.Writer
	// Progress is auto, bar, plain or none. auto draws a bar on a terminal, and else, unless there is JSON, writes plain lines.
	Progress string
	// Quiet leaves out everything but warnings, Verbose adds details.
	Quiet, Verbose bool
}

// Modes are the values that Options.Progress may have.
var Modes = []string{"auto", "bar", "plain", "none"}

// UI implements install.Reporter.
type UI struct {
	options Options

	mu      sync.Mutex
	bar     *progressbar.ProgressBar // of the running step, when bars are drawn
	total   int64                    // what the bar was made for
	stop    chan struct{}            // ends the bar's clock
	version string
	step    string
	started time.Time
	told    time.Time // when the last progress event was written
}

// New returns a UI with Progress resolved: never auto.
func New(o Options) *UI {
	if o.Progress == "auto" || o.Progress == "" {
		switch {
		case IsTerminal(o.Out):
			o.Progress = "bar"
		case o.JSON != nil:
			o.Progress = "none"
		default:
			o.Progress = "plain"
		}
	}
	if o.Quiet {
		o.Progress = "none"
	}
	return &UI{options: o}
}

// IsTerminal says whether f is a terminal.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Step says that a step begins.
func (u *UI) Step(version, step string) func(error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clear()
	outer, outerStarted := u.step, u.started
	u.version, u.step, u.started = version, step, time.Now()
	u.event(map[string]any{"event": "step", "version": version, "step": step, "state": "start"})
	switch u.options.Progress {
	case "plain":
		fmt.Fprintf(u.options.Out, "%s %s\n", version, step)
	case "bar":
		u.draw(-1)
	}
	started := u.started
	return func(err error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.clear()
		u.step, u.started = outer, outerStarted
		took, state := time.Since(started), "done"
		if err != nil {
			state = "failed"
		}
		u.event(map[string]any{"event": "step", "version": version, "step": step, "state": state, "seconds": float64(took.Milliseconds()) / 1000})
		if u.options.Progress == "plain" || u.options.Progress == "bar" {
			fmt.Fprintf(u.options.Out, "%s %s %s in %.1f s\n", version, step, state, took.Seconds())
		}
	}
}

// Progress says how many bytes of the current step are done; total is 0 when it is not known.
func (u *UI) Progress(done, total int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.told) >= time.Second {
		u.told = time.Now()
		u.event(map[string]any{"event": "progress", "version": u.version, "step": u.step, "done": done, "total": total})
	}
	if u.options.Progress != "bar" {
		return
	}
	if total == 0 {
		total = -1
	}
	if u.bar == nil || u.total != total {
		u.clear()
		u.draw(total)
	}
	_ = u.bar.Set64(done)
}

// Warn tells the user something that does not stop the installation.
func (u *UI) Warn(text string) { u.say("warning", "pybuild: warning: "+text, text, true) }

// Note tells the user what is done or was decided on the way.
func (u *UI) Note(text string) { u.say("note", "pybuild: "+text, text, !u.options.Quiet) }

// Detail tells the user who asked for more.
func (u *UI) Detail(text string) { u.say("detail", "pybuild: "+text, text, u.options.Verbose) }

func (u *UI) say(event, line, text string, show bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if event != "detail" {
		u.event(map[string]any{"event": event, "version": u.version, "message": text})
	}
	if show {
		u.clear()
		fmt.Fprintln(u.options.Out, line)
	}
}

// Object writes one JSON object, when there is JSON at all.
func (u *UI) Object(v any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.event(v)
}

func (u *UI) event(v any) {
	if u.options.JSON == nil {
		return
	}
	if text, err := json.Marshal(v); err == nil {
		fmt.Fprintf(u.options.JSON, "%s\n", text)
	}
}

// draw starts a bar for the current step: of bytes, or with total -1 a spinner with the time.
func (u *UI) draw(total int64) {
	u.total = total
	u.bar = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(u.options.Out),
		progressbar.OptionSetDescription(u.version+" "+u.step),
		progressbar.OptionShowBytes(total > 0),
		progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSpinnerType(14),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionSetSpinnerChangeInterval(0), // our clock turns it
		progressbar.OptionUseANSICodes(true),          // wiping out with spaces misses some of the line
		progressbar.OptionSetRenderBlankState(true),
	)
	if total < 0 {
		u.stop = make(chan struct{})
		go u.tick(u.bar, u.stop)
	}
}

// tick redraws a spinner while nothing else happens, until stop is closed.
func (u *UI) tick(bar *progressbar.ProgressBar, stop chan struct{}) {
	clock := time.NewTicker(200 * time.Millisecond)
	defer clock.Stop()
	for {
		select {
		case <-stop:
			return
		case <-clock.C:
			u.mu.Lock()
			if u.bar == bar {
				_ = bar.Add(1)
			}
			u.mu.Unlock()
		}
	}
}

func (u *UI) clear() {
	if u.bar != nil {
		_ = u.bar.Clear()
		u.bar = nil
	}
	if u.stop != nil {
		close(u.stop)
		u.stop = nil
	}
}
