package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/recipes"
)

// A site is the machine, as far as a build depends on it.
type site struct {
	// dir is the directory to build in.
	dir     string
	made    []string // what had to be made for it, innermost first
	builder *builder
	found   *host.Findings
	quirks  []*recipes.Quirk
	// launcher stands before the compiler, nil for nothing; launched is the directory of pybuild's in which it keeps what was
	// compiled, empty for none.
	launcher *build.Launcher
	launched string
}

// leave removes the directories that were made for a build that came to nothing, unless there is something in them by now.
func (s *site) leave() {
	for _, dir := range s.made {
		_ = os.Remove(dir)
	}
}

// check finds everything that would stop the installation later, before anything is fetched or built: a prefix that cannot or
// must not be changed, files in the way, a machine without room, needs that are missing. It returns the prefix, which is locked.
func (in *Installer) check(ctx context.Context, rel *recipes.Selection, o Options, locked *prefixes) (target *lockedPrefix, s *site, err error) {
	if err := in.protect(ctx, rel, o); err != nil {
		return nil, nil, err
	}
	if target, err = locked.lock(in, o.Prefix); err != nil {
		return nil, nil, err
	}
	if err := target.Conflicts(claim(rel, o), taking(rel, o)); err != nil {
		return nil, nil, err
	}
	if s, err = in.survey(ctx, rel, o); err != nil {
		return nil, nil, err
	}
	plan := in.plan(rel, o, s)
	if len(plan.Dropped) > 0 {
		in.Reporter.Detail("not passed on to the build: " + strings.Join(plan.Dropped, ", "))
	}
	in.tellLauncher(o, s, plan)
	return target, s, nil
}

// survey looks at the machine, and says what the user should know of it.
func (in *Installer) survey(ctx context.Context, rel *recipes.Selection, o Options) (s *site, err error) {
	b, err := in.builder(ctx, o)
	if err != nil {
		return nil, err
	}
	s = &site{builder: b}
	if s.launcher, s.launched, err = in.launcher(o, b); err != nil {
		return nil, err
	}
	dir, err := in.machine(rel, o, b)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.leave()
		}
	}()
	if s.made, err = makeDirs(dir); err != nil {
		return s, &DirectoryError{Purpose: "build", Dir: dir, Err: err}
	}
	// A confined command sees the directory, not the links that lead to it.
	if s.dir, err = filepath.EvalSymlinks(dir); err != nil {
		return s, &DirectoryError{Purpose: "build", Dir: dir, Err: err}
	}
	if s.found, err = in.provide(ctx, rel, o, s.dir, b); err != nil {
		return s, err
	}
	if err := in.Host.Require(s.found.Missing); err != nil {
		return s, err
	}
	if s.quirks, err = in.quirks(rel, o, s.found.Toolchain); err != nil {
		return s, err
	}
	if err := guided(o, s.quirks); err != nil {
		return s, err
	}
	for _, m := range s.found.Missing {
		in.Reporter.Warn(fmt.Sprintf("%s will be missing: %s", m.Name, m.Reason))
	}
	for _, note := range s.found.Notes {
		in.Reporter.Note(note)
	}
	for _, q := range s.quirks {
		in.Reporter.Note(q.Says)
	}
	return s, nil
}

// makeDirs makes dir and what is missing above it, and returns what it made, innermost first.
func makeDirs(dir string) (made []string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break
		}
		made = append(made, d)
	}
	return made, os.MkdirAll(dir, 0o755)
}

// claim is what a release will put into a prefix, as far as that can be known before it is built.
func claim(rel *recipes.Selection, o Options) prefix.Claim {
	series, name := rel.Series.Name, rel.Executable()
	lib := "lib/" + name
	c := prefix.Claim{
		Name: name,
		Files: []string{
			"bin/" + name, "bin/" + name + "-config", "bin/python" + series, "bin/pip" + series, "bin/pydoc" + series, "bin/idle" + series, "bin/2to3-" + series,
			"lib/lib" + name + ".a", "lib/lib" + name + ".so", "lib/lib" + name + ".so.1.0", "share/man/man1/python" + series + ".1",
		},
		Trees:  []string{lib, "include/" + name},
		Except: []string{lib + "/site-packages", lib + "/dist-packages"},
	}
	for _, link := range o.Link {
		c.Files = append(c.Files, "bin/"+link)
	}
	return c
}

// taking is how an installation treats what is in its way. pip upgrades itself, and then is the user's; but a pip3.13 that was there
// before any Python of ours is somebody else's.
func taking(rel *recipes.Selection, o Options) prefix.Options {
	options := prefix.Options{Force: o.Force}
	site := "lib/" + rel.Executable() + "/site-packages"
	_, err := prefix.ReadManifest(o.Prefix, rel.Executable())
	if _, left := os.Stat(filepath.Join(o.Prefix, site, "pip")); err == nil || left == nil {
		options.Yield = []string{"bin/pip" + rel.Series.Name, site + "/pip", site + "/pip-*.dist-info"}
	}
	return options
}
