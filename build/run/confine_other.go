//go:build !linux

package run

import (
	"context"
	"errors"
)

// Init does nothing here; see the other one.
func Init() {}

// CanConfine says that nothing can be confined on this system.
func CanConfine(context.Context) error { return unsupported() }

func confined(context.Context, Command) error {
	return unsupported()
}

func unsupported() error { return &ConfineError{What: "confinement", Err: errors.ErrUnsupported} }
