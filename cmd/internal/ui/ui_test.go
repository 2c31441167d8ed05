package ui

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"pybuild/cmd/internal/install"
)

var _ install.Reporter = (*UI)(nil)

// show tells a UI a short story.
func show(u *UI) {
	fetch := u.Step("3.13.5", "fetch")
	u.Progress(0, 2000)
	u.Warn("skipped a mirror")
	u.Progress(2000, 2000)
	u.Detail("a detail")
	verify := u.Step("3.13.5", "verify")
	verify(nil)
	fetch(nil)
	u.Step("3.13.5", "compile")(errors.New("no"))
}

// durations are not the same twice.
var durations = regexp.MustCompile(`in \d+\.\d s|"seconds":[0-9.]+`)

func TestModes(t *testing.T) {
	const (
		warning = "pybuild: warning: skipped a mirror\n"
		detail  = "pybuild: a detail\n"
		events  = `{"event":"step","state":"start","step":"fetch","version":"3.13.5"}
{"done":0,"event":"progress","step":"fetch","total":2000,"version":"3.13.5"}
{"event":"warning","message":"skipped a mirror","version":"3.13.5"}
{"event":"step","state":"start","step":"verify","version":"3.13.5"}
{"event":"step",TIME,"state":"done","step":"verify","version":"3.13.5"}
{"event":"step",TIME,"state":"done","step":"fetch","version":"3.13.5"}
{"event":"step","state":"start","step":"compile","version":"3.13.5"}
{"event":"step",TIME,"state":"failed","step":"compile","version":"3.13.5"}
`
	)
	plain := func(detail string) string {
		return "3.13.5 fetch\n" + warning + detail + "3.13.5 verify\n3.13.5 verify done TIME\n3.13.5 fetch done TIME\n3.13.5 compile\n3.13.5 compile failed TIME\n"
	}
	for _, test := range []struct {
		name      string
		options   Options
		json      bool
		out, want string
	}{
		{"plain", Options{Progress: "plain"}, false, plain(""), ""},
		{"plain and verbose", Options{Progress: "plain", Verbose: true}, false, plain(detail), ""},
		{"auto is plain where there is no terminal", Options{Progress: "auto"}, false, plain(""), ""},
		{"the zero value is auto", Options{}, false, plain(""), ""},
		{"none", Options{Progress: "none"}, false, warning, ""},
		{"quiet", Options{Progress: "plain", Quiet: true}, false, warning, ""},
		{"quiet wins over a bar", Options{Progress: "bar", Quiet: true}, false, warning, ""},
		{"JSON", Options{Progress: "auto"}, true, warning, events},
		{"JSON and plain", Options{Progress: "plain"}, true, plain(""), events},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, lines bytes.Buffer
			test.options.Out = &out
			if test.json {
				test.options.JSON = &lines
			}
			show(New(test.options))
			if got := durations.ReplaceAllString(out.String(), "TIME"); got != test.out {
				t.Errorf("out\n%s\nwant\n%s", got, test.out)
			}
			if got := durations.ReplaceAllString(lines.String(), "TIME"); got != test.want {
				t.Errorf("JSON\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// A bar leaves lines behind that are whole: what is drawn is wiped out before anything else is written.
func TestBar(t *testing.T) {
	var out bytes.Buffer
	show(New(Options{Out: &out, Progress: "bar", Verbose: true}))
	if !strings.Contains(out.String(), "\r") || !strings.Contains(out.String(), "100%") {
		t.Errorf("no bar was drawn: %q", out.String())
	}
	want := []string{"pybuild: warning: skipped a mirror", "pybuild: a detail", "3.13.5 verify done TIME", "3.13.5 fetch done TIME", "3.13.5 compile failed TIME"}
	if got := screen(out.String()); !slices.Equal(got, want) {
		t.Errorf("screen\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// screen is what a terminal shows in the end.
func screen(text string) []string {
	var lines []string
	var line []rune
	column := 0
	for _, r := range strings.ReplaceAll(text, "\033[2K", "\033") {
		switch r {
		case '\033': // erases the line
			line = []rune(strings.Repeat(" ", column))
		case '\r':
			column = 0
		case '\n':
			lines = append(lines, durations.ReplaceAllString(strings.TrimRight(string(line), " "), "TIME"))
			line, column = nil, 0
		default:
			if column == len(line) {
				line = append(line, ' ')
			}
			line[column] = r
			column++
		}
	}
	if rest := strings.TrimSpace(string(line)); rest != "" {
		lines = append(lines, rest)
	}
	return lines
}

// Reporters are used by several goroutines.
func TestConcurrent(t *testing.T) {
	for _, mode := range Modes {
		var out, lines bytes.Buffer
		u := New(Options{Out: &out, JSON: &lines, Progress: mode})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for n := range int64(50) {
					done := u.Step("3.13.5", "fetch")
					u.Progress(n, 50)
					u.Warn("careful")
					done(nil)
				}
			})
		}
		all.Wait()
		for line := range strings.Lines(lines.String()) {
			if !json.Valid([]byte(line)) {
				t.Fatalf("%s: not JSON: %s", mode, line)
			}
		}
	}
}

func TestIsTerminal(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if IsTerminal(file) || IsTerminal(&bytes.Buffer{}) || IsTerminal(nil) {
		t.Error("what is no terminal is taken for one")
	}
}
