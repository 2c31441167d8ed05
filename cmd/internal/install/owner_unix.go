//go:build unix

package install

import (
	"io/fs"
	"syscall"
)

// ownedBy says whether a directory lets this user, or this group, in.
func ownedBy(info fs.FileInfo, uid, gid uint32) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == uid && info.Mode()&0o100 != 0 || s.Gid == gid && info.Mode()&0o010 != 0)
}
