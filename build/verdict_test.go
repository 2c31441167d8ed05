package build

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The files in testdata are parts of real logs, of 3.9.2, 3.11.2 and 3.13.5 on Debian 12, with /b for the directory. The headers of
// OpenSSL and Tk were hidden from configure, _tkinter was disabled, the header of bzip2 was hidden from make, and a libgdbm was
// linked that cannot be loaded. 3.13-strict.log is check_extension_modules.py on a built tree that was damaged in the same way.

func data(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (v Verdict) String() string {
	text := fmt.Sprint(v.Missing, v.Failed, v.Removed)
	if len(v.Disabled) > 0 {
		text += fmt.Sprint(" disabled ", v.Disabled)
	}
	return text
}

func TestLogVerdict(t *testing.T) {
	const missing = "The necessary bits to build these optional modules were not found:\n"
	for _, test := range []struct{ name, log, want string }{
		{"3.9", data(t, "3.9-compile.log"), "[_hashlib _ssl _tkinter] [_bz2] [_gdbm]"},
		{"3.11", data(t, "3.11-compile.log"), "[_hashlib _ssl _tkinter] [_bz2] [_gdbm] disabled [_ctypes_test _testbuffer _testcapi _testclinic _testimportmultiple _testinternalcapi _testmultiphase _xxtestfuzz]"},
		{"3.13, strict", data(t, "3.13-strict.log"), "[_hashlib _lzma _ssl readline] [] [_gdbm _uuid]"},
		{"3.13, make failed before", data(t, "3.13-failed.log"), "[] [] []"},
		{"nothing to say", "Checked 112 modules (33 built-in, 78 shared, 1 n/a on linux-x86_64, 0 disabled, 0 missing, 0 failed on import)\n", "[] [] []"},
		{"empty", "", "[] [] []"},
		{"twice, as in a profile-guided build", missing + "_ssl\n\n" + missing + "_bz2 _ssl\n\n", "[_bz2 _ssl] [] []"},
		{"cut off", missing + "_ssl   _bz2", "[_bz2 _ssl] [] []"},
		{"no row", missing + "make[1]: Leaving directory\n_ssl\n", "[] [] []"},
		{"more than a row", missing + "a b c d\n_ssl\n", "[] [] []"},
		{"3.11, needs that configure did not find", "The following modules found by detect_modules() in setup.py have not\nbeen built, they are *disabled* by configure:\n_ctypes_test         _sqlite3             _testbuffer       \n_testcapi\n\n", "[] [] [] disabled [_ctypes_test _sqlite3 _testbuffer _testcapi]"},
		{"names without a heading", "_ssl\n", "[] [] []"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := LogVerdict(strings.NewReader(test.log)); err != nil || got.String() != test.want {
				t.Errorf("%v, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestMakefileVerdict(t *testing.T) {
	for _, test := range []struct{ name, makefile, want string }{
		{"3.13", data(t, "3.13-Makefile"), "[_hashlib _ssl] [] [] disabled [_ctypes_test _testbuffer _testcapi _testclinic _testclinic_limited _testexternalinspection _testimportmultiple _testinternalcapi _testlimitedcapi _testmultiphase _testsinglephase _xxtestfuzz xxlimited xxlimited_35 xxsubtype]"},
		{"every state", "MODULE_A_STATE=yes\nMODULE__B_STATE=missing\nMODULE_C_STATE=disabled\nMODULE_D_STATE=n/a\n", "[_b] [] [] disabled [c]"},
		{"a comment", "# MODULE_EGG_STATE=missing\n", "[] [] []"},
		{"before 3.11", "MODBUILT_NAMES= posix\n", "[] [] []"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, err := MakefileVerdict(strings.NewReader(test.makefile)); err != nil || got.String() != test.want {
				t.Errorf("%v, %v; want %s", got, err, test.want)
			}
		})
	}
}

func FuzzLogVerdict(f *testing.F) {
	for _, name := range []string{"3.9-compile.log", "3.11-compile.log", "3.13-strict.log"} {
		f.Add(data(f, name))
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := LogVerdict(strings.NewReader(text))
		checkVerdict(t, v, err, text)
	})
}

func FuzzMakefileVerdict(f *testing.F) {
	f.Add(data(f, "3.13-Makefile"))
	f.Fuzz(func(t *testing.T, text string) {
		v, err := MakefileVerdict(strings.NewReader(text))
		checkVerdict(t, v, err, strings.ToLower(text))
	})
}

// checkVerdict holds a verdict to what its documentation says: names, sorted, each once, and all from the text.
func checkVerdict(t *testing.T, v Verdict, err error, text string) {
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]string{v.Missing, v.Failed, v.Removed} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("%q is not sorted, or has a name twice", list)
		}
		for _, name := range list {
			if !regexp.MustCompile(`^\w+$`).MatchString(name) || !strings.Contains(text, name) {
				t.Errorf("%q is no name from the text", name)
			}
		}
	}
}

func TestBelongs(t *testing.T) {
	for _, test := range []struct {
		path, extension string
		want            bool
	}{
		{"Modules/_ssl.c", "_ssl", true},
		{"Modules/_ssl.c", "ssl", false},
		{"./Modules/_ssl/cert.c", "_ssl", true},
		{"Modules/_bz2module.o", "_bz2", true},
		{"/b/Python-3.9.2/Modules/zlibmodule.c:8:10: fatal error: zlib.h", "zlib", true},
		{"Modules/zlib.cpython-313-x86_64-linux-gnu.so", "zlib", true},
		{"Modules/_sqlite/blob.o", "_sqlite3", true},
		{"Modules/_hashopenssl.o", "_hashlib", true},
		{"Modules/tkappinit.c", "_tkinter", true},
		{"Modules/_curses_panel.c", "_curses", false},
		{"Modules/_ctypes/_ctypes_test.c", "_ctypes_test", true},
		{"Modules/_decimal/libmpdec/context.o", "_decimal", true},
		{"Objects/zlib.c", "zlib", false},
		{"/usr/include/zlib.h", "zlib", false},
	} {
		if got := belongs(test.path, test.extension); got != test.want {
			t.Errorf("%s of %s: %v", test.path, test.extension, got)
		}
	}
}

func TestMentions(t *testing.T) {
	parts := catalogue(t)
	for _, test := range []struct {
		line, part string
		want       bool
	}{
		{"conftest.c:508:10: fatal error: openssl/ssl.h: No such file or directory", "ssl", true},
		{"conftest.c:508:10: fatal error: openssl/ssl.h: No such file or directory", "hashlib", false},
		{"/usr/bin/ld: cannot find -lz: No such file or directory", "zlib", true},
		{"/usr/bin/ld: cannot find -lzma: No such file or directory", "zlib", false},
		{"ld: conftest.o: undefined reference to `ffi_call'", "ctypes", true},
		{"conftest.c:1:2: error: 'ffi_call_go' undeclared", "ctypes", false},
		{"anything", "core", false},
	} {
		part, err := parts.Part(test.part)
		if err != nil {
			t.Fatal(err)
		}
		if got := mentions(test.line, part); got != test.want {
			t.Errorf("%q of %s: %v", test.line, test.part, got)
		}
	}
}

func TestExplain(t *testing.T) {
	const (
		command  = "gcc -Werror=format-security -c Modules/_bz2module.c\n"
		mention  = "conftest.c:1:10: fatal error: bzlib.h: No such file or directory\n"
		source   = "./Modules/_bz2module.c:9:1: error: bad\n"
		stranger = "./Modules/zlibmodule.c:9:1: error: bad\n"
		imported = "[ERROR] _bz2 failed to import: undefined symbol: BZ2_bzCompress\n"
		other    = "[ERROR] _bz2x failed to import: ./Modules/_bz2module.c:9:1: error: bad\n"
		stopped  = "make: *** [Makefile:9: Modules/_bz2module.o] Error 1\n"
	)
	for _, test := range []struct{ name, log, want string }{
		{"nothing", command + stranger + other + stopped, ""},
		{"a header", command + mention + stopped, mention},
		{"a header, twice", mention + "conftest.c:2:10: fatal error: bzlib.h: gone\n", mention},
		{"its source before a header", mention + source + mention, source},
		{"its source, twice", source + "./Modules/_bz2module.c:10:1: error: worse\n", source},
		{"its import before all", mention + source + imported + source, imported},
	} {
		t.Run(test.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(name, []byte(test.log), 0o644); err != nil {
				t.Fatal(err)
			}
			modules := []ModuleFailure{{Part: "bz2", Extension: "_bz2", State: StateFailed}}
			if err := NewPlan(request(t, "3.13.5", "quick")).explain(name, modules); err != nil {
				t.Fatal(err)
			}
			if got := modules[0].Reason; got != strings.TrimSuffix(test.want, "\n") {
				t.Errorf("reason %q, want %q", got, test.want)
			}
		})
	}
}

// TestMakeModules runs builds whose configure and make say what real ones have said.
func TestMakeModules(t *testing.T) {
	const (
		install = "altinstall:\n\t@mkdir -p $(DESTDIR)/opt/python/bin && printf '#!/bin/sh\\n' > $(DESTDIR)/opt/python/bin/$(PYTHON) && chmod +x $(DESTDIR)/opt/python/bin/$(PYTHON)\n"
		states  = "cp states Makefile.states; cat Makefile >> Makefile.states; mv Makefile.states Makefile; cp details config.log"
		say     = "all:\n\t@cat log\n" + install
		fail    = "all:\n\t@cat log; false\n" + install
		must    = "all:\n\t@cat log; test -z \"$$PYTHONSTRICTEXTENSIONBUILD\"\n" + install
		bz2     = "bz2: _bz2 failed: %s/Modules/_bz2module.c:%d:10: fatal error: bzlib.h: No such file or directory"
		gdbm    = `gdbm: _gdbm is removed: %s"_gdbm" since importing it failed: libgdbm-gone.so.9: cannot open shared object file: No such file or directory`
		ssl     = "hashlib: _hashlib is missing: conftest.c:509:16: fatal error: openssl/opensslv.h: No such file or directory|" +
			"ssl: _ssl is missing: conftest.c:508:10: fatal error: openssl/ssl.h: No such file or directory"
		renaming = "*** WARNING: renaming "
	)
	for _, test := range []struct {
		name, spec                    string
		missing, without              string
		configure, makefile           string
		states, log                   string
		step, modules                 string // of the *ModulesError
		evidence                      string // name of its log
		wrapped                       bool   // around a *StepError
		others                        string
		leftStage, configLog, strange bool
	}{
		{name: "nothing is said", spec: "3.13.5", makefile: say, leftStage: true},
		{name: "all is there", spec: "3.13.5", configure: states, makefile: say, states: "MODULE__SSL_STATE=yes\n", log: "Checked 112 modules\n", leftStage: true, configLog: true},
		{name: "configure finds no header", spec: "3.13.5", configure: states, makefile: say, states: data(t, "3.13-Makefile"),
			step: "configure", modules: ssl, evidence: "config.log", configLog: true},
		{name: "configure finds no header, which was known", spec: "3.13.5", missing: "ssl,hashlib", configure: states, makefile: say, states: data(t, "3.13-Makefile"), leftStage: true, configLog: true},
		{name: "configure decides to disable a module, as 3.11 does without its header", spec: "3.11.2", configure: states, makefile: say, states: "MODULE__SQLITE3_STATE=disabled\n",
			step: "configure", modules: "sqlite: _sqlite3 is disabled", evidence: "config.log", configLog: true},
		{name: "a module is disabled on purpose", spec: "3.11.2", without: "sqlite", configure: states, makefile: say, states: "MODULE__SQLITE3_STATE=disabled\n", leftStage: true, configLog: true},
		{name: "configure keeps no log", spec: "3.13.5", configure: states + "; rm config.log", makefile: say, states: data(t, "3.13-Makefile"),
			step: "configure", modules: "hashlib: _hashlib is missing|ssl: _ssl is missing", evidence: "configure.log"},
		{name: "make leaves modules out, 3.9", spec: "3.9.2", without: "tkinter", makefile: say, log: data(t, "3.9-compile.log"), evidence: "compile.log",
			step: "compile", modules: "hashlib: _hashlib is missing|ssl: _ssl is missing|" + fmt.Sprintf(bz2, "/b/Python-3.9.2", 8) + "|" + fmt.Sprintf(gdbm, renaming)},
		{name: "make leaves modules out, 3.11", spec: "3.11.2", without: "tkinter,ssl,hashlib", makefile: say, log: data(t, "3.11-compile.log"), evidence: "compile.log",
			step: "compile", modules: fmt.Sprintf(bz2, "/b/Python-3.11.2", 8) + "|" + fmt.Sprintf(gdbm, renaming)},
		{name: "make leaves out what may be", spec: "3.11.2", without: "tkinter,ssl,hashlib", missing: "bz2,gdbm", makefile: say, log: data(t, "3.11-compile.log"), leftStage: true},
		{name: "make fails, because it must", spec: "3.13.5", without: "ssl,hashlib,readline,lzma", makefile: must, log: data(t, "3.13-strict.log"), wrapped: true, evidence: "compile.log",
			step: "compile", modules: "gdbm: _gdbm is removed: [ERROR] _gdbm failed to import: libgdbm-gone.so.9: cannot open shared object file: No such file or directory|uuid: _uuid is removed"},
		{name: "make fails at a module", spec: "3.13.5", makefile: fail, log: data(t, "3.13-failed.log"), wrapped: true, evidence: "compile.log",
			step: "compile", modules: fmt.Sprintf(bz2, ".", 9)},
		{name: "make fails at a module, whose fault it is not", spec: "3.13.5", makefile: fail, strange: true,
			log: "gcc: fatal error: Killed signal terminated program cc1\nmake: *** [Makefile:3339: Modules/_bz2module.o] Error 1\n"},
		{name: "make fails elsewhere", spec: "3.13.5", makefile: fail, log: "Objects/a.c:1: error: bad\nmake: *** [Makefile:1: Objects/a.o] Error 1\n", strange: true},
		{name: "a module that nobody knows", spec: "3.13.5", configure: states, makefile: must, states: "MODULE__NOVEL_STATE=missing\n",
			log: "The necessary bits to build these optional modules were not found:\n_novel\n\n", others: "_novel missing", leftStage: true, configLog: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := moduleTree(t, test.spec, test.configure, test.makefile, func(r *Request) {
				r.Missing, r.Without = strings.Split(test.missing, ","), strings.Split(test.without, ",")
			})
			for name, text := range map[string]string{"states": test.states, "log": test.log, "details": data(t, "3.13-config.log")} {
				if err := os.WriteFile(filepath.Join(p.Dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			result, err := Make(t.Context(), p, func(string) func(error) { return func(error) {} })
			failed, isModules := errors.AsType[*ModulesError](err)
			_, isStep := errors.AsType[*StepError](err)
			switch {
			case test.strange:
				if isModules || !isStep {
					t.Fatalf("error %v, want a *StepError", err)
				}
			case test.step == "":
				if err != nil {
					t.Fatal(err)
				}
				var others []string
				for _, m := range result.Others {
					others = append(others, m.Extension+" "+m.State)
				}
				if got := strings.Join(others, ","); got != test.others {
					t.Errorf("others %s, want %s", got, test.others)
				}
			case !isModules:
				t.Fatalf("error %v, want a *ModulesError", err)
			default:
				want := test.step + " left out extension modules that were promised:\n  " + strings.ReplaceAll(test.modules, "|", "\n  ")
				if err.Error() != want {
					t.Errorf("error\n%v\nwant\n%s", err, want)
				}
				if failed.Step != test.step || failed.Log != filepath.Join(p.Logs, test.evidence) || isStep != test.wrapped {
					t.Errorf("step %s, log %s, around a *StepError %v", failed.Step, failed.Log, isStep)
				}
			}
			if got := exists(p.Stage); got != test.leftStage {
				t.Errorf("a stage is there: %v", got)
			}
			if got := exists(p.configLog()); got != test.configLog {
				t.Errorf("config.log is kept: %v", got)
			}
		})
	}
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// moduleTree is like tree, for a release, and for make rules that install an interpreter that does nothing.
func moduleTree(t *testing.T, spec, configure, makefile string, change func(*Request)) *Plan {
	t.Helper()
	old := tree(t, configure, "")
	r := request(t, spec, "quick")
	r.Source, r.Logs = old.Dir, old.Logs
	r.Stage, r.Home = filepath.Join(old.Dir, "../stage"), filepath.Join(old.Dir, "../home")
	change(&r)
	text := "PYTHON = " + r.Release.Executable() + "\ndefault: all\n" + makefile
	if err := os.WriteFile(filepath.Join(r.Source, "Makefile"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return NewPlan(r)
}
