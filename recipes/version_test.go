package recipes

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

func TestParseVersion(t *testing.T) {
	for _, row := range []struct {
		text string
		want Version
		err  string
	}{
		{"3.13.5", Version{3, 13, 5, ""}, ""},
		{"3.13.0", Version{3, 13, 0, ""}, ""},
		{"0.0.1", Version{0, 0, 1, ""}, ""},
		{"3.15.0a1", Version{3, 15, 0, "a1"}, ""},
		{"3.15.0b10", Version{3, 15, 0, "b10"}, ""},
		{"3.15.0rc2", Version{3, 15, 0, "rc2"}, ""},

		{"", Version{}, `malformed version "": it is empty`},
		{"latest", Version{}, `malformed version "latest": not a version`},
		{"3.13", Version{}, `malformed version "3.13": a release has three numbers`},
		{"3.13.5.1", Version{}, `malformed version "3.13.5.1": a version has at most three numbers`},
		{"3.13.", Version{}, `malformed version "3.13.": a number is missing`},
		{"3..5", Version{}, `malformed version "3..5": a number is missing`},
		{"3.13.x", Version{}, `malformed version "3.13.x": "x" is not a number`},
		{"3.1x.5", Version{}, `malformed version "3.1x.5": "1x" is not a number`},
		{"3.-1.5", Version{}, `malformed version "3.-1.5": "-1" is not a number`},
		{"v3.13.5", Version{}, `malformed version "v3.13.5": a version has no leading "v"`},
		{" 3.13.5", Version{}, `malformed version " 3.13.5": a version has no leading " "`},
		{"3.13.5 ", Version{}, `malformed version "3.13.5 ": "5 " is not a number`},
		{"03.13.5", Version{}, `malformed version "03.13.5": a number has no leading zero`},
		{"3.013.5", Version{}, `malformed version "3.013.5": a number has no leading zero`},
		{"3.13.05", Version{}, `malformed version "3.13.05": a number has no leading zero`},
		{"3.13.1234567", Version{}, `malformed version "3.13.1234567": a number is too large`},
		{"3.13.99999999999999999999", Version{}, `malformed version "3.13.99999999999999999999": a number is too large`},
		{"3.15.0-rc2", Version{}, `malformed version "3.15.0-rc2": "0-rc2" is not a number`},
		{"3.15.0c2", Version{}, `malformed version "3.15.0c2": "c2" is not a pre-release`},
		{"3.15.0rc", Version{}, `malformed version "3.15.0rc": "rc" is not a pre-release`},
		{"3.15.0rc2x", Version{}, `malformed version "3.15.0rc2x": "rc2x" is not a pre-release`},
		{"3.15.0a0", Version{}, `malformed version "3.15.0a0": "a0" is not a pre-release`},
		{"3.15.0rc02", Version{}, `malformed version "3.15.0rc02": a number has no leading zero`},
		{"3.15rc2", Version{}, `malformed version "3.15rc2": a pre-release has three numbers`},
		{"３.13.5", Version{}, `malformed version "３.13.5": a version has no leading "３."`},
	} {
		got, err := ParseVersion(row.text)
		var text string
		if err != nil {
			text = err.Error()
			if !errors.As(err, new(*SyntaxError)) {
				t.Errorf("%q: error is a %T", row.text, err)
			}
		}
		if got != row.want || text != row.err {
			t.Errorf("%q: %+v, %q\nwant %+v, %q", row.text, got, text, row.want, row.err)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	order := []string{
		"2.7.18", "3.9.0", "3.9.25", "3.10.0", "3.15.0a1", "3.15.0a9", "3.15.0a10", "3.15.0b1", "3.15.0rc1", "3.15.0rc2",
		"3.15.0", "3.15.1rc1", "3.15.1", "3.15.10", "4.0.0",
	}
	for i, a := range order {
		for j, b := range order {
			v, errV := ParseVersion(a)
			w, errW := ParseVersion(b)
			if err := errors.Join(errV, errW); err != nil {
				t.Fatal(err)
			}
			if got, want := v.Compare(w), slices.Compare([]int{i}, []int{j}); got != want {
				t.Errorf("%s against %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestVersionParts(t *testing.T) {
	for _, row := range []struct {
		text, series string
		final        bool
	}{
		{"3.13.5", "3.13", true},
		{"3.15.0rc2", "3.15", false},
	} {
		v, err := ParseVersion(row.text)
		if err != nil || v.Series() != row.series || v.IsFinal() != row.final {
			t.Errorf("%s: %v, series %s, final %t", row.text, err, v.Series(), v.IsFinal())
		}
	}
}

func TestVersionJSON(t *testing.T) {
	for _, row := range []struct{ in, out, err string }{
		{`{"V":"3.15.0rc2"}`, `{"V":"3.15.0rc2"}`, ""},
		{`{"V":"v3.15.0"}`, "", `malformed version "v3.15.0": a version has no leading "v"`},
	} {
		var x struct{ V Version }
		if err := json.Unmarshal([]byte(row.in), &x); err != nil {
			if err.Error() != row.err {
				t.Errorf("%s: %v, want %q", row.in, err, row.err)
			}
			continue
		}
		if out, err := json.Marshal(x); err != nil || string(out) != row.out {
			t.Errorf("%s: %s, %v, want %s", row.in, out, err, row.out)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, s := range []string{"3.13.5", "3.15.0rc2", "3.15.0a10", "v3", "03.1.2", "3.13.5t", "3.1.2.3", "", "..", "999999.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := ParseVersion(s)
		if err != nil {
			if v != (Version{}) || !errors.As(err, new(*SyntaxError)) {
				t.Fatalf("%q: %+v with %T", s, v, err)
			}
			return
		}
		if v.String() != s {
			t.Fatalf("%q renders as %q", s, v)
		}
		if v.Compare(v) != 0 {
			t.Fatalf("%q differs from itself", s)
		}
	})
}
