package fetch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pybuild/fetch/fetchtest"
)

// A full disk is said before.
func TestSpace(t *testing.T) {
	dir, _ := newMirror(t)
	size := int64(len(content))
	etag := func() string { return fetchTag(t, dir) }
	tests := []struct {
		name  string
		size  int64 // known
		held  int64 // bytes of a partial file
		mark  string
		free  int64 // bytes; -1 = cannot be found out
		want  string
		asked int32
		left  []string
	}{
		{"it fits", size, 0, "", size, "", 1, nil},
		{"a byte is missing", size, 0, "", size - 1, fmt.Sprintf("no space left: %d bytes needed, %d free", size, size-1), 0, nil},
		{"nobody knows", size, 0, "", -1, "", 1, nil},
		{"size unknown, it fits", 0, 0, "", size, "", 1, nil},
		{"size unknown, a byte is missing", 0, 0, "", size - 1, fmt.Sprintf("no space left: %d bytes needed, %d free", size, size-1), 1, nil},
		{"the rest fits", size, size / 2, etag(), size / 2, "", 1, nil},
		{"the rest lacks a byte", size, size / 2, etag(), size/2 - 1, fmt.Sprintf("no space left: %d bytes needed, %d free", size/2, size/2-1), 0, partials()},
		{"what is thrown away makes room", size, size / 2, "", size / 2, "", 1, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv, asked := count(t, fetchtest.Handler(dir))
			c := newCache(t)
			c.free = func(dir string) (int64, bool) {
				if dir != c.Dir {
					t.Errorf("asked about %s", dir)
				}
				free := tt.free
				if asked.Load() > 0 && tt.mark == "" {
					free += tt.held // what was there is gone
				}
				return free, tt.free >= 0
			}
			if tt.held > 0 {
				write(t, filepath.Join(c.Dir, partials()[0]), content[:tt.held])
			}
			if tt.mark != "" {
				write(t, filepath.Join(c.Dir, partials()[1]), []byte(tt.mark))
			}
			req := from(srv + "/" + file)
			req.Sources[0].Artifact.Size = tt.size
			f, err := c.Get(t.Context(), req)
			if asked.Load() != tt.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), tt.asked)
			}
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkBytes(t, f.Path)
				return
			}
			var full *SpaceError
			if !errors.As(err, &full) || !errors.Is(err, syscall.ENOSPC) || full.Dir != c.Dir || err.Error() != "cache "+c.Dir+": "+tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			checkTree(t, c.Dir, tt.left...)
		})
	}
}

// fetchTag is the mark that the mirror of dir gives.
func fetchTag(t *testing.T, dir string) string {
	t.Helper()
	c := newCache(t)
	if _, err := c.Get(t.Context(), from(fetchtest.Server(t, dir).URL+"/broken/"+file)); !isA[*BrokenError](err) {
		t.Fatalf("got %v, want a *BrokenError", err)
	}
	b, err := os.ReadFile(filepath.Join(c.Dir, partials()[1]))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFreeSpace(t *testing.T) {
	dir := t.TempDir()
	if n, ok := freeSpace(dir); !ok || n <= 0 {
		t.Errorf("got %d, %t", n, ok)
	}
	if n, ok := freeSpace(filepath.Join(dir, "none")); ok || n != 0 {
		t.Errorf("got %d, %t of nothing", n, ok)
	}
}

// A disk that is full in the middle is the cache's fault, whatever the source.
func TestFullDevice(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("this system has no device that is always full: ", err)
	}
	defer full.Close()
	g := &getter{cache: &Cache{Dir: "/cache"}}
	for _, tt := range []struct {
		dst  io.Writer
		want string
	}{
		{io.Discard, "<nil>"},
		{full, "cache /cache: write /dev/full: no space left on device"},
	} {
		in := &incoming{Reader: strings.NewReader("abc"), size: 3}
		err := g.transfer(t.Context(), tt.dst, in, want{size: 3})
		if fmt.Sprint(err) != tt.want || (err != nil) != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
}
