// Benchmark measures pybuild against the ways in which people build a CPython without it, and the interpreters that come out of it
// against each other, on the machine where it runs:
//
//	go run ./cmd/benchmark -cases by-hand,by-hand-same,python-build,quick,quick-known -n 3 -output /tmp/result
//	go run ./cmd/benchmark -speed -rounds 7 -output /tmp/result
//
// It promises figures that can be compared: everything that is compared is done in one run, in turns, and counts only within its own
// round. A machine's speed changes from minute to minute, so that times of different runs say nothing. It has no opinion: nothing
// passes or fails by its time.
//
// Every build starts with the archives and nothing else that is known of earlier builds, unless it is about that, in a private
// directory that is removed at the end. Like pybuild it starts commands as argument vectors, through build/run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if status, ok := measureCommand(os.Args[1:]); ok {
		os.Exit(status)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(mainIn(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// options are the flags.
type options struct {
	cases, version, pybuild, cache, dir, output, draw string
	n, rounds, jobs                                   int
	keep, resume, speed, writeReadme                  bool
	interpreters                                      []Interpreter
	// given says that -cases was.
	given bool
	// system is where the distribution has its interpreters.
	system string
}

// usageError is a mistake of the caller's.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// mainIn is main in a world that tests may change. The tables go to stdout, everything else to stderr. The status is 0, 1 for what
// failed, 2 for a wrong use, 130 when it was interrupted.
func mainIn(ctx context.Context, args, environ []string, stdout, stderr io.Writer) (status int) {
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = benchmark(ctx, o, environ, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "benchmark: error: %v\n", err)
	if failed, ok := errors.AsType[*RunError](err); ok {
		for _, line := range failed.Tail {
			fmt.Fprintf(stderr, "    %s\n", line)
		}
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return 2
	}
	if ctx.Err() != nil {
		return 130
	}
	return 1
}

// standard are the cases of a run that names none: what one wants to know first, in some minutes a round.
const standard = "by-hand,by-hand-same,python-build,quick,quick-known"

func parse(args []string, stderr io.Writer) (o options, err error) {
	o.system = "/usr/bin"
	flags := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is said once, by mainIn
	flags.StringVar(&o.cases, "cases", standard, "measure these builds, comma-separated, or all")
	flags.IntVar(&o.n, "n", 3, "how many rounds; each builds every case once")
	flags.StringVar(&o.version, "version", "3.13.5", "build this release")
	flags.StringVar(&o.pybuild, "pybuild", "", "use this `program` (default: ./cmd/pybuild, built for it)")
	flags.StringVar(&o.cache, "cache", "", "take archives from this cache of pybuild's (default: that of `pybuild cache dir`); what is missing is fetched")
	flags.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "how many compilers may run at once")
	flags.StringVar(&o.dir, "dir", "/var/tmp", "make the private directory for all builds in `DIR`")
	flags.StringVar(&o.output, "output", "", "write results.json, table.md, charts and logs to `DIR`")
	flags.BoolVar(&o.keep, "keep", false, "install into interpreters/CASE of the output, and keep it for -speed")
	flags.BoolVar(&o.resume, "resume", false, "go on with the results.json of the output: only what it lacks is done")
	flags.BoolVar(&o.speed, "speed", false, "measure interpreters: those kept in the output, the distribution's, and each -interpreter; builds only with -cases")
	flags.IntVar(&o.rounds, "rounds", 7, "how many rounds of -speed")
	flags.Func("interpreter", "also measure this one, as `NAME=PATH`; repeatable", func(s string) error {
		name, path, ok := strings.Cut(s, "=")
		if !ok || name == "" || path == "" {
			return errors.New("want NAME=PATH")
		}
		path, err := filepath.Abs(path)
		o.interpreters = append(o.interpreters, Interpreter{Name: name, Path: path})
		return err
	})
	flags.StringVar(&o.draw, "draw", "", "measure nothing: draw the results of this `DIR` again, and print its tables")
	flags.BoolVar(&o.writeReadme, "write-readme", false, "also put tables and charts into README.md and cmd/benchmark of the current directory")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(stderr, "usage: go run ./cmd/benchmark [flags]")
			flags.SetOutput(stderr)
			flags.PrintDefaults()
			fmt.Fprintf(stderr, "\nCases:\n")
			for _, c := range cases(setting{}) {
				fmt.Fprintf(stderr, "  %-16s %s\n", c.Name, c.Summary)
			}
			return o, err
		}
		return o, &usageError{err.Error()}
	}
	flags.Visit(func(f *flag.Flag) { o.given = o.given || f.Name == "cases" })
	switch {
	case flags.NArg() > 0:
		return o, &usageError{fmt.Sprintf("%q is no flag", flags.Arg(0))}
	case o.n < 1 || o.rounds < 1 || o.jobs < 1:
		return o, &usageError{"-n, -rounds and -jobs are at least 1"}
	case o.output == "" && (o.keep || o.resume):
		return o, &usageError{"-keep and -resume need an -output"}
	case o.draw != "" && (o.speed || o.resume || o.given):
		return o, &usageError{"-draw measures nothing"}
	}
	for _, path := range []*string{&o.pybuild, &o.cache, &o.dir, &o.output, &o.draw} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return o, err
		}
	}
	return o, nil
}

// benchmark does what the flags say, and writes what came of it even when it ends early.
func benchmark(ctx context.Context, o options, environ []string, stdout, stderr io.Writer) (err error) {
	if o.draw != "" {
		r, err := readResults(filepath.Join(o.draw, resultsName))
		if err != nil {
			return err
		}
		return present(r, o.draw, o.writeReadme, stdout)
	}
	b := &bench{options: o, stderr: stderr, environ: environ}
	var chosen []Case
	if !o.speed || o.given {
		if chosen, err = choose(o.cases, cases(setting{})); err != nil {
			return err
		}
	}
	if err := b.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if len(chosen) > 0 {
		err = b.build(ctx, chosen)
	}
	if err == nil && o.speed {
		err = b.compare(ctx)
	}
	if len(b.results.Runs)+len(b.results.Samples) == 0 {
		return err
	}
	return errors.Join(err, present(b.results, o.output, o.writeReadme, stdout))
}

// choose finds cases by their names, in the order of the table.
func choose(list string, all []Case) (chosen []Case, err error) {
	if list == "all" {
		return all, nil
	}
	names := strings.Split(list, ",")
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c Case) bool { return c.Name == name }) {
			return nil, &usageError{fmt.Sprintf("there is no case %q", name)}
		}
	}
	for _, c := range all {
		if slices.Contains(names, c.Name) {
			chosen = append(chosen, c)
		}
	}
	return chosen, nil
}

// present draws results, into dir unless that is empty, and prints the tables.
func present(r *Results, dir string, readme bool, stdout io.Writer) error {
	table := r.markdown()
	if _, err := io.WriteString(stdout, table); err != nil {
		return err
	}
	charts := map[string]string{}
	if len(r.Runs) > 0 {
		charts[chartName] = r.buildChart()
	}
	if len(r.Samples) > 0 {
		charts[speedChartName] = r.speedChart()
	}
	if dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "table.md"), []byte(table), 0o644); err != nil {
			return err
		}
		if err := writeCharts(dir, charts); err != nil {
			return err
		}
	}
	if readme {
		return writeReadme(table, charts)
	}
	return nil
}

func writeCharts(dir string, charts map[string]string) error {
	for name, svg := range charts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(svg), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// The tables in README.md stand between these two lines.
const (
	readmeBegin = "<!-- benchmark -->\n"
	readmeEnd   = "<!-- /benchmark -->\n"
)

// writeReadme replaces the tables in README.md, and the charts beside this source.
func writeReadme(table string, charts map[string]string) error {
	text, err := os.ReadFile("README.md")
	if err != nil {
		return err
	}
	changed, err := inReadme(string(text), table, charts)
	if err != nil {
		return err
	}
	if err := writeCharts(filepath.Join("cmd", "benchmark"), charts); err != nil {
		return err
	}
	return os.WriteFile("README.md", []byte(changed), 0o644)
}

// inReadme is text with the tables, and references to the charts, between its marks.
func inReadme(text, table string, charts map[string]string) (string, error) {
	before, rest, ok := strings.Cut(text, readmeBegin)
	_, after, also := strings.Cut(rest, readmeEnd)
	if !ok || !also {
		return "", fmt.Errorf("README.md has no %q and %q", strings.TrimSpace(readmeBegin), strings.TrimSpace(readmeEnd))
	}
	var pictures strings.Builder
	for _, chart := range [][2]string{{chartName, "Seconds of each build"}, {speedChartName, "Speed of the interpreters"}} {
		if charts[chart[0]] != "" {
			fmt.Fprintf(&pictures, "![%s](cmd/benchmark/%s)\n\n", chart[1], chart[0])
		}
	}
	return before + readmeBegin + "\n" + pictures.String() + table + "\n" + readmeEnd + after, nil
}

// A RunError says which run failed and what its log has to say.
type RunError struct {
	// What was run: the case and the round, or the program and the interpreter.
	What string
	// Log is the path of the whole log, empty when it was not kept. Tail are its last lines.
	Log  string
	Tail []string
	// Err is how the command ended, an error of build/run in most cases.
	Err error
}

func (e *RunError) Error() string {
	text := e.What + " failed: " + e.Err.Error()
	if e.Log != "" {
		text += ", see " + e.Log
	}
	return text
}
func (e *RunError) Unwrap() error { return e.Err }
