package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
	"pybuild/verify/python"
)

// RejectedError says that the build went through and that its result is not what was promised. The prefix is unchanged.
type RejectedError struct {
	Version string
	Err     error
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("Python %s was built, but it is not installed: %v", e.Version, e.Err)
}
func (e *RejectedError) Unwrap() error { return e.Err }

// inspect proves the staged Python with the staged interpreter and writes down what it is.
func (in *Installer) inspect(ctx context.Context, rel *recipes.Selection, o Options, s *site, w *workspace, plan *build.Plan, stage string) (*prefix.Manifest, error) {
	reject := func(err error) error { return &RejectedError{Version: rel.String(), Err: err} }

	if err := mark(w.stage, rel, o); err != nil {
		return nil, reject(err)
	}
	entries, err := w.scan(stage)
	if err != nil {
		return nil, err
	}
	// Only now, so that the build could put nothing into it.
	if err := s.builder.share(w.probe); err != nil {
		return nil, &DirectoryError{Purpose: "build", Dir: w.dir, Err: err}
	}
	confine := s.builder.confine(append(w.writable(), w.probe))
	request := in.inspection(rel, o, s.found.Missing, stage, w.probe, plan.Env, confine)
	report, err := python.Inspect(ctx, request)
	if err != nil {
		var rejected *python.RejectedError
		if errors.As(err, &rejected) {
			return nil, reject(err)
		}
		return nil, err
	}
	if err := marked(stage, rel, o, report); err != nil {
		return nil, reject(err)
	}
	// What was proven is what will be installed: the inspection itself must not have changed it.
	after, err := w.scan(stage)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(entries, after) {
		return nil, reject(errors.New("the staged files changed while they were inspected"))
	}

	m := &prefix.Manifest{
		Name: rel.Executable(), Version: rel.String(), Executable: "bin/" + rel.Executable(),
		Profile: o.Profile.Name, ConfigureArgs: plan.ConfigureArgs(), Environment: flags(plan.Env), Compiler: report.Compiler, Options: choices(o),
		Parts: map[string]string{}, Marker: marker(o), Paths: entries,
	}
	if o.Profile.CPU == recipes.CPUNative {
		if m.Processor, err = host.Instructions(ctx, plan.Env, python.Processor(in.Root), w.home, plan.Confine); err != nil {
			return nil, err
		}
	}
	for _, p := range in.Catalogue.PartsOf(rel.Series.Name) {
		switch {
		case p.Tier == "option":
			if slices.Contains(o.With, p.Name) {
				m.Parts[p.Name] = "present"
			}
		case slices.Contains(o.Without, p.Name):
			m.Parts[p.Name] = "dropped"
		case lacks(s.found.Missing, p.Name):
			m.Parts[p.Name] = "missing"
			in.Reporter.Warn(p.Name + " is missing from this Python")
		default:
			m.Parts[p.Name] = "present"
		}
	}
	for _, q := range s.quirks {
		m.Quirks = append(m.Quirks, q.Says)
	}
	for _, l := range report.Libraries {
		m.Libraries = append(m.Libraries, prefix.Library(l))
	}
	for _, r := range report.Results {
		// The stage is gone when somebody reads this.
		m.Checks = append(m.Checks, prefix.Check{Name: r.Check, Detail: strings.ReplaceAll(r.Detail, stage, o.Prefix)})
	}
	return m, nil
}

// scan describes what lies below stage, which is in the workspace, with the modes that it will have: nobody but its owner can change
// it, and directories pass on only what those of the prefix do. Whoever built it must not make us take over what is elsewhere, or
// hand out rights: a link on the way to the stage, and a file that runs as its owner, are a *prefix.TreeError.
func (w *workspace) scan(stage string) ([]prefix.Entry, error) {
	for dir := stage; dir != w.stage; dir = filepath.Dir(dir) { // it is below by its name
		info, err := os.Lstat(dir)
		if err != nil {
			return nil, fmt.Errorf("scanning: %w", err)
		}
		if !info.IsDir() {
			return nil, &prefix.TreeError{Dir: w.stage, Path: strings.TrimPrefix(dir, w.stage+"/"), Reason: "is on the way to the prefix, and no directory"}
		}
	}
	entries, err := prefix.Scan(stage)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		e := &entries[i]
		if e.Type == "link" {
			continue // its mode means nothing
		}
		mode, err := strconv.ParseUint(e.Mode, 8, 12)
		if err != nil || e.Type == "file" && mode&0o6000 != 0 {
			return nil, &prefix.TreeError{Dir: stage, Path: e.Path, Reason: "would run with the rights of its owner: its mode is " + e.Mode}
		}
		e.Mode = fmt.Sprintf("%04o", mode&0o755)
	}
	return entries, nil
}

// inspection is what an interpreter of this release must be able to do, wherever it lies now.
func (in *Installer) inspection(rel *recipes.Selection, o Options, missing []host.Missing, dir, work string, env []string, confine *run.Confinement) python.Request {
	shared := slices.Contains(o.With, "shared")
	r := python.Request{
		Executable: filepath.Join(dir, "bin", rel.Executable()), Version: rel.Version.String(), Prefix: dir, ConfiguredPrefix: o.Prefix,
		FreeThreaded: rel.FreeThreaded, Debug: slices.Contains(o.Profile.ConfigureArgs, "--with-pydebug"), Shared: shared,
		Work: work, Exec: executor(env, dir, work, shared, confine), Unversioned: o.Link, Managed: o.Managed,
	}
	for _, p := range in.Catalogue.PartsOf(rel.Series.Name) {
		if slices.Contains(o.Without, p.Name) || lacks(missing, p.Name) || p.Tier == "option" && !slices.Contains(o.With, p.Name) {
			continue
		}
		for _, m := range p.Modules {
			r.Modules = append(r.Modules, python.Module{Part: p.Name, Name: m.Name})
		}
	}
	return r
}

func lacks(missing []host.Missing, part string) bool {
	return slices.ContainsFunc(missing, func(m host.Missing) bool { return m.Name == part })
}

// inspectionTimeout is how long one command of an inspection may take: each takes seconds.
const inspectionTimeout = 10 * time.Minute

// What a command of an inspection may say at most, and how much of it an error repeats, in bytes. A sound one says some KiB.
const (
	maxWords = 16 << 20
	maxShown = 4 << 10
)

// A limited buffer takes no more than it has left; the command that writes to it is then told that nobody listens.
type limited struct {
	text []byte
	left int // negative: there was more
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, io.ErrShortBuffer
	}
	l.text = append(l.text, p...)
	return len(p), nil
}

// executor runs the interpreter of dir in the environment of its build, with work as the working directory. A libpython of its
// own is found there although the rpath already names the place where it will be.
func executor(env []string, dir, work string, shared bool, confine *run.Confinement) python.Exec {
	if shared {
		env = append(slices.Clone(env), "LD_LIBRARY_PATH="+filepath.Join(dir, "lib"))
	}
	return func(ctx context.Context, additional []string, argv ...string) ([]byte, error) {
		stdout, log := &limited{left: maxWords}, &limited{left: maxWords}
		all := slices.Concat(env, additional)
		err := run.Run(ctx, run.Command{Argv: argv, Dir: work, Env: all, Stdout: stdout, Log: log, Timeout: inspectionTimeout, Confine: confine})
		switch {
		case ctx.Err() != nil:
		case stdout.left < 0 || log.left < 0:
			err = fmt.Errorf("%s: said more than %d MiB", run.Quote(argv[:1]), maxWords>>20)
		case err != nil:
			// A whole script among the arguments says nothing to anybody.
			failed, _ := errors.AsType[*run.Error](err)
			if failed != nil && slices.ContainsFunc(argv, func(arg string) bool { return strings.Contains(arg, "\n") }) {
				err = failed.Err
			}
			end := log.text[max(0, len(log.text)-maxShown):]
			lines := strings.Split(strings.TrimSpace(string(end)), "\n")
			err = fmt.Errorf("%w: %s", err, strings.Join(lines[max(0, len(lines)-5):], "\n"))
		}
		return stdout.text, err
	}
}

// flags are the variables of an environment that shape a build, without the directories that are gone afterwards.
func flags(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") || strings.HasPrefix(v, "TMPDIR=")
	})
}
