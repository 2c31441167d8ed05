package prefix

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

var (
	realTree   = flag.String("tree", "", "kill changes of a prefix that holds this installed Python, a directory that is only read")
	realPoints = flag.Int("points", 13, "at how many points each of these changes is killed")
)

// soon is how long a change of a prefix with a whole Python, or the recovery from one, may take.
const soon = 2 * time.Second

// A realChange is one change of the prefix base/prefix, which is base/before now.
type realChange struct {
	name string
	// stage is the directory of base of which the stage is a copy, "" to uninstall; foreign says that another user built it.
	stage   string
	foreign bool
	before  string
}

var realChanges = []realChange{
	{"install", "new", false, "empty"},
	{"install what another user built", "new", true, "empty"},
	{"upgrade", "new", true, "old"},
	{"uninstall", "", false, "old"},
}

// TestKilledReal kills changes that have to do with thousands of files, by SIGKILL at points spread over all of them, and on a real
// disk. Recovery, by the next process, makes of each the state before or the state after, and soon.
func TestKilledReal(t *testing.T) {
	if n, err := strconv.Atoi(os.Getenv("PREFIX_TEST_REAL_KILL")); err == nil {
		base := os.Getenv("PREFIX_TEST_DIR")
		for _, c := range realChanges {
			if c.name == os.Getenv("PREFIX_TEST_SCENARIO") {
				_, err := c.run(t, base, n)
				t.Errorf("not killed: %v", err)
			}
		}
		return
	}
	if *realTree == "" {
		t.Skip("takes minutes, and a real Python; ask for it with -tree PREFIX")
	}
	base := t.TempDir()
	prepareReal(t, base)
	for _, c := range realChanges {
		t.Run(c.name, func(t *testing.T) { c.test(t, base) })
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		t.Logf("load %s", load)
	}
}

// prepareReal makes base/new, a stage, and base/old, a prefix in which an older release is: every eighth file differs, and every
// fiftieth is only there.
func prepareReal(t *testing.T, base string) {
	for _, dir := range []string{"empty", "stage", "old"} {
		check(t, os.Mkdir(filepath.Join(base, dir), 0o755))
	}
	duplicate(t, *realTree, filepath.Join(base, "new"))
	check(t, os.RemoveAll(filepath.Join(base, "new", home)))
	stage := filepath.Join(base, "stage")
	duplicate(t, filepath.Join(base, "new"), stage)
	entries, err := Scan(stage)
	check(t, err)
	for i, e := range entries {
		name := filepath.Join(stage, e.Path)
		switch {
		case e.Type == typeFile && i%8 == 0:
			check(t, os.WriteFile(name, []byte("older"), 0o644))
		case e.Type == typeFile && i%50 == 1:
			check(t, os.Rename(name, name+".older"))
		}
	}
	dir := filepath.Join(base, "old")
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Commit(t.Context(), stage, manifest(t, "python3.13", stage), Options{}))
	check(t, p.Unlock())
	t.Logf("%d paths", len(entries))
}

func duplicate(t *testing.T, from, to string) {
	t.Helper()
	check(t, os.RemoveAll(to))
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
}

// reset makes the prefix what it was, and the stage anew.
func (c realChange) reset(t *testing.T, base string) {
	duplicate(t, filepath.Join(base, c.before), filepath.Join(base, "prefix"))
	c.restage(t, base)
}

func (c realChange) restage(t *testing.T, base string) {
	if c.stage == "" {
		return
	}
	stage := filepath.Join(base, "stage")
	duplicate(t, filepath.Join(base, c.stage), stage)
	if c.foreign && os.Geteuid() == 0 {
		if out, err := exec.Command("chown", "-R", "65534:65534", stage).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
}

// run carries out the change and returns how many points it had; at the nth the process ends.
func (c realChange) run(t *testing.T, base string, n int) (points int, err error) {
	dir, stage := filepath.Join(base, "prefix"), filepath.Join(base, "stage")
	p, err := lock(dir, func(string, string, bool) error {
		if points++; points == n {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	})
	if err != nil {
		return points, err
	}
	if c.stage != "" {
		err = p.Commit(t.Context(), stage, manifest(t, "python3.13", stage), Options{})
	} else {
		var m *Manifest
		if m, err = ReadManifest(dir, "python3.13"); err == nil {
			_, err = p.Uninstall(t.Context(), m, UninstallOptions{})
		}
	}
	return points, errors.Join(err, p.Unlock())
}

func (c realChange) test(t *testing.T, base string) {
	dir := filepath.Join(base, "prefix")
	c.reset(t, base)
	before := state(t, dir)
	syscall.Sync() // what the copies left to write is not the change's
	m, _ := ReadManifest(dir, "python3.13")
	stage := filepath.Join(base, "stage")
	if c.stage != "" {
		m = manifest(t, "python3.13", stage)
	}
	start := time.Now()
	p, err := Lock(dir)
	check(t, err)
	if c.stage != "" {
		err = p.Commit(t.Context(), stage, m, Options{})
	} else {
		_, err = p.Uninstall(t.Context(), m, UninstallOptions{})
	}
	check(t, errors.Join(err, p.Unlock()))
	took := time.Since(start)
	after := state(t, dir)
	c.reset(t, base)
	points, err := c.run(t, base, 0)
	check(t, err)

	c.reset(t, base)
	slowest, undone, finished := time.Duration(0), 0, 0
	for i := range *realPoints {
		n := 1 + i*(points-1)/max(1, *realPoints-1)
		if i == *realPoints-2 {
			n = points - 20 // between the point of no return and the end
		}
		c.child(t, base, n)
		syscall.Sync()
		start := time.Now()
		p, err := Lock(dir)
		check(t, err)
		slowest = max(slowest, time.Since(start))
		check(t, p.Unlock())
		switch is := state(t, dir); is {
		case before:
			undone++
			c.restage(t, base)
		case after:
			finished++
			c.reset(t, base)
		default:
			t.Fatalf("killed at point %d of %d: neither as before nor as after", n, points)
		}
	}
	t.Logf("%.2f s; killed at %d of %d points, violations 0: %d times as before, %d as after; slowest recovery %.2f s",
		took.Seconds(), *realPoints, points, undone, finished, slowest.Seconds())
	if took > soon || slowest > soon {
		t.Errorf("it took %.2f s, and a recovery %.2f s", took.Seconds(), slowest.Seconds())
	}
	if undone == 0 || finished == 0 {
		t.Error("one of the two was never tried")
	}
}

func (c realChange) child(t *testing.T, base string, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledReal$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("PREFIX_TEST_REAL_KILL=%d", n), "PREFIX_TEST_SCENARIO="+c.name, "PREFIX_TEST_DIR="+base)
	out, err := cmd.CombinedOutput()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("at point %d: %v: %s", n, err, out)
	}
}
