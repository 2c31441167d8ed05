package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
)

// check finds everything that would stop the installation later, before anything is fetched or built: a prefix that cannot or
// must not be changed, files in the way, needs that are missing. It returns the locked prefix, and the parts that will be
// missing although they are wanted.
func (in *Installer) check(ctx context.Context, rel *recipes.Selection, o Options, plan *build.Plan) (target *prefix.Prefix, found *host.Findings, err error) {
	if len(plan.Dropped) > 0 {
		in.Reporter.Detail("not passed on to the build: " + strings.Join(plan.Dropped, ", "))
	}
	if err := in.shadows(rel, o); err != nil {
		return nil, nil, err
	}
	locked, err := prefix.Lock(o.Prefix)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, locked.Unlock())
		}
	}()
	if err := locked.Conflicts(claim(rel)); err != nil {
		return nil, nil, err
	}
	if found, err = in.Provide(ctx, rel, o); err != nil {
		return nil, nil, err
	}
	if err := in.Host.Require(found.Missing); err != nil {
		return nil, nil, err
	}
	for _, m := range found.Missing {
		in.Reporter.Warn(fmt.Sprintf("%s will be missing: %s", m.Name, m.Reason))
	}
	return locked, found, nil
}

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
	return p.Tier == "required" || slices.Contains(o.With, p.Name)
}

// Provide looks for the needs of rel and, when some are missing and o.InstallNeeds agrees, installs them and looks again.
func (in *Installer) Provide(ctx context.Context, rel *recipes.Selection, o Options) (*host.Findings, error) {
	found, err := in.probe(ctx, rel, o)
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
	return in.probe(ctx, rel, o)
}

func (in *Installer) probe(ctx context.Context, rel *recipes.Selection, o Options) (found *host.Findings, err error) {
	work, err := os.MkdirTemp("", "pybuild-probe-")
	if err != nil {
		return nil, &DirectoryError{Purpose: "temporary", Dir: os.TempDir(), Err: err}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	return in.Host.Probe(ctx, in.Root, work, in.Needs(rel, o))
}

// installNeeds runs the distribution's own package manager, which may ask for a password and talks to the user itself. It is the
// only thing that pybuild does outside the prefix, the cache and the build directory, and only when told to.
func (in *Installer) installNeeds(ctx context.Context, install []string) error {
	commands := [][]string{install}
	if refresh := in.Host.Platform.Refresh; len(refresh) > 0 {
		commands = [][]string{refresh, install}
	}
	for i, argv := range commands {
		argv = Privileged(append([]string{"env"}, append(slices.Clone(in.Host.Platform.Environment), argv...)...))
		in.Reporter.Detail("running " + run.Quote(argv))
		err := run.Run(ctx, run.Command{Argv: argv, Env: in.Environ, Log: os.Stderr, Terminal: true})
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return err
		case i < len(commands)-1:
			// One repository that does not answer must not stop an installation from the others.
			in.Reporter.Warn(fmt.Sprintf("refreshing the package lists failed: %v", err))
		default:
			return &PackageManagerError{Command: argv, Err: err}
		}
	}
	return nil
}

// Privileged is the command as it must be given to become root: unchanged for root, else through sudo.
func Privileged(argv []string) []string {
	if os.Geteuid() == 0 {
		return argv
	}
	return append([]string{"sudo"}, argv...)
}

// PackageManagerError says that the distribution's package manager failed; it has told the user itself why.
type PackageManagerError struct {
	Command []string
	Err     error
}

func (e *PackageManagerError) Error() string { return fmt.Sprintf("installing build needs: %v", e.Err) }
func (e *PackageManagerError) Unwrap() error { return e.Err }

// claim is what a release will put into a prefix, as far as that can be known before it is built.
func claim(rel *recipes.Selection) prefix.Claim {
	series, name := rel.Series.Name, rel.Executable()
	lib := "lib/" + name
	return prefix.Claim{
		Files: []string{
			"bin/" + name, "bin/" + name + "-config", "bin/python" + series, "bin/pip" + series, "bin/pydoc" + series, "bin/idle" + series, "bin/2to3-" + series,
			"lib/lib" + name + ".a", "lib/lib" + name + ".so", "lib/lib" + name + ".so.1.0", "share/man/man1/python" + series + ".1",
		},
		Trees:  []string{lib, "include/" + name},
		Except: []string{lib + "/site-packages", lib + "/dist-packages"},
	}
}

// shadows refuses a libpython where the distribution's own programs would load it instead of theirs.
func (in *Installer) shadows(rel *recipes.Selection, o Options) error {
	if !slices.Contains(o.With, "shared") || (o.Prefix != "/usr/local" && !strings.HasPrefix(o.Prefix, "/usr/local/")) {
		return nil
	}
	library := "lib" + rel.Executable() + ".so.1.0"
	for _, pattern := range []string{"usr/lib/*/", "usr/lib/", "usr/lib64/"} {
		found, err := fs.Glob(in.Root, pattern+library)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return &prefix.RefusedError{Prefix: o.Prefix, Path: "/" + found[0],
				Reason: fmt.Sprintf("%s would be loaded instead of the distribution's /%s", filepath.Join(o.Prefix, "lib", library), found[0])}
		}
	}
	return nil
}
