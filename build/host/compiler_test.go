package host

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pybuild/build/run"
	"pybuild/recipes"
)

// makes is a fake compiler whose program is this text, with these permissions.
func makes(mode, program string) string {
	return "case \"$*\" in *compiler.c*) printf '" + program + "' >compiler; /bin/chmod " + mode + " compiler; exit 0 ;; esac\n"
}

// TestTrial has a compiler a row, which makes programs; the first is the twin whose programs are all right. Libraries are looked
// for all the same, and no package is offered for what is there.
func TestTrial(t *testing.T) {
	const locale = "this system has no locale C.UTF-8: the build runs in the locale C"
	for _, test := range []struct{ name, cc, want, env, notes string }{
		{"all right", makes("755", `#!/bin/sh\necho yes\n`), "", "", ""},
		{"no locale", makes("755", `#!/bin/sh\necho no\n`), "", "LC_ALL=C", locale},
		{"nothing said", makes("755", `#!/bin/sh\n`), "", "LC_ALL=C", locale},
		{"not allowed", makes("644", `#!/bin/sh\necho yes\n`), "permission denied", "", ""},
		{"another machine's", makes("755", `\\177ELF\\2\\1\\1\\0`), "exec format error", "", ""},
		{"no loader", makes("755", `#!/no/such/loader\n`), "no such file or directory", "", ""},
		{"fails", makes("755", `#!/bin/sh\nexit 3\n`), "exit status 3", "", ""},
		{"library not found", makes("755", `#!/bin/sh\necho "./compiler: error while loading shared libraries: libx.so.1" >&2\nexit 127\n`), "./compiler: error while loading shared libraries: libx.so.1", "", ""},
		{"killed", makes("755", `#!/bin/sh\nkill -9 $$\n`), "signal: killed", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := `case "$*" in *ssl-0.c*) echo "ssl-0.c:1:10: fatal error: ssl.h: No such file or directory" >&2; exit 1 ;; esac`
			needs := Needs{
				Tools: tools[:1], Parts: []*recipes.Part{zlib(), part("ssl", recipes.TierRequired)},
				Env: []string{"PATH=" + commands(t, "cc", test.cc+header)}, Required: required,
			}
			work := t.TempDir()
			found, err := debian.Probe(t.Context(), files(), work, needs)
			if err != nil {
				t.Fatal(err)
			}
			want, reason := "ssl*", ""
			if test.want != "" {
				want, reason = "compiler* ssl*", "cc makes programs that do not run in "+work+": "+test.want
			}
			if got := names(found.Missing); got != want {
				t.Fatalf("missing %q, want %q", got, want)
			}
			if m := found.Missing[0]; reason != "" && (m.Reason != reason || m.Packages != nil || m.Absent) {
				t.Errorf("%+v, want the reason %s", m, reason)
			}
			if got := strings.Join(debian.Install(found.Missing), " "); got != "apt-get install libssl-dev" {
				t.Errorf("install %q", got)
			}
			if env, notes := strings.Join(found.Env, " "), strings.Join(found.Notes, "\n"); env != test.env || notes != test.notes {
				t.Errorf("environment %q, notes %q; want %q, %q", env, notes, test.env, test.notes)
			}
		})
	}
}

func TestParseToolchain(t *testing.T) {
	for _, test := range []struct {
		name, output string
		want         recipes.Toolchain
	}{
		{"gcc and glibc", "\"compiler\" \"gcc\" 12 2 0 ;\n\n\"libc\" \"glibc\"\n   2 36 ;\n", recipes.Toolchain{Compiler: "gcc", CompilerVersion: "12.2.0", Libc: "glibc", LibcVersion: "2.36"}},
		{"clang and musl", "\"compiler\" \"clang\" 18 1 3 ;\n\"libc\" \"musl\" ;\n", recipes.Toolchain{Compiler: "clang", CompilerVersion: "18.1.3", Libc: "musl"}},
		{"gcc and a stranger", "\"compiler\" \"gcc\" 15 1 0 ;\n", recipes.Toolchain{Compiler: "gcc", CompilerVersion: "15.1.0"}},
		{"a stranger and glibc", "\"libc\" \"glibc\" 2 43 ;", recipes.Toolchain{Libc: "glibc", LibcVersion: "2.43"}},
		{"strangers", "# 1 \"toolchain.c\"\n", recipes.Toolchain{}},
		{"nothing", "", recipes.Toolchain{}},
		{"a macro that is none", "\"compiler\" \"gcc\" 12 __GNUC_MINOR__ 0 ;\n", recipes.Toolchain{}},
		{"a word alone", "\"compiler\"\n", recipes.Toolchain{}},
		{"no end", "\"compiler\" \"gcc\" 12 2 0\n", recipes.Toolchain{}},
		{"no name", "\"compiler\" ;\n", recipes.Toolchain{}},
		{"a processor", "\"libc\" \"glibc\" 2 43 ;\n\"machine\" \"x86_64\" ;\n", recipes.Toolchain{Libc: "glibc", LibcVersion: "2.43", Machine: "x86_64"}},
	} {
		if got := parseToolchain([]byte(test.output)); got != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

// Whatever a compiler prints, versions are numbers between dots.
func FuzzParseToolchain(f *testing.F) {
	f.Add([]byte("\"compiler\" \"gcc\" 12 2 0 ;\n\"libc\" \"glibc\" 2 36 ;\n"))
	f.Add([]byte("\"compiler\" \"\n\"libc\" \"x\" -1 ;\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		got := parseToolchain(output)
		if versions := got.CompilerVersion + got.LibcVersion; strings.Trim(versions, "0123456789.") != "" {
			t.Errorf("%q was read as %+v", output, got)
		}
	})
}

// A compiler that says nothing of itself, or cannot, is no error: it may be one that nobody has thought of.
func TestToolchainUnknown(t *testing.T) {
	for _, test := range []struct {
		name, says string
		want       recipes.Toolchain
	}{
		{"says it", `echo '"compiler" "gcc" 12 2 0 ;'`, recipes.Toolchain{Compiler: "gcc", CompilerVersion: "12.2.0"}},
		{"nothing", "", recipes.Toolchain{}},
		{"refuses", "exit 1", recipes.Toolchain{}},
	} {
		cc := `case "$*" in "-I/x -O1 -E -P toolchain.c") ` + test.says + "\nexit 0 ;; esac\n" + makes("755", `#!/bin/sh\necho yes\n`)
		needs := Needs{Tools: tools[:1], Env: []string{"PATH=" + commands(t, "cc", cc), "CPPFLAGS=-I/x", "CFLAGS=-O1", "LDFLAGS=-L/y"}, Required: required}
		found, err := debian.Probe(t.Context(), files(), t.TempDir(), needs)
		if err != nil || len(found.Missing) != 0 || found.Toolchain != test.want {
			t.Errorf("%s: %+v, %v; want %+v", test.name, found, err, test.want)
		}
	}
}

// TestRealToolchain asks the compilers of this system, as they are and with macros and headers of others.
func TestRealToolchain(t *testing.T) {
	for _, cc := range []string{"gcc", "clang"} {
		env := []string{"PATH=/usr/local/bin:/usr/bin:/bin", "TMPDIR=" + t.TempDir(), "CC=" + cc, "CFLAGS=-O2"}
		if !inPath(env, cc) {
			t.Logf("%s is not in PATH", cc)
			continue
		}
		bare := t.TempDir() // the headers of a C library without a name
		if err := os.WriteFile(filepath.Join(bare, "limits.h"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		ask := func(cppflags string) recipes.Toolchain {
			got, err := toolchain(t.Context(), []string{cc}, t.TempDir(), Needs{Env: append(env, "CPPFLAGS="+cppflags)})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		real := ask("")
		version := map[string]string{"gcc": "-dumpfullversion", "clang": "-dumpversion"}[cc]
		var output bytes.Buffer
		if err := run.Run(t.Context(), run.Command{Argv: []string{cc, version}, Env: env, Stdout: &output}); err != nil {
			t.Fatal(err)
		}
		if real.Compiler != cc || real.CompilerVersion != strings.TrimSpace(output.String()) {
			t.Errorf("%+v, but %s %s says %s", real, cc, version, &output)
		}
		if glibc := real.Libc == "glibc" && strings.Count(real.LibcVersion, ".") == 1; !glibc && real != (recipes.Toolchain{Compiler: real.Compiler, CompilerVersion: real.CompilerVersion, Libc: "musl", Machine: real.Machine}) {
			t.Errorf("%+v is neither glibc nor musl", real)
		}
		for _, test := range []struct {
			name, cppflags string
			want           recipes.Toolchain
		}{
			{"musl", "-nostdinc -I" + bare, recipes.Toolchain{Compiler: real.Compiler, CompilerVersion: real.CompilerVersion, Libc: "musl", Machine: real.Machine}},
			{"uClibc", "-D__UCLIBC__", recipes.Toolchain{Compiler: real.Compiler, CompilerVersion: real.CompilerVersion, Machine: real.Machine}},
			{"clang", "-U__clang__ -U__clang_major__ -U__clang_minor__ -U__clang_patchlevel__ -D__clang__ -D__clang_major__=18 -D__clang_minor__=1 -D__clang_patchlevel__=3",
				recipes.Toolchain{Compiler: "clang", CompilerVersion: "18.1.3", Libc: real.Libc, LibcVersion: real.LibcVersion, Machine: real.Machine}},
			{"Apple's", "-D__clang__ -D__apple_build_version__=1", recipes.Toolchain{Libc: real.Libc, LibcVersion: real.LibcVersion, Machine: real.Machine}},
			{"Intel's", "-D__INTEL_LLVM_COMPILER=1", recipes.Toolchain{Libc: real.Libc, LibcVersion: real.LibcVersion, Machine: real.Machine}},
			{"macros with the names that we use", "-Dgcc=1 -Dcompiler=2 -Dglibc=3", real},
		} {
			if got := ask(test.cppflags); got != test.want {
				t.Errorf("%s, %s: %+v, want %+v", cc, test.name, got, test.want)
			}
		}
	}
}
