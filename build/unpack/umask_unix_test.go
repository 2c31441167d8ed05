//go:build unix

package unpack

import "syscall"

// umask sets the process's and returns what sets it back.
func umask(mask int) (restore func()) {
	old := syscall.Umask(mask)
	return func() { syscall.Umask(old) }
}
