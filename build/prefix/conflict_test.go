package prefix

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestConflicts(t *testing.T) {
	claim := Claim{
		Files:  []string{"bin/python3.13", "lib/libpython3.13.so"},
		Trees:  []string{"lib/python3.13", "include/python3.13"},
		Except: []string{"lib/python3.13/site-packages", "lib/python3.13/dist-packages"},
	}
	ours := tree{"bin/python3.13": "", "lib/python3.13/os.py": "", "lib/python3.13/a/b.py": ""}
	rows := []struct {
		name      string
		installed tree // by us, as python3.13
		more      tree
		want      []string
	}{
		{"nothing", nil, tree{}, nil},
		{"ours", ours, tree{}, nil},
		{"ours and others", ours, tree{"bin/x": "", "lib/python3.13/site-packages/x/y.py": "", "lib/python3.13/dist-packages/z": "-> /", "lib/z": ""}, nil},
		{"ours and what Python compiled", ours, tree{
			"lib/python3.13/__pycache__/os.cpython-313.pyc": "", "lib/python3.13/a/__pycache__/b.cpython-313.opt-2.pyc": "",
		}, nil},
		{"empty directories", nil, tree{"lib/python3.13/x/": "", "include/python3.13/": ""}, nil},
		{"file", nil, tree{"bin/python3.13": ""}, []string{"bin/python3.13"}},
		{"link", nil, tree{"lib/libpython3.13.so": "-> x"}, []string{"lib/libpython3.13.so"}},
		{"directory for a file", nil, tree{"bin/python3.13/": ""}, []string{"bin/python3.13"}},
		{"in a tree", nil, tree{"lib/python3.13/x/y": "", "include/python3.13/z.h": "-> /"}, []string{"include/python3.13/z.h", "lib/python3.13/x/y"}},
		{"beside ours", ours, tree{"lib/python3.13/a/c.py": ""}, []string{"lib/python3.13/a/c.py"}},
		{"compiled from nothing of ours", ours, tree{"lib/python3.13/__pycache__/x.cpython-313.pyc": ""}, []string{"lib/python3.13/__pycache__/x.cpython-313.pyc"}},
		{"link for the exception", nil, tree{"lib/python3.13/site-packages": "-> /tmp"}, nil},
		{"file for the exception", nil, tree{"lib/python3.13/dist-packages": ""}, nil},
		{"file for a tree", nil, tree{"lib/python3.13": ""}, []string{"lib/python3.13"}},
		{"link outside for a tree", nil, tree{"lib/python3.13": "-> /"}, []string{"lib/python3.13"}},
		{"link inside for a tree", nil, tree{"lib/python3.13": "-> ../x", "x/y": ""}, []string{"lib/python3.13/y"}},
		{"file above", nil, tree{"lib": ""}, []string{"lib"}},
		{"link outside above", nil, tree{"lib": "-> ../..", "bin": "-> /bin"}, []string{"bin", "lib"}},
		{"link inside above", nil, tree{"lib": "-> lib64", "lib64/python3.13/x": ""}, []string{"lib/python3.13/x"}},
		{"file for our own directory", nil, tree{"share/pybuild": ""}, []string{"share/pybuild"}},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			if r.installed != nil {
				install(t, dir, "python3.13", r.installed)
			}
			r.more.write(t, dir)
			before := snapshot(t, dir)
			p, err := Lock(dir)
			check(t, err)
			defer func() { check(t, p.Unlock()) }()
			for _, err := range []error{p.Conflicts(claim, Options{}), Conflicts(dir, claim, Options{})} {
				got, ok := errors.AsType[*ConflictError](err)
				if !ok && r.want == nil {
					check(t, err)
				} else if want := (&ConflictError{Prefix: dir, Paths: r.want, Owners: map[string]string{}}); !reflect.DeepEqual(got, want) {
					t.Errorf("got  %v\nwant %v", err, want)
				}
			}
			if snapshot(t, dir) != before {
				t.Error("changed")
			}
		})
	}
}

func TestConflictsInput(t *testing.T) {
	dir := t.TempDir()
	if err := Conflicts(filepath.Join(dir, "none"), Claim{Files: []string{"x"}}, Options{}); err != nil {
		t.Errorf("no prefix: %v", err)
	}
	for _, bad := range []Claim{{Files: []string{"../x"}}, {Trees: []string{"/"}}, {Except: []string{"a//b"}}, {Trees: []string{"."}}} {
		if err := Conflicts(dir, bad, Options{}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestSourceOf(t *testing.T) {
	rows := []struct{ name, want string }{
		{"d/__pycache__/m.cpython-313.pyc", "d/m.py"},
		{"d/__pycache__/m.cpython-313.opt-1.pyc", "d/m.py"},
		{"d/__pycache__/m.pypy39.pyc", "d/m.py"},
		{"__pycache__/m.cpython-313.pyc", "m.py"},
		{"d/__pycache__/m.n.cpython-313.pyc", "d/m.n.py"},
		{"d/__pycache__/m.n.cpython-313.opt-2.pyc", "d/m.n.py"},
		{"d/__pycache__/m.pyc", ""},
		{"d/__pycache__/m.opt-1.pyc", ""},
		{"d/__pycache__/.cpython-313.pyc", ""},
		{"d/__pycache__/m.cpython-313.pyc.123", ""},
		{"d/__pycache__/m.py", ""},
		{"d/x__pycache__/m.cpython-313.pyc", ""},
		{"d/m.cpython-313.pyc", ""},
		{"d/__pycache__", ""},
	}
	for _, r := range rows {
		if got, ok := sourceOf(r.name); got != r.want || ok != (r.want != "") {
			t.Errorf("%s: got %q, %v", r.name, got, ok)
		}
	}
}

func TestConflictErrorIsShort(t *testing.T) {
	e := &ConflictError{Prefix: "/p", Paths: strings.Fields("a b c d e"), Owners: map[string]string{"b": "python3.12"}}
	if want := "in the way in /p: a, b (of python3.12), c and 2 more"; e.Error() != want {
		t.Errorf("got %q", e.Error())
	}
}
