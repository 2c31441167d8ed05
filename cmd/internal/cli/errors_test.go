package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"

	"pybuild/build"
	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/unpack"
	"pybuild/cmd/internal/install"
	"pybuild/fetch"
	"pybuild/recipes"
	"pybuild/verify/python"
)

func TestExplain(t *testing.T) {
	refused := fetch.Attempt{URL: "https://mirror.example/a", Err: &fetch.RefusedError{Err: errors.New("other bytes")}}
	away := fetch.Attempt{URL: "https://mirror.example/b", Err: &fetch.StatusError{Code: 404}}
	full := &fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}
	denied := &fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}
	debian := []string{"apt-get", "install", "--yes", "libssl-dev"}
	known := &host.Host{Platform: &recipes.Platform{}}
	for _, test := range []struct {
		name   string
		err    error
		status int
		kind   string
		hint   string // how the first one begins; "" for none
	}{
		{"unknown", errors.New("something"), 1, "failed", ""},
		{"versions", errors.Join(&VersionsError{Failed: []string{"3.11.8"}, Of: 2, Status: 4}), 4, "versions-failed", ""},
		{"usage", &UsageError{Message: "no", Hints: []string{"see"}}, 2, "usage", "see"},
		{"version", &recipes.UnknownVersionError{Spec: "3.99", Nearest: []string{"3.9"}}, 2, "unknown-version", "known and near: 3.9"},
		{"version like no other", &recipes.UnknownVersionError{Spec: "x"}, 2, "unknown-version", "`pybuild list --all` shows"},
		{"distribution", &host.UnknownError{Name: "plan9", Known: []string{"debian", "fedora"}}, 2, "unknown-distribution", "known are debian, fedora"},
		{"invalid prefix", &prefix.InvalidError{Prefix: "x", Reason: "is not absolute"}, 2, "invalid-prefix", "give an absolute path"},
		{"needs", &host.MissingError{Host: known, Missing: []host.Missing{{Name: "ssl"}}, Install: debian}, 3, "missing-needs", "install them: "},
		{"needs that nobody has", &host.MissingError{Host: known, Missing: []host.Missing{{Name: "zstd", Absent: true}}}, 3, "missing-needs", "zstd cannot be had on this distribution: leave it out on purpose with --without zstd"},
		{"needs of a stranger", &host.MissingError{Host: &host.Host{}, Missing: []host.Missing{{Name: "ssl", Libraries: []string{"openssl/ssl.h, libssl and libcrypto"}}}}, 3, "missing-needs", "ssl needs openssl/ssl.h, libssl and libcrypto"},
		{"tools of a stranger", &host.MissingError{Host: &host.Host{}, Missing: []host.Missing{{Name: "make"}}}, 3, "missing-needs", "install these libraries"},
		{"distribution", &host.UnknownError{Name: "debian:x", Malformed: true}, 2, "unknown-distribution", "write it as ID:VERSION_ID"},
		{"toolchain", &install.QuirkError{Version: "3.13.5", Quirk: &recipes.Quirk{Says: "no"}}, 3, "toolchain", "name another compiler"},
		{"launcher that is not there", &install.LauncherError{Launcher: "ccache", Reason: install.LauncherMissing}, 3, "launcher", "install it, the package is called ccache"},
		{"launcher without its network", &install.LauncherError{Launcher: "distcc", Reason: install.LauncherNetwork}, 2, "launcher", "let root build, with the machine's network: add --unconfined"},
		{"launcher whose server would stay", &install.LauncherError{Launcher: "sccache", Reason: install.LauncherServer}, 2, "launcher", "take --launcher ccache"},
		{"launcher that is closed", &install.LauncherError{Launcher: "ccache", Reason: install.LauncherClosed, Dir: "/d"}, 2, "launcher", "name a cache that every user may pass"},
		{"training failed", &build.GuideError{Tests: []string{"test_re"}, Err: &build.StepError{Step: "train", Log: "/l"}}, 6, "not-guided", "the whole log is /l"},
		{"no training", &build.GuideError{Reason: "no"}, 6, "not-guided", "--pgo auto goes on"},
		{"another processor", &install.ProcessorError{Executable: "/p", Err: &python.ProcessorError{Lacks: []string{"avx2"}}}, 7, "other-processor", "name a prefix that other machines do not share"},
		{"clock", &host.ClockError{}, 3, "clock", "set the clock"},
		{"memory", &host.MemoryError{}, 3, "memory", "free some memory"},
		{"no room to build", &host.NoBuildDirError{Unfit: []*host.UnfitError{{Dir: "/b", Reason: host.UnfitSpace}}}, 8, "no-space", "make room"},
		{"nowhere to build", &host.NoBuildDirError{Unfit: []*host.UnfitError{{Dir: "/b", Reason: host.UnfitSpace}, {Dir: "/c", Reason: host.UnfitNoexec}}}, 3, "build-directory", "name a directory"},
		{"module missing", &build.ModulesError{Step: "configure", Modules: []build.ModuleFailure{{Part: "bz2", Extension: "_bz2", State: build.StateMissing}}, Log: "/l"}, 6, "missing-modules", "the whole log is /l"},
		{"module missing, known why", &build.ModulesError{Log: "/l", Err: &build.StepError{Step: "compile", Log: "/l"}}, 6, "missing-modules", "the whole log is /l"},
		{"known failure", &build.StepError{Step: "compile", Log: "/l", Known: &recipes.Failure{Summary: "memory ran out", Remedy: "use --jobs 1"}}, 6, "compile-failed", "memory ran out: use --jobs 1"},
		{"package manager", &install.PackageManagerError{Command: debian, Err: errors.New("exit status 100")}, 3, "package-manager", "mend what"},
		{"unknown digest", &install.DigestError{Source: "/f", Version: "3.13.5", SHA256: "00"}, 4, "unknown-digest", "if you trust the file"},
		{"another version", &install.DigestError{Source: "/f", Version: "3.13.5", SHA256: "00", Is: "3.13.4"}, 4, "unknown-digest", "install it as what it is: pybuild 3.13.4 --source /f"},
		{"wrong signature", &install.SignatureError{Archive: "a", Wrong: true, Err: &fetch.RefusedError{Err: errors.New("by another")}}, 4, "wrong-signature", "nothing of the archive was used; name another source"},
		{"no signature", &install.SignatureError{Archive: "a", Needed: "x", Err: &fetch.SourcesError{Attempts: []fetch.Attempt{away}}}, 4, "no-signature", "name a place that has it with --mirror"},
		{"nowhere", &install.NowhereError{Version: "3.13.18", Err: &fetch.SourcesError{Attempts: []fetch.Attempt{away}}}, 5, "no-source", "name a place that this machine can reach"},
		{"others in the pool", &install.NowhereError{Version: "3.13.18", Others: []string{"3.13.15", "3.13.5"}, Err: &fetch.SourcesError{Attempts: []fetch.Attempt{away}}}, 5, "no-source",
			"3.13.15, 3.13.5 can be had from the distribution's pool: pybuild 3.13.15"},
		{"archive", &unpack.RefusedError{Archive: "a", Reason: "is truncated"}, 4, "archive-refused", "nothing of the archive was used"},
		{"bytes refused", &fetch.SourcesError{Attempts: []fetch.Attempt{away, refused}}, 4, "not-verified", "what was served is not"},
		{"no source", &fetch.SourcesError{Attempts: []fetch.Attempt{away}}, 5, "no-source", "name a place that this machine can reach"},
		{"cache", &fetch.CacheError{Dir: "/c", Err: denied}, 1, "cache", "set PYBUILD_CACHE"},
		{"full cache", &fetch.CacheError{Dir: "/c", Err: full}, 8, "no-space", "make room in /c"},
		{"step", &build.StepError{Step: "compile", Log: "/l/compile.log", Err: errors.New("exit status 2")}, 6, "compile-failed", "the whole log is /l/compile.log"},
		{"full disk in a step", &build.StepError{Step: "compile", Log: "/l", Err: full}, 6, "compile-failed", "the whole log is"},
		{"rejected", &install.RejectedError{Version: "3.13.5", Err: errors.New("no ssl")}, 7, "rejected", "the prefix is unchanged"},
		{"stage that cannot be recorded", &prefix.TreeError{Dir: "/s", Path: "p", Reason: "is a pipe"}, 7, "rejected", "the prefix is unchanged"},
		{"changed", &install.ChangedError{Executable: "/p"}, 7, "changed", "install it again"},
		{"a stranger", &install.ChangedError{Executable: "/p", Stranger: true}, 7, "not-working", ""},
		{"prefix refused", &prefix.RefusedError{Prefix: "/usr", Reason: "no"}, 8, "prefix-refused", "choose another --prefix"},
		{"prefix not writable", &prefix.RefusedError{Prefix: "/p", Reason: "no", Err: denied}, 8, "prefix-refused", "choose another --prefix"},
		{"busy", &prefix.BusyError{Prefix: "/p"}, 8, "prefix-busy", "wait until"},
		{"conflict", &prefix.ConflictError{Prefix: "/p", Paths: []string{"bin/x"}}, 8, "conflict", "pybuild never changes files"},
		{"changed files", &prefix.ConflictError{Prefix: "/p", Paths: []string{"bin/x"}, Changed: []string{"bin/x"}}, 8, "conflict", "these files were changed since"},
		{"another Python's files", &prefix.ConflictError{Prefix: "/p", Paths: []string{"bin/x"}, Owners: map[string]string{"bin/x": "python3.13t"}}, 8, "conflict", "another Python in this prefix"},
		{"recovery", &prefix.RecoveryError{Prefix: "/p", Err: syscall.EIO}, 8, "recovery", "mend what is named above"},
		{"journal", &prefix.JournalError{File: "/p/j", Reason: "is odd"}, 8, "journal", "the record of an interrupted change"},
		{"manifest", &prefix.ManifestError{File: "/m", Reason: "has format 9"}, 8, "manifest", "the list of installed files"},
		{"full prefix", &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: full}, 8, "no-space", "make room"},
		{"conflict on the way", &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: &prefix.ConflictError{}}, 8, "conflict", "pybuild never changes files"},
		{"change put back", &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: syscall.EIO}, 8, "prefix", "everything was put back"},
		{"change not put back", &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: full, Undo: syscall.EIO}, 8, "not-undone", "the prefix is neither"},
		{"full disk", full, 8, "no-space", "make room"},
		{"full build directory", &install.DirectoryError{Purpose: "build", Dir: "/b", Err: full}, 8, "no-space", "make room"},
		{"build directory", &install.DirectoryError{Purpose: "build", Dir: "/b", Err: denied}, 1, "build-directory", "choose another with --build-dir"},
		{"permission", denied, 8, "permission", "run pybuild as a user"},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, err := range []error{test.err, fmt.Errorf("wrapped: %w", test.err), errors.Join(test.err, errors.New("and cleaning up"))} {
				f := explain(t.Context(), err)
				if f.Status != test.status || f.Kind != test.kind {
					t.Errorf("%v: status %d, kind %s; want %d, %s", err, f.Status, f.Kind, test.status, test.kind)
				}
				hint := strings.Join(f.Hints[:min(1, len(f.Hints))], "")
				if !strings.HasPrefix(hint, test.hint) || (hint == "") != (test.hint == "") {
					t.Errorf("%v: hints %q, want %q first", err, f.Hints, test.hint)
				}
			}
		})
	}
}

func TestExplainInterrupted(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	stuck := &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: context.Canceled, Undo: syscall.EIO}
	for _, test := range []struct {
		name    string
		err     error
		status  int
		message string
	}{
		{"alone", context.Canceled, 130, "interrupted; the prefix is as it was"},
		{"wrapped", fmt.Errorf("unpacking: %w", context.Canceled), 130, "interrupted; the prefix is as it was"},
		{"whatever failed, failed because of that", &build.StepError{Step: "compile", Err: context.Canceled}, 130, "interrupted; the prefix is as it was"},
		{"put back", &prefix.ChangeError{Prefix: "/p", Step: "place", Path: "x", Err: context.Canceled}, 130, "interrupted; the prefix is as it was"},
		{"cleaning up failed too", errors.Join(context.Canceled, errors.New("cannot remove it")), 130, "interrupted; the prefix is as it was\ncannot remove it"},
		{"not put back", stuck, 8, stuck.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			if f := explain(cancelled, test.err); f.Status != test.status || f.Message != test.message {
				t.Errorf("status %d, message %q; want %d, %q", f.Status, f.Message, test.status, test.message)
			}
			// The twin: the same error without an interruption is something else.
			if f := explain(t.Context(), test.err); f.Status == 130 {
				t.Errorf("status %d without an interruption", f.Status)
			}
		})
	}
}

// A failed step is told with what a person needs, and with the log for a program.
func TestExplainStep(t *testing.T) {
	f := explain(t.Context(), &build.StepError{Step: "compile", Log: "/l/compile.log", First: "a.c:1: error: bad", Tail: []string{"one", "two"}, Err: errors.New("make: exit status 2")})
	const want = "compile failed: make: exit status 2\nfirst error:\n  a.c:1: error: bad\nlast lines:\n  one\n  two"
	if f.Message != want || f.Log != "/l/compile.log" {
		t.Errorf("message %q, log %s; want %q", f.Message, f.Log, want)
	}
	if f := explain(t.Context(), &build.StepError{Step: "stage", Err: errors.New("no")}); f.Message != "stage failed: no" {
		t.Errorf("message %q", f.Message)
	}
}

// Whatever is wrong with a command line, the program says it on standard error and, asked for JSON, in one object on standard
// output. Nothing here comes as far as to look at the machine.
func TestMainFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		args   []string
		status int
		kind   string
		stderr string
	}{
		{"version", []string{"3.99", "--json"}, 2, "unknown-version", `unknown version "3.99": no such series is known`},
		{"flag", []string{"3.13.5", "--json", "--bad"}, 2, "usage", "unknown flag: --bad"},
		{"flag before --json", []string{"3.13.5", "--bad", "--json"}, 2, "usage", "unknown flag: --bad"},
		{"flag without --json", []string{"3.13.5", "--bad"}, 2, "", "unknown flag: --bad"},
		{"--json of configure", []string{"3.13.5", "--bad", "--", "--json"}, 2, "", "unknown flag: --bad"},
		{"argument", []string{"uninstall", "--json"}, 2, "usage", "accepts 1 arg(s), received 0"},
		{"no command", []string{"cache", "--json"}, 2, "usage", "cache takes one of dir, list, prune"},
		{"prefix", []string{"3.13.5", "--prefix", "x", "--json"}, 2, "invalid-prefix", `prefix "x" is not absolute`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := Main(t.Context(), Process{Args: test.args, Environ: []string{"PYBUILD_CACHE=/nonexistent"}, Stdin: &bytes.Buffer{}, Stdout: &stdout, Stderr: &stderr})
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			if first, _, _ := strings.Cut(stderr.String(), "\n"); first != "pybuild: error: "+test.stderr {
				t.Errorf("standard error begins %q, want %q", first, test.stderr)
			}
			if test.kind == "" {
				if stdout.Len() > 0 {
					t.Errorf("standard output %q", &stdout)
				}
				return
			}
			var f failure
			if err := json.Unmarshal(stdout.Bytes(), &f); err != nil {
				t.Fatalf("%v: %q", err, &stdout)
			}
			if f.Event != "error" || f.Status != status || f.Kind != test.kind || f.Message != test.stderr || f.Hints == nil {
				t.Errorf("object %+v", f)
			}
		})
	}
}

// Every command and flag says what it is for.
func TestHelp(t *testing.T) {
	root := (&app{Process: Process{}}).root()
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
		if c.Short == "" {
			t.Errorf("%s says nothing about itself", c.Name())
		}
	}
	for _, name := range []string{"list", "deps", "fetch", "verify", "uninstall", "cache", "completion", "man"} {
		if !slices.Contains(names, name) {
			t.Errorf("no command %s", name)
		}
	}
}
