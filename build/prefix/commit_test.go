package prefix

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The first and the second version of an installation: v2 replaces, adds and lacks files, makes a directory of one and a file
// of a directory.
var (
	v1 = tree{
		"bin/python3.13": "v1", "bin/idle3.13": "same",
		"lib/libpython3.13.so":                               "-> libpython3.13.so.1.0",
		"lib/python3.13/os.py":                               "v1",
		"lib/python3.13/__pycache__/os.cpython-313.pyc":      "v1",
		"lib/python3.13/old/gone.py":                         "v1",
		"lib/python3.13/old/kept/gone.py":                    "v1",
		"lib/python3.13/file-then-dir":                       "v1",
		"lib/python3.13/dir-then-file/a.py":                  "v1",
		"lib/python3.13/dir-then-file/__pycache__/a.x-1.pyc": "v1",
		"lib/python3.13/site-packages/":                      "",
		"share/man/man1/python3.13.1":                        "v1",
	}
	v2 = tree{
		"bin/python3.13": "version 2", "bin/idle3.13": "same",
		"lib/libpython3.13.so":                                "-> libpython3.13.so.2.0",
		"lib/python3.13/os.py":                                "v2",
		"lib/python3.13/__pycache__/os.cpython-313.pyc":       "v2",
		"lib/python3.13/__pycache__/os.cpython-313.opt-2.pyc": "v2",
		"lib/python3.13/file-then-dir/b.py":                   "v2",
		"lib/python3.13/dir-then-file":                        "v2",
		"lib/python3.13/new/mod.py":                           "v2",
		"lib/python3.13/site-packages/":                       "",
		"share/man/man1/python3.13.1":                         "v2",
	}
	// Before the installation, and what came after v1: others' files, and what Python makes by itself.
	foreign = tree{"bin/foreign": "f", "bin/": "2775", "share/doc/x": "f", "lib/": "0711"}
	since   = tree{
		"lib/python3.13/site-packages/pkg/mod.py":                  "f",
		"lib/python3.13/old/kept/foreign":                          "f",
		"lib/python3.13/__pycache__/os.cpython-313.opt-1.pyc":      "compiled",
		"lib/python3.13/__pycache__/os.cpython-313.opt-2.pyc":      "compiled",
		"lib/python3.13/old/__pycache__/gone.cpython-313.pyc":      "compiled",
		"lib/python3.13/old/kept/__pycache__/gone.cpython-313.pyc": "compiled",
	}
)

// manifest describes a stage.
func manifest(t testing.TB, name, stage string) *Manifest {
	t.Helper()
	m := &Manifest{Name: name, Version: "3.13.0", Executable: "bin/" + name}
	var err error
	m.Paths, err = Scan(stage)
	check(t, err)
	return m
}

// install commits a tree.
func install(t testing.TB, dir, name string, tr tree) *Manifest {
	t.Helper()
	stage := tr.dir(t, filepath.Dir(dir)) // the same file system
	m := manifest(t, name, stage)
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Commit(t.Context(), stage, m, Options{}))
	check(t, p.Unlock())
	return m
}

// recorded is the paths of a manifest, directories with a slash.
func recorded(m *Manifest) string {
	var list []string
	for _, e := range m.Paths {
		if e.Type == typeDir {
			e.Path += "/"
		}
		list = append(list, e.Path)
	}
	return strings.Join(list, " ")
}

// verify checks that the manifest on disk is m and that everything is as it says.
func verify(t testing.TB, dir string, m *Manifest) {
	t.Helper()
	onDisk, err := ReadManifest(dir, m.Name)
	check(t, err)
	if recorded(onDisk) != recorded(m) || onDisk.Prefix != dir || onDisk.Format != 1 {
		t.Errorf("on disk %s in %s: %s\nin memory %s", onDisk.Name, onDisk.Prefix, recorded(onDisk), recorded(m))
	}
	found, err := onDisk.Compare(dir)
	check(t, err)
	if len(found) > 0 {
		t.Errorf("differences: %s", differences(found))
	}
}

func TestInstallUpgradeUninstall(t *testing.T) {
	dir := foreign.dir(t)
	check(t, os.Chmod(filepath.Join(dir, "bin"), 0o775|fs.ModeSetgid)) // whatever the order of writing
	before := snapshot(t, dir)

	m := install(t, dir, "python3.13", v1)
	verify(t, dir, m)
	want := "bin/idle3.13 bin/python3.13 lib/libpython3.13.so lib/python3.13/ lib/python3.13/__pycache__/ lib/python3.13/__pycache__/os.cpython-313.pyc" +
		" lib/python3.13/dir-then-file/ lib/python3.13/dir-then-file/__pycache__/ lib/python3.13/dir-then-file/__pycache__/a.x-1.pyc" +
		" lib/python3.13/dir-then-file/a.py lib/python3.13/file-then-dir lib/python3.13/old/ lib/python3.13/old/gone.py lib/python3.13/old/kept/" +
		" lib/python3.13/old/kept/gone.py lib/python3.13/os.py lib/python3.13/site-packages/ share/man/ share/man/man1/ share/man/man1/python3.13.1 share/pybuild/"
	if got := recorded(m); got != want {
		t.Errorf("recorded\n got %s\nwant %s", got, want)
	}

	since.write(t, dir)
	m = install(t, dir, "python3.13", v2)
	verify(t, dir, m)
	// old/kept is not empty, so it is still there, and ours.
	want = "bin/idle3.13 bin/python3.13 lib/libpython3.13.so lib/python3.13/ lib/python3.13/__pycache__/ lib/python3.13/__pycache__/os.cpython-313.opt-2.pyc" +
		" lib/python3.13/__pycache__/os.cpython-313.pyc lib/python3.13/dir-then-file lib/python3.13/file-then-dir/ lib/python3.13/file-then-dir/b.py" +
		" lib/python3.13/new/ lib/python3.13/new/mod.py lib/python3.13/old/ lib/python3.13/old/kept/ lib/python3.13/os.py lib/python3.13/site-packages/" +
		" share/man/ share/man/man1/ share/man/man1/python3.13.1 share/pybuild/"
	if got := recorded(m); got != want {
		t.Errorf("recorded\n got %s\nwant %s", got, want)
	}
	want = "bin/ bin/foreign bin/idle3.13 bin/python3.13 lib/ lib/libpython3.13.so lib/python3.13/ lib/python3.13/__pycache__/" +
		" lib/python3.13/__pycache__/os.cpython-313.opt-2.pyc lib/python3.13/__pycache__/os.cpython-313.pyc lib/python3.13/dir-then-file" +
		" lib/python3.13/file-then-dir/ lib/python3.13/file-then-dir/b.py lib/python3.13/new/ lib/python3.13/new/mod.py lib/python3.13/old/" +
		" lib/python3.13/old/kept/ lib/python3.13/old/kept/foreign lib/python3.13/os.py lib/python3.13/site-packages/" +
		" lib/python3.13/site-packages/pkg/ lib/python3.13/site-packages/pkg/mod.py share/ share/doc/ share/doc/x share/man/ share/man/man1/" +
		" share/man/man1/python3.13.1 share/pybuild/ share/pybuild/python3.13.json"
	if got := names(t, dir); got != want {
		t.Errorf("on disk\n got %s\nwant %s", got, want)
	}
	text := read(t, dir, "share/pybuild/python3.13.json")
	again := install(t, dir, "python3.13", v2)
	verify(t, dir, again)
	if text != read(t, dir, "share/pybuild/python3.13.json") {
		t.Error("the same again wrote another manifest")
	}

	check(t, os.RemoveAll(filepath.Join(dir, "lib/python3.13/site-packages/pkg")))
	check(t, os.Remove(filepath.Join(dir, "lib/python3.13/old/kept/foreign")))
	p, err := Lock(dir)
	check(t, err)
	kept, err := p.Uninstall(t.Context(), again, UninstallOptions{})
	check(t, err)
	check(t, p.Unlock())
	if len(kept) > 0 {
		t.Errorf("kept %s", differences(kept))
	}
	if after := snapshot(t, dir); after != before {
		t.Errorf("before\n%safter\n%s", before, after)
	}
}

// TestTwoPythons share directories, which the last one removes, whichever it is.
func TestTwoPythons(t *testing.T) {
	for _, order := range [][]string{{"python3.12", "python3.13"}, {"python3.13", "python3.12"}} {
		t.Run(order[0], func(t *testing.T) {
			dir := t.TempDir()
			for _, name := range []string{"python3.12", "python3.13"} {
				install(t, dir, name, tree{"bin/" + name: name, "lib/" + name + "/os.py": "", "share/man/man1/" + name + ".1": ""})
			}
			p, err := Lock(dir)
			check(t, err)
			defer func() { check(t, p.Unlock()) }()
			for i, name := range order {
				m, err := ReadManifest(dir, name)
				check(t, err)
				verify(t, dir, m)
				kept, err := p.Uninstall(t.Context(), m, UninstallOptions{})
				check(t, err)
				if len(kept) > 0 {
					t.Errorf("kept %s", differences(kept))
				}
				if i == 0 {
					other, err := ReadManifest(dir, order[1])
					check(t, err)
					verify(t, dir, other)
				}
			}
			if got := names(t, dir); got != "" {
				t.Errorf("left %s", got)
			}
		})
	}
}

func TestCommitModes(t *testing.T) {
	stage := tree{"bin/python3.13": "x", "lib/a/": "", "lib/b": "", "g/new/f": ""}.dir(t)
	m := manifest(t, "python3.13", stage)
	for i, mode := range map[string]string{"bin/python3.13": "0751", "lib/a": "0700", "lib/b": "0604", "g/new": "0775"} {
		for k := range m.Paths {
			if m.Paths[k].Path == i {
				m.Paths[k].Mode = mode
			}
		}
	}
	dir := tree{"g/": "2710"}.dir(t)
	defer syscall.Umask(syscall.Umask(0o077))
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Commit(t.Context(), stage, m, Options{}))
	check(t, p.Unlock())
	for name, want := range map[string]string{
		"bin": "0755", "bin/python3.13": "0751", "lib": "0755", "lib/a": "0700", "lib/b": "0604", "share": "0755", "share/pybuild": "0755",
		"share/pybuild/python3.13.json": "0644", "g": "2710", "g/new": "2775", "g/new/f": "0644",
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if got := octal(info.Mode()); got != want {
			t.Errorf("%s has mode %s, want %s", name, got, want)
		}
	}
	verify(t, dir, m)
}

// stageOf is what most rows below install.
var stageOf = tree{"bin/python3.13": "new", "lib/python3.13/os.py": "new", "lib/python3.13/sub/a.py": "new"}

func TestCommitConflicts(t *testing.T) {
	owned := func(name, path string) string {
		m := sample()
		m.Name = name
		m.Paths = []Entry{{Path: path, Type: typeFile, Mode: "0644", SHA256: sum(nil)}}
		if strings.HasPrefix(path, "bin/") {
			m.Paths[0].Mode = "0755"
		}
		data, err := m.encode()
		check(t, err)
		return string(data)
	}
	const manifest12, manifest13 = "share/pybuild/python3.12.json", "share/pybuild/python3.13.json"
	rows := []struct {
		name   string
		before tree
		want   string
	}{
		{"twin: empty", tree{}, ""},
		{"twin: directories", tree{"bin/": "", "lib/python3.13/sub/": ""}, ""},
		{"twin: others beside", tree{"bin/python3.12": "", "lib/python3.13/site-packages/x": ""}, ""},
		{"file", tree{"bin/python3.13": ""}, "in the way in DIR: bin/python3.13"},
		{"file, ours", tree{"bin/python3.13": "", manifest13: owned("python3.13", "bin/python3.13")}, ""},
		{"file, ours, changed", tree{"bin/python3.13": "changed", manifest13: owned("python3.13", "bin/python3.13")},
			"in the way in DIR: bin/python3.13 (changed since it was installed)"},
		{"file, ours, missing", tree{manifest13: owned("python3.13", "bin/python3.13")}, ""},
		{"file, another's", tree{"bin/python3.13": "", manifest12: owned("python3.12", "bin/python3.13")},
			"in the way in DIR: bin/python3.13 (of python3.12)"},
		{"missing file, another's", tree{manifest12: owned("python3.12", "bin/python3.13")}, "in the way in DIR: bin/python3.13 (of python3.12)"},
		{"file, both's", tree{"bin/python3.13": "", manifest12: owned("python3.12", "bin/python3.13"), manifest13: owned("python3.13", "bin/python3.13")},
			"in the way in DIR: bin/python3.13 (of python3.12)"},
		{"link", tree{"bin/python3.13": "-> /bin/sh"}, "in the way in DIR: bin/python3.13"},
		{"link for ours", tree{"bin/python3.13": "-> /bin/sh", manifest13: owned("python3.13", "bin/python3.13")},
			"in the way in DIR: bin/python3.13 (changed since it was installed)"},
		{"dangling link", tree{"bin/python3.13": "-> none"}, "in the way in DIR: bin/python3.13"},
		{"directory", tree{"bin/python3.13/": ""}, "in the way in DIR: bin/python3.13"},
		{"directory where ours was", tree{"bin/python3.13/": "", manifest13: owned("python3.13", "bin/python3.13")},
			"in the way in DIR: bin/python3.13 (changed since it was installed)"},
		{"file for a directory", tree{"lib": ""}, "in the way in DIR: lib"},
		{"file for a directory, ours", tree{"lib/python3.13/sub": "", manifest13: owned("python3.13", "lib/python3.13/sub")}, ""},
		{"file for a directory, another's", tree{"lib/python3.13/sub": "", manifest12: owned("python3.12", "lib/python3.13/sub")},
			"in the way in DIR: lib/python3.13/sub (of python3.12)"},
		{"link to a directory inside", tree{"lib64/": "", "lib": "-> lib64"}, ""},
		{"link up and in again", tree{"x/lib64/": "", "lib": "-> x/../x/lib64"}, ""},
		{"link outside", tree{"lib": "-> ../.."}, "in the way in DIR: lib"},
		{"absolute link", tree{"lib": "-> /tmp"}, "in the way in DIR: lib"},
		{"link to a link outside", tree{"lib": "-> l", "l": "-> /"}, "in the way in DIR: lib"},
		{"link to a file", tree{"lib": "-> f", "f": ""}, "in the way in DIR: lib"},
		{"link to nothing", tree{"lib": "-> none"}, "in the way in DIR: lib"},
		{"link to itself", tree{"lib": "-> lib"}, "in the way in DIR: lib"},
		{"deep link outside", tree{"lib/python3.13/sub": "-> /etc"}, "in the way in DIR: lib/python3.13/sub"},
		{"share is a file", tree{"share": ""}, "in the way in DIR: share"},
		{"share leads outside", tree{"share": "-> /tmp"}, "in the way in DIR: share"},
		{"share leads inside", tree{"share": "-> data", "data/": ""}, ""},
		{"manifests are a file", tree{"share/pybuild": ""}, "in the way in DIR: share/pybuild"},
		{"compiled from ours", tree{"lib/python3.13/__pycache__/os.cpython-313.pyc": "", manifest13: owned("python3.13", "lib/python3.13/os.py")}, ""},
		{"compiled from nothing", tree{"lib/python3.13/__pycache__/os.cpython-313.pyc": ""},
			"in the way in DIR: lib/python3.13/__pycache__/os.cpython-313.pyc"},
		{"all of it", tree{"bin/python3.13": "", "lib/python3.13/os.py": "", "lib/python3.13/sub/a.py": "", "lib/python3.13/__pycache__/os.cpython-313.pyc": ""},
			"in the way in DIR: bin/python3.13, lib/python3.13/__pycache__/os.cpython-313.pyc, lib/python3.13/os.py and 1 more"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := r.before.dir(t)
			stage := stageOf.dir(t)
			tree{"lib/python3.13/__pycache__/os.cpython-313.pyc": "new"}.write(t, stage)
			m := manifest(t, "python3.13", stage)
			before, staged, listed := snapshot(t, dir), snapshot(t, stage), recorded(m)
			p, err := Lock(dir)
			check(t, err)
			defer func() { check(t, p.Unlock()) }()
			err = p.Commit(t.Context(), stage, m, Options{})
			if got := strings.ReplaceAll(text(err), dir, "DIR"); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			if _, ok := errors.AsType[*ConflictError](err); ok != (r.want != "") {
				t.Errorf("%T", err)
			}
			if err == nil {
				verify(t, dir, m)
				if got := read(t, dir, "bin/python3.13"); got != "new" {
					t.Errorf("python is %q", got)
				}
			} else if snapshot(t, dir) != before || snapshot(t, stage) != staged || recorded(m) != listed {
				t.Errorf("before\n%safter\n%s", before, snapshot(t, dir))
			}
		})
	}
}

// TestCommitRace has a foreign file appear after the change was planned.
func TestCommitRace(t *testing.T) {
	for _, device := range []string{"same", "other"} {
		t.Run(device, func(t *testing.T) {
			dir, stage := t.TempDir(), stageOf.dir(t)
			m := manifest(t, "python3.13", stage)
			p, err := lock(dir, nil)
			check(t, err)
			p.fail = func(op, path string, done bool) error {
				if op == "rename" && path == "lib/python3.13/os.py" && !done {
					tree{path: "foreign"}.write(t, dir)
				}
				if op == "move" && device == "other" {
					return syscall.EXDEV
				}
				return nil
			}
			err = p.Commit(t.Context(), stage, m, Options{})
			want := fmt.Sprintf("changing %s: rename lib/python3.13/os.py: in the way in %[1]s: lib/python3.13/os.py; everything was put back", dir)
			if _, ok := errors.AsType[*ConflictError](err); !ok || text(err) != want {
				t.Errorf("got  %q\nwant %q", text(err), want)
			}
			check(t, p.Unlock())
			if got := names(t, dir); got != "lib/ lib/python3.13/ lib/python3.13/os.py" || read(t, dir, "lib/python3.13/os.py") != "foreign" {
				t.Errorf("left %s", got)
			}
		})
	}
}

func TestCommitRefusesStage(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(t *testing.T, stage string, m *Manifest)
		want  string
	}{
		{"twin", func(*testing.T, string, *Manifest) {}, ""},
		{"more in the stage", func(t *testing.T, stage string, m *Manifest) { tree{"lib/x": ""}.write(t, stage) }, `STAGE: "lib/x" is not in the manifest`},
		{"more at its end", func(t *testing.T, stage string, m *Manifest) { tree{"z": ""}.write(t, stage) }, `STAGE: "z" is not in the manifest`},
		{"less in the stage", func(t *testing.T, stage string, m *Manifest) {
			check(t, os.Remove(filepath.Join(stage, "bin/python3.13")))
		},
			`STAGE: "bin/python3.13" is only in the manifest`},
		{"nothing in it", func(t *testing.T, stage string, m *Manifest) {
			check(t, os.RemoveAll(stage))
			check(t, os.Mkdir(stage, 0o755))
		},
			`STAGE: "bin" is only in the manifest`},
		{"another size", func(t *testing.T, stage string, m *Manifest) {
			check(t, os.Truncate(filepath.Join(stage, "bin/python3.13"), 1))
		},
			`STAGE: "bin/python3.13" is not what the manifest says`},
		{"a pipe", func(t *testing.T, stage string, m *Manifest) {
			check(t, syscall.Mkfifo(filepath.Join(stage, "p"), 0o600))
		},
			`STAGE: "p" is neither a file, a directory nor a link`},
		{"no stage", func(t *testing.T, stage string, m *Manifest) { check(t, os.RemoveAll(stage)) }, "stage: open STAGE: no such file or directory"},
		{"bad path", func(t *testing.T, stage string, m *Manifest) { m.Paths[1].Path = "../x" }, `manifest DIR/share/pybuild/python3.13.json lists the bad path "../x"`},
		{"a manifest in the stage", func(t *testing.T, stage string, m *Manifest) {
			tree{"share/pybuild/python3.12.json": ""}.write(t, stage)
			*m = *manifest(t, "python3.13", stage)
		}, `manifest DIR/share/pybuild/python3.13.json lists "share/pybuild/python3.12.json" where manifests are kept`},
		{"bad name", func(t *testing.T, stage string, m *Manifest) { m.Name = "../x" }, `manifest DIR/share/x.json has the bad name "../x"`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir, stage := t.TempDir(), stageOf.dir(t)
			m := manifest(t, "python3.13", stage)
			r.spoil(t, stage, m)
			p, err := Lock(dir)
			check(t, err)
			err = p.Commit(t.Context(), stage, m, Options{})
			if got := strings.NewReplacer(dir, "DIR", stage, "STAGE").Replace(text(err)); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			check(t, p.Unlock())
			if got := names(t, dir); (got == "") != (r.want != "") {
				t.Errorf("left %s", got)
			}
		})
	}
}

// TestBrokenNeighbour: nothing is changed while it is not known what belongs to whom.
func TestBrokenNeighbour(t *testing.T) {
	dir := t.TempDir()
	m := install(t, dir, "python3.13", stageOf)
	tree{"share/pybuild/python3.12.json": "{}"}.write(t, dir)
	before := snapshot(t, dir)
	stage := stageOf.dir(t)
	p, err := Lock(dir)
	check(t, err)
	defer func() { check(t, p.Unlock()) }()
	want := "manifest " + dir + "/share/pybuild/python3.12.json has format 0"
	if err := p.Commit(t.Context(), stage, manifest(t, "python3.13", stage), Options{}); text(err) != want {
		t.Errorf("commit: %v", err)
	}
	if _, err := p.Uninstall(t.Context(), m, UninstallOptions{}); text(err) != want {
		t.Errorf("uninstall: %v", err)
	}
	if err := p.Conflicts(Claim{Files: []string{"x"}}, Options{}); text(err) != want {
		t.Errorf("conflicts: %v", err)
	}
	if snapshot(t, dir) != before {
		t.Error("changed")
	}
}

// TestCommitAcrossDevices uses two file systems, when there are two.
func TestCommitAcrossDevices(t *testing.T) {
	const other = "/dev/shm"
	dir := t.TempDir()
	device := func(name string) uint64 {
		info, err := os.Stat(name)
		if err != nil {
			t.Skipf("no second file system: %v", err)
		}
		return uint64(info.Sys().(*syscall.Stat_t).Dev)
	}
	if device(dir) == device(other) {
		t.Skipf("%s and %s are on the same file system", dir, other)
	}
	if err := os.WriteFile(filepath.Join(dir, "probe"), nil, 0o600); err != nil {
		t.Skip(err)
	}
	check(t, os.Remove(filepath.Join(dir, "probe")))
	installed(t, dir)
	stage := v2.dir(t, other)
	staged := snapshot(t, stage)
	m := manifest(t, "python3.13", stage)
	p, err := Lock(dir)
	check(t, err)
	check(t, p.Commit(t.Context(), stage, m, Options{}))
	check(t, p.Unlock())
	verify(t, dir, m)
	info, err := os.Stat(filepath.Join(dir, "bin/python3.13"))
	check(t, err)
	if octal(info.Mode()) != "0755" || !info.ModTime().Equal(epoch) || read(t, dir, "bin/python3.13") != "version 2" {
		t.Errorf("%v %v", info.Mode(), info.ModTime())
	}
	if target, err := os.Readlink(filepath.Join(dir, "lib/libpython3.13.so")); target != "libpython3.13.so.2.0" {
		t.Errorf("link to %q, %v", target, err)
	}
	if strings.Contains(names(t, dir), "/.") {
		t.Errorf("left %s", names(t, dir))
	}
	if snapshot(t, stage) != staged {
		t.Error("the stage was changed")
	}
}

// BenchmarkQuick looks at 5 000 files.
func BenchmarkQuick(b *testing.B) {
	big := tree{}
	for i := range 5000 {
		big[fmt.Sprintf("lib/python3.13/d%02d/f%04d.txt", i%100, i)] = fmt.Sprint(i)
	}
	dir := big.dir(b)
	m := manifest(b, "python3.13", dir)
	for b.Loop() {
		found, err := m.Quick(dir)
		check(b, err)
		if len(found) > 0 {
			b.Fatal(found)
		}
	}
}

// TestRename: neither way of renaming replaces anything.
func TestRename(t *testing.T) {
	for name, do := range map[string]func(int, string, int, string) error{"in one call": renameAt, "after a look": renameAfterLook} {
		t.Run(name, func(t *testing.T) {
			dir := tree{"a": "a", "b": "b", "c/": "", "l": "-> none"}.dir(t)
			f, err := os.Open(dir)
			check(t, err)
			defer func() { check(t, f.Close()) }()
			fd := int(f.Fd())
			for _, to := range []string{"b", "c", "l"} {
				if err := do(fd, "a", fd, to); !errors.Is(err, fs.ErrExist) {
					t.Errorf("to %s: %v", to, err)
				}
			}
			if err := do(fd, "none", fd, "x"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("of nothing: %v", err)
			}
			check(t, do(fd, "a", fd, "x"))
			if got := names(t, dir); got != "b c/ l x" || read(t, dir, "x") != "a" || read(t, dir, "b") != "b" {
				t.Errorf("left %s", got)
			}
		})
	}
}
