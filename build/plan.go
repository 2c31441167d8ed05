// Package build turns the unpacked source of a CPython release into a staged installation. What will be done is a value, a
// Plan, that can be printed before anything happens; running it changes the source tree, the stage and the log directory, keeps what
// later builds need not find out again where it is told to, and changes nothing else.
//
// It must not fetch, verify or inspect, and it never touches the prefix: the prefix is only a string that configure is told.
package build

import (
	_ "embed"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pybuild/build/run"
	"pybuild/recipes"
)

//go:embed complete.py
var complete string

// installing stands for the interpreter that make runs while it installs. make would byte-compile everything for three levels of
// optimisation; complete.py does it for one, and knows how to use all processors in every series.
const installing = `case " $* " in *"/compileall.py "*) exit 0 ;; esac
exec ./python -E "$@"
`

// Request is what a Plan is made for.
type Request struct {
	Release *recipes.Selection
	Profile *recipes.Profile
	// Prefix is where the Python will live, absolute.
	Prefix string
	// Source is the unpacked tree; Stage takes the place of the file system's root during the installation; Home is HOME and
	// TMPDIR of every command; Logs receives one file a step.
	Source, Stage, Home, Logs string
	// Parts are the parts of this release. Those named in Without are left out on purpose; With adds tests and shared. Missing
	// names those that this machine lacks what they need for, and that may be missing. All others are promised: a build without
	// one of their extension modules fails.
	Parts                  []*recipes.Part
	With, Without, Missing []string
	// Quirks are those that apply to this build.
	Quirks []*recipes.Quirk
	// Failures are looked for in the log of a step that fails, the most telling first.
	Failures []*recipes.Failure
	// HostArgs is what configure must be told to use what this machine has; HostEnv are variables that take the place of the
	// plan's.
	HostArgs, HostEnv []string
	// ConfigureArgs are the user's own, last on the command line.
	ConfigureArgs []string
	// Links are made beside the interpreter: names without a version, and the names of the files that they lead to.
	Links map[string]string
	// Patches are applied to the source in this order, absolute file names.
	Patches []string
	// Jobs is how many compilers may run at once.
	Jobs int
	// Jobserver shares out the processors to several builds, which then use no more than it has together; Jobs is what this one
	// uses at most. nil: the build has them to itself.
	Jobserver *run.Jobserver
	// Test runs CPython's own test suite after the compilation.
	Test bool
	// Timeout is how long a command may take; 0 means as long as it likes.
	Timeout time.Duration
	// Confine keeps the commands from what they do not need; nil does not.
	Confine *run.Confinement
	// Environ is the caller's environment, of which little is passed on.
	Environ []string
	// Known is a directory of the caller's in which what a build found out is kept for later ones, and looked for; it is made
	// where it is missing. Empty: nothing is kept. NoConfigCache leaves configure out of that.
	Known         string
	NoConfigCache bool
	// Launcher stands before the compiler where that is safe; nil: nothing does.
	Launcher *Launcher
	// Strict ends a profile-guided build that cannot be guided as planned, or of which a training test fails.
	Strict bool
	// Answers is what configure would find out with this machine's toolchain in any case, by the names under which it caches. It
	// is told, unless the caller's environment, arguments or patches could make a difference, or an earlier run is known.
	Answers map[string]string
}

// Step is one part of a plan: commands, one after the other, in the source tree, with one log.
type Step struct {
	// Name is the step's name in every output: patch, configure, compile, train, test, stage. Two steps may have the same; then
	// Log names the log of one of them.
	Name, Log string
	Commands  [][]string
	// Fewer takes the place of Commands when memory ran out; nil: the step is not tried again.
	Fewer [][]string
	// Guided says that the step is part of a profile-guided compilation in steps of our own. Where CPython's Makefile is not made
	// for that, Plain takes the place of Commands, and a step without it is left out.
	Guided bool
	Plain  [][]string
	// Env is added to the environment of the plan.
	Env []string
	// Launcher stands before the compiler in every make of the step; empty: nothing does.
	Launcher string
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
	// Timeout is how long a command may take, 0: as long as it likes; Confine keeps it from what it does not need.
	Timeout time.Duration
	Confine *run.Confinement
	// Jobserver shares out the processors, nil: nobody does. With one, the number of processes in a command is the most that it gets.
	Jobserver *run.Jobserver
	// Progress is told how far the steps are, perhaps by another goroutine; nil: nobody asks. Expected is how much they had to do in
	// an earlier build that was like this one, [Result].Counts; what is not there is asked of make, where make can say it.
	Progress func(Progress)
	Expected map[string]int64

	jobs     int     // how many processes a command may use that is told
	known    string  // where configure's answers are kept; empty: nowhere
	certain  answers // what configure may be told where nothing is kept
	site     string  // what configure is told in advance, a script
	profiles string  // where profiles are kept; empty: nowhere
	strict   bool    // a training that is not whole is an error

	promised map[string]*recipes.Part // by extension module
	left     map[string]bool          // extension modules that are left out on purpose
	failures []*recipes.Failure
}

// strict makes make fail, at its end or before the training of a profile-guided build, when any extension module that is not
// disabled is missing. setup.py of 3.11 has it too, but counts disabled ones.
const strict = "PYTHONSTRICTEXTENSIONBUILD=1"

// ConfigureArgs are the arguments of configure, for the record.
func (p *Plan) ConfigureArgs() []string {
	for _, s := range p.Steps {
		if s.Name == "configure" {
			return s.Commands[0][1:]
		}
	}
	return nil
}

// Launcher is the program that stands before the compiler, "" when none does.
func (p *Plan) Launcher() string {
	for _, s := range p.Steps {
		if s.Launcher != "" {
			return s.Launcher
		}
	}
	return ""
}

// NewPlan says what a build of r will do. It reads and writes nothing.
func NewPlan(r Request) *Plan {
	series := r.Release.Series
	tests, shared := slices.Contains(r.With, "tests"), slices.Contains(r.With, "shared")
	p := &Plan{Dir: r.Source, Stage: filepath.Join(r.Stage, r.Prefix), Logs: r.Logs, Files: map[string]string{}, Timeout: r.Timeout, Confine: r.Confine, failures: r.Failures, Jobserver: r.Jobserver, jobs: r.Jobs, strict: r.Strict}

	cflags, profileArgs := slices.Clone(r.Profile.CFlags), slices.Clone(r.Profile.ConfigureArgs)
	var ldflags, quirkArgs []string
	for _, q := range r.Quirks {
		without := func(arg string) bool { return slices.Contains(q.Without, arg) }
		cflags, profileArgs = slices.DeleteFunc(cflags, without), slices.DeleteFunc(profileArgs, without)
	}
	for _, q := range r.Quirks {
		cflags, ldflags, quirkArgs = append(cflags, q.CFlags...), append(ldflags, q.LDFlags...), append(quirkArgs, q.ConfigureArgs...)
	}

	if slices.Contains(r.With, "debug-info") {
		cflags = slices.DeleteFunc(cflags, func(flag string) bool { return flag == undebugged })
	}

	environ := slices.Clone(r.Environ)
	if shared {
		environ = append(environ, "LDFLAGS=-Wl,-rpath,"+filepath.Join(r.Prefix, "lib"))
	}
	p.Env, p.Dropped = Environment(environ, r.Home, cflags...)
	if len(ldflags) > 0 {
		p.Env = append(p.Env, "LDFLAGS_NODIST="+strings.Join(ldflags, " "))
	}
	for _, v := range r.HostEnv {
		name, _, _ := strings.Cut(v, "=")
		p.Env = append(slices.DeleteFunc(p.Env, func(own string) bool { return strings.HasPrefix(own, name+"=") }), v)
	}

	configure := []string{"./configure", "--prefix=" + r.Prefix, "--enable-option-checking=fatal", "--with-ensurepip=install"}
	configure = slices.Concat(configure, series.ConfigureArgs, r.HostArgs, profileArgs, quirkArgs)
	var remove, disabled []string
	optimized := asked(slices.Concat(configure, r.ConfigureArgs), recipes.Optimizations, "--disable-optimizations")
	tested := r.Test || optimized && series.NoTests.Training // they are run, and need their extension modules
	if !tests && !tested {
		configure = append(configure, series.NoTests.ConfigureArgs...)
		disabled = append(disabled, series.NoTests.Extensions...)
	}
	if !tests && (tested || len(series.NoTests.ConfigureArgs) == 0) {
		remove = series.NoTests.Directories
	}
	if !slices.Contains(r.With, "static") {
		configure = append(configure, series.NoStatic...)
	}
	if shared {
		configure = append(configure, "--enable-shared")
	}
	if r.Release.FreeThreaded {
		configure = append(configure, "--disable-gil")
	}
	disabled = append(disabled, p.divide(r)...)
	if len(disabled) > 0 {
		p.Files[filepath.Join(r.Source, "Modules", "Setup.local")] = "*disabled*\n" + strings.Join(disabled, "\n") + "\n"
	}

	// Empty unless answers are known. Without it configure would read PREFIX/share/config.site, which is not ours.
	p.site = filepath.Join(r.Home, "config.site")
	p.Files[p.site] = ""
	if r.Known != "" {
		p.profiles = filepath.Join(r.Known, "profile")
		if !r.NoConfigCache {
			p.known = filepath.Join(r.Known, "configure")
			if r.plain() {
				p.certain = r.Answers
			}
		}
	}

	if len(r.Patches) > 0 {
		patch := Step{Name: "patch"}
		for _, file := range r.Patches {
			patch.Commands = append(patch.Commands, []string{"patch", "--batch", "--forward", "--strip=1", "--input=" + file})
		}
		p.Steps = append(p.Steps, patch)
	}
	configure = append(configure, r.ConfigureArgs...)
	p.Steps = append(p.Steps, Step{Name: "configure", Commands: [][]string{configure}, Env: []string{"CONFIG_SITE=" + p.site}})
	switch final := compile(r, "make"); {
	case optimized:
		p.Steps = append(p.Steps, p.guided(r, asked(configure, "--with-lto", "--without-lto"), shared)...)
	case r.Launcher != nil:
		p.Steps = append(p.Steps, r.Launcher.through(final, r.Source, p.variable("CFLAGS_NODIST")))
	default:
		p.Steps = append(p.Steps, final)
	}
	if r.Test {
		test := []string{"make", "test"}
		if slices.Contains(cflags, undebugged) { // gdb, where there is one, would see too little
			test = append(test, "EXTRATESTOPTS=-x test_gdb")
		}
		p.Steps = append(p.Steps, Step{Name: "test", Commands: [][]string{test}})
	}
	p.Steps = append(p.Steps, p.stage(r, remove, tested && !tests, shared))
	return p
}

// asked says what configure makes of its arguments about one feature: the last one counts, and on=no is off.
func asked(args []string, on, off string) (yes bool) {
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case on:
			yes = value != "no"
		case off:
			yes = false
		}
	}
	return yes
}

// compile runs make for several targets at once.
func compile(r Request, argv ...string) Step {
	with := func(jobs int) [][]string { return [][]string{append(slices.Clone(argv), jobsArg(jobs))} }
	s := Step{Name: "compile", Commands: with(r.Jobs)}
	if r.Jobs > 1 {
		s.Fewer = with(1)
	}
	if r.Release.Version.Minor >= 12 {
		s.Env = []string{strict}
	}
	return s
}

// trainingTimeout is how many seconds a file of tests may take while it trains; instrumented ones are slow.
const trainingTimeout = 600

// guided does what "make profile-opt" does, in steps: an instrumented interpreter, its training, and the compilation with what
// was learnt. make would train with one process, and link the instrumented interpreter and programs that nobody installs with
// link-time optimisation, for many minutes and nothing: it is only for the interpreter itself.
func (p *Plan) guided(r Request, lto, shared bool) []Step {
	cflags, ldflags := "CFLAGS_NODIST="+p.variable("CFLAGS_NODIST"), "LDFLAGS_NODIST="+p.variable("LDFLAGS_NODIST")

	instrument := compile(r, "make", "profile-gen-stamp")
	instrument.Log, instrument.Guided = "instrument", true
	train := Step{Name: "train", Guided: true, Commands: [][]string{
		{"./python", "-m", "test", "--pgo", "--timeout=" + strconv.Itoa(trainingTimeout), jobsArg(r.Jobs)},
	}}
	if shared {
		train.Env = []string{"LD_LIBRARY_PATH=" + p.Dir}
	}

	final := compile(r, "make")
	final.Guided, final.Plain = true, final.Commands
	before := [][]string{{"make", "clean-retain-profile"}, {"touch", "profile-run-stamp"}}
	if lto {
		instrument.Env = append(instrument.Env, cflags+" -fno-lto", ldflags+" -fno-lto")
		var programs []string
		if r.Release.Version.Minor >= 11 {
			programs = append(programs, "Programs/_freeze_module")
		}
		if !shared { // it needs libpython, which would be linked for it
			programs = append(programs, "Programs/_testembed")
		}
		argv := []string{"make", cflags + " $(PGO_PROF_USE_FLAG)", ldflags + " -fno-lto", jobsArg(r.Jobs)}
		before = append(before, append(argv, programs...))
	}
	final.Commands = append(before, final.Commands...)
	return []Step{instrument, train, final}
}

// variable is the value of a variable of the plan's environment.
func (p *Plan) variable(name string) string {
	for _, v := range p.Env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// divide says of every extension module of a part whether the build promises it or leaves it out, and returns those that must be
// disabled for that. Core parts cannot be left out; what belongs to an option is left out by configure, or by NoTests.
func (p *Plan) divide(r Request) (disabled []string) {
	p.promised, p.left = map[string]*recipes.Part{}, map[string]bool{}
	for _, part := range r.Parts {
		option := part.Tier == recipes.TierOption
		out := slices.Contains(r.Without, part.Name) || slices.Contains(r.Missing, part.Name) || option && !slices.Contains(r.With, part.Name)
		for _, x := range part.Extensions {
			if part.Tier == recipes.TierCore || !out {
				p.promised[x.Name] = part
				continue
			}
			p.left[x.Name] = true
			if !option {
				disabled = append(disabled, x.Name)
			}
		}
	}
	return disabled
}

// untest returns the command that removes from the stage the extension modules that only tests use; nil when there are none.
func (p *Plan) untest(parts []*recipes.Part) (argv []string) {
	for _, part := range parts {
		if part.Name != "tests" {
			continue
		}
		for _, x := range part.Extensions {
			argv = append(argv, "-o", "-name", x.Name+".*")
		}
	}
	if argv == nil {
		return nil
	}
	return slices.Concat([]string{"find", p.Stage, "-path", "*/lib-dynload/*", "("}, argv[1:], []string{")", "-delete"})
}

// stage installs below the stage: first what make installs, then pip, whose scripts must name the interpreter's final path. make
// itself must not use several processes: its rules for an installation need each other's directories, and do not say so
// (https://github.com/python/cpython/issues/109796).
func (p *Plan) stage(r Request, remove []string, untest, shared bool) Step {
	executable := filepath.Join("bin", r.Release.Executable())
	python, script, wrapper := filepath.Join(p.Stage, executable), filepath.Join(r.Home, "complete.py"), filepath.Join(r.Home, "installing.sh")
	p.Files[script], p.Files[wrapper] = complete, installing
	s := Step{Name: "stage"}
	if len(remove) > 0 {
		s.Commands = append(s.Commands, append([]string{"rm", "-rf"}, remove...))
	}
	s.Commands = append(s.Commands,
		[]string{"make", "altinstall", "DESTDIR=" + r.Stage, "ENSUREPIP=no", "PYTHON_FOR_BUILD=sh " + wrapper},
		[]string{python, "-I", "-B", "-W", "ignore", script, filepath.Join(r.Prefix, executable), r.Stage, jobsArg(r.Jobs)},
	)
	if !slices.Contains(r.With, "static") && len(r.Release.Series.NoStatic) == 0 {
		s.Commands = append(s.Commands, []string{"find", p.Stage, "-name", "libpython*.a", "-delete"})
	}
	if argv := p.untest(r.Parts); untest && argv != nil {
		s.Commands = append(s.Commands, argv)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Links)) {
		s.Commands = append(s.Commands, []string{"ln", "-s", r.Links[name], filepath.Join(p.Stage, "bin", name)})
	}
	if shared {
		// Of the stable ABI there is one in a prefix, whatever the number of Pythons: a name without a version, like python3.
		if _, wanted := r.Links["python3"]; !wanted {
			s.Commands = append(s.Commands, []string{"rm", "-f", filepath.Join(p.Stage, "lib", "libpython3.so")})
		}
		s.Env = []string{"LD_LIBRARY_PATH=" + filepath.Join(p.Stage, "lib")} // the rpath names the final place
	}
	return s
}
