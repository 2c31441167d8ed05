package sigstore

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/moby/policy-helpers/roots"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"pybuild/verify/sigstore/sigstoretest"
)

func TestParseRoot(t *testing.T) {
	w := sigstoretest.New(t)
	good := string(w.Trusted())
	for _, tt := range []struct {
		name, data, want string // want: "" when it is to be read
	}{
		{"as it is", good, ""},
		{"empty", "", "trusted root: "},
		{"not JSON", "<html>", "trusted root: "},
		{"cut", good[:len(good)/2], "trusted root: "},
		{"another document", `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`,
			"trusted root: unsupported TrustedRoot media type: application/vnd.dev.sigstore.bundle.v0.3+json"},
		{"nothing in it", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`,
			"trusted root: no certificate authority in it"},
		{"no certificate log", strings.Replace(good, `"ctlogs"`, `"tlogs"`, 1), "trusted root: "},
		{"certificate garbled", strings.ReplaceAll(good, `"rawBytes":"MIIB`, `"rawBytes":"MIIC`), "trusted root: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != "" && tt.data == good {
				t.Fatal("the fault is not there")
			}
			r, err := ParseRoot([]byte(tt.data))
			if tt.want == "" {
				if err != nil || !r.Fetched.IsZero() {
					t.Errorf("%v, %v", r, err)
				}
				return
			}
			if r != nil || !errors.As(err, new(*RootError)) || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("%v, %v; want %s", r, err, tt.want)
			}
		})
	}
}

func FuzzParseRoot(f *testing.F) {
	f.Add(sigstoretest.New(f).Trusted())
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","certificateAuthorities":[{}],"tlogs":[{}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRoot(data)
		if (err == nil) == (r == nil) || err != nil && !errors.As(err, new(*RootError)) {
			t.Errorf("%v, %v", r, err)
		}
	})
}

// TestEmbedded changes bytes of what the carrying module gives: it is refused, or
// (a signature more than needed was hit) it is the same root.
func TestEmbedded(t *testing.T) {
	want := embedded(t)
	if !want.Fetched.IsZero() || want.version == 0 {
		t.Errorf("fetched %v, version %d", want.Fetched, want.version)
	}
	dir, err := fs.Sub(roots.EmbeddedTUF, "tuf-root")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{rootFile, targetsFile, targetFile} {
		refused, same := 0, 0
		data, err := fs.ReadFile(dir, name)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(data); i += 211 {
			changed := fstest.MapFS{}
			for _, n := range []string{rootFile, targetsFile, targetFile} {
				b, err := fs.ReadFile(dir, n)
				if err != nil {
					t.Fatal(err)
				}
				if n == name {
					b = bytes.Clone(b)
					b[i] ^= 1
				}
				changed[n] = &fstest.MapFile{Data: b}
			}
			r, err := load(changed, tuf.DefaultRoot())
			switch {
			case errors.As(err, new(*RootError)):
				refused++
			case err != nil:
				t.Errorf("%s, byte %d: %v", name, i, err)
			case !sameKeys(r, want):
				t.Errorf("%s, byte %d: another root", name, i)
			default:
				same++
			}
		}
		t.Logf("%s: %d changes refused, %d of no effect", name, refused, same)
		if refused == 0 || name == targetFile && same > 0 {
			t.Errorf("%s: %d changes refused, %d of no effect", name, refused, same)
		}
	}
}

const repoURL = "https://tuf.example"

// A site is a TUF repository: the files of it by URL, and the keys of its roles.
type site struct {
	t     testing.TB
	keys  map[string]ed25519.PrivateKey
	files map[string][]byte
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{t: t, keys: map[string]ed25519.PrivateKey{}, files: map[string][]byte{}}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		s.keys[role] = key
	}
	return s
}

func signedBy[T metadata.Roles](s *site, m *metadata.Metadata[T], key ed25519.PrivateKey) []byte {
	s.t.Helper()
	signer, err := signature.LoadSigner(key, crypto.Hash(0))
	if err != nil {
		s.t.Fatal(err)
	}
	m.ClearSignatures()
	if _, err := m.Sign(signer); err != nil {
		s.t.Fatal(err)
	}
	data, err := m.ToBytes(false)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// anchor is the repository's root.json.
func (s *site) anchor(version int64) []byte {
	s.t.Helper()
	m := metadata.Root(time.Now().Add(time.Hour))
	m.Signed.Version = version
	for role, private := range s.keys {
		key, err := metadata.KeyFromPublicKey(private.Public())
		if err != nil {
			s.t.Fatal(err)
		}
		if err := m.Signed.AddKey(key, role); err != nil {
			s.t.Fatal(err)
		}
	}
	return signedBy(s, m, s.keys[metadata.ROOT])
}

// publish serves target as version n of everything but root.json, for so long.
func (s *site) publish(n int64, target []byte, expires time.Duration) {
	s.t.Helper()
	until := time.Now().Add(expires)
	info, err := metadata.TargetFile().FromBytes(targetName, target, "sha256")
	if err != nil {
		s.t.Fatal(err)
	}
	targets := metadata.Targets(until)
	targets.Signed.Version = n
	targets.Signed.Targets[targetName] = info
	snapshot := metadata.Snapshot(until)
	snapshot.Signed.Version = n
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(n)
	timestamp := metadata.Timestamp(until)
	timestamp.Signed.Version = n
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(n)
	s.files[fmt.Sprintf("%s/%d.targets.json", repoURL, n)] = signedBy(s, targets, s.keys[metadata.TARGETS])
	s.files[fmt.Sprintf("%s/%d.snapshot.json", repoURL, n)] = signedBy(s, snapshot, s.keys[metadata.SNAPSHOT])
	s.files[repoURL+"/timestamp.json"] = signedBy(s, timestamp, s.keys[metadata.TIMESTAMP])
	s.files[fmt.Sprintf("%s/targets/%s.%s", repoURL, info.Hashes["sha256"], targetName)] = target
}

func (s *site) get(_ context.Context, url string, _ int64) ([]byte, error) {
	data, ok := s.files[url]
	if !ok {
		return nil, fmt.Errorf("get %s: %w", url, fs.ErrNotExist)
	}
	return data, nil
}

// carried makes what a program would have that carries this target as version n.
func (s *site) carried(n int64, target []byte) func() (*Root, error) {
	s.t.Helper()
	c := *s
	c.files = map[string][]byte{}
	c.publish(n, target, time.Hour)
	return func() (*Root, error) {
		return load(fstest.MapFS{
			rootFile:    {Data: c.anchor(1)},
			targetsFile: {Data: c.files[fmt.Sprintf("%s/%d.targets.json", repoURL, n)]},
			targetFile:  {Data: target},
		}, c.anchor(1))
	}
}

// tree lists the files below dir.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestRefresh(t *testing.T) {
	old, current := sigstoretest.New(t), sigstoretest.New(t)
	oldJSON, currentJSON := old.Trusted(), current.Trusted()
	oldRoot, err := ParseRoot(oldJSON)
	if err != nil {
		t.Fatal(err)
	}
	currentRoot, err := ParseRoot(currentJSON)
	if err != nil {
		t.Fatal(err)
	}
	offline := errors.New("network is unreachable")
	kept := []string{rootFile, targetFile, targetsFile} // in the order of a walk

	for _, tt := range []struct {
		name   string
		change func(s *site, dir string) // before the refresh, on a site that has version 3
		get    func(s *site) Get
		is     error  // that the error is, when want is given
		want   string // in the error; "" when it is to succeed
		left   []string
		cached *Root // what Cached gives afterwards
	}{
		{name: "first time", left: kept, cached: currentRoot},
		{name: "with a newer root.json", left: kept, cached: currentRoot,
			change: func(s *site, _ string) { s.files[repoURL+"/2.root.json"] = s.anchor(2) }},
		{name: "over a cache that rotted", left: kept, cached: currentRoot,
			change: func(_ *site, dir string) {
				for _, name := range []string{rootFile, targetsFile, "timestamp.json", "snapshot.json"} {
					if err := os.WriteFile(filepath.Join(dir, name), []byte("rot"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}},
		{name: "offline", is: offline, want: "network is unreachable", cached: oldRoot,
			get: func(*site) Get {
				return func(context.Context, string, int64) ([]byte, error) { return nil, offline }
			}},
		{name: "login page", want: "invalid character '<'", cached: oldRoot,
			get: func(*site) Get {
				return func(context.Context, string, int64) ([]byte, error) { return []byte("<html>"), nil }
			}},
		{name: "more bytes than asked for", want: "has more than", cached: oldRoot,
			change: func(s *site, _ string) { s.files[repoURL+"/timestamp.json"] = make([]byte, 1<<20) }},
		{name: "target not there", want: "404", cached: oldRoot,
			change: func(s *site, _ string) {
				maps.DeleteFunc(s.files, func(url string, _ []byte) bool { return path.Base(path.Dir(url)) == "targets" })
			}},
		{name: "another file as the target", want: "hash", cached: oldRoot,
			change: func(s *site, _ string) {
				for url, data := range s.files {
					if path.Base(path.Dir(url)) == "targets" {
						data = bytes.Clone(data)
						flip(data)
						s.files[url] = data
					}
				}
			}},
		{name: "target that is no root", want: "trusted root: ", cached: oldRoot,
			change: func(s *site, _ string) { s.publish(3, []byte("{}"), time.Hour) }},
		{name: "list expired", want: "expired", cached: oldRoot,
			change: func(s *site, _ string) { s.publish(3, currentJSON, -time.Hour) }},
		{name: "list older than the one that is carried", want: "targets.json has version 1, older than 2", cached: oldRoot,
			change: func(s *site, _ string) { s.publish(1, currentJSON, time.Hour) }},
		{name: "signed by a stranger", want: "Verifying timestamp failed", cached: oldRoot,
			change: func(s *site, _ string) {
				stranger := newSite(t)
				stranger.publish(3, currentJSON, time.Hour)
				maps.Copy(s.files, stranger.files)
			}},
		{name: "root.json by a stranger", want: "Verifying root failed", cached: oldRoot,
			change: func(s *site, _ string) { s.files[repoURL+"/2.root.json"] = newSite(t).anchor(2) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.publish(3, currentJSON, time.Hour)
			repo := repository{repoURL, s.anchor(1), s.carried(2, oldJSON)}
			dir := t.TempDir()
			if tt.change != nil {
				tt.change(s, dir)
			}
			get := s.get
			if tt.get != nil {
				get = tt.get(s)
			}
			r, err := refresh(t.Context(), dir, get, repo)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if !sameKeys(r, currentRoot) || time.Since(r.Fetched) > time.Minute {
					t.Errorf("another root, fetched %v", r.Fetched)
				}
			} else if r != nil || err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v, %v; want %s", r, err, tt.want)
			}
			left := tree(t, dir)
			left = slices.DeleteFunc(left, func(name string) bool { // put there by the row
				return name == "timestamp.json" || name == "snapshot.json"
			})
			if !slices.Equal(left, tt.left) {
				t.Errorf("left in the cache: %v, want %v", left, tt.left)
			}
			cached, err := newest(dir, repo.anchor, repo.embedded)
			if err != nil {
				t.Fatal(err)
			}
			if !sameKeys(cached, tt.cached) || cached.Fetched.IsZero() != (tt.cached == oldRoot) {
				t.Errorf("another root is cached, fetched %v", cached.Fetched)
			}
		})
	}
}

// TestRefreshCanceled: neither a caller that gave up nor the time that ran out
// leaves anything behind.
func TestRefreshCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	_, err := Refresh(ctx, dir, func(context.Context, string, int64) ([]byte, error) {
		t.Error("asked the network")
		return nil, nil
	})
	var refresh *RefreshError
	if !errors.As(err, &refresh) || refresh.URL != "https://tuf-repo-cdn.sigstore.dev" || !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if left := tree(t, dir); left != nil {
		t.Errorf("left in the cache: %v", left)
	}
}

// TestCached: only what Refresh left, whole, is used, and only when it is newer.
func TestCached(t *testing.T) {
	oldJSON, currentJSON := sigstoretest.New(t).Trusted(), sigstoretest.New(t).Trusted()
	for _, tt := range []struct {
		name   string
		carry  int64 // version that is carried, of oldJSON
		change func(t *testing.T, dir string)
		used   bool
	}{
		{"newer", 2, func(*testing.T, string) {}, true},
		{"as new", 3, func(*testing.T, string) {}, true},
		{"older", 4, func(*testing.T, string) {}, false},
		{"gone", 2, func(t *testing.T, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"root of somebody else", 2, func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, targetFile), oldJSON, 0o644); err != nil {
				t.Fatal(err)
			}
		}, false},
		{"list of somebody else", 2, func(t *testing.T, dir string) {
			stranger := newSite(t)
			stranger.publish(3, oldJSON, time.Hour)
			for name, data := range map[string][]byte{
				targetsFile: stranger.files[repoURL+"/3.targets.json"], targetFile: oldJSON,
			} {
				if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}, false},
		{"all of somebody else", 2, func(t *testing.T, dir string) {
			stranger := newSite(t)
			stranger.publish(3, oldJSON, time.Hour)
			repo := repository{repoURL, stranger.anchor(1), stranger.carried(2, oldJSON)}
			if _, err := refresh(t.Context(), dir, stranger.get, repo); err != nil {
				t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			s.publish(3, currentJSON, time.Hour)
			dir := filepath.Join(t.TempDir(), "cache")
			if _, err := refresh(t.Context(), dir, s.get, repository{repoURL, s.anchor(1), s.carried(2, oldJSON)}); err != nil {
				t.Fatal(err)
			}
			tt.change(t, dir)
			r, err := newest(dir, s.anchor(1), s.carried(tt.carry, oldJSON))
			if err != nil {
				t.Fatal(err)
			}
			if used := !r.Fetched.IsZero(); used != tt.used {
				t.Errorf("used is %v, want %v", used, tt.used)
			}
		})
	}
	// And with the real ones.
	r, err := Cached(t.TempDir())
	if err != nil || !sameKeys(r, embedded(t)) {
		t.Errorf("an empty cache gives %v, %v", r, err)
	}
}
