package host

import (
	"bufio"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
)

// memoryPerJob is what one compiler may need while it works on CPython's largest files, in bytes.
const memoryPerJob = 400 << 20

// Jobs is how many compilers this process may run at once: as many as it has CPUs, fewer when little memory is available, and
// always one. root is the machine's file system.
func Jobs(root fs.FS) int {
	jobs := runtime.GOMAXPROCS(0) // knows the affinity mask and the CPU quota of the control group
	if available := availableMemory(root); available > 0 {
		jobs = min(jobs, int(available/memoryPerJob))
	}
	return max(jobs, 1)
}

// availableMemory is the kernel's estimate in bytes, 0 when it cannot be had.
func availableMemory(root fs.FS) int64 {
	f, err := root.Open("proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}
