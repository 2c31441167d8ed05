//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pybuild/recipes"
)

var (
	answersDir   = flag.String("answers", "", "leave the logs of configure in this `DIR`, an absolute path; .ci/roots --answers asks for it")
	sameKept     = flag.String("same", "", "build these releases for real, cold and with what is kept; what they install must be the same")
	sameProfiles = flag.String("same-profiles", "quick", "with -same: in these profiles; release compares a kept profile with a training")
)

// TestAnswers runs the configure of each release of -real as pybuild would: in a system that has a compiler, make and the C library,
// in one that has every build need, and there again with the answers of the recipes. All that configure writes must be the same.
func TestAnswers(t *testing.T) {
	program := throwaway(t)
	if *answersDir == "" {
		t.Skip("asked for with -answers")
	}
	catalogue, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	versions := strings.Split(*realVersions, ",")
	shell(t, "apt-get", "-qq", "install", "-y", "--no-install-recommends", "gcc", "make", "libc6-dev", "xz-utils")
	toolchain := recipes.Toolchain{Compiler: "gcc", CompilerVersion: strings.TrimSpace(shell(t, "gcc", "-dumpfullversion")), Libc: "glibc", Machine: "x86_64"}
	toolchain.LibcVersion = strings.TrimPrefix(strings.TrimSpace(shell(t, "getconf", "GNU_LIBC_VERSION")), "glibc ")
	answers := catalogue.Answers(toolchain)
	if answers == nil {
		t.Errorf("nothing is proven of %+v", toolchain)
	}
	for _, version := range versions {
		configured(t, program, version, "bare", nil)
	}
	provide(t, program, versions...)
	for _, version := range versions {
		cold, took := configured(t, program, version, "cold", nil)
		told, less := configured(t, program, version, "told", answers)
		if !maps.Equal(cold, told) {
			t.Errorf("%s: configure wrote, without and with the answers:\n%s", version, difference(cold, told))
		}
		t.Logf("slowest: %s, gcc %s, glibc %s: configure %.1f s, with %d answers %.1f s, the same %d files", version,
			toolchain.CompilerVersion, toolchain.LibcVersion, took.Seconds(), len(answers), less.Seconds(), len(cold))
	}
}

// configured runs configure with the arguments and the environment that pybuild would give it, and returns what is in the source tree
// afterwards, and how long it took. config.log and config.status say what was asked and cached. The log is left if configure was told
// nothing.
func configured(t *testing.T, program, version, kind string, answers map[string]string) (tree map[string]string, took time.Duration) {
	t.Helper()
	dir := "/var/tmp/configured" // the same for all: configure writes it down
	source, site := filepath.Join(dir, "source"), filepath.Join(dir, "config.site")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mirror := filepath.Join(strings.TrimPrefix(os.Getenv("PYBUILD_MIRROR"), "file://"), version)
	archives, err := filepath.Glob(filepath.Join(mirror, "Python-"+version+".t*z"))
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archive in %s: %v", mirror, err)
	}
	shell(t, "tar", "xf", archives[0], "-C", source, "--strip-components=1", "--no-same-owner")

	out, err := exec.CommandContext(t.Context(), program, version, "--prefix", "/opt/python", "--profile", "quick", "--dry-run", "--json").Output()
	if err != nil {
		t.Fatalf("pybuild --dry-run: %v", err)
	}
	var plan struct {
		Environment []string
		Commands    [][]string
	}
	if err := json.Unmarshal(out, &plan); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for name, value := range answers {
		fmt.Fprintf(&script, "%s=${%[1]s='%s'}\n", name, value)
	}
	if err := os.WriteFile(site, []byte(script.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(plan.Commands, func(argv []string) bool { return argv[0] == "./configure" })
	cmd := exec.CommandContext(t.Context(), plan.Commands[i][0], plan.Commands[i][1:]...)
	cmd.Dir = source
	cmd.Env = append(plan.Environment, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME="+dir, "TMPDIR="+dir, "LC_ALL=C.UTF-8", "CONFIG_SITE="+site)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("configure: %v\n%s", err, out[max(0, len(out)-2000):])
	}
	took = time.Since(start)
	if answers == nil {
		shell(t, "cp", filepath.Join(source, "config.log"), filepath.Join(*answersDir, codename(t)+"-"+kind+"-"+version+".log"))
	}
	tree = listing(t, source)
	for _, name := range []string{"config.log", "config.status"} {
		delete(tree, name)
	}
	return tree, took
}

var inNames = regexp.MustCompile(`VERSION_CODENAME=([a-z]+)`)

// codename is what the distribution calls itself; Debian's testing has a name, too.
func codename(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	m := inNames.FindSubmatch(data)
	if m == nil {
		t.Fatalf("no code name in %s", data)
	}
	return string(m[1])
}

// TestSame builds each release of -same cold, then told what the recipes know, then with all that is in the cache by now; the first
// build leaves a profile there. The same must be installed by all three.
func TestSame(t *testing.T) {
	if *sameKept == "" {
		t.Skip("builds CPython twice, for minutes; ask for it with -same 3.13.5")
	}
	program := program(t)
	for _, version := range strings.Split(*sameKept, ",") {
		for _, profile := range strings.Split(*sameProfiles, ",") {
			t.Run(version+"-"+profile, func(t *testing.T) { testSame(t, program, version, profile) })
		}
	}
}

func testSame(t *testing.T, program, version, profile string) {
	cache := filepath.Join(t.TempDir(), "cache")
	if *realCache != "" {
		shell(t, "cp", "-al", *realCache, cache)
		if err := os.RemoveAll(filepath.Join(cache, "known")); err != nil {
			t.Fatal(err)
		}
	}
	// The prefix is the same for all: it is in many files.
	prefix := filepath.Join(t.TempDir(), "prefix")
	build := func(args ...string) map[string]string {
		if err := os.MkdirAll(prefix, 0o755); err != nil {
			t.Fatal(err)
		}
		pybuild(t, "installed", program, cache, append([]string{version, "--prefix", prefix, "--profile", profile}, args...)...)
		tree := listing(t, prefix)
		for name := range tree {
			if comparable := explained(t, filepath.Join(prefix, name)); comparable != "" {
				tree[name] = comparable
			}
		}
		if err := os.RemoveAll(prefix); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	cold := build("--no-config-cache")
	for _, what := range []string{"told what the recipes know", "told what the build before found out"} {
		if tree := build(); !maps.Equal(cold, tree) {
			t.Errorf("%s: not what a cold build installs:\n%s", what, difference(cold, tree))
		}
	}
}

// The files of an installation in which two builds of the same may differ, and in what.
var (
	// The interpreter and the library that it is made of have date and time of the compilation, pip's and the manifest's records
	// the digests of what differs, or the time of the installation.
	dated = regexp.MustCompile(`/bin/python3\.\d+t?d?$|/libpython3[^/]*\.(a|so[.0-9]*)$|/config-[^/]+/python\.o$|/share/pybuild/|/_sysconfigdata_[^/]*\.pyc$`)
	// These name the directory of the build, and the number in its name is a random one.
	placed = regexp.MustCompile(`/3\.\d+\.\d+[a-z0-9]*-\d+/(source|stage|home)`)
)

// explained is a fingerprint of a file without that in which it may differ; "" where nothing may.
func explained(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if !info.Mode().IsRegular() {
		return ""
	}
	if dated.MatchString(path) {
		return info.Mode().String() + " there"
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(path, ".pyc") && len(content) > 16 {
		clear(content[8:12]) // when the source was installed
	}
	return fmt.Sprintf("%v %x", info.Mode(), sha256.Sum256(placed.ReplaceAll(content, []byte("/build/$1"))))
}
