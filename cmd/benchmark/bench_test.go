//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pybuild/build/run"
)

func TestMain(m *testing.M) {
	if status, ok := measureCommand(os.Args[1:]); ok {
		syscall.Exit(status) // with the race detector os.Exit takes a second
	}
	os.Exit(m.Run())
}

// fakePython is an interpreter that says what the real one would of programs.py, and is always as fast.
const fakePython = `#!/bin/sh
case "$3 $4" in
-c*) echo 3.13.5 ;;
*" ") echo one two ;;
*) echo 0.5 ;;
esac
`

// fakeConfigure is all that the archive of a fake CPython needs.
const fakeConfigure = `#!/bin/sh
prefix=${1#--prefix=}
cat > Makefile <<END
all:
	@echo compiled
altinstall install:
	@mkdir -p $prefix/bin && cp python $prefix/bin/python3.13
END
`

// fakePybuild does as it is told, and keeps in its cache that it did. A file beside it makes it fail.
const fakePybuild = `#!/bin/sh
here=$(dirname "$0")
case $1 in
cache) echo "$here/cache"; exit ;;
fetch) echo "$PYBUILD_CACHE"/archives/*/Python-"$2".tgz; exit ;;
esac
prefix=$2
[ ! -e "$here/fail" ] || { echo "pybuild: error: as asked"; exit 6; }
if [ -e "$PYBUILD_CACHE/known" ]; then echo known; else echo unknown; fi >> "$here/calls"
touch "$PYBUILD_CACHE/known"
mkdir -p "$prefix/bin" && cp "$here/python" "$prefix/bin/python3.13" && chmod 755 "$prefix/bin/python3.13"
`

// world is a directory with a fake pybuild, and a cache in which it has a fake archive.
func world(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	for _, file := range [][2]string{{"configure", fakeConfigure}, {"python", fakePython}} {
		err := w.WriteHeader(&tar.Header{Name: "Python-3.13.5/" + file[0], Mode: 0o755, Size: int64(len(file[1]))})
		if err == nil {
			_, err = io.WriteString(w, file[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "cache/archives/digest/Python-3.13.5.tgz"), archive.String())
	write(t, filepath.Join(dir, "cache/configure/answers"), "what an earlier build has found out")
	write(t, filepath.Join(dir, "pybuild"), fakePybuild)
	write(t, filepath.Join(dir, "python"), fakePython)
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o755)); err != nil {
		t.Fatal(err)
	}
}

// benchmarkIn runs the program in a fake world, which has no distribution.
func benchmarkIn(t *testing.T, dir string, args ...string) (stdout string, err error) {
	t.Helper()
	o, err := parse(append(args, "-pybuild", filepath.Join(dir, "pybuild"), "-dir", dir, "-jobs", "2"), io.Discard)
	if err != nil {
		return "", err
	}
	o.system = dir
	var out bytes.Buffer
	err = benchmark(t.Context(), o, []string{"PATH=/usr/bin:/bin"}, &out, io.Discard)
	if left, globErr := filepath.Glob(filepath.Join(dir, "pybuild-benchmark-*")); globErr != nil || left != nil {
		t.Errorf("left: %v, %v", left, globErr)
	}
	return out.String(), err
}

// done are the rounds and cases of the results in the order in which they ran.
func done(t *testing.T, output string) (list []string) {
	t.Helper()
	r, err := readResults(filepath.Join(output, resultsName))
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range r.Runs {
		list = append(list, fmt.Sprintf("%d %s", run.Round, run.Case))
	}
	return list
}

func TestWhole(t *testing.T) {
	dir := world(t)
	output := filepath.Join(dir, "output")
	stdout, err := benchmarkIn(t, dir, "-cases", "by-hand,by-hand-same,python-build,quick,quick-known", "-n", "2", "-keep", "-speed", "-rounds", "2", "-output", output)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1 by-hand", "1 by-hand-same", "1 python-build", "1 quick", "1 quick-known", "2 quick-known", "2 quick", "2 python-build", "2 by-hand-same", "2 by-hand"}
	if got := done(t, output); !slices.Equal(got, want) {
		t.Errorf("done %q, want %q", got, want)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || string(calls) != "unknown\nknown\nknown\nunknown\n" {
		t.Errorf("calls %q, %v", calls, err)
	}
	for _, row := range []string{
		"| quick build against python-build | `quick` / `python-build` | ",
		"| `python-build` | python-build's flags, by hand | ",
		"| `quick` | 3.13.5 | 1.00 [1.00–1.00] |",
		"| one | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |",
	} {
		if !strings.Contains(stdout, "\n"+row) {
			t.Errorf("no row %q in\n%s", row, stdout)
		}
	}
	table, err := os.ReadFile(filepath.Join(output, "table.md"))
	if err != nil || string(table) != stdout {
		t.Errorf("table.md is\n%s\nstandard output\n%s\n%v", table, stdout, err)
	}
	for _, name := range []string{"chart.svg", "speed.svg", "logs/1-by-hand.log", "logs/2-quick.log", "interpreters/quick-known/bin/python3.13"} {
		if _, err := os.Stat(filepath.Join(output, name)); err != nil {
			t.Error(err)
		}
	}

	again, err := benchmarkIn(t, dir, "-draw", output)
	if err != nil || again != stdout {
		t.Errorf("drawn again\n%s\n%v", again, err)
	}
	if _, err := benchmarkIn(t, dir, "-output", output); err == nil || err.Error() != output+" has results already: go on with -resume, or name another directory" {
		t.Errorf("error %v", err)
	}
	if _, err := benchmarkIn(t, dir, "-output", output, "-resume", "-version", "3.13.4"); err == nil || err.Error() != "the results in "+output+" are of another release, number of jobs or python-build" {
		t.Errorf("error %v", err)
	}
}

// TestResume: what was measured before a failure is kept, and not measured again. The one whose cache is gone is built for it.
func TestResume(t *testing.T) {
	dir := world(t)
	output, fail := filepath.Join(dir, "output"), filepath.Join(dir, "fail")
	args := []string{"-cases", "by-hand,quick,quick-known", "-n", "2", "-output", output, "-resume"}
	if _, err := benchmarkIn(t, dir, "-cases", "by-hand,quick", "-n", "1", "-output", output); err != nil {
		t.Fatal(err)
	}
	write(t, fail, "")
	_, err := benchmarkIn(t, dir, args...)
	log := filepath.Join(output, "logs/0-quick.log")
	failed, ok := errors.AsType[*RunError](err)
	if !ok || !strings.HasPrefix(err.Error(), "quick, round 0, pybuild failed: "+filepath.Join(dir, "pybuild")+" ") || !strings.HasSuffix(err.Error(), ": exit status 6, see "+log) {
		t.Fatalf("error %v", err)
	}
	if tail := failed.Tail; len(tail) != 2 || tail[1] != "pybuild: error: as asked" {
		t.Errorf("tail %q", tail)
	}
	if got, want := done(t, output), []string{"1 by-hand", "1 quick"}; !slices.Equal(got, want) {
		t.Errorf("done %q, want %q", got, want)
	}
	if err := os.Remove(fail); err != nil {
		t.Fatal(err)
	}
	if _, err := benchmarkIn(t, dir, args...); err != nil {
		t.Fatal(err)
	}
	if got, want := done(t, output), []string{"1 by-hand", "1 quick", "1 quick-known", "2 quick-known", "2 quick", "2 by-hand"}; !slices.Equal(got, want) {
		t.Errorf("done %q, want %q", got, want)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if want := "unknown\n" + "unknown\nknown\nknown\nunknown\n"; err != nil || string(calls) != want {
		t.Errorf("calls %q, want %q, %v", calls, want, err)
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"-n 0", "-n, -rounds and -jobs are at least 1"},
		{"-cases quick,slow", `there is no case "slow"`},
		{"-keep", "-keep and -resume need an -output"},
		{"-resume", "-keep and -resume need an -output"},
		{"-draw . -speed", "-draw measures nothing"},
		{"-interpreter python3", `invalid value "python3" for flag -interpreter: want NAME=PATH`},
		{"fast", `"fast" is no flag`},
		{"-speed", "there is no interpreter to measure: none is kept in the output, and none was named"},
		{"-speed -interpreter a=/bin/true -interpreter a=/bin/false", `two interpreters are called "a"`},
		{"-version 2.7", ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			dir := t.TempDir()
			_, err := benchmarkIn(t, dir, strings.Fields(test.args)...)
			if _, ok := errors.AsType[*usageError](err); !ok || test.want != "" && err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
		})
	}
}

func TestStatus(t *testing.T) {
	for _, test := range []struct {
		args string
		want int
	}{{"-help", 0}, {"-draw /nowhere", 1}, {"-n 0", 2}} {
		var stderr bytes.Buffer
		if got := mainIn(t.Context(), strings.Fields(test.args), nil, io.Discard, &stderr); got != test.want {
			t.Errorf("%s: status %d, want %d: %s", test.args, got, test.want, &stderr)
		}
	}
}

// testBench is enough to measure a command.
func testBench(t *testing.T) *bench {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &bench{self: self, private: t.TempDir()}
}

// TestMeasure: what a command takes includes what it leaves behind, which plain accounting would lose.
func TestMeasure(t *testing.T) {
	const burn = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done"
	for _, test := range []struct {
		name, script string
		busy         bool
		failed       string // end of the error
	}{
		{"child", burn, true, ""},
		{"daemonised grandchild", "(setsid sh -c '" + burn + "' &)", true, ""},
		{"nothing", "(setsid sh -c true &)", false, ""},
		{"status", "exit 3", false, ": exit status 3"},
		{"signal", "kill -TERM $$", false, ": exit status 143"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := testBench(t)
			command := run.Command{Argv: []string{"sh", "-c", test.script}, Env: b.plainEnv()}
			u, err := b.measure(t.Context(), "it", command, filepath.Join(b.private, "log"), measureRequest{Own: true})
			if test.failed != "" {
				if _, ok := errors.AsType[*RunError](err); !ok || !strings.HasPrefix(err.Error(), "it failed: /") || !strings.HasSuffix(err.Error(), test.failed) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if busy := u.CPU > 0.05; busy != test.busy {
				t.Errorf("%.3f seconds of CPU", u.CPU)
			}
			if u.Wall <= 0 || u.Memory < 100<<10 {
				t.Errorf("%+v", u)
			}
		})
	}
}

func TestParseStat(t *testing.T) {
	const stat = "42 (a ) b) S 1 42 42 0 -1 4194304 100 200 0 0 150 50 900 100 20 0 1 0 4711 1000000 100"
	started, cpu, ok := parseStat(stat)
	if !ok || started != "4711" || cpu != 2 {
		t.Errorf("%q, %v, %v", started, cpu, ok)
	}
	if _, _, ok := parseStat("42 (cat) S 1"); ok {
		t.Error("half a line is taken for a whole one")
	}
	if got := peak("Name:\tx\nVmHWM:\t   2048 kB\n"); got != 2<<20 {
		t.Errorf("peak %d", got)
	}
	if got := peak("Name:\tx\n"); got != 0 {
		t.Errorf("peak of what has ended %d", got)
	}
}

// TestPrograms runs every program of programs.py, small, with the interpreter of this machine.
func TestPrograms(t *testing.T) {
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skipf("the programs need an interpreter: %v", err)
	}
	b := testBench(t)
	b.logs = b.private
	file := filepath.Join(b.private, "programs.py")
	write(t, file, programs)
	i := Interpreter{Name: "this machine's", Path: python}
	list, err := b.python(t.Context(), i, "list", file)
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(list)
	if len(names) < 12 {
		t.Errorf("only %d programs: %q", len(names), names)
	}
	for _, name := range names {
		if said, err := b.python(t.Context(), i, name, file, name, "tiny"); err != nil || strings.TrimSpace(said) == "" {
			t.Errorf("%s says %q: %v %q", name, said, err, tail(filepath.Join(b.logs, "speed.log")))
		}
	}
	// The twin: a wrong result is an error.
	write(t, file, strings.Replace(programs, "(11, 7)", "(11, 8)", 1))
	if _, err := b.python(t.Context(), i, "flips", file, "flips", "tiny"); err == nil || !strings.HasSuffix(err.Error(), ": exit status 1") {
		t.Errorf("error %v", err)
	}
	if last := tail(filepath.Join(b.logs, "speed.log")); last[len(last)-1] != "flips: the result is (11, 7), not (11, 8)" {
		t.Errorf("log %q", last)
	}
}

func TestCharts(t *testing.T) {
	r := sampleResults()
	r.Interpreters[0].Name = `by-hand <&">`
	for i := range r.Samples {
		r.Samples[i].Interpreter = strings.Replace(r.Samples[i].Interpreter, "by-hand", `by-hand <&">`, 1)
	}
	for name, chart := range map[string]string{"builds": r.buildChart(), "speed": r.speedChart(), "nothing": (&Results{}).buildChart()} {
		elements := map[string]int{}
		for d := xml.NewDecoder(strings.NewReader(chart)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, chart)
			}
			if start, ok := token.(xml.StartElement); ok {
				elements[start.Name.Local]++
			}
		}
		if elements["title"] != 1 || elements["desc"] != 1 || strings.Contains(chart, "%!") {
			t.Errorf("%s: %v\n%s", name, elements, chart)
		}
		if bars := map[string]int{"builds": 3, "speed": 2, "nothing": 0}[name] + 1; elements["rect"] != bars {
			t.Errorf("%s: %d rectangles, want %d\n%s", name, elements["rect"], bars, chart)
		}
	}
	if chart := r.buildChart(); !strings.Contains(chart, "Plain: python-build&#39;s flags, by hand 100 s, quick 80 s, quick-known 60 s.") {
		t.Errorf("not in words:\n%s", chart)
	}
}

func TestReadme(t *testing.T) {
	const text = "before\n<!-- benchmark -->\nold\n<!-- /benchmark -->\nafter\n"
	got, err := inReadme(text, "table\n", map[string]string{chartName: "<svg/>"})
	if want := "before\n<!-- benchmark -->\n\n![Seconds of each build](cmd/benchmark/chart.svg)\n\ntable\n\n<!-- /benchmark -->\nafter\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	if again, err := inReadme(got, "table\n", map[string]string{chartName: "<svg/>"}); err != nil || again != got {
		t.Errorf("again %q, %v", again, err)
	}
	if _, err := inReadme("before\n<!-- benchmark -->\n", "", nil); err == nil || err.Error() != `README.md has no "<!-- benchmark -->" and "<!-- /benchmark -->"` {
		t.Errorf("error %v", err)
	}
	own, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inReadme(string(own), "", nil); err != nil {
		t.Error(err)
	}
}
