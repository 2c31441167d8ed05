package build

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func FuzzProfile(f *testing.F) {
	f.Add(profile{"Objects/a.gcda": []byte("a"), "b.gcda": nil}.encode())
	f.Add(profile{"../a.gcda": []byte("a")}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, ok := decodeProfile(data); ok && !bytes.Equal(p.encode(), data) {
			t.Errorf("%q has become %q", data, p.encode())
		}
		// Whatever the content, behind a good digest too.
		digest := sha256.Sum256(data)
		if p, ok := decodeProfile(append(digest[:], data...)); ok && len(p) == 0 {
			t.Errorf("%q is a profile", data)
		}
	})
}

func TestDecodeProfile(t *testing.T) {
	good := profile{"Objects/a.gcda": []byte("a"), "b.gcda": {}}.encode()
	for _, test := range []struct {
		name string
		data []byte
		want bool
	}{
		{"good", good, true},
		{"truncated", good[:len(good)-1], false},
		{"half", good[:20], false},
		{"changed", append(slices.Clone(good[:len(good)-1]), 'x'), false},
		{"empty", nil, false},
		{"no file", profile{}.encode(), false},
		{"it leads out", profile{"../a.gcda": nil}.encode(), false},
		{"an absolute name", profile{"/a.gcda": nil}.encode(), false},
		{"another kind of file", profile{"Lib/os.py": nil}.encode(), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, ok := decodeProfile(test.data); ok != test.want {
				t.Errorf("%v, want %v", ok, test.want)
			}
		})
	}
}

// The second of two builds, and what has changed in between.
func TestProfileKept(t *testing.T) {
	const (
		rules = "PGO_PROF_GEN_FLAG=-fprofile-generate\nPGO_PROF_USE_FLAG=-fprofile-use -fprofile-correction\nall:\t\tprofile-opt\nprofile-opt: profile-run-stamp\n" +
			"\t@echo final `cat a.gcda build/t$$PWD/b.gcda` >> steps\n\t@! grep -q stale a.gcda || { echo \"a.c:1: error: [-Werror=coverage-mismatch]\"; exit 1; }\n" +
			"\t@! grep -q odd a.gcda || echo \"a.c:1: warning: the control flow of function 'f' does not match its profile data\"\n" +
			"profile-gen-stamp: profile-clean-stamp\n\t@rm -rf *.gcda build; echo instrumented >> steps\nprofile-clean-stamp:\nclean-retain-profile: pycremoval\npycremoval:\nPrograms/%:\n\t@:\n"
		python = "#!/bin/sh\necho trained >> steps; mkdir -p build/t$PWD; echo learnt > a.gcda; echo more > build/t$PWD/b.gcda\n"
		cold   = "instrumented trained final learnt more"
		warm   = "final learnt more"
	)
	change := func(content string) func(*asking) {
		return func(m *asking) {
			files, err := filepath.Glob(filepath.Join(m.dir, "known/profile/*"))
			if err != nil || len(files) != 1 {
				m.t.Fatal(files, err)
			}
			data := []byte(content)
			if content != "" {
				data = profile{"a.gcda": []byte(content), "build/t/" + sourceDir + "/b.gcda": []byte("more\n")}.encode()
			}
			if err := os.WriteFile(files[0], data, 0o644); err != nil {
				m.t.Fatal(err)
			}
		}
	}
	const note = "the profile of an earlier build did not fit, and was made anew"
	for _, test := range []struct {
		name   string
		python string
		change func(*asking)
		steps  string
		notes  []string
	}{
		{"nothing changed", python, func(*asking) {}, warm, nil},
		{"another directory", python, func(m *asking) { m.source = "elsewhere" }, warm, nil},
		{"another prefix", python, func(m *asking) { m.request = func(r *Request) { r.Prefix = "/opt/other" } }, warm, nil},
		{"other source", python, func(m *asking) { m.code = "int x;" }, cold, nil},
		{"other flags", python, func(m *asking) { m.request = func(r *Request) { r.Environ = append(r.Environ, "CFLAGS=-O1") } }, cold, nil},
		{"another compiler", python, func(m *asking) { m.write("cc", strings.ReplaceAll(compiler, "%[1]s", m.dir)+"# other\n") }, cold, nil},
		{"not whole", python, change(""), cold, nil},
		{"others may write it", python, func(m *asking) { spoil(m.t, filepath.Join(m.dir, "known/profile"), "writable") }, cold, nil},
		{"a link in its place", python, func(m *asking) { spoil(m.t, filepath.Join(m.dir, "known/profile"), "link") }, cold, nil},
		{"a pipe in its place", python, func(m *asking) { spoil(m.t, filepath.Join(m.dir, "known/profile"), "pipe") }, cold, nil},
		{"gcc refuses it", python, change("stale\n"), "final stale more " + cold, []string{note}},
		{"gcc doubts it", python, change("odd\n"), "final odd more " + cold, []string{note}},
		{"a test had failed", python + "echo '0:00:12 load avg: 2.10 [12/44/1] test_re failed'; exit 2\n", func(*asking) {}, cold, []string{"trained without test_re, which failed"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newAsking(t)
			m.profile, m.python = "release", test.python
			if _, _, err := m.build(rules); err != nil || m.steps() != cold {
				t.Fatalf("first: done %s, error %v", m.steps(), err)
			}
			test.change(m)
			_, result, err := m.build(rules)
			if err != nil || m.steps() != test.steps {
				t.Fatalf("done %s, want %s, error %v", m.steps(), test.steps, err)
			}
			if !slices.Equal(result.Notes, test.notes) {
				t.Errorf("notes %q", result.Notes)
			}
		})
	}
}
