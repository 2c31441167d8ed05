// Package run runs one command: an argument vector with a whole environment, in a process group of its own, with its output in
// a log. It promises that nothing which the command started outlives the call, whether the command ended, failed or was
// cancelled. It is the only package that imports os/exec, and it must not know what the commands are for.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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
}

// Error says how a command failed.
type Error struct {
	Argv []string
	// Status is the exit status, -1 when the command did not start or was ended by a signal.
	Status int
	// Err is the reason as the operating system gave it.
	Err error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", Quote(e.Argv), e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Run runs the command to its end. When ctx is cancelled, the command's process group gets SIGTERM and, after its Grace, SIGKILL;
// the error is then the context's cause. Any other failure is an *Error.
func Run(ctx context.Context, c Command) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	path, err := LookPath(c.Argv[0], c.Env)
	if err != nil {
		return &Error{Argv: c.Argv, Status: -1, Err: err}
	}
	cmd, err := start(ctx, path, c)
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
	// Wait says only "signal: terminated" after a cancel: the context knows why.
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return &Error{Argv: c.Argv, Status: cmd.ProcessState.ExitCode(), Err: err}
	}
	return nil
}

// busyTries is how often a program is tried that the kernel says is being written.
const busyTries = 6

// start starts the command. A program that this process has just written and closed can be busy for a moment, because another
// goroutine was forking a child at that time, which held the file open until it ran something else (golang.org/issue/22315).
func start(ctx context.Context, path string, c Command) (cmd *exec.Cmd, err error) {
	for try := range busyTries {
		cmd = command(ctx, path, c)
		if err = cmd.Start(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(time.Millisecond << try)
	}
	return cmd, err
}

func command(ctx context.Context, path string, c Command) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, c.Argv[1:]...)
	cmd.Args[0] = c.Argv[0]
	cmd.Dir = c.Dir
	cmd.Env = append([]string{}, c.Env...) // never nil: nil would inherit
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	cmd.WaitDelay = cmp.Or(c.Grace, DefaultGrace)
	if c.Terminal {
		cmd.Stdin = os.Stdin
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	} else {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return endGroup(cmd.Process.Pid) }
	}
	return cmd
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
	return "", fmt.Errorf("%w in PATH", exec.ErrNotFound)
}

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

func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=:,+@%", r))
}
