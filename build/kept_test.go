package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// spoil does something to the one file that is kept in a directory: what it is afterwards, nobody may use.
func spoil(t *testing.T, dir, how string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	file, aside := files[0], filepath.Join(filepath.Dir(dir), "aside")
	switch how {
	case "writable":
		err = os.Chmod(file, 0o666)
	case "group":
		err = os.Chmod(file, 0o620)
	case "directory writable":
		err = os.Chmod(dir, 0o777)
	case "somebody's":
		if os.Geteuid() != 0 {
			t.Skip("only root can give a file away")
		}
		err = os.Chown(file, 65534, 65534)
	case "directory somebody's":
		if os.Geteuid() != 0 {
			t.Skip("only root can give a directory away")
		}
		err = os.Chown(dir, 65534, 65534)
	case "link":
		err = errors.Join(os.Rename(file, aside), os.Symlink(aside, file))
	case "dangling":
		err = errors.Join(os.Remove(file), os.Symlink(aside, file))
	case "pipe":
		err = errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o600))
	case "directory":
		err = errors.Join(os.Remove(file), os.Mkdir(file, 0o755))
	case "too large":
		err = os.Truncate(file, maxAnswers+1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestReadKept(t *testing.T) {
	untrusted := func(err error) bool { _, ok := errors.AsType[*untrustedError](err); return ok }
	is := func(target error) func(error) bool { return func(err error) bool { return errors.Is(err, target) } }
	for _, test := range []struct {
		how  string
		want func(error) bool
	}{
		{"whole", is(nil)},
		{"writable", untrusted},
		{"group", untrusted},
		{"directory writable", untrusted},
		{"somebody's", untrusted},
		{"directory somebody's", untrusted},
		{"link", is(syscall.ELOOP)},
		{"dangling", is(syscall.ELOOP)},
		{"pipe", is(fs.ErrInvalid)},
		{"directory", is(fs.ErrInvalid)},
		{"too large", is(fs.ErrInvalid)},
	} {
		t.Run(test.how, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "kept")
			if err := keep(dir, "key", []byte("text")); err != nil {
				t.Fatal(err)
			}
			spoil(t, dir, test.how)
			data, err := readKept(dir, "key", maxAnswers)
			if !test.want(err) || string(data) != "text" && err == nil {
				t.Errorf("%q, error %v", data, err)
			}
			if _, err := readKept(dir, "another", maxAnswers); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("one that is not there: %v", err)
			}
		})
	}
}

// TestKeptDamaged: of every length, and with every bit turned.
func TestKeptDamaged(t *testing.T) {
	a := answers{"ac_cv_func_fork": "yes", "ac_cv_search_opendir": "none required"}.encode()
	f := profile{"a.gcda": []byte("learnt"), "build/b.gcda": nil}.encode()
	for _, test := range []struct {
		name  string
		data  []byte
		whole func([]byte) bool
	}{
		{"answers", a, func(data []byte) bool { _, ok := decodeAnswers(data); return ok }},
		{"profile", f, func(data []byte) bool { _, ok := decodeProfile(data); return ok }},
	} {
		if !test.whole(test.data) {
			t.Errorf("%s: not whole as they are", test.name)
		}
		for i := range test.data {
			if test.whole(test.data[:i]) {
				t.Errorf("%s: whole with %d bytes of %d", test.name, i, len(test.data))
			}
			for bit := range 8 {
				changed := slices.Clone(test.data)
				changed[i] ^= 1 << bit
				if test.whole(changed) {
					t.Errorf("%s: whole with another bit %d of byte %d", test.name, bit, i)
				}
			}
		}
	}
}

// TestKeepAtOnce: who reads while others write sees one of the files as a whole, and nothing half-written stays.
func TestKeepAtOnce(t *testing.T) {
	dir := t.TempDir()
	texts := []string{strings.Repeat("a", 1<<16), strings.Repeat("b", 1<<15)}
	if err := keep(dir, "key", []byte(texts[0])); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, text := range texts {
		all.Go(func() {
			for range 50 {
				if err := keep(dir, "key", []byte(text)); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 50 {
				if data, err := readKept(dir, "key", maxAnswers); err != nil || !slices.Contains(texts, string(data)) {
					t.Errorf("%d bytes, error %v", len(data), err)
				}
			}
		})
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(dir, "*.partial")); err != nil || len(left) > 0 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestPlain(t *testing.T) {
	for _, test := range []struct {
		name string
		r    Request
		want bool
	}{
		{"nothing of the caller's", Request{}, true},
		{"what never reaches a build", Request{Environ: []string{"PATH=/x", "LANG=de", "CPATH=/x"}}, true},
		{"empty variables", Request{Environ: []string{"CC=", "CFLAGS="}}, true},
		{"a compiler", Request{Environ: []string{"CC=gcc"}}, false},
		{"flags", Request{Environ: []string{"CFLAGS=-O1"}}, false},
		{"headers", Request{Environ: []string{"CPPFLAGS=-I/x"}}, false},
		{"libraries", Request{Environ: []string{"LDFLAGS=-L/x"}}, false},
		{"pkg-config", Request{Environ: []string{"PKG_CONFIG_PATH=/x"}}, false},
		{"an argument", Request{ConfigureArgs: []string{"--host=aarch64-linux-gnu"}}, false},
		{"a patch", Request{Patches: []string{"/x"}}, false},
	} {
		if got := test.r.plain(); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// The answers that recipes have, told to a configure that then says yes. A row is what configure is told in a first and in a second
// build, and how many answers are kept afterwards.
func TestConfigureProven(t *testing.T) {
	const good, bad = "all:\n", "all:\n\t@false\n"
	const again = "configure failed with what was known before, and was run again without"
	own := func(how string) func(*asking) {
		return func(m *asking) { spoil(m.t, filepath.Join(m.dir, "known/configure"), how) }
	}
	with := func(change func(*Request)) func(*asking) {
		return func(m *asking) {
			before := m.request
			m.request = func(r *Request) { before(r); change(r) }
		}
	}
	other := with(func(r *Request) { r.Answers = map[string]string{"ac_cv_func_fork": "other"} })
	for _, test := range []struct {
		name          string
		before        func(*asking)
		makefile      string
		change        func(*asking)
		first, second string
		kept          int
		notes         []string // of the first
	}{
		{"told once, then what was found out", nil, good, nil, "proven", "yes", 1, nil},
		{"other answers", nil, good, other, "proven", "other", 2, nil},
		{"none any more", nil, good, with(func(r *Request) { r.Answers = nil }), "proven", "nothing", 2, nil},
		{"another library", nil, good, func(m *asking) { m.write("lib/libz.so", "") }, "proven", "proven", 2, nil},
		{"flags", with(func(r *Request) { r.Environ = []string{"CFLAGS=-O1"} }), good, nil, "nothing", "yes", 1, nil},
		{"an argument", with(func(r *Request) { r.ConfigureArgs = []string{"--with-x"} }), good, nil, "nothing", "yes", 1, nil},
		{"not wanted", with(func(r *Request) { r.NoConfigCache = true }), good, nil, "nothing", "nothing", 0, nil},
		{"the compiler does not answer", func(m *asking) { m.write("cc", "#!/bin/sh\nexit 1\n") }, good, nil, "nothing", "nothing", 0, nil},
		{"configure fails with them", with(func(r *Request) { r.Answers = map[string]string{"ac_cv_func_fork": "wrong"} }), good, nil, "nothing", "yes", 1, []string{again}},
		{"the build fails with them", nil, bad, nil, "proven", "nothing", 1, nil},
		{"kept, but others may write it", nil, good, own("writable"), "proven", "nothing", 1, nil},
		{"kept, but somebody else's", nil, good, own("somebody's"), "proven", "nothing", 1, nil},
		{"kept where others may write", nil, good, own("directory writable"), "proven", "nothing", 1, nil},
		{"a link in its place", nil, good, own("link"), "proven", "nothing", 1, nil},
		{"a pipe in its place", nil, good, own("pipe"), "proven", "nothing", 1, nil},
		{"too large", nil, good, own("too large"), "proven", "nothing", 1, nil},
		{"half-written beside it", nil, good, func(m *asking) { m.write("known/configure/"+filepath.Base(m.kept()[0])+".1.partial", "ac") }, "proven", "yes", 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := newAsking(t)
			m.request = func(r *Request) {
				r.Environ, r.HostEnv = nil, []string{"CC=" + filepath.Join(m.dir, "cc")}
				r.Answers = map[string]string{"ac_cv_func_fork": "proven"}
			}
			if test.before != nil {
				test.before(m)
			}
			given, result, err := m.build(test.makefile)
			if failed := test.makefile == bad; given != test.first || (err != nil) != failed {
				t.Fatalf("first: given %q, error %v", given, err)
			}
			if err == nil && !slices.Equal(result.Notes, test.notes) {
				t.Errorf("notes %q", result.Notes)
			}
			if test.change != nil {
				test.change(m)
			}
			if given, _, err := m.build(good); given != test.second || err != nil || len(m.kept()) != test.kept {
				t.Errorf("second: given %q, error %v, kept %q", given, err, m.kept())
			}
		})
	}
}
