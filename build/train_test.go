package build

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFailedTests(t *testing.T) {
	const log = "0:00:00 load avg: 2.06 Run 44 tests in parallel using 2 worker processes\n" +
		"0:00:03 load avg: 2.06 [ 1/44] test_array passed\n" +
		"0:00:04 load avg: 2.14 [ 2/44] test_base64 passed -- running (1): test_generators (30.1 sec)\n" +
		"0:00:12 load avg: 2.10 [ 3/44/1] test_generators failed (1 failure)\n" +
		"0:00:13 load avg: 2.10 [ 4/44/2] test_set worker non-zero exit code (Exit code -6 (SIGABRT))\n" +
		"0:00:13 [ 5/44/3] test_re crashed (Exit code -11)\n" +
		"0:00:13 [ 5/44/3] test_re crashed (Exit code -11)\n" +
		"0:10:13 load avg: 2.10 [ 6/44/4] test_json timed out (10 min)\n" +
		"0:10:14 load avg: 2.10 [ 7/44/4] test_failed_once passed\n" +
		"test_generators failed, said nobody\n"
	got, err := failedTests(strings.NewReader(log))
	if want := []string{"test_generators", "test_set", "test_re", "test_json"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

func FuzzFailedTests(f *testing.F) {
	f.Add("0:00:12 load avg: 2.10 [12/44/1] test_generators failed (1 failure)\n")
	f.Fuzz(func(t *testing.T, s string) {
		tests, err := failedTests(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range tests {
			if !strings.HasPrefix(name, "test_") || !strings.Contains(s, name) {
				t.Errorf("%q", name)
			}
		}
	})
}

func TestGuided(t *testing.T) {
	const (
		flags = "PGO_PROF_GEN_FLAG=-fprofile-generate\nPGO_PROF_USE_FLAG=-fprofile-use -fprofile-correction\n"
		clang = "PGO_PROF_GEN_FLAG=-fprofile-instr-generate\nPGO_PROF_USE_FLAG=-fprofile-instr-use\n"
		rules = "all:\t\tprofile-opt\nprofile-opt: profile-run-stamp\n\t@echo final >> steps\nprofile-run-stamp:\n\t@echo stock >> steps\nprofile-gen-stamp: profile-clean-stamp\n\t@echo instrumented >> steps\n" +
			"profile-clean-stamp:\nclean-retain-profile: pycremoval\n\t@echo clean >> steps\npycremoval:\nPrograms/%:\n\t@:\n"
		good   = "#!/bin/sh\necho trained >> steps; touch a.gcda\n"
		failed = "#!/bin/sh\necho trained >> steps; touch a.gcda; echo '0:00:12 load avg: 2.10 [12/44/1] test_re failed'; exit 2\n"
		empty  = "#!/bin/sh\necho trained >> steps; echo '0:00:12 load avg: 2.10 [12/44/1] test_re failed'; exit 2\n"
		broken = "#!/bin/sh\necho trained >> steps; touch a.gcda; echo 'ImportError: no module'; exit 1\n"
		killed = "#!/bin/sh\necho trained >> steps; touch a.gcda; kill -SEGV $$\n"
	)
	for _, test := range []struct {
		name, makefile, python string
		steps, names           string // what make did, and what the caller was told
		notes                  []string
		failed                 string // step
		strict                 string // what is said where a whole profile is required; empty: all is well
	}{
		{"in steps", flags + rules, good, "instrumented trained clean final", "compile train compile", nil, "", ""},
		{"a test fails", flags + rules, failed, "instrumented trained clean final", "compile train compile", []string{"trained without test_re, which failed"}, "", "the training failed in test_re"},
		{"nothing is learnt", flags + rules, empty, "instrumented trained", "compile train", nil, "train", "train failed: ./python -m test --pgo --timeout=600 -j2: exit status 2"},
		{"no test says why", flags + rules, broken, "instrumented trained", "compile train", nil, "train", "train failed: ./python -m test --pgo --timeout=600 -j2: exit status 1"},
		{"the interpreter crashes", flags + rules, killed, "instrumented trained", "compile train", nil, "train", "train failed: ./python -m test --pgo --timeout=600 -j2: signal: segmentation fault"},
		{"clang", clang + rules, good, "stock final", "compile", nil, "", "not guided by a profile: its Makefile is not made for a training that can be watched"},
		{"a Makefile without a stamp", flags + strings.ReplaceAll(rules, "profile-gen-stamp", "generate"), good, "stock final", "compile", nil, "", "not guided by a profile: its Makefile is not made for a training that can be watched"},
		{"another default target", flags + strings.Replace(rules, "all:\t\tprofile-opt", "all: bolt-opt\nbolt-opt: profile-opt", 1), good, "stock final", "compile", nil, "", "not guided by a profile: its Makefile is not made for a training that can be watched"},
	} {
		t.Run(test.name, func(t *testing.T) {
			guided := func(strict bool) *Plan {
				p := tree(t, "", test.makefile)
				r := request(t, "3.9.2", "release")
				r.Source, r.Stage, r.Home, r.Logs = p.Dir, filepath.Join(filepath.Dir(p.Dir), "stage"), filepath.Join(filepath.Dir(p.Dir), "home"), p.Logs
				if err := os.WriteFile(filepath.Join(p.Dir, "python"), []byte(test.python), 0o755); err != nil {
					t.Fatal(err)
				}
				r.Strict = strict
				p = NewPlan(r)
				p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return s.Name == "stage" })
				return p
			}
			_, err := Make(t.Context(), guided(true), func(string) func(error) { return func(error) {} })
			if (err == nil) != (test.strict == "") || err != nil && err.Error() != test.strict {
				t.Errorf("strict: error %v, want %s", err, test.strict)
			}
			p := guided(false)
			var names []string
			result, err := Make(t.Context(), p, func(name string) func(error) { names = append(names, name); return func(error) {} })
			text, readErr := os.ReadFile(filepath.Join(p.Dir, "steps"))
			if readErr != nil {
				t.Fatal(readErr)
			}
			if got := strings.Join(strings.Fields(string(text)), " "); got != test.steps {
				t.Errorf("done: %s, want %s", got, test.steps)
			}
			if got := strings.Join(names[1:], " "); got != test.names {
				t.Errorf("told: %s, want %s", got, test.names)
			}
			if test.failed != "" {
				if step, ok := errors.AsType[*StepError](err); !ok || step.Step != test.failed || step.Log != filepath.Join(p.Logs, test.failed+".log") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || !slices.Equal(result.Notes, test.notes) {
				t.Errorf("result %v, error %v", result, err)
			}
		})
	}
}
