package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pybuild/build/run"
)

// programs is a Python file with the programs that the interpreters run; see its own head.
//
//go:embed programs.py
var programs string

// Interpreter is one that is measured.
type Interpreter struct {
	Name string `json:"name"`
	Path string `json:"path"`
	// Version is in its own words, "3.13.5".
	Version string `json:"version"`
}

// series is the version without its last number.
func (i Interpreter) series() string { return i.Version[:max(0, strings.LastIndex(i.Version, "."))] }

// Sample is one program run once by one interpreter.
type Sample struct {
	Round       int    `json:"round"`
	Program     string `json:"program"`
	Interpreter string `json:"interpreter"`
	// Seconds are of CPU time, with children: neighbours on the same machine change that less than wall time.
	Seconds float64 `json:"seconds"`
}

// distribution begins the names of the distribution's interpreters.
const distribution = "distribution"

// executable is the name of an interpreter in a bin directory.
var executable = regexp.MustCompile(`^python3\.[0-9]+t?$`)

// found are the interpreters to be measured: those kept by the first part, in the order of its cases, then the named ones, then the
// distribution's.
func (b *bench) found(ctx context.Context) (found []Interpreter, err error) {
	in := func(dir string) (list []string, err error) {
		paths, err := filepath.Glob(filepath.Join(dir, "python3.*"))
		return slices.DeleteFunc(paths, func(path string) bool { return !executable.MatchString(filepath.Base(path)) }), err
	}
	if b.output != "" {
		for _, c := range cases(setting{}) {
			paths, err := in(filepath.Join(b.output, interpretersName, c.Name, "bin"))
			if err != nil {
				return nil, err
			}
			for _, path := range paths {
				found = append(found, Interpreter{Name: c.Name, Path: path})
			}
		}
	}
	found = append(found, b.interpreters...)
	paths, err := in(b.system)
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		if !slices.ContainsFunc(found, func(i Interpreter) bool { return i.Path == path }) {
			found = append(found, Interpreter{Name: distribution + "'s " + filepath.Base(path), Path: path})
		}
	}
	for i := range found {
		if slices.ContainsFunc(found[:i], func(other Interpreter) bool { return other.Name == found[i].Name }) {
			return nil, &usageError{fmt.Sprintf("two interpreters are called %q", found[i].Name)}
		}
		said, err := b.python(ctx, found[i], found[i].Name, "-c", "import platform; print(platform.python_version())")
		if err != nil {
			return nil, err
		}
		found[i].Version = strings.TrimSpace(said)
	}
	return found, nil
}

// python runs an interpreter on one processor and returns its standard output. -I would ignore the seed: so the user's packages are
// left out by -s, and variables by an environment that has none.
func (b *bench) python(ctx context.Context, i Interpreter, what string, args ...string) (string, error) {
	var said strings.Builder
	c := run.Command{Argv: append([]string{i.Path, "-s", "-B"}, args...), Dir: b.private, Env: b.plainEnv("PYTHONHASHSEED=0"), Stdout: &said}
	_, err := b.measure(ctx, what, c, filepath.Join(b.logs, "speed.log"), measureRequest{Pin: true})
	return said.String(), err
}

// compare does the second part: every program by every interpreter, one after the other, once a round.
func (b *bench) compare(ctx context.Context) error {
	interpreters, err := b.found(ctx)
	if err != nil {
		return err
	}
	if len(interpreters) == 0 {
		return &usageError{"there is no interpreter to measure: none is kept in the output, and none was named"}
	}
	for _, i := range interpreters { // what an earlier run has measured stays
		known := slices.IndexFunc(b.results.Interpreters, func(k Interpreter) bool { return k.Name == i.Name })
		if known < 0 {
			b.results.Interpreters = append(b.results.Interpreters, i)
		} else if b.results.Interpreters[known] != i {
			return &usageError{fmt.Sprintf("the results are of another interpreter called %q", i.Name)}
		}
	}
	// A directory of its own: it is the first that programs import from.
	dir := filepath.Join(b.private, "programs")
	file := filepath.Join(dir, "programs.py")
	if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(file, []byte(programs), 0o644)); err != nil {
		return err
	}
	list, err := b.python(ctx, interpreters[0], "the list of programs", file)
	if err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		for _, program := range strings.Fields(list) {
			if err := b.race(ctx, interpreters, round, program, file); err != nil {
				return err
			}
		}
		fmt.Fprintf(b.stderr, "speed: round %d of %d\n", round, b.rounds)
		if err := b.save(); err != nil {
			return err
		}
	}
	return nil
}

// race lets every interpreter run one program, in an order that is reversed every other round.
func (b *bench) race(ctx context.Context, interpreters []Interpreter, round int, program, file string) error {
	if round%2 == 0 {
		interpreters = slices.Clone(interpreters)
		slices.Reverse(interpreters)
	}
	for _, i := range interpreters {
		if slices.ContainsFunc(b.results.Samples, func(s Sample) bool { return s.Round == round && s.Program == program && s.Interpreter == i.Name }) {
			continue
		}
		what := fmt.Sprintf("%s, round %d, %s", i.Name, round, program)
		said, err := b.python(ctx, i, what, file, program)
		if err != nil {
			return err
		}
		sample := Sample{Round: round, Program: program, Interpreter: i.Name}
		if err := json.Unmarshal([]byte(said), &sample.Seconds); err != nil || sample.Seconds <= 0 {
			return fmt.Errorf("%s says %q instead of seconds", what, said)
		}
		b.results.Samples = append(b.results.Samples, sample)
	}
	return nil
}
