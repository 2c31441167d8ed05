package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

const file = "3.13.5/Python-3.13.5.tgz"

// content is long enough to come in several reads.
var content = []byte(strings.Repeat("not a real archive\n", 8_000))

func artifact() Artifact {
	return Artifact{Name: "Python-3.13.5.tgz", SHA256: digest(content), Size: int64(len(content))}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

var errDigest = errors.New("wrong digest")

// checkDigest stands for what a caller composes from the package verify.
func checkDigest(a Artifact, f *os.File) error {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	if err != nil {
		return err
	}
	if digest(b) != a.SHA256 {
		return errDigest
	}
	return nil
}

// newMirror serves content as file.
func newMirror(t *testing.T) (dir, mirrorURL string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, file), content)
	return dir, fetchtest.Server(t, dir).URL
}

// newCache is an empty cache without pauses.
func newCache(t *testing.T) *Cache {
	t.Helper()
	c := &Cache{
		Dir:   filepath.Join(t.TempDir(), "cache"),
		sleep: func(ctx context.Context, d time.Duration) error { return ctx.Err() },
	}
	wait(t, c, time.Minute)
	return c
}

// short is a time-out for faults that need one to be noticed.
const short = 150 * time.Millisecond

// wait gives the cache a client with these time-outs.
func wait(t *testing.T, c *Cache, d time.Duration) {
	c.Client = newClient(timeouts{connect: d, tls: d, header: d, stall: d})
	t.Cleanup(c.Client.CloseIdleConnections)
}

// hangs reports whether a fault is one of those.
func hangs(path string) bool {
	return slices.ContainsFunc([]string{"stall", "hang", "lull", "dribble"}, func(fault string) bool { return strings.Contains(path, fault) })
}

// A group runs subtests beside each other: as many as there are processors, but
// those whose path hangs all at once, because they do nothing but wait.
type group struct {
	t  *testing.T
	wg sync.WaitGroup
}

func (g *group) run(name, path string, f func(*testing.T)) {
	if hangs(path) {
		g.wg.Go(func() { g.t.Run(name, f) })
		return
	}
	g.t.Run(name, func(t *testing.T) {
		t.Parallel()
		f(t)
	})
}

// partials is what a download leaves that can be continued.
func partials() []string {
	path := filepath.Join("archives", artifact().SHA256, artifact().Name)
	return []string{path + partialSuffix, path + markSuffix}
}

func from(urls ...string) Request {
	req := Request{Check: checkDigest}
	for _, u := range urls {
		req.Sources = append(req.Sources, Source{URL: u, Artifact: artifact()})
	}
	return req
}

// One fault a row, each asked for alone and then with a good source behind it.
func TestFaults(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	size := len(content)
	half := size / 2
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(content)
	z.Close()
	write(t, filepath.Join(dir, "flipped.tgz"), append([]byte("N"), content[1:]...))
	write(t, filepath.Join(dir, "shorter.tgz"), content[1:])
	write(t, filepath.Join(dir, "page.tgz"), []byte("\n<HTML><body>"))
	if err := os.Mkdir(filepath.Join(dir, "dir.tgz"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.tgz"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("flipped.tgz", filepath.Join(dir, "link.tgz")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		url     string // below the mirror, or whole
		want    string // the reason; "" = good
		refused bool
	}{
		{"/" + file, "", false},
		{"/flip/" + file, "refused: wrong digest", true},
		{"/flipx1/" + file, "refused: wrong digest", true},
		{"/cut/" + file, fmt.Sprintf("refused: %d bytes long, want %d", half, size), true},
		{"/long/" + file, fmt.Sprintf("refused: longer than %d bytes", size), true},
		{"/nolength/" + file, "", false},
		{"/empty/" + file, fmt.Sprintf("refused: 0 bytes long, want %d", size), true},
		{"/gzip/" + file, fmt.Sprintf("refused: %d bytes long, want %d", zipped.Len(), size), true},
		{"/endless/" + file, fmt.Sprintf("refused: longer than %d bytes", size), true},
		{"/short/" + file, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", half, size), false},
		{"/shortx4/" + file, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", half, size), false},
		{"/shortx3/" + file, "", false},
		{"/unsized/" + file, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", half, size), false},
		{"/unsizedx3/" + file, "", false},
		{"/broken/" + file, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", size-size/16, size), false},
		{"/brokenx3/" + file, "", false},
		{"/resetx3/" + file, "", false},
		{"/lull/" + file, fmt.Sprintf("broke off after %d of %d bytes: transfer stalled", size-size/4, size), false},
		{"/lullx1/" + file, "", false},
		{"/drop/" + file, "broke off after 0 bytes: EOF", false},
		{"/dropx3/" + file, "", false},
		{"/404/" + file, "status 404 Not Found", false},
		{"/404x1/" + file, "status 404 Not Found", false},
		{"/3.13.5/other.tgz", "status 404 Not Found", false},
		{"/503/" + file, "status 503 Service Unavailable", false},
		{"/503x4/" + file, "status 503 Service Unavailable", false},
		{"/503x3/" + file, "", false},
		{"/429x3/" + file, "", false},
		{"/408x3/" + file, "", false},
		{"/416/" + file, "", false},
		{"/501x1/" + file, "status 501 Not Implemented", false},
		{"/511x1/" + file, "status 511 Network Authentication Required", false},
		{"/retryafterx3/" + file, "", false},
		{"/retryafter/" + file, "status 503 Service Unavailable", false},
		{"/retrydatex3/" + file, "", false},
		{"/retrydate/" + file, "status 429 Too Many Requests", false},
		{"/retrylongx1/" + file, "status 503 Service Unavailable, asks for a pause of 1h0m0s", false},
		{"/unasked/" + file, "status 206 Partial Content", false},
		{"/unaskedx1/" + file, "status 206 Partial Content", false},
		{"/499/" + file, "status 499", false},
		{"/html/" + file, "a web page instead of the file", false},
		{"/page/" + file, "a web page instead of the file", false},
		{"/portal/" + file, "a web page of localhost:PORT instead of the file", false},
		{"/stall/" + file, fmt.Sprintf("broke off after %d of %d bytes: transfer stalled", half, size), false},
		{"/stallx1/" + file, "", false},
		{"/slow/" + file, "", false},
		{"/late/" + file, "", false},
		{"/undated/" + file, "", false},
		{"/untagged/" + file, "", false},
		{"/dribble/" + file, "HOST could not be reached: net/http: timeout awaiting response headers", false},
		{"/hang/" + file, "HOST could not be reached: net/http: timeout awaiting response headers", false},
		{"/redirect5/" + file, "", false},
		{"/redirect6/" + file, "redirect to MIRROR/" + file + ": more than 5 redirects", false},
		{"/loop/" + file, "redirect to MIRROR/loop/" + file + ": more than 5 redirects", false},
		{"/badredirect/" + file, "redirect to http://mirror.example:port/" + file + ": not a URL", false},
		{"/redirect9/" + file, "redirect to MIRROR/redirect3/" + file + ": more than 5 redirects", false},
		{"file://DIR/" + file, "", false},
		{"file://localhost/DIR/" + file, "", false},
		{"file://DIR/flipped.tgz", "refused: wrong digest", true},
		{"file://DIR/link.tgz", "refused: wrong digest", true},
		{"file://DIR/shorter.tgz", fmt.Sprintf("refused: %d bytes long, want %d", size-1, size), true},
		{"file://DIR/page.tgz", "a web page instead of the file", false},
		{"file://DIR/missing.tgz", "open DIR/missing.tgz: no such file or directory", false},
		{"file://DIR/dir.tgz", "not a regular file", false},
		{"file://DIR/pipe.tgz", "not a regular file", false},
		{"file://elsewhere/" + file, "not a http, https or file URL", false},
		{"ftp://mirror.example/" + file, "not a http, https or file URL", false},
		{"https:///" + file, "not a http, https or file URL", false},
		{"https://mirror.example:port/" + file, "not a http, https or file URL", false},
		{file, "not a http, https or file URL", false},
	}
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		// Each request has a mirror of its own, because mirrors count.
		setUp := func(t *testing.T) (c *Cache, bad, want string) {
			c = newCache(t)
			if hangs(tt.url) {
				wait(t, c, short)
			}
			mirror := fetchtest.Server(t, dir).URL
			_, port, _ := strings.Cut(strings.TrimPrefix(mirror, "http://"), ":")
			fill := strings.NewReplacer("PORT", port, "DIR", dir, "MIRROR", mirror, "HOST", strings.TrimPrefix(mirror, "http://"))
			bad = fill.Replace(tt.url)
			if strings.HasPrefix(tt.url, "/") {
				bad = mirror + tt.url
			}
			return c, bad, fill.Replace(tt.want)
		}
		name := strings.TrimSuffix(tt.url, file)
		g.run("alone "+name, tt.url, func(t *testing.T) {
			c, bad, want := setUp(t)
			var skipped []Attempt
			req := from(bad)
			req.Skipped = func(a Attempt) { skipped = append(skipped, a) }
			f, err := c.Get(t.Context(), req)
			if want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkFile(t, c, f, bad)
				return
			}
			var none *SourcesError
			if !errors.As(err, &none) || f != nil {
				t.Fatalf("got %v, %v, want a *SourcesError", f, err)
			}
			if want := "no source has it:\n" + bad + ": " + want; err.Error() != want {
				t.Errorf("got  %v\nwant %v", err, want)
			}
			if none.Refused() != tt.refused {
				t.Errorf("Refused is %t, want %t", none.Refused(), tt.refused)
			}
			if !slices.Equal(skipped, none.Attempts) {
				t.Errorf("was told %v, got %v", skipped, none.Attempts)
			}
			var left []string
			if strings.HasPrefix(tt.url, "/broken/") || strings.HasPrefix(tt.url, "/lull/") {
				left = partials()
			}
			checkTree(t, c.Dir, left...)
		})
		g.run("then a good one "+name, tt.url, func(t *testing.T) {
			c, bad, want := setUp(t)
			good := fetchtest.Server(t, dir).URL + "/" + file // a host that answers
			var skipped []string
			req := from(bad, good)
			req.Skipped = func(a Attempt) { skipped = append(skipped, a.Err.Error()) }
			f, err := c.Get(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				checkFile(t, c, f, bad)
				if len(skipped) != 0 {
					t.Errorf("was told %q", skipped)
				}
				return
			}
			checkFile(t, c, f, good)
			if !slices.Equal(skipped, []string{want}) {
				t.Errorf("was told %q, want %q", skipped, want)
			}
		})
	}
}

// TestReasons is about what an error means to a program.
func TestReasons(t *testing.T) {
	t.Parallel()
	_, mirror := newMirror(t)
	tests := []struct {
		path string
		is   func(error) bool
	}{
		{"/flip/", isA[*RefusedError]},
		{"/flip/", func(err error) bool { return errors.Is(err, errDigest) }},
		{"/cut/", isA[*LengthError]},
		{"/short/", isA[*BrokenError]},
		{"/short/", func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"/404/", isA[*StatusError]},
		{"/html/", isA[*PageError]},
		{"/stall/", func(err error) bool { return errors.Is(err, ErrStalled) }},
		{"/hang/", isA[*UnreachableError]},
		{"/redirect9/", isA[*RedirectError]},
	}
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		g.run(tt.path, tt.path, func(t *testing.T) {
			c := newCache(t)
			if hangs(tt.path) {
				wait(t, c, short)
			}
			_, err := c.Get(t.Context(), from(mirror+tt.path+file))
			if !isA[*SourcesError](err) || !tt.is(err) {
				t.Errorf("got %#v", err)
			}
			if errors.Is(err, context.Canceled) {
				t.Errorf("%v looks like an interruption", err)
			}
		})
	}
}

func isA[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func TestUnreachableHostIsNotAskedAgain(t *testing.T) {
	t.Parallel()
	_, mirror := newMirror(t)
	closed := closedPort(t)
	const (
		unknown = "mirror.invalid:80 could not be reached: lookup mirror.invalid: no such host"
		again   = " could not be reached: not asked again"
	)
	tests := []struct {
		name  string
		paths []string
		want  []string
	}{
		{"refused", []string{"http://" + closed + "/a/", "http://" + closed + "/b/"},
			[]string{closed + " could not be reached: dial tcp " + closed + ": connect: connection refused", closed + again}},
		{"unknown name", []string{"http://mirror.invalid/a/", "http://MIRROR.invalid:80/b/"},
			[]string{unknown, "mirror.invalid:80" + again}},
		{"no answer", []string{"HTTP/hang/", "HTTP/"},
			[]string{"HOST could not be reached: net/http: timeout awaiting response headers", "HOST" + again}},
		{"stalled", []string{"HTTP/stall/", "HTTP/"},
			[]string{fmt.Sprintf("broke off after %d of %d bytes: transfer stalled", len(content)/2, len(content)), "HOST" + again}},
		{"answered, twin", []string{"HTTP/404/", "HTTP/"}, []string{"status 404 Not Found"}},
		{"other port, twin", []string{"http://" + closed + "/", "HTTP/"},
			[]string{closed + " could not be reached: dial tcp " + closed + ": connect: connection refused"}},
	}
	fill := strings.NewReplacer("HTTP", mirror, "HOST", strings.TrimPrefix(mirror, "http://"))
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		g.run(tt.name, tt.paths[0], func(t *testing.T) {
			c := newCache(t)
			if hangs(tt.paths[0]) {
				wait(t, c, short)
			}
			// No test asks a name server.
			c.Client.Transport.(*transport).base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				if strings.HasPrefix(addr, "mirror.invalid:") {
					return nil, &net.DNSError{Err: "no such host", Name: "mirror.invalid", IsNotFound: true}
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}
			var urls, got, want []string
			for _, p := range tt.paths {
				urls = append(urls, fill.Replace(p)+file)
			}
			for _, w := range tt.want {
				want = append(want, fill.Replace(w))
			}
			req := from(urls...)
			req.Skipped = func(a Attempt) { got = append(got, a.Err.Error()) }
			f, err := c.Get(t.Context(), req)
			if !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			if len(want) == len(urls) {
				if !isA[*SourcesError](err) {
					t.Errorf("got %v, want a *SourcesError", err)
				}
				checkTree(t, c.Dir)
			} else if err != nil {
				t.Error(err)
			} else {
				checkFile(t, c, f, urls[len(urls)-1])
			}
		})
	}
}

func TestOffline(t *testing.T) {
	dir, _ := newMirror(t)
	srv, asked := count(t, fetchtest.Handler(dir))
	c := newCache(t)
	c.Offline = true

	_, err := c.Get(t.Context(), from(srv+"/"+file))
	if want := "no source has it:\n" + srv + "/" + file + ": offline"; err == nil || err.Error() != want || !errors.Is(err, ErrOffline) {
		t.Errorf("got %v, want %s", err, want)
	}
	checkTree(t, c.Dir)

	f, err := c.Get(t.Context(), from(srv+"/"+file, "file://"+dir+"/"+file))
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, c, f, "file://"+dir+"/"+file)
	f, err = c.Get(t.Context(), from(srv+"/"+file))
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, c, f, "")
	if asked.Load() != 0 {
		t.Errorf("the network was asked %d times", asked.Load())
	}
}

func TestCached(t *testing.T) {
	a := artifact()
	final := filepath.Join("archives", a.SHA256, a.Name)
	tests := []struct {
		name string
		put  func(t *testing.T, path string)
		want string // why what is there is not used; "" = it is
	}{
		{"good", func(t *testing.T, path string) { write(t, path, content) }, ""},
		{"rotten", func(t *testing.T, path string) { write(t, path, append([]byte("N"), content[1:]...)) }, "refused: wrong digest"},
		{"cut", func(t *testing.T, path string) { write(t, path, content[:100]) },
			fmt.Sprintf("refused: 100 bytes long, want %d", len(content))},
		{"empty", func(t *testing.T, path string) { write(t, path, nil) },
			fmt.Sprintf("refused: 0 bytes long, want %d", len(content))},
		{"link to a good one", func(t *testing.T, path string) {
			write(t, path+".elsewhere", content)
			if err := os.Symlink(path+".elsewhere", path); err != nil {
				t.Fatal(err)
			}
		}, "refused: not a regular file"},
		{"dangling link", func(t *testing.T, path string) {
			write(t, path+".elsewhere", content)
			if err := os.Symlink("nowhere", path); err != nil {
				t.Fatal(err)
			}
		}, "refused: not a regular file"},
		{"empty directory", func(t *testing.T, path string) {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "refused: not a regular file"},
	}
	_, mirror := newMirror(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			path := filepath.Join(c.Dir, final)
			tt.put(t, path)

			found, err := c.Find(a, checkDigest)
			if tt.want == "" && (err != nil || found.Path != path) {
				t.Errorf("Find: got %v, %v", found, err)
			}
			if tt.want != "" && (!isA[*RefusedError](err) || err.Error() != tt.want) {
				t.Errorf("Find: got %v, want %s", err, tt.want)
			}

			var skipped []Attempt
			req := from(mirror + "/" + file)
			req.Skipped = func(a Attempt) { skipped = append(skipped, a) }
			f, err := c.Get(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				checkFile(t, c, f, "")
				if len(skipped) != 0 {
					t.Errorf("was told %v", skipped)
				}
				return
			}
			checkBytes(t, f.Path)
			if f.Source != mirror+"/"+file {
				t.Errorf("came from %q", f.Source)
			}
			if len(skipped) != 1 || skipped[0].URL != "file://"+path || skipped[0].Err.Error() != tt.want {
				t.Errorf("was told %v, want %s", skipped, tt.want)
			}
		})
	}
	t.Run("rotten and no source", func(t *testing.T) {
		c := newCache(t)
		path := filepath.Join(c.Dir, final)
		write(t, path, content[1:])
		_, err := c.Get(t.Context(), from(mirror+"/404/"+file))
		want := fmt.Sprintf("no source has it:\nfile://%s: refused: %d bytes long, want %d\n%s/404/%s: status 404 Not Found",
			path, len(content)-1, len(content), mirror, file)
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		var none *SourcesError
		if !errors.As(err, &none) || !none.Refused() {
			t.Error("what rotted was not refused")
		}
		checkTree(t, c.Dir)
	})
}

// Any artifact of the request will do, and one that is there needs no source.
func TestCacheComesFirst(t *testing.T) {
	dir, _ := newMirror(t)
	srv, asked := count(t, fetchtest.Handler(dir))
	other := []byte("the same in another packing")
	xz := Artifact{Name: "Python-3.13.5.tar.xz", SHA256: digest(other), Size: int64(len(other))}
	c := newCache(t)
	write(t, filepath.Join(c.Dir, "archives", xz.SHA256, xz.Name), other)
	req := from(srv + "/" + file)
	req.Sources = append(req.Sources, Source{URL: srv + "/3.13.5/" + xz.Name, Artifact: xz})
	f, err := c.Get(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if f.Artifact != xz || f.Source != "" || asked.Load() != 0 {
		t.Errorf("got %+v after asking %d times", f, asked.Load())
	}
}

func TestUnknownSize(t *testing.T) {
	_, mirror := newMirror(t)
	size := int64(len(content))
	tests := []struct {
		name string
		path string
		max  int64
		want string
	}{
		{"announced", "/", 0, ""},
		{"just fits", "/", size, ""},
		{"too long, announced", "/", size - 1, fmt.Sprintf("longer than %d bytes", size-1)},
		{"too long, unannounced", "/endless/", size, fmt.Sprintf("longer than %d bytes", size)},
		{"half, unannounced", "/unsized/", 0, "refused: wrong digest"},
		{"half, announced", "/cut/", 0, "refused: wrong digest"},
		{"broken off", "/short/", 0, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", size/2, size)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			c.MaxSize = tt.max
			req := from(mirror + tt.path + file)
			req.Sources[0].Artifact.Size = 0
			f, err := c.Get(t.Context(), req)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkBytes(t, f.Path)
				return
			}
			var none *SourcesError
			if !errors.As(err, &none) || none.Attempts[0].Err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			checkTree(t, c.Dir)
		})
	}
}

func TestProgress(t *testing.T) {
	_, mirror := newMirror(t)
	size := int64(len(content))
	tests := []struct {
		name  string
		path  string
		size  int64
		total int64
		runs  int // how often it starts from 0
	}{
		{"known", "/", size, size, 1},
		{"announced", "/", 0, size, 1},
		{"again", "/shortx1/", size, size, 2},
		{"continued", "/brokenx1/", size, size, 1},
		{"continued, size unknown", "/brokenx1/", 0, size, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var last int64
			runs := 0
			req := from(mirror + tt.path + file)
			req.Sources[0].Artifact.Size = tt.size
			req.Progress = func(done, total int64) {
				if done == 0 {
					runs++
				} else if done < last {
					t.Errorf("went back from %d to %d", last, done)
				}
				if last = done; total != tt.total {
					t.Errorf("total is %d, want %d", total, tt.total)
				}
			}
			if _, err := newCache(t).Get(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			if last != size || runs != tt.runs {
				t.Errorf("ended at %d after %d runs, want %d and %d", last, runs, size, tt.runs)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	_, mirror := newMirror(t)
	tests := []struct {
		name string
		prep func(c *Cache, req *Request, cancel func())
		path string
		left []string
	}{
		{"before", func(c *Cache, req *Request, cancel func()) { cancel() }, "/", nil},
		{"without an answer", func(c *Cache, req *Request, cancel func()) {
			time.AfterFunc(20*time.Millisecond, cancel)
		}, "/hang/", nil},
		{"in the middle", func(c *Cache, req *Request, cancel func()) {
			req.Progress = func(done, _ int64) {
				if done > 0 {
					cancel()
				}
			}
		}, "/", partials()},
		{"in the middle, not to be continued", func(c *Cache, req *Request, cancel func()) {
			req.Progress = func(done, _ int64) {
				if done > 0 {
					cancel()
				}
			}
		}, "/slow/", nil},
		{"between two tries", func(c *Cache, req *Request, cancel func()) {
			c.sleep = func(ctx context.Context, _ time.Duration) error { cancel(); return sleep(ctx, time.Hour) }
		}, "/503/", nil},
		{"in the check", func(c *Cache, req *Request, cancel func()) {
			req.Check = func(Artifact, *os.File) error { cancel(); return context.Canceled }
		}, "/", partials()},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := newCache(t)
			req := from(mirror+tt.path+file, mirror+"/"+file)
			tt.prep(c, &req, cancel)
			req.Skipped = func(a Attempt) { t.Errorf("blamed %s: %v", a.URL, a.Err) }
			f, err := c.Get(ctx, req)
			if f != nil || err != context.Canceled {
				t.Errorf("got %v, %v, want %v", f, err, context.Canceled)
			}
			checkTree(t, c.Dir, tt.left...)
			req = from(mirror + "/" + file) // the twin: not cancelled
			if f, err = c.Get(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			checkFile(t, c, f, mirror+"/"+file)
		})
	}
	t.Run("a good file in the cache is kept when its check is interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c := newCache(t)
		req := from(mirror + "/" + file)
		if _, err := c.Get(ctx, req); err != nil {
			t.Fatal(err)
		}
		req.Check = func(Artifact, *os.File) error { cancel(); return context.Canceled }
		if _, err := c.Get(ctx, req); err != context.Canceled {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		f, err := c.Find(artifact(), checkDigest)
		if err != nil {
			t.Fatal(err)
		}
		checkFile(t, c, f, "")
	})
}

func TestOneDownloadForTwo(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	started := make(chan struct{})
	release := make(chan struct{})
	inner := fetchtest.Handler(dir)
	srv, asked := count(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(started) // a second request would panic
		<-release
		inner.ServeHTTP(w, r)
	}))
	first := newCache(t)
	first.Client = nil
	second := &Cache{Dir: first.Dir} // as another process has it
	var wg sync.WaitGroup
	get := func(c *Cache) {
		f, err := c.Get(t.Context(), from(srv+"/"+file))
		if err != nil {
			t.Error(err)
			return
		}
		checkBytes(t, f.Path)
		if source := map[*Cache]string{first: srv + "/" + file, second: ""}[c]; f.Source != source {
			t.Errorf("came from %q, want %q", f.Source, source)
		}
	}
	wg.Go(func() { get(first) })
	<-started
	wg.Go(func() { get(second) })
	// The first still downloads: what there is of it cannot be removed now.
	partial := Entry{Artifact: artifact(), Partial: true}
	write(t, filepath.Join(first.Dir, "archives", partial.Artifact.SHA256, partial.Artifact.Name+".partial"), nil)
	if err := first.Remove(partial); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want %v", err, ErrBusy)
	}
	// And who no longer wants to wait, need not.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := second.Get(ctx, from(srv+"/"+file)); err != context.DeadlineExceeded {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	close(release)
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
	checkTree(t, first.Dir, filepath.Join("archives", artifact().SHA256, artifact().Name))
}

func TestCacheErrors(t *testing.T) {
	_, mirror := newMirror(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), nil)
	write(t, filepath.Join(dir, "a", "archives"), nil)
	write(t, filepath.Join(dir, "l", "locks"), nil)
	a := artifact()
	write(t, filepath.Join(dir, "full", "archives", a.SHA256, a.Name, "x"), nil)
	tests := []struct {
		name string
		dir  string
		want string
		is   error
	}{
		{"a new one, twin", dir + "/new/cache", "", nil},
		{"with a slash, twin", dir + "/new/slash/", "", nil},
		{"not given", "", "cache : no directory given", errNoDir},
		{"a file", dir + "/file", "cache DIR/file: open DIR/file/archives/SHA/NAME: not a directory", syscall.ENOTDIR},
		{"below a file", dir + "/file/cache", "cache DIR/file/cache: open DIR/file/cache/archives/SHA/NAME: not a directory", syscall.ENOTDIR},
		{"archives is a file", dir + "/a", "cache DIR/a: open DIR/a/archives/SHA/NAME: not a directory", syscall.ENOTDIR},
		{"locks is a file", dir + "/l", "cache DIR/l: open DIR/l/locks/SHA: not a directory", syscall.ENOTDIR},
		{"a full directory in the way", dir + "/full", "cache DIR/full: remove DIR/full/archives/SHA/NAME: directory not empty", syscall.ENOTEMPTY},
	}
	fill := strings.NewReplacer("DIR", dir, "SHA", a.SHA256, "NAME", a.Name)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			c.Dir = tt.dir
			req := from(mirror + "/" + file)
			req.Skipped = func(a Attempt) { t.Errorf("blamed %s: %v", a.URL, a.Err) }
			f, err := c.Get(t.Context(), req)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				checkFile(t, c, f, mirror+"/"+file)
				return
			}
			var ce *CacheError
			if !errors.As(err, &ce) || ce.Dir != tt.dir || err.Error() != fill.Replace(tt.want) || !errors.Is(err, tt.is) {
				t.Errorf("got  %v\nwant %v", err, fill.Replace(tt.want))
			}
		})
	}
	t.Run("read-only", func(t *testing.T) {
		if os.Getuid() == 0 {
			t.Skip("nothing is read-only for root")
		}
		c := newCache(t)
		if err := os.Mkdir(c.Dir, 0o555); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), from(mirror+"/"+file)); !isA[*CacheError](err) || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("got %v, want a *CacheError with %v", err, fs.ErrPermission)
		}
	})
}

func TestBadRequests(t *testing.T) {
	with := func(change func(*Artifact)) Request {
		req := from("file:///nowhere")
		change(&req.Sources[0].Artifact)
		return req
	}
	name := func(s string) Request { return with(func(a *Artifact) { a.Name = s }) }
	sum := func(s string) Request { return with(func(a *Artifact) { a.SHA256 = s }) }
	abc := digest([]byte("abc"))
	tests := []struct {
		name string
		req  Request
		want string
	}{
		{"twin", from("file:///nowhere"), "no source has it:\nfile:///nowhere: open /nowhere: no such file or directory"},
		{"no source", from(), "no source to try"},
		{"no check", Request{Sources: from("file:///nowhere").Sources}, "no check given"},
		{"no name", name(""), `artifact with name ""`},
		{"path", name("../a.tgz"), `artifact with name "../a.tgz"`},
		{"path, backwards", name(`a\b.tgz`), `artifact with name "a\\b.tgz"`},
		{"hidden", name(".a.tgz"), `artifact with name ".a.tgz"`},
		{"parent", name(".."), `artifact with name ".."`},
		{"partial", name("a.tgz.partial"), `artifact with name "a.tgz.partial"`},
		{"mark", name("a.tgz.partial.json"), `artifact with name "a.tgz.partial.json"`},
		{"control character", name("a\n.tgz"), `artifact with name "a\n.tgz"`},
		{"no digest", sum(""), `artifact with sha256 ""`},
		{"short digest", sum(abc[1:]), `artifact with sha256 "` + abc[1:] + `"`},
		{"capitals", sum(strings.ToUpper(abc)), `artifact with sha256 "` + strings.ToUpper(abc) + `"`},
		{"size", with(func(a *Artifact) { a.Size = -1 }), "artifact with size -1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			f, err := c.Get(t.Context(), tt.req)
			if f != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got %v, %v, want %s", f, err, tt.want)
			}
			checkTree(t, c.Dir)
		})
	}
}

func TestFindNothing(t *testing.T) {
	c := newCache(t)
	if _, err := c.Find(artifact(), checkDigest); !errors.Is(err, fs.ErrNotExist) || isA[*CacheError](err) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := c.Find(artifact(), nil); err != ErrNoCheck {
		t.Errorf("got %v, want %v", err, ErrNoCheck)
	}
	checkTree(t, c.Dir)
}

func TestListAndRemove(t *testing.T) {
	_, mirror := newMirror(t)
	c := newCache(t)
	if got, err := c.List(); len(got) != 0 || err != nil {
		t.Errorf("got %v, %v of a cache that is not there", got, err)
	}
	a := artifact()
	if _, err := c.Get(t.Context(), from(mirror+"/"+file)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(c.Dir, "archives", a.SHA256)
	write(t, filepath.Join(dir, "Another.tgz"), content)
	write(t, filepath.Join(dir, "Another.tgz.partial"), content[:10])
	write(t, filepath.Join(dir, ".hidden"), content)
	write(t, filepath.Join(dir, "dir", "x"), content)
	write(t, filepath.Join(c.Dir, "archives", "no digest", "x"), content)
	write(t, filepath.Join(c.Dir, "archives", "x"), content)

	got, err := c.List()
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(content))
	want := []Entry{
		{Path: filepath.Join(dir, "Another.tgz"), Artifact: Artifact{"Another.tgz", a.SHA256, size}},
		{Path: filepath.Join(dir, "Another.tgz.partial"), Artifact: Artifact{"Another.tgz", a.SHA256, 10}, Partial: true},
		{Path: filepath.Join(dir, a.Name), Artifact: a},
	}
	for i := range got {
		if time.Since(got[i].Time) > time.Minute {
			t.Errorf("%s was written at %v", got[i].Path, got[i].Time)
		}
		got[i].Time = time.Time{}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}

	for i, e := range got {
		for range 2 { // the second time it is gone
			if err := c.Remove(e); err != nil {
				t.Error(err)
			}
		}
		if left, err := c.List(); err != nil || len(left) != len(got)-i-1 {
			t.Errorf("%d left, %v", len(left), err)
		}
	}
	checkTree(t, c.Dir, filepath.Join("archives", a.SHA256, ".hidden"), filepath.Join("archives", a.SHA256, "dir", "x"),
		filepath.Join("archives", "no digest", "x"), filepath.Join("archives", "x"))

	if err := c.Remove(Entry{Artifact: Artifact{Name: "../x", SHA256: a.SHA256}}); !isA[*ArtifactError](err) {
		t.Errorf("got %v, want an *ArtifactError", err)
	}
}

func TestRemoveLastOne(t *testing.T) {
	_, mirror := newMirror(t)
	c := newCache(t)
	if _, err := c.Get(t.Context(), from(mirror+"/"+file)); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(Entry{Artifact: artifact()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(c.Dir, "archives", artifact().SHA256)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := c.Get(t.Context(), from(mirror+"/"+file)); err != nil {
		t.Error(err)
	}
}

// What a crash or somebody else has left under the partial name is not written to.
func TestLeftovers(t *testing.T) {
	_, mirror := newMirror(t)
	a := artifact()
	tests := []struct {
		name string
		put  func(path, victim string) error
	}{
		{"nothing, twin", func(path, victim string) error { return nil }},
		{"longer file", func(path, victim string) error { return os.WriteFile(path, append(content, 0), 0o644) }},
		{"read-only file", func(path, victim string) error { return os.WriteFile(path, nil, 0o444) }},
		{"link", func(path, victim string) error { return os.Symlink(victim, path) }},
		{"hard link", func(path, victim string) error { return os.Link(victim, path) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			victim := filepath.Join(t.TempDir(), "victim")
			write(t, victim, []byte("precious"))
			dir := filepath.Join(c.Dir, "archives", a.SHA256)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := tt.put(filepath.Join(dir, a.Name+".partial"), victim); err != nil {
				t.Fatal(err)
			}
			f, err := c.Get(t.Context(), from(mirror+"/"+file))
			if err != nil {
				t.Fatal(err)
			}
			checkFile(t, c, f, mirror+"/"+file)
			if b, err := os.ReadFile(victim); string(b) != "precious" || err != nil {
				t.Errorf("victim is %q, %v", b, err)
			}
		})
	}
}

func TestModes(t *testing.T) {
	_, mirror := newMirror(t)
	for _, umask := range []int{0, 0o022, 0o077} {
		c := newCache(t)
		old := syscall.Umask(umask)
		_, err := c.Get(t.Context(), from(mirror+"/"+file))
		syscall.Umask(old)
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o644)
			if d.IsDir() {
				want = 0o755
			}
			if strings.Contains(path, "/locks/") {
				want &^= fs.FileMode(umask) // nobody reads it
			}
			if got := info.Mode().Perm(); got != want {
				t.Errorf("umask %03o: %s has mode %03o, want %03o", umask, path, got, want)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// count starts a server that counts its requests.
func count(t *testing.T, h http.Handler) (srvURL string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL, asked
}

// closedPort is an address on loopback at which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkFile says that f, and nothing else, is in the cache.
func checkFile(t *testing.T, c *Cache, f *File, source string) {
	t.Helper()
	rel := filepath.Join("archives", artifact().SHA256, artifact().Name)
	if want := (File{Path: filepath.Join(c.Dir, rel), Artifact: artifact(), Source: source}); *f != want {
		t.Errorf("got  %+v\nwant %+v", *f, want)
	}
	checkBytes(t, f.Path)
	checkTree(t, c.Dir, rel)
}

func checkBytes(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || digest(b) != digest(content) {
		t.Errorf("%s holds %d bytes, %v", path, len(b), err)
	}
}

// checkTree says which files, apart from locks, are below the cache's directory.
func checkTree(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if !d.IsDir() && filepath.Dir(rel) != "locks" {
			got = append(got, rel)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("cache holds %q, want %q", got, want)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("https://user:s3cret@mirror.example/a.tgz?token=s3cret#s3cret")
	f.Add("http://user:s3?cret@mirror.example/")
	f.Add("http:user:s3cret@mirror.example")
	f.Add("file:///srv/a.tgz")
	f.Add("file:/srv/a%20b.tgz")
	f.Fuzz(func(t *testing.T, raw string) {
		shown := redact(raw)
		u, err := parseURL(raw)
		if err != nil {
			if err != ErrURL && err != ErrPlainCredentials {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		again, err := url.Parse(shown)
		if err != nil || again.User != nil || again.RawQuery != "" || again.Fragment != "" ||
			again.Host != u.Host || again.Path != u.Path || again.Scheme != u.Scheme {
			t.Errorf("%q is shown as %q, %v", raw, shown, err)
		}
		if redact(shown) != shown {
			t.Errorf("%q is shown as %q, then as %q", raw, shown, redact(shown))
		}
	})
}
