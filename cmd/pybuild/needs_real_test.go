//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/elf"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests take a machine's packages, headers and libraries away, or put others in their place, to see what pybuild says. They
// run as root in a Debian system that is thrown away afterwards; .ci/roots makes such systems and runs them there.
var (
	mutate      = flag.Bool("mutate", false, "remove packages and headers of this machine, which must be a throw-away root")
	programPath = flag.String("program", "", "try this pybuild, an absolute path, instead of one built from the source")
)

// throwawayMark is the file by which .ci/roots says that nobody needs this system.
const throwawayMark = "/etc/pybuild-throwaway-root"

// throwaway skips a test that was not asked for, refuses to run it on a machine that somebody needs, and returns the pybuild to
// try.
func throwaway(t *testing.T) string {
	t.Helper()
	if !*mutate {
		t.Skip("removes packages and headers of the machine; .ci/roots asks for it with -mutate")
	}
	if os.Geteuid() != 0 {
		t.Fatal("-mutate: only root can change the machine")
	}
	if _, err := os.Lstat(throwawayMark); err != nil {
		t.Fatalf("-mutate: this is not a throw-away root: %v", err)
	}
	if *programPath != "" {
		return *programPath
	}
	return program(t)
}

// shell runs a command of the distribution's and returns what it says.
func shell(t *testing.T, argv ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// provide installs every build need of the releases, required or wanted.
func provide(t *testing.T, program string, versions ...string) {
	t.Helper()
	for _, version := range versions {
		shell(t, program, "deps", version, "--install", "--yes")
	}
}

// dependencies is the document of deps --json, as far as it matters here.
type dependencies struct {
	Needs []struct {
		Name, Tier, State string
		Packages          []string
	}
	Install []string
}

// packages are those of one need.
func (d *dependencies) packages(name string) []string {
	for _, n := range d.Needs {
		if n.Name == name {
			return n.Packages
		}
	}
	return nil
}

// missing names the needs that are not there.
func (d *dependencies) missing() []string {
	names := []string{}
	for _, n := range d.Needs {
		if n.State == "missing" {
			names = append(names, n.Name)
		}
	}
	return names
}

func deps(t *testing.T, program, version string) (d *dependencies, status int, took time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "deps", version, "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	out, err := cmd.Output()
	took = time.Since(start)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&d); err != nil { // the first document; an error's own comes after it
		t.Fatalf("pybuild deps %s ended with status %d: %v\n%s%s", version, status, err, out, &stderr)
	}
	return d, status, took
}

// Packages, as patterns of dpkg-query, that are there only because a package of the list needs them, and that bring what that one
// stands for.
var behind = map[string][]string{
	"pkg-config": {"pkgconf*"},                                 // where pkg-config is another's empty package
	"tkinter":    {"tk[0-9]*-dev", "tcl[0-9]*-dev", "tcl-dev"}, // tk-dev is empty, too
}

// What else goes with a need.
var also = map[string][]string{
	"gdbm": {"ndbm"}, // whose library needs gdbm's
}

// TestMutation removes, for every need in turn, the packages that serve it: exactly the needs that they serve must be missing,
// and exactly their packages must be in the command that mends it. Then the packages come back, and nothing is missing.
func TestMutation(t *testing.T) {
	program := throwaway(t)
	versions := []string{"3.13.5", "3.11.2", "3.14"} // the last for zstd, the one before for what ended with 3.12
	provide(t, program, versions...)

	var slowest time.Duration
	tried := map[string]bool{}
	for _, version := range versions {
		whole, status, _ := deps(t, program, version)
		if missing := whole.missing(); status != 0 || len(missing) > 0 {
			t.Fatalf("%s: status %d, missing before anything is removed: %v", version, status, missing)
		}
		for _, need := range whole.Needs {
			if tried[need.Name] || len(need.Packages) == 0 {
				continue
			}
			tried[need.Name] = true
			t.Run(version+"/"+need.Name, func(t *testing.T) {
				// The needs that lose something, and the packages that bring all of them back.
				names, packages, status := []string{}, slices.Clone(need.Packages), 0
				shared := func(packages []string) bool {
					return slices.ContainsFunc(packages, func(p string) bool { return slices.Contains(need.Packages, p) })
				}
				for _, other := range whole.Needs {
					shares := shared(other.Packages)
					// Without a compiler, or the headers that it needs, no library can be tried: all are named, to be installed at once.
					unknown := shared(whole.packages("compiler")) && len(other.Packages) > 0 && !slices.Contains([]string{"make", "pkg-config", "certificates"}, other.Name)
					if !shares && !unknown && !slices.Contains(also[need.Name], other.Name) {
						continue
					}
					names, packages = append(names, other.Name), append(packages, other.Packages...)
					if other.Tier == "required" {
						status = 3
					}
				}
				slices.Sort(packages)
				packages = slices.Compact(packages)

				gone := slices.Compact(slices.Sorted(slices.Values(slices.Concat(need.Packages, installed(t, behind[need.Name]...)))))
				debs := downloaded(t, gone)
				shell(t, append([]string{"dpkg", "--force-depends", "--purge"}, gone...)...)
				d, got, took := deps(t, program, version)
				shell(t, append([]string{"dpkg", "--install"}, debs...)...)

				if got != status {
					t.Errorf("status %d, want %d", got, status)
				}
				if missing := d.missing(); !slices.Equal(missing, names) {
					t.Errorf("missing %v, want %v", missing, names)
				}
				// The packages come after the last option.
				if i := slices.Index(d.Install, "--no-install-recommends"); i < 0 || !slices.Equal(d.Install[i+1:], packages) {
					t.Errorf("the command is %v, want one for %v", d.Install, packages)
				}
				if took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				t.Logf("without %v: missing %v, %.2f s", gone, d.missing(), took.Seconds())
				slowest = max(slowest, took)

				if d, got, _ := deps(t, program, version); got != 0 || len(d.missing()) > 0 {
					t.Errorf("with everything back: status %d, missing %v", got, d.missing())
				}
			})
		}
	}
	t.Logf("slowest check: %.2f s, of %d needs", slowest.Seconds(), len(tried))
}

// installed names the packages that match patterns and are there.
func installed(t *testing.T, patterns ...string) []string {
	t.Helper()
	if len(patterns) == 0 {
		return nil
	}
	// Its status is about patterns that match nothing.
	out, _ := exec.CommandContext(t.Context(), "dpkg-query", append([]string{"--show", "--showformat", "${db:Status-Status} ${Package}\n"}, patterns...)...).Output()
	var names []string
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			names = append(names, name)
		}
	}
	return names
}

// downloaded returns the files of packages that are installed.
func downloaded(t *testing.T, packages []string) []string {
	t.Helper()
	shell(t, append([]string{"apt-get", "install", "--reinstall", "--download-only", "--yes"}, packages...)...)
	var files []string
	for _, name := range packages {
		found, err := filepath.Glob("/var/cache/apt/archives/" + name + "_*.deb")
		if err != nil || len(found) != 1 {
			t.Fatalf("files of %s: %v, %v", name, found, err)
		}
		files = append(files, found...)
	}
	return files
}

// An ending is the last event of a build, and its exit status.
type ending struct {
	status        int
	Event, Step   string
	State         string
	Status        int
	Kind, Message string
	Manifest      string
	Executable    string
}

// build runs pybuild with --json, with environ added to the caller's, tells begun of each step as it begins, and returns the last
// event.
func build(t *testing.T, program string, environ []string, begun func(step string), args ...string) ending {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, append(args, "--json")...)
	cmd.Env = append(os.Environ(), environ...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var last ending
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		last = ending{}
		if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
			t.Errorf("not JSON: %s: %v", lines.Text(), err)
		}
		if last.Event == "step" && last.State == "start" && begun != nil {
			begun(last.Step)
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		last.status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: status %d, %s %s", strings.Join(args, " "), last.status, last.Event, last.Message)
	if last.status != 0 && last.status != last.Status {
		t.Errorf("the last event is %+v\n%s", last, &stderr)
	}
	return last
}

// emptyPrefix makes a directory to install into. It is not below the build directory.
func emptyPrefix(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "prefix")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestHiddenHeader hides a header when the check has passed: the build stops and says which part that costs. Its twin does not.
func TestHiddenHeader(t *testing.T) {
	program := throwaway(t)
	for _, row := range []struct{ version, header, part string }{
		{"3.13.5", "/usr/include/bzlib.h", "bz2"},
		{"3.13.5", "", ""},
		{"3.11.2", "/usr/include/sqlite3.h", "sqlite"},
		{"3.11.2", "", ""},
	} {
		t.Run(row.version+"/"+cmp.Or(row.part, "untouched"), func(t *testing.T) {
			provide(t, program, row.version)
			prefix, begun := emptyPrefix(t), func(string) {}
			if row.header != "" {
				begun = func(step string) {
					if step == "unpack" {
						if err := os.Rename(row.header, row.header+".hidden"); err != nil {
							t.Error(err)
						}
					}
				}
				defer func() {
					if err := os.Rename(row.header+".hidden", row.header); err != nil {
						t.Error(err)
					}
				}()
			}
			last := build(t, program, nil, begun, row.version, "--prefix", prefix)
			if row.header == "" {
				if last.status != 0 || last.Event != "installed" {
					t.Errorf("status %d, %+v", last.status, last)
				}
				return
			}
			if last.status != 6 {
				t.Errorf("status %d, want 6", last.status)
			}
			for _, word := range []string{row.part, filepath.Base(row.header)} {
				if !strings.Contains(last.Message, word) {
					t.Errorf("the message does not name %s: %s", word, last.Message)
				}
			}
			if left := listing(t, prefix); len(left) > 0 {
				t.Errorf("the prefix was changed: %v", slices.Sorted(maps.Keys(left)))
			}
		})
	}
}

// TestBrokenModule breaks a module when it is built and staged, before it is inspected: the result is rejected. The builds of
// TestHiddenHeader in which nothing is hidden are the twin.
func TestBrokenModule(t *testing.T) {
	program := throwaway(t)
	provide(t, program, "3.13.5")
	prefix, dir, broken := emptyPrefix(t), t.TempDir(), 0
	last := build(t, program, nil, func(step string) {
		if step != "inspect" {
			return
		}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasPrefix(d.Name(), "_bz2.") && strings.HasSuffix(d.Name(), ".so") && strings.Contains(path, "/stage/") {
				broken++
				return os.Truncate(path, 4096)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}, "3.13.5", "--prefix", prefix, "--build-dir", dir)
	if broken != 1 {
		t.Fatalf("%d modules were broken, want 1", broken)
	}
	if last.status != 7 || !strings.Contains(last.Message, "bz2") {
		t.Errorf("status %d, want 7 and a message that names bz2: %s", last.status, last.Message)
	}
	if left := listing(t, prefix); len(left) > 0 {
		t.Errorf("the prefix was changed: %v", slices.Sorted(maps.Keys(left)))
	}
}

// foreign is where TestForeign puts libraries that are neither the distribution's nor the new Python's.
const foreign = "/opt/foreign"

// TestForeign puts real libraries in the way of a build in every way that a user's environment can: in LD_LIBRARY_PATH, also a
// libpython of the same series, by CFLAGS and LDFLAGS, by a pkg-config file. The build goes through with the system's own. Told
// besides to look there at run time, it would load them for ever, so it is rejected with their name.
func TestForeign(t *testing.T) {
	program := throwaway(t)
	// The foreign libpython must be of the series that is built, and the distribution must have it.
	var release, series string
	for _, release = range []string{"3.13.5", "3.11.2", "3.9.2"} {
		series = release[:strings.LastIndex(release, ".")]
		if shell(t, "apt-cache", "search", "--names-only", "^libpython"+series+"$") != "" {
			break
		}
	}
	provide(t, program, release)
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "libpython"+series)
	plant(t)

	environ := []string{
		"LD_LIBRARY_PATH=" + foreign + "/lib", "LIBRARY_PATH=" + foreign + "/lib", "CPATH=" + foreign + "/include",
		"CFLAGS=-I" + foreign + "/include", "CPPFLAGS=-I" + foreign + "/include", "PKG_CONFIG_PATH=" + foreign + "/lib/pkgconfig",
	}
	t.Run("seen", func(t *testing.T) {
		prefix := emptyPrefix(t)
		last := build(t, program, append(environ, "LDFLAGS=-L"+foreign+"/lib"), nil, release, "--prefix", prefix, "--with", "shared")
		if last.status != 0 {
			stopped(t, last, prefix)
			return
		}
		loaded(t, last.Executable)
		linked(t, prefix)
		recorded(t, last.Manifest)
	})
	t.Run("rpath", func(t *testing.T) {
		prefix := emptyPrefix(t)
		stopped(t, build(t, program, append(environ, "LDFLAGS=-L"+foreign+"/lib -Wl,-rpath,"+foreign+"/lib"), nil, release, "--prefix", prefix), prefix)
	})
}

// plant copies the distribution's own libraries, with what is needed to build against them, to where nothing of it belongs.
func plant(t *testing.T) {
	t.Helper()
	shell(t, "mkdir", "--parents", foreign+"/lib/pkgconfig", foreign+"/include")
	for _, pattern := range []string{"libsqlite3.so*", "libssl.so*", "libcrypto.so*", "libpython3*.so*"} {
		found, err := filepath.Glob("/usr/lib/*-linux-gnu*/" + pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		shell(t, slices.Concat([]string{"cp", "--no-dereference", "--preserve=links,mode"}, found, []string{foreign + "/lib"})...)
	}
	headers, err := filepath.Glob("/usr/include/sqlite3*.h")
	if err != nil {
		t.Fatal(err)
	}
	shell(t, slices.Concat([]string{"cp", "--recursive", "/usr/include/openssl"}, headers, []string{foreign + "/include"})...)
	for name, libs := range map[string]string{"sqlite3": "-lsqlite3", "openssl": "-lssl -lcrypto", "libcrypto": "-lcrypto", "libssl": "-lssl -lcrypto"} {
		text := "Name: " + name + "\nDescription: foreign\nVersion: 9\nCflags: -I" + foreign + "/include\nLibs: -L" + foreign + "/lib " + libs + "\n"
		if err := os.WriteFile(foreign+"/lib/pkgconfig/"+name+".pc", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// stopped holds that a build was refused, before or after it, because of the foreign libraries, and left nothing.
func stopped(t *testing.T, last ending, prefix string) {
	t.Helper()
	if last.status != 3 && last.status != 7 || !strings.Contains(last.Message, foreign) {
		t.Errorf("status %d, want 3 or 7 and a message that names %s: %s", last.status, foreign, last.Message)
	}
	if left := listing(t, prefix); len(left) > 0 {
		t.Errorf("the prefix was changed: %v", slices.Sorted(maps.Keys(left)))
	}
}

// loaded holds that the interpreter, run as its users will, loads nothing foreign.
func loaded(t *testing.T, python string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), python, "-c", "import sqlite3, ssl, _hashlib; sqlite3.connect(':memory:'); ssl.create_default_context(); print(open('/proc/self/maps').read())")
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "libsqlite3.so") || !strings.Contains(string(out), "libpython3") {
		t.Fatalf("%s: %v\n%s", python, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, foreign) {
			t.Errorf("loaded: %s", line)
		}
	}
}

// linked holds that no program or library below prefix asks for a foreign directory.
func linked(t *testing.T, prefix string) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(prefix, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := elf.Open(path)
		if format := (*elf.FormatError)(nil); errors.As(err, &format) || errors.Is(err, io.EOF) {
			return nil // not a program
		}
		if err != nil {
			return err
		}
		defer f.Close()
		seen++
		for _, tag := range []elf.DynTag{elf.DT_NEEDED, elf.DT_RPATH, elf.DT_RUNPATH} {
			values, err := f.DynString(tag)
			if err == nil && strings.Contains(strings.Join(values, ":"), foreign) {
				t.Errorf("%s: %v %v", path, tag, values)
			}
		}
		return nil
	})
	if err != nil || seen < 40 {
		t.Errorf("%d programs and libraries seen: %v", seen, err)
	}
}

// recorded holds that the manifest's table of libraries has the ones that were meant, and none that is foreign.
func recorded(t *testing.T, manifest string) {
	t.Helper()
	text, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		Libraries []struct{ Soname, Path, Origin string }
	}
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range m.Libraries {
		names = append(names, l.Soname)
		if l.Origin != "system" && l.Origin != "prefix" || strings.Contains(l.Path, foreign) {
			t.Errorf("%+v", l)
		}
	}
	for _, want := range []string{"libsqlite3.so", "libssl.so", "libpython3"} {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, want) }) {
			t.Errorf("the manifest's libraries are %v, without %s", names, want)
		}
	}
}
