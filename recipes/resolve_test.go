package recipes

import (
	"errors"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	c := loadSmall(t)
	for _, row := range []struct{ spec, want string }{
		{"3.13.5", "3.13.5"},
		{"3.13.0", "3.13.0"},
		{"3.13", "3.13.18"},
		{"3.9", "3.9.25"},
		{"3.10", "3.10.1"},
		{"3.14", "3.14.10"},
		{"3", "3.15.2"},
		{"latest", "3.15.2"},
		{"3.15.0rc2", "3.15.0rc2"},
		{"3.15.0a10", "3.15.0a10"},
		{"3.14.5rc1", "3.14.5rc1"},
		{"3.16.0a1", "3.16.0a1"},
		{"3.13t", "3.13.18t"},
		{"3.13.5t", "3.13.5t"},
		{"3.15.0rc2t", "3.15.0rc2t"},
		{">=3.11,<3.13", "3.12.15"},
		{" >= 3.11 , < 3.13 ", "3.12.15"},
		{">=3.8,<3.10", "3.9.25"},
		{"<3.13.18,>3.13", "3.13.16"},
		{"<=3.13", "3.13.0"},
		{"=3.13.5", "3.13.5"},
		{"~>3.12.3", "3.12.15"},
		{"~>3.12", "3.15.2"},
		{"!=3.15.2", "3.15.0"},
		{">=3", "3.15.2"},
		{"<3.15.0rc2", "3.14.10"},
		{">=3.15.0a9", "3.15.2"},
		{"<3.16.0a1", "3.15.2"},
	} {
		got, err := c.Resolve(row.spec)
		if err != nil {
			t.Errorf("%q: %v", row.spec, err)
		} else if got.String() != row.want || got.Series == nil || len(got.Archives) != 2 {
			t.Errorf("%q: %s, want %s", row.spec, got, row.want)
		}
	}
}

func TestResolveRefuses(t *testing.T) {
	c := loadSmall(t)
	for _, row := range []struct{ spec, reason, nearest string }{
		{"3.13.99", "no such release is known", "3.13.18"},
		{"3.13.17", "no such release is known", "3.13.18 3.13.16"},
		{"3.15.1", "no such release is known", "3.15.2 3.15.0"},
		{"3.15.0rc9", "no such release is known", "3.15.0 3.15.0rc3"},
		{"3.12.0rc1", "no such release is known", "3.12.0"},
		{"3.16.0", "no such release is known", "3.16.0a2"},
		{"3.16", "the series has no final release yet", "3.16.0a2"},
		{"3.16t", "the series has no final release yet", "3.16.0a2t"},
		{"3.17", "no such series is known", "3.16.0a2 3.15"},
		{"3.31", "no such series is known", "3.13 3.11"},
		{"3.99", "no such series is known", "3.9"},
		{"4", "no such series is known", "3.15"},
		{"4.0.1", "no such series is known", "3.15"},
		{"313", "no such series is known", "3.13"},
		{"2.7", "older than 3.9, the oldest series that is known", "3.9"},
		{"2.7.18", "older than 3.9, the oldest series that is known", "3.9"},
		{"2", "older than 3.9, the oldest series that is known", "3.9"},
		{"3.8", "older than 3.9, the oldest series that is known", "3.9"},
		{"3.8.20", "older than 3.9, the oldest series that is known", "3.9"},
		{"3.1", "older than 3.9, the oldest series that is known", "3.9 3.10"},

		{"v3.12", `a version has no leading "v"`, "3.12"},
		{"v3", `a version has no leading "v"`, "3"},
		{"python3.12", `a version has no leading "python"`, "3.12"},
		{"python-3.12.14", `a version has no leading "python-"`, "3.12.14"},
		{"Python-3.13.5", `a version has no leading "Python-"`, "3.13.5"},
		{" 3.13", `a version has no leading " "`, "3.13"},
		{"-3.13", `a version has no leading "-"`, "3.13"},
		{".13", `a version has no leading "."`, "3.15"},
		{"03.12", "a number has no leading zero", "3.12"},
		{"3.012", "a number has no leading zero", "3.12"},
		{"3.13.05", "a number has no leading zero", "3.13.5"},
		{"3.13.5.1", "a version has at most three numbers", "3.13.5"},
		{"3.13.x", `"x" is not a number`, "3.13"},
		{"3.13.*", `"*" is not a number`, "3.13"},
		{"3.x", `"x" is not a number`, "3"},
		{"3,13", `"3,13" is not a number`, "3"},
		{"3.13.5-1", `"5-1" is not a number`, "3.13.5"},
		{"3.15.0-rc2", `"0-rc2" is not a number`, "3.15.0rc2"},
		{"3.15.0.rc2", "a version has at most three numbers", "3.15.0"},
		{"3.15rc2", "a pre-release has three numbers", "3.15.0rc2"},
		{"3.13.", "a number is missing", "3.13"},
		{"3.13.99999999", "a number is too large", "3.13"},
		{"99999999999999999999", "a number is too large", "3.15.2"},
		{"", "it is empty", "3.15.2"},
		{"lst", "not a version", "3.15.2"},
		{"latestt", "not a version", "latest"},
		{"lastest", "not a version", "latest"},
		{"Latest", "not a version", "latest"},
		{"t", "not a version", "3.15.2"},

		{"3t", "a free-threaded build is of one series", "3.15t"},
		{"3.12t", "free-threaded builds exist from 3.13 on", "3.13t 3.12"},
		{"3.12.14t", "free-threaded builds exist from 3.13 on", "3.13t 3.12.14"},
		{"3.13.99t", "no such release is known", "3.13.18t"},
		{"3.31t", "no such series is known", "3.13t 3.11"},
		{"3.13tt", `"tt" is not a pre-release`, "3.13"},

		{">=3.17", "no final release satisfies it", "3.16.0a2 3.15"},
		{">3.13.18,<3.14", "no final release satisfies it", "3.13.18 3.14"},
		{"<3.9", "no final release satisfies it", "3.9"},
		{"=3.15.0rc2", "no final release satisfies it", "3.15.0rc2"},
		{">=3.16.0a1", "no final release satisfies it", "3.16.0a1"},
		{">=v3.12", `condition ">=v3.12": a version has no leading "v"`, "3.12"},
		{">=03.12", `condition ">=03.12": a number has no leading zero`, "3.12"},
		{">=3.13t", `condition ">=3.13t": "t" is not a pre-release`, "3.13t"},
		{">=", `condition ">=": it is empty`, "3.15.2"},
		{">=3.11,", `condition "" has no operator`, "3.11 3.15.2"},
		{">=3.11,3.13", `condition "3.13" has no operator`, "3.11 3.13"},
		{"3.11<3.13", `condition "3.11<3.13" has no operator`, "3.11"},
		{"==3.12", `no such operator as "=="`, "3.12"},
		{"~=3.12", `no such operator as "~="`, "3.12"},
		{"^3.12", `no such operator as "^"`, "3.12"},
		{">==3.12", `no such operator as ">=="`, "3.12"},
	} {
		got, err := c.Resolve(row.spec)
		var unknown *UnknownVersionError
		if got != nil || !errors.As(err, &unknown) {
			t.Errorf("%q: %v, %v", row.spec, got, err)
			continue
		}
		if nearest := strings.Join(unknown.Nearest, " "); unknown.Reason != row.reason || nearest != row.nearest || unknown.Spec != row.spec {
			t.Errorf("%q: %q, nearest %q\nwant %q, nearest %q", row.spec, unknown.Reason, nearest, row.reason, row.nearest)
		}
	}
	_, err := c.Resolve("3.13.99")
	if want := `unknown version "3.13.99": no such release is known`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestResolveEmbedded: where the real data ends.
func TestResolveEmbedded(t *testing.T) {
	c := loadEmbedded(t)
	const old = "older than 3.8, the oldest series that is known"
	for _, row := range []struct{ spec, want, reason, nearest string }{
		{"3.8", "3.8.20", "", ""},
		{"3.8.0", "3.8.0", "", ""},
		{"<3.9", "3.8.20", "", ""},
		{"3.15.0a1", "3.15.0a1", "", ""},
		{"3.7", "", old, "3.8 3.9"},
		{"3.7.17", "", old, "3.8 3.9"},
		{"2.7.18", "", old, "3.8"},
		{"<3.8", "", "no final release satisfies it", "3.8"},
		{"3.8.0rc1", "", "no such release is known", "3.8.0"},
		{"3.8.21", "", "no such release is known", "3.8.20"},
		{"3.14.0rc3", "", "no such release is known", "3.14.0"}, // 3.14 is not the newest series any more
	} {
		got, err := c.Resolve(row.spec)
		var unknown *UnknownVersionError
		switch {
		case err == nil:
			if got.String() != row.want {
				t.Errorf("%q: %s, want %s", row.spec, got, row.want)
			}
		case !errors.As(err, &unknown), unknown.Reason != row.reason, strings.Join(unknown.Nearest, " ") != row.nearest, row.want != "":
			t.Errorf("%q: %v, want %s, %s near %s", row.spec, err, row.want, row.reason, row.nearest)
		}
	}
}

// TestResolveNothing: a catalogue without series, or without a final release, answers too.
func TestResolveNothing(t *testing.T) {
	for _, row := range []struct {
		c                     *Catalogue
		spec, reason, nearest string
	}{
		{&Catalogue{}, "latest", "no final release is known", ""},
		{&Catalogue{}, "3.13", "no such series is known", ""},
		{&Catalogue{}, "3.13t", "no such series is known", ""},
		{&Catalogue{}, ">=3", "no final release satisfies it", ""},
	} {
		_, err := row.c.Resolve(row.spec)
		var unknown *UnknownVersionError
		if !errors.As(err, &unknown) || unknown.Reason != row.reason || strings.Join(unknown.Nearest, " ") != row.nearest {
			t.Errorf("%q: %v, nearest %q", row.spec, err, unknown.Nearest)
		}
	}
}

// FuzzResolve: any text means one release or none. What it means can be written down and means the same; what it may have meant
// means something.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{
		"3.13.5", "3.13", "3", "latest", "3.15.0rc2", ">=3.11,<3.13", "3.13t", "v3", "03.1", "3.31", "313", "3>4", "3.12t", "lst",
		"~>3.1", "3.13.x", "3.16t",
	} {
		f.Add(s)
	}
	c := loadSmall(f)
	f.Fuzz(func(t *testing.T, spec string) {
		got, err := c.Resolve(spec)
		if err == nil {
			if again, err := c.Resolve(got.String()); err != nil || *again != *got {
				t.Fatalf("%q means %s, which means %v, %v", spec, got, again, err)
			}
			return
		}
		var unknown *UnknownVersionError
		if got != nil || !errors.As(err, &unknown) || unknown.Reason == "" {
			t.Fatalf("%q: %v, %v", spec, got, err)
		}
		if n := len(unknown.Nearest); n == 0 || n > 3 {
			t.Fatalf("%q: nearest %q", spec, unknown.Nearest)
		}
		for _, near := range unknown.Nearest {
			if _, err := c.Resolve(near); err != nil {
				t.Fatalf("%q: nearest %q: %v", spec, near, err)
			}
		}
	})
}

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"3.13", "3.13", 0},
		{"", "3.9", 3},
		{"3.31", "3.13", 1},
		{"3.1", "3.13", 1},
		{"3.12", "3.13", 1},
		{"lst", "latest", 3},
		{"lastest", "latest", 1},
		{strings.Repeat("x", 1000), "latest", 64},
	} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("%q, %q: %d, want %d", row.a, row.b, got, row.want)
		}
		if got := distance(row.b, row.a); got != row.want {
			t.Errorf("%q, %q: %d, want %d", row.b, row.a, got, row.want)
		}
	}
}
