package pep668_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pybuild/verify/pep668"
)

// tree makes a directory with a marker of every kind.
func tree(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"clean", "file", "link", "directory/EXTERNALLY-MANAGED", "other", "closed"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"file/EXTERNALLY-MANAGED", "other/externally-managed", "other/EXTERNALLY-MANAGED.txt", "plain"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"link/EXTERNALLY-MANAGED": "nowhere", "to-file": "file", "to-clean": "clean", "dangling": "nowhere", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestAbsent(t *testing.T) {
	root := tree(t)
	for _, row := range []struct {
		name string
		dirs []string // below the tree
		err  string   // ROOT is the tree
	}{
		{"clean", []string{"clean"}, ""},
		{"other names", []string{"other"}, ""},
		{"no such directory", []string{"none/at/all"}, ""},
		{"link to clean", []string{"to-clean"}, ""},
		{"link to nowhere", []string{"dangling"}, ""},
		{"file", []string{"file"}, "found ROOT/file/EXTERNALLY-MANAGED"},
		{"dangling link as marker", []string{"link"}, "found ROOT/link/EXTERNALLY-MANAGED"},
		{"directory as marker", []string{"directory"}, "found ROOT/directory/EXTERNALLY-MANAGED"},
		{"by a link", []string{"to-file"}, "found ROOT/to-file/EXTERNALLY-MANAGED"},
		{"second", []string{"clean", "file"}, "found ROOT/file/EXTERNALLY-MANAGED"},
		{"two", []string{"file", "link"}, "found ROOT/file/EXTERNALLY-MANAGED\nfound ROOT/link/EXTERNALLY-MANAGED"},
		{"not a directory", []string{"plain"}, "look for EXTERNALLY-MANAGED: lstat ROOT/plain/EXTERNALLY-MANAGED: not a directory"},
		{"not a directory, and a marker", []string{"plain", "file"},
			"look for EXTERNALLY-MANAGED: lstat ROOT/plain/EXTERNALLY-MANAGED: not a directory\nfound ROOT/file/EXTERNALLY-MANAGED"},
		{"loop", []string{"loop"}, "look for EXTERNALLY-MANAGED: lstat ROOT/loop/EXTERNALLY-MANAGED: too many levels of symbolic links"},
		{"nothing asked", nil, "no directory to look for EXTERNALLY-MANAGED"},
	} {
		t.Run(row.name, func(t *testing.T) {
			var dirs []string
			for _, d := range row.dirs {
				dirs = append(dirs, filepath.Join(root, d))
			}
			err := pep668.Absent(dirs...)
			check(t, err, root, row.err)
			var marker *pep668.MarkerError
			if found := errors.As(err, &marker); found != strings.Contains(row.err, "found") {
				t.Errorf("a MarkerError in %v: %t", err, found)
			}
		})
	}
}

func TestAbsentRelative(t *testing.T) {
	root := tree(t)
	for _, row := range []struct{ dir, err string }{
		{filepath.Join(root, "clean"), ""},
		{"clean", `look for EXTERNALLY-MANAGED in "clean": not an absolute path`},
		{"", `look for EXTERNALLY-MANAGED in "": not an absolute path`},
	} {
		check(t, pep668.Absent(row.dir), root, row.err)
	}
}

func TestFind(t *testing.T) {
	root := tree(t)
	for _, row := range []struct {
		name, root string
		want       []string
		err        string
	}{
		{"everywhere", ".", []string{"directory/EXTERNALLY-MANAGED", "file/EXTERNALLY-MANAGED", "link/EXTERNALLY-MANAGED"}, ""},
		{"clean", "clean", nil, ""},
		{"other names", "other", nil, ""},
		{"root is a link", "to-file", []string{"to-file/EXTERNALLY-MANAGED"}, ""},
		{"no such root", "none", nil, "look for EXTERNALLY-MANAGED below ROOT/none: stat .: no such file or directory"},
		{"root is a file", "plain", nil, "look for EXTERNALLY-MANAGED below ROOT/plain: stat .: not a directory"},
	} {
		t.Run(row.name, func(t *testing.T) {
			found, err := pep668.Find(filepath.Join(root, row.root))
			check(t, err, root, row.err)
			var want []string
			for _, w := range row.want {
				want = append(want, filepath.Join(root, w))
			}
			if !slices.Equal(found, want) {
				t.Errorf("got %q, want %q", found, want)
			}
		})
	}
}

// TestClosed looks where nobody but root may.
func TestClosed(t *testing.T) {
	root := tree(t)
	closed := filepath.Join(root, "closed")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(closed, 0o755) // so that the tree can be removed
	if os.Geteuid() == 0 {
		t.Skip("nothing is closed to root")
	}
	if err := pep668.Absent(closed); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Absent: got %v, want %v", err, fs.ErrPermission)
	}
	if found, err := pep668.Find(root); found != nil || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Find: got %q and %v, want %v", found, err, fs.ErrPermission)
	}
}

// check compares an error with its text, "" for none.
func check(t *testing.T, err error, root, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = strings.ReplaceAll(err.Error(), root, "ROOT")
	}
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
