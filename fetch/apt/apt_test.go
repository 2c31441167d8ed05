package apt

import (
	"errors"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	debian   = "https://mirror.example/debian"
	security = "https://mirror.example/debian-security"
)

func TestOneLineFormat(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"plain", "deb https://mirror.example/debian trixie main\n", []string{debian}},
		{"no new line at the end", "deb https://mirror.example/debian trixie main", []string{debian}},
		{"carriage return", "deb https://mirror.example/debian/ trixie main\r\n", []string{debian}},
		{"source packages", "deb-src https://mirror.example/debian trixie main", []string{debian}},
		{"other type", "rpm https://mirror.example/debian trixie main", nil},
		{"slash at the end", "deb https://mirror.example/debian/ trixie main", []string{debian}},
		{"slashes at the end", "deb https://mirror.example/debian// trixie main", []string{debian}},
		{"tabs and spaces", " \tdeb\t https://mirror.example/debian\ttrixie  main", []string{debian}},
		{"order, no duplicates", "deb " + security + " t-security main\ndeb " + debian + " t main\ndeb-src " + security + "/ t-security main",
			[]string{security, debian}},
		{"commented out", "#deb https://mirror.example/debian trixie main", nil},
		{"comment at the end", "deb https://mirror.example/debian trixie main # the good one", []string{debian}},
		{"comment instead of components", "deb https://mirror.example/debian trixie # main", nil},
		{"options", "deb [arch=amd64,i386 signed-by=/k.gpg] https://mirror.example/debian trixie main", []string{debian}},
		{"options with spaces", "deb [ arch=amd64 trusted=yes ] https://mirror.example/debian trixie main", []string{debian}},
		{"options with quotes", `deb [ signed-by="/my ] # keys.gpg" ] https://mirror.example/debian trixie main`, []string{debian}},
		{"options with number sign", "deb [ signed-by=/k#1.gpg ] https://mirror.example/debian trixie main", []string{debian}},
		{"options without space after", "deb [arch=amd64]https://mirror.example/debian trixie main", []string{debian}},
		{"options not closed", "deb [ arch=amd64 https://mirror.example/debian trixie main", nil},
		{"quoted URI", `deb "https://mirror.example/debian" trixie main`, []string{debian}},
		{"quote not closed", `deb "https://mirror.example/debian trixie main`, nil},
		{"flat", "deb https://mirror.example/debian ./", []string{debian}},
		{"no suite", "deb https://mirror.example/debian", nil},
		{"no components", "deb https://mirror.example/debian trixie", nil},
		{"no URI", "deb", nil},
		{"options only", "deb [ arch=amd64 ]", nil},
		{"malformed between good ones", "deb " + security + " t main\ndeb [\nnonsense\ndeb " + debian + " t main", []string{security, debian}},
		{"http", "deb http://mirror.example/debian trixie main", []string{"http://mirror.example/debian"}},
		{"capitals", "deb HTTP://Mirror.Example/Debian trixie main", []string{"http://mirror.example/Debian"}},
		{"port", "deb http://mirror.example:3142/debian trixie main", []string{"http://mirror.example:3142/debian"}},
		{"user and password", "deb https://user:pa%20ss@mirror.example/debian trixie main", []string{"https://user:pa%20ss@mirror.example/debian"}},
		{"file, three slashes", "deb file:///srv/debian trixie main", []string{"file:///srv/debian"}},
		{"file, one slash", "deb file:/srv/debian trixie main\ndeb file:///srv/debian/ trixie main", []string{"file:///srv/debian"}},
		{"file, this host", "deb file://localhost/srv/debian trixie main", []string{"file:///srv/debian"}},
		{"file, other host", "deb file://mirror.example/srv/debian trixie main", nil},
		{"file, the root", "deb file:/// trixie main", nil},
		{"file, relative", "deb file:srv/debian trixie main", nil},
		{"cdrom", "deb cdrom:[Debian GNU/Linux 13.0.0 _Trixie_ - Official amd64 DVD # 1]/ trixie main", nil},
		{"copy", "deb copy:/srv/debian trixie main", nil},
		{"mirror", "deb mirror://mirror.example/list.txt trixie main", nil},
		{"mirror+https", "deb mirror+https://mirror.example/list.txt trixie main", nil},
		{"tor", "deb tor+http://mirror.example/debian trixie main", nil},
		{"no host", "deb https:///debian trixie main", nil},
		{"architecture in the URI", "deb https://mirror.example/$(ARCH) trixie main", nil},
		{"query", "deb https://mirror.example/debian?a=b trixie main", nil},
		{"not a URI", "deb https://mirror.example:port/debian trixie main", nil},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, fstest.MapFS{listFile: file(tt.text)}, tt.want)
		})
	}
}

func TestDeb822(t *testing.T) {
	tests := []struct {
		name string
		text string
		want []string
	}{
		{"plain", "Types: deb\nURIs: https://mirror.example/debian\nSuites: trixie\nComponents: main\n", []string{debian}},
		{"no new line at the end", "Suites: t\nTypes: deb\nURIs: https://mirror.example/debian", []string{debian}},
		{"carriage returns", "Types: deb\r\nURIs: https://mirror.example/debian/\r\nSuites: t\r\n\r\n", []string{debian}},
		{"case of the fields", "types: deb\nuris: https://mirror.example/debian\nSUITES: t\n", []string{debian}},
		{"several types", "Types: deb-src deb\nURIs: https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"other type", "Types: rpm\nURIs: https://mirror.example/debian\nSuites: t\n", nil},
		{"no types", "URIs: https://mirror.example/debian\nSuites: t\n", nil},
		{"no suites", "Types: deb\nURIs: https://mirror.example/debian\n", nil},
		{"no URIs", "Types: deb\nSuites: t\n", nil},
		{"several URIs", "Types: deb\nURIs: https://mirror.example/debian https://mirror.example/debian-security\nSuites: t\n", []string{debian, security}},
		{"continued", "Types: deb\nURIs:\n https://mirror.example/debian\n\thttps://mirror.example/debian-security\nSuites: t\n", []string{debian, security}},
		{"comment in a continued field", "Types: deb\nURIs: https://mirror.example/debian\n# https://old.example/debian\n https://mirror.example/debian-security\nSuites: t\n",
			[]string{debian, security}},
		{"quote in the host", "Types: deb\nURIs: https://mirror\".example/debian https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"several stanzas", "Types: deb\nURIs: https://mirror.example/debian-security\nSuites: t\n\n \n# next\nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n",
			[]string{security, debian}},
		{"fields end with the stanza", "Types: deb\nSuites: t\n\nURIs: https://mirror.example/debian\n", nil},
		{"enabled", "Enabled: yes\nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"disabled", "Enabled: no\nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n", nil},
		{"disabled in other words", "enabled:  False \nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n", nil},
		{"disabled, next one not", "Enabled: no\nTypes: deb\nURIs: https://mirror.example/debian-security\nSuites: t\n\nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n",
			[]string{debian}},
		{"key in the stanza", "Types: deb\nURIs: https://mirror.example/debian\nSuites: t\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n", []string{debian}},
		{"malformed line", "Types: deb\nnonsense\n https://old.example/debian\nURIs: https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"starts with a continuation", " https://old.example/debian\nTypes: deb\nURIs: https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"other ways", "Types: deb\nURIs: cdrom:[Debian] tor+https://mirror.example/debian https://mirror.example/debian\nSuites: t\n", []string{debian}},
		{"empty", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, fstest.MapFS{partsDir + "/debian.sources": file(tt.text)}, tt.want)
		})
	}
}

func TestFiles(t *testing.T) {
	line := func(uri string) *fstest.MapFile { return file("deb " + uri + " t main\n") }
	stanza := func(uri string) *fstest.MapFile { return file("Types: deb\nURIs: " + uri + "\nSuites: t\n") }
	tests := []struct {
		name string
		root fstest.MapFS
		want []string
	}{
		{"nothing", fstest.MapFS{}, nil},
		{"order of apt", fstest.MapFS{
			partsDir + "/b.list":    line("https://b.example"),
			partsDir + "/a.sources": stanza("https://a.example"),
			partsDir + "/c.sources": stanza("https://c.example"),
			listFile:                line("https://z.example"),
		}, []string{"https://z.example", "https://a.example", "https://b.example", "https://c.example"}},
		{"names that apt does not read", fstest.MapFS{
			partsDir + "/a.list.save":    line("https://a.example"),
			partsDir + "/b.list~":        line("https://b.example"),
			partsDir + "/.c.list":        line("https://c.example"),
			partsDir + "/d e.list":       line("https://d.example"),
			partsDir + "/f.list":         line("https://f.example"),
			partsDir + "/g.list/h.list":  line("https://g.example"),
			partsDir + "/list":           line("https://i.example"),
			partsDir + "/j_1:2-3.4.list": line("https://j.example"),
		}, []string{"https://f.example", "https://j.example"}},
		{"formats by name", fstest.MapFS{
			partsDir + "/a.sources": line("https://a.example"),
			partsDir + "/b.list":    stanza("https://b.example"),
		}, nil},
		{"list of mirrors", fstest.MapFS{
			listFile:              file("deb mirror+file:/etc/apt/mirrors.txt t main\ndeb https://z.example t main\n"),
			"etc/apt/mirrors.txt": file("# ours\nhttps://a.example/debian/\tpriority:1\n\nhttps://b.example/debian # next\nftp://c.example/\n"),
		}, []string{"https://a.example/debian", "https://b.example/debian", "https://z.example"}},
		{"list of mirrors with slashes", fstest.MapFS{
			partsDir + "/a.sources": stanza("mirror+file:///etc/apt/mirrors.txt"),
			"etc/apt/mirrors.txt":   file("https://a.example/debian"),
		}, []string{"https://a.example/debian"}},
		{"list of mirrors that is not there", fstest.MapFS{
			listFile: file("deb mirror+file:/etc/apt/mirrors.txt t main\ndeb https://z.example t main\n"),
		}, []string{"https://z.example"}},
		{"list of mirrors that leads out", fstest.MapFS{
			listFile:              file("deb mirror+file:/../../etc/apt/mirrors.txt t main\n"),
			"etc/apt/mirrors.txt": file("https://a.example/debian"),
		}, []string{"https://a.example/debian"}},
		{"credentials kept apart", fstest.MapFS{
			listFile:            line("https://a.example"),
			"etc/apt/auth.conf": file("machine a.example login user password secret"),
		}, []string{"https://a.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { check(t, tt.root, tt.want) })
	}
}

func TestUnreadable(t *testing.T) {
	root := fstest.MapFS{
		listFile:               file("deb mirror+file:/etc/mirrors.txt t main\n"),
		partsDir + "/a.list":   file("deb https://a.example t main\n"),
		"etc/mirrors.txt":      file("https://b.example\n"),
		"etc/apt/unrelated":    file(""),
		partsDir + "/b.backup": file(""),
	}
	tests := []struct {
		name string
		path string // that cannot be opened
		want string // error; "" = none
	}{
		{"list", listFile, "apt sources: open etc/apt/sources.list: permission denied"},
		{"directory", partsDir, "apt sources: open etc/apt/sources.list.d: permission denied"},
		{"part", partsDir + "/a.list", "apt sources: open etc/apt/sources.list.d/a.list: permission denied"},
		{"mirrors", "etc/mirrors.txt", "apt sources: open etc/mirrors.txt: permission denied"},
		{"something else", "etc/apt/unrelated", ""},
		{"part that apt does not read", partsDir + "/b.backup", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := BaseURIs(closed{root, tt.path})
			if tt.want == "" {
				if want := []string{"https://b.example", "https://a.example"}; err != nil || !slices.Equal(got, want) {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
				return
			}
			if err == nil || err.Error() != tt.want || !errors.Is(err, fs.ErrPermission) || got != nil {
				t.Errorf("got %q, %v, want %s", got, err, tt.want)
			}
		})
	}
}

// closed is a tree in which one path cannot be opened.
type closed struct {
	fs.FS
	path string
}

func (c closed) Open(name string) (fs.File, error) {
	if name == c.path {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return c.FS.Open(name)
}

// Stat needs no permission on the file itself.
func (c closed) Stat(name string) (fs.FileInfo, error) { return fs.Stat(c.FS, name) }

func FuzzBaseURIs(f *testing.F) {
	f.Add("deb [ signed-by=\"a b\" ] https://user:pw@mirror.example/debian/ trixie main # c\n", "", "")
	f.Add("deb cdrom:[a b]/ t main\ndeb file:/srv ./\ndeb mirror+file:/m t main", "Types: deb\nURIs: mirror+file:///m\nSuites: t", "https://a.example/\tpriority:1")
	f.Add("", "Types: deb\nURIs:\n https://a.example\n# c\n http://b.example:80/%20/\nSuites: t\nEnabled: no\n\n", "")
	f.Fuzz(func(t *testing.T, list, stanzas, mirrors string) {
		got, err := BaseURIs(fstest.MapFS{
			listFile:                file(list),
			partsDir + "/a.sources": file(stanzas),
			"m":                     file(mirrors),
		})
		if err != nil && !errors.Is(err, fs.ErrInvalid) && !strings.Contains(err.Error(), "is a directory") {
			t.Fatal(err)
		}
		for i, uri := range got {
			u, err := url.Parse(uri)
			if err != nil || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) ||
				strings.HasSuffix(uri, "/") || strings.ContainsAny(uri, " \t\r\n\"#?") || slices.Contains(got[:i], uri) {
				t.Errorf("%q in %q, %v", uri, got, err)
			}
		}
		// What was understood is understood when it is written down again.
		check(t, fstest.MapFS{
			partsDir + "/a.sources": file("Types: deb\nURIs: " + strings.Join(got, "\n ") + "\nSuites: t\n"),
		}, got)
	})
}

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

func check(t *testing.T, root fs.FS, want []string) {
	t.Helper()
	got, err := BaseURIs(root)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
