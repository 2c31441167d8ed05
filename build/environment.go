package build

import (
	"path/filepath"
	"slices"
	"strings"
)

// searchPath is the PATH of every build. The caller's may hold conda's, Homebrew's or another Python's tools, which configure
// would pick up.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// passed are the variables of the caller that a build hands on: the compiler and its flags.
var passed = []string{"CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "PKG_CONFIG_PATH"}

// leaking are the variables, or with a star the families of variables, known to change what configure, make, the compiler or
// the new interpreter do. They never reach a build; the user is told which of them were set.
var leaking = []string{
	"AR", "ARFLAGS", "BASECFLAGS", "CFLAGS_NODIST", "COMPILEALL_OPTS", "COMPILER_PATH", "CONDA_*", "CONFIG_SITE", "CPATH", "CPP", "CPLUS_INCLUDE_PATH", "CXX", "CXXFLAGS",
	"C_INCLUDE_PATH", "DESTDIR", "DISTUTILS_*", "ENSUREPIP*", "EXTRA_CFLAGS", "GCC_EXEC_PREFIX", "GNUMAKEFLAGS", "HOMEBREW_*", "LD", "LDFLAGS_NODIST", "LDSHARED",
	"LD_LIBRARY_PATH", "LD_PRELOAD", "LD_RUN_PATH", "LIBRARY_PATH", "LIBS", "LINKCC", "MAKE", "MAKEFILES", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "OBJC_INCLUDE_PATH",
	"OPENSSL_CONF", "OPENSSL_MODULES", "OPT", "PIP_*", "PKG_CONFIG", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR", "PROFILE_TASK", "PYTHON*", "SETUPTOOLS_*", "SOURCE_DATE_EPOCH",
	"SSL_CERT_DIR", "SSL_CERT_FILE", "TCLLIBPATH", "TCL_LIBRARY", "TK_LIBRARY", "VIRTUAL_ENV", "VPATH", "_PYTHON_*",
}

// Environment makes the whole environment of a build out of nothing but the variables that are passed on, with home as HOME and
// for temporary files. cflags are for CPython alone: what is in CFLAGS_NODIST is not handed on to the extensions that users
// compile for it. The caller's CFLAGS are for both, and stand behind cflags once more, so that they win. dropped names the
// caller's variables that would have changed the build, sorted.
func Environment(environ []string, home string, cflags ...string) (env, dropped []string) {
	env = []string{"PATH=" + searchPath, "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C.UTF-8"}
	flags := map[string][]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case slices.Contains(passed, name):
			if value != "" {
				flags[name] = append(flags[name], value)
			}
		case slices.ContainsFunc(leaking, func(pattern string) bool { ok, _ := filepath.Match(pattern, name); return ok }):
			dropped = append(dropped, name)
		}
	}
	for _, name := range passed {
		if len(flags[name]) > 0 {
			env = append(env, name+"="+strings.Join(flags[name], " "))
		}
	}
	if len(cflags) > 0 {
		env = append(env, "CFLAGS_NODIST="+strings.Join(slices.Concat(cflags, flags["CFLAGS"]), " "))
	}
	slices.Sort(dropped)
	return env, dropped
}
