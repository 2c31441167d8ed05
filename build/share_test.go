package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pybuild/build/run"
)

func jobserver(t *testing.T, jobs int) *run.Jobserver {
	t.Helper()
	j, err := run.NewJobserver(jobs)
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

func TestTurn(t *testing.T) {
	const with, without = true, false
	for _, test := range []struct {
		name   string
		argv   string
		taken  int // by others, of three
		want   string
		client bool
	}{
		{"configure", "./configure --prefix=/opt", 0, "./configure --prefix=/opt", without},
		{"make", "make -j3", 0, "make", with},
		{"make for some programs", "make A=b -j3 python", 2, "make A=b python", with},
		{"make after memory ran out", "make -j1", 0, "make -j1", without},
		{"make for one", "make altinstall DESTDIR=/s", 0, "make altinstall DESTDIR=/s", without},
		{"training", "./python -m test -j3", 0, "./python -m test -j3", without},
		{"training beside another build", "./python -m test -j3", 1, "./python -m test -j2", without},
		{"completion beside two", "python complete.py /s -j3", 2, "python complete.py /s -j1", without},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &Plan{Jobserver: jobserver(t, 3), jobs: 3}
			if test.taken > 0 {
				others, err := p.Jobserver.Acquire(t.Context(), test.taken)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := others.Release(); err != nil {
						t.Error(err)
					}
				}()
			}
			argv := strings.Fields(test.argv)
			c := run.Command{Argv: argv}
			done, err := p.turn(t.Context(), &c)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Argv, " "); got != test.want || (c.Jobserver != nil) != test.client {
				t.Errorf("%s, client %v; want %s, %v", got, c.Jobserver != nil, test.want, test.client)
			}
			if !slices.Equal(argv, strings.Fields(test.argv)) {
				t.Errorf("the plan was changed: %q", argv)
			}
			if err := done(); err != nil {
				t.Error(err)
			}
		})
	}
	c := run.Command{Argv: []string{"make", "-j3"}}
	if _, err := (&Plan{jobs: 3}).turn(t.Context(), &c); err != nil || c.Argv[1] != "-j3" || c.Jobserver != nil {
		t.Errorf("alone: %v, %v", c, err)
	}
}

// A build among others says in its logs what it really ran, and waits no longer than its context allows.
func TestMakeShared(t *testing.T) {
	p := tree(t, "", makefile)
	p.Jobserver = jobserver(t, 2)
	if _, err := Make(t.Context(), p, func(string) func(error) { return func(error) {} }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(p.Logs, "compile.log")); err != nil || string(Untimed(text)) != "$ make\n" {
		t.Errorf("log %q, %v", text, err)
	}

	p = tree(t, "", makefile)
	p.Jobserver = jobserver(t, 2)
	others, err := p.Jobserver.Acquire(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	_, err = Make(ctx, p, func(string) func(error) { cancel(cause); return func(error) {} })
	if !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if err := others.Release(); err != nil {
		t.Error(err)
	}
}
