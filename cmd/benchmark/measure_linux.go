package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// sampling is how often a program's own processes are looked at: not so often that looking takes time of its own.
	sampling = 500 * time.Millisecond
	// lingering is how long what a command leaves behind may take to end.
	lingering = 10 * time.Second
)

// measureCommand is the other program in this one: "measure REQUEST COMMAND...". It runs the command and writes its Usage to a file. It
// is a process of its own because it becomes the parent of every descendant that its own parent leaves behind, as the workers of
// CPython's compileall are: plain accounting loses them. ok says that the arguments are for it; the status is then the command's, or
// 125 when it could not be measured.
func measureCommand(args []string) (status int, ok bool) {
	if len(args) < 3 || args[0] != measureName {
		return 0, false
	}
	var r measureRequest
	if err := json.Unmarshal([]byte(args[1]), &r); err != nil {
		return 0, false
	}
	// Affinity belongs to the thread, and what it starts inherits it.
	runtime.LockOSThread()
	usage, status, err := r.run(args[2:])
	if err == nil {
		var text []byte
		if text, err = json.Marshal(usage); err == nil {
			err = os.WriteFile(r.Report, text, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark: measuring:", err)
		return 125, true
	}
	return status, true
}

func (r measureRequest) run(argv []string) (u Usage, status int, err error) {
	// It ends when the command has, which gets the same signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGINT)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return u, 0, fmt.Errorf("becoming the parent of orphans: %w", err)
	}
	if r.Pin {
		if err := pin(); err != nil {
			return u, 0, fmt.Errorf("choosing one processor: %w", err)
		}
	}
	start := time.Now()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return u, 0, err
	}
	watch := &watcher{pid: p.Pid, seen: map[string]own{}}
	if r.Own {
		watch.program = filepath.Base(argv[0])
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go watch.until(stop, stopped)
	err = awaitExit(p.Pid)
	u.Wall = time.Since(start).Seconds()
	close(stop)
	<-stopped
	if err != nil {
		return u, 0, err
	}
	if r.Own {
		u.OwnCPU, u.OwnMemory = watch.total()
	}
	if status, err = reap(p.Pid); err != nil {
		return u, 0, err
	}
	var all unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &all); err != nil {
		return u, 0, err
	}
	u.CPU = seconds(all.Utime) + seconds(all.Stime)
	u.Memory = all.Maxrss << 10
	return u, status, nil
}

func seconds(t unix.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

// pin leaves this thread one of its processors: the last, because the first has most of the interrupts.
func pin() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	last := -1
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			last = cpu
		}
	}
	set.Zero()
	set.Set(last)
	return unix.SchedSetaffinity(0, &set)
}

// awaitExit waits until a child has ended, and leaves it to be reaped.
func awaitExit(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reap waits for all children, those that became ours included, and returns the status of the first one. Only then is their time
// counted as ours.
func reap(pid int) (status int, err error) {
	for late := time.Now().Add(lingering); ; {
		var ended unix.WaitStatus
		switch found, err := unix.Wait4(-1, &ended, unix.WNOHANG, nil); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.ECHILD):
			return status, nil
		case err != nil:
			return 0, err
		case found == 0 && time.Now().After(late):
			return 0, fmt.Errorf("processes go on %v after the command has ended", lingering)
		case found == 0:
			time.Sleep(5 * time.Millisecond)
		case found == pid && ended.Signaled():
			status = 128 + int(ended.Signal())
		case found == pid:
			status = ended.ExitStatus()
		}
	}
}

// own is what one process took.
type own struct {
	cpu    float64 // seconds
	memory int64   // bytes, at its peak
}

// A watcher looks at the processes of one program: the command itself, and those that it starts of itself, as pybuild does to unpack
// as another user. What else they start is not theirs.
type watcher struct {
	pid     int
	program string // base name; empty looks at nothing
	seen    map[string]own
}

func (w *watcher) until(stop <-chan struct{}, stopped chan<- struct{}) {
	defer close(stopped)
	if w.program == "" {
		return
	}
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		w.look(w.pid, children())
		select {
		case <-stop:
			w.look(w.pid, nil) // it still says how long it took, exactly
			return
		case <-tick.C:
		}
	}
}

// children are all processes by their parents. Not every kernel has /proc/PID/task/TID/children.
func children() map[int][]int {
	found := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, _ := os.ReadFile(name)
		fields := afterName(string(stat))
		if len(fields) < 2 {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		parent, _ := strconv.Atoi(fields[1])
		found[parent] = append(found[parent], pid)
	}
	return found
}

// look notes what a process and its descendants of the same program have taken by now. Whatever cannot be read has ended.
func (w *watcher) look(pid int, children map[int][]int) {
	dir := "/proc/" + strconv.Itoa(pid)
	if exe, err := os.Readlink(dir + "/exe"); pid != w.pid && (err != nil || filepath.Base(exe) != w.program) {
		return
	}
	if stat, err := os.ReadFile(dir + "/stat"); err == nil {
		if key, cpu, ok := parseStat(string(stat)); ok {
			key = strconv.Itoa(pid) + " " + key
			memory := w.seen[key].memory
			if status, err := os.ReadFile(dir + "/status"); err == nil {
				memory = max(memory, peak(string(status)))
			}
			w.seen[key] = own{cpu, memory}
		}
	}
	for _, child := range children[pid] {
		w.look(child, children)
	}
}

// total is the time of all, and the memory of the largest.
func (w *watcher) total() (cpu float64, memory int64) {
	for _, o := range w.seen {
		cpu, memory = cpu+o.cpu, max(memory, o.memory)
	}
	return cpu, memory
}

// afterName are the fields of /proc/PID/stat after the second, the name, which may hold anything.
func afterName(stat string) []string { return strings.Fields(stat[strings.LastIndex(stat, ")")+1:]) }

// parseStat reads when a process started and the CPU seconds that it took, without those of its children, from /proc/PID/stat.
func parseStat(stat string) (started string, cpu float64, ok bool) {
	fields := afterName(stat)
	if len(fields) < 20 {
		return "", 0, false
	}
	const ticks = 100 // a second, on every Linux
	for _, field := range fields[11:13] {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return "", 0, false
		}
		cpu += n / ticks
	}
	return fields[19], cpu, true
}

// peak reads how many bytes a process held at most from /proc/PID/status, 0 when it has ended.
func peak(status string) int64 {
	_, rest, _ := strings.Cut(status, "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}
