package fetch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

const (
	sig     = file + ".sigstore"
	sigText = "{\"signed\": true}\n"
)

var errUnsigned = errors.New("wrong signature")

func checkSig(b []byte) error {
	if string(b) != sigText {
		return errUnsigned
	}
	return nil
}

func newSigned(t *testing.T) (dir, mirror string) {
	t.Helper()
	dir, _ = newMirror(t)
	write(t, filepath.Join(dir, sig), []byte(sigText))
	write(t, filepath.Join(dir, sig+".wrongkey"), []byte("{\"signed\": by another}\n"))
	write(t, filepath.Join(dir, strings.Replace(sig, ".tgz", ".tar.xz", 1)), []byte("{\"signed\": other bytes}\n"))
	return dir, fetchtest.Server(t, dir).URL
}

func smallFrom(urls ...string) SmallRequest {
	return SmallRequest{URLs: urls, Key: artifact().SHA256 + "/" + filepath.Base(sig), Check: checkSig}
}

// kept is where a small file is, below the cache.
func kept(key string) string { return filepath.Join("small", key) }

// One fault a row: alone, then with a good source behind it, then from the cache.
func TestSmallFaults(t *testing.T) {
	t.Parallel()
	dir, _ := newSigned(t)
	if err := os.Mkdir(filepath.Join(dir, "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	size := len(sigText)
	tests := []struct {
		url     string
		want    string // the reason; "" = good
		absent  bool
		refused bool
	}{
		{"/" + sig, "", false, false},
		{"/flip/" + file + ".sigstore", "refused: wrong signature", false, true},
		{"/flip-sig/" + sig, "refused: wrong signature", false, true},
		{"/flip-sigx1/503x1/" + sig, "refused: wrong signature", false, true},
		{"/wrongkey/" + sig, "refused: wrong signature", false, true},
		{"/othersig/" + sig, "refused: wrong signature", false, true},
		{"/cut/" + sig, "refused: wrong signature", false, true},
		{"/empty/" + sig, "refused: wrong signature", false, true},
		{"/gzip/" + sig, "refused: wrong signature", false, true},
		{"/long/" + sig, "refused: wrong signature", false, true},
		{"/endless/" + sig, "longer than 1048576 bytes", false, false},
		{"/unsigned/" + sig, "status 404 Not Found", true, false},
		{"/404-sig/" + sig, "status 404 Not Found", true, false},
		{"/410/" + sig, "status 410 Gone", true, false},
		{"/403/" + sig, "status 403 Forbidden", false, false},
		{"/503-sig/" + sig, "status 503 Service Unavailable", false, false},
		{"/503-sigx3/" + sig, "", false, false},
		{"/retrylong/" + sig, "status 503 Service Unavailable, asks for a pause of 1h0m0s", false, false},
		{"/short/" + sig, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", size/2, size), false, false},
		{"/shortx3/" + sig, "", false, false},
		{"/drop/" + sig, "broke off after 0 bytes: EOF", false, false},
		{"/resetx3/" + sig, "", false, false},
		{"/stallx1/" + sig, "", false, false},
		{"/html/" + sig, "a web page instead of the file", false, false},
		{"/page/" + sig, "a web page instead of the file", false, false},
		{"/portal/" + sig, "a web page of localhost:PORT instead of the file", false, false},
		{"/redirect5/" + sig, "", false, false},
		{"/redirect6/" + sig, "redirect to MIRROR/" + sig + ": more than 5 redirects", false, false},
		{"/nolength/" + sig, "", false, false},
		{"file://DIR/" + sig, "", false, false},
		{"file://DIR/none", "open DIR/none: no such file or directory", true, false},
		{"file://DIR/dir", "not a regular file", false, false},
		{"http://user:s3cret@mirror.example/" + sig, "credentials in a URL that is not encrypted", false, false},
	}
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		g.run(tt.url, tt.url, func(t *testing.T) {
			c := newCache(t)
			if hangs(tt.url) {
				wait(t, c, short)
			}
			mirror := fetchtest.Server(t, dir).URL
			_, port, _ := strings.Cut(strings.TrimPrefix(mirror, "http://"), ":")
			fill := strings.NewReplacer("DIR", dir, "MIRROR", mirror, "PORT", port)
			bad, want := fill.Replace(tt.url), fill.Replace(tt.want)
			if strings.HasPrefix(tt.url, "/") {
				bad = mirror + tt.url
			}
			req := smallFrom(bad)
			data, source, err := c.Small(t.Context(), req)
			if want != "" {
				var none *SourcesError
				if !errors.As(err, &none) || data != nil || source != "" {
					t.Fatalf("got %q, %q, %v, want a *SourcesError", data, source, err)
				}
				if want := "no source has it:\n" + redact(bad) + ": " + want; err.Error() != want {
					t.Errorf("got  %v\nwant %v", err, want)
				}
				if errors.Is(err, fs.ErrNotExist) != tt.absent || none.Refused() != tt.refused {
					t.Errorf("absent is %t, refused is %t", !tt.absent, none.Refused())
				}
				checkTree(t, c.Dir)
				bad = fetchtest.Server(t, dir).URL + "/" + sig
				var skipped []string
				req.URLs = append(req.URLs, bad)
				req.Skipped = func(a Attempt) { skipped = append(skipped, a.Err.Error()) }
				data, source, err = c.Small(t.Context(), req)
				// What happens a few times only may be over by now.
				if !slices.Equal(skipped, []string{want}) && !strings.Contains(tt.url, "x1/") {
					t.Errorf("was told %q, want %q", skipped, want)
				}
			}
			if err != nil || string(data) != sigText || source != bad && want == "" {
				t.Errorf("got %q, %q, %v", data, source, err)
			}
			checkTree(t, c.Dir, kept(req.Key))
			c.Offline = true
			if data, source, err := c.Small(t.Context(), req); err != nil || string(data) != sigText || source != "" {
				t.Errorf("offline: got %q, %q, %v", data, source, err)
			}
		})
	}
}

// An archive is not touched by the faults that are for signatures.
func TestSignatureFaultsAreForSignatures(t *testing.T) {
	_, mirror := newSigned(t)
	for _, fault := range []string{"flip-sig", "503-sig", "404-sig", "html-sigx3", "unsigned", "wrongkey", "othersig"} {
		c := newCache(t)
		if _, err := c.Get(t.Context(), from(mirror+"/"+fault+"/"+file)); err != nil {
			t.Errorf("%s: %v", fault, err)
		}
	}
}

func TestSmallKept(t *testing.T) {
	_, mirror := newSigned(t)
	key := smallFrom().Key
	text := func(s string) func(*testing.T, string) {
		return func(t *testing.T, path string) { write(t, path, []byte(s)) }
	}
	tests := []struct {
		name string
		put  func(t *testing.T, path string)
		old  time.Duration
		max  time.Duration
		want string // why it is not used; "" = it is
		told bool
	}{
		{"good", text(sigText), 0, 0, "", false},
		{"good and old", text(sigText), 1000 * time.Hour, 0, "", false},
		{"young enough", text(sigText), time.Hour, 2 * time.Hour, "", false},
		{"too old", text(sigText), 3 * time.Hour, 2 * time.Hour, "age", false},
		{"from the future", text(sigText), -time.Hour, 2 * time.Hour, "age", false},
		{"rotten", text("{}"), 0, 0, "refused: wrong signature", true},
		{"too long", text(strings.Repeat("x", 1000)), 0, 0, "refused: longer than 100 bytes", true},
		{"link", func(t *testing.T, path string) {
			text(sigText)(t, path+".elsewhere")
			if err := os.Symlink(path+".elsewhere", path); err != nil {
				t.Fatal(err)
			}
		}, 0, 0, "refused: not a regular file", true},
		{"link to nothing", func(t *testing.T, path string) {
			text(sigText)(t, path+".elsewhere")
			if err := os.Symlink("nowhere", path); err != nil {
				t.Fatal(err)
			}
		}, 0, 0, "refused: not a regular file", true},
		{"left by a crash", func(t *testing.T, path string) { text("{}")(t, path+partialSuffix) }, 0, 0, "absent", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			put := func(c *Cache) string {
				path := filepath.Join(c.Dir, kept(key))
				tt.put(t, path)
				if tt.old != 0 {
					then := time.Now().Add(-tt.old)
					if err := os.Chtimes(path, then, then); err != nil {
						t.Fatal(err)
					}
				}
				return path
			}
			url := mirror + "/" + sig
			var skipped []Attempt
			req := smallFrom(url)
			req.MaxAge, req.MaxSize = tt.max, 100
			req.Skipped = func(a Attempt) { skipped = append(skipped, a) }

			c := newCache(t)
			path := put(c)
			data, source, err := c.Small(t.Context(), req)
			if err != nil || string(data) != sigText || (source == "") != (tt.want == "") {
				t.Errorf("got %q, %q, %v", data, source, err)
			}
			if tt.told && (len(skipped) != 1 || skipped[0].URL != "file://"+path || skipped[0].Err.Error() != tt.want) || !tt.told && len(skipped) != 0 {
				t.Errorf("was told %v, want %s", skipped, tt.want)
			}
			if b, err := os.ReadFile(path); string(b) != sigText || err != nil {
				t.Errorf("%q, %v is kept", b, err)
			}

			// Without a network it is used at any age, but never if it is bad; then it stays.
			offline := newCache(t)
			offline.Offline = true
			path = put(offline)
			before, _ := os.ReadFile(path)
			data, _, err = offline.Small(t.Context(), req)
			if good := tt.want == "" || tt.want == "age"; good != (err == nil) || good != (string(data) == sigText) {
				t.Errorf("offline: got %q, %v", data, err)
			}
			if err != nil && (!errors.Is(err, ErrOffline) || errors.Is(err, fs.ErrNotExist)) {
				t.Errorf("offline: got %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Errorf("offline: %q became %q", before, after)
			}
		})
	}
	t.Run("rotten, and no source has it", func(t *testing.T) {
		c := newCache(t)
		path := filepath.Join(c.Dir, kept(key))
		write(t, path, []byte("{}"))
		_, _, err := c.Small(t.Context(), smallFrom(mirror+"/404/"+sig))
		want := "no source has it:\nfile://" + path + ": refused: wrong signature\n" + mirror + "/404/" + sig + ": status 404 Not Found"
		if err == nil || err.Error() != want || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("too old, and no source answers", func(t *testing.T) {
		c := newCache(t)
		path := filepath.Join(c.Dir, kept(key))
		write(t, path, []byte(sigText))
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		req := smallFrom(mirror + "/503/" + sig)
		req.MaxAge = time.Minute
		if _, _, err := c.Small(t.Context(), req); !isA[*StatusError](err) {
			t.Errorf("got %v, want a *StatusError", err)
		}
		checkTree(t, c.Dir, kept(key))
	})
}

func TestSmallRequests(t *testing.T) {
	_, mirror := newSigned(t)
	sum := artifact().SHA256
	with := func(change func(*SmallRequest)) SmallRequest {
		req := smallFrom(mirror + "/" + sig)
		change(&req)
		return req
	}
	key := func(s string) SmallRequest { return with(func(r *SmallRequest) { r.Key = s }) }
	tests := []struct {
		name string
		req  SmallRequest
		want string
	}{
		{"beside an artifact, twin", smallFrom(mirror + "/" + sig), ""},
		{"keys, twin", key("keys/0123.asc"), ""},
		{"api, twin", key("api/release.json"), ""},
		{"just fits, twin", with(func(r *SmallRequest) { r.MaxSize = int64(len(sigText)) }), ""},
		{"too long", with(func(r *SmallRequest) { r.MaxSize = int64(len(sigText)) - 1 }), "no source has it:\n" + mirror + "/" + sig + ": longer than 16 bytes"},
		{"no check", with(func(r *SmallRequest) { r.Check = nil }), "no check given"},
		{"no URL", with(func(r *SmallRequest) { r.URLs = nil }), "no source to try"},
		{"no key", key(""), `small file with key ""`},
		{"no group", key("/x"), `small file with key "/x"`},
		{"no name", key("keys/"), `small file with key "keys/"`},
		{"name only", key("keys"), `small file with key "keys"`},
		{"deeper", key("keys/a/b"), `small file with key "keys/a/b"`},
		{"parent", key("../x"), `small file with key "../x"`},
		{"parent as name", key("keys/.."), `small file with key "keys/.."`},
		{"hidden", key("keys/.x"), `small file with key "keys/.x"`},
		{"partial", key("keys/x.partial"), `small file with key "keys/x.partial"`},
		{"capitals", key("Keys/x"), `small file with key "Keys/x"`},
		{"short digest", key(sum[1:] + "/x"), `small file with key "` + sum[1:] + `/x"`},
	}
	for _, tt := range tests {
		c := newCache(t)
		data, _, err := c.Small(t.Context(), tt.req)
		if tt.want == "" {
			if err != nil || string(data) != sigText {
				t.Errorf("%s: got %q, %v", tt.name, data, err)
			}
			checkTree(t, c.Dir, kept(tt.req.Key))
			continue
		}
		if data != nil || err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %q, %v, want %s", tt.name, data, err, tt.want)
		}
		checkTree(t, c.Dir)
	}
}

func TestSmallCacheErrors(t *testing.T) {
	_, mirror := newSigned(t)
	dir := t.TempDir()
	key := smallFrom().Key
	write(t, filepath.Join(dir, "file"), nil)
	write(t, filepath.Join(dir, "s", "small"), nil)
	write(t, filepath.Join(dir, "d", kept(key), "x"), nil)
	tests := []struct {
		name string
		dir  string
		want string
		is   error
	}{
		{"a new one, twin", dir + "/new/cache", "", nil},
		{"not given", "", "cache : no directory given", errNoDir},
		{"a file", dir + "/file", "cache DIR/file: lstat DIR/file/small/KEY: not a directory", syscall.ENOTDIR},
		{"small is a file", dir + "/s", "cache DIR/s: lstat DIR/s/small/KEY: not a directory", syscall.ENOTDIR},
		{"a directory in the way", dir + "/d", "cache DIR/d: rename DIR/d/small/KEY.partial DIR/d/small/KEY: file exists", syscall.EEXIST},
	}
	fill := strings.NewReplacer("DIR", dir, "KEY", key)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			c.Dir = tt.dir
			_, _, err := c.Small(t.Context(), smallFrom(mirror+"/"+sig))
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var ce *CacheError
			if !errors.As(err, &ce) || ce.Dir != tt.dir || err.Error() != fill.Replace(tt.want) || !errors.Is(err, tt.is) {
				t.Errorf("got  %v\nwant %v", err, fill.Replace(tt.want))
			}
		})
	}
	checkTree(t, filepath.Join(dir, "d"), filepath.Join(kept(key), "x"))
}

// Interrupted, it returns the context's error alone, blames nobody and keeps nothing.
func TestSmallCancel(t *testing.T) {
	_, mirror := newSigned(t)
	tests := []struct {
		name string
		path string
		prep func(c *Cache, req *SmallRequest, cancel func())
	}{
		{"before", "/", func(c *Cache, req *SmallRequest, cancel func()) { cancel() }},
		{"without an answer", "/hang/", func(c *Cache, req *SmallRequest, cancel func()) { time.AfterFunc(20*time.Millisecond, cancel) }},
		{"in the middle", "/stall/", func(c *Cache, req *SmallRequest, cancel func()) { time.AfterFunc(20*time.Millisecond, cancel) }},
		{"between two tries", "/503/", func(c *Cache, req *SmallRequest, cancel func()) {
			c.sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return sleep(ctx, time.Hour) }
		}},
		{"in the check", "/", func(c *Cache, req *SmallRequest, cancel func()) {
			req.Check = func([]byte) error { cancel(); return context.Canceled }
		}},
		{"in the check of what was kept", "/", func(c *Cache, req *SmallRequest, cancel func()) {
			write(t, filepath.Join(c.Dir, kept("api/x")), []byte(sigText))
			req.Key = "api/x"
			req.Check = func([]byte) error { cancel(); return context.Canceled }
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := newCache(t)
			req := smallFrom(mirror+tt.path+sig, mirror+"/"+sig)
			req.Skipped = func(a Attempt) { t.Errorf("blamed %s: %v", a.URL, a.Err) }
			tt.prep(c, &req, cancel)
			data, _, err := c.Small(ctx, req)
			if data != nil || err != context.Canceled {
				t.Errorf("got %q, %v, want %v", data, err, context.Canceled)
			}
			var left []string
			if req.Key == "api/x" {
				left = []string{kept("api/x")}
			}
			checkTree(t, c.Dir, left...)
		})
	}
}

// A check may fetch: Get holds the lock of the artifact, Small another.
func TestSmallWithinCheck(t *testing.T) {
	_, mirror := newSigned(t)
	c := newCache(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req := from(mirror + "/" + file)
	req.Check = func(a Artifact, f *os.File) error {
		if err := checkDigest(a, f); err != nil {
			return err
		}
		_, _, err := c.Small(ctx, smallFrom(mirror+"/"+sig))
		return err
	}
	f, err := c.Get(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	checkBytes(t, f.Path)
	a := artifact()
	checkTree(t, c.Dir, filepath.Join("archives", a.SHA256, a.Name), kept(smallFrom().Key))

	// What belongs to an artifact goes with it, and nothing else does.
	if _, _, err := c.Small(ctx, SmallRequest{URLs: []string{mirror + "/" + sig}, Key: "keys/x", Check: checkSig}); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(c.Dir, "archives", a.SHA256, "Another.tgz")
	write(t, second, content)
	if err := c.Remove(Entry{Artifact: a}); err != nil {
		t.Fatal(err)
	}
	checkTree(t, c.Dir, filepath.Join("archives", a.SHA256, "Another.tgz"), kept(smallFrom().Key), kept("keys/x"))
	if err := c.Remove(Entry{Artifact: Artifact{Name: "Another.tgz", SHA256: a.SHA256}}); err != nil {
		t.Fatal(err)
	}
	checkTree(t, c.Dir, kept("keys/x"))
}

func TestOneSmallForMany(t *testing.T) {
	t.Parallel()
	dir, _ := newSigned(t)
	srv, asked := count(t, fetchtest.Handler(dir))
	first := newCache(t)
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			c := &Cache{Dir: first.Dir}
			if data, _, err := c.Small(t.Context(), smallFrom(srv+"/late/"+sig)); err != nil || string(data) != sigText {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
	checkTree(t, first.Dir, kept(smallFrom().Key))
}
