package prefix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestUninstall(t *testing.T) {
	installed := tree{
		"bin/python3.13": "python", "bin/python3": "-> python3.13",
		"lib/python3.13/os.py": "os", "lib/python3.13/__pycache__/os.cpython-313.pyc": "os", "lib/python3.13/a/b.py": "b",
		"lib/python3.13/site-packages/README": "r",
	}
	const pyc = "lib/python3.13/__pycache__/os.cpython-313"
	rows := []struct {
		name       string
		spoil      func(t *testing.T, dir string)
		kept, left string
	}{
		{"twin", func(*testing.T, string) {}, "", ""},
		{"foreign files", func(t *testing.T, dir string) {
			tree{"bin/x": "", "lib/python3.13/site-packages/pkg/y.py": "", "share/z": ""}.write(t, dir)
		}, "", "bin/ bin/x lib/ lib/python3.13/ lib/python3.13/site-packages/ lib/python3.13/site-packages/pkg/" +
			" lib/python3.13/site-packages/pkg/y.py share/ share/z"},
		{"changed", func(t *testing.T, dir string) { tree{"lib/python3.13/a/b.py": "B"}.write(t, dir) },
			"lib/python3.13/a/b.py changed", "lib/ lib/python3.13/ lib/python3.13/a/ lib/python3.13/a/b.py"},
		{"longer", func(t *testing.T, dir string) { tree{"lib/python3.13/a/b.py": "bb"}.write(t, dir) },
			"lib/python3.13/a/b.py size", "lib/ lib/python3.13/ lib/python3.13/a/ lib/python3.13/a/b.py"},
		{"only the mode", func(t *testing.T, dir string) { check(t, os.Chmod(filepath.Join(dir, "bin/python3.13"), 0o700)) }, "", ""},
		{"missing", func(t *testing.T, dir string) { check(t, os.RemoveAll(filepath.Join(dir, "lib/python3.13/a"))) }, "", ""},
		{"another link", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "bin/python3")))
			tree{"bin/python3": "-> /bin/sh"}.write(t, dir)
		}, "bin/python3 changed", "bin/ bin/python3"},
		{"file for a link", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "bin/python3")))
			tree{"bin/python3": "script"}.write(t, dir)
		}, "bin/python3 type", "bin/ bin/python3"},
		{"directory for a file", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "bin/python3.13")))
			tree{"bin/python3.13/x": ""}.write(t, dir)
		}, "bin/python3.13 type", "bin/ bin/python3.13/ bin/python3.13/x"},
		{"compiled", func(t *testing.T, dir string) {
			tree{pyc + ".pyc": "compiled again", pyc + ".opt-1.pyc": "", "lib/python3.13/a/__pycache__/b.cpython-313.pyc": ""}.write(t, dir)
		}, "", ""},
		{"compiled from a foreign source", func(t *testing.T, dir string) {
			tree{"lib/python3.13/a/c.py": "", "lib/python3.13/a/__pycache__/c.cpython-313.pyc": ""}.write(t, dir)
		}, "", "lib/ lib/python3.13/ lib/python3.13/a/ lib/python3.13/a/__pycache__/ lib/python3.13/a/__pycache__/c.cpython-313.pyc lib/python3.13/a/c.py"},
		{"compiled from a changed source", func(t *testing.T, dir string) {
			tree{"lib/python3.13/os.py": "mine", pyc + ".pyc": "mine", pyc + ".opt-1.pyc": ""}.write(t, dir)
		}, pyc + ".pyc size lib/python3.13/os.py size", "lib/ lib/python3.13/ lib/python3.13/__pycache__/ " + pyc + ".opt-1.pyc " + pyc + ".pyc lib/python3.13/os.py"},
		{"compiled, and a link", func(t *testing.T, dir string) { tree{pyc + ".opt-1.pyc": "-> /etc/passwd"}.write(t, dir) },
			"", "lib/ lib/python3.13/ lib/python3.13/__pycache__/ " + pyc + ".opt-1.pyc"},
		{"led outside", func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "lib"), filepath.Join(dir, "../outside")))
			tree{"lib": "-> ../outside"}.write(t, dir)
		}, "", "lib"},
		{"moved inside", func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, "lib"), filepath.Join(dir, "lib64")))
			tree{"lib": "-> lib64"}.write(t, dir)
		}, "", "lib lib64/"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "prefix")
			check(t, os.Mkdir(dir, 0o755))
			install(t, dir, "python3.13", installed)
			r.spoil(t, dir)
			m, err := ReadManifest(dir, "python3.13")
			check(t, err)
			p, err := Lock(dir)
			check(t, err)
			kept, err := p.Uninstall(t.Context(), m, UninstallOptions{})
			check(t, err)
			check(t, p.Unlock())
			if got := differences(kept); got != r.kept {
				t.Errorf("kept %q, want %q", got, r.kept)
			}
			if got := names(t, dir); got != r.left {
				t.Errorf("left\n got %s\nwant %s", got, r.left)
			}
			if r.name == "led outside" && !strings.Contains(names(t, filepath.Join(dir, "../outside")), "python3.13/os.py") {
				t.Error("removed something outside")
			}
		})
	}
}

func TestUninstallRefuses(t *testing.T) {
	installed := tree{"bin/python3.13": "python"}
	rows := []struct {
		name  string
		spoil func(m *Manifest, dir string) error
		want  string
	}{
		{"twin", func(*Manifest, string) error { return nil }, ""},
		{"not installed", func(m *Manifest, dir string) error {
			return os.Remove(filepath.Join(dir, "share/pybuild/python3.13.json"))
		},
			"manifest: open DIR/share/pybuild/python3.13.json: file does not exist"},
		{"absolute", func(m *Manifest, dir string) error { m.Paths[1].Path = "/etc/passwd"; return nil },
			`manifest DIR/share/pybuild/python3.13.json lists the bad path "/etc/passwd"`},
		{"up", func(m *Manifest, dir string) error { m.Paths[1].Path = "bin/../../x"; return nil },
			`manifest DIR/share/pybuild/python3.13.json lists the bad path "bin/../../x"`},
		{"bad name", func(m *Manifest, dir string) error { m.Name = "a/b"; return nil }, `manifest DIR/share/pybuild/a/b.json has the bad name "a/b"`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			m := install(t, dir, "python3.13", installed)
			check(t, r.spoil(m, dir))
			before := snapshot(t, dir)
			p, err := Lock(dir)
			check(t, err)
			kept, err := p.Uninstall(t.Context(), m, UninstallOptions{})
			check(t, p.Unlock())
			if got := strings.ReplaceAll(text(err), dir, "DIR"); got != r.want || kept != nil {
				t.Errorf("got %q, %v", got, kept)
			}
			if r.name == "not installed" && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v", err)
			}
			if (snapshot(t, dir) == before) != (r.want != "") {
				t.Errorf("left %s", names(t, dir))
			}
		})
	}
}

// TestUninstallHostile: a manifest that was edited to list what it does not own removes nothing that it cannot describe, and
// nothing that another one lists.
func TestUninstallHostile(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "python3.12", tree{"bin/python3.12": "twelve"})
	m := install(t, dir, "python3.13", tree{"bin/python3.13": "thirteen"})
	tree{"bin/foreign": "foreign"}.write(t, dir)
	other, err := ReadManifest(dir, "python3.12")
	check(t, err)
	for _, e := range other.Paths {
		if e.Type == typeFile {
			m.Paths = append(m.Paths[:1:1], e, m.Paths[1], m.Paths[2])
		}
	}
	foreign := Entry{Path: "bin/foreign", Type: typeFile, Mode: "0755", Size: 7, SHA256: strings.Repeat("0", 64)}
	m.Paths = append([]Entry{m.Paths[0], foreign}, m.Paths[1:]...)
	p, err := Lock(dir)
	check(t, err)
	kept, err := p.Uninstall(t.Context(), m, UninstallOptions{})
	check(t, err)
	check(t, p.Unlock())
	if got := differences(kept); got != "bin/foreign changed bin/python3.12 shared" {
		t.Errorf("kept %s", got)
	}
	if got := names(t, dir); got != "bin/ bin/foreign bin/python3.12 share/ share/pybuild/ share/pybuild/python3.12.json" {
		t.Errorf("left %s", got)
	}
}
