package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/build/unpack"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/report"
	"pybuild/fetch"
	"pybuild/recipes"
)

// UsageError says that the command line asks for something that cannot be.
type UsageError struct {
	Message string
	Hints   []string
}

func (e *UsageError) Error() string { return e.Message }

func usage(cmd *cobra.Command, format string, args ...any) error {
	return &UsageError{Message: fmt.Sprintf(format, args...), Hints: []string{"see `" + cmd.CommandPath() + " --help`"}}
}

// failure is how an error is told, to people and to programs.
type failure struct {
	Event   string         `json:"event"`
	Version string         `json:"version,omitempty"` // of several, the one that failed
	Status  int            `json:"status"`
	Kind    string         `json:"kind"`
	Message string         `json:"message"`
	Hints   []string       `json:"hints"`
	Missing []host.Missing `json:"missing,omitempty"`
	Install []string       `json:"install,omitempty"`
	Log     string         `json:"log,omitempty"`
}

// fail tells the error on standard error, and as the last JSON object when there is JSON, and returns the exit status.
func (a *app) fail(ctx context.Context, err error) int {
	f := explain(ctx, err)
	fmt.Fprint(a.Stderr, f.text())
	if a.json {
		a.reporter().Object(f)
	}
	return f.Status
}

// text is the failure for people.
func (f failure) text() string {
	lines := []string{"pybuild: error: " + f.Message}
	for _, hint := range f.Hints {
		lines = append(lines, "pybuild: hint: "+hint)
	}
	return strings.Join(lines, "\n") + "\n"
}

// explain is the table from errors to exit statuses and advice. The statuses are those of the README.
func explain(ctx context.Context, err error) failure {
	f := failure{Event: "error", Status: 1, Kind: "failed", Message: err.Error(), Hints: []string{}}
	set := func(status int, kind string, hints ...string) {
		f.Status, f.Kind, f.Hints = status, kind, append(f.Hints, hints...)
	}
	var (
		usage     *UsageError
		version   *recipes.UnknownVersionError
		platform  *host.UnknownError
		invalid   *prefix.InvalidError
		missing   *host.MissingError
		clock     *host.ClockError
		memory    *host.MemoryError
		nowhereTo *host.NoBuildDirError
		quirk     *install.QuirkError
		unconf    *install.UnconfinedError
		launcher  *install.LauncherError
		processor *install.ProcessorError
		guide     *build.GuideError
		manager   *install.PackageManagerError
		digest    *install.DigestError
		signature *install.SignatureError
		archive   *unpack.RefusedError
		sources   *fetch.SourcesError
		nowhere   *install.NowhereError
		cache     *fetch.CacheError
		step      *build.StepError
		modules   *build.ModulesError
		rejected  *install.RejectedError
		changed   *install.ChangedError
		refused   *prefix.RefusedError
		busy      *prefix.BusyError
		conflict  *prefix.ConflictError
		manifest  *prefix.ManifestError
		change    *prefix.ChangeError
		recovery  *prefix.RecoveryError
		journal   *prefix.JournalError
		tree      *prefix.TreeError
		directory *install.DirectoryError
		cells     *report.FailedError
		unwritten *UnwrittenError
		versions  *VersionsError
	)
	switch {
	case errors.As(err, &change) && change.Undo != nil:
		set(8, "not-undone", "the prefix is neither as before nor as after: the next pybuild that changes it settles that, or `pybuild recover` does")
	case ctx.Err() != nil:
		set(130, "interrupted")
		f.Message = "interrupted; the prefix is as it was"
		if extra := withoutCancel(err); extra != "" {
			f.Message += "\n" + extra
		}
	case errors.As(err, &versions):
		set(versions.Status, "versions-failed")
	case errors.As(err, &cells):
		set(7, "cells-failed")
	case errors.As(err, &unwritten):
		set(1, "report", "make room for it, or name a file in another directory")
	case errors.As(err, &usage):
		set(2, "usage", usage.Hints...)
	case errors.As(err, &version):
		set(2, "unknown-version", nearest(version)...)
	case errors.As(err, &platform):
		if platform.Malformed {
			set(2, "unknown-distribution", "write it as ID:VERSION_ID of /etc/os-release, for example debian:13, rocky:9, debian:testing")
			break
		}
		set(2, "unknown-distribution", "known are "+strings.Join(platform.Known, ", "))
	case errors.As(err, &invalid):
		set(2, "invalid-prefix", "give an absolute path without white space, for example --prefix /usr/local or --prefix /opt/python/{series}")
	case errors.As(err, &missing):
		set(3, "missing-needs", missingHints(missing)...)
		f.Missing, f.Install = missing.Missing, missing.Install
	case errors.As(err, &quirk):
		set(3, "toolchain", "name another compiler with CC=…, or choose another release")
	case errors.As(err, &launcher):
		set(launcherStatus(launcher), "launcher", launcherHint(launcher))
	case errors.As(err, &unconf):
		set(3, "unconfined", "run pybuild as a user who may write to the prefix, allow the container namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN), or accept that root builds: --unconfined")
	case errors.As(err, &clock):
		set(3, "clock", "set the clock: make and the verification of signatures depend on it")
	case errors.As(err, &memory):
		set(3, "memory", "free some memory, add swap, or build on another machine; `--profile quick` needs the least")
	case errors.As(err, &nowhereTo):
		if !slices.ContainsFunc(nowhereTo.Unfit, func(u *host.UnfitError) bool { return u.Reason != host.UnfitSpace }) {
			set(8, "no-space", "make room, or place the build elsewhere with --build-dir DIR")
			break
		}
		set(3, "build-directory", "name a directory that you may write and from which programs run: --build-dir DIR")
	case errors.As(err, &manager):
		set(3, "package-manager", "mend what the package manager complains about, or run it yourself: "+run.Quote(manager.Command))
	case errors.As(err, &digest):
		set(4, "unknown-digest", digestHint(digest))
	case errors.As(err, &signature) && signature.Wrong:
		set(4, "wrong-signature", "nothing of the archive was used; name another source with --mirror or --source")
	case errors.As(err, &signature):
		set(4, "no-signature", "name a place that has it with --mirror; --signature off goes on without one, if you trust the file")
	case errors.As(err, &archive):
		set(4, "archive-refused", "nothing of the archive was used; a good one has the digest that `pybuild list --json` shows")
	case errors.As(err, &cache):
		if errors.Is(err, syscall.ENOSPC) {
			set(8, "no-space", "make room in "+cache.Dir+", or set PYBUILD_CACHE to a directory elsewhere; `pybuild cache prune` empties the cache")
			break
		}
		set(1, "cache", "set PYBUILD_CACHE to a directory that you may write")
	case errors.As(err, &sources) && sources.Refused():
		set(4, "not-verified", "what was served is not what CPython published, and nothing of it was kept; name another source with --mirror or --source")
	case errors.As(err, &nowhere) && len(nowhere.Others) > 0:
		set(5, "no-source", strings.Join(nowhere.Others, ", ")+" can be had from the distribution's pool: pybuild "+nowhere.Others[0])
	case errors.As(err, &sources):
		set(5, "no-source", "name a place that this machine can reach with --mirror URL, or a file with --source FILE")
	case errors.As(err, &modules):
		set(6, "missing-modules", modulesHints(modules)...)
		f.Log = modules.Log
	case errors.As(err, &guide):
		set(6, "not-guided", guideHints(guide)...)
	case errors.As(err, &step):
		if step.Known != nil {
			f.Hints = append(f.Hints, step.Known.Summary+": "+step.Known.Remedy)
		}
		set(6, step.Step+"-failed", "the whole log is "+step.Log)
		f.Message, f.Log = stepMessage(step), step.Log
	case errors.As(err, &rejected), errors.As(err, &tree):
		set(7, "rejected", "the prefix is unchanged; --keep-build keeps the build directory for a closer look")
	case errors.As(err, &processor):
		set(7, "other-processor", "name a prefix that other machines do not share, or build it again, for this processor alone with --force, or for all with --profile release")
	case errors.As(err, &changed) && changed.Stranger:
		set(7, "not-working")
	case errors.As(err, &changed):
		set(7, "changed", "install it again: pybuild VERSION --prefix PREFIX --force")
	case errors.As(err, &recovery):
		set(8, "recovery", "mend what is named above, then run `pybuild recover --prefix "+recovery.Prefix+"`; until then nothing in the prefix is changed")
	case errors.As(err, &journal):
		set(8, "journal", "the record of an interrupted change cannot be relied on, so nothing was changed; it is beside what was kept: look there before you remove it")
	case errors.As(err, &refused):
		set(8, "prefix-refused", "choose another --prefix, for example /usr/local or /opt/python/{series}")
	case errors.As(err, &busy):
		set(8, "prefix-busy", "wait until the other pybuild has ended")
	case errors.As(err, &conflict):
		set(8, "conflict", conflictHint(conflict))
	case errors.As(err, &manifest):
		set(8, "manifest", "the list of installed files was changed by hand; move it away to make pybuild forget that Python")
	case errors.Is(err, syscall.ENOSPC):
		set(8, "no-space", "make room, or place the build elsewhere with --build-dir DIR")
	case errors.As(err, &directory):
		set(1, directory.Purpose+"-directory", "choose another with --build-dir DIR, or set PYBUILD_CACHE")
	case errors.As(err, &change):
		set(8, "prefix", "everything was put back; mend the cause and run the same command again")
	case errors.Is(err, fs.ErrPermission):
		set(8, "permission", "run pybuild as a user who may write there, or choose another --prefix")
	}
	return f
}

// withoutCancel is what besides the interruption went wrong, for example while cleaning up; "" when nothing did.
func withoutCancel(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var rest []string
		for _, e := range joined.Unwrap() {
			if text := withoutCancel(e); text != "" {
				rest = append(rest, text)
			}
		}
		return strings.Join(rest, "\n")
	}
	if errors.Is(err, context.Canceled) {
		return ""
	}
	return err.Error()
}

func nearest(e *recipes.UnknownVersionError) []string {
	var hints []string
	if len(e.Nearest) > 0 {
		hints = append(hints, "known and near: "+strings.Join(e.Nearest, ", "))
	}
	return append(hints, "`pybuild list --all` shows every release")
}

func missingHints(e *host.MissingError) (hints []string) {
	known := e.Host.Platform != nil
	for _, m := range e.Missing {
		switch {
		case m.Absent:
			hints = append(hints, m.Name+" cannot be had on this distribution: leave it out on purpose with --without "+m.Name)
		case !known && len(m.Libraries) > 0:
			hints = append(hints, m.Name+" needs "+strings.Join(m.Libraries, ", or "))
		}
	}
	if known {
		hints = append(hints, e.Host.Platform.Says...)
	}
	switch {
	case e.Install != nil:
		hints = append(hints, "install them: "+run.Quote(install.Privileged(e.Install)), "or let pybuild do it: add --install-deps")
	case !known:
		hints = append(hints, "install these libraries with their headers; there is no list of packages for this distribution")
	}
	return hints
}

// modulesHints name the parts that CPython left out although their needs were there.
func modulesHints(e *build.ModulesError) []string {
	var parts []string
	for _, m := range e.Modules {
		if !slices.Contains(parts, m.Part) {
			parts = append(parts, m.Part)
		}
	}
	hints := []string{"the whole log is " + e.Log}
	var step *build.StepError
	if errors.As(e, &step) && step.Known != nil {
		hints = append(hints, step.Known.Summary+": "+step.Known.Remedy)
	}
	return append(hints, "`pybuild deps` looks for the needs again; --without "+strings.Join(parts, ",")+" builds without them, on purpose")
}

// launcherStatus is 3 for what an installation helps against, and 2 for what only another command line does.
func launcherStatus(e *install.LauncherError) int {
	if e.Reason == install.LauncherMissing {
		return 3
	}
	return 2
}

func launcherHint(e *install.LauncherError) string {
	switch e.Reason {
	case install.LauncherMissing:
		return "install it, the package is called " + e.Launcher + "; or go on without: --launcher none, or auto"
	case install.LauncherNetwork:
		return "let root build, with the machine's network: add --unconfined"
	case install.LauncherServer:
		return "take --launcher ccache, which has no server"
	default:
		return "name a cache that every user may pass with PYBUILD_CACHE, or go on without: --launcher none, or auto"
	}
}

func guideHints(e *build.GuideError) (hints []string) {
	if step, ok := errors.AsType[*build.StepError](e.Err); ok {
		hints = append(hints, "the whole log is "+step.Log)
	}
	return append(hints, "--pgo auto goes on without what failed, and says so")
}

func conflictHint(e *prefix.ConflictError) string {
	if len(e.Owners) > 0 {
		return "another Python in this prefix has names in common with it, as the normal and the free-threaded build of a series have: give each a prefix of its own, for example --prefix /opt/python/{version}"
	}
	if len(e.Changed) > 0 && len(e.Changed) == len(e.Paths) {
		return "these files were changed since pybuild installed them: move them away, or keep them aside with --force"
	}
	return "pybuild never changes files that it did not install: move them away, keep them aside with --force, or choose another --prefix"
}

func digestHint(e *install.DigestError) string {
	if e.Is != "" {
		return "install it as what it is: pybuild " + e.Is + " --source " + e.Source
	}
	return "if you trust the file, say so with --sha256 HEX"
}

// stepMessage is what a person needs of a failed step: the first error, the end of the log.
func stepMessage(e *build.StepError) string {
	lines := []string{e.Error()}
	if e.First != "" {
		lines = append(lines, "first error:", "  "+e.First)
	}
	if len(e.Tail) > 0 {
		lines = append(lines, "last lines:")
		for _, line := range e.Tail {
			lines = append(lines, "  "+line)
		}
	}
	return strings.Join(lines, "\n")
}
