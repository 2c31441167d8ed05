package prefix

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// sample is a manifest with every field set.
func sample() *Manifest {
	return &Manifest{
		Format: 1, Name: "python3.13", Version: "3.13.5", Prefix: "/usr/local", Executable: "bin/python3.13",
		Archive:   Archive{Name: "Python-3.13.5.tar.xz", SHA256: strings.Repeat("ab", 32), Size: 22856016, Source: "https://www.python.org/", Proof: "sigstore"},
		Signature: Signature{Kind: "sigstore", Identity: "thomas@python.org"},
		Profile:   "release", ConfigureArgs: []string{"--with-lto=<thin> & more"}, Environment: []string{"CC=gcc"}, Compiler: "gcc 12.2.0",
		Parts: map[string]string{"tkinter": "missing", "ssl": "present"}, Checks: []Check{{Name: "pip", Detail: "25.1.1"}}, Marker: "absent",
		Libraries: []Library{{Soname: "libz.so.1", Path: "/usr/lib/libz.so.1", Origin: "system", Users: []string{"lib/zlib.so"}}}, Quirks: []string{"a stack of 1 MiB"},
		Options: []string{"profile=release"},
		Paths: []Entry{
			{Path: "bin", Type: "dir", Mode: "0755"},
			{Path: "bin/python3.13", Type: "file", Mode: "0755", Size: 1, SHA256: strings.Repeat("0", 64)},
			{Path: "tools", Type: "link", Mode: "0777", Target: "lib64"},
		},
	}
}

const sampleText = `{
  "format": 1,
  "name": "python3.13",
  "version": "3.13.5",
  "prefix": "/usr/local",
  "executable": "bin/python3.13",
  "archive": {
    "name": "Python-3.13.5.tar.xz",
    "sha256": "abababababababababababababababababababababababababababababababab",
    "size": 22856016,
    "source": "https://www.python.org/",
    "proof": "sigstore"
  },
  "signature": {
    "kind": "sigstore",
    "identity": "thomas@python.org"
  },
  "profile": "release",
  "configure_args": [
    "--with-lto=<thin> & more"
  ],
  "environment": [
    "CC=gcc"
  ],
  "compiler": "gcc 12.2.0",
  "parts": {
    "ssl": "present",
    "tkinter": "missing"
  },
  "checks": [
    {
      "name": "pip",
      "detail": "25.1.1"
    }
  ],
  "libraries": [
    {
      "soname": "libz.so.1",
      "path": "/usr/lib/libz.so.1",
      "origin": "system",
      "users": [
        "lib/zlib.so"
      ]
    }
  ],
  "quirks": [
    "a stack of 1 MiB"
  ],
  "marker": "absent",
  "options": [
    "profile=release"
  ],
  "paths": [
    {
      "path": "bin",
      "type": "dir",
      "mode": "0755",
      "size": 0
    },
    {
      "path": "bin/python3.13",
      "type": "file",
      "mode": "0755",
      "size": 1,
      "sha256": "0000000000000000000000000000000000000000000000000000000000000000"
    },
    {
      "path": "tools",
      "type": "link",
      "mode": "0777",
      "size": 0,
      "target": "lib64"
    }
  ]
}
`

func TestManifestEncoding(t *testing.T) {
	data, err := sample().encode()
	check(t, err)
	if string(data) != sampleText {
		t.Errorf("got %s", data)
	}
	m, reason, err := decode("python3.13", data)
	if reason != "" || err != nil || !reflect.DeepEqual(m, sample()) {
		t.Errorf("%q %v %+v", reason, err, m)
	}
}

func TestEmptyManifestEncoding(t *testing.T) {
	data, err := new(Manifest).encode()
	check(t, err)
	if strings.Contains(string(data), "null") {
		t.Errorf("null in %s", data)
	}
}

// hostile manifests: what is replaced in sampleText, and why the result is refused.
func TestHostileManifests(t *testing.T) {
	file := `"bin/python3.13",
      "type"`
	rows := []struct{ name, old, new, want string }{
		{"twin", "", "", ""},
		{"new field", `"format": 1`, `"format": 1, "future": {"a": 1}`, ""},
		{"not JSON", "{", "", `cannot be decoded: invalid character ':' after top-level value`},
		{"something after it", "\n}\n", "\n}\n{}", `cannot be decoded: invalid character '{' after top-level value`},
		{"format", `"format": 1`, `"format": 2`, "has format 2"},
		{"format and types", `"format": 1`, `"format": 2, "paths": "gone"`, "has format 2"},
		{"no format", `"format": 1,`, "", "has format 0"},
		{"format is a string", `"format": 1`, `"format": "1"`, "cannot be decoded: json: cannot unmarshal string into Go struct field .format of type int"},
		{"name", `"python3.13"`, `"python3.12"`, `is of "python3.12"`},
		{"executable", `"executable": "bin/`, `"executable": "/bin/`, `has the bad executable "/bin/python3.13"`},
		{"type of a field", `"size": 1`, `"size": "1"`, "cannot be decoded: json: cannot unmarshal string into Go struct field Entry.paths.size of type int64"},
		{"null path", `"paths": [`, `"paths": [null,`, `lists the bad path ""`},
		{"absolute", file, `"/etc/passwd", "type"`, `lists the bad path "/etc/passwd"`},
		{"up", file, `"bin/../../../etc/passwd", "type"`, `lists the bad path "bin/../../../etc/passwd"`},
		{"only up", file, `"..", "type"`, `lists the bad path ".."`},
		{"dot", file, `".", "type"`, `lists the bad path "."`},
		{"unclean", file, `"bin//x", "type"`, `lists the bad path "bin//x"`},
		{"trailing slash", file, `"bin/x/", "type"`, `lists the bad path "bin/x/"`},
		{"empty", file, `"", "type"`, `lists the bad path ""`},
		{"NUL", file, `"bin/\u0000", "type"`, `lists the bad path "bin/\x00"`},
		{"twice", file, `"bin", "type"`, `lists "bin" out of order or twice`},
		{"order", file, `"a", "type"`, `lists "a" out of order or twice`},
		{"type", `"type": "file"`, `"type": "device"`, `lists "bin/python3.13" with the type "device"`},
		{"mode", `"mode": "0755",
      "size": 1`, `"mode": "rwx", "size": 1`, `lists "bin/python3.13" with the mode "rwx"`},
		{"size", `"size": 1`, `"size": -1`, `lists "bin/python3.13" with the size -1`},
		{"size of a directory", `"size": 0`, `"size": 4096`, `lists "bin" with the size 4096`},
		{"digest", strings.Repeat("0", 64), "00", `lists "bin/python3.13" with the digest "00"`},
		{"digest in capitals", strings.Repeat("0", 64), strings.Repeat("A", 64), `lists "bin/python3.13" with the digest "` + strings.Repeat("A", 64) + `"`},
		{"digest of a directory", `"size": 0`, `"size": 0, "sha256": "00"`, `lists "bin" with the digest "00"`},
		{"target of a file", `"size": 1,`, `"size": 1, "target": "x",`, `lists "bin/python3.13" with the target "x"`},
		{"link without target", `"lib64"`, `""`, `lists "tools" with the target ""`},
		{"another manifest", file, `"share/pybuild/python3.12.json", "type"`, `lists "share/pybuild/python3.12.json" where manifests are kept`},
		{"file for their directory", file, `"share/pybuild", "type"`, `lists "share/pybuild" where manifests are kept`},
		{"file above it", file, `"share", "type"`, `lists "share" where manifests are kept`},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			data := strings.Replace(sampleText, r.old, r.new, 1)
			if r.old != "" && data == sampleText {
				t.Fatalf("%q is not in the sample", r.old)
			}
			dir := tree{"share/pybuild/python3.13.json": data}.dir(t)
			want := r.want
			if want != "" {
				want = "manifest " + filepath.Join(dir, "share/pybuild/python3.13.json") + " " + want
			}
			m, err := ReadManifest(dir, "python3.13")
			if text(err) != want {
				t.Errorf("got  %q\nwant %q", text(err), want)
			}
			if _, ok := errors.AsType[*ManifestError](err); ok != (want != "") || ok != (m == nil) {
				t.Errorf("%T, %v", err, m)
			}
			list, err := Manifests(dir)
			if text(err) != want || len(list) == 0 != (want != "") {
				t.Errorf("all: %v, %d", err, len(list))
			}
		})
	}
}

func TestReadManifestFiles(t *testing.T) {
	const file = "share/pybuild/python3.13.json"
	rows := []struct {
		name string
		tree tree
		want string // "none": fs.ErrNotExist
	}{
		{"twin", tree{file: sampleText}, ""},
		{"empty prefix", tree{}, "none"},
		{"another one's", tree{"share/pybuild/python3.12.json": sampleText}, "none"},
		{"share is a file", tree{"share": ""}, "none"},
		{"link", tree{"m": sampleText, file: "-> ../../m"}, "manifest DIR/" + file + " is not a regular file"},
		{"dangling link", tree{file: "-> /none"}, "manifest DIR/" + file + " is not a regular file"},
		{"directory", tree{file + "/": ""}, "manifest DIR/" + file + " is not a regular file"},
		{"led outside", tree{"share/pybuild": "-> /"}, "manifest: statat " + file + ": path escapes from parent"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := r.tree.dir(t)
			_, err := ReadManifest(dir, "python3.13")
			if r.want == "none" {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got %v", err)
				}
			} else if got := strings.ReplaceAll(text(err), dir, "DIR"); got != r.want {
				t.Errorf("got  %q\nwant %q", got, r.want)
			}
		})
	}
	t.Run("pipe", func(t *testing.T) {
		dir := tree{"share/pybuild/": ""}.dir(t)
		check(t, syscall.Mkfifo(filepath.Join(dir, file), 0o644))
		if _, err := ReadManifest(dir, "python3.13"); text(err) != "manifest "+dir+"/"+file+" is not a regular file" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no prefix", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "none")
		if _, err := ReadManifest(dir, "python3.13"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		if list, err := Manifests(dir); list != nil || err != nil {
			t.Errorf("got %v, %v", list, err)
		}
	})
	for _, name := range []string{"", ".hidden", "../x", "a/b", "a b", "a\x00"} {
		if _, err := ReadManifest(t.TempDir(), name); err == nil {
			t.Errorf("%q: no error", name)
		} else if _, ok := errors.AsType[*ManifestError](err); !ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestManifestsOrder(t *testing.T) {
	dir := tree{"share/pybuild/x/python3.8.json": "", "share/pybuild/note.txt": "", "share/pybuild/.x.json": ""}.dir(t)
	for _, name := range []string{"python3.13t", "python3.9", "python3.13", "python2.7", "python3.10"} {
		m := sample()
		m.Name = name
		data, err := m.encode()
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, manifestPath(name)), data, 0o644))
	}
	list, err := Manifests(dir)
	check(t, err)
	var got []string
	for _, m := range list {
		got = append(got, m.Name)
	}
	if want := "python2.7 python3.9 python3.10 python3.13 python3.13t"; strings.Join(got, " ") != want {
		t.Errorf("got %v", got)
	}
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(sampleText))
	f.Add([]byte(`{"format":1,"name":"python3.13","executable":"x","paths":[{"path":"a/../b","type":"file"}]}`))
	f.Add([]byte(`{"format":1,"name":"python3.13","executable":"x"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, reason, _ := decode("python3.13", data)
		if (m == nil) != (reason != "") {
			t.Fatalf("%v, %q", m, reason)
		}
		if m == nil {
			return
		}
		for _, e := range m.Paths {
			if !filepath.IsLocal(e.Path) || filepath.Clean(e.Path) != e.Path {
				t.Fatalf("unsafe path %q", e.Path)
			}
		}
		once, err := m.encode()
		check(t, err)
		again, reason, err := decode("python3.13", once)
		if reason != "" {
			t.Fatalf("%s %v: %s", reason, err, once)
		}
		twice, err := again.encode()
		check(t, err)
		if string(once) != string(twice) {
			t.Fatalf("%s\n%s", once, twice)
		}
	})
}
