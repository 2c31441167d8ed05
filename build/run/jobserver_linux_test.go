package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func jobserver(t *testing.T, jobs int) *Jobserver {
	t.Helper()
	j, err := NewJobserver(jobs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func acquire(t *testing.T, j *Jobserver, most, want int) *Tokens {
	t.Helper()
	tokens, err := j.Acquire(t.Context(), most)
	if err != nil {
		t.Fatal(err)
	}
	if tokens.N() != want {
		t.Errorf("%d tokens of at most %d, want %d", tokens.N(), most, want)
	}
	return tokens
}

func release(t *testing.T, tokens *Tokens) {
	t.Helper()
	if err := tokens.Release(); err != nil {
		t.Error(err)
	}
}

// left is how many tokens the pipe holds.
func left(t *testing.T, j *Jobserver) int {
	t.Helper()
	n, err := unix.IoctlGetInt(j.from, unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTokens(t *testing.T) {
	j := jobserver(t, 3)
	one, rest := acquire(t, j, 1, 1), acquire(t, j, 5, 2)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() {
		_, err := j.Acquire(ctx, 1)
		done <- err
	}()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := j.Acquire(ctx, 1); !errors.Is(err, cause) {
		t.Errorf("cancelled before: %v", err)
	}
	late := make(chan *Tokens)
	go func() {
		tokens, err := j.Acquire(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		late <- tokens
	}()
	release(t, one)
	got := <-late
	if left(t, j) != 0 {
		t.Errorf("%d left while all are held", left(t, j))
	}
	release(t, rest)
	release(t, rest) // does nothing
	release(t, got)
	if left(t, j) != 3 {
		t.Errorf("%d tokens in the end, want 3", left(t, j))
	}
}

// Whatever others do with the pipe, it holds what it should as soon as nothing runs, and not before.
func TestTokensComeBack(t *testing.T) {
	for _, test := range []struct {
		name  string
		other func(j *Jobserver) error
		while int // another command still runs
	}{
		{"nothing", func(*Jobserver) error { return nil }, 2},
		{"one is lost", func(j *Jobserver) error { _, err := unix.Read(j.from, make([]byte, 1)); return err }, 1},
		{"one is too much", func(j *Jobserver) error { return j.put([]byte{'!'}) }, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := jobserver(t, 3)
			one, two := acquire(t, j, 1, 1), acquire(t, j, 1, 1)
			if err := test.other(j); err != nil {
				t.Fatal(err)
			}
			release(t, one)
			if left(t, j) != test.while {
				t.Errorf("%d while another runs, want %d", left(t, j), test.while)
			}
			release(t, two)
			if left(t, j) != 3 {
				t.Errorf("%d in the end, want 3", left(t, j))
			}
		})
	}
}

// Many at once never hold more than there is, and all come to an end.
func TestTokensAreConserved(t *testing.T) {
	j := jobserver(t, 4)
	var mu sync.Mutex
	held := 0
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for range 50 {
				tokens, err := j.Acquire(t.Context(), 1+n%3)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if held += tokens.N(); held > 4 {
					t.Errorf("%d are held", held)
				}
				mu.Unlock()
				mu.Lock()
				held -= tokens.N()
				mu.Unlock()
				if err := tokens.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left(t, j) != 4 {
		t.Errorf("%d in the end, want 4", left(t, j))
	}
}

// counting is a Makefile of eight targets, the first two of which wait for each other, and a log of what starts and ends.
const counting = `all: a b 1 2 3 4 5 6
a b:
	@echo + >> log; touch $@.there
	@until test -e a.there && test -e b.there; do sleep 0.01; done; echo - >> log
1 2 3 4 5 6:
	@echo + >> log; sleep 0.02; echo - >> log
`

// makes runs a make in each directory, all at once, with the jobserver.
func makes(t *testing.T, j *Jobserver, c *Confinement, makefile string, dirs ...string) (outputs []string, errs []error) {
	t.Helper()
	outputs, errs = make([]string, len(dirs)), make([]error, len(dirs))
	var all sync.WaitGroup
	for i, dir := range dirs {
		if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			tokens, err := j.Acquire(t.Context(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			var b bytes.Buffer
			errs[i] = Run(t.Context(), Command{Argv: []string{"make"}, Dir: dir, Env: []string{"PATH=/usr/bin:/bin"}, Log: &b, Confine: c, Jobserver: j})
			outputs[i] = b.String()
			if err := tokens.Release(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	return outputs, errs
}

// atOnce is how many processes a log has at once, at most.
func atOnce(t *testing.T, dir string) (most int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	running := 0
	for line := range strings.Lines(string(text)) {
		if running++; line == "-\n" {
			running -= 2
		}
		most = max(most, running)
	}
	return most
}

// confinements are none, and one that writes to dir where that can be had.
func confinements(dir string) map[string]*Confinement {
	list := map[string]*Confinement{"unconfined": nil}
	if CanConfine(context.Background()) == nil {
		list["confined"] = &Confinement{UID: nobody, GID: nobody, Writable: []string{dir}}
	}
	return list
}

func TestJobserverMake(t *testing.T) {
	for name, c := range confinements("") {
		t.Run(name, func(t *testing.T) {
			dir := directory(t)
			if err := os.Chmod(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if c != nil {
				c.Writable = []string{dir}
			}
			j := jobserver(t, 3)
			outputs, errs := makes(t, j, c, counting, dir)
			if errs[0] != nil || outputs[0] != "" {
				t.Errorf("%v, %q", errs[0], outputs[0])
			}
			if most := atOnce(t, dir); most < 2 || most > 3 {
				t.Errorf("%d processes at once with 3 tokens", most)
			}
			if left(t, j) != 3 {
				t.Errorf("%d tokens in the end, want 3", left(t, j))
			}
		})
	}
}

// Several makes share: with a log that is the same for all, they never run more than there are tokens.
func TestJobserverShared(t *testing.T) {
	top := t.TempDir()
	log := filepath.Join(top, "log")
	var dirs []string
	for _, name := range []string{"a", "b", "c"} {
		dir := filepath.Join(top, name)
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Symlink(log, filepath.Join(dir, "log"))); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	j := jobserver(t, 4)
	outputs, errs := makes(t, j, nil, strings.Replace(counting, "a b 1", "1 7 8 9 10 11 12 13 14", 1)+"7 8 9 10 11 12 13 14: 1\n\t@echo + >> log; sleep 0.01; echo - >> log\n", dirs...)
	if err := errors.Join(errs...); err != nil || strings.Join(outputs, "") != "" {
		t.Errorf("%v, %q", err, outputs)
	}
	if most := atOnce(t, top); most > 4 {
		t.Errorf("%d processes at once with 4 tokens", most)
	}
	if left(t, j) != 4 {
		t.Errorf("%d tokens in the end, want 4", left(t, j))
	}
}

// A make that is killed keeps what it has taken, and the pipe is filled up again.
func TestJobserverKilled(t *testing.T) {
	j := jobserver(t, 3)
	dir := t.TempDir()
	const kills = "all: a b\na b:\n\t@touch $@.there; until test -e a.there && test -e b.there; do sleep 0.01; done; kill -9 $$PPID\n"
	_, errs := makes(t, j, nil, kills, dir)
	if failed, ok := errors.AsType[*Error](errs[0]); !ok || failed.Signal != unix.SIGKILL {
		t.Errorf("error %v", errs[0])
	}
	if left(t, j) != 3 {
		t.Errorf("%d tokens in the end, want 3", left(t, j))
	}
}

// A command has the descriptors of a jobserver. A confined one has no others; what an unconfined one inherits is its caller's business.
func TestJobserverDescriptors(t *testing.T) {
	j := jobserver(t, 1)
	const told = " -j --jobserver-fds=3,4 --jobserver-auth=3,4"
	for name, c := range confinements("") {
		tests := []struct {
			server *Jobserver
			look   string
			want   string
		}{{j, "0 1 2 3 4", "0 1 2 3 4" + told}}
		if c != nil {
			c.Writable = nil
			tests[0].look += " 5 6 7 8 9"
			tests = append(tests, tests[0])
			tests[1].server, tests[1].want = nil, "0 1 2"
		}
		for _, test := range tests {
			var b bytes.Buffer
			argv := []string{"sh", "-c", "for fd in " + test.look + `; do test -e /proc/$$/fd/$fd && there="$there $fd"; done; echo $there "$MAKEFLAGS"`}
			if err := Run(t.Context(), Command{Argv: argv, Env: []string{"PATH=/usr/bin:/bin"}, Log: &b, Confine: c, Jobserver: test.server}); err != nil {
				t.Error(err)
			}
			if got := strings.Join(strings.Fields(b.String()), " "); got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
		}
	}
}

func TestJobserverAuth(t *testing.T) {
	for flags, want := range map[string]string{
		"":                          "",
		"k":                         "",
		" -j4 --jobserver-auth=3,4": "3,4",
		"k -j --jobserver-fds=5,6":  "5,6",
		" -j4 --jobserver-auth=fifo:/tmp/GMfifo1 -- A=--jobserver-auth=3,4": "fifo:/tmp/GMfifo1",
		" -j --jobserver-fds=3,4 --jobserver-auth=5,6":                      "5,6",
		" -- --jobserver-auth=3,4":                                          "",
	} {
		if got := jobserverAuth(flags); got != want {
			t.Errorf("%q: %q, want %q", flags, got, want)
		}
	}
}

// join says how many processes may run in the jobserver of the caller's make: the one that has no token, and those that have.
func join(flags string) string {
	j, err := JoinJobserver(flags)
	if err != nil {
		return err.Error()
	}
	if j == nil {
		return "none"
	}
	tokens, err := j.Acquire(context.Background(), 100)
	if err != nil {
		return err.Error()
	}
	said := fmt.Sprint(tokens.N(), " ", tokens.implicit || slices.Contains(tokens.taken, '+'))
	return fmt.Sprint(said, errors.Join(tokens.Release(), j.Close()))
}

func TestJoinMake(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, mark, jobs, want string }{
		{"a line that make takes for a make's", "+", "-j3", "^3 true<nil>$"},
		{"without a jobserver", "+", "-k", "^none$"},
		{"with one process", "+", "-j1", "^none$"},
		{"another line", "", "-j3", `^(jobserver \d+,\d+: bad file descriptor|jobserver -2,-2: not two descriptors|3 true<nil>)$`}, // a FIFO is open to all
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "make", "-f", "-", test.jobs)
			cmd.Stdin = strings.NewReader("all:\n\t@" + test.mark + program + " attempt join\n")
			cmd.Env = []string{"PATH=/usr/bin:/bin"}
			out, err := cmd.CombinedOutput()
			if err != nil || !regexp.MustCompile(test.want).Match(out) {
				t.Errorf("%q, %v; want %s", out, err, test.want)
			}
		})
	}
}

// The form that make 4.4 has, with nobody's token and with one; and what only looks like it.
func TestJoinFIFO(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "fifo"), filepath.Join(dir, "file")
	if err := errors.Join(unix.Mkfifo(path, 0o600), os.WriteFile(file, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	flags := " -j3 --jobserver-auth=fifo:"
	if got, want := join(flags+path), "jobserver fifo:"+path+": no such device or address"; got != want {
		t.Errorf("nobody's: %s, want %s", got, want)
	}
	fifo, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if _, err := fifo.WriteString("xyz"); err != nil {
		t.Fatal(err)
	}
	j, err := JoinJobserver(flags + path)
	if err != nil {
		t.Fatal(err)
	}
	one := acquire(t, j, 1, 1)
	rest := acquire(t, j, 9, 4-one.N())
	waiting := make(chan *Tokens)
	go func() {
		tokens, err := j.Acquire(t.Context(), 1)
		if err != nil {
			t.Error(err)
		}
		waiting <- tokens
	}()
	release(t, one) // with or without a token, it goes on
	last := <-waiting
	release(t, rest)
	release(t, last)
	if left(t, j) != 3 || len(j.implicit) != 1 {
		t.Errorf("%d tokens and %d without, want 3 and 1", left(t, j), len(j.implicit))
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	got := make([]byte, 4)
	if n, err := fifo.Read(got); err != nil || n != 3 || strings.ContainsFunc(string(got[:n]), func(r rune) bool { return !strings.ContainsRune("xyz", r) }) {
		t.Errorf("%q was put back, %v; want what was taken", got[:n], err)
	}
	for auth, want := range map[string]string{
		"fifo:" + file: "not a pipe", "fifo:" + path + "-": "no such file or directory", "-2,-2": "not two descriptors", "a,b": "not two descriptors",
	} {
		if got := join(" --jobserver-auth=" + auth); got != "jobserver "+auth+": "+want {
			t.Errorf("%s: %s, want %s", auth, got, want)
		}
	}
}
