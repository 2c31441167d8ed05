package fetch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

const (
	archivesDir   = "archives"
	locksDir      = "locks"
	smallDir      = "small"
	partialSuffix = ".partial"
	markSuffix    = ".partial.json"

	// lockPoll is how often a process that waits for another's download looks
	// whether it has ended.
	lockPoll = 100 * time.Millisecond
)

// An Entry is a file in the cache.
type Entry struct {
	Path     string
	Artifact Artifact  // Size is the file's
	Time     time.Time // when it was last written to
	Partial  bool      // a download that goes on or was broken off, verified by nobody
}

// Find returns the artifact if the cache has it and check accepts it. It changes
// nothing. The error is fs.ErrNotExist when it is not there, a [*RefusedError]
// when it is there and no good, and a [*CacheError] when that could not be found
// out.
func (c *Cache) Find(a Artifact, check func(Artifact, *os.File) error) (*File, error) {
	if check == nil {
		return nil, ErrNoCheck
	}
	if err := a.validate(); err != nil {
		return nil, err
	}
	if c.Dir == "" {
		return nil, &CacheError{Err: errNoDir}
	}
	path := c.path(a)
	f, err := openRegular(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, absent(a)
	case err == ErrNotRegular:
		return nil, &RefusedError{Err: err}
	case err != nil:
		return nil, &CacheError{Dir: c.Dir, Err: err}
	}
	defer f.Close() // only read from

	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, &CacheError{Dir: c.Dir, Err: err}
	case a.Size > 0 && info.Size() != a.Size:
		return nil, &RefusedError{Err: &LengthError{Want: a.Size, Got: info.Size()}}
	}
	if err := check(a, f); err != nil {
		return nil, &RefusedError{Err: err}
	}
	return &File{Path: path, Artifact: a}, nil
}

// List returns what is in the cache, by name and then digest; a cache that does
// not exist yet is an empty one. Files that the package did not put there are left
// out. The error is a [*CacheError].
func (c *Cache) List() ([]Entry, error) {
	if c.Dir == "" {
		return nil, &CacheError{Err: errNoDir}
	}
	top := filepath.Join(c.Dir, archivesDir)
	digests, err := readDir(top)
	if err != nil {
		return nil, &CacheError{Dir: c.Dir, Err: err}
	}
	var entries []Entry
	for _, d := range digests {
		if !d.IsDir() || !isDigest(d.Name()) {
			continue
		}
		files, err := readDir(filepath.Join(top, d.Name()))
		if err != nil {
			return nil, &CacheError{Dir: c.Dir, Err: err}
		}
		for _, f := range files {
			info, err := f.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // renamed or removed since
			}
			if err != nil {
				return nil, &CacheError{Dir: c.Dir, Err: err}
			}
			name, partial := strings.CutSuffix(f.Name(), partialSuffix)
			a := Artifact{Name: name, SHA256: d.Name(), Size: info.Size()}
			if !info.Mode().IsRegular() || a.validate() != nil {
				continue
			}
			entries = append(entries, Entry{
				Path:     filepath.Join(top, d.Name(), f.Name()),
				Artifact: a,
				Time:     info.ModTime(),
				Partial:  partial,
			})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Artifact.Name, b.Artifact.Name), cmp.Compare(a.Path, b.Path))
	})
	return entries, nil
}

// Remove removes an entry of List; one that is gone already is no error. The small
// files that belong to an artifact go with the last file that has its digest. The
// error is a [*CacheError], with [ErrBusy] while another process is downloading it.
func (c *Cache) Remove(e Entry) error {
	if err := e.Artifact.validate(); err != nil {
		return err
	}
	paths := []string{c.path(e.Artifact)}
	if e.Partial {
		paths = []string{c.markPath(e.Artifact), c.partialPath(e.Artifact)}
	}
	if _, err := os.Lstat(paths[len(paths)-1]); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l, err := c.locker(e.Artifact.SHA256)
	if err != nil {
		return err
	}
	ok, err := l.TryLock()
	if err != nil {
		return &CacheError{Dir: c.Dir, Err: err}
	}
	if !ok {
		return &CacheError{Dir: c.Dir, Err: fmt.Errorf("%s: %w", e.Artifact.Name, ErrBusy)}
	}
	defer l.Close() // ends with the process at the latest

	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &CacheError{Dir: c.Dir, Err: err}
		}
	}
	// The directory may hold the same bytes under another name.
	err = os.Remove(filepath.Dir(paths[0]))
	if errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = os.RemoveAll(filepath.Join(c.Dir, smallDir, e.Artifact.SHA256))
	}
	if err != nil {
		return &CacheError{Dir: c.Dir, Err: err}
	}
	return nil
}

var errNoDir = errors.New("no directory given")

func (c *Cache) path(a Artifact) string {
	return filepath.Join(c.Dir, archivesDir, a.SHA256, a.Name)
}

func (c *Cache) maxSize() int64 {
	if c.MaxSize > 0 {
		return c.MaxSize
	}
	return defaultMaxSize
}

// lock waits until no other process or goroutine holds the lock of that name.
func (c *Cache) lock(ctx context.Context, name string) (unlock func(), err error) {
	l, err := c.locker(name)
	if err != nil {
		return nil, err
	}
	if _, err := l.TryLockContext(ctx, lockPoll); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &CacheError{Dir: c.Dir, Err: err}
	}
	return func() { l.Close() }, nil // ends with the process at the latest
}

func (c *Cache) locker(name string) (*flock.Flock, error) {
	if err := c.mkdirs(locksDir); err != nil {
		return nil, err
	}
	return flock.New(filepath.Join(c.Dir, locksDir, name),
		flock.SetFlag(os.O_CREATE|os.O_RDONLY|syscall.O_NOFOLLOW),
		flock.SetPermissions(0o644)), nil
}

// mkdirs makes the cache's directory and the one below it that elem names, step by
// step, readable for all and writable for nobody else whatever the umask. The
// parents of the cache are the user's, and made the usual way.
func (c *Cache) mkdirs(elem ...string) error {
	if c.Dir == "" {
		return &CacheError{Err: errNoDir}
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(c.Dir)), 0o755); err != nil {
		return &CacheError{Dir: c.Dir, Err: err}
	}
	dir := c.Dir
	for i := 0; ; i++ {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			err = os.Chmod(dir, 0o755)
		}
		// If it is there and no directory, the next step says so.
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return &CacheError{Dir: c.Dir, Err: err}
		}
		if i == len(elem) {
			return nil
		}
		dir = filepath.Join(dir, elem[i])
	}
}

// validate reports whether the artifact can have a place in a cache, where its
// name must not lead out of its directory, hide, or look unverified.
func (a Artifact) validate() error {
	switch {
	case !isName(a.Name):
		return &ArtifactError{Artifact: a, Field: "name"}
	case !isDigest(a.SHA256):
		return &ArtifactError{Artifact: a, Field: "sha256"}
	case a.Size < 0:
		return &ArtifactError{Artifact: a, Field: "size"}
	}
	return nil
}

func isName(s string) bool {
	return s != "" && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, partialSuffix) && !strings.HasSuffix(s, markSuffix) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f })
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

func absent(a Artifact) error {
	return fmt.Errorf("%s: %w", a.Name, fs.ErrNotExist)
}

// isAbsent reports whether err is that of absent, and not that of a system call on
// the cache, which would be in a CacheError.
func isAbsent(err error) bool {
	_, ok := errors.AsType[*CacheError](err)
	return !ok && errors.Is(err, fs.ErrNotExist)
}

// readDir lists a directory; one that is not there is empty.
func readDir(dir string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}
