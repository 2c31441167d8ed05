package prefix

import (
	"errors"

	"golang.org/x/sys/unix"
)

// renameAt renames without replacing: it fails with EEXIST when newname is taken.
func renameAt(olddir int, oldname string, newdir int, newname string) error {
	err := unix.Renameat2(olddir, oldname, newdir, newname, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // the file system, or the kernel, cannot
		return renameAfterLook(olddir, oldname, newdir, newname)
	}
	return err
}
