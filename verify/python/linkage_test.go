package python_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pybuild/verify/python"
)

// compiler makes real ELF files.
type compiler struct {
	t    *testing.T
	path string
	dir  string // with the sources, and a library "probe" to link with
}

func newCompiler(t *testing.T) *compiler {
	t.Helper()
	path, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("no C compiler to make ELF files with")
	}
	c := &compiler{t: t, path: path, dir: t.TempDir()}
	for name, text := range map[string]string{
		"library.c": "int probe(void) { return 42; }\n",
		"module.c":  "int probe(void);\nint use(void) { return probe(); }\n",
		"program.c": "int main(void) { return 0; }\n",
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// Without the C library there is one thing to find, everywhere.
	c.run("libprobe.so", "-shared", "-nostdlib", "-Wl,-soname,libprobe.so.1", "library.c")
	c.run("libpython3.13.so", "-shared", "-nostdlib", "-Wl,-soname,libpython3.13.so.1.0", "library.c")
	return c
}

// in is the same compiler for a part of the test.
func (c *compiler) in(t *testing.T) *compiler { return &compiler{t: t, path: c.path, dir: c.dir} }

// run makes one file; a relative name is below the compiler's directory.
func (c *compiler) run(to string, args ...string) {
	c.t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(c.path, append([]string{"-o", to, "-fPIC"}, args...)...)
	cmd.Dir = c.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Skipf("the C compiler cannot do this: %v: %s", err, out)
	}
}

// module is a module of C that needs the library, with rpath in it unless it is "-".
func (c *compiler) module(to, library, rpath string, flags ...string) {
	c.t.Helper()
	args := []string{"-shared", "-nostdlib", "module.c", library, "-Wl,--enable-new-dtags"}
	if rpath != "-" {
		args = append(args, "-Wl,-rpath,"+rpath)
	}
	c.run(to, append(args, flags...)...)
}

// place copies a file that was made.
func (c *compiler) place(name, to string) {
	c.t.Helper()
	data, err := os.ReadFile(filepath.Join(c.dir, name))
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, data, 0o755))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

const module = "lib/python3.13/lib-dynload/_x.so"

// TestLinkage looks at a module that needs libprobe.so.1, with the library in different places and named in different ways.
func TestLinkage(t *testing.T) {
	c := newCompiler(t)
	probe := func(origin, path string) []python.Library {
		return []python.Library{{Soname: "libprobe.so.1", Path: path, Origin: origin, Users: []string{module}}}
	}
	foreign := probe("foreign", "ELSEWHERE/libprobe.so.1")
	ours := probe("prefix", configured+"/lib/libprobe.so.1")
	missing := probe("missing", "")
	for _, row := range []struct {
		name  string
		rpath string // ELSEWHERE and PREFIX are replaced; "-" is none
		place string // where the library is; "" is nowhere
		set   func(f *fake, elsewhere string)
		err   string // after "linkage: "
		want  []python.Library
	}{
		{"nowhere", "-", "", nil, "libprobe.so.1 is nowhere, needed by " + module, missing},
		{"in the prefix, not searched", "-", "PREFIX/lib", nil, "libprobe.so.1 is nowhere, needed by " + module, missing},
		{"in the prefix, by its future name", configured + "/lib", "PREFIX/lib", nil, "", ours},
		{"in the prefix, by origin", "$ORIGIN/../..", "PREFIX/lib", nil, "", ours},
		{"in the prefix, by origin in braces", "${ORIGIN}/../..", "PREFIX/lib", nil, "", ours},
		{"in the prefix, by the name of the stage", "PREFIX/lib", "PREFIX/lib", nil, `rpath names "PREFIX/lib", in ` + module, ours},
		{"in the prefix, second", "/usr/lib/none:" + configured + "/lib", "PREFIX/lib", nil, "", ours},
		{"elsewhere", "ELSEWHERE", "ELSEWHERE", nil,
			`loaded from outside the system and the prefix: ELSEWHERE/libprobe.so.1; rpath names "ELSEWHERE", in ` + module, foreign},
		{"elsewhere, allowed", "ELSEWHERE", "ELSEWHERE", func(f *fake, elsewhere string) { f.request.Libraries = []string{elsewhere} }, "", foreign},
		{"elsewhere first", "ELSEWHERE:" + configured + "/lib", "PREFIX/lib", nil, `rpath names "ELSEWHERE", in ` + module, ours},
		{"elsewhere, by origin", "$ORIGIN/../../../../../../elsewhere", "ELSEWHERE", nil,
			`loaded from outside the system and the prefix: ELSEWHERE/libprobe.so.1; rpath names "$ORIGIN/../../../../../../elsewhere", in ` + module, foreign},
		{"elsewhere, by the environment", "-", "ELSEWHERE", func(f *fake, elsewhere string) {
			f.in()["libraries"] = []string{elsewhere + "/libprobe.so.1"}
		}, "loaded from outside the system and the prefix: ELSEWHERE/libprobe.so.1", foreign},
		{"elsewhere, by another file name", "-", "ELSEWHERE", func(f *fake, elsewhere string) {
			if err := os.Rename(elsewhere+"/libprobe.so.1", elsewhere+"/libprobe.so.1.2.3"); err != nil {
				f.t.Fatal(err)
			}
			f.in()["libraries"] = []string{elsewhere + "/libprobe.so.1.2.3"}
		}, "loaded from outside the system and the prefix: ELSEWHERE/libprobe.so.1.2.3", probe("foreign", "ELSEWHERE/libprobe.so.1.2.3")},
		{"working directory", ":" + configured + "/lib", "PREFIX/lib", nil, `rpath names "", in ` + module, ours},
		{"processor", "/usr/lib/$PLATFORM:" + configured + "/lib", "PREFIX/lib", nil, `rpath names "/usr/lib/$PLATFORM", in ` + module, ours},
		{"for another processor", configured + "/lib", "PREFIX/lib", func(f *fake, _ string) {
			text, err := os.ReadFile(f.path("lib/libprobe.so.1"))
			if err != nil {
				f.t.Fatal(err)
			}
			text[18] ^= 0xff // e_machine
			f.write("lib/libprobe.so.1", string(text))
		}, "libprobe.so.1 is nowhere, needed by " + module, missing},
		{"the process is not known", configured + "/lib", "PREFIX/lib", func(f *fake, _ string) { f.in()["libraries"] = nil }, "", ours},
		{"half a file", configured + "/lib", "PREFIX/lib", func(f *fake, _ string) { f.write("lib/half.so", "\x7fELF") }, "PREFIX/lib/half.so: EOF", ours},
		{"no file", configured + "/lib", "PREFIX/lib", func(f *fake, _ string) { f.write("lib/none.so", "\x7fEL"); f.write("lib/empty.so", "") }, "", ours},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, f := c.in(t), newFake(t)
			// Six levels up from the module's directory in the stage.
			elsewhere := filepath.Join(filepath.Dir(filepath.Dir(filepath.Dir(f.prefix))), "elsewhere")
			there := strings.NewReplacer("PREFIX", f.prefix, "ELSEWHERE", elsewhere)
			if row.place != "" {
				c.place("libprobe.so", there.Replace(row.place)+"/libprobe.so.1")
			}
			c.module(f.path(module), "libprobe.so", there.Replace(row.rpath))
			if row.set != nil {
				row.set(f, elsewhere)
			}
			want := slices.Clone(row.want)
			want[0].Path = there.Replace(want[0].Path)
			report, err := python.Inspect(t.Context(), f.request)
			if report == nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(report.Libraries, want) {
				t.Errorf("libraries:\n got %+v\nwant %+v", report.Libraries, want)
			}
			wantErr := ""
			if row.err != "" {
				wantErr = "PREFIX/bin/python3.13 rejected: linkage: " + row.err
			}
			got := ""
			if err != nil {
				got = strings.ReplaceAll(f.plain(err.Error()), elsewhere, "ELSEWHERE")
			}
			if got != wantErr {
				t.Errorf("error:\n got %s\nwant %s", got, wantErr)
			}
		})
	}
}

// TestLibpython is about the library that decides which Python it is.
func TestLibpython(t *testing.T) {
	c := newCompiler(t)
	for _, row := range []struct {
		name   string
		shared bool
		rpath  string
		loaded string
		err    string
	}{
		{"in the prefix", true, configured + "/lib", "PREFIX/lib/libpython3.13.so.1.0", ""},
		{"in the prefix, not known", true, configured + "/lib", "", ""},
		{"another's", true, configured + "/lib:ELSEWHERE", "ELSEWHERE/libpython3.13.so.1.0",
			`loaded from outside the system and the prefix: ELSEWHERE/libpython3.13.so.1.0; rpath names "ELSEWHERE", in bin/python3.13; ` +
				"libpython is ELSEWHERE/libpython3.13.so.1.0, not in PREFIX/lib"},
		{"another's, not wanted", false, "ELSEWHERE", "",
			`loaded from outside the system and the prefix: ELSEWHERE/libpython3.13.so.1.0; rpath names "ELSEWHERE", in bin/python3.13; ` +
				"libpython is ELSEWHERE/libpython3.13.so.1.0, not part of the interpreter"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c, f := c.in(t), newFake(t)
			elsewhere := filepath.Join(t.TempDir(), "lib")
			there := strings.NewReplacer("PREFIX", f.prefix, "ELSEWHERE", elsewhere)
			dir := elsewhere
			if strings.HasPrefix(row.loaded, "PREFIX") || row.shared && row.loaded == "" {
				dir = f.path("lib")
			}
			c.place("libpython3.13.so", dir+"/libpython3.13.so.1.0")
			c.module(f.path("bin/python3.13"), "libpython3.13.so", there.Replace(row.rpath))
			f.request.Shared, f.in()["shared"] = row.shared, row.shared
			f.in()["libraries"] = nil
			if row.loaded != "" {
				f.in()["libraries"] = []string{there.Replace(row.loaded)}
			}
			_, err := python.Inspect(t.Context(), f.request)
			got, want := "", ""
			if err != nil {
				got = strings.ReplaceAll(f.plain(err.Error()), elsewhere, "ELSEWHERE")
			}
			if row.err != "" {
				want = "PREFIX/bin/python3.13 rejected: linkage: " + row.err
			}
			if got != want {
				t.Errorf("error:\n got %s\nwant %s", got, want)
			}
		})
	}
}

// TestRpathOfProgram finds a library by the older kind of rpath, which a program has for what it loads, too.
func TestRpathOfProgram(t *testing.T) {
	c := newCompiler(t)
	for _, row := range []struct{ name, tags, origin string }{
		{"rpath", "-Wl,--disable-new-dtags", "prefix"},
		{"runpath", "-Wl,--enable-new-dtags", "missing"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, f := c.in(t), newFake(t)
			c.run(f.path("bin/python3.13"), "program.c", row.tags, "-Wl,-rpath,"+configured+"/lib")
			c.place("libprobe.so", f.path("lib/libprobe.so.1"))
			c.module(f.path(module), "libprobe.so", "-")
			report, err := python.Inspect(t.Context(), f.request)
			var e *python.MissingLibraryError
			if missing := errors.As(err, &e); report == nil || missing != (row.origin == "missing") {
				t.Fatal(err)
			}
			for _, l := range report.Libraries {
				switch {
				case l.Soname == "libprobe.so.1":
					if l.Origin != row.origin {
						t.Errorf("got %+v, want the origin %s", l, row.origin)
					}
				case l.Origin != "system":
					t.Errorf("got %+v, which the C compiler links with", l)
				}
			}
		})
	}
}

// TestNeighbours does not look at what others put into a prefix, and at all of a stage.
func TestNeighbours(t *testing.T) {
	c := newCompiler(t)
	for _, row := range []struct {
		name     string
		programs []string
		users    []string
	}{
		{"stage", nil, []string{module, "lib/python3.13/site-packages/_x.so"}},
		{"prefix", []string{"python3.13", "pip3.13"}, []string{module}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, f := c.in(t), newFake(t)
			c.module(f.path(module), "libprobe.so", "-")
			c.module(f.path("lib/python3.13/site-packages/_x.so"), "libprobe.so", "-")
			f.request.Programs = row.programs
			_, err := python.Inspect(t.Context(), f.request)
			want := &python.MissingLibraryError{Soname: "libprobe.so.1", Users: row.users}
			var got *python.MissingLibraryError
			if !errors.As(err, &got) || !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
}
