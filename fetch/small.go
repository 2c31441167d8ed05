package fetch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A SmallRequest says which small file is wanted, from where, and what is good
// enough. Small files are those of which nobody knows the digest beforehand, such as
// what belongs to an artifact and proves it.
type SmallRequest struct {
	URLs []string // http, https or file; in the order in which they are tried

	// Key is where the file is kept, as GROUP/NAME. GROUP is the SHA256 of the
	// artifact to which it belongs, and with which it is removed, or a word of
	// lower-case letters; NAME is a plain file name.
	Key string

	// Check returns nil for a good file; any error refuses it. It must be set, and
	// is asked about what is kept, too, each time.
	Check func([]byte) error

	MaxSize int64         // bytes; 0 = 1 MiB
	MaxAge  time.Duration // after which a kept file is fetched anew; 0 = never

	// Skipped, if set, is told at once when a source, or what was kept, is given up.
	Skipped func(Attempt)
}

const defaultMaxSmall = 1 << 20

// Small returns the content of a small file, and the URL it came from without what
// may be secret in it; "" = it was kept. What a source delivers and Check accepts is
// kept. Offline, a kept file is used whatever its age.
//
// The error is a [*SourcesError] when no source had a good one; it is fs.ErrNotExist
// only if each said that there is none, and nothing was kept. It is a [*CacheError]
// when the cache could not be read or written, the context's error when that ended,
// and [*KeyError] or [ErrNoCheck] for a request that makes no sense.
//
// A kept file that is refused now stays until a better one takes its place: it is
// used by nobody whose check refuses it, and a check may change its mind, as one
// that was given other keys does.
func (c *Cache) Small(ctx context.Context, req SmallRequest) (data []byte, source string, err error) {
	if req.Check == nil {
		return nil, "", ErrNoCheck
	}
	group, name, _ := strings.Cut(req.Key, "/")
	if !isName(name) || !isDigest(group) && !isWord(group) {
		return nil, "", &KeyError{Key: req.Key}
	}
	if c.Dir == "" {
		return nil, "", &CacheError{Err: errNoDir}
	}
	if req.MaxSize == 0 {
		req.MaxSize = defaultMaxSmall
	}
	g := c.getter(Request{Skipped: req.Skipped})
	defer g.close()
	s := &small{g: g, req: req, group: group, path: filepath.Join(c.Dir, smallDir, group, name)}

	data, err = s.kept()
	switch {
	case err == nil:
		return data, "", nil
	case ctx.Err() != nil:
		return nil, "", ctx.Err() // perhaps the check was interrupted, and refused nothing
	case isFatal(ctx, err):
		return nil, "", err
	case isRefused(err):
		g.skip((&url.URL{Scheme: "file", Path: s.path}).String(), err)
	}
	for _, raw := range req.URLs {
		data, source, err := s.fromSource(ctx, raw)
		if err == nil {
			return data, source, nil
		}
		if isFatal(ctx, err) {
			return nil, "", ended(ctx, err)
		}
		g.skip(redact(raw), err)
	}
	return nil, "", &SourcesError{Attempts: g.attempts}
}

// A small is the state of one Small.
type small struct {
	g     *getter
	req   SmallRequest
	group string
	path  string
}

// kept returns the file that is kept if it is young and good. Else the error is
// fs.ErrNotExist, a *RefusedError or a *CacheError. It changes nothing and needs no lock,
// because files are replaced at once.
func (s *small) kept() ([]byte, error) {
	info, err := os.Lstat(s.path)
	if err == nil && s.req.MaxAge > 0 && !s.g.cache.Offline {
		// A file from the future has no age.
		if age := time.Since(info.ModTime()); age < 0 || age > s.req.MaxAge {
			err = fs.ErrNotExist
		}
	}
	var data []byte
	if err == nil {
		data, err = readFile(s.path, s.req.MaxSize)
	}
	_, long := errors.AsType[*LengthError](err)
	switch {
	case err == nil:
		err = s.req.Check(data)
		if err == nil {
			return data, nil
		}
		return nil, &RefusedError{Err: err}
	case err == ErrNotRegular, long:
		return nil, &RefusedError{Err: err}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fs.ErrNotExist
	}
	return nil, &CacheError{Dir: s.g.cache.Dir, Err: err}
}

// fromSource brings the file from one source into the cache.
func (s *small) fromSource(ctx context.Context, raw string) (data []byte, source string, err error) {
	u, err := s.g.admit(raw)
	if err != nil {
		return nil, "", err
	}
	unlock, err := s.g.cache.lock(ctx, s.group+"."+filepath.Base(s.path))
	if err != nil {
		return nil, "", err
	}
	defer unlock()

	// The lock's last holder may have been a process that wanted the same.
	if data, err := s.kept(); err == nil {
		return data, "", nil
	}
	err = s.g.retry(ctx, u, func() error {
		data, err = s.download(ctx, u)
		return err
	}, func() int64 { return 0 })
	if err != nil {
		return nil, "", err
	}
	if err := s.keep(data); err != nil {
		return nil, "", err
	}
	return data, redact(u.String()), nil
}

// download makes one try.
func (s *small) download(ctx context.Context, u *url.URL) ([]byte, error) {
	w := want{limit: s.req.MaxSize}
	in, err := s.g.open(ctx, u, w)
	if err != nil {
		return nil, err
	}
	defer in.Close() // only read from

	var b bytes.Buffer
	if err := s.g.transfer(ctx, &b, in, w); err != nil {
		return nil, err
	}
	if err := s.req.Check(b.Bytes()); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &RefusedError{Err: err}
	}
	return b.Bytes(), nil
}

// keep puts accepted bytes into the cache. The caller holds the file's lock.
func (s *small) keep(data []byte) (err error) {
	defer func() {
		if _, ok := errors.AsType[*CacheError](err); err != nil && !ok {
			err = &CacheError{Dir: s.g.cache.Dir, Err: err}
		}
	}()
	if err := s.g.cache.mkdirs(smallDir, s.group); err != nil {
		return err
	}
	partial := s.path + partialSuffix
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what a crash has left
	}
	f, err := create(partial)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(partial))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(partial, s.path)
}

func isWord(s string) bool { return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }
