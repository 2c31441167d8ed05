package build

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// What was kept is shell code to the next configure, and decides what the next interpreter is made of, whoever installs it. So
// only that counts which nobody but this user, or root, can have put there.

// An untrustedError says that others may have written what is at Path.
type untrustedError struct{ Path string }

func (e *untrustedError) Error() string { return e.Path + ": others may have written it" }

// readKept reads a whole file that keep wrote. The error is fs.ErrNotExist only where there is none. A link, a pipe and what is
// larger than max bytes are errors, too; a file or directory that somebody else owns or may write is an *untrustedError.
func readKept(dir, name string, max int64) (data []byte, err error) {
	path := filepath.Join(dir, name)
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !trusted(info) {
		return nil, errors.Join(err, &untrustedError{dir})
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // a pipe would wait for ever
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > max:
		return nil, &fs.PathError{Op: "read", Path: path, Err: fs.ErrInvalid}
	case !trusted(info):
		return nil, &untrustedError{path}
	}
	return io.ReadAll(io.LimitReader(file, max))
}

// trusted reports whether only this user and root can have made a file or directory what it is.
func trusted(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && (stat.Uid == 0 || int(stat.Uid) == os.Geteuid()) && info.Mode().Perm()&0o022 == 0
}

// plain reports whether nobody but the recipes decides what configure is asked to look at, and with what: no compiler, flag,
// argument or patch of the caller's.
func (r Request) plain() bool {
	return len(r.ConfigureArgs) == 0 && len(r.Patches) == 0 && !slices.ContainsFunc(r.Environ, func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		return value != "" && slices.Contains(passed, name)
	})
}
