// Package ui shows people and programs what an installation does: a bar on a terminal, plain lines elsewhere, JSON for programs.
// It is told facts and draws them; it must not decide anything, and standard output stays free for the answer. There are no colours,
// so NO_COLOR has nothing to change.
package ui

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"pybuild/cmd/internal/install"
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

// UI implements install.Reporter, for several installations at the same time.
type UI struct {
	options Options
	width   func() int // of the terminal, in columns

	mu       sync.Mutex
	versions map[string]*version // all that ever began a step
	active   []*version          // those of which one runs, in the order in which they began
	last     string              // the version that began a step last
	drawn    bool                // a line is on the screen that is to be wiped out
	turn     int                 // of the spinner
	clock    chan struct{}       // closed, it ends the clock that draws; nil when none runs
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
	return &UI{options: o, width: func() int { return width(o.Out) }, versions: map[string]*version{}}
}

// IsTerminal says whether f is a terminal.
func IsTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// Step says that a step begins.
func (u *UI) Step(name, step string) func(error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.versions[name]
	if v == nil {
		v = &version{name: name, progress: unknown}
		u.versions[name] = v
	}
	if len(v.steps) == 0 {
		u.active = append(u.active, v)
	}
	s := &running{name: step, started: time.Now()}
	v.steps, v.told, u.last = append(v.steps, s), s.started, name
	v.count("", 0, 0)
	u.event(map[string]any{"event": "step", "version": name, "step": step, "state": "start"})
	switch u.options.Progress {
	case "plain":
		fmt.Fprintf(u.options.Out, "%s %s\n", name, step)
	case "bar":
		u.draw()
		u.startClock()
	}
	return func(err error) {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.wipe()
		i := slices.Index(v.steps, s)
		v.steps = slices.Delete(v.steps, i, i+1)
		v.count("", 0, 0)
		if len(v.steps) == 0 {
			u.active = slices.DeleteFunc(u.active, func(other *version) bool { return other == v })
		}
		took, state := time.Since(s.started), "done"
		if err != nil {
			state = "failed"
		}
		u.event(map[string]any{"event": "step", "version": name, "step": step, "state": state, "seconds": float64(took.Milliseconds()) / 1000})
		if u.options.Progress == "plain" || u.options.Progress == "bar" {
			fmt.Fprintf(u.options.Out, "%s %s %s in %.1f s\n", name, step, state, took.Seconds())
		}
		if len(u.active) == 0 {
			u.stopClock()
		} else {
			u.draw()
		}
	}
}

// Progress says how far the installation of a version is. What comes when no step of it runs is not shown.
func (u *UI) Progress(p install.Progress) {
	u.mu.Lock()
	defer u.mu.Unlock()
	v := u.versions[p.Version]
	if v == nil || len(v.steps) == 0 {
		return
	}
	v.progress = p
	now := time.Now()
	if u.options.JSON != nil && now.Sub(v.written) >= time.Second {
		v.written = now
		u.event(event(p))
	}
	if u.options.Progress == "plain" && now.Sub(v.told) >= plainEvery {
		v.told = now
		if state := v.state(); state != "" {
			fmt.Fprintf(u.options.Out, "%s %s %s\n", v.name, v.step(), state)
		}
	}
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
		about := map[string]any{"event": event, "message": text}
		if len(u.active) <= 1 { // else nobody knows which
			about["version"] = u.last
			if len(u.active) == 1 {
				about["version"] = u.active[0].name
			}
		}
		u.event(about)
	}
	if show {
		u.wipe()
		fmt.Fprintln(u.options.Out, line)
		u.draw()
	}
}

// Alone lets the caller write to Out, or ask something there: until it calls the result, nothing else is shown, and whoever has
// something to tell waits.
func (u *UI) Alone() (done func()) {
	u.mu.Lock()
	u.wipe()
	return u.mu.Unlock
}

// Print writes lines of the caller's where people look, between those of the steps.
func (u *UI) Print(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wipe()
	fmt.Fprint(u.options.Out, text)
	u.draw()
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
