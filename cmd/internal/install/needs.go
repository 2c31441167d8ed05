package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/run"
	"pybuild/recipes"
)

// Needs is what a build of rel with these options asks of the machine.
func (in *Installer) Needs(rel *recipes.Selection, o Options) host.Needs {
	parts := slices.DeleteFunc(slices.Clone(in.Catalogue.PartsOf(rel.Series.Name)), func(p *recipes.Part) bool {
		return slices.Contains(o.Without, p.Name)
	})
	env, _ := build.Environment(in.Environ, os.TempDir(), o.Profile.CFlags...)
	return host.Needs{
		Tools: in.Catalogue.Tools, Parts: parts, Env: env,
		Required: func(p *recipes.Part) bool { return required(p, o) },
	}
}

func required(p *recipes.Part, o Options) bool {
	return p.Tier == recipes.TierRequired || slices.Contains(o.With, p.Name)
}

// Provide looks for the needs of rel and, when some are missing and o.InstallNeeds agrees, installs them and looks again. Test
// programs are compiled and run in a temporary directory, by an unprivileged user where that can be had.
func (in *Installer) Provide(ctx context.Context, rel *recipes.Selection, o Options) (*host.Findings, error) {
	b, err := in.builder(ctx, o)
	if _, unconfined := errors.AsType[*UnconfinedError](err); err != nil && !unconfined {
		return nil, err
	} else if unconfined {
		in.Reporter.Detail(fmt.Sprintf("looking for build needs as root: %v", err))
	}
	dir, err := scratch()
	if err != nil {
		return nil, err
	}
	return in.provide(ctx, rel, o, dir, b)
}

func (in *Installer) provide(ctx context.Context, rel *recipes.Selection, o Options, dir string, b *builder) (*host.Findings, error) {
	found, err := in.probe(ctx, rel, o, dir, b)
	if err != nil || o.InstallNeeds == nil {
		return found, err
	}
	command := in.Host.Install(found.Missing)
	if command == nil || !o.InstallNeeds(command) {
		return found, nil
	}
	if err := in.installNeeds(ctx, command); err != nil {
		return nil, err
	}
	return in.probe(ctx, rel, o, dir, b)
}

// probe looks for the needs in a new directory below dir, which must exist.
func (in *Installer) probe(ctx context.Context, rel *recipes.Selection, o Options, dir string, b *builder) (found *host.Findings, err error) {
	outer, err := os.MkdirTemp(dir, "pybuild-probe-")
	if err != nil {
		return nil, &DirectoryError{Purpose: "temporary", Dir: dir, Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(outer)) }()
	work := filepath.Join(outer, "work")
	if err := errors.Join(os.Chmod(outer, 0o711), b.share(work)); err != nil {
		return nil, &DirectoryError{Purpose: "temporary", Dir: dir, Err: err}
	}
	needs := in.Needs(rel, o)
	needs.Confine = b.confine([]string{work})
	return in.Host.Probe(ctx, in.Root, work, needs)
}

// scratch is a directory for test programs where nothing is going to be built: one from which programs run.
func scratch() (string, error) {
	dir, _, err := host.BuildDir([]string{os.TempDir(), "/var/tmp"}, 0)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir) // a confined command sees the directory, not the links that lead to it
}

// machine finds what would stop the build although every need is there: no room, too little memory, a clock that make and TLS cannot
// work with, a toolchain that is known to fail. It returns the directory to build in.
func (in *Installer) machine(rel *recipes.Selection, o Options, b *builder) (dir string, err error) {
	if released, err := time.Parse(time.DateOnly, rel.Date); err == nil {
		if err := host.Clock(time.Now(), released); err != nil {
			return "", err
		}
	}
	if err := host.Enough(in.Root, int64(o.Profile.Memory)<<20); err != nil {
		return "", err
	}
	candidates := []string{o.BuildDir}
	if o.BuildDir == "" {
		candidates = []string{filepath.Join(in.Cache.Dir, "build"), "/var/tmp"}
	}
	if reachable := slices.DeleteFunc(slices.Clone(candidates), func(dir string) bool { return !b.reaches(dir) }); len(reachable) < len(candidates) {
		if len(reachable) == 0 {
			return "", &DirectoryError{Purpose: "build", Dir: candidates[0], Err: fmt.Errorf("%s is closed to the user %s, who builds", candidates[0], b)}
		}
		in.Reporter.Note(fmt.Sprintf("building in %s: %s is closed to the user %s, who builds", reachable[0], candidates[0], b))
		candidates = reachable
	}
	disk := o.Profile.Disk
	for _, p := range in.Catalogue.PartsOf(rel.Series.Name) {
		if slices.Contains(o.With, p.Name) {
			disk += p.Disk
		}
	}
	dir, passed, err := host.BuildDir(candidates, int64(disk)<<20)
	if err != nil {
		return "", err
	}
	for _, p := range passed {
		in.Reporter.Note(fmt.Sprintf("building in %s: %v", dir, p))
	}
	return dir, nil
}

// QuirkError says that a release is known not to build with the toolchain of this machine.
type QuirkError struct {
	Version   string
	Toolchain recipes.Toolchain
	Quirk     *recipes.Quirk
}

func (e *QuirkError) Error() string {
	t := e.Toolchain
	return fmt.Sprintf("Python %s cannot be built with %s %s: %s", e.Version, t.Compiler, t.CompilerVersion, e.Quirk.Says)
}

// quirks are what this release needs with the toolchain of this machine. The error is a *QuirkError.
func (in *Installer) quirks(rel *recipes.Selection, o Options, t recipes.Toolchain) ([]*recipes.Quirk, error) {
	list := in.Catalogue.Quirks(rel.Release, t, o.Profile.Name)
	for _, q := range list {
		if q.Refuse {
			return nil, &QuirkError{Version: rel.String(), Toolchain: t, Quirk: q}
		}
	}
	return list, nil
}

// guided returns a *build.GuideError when a whole profile is required and the toolchain of this machine allows none.
func guided(o Options, quirks []*recipes.Quirk) error {
	for _, q := range quirks {
		if o.Strict && o.Profile.Guided() && slices.Contains(q.Without, recipes.Optimizations) {
			return &build.GuideError{Reason: q.Says}
		}
	}
	return nil
}

// How long pybuild waits for another process that holds the package manager's lock, and how long between two tries. A machine
// that has just started often installs updates for minutes.
const (
	busyPatience = 15 * time.Minute
	busyPause    = 2 * time.Second
)

// installNeeds runs the distribution's own package manager, which may ask for a password and talks to the user itself. It is the
// only thing that pybuild does outside the prefix, the cache and the build directory, and only when told to.
//
// The lists of packages are refreshed only when it fails without: that is quicker, and on a rolling distribution fresh lists
// with old packages are a risk of their own.
func (in *Installer) installNeeds(ctx context.Context, install []string) error {
	failed := in.manage(ctx, install)
	refresh := in.Host.Platform.Refresh
	if failed == nil || ctx.Err() != nil || len(refresh) == 0 {
		return failed
	}
	in.Reporter.Note("refreshing the lists of packages, to try again")
	if err := in.manage(ctx, refresh); err != nil {
		if ctx.Err() != nil {
			return err
		}
		// One repository that does not answer must not stop an installation from the others.
		in.Reporter.Warn(err.Error())
	}
	return in.manage(ctx, install)
}

// manage runs one command of the package manager, and runs it again while another process holds its lock.
func (in *Installer) manage(ctx context.Context, argv []string) error {
	argv = Privileged(slices.Concat([]string{"env"}, in.Host.Platform.Environment, argv))
	in.Reporter.Note("running " + run.Quote(argv))
	for start, told := time.Now(), false; ; {
		words := &tail{}
		err := run.Run(ctx, run.Command{Argv: argv, Env: in.Environ, Log: io.MultiWriter(os.Stderr, words), Terminal: true})
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		case !in.Host.Platform.IsBusy(string(words.text)) || time.Since(start) > busyPatience:
			return &PackageManagerError{Command: argv, Words: words.lines(8), Err: err}
		}
		if !told {
			in.Reporter.Note("another process is installing packages: waiting for it")
			told = true
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(busyPause):
		}
	}
}

// tail keeps the last of what is written to it.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if over := len(t.text) - 16<<10; over > 0 {
		t.text = slices.Clone(t.text[over:])
	}
	return len(p), nil
}

// lines returns the last n lines that are not blank.
func (t *tail) lines(n int) (list []string) {
	for line := range bytes.Lines(t.text) {
		if line := strings.TrimSpace(string(line)); line != "" {
			list = append(list, line)
		}
	}
	return list[max(0, len(list)-n):]
}

// Privileged is the command as it must be given to become root: unchanged for root, else through sudo.
func Privileged(argv []string) []string {
	if os.Geteuid() == 0 {
		return argv
	}
	return append([]string{"sudo"}, argv...)
}

// PackageManagerError says that the distribution's package manager failed.
type PackageManagerError struct {
	Command []string
	// Words are the last lines of what it said.
	Words []string
	Err   error
}

func (e *PackageManagerError) Error() string {
	return strings.Join(append([]string{fmt.Sprintf("installing build needs: %v", e.Err)}, e.Words...), "\n  ")
}
func (e *PackageManagerError) Unwrap() error { return e.Err }
