package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pybuild/build/run"
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
	// Err is how the command ended.
	Err error
}

func (e *StepError) Error() string { return fmt.Sprintf("%s failed: %v", e.Step, e.Err) }
func (e *StepError) Unwrap() error { return e.Err }

// Make runs the plan and returns the directory that now mirrors the prefix. step is told when a step starts, and gets back what
// is to be called when it has ended. A failing command is a *StepError; a cancelled ctx is its cause.
func Make(ctx context.Context, p *Plan, step func(name string) (done func(error))) (stage string, err error) {
	if err := p.prepare(); err != nil {
		return "", fmt.Errorf("preparing the build: %w", err)
	}
	for _, s := range p.Steps {
		done := step(s.Name)
		err := p.run(ctx, s)
		done(err)
		if err != nil {
			return "", err
		}
	}
	return p.Stage, nil
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

func (p *Plan) run(ctx context.Context, s Step) (err error) {
	path := filepath.Join(p.Logs, s.Name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("keeping a log of %s: %w", s.Name, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for _, dir := range s.Remove {
		if err := os.RemoveAll(filepath.Join(p.Dir, dir)); err != nil {
			return fmt.Errorf("leaving out %s: %w", dir, err)
		}
	}
	for _, argv := range s.Commands {
		if _, err := fmt.Fprintf(log, "$ %s\n", run.Quote(argv)); err != nil {
			return fmt.Errorf("keeping a log of %s: %w", s.Name, err)
		}
		if err := run.Run(ctx, run.Command{Argv: argv, Dir: p.Dir, Env: slices.Concat(p.Env, s.Env), Log: log}); err != nil {
			if ctx.Err() != nil {
				return err
			}
			failed := &StepError{Step: s.Name, Log: path, Err: err}
			failed.First, failed.Tail = excerpt(log)
			return failed
		}
	}
	return nil
}

// tailLines is how much of a log's end is shown, besides its first error.
const tailLines = 12

// A line that reports an error, in the words of gcc, clang, ld, configure, make, Python or the kernel. Lines that only carry the
// word, like -Werror=format-security in a command, do not count.
var errorLine = regexp.MustCompile(`\b(fatal )?error: |: undefined reference to |cannot find -l|: No space left on device|^Killed|: Killed|^[A-Za-z_.]+Error: |\*\*\* .* (Error|Killed|Stop)`)

// excerpt finds the first real error and the last lines of a log. make's own "***" counts only when nothing better comes first.
func excerpt(log io.ReadSeeker) (first string, tail []string) {
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return "", nil
	}
	made := ""
	lines := bufio.NewScanner(log)
	lines.Buffer(make([]byte, 64<<10), 16<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), " \r")
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
	}
	if first == "" {
		first = made
	}
	return first, tail
}
