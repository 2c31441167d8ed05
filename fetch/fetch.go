// Package fetch brings a file that may be had from several places into a cache,
// and gives it its name there only once it is good.
//
// What it promises:
//
//   - A final name in the cache means verified bytes. A download is written to
//     NAME.partial, that open file is given to [Request].Check, synced, and only
//     then renamed. A crash at any moment leaves at most a .partial, which the
//     next download throws away.
//   - What is in the cache is checked again each time it is used. A file that no
//     longer passes is removed, reported, and fetched anew.
//   - Two processes that want the same bytes share one download: the second waits
//     for the first and finds the file.
//   - Sources are tried in the order given, and each that is given up leaves an
//     [Attempt] with its reason. A host that could not be reached is not asked
//     again within one Get.
//   - User names, passwords and queries of URLs appear in no error and no result,
//     and credentials are never sent over unencrypted http.
//
// What makes bytes good is the caller's to say. The package knows nothing of
// Python, of releases or of signatures, and imports nothing else of this module;
// it prints nothing, and of the environment it reads only the proxy settings, in
// [Client].
//
// # The cache on disk
//
//	DIR/archives/SHA256/NAME           verified
//	DIR/archives/SHA256/NAME.partial   being written, or left by a crash
//	DIR/locks/SHA256                   empty; locked by whoever changes archives/SHA256
//
// Lock files stay. Removing one while another process waits for it would let a
// third make a new file of that name, and two would hold "the" lock.
package fetch

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"
)

// An Artifact is a file by its content: two sources of the same artifact serve
// the same bytes.
type Artifact struct {
	Name   string // plain file name, as it shall be called in the cache
	SHA256 string // 64 lower-case hexadecimal digits; where it is kept in the cache
	Size   int64  // bytes; 0 = unknown
}

// A Source is a place that may have an artifact.
type Source struct {
	URL      string // http, https or file
	Artifact Artifact
}

// A Request says what is wanted, from where, and what is good enough.
type Request struct {
	Sources []Source // in the order in which they are tried

	// Check reads the open file and returns nil when it is the artifact; any
	// error refuses it. It must be set: without it nothing would be verified,
	// because the package compares sizes but no digests.
	Check func(Artifact, *os.File) error

	// Progress, if set, is told how many bytes have arrived of how many; total 0
	// is unknown. Done goes back to 0 when a transfer starts anew.
	Progress func(done, total int64)

	// Skipped, if set, is told at once when a source, or a rotten file in the
	// cache, is given up.
	Skipped func(Attempt)
}

// An Attempt is a source that was given up.
type Attempt struct {
	URL string // without user, password, query and fragment
	Err error  // why
}

// A File is a verified file in the cache.
type File struct {
	Path     string
	Artifact Artifact
	Source   string // URL like in Attempt; "" = was in the cache
}

// A Cache is a directory of verified files, and the way by which new ones get in.
// Its methods may be called by several goroutines and processes at once.
type Cache struct {
	Dir     string       // absolute; made, with its parents, when first written to
	Client  *http.Client // nil = Client()
	Offline bool         // use only what is in the cache, and file URLs
	MaxSize int64        // bytes accepted for an artifact of unknown size; 0 = 512 MiB

	// sleep waits between two tries of a source; nil = pause. For tests.
	sleep func(context.Context, time.Duration) error
}

const (
	defaultMaxSize = 512 << 20

	tries   = 3                      // per source, if its failure may pass
	backoff = 500 * time.Millisecond // before the second try, then twice that
)

// Get returns the first artifact of the request that is in the cache or, if none
// is, that a source delivers.
//
// The error is a [*SourcesError] when no source had one, a [*CacheError] when the
// cache could not be read or written, the context's error when that ended, and
// [*ArtifactError] or [ErrNoCheck] for a request that makes no sense.
func (c *Cache) Get(ctx context.Context, req Request) (*File, error) {
	if req.Check == nil {
		return nil, ErrNoCheck
	}
	var wanted []Artifact
	for _, src := range req.Sources {
		if err := src.Artifact.validate(); err != nil {
			return nil, err
		}
		if !slices.Contains(wanted, src.Artifact) {
			wanted = append(wanted, src.Artifact)
		}
	}
	g := &getter{cache: c, req: req, client: c.Client, unreachable: map[string]bool{}}
	if g.client == nil {
		g.client = Client()
		defer g.client.CloseIdleConnections()
	}
	for _, a := range wanted {
		f, err := g.fromCache(ctx, a)
		if err == nil {
			return f, nil
		}
		if !isAbsent(err) {
			return nil, ended(ctx, err)
		}
	}
	for _, src := range req.Sources {
		f, err := g.fromSource(ctx, src)
		if err == nil {
			return f, nil
		}
		if _, ok := errors.AsType[*CacheError](err); ok && !isRefused(err) || ctx.Err() != nil {
			return nil, ended(ctx, err)
		}
		g.skip(redact(src.URL), err)
	}
	return nil, &SourcesError{Attempts: g.attempts}
}

// A getter is the state of one Get.
type getter struct {
	cache       *Cache
	req         Request
	client      *http.Client
	attempts    []Attempt
	unreachable map[string]bool // by hostPort
}

func (g *getter) skip(url string, err error) {
	a := Attempt{URL: url, Err: err}
	g.attempts = append(g.attempts, a)
	if g.req.Skipped != nil {
		g.req.Skipped(a)
	}
}

// fromCache returns the artifact if the cache has a good one, else an isAbsent
// error. A good one needs no lock, so a cache that may only be read still serves.
func (g *getter) fromCache(ctx context.Context, a Artifact) (*File, error) {
	f, err := g.cache.Find(a, g.req.Check)
	if !isRefused(err) {
		return f, err
	}
	unlock, err := g.cache.lock(ctx, a)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return g.fromLockedCache(ctx, a)
}

// fromLockedCache is fromCache for the holder of the artifact's lock, who may
// remove what is rotten. Nobody can have replaced it by a good one meanwhile.
func (g *getter) fromLockedCache(ctx context.Context, a Artifact) (*File, error) {
	f, err := g.cache.Find(a, g.req.Check)
	if !isRefused(err) {
		return f, err
	}
	if ctx.Err() != nil {
		return nil, ctx.Err() // perhaps the check was interrupted, and refused nothing
	}
	path := g.cache.path(a)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, &CacheError{Dir: g.cache.Dir, Err: err}
	}
	g.skip((&url.URL{Scheme: "file", Path: path}).String(), err)
	return nil, absent(a)
}

// fromSource brings the artifact from one source into the cache.
func (g *getter) fromSource(ctx context.Context, src Source) (*File, error) {
	u, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "file" {
		if g.cache.Offline {
			return nil, ErrOffline
		}
		if host := hostPort(u); g.unreachable[host] {
			return nil, &UnreachableError{Host: host, Err: ErrNotAskedAgain}
		}
	}
	unlock, err := g.cache.lock(ctx, src.Artifact)
	if err != nil {
		return nil, err
	}
	defer unlock()

	// The lock's last holder may have been a process that wanted the same.
	f, err := g.fromLockedCache(ctx, src.Artifact)
	if !isAbsent(err) {
		return f, err
	}
	for try := 1; ; try++ {
		f, err = g.download(ctx, u, src.Artifact)
		if err == nil || try == tries || !mayPass(err) {
			break
		}
		if err := g.sleep(ctx, backoff<<(try-1)); err != nil {
			return nil, err
		}
	}
	if isRefused(err) {
		return nil, err
	}
	if e, ok := errors.AsType[*UnreachableError](err); ok {
		g.unreachable[e.Host] = true
	}
	if errors.Is(err, ErrStalled) {
		g.unreachable[hostPort(u)] = true
	}
	return f, err
}

func (g *getter) sleep(ctx context.Context, d time.Duration) error {
	if g.cache.sleep != nil {
		return g.cache.sleep(ctx, d)
	}
	return pause(ctx, d)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// download makes one try: open the source, copy it into a partial file, check
// that file, name it. Whoever calls it holds the artifact's lock.
func (g *getter) download(ctx context.Context, u *url.URL, a Artifact) (f *File, err error) {
	in, err := g.open(ctx, u, a)
	if err != nil {
		return nil, err
	}
	defer in.Close() // only read from

	p, err := g.cache.create(a)
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := p.discard(); cerr != nil {
			f, err = nil, errors.Join(err, cerr)
		}
	}()
	if err := g.transfer(ctx, p.file, in, a); err != nil {
		return nil, err
	}
	if err := g.req.Check(a, p.file); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &RefusedError{Err: err}
	}
	if err := p.commit(); err != nil {
		return nil, err
	}
	return &File{Path: p.final, Artifact: a, Source: redact(u.String())}, nil
}

// ended puts the context's error into err if the context has ended: whatever
// failed then, failed because of that.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return errors.Join(ctx.Err(), err)
}
