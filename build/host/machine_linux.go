package host

import (
	"io/fs"
	"math"
	"os"
	"syscall"
)

// stNoexec is the flag ST_NOEXEC of statfs(2).
const stNoexec = 0x8

// statFileSystem asks the kernel about the file system of a directory. One that cannot say how much room it has, as some of the
// network, is not taken for a full one.
func statFileSystem(dir string) (fileSystem, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fileSystem{}, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	system := fileSystem{noexec: st.Flags&stNoexec != 0, free: -1}
	if st.Blocks == 0 || st.Bsize <= 0 {
		return system, nil
	}
	blocks := st.Bavail
	if os.Geteuid() == 0 {
		blocks = st.Bfree // some are reserved for root
	}
	system.free = math.MaxInt64
	if size := uint64(st.Bsize); blocks < math.MaxInt64/size {
		system.free = int64(blocks * size)
	}
	return system, nil
}
