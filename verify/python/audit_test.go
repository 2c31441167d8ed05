package python

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
)

func TestSystemDirs(t *testing.T) {
	always := []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib"}
	for _, row := range []struct {
		name   string
		loader string
		files  map[string]string
		want   []string
	}{
		{"nothing", "/lib64/ld-linux-x86-64.so.2", nil, always},
		{"directories", "", map[string]string{"etc/ld.so.conf": "/a\n# /b\n\t/c/ # d\nhwcap 1 nosegneg\n/e:/f,/g\nrelative\n"},
			append([]string{"/a", "/c", "/e", "/f", "/g"}, always...)},
		{"includes", "", map[string]string{
			"etc/ld.so.conf":          "include /etc/ld.so.conf.d/*.conf\ninclude more none\n",
			"etc/ld.so.conf.d/1":      "/no\n",
			"etc/ld.so.conf.d/a.conf": "/a\n",
			"etc/ld.so.conf.d/b.conf": "/b",
			"etc/more":                "/more\ninclude ld.so.conf\n",
		}, append([]string{"/a", "/b", "/more"}, always...)},
		{"musl", "/lib/ld-musl-x86_64.so.1", map[string]string{"etc/ld.so.conf": "/a\n"}, []string{"/lib", "/usr/local/lib", "/usr/lib"}},
		{"musl, told", "/lib/ld-musl-x86_64.so.1", map[string]string{"etc/ld-musl-x86_64.path": "/a:/b\n/c\n"}, []string{"/a", "/b", "/c"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range row.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := systemDirs(root, row.loader); !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

func FuzzConfDirs(f *testing.F) {
	f.Add("/a\n# /b\n/c # d\n")
	f.Add("include ld.so.conf\ninclude [\n")
	f.Fuzz(func(t *testing.T, text string) {
		root := fstest.MapFS{"etc/ld.so.conf": {Data: []byte(text)}}
		for _, dir := range confDirs(root, "etc/ld.so.conf", make(map[string]bool)) {
			if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir {
				t.Errorf("%q is no clean name", dir)
			}
		}
	})
}
