package recipes

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func loadEmbedded(tb testing.TB) *Catalogue {
	tb.Helper()
	c, err := Embedded()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// TestEmbedded holds the embedded data to what Load cannot know: which series and parts there must be.
func TestEmbedded(t *testing.T) {
	c := loadEmbedded(t)
	var series, platforms, profiles []string
	for _, s := range c.Series {
		series = append(series, s.Name)
		if s.Newest() == nil {
			t.Errorf("%s: no final release", s.Name)
		}
		bundled := slices.Contains(s.ConfigureArgs, "--with-system-libmpdec=no")
		if want := compareSeries(s.Name, "3.13") >= 0; bundled != want {
			t.Errorf("%s: bundled libmpdec %t, want %t", s.Name, bundled, want)
		}
		byOption := slices.Contains(s.NoTests.ConfigureArgs, "--disable-test-modules")
		byHand := len(s.NoTests.Extensions) > 0
		if old := compareSeries(s.Name, "3.10") < 0; byOption == old || byHand != old || !slices.Contains(s.NoTests.Directories, "Lib/test") { // the option came with 3.10
			t.Errorf("%s: the test package is left out by %+v", s.Name, s.NoTests)
		}
	}
	for _, p := range c.Platforms {
		platforms = append(platforms, p.Name)
	}
	for _, p := range c.Profiles {
		profiles = append(profiles, p.Name)
	}
	for _, row := range []struct {
		what, want string
		got        []string
	}{
		{"series", "3.15 3.14 3.13 3.12 3.11 3.10 3.9 3.8", series},
		{"platforms", "alpine amazon arch debian fedora rhel suse void", platforms},
		{"profiles", "release quick native debug", profiles},
	} {
		if got := strings.Join(row.got, " "); got != row.want {
			t.Errorf("%s: %s, want %s", row.what, got, row.want)
		}
	}
}

func TestEmbeddedParts(t *testing.T) {
	c := loadEmbedded(t)
	const required = "zlib ssl hashlib ctypes bz2 lzma sqlite readline curses uuid decimal"
	for _, row := range []struct{ series, required, wanted string }{
		{"3.8", required, "tkinter gdbm ndbm crypt nis ossaudiodev"},
		{"3.9", required, "tkinter gdbm ndbm crypt nis ossaudiodev"},
		{"3.12", required, "tkinter gdbm ndbm crypt nis ossaudiodev"},
		{"3.13", required, "tkinter gdbm ndbm"},
		{"3.14", strings.Replace(required, "lzma", "lzma zstd", 1), "tkinter gdbm ndbm"},
		{"3.15", strings.Replace(required, "lzma", "lzma zstd", 1), "tkinter gdbm ndbm"},
	} {
		tiers := make(map[string][]string)
		for _, p := range c.PartsOf(row.series) {
			tiers[p.Tier] = append(tiers[p.Tier], p.Name)
			bundled := p.Name == "decimal" || p.Tier == TierOption || p.Tier == TierCore
			if bundled != (len(p.Probes) == 0) {
				t.Errorf("%s: %s has %d probes", row.series, p.Name, len(p.Probes))
			}
			if p.Tier != TierOption && (len(p.Extensions) == 0 || len(p.Modules) == 0) {
				t.Errorf("%s: nothing to look for in %s", row.series, p.Name)
			}
		}
		for tier, want := range map[string]string{TierRequired: row.required, TierWanted: row.wanted, TierOption: "tests shared static debug-info", TierCore: "core"} {
			if got := strings.Join(tiers[tier], " "); got != want {
				t.Errorf("%s: %s: %s, want %s", row.series, tier, got, want)
			}
		}
	}
	var tools []string
	for _, tool := range c.Tools {
		tools = append(tools, tool.Name)
	}
	if got, want := strings.Join(tools, " "), "compiler make pkg-config certificates"; got != want {
		t.Errorf("tools: %s, want %s", got, want)
	}
}

// TestPartsOf: what a series does not need is left out, and the catalogue itself stays whole.
func TestPartsOf(t *testing.T) {
	c := loadSmall(t)
	for _, row := range []struct{ series, want string }{
		{"3.9", "ssl(SSL_CTX_new: OpenSSL 1.0.2) nis(yp_match) core tests"},
		{"3.10", "ssl(SSL_CTX_new: OpenSSL 1.1.1) nis(yp_match) core tests"},
		{"3.12", "ssl(SSL_CTX_new: OpenSSL 1.1.1)(tls_new) nis(yp_match) core tests"},
		{"3.13", "ssl(SSL_CTX_new: OpenSSL 1.1.1)(tls_new) core tests"},
		{"3.14", "ssl(SSL_CTX_new: OpenSSL 1.1.1)(tls_new) core zstd tests"},
		{"3.99", "ssl(SSL_CTX_new: OpenSSL 1.1.1)(tls_new) core zstd tests"},
		{"3.13.5", ""},
		{"", ""},
	} {
		var got []string
		for _, p := range c.PartsOf(row.series) {
			text := p.Name
			for _, q := range p.Probes {
				text += "(" + q.Symbol
				for _, m := range q.Minimum {
					text += ": " + m.Says
				}
				text += ")"
			}
			got = append(got, text)
		}
		if got := strings.Join(got, " "); got != row.want {
			t.Errorf("%s: %s, want %s", row.series, got, row.want)
		}
	}
	if p, err := c.Part("ssl"); err != nil || len(p.Probes) != 2 || len(p.Probes[0].Minimum) != 2 {
		t.Errorf("the catalogue was changed: %+v, %v", p, err)
	}
}

func TestNames(t *testing.T) {
	c := loadSmall(t)
	part := func(name string) error { _, err := c.Part(name); return err }
	profile := func(name string) error { _, err := c.Profile(name); return err }
	for _, row := range []struct {
		look        func(string) error
		name, want  string
		wantedKnown string
	}{
		{part, "nis", "", ""},
		{part, "sll", `unknown part "sll"`, "ssl nis core zstd tests"},
		{profile, "release", "", ""},
		{profile, "Release", `unknown profile "Release"`, "release"},
	} {
		err := row.look(row.name)
		var unknown *UnknownNameError
		switch {
		case err == nil && row.want == "":
		case !errors.As(err, &unknown), err.Error() != row.want, strings.Join(unknown.Known, " ") != row.wantedKnown:
			t.Errorf("%q: %v, want %q knowing %s", row.name, err, row.want, row.wantedKnown)
		}
	}
}

func TestPlatform(t *testing.T) {
	c := loadEmbedded(t)
	for _, row := range []struct{ id, like, want string }{
		{"debian", "", "debian"},
		{"ubuntu", "debian", "debian"},
		{"zorin", "ubuntu debian", "debian"},
		{"fedora", "", "fedora"},
		{"amzn", "fedora", "amazon"},
		{"almalinux", "rhel centos fedora", "rhel"},
		{"ol", "fedora", "rhel"},
		{"opensuse-leap", "suse opensuse", "suse"},
		{"endeavouros", "arch", "arch"},
		{"alpine", "", "alpine"},
		{"void", "", "void"},
		{"gentoo", "", ""},
		{"", "", ""},
	} {
		var got string
		if p := c.Platform(row.id, "", strings.Fields(row.like)...); p != nil {
			got = p.Name
		}
		if got != row.want {
			t.Errorf("%s like %q: %q, want %q", row.id, row.like, got, row.want)
		}
	}
}

func TestPoolPath(t *testing.T) {
	c := loadEmbedded(t)
	for _, row := range []struct {
		platform, spec string
		want           string // of all archives
	}{
		{"debian", "3.13.5", "pool/main/p/python3.13/python3.13_3.13.5.orig.tar.xz pool/main/p/python3.13/python3.13_3.13.5.orig.tar.gz"},
		{"ubuntu", "3.9.2", "pool/main/p/python3.9/python3.9_3.9.2.orig.tar.xz pool/main/p/python3.9/python3.9_3.9.2.orig.tar.gz"},
		{"debian", "3.15.0rc1", "pool/main/p/python3.15/python3.15_3.15.0~rc1.orig.tar.xz"},
		{"fedora", "3.15.0rc1", ""},
	} {
		s, err := c.Resolve(row.spec)
		if err != nil {
			t.Error(err)
			continue
		}
		var got []string
		for _, a := range s.Archives {
			got = append(got, c.Platform(row.platform, "").PoolPath(s.Release, a))
		}
		if got := strings.Join(got, " "); got != row.want {
			t.Errorf("%s, %s: %s, want %s", row.platform, row.spec, got, row.want)
		}
	}
	r := c.Series[0].Releases[0]
	if got := c.Platform("debian", "").PoolPath(r, Archive{Name: "Python.zip"}); got != "" {
		t.Errorf("a zip: %s, want nothing", got)
	}
}

// BenchmarkEmbedded matters because every command starts with it: well under 15 ms.
func BenchmarkEmbedded(b *testing.B) {
	for b.Loop() {
		if _, err := Embedded(); err != nil {
			b.Fatal(err)
		}
	}
}
