package build

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"pybuild/build/run"
	"pybuild/recipes"
)

// StepError says which step of a build failed and what its log has to say.
type StepError struct {
	Step string
	// Log is the path of the whole log.
	Log string
	// First is the first line of the log that reports a real error, "" when none was recognised.
	First string
	// Tail are the log's last lines.
	Tail []string
	// Known is the failure of the recipes that the log shows, nil when it shows none.
	Known *recipes.Failure
	// Err is how the command ended.
	Err error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s failed: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// Result is what a build came to.
type Result struct {
	// Stage is the directory that now mirrors the prefix.
	Stage string
	// Others are the extension modules that CPython left out, that no part knows of, and that nobody disabled.
	Others []ModuleFailure
	// Notes are what was done otherwise than planned.
	Notes []string
	// Counts are how much the steps had to do, by [Progress].Step and in its units, of those that went through.
	Counts map[string]int64
}

// Make runs the plan. step is told when a step starts, and gets back what is to be called when it has ended. A failing command is
// a *StepError; a promised module that CPython leaves out is a *ModulesError, which wraps the *StepError where there is one too;
// a cancelled ctx is its cause.
func Make(ctx context.Context, p *Plan, step func(name string) (done func(error))) (*Result, error) {
	if err := p.prepare(); err != nil {
		return nil, fmt.Errorf("preparing the build: %w", err)
	}
	m := &making{Plan: p, step: step, result: &Result{Stage: p.Stage, Counts: map[string]int64{}}}
	var guided []Step
	for _, s := range p.Steps {
		var err error
		switch {
		case !s.Guided:
			err = m.do(ctx, s)
		case s.Plain == nil:
			guided = append(guided, s) // the last of them has one
		default:
			err = m.guide(ctx, append(guided, s))
		}
		if err != nil {
			if m.given != "" && ctx.Err() == nil {
				err = errors.Join(err, p.doubt(m.given)) // perhaps it is to blame
			}
			return nil, err
		}
	}
	return m.result, nil
}

// making is a plan that is being run.
type making struct {
	*Plan
	step   func(name string) (done func(error))
	result *Result
	given  string // the key of what configure was told, empty for nothing
	// failing says that some of the training failed.
	failing bool
	told    bool // that configure was told what is known
}

func (m *making) note(text string) { m.result.Notes = append(m.result.Notes, text) }

// do runs a step, once more with one process where memory ran out.
func (m *making) do(ctx context.Context, s Step) (err error) {
	if len(m.result.Others) > 0 {
		// make would fail because of them, at its very end.
		s.Env = slices.DeleteFunc(slices.Clone(s.Env), func(v string) bool { return v == strict })
	}
	if s, err = m.launch(s); err != nil {
		return err
	}
	done := m.step(s.Name)
	var others []ModuleFailure
	switch s.Name {
	case "configure":
		others, err = m.configure(ctx, s)
	case "train":
		err = m.train(ctx, s)
	default:
		others, err = m.run(ctx, s)
	}
	if s.Fewer != nil && outOfMemory(err) {
		m.note("memory ran out during " + s.Name + ": it went on with one process at a time")
		s.Log, s.Commands = cmp.Or(s.Log, s.Name)+"-again", s.Fewer
		others, err = m.run(ctx, s)
	}
	done(err)
	if err != nil {
		return err
	}
	for _, o := range others { // make says again what configure has said
		if !slices.ContainsFunc(m.result.Others, func(known ModuleFailure) bool { return known.Extension == o.Extension }) {
			m.result.Others = append(m.result.Others, o)
		}
	}
	return nil
}

// outOfMemory reports whether a step failed because the kernel, or a compiler itself, ran out of memory.
func outOfMemory(err error) bool {
	step, ok := errors.AsType[*StepError](err)
	if !ok {
		return false
	}
	command, ok := errors.AsType[*run.Error](step.Err)
	return ok && command.OutOfMemory || step.Known != nil && step.Known.Name == "out-of-memory"
}

// prepare writes what the commands read besides their arguments.
func (p *Plan) prepare() error {
	for name, text := range p.Files {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// counter counts what a step does.
func (m *making) counter(s Step) *counter {
	step := cmp.Or(s.Log, s.Name)
	if s.Name == "configure" && m.told {
		step = KnownAnswers
	}
	return newCounter(s, step, m.Expected[step], m.Progress)
}

// log is where the output of a step goes; configLog is where configure's own account is kept, which lies in the source tree.
func (p *Plan) log(s Step) string { return filepath.Join(p.Logs, cmp.Or(s.Log, s.Name)+".log") }
func (p *Plan) configLog() string { return filepath.Join(p.Logs, "config.log") }

// run runs a step, and returns what judge has to say of it.
func (m *making) run(ctx context.Context, s Step) (others []ModuleFailure, err error) {
	p := m.Plan
	count := m.counter(s)
	log, err := newLog(p.log(s), count)
	if err != nil {
		return nil, fmt.Errorf("keeping a log of %s: %w", s.Name, err)
	}
	defer func() { err = errors.Join(err, log.close()) }()
	count.say()
	var failed *StepError
	for _, argv := range s.Commands {
		command := run.Command{Argv: argv, Dir: p.Dir, Env: slices.Concat(p.Env, s.Env), Timeout: p.Timeout, Confine: p.Confine}
		if s.Name == "compile" && m.Expected[count.said.Step] == 0 {
			count.expect(p.foresee(ctx, s, argv))
		}
		done, err := p.turn(ctx, &command)
		if err != nil {
			return nil, err
		}
		if err := log.line("$ " + run.Quote(command.Argv)); err != nil {
			return nil, errors.Join(fmt.Errorf("keeping a log of %s: %w", s.Name, err), done())
		}
		err, unkept := log.command(func(output *os.File) error {
			command.Log = output
			return run.Run(ctx, command)
		})
		err = errors.Join(err, done())
		if ctx.Err() != nil {
			return nil, cmp.Or(err, context.Cause(ctx))
		}
		if unkept != nil {
			return nil, errors.Join(fmt.Errorf("keeping a log of %s: %w", s.Name, unkept), err)
		}
		if err != nil {
			failed = &StepError{Step: s.Name, Log: p.log(s), Err: err}
			failed.First, failed.Tail = excerpt(log.file)
			failed.Known = known(log.file, p.failures)
			break
		}
	}
	if failed == nil && count.done > 0 {
		m.result.Counts[count.said.Step] = count.done
	}
	if s.Name == "configure" {
		if err := p.keepConfigLog(); err != nil {
			if failed == nil {
				return nil, err
			}
			return nil, errors.Join(failed, err)
		}
	}
	return p.judge(s, failed)
}

// keepConfigLog copies what configure tried, and why it did not work, out of a tree that will be removed.
func (p *Plan) keepConfigLog() (err error) {
	err = p.readSource("config.log", func(from io.Reader) (err error) {
		to, err := os.OpenFile(p.configLog(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, to.Close()) }()
		_, err = io.Copy(to, from)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // configure did not come that far
		return fmt.Errorf("keeping configure's log: %w", err)
	}
	return nil
}

// readSource opens a file of the source tree for f. What the build has made of the tree is not trusted: a link that leads out of
// it is an error, and so is what is not a file.
func (p *Plan) readSource(name string, f func(io.Reader) error) (err error) {
	tree, err := os.OpenRoot(p.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	file, err := tree.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for ever
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, &fs.PathError{Op: "read", Path: name, Err: fs.ErrInvalid})
	}
	return f(file)
}

// tailLines is how much of a log's end is shown, besides its first error.
const tailLines = 12

// A line that reports an error, in the words of gcc, clang, ld, configure, make, Python, the shell or the kernel. Lines that only
// carry the word, like -Werror=format-security in a command, do not count.
var errorLine = regexp.MustCompile(`\b(fatal |compiler )?error: |: undefined (reference|symbol)|cannot find -l|\binternal compiler error\b|^LLVM ERROR: ` +
	`|: No space left on device|: Permission denied$|: Exec format error|error while loading shared libraries: ` +
	`|^Killed|: Killed|^[A-Za-z_.]+Error: |\*\*\* .* (Error|Killed|Stop)`)

// excerpt finds the first real error and the last lines of a log. make's own "***" counts only when nothing better comes first.
func excerpt(log io.ReadSeeker) (first string, tail []string) {
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return "", nil
	}
	made := ""
	// A log that cannot be read to its end is shown as far as it goes: why the step failed matters more.
	_ = eachLogLine(log, func(line string) {
		line = strings.TrimRight(line, " \r")
		if tail = append(tail, line); len(tail) > tailLines {
			tail = tail[1:]
		}
		switch {
		case first != "" || !errorLine.MatchString(line):
		case strings.Contains(line, "*** "):
			if made == "" {
				made = line
			}
		default:
			first = line
		}
	})
	if first == "" {
		first = made
	}
	return first, tail
}

// knownBytes is how much of a log's end is searched for known failures. make stops soon after what it fails for, and expressions
// by the dozen take a second for this much.
const knownBytes = 1 << 20

// known returns the first of the failures that any line of the end of a log shows, nil when there is none.
func known(log io.ReadSeeker, failures []*recipes.Failure) (found *recipes.Failure) {
	size, err := log.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = log.Seek(max(0, size-knownBytes), io.SeekStart)
	}
	if err != nil {
		return nil
	}
	_ = eachLogLine(log, func(line string) {
		if i := slices.IndexFunc(failures, func(f *recipes.Failure) bool { return f.Match(line) }); i >= 0 {
			found, failures = failures[i], failures[:i] // only what is more telling can still take its place
		}
	})
	return found
}

// maxLine is how many bytes of a line are looked at. What is longer is a list of files, and no message.
const maxLine = 16 << 10

// eachLine calls f with every line of r, without its end.
func eachLine(r io.Reader, f func(line string)) error {
	lines := bufio.NewReaderSize(r, maxLine)
	for rest := false; ; {
		line, more, err := lines.ReadLine()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !rest {
			f(string(line))
		}
		rest = more
	}
}
