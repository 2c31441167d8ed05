//go:build linux

package main

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var realLauncher = flag.String("real-launcher", "", "build CPython for real through this launcher, twice, and once without: ccache")

// tied are the files that name the time or the directory of their build, and so are not the same twice.
var tied = []string{"bin/python3.13", "lib/python3.13/_sysconfigdata_*", "lib/python3.13/config-*/Makefile", "share/pybuild/python3.13.json"}

// lasting is a listing without the contents that are not the same twice: compiled Python has the time of its source in it.
func lasting(t *testing.T, prefix string) map[string]string {
	t.Helper()
	files := listing(t, prefix)
	for name, what := range files {
		if path.Ext(name) == ".pyc" || slices.ContainsFunc(tied, func(pattern string) bool { ok, _ := path.Match(pattern, name); return ok }) {
			files[name], _, _ = strings.Cut(what, " ")
		}
	}
	return files
}

// TestRealLauncher builds through a launcher that knows nothing yet, again in another directory and for another prefix, and once
// without. The second is to be quick, and what the first installed must be what the last one does.
func TestRealLauncher(t *testing.T) {
	if *realLauncher == "" {
		t.Skip("builds CPython for minutes; ask for it with -real-launcher ccache")
	}
	const version = "3.13.5"
	dir := t.TempDir()
	t.Setenv("HOME", filepath.Join(dir, "home")) // a user's launcher must know nothing either
	t.Setenv("XDG_CACHE_HOME", "")
	program, cache := program(t), filepath.Join(dir, "cache")
	if *realCache != "" {
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", *realCache, cache).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, name := range []string{"ccache", "sccache"} {
		if err := os.RemoveAll(filepath.Join(cache, name)); err != nil {
			t.Fatal(err)
		}
	}
	build := func(prefix, launcher string) event {
		return pybuild(t, "installed", program, cache, version, "--prefix", prefix, "--build-dir", filepath.Join(t.TempDir(), "build"), "--launcher", launcher)
	}
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	cold, warm := build(first, *realLauncher), build(second, *realLauncher)
	t.Logf("%.1f s, then %.1f s, which is %.2f of it", cold.Seconds, warm.Seconds, warm.Seconds/cold.Seconds)

	through := lasting(t, first)
	pybuild(t, "uninstalled", program, cache, "uninstall", version, "--prefix", first)
	plain := build(first, "none")
	t.Logf("without a launcher %.1f s", plain.Seconds)
	if without := lasting(t, first); !maps.Equal(through, without) {
		t.Errorf("not the same without a launcher:\n%s", difference(through, without))
	}
	out, err := exec.CommandContext(t.Context(), warm.Executable, "-c", "import sysconfig; print(sysconfig.get_config_vars())").CombinedOutput()
	if err != nil || strings.Contains(string(out), *realLauncher) {
		t.Errorf("%v\n%s", err, out)
	}
}
