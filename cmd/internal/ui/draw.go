package ui

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"pybuild/cmd/internal/install"
)

// plainEvery is how often plain lines say how far a long step is.
const plainEvery = 30 * time.Second

// drawEvery is how often the line on a terminal is drawn.
const drawEvery = 200 * time.Millisecond

// The widths of a bar and of a terminal that does not say how wide it is, in columns.
const (
	minBar, maxBar = 5, 30
	usualWidth     = 80
)

// running is a step that runs.
type running struct {
	name    string
	started time.Time
}

// version is what is known of one installation.
type version struct {
	name     string
	steps    []*running // the innermost last: verify runs within fetch
	progress install.Progress
	written  time.Time // when the last event was
	told     time.Time // when the last plain line was
}

// unknown is the progress of what has not said anything.
var unknown = install.Progress{Percent: -1, Left: -1}

func (v *version) step() string { return v.steps[len(v.steps)-1].name }

func (v *version) count(unit string, done, total int64) {
	v.progress.Unit, v.progress.Done, v.progress.Total = unit, done, total
}

// percent is how much is done, of the whole or else of the step, rounded down: 100 comes at the end. It is negative when unknown.
func (v *version) percent() int {
	p := v.progress
	if p.Percent < 0 && p.Total > 0 {
		return int(100 * p.Done / p.Total)
	}
	return int(p.Percent)
}

// state is all of it in words: "43 %, 0:51 left", empty when nothing is known.
func (v *version) state() string {
	var words []string
	if percent := v.percent(); percent >= 0 {
		words = append(words, fmt.Sprintf("%d %%", percent))
	}
	if left := left(v.progress.Left); left != "" {
		words = append(words, left)
	}
	return strings.Join(words, ", ")
}

// counted is what the step has counted: "312/721", or "1.2/22.9 MB".
func counted(p install.Progress) string {
	const mega = 1e6
	switch {
	case p.Unit == "bytes" && p.Total > 0:
		return fmt.Sprintf("%.1f/%.1f MB", float64(p.Done)/mega, float64(p.Total)/mega)
	case p.Unit == "bytes":
		return fmt.Sprintf("%.1f MB", float64(p.Done)/mega)
	case p.Total > 0:
		return fmt.Sprintf("%d/%d", p.Done, p.Total)
	}
	return ""
}

// left is how long it will take, "0:51 left"; empty when that is not known.
func left(d time.Duration) string {
	if d < 0 {
		return ""
	}
	seconds := int(d.Round(time.Second).Seconds())
	if seconds >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d left", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d:%02d left", seconds/60, seconds%60)
}

// event is progress as an object. What is not known is not in it.
func event(p install.Progress) map[string]any {
	e := map[string]any{"event": "progress", "version": p.Version, "step": p.Step, "done": p.Done, "total": p.Total}
	if p.Unit != "" {
		e["unit"] = p.Unit
	}
	if p.Percent >= 0 {
		e["percent"] = float64(int(10*p.Percent)) / 10
	}
	if p.Left >= 0 {
		e["left"] = float64(p.Left.Round(100*time.Millisecond).Milliseconds()) / 1000
	}
	return e
}

// line is what a terminal of so many columns shows of what runs.
func (u *UI) line(columns int) string {
	if len(u.active) == 1 {
		return u.single(u.active[0], columns)
	}
	var parts []string
	longest := time.Duration(-1)
	for _, v := range u.active {
		part := v.name + " " + v.step()
		if percent := v.percent(); percent >= 0 {
			part += fmt.Sprintf(" %d %%", percent)
		}
		parts, longest = append(parts, part), max(longest, v.progress.Left)
	}
	if longest >= 0 {
		parts = append(parts, left(longest))
	}
	return cut(strings.Join(parts, " · "), columns)
}

// single is the line for one installation alone: with a bar where there is room for one.
func (u *UI) single(v *version, columns int) string {
	before, percent := v.name+" "+v.step()+" ", v.percent()
	var after string
	for _, word := range []string{counted(v.progress), left(v.progress.Left)} {
		if word != "" {
			after += "  " + word
		}
	}
	if percent < 0 {
		return cut(before+string(`|/-\`[u.turn%4])+after, columns)
	}
	room := columns - utf8.RuneCountInString(before) - len("100% []") - utf8.RuneCountInString(after)
	if room < minBar {
		return cut(before+v.state(), columns)
	}
	return before + bar(percent, min(room, maxBar)) + after
}

// bar is a percentage as " 43% [==>  ]", of width columns between the brackets.
func bar(percent, width int) string {
	b := progressbar.NewOptions(100,
		progressbar.OptionSetWriter(io.Discard),
		progressbar.OptionSetWidth(width),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetTheme(progressbar.Theme{Saucer: "=", SaucerHead: ">", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}),
	)
	_ = b.Set(percent) // fails only beyond 100
	return fmt.Sprintf("%*s", len("100% []")+width, strings.Trim(b.String(), "\r "))
}

// cut makes a line fit.
func cut(line string, columns int) string {
	if utf8.RuneCountInString(line) <= columns {
		return line
	}
	return string([]rune(line)[:max(0, columns-1)]) + "…"
}

// width is how many columns there are to draw in: the last stays free, because some terminals go on in the next line after it.
func width(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if columns, _, err := term.GetSize(int(file.Fd())); err == nil && columns > 0 {
			return columns - 1
		}
	}
	return usualWidth - 1
}

// draw shows what runs, in place of what was drawn before.
func (u *UI) draw() {
	if u.options.Progress != "bar" || len(u.active) == 0 {
		return
	}
	before := "\r"
	if u.drawn {
		before = wiped
	}
	fmt.Fprint(u.options.Out, before+u.line(u.width()))
	u.drawn = true
}

// wiped removes what is on the line.
const wiped = "\r\033[2K"

// wipe removes what was drawn.
func (u *UI) wipe() {
	if u.drawn {
		fmt.Fprint(u.options.Out, wiped)
		u.drawn = false
	}
}

// startClock draws again and again until stopClock.
func (u *UI) startClock() {
	if u.clock != nil {
		return
	}
	stop := make(chan struct{})
	u.clock = stop
	go func() {
		clock := time.NewTicker(drawEvery)
		defer clock.Stop()
		for {
			select {
			case <-stop:
				return
			case <-clock.C:
				if !u.mu.TryLock() {
					continue // somebody writes or asks something, and the next tick is near
				}
				if u.clock == stop {
					u.turn++
					u.draw()
				}
				u.mu.Unlock()
			}
		}
	}()
}

func (u *UI) stopClock() {
	if u.clock != nil {
		close(u.clock)
		u.clock = nil
	}
}
