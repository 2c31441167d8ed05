package install

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pybuild/build"
	"pybuild/build/run"
)

// What Options.Launcher may be besides the name of a launcher.
const (
	LauncherNone = "none" // nothing stands before the compiler
	LauncherAuto = "auto" // the first that is there and can be used, else nothing
)

// A launcher is a program that may stand before the compiler.
type launcher struct {
	name string
	auto bool // LauncherAuto takes it
	// dir is the variable for the directory in which it keeps what was compiled, config that for the file with its settings. Empty:
	// it has none.
	dir, config string
	// passed are further variables of a user's that it is told.
	passed []string
	// anywhere and undebugged are those of build.Launcher.
	anywhere, undebugged []string
	// network says that it needs one, and server that it starts one, which leaves the process group that ends with a command, so that
	// only a confinement ends it.
	network, server bool
}

// launchers are all that there are, those that LauncherAuto tries first.
var launchers = []launcher{
	{
		name: "ccache", auto: true, dir: "CCACHE_DIR", config: "CCACHE_CONFIGPATH",
		anywhere: []string{"CCACHE_BASEDIR={source}"}, undebugged: []string{"CCACHE_NOHASHDIR=1"},
	},
	{name: "sccache", auto: true, dir: "SCCACHE_DIR", config: "SCCACHE_CONF", server: true},
	{name: "distcc", passed: []string{"DISTCC_HOSTS"}, network: true},
}

// Launchers are the values that Options.Launcher may have.
func Launchers() []string {
	names := []string{LauncherNone, LauncherAuto}
	for _, l := range launchers {
		names = append(names, l.name)
	}
	return names
}

// LauncherDirs are the directories below pybuild's cache in which launchers keep what they compiled for root's builds.
func LauncherDirs() (dirs []string) {
	for _, l := range launchers {
		if l.dir != "" {
			dirs = append(dirs, l.name)
		}
	}
	return dirs
}

// What can keep a launcher from being used.
const (
	LauncherMissing = "it is not installed"
	LauncherNetwork = "it needs the network, and a confined build has none"
	LauncherServer  = "it starts a server that only a confined build ends"
	LauncherClosed  = "the user who builds does not reach its directory"
)

// LauncherError says that the launcher that was asked for cannot be used.
type LauncherError struct {
	Launcher string
	// Reason is one of LauncherMissing, LauncherNetwork, LauncherServer, LauncherClosed.
	Reason string
	// Dir is the directory that is closed.
	Dir string
}

func (e *LauncherError) Error() string {
	if e.Dir != "" {
		return fmt.Sprintf("%s cannot be used: %s, %s", e.Launcher, e.Reason, e.Dir)
	}
	return fmt.Sprintf("%s cannot be used: %s", e.Launcher, e.Reason)
}

// launcher returns what stands before the compiler, nil for nothing, and the directory in which it keeps what was compiled if that
// is one of pybuild's. The error is a *LauncherError.
//
// Who builds has the cache: a user the one that he has anyway, by his own settings; the unprivileged user who builds for root a
// directory in pybuild's cache that is for nothing else. That one is trusted as far as the sources are that were ever built with it:
// whoever could make one of those builds do what he likes could leave something in it for the next. Builds of the releases that
// pybuild knows are as good as their signatures; others, and those with patches, LauncherAuto keeps away from it.
func (in *Installer) launcher(o Options, b *builder) (l *build.Launcher, dir string, err error) {
	switch o.Launcher {
	case "", LauncherNone:
		return nil, "", nil
	case LauncherAuto:
		if b != nil && (len(o.Patches) > 0 || o.SHA256 != "") {
			in.Reporter.Detail("compiling without a launcher: what is kept for later builds is only of releases as they were published")
			return nil, "", nil
		}
		var reasons []string
		for _, known := range launchers {
			if !known.auto {
				continue
			}
			if l, dir, err = in.launcherNamed(known.name, b); err == nil {
				return l, dir, nil
			}
			reasons = append(reasons, err.Error())
		}
		in.Reporter.Detail("compiling without a launcher: " + strings.Join(reasons, "; "))
		return nil, "", nil
	}
	return in.launcherNamed(o.Launcher, b)
}

func (in *Installer) launcherNamed(name string, b *builder) (l *build.Launcher, dir string, err error) {
	i := slices.IndexFunc(launchers, func(known launcher) bool { return known.name == name })
	if i < 0 {
		return nil, "", fmt.Errorf("unknown launcher %q", name)
	}
	known := launchers[i]
	env, _ := build.Environment(nil, "")
	if _, err := run.LookPath(name, env); err != nil {
		return nil, "", &LauncherError{Launcher: name, Reason: LauncherMissing}
	}
	l = &build.Launcher{Name: name, Anywhere: known.anywhere, Undebugged: known.undebugged}
	switch {
	case known.network && b != nil:
		return nil, "", &LauncherError{Launcher: name, Reason: LauncherNetwork}
	case known.server && b == nil:
		return nil, "", &LauncherError{Launcher: name, Reason: LauncherServer}
	case b == nil:
		l.Env = known.settings(in.Environ)
		return l, "", nil
	}
	cache := in.Cache.Dir
	if real, err := filepath.EvalSymlinks(cache); err == nil { // a confined command sees the directory, not the links that lead to it
		cache = real
	}
	dir = filepath.Join(cache, name, strconv.Itoa(int(b.uid)))
	if !b.reaches(dir) {
		return nil, "", &LauncherError{Launcher: name, Reason: LauncherClosed, Dir: dir}
	}
	// What a build has put into the directory must not be settings for the next.
	l.Env = []string{known.dir + "=" + dir, known.config + "=/dev/null"}
	return l, dir, nil
}

// settings are what the launcher would know by itself of its user's settings, if the build's HOME were his.
func (l launcher) settings(environ []string) (env []string) {
	values := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	for _, name := range append([]string{l.dir, l.config}, l.passed...) {
		if name != "" && values[name] != "" {
			env = append(env, name+"="+values[name])
		}
	}
	home := values["HOME"]
	if l.dir == "" || values[l.dir] != "" || home == "" {
		return env
	}
	if old := filepath.Join(home, "."+l.name); isDir(old) { // which goes before the newer places, its settings with it
		return append(env, l.dir+"="+old)
	}
	env = append(env, l.dir+"="+filepath.Join(cmp.Or(values["XDG_CACHE_HOME"], filepath.Join(home, ".cache")), l.name))
	config := filepath.Join(cmp.Or(values["XDG_CONFIG_HOME"], filepath.Join(home, ".config")), l.name, l.name+".conf")
	if _, err := os.Stat(config); err == nil && values[l.config] == "" {
		env = append(env, l.config+"="+config)
	}
	return env
}

// tellLauncher says what became of the launcher that was found.
func (in *Installer) tellLauncher(o Options, s *site, plan *build.Plan) {
	switch {
	case s.launcher == nil:
	case plan.Launcher() != "":
		in.Reporter.Detail("compiling through " + plan.Launcher())
	case o.Launcher == LauncherAuto:
		in.Reporter.Detail(s.launcher.Name + notGuided)
	default:
		in.Reporter.Note(s.launcher.Name + notGuided)
	}
}

// notGuided follows the name of a launcher.
const notGuided = " is not used: the compilation is guided by a profile, of which it knows nothing"

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// ownCache makes the directory of a launcher for the builder. Its parents are pybuild's.
func (b *builder) ownCache(dir string) error {
	if dir == "" {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(dir), 0o755)
	if err == nil {
		err = b.own(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return &DirectoryError{Purpose: "launcher", Dir: dir, Err: err}
	}
	return nil
}
