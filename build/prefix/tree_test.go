package prefix

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	syscall.Umask(0o022) // what the trees below are written with
	os.Exit(m.Run())
}

// A tree is what a test puts on disk: to each path the contents of a file, "-> target" of a link, or for a path that ends in a
// slash the mode of a directory, "" meaning 0755. Files in bin have mode 0755, others 0644.
type tree map[string]string

// epoch is the modification time of all files that tests make.
var epoch = time.Unix(1_700_000_000, 0)

func (tr tree) write(t testing.TB, dir string) {
	t.Helper()
	for name, contents := range tr {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		target, link := strings.CutPrefix(contents, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			check(t, os.MkdirAll(path, 0o755))
			if mode, ok := parseMode(contents); ok {
				check(t, os.Chmod(path, mode))
			}
		case link:
			check(t, os.Symlink(target, path))
		default:
			mode := fs.FileMode(0o644)
			if strings.HasPrefix(name, "bin/") {
				mode = 0o755
			}
			check(t, os.WriteFile(path, []byte(contents), mode))
			check(t, os.Chmod(path, mode))
			check(t, os.Chtimes(path, epoch, epoch))
		}
	}
}

// dir writes the tree to a new directory, or to one in base.
func (tr tree) dir(t testing.TB, base ...string) string {
	t.Helper()
	var dir string
	if len(base) > 0 {
		var err error
		dir, err = os.MkdirTemp(base[0], "prefix-test-")
		check(t, err)
		t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	} else {
		dir = t.TempDir()
	}
	tr.write(t, dir)
	return dir
}

// snapshot describes everything about a tree that must survive a failure, one line a path.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	entries, err := Scan(dir)
	check(t, err)
	var b strings.Builder
	for _, e := range entries {
		info, err := os.Lstat(filepath.Join(dir, e.Path))
		check(t, err)
		uid, gid := owner(info)
		fmt.Fprintf(&b, "%s %s %s %d.%d %d %.8s %s", e.Type, e.Path, e.Mode, uid, gid, e.Size, e.SHA256, e.Target)
		if e.Type == typeFile {
			fmt.Fprintf(&b, " %d", info.ModTime().UnixNano())
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// names returns the paths below dir, directories with a slash, in one line.
func names(t testing.TB, dir string) string {
	t.Helper()
	entries, err := Scan(dir)
	check(t, err)
	var list []string
	for _, e := range entries {
		if e.Type == typeDir {
			e.Path += "/"
		}
		list = append(list, e.Path)
	}
	return strings.Join(list, " ")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// text is the message of an error, "" of none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func read(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	check(t, err)
	return string(data)
}

func TestScan(t *testing.T) {
	dir := tree{"a/b": "one", "a-b": "", "a/c/": "2750", "bin/x": "two", "link": "-> /no/where"}.dir(t)
	got, err := Scan(dir)
	check(t, err)
	want := []Entry{
		{Path: "a", Type: "dir", Mode: "0755"},
		{Path: "a-b", Type: "file", Mode: "0644", SHA256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{Path: "a/b", Type: "file", Mode: "0644", Size: 3, SHA256: "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"},
		{Path: "a/c", Type: "dir", Mode: "2750"},
		{Path: "bin", Type: "dir", Mode: "0755"},
		{Path: "bin/x", Type: "file", Mode: "0755", Size: 3, SHA256: "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"},
		{Path: "link", Type: "link", Mode: "0777", Target: "/no/where"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestScanRefuses(t *testing.T) {
	rows := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"twin", func(*testing.T, string) {}, ""},
		{"pipe", func(t *testing.T, dir string) { check(t, syscall.Mkfifo(filepath.Join(dir, "a/p"), 0o600)) },
			`DIR: "a/p" is neither a file, a directory nor a link`},
		{"socket", func(t *testing.T, dir string) {
			t.Chdir(dir) // the path of a socket must be short
			l, err := net.Listen("unix", "s")
			check(t, err)
			t.Cleanup(func() { check(t, l.Close()) })
		}, `DIR: "s" is neither a file, a directory nor a link`},
		{"name", func(t *testing.T, dir string) { check(t, os.WriteFile(filepath.Join(dir, "\xff"), nil, 0o600)) },
			`DIR: "\xff" has a name or target that is not UTF-8`},
		{"target", func(t *testing.T, dir string) { check(t, os.Symlink("\xff", filepath.Join(dir, "l"))) },
			`DIR: "l" has a name or target that is not UTF-8`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := tree{"a/b": "one"}.dir(t)
			r.spoil(t, dir)
			_, err := Scan(dir)
			if got := strings.ReplaceAll(text(err), dir, "DIR"); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
			if _, ok := errors.AsType[*TreeError](err); ok != (r.want != "") {
				t.Errorf("%T", err)
			}
		})
	}
	if _, err := Scan(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

func TestDifferences(t *testing.T) {
	const file, link, sub = "d/file", "d/link", "d/sub"
	rows := []struct {
		name           string
		spoil          func(path func(string) string) error
		quick, compare string
	}{
		{"twin", func(func(string) string) error { return nil }, "", ""},
		{"missing file", func(p func(string) string) error { return os.Remove(p(file)) }, "d/file missing", "d/file missing"},
		{"missing tree", func(p func(string) string) error { return os.RemoveAll(p("d")) },
			"d missing d/file missing d/link missing d/sub missing", "d missing d/file missing d/link missing d/sub missing"},
		{"longer", func(p func(string) string) error { return os.WriteFile(p(file), []byte("longer"), 0) }, "d/file size", "d/file size"},
		{"changed", func(p func(string) string) error { return os.WriteFile(p(file), []byte("tow"), 0) }, "", "d/file changed"},
		{"mode", func(p func(string) string) error { return os.Chmod(p(file), 0o600) }, "d/file mode", "d/file mode"},
		{"mode and size", func(p func(string) string) error {
			return errors.Join(os.Truncate(p(file), 1), os.Chmod(p(file), 0o600))
		},
			"d/file size d/file mode", "d/file size d/file mode"},
		{"mode of a directory", func(p func(string) string) error { return os.Chmod(p(sub), 0o700) }, "d/sub mode", "d/sub mode"},
		{"another link", func(p func(string) string) error { return errors.Join(os.Remove(p(link)), os.Symlink("life", p(link))) },
			"", "d/link changed"},
		{"link to file", func(p func(string) string) error {
			return errors.Join(os.Remove(p(link)), os.WriteFile(p(link), nil, 0o644))
		},
			"d/link type", "d/link type"},
		{"file for a directory", func(p func(string) string) error {
			return errors.Join(os.RemoveAll(p("d")), os.WriteFile(p("d"), nil, 0o644))
		}, "d type d/file missing d/link missing d/sub missing", "d type d/file missing d/link missing d/sub missing"},
		{"led outside", func(p func(string) string) error {
			return errors.Join(os.Rename(p("d"), p("../outside")), os.Symlink("../outside", p("d")))
		}, "d type d/file missing d/link missing d/sub missing", "d type d/file missing d/link missing d/sub missing"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "prefix")
			tree{file: "two", link: "-> file", "d/sub/": ""}.write(t, dir)
			m := new(Manifest)
			var err error
			m.Paths, err = Scan(dir)
			check(t, err)
			check(t, r.spoil(func(name string) string { return filepath.Join(dir, name) }))
			for _, c := range []struct {
				name string
				do   func(string) ([]Difference, error)
				want string
			}{{"quick", m.Quick, r.quick}, {"compare", m.Compare, r.compare}} {
				found, err := c.do(dir)
				check(t, err)
				if got := differences(found); got != c.want {
					t.Errorf("%s: got %q, want %q", c.name, got, c.want)
				}
			}
		})
	}
}

func differences(list []Difference) string {
	var words []string
	for _, d := range list {
		words = append(words, d.Path+" "+d.What)
	}
	return strings.Join(words, " ")
}

func TestModes(t *testing.T) {
	for _, s := range []string{"0000", "0644", "0755", "1777", "2755", "4711", "7777"} {
		mode, ok := parseMode(s)
		if got := octal(mode); !ok || got != s {
			t.Errorf("%s: %v, %s", s, ok, got)
		}
	}
	for _, s := range []string{"", "644", "00644", "0648", "+644", "-644", "0x44", "0_44", "17777"} {
		if mode, ok := parseMode(s); ok {
			t.Errorf("%q: %v", s, mode)
		}
	}
}

func TestEach(t *testing.T) {
	errs := []error{nil, errors.New("one"), errors.New("two")}
	for range 100 {
		if err := each(3, func(i int) error { return errs[i] }); !slices.Contains(errs[1:], err) {
			t.Fatal(err)
		}
	}
	if err := each(1000, func(int) error { return nil }); err != nil {
		t.Error(err)
	}
}
