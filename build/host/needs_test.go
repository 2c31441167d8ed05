package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pybuild/build/run"
	"pybuild/recipes"
)

// debian is a host whose list is small enough to read.
var debian = &Host{ID: "debian", VersionID: "13", Platform: &recipes.Platform{
	Install: []string{"apt-get", "install"},
	Packages: map[string][]string{
		"compiler": {"gcc", "libc6-dev"}, "make": {"make"}, "pkg-config": {"pkg-config"}, "certificates": {"ca-certificates"},
		"zlib": {"zlib1g-dev"}, "ssl": {"libssl-dev"}, "hashlib": {"libssl-dev"}, "tkinter": {"tk-dev"}, "crypt": {},
	},
}}

var tools = []*recipes.Tool{
	{Name: "compiler", Commands: []string{"cc", "gcc"}},
	{Name: "make", Commands: []string{"make", "gmake"}},
	{Name: "certificates", Files: []string{"/etc/ssl/ca.crt", "/etc/pki/ca.pem", "/etc/ssl/certs"}},
}

// zlib is a part with one probe that uses everything.
func zlib() *recipes.Part {
	return &recipes.Part{Name: "zlib", Tier: recipes.TierRequired, Probes: []*recipes.Probe{{
		Headers: []string{"zlib.h"}, Symbol: "inflateCopy", Libs: []string{"z"}, PkgConfig: []string{"zlib"}, IncludeDirs: []string{"/inc"},
		Minimum: []*recipes.Minimum{{Test: "ZLIB_VERNUM >= 0x1221", Says: "zlib 1.2.2.1"}},
	}}}
}

// part is a part that needs only a header.
func part(name, tier string) *recipes.Part {
	return &recipes.Part{Name: name, Tier: tier, Probes: []*recipes.Probe{{Headers: []string{name + ".h"}, Symbol: name}}}
}

func required(p *recipes.Part) bool { return p.Tier == recipes.TierRequired }

// commands makes a directory of programs, each a shell script: name, body, name, body. It is the PATH of a probe, which finds
// nothing else; the scripts themselves are run by /bin/sh and may use what is built into it.
func commands(t *testing.T, scripts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for i := 0; i < len(scripts); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, scripts[i]), []byte("#!/bin/sh\n"+scripts[i+1]+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// compilerWorks begins a fake compiler that is all right itself, whatever it says about libraries: its programs run, and it says
// nothing about itself.
const compilerWorks = `case "$*" in
*toolchain.c*) exit 0 ;;
*compiler.c*) printf '#!/bin/sh\necho yes\n' >compiler; /bin/chmod 755 compiler; exit 0 ;;
esac
`

// complains is a fake compiler that answers every probe with these lines.
func complains(lines ...string) string {
	return compilerWorks + "cat >&2 <<'END'\n" + strings.Join(lines, "\n") + "\nEND\nexit 1"
}

// names renders what is missing, one word each, with a star for what is required.
func names(missing []Missing) string {
	var list []string
	for _, m := range missing {
		name := m.Name
		if m.Required {
			name += "*"
		}
		list = append(list, name)
	}
	return strings.Join(list, " ")
}

// TestReasons has one fault a row: what the compiler says, and what becomes of it. The last row is the twin that succeeds.
func TestReasons(t *testing.T) {
	for _, test := range []struct{ name, script, want string }{
		{"gcc: header", complains("zlib-0.c:1:10: fatal error: zlib.h: No such file or directory", "    1 | #include <zlib.h>", "compilation terminated."), "zlib.h not found"},
		{"clang: header", complains("zlib-0.c:1:10: fatal error: 'zlib.h' file not found", "#include <zlib.h>", "1 error generated."), "zlib.h not found"},
		{"gcc: header that the header includes", complains("In file included from zlib-0.c:1:", "/usr/include/zlib.h:34:10: fatal error: zconf.h: No such file or directory"),
			"/usr/include/zlib.h:34:10: fatal error: zconf.h: No such file or directory"},
		{"clang: header that the header includes", complains("/usr/include/zlib.h:34:10: fatal error: 'zconf.h' file not found"), "/usr/include/zlib.h:34:10: fatal error: 'zconf.h' file not found"},
		{"GNU ld: library", complains("/usr/bin/ld: cannot find -lz: No such file or directory", "collect2: error: ld returned 1 exit status"), "library -lz not found"},
		{"old GNU ld: library", complains("/usr/bin/ld: cannot find -lz", "collect2: error: ld returned 1 exit status"), "library -lz not found"},
		{"lld: library", complains("ld.lld: error: unable to find library -lz", "clang: error: linker command failed with exit code 1"), "library -lz not found"},
		{"another library, of the user's LDFLAGS", complains("/usr/bin/ld: cannot find -lzstd: No such file or directory"), "/usr/bin/ld: cannot find -lzstd: No such file or directory"},
		{"GNU ld: symbol", complains("/usr/bin/ld: /tmp/cc1.o: in function `main':", "zlib-0.c:(.text.startup+0x9): undefined reference to `inflateCopy'", "collect2: error: ld returned 1 exit status"),
			"function inflateCopy not found"},
		{"lld: symbol", complains("ld.lld: error: undefined symbol: inflateCopy", ">>> referenced by zlib-0.c"), "function inflateCopy not found"},
		{"GNU ld: symbol of another library", complains("/usr/bin/ld: /usr/lib/libz.so: undefined reference to `memcpy@GLIBC_2.99'"), "/usr/bin/ld: /usr/lib/libz.so: undefined reference to `memcpy@GLIBC_2.99'"},
		{"gcc: our #error", complains("zlib-0.c:3:2: error: #error pybuild needs zlib 1.2.2.1", "    3 | #error pybuild needs zlib 1.2.2.1"), "wrong version, the build needs zlib 1.2.2.1"},
		{"clang: our #error", complains("zlib-0.c:3:2: error: pybuild needs zlib 1.2.2.1", "#error pybuild needs zlib 1.2.2.1"), "wrong version, the build needs zlib 1.2.2.1"},
		{"something else", complains("zlib-0.c:1:1: warning: odd", "zlib-0.c:4:1: error: expected ';'"), "zlib-0.c:4:1: error: expected ';'"},
		{"nothing said", compilerWorks + "exit 3", "cc -I/inc zlib-0.c -o zlib-0 -lz: exit status 3"},
		{"all right", compilerWorks + "exit 0", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			// The scripts need cat; a real pkg-config must not be found with it.
			env := []string{"PATH=" + commands(t, "cc", test.script, "pkg-config", "exit 1") + ":/usr/bin:/bin", "CC=cc"}
			needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{zlib()}, Env: env, Required: required}
			found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == "" {
				if len(found.Missing) != 0 {
					t.Errorf("missing: %+v", found.Missing)
				}
				return
			}
			if names(found.Missing) != "zlib*" || found.Missing[0].Reason != test.want {
				t.Errorf("missing %+v, want %q", found.Missing, test.want)
			}
			if m := found.Missing[0]; !slices.Equal(m.Packages, []string{"zlib1g-dev"}) || !slices.Equal(m.Libraries, []string{"zlib.h and libz"}) || m.Absent {
				t.Errorf("packages %q, libraries %q, absent: %t", m.Packages, m.Libraries, m.Absent)
			}
		})
	}
}

// TestTools takes one tool away a row; the first row is the twin with everything.
func TestTools(t *testing.T) {
	const cert = "etc/ssl/ca.crt=x"
	for _, test := range []struct {
		name     string
		commands []string
		env      []string // besides PATH
		root     fs.FS
		want     string
		reason   string // of the first
	}{
		{"everything", []string{"cc", compilerWorks, "make", ""}, nil, files(cert), "", ""},
		{"other names", []string{"gcc", compilerWorks, "gmake", ""}, nil, files("etc/pki/ca.pem=x"), "", ""},
		{"no make", []string{"cc", compilerWorks}, nil, files(cert), "make*", "make or gmake not found in PATH"},
		{"make that does not start", []string{"cc", compilerWorks, "make", "echo 'make: error while loading shared libraries: libgc.so.1' >&2; exit 127"}, nil, files(cert), "make*", "make does not work: make: error while loading shared libraries: libgc.so.1"},
		{"make that says nothing", []string{"cc", compilerWorks, "make", "exit 4"}, nil, files(cert), "make*", "make does not work: exit status 4"},
		{"make that crashes", []string{"cc", compilerWorks, "make", "kill -9 $$"}, nil, files(cert), "make*", "make does not work: signal: killed"},
		{"the other make works", []string{"cc", compilerWorks, "make", "exit 4", "gmake", ""}, nil, files(cert), "", ""},
		{"no certificates", []string{"cc", compilerWorks, "make", ""}, nil, files(), "certificates*", "/etc/ssl/ca.crt not found"},
		{"certificates in an empty file", []string{"cc", compilerWorks, "make", ""}, nil, files("etc/ssl/ca.crt="), "certificates*", "/etc/ssl/ca.crt not found"},
		{"certificates in a directory", []string{"cc", compilerWorks, "make", ""}, nil, files("etc/ssl/certs/a.pem=x"), "", ""},
		{"no compiler", []string{"make", ""}, nil, files(cert), "compiler* zlib* tkinter", "no C compiler in PATH"},
		{"no compiler called like that", []string{"cc", compilerWorks, "make", ""}, []string{"CC=my-cc -m64"}, files(cert), "compiler* zlib* tkinter", "my-cc -m64 does not work: executable file not found in $PATH in PATH"},
		{"compiler of another name", []string{"my-cc", compilerWorks + "[ \"$1\" = -m64 ]", "make", ""}, []string{"CC=my-cc -m64"}, files(cert), "", ""},
		{"compiler without the headers of the C library", []string{"cc", "echo \"$1:1:10: fatal error: stdio.h: No such file or directory\" >&2; exit 1", "make", ""}, nil, files(cert),
			"compiler* zlib* tkinter", "cc does not work: compiler.c:1:10: fatal error: stdio.h: No such file or directory"},
		{"compiler in pieces", []string{"cc", "echo \"cc: fatal error: cannot execute 'cc1': No such file\" >&2; exit 1", "make", ""}, nil, files(cert),
			"compiler* zlib* tkinter", "cc does not work: cc: fatal error: cannot execute 'cc1': No such file"},
		{"compiler that says nothing", []string{"cc", "exit 7", "make", ""}, nil, files(cert), "compiler* zlib* tkinter", "cc does not work: exit status 7"},
		{"compiler that crashes", []string{"cc", "kill -9 $$", "make", ""}, nil, files(cert), "compiler* zlib* tkinter", "cc does not work: signal: killed"},
		{"flags of the user that it refuses", []string{"cc", "case \"$*\" in *-mwrong*) echo \"cc: error: unrecognized command-line option '-mwrong'\" >&2; exit 1 ;; esac", "make", ""}, []string{"CFLAGS=-O2 -mwrong"}, files(cert),
			"compiler* zlib* tkinter", "cc does not work: cc: error: unrecognized command-line option '-mwrong'"},
		{"nothing at all", nil, nil, files(), "compiler* make* certificates* zlib* tkinter", "no C compiler in PATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			parts := []*recipes.Part{zlib(), {Name: "decimal", Tier: recipes.TierRequired}, part("tkinter", recipes.TierWanted)}
			needs := Needs{Tools: tools, Parts: parts, Env: append([]string{"PATH=" + commands(t, test.commands...)}, test.env...), Required: required}
			found, err := debian.Probe(t.Context(), test.root, t.TempDir(), needs)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(found.Missing); got != test.want {
				t.Fatalf("missing %q, want %q", got, test.want)
			}
			if test.reason != "" && found.Missing[0].Reason != test.reason {
				t.Errorf("reason %q, want %q", found.Missing[0].Reason, test.reason)
			}
			for _, m := range found.Missing {
				if (m.Name == "zlib" || m.Name == "tkinter") && m.Reason != "not looked for: no working compiler" {
					t.Errorf("reason for %s: %q", m.Name, m.Reason)
				}
			}
		})
	}
}

// Everything that is missing is named at once, in the order of the recipes, however long each probe takes.
func TestEverythingAtOnce(t *testing.T) {
	sleep := lookFor(t, "sleep")
	script := compilerWorks + `case "$*" in
*tkinter-0.c*) echo "tkinter-0.c:1:10: fatal error: tkinter.h: No such file or directory" >&2; exit 1 ;;
*ssl-0.c*) ` + sleep + ` 0.2; echo "ssl-0.c:1:10: fatal error: ssl.h: No such file or directory" >&2; exit 1 ;;
*hashlib-0.c*) echo "hashlib-0.c:1:10: fatal error: hashlib.h: No such file or directory" >&2; exit 1 ;;
esac`
	needs := Needs{
		Tools: tools, Env: []string{"PATH=" + commands(t, "cc", script)}, Required: required,
		Parts: []*recipes.Part{part("ssl", recipes.TierRequired), part("zlib", recipes.TierRequired), part("tkinter", recipes.TierWanted), part("hashlib", recipes.TierRequired)},
	}
	found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := names(found.Missing), "make* certificates* ssl* tkinter hashlib*"; got != want {
		t.Fatalf("missing %q, want %q", got, want)
	}
	err = debian.Require(found.Missing)
	var missing *MissingError
	if !errors.As(err, &missing) {
		t.Fatalf("error %v, want a *MissingError", err)
	}
	const want = `build needs are missing:
  make: make or gmake not found in PATH
  certificates: /etc/ssl/ca.crt not found
  ssl: ssl.h not found
  hashlib: hashlib.h not found`
	if err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
	if missing.Host != debian || names(missing.Missing) != "make* certificates* ssl* hashlib*" {
		t.Errorf("host %v, missing %q", missing.Host, names(missing.Missing))
	}
	if got, want := strings.Join(missing.Install, " "), "apt-get install ca-certificates libssl-dev make tk-dev"; got != want {
		t.Errorf("install %q, want %q", got, want)
	}
	if err := debian.Require(found.Missing[3:4]); err != nil {
		t.Errorf("what is only wanted is no error: %v", err)
	}
	if err := debian.Require(nil); err != nil {
		t.Errorf("nothing missing: %v", err)
	}
}

// What a release of a distribution does not have is missing all the same, but nothing is installed for it; a distribution that
// nobody has a list for has the names of the libraries.
func TestAbsent(t *testing.T) {
	stranger, err := Detect(files("etc/os-release=ID=haiku"), changing)
	if err != nil {
		t.Fatal(err)
	}
	var hosts []*Host
	for _, name := range []string{"rocky:9", "rocky:8"} {
		h, err := Named(name, changing)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	readline := &recipes.Part{Name: "readline", Tier: recipes.TierWanted, Probes: []*recipes.Probe{
		{Headers: []string{"stdio.h", "readline/readline.h", "readline/history.h"}, Libs: []string{"readline"}},
		{Headers: []string{"stdio.h", "editline/readline.h"}, Libs: []string{"edit"}},
		{Headers: []string{"editline/readline.h"}, Libs: []string{"edit"}},
		{Headers: []string{"stdio.h"}, Symbol: "readline"},
	}}
	lacksAll := compilerWorks + `echo "x.c:1:1: error: no" >&2; exit 1`
	for _, test := range []struct {
		name, cc, want, packages, install string
		host                              *Host
	}{
		{"release that has all", lacksAll, "build needs are missing:\n  zlib: x.c:1:1: error: no\n  ssl: x.c:1:1: error: no", "gcc openssl-devel zlib-devel", "dnf install openssl-devel zlib-devel", hosts[0]},
		{"release that lacks one", lacksAll, "build needs are missing:\n  zlib: x.c:1:1: error: no; rocky:8 has no package for it: it came with release 9\n  ssl: x.c:1:1: error: no", "gcc openssl11-devel", "dnf install openssl11-devel", hosts[1]},
		{"without a compiler", "exit 1", "build needs are missing:\n  compiler: cc does not work: exit status 1\n  zlib: not looked for: no working compiler; rocky:8 has no package for it: it came with release 9\n  ssl: not looked for: no working compiler", "gcc openssl11-devel", "dnf install gcc openssl11-devel", hosts[1]},
		{"stranger", lacksAll, "build needs are missing:\n  zlib: x.c:1:1: error: no\n  ssl: x.c:1:1: error: no", "", "", stranger},
		{"all there", compilerWorks, "", "gcc openssl11-devel", "", hosts[1]},
	} {
		t.Run(test.name, func(t *testing.T) {
			needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{zlib(), part("ssl", recipes.TierRequired), readline}, Env: []string{"PATH=" + commands(t, "cc", test.cc)}, Required: required}
			if got := strings.Join(test.host.Packages(needs), " "); got != test.packages {
				t.Errorf("packages %q, want %q", got, test.packages)
			}
			found, err := test.host.Probe(t.Context(), files(), t.TempDir(), needs)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(test.host.Install(found.Missing), " "); got != test.install {
				t.Errorf("install %q, want %q", got, test.install)
			}
			err = test.host.Require(found.Missing)
			var missing *MissingError
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &missing) || err.Error() != test.want || strings.Join(missing.Install, " ") != test.install {
				t.Fatalf("error\n%v\nwant\n%s", err, test.want)
			}
			for _, m := range found.Missing {
				libraries := map[string]string{
					"zlib": "zlib.h and libz", "ssl": "ssl.h", "readline": "readline/readline.h, readline/history.h and libreadline; editline/readline.h and libedit",
				}[m.Name]
				if got := strings.Join(m.Libraries, "; "); got != libraries {
					t.Errorf("%s: libraries %q, want %q", m.Name, got, libraries)
				}
				if want := m.Name == "zlib" && test.host.VersionID == "8"; m.Absent != want || want && m.Packages != nil {
					t.Errorf("%+v, want absent: %t", m, want)
				}
			}
		})
	}
}

// Little memory is said, and enough is not.
func TestMemoryNote(t *testing.T) {
	before := runtime.GOMAXPROCS(8)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	for _, test := range []struct{ kib, want string }{
		{"16384000", ""},
		{"1433600", "8 CPUs, but memory for 3 compilers at once: 1400 MiB available"},
	} {
		found, err := debian.Probe(t.Context(), files("proc/meminfo=MemAvailable: "+test.kib+" kB\n"), t.TempDir(), Needs{})
		if err != nil || strings.Join(found.Notes, "\n") != test.want {
			t.Errorf("%s kB: %+v, %v; want %q", test.kib, found, err, test.want)
		}
	}
}

func lookFor(t *testing.T, name string) string {
	t.Helper()
	path, err := run.LookPath(name, []string{"PATH=/usr/local/bin:/usr/bin:/bin"})
	if err != nil {
		t.Skipf("%s is not in PATH", name)
	}
	return path
}

// pkg-config is asked when the plain probe fails; its flags count then, and only then.
func TestPkgConfig(t *testing.T) {
	const (
		knows    = `[ "$*" != "--cflags zlib" ] || echo "-I/opt/z/include  -DZ"; [ "$*" != "--libs zlib" ] || echo "-L/opt/z/lib -lz-ng"`
		stranger = `echo "Package zlib was not found" >&2; exit 1`
		onlyOpt  = compilerWorks + `echo "$*" >>calls; case "$*" in *-I/opt/z/include*) exit 0 ;; esac
echo "zlib-0.c:1:10: fatal error: zlib.h: No such file or directory" >&2; exit 1`
		plain = "-O1 -I/inc zlib-0.c -o zlib-0 -L/user -lz\n"
	)
	for _, test := range []struct {
		name, cc, pkgConfig string
		want, calls         string
	}{
		{"plain probe suffices", compilerWorks + `echo "$*" >>calls`, "touch asked", "", plain},
		{"pkg-config knows better", onlyOpt, knows, "", plain + "-O1 -I/opt/z/include -DZ zlib-0-pkg-config.c -o zlib-0-pkg-config -L/user -L/opt/z/lib -lz-ng\n"},
		{"pkg-config does not know", onlyOpt, stranger, "zlib*", plain},
		{"no pkg-config", onlyOpt, "", "zlib*", plain},
	} {
		t.Run(test.name, func(t *testing.T) {
			scripts := []string{"cc", test.cc}
			if test.pkgConfig != "" {
				scripts = append(scripts, "pkg-config", test.pkgConfig)
			}
			parent := t.TempDir()
			work := filepath.Join(parent, "work")
			if err := os.Mkdir(work, 0o755); err != nil {
				t.Fatal(err)
			}
			needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{zlib()}, Env: []string{"PATH=" + commands(t, scripts...), "CFLAGS=-O1", "LDFLAGS=-L/user"}, Required: required}
			found, err := debian.Probe(t.Context(), files(), work, needs)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(found.Missing); got != test.want {
				t.Errorf("missing %q, want %q", got, test.want)
			}
			if test.want != "" && found.Missing[0].Reason != "zlib.h not found" {
				t.Errorf("reason %q", found.Missing[0].Reason)
			}
			calls, err := os.ReadFile(filepath.Join(work, "calls"))
			if err != nil || string(calls) != test.calls {
				t.Errorf("the compiler was called with\n%swant\n%s(%v)", calls, test.calls, err)
			}
			if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
				t.Errorf("a probe wrote outside its directory: %v, %v", entries, err)
			}
		})
	}
}

// The first probe that works decides what configure is told; when none works, the first says why.
func TestAlternatives(t *testing.T) {
	readline := &recipes.Part{Name: "readline", Tier: recipes.TierRequired, Probes: []*recipes.Probe{
		{Headers: []string{"readline.h"}, Symbol: "readline", Libs: []string{"readline"}},
		{Headers: []string{"editline.h"}, Symbol: "readline", Libs: []string{"edit"}, ConfigureArgs: []string{"--with-readline=editline"}},
	}}
	const lacks = `echo "x.c:1:10: fatal error: readline.h: No such file or directory" >&2; exit 1`
	for _, test := range []struct{ name, cc, want, args string }{
		{"first", compilerWorks, "", ""},
		{"second", compilerWorks + `case "$*" in *readline-0.c*) ` + lacks + ` ;; esac`, "", "--with-readline=editline"},
		{"none", compilerWorks + lacks, "readline*", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{readline}, Env: []string{"PATH=" + commands(t, "cc", test.cc)}, Required: required}
			found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs)
			if err != nil {
				t.Fatal(err)
			}
			if got := names(found.Missing); got != test.want || strings.Join(found.ConfigureArgs, " ") != test.args {
				t.Errorf("missing %q, configure arguments %q; want %q, %q", got, found.ConfigureArgs, test.want, test.args)
			}
			if test.want != "" && found.Missing[0].Reason != "readline.h not found" {
				t.Errorf("reason %q", found.Missing[0].Reason)
			}
		})
	}
}

// What keeps the probe from looking is an error, and nothing is called missing for it.
func TestProbeCannotLook(t *testing.T) {
	env := []string{"PATH=" + commands(t, "cc", compilerWorks)}
	needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{zlib()}, Env: env, Required: required}
	gone := filepath.Join(t.TempDir(), "gone")
	for _, n := range []Needs{needs, {Parts: needs.Parts, Env: env, Required: required}} {
		file := "compiler.c"
		if n.Tools == nil {
			file = "zlib-0.c"
		}
		found, err := debian.Probe(t.Context(), files(), gone, n)
		if want := "probing for build needs: open " + gone + "/" + file + ": no such file or directory"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) || found != nil {
			t.Errorf("%v, %v; want %s", found, err, want)
		}
	}
	if _, err := os.Lstat(gone); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory was made: %v", err)
	}
	if found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs); err != nil || len(found.Missing) != 0 {
		t.Errorf("in a directory that is there: %v, %v", found, err)
	}
}

func TestProbeCancelled(t *testing.T) {
	sleep := lookFor(t, "sleep")
	for _, script := range []string{"exec " + sleep + " 60", compilerWorks + "exec " + sleep + " 60"} {
		cause := errors.New("the user said stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
		needs := Needs{Tools: tools[:1], Parts: []*recipes.Part{zlib(), part("ssl", recipes.TierRequired)}, Env: []string{"PATH=" + commands(t, "cc", script)}, Required: required}
		if found, err := debian.Probe(ctx, files(), t.TempDir(), needs); !errors.Is(err, cause) || found != nil {
			t.Errorf("%v, %v; want the cause", found, err)
		}
	}
}

func TestInstall(t *testing.T) {
	list := func(names ...string) (missing []Missing) {
		for _, name := range names {
			missing = append(missing, Missing{Name: name, Packages: debian.Platform.Packages[name]})
		}
		return missing
	}
	for _, test := range []struct {
		name    string
		host    *Host
		missing []Missing
		want    []string
	}{
		{"sorted", debian, list("zlib", "make", "compiler"), []string{"apt-get", "install", "gcc", "libc6-dev", "make", "zlib1g-dev"}},
		{"without duplicates", debian, list("zlib", "ssl", "hashlib", "ssl"), []string{"apt-get", "install", "libssl-dev", "zlib1g-dev"}},
		{"nothing missing", debian, nil, nil},
		{"nobody has it", debian, list("crypt"), nil},
		{"no list", &Host{ID: "haiku"}, []Missing{{Name: "zlib"}}, nil},
		{"absent ones are left out", debian, []Missing{{Name: "zlib", Packages: []string{"zlib1g-dev"}}, {Name: "ssl", Packages: []string{"libssl-dev"}, Absent: true}}, []string{"apt-get", "install", "zlib1g-dev"}},
		{"only absent ones", debian, []Missing{{Name: "ssl", Packages: []string{"libssl-dev"}, Absent: true}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := test.host.Install(test.missing); !slices.Equal(got, test.want) || (got == nil) != (test.want == nil) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
	if got := debian.Platform.Install; !slices.Equal(got, []string{"apt-get", "install"}) {
		t.Errorf("the platform's own command was changed: %q", got)
	}
}

func TestPackages(t *testing.T) {
	needs := Needs{Tools: tools, Parts: []*recipes.Part{part("zlib", ""), part("ssl", ""), part("hashlib", ""), part("crypt", "")}}
	want := []string{"ca-certificates", "gcc", "libc6-dev", "libssl-dev", "make", "zlib1g-dev"}
	if got := debian.Packages(needs); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := (&Host{ID: "haiku"}).Packages(needs); len(got) != 0 {
		t.Errorf("without a list: %q", got)
	}
}

func TestCompiler(t *testing.T) {
	for _, test := range []struct {
		name     string
		commands []string
		cc       string
		want     string
	}{
		{"configure's order", []string{"clang", "", "cc", "", "gcc", ""}, "", "gcc"},
		{"cc before clang", []string{"clang", "", "cc", ""}, "", "cc"},
		{"only clang", []string{"clang", ""}, "", "clang"},
		{"CC wins", []string{"gcc", ""}, "CC=ccache clang -m64", "ccache clang -m64"},
		{"blank CC is none", []string{"gcc", ""}, "CC= ", "gcc"},
		{"none", nil, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := strings.Join(Compiler([]string{"PATH=" + commands(t, test.commands...), test.cc}), " "); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// realEnv is an environment as a build has it, with this system's compiler.
func realEnv(t *testing.T) []string {
	t.Helper()
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + t.TempDir(), "LC_ALL=C.UTF-8", "CFLAGS=-g0"}
	if Compiler(env) == nil {
		t.Skip("this system has no C compiler")
	}
	return env
}

// TestRealCompiler holds the fakes above against the compiler of this system, with a header of our own.
func TestRealCompiler(t *testing.T) {
	env := realEnv(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"odd.h":     "int puts(const char *);\nint no_such_function(void);\n#define ODD_VERSION 3\n",
		"nothing.h": "#include <gone.h>\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func(test, says string) []*recipes.Minimum { return []*recipes.Minimum{{Test: test, Says: says}} }
	for _, test := range []struct {
		name  string
		probe recipes.Probe
		want  string
	}{
		{"all right", recipes.Probe{Headers: []string{"odd.h"}, Symbol: "puts", Minimum: at("ODD_VERSION >= 3", "odd 3")}, ""},
		{"too old", recipes.Probe{Headers: []string{"odd.h"}, Symbol: "puts", Minimum: at("ODD_VERSION >= 4", "odd 4")}, "wrong version, the build needs odd 4"},
		{"too new", recipes.Probe{Headers: []string{"odd.h"}, Symbol: "puts", Minimum: at("ODD_VERSION < 3", "odd 2")}, "wrong version, the build needs odd 2"},
		{"header", recipes.Probe{Headers: []string{"stdio.h", "gone.h"}, Symbol: "puts"}, "gone.h not found"},
		{"header of the header", recipes.Probe{Headers: []string{"nothing.h"}, Symbol: "puts"}, dir + "/nothing.h:1:10: fatal error: gone.h: No such file or directory"},
		{"library", recipes.Probe{Headers: []string{"odd.h"}, Symbol: "puts", Libs: []string{"no-such-library"}}, "library -lno-such-library not found"},
		{"function", recipes.Probe{Headers: []string{"odd.h"}, Symbol: "no_such_function"}, "function no_such_function not found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.probe.IncludeDirs = []string{dir, "/no/such/directory"}
			needs := Needs{Parts: []*recipes.Part{{Name: "odd", Probes: []*recipes.Probe{&test.probe}}}, Env: env, Required: required}
			found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(found.Missing) > 0 {
				got = found.Missing[0].Reason
			}
			if strings.HasPrefix(Compiler(env)[0], "clang") && strings.Contains(test.want, "fatal error") {
				t.Skip("clang says it in other words")
			}
			if got != test.want {
				t.Errorf("reason %q, want %q", got, test.want)
			}
		})
	}
}

// TestRealParts probes every part of three series on this machine. A part whose headers or libraries are not installed is
// skipped and says so; any other failure is one of the recipe.
func TestRealParts(t *testing.T) {
	env := realEnv(t)
	c := embedded(t)
	h, err := Detect(os.DirFS("/"), c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, series := range []string{"3.14", "3.13", "3.9"} {
		needs := Needs{Tools: c.Tools, Parts: c.PartsOf(series), Env: env, Required: required}
		found, err := h.Probe(t.Context(), os.DirFS("/"), t.TempDir(), needs)
		if err != nil {
			t.Fatal(err)
		}
		reasons := map[string]string{}
		for _, m := range found.Missing {
			reasons[m.Name] = m.Reason
		}
		for _, p := range needs.Parts {
			seen[p.Name] = true
			t.Run(series+"/"+p.Name, func(t *testing.T) {
				switch reason := reasons[p.Name]; {
				case strings.HasSuffix(reason, " not found"):
					t.Skip(reason)
				case reason != "":
					t.Error(reason)
				}
			})
		}
	}
	for _, p := range c.Parts {
		if !seen[p.Name] {
			t.Errorf("part %s was not looked for", p.Name)
		}
	}
}

// BenchmarkProbe is the whole check of 3.13's needs, with this system's compiler.
func BenchmarkProbe(b *testing.B) {
	env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + b.TempDir(), "LC_ALL=C.UTF-8", "CFLAGS=-g0"}
	if Compiler(env) == nil {
		b.Skip("this system has no C compiler")
	}
	c := embedded(b)
	h, err := Detect(os.DirFS("/"), c)
	if err != nil {
		b.Fatal(err)
	}
	needs := Needs{Tools: c.Tools, Parts: c.PartsOf("3.13"), Env: env, Required: required}
	for b.Loop() {
		found, err := h.Probe(b.Context(), os.DirFS("/"), b.TempDir(), needs)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(len(found.Missing)), "missing")
	}
}
