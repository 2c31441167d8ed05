package prefix

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes sure that everything on the file system of the root is on disk, the names included. One call for all is many
// times faster than one a file.
func syncAll(root *os.Root, _ func() []string) (err error) {
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := retry(func() error { return unix.Syncfs(int(f.Fd())) }); err != nil {
		return os.NewSyscallError("syncfs", err)
	}
	return nil
}

// writable fails when no file can be made in the root. What it makes has no name, so that nothing is left when the process dies.
func writable(root *os.Root) (err error) {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	var fd int
	err = retry(func() error {
		fd, err = unix.Openat(int(dir.Fd()), ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		return err
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ENOENT) { // the file system, or the kernel, cannot
		return writableByName(root)
	}
	if err != nil {
		return err
	}
	return unix.Close(fd)
}
