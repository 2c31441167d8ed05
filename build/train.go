package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"pybuild/build/run"
)

// GuideError says that a build cannot be guided by a whole profile, where that is required.
type GuideError struct {
	// Reason says why it cannot be guided at all; empty: Tests of the training failed.
	Reason string
	Tests  []string
	// Err is the *StepError of the training, nil when there was none.
	Err error
}

func (e *GuideError) Error() string {
	if e.Reason != "" {
		return "not guided by a profile: " + e.Reason
	}
	return "the training failed in " + strings.Join(e.Tests, ", ")
}
func (e *GuideError) Unwrap() error { return e.Err }

// expected is what the Makefile of a profile-guided build must have so that it can be taken in steps: the targets, and gcc's way
// to make and use a profile. clang's needs another tool in between.
var expected = []*regexp.Regexp{
	regexp.MustCompile(`^profile-gen-stamp:`),
	regexp.MustCompile(`^clean-retain-profile:`),
	regexp.MustCompile(`^profile-opt: profile-run-stamp$`),
	regexp.MustCompile(`^all:\s+profile-opt$`),
	regexp.MustCompile(`^PGO_PROF_GEN_FLAG=\s*-fprofile-generate$`),
	regexp.MustCompile(`^PGO_PROF_USE_FLAG=\s*-fprofile-use( |$)`),
}

// guidable reports whether configure has written such a Makefile.
func (p *Plan) guidable() (bool, error) {
	found := make([]bool, len(expected))
	err := p.readSource("Makefile", func(r io.Reader) error {
		return eachLine(r, func(line string) {
			for i, e := range expected {
				found[i] = found[i] || e.MatchString(line)
			}
		})
	})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return !slices.Contains(found, false), err
}

// guide compiles guided by a profile: the kept one, or else that of a training. Its steps are an instrumented compilation, the
// training, and the compilation that uses it.
func (m *making) guide(ctx context.Context, steps []Step) error {
	final := steps[len(steps)-1]
	ok, err := m.guidable()
	if err != nil {
		return fmt.Errorf("reading how the build is guided: %w", err)
	}
	if !ok && m.strict {
		return &GuideError{Reason: "its Makefile is not made for a training that can be watched"}
	}
	if !ok {
		final.Commands = final.Plain
		return m.do(ctx, final)
	}
	key := m.profileKey(ctx)
	if key != "" && m.restoreProfile(key) {
		err := m.do(ctx, final)
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			if ok, err := m.fits(final); ok || err != nil {
				return err
			}
		}
		if err := errors.Join(m.forgetProfile(key), aside(m.log(final), "kept")); err != nil {
			return fmt.Errorf("training again: %w", err)
		}
		m.note("the profile of an earlier build did not fit, and was made anew")
	}
	for _, s := range steps { // instrumenting starts with a clean tree
		if err := m.do(ctx, s); err != nil {
			return err
		}
		if s.Name == "train" && key != "" && !m.failing {
			if err := m.keepProfile(key); err != nil {
				m.note("the profile is not kept: " + err.Error())
			}
		}
	}
	return nil
}

// train runs the tests that the profile is made of. One that fails, hangs or crashes is told and makes the profile a little
// poorer; it does not end the build, unless the profile must be whole. Training that leaves no profile at all does.
func (m *making) train(ctx context.Context, s Step) error {
	_, err := m.run(ctx, s)
	if err == nil || ctx.Err() != nil {
		return err
	}
	failed, ok := errors.AsType[*run.Error](err)
	if !ok || failed.Status <= 0 {
		return err
	}
	var tests []string
	if err := read(m.log(s), func(r io.Reader) (err error) {
		tests, err = failedTests(r)
		return err
	}); err != nil {
		return fmt.Errorf("reading how the training went: %w", err)
	}
	profile, readErr := m.readProfile()
	if readErr != nil || len(profile) == 0 || len(tests) == 0 {
		return errors.Join(err, readErr)
	}
	if m.strict {
		return &GuideError{Tests: tests, Err: err}
	}
	m.failing = true
	m.note("trained without " + strings.Join(tests, ", ") + ", which failed")
	return nil
}

// testResult is a line of regrtest about one file of tests that did not go well, with several processes:
// "0:00:12 load avg: 2.10 [12/44/1] test_generators failed (1 failure)".
var testResult = regexp.MustCompile(`^\S+ (?:load avg: \S+ )?\[ *\d+/\d+(?:/\d+)?\] (test_\w+) .*\b(?:failed|crashed|timed out|non-zero exit)\b`)

// failedTests are the files of tests that regrtest says did not go well, in its order.
func failedTests(log io.Reader) (tests []string, err error) {
	err = eachLogLine(log, func(line string) {
		if m := testResult.FindStringSubmatch(line); m != nil && !slices.Contains(tests, m[1]) {
			tests = append(tests, m[1])
		}
	})
	return tests, err
}
