package prefix

import (
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// rename moves what is called from below one root to the free name to below another. Unlike [os.Root.Rename] it crosses roots
// and never replaces: the error is fs.ErrExist when to is taken.
func rename(src *os.Root, from string, dst *os.Root, to string) error {
	a, err := src.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // was only read: an error here must not make a failure of a success
	b, err := dst.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	err = retry(func() error {
		return renameAt(int(a.Fd()), path.Base(from), int(b.Fd()), path.Base(to))
	})
	if err != nil {
		return &os.LinkError{Op: "rename", Old: path.Join(src.Name(), from), New: path.Join(dst.Name(), to), Err: err}
	}
	return nil
}

// removeDir removes an empty directory. Unlike [os.Root.Remove] it removes nothing else.
func removeDir(root *os.Root, name string) error {
	parent, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer func() { _ = parent.Close() }()
	err = retry(func() error { return unix.Unlinkat(int(parent.Fd()), path.Base(name), unix.AT_REMOVEDIR) })
	if err != nil {
		return &fs.PathError{Op: "rmdir", Path: path.Join(root.Name(), name), Err: err}
	}
	return nil
}

// retry calls do again for as long as a signal interrupts it.
func retry(do func() error) error {
	for {
		if err := do(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// renameAfterLook is as close to renaming without replacing as can be got where the kernel has no call for it.
func renameAfterLook(olddir int, oldname string, newdir int, newname string) error {
	var stat unix.Stat_t
	switch err := unix.Fstatat(newdir, newname, &stat, unix.AT_SYMLINK_NOFOLLOW); {
	case err == nil:
		return unix.EEXIST
	case !errors.Is(err, unix.ENOENT):
		return err
	}
	return unix.Renameat(olddir, oldname, newdir, newname)
}
