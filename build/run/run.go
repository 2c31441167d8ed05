// Package run runs one command: an argument vector with a whole environment, in a process group of its own, with its output in
// a log. It promises that nothing which the command started outlives the call, whether the command ended, failed, took too long or
// was cancelled. It is the only package that imports os/exec, and it must not know what the commands are for.
//
// Root can have a command confined: it then runs as somebody else, in namespaces of its own, without a network, without any way
// to more rights, and with a file system of which it may write only what [Confinement] names. What is promised of an unconfined
// command holds for a confined one too, and more: daemons that it starts end with it, and so does everything when the calling
// process itself is killed. The kernel enforces all of it, and nothing here promises to withstand a flaw of the kernel. Files that
// the user may read stay readable. A program that runs confined commands must call [Init] before anything else.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// DefaultGrace is how long a cancelled command may take to end after SIGTERM before its whole group is killed.
const DefaultGrace = 5 * time.Second

// Command is one command to be run.
type Command struct {
	// Argv is the program and its arguments. A program without a slash is looked up in PATH of Env.
	Argv []string
	// Dir is the working directory; empty means the caller's.
	Dir string
	// Env is the whole environment, "NAME=value" each. Nothing is inherited.
	Env []string
	// Log receives standard error, and standard output unless Stdout is set. nil discards. An *os.File is handed to the
	// command as it is, without a copy in between.
	Log io.Writer
	// Stdout receives standard output instead of Log.
	Stdout io.Writer
	// Terminal leaves the command in the caller's process group and gives it the caller's standard input, so that it can
	// ask for a password. Otherwise standard input is empty.
	Terminal bool
	// Grace takes the place of DefaultGrace; 0 means that one.
	Grace time.Duration
	// Timeout is how long the command may take until it is ended as if it were cancelled; 0 means as long as it likes.
	Timeout time.Duration
	// Confine takes rights away from the command; nil leaves it the caller's. A Terminal command cannot be confined.
	Confine *Confinement
	// Jobserver is told to the command, a make, which then runs as many processes as it gets tokens for, besides the one that was
	// acquired for it; nil is none. Env must not hold MAKEFLAGS.
	Jobserver *Jobserver

	inherited []*os.File // what the command has open from descriptor 3 on
}

// Error says how a command failed.
type Error struct {
	Argv []string
	// Status is the exit status, -1 when the command did not start or was ended by a signal.
	Status int
	// Signal is what ended the command, 0 when it did not start or ended by itself.
	Signal syscall.Signal
	// OutOfMemory is set when the kernel killed a process for want of memory while the command ran: one of the command's own
	// control group, or any of the machine's where groups are not counted.
	OutOfMemory bool
	// Err is the reason as the operating system gave it.
	Err error
}

func (e *Error) Error() string {
	if e.OutOfMemory {
		return fmt.Sprintf("%s: %v, and memory ran out", brief(e.Argv), e.Err)
	}
	return fmt.Sprintf("%s: %v", brief(e.Argv), e.Err)
}
func (e *Error) Unwrap() error { return e.Err }

// TimeoutError says that a command was ended because it took too long.
type TimeoutError struct {
	Argv  []string
	After time.Duration
	// Child is the youngest process at the end of the command's line of descendants, which is most likely what hung; nil when
	// the command had no child, or none that could be looked at.
	Child []string
}

func (e *TimeoutError) Error() string {
	if e.Child != nil {
		return fmt.Sprintf("%s: not done after %v, in %s", brief(e.Argv), e.After, Quote(e.Child))
	}
	return fmt.Sprintf("%s: not done after %v", brief(e.Argv), e.After)
}

// Run runs the command to its end. When ctx is cancelled, the command's process group gets SIGTERM and, after its Grace, SIGKILL;
// the error is then the context's cause. Past its Timeout the same happens, and the error is a *TimeoutError. A confinement that
// cannot be had is a *ConfineError, and the command was not started. Any other failure is an *Error.
func Run(ctx context.Context, c Command) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if len(c.Argv) == 0 {
		return &Error{Status: -1, Err: errors.New("no program named")}
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, c.Timeout, &TimeoutError{Argv: c.Argv, After: c.Timeout})
		defer cancel()
	}
	if c.Jobserver != nil {
		ends, err := c.Jobserver.ends()
		if err != nil {
			return &Error{Argv: c.Argv, Status: -1, Err: fmt.Errorf("jobserver: %w", err)}
		}
		defer closeAll(ends)
		c.inherited, c.Env = ends, append(slices.Clone(c.Env), jobserverFlags)
	}
	machine := os.DirFS("/")
	before := memoryKills(machine)
	var err error
	if c.Confine != nil {
		err = confined(ctx, c)
	} else {
		err = unconfined(ctx, c)
	}
	// Wait says only "signal: terminated" after a cancel: the context knows why.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if failed, ok := errors.AsType[*Error](err); ok {
		failed.OutOfMemory = memoryKills(machine) > before
	}
	return err
}

func unconfined(ctx context.Context, c Command) error {
	path, err := LookPath(c.Argv[0], c.Env)
	if err != nil {
		return &Error{Argv: c.Argv, Status: -1, Err: err}
	}
	var cmd *exec.Cmd
	err = untilFree(func() error {
		cmd = command(ctx, path, c)
		return cmd.Start()
	})
	if err != nil {
		return &Error{Argv: c.Argv, Status: -1, Err: err}
	}
	err = cmd.Wait()
	if !c.Terminal {
		// What is left of the group would go on writing into a directory that is about to be removed.
		if kill := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) && !errors.Is(kill, syscall.EPERM) {
			err = errors.Join(err, fmt.Errorf("ending what %s left behind: %w", c.Argv[0], kill))
		}
	}
	if err != nil {
		return &Error{Argv: c.Argv, Status: cmd.ProcessState.ExitCode(), Signal: signalOf(cmd.ProcessState), Err: err}
	}
	return nil
}

// signalOf is the signal that ended a process, 0 when none did.
func signalOf(p *os.ProcessState) syscall.Signal {
	if p == nil {
		return 0 // it could not be waited for
	}
	if status, ok := p.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return status.Signal()
	}
	return 0
}

// busyTries is how often a program is tried that the kernel says is being written.
const busyTries = 6

// untilFree starts a program, again while the kernel says that it is being written. One that this process has just written and
// closed can be busy for a moment, because another goroutine was forking a child at that time, which held the file open until it
// ran something else (golang.org/issue/22315).
func untilFree(start func() error) (err error) {
	for try := range busyTries {
		if err = start(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(time.Millisecond << try)
	}
	return err
}

func command(ctx context.Context, path string, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, c.Argv[1:]...)
	cmd.Args[0] = c.Argv[0]
	cmd.Dir = c.Dir
	cmd.Env = append([]string{}, c.Env...) // never nil: nil would inherit
	cmd.ExtraFiles = c.inherited
	output(cmd, c)
	end := func() error { return endGroup(cmd.Process.Pid) }
	if c.Terminal {
		cmd.Stdin = os.Stdin
		end = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	cmd.Cancel = func() error {
		nameChild(ctx, cmd.Process.Pid, 0)
		return end()
	}
	return cmd
}

// output sets what a command has of c whether it is confined or not.
func output(cmd *exec.Cmd, c Command) {
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.WaitDelay = cmp.Or(c.Grace, DefaultGrace)
}

// nameChild completes the *TimeoutError that ctx ended with, if it did, while there still is something to be seen of the command,
// which is own generations below the process pid. Run reads it only after the process was waited for.
func nameChild(ctx context.Context, pid, own int) {
	if late, ok := errors.AsType[*TimeoutError](context.Cause(ctx)); ok {
		late.Child = youngest(os.DirFS("/"), pid, own)
	}
}

// endGroup asks every process of the group to end; one that is gone already is no error.
func endGroup(pgid int) error {
	if err := syscall.Kill(-pgid, syscall.SIGTERM); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	return nil
}

// LookPath finds a program in the PATH that the command itself will see, not in ours.
func LookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, v := range env {
		list, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range strings.Split(list, ":") {
			path := dir + "/" + name
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", errNotInPath
}

var errNotInPath = fmt.Errorf("%w in PATH", exec.ErrNotFound)

// Quote renders an argument vector so that a person can read it, and paste it into a shell.
func Quote(argv []string) string {
	quoted := make([]string, len(argv))
	for i, arg := range argv {
		quoted[i] = arg
		if arg == "" || strings.ContainsFunc(arg, special) {
			quoted[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// briefArg is how many bytes of an argument an error shows.
const briefArg = 120

// brief is Quote for errors: an argument that is a whole program, as after python -c, is shown by its beginning.
func brief(argv []string) string {
	short := slices.Clone(argv)
	for i, arg := range short {
		line, _, more := strings.Cut(arg, "\n")
		if more || len(line) > briefArg {
			short[i] = strings.ToValidUTF8(line[:min(len(line), briefArg)], "") + "…"
		}
	}
	return Quote(short)
}

func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r))
}
