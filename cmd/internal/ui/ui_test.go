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
	"testing/synctest"
	"time"

	"pybuild/cmd/internal/install"
)

var _ install.Reporter = (*UI)(nil)

// show tells a UI a short story.
func show(u *UI) {
	fetch := u.Step("3.13.5", "fetch")
	u.Progress(install.Progress{Version: "3.13.5", Step: "fetch", Unit: "bytes", Total: 2000, Percent: 1.29, Left: 71 * time.Second})
	u.Warn("skipped a mirror")
	u.Progress(install.Progress{Version: "3.13.5", Step: "fetch", Unit: "bytes", Done: 2000, Total: 2000, Percent: -1, Left: -1})
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
{"done":0,"event":"progress","left":71,"percent":1.2,"step":"fetch","total":2000,"unit":"bytes","version":"3.13.5"}
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
	if !strings.Contains(out.String(), "\r") || !strings.Contains(out.String(), "3.13.5 fetch 100% [==============================]  0.0/0.0 MB") {
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

// What a terminal shows while steps run, by its width.
func TestLine(t *testing.T) {
	compile := install.Progress{Unit: "targets", Done: 312, Total: 721, Percent: 43.9, Left: 51 * time.Second}
	configure := install.Progress{Unit: "checks", Done: 7, Percent: 12, Left: 80 * time.Second}
	for _, test := range []struct {
		name    string
		steps   []string // version and step
		told    []install.Progress
		columns int
		want    string
	}{
		{"a bar", []string{"3.13.5 compile"}, []install.Progress{compile}, 79, "3.13.5 compile  43% [===========>                  ]  312/721  0:51 left"},
		{"a narrow terminal", []string{"3.13.5 compile"}, []install.Progress{compile}, 47, "3.13.5 compile  43% [=>   ]  312/721  0:51 left"},
		{"too narrow for a bar", []string{"3.13.5 compile"}, []install.Progress{compile}, 46, "3.13.5 compile 43 %, 0:51 left"},
		{"too narrow for anything", []string{"3.13.5 compile"}, []install.Progress{compile}, 12, "3.13.5 comp…"},
		{"no total", []string{"3.13.5 configure"}, []install.Progress{configure}, 60, "3.13.5 configure  12% [==>                      ]  1:20 left"},
		{"nothing is known", []string{"3.13.5 resolve"}, []install.Progress{unknown}, 79, "3.13.5 resolve |"},
		{"bytes alone", []string{"3.13.5 fetch"}, []install.Progress{{Unit: "bytes", Done: 1_500_000, Total: 3_000_000, Percent: -1, Left: -1}}, 60, "3.13.5 fetch  50% [=============>              ]  1.5/3.0 MB"},
		{"bytes without an end", []string{"3.13.5 fetch"}, []install.Progress{{Unit: "bytes", Done: 1_500_000, Percent: -1, Left: -1}}, 60, "3.13.5 fetch |  1.5 MB"},
		{"hours", []string{"3.13.5 test"}, []install.Progress{{Percent: 1, Left: 3661 * time.Second}}, 50, "3.13.5 test   1% [                 ]  1:01:01 left"},
		{"two", []string{"3.11.2 compile", "3.13.5 configure"}, []install.Progress{compile, configure}, 79, "3.11.2 compile 43 % · 3.13.5 configure 12 % · 1:20 left"},
		{"two, of one nothing is known", []string{"3.11.2 compile", "3.13.5 resolve"}, []install.Progress{compile, unknown}, 79, "3.11.2 compile 43 % · 3.13.5 resolve · 0:51 left"},
		{"two on a narrow terminal", []string{"3.11.2 compile", "3.13.5 configure"}, []install.Progress{compile, configure}, 30, "3.11.2 compile 43 % · 3.13.5 …"},
		{"a step in a step", []string{"3.13.5 fetch", "3.13.5 verify"}, []install.Progress{unknown, unknown}, 79, "3.13.5 verify |"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := New(Options{Out: &bytes.Buffer{}, Progress: "none"})
			for i, s := range test.steps {
				version, step, _ := strings.Cut(s, " ")
				u.Step(version, step)
				p := test.told[i]
				p.Version, p.Step = version, step
				u.Progress(p)
			}
			if got := u.line(test.columns); got != test.want {
				t.Errorf("line\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// How often is told what comes all the time: once a second to programs, twice a minute in plain lines, and nothing after the end.
func TestOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, lines bytes.Buffer
		u := New(Options{Out: &out, JSON: &lines, Progress: "plain"})
		done := u.Step("3.13.5", "compile")
		p := install.Progress{Version: "3.13.5", Step: "compile", Unit: "targets", Total: 1000, Percent: 43, Left: 51 * time.Second}
		for p.Done < 700 {
			time.Sleep(100 * time.Millisecond)
			p.Done++
			u.Progress(p)
		}
		done(nil)
		u.Progress(p)
		if n := strings.Count(lines.String(), `"progress"`); n != 70 {
			t.Errorf("%d events in 70 seconds", n)
		}
		if got, want := out.String(), "3.13.5 compile\n3.13.5 compile 43 %, 0:51 left\n3.13.5 compile 43 %, 0:51 left\n3.13.5 compile done in 70.0 s\n"; got != want {
			t.Errorf("out\n%s\nwant\n%s", got, want)
		}
	})
}

// A bar is drawn again although nothing happens, and its clock ends with the last step.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		u := New(Options{Out: &out, Progress: "bar"})
		first, second := u.Step("3.11.2", "stage"), u.Step("3.13.5", "resolve")
		time.Sleep(time.Second)
		synctest.Wait()
		asked := out.Len()
		answered := u.Alone() // nobody draws into a question
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := out.String()[asked:]; got != wiped {
			t.Errorf("while something is asked: %q", got)
		}
		answered()
		first(nil)
		second(nil)
		synctest.Wait()
		if n := strings.Count(out.String(), "\r\033[2K3.11.2 stage · 3.13.5 resolve"); n < 4 {
			t.Errorf("drawn %d times: %q", n, &out)
		}
		ended := out.Len()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := out.String()[ended:]; got != "" {
			t.Errorf("after the end: %q", got)
		}
		if got, want := screen(out.String()), []string{"3.11.2 stage done TIME", "3.13.5 resolve done TIME"}; !slices.Equal(got, want) {
			t.Errorf("screen %q, want %q", got, want)
		}
	})
}

// Reporters are used by several goroutines.
func TestConcurrent(t *testing.T) {
	for _, mode := range Modes {
		var out, lines bytes.Buffer
		u := New(Options{Out: &out, JSON: &lines, Progress: mode})
		var all sync.WaitGroup
		for i := range 8 {
			version := []string{"3.11.2", "3.13.5"}[i%2]
			all.Go(func() {
				for n := range int64(50) {
					done := u.Step(version, "fetch")
					u.Progress(install.Progress{Version: version, Step: "fetch", Unit: "bytes", Done: n, Total: 50, Percent: float64(n)})
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
