// Package build turns the unpacked source of a CPython release into a staged installation. What will be done is a value, a
// Plan, that can be printed before anything happens; running it changes the source tree, the stage and the log directory, and
// nothing else.
//
// It must not fetch, verify or inspect, and it never touches the prefix: the prefix is only a string that configure is told.
package build

import (
	_ "embed"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pybuild/recipes"
)

//go:embed install_pip.py
var installPip string

// Request is what a Plan is made for.
type Request struct {
	Release *recipes.Selection
	Profile *recipes.Profile
	// Prefix is where the Python will live, absolute.
	Prefix string
	// Source is the unpacked tree; Stage takes the place of the file system's root during the installation; Home is HOME and
	// TMPDIR of every command; Logs receives one file a step.
	Source, Stage, Home, Logs string
	// Parts are the parts of this release. Those named in Without are left out on purpose; With adds tests and shared.
	Parts         []*recipes.Part
	With, Without []string
	// HostArgs is what configure must be told to use what this machine has.
	HostArgs []string
	// ConfigureArgs are the user's own, last on the command line.
	ConfigureArgs []string
	// Patches are applied to the source in this order, absolute file names.
	Patches []string
	// Jobs is how many compilers may run at once.
	Jobs int
	// Test runs CPython's own test suite after the compilation.
	Test bool
	// Environ is the caller's environment, of which little is passed on.
	Environ []string
}

// Step is one part of a plan: commands, one after the other, in the source tree, with one log.
type Step struct {
	// Name is the step's name in every output: patch, configure, compile, test, stage.
	Name     string
	Commands [][]string
	// Remove lists directories of the source tree, relative to it, that are removed before the commands run.
	Remove []string
	// Env is added to the environment of the plan.
	Env []string
}

// Plan is everything that a build will do.
type Plan struct {
	Steps []Step
	// Env is the whole environment of every command.
	Env []string
	// Dropped names the variables of the caller that would have changed the build and were not passed on.
	Dropped []string
	// Files are written before the first step, by absolute name.
	Files map[string]string
	// Dir is the source tree, Stage the directory that mirrors the prefix after a successful run, Logs where the logs go.
	Dir, Stage, Logs string
}

// ConfigureArgs are the arguments of configure, for the record.
func (p *Plan) ConfigureArgs() []string {
	for _, s := range p.Steps {
		if s.Name == "configure" {
			return s.Commands[0][1:]
		}
	}
	return nil
}

// NewPlan says what a build of r will do. It reads and writes nothing.
func NewPlan(r Request) *Plan {
	series := r.Release.Series
	tests, shared := slices.Contains(r.With, "tests"), slices.Contains(r.With, "shared")

	environ := r.Environ
	if shared {
		environ = append(slices.Clone(environ), "LDFLAGS=-Wl,-rpath,"+filepath.Join(r.Prefix, "lib"))
	}
	p := &Plan{Dir: r.Source, Stage: filepath.Join(r.Stage, r.Prefix), Logs: r.Logs, Files: map[string]string{}}
	p.Env, p.Dropped = Environment(environ, r.Home, r.Profile.CFlags...)

	configure := []string{"./configure", "--prefix=" + r.Prefix, "--enable-option-checking=fatal", "--with-ensurepip=install"}
	configure = slices.Concat(configure, series.ConfigureArgs, r.HostArgs, r.Profile.ConfigureArgs)
	var remove, disabled []string
	if !tests {
		configure = append(configure, series.NoTests.ConfigureArgs...)
		disabled = append(disabled, series.NoTests.Extensions...)
		remove = series.NoTests.Directories
	}
	if shared {
		configure = append(configure, "--enable-shared")
	}
	if r.Release.FreeThreaded {
		configure = append(configure, "--disable-gil")
	}
	for _, part := range r.Parts {
		if slices.Contains(r.Without, part.Name) {
			disabled = append(disabled, part.Extensions...)
		}
	}
	if len(disabled) > 0 {
		p.Files[filepath.Join(r.Source, "Modules", "Setup.local")] = "*disabled*\n" + strings.Join(disabled, "\n") + "\n"
	}

	if len(r.Patches) > 0 {
		patch := Step{Name: "patch"}
		for _, file := range r.Patches {
			patch.Commands = append(patch.Commands, []string{"patch", "--batch", "--forward", "--strip=1", "--input=" + file})
		}
		p.Steps = append(p.Steps, patch)
	}
	p.Steps = append(p.Steps,
		Step{Name: "configure", Commands: [][]string{append(configure, r.ConfigureArgs...)}},
		Step{Name: "compile", Commands: [][]string{{"make", "-j" + strconv.Itoa(r.Jobs)}}})
	if r.Test {
		p.Steps = append(p.Steps, Step{Name: "test", Commands: [][]string{{"make", "test"}}})
	}
	p.Steps = append(p.Steps, p.stage(r, remove, shared))
	return p
}

// stage installs below the stage: first what make installs, then pip, whose scripts must name the interpreter's final path.
func (p *Plan) stage(r Request, remove []string, shared bool) Step {
	executable := filepath.Join("bin", r.Release.Executable())
	python, script := filepath.Join(p.Stage, executable), filepath.Join(r.Home, "install_pip.py")
	p.Files[script] = installPip
	s := Step{Name: "stage", Remove: remove, Commands: [][]string{
		{"make", "altinstall", "DESTDIR=" + r.Stage, "ENSUREPIP=no"},
		{python, "-I", "-B", script, filepath.Join(r.Prefix, executable)},
		{python, "-I", "-m", "compileall", "-q", "-j", strconv.Itoa(r.Jobs), "-s", r.Stage, "-p", "/", filepath.Join(p.Stage, "lib", r.Release.Executable(), "site-packages")},
	}}
	if shared {
		s.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(p.Stage, "lib")} // the rpath names the final place
	}
	return s
}
