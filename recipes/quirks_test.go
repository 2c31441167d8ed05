package recipes

import (
	"strings"
	"testing"
)

func names(quirks []*Quirk) string {
	var names []string
	for _, q := range quirks {
		names = append(names, q.Name)
	}
	return strings.Join(names, " ")
}

// TestQuirks: each condition of the small catalogue, met and just not met.
func TestQuirks(t *testing.T) {
	c := loadSmall(t)
	for _, row := range []struct {
		version   string
		toolchain Toolchain
		profile   string
		want      string
	}{
		{"3.13.5", Toolchain{}, "release", ""},
		{"3.13.5", Toolchain{"gcc", "12.2.0", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"gcc", "12.2.0", "musl", "", ""}, "release", "stack training"},
		{"3.13.5", Toolchain{"", "", "musl", "", ""}, "release", "stack training"},
		{"3.13.5", Toolchain{"gcc", "12.2.0", "musl", "", ""}, "quick", "stack"},
		{"3.9.25", Toolchain{"gcc", "12.2.0", "musl", "", ""}, "release", "stack"},
		{"3.10.1", Toolchain{"gcc", "12.2.0", "musl", "", ""}, "release", "stack training"},
		{"3.13.5", Toolchain{"gcc", "13.99.0", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"gcc", "14", "glibc", "2.36", ""}, "release", "training"},
		{"3.13.5", Toolchain{"gcc", "14.0.0-pre", "glibc", "2.36", ""}, "release", "training"},
		{"3.13.5", Toolchain{"gcc", "14.3.1", "glibc", "2.36", ""}, "release", "training"},
		{"3.13.5", Toolchain{"gcc", "15.0", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"gcc", "", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"gcc", "unknown", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"clang", "14.3.1", "glibc", "2.36", ""}, "release", ""},
		{"3.13.5", Toolchain{"clang", "11.1.0", "glibc", "2.36", ""}, "release", "training"},
		{"3.14.10", Toolchain{"clang", "11.1.0", "glibc", "2.12", ""}, "release", "training"},
		{"3.15.0", Toolchain{"clang", "11.1.0", "glibc", "2.12", ""}, "release", "too-new"},
		{"3.15.0rc2", Toolchain{"clang", "11.1.0", "glibc", "2.12", ""}, "release", "too-new"}, // as 3.15.0
		{"3.15.0a9", Toolchain{"clang", "11.1.0", "glibc", "2.12", ""}, "release", "too-new"},
		{"3.16.0a2", Toolchain{"clang", "11.1.0", "glibc", "2.16", ""}, "release", "too-new"},
		{"3.15.0", Toolchain{"clang", "11.1.0", "glibc", "2.17", ""}, "release", ""},
		{"3.15.0", Toolchain{"clang", "11.1.0", "glibc", "", ""}, "release", ""},
	} {
		s, err := c.Resolve(row.version)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := names(c.Quirks(s.Release, row.toolchain, row.profile)); got != row.want {
			t.Errorf("%s, %+v, %s: %q, want %q", row.version, row.toolchain, row.profile, got, row.want)
		}
	}
}

// TestEmbeddedQuirks: what builds as it is has none.
func TestEmbeddedQuirks(t *testing.T) {
	c := loadEmbedded(t)
	for _, row := range []struct {
		version   string
		toolchain Toolchain
		profile   string
		want      string
	}{
		{"3.13.5", Toolchain{"gcc", "12.2.0", "glibc", "2.36", ""}, "release", ""},
		{"3.9.2", Toolchain{"gcc", "15.2.0", "glibc", "2.42", ""}, "quick", ""},
		{"3.8.0", Toolchain{"clang", "19.1.7", "glibc", "2.41", ""}, "native", ""},
		{"3.13.5", Toolchain{"gcc", "14.2.0", "musl", "", ""}, "quick", "musl-stack"},
		{"3.13.5", Toolchain{"gcc", "14.2.0", "musl", "", ""}, "debug", "musl-stack"},
		{"3.8.20", Toolchain{"gcc", "14.2.0", "musl", "", ""}, "release", "musl-stack musl-training"},
		{"3.15.0rc2", Toolchain{"clang", "20.1.0", "musl", "", ""}, "native", "musl-stack musl-training"},
		{"3.11.2", Toolchain{"gcc", "4.6.3", "glibc", "2.15", ""}, "quick", "no-c11"},
		{"3.11.2", Toolchain{"gcc", "4.8.5", "glibc", "2.17", ""}, "quick", ""},
		{"3.10.1", Toolchain{"gcc", "4.6.3", "glibc", "2.15", ""}, "quick", ""},
		{"3.10.0", Toolchain{"gcc", "12.2.0", "glibc", "2.36", ""}, "quick", "configure-3-10-0"},
	} {
		s, err := c.Resolve(row.version)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := names(c.Quirks(s.Release, row.toolchain, row.profile)); got != row.want {
			t.Errorf("%s, %+v, %s: %q, want %q", row.version, row.toolchain, row.profile, got, row.want)
		}
	}
}

// TestMatch: a failure matches its own line; the zero value matches nothing.
func TestMatch(t *testing.T) {
	f := loadSmall(t).Failures[0]
	for _, row := range []struct {
		failure *Failure
		line    string
		want    bool
	}{
		{f, "cc1: Killed", true},
		{f, "cc: Killed signal terminated program cc1", true},
		{f, "gcc: cc1: Killed", false},
		{f, "", false},
		{new(Failure), "cc1: Killed", false},
		{new(Failure), "", false},
	} {
		if got := row.failure.Match(row.line); got != row.want {
			t.Errorf("%s in %q: %t", row.failure.Pattern, row.line, got)
		}
	}
}
