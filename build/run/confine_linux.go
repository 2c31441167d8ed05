package run

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is the whole argument vector of the process that confines. Nobody calls a program so by accident, and it is not
// enough: see Init.
const initName = "pybuild: init of a confined command"

// The descriptors of the process that confines, besides the standard three: on one it reads its request, then perhaps that it
// should end the command, and at its end that its caller has died; on the other it reports.
const (
	requestFD = 3
	reportFD  = 4
)

// What the bytes mean that are written to requestFD. A cancel may come at any time, even before the request.
const (
	requestByte = 'R' // a request follows
	endByte     = 'T' // the command should get SIGTERM
)

// request is what the process that confines is asked to do. It travels as gob, which unlike JSON leaves bytes as they are.
type request struct {
	Argv    []string // none: only try
	Dir     string
	Env     []string
	Files   int // how many the command has open besides the standard three; here they are those behind reportFD
	Confine Confinement
}

// report is what it has to say in the end.
type report struct {
	What     string // of the set-up that failed; empty when it did not
	NotFound bool   // the program is not in PATH
	Path     string // of the program that could not be started
	Errno    syscall.Errno
	Status   syscall.WaitStatus // when Errno is 0
}

// namespaces are those that a confined command has of its own.
var namespaces = []struct {
	what string
	flag uintptr
}{
	{"mount namespace", unix.CLONE_NEWNS},
	{"process namespace", unix.CLONE_NEWPID},
	{"network namespace", unix.CLONE_NEWNET},
	{"IPC namespace", unix.CLONE_NEWIPC},
	{"host name namespace", unix.CLONE_NEWUTS},
}

// CanConfine tries whether commands can be confined here. It returns nil or a *ConfineError that says what the user, the kernel
// or a container around us forbids; or the cause of ctx.
func CanConfine(ctx context.Context) error {
	err := confined(ctx, Command{Confine: &Confinement{UID: nobody, GID: nobody}})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// confined runs the command as the grandchild of this process: in between is this same program as process 1 of the namespaces,
// with which the kernel ends everything that is in them.
func confined(ctx context.Context, c Command) (err error) {
	switch {
	case c.Terminal:
		return &ConfineError{What: "terminal", Err: errors.ErrUnsupported}
	case c.Confine.UID == 0 || c.Confine.GID == 0:
		return &ConfineError{What: "confining root", Err: errors.ErrUnsupported}
	case os.Geteuid() != 0:
		return &ConfineError{What: "not root", Err: syscall.EPERM}
	case os.Args[0] == initName:
		// Without this, a program that does not call Init would start itself for ever.
		return &ConfineError{What: "starting itself again", Err: errors.New("the program does not call run.Init")}
	}
	if c.Dir != "" {
		if c.Dir, err = filepath.Abs(c.Dir); err != nil {
			return &ConfineError{What: "working directory", Err: err}
		}
	}
	requests, request, err := os.Pipe()
	if err != nil {
		return &ConfineError{What: "pipe", Err: err}
	}
	defer request.Close() // no earlier: it says that we live
	reports, report, err := os.Pipe()
	if err != nil {
		return &ConfineError{What: "pipe", Err: errors.Join(err, requests.Close())}
	}
	defer reports.Close()

	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{initName}
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.ExtraFiles = append([]*os.File{requests, report}, c.inherited...)
	output(cmd, c)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal that input could be pushed into
	for _, ns := range namespaces {
		cmd.SysProcAttr.Cloneflags |= ns.flag
	}
	cmd.Cancel = func() error {
		nameChild(ctx, cmd.Process.Pid, 1)
		// Not a signal: process 1 loses those that come before it waits for them.
		if _, err := request.Write([]byte{endByte}); err != nil {
			return os.ErrProcessDone
		}
		return nil
	}
	err = cmd.Start()
	_, _ = requests.Close(), report.Close() // the child's; closing a pipe does not fail
	if err != nil {
		return forbidden(err)
	}
	return c.judge(cmd, request, reports)
}

// judge waits for the process that confines, and says what became of the command.
func (c Command) judge(cmd *exec.Cmd, to, from *os.File) error {
	text := bytes.NewBuffer([]byte{requestByte})
	asked := gob.NewEncoder(text).Encode(request{Argv: c.Argv, Dir: c.Dir, Env: c.Env, Files: len(c.inherited), Confine: *c.Confine})
	if asked == nil {
		_, asked = to.Write(text.Bytes()) // at once, so that a cancel cannot come in between
	}
	waited := cmd.Wait()
	var said report
	answered := gob.NewDecoder(from).Decode(&said)
	failed := &Error{Argv: c.Argv, Status: -1, Err: waited}
	switch {
	case answered != nil && waited != nil && signalOf(cmd.ProcessState) != 0:
		failed.Signal = signalOf(cmd.ProcessState) // somebody killed it, and the command with it
	case answered != nil:
		return &ConfineError{What: "process 1", Err: errors.Join(fmt.Errorf("no report: %v", cmd.ProcessState), asked)}
	case said.What != "":
		return &ConfineError{What: said.What, Err: said.Errno}
	case said.NotFound:
		failed.Err = errNotInPath
	case said.Errno != 0:
		failed.Err = &fs.PathError{Op: "fork/exec", Path: said.Path, Err: said.Errno}
	case said.Status != 0:
		failed.Err = errors.Join(statusError(said.Status), waited)
		if said.Status.Signaled() {
			failed.Signal = said.Status.Signal()
		} else {
			failed.Status = said.Status.ExitStatus()
		}
	case waited != nil: // its output could not be kept
		failed.Status = 0
	default:
		return nil
	}
	return failed
}

// statusError is how a process ended that was not our child, in os/exec's words.
type statusError syscall.WaitStatus

func (s statusError) Error() string {
	if status := syscall.WaitStatus(s); !status.Signaled() {
		return fmt.Sprintf("exit status %d", status.ExitStatus())
	} else if status.CoreDump() {
		return "signal: " + status.Signal().String() + " (core dumped)"
	} else {
		return "signal: " + status.Signal().String()
	}
}

// forbidden finds out which of the namespaces it was that could not be had, by asking for each alone, for a program that is not
// there: the kernel makes the namespace first, and says so.
func forbidden(err error) error {
	for _, ns := range namespaces {
		_, alone := syscall.ForkExec("", nil, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: ns.flag}})
		if alone != nil && alone != syscall.ENOENT {
			return &ConfineError{What: ns.what, Err: alone}
		}
	}
	if path, ok := errors.AsType[*fs.PathError](err); ok && path.Op == "fork/exec" {
		err = path.Err // the path is how we name ourselves
	}
	return &ConfineError{What: "starting itself again", Err: err}
}
