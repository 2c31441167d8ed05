package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pybuild/build/run"
)

// measureName is the first argument of the program when it measures one command for itself.
const measureName = "measure"

// measureRequest is its second argument, as JSON.
type measureRequest struct {
	// Report is the file that receives the Usage.
	Report string
	// Own looks at the command's own processes, too. Pin leaves it one processor.
	Own, Pin bool
}

// Usage is what a command took, with everything that it started.
type Usage struct {
	// Wall is how many seconds it took until the command itself had ended; CPU how many of all processors.
	Wall float64 `json:"wall"`
	CPU  float64 `json:"cpu"`
	// Memory is how many bytes its largest process held at most.
	Memory int64 `json:"memory"`
	// OwnCPU and OwnMemory are the same of the processes of the program itself, where that was asked for.
	OwnCPU    float64 `json:"own_cpu,omitempty"`
	OwnMemory int64   `json:"own_memory,omitempty"`
}

// add joins what two commands took, one after the other.
func (u Usage) add(v Usage) Usage {
	return Usage{
		Wall: u.Wall + v.Wall, CPU: u.CPU + v.CPU, Memory: max(u.Memory, v.Memory),
		OwnCPU: u.OwnCPU + v.OwnCPU, OwnMemory: max(u.OwnMemory, v.OwnMemory),
	}
}

// grace is how long an interrupted command may take to end: pybuild ends its own first, and cleans up.
const grace = 30 * time.Second

// measure runs a command to its end and returns what it took. Its output is appended to the file log, or stdout to the writer of the
// command. Failures are *RunError, of what; a cancelled ctx is its cause.
func (b *bench) measure(ctx context.Context, what string, c run.Command, log string, r measureRequest) (u Usage, err error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.WriteString("$ " + run.Quote(c.Argv) + "\n"); err != nil {
		return u, err
	}
	program, err := run.LookPath(c.Argv[0], c.Env)
	if err != nil {
		return u, &RunError{What: what, Err: err}
	}
	r.Report = filepath.Join(b.private, "usage.json")
	request, err := json.Marshal(r)
	if err != nil {
		return u, err
	}
	c.Argv = append([]string{b.self, measureName, string(request), program}, c.Argv[1:]...)
	c.Log, c.Grace = file, grace
	if err := run.Run(ctx, c); err != nil {
		if ctx.Err() != nil {
			return u, context.Cause(ctx)
		}
		failed := &RunError{What: what, Tail: tail(log), Err: err}
		if command, ok := errors.AsType[*run.Error](err); ok {
			command.Argv = append([]string{program}, c.Argv[4:]...) // not the measuring
		}
		if b.output != "" {
			failed.Log = log
		}
		return u, failed
	}
	text, err := os.ReadFile(r.Report)
	if err != nil {
		return u, err
	}
	return u, errors.Join(json.Unmarshal(text, &u), os.Remove(r.Report))
}

// tail returns the last lines of a log, nothing when it cannot be read.
func tail(log string) []string {
	const lines = 15
	text, _ := os.ReadFile(log)
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return all[max(0, len(all)-lines):]
}
