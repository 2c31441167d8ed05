package prefix

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// interrupted leaves a prefix in which a change was killed at an operation on a path.
func interrupted(t *testing.T, s scenario, op, path string, done bool) *fixture {
	t.Helper()
	f := s.fixture(t)
	if crashes(func() {
		check(t, f.change(t, func(o, p string, d bool) error {
			if o == op && p == path && d == done {
				panic(crash{op})
			}
			return nil
		}))
	}) == "" {
		t.Fatal("did not crash")
	}
	return f
}

const manifest13 = "share/pybuild/python3.13.json"

var upgrading = scenario{name: "upgrade", prepare: installed, tree: v2}

func TestRecover(t *testing.T) {
	rows := []struct {
		name     string
		scenario scenario
		op, path string
		done     bool
		pending  bool
		want     string
	}{
		{"while preparing", upgrading, "fsync", journalFile + ".part", true, false, ""},
		{"before the first change", upgrading, "rename", journalFile, true, true, "an interrupted install of python3.13 (3.13.0) was undone"},
		{"before the point", upgrading, "rename", manifest13, false, true, "an interrupted install of python3.13 (3.13.0) was undone"},
		{"after the point", upgrading, "rename", manifest13, true, true, "an interrupted install of python3.13 (3.13.0) was finished"},
		{"while tidying", upgrading, "unlink", journalFile, true, false, ""},
		{"uninstall, before", scenario{prepare: installed}, "rename", oldManifest, false, true, "an interrupted uninstall of python3.13 (3.13.0) was undone"},
		{"uninstall, after", scenario{prepare: installed}, "rename", oldManifest, true, true, "an interrupted uninstall of python3.13 (3.13.0) was finished"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			f := interrupted(t, r.scenario, r.op, r.path, r.done)
			killed := state(t, f.dir)
			if pending, err := Pending(f.dir); pending != r.pending || err != nil || state(t, f.dir) != killed {
				t.Errorf("pending %t, %v", pending, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if r, err := Recover(ctx, f.dir); !errors.Is(err, context.Canceled) || r != nil || state(t, f.dir) != killed {
				t.Errorf("cancelled: %v, %v", r, err)
			}
			got, err := Recover(t.Context(), f.dir)
			check(t, err)
			if got == nil && r.want != "" || got != nil && got.String() != r.want {
				t.Errorf("got %v", got)
			}
			want := f.before
			if strings.HasSuffix(r.want, "finished") || r.name == "while tidying" {
				want = f.after
			}
			if is := state(t, f.dir); is != want {
				t.Errorf("is\n%swant\n%s", is, want)
			}
			if pending, err := Pending(f.dir); pending || err != nil {
				t.Errorf("pending %t, %v", pending, err)
			}
			if again, err := Recover(t.Context(), f.dir); again != nil || err != nil {
				t.Errorf("again: %v, %v", again, err)
			}
		})
	}
	t.Run("no prefix", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "none")
		if r, err := Recover(t.Context(), dir); r != nil || err != nil {
			t.Errorf("%v, %v", r, err)
		}
		if pending, err := Pending(dir); pending || err != nil {
			t.Errorf("%t, %v", pending, err)
		}
		if _, err := os.Lstat(dir); !absent(err) {
			t.Errorf("made: %v", err)
		}
	})
}

// TestRecoverRefuses: what somebody did between the crash and the recovery is not lost, and nothing is changed.
func TestRecoverRefuses(t *testing.T) {
	edit := func(old, new string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			text := read(t, dir, journalFile)
			if !strings.Contains(text, old) {
				t.Fatalf("no %s in %s", old, text)
			}
			check(t, os.WriteFile(filepath.Join(dir, journalFile), []byte(strings.Replace(text, old, new, 1)), 0o600))
		}
	}
	conflict := "undoing an interrupted install of python3.13 (3.13.0) in DIR: in the way in DIR: "
	rows := []struct {
		name  string
		spoil func(t *testing.T, dir string)
		want  string
	}{
		{"twin", func(*testing.T, string) {}, ""},
		{"twin: a new file elsewhere", func(t *testing.T, dir string) { tree{"bin/x": ""}.write(t, dir) }, ""},
		{"new file replaced", func(t *testing.T, dir string) { tree{"bin/python3.13": "mine"}.write(t, dir) }, conflict + "bin/python3.13"},
		{"new link replaced", func(t *testing.T, dir string) {
			check(t, os.Remove(filepath.Join(dir, "lib/libpython3.13.so")))
			tree{"lib/libpython3.13.so": "mine"}.write(t, dir)
		}, conflict + "lib/libpython3.13.so"},
		{"file where one was removed", func(t *testing.T, dir string) { tree{"lib/python3.13/old/gone.py": "mine"}.write(t, dir) },
			conflict + "lib/python3.13/old/gone.py"},
		{"manifest edited", func(t *testing.T, dir string) { tree{manifest13: "{}"}.write(t, dir) },
			"journal DIR/" + journalFile + " does not know the manifest share/pybuild/python3.13.json as it is"},
		{"format", edit(`"format":1`, `"format":2`), "journal DIR/" + journalFile + " has format 2"},
		{"not JSON", edit(`{`, ``), "journal DIR/" + journalFile + " cannot be decoded: json: cannot unmarshal string into Go value of type struct { Format int \"json:\\\"format\\\"\" }"},
		{"path outside", edit(`"path":"bin/idle3.13"`, `"path":"../idle3.13"`), "journal DIR/" + journalFile + ` lists the bad operation "replace" of "../idle3.13"`},
		{"a directory of others", func(t *testing.T, dir string) { check(t, os.Chmod(filepath.Join(dir, work), 0o777)) },
			"journal DIR/" + work + " can be written to by others"},
		{"a link", func(t *testing.T, dir string) {
			check(t, os.Rename(filepath.Join(dir, work), filepath.Join(dir, "w")))
			tree{work: "-> w"}.write(t, dir)
		}, "journal DIR/" + work + " is not a directory"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			f := interrupted(t, upgrading, "rename", manifest13, false)
			r.spoil(t, f.dir)
			before := state(t, f.dir)
			p, err := Lock(f.dir)
			got := strings.ReplaceAll(text(err), f.dir, "DIR")
			if strings.HasPrefix(r.want, "journal") && strings.Contains(r.want, "decoded") {
				got, _, _ = strings.Cut(got, ": ")
				r.want, _, _ = strings.Cut(r.want, ": ")
			}
			if got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
			if err == nil {
				check(t, p.Unlock())
				return
			}
			_, journal := errors.AsType[*JournalError](err)
			_, conflict := errors.AsType[*ConflictError](err)
			_, recovery := errors.AsType[*RecoveryError](err)
			if journal == conflict || conflict != recovery {
				t.Errorf("%T", err)
			}
			if state(t, f.dir) != before {
				t.Errorf("before\n%safter\n%s", before, state(t, f.dir))
			}
		})
	}
}

func sampleJournal() *journal {
	digest := strings.Repeat("0", 64)
	return &journal{Format: 1, Kind: kindUpgrade, Name: "python3.13", Version: "3.13.6", Before: digest, After: digest, Prune: []string{"a/b"}, Operations: []operation{
		{Do: opRemove, Path: "a/c", Old: "0", Was: digest},
		{Do: opAside, Path: "a/d", Kept: "a/d.pybuild-old.1"},
		{Do: opRmdir, Path: "a/e", Mode: "2755", UID: 1, GID: 2},
		{Do: opMkdir, Path: "a/f", Mode: "0755"},
		{Do: opAdd, Path: "a/g", New: "0", SHA256: digest},
		{Do: opReplace, Path: "a/h", New: "1", Old: "1", Target: "../x"},
		{Do: opRestore, Path: "a/i", Kept: "a/i.pybuild-old"},
	}}
}

func TestJournalCheck(t *testing.T) {
	spoiled := func(change func(o *operation), i int) func(j *journal) {
		return func(j *journal) { change(&j.Operations[i]) }
	}
	rows := []struct {
		name  string
		spoil func(j *journal)
		want  string
	}{
		{"twin", func(*journal) {}, ""},
		{"kind", func(j *journal) { j.Kind = "x" }, `has the kind "x"`},
		{"name", func(j *journal) { j.Name = "../x" }, `has the bad name "../x"`},
		{"digest", func(j *journal) { j.Before = "x" }, `has the digests "x" and "` + strings.Repeat("0", 64) + `"`},
		{"uninstall with one after", func(j *journal) { j.Kind = kindUninstall }, `has the digests "` + strings.Repeat("0", 64) + `" and "` + strings.Repeat("0", 64) + `"`},
		{"prune outside", func(j *journal) { j.Prune[0] = ".." }, `lists the bad path ".."`},
		{"prune the transaction", func(j *journal) { j.Prune[0] = workOld }, `lists the bad path "` + workOld + `"`},
		{"unknown", spoiled(func(o *operation) { o.Do = "chmod" }, 0), `lists the bad operation "chmod" of "a/c"`},
		{"outside", spoiled(func(o *operation) { o.Path = "/etc/passwd" }, 0), `lists the bad operation "remove" of "/etc/passwd"`},
		{"a manifest", spoiled(func(o *operation) { o.Path = manifest13 }, 0), `lists the bad operation "remove" of "` + manifest13 + `"`},
		{"the journal", spoiled(func(o *operation) { o.Path = journalFile }, 0), `lists the bad operation "remove" of "` + journalFile + `"`},
		{"old outside", spoiled(func(o *operation) { o.Old = "../../x" }, 0), `lists the bad operation "remove" of "a/c"`},
		{"old is the manifest", spoiled(func(o *operation) { o.Old = "manifest" }, 0), `lists the bad operation "remove" of "a/c"`},
		{"no old", spoiled(func(o *operation) { o.Old = "" }, 5), `lists the bad operation "replace" of "a/h"`},
		{"new outside", spoiled(func(o *operation) { o.New = "-1" }, 4), `lists the bad operation "add" of "a/g"`},
		{"no digest", spoiled(func(o *operation) { o.SHA256 = "" }, 4), `lists the bad operation "add" of "a/g"`},
		{"kept elsewhere", spoiled(func(o *operation) { o.Kept = "etc/passwd" }, 1), `lists the bad operation "aside" of "a/d"`},
		{"kept below", spoiled(func(o *operation) { o.Kept = "a/d.pybuild-old/../x" }, 1), `lists the bad operation "aside" of "a/d"`},
		{"no mode", spoiled(func(o *operation) { o.Mode = "" }, 3), `lists the bad operation "mkdir" of "a/f"`},
		{"moved twice", spoiled(func(o *operation) { o.Kept = "a/f.pybuild-old" }, 3), `lists the bad operation "mkdir" of "a/f"`},
	}
	for _, r := range rows {
		j := sampleJournal()
		r.spoil(j)
		data, err := json.Marshal(j)
		check(t, err)
		if _, got, err := decodeJournal(data); got != r.want || err != nil {
			t.Errorf("%s: got %q, %v", r.name, got, err)
		}
	}
}

func FuzzJournal(f *testing.F) {
	data, err := json.Marshal(sampleJournal())
	check(f, err)
	f.Add(data)
	f.Add([]byte(`{"format":1,"kind":"install","name":"x","operations":[{"do":"add","path":"../x","new":"0"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j, reason, _ := decodeJournal(data)
		if (j == nil) != (reason != "") {
			t.Fatalf("%v, %q", j, reason)
		}
		if j == nil {
			return
		}
		for _, o := range j.Operations {
			for _, m := range o.moves() {
				for _, name := range []string{m.from, m.to} {
					if !filepath.IsLocal(name) || filepath.Clean(name) != name || strings.HasPrefix(name, home+"/") {
						t.Fatalf("unsafe path %q", name)
					}
				}
			}
		}
		once, err := json.Marshal(j)
		check(t, err)
		again, reason, err := decodeJournal(once)
		if reason != "" {
			t.Fatalf("%s %v: %s", reason, err, once)
		}
		twice, err := json.Marshal(again)
		check(t, err)
		if string(once) != string(twice) {
			t.Fatalf("%s\n%s", once, twice)
		}
	})
}
