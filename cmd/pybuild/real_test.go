//go:build linux

package main

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// These tests build real CPythons from upstream's own archives, which takes minutes. They need a network, or a
// filled cache, and the build needs, which they install when they run as root.
var (
	realVersions = flag.String("real", "", "build these releases for real, comma-separated, for example 3.13.5,3.11.2")
	realPrefix   = flag.String("real-prefix", "", "install into this prefix instead of a temporary one")
	realCache    = flag.String("real-cache", "", "use this cache instead of a temporary one")
)

// program builds pybuild once for a test.
func program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pybuild")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

func cacheFor(t testing.TB) string {
	if *realCache != "" {
		return *realCache
	}
	return t.TempDir()
}

// event is the union of what pybuild writes with --json.
type event struct {
	Event, Version, Step, State, Message, Executable, Marker, Manifest, Path string
	Seconds                                                                  float64
	Already                                                                  bool
	Parts                                                                    map[string]string
}

// pybuild runs the program with --json and returns its last event, which must be want.
func pybuild(t testing.TB, want, program, cache string, args ...string) event {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append(args, "--json")...)
	cmd.Env = append([]string{"PYBUILD_PROFILE=quick"}, append(os.Environ(), "PYBUILD_CACHE="+cache)...) // unless the caller has another
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pybuild %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	var last event
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		last = event{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Fatalf("not JSON: %s: %v", lines.Text(), err)
		}
		if last.Event == "step" && last.State == "done" {
			t.Logf("%s %s %.1f s", last.Version, last.Step, last.Seconds)
		}
	}
	if last.Event != want {
		t.Fatalf("pybuild %s ended with %+v, want %s\n%s", strings.Join(args, " "), last, want, &stderr)
	}
	return last
}

func TestReal(t *testing.T) {
	if *realVersions == "" {
		t.Skip("builds CPython for minutes; ask for it with -real 3.13.5")
	}
	program, cache := program(t), cacheFor(t)
	for _, version := range strings.Split(*realVersions, ",") {
		t.Run(version, func(t *testing.T) { testReal(t, program, cache, version) })
	}
}

func testReal(t *testing.T, program, cache, version string) {
	if os.Geteuid() == 0 {
		cmd := exec.CommandContext(t.Context(), program, "deps", version, "--install", "--yes")
		cmd.Stderr = os.Stderr
		if out, err := cmd.Output(); err != nil {
			t.Fatalf("pybuild deps: %v\n%s", err, out)
		}
	}
	prefix := *realPrefix
	if prefix == "" {
		prefix = filepath.Join(t.TempDir(), "prefix")
		if err := os.Mkdir(prefix, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	machine, before := audit(t, prefix), listing(t, prefix)

	installed := pybuild(t, "installed", program, cache, version, "--prefix", prefix)
	for _, part := range []string{"zlib", "ssl", "hashlib", "ctypes", "bz2", "lzma", "sqlite", "readline", "curses", "uuid", "decimal", "tkinter", "gdbm", "ndbm"} {
		if installed.Parts[part] != "present" {
			t.Errorf("%s is %q", part, installed.Parts[part])
		}
	}
	if installed.Marker != "absent" {
		t.Errorf("marker %q", installed.Marker)
	}
	series := version[:strings.LastIndex(version, ".")]
	for _, name := range []string{"python3", "python", "pip3", "pip"} {
		if _, ok := before["bin/"+name]; ok {
			continue
		}
		if _, err := os.Lstat(filepath.Join(prefix, "bin", name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("bin/%s is there (%v)", name, err)
		}
	}
	if want := filepath.Join(prefix, "bin", "python"+series); installed.Executable != want {
		t.Errorf("executable %s, want %s", installed.Executable, want)
	}
	usePip(t, installed.Executable)
	if audited := audit(t, prefix); !maps.Equal(machine, audited) {
		t.Errorf("changed outside the prefix:\n%s", difference(machine, audited))
	}

	again := pybuild(t, "installed", program, cache, version, "--prefix", prefix, "--offline")
	if !again.Already {
		t.Error("the same command built it again")
	}
	t.Logf("the same command again: %.1f s", again.Seconds)
	cmd := exec.CommandContext(t.Context(), program, "verify", installed.Executable)
	cmd.Env = append([]string{"PYBUILD_PROFILE=quick"}, append(os.Environ(), "PYBUILD_CACHE="+cache)...) // unless the caller has another
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("pybuild verify: %v\n%s", err, out)
	}
	if entries, err := os.ReadDir(filepath.Join(cache, "build")); err != nil || len(entries) > 0 {
		t.Errorf("left in the build directory: %v, %v", entries, err)
	}
	if *realPrefix != "" {
		return // it was asked for: let it stay
	}
	pybuild(t, "uninstalled", program, cache, "uninstall", version, "--prefix", prefix)
	if after := listing(t, prefix); !maps.Equal(before, after) {
		t.Errorf("uninstall left:\n%s", difference(before, after))
	}
}

// usePip installs a wheel for everybody and for one user, imports it, and removes it again.
func usePip(t *testing.T, python string) {
	t.Helper()
	dir := t.TempDir()
	wheel := filepath.Join(dir, "some-1.0-py3-none-any.whl")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, file := range [][2]string{
		{"some.py", "value = 42\n"},
		{"some-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some\nVersion: 1.0\n"},
		{"some-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{"some-1.0.dist-info/RECORD", "some.py,,\nsome-1.0.dist-info/METADATA,,\nsome-1.0.dist-info/WHEEL,,\nsome-1.0.dist-info/RECORD,,\n"},
	} {
		w, err := z.Create(file[0])
		if err == nil {
			_, err = io.WriteString(w, file[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), os.WriteFile(wheel, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	for _, scope := range [][]string{nil, {"--user"}} {
		for _, args := range [][]string{
			append([]string{"-m", "pip", "install", "--no-index", "--no-cache-dir", wheel}, scope...),
			{"-c", "import some; assert some.value == 42"},
			{"-m", "pip", "uninstall", "--yes", "some"},
		} {
			cmd := exec.CommandContext(t.Context(), python, args...)
			cmd.Dir = dir
			cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "PYTHONDONTWRITEBYTECODE=1", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore"}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", python, strings.Join(args, " "), err, out)
			}
		}
	}
}

// audit fingerprints everything on the machine that an installation could reach but must not change: name, type, mode, owner,
// size and change time of every file, and the contents of the distribution's Python.
func audit(t *testing.T, prefix string) map[string]string {
	t.Helper()
	files := map[string]string{}
	for _, top := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/opt", "/srv", "/boot", "/home"} {
		err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			if path == prefix || path == "/usr/local/go" {
				return fs.SkipDir
			}
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			s := info.Sys().(*syscall.Stat_t)
			if d.IsDir() { // its times change with what comes and goes in it, which is seen there
				files[path] = fmt.Sprintf("%v %d %d", info.Mode(), s.Uid, s.Gid)
				return nil
			}
			files[path] = fmt.Sprintf("%v %d %d %d %d.%09d", info.Mode(), s.Uid, s.Gid, s.Size, s.Ctim.Sec, s.Ctim.Nsec)
			if strings.HasPrefix(path, "/usr/bin/python") && info.Mode().IsRegular() {
				content, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				files[path] += fmt.Sprintf(" %x", sha256.Sum256(content))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// listing fingerprints a tree.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[name] = info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			files[name] += fmt.Sprintf(" %x", sha256.Sum256(content))
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func difference(before, after map[string]string) string {
	var lines []string
	for path, was := range before {
		if is, ok := after[path]; !ok {
			lines = append(lines, "- "+path)
		} else if is != was {
			lines = append(lines, "! "+path+": "+was+" -> "+is)
		}
	}
	for path := range after {
		if _, ok := before[path]; !ok {
			lines = append(lines, "+ "+path)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines[:min(len(lines), 20)], "\n")
}

func fetched(b *testing.B, program, cache, version string) string {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), program, "fetch", version, "--quiet")
	cmd.Env = append([]string{"PYBUILD_PROFILE=quick"}, append(os.Environ(), "PYBUILD_CACHE="+cache)...) // unless the caller has another
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("pybuild fetch: %v", err)
	}
	return strings.TrimSpace(string(out))
}
