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
	"testing"
	"time"
)

var path = []string{"PATH=/usr/bin:/bin"}

func TestRun(t *testing.T) {
	for _, test := range []struct {
		name   string
		argv   []string
		env    []string
		status int    // of the *Error; 0 means that there is none
		want   string // the error's text
		log    string
	}{
		{"succeeds", []string{"sh", "-c", "echo out; echo err >&2"}, path, 0, "", "out\nerr\n"},
		{"fails", []string{"sh", "-c", "echo no >&2; exit 3"}, path, 3, "sh -c 'echo no >&2; exit 3': exit status 3", "no\n"},
		{"killed", []string{"sh", "-c", "kill -9 $$"}, path, -1, "sh -c 'kill -9 $$': signal: killed", ""},
		{"not in PATH", []string{"no-such-program"}, path, -1, "no-such-program: executable file not found in $PATH in PATH", ""},
		{"no PATH", []string{"sh"}, nil, -1, "sh: executable file not found in $PATH in PATH", ""},
		{"not there", []string{"/no/such"}, nil, -1, "/no/such: fork/exec /no/such: no such file or directory", ""},
		{"whole environment", []string{"/usr/bin/env"}, []string{"A=1"}, 0, "", "A=1\n"},
		{"empty environment", []string{"/usr/bin/env"}, nil, 0, "", ""},
		{"no standard input", []string{"cat"}, path, 0, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			err := Run(t.Context(), Command{Argv: test.argv, Env: test.env, Log: &log})
			var failed *Error
			switch {
			case test.status == 0 && err != nil:
				t.Fatalf("error %v", err)
			case test.status == 0:
			case !errors.As(err, &failed):
				t.Fatalf("error %v, want an *Error", err)
			case failed.Status != test.status || err.Error() != test.want:
				t.Errorf("status %d, error %q; want %d, %q", failed.Status, err, test.status, test.want)
			}
			if log.String() != test.log {
				t.Errorf("log %q, want %q", &log, test.log)
			}
		})
	}
}

func TestStdoutApart(t *testing.T) {
	var out, log bytes.Buffer
	if err := Run(t.Context(), Command{Argv: []string{"sh", "-c", "echo out; echo err >&2"}, Env: path, Stdout: &out, Log: &log}); err != nil {
		t.Fatal(err)
	}
	if out.String() != "out\n" || log.String() != "err\n" {
		t.Errorf("standard output %q, log %q", &out, &log)
	}
}

// A cancelled command is gone with everything that it started, even what ignores SIGTERM or outlives its parent.
func TestCancelEndsTheGroup(t *testing.T) {
	dir := t.TempDir()
	script := `trap '' TERM; (trap '' TERM; echo $$ >child.started; exec sleep 60) & echo $! >pid; exec sleep 60`
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cause := errors.New("the user said stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(filepath.Join(dir, "child.started")); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		cancel(cause)
	}()
	if err := Run(ctx, Command{Argv: []string{"sh", "-c", script}, Dir: dir, Env: path, Log: log, Grace: 100 * time.Millisecond}); !errors.Is(err, cause) {
		t.Errorf("error %v, want the cause", err)
	}
	gone(t, number(t, filepath.Join(dir, "pid")))
}

// What a command leaves in the background must not go on after it.
func TestNothingIsLeftBehind(t *testing.T) {
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := Run(t.Context(), Command{Argv: []string{"sh", "-c", "sleep 60 & echo $!"}, Dir: dir, Env: path, Log: log}); err != nil {
		t.Fatal(err)
	}
	gone(t, number(t, filepath.Join(dir, "log")))
}

// number reads a file that holds one.
func number(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// gone fails the test unless the process ends, or only waits to be reaped by init.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 100 {
		if state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d is still running", pid)
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
