package main

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Case is one way to come from an archive to an interpreter.
type Case struct {
	// Name is what the user calls it; Group what it is comparable with, a heading; Summary what it does, a phrase.
	Name, Group, Summary string
	// From names the case whose cache it starts with, that has just built the same. Empty: archives, and nothing else.
	From string
	// Own says that the program that is run is pybuild.
	Own bool
	// Phases are what is done, one after the other.
	Phases []phase
}

// A phase is one command of a case.
type phase struct {
	name string
	argv []string
	// env is added to the environment of every command.
	env []string
}

// setting is what the commands of a case depend on.
type setting struct {
	version, archive, pybuild string
	// pythonBuild is the program, empty when there is none.
	pythonBuild string
	jobs        int
	// same are configure's arguments and the environment with which a build by hand has pybuild's parts and flags; remove are the
	// directories of the tests, where configure cannot leave them out.
	same, sameEnv, remove []string
	// prefix is where it is installed, build the directory to build in, cache pybuild's.
	prefix, build, cache string
}

// several are the releases that are built together.
var several = []string{"3.9.2", "3.11.2", "3.13.5"}

// cases is the table of all, for one setting.
func cases(s setting) []Case {
	const plain, guided, linked, many, launched = "plain", "profile-guided", "profile-guided, with LTO", "several releases", "with ccache"
	rpath := []string{"CPPFLAGS=-I" + s.prefix + "/include", "LDFLAGS=-L" + s.prefix + "/lib -Wl,-rpath," + s.prefix + "/lib"}
	pythonBuild := Case{Name: "python-build", Group: plain, Summary: pythonBuildByHand, Phases: s.byHand("install", rpath, "--enable-shared", "--libdir="+s.prefix+"/lib")}
	if s.pythonBuild != "" {
		pythonBuild.Summary = "python-build's defaults"
		pythonBuild.Phases = []phase{{"python-build", []string{s.pythonBuild, s.version, s.prefix},
			[]string{"PYTHON_BUILD_CACHE_PATH=" + filepath.Dir(s.archive), "MAKE_OPTS=-j" + strconv.Itoa(s.jobs)}}}
	}
	same := s.byHand("altinstall", s.sameEnv, s.same...)
	if len(s.remove) > 0 {
		same = slices.Insert(same, len(same)-1, phase{"remove", append([]string{"rm", "-rf"}, s.remove...), nil})
	}
	own := func(profile string, args ...string) []phase {
		return []phase{s.install(profile, s.prefix, append([]string{s.version}, args...)...)}
	}
	each := s.prefix + "/{series}"
	var serial []phase
	for _, version := range several {
		serial = append(serial, s.install("quick", each, version))
	}
	return []Case{
		{Name: "by-hand", Group: plain, Summary: "tar, ./configure, make, make altinstall", Phases: s.byHand("altinstall", nil)},
		{Name: "by-hand-same", Group: plain, Summary: "the same with pybuild's parts and flags: no tests, -g0", Phases: same},
		pythonBuild,
		{Name: "quick", Group: plain, Summary: "pybuild, nothing known of earlier builds", Own: true, Phases: own("quick")},
		{Name: "quick-known", Group: plain, Summary: "pybuild, configure's answers known", From: "quick", Own: true, Phases: own("quick")},
		{Name: "pgo-by-hand", Group: guided, Summary: "./configure --enable-optimizations", Phases: s.byHand("altinstall", nil, "--enable-optimizations")},
		{Name: "pgo", Group: guided, Summary: "pybuild, nothing known", Own: true, Phases: own("release", "--configure-arg=--without-lto")},
		{Name: "pgo-kept", Group: guided, Summary: "pybuild, profile and answers of an earlier build", From: "pgo", Own: true, Phases: own("release", "--configure-arg=--without-lto")},
		{Name: "lto-by-hand", Group: linked, Summary: "./configure --enable-optimizations --with-lto", Phases: s.byHand("altinstall", nil, "--enable-optimizations", "--with-lto")},
		{Name: "lto", Group: linked, Summary: "pybuild --profile release, nothing known", Own: true, Phases: own("release")},
		{Name: "native", Group: linked, Summary: "pybuild --profile native, nothing known", Own: true, Phases: own("native")},
		{Name: "several-serial", Group: many, Summary: strings.Join(several, ", ") + " by pybuild, one after the other", Own: true, Phases: serial},
		{Name: "several", Group: many, Summary: "the same in one call", Own: true, Phases: []phase{s.install("quick", each, several...)}},
		{Name: "ccache-cold", Group: launched, Summary: "pybuild --launcher ccache, nothing known", Own: true, Phases: own("quick", "--launcher=ccache")},
		{Name: "ccache", Group: launched, Summary: "the same again in another directory and prefix", From: "ccache-cold", Own: true, Phases: own("quick", "--launcher=ccache")},
	}
}

// pythonBuildByHand is said of the case python-build where there is no python-build: it is not the thing itself.
const pythonBuildByHand = "python-build's flags, by hand"

// byHand is what a person types.
func (s setting) byHand(install string, env []string, configure ...string) []phase {
	return []phase{
		{"unpack", []string{"tar", "xf", s.archive, "--strip-components=1"}, env},
		{"configure", append([]string{"./configure", "--prefix=" + s.prefix}, configure...), env},
		{"make", []string{"make", "-j" + strconv.Itoa(s.jobs)}, env},
		{"install", []string{"make", install}, env},
	}
}

// install is pybuild's installation of some releases.
func (s setting) install(profile, prefix string, args ...string) phase {
	argv := []string{s.pybuild, "--prefix", prefix, "--profile", profile, "--jobs", strconv.Itoa(s.jobs), "--build-dir", s.build, "--offline", "--quiet"}
	// The user's own ccache would be in the user's home; root's is in the cache.
	env := []string{"PYBUILD_CACHE=" + s.cache, "PYBUILD_DATA=" + filepath.Join(s.cache, "data"), "CCACHE_DIR=" + filepath.Join(s.cache, "ccache")}
	return phase{"pybuild", append(argv, args...), env}
}
