package recipes

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestModule(t *testing.T) {
	for _, row := range []struct {
		text string
		want Module
		err  string
	}{
		{`m = "math"`, Module{Name: "math"}, ""},
		{`m = { name = "math" }`, Module{Name: "math"}, ""},
		{`m = { name = "math", since = "3.9" }`, Module{Name: "math", Since: "3.9"}, ""},
		{`m = { until = "3.12", name = "math", since = "3.9" }`, Module{"math", "3.9", "3.12"}, ""},
		{`m = { name = "math", form = "3.9" }`, Module{}, `unknown key "form" of a module`},
		{`m = { name = "math", since = 3.10 }`, Module{}, "since of a module is not a string: 3.1"},
		{`m = 3.12`, Module{}, "a module is a name or a table, not 3.12"},
		{`m = ["math"]`, Module{}, "a module is a name or a table, not [math]"},
	} {
		v := struct{ M Module }{Module{"stale", "3.0", "3.1"}}
		_, err := toml.Decode(row.text, &v)
		switch {
		case row.err == "" && (err != nil || v.M != row.want):
			t.Errorf("%s: %+v, %v, want %+v", row.text, v.M, err, row.want)
		case row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
			t.Errorf("%s: %+v, %v, want %s", row.text, v.M, err, row.err)
		}
	}
}

// TestModules: a series has its own modules and extensions; a part that names no modules has those of its extensions.
func TestModules(t *testing.T) {
	c := loadSmall(t)
	for _, row := range []struct{ series, part, extensions, modules string }{
		{"3.11", "core", "math _sha256 _zstd", "math _sha256 _zstd"},
		{"3.12", "core", "math _sha2 _zstd", "math _sha2 _zstd"},
		{"3.13", "core", "math _sha2 _zstd", "math _sha2 _zstd"},
		{"3.14", "core", "math _sha2", "math _sha2"},
		{"3.14", "zstd", "_zstd", "compression.zstd"},
		{"3.15", "zstd", "_zstd", "compression.zstd compression.zstd.more"},
		{"3.15", "tests", "", ""},
	} {
		parts := c.PartsOf(row.series)
		p := parts[slices.IndexFunc(parts, func(p *Part) bool { return p.Name == row.part })]
		if got := join(p.Extensions); got != row.extensions {
			t.Errorf("%s: extensions of %s: %s, want %s", row.series, row.part, got, row.extensions)
		}
		if got := join(p.Modules); got != row.modules {
			t.Errorf("%s: modules of %s: %s, want %s", row.series, row.part, got, row.modules)
		}
	}
}

// TestEmbeddedModules: which extensions come and go with a series, over all parts.
func TestEmbeddedModules(t *testing.T) {
	c := loadEmbedded(t)
	of := func(series string) map[string]bool {
		there := make(map[string]bool)
		for _, p := range c.PartsOf(series) {
			for _, x := range p.Extensions {
				there[x.Name] = true
			}
		}
		return there
	}
	for _, row := range []struct{ from, to, gone, come string }{
		{"3.8", "3.9", "", "_zoneinfo"},
		{"3.9", "3.10", "parser", "_testclinic xxlimited_35"},
		{"3.10", "3.11", "", "_typing"},
		{"3.11", "3.12", "_sha256 _sha512", "_sha2 _testsinglephase _xxinterpchannels xxsubtype"},
		{"3.12", "3.13", "_crypt _xxinterpchannels _xxsubinterpreters audioop nis ossaudiodev spwd",
			"_interpchannels _interpqueues _interpreters _testclinic_limited _testexternalinspection _testlimitedcapi"},
		{"3.13", "3.14", "_testexternalinspection", "_hmac _remote_debugging _zstd"},
		{"3.14", "3.15", "", "_math_integer"},
	} {
		before, after := of(row.from), of(row.to)
		if got := without(before, after); got != row.gone {
			t.Errorf("gone in %s: %s, want %s", row.to, got, row.gone)
		}
		if got := without(after, before); got != row.come {
			t.Errorf("new in %s: %s, want %s", row.to, got, row.come)
		}
	}
}

// without joins what only a has.
func without(a, b map[string]bool) string {
	only := maps.Clone(a)
	maps.DeleteFunc(only, func(name string, _ bool) bool { return b[name] })
	return strings.Join(slices.Sorted(maps.Keys(only)), " ")
}

func join(modules []Module) string {
	var names []string
	for _, m := range modules {
		names = append(names, m.Name)
	}
	return strings.Join(names, " ")
}
