package install

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/build/host"
	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify/sigstore/sigstoretest"
)

// Who signs 3.13 and 3.15, as the catalogue has it.
const (
	google = "https://accounts.google.com"
	github = "https://github.com/login/oauth"
	thomas = "thomas@python.org"
	hugo   = "hugo@python.org"
)

// An apiWorld is python.org: its release API, and the signatures in its directories.
type apiWorld struct {
	t        *testing.T
	sigstore *sigstoretest.World
	list     []map[string]any
	files    map[string][]map[string]any // by release
	bundles  map[string][]byte           // by path below ftp/python/
	raw      string                      // in place of the list
}

// announce adds a release, with the number that it has in the API; more changes what is said of it.
func (w *apiWorld) announce(version, id string, more ...func(release map[string]any)) {
	r := map[string]any{
		"name": "Python " + version, "version": 3, "is_published": true, "release_date": "2026-12-01T12:00:00Z",
		"resource_uri": "https://www.python.org/api/v2/downloads/release/" + id + "/", "pre_release": strings.ContainsAny(version, "abr"),
	}
	for _, f := range more {
		f(r)
	}
	w.list = append(w.list, r)
}

// file adds an archive to the release with that number, and a bundle by email unless that is empty.
func (w *apiWorld) file(id, dir, name, digest, email, issuer string) {
	w.files[id] = append(w.files[id], map[string]any{
		"url": "https://www.python.org/ftp/python/" + dir + "/" + name, "sha256_sum": digest, "filesize": 1000, "is_source": true,
	})
	if email != "" {
		w.bundle(dir+"/"+name, digest, email, issuer)
	}
}

func (w *apiWorld) bundle(path, digest, email, issuer string) {
	raw, err := hex.DecodeString(digest)
	if err != nil {
		w.t.Fatal(err)
	}
	w.bundles[path+".sigstore"] = sigstoretest.Marshal(w.t, w.sigstore.Sign(sigstoretest.Signing{Email: email, Issuer: issuer, Digest: raw, Index: int64(1000 + len(w.bundles))}))
}

func (w *apiWorld) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/api/v2/downloads/release/" && w.raw != "":
		_, _ = out.Write([]byte(w.raw))
	case path == "/api/v2/downloads/release/":
		_ = json.NewEncoder(out).Encode(w.list)
	case path == "/api/v2/downloads/release_file/":
		_ = json.NewEncoder(out).Encode(append([]map[string]any{}, w.files[r.URL.Query().Get("release")]...))
	default:
		bundle, ok := w.bundles[strings.TrimPrefix(path, "/ftp/python/")]
		if !ok {
			http.NotFound(out, r)
			return
		}
		_, _ = out.Write(bundle)
	}
}

func digestOfText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// twoSeries is the real catalogue, but of 3.13 and 3.15 alone, which are read in no time.
func twoSeries(t *testing.T) *recipes.Catalogue {
	t.Helper()
	all, some := os.DirFS("../../../recipes"), fstest.MapFS{}
	for _, pattern := range []string{"*.toml", "platforms/debian.toml", "cpython/3.1[35].toml"} {
		names, err := fs.Glob(all, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(all, name)
			if err != nil {
				t.Fatal(err)
			}
			some[name] = file(string(text))
		}
	}
	c, err := recipes.Load(some)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// updater is an installer that takes url for python.org and knows what earlier updates have found.
func updater(t *testing.T, url, data string) *Installer {
	t.Helper()
	c := twoSeries(t)
	if err := c.Extend(os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	return &Installer{Catalogue: c, Host: &host.Host{}, Upstream: url + "/ftp/python/", Reporter: &silent{}, Cache: &fetch.Cache{Dir: t.TempDir()}}
}

// TestUpdate: what python.org announces, and what becomes of it. Nothing is written but what was added.
func TestUpdate(t *testing.T) {
	virtual := sigstoretest.New(t)
	trusted := filepath.Join(t.TempDir(), "trusted_root.json")
	if err := os.WriteFile(trusted, virtual.Trusted(), 0o644); err != nil {
		t.Fatal(err)
	}
	xz, tgz := digestOfText("xz"), digestOfText("tgz")
	const known = "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640" // Python-3.13.5.tar.xz
	good := func(w *apiWorld) {
		w.announce("3.13.99", "7")
		w.file("7", "3.13.99", "Python-3.13.99.tar.xz", xz, thomas, google)
		w.file("7", "3.13.99", "Python-3.13.99.tgz", tgz, thomas, google)
	}
	one := func(digest, email, issuer string) func(w *apiWorld) {
		return func(w *apiWorld) {
			w.announce("3.13.99", "7")
			w.file("7", "3.13.99", "Python-3.13.99.tar.xz", digest, email, issuer)
		}
	}
	field := func(name string, value any) func(w *apiWorld) {
		return func(w *apiWorld) {
			good(w)
			w.list[0][name] = value
		}
	}
	goodText := []string{`version = "3.13.99"`, `date = "2026-12-01"`, "tar_xz = { sha256 = \"" + xz + "\", size = 1000, proof = \"signature-verified\", sigstore = { log_index = 1000, ",
		"tgz = { sha256 = \"" + tgz + "\", size = 1000, proof = \"signature-verified\", sigstore = { log_index = 1001, "}
	type skip struct {
		version string
		wrong   bool
		says    string
	}
	for _, row := range []struct {
		name    string
		setup   func(w *apiWorld)
		added   []string
		skipped []skip
		err     string   // in the error
		file    string   // that is written
		text    []string // in it
	}{
		{"new", good, []string{"3.13.99"}, nil, "", "3.13.toml", goodText},
		{"one archive", one(xz, thomas, google), []string{"3.13.99"}, nil, "", "3.13.toml", []string{"tar_xz = { sha256 = \"" + xz}},
		{"digest in capitals", func(w *apiWorld) {
			w.announce("3.13.99", "7")
			w.file("7", "3.13.99", "Python-3.13.99.tar.xz", strings.ToUpper(xz), thomas, google)
		}, []string{"3.13.99"}, nil, "", "3.13.toml", []string{"tar_xz = { sha256 = \"" + xz}},
		{"twice", func(w *apiWorld) { good(w); w.announce("3.13.99", "7") }, []string{"3.13.99"}, nil, "", "3.13.toml", goodText},
		{"no date", field("release_date", "soon"), []string{"3.13.99"}, nil, "", "3.13.toml", []string{"version = \"3.13.99\"\ntar_xz"}},
		{"size below zero", func(w *apiWorld) { good(w); w.files["7"][0]["filesize"] = -1 }, []string{"3.13.99"}, nil, "", "3.13.toml",
			[]string{"tar_xz = { sha256 = \"" + xz + "\", proof"}},
		{"pre-release of the newest series", func(w *apiWorld) {
			w.announce("3.15.99rc1", "8")
			w.file("8", "3.15.99", "Python-3.15.99rc1.tar.xz", xz, hugo, github)
		}, []string{"3.15.99rc1"}, nil, "", "3.15.toml", []string{`version = "3.15.99rc1"`}},
		{"good beside wrong", func(w *apiWorld) {
			good(w)
			w.announce("3.13.98", "9")
			w.file("9", "3.13.98", "Python-3.13.98.tar.xz", digestOfText("98"), hugo, github)
		}, []string{"3.13.99"}, []skip{{"3.13.98", true, "refused: signed by hugo@python.org, want thomas@python.org"}}, "", "3.13.toml", goodText},

		{"other identity", one(xz, hugo, google), nil, []skip{{"3.13.99", true, "refused: signed by hugo@python.org, want thomas@python.org"}}, "", "", nil},
		{"other issuer", one(xz, thomas, github), nil, []skip{{"3.13.99", true, "refused: signer vouched for by " + github + ", want " + google}}, "", "", nil},
		{"bundle of another file", func(w *apiWorld) {
			one(xz, "", "")(w)
			w.bundle("3.13.99/Python-3.13.99.tar.xz", tgz, thomas, google)
		}, nil, []skip{{"3.13.99", true, "refused: signature is of another file: sha256 " + tgz + ", want " + xz}}, "", "", nil},
		{"no bundle", one(xz, "", ""), nil, []skip{{"3.13.99", false, "/ftp/python/3.13.99/Python-3.13.99.tar.xz.sigstore: status 404 Not Found"}}, "", "", nil},
		{"one bundle of two", func(w *apiWorld) { good(w); delete(w.bundles, "3.13.99/Python-3.13.99.tgz.sigstore") }, nil,
			[]skip{{"3.13.99", false, "Python-3.13.99.tgz.sigstore: status 404 Not Found"}}, "", "", nil},
		{"no digest", one("", "", ""), nil, []skip{{"3.13.99", false, "python.org gives no digest for it"}}, "", "", nil},
		{"half a digest", one(xz[:32], "", ""), nil, []skip{{"3.13.99", false, "python.org gives no digest for it"}}, "", "", nil},
		{"no file", func(w *apiWorld) { w.announce("3.13.99", "7") }, nil, []skip{{"3.13.99", false, "python.org gives no digest for it"}}, "", "", nil},
		{"an old archive under a new name", one(known, thomas, google), nil,
			[]skip{{"3.13.99", false, "python.org gives Python-3.13.99.tar.xz the digest of an archive of 3.13.5"}}, "", "", nil},
		{"a new archive under two names", func(w *apiWorld) {
			good(w)
			w.announce("3.13.98", "9")
			w.file("9", "3.13.98", "Python-3.13.98.tar.xz", xz, thomas, google)
		}, []string{"3.13.99"}, []skip{{"3.13.98", false, "python.org gives Python-3.13.98.tar.xz the digest of an archive of 3.13.99"}}, "", "3.13.toml", goodText},
		{"no number", field("resource_uri", "https://www.python.org/x/../../etc"), nil, []skip{{"3.13.99", false, `python.org names it strangely: "https://www.python.org/x/../../etc"`}}, "", "", nil},
		{"a newer series", func(w *apiWorld) { w.announce("3.99.0", "7") }, nil, []skip{{"3.99.0", false, "its series is newer than this pybuild, which does not know who signs it"}}, "", "", nil},

		// Passed over without a word.
		{"known, with another digest", func(w *apiWorld) {
			w.announce("3.13.5", "7")
			w.file("7", "3.13.5", "Python-3.13.5.tar.xz", xz, thomas, google)
		}, nil, nil, "", "", nil},
		{"older than all", func(w *apiWorld) { w.announce("3.7.99", "7") }, nil, nil, "", "", nil},
		{"pre-release of an old series", func(w *apiWorld) {
			w.announce("3.13.99rc1", "7")
			w.file("7", "3.13.99", "Python-3.13.99rc1.tar.xz", xz, thomas, google)
		}, nil, nil, "", "", nil},
		{"install manager", field("version", 100), nil, nil, "", "", nil},
		{"Python 2", field("version", 2), nil, nil, "", "", nil},
		{"not published", field("is_published", false), nil, nil, "", "", nil},
		{"another name", field("name", "Python install manager 26.0"), nil, nil, "", "", nil},
		{"another spelling", field("name", "Python 3.13.099"), nil, nil, "", "", nil},
		{"nothing", func(w *apiWorld) { w.list = []map[string]any{} }, nil, nil, "", "", nil},

		// No answer to go by.
		{"a web page", func(w *apiWorld) { w.raw = "<!DOCTYPE html><html></html>" }, nil, nil, ": a web page instead of the file", "", nil},
		{"no list", func(w *apiWorld) { w.raw = `{"detail": "Request was throttled."}` }, nil, nil, ": refused: json: cannot unmarshal object", "", nil},
		{"half a list", func(w *apiWorld) { w.raw = `[{"name": "Python 3.13.99"` }, nil, nil, ": refused: unexpected end of JSON input", "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := &apiWorld{t: t, sigstore: virtual, files: map[string][]map[string]any{}, bundles: map[string][]byte{}}
			row.setup(w)
			server := httptest.NewServer(w)
			defer server.Close()
			data := filepath.Join(t.TempDir(), "data")
			refresh := func() (*Update, *Installer, error) {
				in := updater(t, server.URL, data)
				u, err := in.Update(t.Context(), twoSeries(t), data, Options{TrustedRoot: trusted})
				if warnings := in.Reporter.(*silent).warnings; len(warnings) > 0 {
					t.Errorf("warnings %q", warnings)
				}
				return u, in, err
			}
			u, _, err := refresh()
			if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if err != nil {
				if _, ok := errors.AsType[*fetch.SourcesError](err); !ok || u != nil {
					t.Errorf("%+v, %T", u, err)
				}
				return
			}
			var added []string
			for _, r := range u.Added {
				added = append(added, r.Version.String())
			}
			if !slices.Equal(added, row.added) {
				t.Errorf("added %q, want %q", added, row.added)
			}
			if !slices.EqualFunc(u.Skipped, row.skipped, func(a Skipped, b skip) bool {
				return a.Version == b.version && a.Wrong == b.wrong && strings.Contains(a.Reason, b.says)
			}) {
				t.Errorf("skipped %+v, want %+v", u.Skipped, row.skipped)
			}
			before := tree(t, data)
			if row.file == "" {
				if before != nil {
					t.Errorf("written: %q", before)
				}
			} else if text := before["cpython/"+row.file]; len(before) != 1 || slices.ContainsFunc(row.text, func(s string) bool { return !strings.Contains(text, s) }) {
				t.Errorf("written: %q, want %s with %q", before, row.file, row.text)
			}

			// The second time it is known. What is embedded has not changed.
			u, in, err := refresh()
			if err != nil || len(u.Added) > 0 {
				t.Errorf("the second time: added %v, %v", u, err)
			}
			for _, v := range row.added {
				resolve(t, in, v)
			}
			if a := resolve(t, in, "3.13.5").Archives[0]; a.SHA256 != known {
				t.Errorf("3.13.5 now has %s", a.SHA256)
			}
			after := tree(t, data)
			if len(after) != len(before) || after["cpython/"+row.file] != before["cpython/"+row.file] {
				t.Errorf("the second time there is %q, before %q", after, before)
			}
		})
	}
}

// tree is all files below dir, by name; nil when there is none.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	var files map[string]string
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		if files == nil {
			files = map[string]string{}
		}
		files[name] = string(content)
		return nil
	})
	return files
}

// TestUpdateAgain: what an earlier update found counts in a later one.
func TestUpdateAgain(t *testing.T) {
	for _, row := range []struct {
		name, found string              // by an earlier update: a stanza
		announced   []string            // one after the other
		added       map[string][]string // what the file then lists
		skipped     string
	}{
		{"in order", "", []string{"3.13.98", "3.13.99", "3.13.97"}, map[string][]string{
			"3.13.98": {"3.13.98"}, "3.13.99": {"3.13.99", "3.13.98"}, "3.13.97": {"3.13.99", "3.13.98", "3.13.97"},
		}, ""},
		// Signed in a year to come, so that what is signed now is old.
		{"signed before its predecessor", "2099-01-01", []string{"3.13.99"}, nil, "Python-3.13.99.tgz was signed before 3.13.98, which it follows"},
		{"signed after its predecessor", "2026-11-01", []string{"3.13.99"}, map[string][]string{"3.13.99": {"3.13.99", "3.13.98"}}, ""},
		{"signed before its successor", "2099-01-01", []string{"3.13.97"}, map[string][]string{"3.13.97": {"3.13.98", "3.13.97"}}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := &apiWorld{t: t, sigstore: sigstoretest.New(t), files: map[string][]map[string]any{}, bundles: map[string][]byte{}}
			trusted, data := filepath.Join(t.TempDir(), "trusted_root.json"), t.TempDir()
			write := func(name, text string) {
				if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			write(trusted, string(w.sigstore.Trusted()))
			if row.found != "" {
				write(filepath.Join(data, "cpython/3.13.toml"), "[[release]]\nversion = \"3.13.98\"\ntgz = { sha256 = \""+digestOfText("98")+
					"\", proof = \"signature-verified\", sigstore = { log_index = 9, time = \""+row.found+"T00:00:00Z\" } }\n")
			}
			server := httptest.NewServer(w)
			defer server.Close()
			for i, version := range row.announced {
				id := string(rune('1' + i))
				w.announce(version, id)
				w.file(id, version, "Python-"+version+".tgz", digestOfText(version), thomas, google)
				in := updater(t, server.URL, data)
				before := tree(t, data)["cpython/3.13.toml"]
				u, err := in.Update(t.Context(), twoSeries(t), data, Options{TrustedRoot: trusted})
				if err != nil {
					t.Fatal(err)
				}
				text := tree(t, data)["cpython/3.13.toml"]
				if row.skipped != "" {
					if len(u.Added) > 0 || len(u.Skipped) != 1 || u.Skipped[0].Reason != row.skipped || text != before {
						t.Errorf("%s: %+v, want it skipped: %s", version, u, row.skipped)
					}
					continue
				}
				if len(u.Skipped) > 0 || len(u.Added) != 1 || u.Added[0].Version.String() != version {
					t.Errorf("%s: %+v", version, u)
				}
				var listed []string
				for line := range strings.Lines(text) {
					if v, ok := strings.CutPrefix(line, "version = "); ok {
						listed = append(listed, strings.Trim(v, "\"\n"))
					}
				}
				if !slices.Equal(listed, row.added[version]) {
					t.Errorf("%s: the file has %q, want %q", version, listed, row.added[version])
				}
			}
		})
	}
}

// FuzzAPI: whatever the API answers, an announcement is of a version of CPython 3 that is written as it is announced, or of none.
func FuzzAPI(f *testing.F) {
	for _, s := range []string{
		`[{"name": "Python 3.13.5", "version": 3, "is_published": true, "release_date": "2025-06-11T16:00:00Z", "resource_uri": "/release/1037/"}]`,
		`[{"name": "Python 3.15.0rc2", "version": 3, "is_published": true}]`,
		`[{"name": "Python install manager 25.0", "version": 100, "is_published": true}]`,
		`[{"name": "Python 3.13.5\n", "version": 3, "is_published": true}, null, {"name": "Python  3.1"}]`,
		`{}`, `[`, `null`, `[{"url": "https://www.python.org/ftp/python/3.13.5/Python-3.13.5.tgz", "sha256_sum": "00", "filesize": 1}]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		var list []announcement
		if err := json.Unmarshal(answer, &list); err != nil {
			return
		}
		for _, a := range list {
			version, ok := announced(a)
			if ok && (a.Name != "Python "+version.String() || a.Version != 3 || !a.Published || version == recipes.Version{}) {
				t.Errorf("%+v is taken for %s", a, version)
			}
			if !ok && version != (recipes.Version{}) {
				t.Errorf("%+v is no release, but %s", a, version)
			}
		}
		var files []announcedFile
		if err := json.Unmarshal(answer, &files); err != nil {
			return
		}
		for _, file := range files {
			if digest := strings.ToLower(file.SHA256); isDigest(digest) {
				if raw, err := hex.DecodeString(digest); err != nil || len(raw) != sha256.Size {
					t.Errorf("%q is taken for a digest", file.SHA256)
				}
			}
		}
	})
}
