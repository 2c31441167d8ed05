package recipes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// variousPlatform has variants of every kind; no two of its needs have the same package.
const variousPlatform = `
name = "debian"
ids = ["debian", "ubuntu", "devuan"]
refresh = ["update"]
install = ["install"]
environment = ["A=1"]
absent = ["nis"]

[packages]
make = ["make"]
certificates = ["ca"]
ssl = ["ssl"]

[[variant]]
ids = ["debian", "devuan"]
since = "9"
until = "10"
refresh = []
install = ["old"]
packages = { ssl = ["ssl-old"] }
says = "old"

[[variant]]
ids = ["debian"]
since = "11.4"
environment = []
packages = { nis = ["nis"] }

[[variant]]
ids = ["ubuntu"]
until = "22.04"
absent = ["ssl"]
says = "ancient"

[[variant]]
since = "100"
packages = { make = ["gmake"] }

[[variant]]
packages = { certificates = ["certs"] }
says = "all"
`

// TestVariants: the platform of each distribution and release, the ones before and after a bound included.
func TestVariants(t *testing.T) {
	files := smallFiles()
	files["platforms/debian.toml"] = variousPlatform
	c, err := Load(fsOf(files))
	if err != nil {
		t.Fatal(err)
	}
	const (
		base   = "[update] [install] [A=1] certificates=[certs] make=[make] nis=[] ssl=[ssl] absent [nis] says [all]"
		old    = "[] [old] [A=1] certificates=[certs] make=[make] nis=[] ssl=[ssl-old] absent [nis] says [old all]"
		nis    = "[update] [install] [] certificates=[certs] make=[make] nis=[nis] ssl=[ssl] absent [] says [all]"
		newest = "[update] [install] [] certificates=[certs] make=[gmake] nis=[nis] ssl=[ssl] absent [] says [all]"
		noSSL  = "[update] [install] [A=1] certificates=[certs] make=[make] nis=[] ssl=[] absent [nis ssl] says [ancient all]"
		gmake  = "[update] [install] [A=1] certificates=[certs] make=[gmake] nis=[] ssl=[ssl] absent [nis] says [all]"
	)
	for _, row := range []struct{ id, version, like, want string }{
		{"debian", "8", "", base},
		{"debian", "8.99", "", base},
		{"debian", "9", "", old},
		{"debian", "09", "", old},
		{"debian", "10", "", old},
		{"debian", "10.13", "", old},
		{"debian", "11", "", base}, // 11.0
		{"debian", "11.3.9", "", base},
		{"debian", "11.4", "", nis},
		{"debian", "11.10", "", nis},
		{"debian", "13", "", nis},
		{"debian", "100", "", newest},
		{"debian", "", "", newest},
		{"debian", "testing", "", newest},
		{"debian", "11_alpha", "", newest},
		{"debian", "-1", "", newest},
		{"debian", "99999999999999999999", "", newest},
		{"devuan", "10", "", old},
		{"devuan", "11.4", "", base},
		{"ubuntu", "9", "", noSSL},
		{"ubuntu", "22.04", "", noSSL},
		{"ubuntu", "22.04.5", "", noSSL},
		{"ubuntu", "22.10", "", base},
		{"ubuntu", "", "", gmake},
		{"mint", "10", "ubuntu debian", base}, // its 10 is not Debian's
		{"mint", "200", "ubuntu debian", base},
		{"mint", "", "ubuntu debian", base},
		{"mint", "10", "mandriva", ""},
	} {
		var got string
		if p := c.Platform(row.id, row.version, strings.Fields(row.like)...); p != nil {
			got = fmt.Sprint(p.Refresh, p.Install, p.Environment)
			for _, need := range slices.Sorted(maps.Keys(p.Packages)) {
				got += fmt.Sprintf(" %s=%s", need, p.Packages[need])
			}
			got += fmt.Sprintf(" absent %s says %s", p.Absent, p.Says)
		}
		if got != row.want {
			t.Errorf("%s %s: %s\nwant %s", row.id, row.version, got, row.want)
		}
	}
	i := slices.IndexFunc(c.Platforms, func(p *Platform) bool { return p.Name == "debian" })
	if p := c.Platforms[i]; len(p.Packages) != 3 || p.Packages["make"][0] != "make" || len(p.Absent) != 1 || p.Says != nil {
		t.Errorf("the catalogue was changed: %+v", p)
	}
}

func TestIsBusy(t *testing.T) {
	for _, row := range []struct {
		busy, output string
		want         bool
	}{
		{"", "E: Could not get lock /var/lib/dpkg/lock", false},
		{"Could not get lock", "", false},
		{"Could not get lock", "E: Unable to locate package x", false},
		{"Could not get lock", "Reading package lists...\nE: Could not get lock /var/lib/dpkg/lock", true},
		{"lock (is )?held", "the lock is held", true},
		{"(", "(", false}, // no catalogue has it
	} {
		if got := (&Platform{Busy: row.busy}).IsBusy(row.output); got != row.want {
			t.Errorf("%q in %q: %t", row.busy, row.output, got)
		}
	}
}

// TestEmbeddedVariants: the differences that matter most, and that every name has a source.
func TestEmbeddedVariants(t *testing.T) {
	c := loadEmbedded(t)
	for _, p := range c.Platforms {
		if len(p.Sources) == 0 {
			t.Errorf("%s: no source", p.Name)
		}
		if p.Busy == "" {
			t.Errorf("%s: nothing about a lock", p.Name)
		}
	}
	for _, row := range []struct{ id, version, need, want string }{
		{"debian", "13", "nis", "libnsl-dev libtirpc-dev"},
		{"debian", "", "nis", "libnsl-dev libtirpc-dev"},
		{"debian", "10", "nis", ""},
		{"ubuntu", "20.04", "nis", ""},
		{"ubuntu", "22.04", "nis", "libnsl-dev libtirpc-dev"},
		{"rocky", "9.6", "nis", "libnsl2-devel libtirpc-devel"},
		{"rocky", "10.0", "nis", "absent"},
		{"amzn", "2", "ssl", "openssl11-devel"},
		{"amzn", "2", "zstd", "absent"},
		{"amzn", "2023", "ssl", "openssl-devel"},
		{"amzn", "2023", "zstd", "libzstd-devel"},
	} {
		p := c.Platform(row.id, row.version)
		got := strings.Join(p.Packages[row.need], " ")
		if slices.Contains(p.Absent, row.need) {
			got = strings.TrimSpace("absent " + got)
		}
		if got != row.want {
			t.Errorf("%s %s: %s: %q, want %q", row.id, row.version, row.need, got, row.want)
		}
	}
	for _, row := range []struct{ id, version, want string }{
		{"rocky", "8.10", "--enablerepo=powertools"},
		{"almalinux", "9.4", "--enablerepo=crb"},
		{"centos", "10", "--enablerepo=crb"},
		{"ol", "9.6", "--enablerepo=ol9_codeready_builder"},
	} {
		if install := c.Platform(row.id, row.version).Install; install[len(install)-1] != row.want {
			t.Errorf("%s %s: %q, want %s", row.id, row.version, install, row.want)
		}
	}
}
