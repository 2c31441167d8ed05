// Package install joins the packages of pybuild into the one thing that the program is for: a release of CPython, named by the
// user, becomes an interpreter in a prefix. Read Install from top to bottom; no step reaches back, and until the last one the
// prefix is as it was.
//
// It must not print, ask, or know about flags: what happens is told to a Reporter, what went wrong is a typed error.
package install

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify/python"
)

// Reporter is told what happens. Implementations must be safe for use by several goroutines.
type Reporter interface {
	// Step says that a step of the installation of version begins. The result is called once, when the step has ended.
	Step(version, step string) (done func(error))
	// Progress says how far the installation of a version is.
	Progress(Progress)
	// Warn is for what the user should know although the installation goes on.
	Warn(text string)
	// Note is for what pybuild does or decides that the user may not expect.
	Note(text string)
	// Detail is for the user who asked for more.
	Detail(text string)
}

// Installer holds what is the same for every installation of one call of the program.
type Installer struct {
	Catalogue *recipes.Catalogue
	Host      *host.Host
	// Root is the machine's file system, read for its configuration.
	Root fs.FS
	// Upstream is the base URL of the places where CPython is published, asked after the mirrors.
	Upstream string
	// KeyServer is the base URL below which OpenPGP keys lie by fingerprint.
	KeyServer string
	Cache     *fetch.Cache
	Reporter  Reporter
	// Environ is the caller's environment, of which a build gets only the compiler and its flags.
	Environ []string
	// Jobserver shares out the processors, where several versions are built or a make that has one has started us; nil: a build has
	// them to itself.
	Jobserver *run.Jobserver
}

// Options is what the user may choose. The zero value is not useful: Prefix and Profile must be set.
type Options struct {
	// Prefix is an absolute, clean path.
	Prefix  string
	Profile *recipes.Profile
	// With and Without name parts: those that must be there, and those that are left out on purpose.
	With, Without []string
	// Source is a file or URL that is used instead of every other source; SHA256 is its digest, when the catalogue has none.
	Source, SHA256 string
	// Mirrors are base URLs laid out like python.org/ftp/python/, tried first.
	Mirrors []string
	// Signature is the policy, one of SignaturePolicies. TrustedRoot and Keyring are files that take the place of Sigstore's public
	// instance and of every other source of OpenPGP keys.
	Signature, TrustedRoot, Keyring string
	// Jobs is how many compilers may run at once; 0 means as many as the machine can take.
	Jobs int
	// Exact says that the user named this very release: only then does it take the place of a newer one.
	Exact bool
	// Link names unversioned programs, keys of Linkable, that lead to this Python.
	Link []string
	// Force builds again what is there already.
	Force bool
	// Patches and ConfigureArgs are handed on exactly.
	Patches, ConfigureArgs []string
	// BuildDir is where the build directory is made; empty means in the cache. KeepBuild leaves it there.
	BuildDir  string
	KeepBuild bool
	// Launcher is one of Launchers, what stands before the compiler; empty means LauncherNone.
	Launcher string
	// Strict ends a profile-guided build of whose training a test fails.
	Strict bool
	// Unconfined lets root do what an unprivileged user should: everything before the prefix is changed.
	Unconfined bool
	// NoConfigCache leaves aside what configure found out for earlier builds.
	NoConfigCache bool
	// Timeout is how long a single command of the build may take; 0 means as long as it likes.
	Timeout time.Duration
	// Test runs CPython's own tests before the prefix is changed.
	Test bool
	// Managed gives the Python a marker of PEP 668, so that its own pip refuses to install into it; ManagedText is what it says,
	// empty for words of ours.
	Managed     bool
	ManagedText string
	// InstallNeeds is asked when needs are missing and the distribution has a command for them. nil, or false, means no.
	InstallNeeds func(command []string) bool
}

// Result describes an installed Python.
type Result struct {
	Version    string            `json:"version"`
	Prefix     string            `json:"prefix"`
	Executable string            `json:"executable"`
	Already    bool              `json:"already"`
	Profile    string            `json:"profile"`
	Seconds    float64           `json:"seconds"`
	SHA256     string            `json:"sha256"`
	Signature  prefix.Signature  `json:"signature"`
	Parts      map[string]string `json:"parts"`
	Libraries  []prefix.Library  `json:"libraries"`
	Marker     string            `json:"marker"`
	Manifest   string            `json:"manifest"`
}

// Install makes sure that the release is installed as the options say. Nothing is done when it already is. Whatever fails, the
// prefix is left, or put back, as it was.
func (in *Installer) Install(ctx context.Context, rel *recipes.Selection, o Options) (result *Result, err error) {
	var locked prefixes
	defer func() { err = errors.Join(err, locked.unlock()) }()
	in, track := in.track(rel, o)
	defer track.stop()
	i, err := in.prepare(ctx, rel, o, &locked)
	if err != nil || i.there != nil {
		return i.there, err
	}
	defer func() {
		if err != nil {
			i.site.leave()
		}
	}()
	return in.carryOut(ctx, i, track)
}

// prepare does what comes before anything is fetched. It never returns nil.
func (in *Installer) prepare(ctx context.Context, rel *recipes.Selection, o Options, locked *prefixes) (*installation, error) {
	start := time.Now()
	i := &installation{release: rel, options: o}
	version := rel.String()

	done := in.Reporter.Step(version, "resolve")
	there, err := in.installed(ctx, rel, o)
	done(err)
	if err != nil {
		return i, err
	}
	if there != nil {
		i.there = describe(there, true, time.Since(start))
		return i, nil
	}

	done = in.Reporter.Step(version, "check")
	i.sources, err = in.sources(rel, o)
	if err == nil {
		i.target, i.site, err = in.check(ctx, rel, o, locked)
	}
	done(err)
	i.took = time.Since(start)
	return i, err
}

// carryOut does the rest. What it leaves to the caller is to unlock the prefix, and to leave the site after an error.
func (in *Installer) carryOut(ctx context.Context, i *installation, track *tracker) (result *Result, err error) {
	start := time.Now()
	track.goOn(i.took)
	rel, o, sources, target, site := i.release, i.options, i.sources, i.target, i.site
	version := rel.String()

	tarball, err := in.fetch(ctx, rel, sources)
	if err != nil {
		return nil, err
	}
	signature, err := in.authenticate(ctx, rel, o, tarball, sources)
	if err != nil {
		return nil, err
	}

	work, err := in.workspace(rel, site)
	if err != nil {
		return nil, err
	}
	if o.KeepBuild {
		in.Reporter.Warn("the build directory is kept: " + work.dir)
	} else {
		defer func() { err = errors.Join(err, removeAll(work.dir)) }()
	}

	done := in.Reporter.Step(version, "unpack")
	source, err := in.unpack(ctx, tarball, work, site.builder, in.bytes(version, "unpack"))
	done(err)
	if err != nil {
		return nil, err
	}

	if err := site.builder.ownCache(site.launched); err != nil {
		return nil, err
	}
	request := in.request(rel, o, site, work, source)
	if request.Patches, err = site.builder.borrow(o.Patches, work.home); err != nil {
		return nil, err
	}
	plan := build.NewPlan(request)
	plan.Progress, plan.Expected = track.build, track.times.Counts
	built, err := build.Make(ctx, plan, func(step string) func(error) { return in.Reporter.Step(version, step) })
	if err != nil {
		return nil, err
	}

	for _, note := range built.Notes {
		in.Reporter.Warn(note)
	}
	for _, m := range built.Others {
		in.Reporter.Warn(fmt.Sprintf("the extension module %s is %s, and no part has it", m.Extension, m.State))
	}

	done = in.Reporter.Step(version, "inspect")
	manifest, err := in.inspect(ctx, rel, o, site, work, plan, built.Stage)
	done(err)
	if err != nil {
		return nil, err
	}
	manifest.Signature = signature
	manifest.Archive = prefix.Archive{Name: tarball.Artifact.Name, SHA256: tarball.Artifact.SHA256, Size: tarball.Artifact.Size, Source: tarball.Source, Proof: proof(rel, tarball)}

	done = in.Reporter.Step(version, "commit")
	target.mu.Lock()
	err = in.leftover(target.Commit(ctx, built.Stage, manifest, taking(rel, o)))
	target.mu.Unlock()
	done(err)
	if err != nil {
		return nil, err
	}
	in.label(ctx, manifest)
	if in.Jobserver == nil { // else it took as long as others let it
		track.remember(built.Counts)
	}
	return describe(manifest, false, i.took+time.Since(start)), nil
}

// leftover turns an error that only says that the clean-up after a complete change failed into a warning.
func (in *Installer) leftover(err error) error {
	if left, ok := errors.AsType[*prefix.LeftoverError](err); ok {
		in.Reporter.Warn(left.Error())
		return nil
	}
	return err
}

// Uninstall removes from dir what m lists, and returns what was kept because it is not as it was installed. force also removes
// that, purge what pip installed into this Python.
func (in *Installer) Uninstall(ctx context.Context, m *prefix.Manifest, dir string, force, purge bool) (kept []prefix.Difference, err error) {
	target, err := in.lock(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Unlock()) }()
	kept, err = target.Uninstall(ctx, m, prefix.UninstallOptions{Force: force, Purge: purge, Trees: []string{"lib/" + m.Name + "/site-packages"}})
	return kept, in.leftover(err)
}

// lock locks a prefix, and tells when that settled an interrupted change of it.
func (in *Installer) lock(dir string) (*prefix.Prefix, error) {
	target, err := prefix.Lock(dir)
	if err == nil && target.Recovered() != nil {
		in.Reporter.Warn(fmt.Sprintf("%s: %v", dir, target.Recovered()))
	}
	return target, err
}

// installed returns the manifest of the very same installation, or of a newer one where no exact version is asked for. It is nil when
// there is none, when it was asked for differently, or when files of it are missing or changed. An interrupted change is settled
// first: what was read before would not be true.
func (in *Installer) installed(ctx context.Context, rel *recipes.Selection, o Options) (*prefix.Manifest, error) {
	r, err := prefix.Recover(ctx, o.Prefix)
	if err != nil {
		return nil, err
	}
	if r != nil {
		in.Reporter.Warn(fmt.Sprintf("%s: %v", o.Prefix, r))
	}
	m := in.same(rel, o)
	return m, in.runsHere(m)
}

// ProcessorError says that an installed Python is what was asked for, and cannot run on this machine.
type ProcessorError struct {
	Executable string
	// Err is a *python.ProcessorError.
	Err error
}

func (e *ProcessorError) Error() string { return e.Executable + ": " + e.Err.Error() }
func (e *ProcessorError) Unwrap() error { return e.Err }

// runsHere returns a *ProcessorError when an installed Python was built for another processor. It is not built again: other machines
// may have the same prefix, and use it.
func (in *Installer) runsHere(m *prefix.Manifest) error {
	if m == nil || len(m.Processor) == 0 {
		return nil
	}
	if err := python.Runs(in.Root, m.Processor); err != nil {
		return &ProcessorError{Executable: filepath.Join(m.Prefix, m.Executable), Err: err}
	}
	return nil
}

func (in *Installer) same(rel *recipes.Selection, o Options) *prefix.Manifest {
	if o.Force {
		return nil
	}
	m, err := prefix.ReadManifest(o.Prefix, rel.Executable())
	if err != nil {
		return nil // a broken manifest is found again, and reported, under the lock
	}
	newer := !o.Exact && newerThan(m.Version, rel)
	if m.Version != rel.String() && !newer || !slices.Equal(m.Options, choices(o)) && !newer {
		return nil
	}
	if differences, err := m.Quick(o.Prefix); err != nil || len(differences) > 0 {
		in.Reporter.Warn(fmt.Sprintf("Python %s in %s is damaged (%d files differ): it is built again", m.Version, o.Prefix, len(differences)))
		return nil
	}
	if newer {
		in.Reporter.Note(fmt.Sprintf("%s has Python %s, which is newer than %s: name %s exactly to go back to it", o.Prefix, m.Version, rel, rel))
	}
	return m
}

// newerThan says whether an installed version is newer than the release.
func newerThan(installed string, rel *recipes.Selection) bool {
	v, err := recipes.ParseVersion(strings.TrimSuffix(installed, "t"))
	return err == nil && v.Compare(rel.Version) > 0
}

// choices are the options that make one installation differ from another of the same release, for the manifest.
func choices(o Options) []string {
	list := []string{"profile=" + o.Profile.Name}
	for _, group := range []struct {
		name   string
		values []string
	}{{"with", sorted(o.With)}, {"without", sorted(o.Without)}, {"link", sorted(o.Link)}, {"patch", o.Patches}, {"configure", o.ConfigureArgs}} {
		for _, v := range group.values {
			list = append(list, group.name+"="+v)
		}
	}
	if o.Strict {
		list = append(list, "pgo=require")
	}
	switch {
	case o.Managed && o.ManagedText == "":
		list = append(list, "mark-managed=default")
	case o.Managed:
		list = append(list, fmt.Sprintf("mark-managed=%x", sha256.Sum256([]byte(o.ManagedText))))
	}
	return list
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

func describe(m *prefix.Manifest, already bool, took time.Duration) *Result {
	return &Result{
		Version: m.Version, Prefix: m.Prefix, Executable: filepath.Join(m.Prefix, m.Executable), Already: already, Profile: m.Profile,
		Seconds: took.Round(100 * time.Millisecond).Seconds(), SHA256: m.Archive.SHA256, Signature: m.Signature, Parts: m.Parts, Libraries: m.Libraries, Marker: m.Marker,
		Manifest: filepath.Join(m.Prefix, "share", "pybuild", m.Name+".json"),
	}
}

// workspace is where one build happens.
type workspace struct {
	dir, source, stage, home, probe, logs string
}

// workspace makes the directories of a build below s.dir. What the builder writes to is the builder's, and nobody else's; the
// directory that holds it all is not, so that it stays what it is.
func (in *Installer) workspace(rel *recipes.Selection, s *site) (w *workspace, err error) {
	logs := filepath.Join(in.Cache.Dir, "logs")
	for _, dir := range []string{s.dir, logs} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, &DirectoryError{Purpose: "build", Dir: dir, Err: err}
		}
	}
	dir, err := os.MkdirTemp(s.dir, rel.String()+"-")
	if err != nil {
		return nil, &DirectoryError{Purpose: "build", Dir: s.dir, Err: err}
	}
	w = &workspace{dir: dir, source: filepath.Join(dir, "source"), stage: filepath.Join(dir, "stage"), home: filepath.Join(dir, "home"), probe: filepath.Join(dir, "probe")}
	err = os.Chmod(dir, 0o711)
	for _, d := range []string{w.source, w.stage, w.home} {
		if err == nil {
			err = s.builder.own(d)
		}
	}
	if err != nil {
		return nil, errors.Join(&DirectoryError{Purpose: "build", Dir: dir, Err: err}, os.RemoveAll(dir))
	}
	w.logs, err = os.MkdirTemp(logs, time.Now().UTC().Format("20060102T150405Z")+"-"+rel.String()+"-")
	if err == nil {
		err = os.Chmod(w.logs, 0o755)
	}
	if err != nil {
		return nil, errors.Join(&DirectoryError{Purpose: "logs", Dir: logs, Err: err}, os.RemoveAll(dir))
	}
	return w, nil
}

// writable are the directories that a build writes to.
func (w *workspace) writable() []string { return []string{w.source, w.stage, w.home} }

// DirectoryError says that a directory of pybuild's own cannot be used.
type DirectoryError struct {
	// Purpose is what it is for: "build", "logs".
	Purpose, Dir string
	Err          error
}

func (e *DirectoryError) Error() string { return fmt.Sprintf("the %s directory: %v", e.Purpose, e.Err) }
func (e *DirectoryError) Unwrap() error { return e.Err }

// removeAll removes a tree in which tests of the new interpreter may have left directories that cannot be entered.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// request is what the plan is made for. s is nil where nobody has looked at the machine.
func (in *Installer) request(rel *recipes.Selection, o Options, s *site, w *workspace, source string) build.Request {
	jobs := o.Jobs
	if jobs == 0 {
		jobs = host.Jobs(in.Root)
	}
	r := build.Request{
		Release: rel, Profile: o.Profile, Prefix: o.Prefix, Source: source, Stage: w.stage, Home: w.home, Logs: w.logs,
		Parts: in.Catalogue.PartsOf(rel.Series.Name), With: o.With, Without: o.Without, ConfigureArgs: o.ConfigureArgs,
		Patches: o.Patches, Jobs: jobs, Test: o.Test, Environ: in.Environ, Failures: in.Catalogue.Failures, Links: links(rel, o), Timeout: o.Timeout,
		Known: filepath.Join(in.Cache.Dir, "known"), NoConfigCache: o.NoConfigCache, Jobserver: in.Jobserver, Strict: o.Strict,
	}
	if s != nil {
		r.HostArgs, r.HostEnv, r.Quirks = s.found.ConfigureArgs, s.found.Env, s.quirks
		r.Answers = in.Catalogue.Answers(s.found.Toolchain)
		r.Launcher = s.launcher
		writable := w.writable()
		if s.launched != "" {
			writable = append(writable, s.launched)
		}
		r.Confine = s.builder.confine(writable)
		for _, m := range s.found.Missing {
			if !m.Required {
				r.Missing = append(r.Missing, m.Name)
			}
		}
	}
	return r
}

// plan is the plan without a workspace, to be shown: the directories are called what they are.
func (in *Installer) plan(rel *recipes.Selection, o Options, s *site) *build.Plan {
	return build.NewPlan(in.request(rel, o, s, &workspace{stage: "STAGE", home: "HOME", logs: "LOGS"}, "SOURCE"))
}
