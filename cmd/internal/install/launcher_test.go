package install

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pybuild/build/run"
	"pybuild/fetch"
)

// TestLauncherSettings: a user's launcher works as it does without pybuild.
func TestLauncherSettings(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"old/.ccache", "configured/.config/ccache/ccache.conf", "other/c/ccache/ccache.conf"} {
		if err := os.MkdirAll(filepath.Join(home, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ name, launcher, environ, want string }{
		{"nothing known", "ccache", "", ""},
		{"his cache", "ccache", "HOME=~/new", "CCACHE_DIR=~/new/.cache/ccache"},
		{"where he keeps caches", "ccache", "HOME=~/new XDG_CACHE_HOME=/c", "CCACHE_DIR=/c/ccache"},
		{"an old cache", "ccache", "HOME=~/old XDG_CACHE_HOME=/c", "CCACHE_DIR=~/old/.ccache"},
		{"the one that he names", "ccache", "HOME=~/old CCACHE_DIR=/d CCACHE_DISABLE=1", "CCACHE_DIR=/d"},
		{"his settings", "ccache", "HOME=~/configured", "CCACHE_DIR=~/configured/.cache/ccache CCACHE_CONFIGPATH=~/configured/.config/ccache/ccache.conf"},
		{"his settings elsewhere", "ccache", "HOME=~/configured XDG_CONFIG_HOME=~/other/c", "CCACHE_DIR=~/configured/.cache/ccache CCACHE_CONFIGPATH=~/other/c/ccache/ccache.conf"},
		{"settings that he names", "ccache", "HOME=~/configured CCACHE_CONFIGPATH=/x", "CCACHE_CONFIGPATH=/x CCACHE_DIR=~/configured/.cache/ccache"},
		{"hosts", "distcc", "HOME=~/new DISTCC_HOSTS=localhost DISTCC_DIR=/d", "DISTCC_HOSTS=localhost"},
		{"no hosts", "distcc", "HOME=~/new", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, l := range launchers {
				if l.name != test.launcher {
					continue
				}
				if got, want := strings.Join(l.settings(strings.Fields(strings.ReplaceAll(test.environ, "~", home))), " "), strings.ReplaceAll(test.want, "~", home); got != want {
					t.Errorf("%s\nwant %s", got, want)
				}
			}
		})
	}
}

// TestLauncher: what can be used, by whom.
func TestLauncher(t *testing.T) {
	const closed = "/root/cache" // temporary directories are always reached
	other := &builder{uid: 64998, gid: 64998}
	there := func(name string) bool {
		_, err := run.LookPath(name, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
		return err == nil
	}
	for _, test := range []struct {
		name, launcher string
		needs          string // to be installed; empty: nothing
		patches        []string
		cache          string
		builder        *builder
		env, dir, err  string
	}{
		{"none", "none", "", nil, "/var/cache/x", nil, "", "", ""},
		{"the zero value", "", "", nil, "/var/cache/x", nil, "", "", ""},
		{"unknown", "icecream", "", nil, "/var/cache/x", nil, "", "", `unknown launcher "icecream"`},
		{"ccache of the user", "ccache", "ccache", nil, "/var/cache/x", nil, "CCACHE_DIR=/d", "", ""},
		{"ccache of the builder", "ccache", "ccache", nil, "/var/cache/x", other, "CCACHE_DIR=/var/cache/x/ccache/64998 CCACHE_CONFIGPATH=/dev/null", "/var/cache/x/ccache/64998", ""},
		{"the same by itself", "auto", "ccache", nil, "/var/cache/x", other, "CCACHE_DIR=/var/cache/x/ccache/64998 CCACHE_CONFIGPATH=/dev/null", "/var/cache/x/ccache/64998", ""},
		{"but not with patches", "auto", "", []string{"/p"}, "/var/cache/x", other, "", "", ""},
		{"unless it is asked for", "ccache", "ccache", []string{"/p"}, "/var/cache/x", other, "CCACHE_DIR=/var/cache/x/ccache/64998 CCACHE_CONFIGPATH=/dev/null", "/var/cache/x/ccache/64998", ""},
		{"a cache that the builder does not reach", "ccache", "ccache", nil, closed, other, "", "", "ccache cannot be used: the user who builds does not reach its directory, " + closed + "/ccache/64998"},
		{"sccache of the builder", "sccache", "sccache", nil, "/var/cache/x", other, "SCCACHE_DIR=/var/cache/x/sccache/64998 SCCACHE_CONF=/dev/null", "/var/cache/x/sccache/64998", ""},
		{"sccache of the user", "sccache", "sccache", nil, "/var/cache/x", nil, "", "", "sccache cannot be used: it starts a server that only a confined build ends"},
		{"distcc of the user", "distcc", "distcc", nil, "/var/cache/x", nil, "DISTCC_HOSTS=h", "", ""},
		{"distcc of the builder", "distcc", "distcc", nil, "/var/cache/x", other, "", "", "distcc cannot be used: it needs the network, and a confined build has none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if info, err := os.Stat("/root"); test.cache == closed && (err != nil || info.Mode()&0o001 != 0) {
				t.Skip("/root is open")
			}
			in := &Installer{Cache: &fetch.Cache{Dir: test.cache}, Environ: []string{"CCACHE_DIR=/d", "DISTCC_HOSTS=h"}, Reporter: &silent{}}
			want, missing := test.err, test.needs != "" && !there(test.needs)
			if missing && test.launcher != "auto" {
				want = test.launcher + " cannot be used: it is not installed"
			}
			l, dir, err := in.launcher(Options{Launcher: test.launcher, Patches: test.patches}, test.builder)
			if want != "" {
				if err == nil || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
				return
			}
			if missing {
				t.Skip(test.needs + " is not installed")
			}
			env := ""
			if l != nil {
				env = strings.Join(l.Env, " ")
			}
			if err != nil || env != test.env || dir != test.dir {
				t.Errorf("%s in %q, %v; want %s in %q", env, dir, err, test.env, test.dir)
			}
		})
	}
}
