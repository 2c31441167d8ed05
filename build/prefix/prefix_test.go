package prefix

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestClean(t *testing.T) {
	rows := []struct{ dir, want, err string }{
		{"/usr/local", "/usr/local", ""},
		{"/opt//python/./3.13/", "/opt/python/3.13", ""},
		{"/opt/a/../b", "/opt/b", ""},
		{"/opt/pythön", "/opt/pythön", ""},
		{"", "", `prefix "" is empty`},
		{"opt/python", "", `prefix "opt/python" is not absolute`},
		{"~/python", "", `prefix "~/python" is not absolute`},
		{"/opt/my python", "", `prefix "/opt/my python" holds white space`},
		{"/opt/\u00a0", "", `prefix "/opt/\u00a0" holds white space`},
		{"/opt\n", "", `prefix "/opt\n" holds a control character`},
		{"/opt/\x1b[0m", "", `prefix "/opt/\x1b[0m" holds a control character`},
		{"/opt/\xff", "", `prefix "/opt/\xff" is not UTF-8`},
	}
	for _, r := range rows {
		got, err := Clean(r.dir)
		if got != r.want || text(err) != r.err {
			t.Errorf("%q: got %q, %v", r.dir, got, err)
		}
		if _, ok := errors.AsType[*InvalidError](err); ok != (r.err != "") {
			t.Errorf("%q: %T", r.dir, err)
		}
	}
}

func TestDistribution(t *testing.T) {
	rows := []struct{ dir, want string }{
		{"/", "/"}, {"/usr", "/usr"}, {"/usr/lib/python3", "/usr"}, {"/usr/localx", "/usr"}, {"/bin", "/bin"}, {"/sbin/x", "/sbin"},
		{"/lib", "/lib"}, {"/lib64/x", "/lib64"}, {"/etc", "/etc"}, {"/boot", "/boot"}, {"/dev", "/dev"}, {"/proc/self/cwd", "/proc"},
		{"/sys", "/sys"}, {"/run", "/run"}, {"/var", "/var"}, {"/home", "/home"}, {"/tmp", "/tmp"},
		{"/usr/local", ""}, {"/usr/local/python", ""}, {"/opt", ""}, {"/opt/python/3.13", ""}, {"/home/me", ""}, {"/root", ""},
		{"/var/lib/python", ""}, {"/tmp/x", ""}, {"/library", ""}, {"/srv/python", ""}, {"/dev/shm/x", ""},
	}
	for _, r := range rows {
		if got := distribution(r.dir); got != r.want {
			t.Errorf("%s: got %q, want %q", r.dir, got, r.want)
		}
	}
}

func TestLockRefuses(t *testing.T) {
	rows := []struct {
		name string
		tree tree
		dir  string // below BASE unless absolute
		want string // of the error, BASE for the directory of the test
		left string
	}{
		{"twin", tree{"p/": ""}, "p", "", "p/"},
		{"twin below", tree{"p/": ""}, "p/a/b", "", "p/"},
		{"twin through a link", tree{"p/": "", "l": "-> p"}, "l/a", "", "l p/"},
		{"root", nil, "/", "prefix /: / belongs to the distribution", ""},
		{"usr", nil, "/usr", "prefix /usr: /usr belongs to the distribution", ""},
		{"below usr", nil, "/usr/none/such", "prefix /usr/none/such: /usr belongs to the distribution", ""},
		{"usr by dots", nil, "/usr/local/../lib", "prefix /usr/lib: /usr belongs to the distribution", ""},
		{"usr by a link", tree{"l": "-> /usr"}, "l/python", "prefix BASE/l/python: /usr belongs to the distribution", "l"},
		{"etc by two links", tree{"l": "-> m", "m": "-> /etc"}, "l", "prefix BASE/l: /etc belongs to the distribution", "l m"},
		{"file", tree{"p": ""}, "p", "prefix BASE/p: BASE/p is not a directory", "p"},
		{"file above", tree{"p": ""}, "p/a/b", "prefix BASE/p/a/b: BASE/p is not a directory", "p"},
		{"link to a file", tree{"p": "", "l": "-> p"}, "l", "prefix BASE/l: BASE/l is not a directory", "l p"},
		{"dangling link", tree{"l": "-> none"}, "l", "prefix BASE/l: BASE/l is a link to nothing", "l"},
		{"dangling link above", tree{"l": "-> none"}, "l/a", "prefix BASE/l/a: BASE/l is a link to nothing", "l"},
		{"loop", tree{"l": "-> l"}, "l/a", "prefix BASE/l/a: BASE/l/a cannot be examined: EvalSymlinks: too many links", "l"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			base := r.tree.dir(t)
			dir := r.dir
			if !filepath.IsAbs(dir) {
				dir = filepath.Join(base, dir)
			}
			if cleaned, err := Clean(dir); err != nil {
				t.Error(err)
			} else if got := strings.ReplaceAll(text(Allowed(cleaned)), base, "BASE"); got != r.want {
				t.Errorf("allowed: %q", got)
			}
			p, err := Lock(dir)
			if got := strings.ReplaceAll(text(err), base, "BASE"); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			if err == nil {
				if p.Dir() != dir {
					t.Errorf("Dir is %s", p.Dir())
				}
				check(t, p.Unlock())
				check(t, p.Unlock())
			} else if e, ok := errors.AsType[*RefusedError](err); !ok || e.Path == "" {
				t.Errorf("%T %+v", err, e)
			}
			if got := names(t, base); got != r.left {
				t.Errorf("left %q, want %q", got, r.left)
			}
		})
	}
}

func TestLockFaults(t *testing.T) {
	rows := []struct{ name, op, at, want, left string }{
		{"twin", "", "", "", ""},
		{"mkdir of the first", "mkdir", "BASE/a", "prefix BASE/a/b: BASE/a cannot be created: read-only file system", ""},
		{"mkdir of the second", "mkdir", "BASE/a/b", "prefix BASE/a/b: BASE/a/b cannot be created: read-only file system", ""},
		{"probe", "probe", "", "prefix BASE/a/b: BASE/a/b cannot be written to: read-only file system", ""},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			base := t.TempDir()
			p, err := lock(filepath.Join(base, "a/b"), func(op, path string, _ bool) error {
				if op == r.op && (r.at == "" || path == strings.ReplaceAll(r.at, "BASE", base)) {
					return syscall.EROFS
				}
				return nil
			})
			if got := strings.ReplaceAll(text(err), base, "BASE"); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			if err == nil {
				if got := names(t, base); got != "a/ a/b/" {
					t.Errorf("locked: %q", got)
				}
				check(t, p.Unlock())
			} else if !errors.Is(err, syscall.EROFS) {
				t.Errorf("%v", err)
			}
			if got := names(t, base); got != r.left {
				t.Errorf("left %q", got)
			}
		})
	}
}

func TestLockWithoutPermission(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	rows := []struct{ name, mode, dir, want string }{
		{"twin", "0755", "p", ""},
		{"not writable", "0555", "p", "prefix BASE/p: BASE/p cannot be written to: permission denied"},
		{"parent not writable", "0555", "p/a", "prefix BASE/p/a: BASE/p/a cannot be created: permission denied"},
		{"not readable", "0300", "p", "prefix BASE/p: BASE/p cannot be locked: permission denied"},
		{"not searchable", "0000", "p/a", "prefix BASE/p/a: BASE/p/a cannot be examined: lstat BASE/p/a: permission denied"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			base := tree{"p/": r.mode}.dir(t)
			t.Cleanup(func() { check(t, os.Chmod(filepath.Join(base, "p"), 0o755)) })
			p, err := Lock(filepath.Join(base, r.dir))
			if got := strings.ReplaceAll(text(err), base, "BASE"); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			if err == nil {
				check(t, p.Unlock())
			}
		})
	}
}

func TestLockCreatesDirectories(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	base := tree{"g/": "2750"}.dir(t)
	dir := filepath.Join(base, "g/a/b")
	p, err := Lock(dir)
	check(t, err)
	for name, want := range map[string]string{"g": "2750", "g/a": "2755", "g/a/b": "2755"} {
		info, err := os.Stat(filepath.Join(base, name))
		check(t, err)
		if got := octal(info.Mode()); got != want {
			t.Errorf("%s has mode %s, want %s", name, got, want)
		}
	}
	tree{"g/a/foreign": ""}.write(t, base)
	check(t, p.Unlock())
	if got := names(t, base); got != "g/ g/a/ g/a/foreign" {
		t.Errorf("left %q", got)
	}
}

func TestLockTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a/b")
	first, err := Lock(dir)
	check(t, err)
	_, err = Lock(dir)
	if e, ok := errors.AsType[*BusyError](err); !ok || e.Prefix != dir || err.Error() != "prefix "+dir+" is locked by another process" {
		t.Errorf("second lock: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the refused one removed the prefix: %v", err)
	}
	check(t, first.Unlock())
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not removed: %v", err)
	}
	again, err := Lock(dir)
	check(t, err)
	check(t, again.Unlock())
}

// TestLockMoved replaces the prefix after it was locked and before it is opened, as another process might.
func TestLockMoved(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "p")
	first, err := Lock(dir)
	check(t, err)
	check(t, os.Rename(dir, dir+".old"))
	second, err := Lock(dir) // another directory, so another lock
	check(t, err)
	check(t, second.Unlock())
	first.made = nil
	check(t, first.Unlock())
	if got := names(t, base); got != "p.old/" {
		t.Errorf("left %q", got)
	}
}

// TestLockContention has many goroutines create, lock and remove the same prefix. Whoever has it must be alone, and must be
// able to use it.
func TestLockContention(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "a/b")
	var inside sync.Mutex
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				p, err := Lock(dir)
				if err != nil {
					if _, ok := errors.AsType[*BusyError](err); !ok {
						t.Error(err)
					}
					continue
				}
				if !inside.TryLock() {
					t.Error("two hold the lock")
				} else {
					if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
						t.Error(err)
					}
					if err := os.Remove(filepath.Join(dir, "f")); err != nil {
						t.Error(err)
					}
					inside.Unlock()
				}
				if err := p.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
}

// TestManyProcesses has processes change one prefix at once, each as soon as it gets the lock.
func TestManyProcesses(t *testing.T) {
	versions := []tree{v1, v2}
	if i, err := strconv.Atoi(os.Getenv("PREFIX_TEST_WORKER")); err == nil {
		dir := os.Getenv("PREFIX_TEST_DIR")
		stage := versions[i%2].dir(t, filepath.Dir(filepath.Dir(dir)))
		m := manifest(t, "python3.13", stage)
		p, err := Lock(dir)
		for busy := (*BusyError)(nil); errors.As(err, &busy); p, err = Lock(dir) {
			time.Sleep(time.Millisecond)
		}
		check(t, err)
		check(t, p.Commit(t.Context(), stage, m, Options{}))
		check(t, p.Unlock())
		return
	}
	for _, n := range []int{2, 10} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "new/prefix")
			var group sync.WaitGroup
			for i := range n {
				group.Go(func() {
					cmd := exec.Command(os.Args[0], "-test.run=^TestManyProcesses$")
					cmd.Env = append(os.Environ(), "PREFIX_TEST_WORKER="+strconv.Itoa(i), "PREFIX_TEST_DIR="+dir)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				})
			}
			group.Wait()
			m, err := ReadManifest(dir, "python3.13")
			check(t, err)
			verify(t, dir, m)
			var want []string
			for i := range versions {
				twin := t.TempDir()
				install(t, twin, "python3.13", versions[i])
				want = append(want, names(t, twin))
			}
			if got := names(t, dir); !slices.Contains(want, got) {
				t.Errorf("left %s", got)
			}
		})
	}
}

// TestLockProcesses locks in another process, and sees the lock go when that process is killed.
func TestLockProcesses(t *testing.T) {
	if dir := os.Getenv("PREFIX_TEST_LOCK"); dir != "" {
		if _, err := Lock(dir); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = io.ReadAll(os.Stdin) // until killed
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockProcesses$")
	cmd.Env = append(os.Environ(), "PREFIX_TEST_LOCK="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	check(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Errorf("child said %q, %v", line, err)
	}
	if _, err := Lock(dir); err == nil || err.Error() != (&BusyError{Prefix: dir}).Error() {
		t.Errorf("while locked: %v", err)
	}
	check(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Unlock())
	if got := names(t, dir); got != "" {
		t.Errorf("left %q", got)
	}
}
