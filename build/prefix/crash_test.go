package prefix

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var exhaustive = flag.Bool("exhaustive", false, "a real SIGKILL, every fault and every pair of crashes at every point")

// one returns n, or 1 when everything is to be tried.
func one(n int) int {
	if *exhaustive {
		return 1
	}
	return n
}

// A scenario is one change of a prefix.
type scenario struct {
	name    string
	prepare func(t testing.TB, dir string)
	tree    tree // of the stage; nil: uninstall
	exdev   bool // pretend that the stage is on another file system
	force   bool
	purge   bool
}

var small = tree{"bin/python3.13": "v1", "lib/python3.13/os.py": "v1", "lib/python3.13/gone.py": "v1", "bin/python3": "-> python3.13"}

var scenarios = []scenario{
	{name: "install", prepare: func(t testing.TB, dir string) { foreign.write(t, dir) }, tree: v1},
	{name: "install into nothing", prepare: func(testing.TB, string) {}, tree: small},
	{name: "install across devices", prepare: func(t testing.TB, dir string) { foreign.write(t, dir) }, tree: v1, exdev: true},
	{name: "again", prepare: installed, tree: v1},
	{name: "upgrade", prepare: installed, tree: v2},
	{name: "upgrade across devices", prepare: installed, tree: v2, exdev: true},
	{name: "forced upgrade", prepare: inTheWay, tree: v2, force: true},
	{name: "forced install", prepare: func(t testing.TB, dir string) {
		tree{"bin/python3.13": "foreign", "lib/python3.13": "-> ../bin/python3.13", "bin/python3/x": "foreign"}.write(t, dir)
	}, tree: small, force: true},
	{name: "uninstall", prepare: installed},
	{name: "uninstall the only one", prepare: func(t testing.TB, dir string) { install(t, dir, "python3.13", v1) }},
	{name: "uninstall what was forced", prepare: func(t testing.TB, dir string) {
		inTheWay(t, dir)
		commit(t, dir, v2, Options{Force: true})
	}},
	{name: "uninstall what was forced, with one to put back", prepare: func(t testing.TB, dir string) {
		tree{"bin/python3.13": "foreign", "lib/python3.13/os.py": "-> foreign", "bin/python3/x": "foreign"}.write(t, dir)
		commit(t, dir, small, Options{Force: true})
	}},
	{name: "purge", prepare: func(t testing.TB, dir string) { installed(t, dir); piped.write(t, dir) }, purge: true},
}

// piped is what pip leaves behind.
var piped = tree{
	"lib/python3.13/site-packages/six.py":                          "six",
	"lib/python3.13/site-packages/__pycache__/six.cpython-313.pyc": "six",
	"lib/python3.13/site-packages/six-1.0.dist-info/RECORD":        "six.py,,\n__pycache__/six.cpython-313.pyc,,\n../../../bin/six,,\n../../../share/six/doc,,\n../../../../etc/passwd,,\n",
	"bin/six":       "six",
	"share/six/doc": "six",
}

// installed is v1 and what came later, directories with an odd mode and owner included: upgrading removes them.
func installed(t testing.TB, dir string) {
	foreign.write(t, dir)
	install(t, dir, "python3.13", v1)
	since.write(t, dir)
	for _, odd := range []string{"lib/python3.13/dir-then-file", "lib/python3.13/dir-then-file/__pycache__"} {
		if os.Geteuid() == 0 {
			check(t, os.Chown(filepath.Join(dir, odd), 4711, 4712))
		}
		check(t, os.Chmod(filepath.Join(dir, odd), 0o751|fs.ModeSetgid))
	}
}

// inTheWay is installed with files that were changed, and foreign ones where v2 has its own.
func inTheWay(t testing.TB, dir string) {
	installed(t, dir)
	check(t, os.RemoveAll(filepath.Join(dir, "lib/libpython3.13.so")))
	tree{
		"bin/python3.13": "mine", "lib/python3.13/file-then-dir": "mine", "lib/python3.13/old/gone.py": "mine", "lib/libpython3.13.so": "-> mine",
		"lib/python3.13/new": "foreign", "share/man/man1/python3.13.1": "mine", "share/man/man1/python3.13.1.pybuild-old": "foreign",
	}.write(t, dir)
}

// commit installs python3.13.
func commit(t testing.TB, dir string, tr tree, o Options) *Manifest {
	t.Helper()
	stage := tr.dir(t, filepath.Dir(dir))
	m := manifest(t, "python3.13", stage)
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Commit(t.Context(), stage, m, o))
	check(t, p.Unlock())
	return m
}

// memory is where the hundreds of prefixes of the fault tests are made: a file system on which fsync costs nothing, if there is one.
func memory(t testing.TB) string {
	const shm = "/dev/shm"
	if probe, err := os.MkdirTemp(shm, "prefix-test-"); err == nil {
		check(t, os.Remove(probe))
		return shm
	}
	return t.TempDir()
}

// A fixture is a scenario on disk.
type fixture struct {
	scenario
	base          string // of all that follows
	dir, stage    string
	original      string // a copy of dir
	before, after string // snapshots of dir
	touched       bool   // dir may not be as it was before
}

func (s scenario) fixture(t testing.TB, base ...string) *fixture {
	t.Helper()
	f := &fixture{scenario: s}
	f.base = tree{}.dir(t, append(base, memory(t))[0])
	f.dir, f.stage, f.original = filepath.Join(f.base, "prefix"), filepath.Join(f.base, "stage"), filepath.Join(f.base, "original")
	check(t, os.Mkdir(f.dir, 0o755))
	f.prepare(t, f.dir)
	copyTree(t, f.dir, f.original)
	f.restage(t)
	f.before = state(t, f.dir)
	check(t, f.change(t, nil))
	f.after = state(t, f.dir)
	f.reset(t)
	if got := state(t, f.dir); got != f.before {
		t.Fatalf("was\n%sreset\n%s", f.before, got)
	}
	return f
}

func (f *fixture) reset(t testing.TB) {
	if f.touched {
		check(t, os.RemoveAll(f.dir))
		copyTree(t, f.original, f.dir)
		f.touched = false
	}
	f.restage(t)
}

func (f *fixture) restage(t testing.TB) {
	check(t, os.RemoveAll(f.stage))
	check(t, os.Mkdir(f.stage, 0o755))
	f.tree.write(t, f.stage)
}

// state is a snapshot in which the times of manifests do not count.
func state(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(snapshot(t, dir)) {
		if strings.HasPrefix(line, "file "+home) {
			line = line[:strings.LastIndex(line, " ")] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

func copyTree(t testing.TB, from, to string) {
	t.Helper()
	entries, err := Scan(from)
	check(t, err)
	check(t, os.MkdirAll(to, 0o755))
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Path), filepath.Join(to, e.Path)
		info, err := os.Lstat(src)
		check(t, err)
		switch e.Type {
		case typeDir:
			check(t, os.Mkdir(dst, 0o755))
		case typeLink:
			check(t, os.Symlink(e.Target, dst))
		default:
			check(t, os.WriteFile(dst, []byte(read(t, from, e.Path)), 0o600))
		}
		uid, gid := owner(info)
		check(t, os.Lchown(dst, uid, gid))
		if e.Type != typeLink {
			check(t, os.Chmod(dst, info.Mode()))
			check(t, os.Chtimes(dst, info.ModTime(), info.ModTime()))
		}
	}
}

// A fault is asked at every point: before and after each operation on a file.
type fault func(op, path string, done bool) error

// change runs the scenario, from the lock on.
func (f *fixture) change(t testing.TB, fail fault) error { return f.changeWith(t, t.Context(), fail) }

func (f *fixture) changeWith(t testing.TB, ctx context.Context, fail fault) (err error) {
	f.touched = true
	p, release := f.acquire(fail)
	defer release()
	if err := p.acquire(); err != nil {
		return err
	}
	if err := f.run(t, ctx, p); err != nil {
		return errors.Join(err, p.Unlock())
	}
	return p.Unlock()
}

func (f *fixture) run(t testing.TB, ctx context.Context, p *Prefix) error {
	if f.tree != nil {
		return p.Commit(ctx, f.stage, manifest(t, "python3.13", f.stage), Options{Force: f.force})
	}
	m, err := ReadManifest(f.dir, "python3.13")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // has been done already
	}
	check(t, err)
	_, err = p.Uninstall(ctx, m, UninstallOptions{Purge: f.purge, Trees: []string{"lib/python3.13/site-packages"}})
	return err
}

// acquire returns a prefix that is yet to be locked, and what the kernel would do with it if the process died.
func (f *fixture) acquire(fail fault) (p *Prefix, release func()) {
	p = &Prefix{dir: f.dir}
	p.fail = func(op, path string, done bool) error {
		if fail != nil {
			if err := fail(op, path, done); err != nil {
				return err
			}
		}
		if op == "move" && f.exdev && !done {
			return syscall.EXDEV
		}
		return nil
	}
	return p, func() {
		if p.root != nil {
			_ = p.root.Close()
		}
		if p.lock != nil {
			_ = p.lock.Close()
		}
	}
}

// A crash is what a test has the fault injector panic with: nothing of the package that cleans up may run on the way out.
type crash struct{ point string }

// crashes runs do, and says at which point it crashed, "" if it did not.
func crashes(do func()) (point string) {
	defer func() {
		if c, ok := recover().(crash); ok {
			point = c.point
		} else if point != "" {
			panic("not a crash")
		}
	}()
	do()
	return ""
}

// at returns a fault injector that does something at the nth point.
func at(n int, do func(point string) error) fault {
	return func(op, path string, done bool) error {
		n--
		if n != 0 {
			return nil
		}
		return do(fmt.Sprintf("%s %s (done %t)", op, path, done))
	}
}

func dies(point string) error { panic(crash{point}) }

// settled recovers, and checks that the prefix is as before or as after the change, which it returns.
func (f *fixture) settled(t testing.TB, point string) (after bool) {
	t.Helper()
	p, err := Lock(f.dir)
	if err != nil {
		t.Fatalf("%s: %v", point, err)
	}
	r := p.Recovered()
	check(t, p.Unlock())
	is := state(t, f.dir)
	if is != f.before && is != f.after {
		t.Fatalf("%s: before\n%sis\n%safter\n%s", point, f.before, is, f.after)
	}
	if r != nil && f.before != f.after && r.Finished != (is == f.after) {
		t.Fatalf("%s: %v", point, r)
	}
	f.touched = is != f.before
	return is == f.after
}

// succeeds checks that the same command succeeds now.
func (f *fixture) succeeds(t testing.TB, point string) {
	t.Helper()
	f.restage(t)
	if err := f.change(t, nil); err != nil {
		t.Fatalf("%s: %v", point, err)
	}
	if is := state(t, f.dir); is != f.after {
		t.Fatalf("%s, again: is\n%safter\n%s", point, is, f.after)
	}
}

// TestKilled kills every change before and after every single operation: by leaving the package at once, and, at every tenth point,
// by a SIGKILL to a real process. What the next process finds must become the state before or the state after.
func TestKilled(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv("PREFIX_TEST_KILL")); err == nil {
		killed(t, n)
		return
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.fixture(t)
			before, after, real := 0, 0, 0
			for n := 1; ; n++ {
				f.reset(t)
				point := crashes(func() { check(t, f.change(t, at(n, dies))) })
				if point == "" {
					break
				}
				if f.settled(t, point) {
					after++
				} else {
					if before++; before%one(3) == 0 {
						f.succeeds(t, point)
					}
				}
				if n%one(10) == 0 {
					real++
					f.reset(t)
					f.child(t, n)
					f.settled(t, "SIGKILL at "+point)
				}
			}
			if is := state(t, f.dir); is != f.after {
				t.Errorf("not killed: is\n%safter\n%s", is, f.after)
			}
			t.Logf("%d points (%d also by SIGKILL), violations 0: %d times as before, %d as after", before+after, real, before, after)
			if before == 0 || after == 0 {
				t.Error("one of the two was never tried")
			}
		})
	}
}

// child has another process run the scenario and be killed at the nth point.
func (f *fixture) child(t *testing.T, n int) {
	f.touched = true
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PREFIX_TEST_KILL=%d", n), "PREFIX_TEST_SCENARIO="+f.name, "PREFIX_TEST_DIR="+f.base)
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("%v: %s", err, out)
	}
}

func killed(t *testing.T, n int) {
	base := os.Getenv("PREFIX_TEST_DIR")
	for _, s := range scenarios {
		if s.name == os.Getenv("PREFIX_TEST_SCENARIO") {
			f := &fixture{scenario: s, dir: filepath.Join(base, "prefix"), stage: filepath.Join(base, "stage")}
			t.Error(f.change(t, at(n, func(string) error {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			})))
		}
	}
}

// TestKilledTwice kills the recovery, too, at every point of every killed change.
func TestKilledTwice(t *testing.T) {
	rows := []scenario{
		{name: "install", prepare: func(testing.TB, string) {}, tree: tree{"bin/python3.13": "v1"}}, // the smallest, so all of its pairs
		{name: "upgrade", prepare: func(t testing.TB, dir string) { install(t, dir, "python3.13", small) },
			tree: tree{"bin/python3.13": "v2", "lib/python3.13/os.py/x": "v2", "bin/python3": "-> python3.13"}},
		{name: "uninstall", prepare: func(t testing.TB, dir string) { install(t, dir, "python3.13", small) }},
	}
	for _, s := range rows {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.fixture(t)
			tried := 0
			step := 1
			if s.name != "install" {
				step = one(3)
			}
			for n := 1; ; n += step {
				died := ""
				for m := 1; ; m += step {
					f.reset(t)
					if died = crashes(func() { check(t, f.change(t, at(n, dies))) }); died == "" {
						break
					}
					again := crashes(func() {
						p, release := f.acquire(at(m, dies))
						defer release()
						check(t, p.acquire())
						check(t, p.Unlock())
					})
					f.settled(t, died+", then "+again)
					tried++
					if again == "" {
						break
					}
				}
				if died == "" {
					break
				}
			}
			t.Logf("%d pairs of points, violations 0", tried)
		})
	}
}

// TestFaults lets every single operation of every scenario fail, before it does anything or in spite of having done it.
func TestFaults(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.fixture(t)
			tried := 0
			for n := 1; ; n++ {
				point := ""
				for i, fault := range []error{syscall.ENOSPC, syscall.EIO, syscall.EACCES} {
					if point = ""; i != n%3 && one(3) != 1 {
						continue // in turn
					}
					err := f.change(t, at(n, func(at string) error { point = at; return fault }))
					if point == "" {
						check(t, err)
						break
					}
					tried++
					if !errors.Is(err, fault) {
						t.Fatalf("%s: %v", point, err)
					}
					is := state(t, f.dir)
					_, left := errors.AsType[*LeftoverError](err)
					_, refused := errors.AsType[*RefusedError](err)
					changed, ok := errors.AsType[*ChangeError](err)
					switch {
					case left:
						if !f.settled(t, point) {
							t.Fatalf("%s: %v, but not so", point, err)
						}
						f.reset(t)
					case ok && changed.Undo == nil && strings.HasSuffix(err.Error(), "; everything was put back"), refused:
						if is != f.before {
							t.Fatalf("%s: before\n%safter\n%s", point, f.before, is)
						}
						f.restage(t)
						continue
					default:
						t.Fatalf("%s: %v", point, err)
					}
				}
				if point == "" {
					break
				}
			}
			t.Logf("%d faults, violations 0", tried)
		})
	}
}

// TestFaultForGood has everything fail from one point on, undoing included; the next process, for which nothing fails, mends it.
func TestFaultForGood(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.fixture(t)
			for n := 1; ; n += one(3) {
				f.reset(t)
				point, calls := "", 0
				err := f.change(t, func(op, path string, done bool) error {
					if calls++; calls < n {
						return nil
					}
					if point == "" {
						point = fmt.Sprintf("%s %s (done %t)", op, path, done)
					}
					return syscall.EIO
				})
				if point == "" {
					check(t, err)
					return
				}
				_, left := errors.AsType[*LeftoverError](err)
				if changed, ok := errors.AsType[*ChangeError](err); !errors.Is(err, syscall.EIO) || ok && changed.Undo != nil == strings.HasSuffix(err.Error(), "put back") {
					t.Fatalf("%s: %v", point, err)
				}
				if after := f.settled(t, point); after != left && f.before != f.after {
					t.Fatalf("%s: %v, but not so", point, err)
				}
			}
		})
	}
}

// TestCancel cancels every scenario at every third point: undoing is the same as after a fault.
func TestCancel(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			f := s.fixture(t)
			for n := 1; ; n += 3 {
				f.reset(t)
				ctx, cancel := context.WithCancel(t.Context())
				point := ""
				err := f.changeWith(t, ctx, at(n, func(at string) error { point = at; cancel(); return nil }))
				cancel()
				if err == nil { // it was too late
					if state(t, f.dir) != f.after {
						t.Errorf("%s: complete, but not so", point)
					}
					return
				}
				if !errors.Is(err, context.Canceled) || state(t, f.dir) != f.before {
					t.Fatalf("%s: %v: before\n%safter\n%s", point, err, f.before, state(t, f.dir))
				}
			}
		})
	}
}

// thousands is what a release has, and more.
func thousands() tree {
	big := tree{"bin/python3.13": "x"}
	for i := range 5000 {
		big[fmt.Sprintf("lib/python3.13/d%02d/f%04d.txt", i%100, i)] = strings.Repeat(fmt.Sprint(i), 2000)
	}
	return big
}

// BenchmarkChange changes prefixes of 5 000 files, 40 MB, on the file system of the temporary directory.
func BenchmarkChange(b *testing.B) {
	big := thousands()
	run := func(b *testing.B, installed, exdev bool, do func(p *Prefix, stage string)) {
		for b.Loop() {
			b.StopTimer()
			f := &fixture{scenario: scenario{tree: big, exdev: exdev}, base: b.TempDir()}
			f.dir, f.stage = filepath.Join(f.base, "prefix"), filepath.Join(f.base, "stage")
			if installed {
				commit(b, f.dir, big, Options{})
			}
			f.restage(b)
			syscall.Sync() // the writing of the fixture must not count
			p, release := f.acquire(nil)
			check(b, p.acquire())
			b.StartTimer()
			do(p, f.stage)
			b.StopTimer()
			release()
			b.StartTimer() // the tree stays until the end: ext4 is slow to make files where it has just removed many
		}
	}
	put := func(p *Prefix, stage string) {
		b.StopTimer()
		m := manifest(b, "python3.13", stage)
		b.StartTimer()
		check(b, p.Commit(b.Context(), stage, m, Options{}))
	}
	b.Run("install", func(b *testing.B) { run(b, false, false, put) })
	b.Run("install across devices", func(b *testing.B) { run(b, false, true, put) })
	b.Run("again", func(b *testing.B) { run(b, true, false, put) })
	b.Run("uninstall", func(b *testing.B) {
		run(b, true, false, func(p *Prefix, _ string) {
			m, err := ReadManifest(p.dir, "python3.13")
			check(b, err)
			_, err = p.Uninstall(b.Context(), m, UninstallOptions{})
			check(b, err)
		})
	})
	for _, point := range []struct {
		name string
		done bool
	}{{"undo", false}, {"finish", true}} {
		b.Run(point.name, func(b *testing.B) {
			run(b, true, false, func(p *Prefix, stage string) {
				b.StopTimer()
				m := manifest(b, "python3.13", stage)
				p.fail = func(op, path string, done bool) error {
					if path == "share/pybuild/python3.13.json" && op == "rename" && done == point.done {
						panic(crash{point.name})
					}
					return nil
				}
				if crashes(func() { _ = p.Commit(b.Context(), stage, m, Options{}) }) == "" {
					b.Fatal("did not crash")
				}
				p.fail = nil
				b.StartTimer()
				r, err := p.settle()
				check(b, err)
				if r.Finished != point.done {
					b.Fatal(r)
				}
			})
		})
	}
}
