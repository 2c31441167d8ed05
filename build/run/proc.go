package run

import (
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// memoryKills is how many processes the kernel has killed for want of memory: of our control group and those below it, or of
// the whole machine where that is all that is counted; 0 when nothing is.
func memoryKills(root fs.FS) int64 {
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		group, ok := strings.CutPrefix(line, "0::")
		if !ok {
			continue // a hierarchy of the first version, which counts elsewhere and not always
		}
		events := path.Join("sys/fs/cgroup", strings.TrimSuffix(group, "\n"), "memory.events")
		if n, ok := counter(root, events); ok {
			return n
		}
	}
	n, _ := counter(root, "proc/vmstat")
	return n
}

// counter reads oom_kill out of a file of names and numbers.
func counter(root fs.FS, name string) (int64, bool) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// process is what /proc says of one.
type process struct {
	pid, parent int
	start       uint64 // in ticks since the machine started
}

// youngest follows the youngest child of each generation, from the process pid down, and returns the last one's arguments: nil
// when that is not more than own generations below, or says nothing. The table changes while it is read; this is a hint, not an
// account.
func youngest(root fs.FS, pid, own int) []string {
	names, err := fs.Glob(root, "proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	children := map[int]process{} // of each parent the youngest
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			continue // gone
		}
		p, ok := parseStat(text)
		if !ok {
			continue
		}
		if other, ok := children[p.parent]; !ok || p.start > other.start || p.start == other.start && p.pid > other.pid {
			children[p.parent] = p
		}
	}
	depth := 0
	for depth < len(children) { // not for ever, should a process number be used again while we read
		p, ok := children[pid]
		if !ok {
			break
		}
		pid = p.pid
		depth++
	}
	text, err := fs.ReadFile(root, path.Join("proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || depth <= own || len(text) == 0 {
		return nil
	}
	return strings.Split(string(bytes.TrimSuffix(text, []byte{0})), "\x00")
}

// parseStat reads /proc/PID/stat. The second field is the program's name in parentheses, and can hold anything.
func parseStat(text []byte) (p process, ok bool) {
	pid, _, ok := bytes.Cut(text, []byte(" ("))
	end := bytes.LastIndexByte(text, ')')
	if !ok || end < 0 {
		return process{}, false
	}
	fields := strings.Fields(string(text[end+1:])) // from the third on
	if len(fields) < 20 {
		return process{}, false
	}
	var errs [3]error
	p.pid, errs[0] = strconv.Atoi(string(pid))
	p.parent, errs[1] = strconv.Atoi(fields[1])
	p.start, errs[2] = strconv.ParseUint(fields[19], 10, 64)
	if errs != [3]error{} || p.pid <= 0 || p.parent < 0 {
		return process{}, false
	}
	return p, true
}
