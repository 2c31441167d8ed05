package build

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pybuild/recipes"
)

func catalogue(t *testing.T) *recipes.Catalogue {
	t.Helper()
	c, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func request(t *testing.T, spec, profile string) Request {
	t.Helper()
	c := catalogue(t)
	rel, err := c.Resolve(spec)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Profile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Release: rel, Profile: p, Prefix: "/opt/python", Source: "/b/source", Stage: "/b/stage", Home: "/b/home", Logs: "/b/logs",
		Parts: c.PartsOf(rel.Series.Name), Jobs: 2,
	}
}

// commands renders a plan the way a person would type it.
func commands(p *Plan) string {
	var lines []string
	for _, s := range p.Steps {
		for _, argv := range s.Commands {
			lines = append(lines, s.Name+": "+strings.Join(argv, " "))
		}
	}
	return strings.Join(lines, "\n")
}

func TestPlan(t *testing.T) {
	const configure = "configure: ./configure --prefix=/opt/python --enable-option-checking=fatal --with-ensurepip=install"
	make := func(python string) string {
		static := "" // which old series install in any case
		if python == "python3.9" {
			static = "\nstage: find /b/stage/opt/python -name libpython*.a -delete"
		}
		return "\ncompile: make -j2\nstage: make altinstall DESTDIR=/b/stage ENSUREPIP=no PYTHON_FOR_BUILD=sh /b/home/installing.sh\n" +
			"stage: /b/stage/opt/python/bin/" + python + " -I -B -W ignore /b/home/complete.py /opt/python/bin/" + python + " /b/stage -j2" + static
	}
	guided := func(before string) string {
		return "\ncompile: make profile-gen-stamp -j2\ntrain: ./python -m test --pgo --timeout=600 -j2\ncompile: make clean-retain-profile\ncompile: touch profile-run-stamp" + before
	}
	const link = "\ncompile: make CFLAGS_NODIST=-g0 $(PGO_PROF_USE_FLAG) LDFLAGS_NODIST= -fno-lto -j2 "
	// tested is a plan in which tests of 3.11 are run that are not installed.
	tested := func(plan string) string {
		plan = strings.Replace(plan, " --disable-test-modules", "", 1)
		plan = strings.Replace(plan, "\nstage", "\nstage: rm -rf Lib/test Lib/ctypes/test Lib/distutils/tests Lib/idlelib/idle_test Lib/lib2to3/tests Lib/tkinter/test Lib/unittest/test\nstage", 1)
		return plan + "\nstage: find /b/stage/opt/python -path */lib-dynload/* ( -name _testbuffer.* -o -name _testcapi.* -o -name _testclinic.* -o -name _testimportmultiple.*" +
			" -o -name _testinternalcapi.* -o -name _testmultiphase.* -o -name _ctypes_test.* -o -name _xxtestfuzz.* -o -name xxlimited.* -o -name xxlimited_35.* ) -delete"
	}
	unlinked := []string{"--without-lto"}
	for _, test := range []struct {
		name, spec, profile string
		change              func(*Request)
		want                string
		disabled            string // prefix of the list
	}{
		{"quick", "3.13.5", "quick", nil, configure + " --with-system-libmpdec=no --disable-test-modules --without-static-libpython" + make("python3.13"), ""},
		{"profile-guided and optimised by the linker", "3.13.5", "release", nil,
			configure + " --with-system-libmpdec=no --enable-optimizations --with-lto --disable-test-modules --without-static-libpython" + guided(link+"Programs/_freeze_module Programs/_testembed") + make("python3.13"), ""},
		{"the same with libpython", "3.13.5", "release", func(r *Request) { r.With = []string{"shared"} },
			configure + " --with-system-libmpdec=no --enable-optimizations --with-lto --disable-test-modules --without-static-libpython --enable-shared" + guided(link+"Programs/_freeze_module") + make("python3.13") +
				"\nstage: rm -f /b/stage/opt/python/lib/libpython3.so", ""},
		{"the same in an old series", "3.9.2", "release", func(r *Request) { r.With = []string{"tests"} },
			configure + " --enable-optimizations --with-lto" + guided(link+"Programs/_testembed") + make("python3.9"), ""},
		{"for this processor", "3.11.2", "native", nil, tested(configure + " --enable-optimizations --with-lto --disable-test-modules --without-static-libpython" +
			guided(strings.Replace(link, "-g0", "-g0 -march=native", 1)+"Programs/_freeze_module Programs/_testembed") + make("python3.11")), ""},
		{"profile-guided, without the linker by the user's argument", "3.11.2", "release", func(r *Request) { r.ConfigureArgs = unlinked },
			tested(configure + " --enable-optimizations --with-lto --disable-test-modules --without-static-libpython --without-lto" + guided("") + make("python3.11")), ""},
		{"profile-guided by the user's own argument", "3.11.2", "quick", func(r *Request) { r.ConfigureArgs = []string{"--enable-optimizations"} },
			tested(configure + " --disable-test-modules --without-static-libpython --enable-optimizations" + guided("") + make("python3.11")), ""},
		{"neither, by the user's argument", "3.11.2", "release", func(r *Request) { r.ConfigureArgs = []string{"--disable-optimizations"} },
			configure + " --enable-optimizations --with-lto --disable-test-modules --without-static-libpython --disable-optimizations" + make("python3.11"), ""},
		{"debug", "3.11.2", "debug", nil, configure + " --with-pydebug --disable-test-modules --without-static-libpython" + make("python3.11"), ""},
		{"3.9 leaves tests out by itself", "3.9.2", "quick", nil, configure + strings.Replace(make("python3.9"), "\nstage", "\nstage: rm -rf Lib/test Lib/ctypes/test Lib/distutils/tests Lib/idlelib/idle_test Lib/lib2to3/tests Lib/sqlite3/test Lib/tkinter/test Lib/unittest/test\nstage", 1), "_testcapi,_testbuffer"},
		{"tests wanted", "3.9.2", "quick", func(r *Request) { r.With = []string{"tests"} }, configure + make("python3.9"), ""},
		{"tests wanted in a new one", "3.11.2", "quick", func(r *Request) { r.With = []string{"tests"} }, configure + " --without-static-libpython" + make("python3.11"), ""},
		{"shared", "3.11.2", "quick", func(r *Request) { r.With = []string{"shared"} }, configure + " --disable-test-modules --without-static-libpython --enable-shared" + make("python3.11") + "\nstage: rm -f /b/stage/opt/python/lib/libpython3.so", ""},
		{"static", "3.13.5", "quick", func(r *Request) { r.With = []string{"static"} }, configure + " --with-system-libmpdec=no --disable-test-modules" + make("python3.13"), ""},
		{"static in an old series", "3.9.2", "quick", func(r *Request) { r.With = []string{"static", "tests"} }, configure + strings.Replace(make("python3.9"), "\nstage: find /b/stage/opt/python -name libpython*.a -delete", "", 1), ""},
		{"links", "3.11.2", "quick", func(r *Request) { r.Links = map[string]string{"python3": "python3.11", "pip": "pip3.11"} },
			configure + " --disable-test-modules --without-static-libpython" + make("python3.11") + "\nstage: ln -s pip3.11 /b/stage/opt/python/bin/pip\nstage: ln -s python3.11 /b/stage/opt/python/bin/python3", ""},
		{"free-threaded", "3.13.5t", "quick", nil, configure + " --with-system-libmpdec=no --disable-test-modules --without-static-libpython --disable-gil" + make("python3.13t"), ""},
		{"without tkinter", "3.11.2", "quick", func(r *Request) { r.Without = []string{"tkinter"} }, configure + " --disable-test-modules --without-static-libpython" + make("python3.11"), "_tkinter"},
		{"what this machine lacks is left out like it", "3.13.5", "quick", func(r *Request) { r.Missing = []string{"gdbm"}; r.Without = []string{"tkinter"} },
			configure + " --with-system-libmpdec=no --disable-test-modules --without-static-libpython" + make("python3.13"), "_tkinter,_gdbm"},
		{"the core stays", "3.13.5", "quick", func(r *Request) { r.Missing = []string{"core"}; r.Without = []string{"core"} },
			configure + " --with-system-libmpdec=no --disable-test-modules --without-static-libpython" + make("python3.13"), ""},
		{"quirks", "3.11.2", "release", func(r *Request) {
			r.Quirks = []*recipes.Quirk{{Without: []string{"--enable-optimizations"}}, {ConfigureArgs: []string{"--a", "--b"}}}
		}, configure + " --with-lto --a --b --disable-test-modules --without-static-libpython" + make("python3.11"), ""},
		{"what the user adds comes last", "3.11.2", "quick", func(r *Request) {
			r.ConfigureArgs = []string{"--with-tzpath=/a b"}
			r.HostArgs = []string{"--host-arg"}
		},
			configure + " --host-arg --disable-test-modules --without-static-libpython --with-tzpath=/a b" + make("python3.11"), ""},
		{"patch and test", "3.11.2", "quick", func(r *Request) { r.Patches = []string{"/p/1.diff"}; r.Test = true },
			tested("patch: patch --batch --forward --strip=1 --input=/p/1.diff\n" + configure + " --disable-test-modules --without-static-libpython" + strings.Replace(make("python3.11"), "\nstage", "\ntest: make test EXTRATESTOPTS=-x test_gdb\nstage", 1)), ""},
		{"gdb's tests need debug information", "3.11.2", "quick", func(r *Request) { r.With, r.Test = []string{"debug-info"}, true },
			tested(configure + " --disable-test-modules --without-static-libpython" + strings.Replace(make("python3.11"), "\nstage", "\ntest: make test\nstage", 1)), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, test.spec, test.profile)
			if test.change != nil {
				test.change(&r)
			}
			p := NewPlan(r)
			if got := commands(p); got != test.want {
				t.Errorf("commands\n%s\nwant\n%s", got, test.want)
			}
			if got, want := p.Files["/b/source/Modules/Setup.local"], "*disabled*\n"+strings.ReplaceAll(test.disabled, ",", "\n")+"\n"; !strings.HasPrefix(got, want) && (test.disabled != "" || got != "") {
				t.Errorf("Setup.local %q, want %q", got, want)
			}
			if p.Stage != "/b/stage/opt/python" {
				t.Errorf("stage %s", p.Stage)
			}
		})
	}
}

// TestAsked: what autoconf makes of arguments about the same feature.
func TestAsked(t *testing.T) {
	for _, test := range []struct {
		args string
		want bool
	}{
		{"", false},
		{"--with-lto", true},
		{"--with-lto=full", true},
		{"--with-lto=thin", true},
		{"--with-lto=no", false},
		{"--without-lto", false},
		{"--with-lto --without-lto", false},
		{"--without-lto --with-lto", true},
		{"--with-lto=no --with-lto=yes", true},
		{"--with-lto --with-lto=no", false},
		{"--with-lto --with-ltonomy=no --enable-optimizations", true},
	} {
		t.Run(test.args, func(t *testing.T) {
			if got := asked(strings.Fields(test.args), "--with-lto", "--without-lto"); got != test.want {
				t.Errorf("asked %v, want %v", got, test.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	const always = "PATH=" + searchPath + "|HOME=/h|TMPDIR=/h|LC_ALL=C.UTF-8"
	for _, test := range []struct {
		name    string
		environ []string
		cflags  []string
		want    string
		dropped string
	}{
		{"nothing is inherited", []string{"PATH=/home/me/.pyenv/shims", "HOME=/home/me", "TERM=xterm", "LANG=de_DE"}, nil, always, ""},
		{"the compiler and its flags", []string{"CC=clang", "CFLAGS=-O2", "CPPFLAGS=-I/x", "LDFLAGS=-L/x", "PKG_CONFIG_PATH=/p"}, nil,
			always + "|CC=clang|CFLAGS=-O2|CPPFLAGS=-I/x|LDFLAGS=-L/x|PKG_CONFIG_PATH=/p", ""},
		{"the profile's flags are for CPython alone", nil, []string{"-g0", "-O1"}, always + "|CFLAGS_NODIST=-g0 -O1", ""},
		{"the caller's are for all, and win", []string{"CFLAGS=-g3"}, []string{"-g0"}, always + "|CFLAGS=-g3|CFLAGS_NODIST=-g0 -g3", ""},
		{"empty is unset", []string{"CC="}, nil, always, ""},
		{"what would leak is told", []string{"PYTHONPATH=/x", "PIP_INDEX_URL=u", "CONFIG_SITE=c", "DESTDIR=d", "MAKEFLAGS=-n", "LD_LIBRARY_PATH=l", "CONDA_PREFIX=c", "EDITOR=vi"}, nil, always,
			"CONDA_PREFIX,CONFIG_SITE,DESTDIR,LD_LIBRARY_PATH,MAKEFLAGS,PIP_INDEX_URL,PYTHONPATH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			env, dropped := Environment(test.environ, "/h", test.cflags...)
			if got := strings.Join(env, "|"); got != test.want {
				t.Errorf("environment\n%s\nwant\n%s", got, test.want)
			}
			if got := strings.Join(dropped, ","); got != test.dropped {
				t.Errorf("dropped %s, want %s", got, test.dropped)
			}
		})
	}
}

func TestPlanEnvironment(t *testing.T) {
	const always = "PATH=" + searchPath + "|HOME=/b/home|TMPDIR=/b/home|"
	for _, test := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"as it is", func(*Request) {}, always + "LC_ALL=C.UTF-8|CFLAGS_NODIST=-g0"},
		{"quirks come between the profile's flags and the caller's", func(r *Request) {
			r.Quirks = []*recipes.Quirk{{CFlags: []string{"-DA"}, LDFlags: []string{"-Wl,-a"}}, {CFlags: []string{"-DB"}, LDFlags: []string{"-Wl,-b"}}}
			r.Environ = []string{"CFLAGS=-g3", "LDFLAGS=-Wl,-c"}
		}, always + "LC_ALL=C.UTF-8|CFLAGS=-g3|LDFLAGS=-Wl,-c|CFLAGS_NODIST=-g0 -DA -DB -g3|LDFLAGS_NODIST=-Wl,-a -Wl,-b"},
		{"a quirk takes a flag of the profile away", func(r *Request) { r.Quirks = []*recipes.Quirk{{Without: []string{"-g0"}}} }, always + "LC_ALL=C.UTF-8"},
		{"a quirk takes nothing of the caller's", func(r *Request) {
			r.Quirks = []*recipes.Quirk{{Without: []string{"-g0"}}}
			r.Environ = []string{"CFLAGS=-g0"}
		}, always + "LC_ALL=C.UTF-8|CFLAGS=-g0"},
		{"debug information", func(r *Request) { r.With = []string{"debug-info"} }, always + "LC_ALL=C.UTF-8"},
		{"a quirk and libpython", func(r *Request) {
			r.Quirks = []*recipes.Quirk{{LDFlags: []string{"-Wl,-a"}}}
			r.With = []string{"shared"}
		}, always + "LC_ALL=C.UTF-8|LDFLAGS=-Wl,-rpath,/opt/python/lib|CFLAGS_NODIST=-g0|LDFLAGS_NODIST=-Wl,-a"},
		{"what the host needs takes the place of the plan's", func(r *Request) { r.HostEnv = []string{"LC_ALL=C", "X=y"} }, always + "CFLAGS_NODIST=-g0|LC_ALL=C|X=y"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, "3.13.5", "quick")
			flags := slices.Clone(r.Profile.CFlags)
			test.change(&r)
			if got := strings.Join(NewPlan(r).Env, "|"); got != test.want {
				t.Errorf("environment\n%s\nwant\n%s", got, test.want)
			}
			if !slices.Equal(r.Profile.CFlags, flags) {
				t.Errorf("the profile has become %q", r.Profile.CFlags)
			}
		})
	}
}

func TestPlanStrict(t *testing.T) {
	for spec, want := range map[string]string{"3.9.2": "", "3.11.2": "", "3.12.0": strict, "3.13.5t": strict} {
		for _, s := range NewPlan(request(t, spec, "quick")).Steps {
			if s.Name == "compile" && strings.Join(s.Env, " ") != want {
				t.Errorf("%s: environment %q, want %q", spec, s.Env, want)
			}
		}
	}
}

// failures loads the catalogue with other known failures.
func failures(t *testing.T, text string) []*recipes.Failure {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "recipes")
	err := os.CopyFS(dir, os.DirFS("../recipes"))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "failures.toml"), []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := recipes.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return c.Failures
}

func TestKnownFailure(t *testing.T) {
	const more = "summary = 's'\nremedy = 'r'\nsource = 'made'\n"
	list := failures(t, "[[failure]]\nname = 'full'\npattern = 'No space left'\n"+more+"[[failure]]\nname = 'killed'\npattern = 'Killed signal'\n"+more+
		"[[failure]]\nname = 'header'\npattern = 'fatal error: .*: No such file'\n"+more)
	for _, test := range []struct{ name, log, want string }{
		{"none", "a.c:1: error: bad\n", ""},
		{"one", "gcc: fatal error: Killed signal terminated program cc1\n", "killed"},
		{"the most telling, not the first", "a.c:1: fatal error: a.h: No such file or directory\nKilled signal\nas: a.o: No space left on device\nKilled signal\n", "full"},
		{"the most telling, before others", "as: a.o: No space left on device\na.c:1: fatal error: a.h: No such file or directory\n", "full"},
		{"beyond the end of a long line", strings.Repeat("x", maxLine) + "Killed signal\n", ""},
		{"within the end of the log", "Killed signal\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", knownBytes/64-1), "killed"},
		{"before the end of the log", "Killed signal\n" + strings.Repeat(strings.Repeat("x", 63)+"\n", knownBytes/64), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := known(strings.NewReader(test.log), list); (got == nil) != (test.want == "") || got != nil && got.Name != test.want {
				t.Errorf("known failure %v, want %s", got, test.want)
			}
		})
	}
	p := tree(t, "echo 'conftest.c: No space left on device'; exit 1", makefile)
	p.failures = list
	_, err := Make(t.Context(), p, func(string) func(error) { return func(error) {} })
	if failed, ok := errors.AsType[*StepError](err); !ok || failed.Known != list[0] {
		t.Errorf("error %v", err)
	}
}

func TestExcerpt(t *testing.T) {
	for _, test := range []struct{ name, log, first string }{
		{"compiler", "gcc -Werror=format-security -c a.c\na.c:3:5: error: expected ';'\nb.c:1: error: later\nmake: *** [Makefile:9: a.o] Error 1\n", "a.c:3:5: error: expected ';'"},
		{"header", "x.c:1:10: fatal error: zlib.h: No such file or directory\n", "x.c:1:10: fatal error: zlib.h: No such file or directory"},
		{"linker", "ld: a.o: undefined reference to `SSL_new'\n", "ld: a.o: undefined reference to `SSL_new'"},
		{"library", "/usr/bin/ld: cannot find -lffi: No such file or directory\n", "/usr/bin/ld: cannot find -lffi: No such file or directory"},
		{"configure", "checking for gcc... no\nconfigure: error: no acceptable C compiler found in $PATH\n", "configure: error: no acceptable C compiler found in $PATH"},
		{"python", "Traceback (most recent call last):\n  File \"x\"\nModuleNotFoundError: No module named 'zlib'\nmake: *** [Makefile:1: altinstall] Error 1\n", "ModuleNotFoundError: No module named 'zlib'"},
		{"out of memory", "gcc: fatal error: Killed signal terminated program cc1\n", "gcc: fatal error: Killed signal terminated program cc1"},
		{"full disk", "install: error writing 'x': No space left on device\n", "install: error writing 'x': No space left on device"},
		{"compiler crash", "a.c:1:1: internal compiler error: Segmentation fault\n", "a.c:1:1: internal compiler error: Segmentation fault"},
		{"clang crash", "LLVM ERROR: out of memory\n", "LLVM ERROR: out of memory"},
		{"gold and lld", "ld.lld: error: undefined symbol: SSL_new\n", "ld.lld: error: undefined symbol: SSL_new"},
		{"file system without execution", "/bin/sh: 1: ./_bootstrap_python: Permission denied\n", "/bin/sh: 1: ./_bootstrap_python: Permission denied"},
		{"an endless line hides nothing", strings.Repeat("x", 3*maxLine) + "\na.c:1: error: bad\n", "a.c:1: error: bad"},
		{"only make knows", "doing\nmake: *** [Makefile:9: all] Error 2\n", "make: *** [Makefile:9: all] Error 2"},
		{"nothing recognised", "checking for errors... none\nerrors.c\n", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, tail := excerpt(strings.NewReader(test.log))
			if first != test.first {
				t.Errorf("first error %q, want %q", first, test.first)
			}
			want := strings.Split(strings.TrimSuffix(test.log, "\n"), "\n")
			want[0] = want[0][:min(len(want[0]), maxLine)]
			if !slices.Equal(tail, want) {
				t.Errorf("tail %q", tail)
			}
		})
	}
	if _, tail := excerpt(strings.NewReader(strings.Repeat("line\n", 500))); len(tail) != tailLines {
		t.Errorf("%d lines of tail", len(tail))
	}
}

// tree makes a source tree whose configure is a shell script that writes the given Makefile.
func tree(t *testing.T, configure, makefile string) *Plan {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"source/Modules", "source/Lib/test", "stage", "home", "logs"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"configure": "#!/bin/sh\n" + configure, "Makefile": makefile} {
		if err := os.WriteFile(filepath.Join(dir, "source", name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := request(t, "3.9.2", "quick")
	r.Source, r.Stage, r.Home, r.Logs = filepath.Join(dir, "source"), filepath.Join(dir, "stage"), filepath.Join(dir, "home"), filepath.Join(dir, "logs")
	return NewPlan(r)
}

const makefile = "all:\n\t@test -d Lib/test\naltinstall:\n\t@test ! -d Lib/test\n\t@mkdir -p $(DESTDIR)/opt/python/bin\n\t@cp configure $(DESTDIR)/opt/python/bin/python3.9\n"

func TestMake(t *testing.T) {
	for _, test := range []struct {
		name, configure, makefile string
		step, first               string // of the *StepError; empty means success
		steps                     string
	}{
		{"good", "echo fine", makefile, "", "", "configure,compile,stage"},
		{"configure fails", "echo 'configure: error: no'; exit 1", makefile, "configure", "configure: error: no", "configure"},
		{"make fails", "", "all:\n\t@echo 'a.c:1: error: bad' >&2; false\n", "compile", "a.c:1: error: bad", "configure,compile"},
		{"install fails", "", "all:\n\naltinstall:\n\t@false\n", "stage", "make: *** [Makefile:4: altinstall] Error 1", "configure,compile,stage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := tree(t, test.configure, test.makefile)
			var steps []string
			result, err := Make(t.Context(), p, func(name string) func(error) { steps = append(steps, name); return func(error) {} })
			var failed *StepError
			switch {
			case test.step == "" && (err != nil || result.Stage != p.Stage || len(result.Others) > 0):
				t.Fatalf("result %v, error %v", result, err)
			case test.step == "":
				text, err := os.ReadFile(filepath.Join(p.Dir, "Modules/Setup.local"))
				if err != nil || !strings.HasPrefix(string(text), "*disabled*\n_testcapi\n") {
					t.Errorf("Setup.local %q, %v", text, err)
				}
			case !errors.As(err, &failed):
				t.Fatalf("error %v, want a *StepError", err)
			case failed.Step != test.step || failed.First != test.first:
				t.Errorf("step %s, first error %q; want %s, %q", failed.Step, failed.First, test.step, test.first)
			}
			if got := strings.Join(steps, ","); got != test.steps {
				t.Errorf("steps %s, want %s", got, test.steps)
			}
			for _, name := range strings.Split(test.steps, ",") {
				if text, err := os.ReadFile(filepath.Join(p.Logs, name+".log")); err != nil || !strings.HasPrefix(string(Untimed(text)), "$ ") || len(Untimed(text)) == len(text) {
					t.Errorf("log of %s: %q, %v", name, text, err)
				}
			}
		})
	}
}

func TestMakeCancelled(t *testing.T) {
	for _, at := range []string{"configure", "compile", "stage"} {
		t.Run(at, func(t *testing.T) {
			p := tree(t, "exec sleep 0", makefile)
			ctx, cancel := context.WithCancel(t.Context())
			_, err := Make(ctx, p, func(name string) func(error) {
				if name == at {
					cancel()
				}
				return func(error) {}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}
