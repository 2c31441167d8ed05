//go:build linux

package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pybuild/build/prefix"
)

// unaudited are the directories of a system that change without pybuild, or that are pybuild's own: what the kernel makes up, what is
// gone after the next start, the books and logs of the package manager, and the cache.
var unaudited = []string{
	"/proc", "/sys", "/dev", "/tmp", "/run", "/project", "/var/log", "/var/lib/apt", "/var/lib/dpkg", "/var/cache/apt", "/var/cache/debconf",
	"/var/cache/ldconfig", "/var/cache/pybuild",
}

// TestAudit installs into /usr/local of a whole system, re-installs, upgrades, goes back, installs a second Python beside the first,
// and removes both, while the distribution goes on with its own. In the end every file is what it was: contents, mode, owner, size,
// time, extended attributes. Of directories the time does not count, which tells only that something came and went.
func TestAudit(t *testing.T) {
	program := throwaway(t)
	const old, latest, other, cache = "3.13.5", "3.13.15", "3.11.2", "/var/cache/pybuild"
	provide(t, program, latest, other)
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "python3")
	shell(t, "apt-get", "upgrade", "--yes")
	system := shell(t, "/usr/bin/python3", "-B", "-c", "import sys; print(sys.version)")
	before := inventory(t)
	t.Logf("%d paths", len(before))

	install := func(spec, want string, already bool) *prefix.Manifest {
		t.Helper()
		last := pybuild(t, "installed", program, cache, strings.Fields(spec)...)
		if last.Version != want || last.Already != already {
			t.Fatalf("pybuild %s: %s, already %t; want %s, %t", spec, last.Version, last.Already, want, already)
		}
		m := manifestOf(t, last.Manifest)
		owned(t, m)
		return m
	}
	works := func() {
		t.Helper()
		if out := shell(t, "/usr/local/bin/python3.13", "-B", "-c", "import some; print(some.value)"); out != "42\n" {
			t.Errorf("what pip installed says %q", out)
		}
		if out := shell(t, "/usr/local/bin/some"); out != "42\n" {
			t.Errorf("its command says %q", out)
		}
	}
	distribution := func() {
		t.Helper()
		shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "hello")
		shell(t, "hello")
		shell(t, "apt-get", "upgrade", "--yes")
		shell(t, "apt-get", "purge", "--yes", "hello")
		if is := shell(t, "/usr/bin/python3", "-B", "-c", "import ssl, sqlite3, sys; print(sys.version)"); is != system {
			t.Errorf("python3 of the distribution was %q, is %q", system, is)
		}
	}

	first := install(old, old, false)
	distribution()
	install(old, old, true)
	shell(t, "/usr/local/bin/python3.13", "-B", "-m", "pip", "install", "--no-index", "--no-cache-dir", "--no-compile", someWheel(t))
	works()
	install(old+" --force", old, false)
	works()
	second := install(latest, latest, false)
	works()
	distribution()
	for _, gone := range lost(first, second) {
		if _, err := os.Lstat(filepath.Join(first.Prefix, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of %s there still is %s (%v)", old, gone, err)
		}
	}
	t.Logf("%d paths of %s that %s lacks are gone", len(lost(first, second)), old, latest)
	install(">=3.13,<3.13.6", latest, true) // 3.13.5, but not by its name
	install(old, old, false)
	works()
	install(other, other, false)
	if out := shell(t, "/usr/local/bin/python3.11", "-B", "-m", "pip", "list", "--disable-pip-version-check"); strings.Contains(out, "some") {
		t.Errorf("python3.11 has python3.13's packages:\n%s", out)
	}
	works()
	distribution()
	pybuild(t, "uninstalled", program, cache, "uninstall", old, "--purge")
	shell(t, "/usr/local/bin/python3.11", "-B", "-c", "import ssl")
	pybuild(t, "uninstalled", program, cache, "uninstall", other, "--purge")
	distribution()

	if after := inventory(t); !maps.Equal(before, after) {
		t.Errorf("the system is not what it was:\n%s", difference(before, after))
	}
	if entries, err := os.ReadDir(filepath.Join(cache, "build")); err != nil || len(entries) > 0 {
		t.Errorf("left in the build directory: %v, %v", entries, err)
	}
}

// manifestOf reads a manifest.
func manifestOf(t *testing.T, file string) *prefix.Manifest {
	t.Helper()
	m := &prefix.Manifest{}
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// owned checks that all of an installation is root's, and only root's to write, whoever built it, and that nothing in it has more
// rights than who runs it. A directory passes on the group that the one above it does.
func owned(t *testing.T, m *prefix.Manifest) {
	t.Helper()
	for _, e := range m.Paths {
		name := filepath.Join(m.Prefix, e.Path)
		info, err := os.Lstat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		above, err := os.Stat(filepath.Dir(name))
		check(err)
		group, special := uint32(0), fs.FileMode(0)
		if above.Mode()&fs.ModeSetgid != 0 {
			if group = above.Sys().(*syscall.Stat_t).Gid; info.IsDir() {
				special = fs.ModeSetgid
			}
		}
		s, link := info.Sys().(*syscall.Stat_t), info.Mode().Type() == fs.ModeSymlink
		mode := info.Mode() & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky | 0o022 | 0o444)
		if s.Uid != 0 || s.Gid != group && e.Path != "." || !link && mode != special|0o444 {
			t.Errorf("%s is %v and belongs to %d:%d", e.Path, info.Mode(), s.Uid, s.Gid)
		}
	}
}

// lost are the paths that one manifest lists and a later one does not.
func lost(before, after *prefix.Manifest) (list []string) {
	for _, e := range before.Paths {
		if !slices.ContainsFunc(after.Paths, func(is prefix.Entry) bool { return is.Path == e.Path }) {
			list = append(list, e.Path)
		}
	}
	return list
}

// someWheel makes a wheel of a module and a command.
func someWheel(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, file := range [][2]string{
		{"some.py", "value = 42\ndef main():\n    print(value)\n"},
		{"some-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some\nVersion: 1.0\n"},
		{"some-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"some-1.0.dist-info/entry_points.txt", "[console_scripts]\nsome = some:main\n"},
		{"some-1.0.dist-info/RECORD", "some.py,,\nsome-1.0.dist-info/METADATA,,\nsome-1.0.dist-info/WHEEL,,\nsome-1.0.dist-info/entry_points.txt,,\nsome-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(file[0])
		check(err)
		must(io.WriteString(w, file[1]))
	}
	check(z.Close())
	name := filepath.Join(t.TempDir(), "some-1.0-py3-none-any.whl")
	write(t, name, b.Bytes())
	return name
}

// inventory is everything on the machine.
func inventory(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if slices.Contains(unaudited, path) {
			return fs.SkipDir
		}
		files[path], err = particulars(path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// particulars is all that can be said of one path.
func particulars(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	s := info.Sys().(*syscall.Stat_t)
	text := fmt.Sprintf("%v %d:%d", info.Mode(), s.Uid, s.Gid)
	if !info.IsDir() {
		text += fmt.Sprintf(" %d %d.%09d", s.Size, s.Mtim.Sec, s.Mtim.Nsec)
	}
	switch info.Mode().Type() {
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		return text + " -> " + target, err
	case 0:
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
		text += fmt.Sprintf(" %x", h.Sum(nil))
	case fs.ModeDir:
	default:
		return text, nil
	}
	attributes, err := attributesOf(path)
	return text + attributes, err
}

// attributesOf are the extended attributes of a file or directory, access lists and capabilities among them.
func attributesOf(path string) (text string, err error) {
	names, value := make([]byte, 64<<10), make([]byte, 64<<10)
	n, err := syscall.Listxattr(path, names)
	if errors.Is(err, syscall.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("attributes of %s: %w", path, err)
	}
	for _, name := range slices.Sorted(strings.SplitSeq(strings.TrimRight(string(names[:n]), "\x00"), "\x00")) {
		if name == "" {
			continue
		}
		n, err := syscall.Getxattr(path, name, value)
		if err != nil {
			return "", fmt.Errorf("attribute %s of %s: %w", name, path, err)
		}
		text += fmt.Sprintf(" %s=%x", name, value[:n])
	}
	return text, nil
}

// TestInventory: whatever changes about a file is seen.
func TestInventory(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	for _, row := range []struct {
		what   string
		change func() error
	}{
		{"contents", func() error {
			info, err := os.Stat(name)
			return errors.Join(err, os.WriteFile(name, []byte("xyz"), 0o644), os.Chtimes(name, info.ModTime(), info.ModTime()))
		}},
		{"mode", func() error { return os.Chmod(name, 0o600) }},
		{"set-user-ID", func() error { return os.Chmod(name, 0o644|fs.ModeSetuid) }},
		{"time", func() error { return os.Chtimes(name, time.Time{}, time.Unix(1_750_000_000, 0)) }},
		{"link", func() error { return errors.Join(os.Remove(name), os.Symlink("elsewhere", name)) }},
		{"directory", func() error { return errors.Join(os.Remove(name), os.Mkdir(name, 0o755)) }},
		{"attribute", func() error {
			err := syscall.Setxattr(name, "user.pybuild", []byte("x"), 0)
			if errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EPERM) {
				t.Log("this file system has no attributes of users")
				return os.Chmod(name, 0o640)
			}
			return err
		}},
		{"owner", func() error {
			if os.Geteuid() != 0 {
				return os.Chmod(name, 0o640)
			}
			return os.Chown(name, 1, 0)
		}},
	} {
		t.Run(row.what, func(t *testing.T) {
			check(os.RemoveAll(name))
			write(t, name, []byte("abc"))
			before, err := particulars(name)
			check(err)
			if again, err := particulars(name); err != nil || again != before { // the twin
				t.Errorf("unchanged, but %q is %q (%v)", before, again, err)
			}
			check(row.change())
			if after, err := particulars(name); err != nil || after == before {
				t.Errorf("still %q (%v)", after, err)
			}
		})
	}
}
