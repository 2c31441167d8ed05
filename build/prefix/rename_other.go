//go:build !linux

package prefix

func renameAt(olddir int, oldname string, newdir int, newname string) error {
	return renameAfterLook(olddir, oldname, newdir, newname)
}
