package host

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"pybuild/recipes"
)

var load = sync.OnceValues(recipes.Embedded)

func embedded(t testing.TB) *recipes.Catalogue {
	t.Helper()
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// files is a machine's file system with these files, written "path=content".
func files(list ...string) fs.FS {
	root := fstest.MapFS{}
	for _, f := range list {
		name, content, _ := strings.Cut(f, "=")
		root[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return root
}

func TestParseOSRelease(t *testing.T) {
	for _, test := range []struct{ name, text, key, want string }{
		{"bare", "ID=debian\n", "ID", "debian"},
		{"last line without an end", "NAME=x\nID=debian", "ID", "debian"},
		{"double quotes", `PRETTY_NAME="Debian GNU/Linux 13 (trixie)"`, "PRETTY_NAME", "Debian GNU/Linux 13 (trixie)"},
		{"single quotes", `ID='opensuse-leap'`, "ID", "opensuse-leap"},
		{"escapes", `NAME="a \"b\" \$c \\ \` + "`" + `"`, "NAME", "a \"b\" $c \\ `"},
		{"other backslashes stay", `NAME="a\b"`, "NAME", `a\b`},
		{"backslash at the end", `NAME="a\"`, "NAME", `a\`},
		{"equals sign in the value", `URL="https://x/?a=b"`, "URL", "https://x/?a=b"},
		{"quotes that do not match", `NAME="x'`, "NAME", `"x'`},
		{"one quote", `NAME="`, "NAME", `"`},
		{"empty", `VERSION_ID=`, "VERSION_ID", ""},
		{"empty in quotes", `VERSION_ID=""`, "VERSION_ID", ""},
		{"comment", "#ID=no\nID=yes", "ID", "yes"},
		{"comment after a blank", "  # ID=no\nID=yes", "ID", "yes"},
		{"no assignment", "ID\nID=yes", "ID", "yes"},
		{"the last one counts", "ID=a\nID=b", "ID", "b"},
		{"blanks around", "  ID=debian  \r\n", "ID", "debian"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := parseOSRelease([]byte(test.text))[test.key]
			if !ok || got != test.want {
				t.Errorf("%s is %q (there: %t), want %q", test.key, got, ok, test.want)
			}
		})
	}
}

// What was read once can be written, and reads the same again.
func FuzzParseOSRelease(f *testing.F) {
	f.Add([]byte("ID=debian\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\n"))
	f.Add([]byte("# x\n\nNAME='\\'\nA==\n=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > 16<<10 {
			t.Skip("the lines of os-release are short")
		}
		fields := parseOSRelease(text)
		escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`, "$", `\$`, "`", "\\`")
		var b strings.Builder
		for name, value := range fields {
			b.WriteString(name + `="` + escape.Replace(value) + "\"\n")
		}
		if again := parseOSRelease([]byte(b.String())); !maps.Equal(again, fields) {
			t.Errorf("%q was read as %q, and that as %q", text, fields, again)
		}
	})
}

func TestDetect(t *testing.T) {
	for _, test := range []struct {
		name                    string
		root                    fs.FS
		id, version, pretty, is string // is names the platform, "" for none
	}{
		{"by ID", files("etc/os-release=ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\""), "debian", "13", "Debian GNU/Linux 13 (trixie)", "debian"},
		{"ID before ID_LIKE", files("etc/os-release=ID=rocky\nID_LIKE=\"rhel centos fedora\""), "rocky", "", "", "rhel"},
		{"nearest relative", files("etc/os-release=ID=eurolinux\nID_LIKE=\"rhel fedora centos\""), "eurolinux", "", "", "rhel"},
		{"one relative", files("etc/os-release=ID=\"ours\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\""), "ours", "2023", "", "fedora"},
		{"second relative", files("etc/os-release=ID=x\nID_LIKE='unknown suse'"), "x", "", "", "suse"},
		{"stranger", files("etc/os-release=ID=haiku\nVERSION_ID=1"), "haiku", "1", "", ""},
		{"usr/lib", files("usr/lib/os-release=ID=alpine\nVERSION_ID=3.22.1"), "alpine", "3.22.1", "", "alpine"},
		{"etc before usr/lib", files("etc/os-release=ID=arch", "usr/lib/os-release=ID=alpine"), "arch", "", "", "arch"},
		{"no file", files(), "", "", "", ""},
		{"empty file", files("etc/os-release="), "", "", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, err := Detect(test.root, embedded(t))
			if err != nil {
				t.Fatal(err)
			}
			is := ""
			if h.Platform != nil {
				is = h.Platform.Name
			}
			if h.ID != test.id || h.VersionID != test.version || h.Name != test.pretty || is != test.is {
				t.Errorf("%q %q %q, platform %q; want %q %q %q, %q", h.ID, h.VersionID, h.Name, is, test.id, test.version, test.pretty, test.is)
			}
		})
	}
}

// denied is a file system of which one file cannot be read.
type denied struct {
	fs.FS
	name string
}

func (d denied) Open(name string) (fs.File, error) {
	if name == d.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return d.FS.Open(name)
}

// A file that is not there is no error, one that cannot be read is.
func TestDetectUnreadable(t *testing.T) {
	root := files("etc/os-release=ID=debian", "usr/lib/os-release=ID=debian")
	h, err := Detect(denied{root, "etc/os-release"}, embedded(t))
	if want := "finding out which distribution this is: open etc/os-release: permission denied"; err == nil || err.Error() != want || !errors.Is(err, fs.ErrPermission) || h != nil {
		t.Errorf("%v, %v; want %s", h, err, want)
	}
	if h, err := Detect(denied{root, "usr/lib/os-release"}, embedded(t)); err != nil || h.ID != "debian" {
		t.Errorf("the other file is not looked at: %v, %v", h, err)
	}
}

func TestNamed(t *testing.T) {
	c := embedded(t)
	for _, test := range []struct{ name, id, version, platform string }{
		{"debian:13", "debian", "13", "debian"},
		{"ubuntu:24.04", "ubuntu", "24.04", "debian"},
		{"alpine", "alpine", "", "alpine"},
		{"alpine:3.22", "alpine", "3.22", "alpine"},
		{"alpine:3.23_alpha20250612", "alpine", "3.23_alpha20250612", "alpine"},
		{"alpine:edge", "alpine", "", "alpine"},
		{"debian:testing", "debian", "", "debian"},
		{"debian:sid", "debian", "", "debian"},
		{"rocky:9", "rocky", "9", "rhel"},
		{"opensuse-leap:15.6", "opensuse-leap", "15.6", "suse"},
		{"opensuse-leap:16.0", "opensuse-leap", "16.0", "suse"},
	} {
		h, err := Named(test.name, c)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if h.ID != test.id || h.VersionID != test.version || h.Name != test.name || h.Platform.Name != test.platform {
			t.Errorf("%s: %+v of platform %s", test.name, h, h.Platform.Name)
		}
	}
	stranger := func(name string) string { return `no list of packages for the distribution "` + name + `"` }
	malformed := func(version string) string {
		return `malformed VERSION_ID "` + version + `" of the distribution "debian"`
	}
	for _, test := range []struct {
		name      string
		malformed bool
		want      string
	}{
		{"", false, stranger("")},
		{":13", false, stranger(":13")},
		{"Debian:13", false, stranger("Debian:13")},
		{"debian 13", false, stranger("debian 13")},
		{"solaris:11", false, stranger("solaris:11")},
		{"solaris:x", false, stranger("solaris:x")},
		{"debian:", true, malformed("")},
		{"debian:trixie", true, malformed("trixie")},
		{"debian:13.", true, malformed("13.")},
		{"debian:.13", true, malformed(".13")},
		{"debian:1 3", true, malformed("1 3")},
		{"debian:13:1", true, malformed("13:1")},
		{"debian:-13", true, malformed("-13")},
		{"debian:13\n", true, malformed(`13\n`)},
	} {
		name := test.name
		h, err := Named(name, c)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || h != nil {
			t.Errorf("%q: %v, %v; want an *UnknownError", name, h, err)
			continue
		}
		if err.Error() != test.want || unknown.Name != name || unknown.Malformed != test.malformed {
			t.Errorf("%q: %v (malformed: %t), want %s", name, err, unknown.Malformed, test.want)
		}
		for _, id := range []string{"debian", "ubuntu", "fedora", "rocky", "opensuse-leap", "alpine", "arch", "void"} {
			if !slices.Contains(unknown.Known, id) {
				t.Errorf("%q: %s is not among the known %q", name, id, unknown.Known)
			}
		}
	}
}

// changing is a catalogue with a distribution whose releases differ.
var changing = &recipes.Catalogue{Platforms: []*recipes.Platform{{
	Name: "rhel", IDs: []string{"rhel", "rocky"}, Install: []string{"dnf", "install"},
	Packages: map[string][]string{"compiler": {"gcc"}, "zlib": {"zlib-devel"}, "ssl": {"openssl-devel"}},
	Variants: []*recipes.Variant{
		{IDs: []string{"rocky"}, Until: "8", Packages: map[string][]string{"ssl": {"openssl11-devel"}}, Absent: []string{"zlib"}, Says: "it came with release 9"},
		{Since: "10", Install: []string{"dnf", "--enablerepo=crb", "install"}},
	},
}}}

// The packages, what is absent and the command are those of the very release.
func TestRelease(t *testing.T) {
	const rocky = "etc/os-release=ID=rocky\nID_LIKE=\"rhel fedora\"\n"
	for _, test := range []struct{ name, root, absent, ssl, install string }{
		{"rocky:8", rocky + "VERSION_ID=8", "zlib", "openssl11-devel", "dnf install"},
		{"rocky:8.10", rocky + "VERSION_ID=\"8.10\"", "zlib", "openssl11-devel", "dnf install"},
		{"rocky:9", rocky + "VERSION_ID=9", "", "openssl-devel", "dnf install"},
		{"rocky:10.1", rocky + "VERSION_ID=10.1", "", "openssl-devel", "dnf --enablerepo=crb install"},
		{"rocky", rocky, "", "openssl-devel", "dnf --enablerepo=crb install"},
		{"rhel:8", "etc/os-release=ID=rhel\nVERSION_ID=8", "", "openssl-devel", "dnf install"},
	} {
		detected, err := Detect(files(test.root), changing)
		if err != nil {
			t.Fatal(err)
		}
		named, err := Named(test.name, changing)
		if err != nil {
			t.Fatal(err)
		}
		for from, h := range map[string]*Host{"detected": detected, "named": named} {
			absent, ssl, install := strings.Join(h.Platform.Absent, " "), strings.Join(h.Platform.Packages["ssl"], " "), strings.Join(h.Platform.Install, " ")
			if absent != test.absent || ssl != test.ssl || install != test.install {
				t.Errorf("%s, %s: absent %q, ssl %q, install %q; want %q, %q, %q", test.name, from, absent, ssl, install, test.absent, test.ssl, test.install)
			}
		}
	}
}

// A name is read or refused, and what is read is what was said.
func FuzzNamed(f *testing.F) {
	for _, name := range []string{"rocky:8.10", "rocky", "rhel:testing", "rocky:", "x:1", ":", "rocky:1_a"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		h, err := Named(name, changing)
		switch {
		case err != nil:
			if unknown := new(UnknownError); !errors.As(err, &unknown) || unknown.Name != name {
				t.Errorf("%q: error %v", name, err)
			}
		case h.VersionID != "" && h.ID+":"+h.VersionID != name, h.VersionID == "" && h.ID != name && !strings.HasPrefix(name, h.ID+":"):
			t.Errorf("%q was read as %q, %q", name, h.ID, h.VersionID)
		}
	})
}
