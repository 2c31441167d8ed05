package build

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pybuild/build/run"
)

// dryRunTimeout is how long make may take to say what it is going to do; for CPython it takes a fifth of a second.
const dryRunTimeout = 30 * time.Second

// foresee returns how many targets a command is going to make, in make's own words: the commands that it would run, as they will be
// in the log. What is not make, and what make cannot say, is 0. Until 3.11 it cannot: setup.py builds the extension modules, and
// nobody knows how many.
func (p *Plan) foresee(ctx context.Context, s Step, argv []string) int64 {
	if filepath.Base(argv[0]) != "make" {
		return 0
	}
	dry := slices.DeleteFunc(slices.Clone(argv), func(arg string) bool { return strings.HasPrefix(arg, "-j") })
	var said targetCount
	err := run.Run(ctx, run.Command{
		Argv: append(dry, "--dry-run"), Dir: p.Dir, Env: slices.Concat(p.Env, s.Env), Stdout: &said, Timeout: dryRunTimeout, Confine: p.Confine,
	})
	if err != nil || said.more { // an error make will say again, where it matters
		return 0
	}
	return said.targets
}

// targetCount counts the lines that mark a target in what is written to it.
type targetCount struct {
	targets int64
	more    bool // and others that make does not know
	line    []byte
}

// setup is what marks a command that makes those.
var setup = []byte("/setup.py ")

func (t *targetCount) Write(p []byte) (int, error) {
	written := len(p)
	for {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if len(t.line)+len(line) <= maxLogLine { // of a longer one the beginning
			t.line = append(t.line, line...)
		}
		if !whole {
			return written, nil
		}
		if bytes.Contains(t.line, output) {
			t.targets++
		}
		t.more = t.more || bytes.Contains(t.line, setup)
		t.line, p = t.line[:0], rest
	}
}
