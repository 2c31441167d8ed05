package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pybuild/build/host"
	"pybuild/build/run"
	"pybuild/cmd/internal/install"
)

// VersionsError says which of several versions could not be installed. Why has been told already.
type VersionsError struct {
	Failed []string // in the order of the command line
	Of     int
	// Status is the exit status that the first of them would have had alone.
	Status int
}

func (e *VersionsError) Error() string {
	return fmt.Sprintf("%d of %d versions failed: %s", len(e.Failed), e.Of, strings.Join(e.Failed, ", "))
}

// several installs more than one version at once, and tells of each how it ended as soon as it has. The paths come last, in the
// order of the command line. The error is a *VersionsError, unless the whole was interrupted.
func (a *app) several(ctx context.Context, in *install.Installer, orders []install.Order) error {
	results, errs := make([]*install.Result, len(orders)), make([]error, len(orders))
	failed := &VersionsError{Of: len(orders)}
	err := in.InstallAll(ctx, orders, func(n int, result *install.Result, err error) {
		results[n], errs[n] = result, err
		rel := orders[n].Release
		if t, ok := in.Reporter.(*timeline); ok {
			t.end(ctx, rel, result, err)
		}
		if err == nil {
			a.tell(result)
			return
		}
		f := explain(ctx, err)
		f.Version = rel.String()
		if ctx.Err() == nil { // else it is said once, at the end
			f.Message = f.Version + ": " + f.Message
			a.reporter().Print(f.text())
		}
		a.reporter().Object(f)
	})
	for n, rel := range orders {
		switch {
		case errs[n] == nil && !a.json:
			fmt.Fprintln(a.Stdout, results[n].Executable)
		case errs[n] != nil:
			failed.Failed = append(failed.Failed, rel.Release.String())
			if failed.Status == 0 {
				failed.Status = explain(ctx, errs[n]).Status
			}
		}
	}
	if len(failed.Failed) == 0 {
		return err
	}
	if ctx.Err() != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(failed, err)
}

// share settles who shares out the processors: the make that started pybuild, if it can, unless the user has said how many there
// are; else pybuild itself, when it builds several versions. done gives up what it opened.
func (a *app) share(in *install.Installer, o *install.Options, versions int) (done func() error) {
	outer, err := run.JoinJobserver(a.env("MAKEFLAGS", ""))
	switch {
	case err != nil:
		a.reporter().Note(fmt.Sprintf("the make that started pybuild does not share its processes: %v; a line of a Makefile that begins with + gets them", err))
	case outer != nil && o.Jobs > 0:
		a.reporter().Note(fmt.Sprintf("--jobs %d is given: the make that started pybuild does not share its processes", o.Jobs))
		_ = outer.Close() // a pipe
		outer = nil
	}
	if o.Jobs == 0 && (outer != nil || versions > 1) {
		o.Jobs = host.Jobs(in.Root)
	}
	in.Jobserver = outer
	if outer == nil && versions > 1 {
		if in.Jobserver, err = run.NewJobserver(o.Jobs); err != nil {
			a.reporter().Note(fmt.Sprintf("one version is built after the other: %v", err))
		}
	}
	if in.Jobserver == nil {
		return func() error { return nil }
	}
	return in.Jobserver.Close
}
