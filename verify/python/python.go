// Package python decides whether a CPython, staged or installed, is what was
// promised.
//
// It promises that a nil error from [Inspect] means all of this was seen to
// work: the version, the prefix and the build options are those asked for;
// every promised module imports, and does one true thing; certificates are
// found; no file needs, and nothing was loaded from, a library that belongs
// neither to the system nor to the prefix, nor leads the dynamic linker to
// such a place; the commands in bin have versioned names and start this very
// interpreter; its own pip installs, for everybody and for one user, without
// an override; and a virtual environment with pip can be made. Nothing of the
// trial stays in the prefix, and no bytecode is written there.
//
// Of a Python that is to carry the marker of PEP 668 it means instead that pip
// refuses. Of a stranger, about which nobody promised anything, it means that
// what is there works; what is not there is said, and is no failure.
//
// The true things: TLS with a certificate that is verified; queries, also of
// JSON and full texts; digests, key derivation and compression with known
// results; a call into C and one back; a terminal's description; a line of
// history; databases in a file; a Tcl expression, without a display; two
// identifiers; a division, an offset from UTC, a password; and of what needs
// nothing from the host asyncio, datetime, json, math, multiprocessing,
// pickle, pyexpat, socket, struct, subprocess and unicodedata. All other
// modules, such as nis, only import.
//
// What it does not promise: that CPython's own tests pass, or that a network
// can be reached. The interpreter opens no connection but one to itself.
// Something that the host has not for any Python (the terminals' and zones'
// descriptions, shared memory, extensions of SQLite) is said, and is no
// failure.
//
// It must not know how a program is started (that comes in as an [Exec]),
// where a Python comes from, how it was built, or which parts a release has.
// Facts are gathered by one script that the interpreter itself runs, and are
// judged here, so that every judgement can be tested without a Python.
package python

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
)

// Exec runs argv, whose first element is an absolute path, in the directory
// Request.Work, and returns what it wrote to standard output. The entries of
// env (NAME=value) are added to the environment that Exec gives every program
// and win over it. The text of the error carries the tail of standard error.
//
// The directory matters: Python may import from where it runs, so that anywhere
// else a stray json.py would decide, or do worse. Inspect insists on it.
type Exec func(ctx context.Context, env []string, argv ...string) (stdout []byte, err error)

// Module is a module that must import.
type Module struct {
	Part string // what it belongs to, such as "ssl"
	Name string // what is imported, such as "_ssl"
}

// Request says what to look at and what was promised.
type Request struct {
	Executable       string // absolute path of the interpreter
	Version          string // "3.13.5", "3.15.0rc2"
	Prefix           string // sys.prefix as it must be now; in a stage, the staged directory
	ConfiguredPrefix string // what was given to configure; "" is Prefix
	FreeThreaded     bool   // built without the global interpreter lock
	Debug            bool   // built with assertions (--with-pydebug)
	Shared           bool   // built with libpython as a shared library

	Modules []Module

	// Processor is what the interpreter uses of a processor, as the kernel calls
	// it; empty: nothing that some of its architecture lack. Machine is the root
	// of the file system that says what this one can do, and needed only then.
	Processor []string
	Machine   fs.FS

	// Programs are the names in Prefix/bin that belong to this Python; nil
	// means all that are there, which is right for a stage.
	Programs []string
	// Unversioned are names without a version that are wanted in Prefix/bin,
	// such as "python3".
	Unversioned []string
	// Libraries are directories, besides the system's and the prefix, from
	// which shared libraries may be loaded.
	Libraries []string
	// ReadOnly leaves the prefix alone: pip is tried with --user only.
	ReadOnly bool
	// Managed says that there is a marker, because of which pip must refuse.
	Managed bool
	// Stranger says that nothing was promised: the version, the prefixes, the
	// build options and the names of commands are what they are, Modules are
	// those to look for, and pip and venv may be missing or refuse. It implies
	// ReadOnly.
	Stranger bool

	Work string // an empty directory; what is left in it is for the caller to remove
	Exec Exec
}

// Names of the checks, in the order of Report.Results. Start is there only
// when it failed, and then the last, as processor is when it failed; checks
// that do not apply are left out.
const (
	CheckProcessor   = "processor"
	CheckStart       = "start"
	CheckVersion     = "version"
	CheckPrefix      = "prefix"
	CheckBuild       = "build"
	CheckModules     = "modules"
	CheckSSL         = "ssl"
	CheckSQLite      = "sqlite"
	CheckHashlib     = "hashlib"
	CheckCtypes      = "ctypes"
	CheckCompression = "compression"
	CheckDecimal     = "decimal"
	CheckCurses      = "curses"
	CheckReadline    = "readline"
	CheckTkinter     = "tkinter"
	CheckDbm         = "dbm"
	CheckUUID        = "uuid"
	CheckZoneinfo    = "zoneinfo"
	CheckCrypt       = "crypt"
	CheckCore        = "core"
	CheckLinkage     = "linkage"
	CheckScripts     = "scripts"
	CheckPip         = "pip"
	CheckPipUser     = "pip-user"
	CheckVenv        = "venv"
)

// Result is the outcome of one check.
type Result struct {
	Check  string // one of the Check constants
	Detail string // what was found, for people; may be empty
	Err    error  // nil when the check passed
}

// Report is everything that was found.
type Report struct {
	Results  []Result
	Schemes  map[string]string // install scheme -> its directory of the standard library
	Compiler string            // as the interpreter names it, "GCC 12.2.0"
	Parts    map[string]error  // every part of Request.Modules; nil when all its modules import
	// Libraries are all that the files of this Python need, by their names.
	Libraries []Library

	Version string // as the interpreter says it
	Prefix  string // its sys.prefix
	Stdlib  string // in the scheme that pip uses, where it looks for a marker
	Pip     string // its version; "" when there is none
	Refused bool   // pip refused because of a marker
}

// Inspect runs all checks on the interpreter and reports each. The error is a
// [*RejectedError] when a check failed; the report is complete then, too. Any
// other error means that it could not look, or not clean up after itself;
// without a report it could not look.
func Inspect(ctx context.Context, req Request) (*Report, error) {
	if req.ConfiguredPrefix == "" {
		req.ConfiguredPrefix = req.Prefix
	}
	req.ReadOnly = req.ReadOnly || req.Stranger
	if err := req.validate(); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", req.Executable, err)
	}
	in := inspection{Request: req}

	report, err := in.run(ctx)
	if ctx.Err() != nil {
		// Whatever failed, failed because of that; only what could not be
		// cleaned up is news.
		return nil, fmt.Errorf("inspect %s: %w", req.Executable, errors.Join(context.Cause(ctx), err))
	}
	if err != nil {
		err = fmt.Errorf("inspect %s: %w", req.Executable, err)
	}
	if report == nil {
		return nil, err
	}
	rejected := &RejectedError{Executable: req.Executable}
	for _, r := range report.Results {
		if r.Err != nil {
			rejected.Failures = append(rejected.Failures, r)
		}
	}
	switch {
	case rejected.Failures == nil:
		return report, err
	case err == nil:
		return report, rejected
	}
	return report, errors.Join(rejected, err)
}

var versionSyntax = regexp.MustCompile(`^(3\.(?:[89]|[1-9][0-9]+))\.(?:0|[1-9][0-9]*)(?:(?:a|b|rc)[1-9]?[0-9])?$`)

// series is "3.13" of the version "3.13.5".
func (r *Request) series() string {
	return versionSyntax.FindStringSubmatch(r.Version)[1]
}

// staged says whether the tree is not yet where it was configured for.
func (r *Request) staged() bool { return r.Prefix != r.ConfiguredPrefix }

func (r *Request) validate() error {
	if !r.Stranger && !versionSyntax.MatchString(r.Version) {
		return &VersionError{Version: r.Version}
	}
	dirs := []*string{&r.Executable, &r.Work, &r.Prefix, &r.ConfiguredPrefix}
	if r.Stranger {
		dirs = dirs[:2]
	}
	for _, dir := range dirs {
		if !filepath.IsAbs(*dir) {
			return fmt.Errorf("path %q is not absolute", *dir)
		}
		*dir = filepath.Clean(*dir)
	}
	if r.Exec == nil {
		return errors.New("no way to run a program")
	}
	// Both are the caller's promises; a verdict on Python would be wrong.
	if _, err := os.Stat(r.Executable); err != nil {
		return err
	}
	switch entries, err := os.ReadDir(r.Work); {
	case err != nil:
		return err
	case len(entries) > 0:
		return fmt.Errorf("work directory %s is not empty", r.Work)
	}
	return nil
}

// inspection is one run of Inspect.
type inspection struct {
	Request
	facts     *facts
	files     []*elfFile
	broken    []error // files that claim to be ELF files
	libraries []Library
}

// run makes all checks. An error beside a report is about cleaning up.
func (in *inspection) run(ctx context.Context) (report *Report, err error) {
	var before []Result
	if len(in.Processor) > 0 { // before it meets an instruction that is none here
		detail, err := runs(in.Machine, in.Processor)
		before = []Result{{Check: CheckProcessor, Detail: detail, Err: err}}
		if err != nil {
			return &Report{Results: before}, nil
		}
	}
	var rejected error
	in.facts, rejected, err = in.ask(ctx)
	if err != nil {
		return nil, err
	}
	if rejected != nil {
		return &Report{Results: append(before, Result{Check: CheckStart, Err: rejected})}, nil
	}
	if dir := in.facts.Directory; !samePath(dir, in.Work) {
		return nil, fmt.Errorf("programs are run in %s, not in %s", dir, in.Work)
	}
	parts := in.parts()
	if in.Stranger {
		if err := in.settle(); err != nil {
			return &Report{Results: []Result{{Check: CheckVersion, Err: err}}}, nil
		}
	}
	if err := in.audit(); err != nil {
		return nil, fmt.Errorf("audit of the linkage: %w", err)
	}
	report = &Report{
		Results:   append(before, in.judge()...),
		Schemes:   make(map[string]string),
		Compiler:  in.facts.Compiler,
		Parts:     parts,
		Libraries: in.libraries,
		Version:   in.facts.Version,
		Prefix:    in.facts.Prefix,
		Stdlib:    in.facts.scheme().Stdlib,
		Pip:       in.facts.Pip,
	}
	for name, scheme := range in.facts.Schemes {
		report.Schemes[name] = scheme.Stdlib
	}

	w, err := writeWheel(in.Work)
	if err != nil {
		return nil, fmt.Errorf("write a wheel: %w", err)
	}
	// After a failure, or a cancelled context, pip is no help any more. The
	// name is unique: nothing of anybody else's can carry it.
	defer func() { err = errors.Join(err, w.sweep(in.installDirs())) }()

	// The slow ones, which start a dozen processes: pip's two trials share
	// site-packages and wait for each other, venv needs only Work.
	var trials []Result
	var venv Result
	var group sync.WaitGroup
	group.Go(func() {
		if in.Stranger {
			var detail string
			var err error
			detail, report.Refused, err = in.strangersPip(ctx, w)
			trials = append(trials, result(CheckPip)(detail, err))
			return
		}
		if !in.ReadOnly {
			trials = append(trials, result(CheckPip)(in.pip(ctx, w)))
		}
		trials = append(trials, result(CheckPipUser)(in.pipUser(ctx, w)))
		report.Refused = in.Managed && !slices.ContainsFunc(trials, func(r Result) bool { return r.Err != nil })
	})
	group.Go(func() {
		if in.Stranger {
			venv = result(CheckVenv)(in.strangersVenv(ctx))
			return
		}
		venv = result(CheckVenv)(in.venv(ctx))
	})
	group.Wait()
	report.Results = append(append(report.Results, trials...), venv)
	return report, nil
}

// result makes a Result of what a check returns.
func result(check string) func(detail string, err error) Result {
	return func(detail string, err error) Result {
		return Result{Check: check, Detail: detail, Err: err}
	}
}

// exec runs argv so that it leaves no bytecode anywhere.
func (in *inspection) exec(ctx context.Context, env []string, argv ...string) ([]byte, error) {
	// Programs that pip and venv start do not inherit -B.
	base := []string{"PYTHONDONTWRITEBYTECODE=1"}
	if in.Shared && in.staged() {
		// The rpath names a place where libpython has yet to arrive.
		base = append(base, "LD_LIBRARY_PATH="+filepath.Join(in.Prefix, "lib"))
	}
	return in.Exec(ctx, append(base, env...), argv...)
}
