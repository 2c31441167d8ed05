package prefix

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mount mounts for the time of a test, or skips it.
func mount(t *testing.T, args ...string) (dir string, unmount func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", append(args, dir)...).CombinedOutput(); err != nil {
		t.Skipf("mount %v: %v: %s", args, err, out)
	}
	mounted := true
	unmount = func() {
		if mounted {
			mounted = false
			if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		}
	}
	t.Cleanup(unmount)
	return dir, unmount
}

// TestFull changes a prefix on file systems of all sizes from too small to large enough.
func TestFull(t *testing.T) {
	large := tree{}
	for name, contents := range v2 {
		if contents == "v2" {
			contents = strings.Repeat("large", 3000)
		}
		large[name] = contents
	}
	full, done := 0, 0
	for size := 100; done < 2; size += 8 {
		dir, unmount := mount(t, "-t", "tmpfs", "-o", fmt.Sprintf("size=%dk", size), "none")
		p, err := Lock(dir)
		check(t, err)
		first := v1.dir(t)
		check(t, p.Commit(t.Context(), first, manifest(t, "python3.13", first), Options{}))
		before := state(t, dir)
		stage := large.dir(t)
		err = p.Commit(t.Context(), stage, manifest(t, "python3.13", stage), Options{})
		check(t, p.Unlock())
		if err == nil {
			done++
			m, err := ReadManifest(dir, "python3.13")
			check(t, err)
			verify(t, dir, m)
		} else {
			full++
			e, ok := errors.AsType[*ChangeError](err)
			if !ok || e.Undo != nil || !errors.Is(err, syscall.ENOSPC) || state(t, dir) != before {
				t.Fatalf("%d KiB: %v: before\n%safter\n%s", size, err, before, state(t, dir))
			}
		}
		unmount()
	}
	if full == 0 {
		t.Error("it was never full")
	}
	t.Logf("%d sizes too small, violations 0", full)
}

func TestReadOnly(t *testing.T) {
	dir, _ := mount(t, "-t", "tmpfs", "none")
	install(t, dir, "python3.13", v1)
	before := state(t, dir)
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Skipf("remount: %v: %s", err, out)
	}
	_, err := Lock(dir)
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok || !errors.Is(err, syscall.EROFS) || refused.Path != dir || state(t, dir) != before {
		t.Errorf("got %v", err)
	}
	check(t, exec.Command("mount", "-o", "remount,rw", dir).Run()) // the twin
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Unlock())
}

// TestPowerLoss takes the disk away in the middle of a change: what it holds at that moment, and not what the kernel has yet to
// write, is mounted elsewhere and recovered.
func TestPowerLoss(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount")
	}
	for i, s := range scenarios {
		if i%one(2) != 0 { // disks are slow
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			base := t.TempDir()
			image := filepath.Join(base, "image")
			check(t, os.WriteFile(image, nil, 0o600))
			check(t, os.Truncate(image, 8<<20))
			if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
				t.Skipf("mkfs.ext4: %v: %s", err, out)
			}
			disk, _ := mount(t, "-o", "loop", image)
			f := s.fixture(t, disk)
			syscall.Sync()
			var images, points []string
			calls := 0
			check(t, f.change(t, func(op, path string, done bool) error {
				// Around each sync, where what is on disk changes, and at some points between.
				if calls++; op != "sync" && op != "fsync" && path != "share/pybuild/python3.13.json" && calls%one(40) != 0 {
					return nil
				}
				copied := fmt.Sprintf("%s.%d", image, calls)
				images, points = append(images, copied), append(points, fmt.Sprintf("%s %s (done %t)", op, path, done))
				return exec.Command("cp", "--sparse=always", image, copied).Run()
			}))
			before, after, journals := 0, 0, 0
			for i := range images {
				again, unmount := mount(t, "-o", "loop", images[i])
				g := *f
				g.dir = filepath.Join(again, strings.TrimPrefix(f.dir, disk))
				p, err := Lock(g.dir)
				if err != nil {
					t.Fatalf("%s: %v", points[i], err)
				}
				check(t, p.Unlock())
				switch state(t, g.dir) {
				case f.before:
					before++
				case f.after:
					after++
				default:
					t.Errorf("%s: before\n%sis\n%safter\n%s", points[i], f.before, state(t, g.dir), f.after)
				}
				if p.Recovered() != nil {
					journals++
				}
				unmount()
				check(t, os.Remove(images[i]))
			}
			t.Logf("%d points, violations %d: %d times as before, %d as after; a journal was found %d times",
				len(images), len(images)-before-after, before, after, journals)
			if before == 0 || after == 0 || journals == 0 {
				t.Error("one of them was never tried")
			}
		})
	}
}
