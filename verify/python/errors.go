package python

import (
	"errors"
	"fmt"
	"strings"
)

// ErrExternallyManaged is part of a failed check when pip refused to install
// because it believes that something else manages this Python (PEP 668).
var ErrExternallyManaged = errors.New("pip refuses: externally-managed-environment")

// RejectedError says that a Python is not what was promised.
type RejectedError struct {
	Executable string
	Failures   []Result // the failed ones, in the order of the report; never empty
}

func (e *RejectedError) Error() string {
	texts := make([]string, len(e.Failures))
	for i, f := range e.Failures {
		texts[i] = f.Check + ": " + f.Err.Error()
	}
	return e.Executable + " rejected: " + strings.Join(texts, "; ")
}

// Unwrap returns the error of every failure.
func (e *RejectedError) Unwrap() []error {
	errs := make([]error, len(e.Failures))
	for i, f := range e.Failures {
		errs[i] = f.Err
	}
	return errs
}

// NotRefusedError says that pip installs although there is a marker.
type NotRefusedError struct{ Pip string } // its version

func (e *NotRefusedError) Error() string {
	return fmt.Sprintf("pip %s installs in spite of the marker, for which pip looks since 23.0", e.Pip)
}

// VersionError says that a version is not one that can be looked at.
type VersionError struct{ Version string }

func (e *VersionError) Error() string {
	return fmt.Sprintf("version %q is not one of CPython 3.8 or later", e.Version)
}

// MismatchError says that something is not as promised.
type MismatchError struct{ What, Got, Want string }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %s, not %s", e.What, e.Got, e.Want)
}

// ModuleError says that a promised module does not import.
type ModuleError struct {
	Module
	Reason string // Python's own words
}

func (e *ModuleError) Error() string {
	return fmt.Sprintf("%s (part %s): %s", e.Name, e.Part, e.Reason)
}

// StepError says what the interpreter was doing when it crashed, or was ended
// because it did not come to an end itself.
type StepError struct {
	Step string // "import _ssl", "probe ssl"
	Err  error
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }

// ScriptError says what is wrong with a command.
type ScriptError struct {
	Path   string // below the prefix, or absolute
	Reason string
}

func (e *ScriptError) Error() string { return e.Path + " " + e.Reason }

// ForeignError says that libraries which belong neither to the system nor to
// the prefix were loaded, or would be.
type ForeignError struct{ Libraries []string }

func (e *ForeignError) Error() string {
	return "loaded from outside the system and the prefix: " + strings.Join(e.Libraries, ", ")
}

// MissingLibraryError says that the dynamic linker would not find a library.
type MissingLibraryError struct {
	Soname string
	Users  []string // files that need it, relative to the prefix
}

func (e *MissingLibraryError) Error() string {
	return fmt.Sprintf("%s is nowhere, needed by %s", e.Soname, strings.Join(e.Users, ", "))
}

// SearchPathError says that files send the dynamic linker to a directory which
// belongs neither to the system nor to the prefix.
type SearchPathError struct {
	Dir   string   // as written in the files; "" is the working directory
	Users []string // the files, relative to the prefix
}

func (e *SearchPathError) Error() string {
	return fmt.Sprintf("rpath names %q, in %s", e.Dir, strings.Join(e.Users, ", "))
}

// LeftoverError says that the prefix is not as it was before pip was tried.
type LeftoverError struct {
	Added, Removed []string // absolute paths
}

func (e *LeftoverError) Error() string {
	var parts []string
	if len(e.Added) > 0 {
		parts = append(parts, "left behind "+strings.Join(e.Added, ", "))
	}
	if len(e.Removed) > 0 {
		parts = append(parts, "took away "+strings.Join(e.Removed, ", "))
	}
	return "pip " + strings.Join(parts, "; ")
}

// list is several findings of one check, on one line.
type list []error

func (l list) Error() string {
	texts := make([]string, len(l))
	for i, err := range l {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (l list) Unwrap() []error { return l }

// join is the findings as one error: nil when there are none.
func join(findings []error) error {
	switch len(findings) {
	case 0:
		return nil
	case 1:
		return findings[0]
	}
	return list(findings)
}
