package host

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// What the kernel says of each file system is what its list of mounts says.
func TestNoexec(t *testing.T) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Skip(err)
	}
	defer mounts.Close()
	noexec := map[string]bool{} // the last mount on a directory is the one that is seen
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 3 {
			noexec[fields[1]] = strings.Contains(","+fields[3]+",", ",noexec,")
		}
	}
	for _, dir := range []string{"/", "/proc", "/dev/shm", "/tmp", "/sys"} {
		want, ok := noexec[dir]
		if !ok {
			continue
		}
		if system, err := statFileSystem(dir); err != nil || system.noexec != want {
			t.Errorf("%s: %+v, %v; mounted noexec: %t", dir, system, err, want)
		}
	}
	if _, err := statFileSystem("/no/such"); err == nil || err.Error() != "statfs /no/such: no such file or directory" {
		t.Errorf("error %v", err)
	}
}

// A real file system that is mounted noexec, and the compiler of this system: the directory is passed over, and the check says
// why programs do not run there. The twin is the same file system without the flag.
func TestNoexecMount(t *testing.T) {
	env := realEnv(t)
	cc := Compiler(env)
	dir := t.TempDir()
	// In a name space of its own, so that nothing is left mounted when the test is killed. The thread ends with its goroutine.
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err := errors.Join(syscall.Unshare(syscall.CLONE_NEWNS), syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")); err != nil {
			t.Logf("not tried: no name space for mounts: %v", err)
			return
		}
		for _, test := range []struct {
			flags  uintptr
			reason string
		}{
			{0, ""},
			{syscall.MS_NOEXEC, cc[0] + " makes programs that do not run in " + dir + ": permission denied, it is mounted noexec"},
		} {
			if err := syscall.Mount("tmpfs", dir, "tmpfs", test.flags, "size=4m"); err != nil {
				t.Logf("not tried: %v", err)
				return
			}
			system, err := statFileSystem(dir)
			if err != nil || system.noexec != (test.reason != "") || system.free < 1<<20 || system.free > 4<<20 {
				t.Errorf("%+v, %v; flags %d", system, err, test.flags)
			}
			tried, err := tryCompiler(t.Context(), cc, dir, Needs{Env: env})
			if err != nil || tried.reason != test.reason || !tried.compiles {
				t.Errorf("%+v, %v; want %q", tried, err, test.reason)
			}
			_, passed, err := BuildDir([]string{filepath.Join(dir, "a")}, 1)
			if noexec := len(passed) == 1 && passed[0].Reason == UnfitNoexec; noexec != (test.reason != "") || (err != nil) != noexec {
				t.Errorf("passed %v, %v; flags %d", passed, err, test.flags)
			}
			if _, err := os.Lstat(filepath.Join(dir, "a")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("left behind: %v", err)
			}
			if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	}()
	<-done
}
