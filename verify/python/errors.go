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

// ScriptError says what is wrong with a command.
type ScriptError struct {
	Path   string // below the prefix, or absolute
	Reason string
}

func (e *ScriptError) Error() string { return e.Path + " " + e.Reason }

// ForeignError says that libraries were loaded which belong neither to the
// system nor to the prefix.
type ForeignError struct{ Libraries []string }

func (e *ForeignError) Error() string {
	return "loaded from outside the system and the prefix: " + strings.Join(e.Libraries, ", ")
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
