package fetch

import (
	"math"
	"os"
	"syscall"
)

// room reports a full disk before a download fills it. Size 0 is unknown, and
// needs none.
func (c *Cache) room(size int64) error {
	free := c.free
	if free == nil {
		free = freeSpace
	}
	if n, ok := free(c.Dir); ok && n < size {
		return &CacheError{Dir: c.Dir, Err: &SpaceError{Dir: c.Dir, Need: size, Free: n}}
	}
	return nil
}

// freeSpace returns how many bytes this process may still write to the file system
// of dir. A file system that cannot say is not asked again: it will speak up when
// it is full.
func freeSpace(dir string) (bytes int64, ok bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil || st.Blocks == 0 || st.Bsize == 0 {
		return 0, false
	}
	blocks := uint64(st.Bavail)
	if os.Geteuid() == 0 {
		blocks = st.Bfree // some are reserved for root
	}
	if size := uint64(st.Bsize); blocks < math.MaxInt64/size {
		return int64(blocks * size), true
	}
	return math.MaxInt64, true
}
