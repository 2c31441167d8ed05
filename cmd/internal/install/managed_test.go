package install

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/build/prefix"
	"pybuild/verify/pep668"
)

// The marker is written where pip looks for it, and never through a link that a build has left in its stage.
func TestMark(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	rel := resolve(t, in, "3.13.5")
	for _, test := range []struct {
		name string
		set  func(stage, elsewhere string) error // before
		want string                              // part of the error; empty for none
	}{
		{"directory", func(stage, _ string) error { return os.MkdirAll(filepath.Join(stage, "p/lib/python3.13"), 0o755) }, ""},
		{"no library", func(stage, _ string) error { return nil }, "no such file or directory"},
		{"a marker of the build's", func(stage, _ string) error {
			return errors.Join(os.MkdirAll(filepath.Join(stage, "p/lib/python3.13"), 0o755), os.WriteFile(filepath.Join(stage, "p/lib/python3.13/EXTERNALLY-MANAGED"), nil, 0o644))
		}, "file exists"},
		{"a link out of the stage", func(stage, elsewhere string) error {
			return errors.Join(os.MkdirAll(filepath.Join(stage, "p/lib"), 0o755), os.Symlink(elsewhere, filepath.Join(stage, "p/lib/python3.13")))
		}, "path escapes from parent"},
		{"a link on the way", func(stage, elsewhere string) error {
			return errors.Join(os.MkdirAll(filepath.Join(elsewhere, "lib/python3.13"), 0o755), os.Symlink(elsewhere, filepath.Join(stage, "p")))
		}, "path escapes from parent"},
		{"a marker that is a link", func(stage, elsewhere string) error {
			return errors.Join(os.MkdirAll(filepath.Join(stage, "p/lib/python3.13"), 0o755), os.Symlink(filepath.Join(elsewhere, "x"), filepath.Join(stage, "p/lib/python3.13/EXTERNALLY-MANAGED")))
		}, "file exists"},
	} {
		t.Run(test.name, func(t *testing.T) {
			stage, elsewhere := t.TempDir(), t.TempDir()
			if err := test.set(stage, elsewhere); err != nil {
				t.Fatal(err)
			}
			err := mark(stage, rel, Options{Prefix: "/p", Managed: true})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
			if list, err := pep668.Find(elsewhere); err != nil || len(list) > 0 {
				t.Errorf("written outside: %v, %v", list, err)
			}
			root, err := os.OpenRoot(stage)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			m := pep668.Read(root.FS(), "/p/lib/python3.13", "")
			if read := m.Key == "Error" && m.State == pep668.MarkerPresent; read != (test.want == "") {
				t.Errorf("pip reads %+v", m)
			}
			if err := mark(stage, rel, Options{Prefix: "/p"}); err != nil {
				t.Errorf("not asked for: %v", err)
			}
		})
	}
}

// A marker is no reason to refuse if it is in our own list of files, and is one if it is not.
func TestForeignMarker(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	rel := resolve(t, in, "3.13.5")
	const file = "lib/python3.13/EXTERNALLY-MANAGED"
	for _, listed := range []bool{true, false} {
		dir, stage := t.TempDir(), t.TempDir()
		for _, root := range []string{dir, filepath.Join(stage, dir)} {
			if err := os.MkdirAll(filepath.Join(root, "lib/python3.13"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		o := Options{Prefix: dir, Managed: listed}
		if err := mark(stage, rel, o); err != nil {
			t.Fatal(err)
		}
		entries, err := prefix.Scan(filepath.Join(stage, dir))
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.ContainsFunc(entries, func(e prefix.Entry) bool { return e.Path == file }); got != listed {
			t.Fatalf("listed %v", got)
		}
		target, err := prefix.Lock(dir)
		if err != nil {
			t.Fatal(err)
		}
		m := &prefix.Manifest{Name: "python3.13", Version: "3.13.5", Executable: "bin/python3.13", Marker: marker(o), Paths: entries}
		if err := errors.Join(target.Commit(t.Context(), filepath.Join(stage, dir), m, prefix.Options{}), target.Unlock()); err != nil {
			t.Fatal(err)
		}
		if !listed {
			if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		err = in.foreign(t.Context(), rel, o)
		refused, _ := errors.AsType[*prefix.RefusedError](err)
		if listed && err != nil || !listed && (refused == nil || refused.Path != filepath.Join(dir, file)) {
			t.Errorf("listed %v: %v", listed, err)
		}
	}
}
