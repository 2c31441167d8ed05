package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// memoryPerJob is what one compiler may need while it works on CPython's largest files, in bytes.
const memoryPerJob = 400 << 20

// Jobs is how many compilers this process may run at once: as many as it has CPUs, fewer when little memory is available, and
// always one. root is the machine's file system.
func Jobs(root fs.FS) int {
	jobs := runtime.GOMAXPROCS(0) // knows the affinity mask and the CPU quota of the control group
	if available, _ := Memory(root); available > 0 {
		jobs = min(jobs, int(available/memoryPerJob))
	}
	return max(jobs, 1)
}

// Enough returns a *MemoryError when the machine cannot run even one process that takes need bytes. Free swap counts: such a
// build is slow, but it ends. A machine that does not say how much it has is taken to have enough.
func Enough(root fs.FS, need int64) error {
	available, _ := Memory(root)
	if available == 0 {
		return nil
	}
	if available += meminfo(root)["SwapFree"]; available < need {
		return &MemoryError{Available: available, Need: need}
	}
	return nil
}

// MemoryError says that there is too little memory, in bytes, to run a single process of a build.
type MemoryError struct {
	Available, Need int64
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("too little memory: %s available, %s needed", mib(e.Available), mib(e.Need))
}

// Memory is what this process may use without swapping, now and at most, in bytes: the machine's, or what its control groups
// leave of that. Each is 0 when it cannot be known, and never when it can. root is the machine's file system.
func Memory(root fs.FS) (available, total int64) {
	info := meminfo(root)
	available, total = info["MemAvailable"], info["MemTotal"]
	least := func(a, b int64) int64 {
		if a == 0 {
			return b
		}
		return min(a, b)
	}
	for _, g := range controlGroups(root) {
		limit, used := number(root, g.dir, g.limit), number(root, g.dir, g.usage)
		if limit == 0 || limit >= unlimited {
			continue
		}
		// What was read from files and not lately used makes room when something asks for it.
		used -= keyed(root, path.Join(g.dir, "memory.stat"), " ", 1)[g.cache]
		total, available = least(total, limit), least(available, max(limit-max(used, 0), 1))
	}
	return available, total
}

// unlimited and above it is how the first version of control groups writes that there is no limit; the very number depends on
// the size of a page.
const unlimited = 1 << 60

// controlGroup is a directory with the accounts of one group, and what the files and the key are called there.
type controlGroup struct{ dir, limit, usage, cache string }

// controlGroups lists the group of this process and those around it: the limit of each counts. A container may see its own
// group as the root of the tree although it is told the path from outside; the walk to the root comes by it all the same.
func controlGroups(root fs.FS) (groups []controlGroup) {
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path
		if len(fields) != 3 {
			continue
		}
		var base string
		var g controlGroup
		switch {
		case fields[0] == "0" && fields[1] == "":
			base, g = "sys/fs/cgroup", controlGroup{limit: "memory.max", usage: "memory.current", cache: "inactive_file"}
		case slices.Contains(strings.Split(fields[1], ","), "memory"):
			base, g = "sys/fs/cgroup/memory", controlGroup{limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", cache: "total_inactive_file"}
		default:
			continue
		}
		for below := path.Join("/", fields[2]); ; below = path.Dir(below) {
			g.dir = path.Join(base, below)
			groups = append(groups, g)
			if below == "/" {
				break
			}
		}
	}
	return groups
}

// number reads a file that holds one, 0 when it does not: "max" is one that has no limit.
func number(root fs.FS, dir, name string) int64 {
	text, err := fs.ReadFile(root, path.Join(dir, name))
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// meminfo is the kernel's account of the machine's memory, in bytes by name; empty when it cannot be had.
func meminfo(root fs.FS) map[string]int64 { return keyed(root, "proc/meminfo", ":", 1<<10) }

// keyed reads lines of a name and a number, which may have a unit behind it: "MemFree:  12 kB".
func keyed(root fs.FS, name, separator string, unit int64) map[string]int64 {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil
	}
	values := map[string]int64{}
	for line := range strings.Lines(string(text)) {
		key, rest, _ := strings.Cut(line, separator)
		if fields := strings.Fields(rest); len(fields) > 0 {
			if n, err := strconv.ParseInt(fields[0], 10, 64); err == nil && n >= 0 && n < unlimited/unit {
				values[key] = n * unit
			}
		}
	}
	return values
}

// Clock returns a *ClockError when the clock is before notBefore, a time that is known to have passed, as the release of what is
// to be built. With such a clock make takes new files for old ones, and no certificate is valid yet.
func Clock(now, notBefore time.Time) error {
	if now.Before(notBefore) {
		return &ClockError{Now: now, NotBefore: notBefore}
	}
	return nil
}

// ClockError says that the machine's clock is wrong.
type ClockError struct {
	Now, NotBefore time.Time
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("the clock is wrong: it says %s, which was before %s", e.Now.UTC().Format("2006-01-02 15:04"), e.NotBefore.UTC().Format(time.DateOnly))
}

// BuildDir returns the first candidate in which a build can happen that takes need bytes: it is there or can be made, can be
// written, lets programs run, and its file system has that much room for this user. passed says what is wrong with those before
// it. The error is a *NoBuildDirError when none will do.
//
// Looking leaves nothing behind: a directory that was not there before, dir included, is not there afterwards.
func BuildDir(candidates []string, need int64) (dir string, passed []*UnfitError, err error) {
	return buildDir(candidates, need, statFileSystem)
}

// fileSystem is what is known about the file system of a directory.
type fileSystem struct {
	noexec bool
	free   int64 // bytes for this user; negative: unknown
}

func buildDir(candidates []string, need int64, stat func(dir string) (fileSystem, error)) (string, []*UnfitError, error) {
	var passed []*UnfitError
	for _, dir := range candidates {
		unfit := look(dir, need, stat)
		if unfit == nil {
			return dir, passed, nil
		}
		passed = append(passed, unfit)
	}
	return "", passed, &NoBuildDirError{Unfit: passed}
}

// look says what is wrong with a directory, nil when nothing is.
func look(dir string, need int64, stat func(dir string) (fileSystem, error)) (unfit *UnfitError) {
	var made []string // deepest first
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	defer func() {
		for _, d := range made {
			err := os.Remove(d)
			// Another process may have put something there meanwhile, or have removed it; then the rest is not ours either.
			if errors.Is(err, fs.ErrExist) { // not empty
				return
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) && unfit == nil {
				unfit = &UnfitError{Dir: dir, Reason: UnfitWrite, Need: need, Err: err}
			}
		}
	}()
	if err := write(dir); err != nil {
		return &UnfitError{Dir: dir, Reason: UnfitWrite, Need: need, Err: err}
	}
	system, err := stat(dir)
	switch {
	case err != nil:
		return &UnfitError{Dir: dir, Reason: UnfitUnknown, Need: need, Err: err}
	case system.noexec:
		return &UnfitError{Dir: dir, Reason: UnfitNoexec, Free: system.free, Need: need}
	case system.free >= 0 && system.free < need:
		return &UnfitError{Dir: dir, Reason: UnfitSpace, Free: system.free, Need: need}
	}
	return nil
}

// write makes the directory, and a file in it that is gone again.
func write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".pybuild-")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// What can be wrong with a directory.
const (
	UnfitWrite   = "it cannot be written"
	UnfitNoexec  = "it is mounted noexec: programs do not run there"
	UnfitSpace   = "too little space"
	UnfitUnknown = "its file system does not answer"
)

// UnfitError says why nothing can be built in a directory.
type UnfitError struct {
	Dir string
	// Reason is one of UnfitWrite, UnfitNoexec, UnfitSpace, UnfitUnknown.
	Reason string
	// Free is what this user may still write there, in bytes, as far as it was looked at; negative: unknown.
	Free int64
	// Need is what the build takes, in bytes.
	Need int64
	// Err is what the operating system said; nil when it said nothing.
	Err error
}

func (e *UnfitError) Error() string {
	text := e.Dir + ": " + e.Reason
	if e.Reason == UnfitSpace {
		text += fmt.Sprintf(", %s free, %s needed", mib(e.Free), mib(e.Need))
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *UnfitError) Unwrap() error { return e.Err }

// NoBuildDirError says that there is no directory to build in, and why for each that was tried.
type NoBuildDirError struct {
	Unfit []*UnfitError
}

func (e *NoBuildDirError) Error() string {
	lines := []string{"no directory to build in:"}
	for _, u := range e.Unfit {
		lines = append(lines, "  "+u.Error())
	}
	return strings.Join(lines, "\n")
}

func (e *NoBuildDirError) Unwrap() []error {
	errs := make([]error, len(e.Unfit))
	for i, u := range e.Unfit {
		errs[i] = u
	}
	return errs
}

func mib(bytes int64) string { return strconv.FormatInt(bytes>>20, 10) + " MiB" }
