package build

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pybuild/build/run"
)

func TestUntime(t *testing.T) {
	for line, want := range map[string]string{
		"    0.00 $ make":     "$ make",
		"12345.67 gcc -c a.c": "gcc -c a.c",
		"  100.00 ":           "",
		"    1.00  indented":  " indented",
		"   12.34\tgcc":       "   12.34\tgcc",
		"     .00 x":          "     .00 x",
		"  1 2.00 x":          "  1 2.00 x",
		"    1.0  x":          "    1.0  x",
		"    1. 0 x":          "    1. 0 x",
		"   12.34":            "   12.34",
		"gcc -c a.c":          "gcc -c a.c",
		"":                    "",
	} {
		if got := string(untime([]byte(line))); got != want {
			t.Errorf("%q without its time is %q, want %q", line, got, want)
		}
	}
	if got, want := string(Untimed([]byte("    0.00 $ make\n   12.34 gcc\n\nolder\n    1.00 cut"))), "$ make\ngcc\n\nolder\ncut"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever is written comes back without the times, with every line ended.
func FuzzUntimed(f *testing.F) {
	f.Add("gcc -c a.c\nhalf a line")
	f.Add("   12.34 not a time of ours\n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxLogLine {
			t.Skip("it would be cut")
		}
		l, name := openLog(t, nil)
		l.write([]byte(text))
		l.end()
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		if got, err := os.ReadFile(name); err != nil || string(Untimed(got)) != text {
			t.Errorf("%q came back as %q, %v", text, got, err)
		}
	})
}

func openLog(t *testing.T, count *counter) (*logWriter, string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "step.log")
	l, err := newLog(name, count)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l, name
}

var timed = regexp.MustCompile(`^ *\d+\.\d\d $`)

func TestLogLines(t *testing.T) {
	long := strings.Repeat("x", maxLogLine)
	for _, test := range []struct {
		name   string
		pieces []string
		want   []string
	}{
		{"whole lines", []string{"a\nb\n"}, []string{"a", "b"}},
		{"pieces of a line", []string{"checking for ", "cc", "... yes\nchecking"}, []string{"checking for cc... yes", "checking"}},
		{"empty lines", []string{"\n", "\n"}, []string{"", ""}},
		{"a line that fits", []string{long + "\ny\n"}, []string{long, "y"}},
		{"a line that is too long", []string{long + "y\nz\n"}, []string{long, "y", "z"}},
		{"the same in pieces", []string{long[1:], "xyy", "\nz\n"}, []string{long, "yy", "z"}},
		{"nothing", nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, name := openLog(t, nil)
			for _, p := range test.pieces {
				l.write([]byte(p))
			}
			l.end()
			if l.err != nil {
				t.Fatal(l.err)
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for line := range strings.Lines(string(text)) {
				if len(line) < timeWidth || !timed.MatchString(line[:timeWidth]) {
					t.Errorf("line %.40q has no time", line)
					continue
				}
				got = append(got, strings.TrimSuffix(line[timeWidth:], "\n"))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("lines %.200q, want %.200q", got, test.want)
			}
		})
	}
}

// The times are of the lines' beginnings, and always as wide.
func TestLogTimes(t *testing.T) {
	l, name := openLog(t, nil)
	for _, ago := range []time.Duration{0, 12340 * time.Millisecond, 27 * time.Hour, 1000 * time.Hour} {
		l.start = time.Now().Add(-ago)
		l.write([]byte("x\n"))
	}
	l.end()
	text, err := os.ReadFile(name)
	if want := regexp.MustCompile(`^    0\.0\d x\n   12\.3\d x\n97200\.0\d x\n99999\.99 x\n$`); err != nil || !want.Match(text) {
		t.Errorf("%q, %v", text, err)
	}
}

// What a command says is in the log, whole, when the command has ended, and somebody who looks on sees it sooner.
func TestLogCommand(t *testing.T) {
	seen := filepath.Join(t.TempDir(), "seen")
	l, name := openLog(t, nil)
	go func() {
		for range 2000 { // then the command waits in vain, and its time is up
			if text, _ := os.ReadFile(name); bytes.Contains(text, []byte(" first\n")) {
				_ = os.WriteFile(seen, nil, 0o644)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	script := `echo first; while [ ! -e "$0" ]; do sleep 0.01; done; echo second >&2; printf third; exit 3`
	failed, unkept := l.command(func(output *os.File) error {
		return run.Run(t.Context(), run.Command{Argv: []string{"sh", "-c", script, seen}, Env: []string{"PATH=/usr/bin:/bin"}, Log: output, Timeout: 30 * time.Second})
	})
	if command, ok := errors.AsType[*run.Error](failed); !ok || command.Status != 3 || unkept != nil {
		t.Errorf("failed %v, not kept %v", failed, unkept)
	}
	if text, err := os.ReadFile(name); err != nil || string(Untimed(text)) != "first\nsecond\nthird\n" {
		t.Errorf("log %q, %v", text, err)
	}
	if failed, unkept := l.command(func(*os.File) error { return nil }); failed != nil || unkept != nil {
		t.Errorf("after it: %v, %v", failed, unkept)
	}
}

// A daemon leaves the group of the command, and keeps its output open. Nobody waits for it.
func TestLogDaemon(t *testing.T) {
	setsid, err := exec.LookPath("setsid")
	if err != nil {
		t.Skip("needs setsid to make a daemon")
	}
	pid := filepath.Join(t.TempDir(), "pid")
	t.Cleanup(func() {
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Error(err)
			return
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err == nil {
			err = syscall.Kill(n, syscall.SIGKILL)
		}
		if err != nil {
			t.Errorf("the daemon did not live until now: %v", err)
		}
	})
	l, name := openLog(t, nil)
	script := `"$1" sh -c 'echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 300' "$0" & while [ ! -e "$0" ]; do sleep 0.01; done; echo done`
	failed, unkept := l.command(func(output *os.File) error {
		return run.Run(t.Context(), run.Command{Argv: []string{"sh", "-c", script, pid, setsid}, Env: []string{"PATH=/usr/bin:/bin"}, Log: output})
	})
	if failed != nil || unkept != nil {
		t.Errorf("failed %v, not kept %v", failed, unkept)
	}
	if text, err := os.ReadFile(name); err != nil || string(Untimed(text)) != "done\n" {
		t.Errorf("log %q, %v", text, err)
	}
}

// A log that takes nothing ends the command, and is what is told.
func TestLogCannotBeKept(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("needs /dev/full")
	}
	l, _ := openLog(t, nil)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	l.to.Reset(full)
	_, unkept := l.command(func(output *os.File) error {
		return run.Run(t.Context(), run.Command{Argv: []string{"sh", "-c", "while echo more; do :; done"}, Env: []string{"PATH=/usr/bin:/bin"}, Log: output, Timeout: time.Minute})
	})
	if !errors.Is(unkept, syscall.ENOSPC) {
		t.Errorf("not kept: %v, want %v", unkept, syscall.ENOSPC)
	}
}

func TestCounter(t *testing.T) {
	for _, test := range []struct {
		name, step string
		total      int64
		log        string
		want       string // done/total after each line that counts
	}{
		{"configure", "configure", 3, "checking for cc... cc\n$ echo\nchecking for a... (cached) no\nconfigure: creating\n", "1/3 2/3"},
		{"configure for the first time", "configure", 0, "checking for cc... cc\n", "1/0"},
		{"more than expected", "compile", 2, "gcc -o a\ngcc -o b\ngcc -o c\n", "1/2 1/2 1/2"},
		{"compilers, and nothing else", "compile", 9, "gcc -c -o a.o a.c\na.c:1: warning: unused\nar rcs a\nsh -c\n", "1/9"},
		{"tests", "train", 0, "0:00:00 load avg: 2.06 Run 44 tests\n0:00:03 load avg: 2.06 [ 1/44] test_array passed\n0:00:12 [12/44/1] test_re failed\n0:00:13 [99999999999999999999/44] test_re passed\n", "1/44 12/44"},
		{"a suite", "test", 0, "1:00:03 load avg: 2.06 [480/480/2] test_zlib passed\n", "479/480"},
		{"a step that counts nothing", "stage", 0, "gcc -o a\nchecking\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told []string
			c := newCounter(Step{Name: test.step}, test.step, test.total, func(p Progress) { told = append(told, fmt.Sprintf("%d/%d", p.Done, p.Total)) })
			for line := range strings.Lines(test.log) {
				c.line([]byte(strings.TrimSuffix(line, "\n")))
			}
			if got := strings.Join(told, " "); got != test.want {
				t.Errorf("told %s, want %s", got, test.want)
			}
		})
	}
}

// A build tells how far it is: with what make says before, or with what an earlier build had to do.
func TestMakeProgress(t *testing.T) {
	const (
		two     = "all: a b\na b:\n\t: gcc -o $@\n"
		below   = "all:\n\t: gcc -o a\n\t$(MAKE) b\nb:\n\t: gcc -o b\n"
		unasked = "ifneq (,$(findstring n,$(firstword $(MAKEFLAGS))))\n$(error no)\nendif\n"
		install = "altinstall:\n\t@mkdir -p $(DESTDIR)/opt/python/bin\n\t@cp configure $(DESTDIR)/opt/python/bin/python3.9\n"
	)
	for _, test := range []struct {
		name, makefile string
		expected       map[string]int64
		configure      string
		compile        string // done/total
		counts         map[string]int64
	}{
		{"make says it", two + install, nil, "0/0 1/0 2/0", "0/0 0/2 1/2 1/2", map[string]int64{"configure": 2, "compile": 2}},
		{"a make below make", below + install, nil, "0/0 1/0 2/0", "0/0 0/2 1/2 1/2", map[string]int64{"configure": 2, "compile": 2}},
		{"it is known", two + install, map[string]int64{"configure": 4, "compile": 3}, "0/4 1/4 2/4", "0/3 1/3 2/3", map[string]int64{"configure": 2, "compile": 2}},
		{"make cannot say", unasked + two + install, nil, "0/0 1/0 2/0", "0/0 1/0 2/0", map[string]int64{"configure": 2, "compile": 2}},
		{"make does not know", "all:\n\t: gcc -o a\n\t: python ./setup.py -q build\n\t: gcc -o b\n" + install, nil, "0/0 1/0 2/0", "0/0 1/0 2/0", map[string]int64{"configure": 2, "compile": 2}},
		{"nothing to do", "all:\n" + install, nil, "0/0 1/0 2/0", "0/0", map[string]int64{"configure": 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := tree(t, "echo 'checking for a... yes'; echo 'checking for b... no'", test.makefile)
			var mu sync.Mutex
			told := map[string][]string{}
			p.Expected, p.Progress = test.expected, func(p Progress) {
				mu.Lock()
				defer mu.Unlock()
				told[p.Step] = append(told[p.Step], fmt.Sprintf("%d/%d", p.Done, p.Total))
			}
			result, err := Make(t.Context(), p, func(string) func(error) { return func(error) {} })
			if err != nil {
				t.Fatal(err)
			}
			for step, want := range map[string]string{"configure": test.configure, "compile": test.compile, "stage": "0/0"} {
				if got := strings.Join(told[step], " "); got != want {
					t.Errorf("%s: %s, want %s", step, got, want)
				}
			}
			if fmt.Sprint(result.Counts) != fmt.Sprint(test.counts) {
				t.Errorf("counts %v, want %v", result.Counts, test.counts)
			}
		})
	}
}
