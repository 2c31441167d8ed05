package prefix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// kept lists what a manifest says was kept aside.
func kept(m *Manifest) string {
	var list []string
	for _, a := range m.Aside {
		s := a.Kept + " " + a.Type
		if a.Own {
			s += " own"
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func TestForce(t *testing.T) {
	first := tree{"bin/python3.13": "v1", "lib/python3.13/os.py": "v1", "lib/python3.13/gone.py": "v1"}
	next := tree{"bin/python3.13": "v2", "lib/python3.13/os.py": "v2", "bin/new": "v2"}
	rows := []struct {
		name      string
		spoil     tree // written over the first version
		conflict  string
		kept      string // after a forced upgrade
		uninstall string // what is left when that is removed
	}{
		{"twin", tree{"bin/foreign": ""}, "", "", "bin/ bin/foreign"},
		{"foreign file", tree{"bin/new": "f"}, "bin/new", "bin/new.pybuild-old file", "bin/ bin/new"},
		{"foreign link", tree{"bin/new": "-> f"}, "bin/new", "bin/new.pybuild-old link", "bin/ bin/new"},
		{"foreign directory", tree{"bin/new/x": "f"}, "bin/new", "bin/new.pybuild-old dir", "bin/ bin/new/ bin/new/x"},
		{"name taken", tree{"bin/new": "f", "bin/new.pybuild-old": "f", "bin/new.pybuild-old.1": "f"}, "bin/new", "bin/new.pybuild-old.2 file",
			"bin/ bin/new bin/new.pybuild-old bin/new.pybuild-old.1"},
		{"changed file", tree{"bin/python3.13": "mine"}, "bin/python3.13 (changed since it was installed)", "bin/python3.13.pybuild-old file own",
			"bin/ bin/python3.13.pybuild-old"},
		{"changed file that goes", tree{"lib/python3.13/gone.py": "mine"}, "lib/python3.13/gone.py (changed since it was installed)",
			"lib/python3.13/gone.py.pybuild-old file own", "lib/ lib/python3.13/ lib/python3.13/gone.py.pybuild-old"},
		{"both", tree{"bin/new": "f", "bin/python3.13": "mine"}, "bin/new, bin/python3.13 (changed since it was installed)",
			"bin/new.pybuild-old file, bin/python3.13.pybuild-old file own", "bin/ bin/new bin/python3.13.pybuild-old"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "prefix")
			check(t, os.Mkdir(dir, 0o755))
			install(t, dir, "python3.13", first)
			r.spoil.write(t, dir)
			before := snapshot(t, dir)
			p, err := Lock(dir)
			check(t, err)
			defer func() { check(t, p.Unlock()) }()
			want := ""
			if r.conflict != "" {
				want = "in the way in " + dir + ": " + r.conflict
			}
			stage := next.dir(t)
			m := manifest(t, "python3.13", stage)
			if r.conflict != "" { // else it would succeed
				if err := p.Commit(t.Context(), stage, m, Options{}); text(err) != want || snapshot(t, dir) != before {
					t.Errorf("got  %v\nwant %s", err, want)
				}
			}
			claim := Claim{Name: "python3.13", Files: []string{"bin/python3.13", "bin/new"}}
			if err := p.Conflicts(claim, Options{}); text(err) != want {
				t.Errorf("before the build: got  %v\nwant %s", err, want)
			}
			check(t, p.Conflicts(claim, Options{Force: true}))

			check(t, p.Commit(t.Context(), stage, m, Options{Force: true}))
			verify(t, dir, m)
			m, err = ReadManifest(dir, "python3.13")
			check(t, err)
			if got := kept(m); got != r.kept {
				t.Errorf("kept %q, want %q", got, r.kept)
			}
			for _, a := range m.Aside {
				if want := r.spoil[a.Path]; a.Type == typeFile && read(t, dir, a.Kept) != want {
					t.Errorf("%s holds %q", a.Kept, read(t, dir, a.Kept))
				}
			}
			stage = next.dir(t) // the next one remembers
			again := manifest(t, "python3.13", stage)
			check(t, p.Commit(t.Context(), stage, again, Options{}))
			if got := kept(again); got != r.kept {
				t.Errorf("again: kept %q, want %q", got, r.kept)
			}
			_, err = p.Uninstall(t.Context(), again, UninstallOptions{})
			check(t, err)
			if got := names(t, dir); got != r.uninstall {
				t.Errorf("left\n got %s\nwant %s", got, r.uninstall)
			}
		})
	}
	t.Run("changed when kept", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "prefix")
		tree{"bin/new": "f"}.write(t, dir)
		m := commit(t, dir, next, Options{Force: true})
		tree{"bin/new.pybuild-old": "changed"}.write(t, dir)
		p, err := Lock(dir)
		check(t, err)
		_, err = p.Uninstall(t.Context(), m, UninstallOptions{})
		check(t, err)
		check(t, p.Unlock())
		if got := names(t, dir); got != "bin/ bin/new.pybuild-old" {
			t.Errorf("left %s", got)
		}
	})
	t.Run("another Python's", func(t *testing.T) {
		dir := t.TempDir()
		install(t, dir, "python3.13t", tree{"bin/pip3.13": "t"})
		want := "in the way in " + dir + ": bin/pip3.13 (of python3.13t)"
		if err := Conflicts(dir, Claim{Name: "python3.13", Files: []string{"bin/pip3.13"}}, Options{Force: true}); text(err) != want {
			t.Errorf("claim: %v", err)
		}
		check(t, Conflicts(dir, Claim{Name: "python3.13t", Files: []string{"bin/pip3.13"}}, Options{})) // the twin
		p, err := Lock(dir)
		check(t, err)
		defer func() { check(t, p.Unlock()) }()
		stage := tree{"bin/python3.13": "", "bin/pip3.13": ""}.dir(t)
		if err := p.Commit(t.Context(), stage, manifest(t, "python3.13", stage), Options{Force: true}); text(err) != want {
			t.Errorf("commit: %v", err)
		}
	})
}

func TestChangedIsTold(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "python3.13", small)
	tree{"bin/new": "", "lib/python3.13/os.py": "mine"}.write(t, dir)
	check(t, os.Chmod(filepath.Join(dir, "bin/python3.13"), 0o700))
	check(t, os.Remove(filepath.Join(dir, "lib/python3.13/gone.py"))) // heals
	err := Conflicts(dir, Claim{Name: "python3.13", Files: []string{"bin/new"}}, Options{})
	want := &ConflictError{Prefix: dir, Paths: strings.Fields("bin/new bin/python3.13 lib/python3.13/os.py"), Owners: map[string]string{},
		Changed: strings.Fields("bin/python3.13 lib/python3.13/os.py")}
	if got, ok := errors.AsType[*ConflictError](err); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", err, want)
	}
}

func TestYield(t *testing.T) {
	const site = "lib/python3.13/site-packages/"
	pip := tree{"bin/python3.13": "", "bin/pip3.13": "pip 1", site + "pip/a.py": "1", site + "pip/b.py": "same", site + "pip-1.dist-info/M": "1"}
	next := tree{"bin/python3.13": "", "bin/pip3.13": "pip 2", site + "pip/a.py": "2", site + "pip/b.py": "same", site + "pip-2.dist-info/M": "2"}
	yield := Options{Yield: []string{"bin/pip3.13", site + "pip", site + "pip-*.dist-info"}}
	const ours = "bin/ bin/pip3.13 bin/python3.13 lib/ lib/python3.13/ " + site + " " +
		site + "pip/ " + site + "pip-2.dist-info/ " + site + "pip-2.dist-info/M " + site + "pip/a.py " + site + "pip/b.py"
	const theirs = "bin/ bin/python3.13 lib/ lib/python3.13/ " + site
	rows := []struct {
		name      string
		installed tree
		since     tree
		remove    []string
		want      string
		pip       string // what bin/pip3.13 is then
	}{
		{"twin", pip, tree{}, nil, ours, "pip 2"},
		{"twin: compiled", pip, tree{site + "pip/__pycache__/a.cpython-313.pyc": ""}, nil, ours, "pip 2"},
		{"twin: missing", pip, tree{}, []string{"bin/pip3.13", site + "pip/a.py"}, ours, "pip 2"},
		{"twin: another package", pip, tree{site + "pipx/a.py": "", site + "six.py": ""}, nil, ours, "pip 2"},
		{"changed", pip, tree{site + "pip/a.py": "3"}, nil, theirs, "pip 1"},
		{"script changed", pip, tree{"bin/pip3.13": "pip 3"}, nil, theirs, "pip 3"},
		{"another version's", pip, tree{site + "pip-3.dist-info/M": "3"}, []string{site + "pip-1.dist-info"}, theirs, "pip 1"},
		{"foreign from the start", nil, tree{"bin/pip3.13": "pip 0"}, nil, theirs, "pip 0"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "prefix")
			check(t, os.Mkdir(dir, 0o755))
			if r.installed != nil {
				install(t, dir, "python3.13", r.installed)
			}
			for _, name := range r.remove {
				check(t, os.RemoveAll(filepath.Join(dir, name)))
			}
			r.since.write(t, dir)
			check(t, Conflicts(dir, Claim{Name: "python3.13", Files: []string{"bin/python3.13", "bin/pip3.13"}}, yield))
			var m *Manifest
			for range 2 { // the second time nothing is new
				m = commit(t, dir, next, yield)
				verify(t, dir, m)
				got := strings.TrimSuffix(strings.ReplaceAll(recorded(m), " share/ share/pybuild/", ""), " share/pybuild/")
				if r.installed == nil { // bin is not ours then
					got = "bin/ " + got
				}
				if got != r.want {
					t.Errorf("recorded\n got %s\nwant %s", got, r.want)
				}
				if got := read(t, dir, "bin/pip3.13"); got != r.pip {
					t.Errorf("pip is %q", got)
				}
			}
			for name, contents := range r.since {
				if r.want == theirs && read(t, dir, name) != contents {
					t.Errorf("%s is not what it was", name)
				}
			}
		})
	}
	for _, bad := range []string{"../x", "[", "/x", ""} {
		if err := Conflicts(t.TempDir(), Claim{}, Options{Yield: []string{bad}}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestUninstallForce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "prefix")
	check(t, os.Mkdir(dir, 0o755))
	m := install(t, dir, "python3.13", small)
	check(t, os.Remove(filepath.Join(dir, "lib/python3.13/gone.py")))
	check(t, os.Remove(filepath.Join(dir, "bin/python3")))
	check(t, os.Remove(filepath.Join(dir, "lib/python3.13/os.py")))
	tree{"bin/python3.13": "changed", "lib/python3.13/os.py": "-> x", "lib/python3.13/gone.py/x": "foreign", "bin/python3": "-> elsewhere"}.write(t, dir)
	p, err := Lock(dir)
	check(t, err)
	kept, err := p.Uninstall(t.Context(), m, UninstallOptions{Force: true})
	check(t, err)
	check(t, p.Unlock())
	if got := differences(kept); got != "lib/python3.13/gone.py type" {
		t.Errorf("kept %s", got)
	}
	if got := names(t, dir); got != "lib/ lib/python3.13/ lib/python3.13/gone.py/ lib/python3.13/gone.py/x" {
		t.Errorf("left %s", got)
	}
}

func TestPurge(t *testing.T) {
	const site = "lib/python3.13/site-packages/"
	record := func(lines ...string) string { return strings.Join(lines, "\n") + "\n" }
	rows := []struct {
		name   string
		record string
		left   string // of bin, share and the file that is at the top
	}{
		{"twin: nothing", "", "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"script", record("../../../bin/six,,"), "share/ share/doc/ share/doc/six top"},
		{"with its digest", record("../../../bin/six,sha256=RHeNgjZeSvaBxA1fDu9c9vWJnT8KwzUFCn7Wd5zz9nQ,3"), "share/ share/doc/ share/doc/six top"},
		{"with another digest", record("../../../bin/six,sha256=AAAAgjZeSvaBxA1fDu9c9vWJnT8KwzUFCn7Wd5zz9nQ,3"), "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"with another's digest", record("../../../bin/six,md5=AAAA,3"), "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"absolute", record("DIR/share/doc/six,,"), "bin/ bin/six share/ share/doc/ top"},
		{"unclean", record("../../../bin/../bin/./six,,", "../../../../prefix/top,,"), "share/ share/doc/ share/doc/six top"},
		{"outside", record("../../../../outside,,", "/etc/passwd,,", "../../../..,,"), "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"a directory", record("../../../share/doc,,"), "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"another Python's", record("../../../bin/python3.12,,", "../../../share/pybuild/python3.12.json,,"), "bin/ bin/six share/ share/doc/ share/doc/six top"},
		{"garbage before", "\x00\"\n../../../bin/six", "share/ share/doc/ share/doc/six top"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			base := t.TempDir()
			dir := filepath.Join(base, "prefix")
			tree{"outside": "", "prefix/top": ""}.write(t, base)
			install(t, dir, "python3.12", tree{"bin/python3.12": "12"})
			m := install(t, dir, "python3.13", tree{"bin/python3.13": "", "lib/python3.13/os.py": "", site + "README": ""})
			tree{
				"bin/six": "six", "share/doc/six": "", site + "README": "changed", site + "six/six.py": "", site + "six/__pycache__/x.pyc": "", site + "link": "-> /etc",
				site + "six-1.dist-info/RECORD": strings.ReplaceAll(r.record, "DIR", dir), site + "a/b.dist-info/RECORD": "../../../../bin/six,,\n",
			}.write(t, dir)
			p, err := Lock(dir)
			check(t, err)
			defer func() { check(t, p.Unlock()) }()
			kept, err := p.Uninstall(t.Context(), m, UninstallOptions{Purge: true, Trees: []string{"lib/python3.13/site-packages", "lib/python3.13/none"}})
			check(t, err)
			if len(kept) > 0 {
				t.Errorf("kept %s", differences(kept))
			}
			if got := read(t, dir, "bin/python3.12"); got != "12" || !strings.Contains(snapshot(t, filepath.Join(dir, "share")), "python3.12.json") {
				t.Errorf("python3.12 is %q", got)
			}
			left := names(t, dir)
			for _, name := range []string{"bin/python3.12", "share/pybuild/python3.12.json", "share/pybuild/"} {
				left = strings.ReplaceAll(left, " "+name, "")
			}
			if !strings.Contains(r.left, "bin/six") {
				left = strings.TrimPrefix(left, "bin/ ")
			}
			if strings.TrimSpace(left) != r.left {
				t.Errorf("left\n got %s\nwant %s", left, r.left)
			}
			if !strings.Contains(names(t, base), "outside") {
				t.Error("removed something outside")
			}
		})
	}
	t.Run("bad tree", func(t *testing.T) {
		dir := t.TempDir()
		m := install(t, dir, "python3.13", small)
		p, err := Lock(dir)
		check(t, err)
		defer func() { check(t, p.Unlock()) }()
		for _, bad := range []string{"..", "/", ".", work} {
			if _, err := p.Uninstall(t.Context(), m, UninstallOptions{Purge: true, Trees: []string{bad}}); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%q: %v", bad, err)
			}
		}
		verify(t, dir, m)
	})
}
