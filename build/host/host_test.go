package host

import (
	"errors"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/recipes"
)

func embedded(t *testing.T) *recipes.Catalogue {
	t.Helper()
	c, err := recipes.Embedded()
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
		{"one relative", files("etc/os-release=ID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\""), "amzn", "2023", "", "fedora"},
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
	for _, name := range []string{"", ":13", "Debian:13", "debian 13", "solaris:11"} {
		h, err := Named(name, c)
		var unknown *UnknownError
		if !errors.As(err, &unknown) || h != nil {
			t.Errorf("%q: %v, %v; want an *UnknownError", name, h, err)
			continue
		}
		if want := `no list of packages for the distribution "` + name + `"`; err.Error() != want || unknown.Name != name {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
		for _, id := range []string{"debian", "ubuntu", "fedora", "rocky", "opensuse-leap", "alpine", "arch", "void"} {
			if !slices.Contains(unknown.Known, id) {
				t.Errorf("%q: %s is not among the known %q", name, id, unknown.Known)
			}
		}
	}
}

func TestJobs(t *testing.T) {
	t.Cleanup(func() { runtime.GOMAXPROCS(runtime.GOMAXPROCS(8)) })
	for _, test := range []struct {
		name string
		root fs.FS
		want int
	}{
		{"plenty of memory", files("proc/meminfo=MemTotal:       32768000 kB\nMemFree:         1000 kB\nMemAvailable:   16384000 kB\n"), 8},
		{"memory for three and a half", files("proc/meminfo=MemTotal:       32768000 kB\nMemAvailable:    1433600 kB\n"), 3},
		{"memory for exactly two", files("proc/meminfo=MemAvailable:     819200 kB\n"), 2},
		{"a bit less than for two", files("proc/meminfo=MemAvailable:     819199 kB\n"), 1},
		{"memory for none", files("proc/meminfo=MemAvailable:     100000 kB\n"), 1},
		{"no file", files(), 8},
		{"old kernel", files("proc/meminfo=MemTotal:       32768000 kB\nMemFree:         1000 kB\n"), 8},
		{"not a number", files("proc/meminfo=MemAvailable:   many kB\n"), 8},
		{"nonsense", files("proc/meminfo=MemAvailable:   -1 kB\n"), 8},
	} {
		t.Run(test.name, func(t *testing.T) {
			runtime.GOMAXPROCS(8)
			if got := Jobs(test.root); got != test.want {
				t.Errorf("%d jobs, want %d", got, test.want)
			}
		})
	}
}
