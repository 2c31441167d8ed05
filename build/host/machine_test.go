package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestJobs(t *testing.T) {
	before := runtime.GOMAXPROCS(8)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, test := range []struct {
		name string
		root fs.FS
		want int
	}{
		{"plenty of memory", files("proc/meminfo=MemTotal:       32768000 kB\nMemFree:         1000 kB\nMemAvailable:   16384000 kB\n"), 8},
		{"memory for three and a half", files("proc/meminfo=MemTotal:       32768000 kB\nMemAvailable:    1433600 kB\n"), 3},
		{"memory for exactly two", files("proc/meminfo=MemAvailable:     819200 kB\n"), 2},
		{"a bit less than for two", files("proc/meminfo=MemAvailable:     819199 kB\n"), 1},
		{"memory for none", files("proc/meminfo=MemAvailable:     100000 kB\n"), 1},
		{"swap does not count", files("proc/meminfo=MemAvailable:     819200 kB\nSwapFree:     8192000 kB\n"), 2},
		{"group with memory for four", files("proc/meminfo=MemAvailable:   16384000 kB\n", "proc/self/cgroup=0::/\n", "sys/fs/cgroup/memory.max=1677721600\n", "sys/fs/cgroup/memory.current=0\n"), 4},
		{"no file", files(), 8},
		{"old kernel", files("proc/meminfo=MemTotal:       32768000 kB\nMemFree:         1000 kB\n"), 8},
		{"not a number", files("proc/meminfo=MemAvailable:   many kB\n"), 8},
		{"nonsense", files("proc/meminfo=MemAvailable:   -1 kB\n"), 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Jobs(test.root); got != test.want {
				t.Errorf("%d jobs, want %d", got, test.want)
			}
		})
	}
}

func TestMemory(t *testing.T) {
	const (
		machine = "proc/meminfo=MemTotal:  8192 kB\nMemFree:  10 kB\nMemAvailable:  4096 kB\nSwapFree:  1024 kB\n"
		v2      = "sys/fs/cgroup/"
		v1      = "sys/fs/cgroup/memory/"
		kib     = 1 << 10
	)
	for _, test := range []struct {
		name             string
		root             fs.FS
		available, total int64
	}{
		{"machine", files(machine), 4096 * kib, 8192 * kib},
		{"nothing known", files(), 0, 0},
		{"groups without a limit", files(machine, "proc/self/cgroup=0::/a\n", v2+"a/memory.max=max\n", v2+"a/memory.current=4096\n"), 4096 * kib, 8192 * kib},
		{"limit", files(machine, "proc/self/cgroup=0::/a\n", v2+"a/memory.max=2097152\n", v2+"a/memory.current=1048576\n"), 1024 * kib, 2048 * kib},
		{"cache makes room", files(machine, "proc/self/cgroup=0::/a\n", v2+"a/memory.max=2097152\n", v2+"a/memory.current=1048576\n", v2+"a/memory.stat=anon 1\ninactive_file 524288\n"), 1536 * kib, 2048 * kib},
		{"more cache than use", files(machine, "proc/self/cgroup=0::/a\n", v2+"a/memory.max=2097152\n", v2+"a/memory.current=4096\n", v2+"a/memory.stat=inactive_file 8192\n"), 2048 * kib, 2048 * kib},
		{"limit of the group around", files(machine, "proc/self/cgroup=0::/a/b/c\n", v2+"a/b/c/memory.max=max\n", v2+"a/memory.max=1048576\n", v2+"a/memory.current=0\n"), 1024 * kib, 1024 * kib},
		{"limit of the root of the tree", files(machine, "proc/self/cgroup=0::/a\n", v2+"memory.max=1048576\n", v2+"memory.current=0\n"), 1024 * kib, 1024 * kib},
		{"least of several", files(machine, "proc/self/cgroup=0::/a/b\n", v2+"a/b/memory.max=2097152\n", v2+"a/b/memory.current=0\n", v2+"a/memory.max=3145728\n", v2+"a/memory.current=2621440\n"), 512 * kib, 2048 * kib},
		{"path from outside of a container", files(machine, "proc/self/cgroup=0::/../x\n", v2+"memory.max=1048576\n", v2+"memory.current=0\n"), 1024 * kib, 1024 * kib},
		{"limit above what the machine has", files(machine, "proc/self/cgroup=0::/\n", v2+"memory.max=1048576000\n", v2+"memory.current=0\n"), 4096 * kib, 8192 * kib},
		{"used up", files(machine, "proc/self/cgroup=0::/\n", v2+"memory.max=1048576\n", v2+"memory.current=1048576\n"), 1, 1024 * kib},
		{"first version", files(machine, "proc/self/cgroup=5:cpu,memory:/a\n1:cpu:/\n0::/\n", v1+"a/memory.limit_in_bytes=2097152\n", v1+"a/memory.usage_in_bytes=1048576\n", v1+"a/memory.stat=total_inactive_file 4096\n"), 1028 * kib, 2048 * kib},
		{"first version, path from outside", files(machine, "proc/self/cgroup=5:memory:/docker/0a\n", v1+"memory.limit_in_bytes=1048576\n", v1+"memory.usage_in_bytes=0\n"), 1024 * kib, 1024 * kib},
		{"first version without a limit", files(machine, "proc/self/cgroup=5:memory:/\n", v1+"memory.limit_in_bytes=9223372036854771712\n", v1+"memory.usage_in_bytes=4096\n"), 4096 * kib, 8192 * kib},
		{"another controller's limit", files(machine, "proc/self/cgroup=5:memory_not:/\n", v1+"memory.limit_in_bytes=4096\n"), 4096 * kib, 8192 * kib},
		{"only the group is known", files("proc/self/cgroup=0::/\n", v2+"memory.max=1048576\n", v2+"memory.current=0\n"), 1024 * kib, 1024 * kib},
		{"nonsense", files(machine, "proc/self/cgroup=0\nx::\n0::/\n", v2+"memory.max=-4\n", v2+"memory.current=x\n"), 4096 * kib, 8192 * kib},
	} {
		t.Run(test.name, func(t *testing.T) {
			if available, total := Memory(test.root); available != test.available || total != test.total {
				t.Errorf("%d of %d, want %d of %d", available, total, test.available, test.total)
			}
		})
	}
	if runtime.GOOS == "linux" {
		if available, total := Memory(os.DirFS("/")); available <= 0 || total < available {
			t.Errorf("this machine has %d of %d", available, total)
		}
	}
}

// Whatever the files hold, the numbers are sane.
func FuzzMemory(f *testing.F) {
	f.Add("MemTotal: 8192 kB\nMemAvailable: 4096 kB\n", "0::/a\n5:memory:/a\n", "1048576\n", "4096\n", "inactive_file 1\n")
	f.Add("MemAvailable: 9223372036854775807 kB", "0::", "9223372036854775807", "-1", "inactive_file 9223372036854775807")
	f.Fuzz(func(t *testing.T, info, groups, limit, used, stat string) {
		available, total := Memory(files("proc/meminfo="+info, "proc/self/cgroup="+groups, "sys/fs/cgroup/memory.max="+limit, "sys/fs/cgroup/memory.current="+used, "sys/fs/cgroup/memory.stat="+stat))
		if available < 0 || total < 0 {
			t.Errorf("%d of %d", available, total)
		}
	})
}

func TestEnough(t *testing.T) {
	const machine = "proc/meminfo=MemTotal:  819200 kB\nMemAvailable:  409600 kB\nSwapFree:  102400 kB\n" // 400 MiB and 100 MiB
	for _, test := range []struct {
		name string
		root fs.FS
		need int64 // MiB
		want string
	}{
		{"plenty", files(machine), 300, ""},
		{"just", files(machine), 500, ""},
		{"a bit too little", files(machine), 501, "too little memory: 500 MiB available, 501 MiB needed"},
		{"no swap", files("proc/meminfo=MemAvailable:  409600 kB\n"), 500, "too little memory: 400 MiB available, 500 MiB needed"},
		{"group", files(machine, "proc/self/cgroup=0::/\n", "sys/fs/cgroup/memory.max=104857600\n", "sys/fs/cgroup/memory.current=0\n"), 300, "too little memory: 200 MiB available, 300 MiB needed"},
		{"unknown", files(), 1 << 20, ""},
		{"no need", files(machine), 0, ""},
	} {
		err := Enough(test.root, test.need<<20)
		var memory *MemoryError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case test.want != "" && (!errors.As(err, &memory) || err.Error() != test.want || memory.Need != test.need<<20 || memory.Available >= memory.Need):
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

func TestClock(t *testing.T) {
	released := time.Date(2025, 6, 11, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		now  time.Time
		want string
	}{
		{released.Add(time.Second), ""},
		{released, ""},
		{released.Add(-time.Second), "the clock is wrong: it says 2025-06-10 23:59, which was before 2025-06-11"},
		{released.Add(-time.Second).In(time.FixedZone("east", 3600)), "the clock is wrong: it says 2025-06-10 23:59, which was before 2025-06-11"},
		{time.Unix(0, 0), "the clock is wrong: it says 1970-01-01 00:00, which was before 2025-06-11"},
	} {
		err := Clock(test.now, released)
		var clock *ClockError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.now, err)
		case test.want != "" && (!errors.As(err, &clock) || err.Error() != test.want || !clock.Now.Equal(test.now) || !clock.NotBefore.Equal(released)):
			t.Errorf("%s: %v, want %s", test.now, err, test.want)
		}
	}
	if err := Clock(time.Now(), time.Time{}); err != nil {
		t.Errorf("no date: %v", err)
	}
}

// tree lists what is below a directory.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, strings.TrimPrefix(path, dir))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// Each row tries candidates below a directory that holds the directory "there" and the file "file". The first part of a name
// says what its file system is like.
func TestBuildDir(t *testing.T) {
	stat := func(dir string) (fileSystem, error) {
		if _, err := os.Stat(dir); err != nil {
			return fileSystem{}, err
		}
		switch {
		case strings.Contains(dir, "/noexec"):
			return fileSystem{noexec: true, free: 1 << 40}, nil
		case strings.Contains(dir, "/full"):
			return fileSystem{free: 99 << 20}, nil
		case strings.Contains(dir, "/silent"):
			return fileSystem{free: -1}, nil
		case strings.Contains(dir, "/broken"):
			return fileSystem{}, &fs.PathError{Op: "statfs", Path: "x", Err: errors.New("stale file handle")}
		}
		return fileSystem{free: 100 << 20}, nil
	}
	const (
		noexec = "ROOT/noexec: it is mounted noexec: programs do not run there"
		full   = "ROOT/full/a/b: too little space, 99 MiB free, 100 MiB needed"
		broken = "ROOT/broken: its file system does not answer: statfs x: stale file handle"
		file   = "ROOT/file/a: it cannot be written: mkdir ROOT/file: not a directory"
	)
	for _, test := range []struct {
		name       string
		candidates string
		want       string   // relative; empty: none
		passed     []string // what is said of those before it
	}{
		{"there", "there", "there", nil},
		{"can be made", "a/b/c", "a/b/c", nil},
		{"below what is there", "there/a", "there/a", nil},
		{"just enough room", "exact", "exact", nil},
		{"does not say how much room", "silent", "silent", nil},
		{"noexec", "noexec there", "there", []string{noexec}},
		{"full", "full/a/b there", "there", []string{full}},
		{"does not answer", "broken there", "there", []string{broken}},
		{"file in the way", "file/a there", "there", []string{file}},
		{"the third", "noexec full/a/b a full", "a", []string{noexec, full}},
		{"none", "noexec full/a/b file/a broken", "", []string{noexec, full, file, broken}},
		{"no candidates", "", "", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			if err := errors.Join(os.Mkdir(filepath.Join(root, "there"), 0o755), os.WriteFile(filepath.Join(root, "file"), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
			before := tree(t, root)
			var candidates []string
			for _, name := range strings.Fields(test.candidates) {
				candidates = append(candidates, filepath.Join(root, name))
			}
			dir, passed, err := buildDir(candidates, 100<<20, stat)
			var says []string
			for _, unfit := range passed {
				says = append(says, strings.ReplaceAll(unfit.Error(), root, "ROOT"))
				if unfit.Need != 100<<20 || !slices.Contains(candidates, unfit.Dir) {
					t.Errorf("%+v", unfit)
				}
			}
			if !slices.Equal(says, test.passed) {
				t.Errorf("passed\n%q, want\n%q", says, test.passed)
			}
			var none *NoBuildDirError
			if test.want != "" {
				if want := filepath.Join(root, test.want); dir != want || err != nil {
					t.Errorf("%q, %v; want %s", dir, err, want)
				}
			} else if want := strings.Join(append([]string{"no directory to build in:"}, test.passed...), "\n  "); dir != "" || !errors.As(err, &none) || strings.ReplaceAll(err.Error(), root, "ROOT") != want {
				t.Errorf("%q, %v; want %s", dir, err, want)
			}
			if after := tree(t, root); !slices.Equal(after, before) {
				t.Errorf("left behind: %q, before %q", after, before)
			}
		})
	}
}

func TestBuildDirOfThisMachine(t *testing.T) {
	root := t.TempDir()
	locked := filepath.Join(root, "locked")
	if err := os.Mkdir(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "a", "b")
	if got, passed, err := BuildDir([]string{dir}, 1); err != nil || got != dir || passed != nil {
		t.Errorf("%q, %v, %v; want %s", got, passed, err, dir)
	}
	got, passed, err := BuildDir([]string{dir}, 1<<62)
	var none *NoBuildDirError
	if runtime.GOOS == "linux" && (got != "" || !errors.As(err, &none) || len(passed) != 1 || passed[0].Reason != UnfitSpace || passed[0].Free <= 0) {
		t.Errorf("%q, %v, %v; want one without space", got, passed, err)
	}
	if os.Geteuid() != 0 {
		_, _, err := BuildDir([]string{filepath.Join(locked, "a")}, 1)
		if !errors.As(err, &none) || !errors.Is(err, fs.ErrPermission) || none.Unfit[0].Reason != UnfitWrite {
			t.Errorf("in a directory that is not ours: %v", err)
		}
	}
	if after := tree(t, root); len(after) != 2 {
		t.Errorf("left behind: %q", after)
	}
}

// What a second process puts there while we look stays.
func TestBuildDirShared(t *testing.T) {
	root := t.TempDir()
	other := filepath.Join(root, "a", "other")
	stat := func(string) (fileSystem, error) { return fileSystem{free: 1}, os.WriteFile(other, nil, 0o644) }
	if dir, passed, err := buildDir([]string{filepath.Join(root, "a", "b")}, 1, stat); err != nil {
		t.Errorf("%q, %v, %v", dir, passed, err)
	}
	if after := tree(t, root); !slices.Equal(after, []string{"", "/a", "/a/other"}) {
		t.Errorf("there is %q", after)
	}
}
