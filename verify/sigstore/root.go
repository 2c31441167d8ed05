package sigstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/moby/policy-helpers/roots"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// refreshTimeout bounds a whole [Refresh]: half a dozen small files.
const refreshTimeout = 20 * time.Second

// A Root is the keys and certificates of the logs and authorities that are
// trusted, each with the time for which it is. It can be used by several
// goroutines at once.
type Root struct {
	// Fetched is when [Refresh] got it, and zero when it came from elsewhere.
	Fetched time.Time

	material *root.TrustedRoot
	version  int64  // of the list of targets that it was found by; 0 if by none
	tuf      []byte // root.json that signed that list
}

// ParseRoot reads a trusted_root.json (Sigstore's TrustedRoot, version 0.1), as a
// site with an instance of its own has it. Every error is a [*RootError]; one
// under which nothing could ever verify is an error too.
func ParseRoot(data []byte) (*Root, error) {
	material, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, &RootError{Err: err}
	}
	for _, part := range []struct {
		name string
		n    int
	}{
		{"certificate authority", len(material.FulcioCertificateAuthorities())},
		{"certificate log", len(material.CTLogs())},
		{"transparency log", len(material.RekorLogs())},
	} {
		if part.n == 0 {
			return nil, &RootError{Err: fmt.Errorf("no %s in it", part.name)}
		}
	}
	return &Root{material: material}, nil
}

// Embedded gives the root of the public Sigstore instance that is compiled in. It
// is as old as the program.
//
// sigstore-go itself carries only the root of the update framework (TUF), which
// says who may sign the list of files in Sigstore's repository. That list and the
// trusted_root.json in it come with a module of the Moby project, which carries
// them for the same reason as this package does, and they are believed only as
// far as sigstore-go's root vouches for them.
func Embedded() (*Root, error) {
	dir, err := fs.Sub(roots.EmbeddedTUF, "tuf-root")
	if err != nil {
		return nil, &RootError{Err: err}
	}
	return load(dir, tuf.DefaultRoot())
}

// Cached gives the root that the last [Refresh] left in dir, or [Embedded] when
// there is none, when it is older, or when it is not what was left there.
func Cached(dir string) (*Root, error) {
	return newest(dir, tuf.DefaultRoot(), Embedded)
}

func newest(dir string, anchor []byte, embedded func() (*Root, error)) (*Root, error) {
	carried, err := embedded()
	if err != nil {
		return nil, err
	}
	// A cache that cannot be read, or is half of one state and half of another,
	// is as good as none: nothing is lost but that it was newer.
	cached, err := load(os.DirFS(dir), anchor)
	if err != nil || cached.version < carried.version {
		return carried, nil
	}
	if info, err := os.Stat(filepath.Join(dir, targetsFile)); err == nil {
		cached.Fetched = info.ModTime()
	}
	return cached, nil
}

// The files of a TUF repository of which a Root is made; the same names in the
// module that carries them, in the cache, and in what sigstore-go's client writes.
const (
	rootFile    = "root.json"                 // who may sign what
	targetsFile = "targets.json"              // digests of the files in the repository
	targetName  = "trusted_root.json"         // the file that is wanted
	targetFile  = "targets/trusted_root.json" // where it lies
)

// load reads a root from dir and verifies it from the TUF root anchor.
//
// Dates of expiry are not asked for: they are there so that an old list is not
// served as the current one, which is a matter of Refresh. Nor are the root.json
// between the anchor and that in dir, which would have to be kept as well: enough
// keys of the anchor must have signed it, as they must the one that follows it.
func load(dir fs.FS, anchor []byte) (_ *Root, err error) {
	defer func() {
		if err != nil && !errors.As(err, new(*RootError)) {
			err = &RootError{Err: err}
		}
	}()
	trusted, err := metadata.Root().FromBytes(anchor)
	if err != nil {
		return nil, err
	}
	rootJSON, err := fs.ReadFile(dir, rootFile)
	if err != nil {
		return nil, err
	}
	current, err := metadata.Root().FromBytes(rootJSON)
	if err != nil {
		return nil, err
	}
	if err := trusted.VerifyDelegate(metadata.ROOT, current); err != nil {
		return nil, err
	}
	if err := current.VerifyDelegate(metadata.ROOT, current); err != nil {
		return nil, err
	}
	if got, min := current.Signed.Version, trusted.Signed.Version; got < min {
		return nil, fmt.Errorf("%s has version %d, older than %d", rootFile, got, min)
	}
	targetsJSON, err := fs.ReadFile(dir, targetsFile)
	if err != nil {
		return nil, err
	}
	targets, err := metadata.Targets().FromBytes(targetsJSON)
	if err != nil {
		return nil, err
	}
	if err := current.VerifyDelegate(metadata.TARGETS, targets); err != nil {
		return nil, err
	}
	target, ok := targets.Signed.Targets[targetName]
	if !ok {
		return nil, fmt.Errorf("no %s in %s", targetName, targetsFile)
	}
	data, err := fs.ReadFile(dir, targetFile)
	if err != nil {
		return nil, err
	}
	if err := target.VerifyLengthHashes(data); err != nil {
		return nil, err
	}
	r, err := ParseRoot(data)
	if err != nil {
		return nil, err
	}
	r.version, r.tuf = targets.Signed.Version, rootJSON
	return r, nil
}

// A Get fetches a URL: at most limit bytes, more is an error. When the server
// says that there is no such file, errors.Is(err, fs.ErrNotExist) must hold.
type Get func(ctx context.Context, url string, limit int64) ([]byte, error)

// Refresh asks Sigstore's repository for the current root and keeps it in dir for
// [Cached]; dir is made when it is not there. It takes at most 20 seconds, and what
// get needs to notice that its context has ended. One that is killed may leave a
// directory refresh-* in dir, which nothing reads.
//
// Every error is a [*RefreshError]. None is a reason to stop: what Cached gives
// still verifies all that it did, and lacks only what has been added or revoked
// since.
func Refresh(ctx context.Context, dir string, get Get) (*Root, error) {
	r, err := refresh(ctx, dir, get, repository{tuf.DefaultMirror, tuf.DefaultRoot(), Embedded})
	if err != nil {
		return nil, &RefreshError{URL: tuf.DefaultMirror, Err: err}
	}
	return r, nil
}

// A repository is where a root comes from.
type repository struct {
	url      string
	anchor   []byte // its TUF root, or an earlier one
	embedded func() (*Root, error)
}

func refresh(ctx context.Context, dir string, get Get, repo repository) (_ *Root, err error) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	known, err := newest(dir, repo.anchor, repo.embedded)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// sigstore-go's client trusts its directory to hold what it wrote, and stops
	// for good at a file that rotted. So it gets an empty one, and the one thing
	// that the old state is good for, that there is no way back, is seen to below.
	tmp, err := os.MkdirTemp(dir, "refresh-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	client, err := tuf.New(&tuf.Options{
		Root:              known.tuf,
		CachePath:         tmp,
		RepositoryBaseURL: repo.url,
		Fetcher: fetcher(func(url string, limit int64) ([]byte, error) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			return get(ctx, url, limit)
		}),
	})
	if err != nil {
		return nil, err
	}
	data, err := client.GetTarget(targetName)
	if err != nil {
		return nil, err
	}
	fresh, err := ParseRoot(data)
	if err != nil {
		return nil, err
	}
	from := filepath.Join(tmp, tuf.URLToPath(repo.url))
	targets, err := metadata.Targets().FromFile(filepath.Join(from, targetsFile))
	if err != nil {
		return nil, err
	}
	if got := targets.Signed.Version; got < known.version {
		return nil, fmt.Errorf("%s has version %d, older than %d", targetsFile, got, known.version)
	}
	fresh.Fetched = time.Now()
	if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(targetFile)), 0o755); err != nil {
		return nil, err
	}
	// A crash between two of these leaves a mixture, which load refuses.
	for _, name := range []string{rootFile, targetsFile, targetFile} {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// A fetcher is what go-tuf calls to fetch a file.
type fetcher func(url string, limit int64) ([]byte, error)

// DownloadFile is as go-tuf wants it; the last argument is one that it no longer
// uses.
func (f fetcher) DownloadFile(url string, limit int64, _ time.Duration) ([]byte, error) {
	data, err := f(url, limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// How the client knows that there is no newer root.json.
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404, URL: url}
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", url, limit)
	}
	return data, nil
}
