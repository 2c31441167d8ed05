package fetch

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNoSecretsInErrors(t *testing.T) {
	dir, mirror := newMirror(t)
	secure := tlsServer(t, http.NotFoundHandler())
	closed := closedPort(t)
	tests := []struct {
		url   string
		shown string
		want  string
	}{
		{"http://user:s3cret@HTTP/a.tgz", "http://HTTP/a.tgz", "credentials in a URL that is not encrypted"},
		{"http://user@HTTP/a.tgz", "http://HTTP/a.tgz", "credentials in a URL that is not encrypted"},
		{"https://user:s3cret@HTTPS/a.tgz", "https://HTTPS/a.tgz", "status 404 Not Found"},
		{"https://HTTPS/a.tgz?token=s3cret#s3cret", "https://HTTPS/a.tgz", "status 404 Not Found"},
		{"http://HTTP/redirect9/a.tgz?token=s3cret", "http://HTTP/redirect9/a.tgz", "redirect to http://HTTP/redirect3/a.tgz: more than 5 redirects"},
		{"http://HTTP/badredirect/FILE?token=s3cret", "http://HTTP/badredirect/FILE", "redirect to http://mirror.example:port/FILE: not a URL"},
		{"https://s3cret@CLOSED/a.tgz", "https://CLOSED/a.tgz", "CLOSED could not be reached: dial tcp CLOSED: connect: connection refused"},
		{"https://user:s3cret@HTTPS:port/a.tgz", "HTTPS:port/a.tgz", "not a http, https or file URL"},
		{"https://user:s3/cret@HTTPS/a.tgz", "HTTPS/a.tgz", "not a http, https or file URL"},
		{"https://user:s3?cret@HTTPS/a.tgz", "HTTPS/a.tgz", "not a http, https or file URL"},
		{"https://user:s3cret%zz@HTTPS/a.tgz", "HTTPS/a.tgz", "not a http, https or file URL"},
		{"https:user:s3cret@HTTPS/a.tgz", "HTTPS/a.tgz", "not a http, https or file URL"},
		{"ftp://user:s3cret@HTTPS/a.tgz", "ftp://HTTPS/a.tgz", "not a http, https or file URL"},
		{"file://user:s3cret@localhost" + dir + "/none", "file://localhost" + dir + "/none", "open " + dir + "/none: no such file or directory"},
	}
	fill := strings.NewReplacer("HTTPS", strings.TrimPrefix(secure.URL, "https://"), "HTTP", strings.TrimPrefix(mirror, "http://"), "CLOSED", closed, "FILE", file)
	for _, tt := range tests {
		c := newCache(t)
		trust(c, secure)
		_, err := c.Get(t.Context(), from(fill.Replace(tt.url)))
		want := "no source has it:\n" + fill.Replace(tt.shown+": "+tt.want)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %v", err, want)
		}
		if s := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(s, "s3cret") || strings.Contains(s, "user") {
			t.Errorf("%s", s)
		}
	}
}

// Who is told which secret on the way.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	type seen struct{ auth, referer, agent, encoding string }
	var mu sync.Mutex
	got := map[string]seen{}
	note := func(name string, next http.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			h := r.Header
			got[name+r.URL.Path] = seen{h.Get("Authorization"), h.Get("Referer"), h.Get("User-Agent"), h.Get("Accept-Encoding")}
			next(w, r)
		})
	}
	other := tlsServer(t, note("other", func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	secure := tlsServer(t, note("secure", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL+"/away", http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/there", http.StatusFound)
		case "/there":
			w.Write(content)
		}
	}))
	const basic = "Basic dXNlcjpzM2NyZXQ="
	want := map[string]seen{
		"secure/away":  {basic, "", "pybuild", "identity"},
		"other/away":   {"", "", "pybuild", "identity"},
		"secure/here":  {basic, "", "pybuild", "identity"},
		"secure/there": {basic, "", "pybuild", "identity"},
	}
	for _, path := range []string{"/away", "/here"} {
		c := newCache(t)
		trust(c, secure)
		u := strings.Replace(secure.URL, "https://", "https://user:s3cret@", 1) + path
		f, err := c.Get(t.Context(), from(u))
		if err != nil {
			t.Fatal(err)
		}
		checkFile(t, c, f, secure.URL+path)
	}
	for k, w := range want {
		if got[k] != w {
			t.Errorf("%s got %+v, want %+v", k, got[k], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
}

func TestSecureStaysSecure(t *testing.T) {
	_, mirror := newMirror(t)
	var secure *httptest.Server
	secure = tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down":
			http.Redirect(w, r, mirror+"/"+file+"?token=s3cret", http.StatusFound)
		case "/up":
			http.Redirect(w, r, secure.URL+"/file", http.StatusFound)
		case "/elsewhere":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		default:
			w.Write(content)
		}
	}))
	tests := []struct {
		path  string
		trust bool
		want  string
	}{
		{"/file", true, ""},
		{"/up", true, ""},
		{"/down", true, "redirect to " + mirror + "/" + file + ": from https to http"},
		{"/elsewhere", true, "redirect to file:///etc/passwd: from https to file"},
		{"/file", false, "tls: failed to verify certificate: x509: certificate signed by unknown authority"},
	}
	for _, tt := range tests {
		c := newCache(t)
		if tt.trust {
			trust(c, secure)
		}
		f, err := c.Get(t.Context(), from(secure.URL+tt.path))
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.path, err)
				continue
			}
			checkFile(t, c, f, secure.URL+tt.path)
			continue
		}
		if want := "no source has it:\n" + secure.URL + tt.path + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %v", err, want)
		}
		checkTree(t, c.Dir)
	}
}

// A redirect may name credentials of its own; over http they would be for everybody.
func TestRedirectWithCredentials(t *testing.T) {
	_, mirror := newMirror(t)
	secure := tlsServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(content) }))
	tests := []struct {
		to   string
		want string
	}{
		{mirror + "/" + file, ""},
		{strings.Replace(secure.URL, "https://", "https://user:s3cret@", 1), ""},
		{strings.Replace(mirror, "http://", "http://user:s3cret@", 1) + "/" + file,
			"redirect to " + mirror + "/" + file + ": credentials in a URL that is not encrypted"},
	}
	for _, tt := range tests {
		srv, _ := count(t, http.RedirectHandler(tt.to, http.StatusFound))
		c := newCache(t)
		trust(c, secure)
		f, err := c.Get(t.Context(), from(srv))
		if tt.want == "" {
			if err != nil {
				t.Error(err)
				continue
			}
			checkFile(t, c, f, srv)
			continue
		}
		if want := "no source has it:\n" + srv + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %v", err, want)
		}
		checkTree(t, c.Dir)
	}
}

// A server that calls a .tgz "gzip" must not have it unpacked on the way.
func TestContentEncodingIsLeftAlone(t *testing.T) {
	srv, _ := count(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(content)
	}))
	c := newCache(t)
	f, err := c.Get(t.Context(), from(srv))
	if err != nil {
		t.Fatal(err)
	}
	checkFile(t, c, f, srv)
}

func TestClientTimeouts(t *testing.T) {
	c := Client()
	tr := c.Transport.(*transport)
	if c.Timeout != 0 {
		t.Errorf("a whole transfer has %v", c.Timeout)
	}
	for name, d := range map[string]time.Duration{
		"handshake": tr.base.TLSHandshakeTimeout, "answer": tr.base.ResponseHeaderTimeout, "stall": tr.stall,
	} {
		if d <= 0 || d > 30*time.Second {
			t.Errorf("%s: %v", name, d)
		}
	}
}

// A reader that takes longer than the stall time-out between two reads is not
// stalled.
func TestSlowReaderIsNoStall(t *testing.T) {
	t.Parallel()
	_, mirror := newMirror(t)
	c := newCache(t)
	wait(t, c, short)
	req := from(mirror + "/" + file)
	waited := false
	req.Progress = func(done, _ int64) {
		if !waited && done > 0 {
			waited = true
			time.Sleep(short + 50*time.Millisecond)
		}
	}
	if _, err := c.Get(t.Context(), req); err != nil || !waited {
		t.Errorf("got %v, waited %t", err, waited)
	}
}

// The check may say anything, even what looks like an error of the package.
func TestCheckDecides(t *testing.T) {
	_, mirror := newMirror(t)
	for _, refusal := range []error{
		errDigest, os.ErrNotExist, &StatusError{Code: 503}, &BrokenError{Err: errDigest}, &CacheError{Dir: "/other", Err: errDigest},
		&UnreachableError{Host: strings.TrimPrefix(mirror, "http://"), Err: ErrStalled},
	} {
		c := newCache(t)
		asked := 0
		req := from(mirror + "/" + file)
		req.Check = func(Artifact, *os.File) error { asked++; return refusal }
		req.Sources = append(req.Sources, req.Sources[0])
		_, err := c.Get(t.Context(), req)
		line := "\n" + mirror + "/" + file + ": refused: " + refusal.Error()
		if want := "no source has it:" + line + line; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %v", err, want)
		}
		// What a refusal says about the caller's files says nothing about the source's.
		if absent := refusal == os.ErrNotExist; asked != 2 || errors.Is(err, refusal) == absent {
			t.Errorf("%v: was checked %d times, is %v: %t", err, asked, refusal, !absent)
		}
		checkTree(t, c.Dir)
	}
}

func tlsServer(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail on purpose
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// trust makes the cache's client accept the certificate of the test servers, which
// all have the same.
func trust(c *Cache, srv *httptest.Server) {
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c.Client.Transport.(*transport).base.TLSClientConfig = &tls.Config{RootCAs: roots}
}
