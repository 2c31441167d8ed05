package build

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseAnswers(t *testing.T) {
	for _, test := range []struct{ name, line, want string }{
		{"a word", "ac_cv_func_fork=yes", "ac_cv_func_fork=yes"},
		{"quoted", "ac_cv_search_opendir='none required'", "ac_cv_search_opendir=none required"},
		{"empty", "ac_cv_lib_x_y=", "ac_cv_lib_x_y="},
		{"upper case", "ac_cv_have_decl_RTLD_LAZY=yes", "ac_cv_have_decl_RTLD_LAZY=yes"},
		{"CPython's own, proven", "ac_cv_working_tzset=yes", "ac_cv_working_tzset=yes"},
		{"CPython's own, of a new series", "ac_cv_tail_call=yes", ""},
		{"sets something else on the way", "ac_cv_wl_no_as_needed=yes", ""},
		{"sets something else on the way, too", "ac_cv_gcc_asm_for_x64=yes", ""},
		{"a program, which may be gone", "ac_cv_path_GREP=/usr/bin/grep", ""},
		{"the environment", "ac_cv_env_CC_value=gcc", ""},
		{"not a cache variable", "PATH=/tmp", ""},
		{"a command", "ac_cv_func_fork=yes; touch x", ""},
		{"a substitution", "ac_cv_func_fork=$(touch x)", ""},
		{"a substitution in quotes", "ac_cv_func_fork='`touch x`'", ""},
		{"a quote in quotes", `ac_cv_func_fork='a'\''b'`, ""},
		{"open quotes", "ac_cv_func_fork='yes", ""},
		{"space in front", " ac_cv_func_fork=yes", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, err := parseAnswers(strings.NewReader("configure: something\n" + test.line + "\n"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for name, value := range a {
				got = append(got, name+"="+value)
			}
			if strings.Join(got, "|") != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

func TestSite(t *testing.T) {
	a := answers{"ac_cv_func_fork": "yes", "ac_cv_search_opendir": "none required"}
	const want = "ac_cv_func_fork=${ac_cv_func_fork='yes'}\nac_cv_search_opendir=${ac_cv_search_opendir='none required'}\n"
	if _, got, _ := strings.Cut(a.site(), "\n"); got != want {
		t.Errorf("script\n%s\nwant\n%s", got, want)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{"", "ac_cv_func_fork=yes\n", "ac_cv_search_opendir='none required'\nac_cv_lib_x_y=\n", "ac_cv_func_fork='$(x)'\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAnswers(strings.NewReader(s))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range a {
			if strings.ContainsAny(name+value, "'\"`$\\;&|<>()\n\r") {
				t.Errorf("%q=%q", name, value)
			}
		}
		again, ok := decodeAnswers(a.encode())
		if ok != (len(a) > 0) || !maps.Equal(a, again) {
			t.Errorf("%v has become %v, %v", a, again, ok)
		}
	})
}

// asking is a machine with a compiler and a configure, both shell scripts. configure says in the file "given" what it was told.
// When that is "wrong", it fails, and leaves a trap for whoever writes config.site next.
type asking struct {
	t       *testing.T
	dir     string
	request func(*Request)
	// source is the directory of the source below dir, code what is compiled, python what make is said to have made of it.
	source, code, python, profile string
}

const (
	compiler = "#!/bin/sh\ncase $* in\n*-v*) cat %[1]s/version; printf '#include <...> search starts here:\\n %[1]s/include\\nEnd of search list.\\n' ;;\n*) echo 'libraries: =%[1]s/lib:/nowhere' ;;\nesac\n"
	asks     = ". \"$CONFIG_SITE\"; echo \"${ac_cv_func_fork-nothing}\" > given\n[ \"$ac_cv_func_fork\" != wrong ] || { ln -sf \"$PWD/../precious\" \"$CONFIG_SITE\"; exit 1; }\n" +
		"test ! -f ../touch || echo >> ../include/a.h\n" + "echo ac_cv_func_fork=yes > config.log\n"
)

func newAsking(t *testing.T) *asking {
	t.Helper()
	m := &asking{t: t, dir: t.TempDir(), source: "source", profile: "quick"}
	for _, d := range []string{"include/sys", "lib", "known"} {
		if err := os.MkdirAll(filepath.Join(m.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.write("include/a.h", "a")
	m.write("lib/libold.so", "old")
	m.write("version", "12")
	m.write("precious", "mine")
	m.write("cc", strings.ReplaceAll(compiler, "%[1]s", m.dir))
	return m
}

func (m *asking) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *asking) remove(name string) {
	m.t.Helper()
	if err := os.Remove(filepath.Join(m.dir, name)); err != nil {
		m.t.Fatal(err)
	}
}

// age gives a file another time.
func (m *asking) age(name string) {
	m.t.Helper()
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(filepath.Join(m.dir, name), before, before); err != nil {
		m.t.Fatal(err)
	}
}

// build builds afresh, and returns what configure was told.
func (m *asking) build(makefile string) (given string, result *Result, err error) {
	m.t.Helper()
	for _, d := range []string{m.source, "stage", "home", "logs"} {
		if err := errors.Join(os.RemoveAll(filepath.Join(m.dir, d)), os.MkdirAll(filepath.Join(m.dir, d), 0o755)); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(m.dir, m.source, "Modules"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	for name, text := range map[string]string{"configure": "#!/bin/sh\n" + asks, "pyconfig.h.in": "", "Makefile": makefile, "a.c": m.code, "python": m.python} {
		m.write(filepath.Join(m.source, name), text)
	}
	r := request(m.t, "3.13.5", m.profile)
	r.Source, r.Stage, r.Home, r.Logs = filepath.Join(m.dir, m.source), filepath.Join(m.dir, "stage"), filepath.Join(m.dir, "home"), filepath.Join(m.dir, "logs")
	r.Known, r.Environ = filepath.Join(m.dir, "known"), []string{"CC=" + filepath.Join(m.dir, "cc")}
	if m.request != nil {
		m.request(&r)
	}
	p := NewPlan(r)
	p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return s.Name == "stage" })
	result, err = Make(m.t.Context(), p, func(string) func(error) { return func(error) {} })
	return m.read("given"), result, err
}

// read returns the words of a file of the source tree.
func (m *asking) read(name string) string {
	m.t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, m.source, name))
	if err != nil {
		m.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(text)), " ")
}

// steps is what make and the training did.
func (m *asking) steps() string { return m.read("steps") }

// kept are the files with answers. An empty one has none.
func (m *asking) kept() []string {
	m.t.Helper()
	files, err := filepath.Glob(filepath.Join(m.dir, "known/configure/*"))
	if err != nil {
		m.t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(file string) bool {
		info, err := os.Stat(file)
		return err == nil && info.Size() == 0
	})
}

func TestConfigureOnce(t *testing.T) {
	const good = "all:\n"
	keep := func(m *asking, change func([]byte) []byte) {
		text, err := os.ReadFile(m.kept()[0])
		if err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(m.kept()[0], change(text), 0o644); err != nil {
			m.t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name   string
		change func(*asking) // between two builds
		given  string        // to the second
		kept   int           // afterwards
	}{
		{"nothing changed", func(*asking) {}, "yes", 1},
		{"another prefix", func(m *asking) { m.request = func(r *Request) { r.Prefix = "/opt/other" } }, "yes", 1},
		{"another Python was installed", func(m *asking) { m.write("include/python3.12", ""); m.write("lib/libpython3.12.a", "") }, "yes", 1},
		{"other arguments", func(m *asking) { m.request = func(r *Request) { r.ConfigureArgs = []string{"--with-x"} } }, "nothing", 2},
		{"other flags", func(m *asking) { m.request = func(r *Request) { r.Environ = append(r.Environ, "CFLAGS=-O1") } }, "nothing", 2},
		{"another compiler", func(m *asking) { m.write("cc", strings.ReplaceAll(compiler, "%[1]s", m.dir)+"# other\n") }, "nothing", 2},
		{"a header has changed", func(m *asking) { m.write("include/a.h", "ab") }, "nothing", 2},
		{"a header has come", func(m *asking) { m.write("include/sys/b.h", "") }, "nothing", 2},
		{"a header has gone", func(m *asking) { m.remove("include/a.h") }, "nothing", 2},
		{"a header was replaced by one of the same size", func(m *asking) { m.age("include/a.h") }, "nothing", 2},
		{"a library has come", func(m *asking) { m.write("lib/libz.so", "") }, "nothing", 2},
		{"a library has gone", func(m *asking) { m.remove("lib/libold.so") }, "nothing", 2},
		{"a library has changed", func(m *asking) { m.write("lib/libold.so", "newer") }, "nothing", 2},
		{"the same compiler, installed again", func(m *asking) { m.age("cc") }, "nothing", 2},
		{"the same compiler, elsewhere", func(m *asking) {
			if err := os.Rename(filepath.Join(m.dir, "cc"), filepath.Join(m.dir, "cc2")); err != nil {
				m.t.Fatal(err)
			}
			m.request = func(r *Request) { r.Environ = []string{"CC=" + filepath.Join(m.dir, "cc2")} }
		}, "nothing", 2},
		{"another version behind the same command", func(m *asking) { m.write("version", "13") }, "nothing", 2},
		{"not wanted", func(m *asking) { m.request = func(r *Request) { r.NoConfigCache = true } }, "nothing", 1},
		{"truncated", func(m *asking) { keep(m, func(b []byte) []byte { return b[:len(b)-3] }) }, "nothing", 1},
		{"empty", func(m *asking) { keep(m, func([]byte) []byte { return nil }) }, "nothing", 1},
		{"a foreign line", func(m *asking) { keep(m, func(b []byte) []byte { return append(b, "touch x\n"...) }) }, "nothing", 1},
		{"changed", func(m *asking) {
			keep(m, func(b []byte) []byte { return bytes.Replace(b, []byte("'yes'"), []byte("'no'"), 1) })
		}, "nothing", 1},
		{"the compiler does not answer", func(m *asking) { m.write("cc", "#!/bin/sh\nexit 1\n") }, "nothing", 1},
		{"wrong", func(m *asking) { keep(m, func([]byte) []byte { return answers{"ac_cv_func_fork": "wrong"}.encode() }) }, "nothing", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newAsking(t)
			if given, result, err := m.build(good); given != "nothing" || err != nil || len(result.Notes) > 0 {
				t.Fatalf("first: given %q, result %v, error %v", given, result, err)
			}
			if len(m.kept()) != 1 {
				t.Fatalf("kept %q", m.kept())
			}
			test.change(m)
			given, result, err := m.build(good)
			if given != test.given || err != nil || len(m.kept()) != test.kept {
				t.Errorf("given %q, error %v, kept %q", given, err, m.kept())
			}
			var notes []string
			if test.name == "wrong" {
				notes = []string{"configure failed with what was known before, and was run again without"}
				if text, err := os.ReadFile(m.kept()[0]); err != nil || !bytes.Contains(text, []byte("ac_cv_func_fork='yes'\n")) {
					t.Errorf("kept %q, %v", text, err)
				}
				if text, err := os.ReadFile(filepath.Join(m.dir, "precious")); err != nil || string(text) != "mine" {
					t.Errorf("a file outside has become %q, %v", text, err)
				}
			}
			if !slices.Equal(result.Notes, notes) {
				t.Errorf("notes %q", result.Notes)
			}
		})
	}
	t.Run("something changes meanwhile", func(t *testing.T) {
		m := newAsking(t)
		m.write("touch", "")
		if given, result, err := m.build(good); given != "nothing" || err != nil || len(result.Notes) > 0 || len(m.kept()) > 0 {
			t.Errorf("given %q, result %v, error %v, kept %q", given, result, err, m.kept())
		}
	})
	t.Run("a build that fails with them forgets them", func(t *testing.T) {
		m := newAsking(t)
		if _, _, err := m.build("all:\n\t@false\n"); err == nil || len(m.kept()) != 1 {
			t.Fatalf("error %v, kept %q", err, m.kept())
		}
		given, _, err := m.build("all:\n\t@false\n")
		if failed, ok := errors.AsType[*StepError](err); given != "yes" || !ok || failed.Step != "compile" || len(m.kept()) > 0 {
			t.Errorf("given %q, error %v, kept %q", given, err, m.kept())
		}
	})
	t.Run("they cannot be kept", func(t *testing.T) {
		m := newAsking(t)
		m.write("known/configure", "")
		if _, result, err := m.build(good); err != nil || len(result.Notes) != 1 || !strings.HasPrefix(result.Notes[0], "what configure found out is not kept: ") {
			t.Errorf("result %v, error %v", result, err)
		}
	})
}
