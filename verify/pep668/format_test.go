package pep668_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/verify/pep668"
)

func TestFormat(t *testing.T) {
	for _, test := range []struct{ name, text, want, err string }{
		{"a line", "Use apt.", "Use apt.", ""},
		{"lines", "One.\n\n  Two: 50%\n[three]\n= four\r\n\n\n", "One.\n\nTwo: 50%\n[three]\n= four", ""},
		{"empty lines first", "\n\nUse apt.\n", "Use apt.", ""},
		{"two empty lines", "One.\n\n\nTwo.", "One.\n\n\nTwo.", ""},
		{"tab", "a\tb", "a\tb", ""},
		{"longest", strings.Repeat("x", pep668.TextLimit), strings.Repeat("x", pep668.TextLimit), ""},
		{"too long", strings.Repeat("x", pep668.TextLimit+1), "", "the text is longer than 65536 bytes"},
		{"empty", " \n\t\n", "", "the text is empty"},
		{"comment", "a\n # b", "", "line 2 of the text begins with #, and pip would take it for a comment"},
		{"other comment", ";", "", "line 1 of the text begins with ;, and pip would take it for a comment"},
		{"not UTF-8", "a\xff", "", "the text is not UTF-8"},
		{"control character", "a\n\x1b[1m", "", "line 2 of the text holds a control character"},
		{"carriage return", "a\rb", "", "line 1 of the text holds a control character"},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, err := pep668.Format(test.text)
			if bad := (*pep668.TextError)(nil); test.err != "" && (!errors.As(err, &bad) || err.Error() != test.err) || test.err == "" && err != nil {
				t.Fatalf("error %v, want %q", err, test.err)
			}
			if test.err == "" {
				holds(t, content, test.want)
			}
		})
	}
}

// holds checks that pip finds the text in the marker.
func holds(t *testing.T, content []byte, want string) {
	t.Helper()
	m := pep668.Read(fstest.MapFS{"lib/EXTERNALLY-MANAGED": &fstest.MapFile{Data: content}}, "/lib", "de_DE")
	if m.State != pep668.MarkerPresent || m.Key != "Error" || m.Size != len(want) || !strings.HasPrefix(want, m.Message) {
		t.Errorf("the marker\n%s\nis read as %+v, want %q", content, m, want)
	}
}

func FuzzFormat(f *testing.F) {
	for _, text := range []string{"Use apt.", "One.\n\n  Two", "a\r\nb", "\u00a0x\u2028y", "[a]\nError = b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		content, err := pep668.Format(text)
		if err != nil {
			return
		}
		lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		holds(t, content, strings.Trim(strings.Join(lines, "\n"), "\n"))
	})
}

// Settings are those that change what the pip of this Python does, wherever they are.
func TestSettings(t *testing.T) {
	const breaks = "[global]\nbreak-system-packages = true\n"
	present, absent := pep668.MarkerPresent, pep668.MarkerAbsent
	for _, test := range []struct {
		name, file, text, variable, state string
		want                              []string
	}{
		{"none", "", "", "", present, nil},
		{"environment", "", "", "PIP_BREAK_SYSTEM_PACKAGES=1", present, []string{"high override"}},
		{"environment, without a marker", "", "", "PIP_BREAK_SYSTEM_PACKAGES=1", absent, nil},
		{"global", "etc/pip.conf", breaks, "", present, []string{"high override /etc/pip.conf:2"}},
		{"site", "opt/python/pip.conf", breaks, "", present, []string{"high override /opt/python/pip.conf:2"}},
		{"of another prefix", "usr/pip.conf", breaks, "", present, nil},
		{"user", "home/me/.config/pip/pip.conf", "[install]\ntarget = /x\n", "", absent, []string{"medium target /home/me/.config/pip/pip.conf:2"}},
		{"two", "etc/pip.conf", breaks, "PIP_USER=1", present, []string{"high override /etc/pip.conf:2", "note user"}},
		{"not read", "etc/pip.conf", "nonsense", "", absent, []string{"medium configuration /etc/pip.conf:1"}},
	} {
		root := fstest.MapFS{}
		if test.file != "" {
			root[test.file] = &fstest.MapFile{Data: []byte(test.text), Mode: 0o644}
		}
		found := pep668.Settings(pep668.Request{Root: root, Environ: []string{test.variable}, Home: "/home/me", Dir: "/"},
			pep668.Python{Prefix: "/opt/python", Marker: pep668.Marker{State: test.state}})
		if got := brief(&pep668.Report{Findings: found}); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
