package install

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/build/prefix"
)

func TestSecurePath(t *testing.T) {
	const file = "etc/sudoers"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"Debian's", map[string]string{file: "Defaults\tenv_reset\nDefaults\tsecure_path=\"/usr/local/sbin:/usr/local/bin:/usr/bin\"\n"}, "/usr/local/sbin /usr/local/bin /usr/bin"},
		{"Fedora's", map[string]string{file: "Defaults    secure_path = /sbin:/bin:/usr/sbin:/usr/bin\n"}, "/sbin /bin /usr/sbin /usr/bin"},
		{"a later file wins", map[string]string{file: "Defaults secure_path=/a\n", "etc/sudoers.d/local": "Defaults secure_path=/b:/c\n"}, "/b /c"},
		{"a comment", map[string]string{file: "# Defaults secure_path=/a\n"}, ""},
		{"for one user", map[string]string{file: "Defaults:joe secure_path=/a\n"}, ""},
		{"none", nil, ""},
	} {
		root := fstest.MapFS{}
		for name, text := range test.files {
			root[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := strings.Join(SecurePath(root), " "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// A link is refused where a shell would find it before the distribution's program, and nowhere else.
func TestShadowed(t *testing.T) {
	root := fstest.MapFS{"usr/bin/python3": &fstest.MapFile{}, "usr/local/bin/python": &fstest.MapFile{}}
	for _, test := range []struct{ prefix, link, path string }{
		{"/usr/local", "python3", "/usr/bin/python3"},
		{"/usr/local", "python", ""}, // ours to be, or in the way
		{"/opt/python", "python3", ""},
		{"/usr/local/python", "python3", ""},
	} {
		in, _ := installer(t, root)
		err := in.shadowed(t.Context(), nil, Options{Prefix: test.prefix, Link: []string{test.link}})
		refused, _ := errors.AsType[*prefix.RefusedError](err)
		if test.path == "" && err != nil || test.path != "" && (refused == nil || refused.Path != test.path) {
			t.Errorf("%s in %s: %v, want one about %q", test.link, test.prefix, err, test.path)
		}
	}
}

// Fedora's Python looks for packages in /usr/local, too; Debian's does not.
func TestSitePackages(t *testing.T) {
	fake := filepath.Join(t.TempDir(), "python3.13")
	for text, want := range map[string]string{
		"echo '[\"/usr/local/lib64/python3.13/site-packages\", \"/usr/local/lib/python3.13/site-packages\", \"/usr/lib/python3.13/site-packages\"]'": "/usr/local/lib64/python3.13/site-packages /usr/local/lib/python3.13/site-packages /usr/lib/python3.13/site-packages",
		"echo '[]'": "",
		"exit 1":    "exit status 1",
		"echo what": "invalid character",
	} {
		if err := os.WriteFile(fake, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		dirs, err := sitePackages(t.Context(), fake)
		got := strings.Join(dirs, " ")
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// Labels are set where SELinux is enforced, and a host without restorecon is warned.
func TestLabel(t *testing.T) {
	m := &prefix.Manifest{Prefix: "/no/such/prefix", Paths: []prefix.Entry{{Path: "bin/python3.13"}}}
	for enforce, want := range map[string]int{"1\n": 1, "0\n": 0, "": 0} {
		root := fstest.MapFS{}
		if enforce != "" {
			root["sys/fs/selinux/enforce"] = &fstest.MapFile{Data: []byte(enforce)}
		}
		in, said := installer(t, root)
		in.label(t.Context(), m)
		if len(said.warnings) != want || want > 0 && !strings.Contains(said.warnings[0], "SELinux labels") {
			t.Errorf("enforce %q: warnings %q", enforce, said.warnings)
		}
	}
}

func TestLinks(t *testing.T) {
	in, _ := installer(t, fstest.MapFS{})
	for version, want := range map[string][]string{"3.13.5": {"python3.13", "pip3.13", "python3.13-config"}, "3.13.5t": {"python3.13t", "pip3.13", "python3.13t-config"}} {
		list := links(resolve(t, in, version), Options{Link: []string{"python3", "pip", "python3-config"}})
		if got := []string{list["python3"], list["pip"], list["python3-config"]}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}
