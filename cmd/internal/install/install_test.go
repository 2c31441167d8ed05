package install

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/fetch"
	"pybuild/recipes"
)

// silent is a Reporter that remembers warnings.
type silent struct{ warnings []string }

func (s *silent) Step(string, string) func(error) { return func(error) {} }
func (s *silent) Progress(Progress)               {}
func (s *silent) Warn(text string)                { s.warnings = append(s.warnings, text) }
func (s *silent) Note(string)                     {}
func (s *silent) Detail(string)                   {}

// installer knows the real recipes and a machine with these files.
func installer(t *testing.T, root fstest.MapFS) (*Installer, *silent) {
	t.Helper()
	c, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.Detect(root, c)
	if err != nil {
		t.Fatal(err)
	}
	reporter := &silent{}
	return &Installer{Catalogue: c, Host: h, Root: root, Upstream: Upstream, Reporter: reporter, Cache: &fetch.Cache{Dir: t.TempDir(), Offline: true}}, reporter
}

func resolve(t *testing.T, in *Installer, version string) *recipes.Selection {
	t.Helper()
	rel, err := in.Catalogue.Resolve(version)
	if err != nil {
		t.Fatal(err)
	}
	return rel
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

func TestSources(t *testing.T) {
	debian := fstest.MapFS{
		"etc/os-release":                          file("ID=debian\nVERSION_ID=12\n"),
		"etc/apt/sources.list":                    file("deb https://mirror.example/debian bookworm main\n"),
		"etc/apt/sources.list.d/security.sources": file("Types: deb\nURIs: https://mirror.example/security http://mirror.example:8080/debian/\nSuites: bookworm-security\nComponents: main\n"),
	}
	const name = "3.13.5/Python-3.13.5"
	const pool = "/pool/main/p/python3.13/python3.13_3.13.5.orig.tar."
	for _, test := range []struct {
		name    string
		root    fstest.MapFS
		options Options
		want    []string
	}{
		{"upstream alone", fstest.MapFS{}, Options{}, []string{Upstream + name + ".tar.xz", Upstream + name + ".tgz"}},
		{"no pool elsewhere", fstest.MapFS{"etc/os-release": file("ID=fedora\n"), "etc/apt/sources.list": debian["etc/apt/sources.list"]}, Options{},
			[]string{Upstream + name + ".tar.xz", Upstream + name + ".tgz"}},
		{"mirrors, upstream, pool", debian, Options{Mirrors: []string{"https://m.example/python/", "file:///srv/python"}}, []string{
			"https://m.example/python/" + name + ".tar.xz", "https://m.example/python/" + name + ".tgz",
			"file:///srv/python/" + name + ".tgz", "file:///srv/python/" + name + ".tar.xz",
			Upstream + name + ".tar.xz", Upstream + name + ".tgz",
			"https://mirror.example/debian" + pool + "xz", "https://mirror.example/debian" + pool + "gz",
			"https://mirror.example/security" + pool + "xz", "https://mirror.example/security" + pool + "gz",
			"http://mirror.example:8080/debian" + pool + "xz", "http://mirror.example:8080/debian" + pool + "gz",
		}},
		{"a URL alone", debian, Options{Source: "https://m.example/x/anything.tar.gz", Mirrors: []string{"https://ignored.example"}}, []string{"https://m.example/x/anything.tar.gz"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, _ := installer(t, test.root)
			rel := resolve(t, in, "3.13.5")
			sources, err := in.sources(rel, test.options)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range sources {
				got = append(got, s.URL)
				i := slices.IndexFunc(rel.Archives, func(a recipes.Archive) bool { return a.SHA256 == s.Artifact.SHA256 })
				if i < 0 || rel.Archives[i].Size != s.Artifact.Size || compression(s.URL) != compression(rel.Archives[i].Name) {
					t.Errorf("%s is expected to be %+v", s.URL, s.Artifact)
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("sources\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// A pool that cannot be read about is said, and does not keep the other sources from being tried.
func TestSourcesWithoutPool(t *testing.T) {
	in, reporter := installer(t, fstest.MapFS{"etc/os-release": file("ID=debian\n"), "etc/apt/sources.list": {Mode: fs.ModeDir}})
	sources, err := in.sources(resolve(t, in, "3.13.5"), Options{})
	if err != nil || len(sources) != 2 {
		t.Errorf("%d sources, %v", len(sources), err)
	}
	if len(reporter.warnings) != 1 || !strings.HasPrefix(reporter.warnings[0], "the distribution's pool cannot be asked: apt sources: ") {
		t.Errorf("warnings %q", reporter.warnings)
	}
}

func TestGiven(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	rel := resolve(t, in, "3.13.5")
	unknown := filepath.Join(t.TempDir(), "unknown.tgz")
	if err := os.WriteFile(unknown, []byte("unknown"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("unknown"))
	digest := hex.EncodeToString(sum[:])
	for _, test := range []struct {
		name, source, sha256 string
		want                 fetch.Source
		err                  string
	}{
		{"file and digest", unknown, digest, fetch.Source{URL: "file://" + unknown, Artifact: fetch.Artifact{Name: "unknown.tgz", SHA256: digest}}, ""},
		{"URL and digest", "https://m.example/x.tgz", digest, fetch.Source{URL: "https://m.example/x.tgz", Artifact: fetch.Artifact{Name: "x.tgz", SHA256: digest}}, ""},
		{"URL that ends like an archive", "https://m.example/x.tar.xz", "", fetch.Source{URL: "https://m.example/x.tar.xz", Artifact: artifact(rel.Archives[0])}, ""},
		{"URL that does not", "https://m.example/x.zip", "", fetch.Source{}, "no known archive of Python 3.13.5 is named like https://m.example/x.zip"},
		{"unknown file", unknown, "", fetch.Source{}, unknown + " is not a known archive of Python 3.13.5: its SHA-256 is " + digest},
		{"unknown file as URL", "file://" + unknown, "", fetch.Source{}, "file://" + unknown + " is not a known archive of Python 3.13.5: its SHA-256 is " + digest},
		{"no file", unknown + "x", "", fetch.Source{}, "reading --source: open " + unknown + "x: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := in.given(rel, Options{Source: test.source, SHA256: test.sha256})
			if text := message(err); text != test.err {
				t.Errorf("error %q, want %q", text, test.err)
			}
			if got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A second try is the same installation exactly when nothing that shapes it differs.
func TestChoices(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	profile := func(name string) *recipes.Profile {
		p, err := in.Catalogue.Profile(name)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := Options{Profile: profile("quick"), With: []string{"gdbm", "tests"}, Patches: []string{"/p/1", "/p/2"}}
	for _, test := range []struct {
		name    string
		options Options
		same    bool
	}{
		{"the same", base, true},
		{"parts in another order, one twice", Options{Profile: base.Profile, With: []string{"tests", "gdbm", "tests"}, Patches: base.Patches}, true},
		{"what does not shape it", Options{Profile: base.Profile, With: base.With, Patches: base.Patches, Jobs: 3, KeepBuild: true, Mirrors: []string{"m"}, Force: true, Test: true}, true},
		{"another profile", Options{Profile: profile("debug"), With: base.With, Patches: base.Patches}, false},
		{"one part more", Options{Profile: base.Profile, With: []string{"gdbm", "ndbm", "tests"}, Patches: base.Patches}, false},
		{"without instead of with", Options{Profile: base.Profile, Without: base.With, Patches: base.Patches}, false},
		{"patches in another order", Options{Profile: base.Profile, With: base.With, Patches: []string{"/p/2", "/p/1"}}, false},
		{"an argument", Options{Profile: base.Profile, With: base.With, Patches: base.Patches, ConfigureArgs: []string{"--x"}}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if same := slices.Equal(choices(test.options), choices(base)); same != test.same {
				t.Errorf("same: %v, want %v: %q", same, test.same, choices(test.options))
			}
		})
	}
}

func TestShadows(t *testing.T) {
	library := fstest.MapFS{"usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0": file("theirs")}
	for _, test := range []struct {
		name    string
		root    fstest.MapFS
		version string
		options Options
		path    string // that would be shadowed
	}{
		{"shared in /usr/local", library, "3.13.5", Options{Prefix: "/usr/local", With: []string{"shared"}}, "/usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0"},
		{"shared below /usr/local", library, "3.13.5", Options{Prefix: "/usr/local/python", With: []string{"shared"}}, "/usr/lib/x86_64-linux-gnu/libpython3.13.so.1.0"},
		{"in lib64", fstest.MapFS{"usr/lib64/libpython3.13.so.1.0": file("")}, "3.13.5", Options{Prefix: "/usr/local", With: []string{"shared"}}, "/usr/lib64/libpython3.13.so.1.0"},
		{"elsewhere", library, "3.13.5", Options{Prefix: "/opt/python", With: []string{"shared"}}, ""},
		{"a name that only begins like it", library, "3.13.5", Options{Prefix: "/usr/localpython", With: []string{"shared"}}, ""},
		{"static", library, "3.13.5", Options{Prefix: "/usr/local"}, ""},
		{"another series", library, "3.12", Options{Prefix: "/usr/local", With: []string{"shared"}}, ""},
		{"another build of the series", library, "3.13.5t", Options{Prefix: "/usr/local", With: []string{"shared"}}, ""},
		{"none there", fstest.MapFS{}, "3.13.5", Options{Prefix: "/usr/local", With: []string{"shared"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			in, _ := installer(t, test.root)
			err := in.overloaded(t.Context(), resolve(t, in, test.version), test.options)
			refused, _ := errors.AsType[*prefix.RefusedError](err)
			switch {
			case test.path == "" && err != nil:
				t.Errorf("error %v", err)
			case test.path != "" && (refused == nil || refused.Path != test.path || refused.Prefix != test.options.Prefix):
				t.Errorf("error %v, want one about %s", err, test.path)
			}
		})
	}
}

// Everything of a release that is known before it is built is claimed, and nothing of another one.
func TestClaim(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	for version, want := range map[string]string{"3.13.5": "python3.13", "3.13.5t": "python3.13t"} {
		c := claim(resolve(t, in, version), Options{})
		for _, name := range []string{"bin/" + want, "bin/pip3.13"} {
			if !slices.Contains(c.Files, name) {
				t.Errorf("%s does not claim %s", version, name)
			}
		}
		if !slices.Equal(c.Trees, []string{"lib/" + want, "include/" + want}) || !slices.Contains(c.Except, "lib/"+want+"/site-packages") {
			t.Errorf("%s claims %v except %v", version, c.Trees, c.Except)
		}
		for _, name := range slices.Concat(c.Files, c.Trees) {
			if !strings.Contains(name, "3.13") {
				t.Errorf("%s claims %s, which has no version", version, name)
			}
		}
	}
}

// What Python is asked for is exactly what was promised.
func TestInspection(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	quick, err := in.Catalogue.Profile("quick")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name         string
		version      string
		with, drop   []string
		missing      []host.Missing
		there, gone  string // a module
		freeThreaded bool
	}{
		{"required and wanted parts", "3.13.5", nil, nil, nil, "_tkinter", "test", false},
		{"an option", "3.13.5", []string{"tests"}, nil, nil, "test", "_zstd", false},
		{"left out on purpose", "3.13.5", nil, []string{"ssl"}, nil, "_hashlib", "_ssl", false},
		{"wanted, but missing", "3.13.5", nil, nil, []host.Missing{{Name: "gdbm"}}, "_tkinter", "_gdbm", false},
		{"of this series alone", "3.14", nil, nil, nil, "_zstd", "nis", false},
		{"free-threaded", "3.13.5t", nil, nil, nil, "zlib", "test", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			rel := resolve(t, in, test.version)
			r := in.inspection(rel, Options{Prefix: "/opt/python", Profile: quick, With: test.with, Without: test.drop}, test.missing, "/stage/opt/python", "/probe", nil, nil)
			var modules []string
			for _, m := range r.Modules {
				modules = append(modules, m.Name)
			}
			if !slices.Contains(modules, test.there) || slices.Contains(modules, test.gone) {
				t.Errorf("modules %q, want %s and not %s", modules, test.there, test.gone)
			}
			if r.FreeThreaded != test.freeThreaded || r.Prefix != "/stage/opt/python" || r.ConfiguredPrefix != "/opt/python" || r.Version != strings.TrimSuffix(rel.String(), "t") {
				t.Errorf("request %+v", r)
			}
		})
	}
}

// The tree of a build can be removed whatever modes things in it have.
func TestRemoveAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "build")
	if err := os.MkdirAll(filepath.Join(dir, "sealed", "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "sealed"), 0); err != nil {
		t.Fatal(err)
	}
	if err := removeAll(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if err := removeAll(dir); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

// A plan is described without a compiler having run, a download, or a directory made.
func TestDescribe(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{"etc/ssl/certs/ca-certificates.crt": file("x")})
	in.Catalogue.Parts, in.Catalogue.Tools = nil, nil // nothing to look for
	quick, err := in.Catalogue.Profile("quick")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	d, err := in.Describe(t.Context(), resolve(t, in, "3.13.5"), Options{Prefix: filepath.Join(dir, "prefix"), Profile: quick, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Archives) != 2 || len(d.Sources) != 2 || len(d.Conflicts) != 0 || d.Already || len(d.Commands) == 0 {
		t.Errorf("description %+v", d)
	}
	var text bytes.Buffer
	if err := d.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Python 3.13.5 into " + dir + "/prefix, profile quick\n", "  make -j2\n", "\nConflicts in the prefix:\n  none\n"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("made %v, %v", entries, err)
	}
}

// TestRequestAnswers: configure is told what the recipes know of the toolchain that was found, and of no other.
func TestRequestAnswers(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	rel := resolve(t, in, "3.13.5")
	o := Options{Prefix: "/opt/python", Profile: in.Catalogue.Profiles[0], Jobs: 1}
	for _, test := range []struct {
		libc string
		want bool
	}{{"2.36", true}, {"2.17", false}} {
		s := &site{builder: &builder{}, found: &host.Findings{Toolchain: recipes.Toolchain{Compiler: "gcc", CompilerVersion: "12.2.0", Libc: "glibc", LibcVersion: test.libc, Machine: "x86_64"}}}
		if r := in.request(rel, o, s, &workspace{}, "SOURCE"); (len(r.Answers) > 0) != test.want {
			t.Errorf("glibc %s: %d answers", test.libc, len(r.Answers))
		}
	}
}
