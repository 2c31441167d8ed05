package run

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var inPath = []string{"PATH=/usr/bin:/bin"}

// modes are the two ways to run a command.
var modes = []struct {
	name string
	// confinement skips the test where there is none to be had. Of its directories, the command can write those and no others.
	confinement func(t testing.TB, writable ...string) *Confinement
}{
	{"unconfined", func(testing.TB, ...string) *Confinement { return nil }},
	{"confined", confinement},
}

var canConfine = sync.OnceValue(func() error { return CanConfine(context.Background()) })

func confinement(t testing.TB, writable ...string) *Confinement {
	t.Helper()
	if err := canConfine(); err != nil {
		t.Skipf("nothing can be confined here: %v", err)
	}
	for _, dir := range writable {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return &Confinement{UID: nobody, GID: nobody, Writable: writable}
}

// Whatever a command does, it is told in the same way whether it is confined or not.
func TestRun(t *testing.T) {
	for _, test := range []struct {
		name   string
		argv   []string
		env    []string
		status int // of the *Error; 0 means that there is none
		signal syscall.Signal
		want   string // the error's text
		log    string
	}{
		{"succeeds", []string{"sh", "-c", "echo out; echo err >&2"}, inPath, 0, 0, "", "out\nerr\n"},
		{"fails", []string{"sh", "-c", "echo no >&2; exit 3"}, inPath, 3, 0, "sh -c 'echo no >&2; exit 3': exit status 3", "no\n"},
		{"killed", []string{"sh", "-c", "kill -9 $$"}, inPath, -1, syscall.SIGKILL, "sh -c 'kill -9 $$': signal: killed", ""},
		{"not in PATH", []string{"no-such-program"}, inPath, -1, 0, "no-such-program: executable file not found in $PATH in PATH", ""},
		{"no PATH", []string{"sh"}, nil, -1, 0, "sh: executable file not found in $PATH in PATH", ""},
		{"not there", []string{"/no/such"}, nil, -1, 0, "/no/such: fork/exec /no/such: no such file or directory", ""},
		{"whole environment", []string{"/usr/bin/env"}, []string{"A=1"}, 0, 0, "", "A=1\n"},
		{"empty environment", []string{"/usr/bin/env"}, nil, 0, 0, "", ""},
		{"no standard input", []string{"cat"}, inPath, 0, 0, "", ""},
		{"ends itself", []string{"sh", "-c", "kill -TERM $$"}, inPath, -1, syscall.SIGTERM, "sh -c 'kill -TERM $$': signal: terminated", ""},
		{"nothing", nil, inPath, -1, 0, ": no program named", ""},
		{"not a program", []string{"/etc/passwd"}, inPath, -1, 0, "/etc/passwd: fork/exec /etc/passwd: permission denied", ""},
		{"bytes that are no text", []string{"printf", "%s", "\xff\xfe"}, inPath, 0, 0, "", "\xff\xfe"},
	} {
		for _, mode := range modes {
			t.Run(test.name+"/"+mode.name, func(t *testing.T) {
				var log bytes.Buffer
				err := Run(t.Context(), Command{Argv: test.argv, Env: test.env, Log: &log, Confine: mode.confinement(t)})
				var failed *Error
				switch {
				case test.status == 0 && err != nil:
					t.Fatalf("error %v", err)
				case test.status == 0:
				case !errors.As(err, &failed):
					t.Fatalf("error %v, want an *Error", err)
				case failed.Status != test.status || failed.Signal != test.signal || failed.OutOfMemory || err.Error() != test.want:
					t.Errorf("error %+v, %q; want %d, %d, %q", failed, err, test.status, test.signal, test.want)
				}
				if log.String() != test.log {
					t.Errorf("log %q, want %q", &log, test.log)
				}
			})
		}
	}
}

func TestStatus(t *testing.T) {
	for _, mode := range modes {
		for _, status := range []int{1, 2, 3, 64, 126, 127, 128, 129, 137, 143, 254, 255} {
			t.Run(mode.name+"/"+strconv.Itoa(status), func(t *testing.T) {
				err := Run(t.Context(), Command{Argv: []string{"sh", "-c", "exit $0", strconv.Itoa(status)}, Env: inPath, Confine: mode.confinement(t)})
				if failed, ok := errors.AsType[*Error](err); !ok || failed.Status != status || failed.Signal != 0 {
					t.Errorf("error %v, want status %d", err, status)
				}
			})
		}
	}
}

func TestStdoutApart(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			var out, log bytes.Buffer
			c := Command{Argv: []string{"sh", "-c", "echo out; echo err >&2"}, Env: inPath, Stdout: &out, Log: &log, Confine: mode.confinement(t)}
			if err := Run(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if out.String() != "out\n" || log.String() != "err\n" {
				t.Errorf("standard output %q, log %q", &out, &log)
			}
		})
	}
}

// A log that takes nothing fails the command, which itself did not.
func TestLogCannotBeKept(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			full := errors.New("no space")
			err := Run(t.Context(), Command{Argv: []string{"echo", "much"}, Env: inPath, Log: failing{full}, Confine: mode.confinement(t)})
			if failed, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, full) || failed.Status != 0 {
				t.Errorf("error %v, want one with status 0 that is %v", err, full)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// stubborn leaves two processes behind that SIGTERM does not end: the command itself, and one in the background.
const stubborn = `trap '' TERM; (trap '' TERM; echo >started; exec sleep 60) & exec sleep 60`

// A cancelled command is gone with everything that it started, even what ignores SIGTERM or outlives its parent. One that takes
// too long is cancelled too, and what it hung in is named.
func TestEndsTheGroup(t *testing.T) {
	cause := errors.New("the user said stop")
	for _, mode := range modes {
		for _, test := range []struct {
			name    string
			timeout time.Duration
			script  string
			want    string
		}{
			{"cancel", 0, stubborn, "the user said stop"},
			{"cancel, obedient", 0, "echo >started; exec sleep 60", "the user said stop"},
			{"timeout", 300 * time.Millisecond, stubborn, "sh -c '" + strings.ReplaceAll(stubborn, "'", `'\''`) + "': not done after 300ms, in sleep 60"},
			{"timeout, alone", 300 * time.Millisecond, "echo >started; exec sleep 60", "sh -c 'echo >started; exec sleep 60': not done after 300ms"},
			{"timeout, deeper", 300 * time.Millisecond, "echo >started; sh -c 'sleep 60; true'; true",
				`sh -c 'echo >started; sh -c '\''sleep 60; true'\''; true': not done after 300ms, in sleep 60`},
		} {
			t.Run(mode.name+"/"+test.name, func(t *testing.T) {
				t.Parallel() // it only waits
				dir := t.TempDir()
				log, err := os.Create(filepath.Join(dir, "log"))
				if err != nil {
					t.Fatal(err)
				}
				defer log.Close()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if test.timeout == 0 {
					go func() {
						eventually(func() bool { return exists(filepath.Join(dir, "started")) })
						cancel(cause)
					}()
				}
				err = Run(ctx, Command{Argv: []string{"sh", "-c", test.script}, Dir: dir, Env: inPath, Log: log, Grace: 100 * time.Millisecond,
					Timeout: test.timeout, Confine: mode.confinement(t, dir)})
				if err == nil || err.Error() != test.want {
					t.Errorf("error %v, want %s", err, test.want)
				}
				late, ok := errors.AsType[*TimeoutError](err)
				if ok != (test.timeout > 0) || ok && late.After != test.timeout {
					t.Errorf("error %#v", err)
				}
				if !exists(filepath.Join(dir, "started")) {
					t.Error("it did not start")
				}
				leftIn(t, dir)
			})
		}
	}
}

// What is done in time is not late.
func TestInTime(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			if err := Run(t.Context(), Command{Argv: []string{"true"}, Env: inPath, Timeout: time.Minute, Confine: mode.confinement(t)}); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a command leaves in the background must not go on after it.
func TestNothingIsLeftBehind(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			dir := t.TempDir()
			log, err := os.Create(filepath.Join(dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			if err := Run(t.Context(), Command{Argv: []string{"sh", "-c", "sleep 60 & true"}, Dir: dir, Env: inPath, Log: log, Confine: mode.confinement(t, dir)}); err != nil {
				t.Fatal(err)
			}
			leftIn(t, dir)
		})
	}
}

// leftIn fails the test unless every process ends that works in the directory.
func leftIn(t *testing.T, dir string) {
	t.Helper()
	if !eventually(func() bool { return len(workingIn(dir)) == 0 }) {
		t.Errorf("still running: %v", workingIn(dir))
	}
}

// workingIn finds the processes by their working directory, whatever it is called where they are. Their numbers, as they know
// them, mean nothing out here.
func workingIn(dir string) (pids []int) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil
	}
	there, err := os.Stat(dir)
	if err != nil {
		return nil
	}
	for _, link := range links {
		if cwd, err := os.Stat(link); err == nil && os.SameFile(cwd, there) {
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func eventually(is func() bool) bool {
	for range 500 {
		if is() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestCancelledBefore(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Run(ctx, Command{Argv: []string{"/bin/true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestQuote(t *testing.T) {
	for _, test := range []struct {
		argv []string
		want string
	}{
		{[]string{"make", "-j2", "DESTDIR=/a/b"}, "make -j2 DESTDIR=/a/b"},
		{[]string{"a b", "", "it's", "$x"}, `'a b' '' 'it'\''s' '$x'`},
	} {
		got := Quote(test.argv)
		if got != test.want {
			t.Errorf("Quote(%q) = %s, want %s", test.argv, got, test.want)
		}
	}
}

// What Quote writes, a shell reads back.
func FuzzQuote(f *testing.F) {
	f.Add("plain")
	f.Add("it's $HOME `x` \\ \"y\"\n")
	f.Fuzz(func(t *testing.T, arg string) {
		if strings.ContainsRune(arg, 0) {
			t.Skip("no argument can hold a zero byte")
		}
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+Quote([]string{arg})).Output()
		if err != nil || string(out) != arg {
			t.Errorf("%q came back as %q (%v)", arg, out, err)
		}
	})
}

// An error shows enough of a command to know it, and not the program that it was given.
func TestErrorIsBrief(t *testing.T) {
	for arg, want := range map[string]string{
		"true":                   "true",
		"import sys\nprint(1)\n": "'import sys…'",
		strings.Repeat("é", 100): "'" + strings.Repeat("é", 60) + "…'",
	} {
		if got := (&Error{Argv: []string{"python", "-c", arg}, Err: errors.New("bad")}).Error(); got != "python -c "+want+": bad" {
			t.Errorf("%q: %s", arg, got)
		}
	}
}
