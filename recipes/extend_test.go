package recipes

import (
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// signed returns a stanza as an update writes it, with two archives that were signed.
func signed(version string) string {
	v, err := ParseVersion(version)
	if err != nil {
		panic(err)
	}
	when := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	r := &Release{Version: v, Date: "2026-11-20"}
	for i, suffix := range []string{".tar.xz", ".tgz"} {
		r.Archives = append(r.Archives, Archive{
			Name:     "Python-" + version + suffix,
			SHA256:   digestOf(version + suffix),
			Size:     2000,
			Proof:    ProofSignature,
			Sigstore: &SigstoreProof{1e10 + int64(v.Micro)*10 + int64(i), when},
			OpenPGP:  &OpenPGPProof{strings.Repeat("A0", 20), when},
		})
	}
	return r.Stanza()
}

func TestExtend(t *testing.T) {
	c := loadSmall(t)
	before := c.series(3, 13).Release(Version{3, 13, 5, ""})
	files := fsOf(map[string]string{
		"cpython/3.13.toml":         signed("3.13.19") + "\n" + signed("3.13.17") + "\n" + signed("3.13.5"),
		"cpython/3.15.toml":         signed("3.15.3rc1"),
		"cpython/3.12.toml":         "# nothing yet\n",
		"cpython/.3.12.toml.tmp-17": "not a recipe",
		"cpython/README":            "not a recipe either",
		"parts.toml":                "parts are not looked at",
	})
	for range 2 { // the second time, all of it is known
		if err := c.Extend(files); err != nil {
			t.Fatal(err)
		}
		for _, row := range []struct{ series, want string }{
			{"3.15", "3.15.3rc1 3.15.2 3.15.0 3.15.0rc3 3.15.0rc2 3.15.0b1 3.15.0a10 3.15.0a9"},
			{"3.13", "3.13.19 3.13.18 3.13.17 3.13.16 3.13.5 3.13.0"},
			{"3.12", "3.12.15 3.12.14 3.12.0"},
		} {
			var got []string
			n, _ := parseSeries(row.series)
			s := c.series(n[0], n[1])
			for _, r := range s.Releases {
				got = append(got, r.Version.String())
				if r.Series != s {
					t.Errorf("%s belongs elsewhere", r.Version)
				}
			}
			if got := strings.Join(got, " "); got != row.want {
				t.Errorf("%s: %s, want %s", row.series, got, row.want)
			}
		}
	}
	for _, row := range []struct{ spec, want string }{
		{"3.13", "3.13.19"},
		{"3.13.17", "3.13.17"},
		{"latest", "3.15.2"},
		{"3.15.3rc1", "3.15.3rc1"},
	} {
		if s, err := c.Resolve(row.spec); err != nil || s.String() != row.want {
			t.Errorf("%s: %v, %v, want %s", row.spec, s, err, row.want)
		}
	}
	r, a := c.ArchiveByDigest(digestOf("3.13.19.tgz"))
	if r == nil || a.Path != "3.13.19/Python-3.13.19.tgz" || r.Signer() != r.Series.Sigstore || !r.Signed() {
		t.Errorf("the new archive: %v, %v", r, a)
	}
	if after := c.series(3, 13).Release(before.Version); after != before || !reflect.DeepEqual(after.Archives[1], Archive{
		Name: "Python-3.13.5.tgz", Path: "3.13.5/Python-3.13.5.tgz", SHA256: digestOf("3.13.5.tgz"), Proof: ProofAgreed,
	}) {
		t.Errorf("what was known was changed: %v", after)
	}
}

// TestExtendByNothing: there need not be any file.
func TestExtendByNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		fsys fs.FS
	}{
		{"no directory", fstest.MapFS{}},
		{"no directory of series", fstest.MapFS{"x": {}}},
		{"no file", fstest.MapFS{"cpython": {Mode: fs.ModeDir}}},
		{"no release", fsOf(map[string]string{"cpython/3.13.toml": ""})},
	} {
		c := loadSmall(t)
		if err := c.Extend(row.fsys); err != nil || !reflect.DeepEqual(c, loadSmall(t)) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// locked is a file system that shows nothing.
type locked struct{}

func (locked) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

// TestExtendLocked: what cannot be looked into is not empty.
func TestExtendLocked(t *testing.T) {
	c := loadSmall(t)
	err := c.Extend(locked{})
	const want = "recipe cpython: open cpython: permission denied"
	if !errors.As(err, new(*FileError)) || !errors.Is(err, fs.ErrPermission) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if !reflect.DeepEqual(c, loadSmall(t)) {
		t.Error("the catalogue was changed")
	}
}

// TestExtendRefuses changes one text of a file that extends: bad makes that fail with exactly that error and leaves the catalogue
// as it was, good does not.
func TestExtendRefuses(t *testing.T) {
	const file = "cpython/3.13.toml"
	content := signed("3.13.19") + "\n" + signed("3.13.17") + "\n" + signed("3.13.5")
	xz19, xz5, gz5 := digestOf("3.13.19.tar.xz"), digestOf("3.13.5.tar.xz"), digestOf("3.13.5.tgz")
	other := strings.Repeat("b", 64)
	unchanged := loadSmall(t)
	facts := content[strings.Index(content, ", sigstore = "):strings.Index(content, " }\n")]
	for _, row := range []struct {
		name, old, bad, good, want string
	}{
		{"syntax", "[[release]]", "[[release]", "[[ release ]]", `toml: line 2: expected end of table array name delimiter ']', but got '\n' instead`},
		{"series", "[[release]]", "series = \"3.13\"\n[[release]]", "# 3.13\n[[release]]", `unknown key "series"`},
		{"status", "[[release]]", "status = \"bugfix\"\n[[release]]", "\n[[release]]", `unknown key "status"`},
		{"keys", "[[release]]", "openpgp = [\"" + strings.Repeat("B0", 20) + "\"]\n[[release]]", "\n[[release]]", `unknown key "openpgp"`},
		{"identity", "[[release]]", "sigstore = { identity = \"b@example.org\", issuer = \"https://b.example\" }\n[[release]]", "\n[[release]]", `unknown key "sigstore"`},
		{"arguments", "[[release]]", "configure_args = [\"--with-evil\"]\n[[release]]", "\n[[release]]", `unknown key "configure_args"`},
		{"key of a release", "date =", "status =", "date =", `unknown key "release.status"`},
		{"signer", "date =", "signer = { identity = \"b@example.org\", issuer = \"https://b.example\" }\ndate =", "date =", `release 3.13.19: signer: not the series' own`},
		{"signer of the series", "date =", "signer = { identity = \"a@example.org\", issuer = \"https://accounts.example\" }\ndate =", "date =", `release 3.13.19: signer: not the series' own`},
		{"other series", `"3.13.19"`, `"3.14.19"`, `"3.13.20"`, `release 3.14.19: not of series 3.13`},
		{"order", `"3.13.19"`, `"3.13.17"`, `"3.13.20"`, `release 3.13.17: not older than 3.13.17 before it`},
		{"digest", xz19, xz19[1:], xz19, `release 3.13.19: tar_xz: sha256 "` + xz19[1:] + `" is not 64 lower-case hexadecimal digits`},
		{"agreed", `proof = "signature-verified"` + facts, `proof = "agreed"`, `proof = "signature-verified"` + facts, `release 3.13.19: Python-3.13.19.tar.xz: proof "agreed" is not signature-verified`},
		{"single source", `proof = "signature-verified"` + facts, `proof = "single-source"`, `proof = "signature-verified"` + facts, `release 3.13.19: Python-3.13.19.tar.xz: proof "single-source" is not signature-verified`},
		{"no facts", facts, "", facts, `release 3.13.19: tar_xz: proof "signature-verified", but by no signature`},
		{"strange key", `"A0A0`, `"A1A0`, `"A0A0`, `release 3.13.19: tar_xz: openpgp: "A1` + strings.Repeat("A0", 19) + `" is not a key of the series`},
		{"digest of another release", xz19, digestOf("3.12.14.tgz"), other, `release 3.13.19: tar_xz: sha256 "` + digestOf("3.12.14.tgz") + `" is there twice`},
		{"digest of another addition", xz19, digestOf("3.13.17.tgz"), other, `release 3.13.17: tgz: sha256 "` + digestOf("3.13.17.tgz") + `" is there twice`},
		{"place of another release in the log", "log_index = 10000000190", "log_index = " + logIndexOf("3.12.14"), "log_index = 7", `release 3.13.19: tar_xz: sigstore: log_index ` + logIndexOf("3.12.14") + ` is there twice`},
		{"known release, other digest", xz5, other, xz5, `release 3.13.5: Python-3.13.5.tar.xz: sha256 "` + other + `" is not that of the catalogue, which stays "` + xz5 + `"`},
		{"known release, other digest of the .tgz", gz5, other, gz5, `release 3.13.5: Python-3.13.5.tgz: sha256 "` + other + `" is not that of the catalogue, which stays "` + gz5 + `"`},
		{"known release, unproven", digestOf("3.13.5.tgz") + `", size = 2000, proof = "signature-verified"`, digestOf("3.13.5.tgz") + `", proof = "agreed"`, digestOf("3.13.5.tgz") + `", proof = "signature-verified"`, `release 3.13.5: tgz: proof "agreed", but there is a signature`},
	} {
		t.Run(row.name, func(t *testing.T) {
			if !strings.Contains(content, row.old) {
				t.Fatalf("no %q in\n%s", row.old, content)
			}
			extend := func(text string) (*Catalogue, error) {
				c := loadSmall(t)
				return c, c.Extend(fsOf(map[string]string{
					"cpython/3.12.toml": signed("3.12.99"), // is not taken either when the other file is refused
					file:                strings.Replace(content, row.old, text, 1),
				}))
			}
			c, err := extend(row.bad)
			if want := "recipe " + file + ": " + row.want; err == nil || err.Error() != want || !errors.As(err, new(*FileError)) {
				t.Errorf("bad: %v\nwant %s", err, want)
			}
			if !reflect.DeepEqual(c, unchanged) {
				t.Error("bad: the catalogue was changed")
			}
			if c, err = extend(row.good); err != nil {
				t.Errorf("good: %v", err)
			} else if s, err := c.Resolve("3.13.17"); err != nil || len(s.Archives) != 2 {
				t.Errorf("good: %v, %v", s, err)
			}
		})
	}
}

// TestExtendUnknownSeries: an update knows releases, not series.
func TestExtendUnknownSeries(t *testing.T) {
	for _, row := range []struct{ file, want string }{
		{"cpython/3.13.toml", ""},
		{"cpython/3.17.toml", "recipe cpython/3.17.toml: no such series is known"},
		{"cpython/3.013.toml", "recipe cpython/3.013.toml: no such series is known"},
		{"cpython/.toml", "recipe cpython/.toml: no such series is known"},
	} {
		c := loadSmall(t)
		var got string
		if err := c.Extend(fsOf(map[string]string{row.file: signed("3.13.19")})); err != nil {
			got = err.Error()
		}
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.file, got, row.want)
		}
		if (c.series(3, 13).Newest().Version.Micro == 19) != (row.want == "") {
			t.Errorf("%s: the newest release is %s", row.file, c.series(3, 13).Newest().Version)
		}
	}
}

// TestExtendArchives: of a release that is known nothing is added, not even an archive.
func TestExtendArchives(t *testing.T) {
	files := smallFiles()
	line := "tgz = { sha256 = \"" + digestOf("3.13.18.tgz") + "\", proof = \"agreed\" }\n"
	files["cpython/3.13.toml"] = strings.Replace(files["cpython/3.13.toml"], line, "", 1)
	c, err := Load(fsOf(files))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Extend(fsOf(map[string]string{"cpython/3.13.toml": signed("3.13.18")})); err != nil {
		t.Error(err)
	}
	if r := c.series(3, 13).Newest(); r.Version.Micro != 18 || len(r.Archives) != 1 {
		t.Errorf("%s", r.Stanza())
	}
}
