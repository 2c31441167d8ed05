package fetch

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
)

// A real file system that fills up: what was written makes room again, and no name
// is left.
func TestFullFileSystem(t *testing.T) {
	_, mirror := newMirror(t)
	lie := func(string) (int64, bool) { return 1 << 40, true }
	tests := []struct {
		name string
		kib  int
		free func(string) (int64, bool)
		path string
		is   error
	}{
		{"large enough", 1024, nil, "/", nil},
		{"said before", 100, nil, "/", &SpaceError{}},
		{"in the middle", 100, lie, "/", syscall.ENOSPC},
		{"in the middle of the second part", 100, lie, "/brokenx1/", syscall.ENOSPC},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			c.Dir, c.free = t.TempDir(), tt.free
			if err := syscall.Mount("none", c.Dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%dk,mode=755", tt.kib)); err != nil {
				t.Skip("file systems cannot be made here: ", err)
			}
			t.Cleanup(func() {
				if err := syscall.Unmount(c.Dir, 0); err != nil {
					t.Error(err)
				}
			})
			_, err := c.Get(t.Context(), from(mirror+tt.path+file))
			if tt.is == nil {
				if err != nil {
					t.Error(err)
				}
				checkTree(t, c.Dir, filepath.Join("archives", artifact().SHA256, artifact().Name))
				return
			}
			_, before := tt.is.(*SpaceError)
			if !isA[*CacheError](err) || !errors.Is(err, syscall.ENOSPC) || isA[*SpaceError](err) != before {
				t.Errorf("got %v", err)
			}
			checkTree(t, c.Dir)
		})
	}
}
