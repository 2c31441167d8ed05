// Package fetch brings a file that may be had from several places into a cache,
// and gives it its name there only once it is good.
//
// What it promises:
//
//   - A final name in the cache means verified bytes. A download is written to
//     NAME.partial, that open file is given to [Request].Check, synced, and only
//     then renamed. A crash at any moment leaves at most a .partial.
//   - What is in the cache is checked again each time it is used. A file that no
//     longer passes is removed, reported, and fetched anew.
//   - Two processes that want the same bytes share one download: the second waits
//     for the first and finds the file.
//   - Sources are tried in the order given, and each that is given up leaves an
//     [Attempt] with its reason. A failure that may pass is waited for: longer each
//     time, and as long as the server asks if that is not more than a minute. A
//     host that could not be reached is not asked again within one call.
//   - A disk that is too full for a file of known size is an error before the
//     download, and one that fills up gets the room of the broken one back.
//   - "None has it" is not "could not look": an error is fs.ErrNotExist only if
//     every source said that the file is not there.
//   - User names, passwords and queries of URLs appear in no error and no result,
//     nor do those of proxies, and credentials are never sent over unencrypted http
//     or to a host that a redirect names.
//
// What makes bytes good is the caller's to say. The package knows nothing of
// Python, of releases or of signatures, and imports nothing else of this module;
// it prints nothing, and of the environment it reads only the proxy settings, in
// [Client]. (Where the certificates of authorities are, SSL_CERT_FILE and
// SSL_CERT_DIR tell the standard library.)
//
// # Continued downloads
//
// A download that broke off, was interrupted or killed is continued, by the same
// call or a later one, in any process. The rule is one: any source of the artifact
// is asked for the rest under the condition (If-Range) that it serves the version,
// by strong ETag or else by date, of which there is a part already. Whoever does
// not know that version sends all of its own, and then that is used. A server that
// answers with another part, another length or another version than asked for is
// asked for the whole file at once.
//
// Nothing is believed of all this: the whole file is checked in the end. If the
// check refuses a file of two parts, nobody can say whose fault it is, so that it
// is thrown away, and the source is asked for all of it before it counts as bad.
// Without ETag and date nothing is kept, since nothing could be asked.
//
// # The cache on disk
//
//	DIR/archives/SHA256/NAME                verified
//	DIR/archives/SHA256/NAME.partial        being written, or left by a broken download
//	DIR/archives/SHA256/NAME.partial.json   ETag or date of that
//	DIR/small/GROUP/NAME                    accepted by [SmallRequest].Check at that time
//	DIR/small/GROUP/NAME.partial            being written, or left by a crash
//	DIR/locks/SHA256                        empty; locked by whoever changes archives/SHA256
//	DIR/locks/GROUP.NAME                    empty; locked by whoever changes small/GROUP/NAME
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

	// Progress, if set, is told how many bytes are here of how many; total 0 is
	// unknown. Done goes back, mostly to 0, when a transfer starts anew, and starts
	// above 0 when one is continued.
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

	// For tests; nil = the function of that name.
	sleep func(context.Context, time.Duration) error // between two tries of a source
	free  func(dir string) (bytes int64, ok bool)    // freeSpace
}

const defaultMaxSize = 512 << 20

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
	g := c.getter(req)
	defer g.close()
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
		if isFatal(ctx, err) {
			return nil, ended(ctx, err)
		}
		g.skip(redact(src.URL), err)
	}
	return nil, &SourcesError{Attempts: g.attempts}
}

// A getter is the state of one Get, or of one Small, which uses less of the request.
type getter struct {
	cache       *Cache
	req         Request
	client      *http.Client
	close       func()
	attempts    []Attempt
	unreachable map[string]bool // by hostPort
}

func (c *Cache) getter(req Request) *getter {
	g := &getter{cache: c, req: req, client: c.Client, close: func() {}, unreachable: map[string]bool{}}
	if g.client == nil {
		g.client = Client()
		g.close = g.client.CloseIdleConnections
	}
	return g
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
	unlock, err := g.cache.lock(ctx, a.SHA256)
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

// admit parses the URL of a source that may be asked.
func (g *getter) admit(raw string) (*url.URL, error) {
	u, err := parseURL(raw)
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
	return u, nil
}

// fromSource brings the artifact from one source into the cache.
func (g *getter) fromSource(ctx context.Context, src Source) (*File, error) {
	u, err := g.admit(src.URL)
	if err != nil {
		return nil, err
	}
	unlock, err := g.cache.lock(ctx, src.Artifact.SHA256)
	if err != nil {
		return nil, err
	}
	defer unlock()

	// The lock's last holder may have been a process that wanted the same.
	f, err := g.fromLockedCache(ctx, src.Artifact)
	if !isAbsent(err) {
		return f, err
	}
	err = g.retry(ctx, u, func() error {
		f, err = g.download(ctx, u, src.Artifact)
		if errors.Is(err, errStale) {
			// What did not fit is gone, so this begins at the first byte.
			f, err = g.download(ctx, u, src.Artifact)
		}
		return err
	}, func() int64 {
		p := g.cache.partial(src.Artifact)
		p.end(true) // looked at only
		return p.kept
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// download makes one try: open the source, copy it into a partial file, check
// that file, name it. Whoever calls it holds the artifact's lock. The error is
// errStale if that was not possible because of what had been kept, which is then
// gone.
func (g *getter) download(ctx context.Context, u *url.URL, a Artifact) (f *File, err error) {
	p := g.cache.partial(a)
	defer func() {
		_, broken := errors.AsType[*BrokenError](err)
		if perr := p.end(ctx.Err() != nil || broken && !isRefused(err)); perr != nil {
			f, err = nil, errors.Join(err, perr)
		}
	}()
	if err := g.cache.room(a.Size - p.held); err != nil {
		return nil, err
	}
	w := want{size: a.Size, limit: g.cache.maxSize(), mark: p.mark}
	if u.Scheme != "file" {
		w.from = p.kept
	}
	in, err := g.open(ctx, u, w)
	if err == errStale {
		return nil, errors.Join(err, p.drop())
	}
	if err != nil {
		return nil, err
	}
	defer in.Close() // only read from

	continued := in.from > 0
	if err := p.begin(continued, in.mark); err != nil {
		return nil, err
	}
	if err := g.cache.room(in.size - in.from); err != nil { // as announced, if nobody knew
		return nil, err
	}
	err = g.transfer(ctx, p.file, in, w)
	if err == nil {
		if cerr := g.req.Check(a, p.file); cerr != nil {
			err = &RefusedError{Err: cerr}
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err() // nothing was refused: transfer or check were interrupted
	case continued && isRefused(err):
		return nil, errStale // end throws it away
	case err != nil:
		return nil, err
	}
	if err := p.commit(); err != nil {
		return nil, err
	}
	return &File{Path: g.cache.path(a), Artifact: a, Source: redact(u.String())}, nil
}

// isFatal reports whether no other source would do better.
func isFatal(ctx context.Context, err error) bool {
	_, cache := errors.AsType[*CacheError](err)
	return cache && !isRefused(err) || ctx.Err() != nil
}

// ended puts the context's error into err if the context has ended: whatever
// failed then, failed because of that.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) {
		return err
	}
	return errors.Join(ctx.Err(), err)
}
