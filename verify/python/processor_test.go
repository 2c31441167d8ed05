package python

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func machine(cpuinfo string) fstest.MapFS {
	return fstest.MapFS{"proc/cpuinfo": {Data: []byte(cpuinfo)}}
}

func TestProcessor(t *testing.T) {
	for _, test := range []struct{ name, cpuinfo, want string }{
		{"x86", "processor\t: 0\nflags\t\t: sse2 fpu avx2\nvmx flags\t: vnmi\nbugs\t\t: spectre_v1\n", "avx2 fpu sse2"},
		{"two alike", "flags\t: sse2 fpu\n\nflags\t: sse2 fpu\n", "fpu sse2"},
		{"arm64 with little cores", "Features\t: fp asimd crc32 sve\nCPU part\t: 0xd4f\n\nFeatures\t: fp asimd crc32\n", "asimd crc32 fp"},
		{"another architecture", "isa\t: rv64imafdc\n", ""},
		{"nothing in common", "flags\t: a\nflags\t: b\nflags\t: a b\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Processor(machine(test.cpuinfo)); !slices.Equal(got, strings.Fields(test.want)) {
				t.Errorf("%q, want %s", got, test.want)
			}
		})
	}
	if got := Processor(fstest.MapFS{}); got != nil {
		t.Errorf("without /proc: %q", got)
	}
}

func TestRuns(t *testing.T) {
	has := machine("flags\t: avx2 fpu sse2\n")
	for _, test := range []struct {
		name     string
		machine  fstest.MapFS
		features string
		lacks    string
	}{
		{"all there", has, "avx2 sse2", ""},
		{"nothing needed", has, "", ""},
		{"some missing", has, "avx2 avx512bw avx512f sse2", "built for another processor: lacks avx512bw, avx512f"},
		{"unknown", fstest.MapFS{}, "avx512f", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := Runs(test.machine, strings.Fields(test.features))
			lacks, ok := errors.AsType[*ProcessorError](err)
			if (err == nil) != (test.lacks == "") || err != nil && (!ok || lacks.Error() != test.lacks) {
				t.Errorf("error %v, want %s", err, test.lacks)
			}
		})
	}
}

// TestInspectProcessor: what cannot run here is not started, and what can is.
func TestInspectProcessor(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("started")
	for _, test := range []struct {
		name      string
		processor []string
		checks    string
		err       string
	}{
		{"another", []string{"avx512f"}, "processor", program + " rejected: processor: built for another processor: lacks avx512f"},
		{"this one", []string{"avx2"}, "processor start", program + " rejected: start: started"},
		{"any", nil, "start", program + " rejected: start: started"},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, err := Inspect(t.Context(), Request{
				Executable: program, Version: "3.13.5", Prefix: "/p", Processor: test.processor, Machine: machine("flags\t: avx2\n"), Work: t.TempDir(),
				Exec: func(context.Context, []string, ...string) ([]byte, error) { return nil, broken },
			})
			if err == nil || err.Error() != test.err {
				t.Fatalf("error %v, want %s", err, test.err)
			}
			var checks []string
			for _, r := range report.Results {
				checks = append(checks, r.Check)
			}
			if got := strings.Join(checks, " "); got != test.checks {
				t.Errorf("checks %s, want %s", got, test.checks)
			}
		})
	}
}
