package fetchtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a": "abcdef", "a.asc": "signed", "a.asc.wrongkey": "forged", "b.tgz.asc": "tgz", "b.tar.xz.asc": "xz", "b.tgz.sigstore": "tgz", "b.tar.xz.sigstore": "xz",
	} {
		name = filepath.Join(dir, "3.13.5", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, time.Time{}, time.Unix(0x10, 0)); err != nil {
			t.Fatal(err)
		}
	}
	url := Server(t, dir).URL
	client := &http.Client{Timeout: 250 * time.Millisecond}
	get := func(path string, head ...string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "identity")
		for i := 0; i < len(head); i += 2 {
			req.Header.Set(head[i], head[i+1])
		}
		resp, err := client.Do(req)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 8))
		end := ""
		if err != nil {
			end = " broken"
		}
		for _, name := range []string{"Content-Range", "Content-Encoding", "ETag", "Retry-After"} {
			if v := resp.Header.Get(name); v != "" {
				end += " " + strings.TrimPrefix(v, "bytes ")
			}
		}
		if host := resp.Request.URL.Host; "http://"+host != url {
			end += " elsewhere"
		}
		return fmt.Sprintf("%d %d %.8q%s", resp.StatusCode, resp.ContentLength, b, end)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte("abcdef"))
	z.Close()
	const (
		tag  = ` "10-6"`
		good = `200 6 "abcdef"` + tag
		bare = `200 6 "abcdef"`
		none = `404 19 "404 page"`
		rest = `206 3 "def" 3-5/6` + tag
	)
	tests := []struct {
		path string
		want []string // of one request after the other
	}{
		{"/3.13.5/a", []string{good}},
		{"/3.13.5/c", []string{none}},
		{"/3.13.5/", []string{none}},
		{"/misspelt/3.13.5/a", []string{none}},
		{"/misspeltx1/3.13.5/a", []string{none}},
		{"/flip/3.13.5/a", []string{`200 6 "abceef"`, `200 6 "abceef"`}},
		{"/flip/3.13.5/c", []string{none}},
		{"/cut/3.13.5/a", []string{`200 3 "abc"`}},
		{"/empty/3.13.5/a", []string{`200 0 ""`}},
		{"/short/3.13.5/a", []string{`200 6 "abc" broken`}},
		{"/unsized/3.13.5/a", []string{`200 -1 "abc"`}},
		{"/long/3.13.5/a", []string{`200 7 "abcdef\x00"`}},
		{"/endless/3.13.5/a", []string{`200 -1 "abcdef\x00\x00"`}},
		{"/gzip/3.13.5/a", []string{fmt.Sprintf("200 %d ", zipped.Len()) + `"\x1f\x8b\b\x00\x00\x00\x00\x00" gzip`}},
		{"/broken/3.13.5/a", []string{`200 6 "abc" broken` + tag, `200 6 "abc" broken` + tag}},
		{"/reset/3.13.5/a", []string{`200 6 "abc" broken` + tag}},
		{"/lull/3.13.5/a", []string{`200 6 "abc" broken` + tag}},
		{"/404/3.13.5/a", []string{`404 10 "Not Foun"`}},
		{"/503x2/3.13.5/a", []string{`503 20 "Service "`, `503 20 "Service "`, good, good}},
		{"/503x1/flipx1/3.13.5/a", []string{`503 20 "Service "`, `200 6 "abceef"`, good}},
		{"/shortx1/3.13.5/a", []string{`200 6 "abc" broken`, good}},
		{"/retryafterx1/3.13.5/a", []string{`503 6 "later\n" 1`, good}},
		{"/retrylong/3.13.5/a", []string{`503 6 "later\n" 3600`}},
		{"/html/3.13.5/a", []string{`200 92 "<!DOCTYP"`}},
		{"/page/3.13.5/a", []string{`200 92 "<!DOCTYP"`}},
		{"/portal/3.13.5/a", []string{`200 92 "<!DOCTYP" elsewhere`}},
		{"/drop/3.13.5/a", []string{"no answer"}},
		{"/stall/3.13.5/a", []string{`200 6 "abc" broken`}},
		{"/hang/3.13.5/a", []string{"no answer"}},
		{"/dribble/3.13.5/a", []string{"no answer"}},
		{"/redirect9/3.13.5/a", []string{good}},
		{"/redirect11/3.13.5/a", []string{"no answer"}}, // the client has enough
		{"/redirect2x1/3.13.5/a", []string{good, good}},
		{"/loop/3.13.5/a", []string{"no answer"}},
		{"/badredirect/3.13.5/a", []string{"no answer"}},
		{"/unasked/3.13.5/a", []string{`206 4 "abcd" 0-3/6` + tag}},
		{"/416/3.13.5/a", []string{good}},
		{"/etag/3.13.5/c", []string{none}},
		{"/norange/3.13.5/a", []string{good}},
		{"/mixed/3.13.5/a", []string{good}},
		{"/splice/3.13.5/a", []string{good}},
		{"/wrongrange/3.13.5/a", []string{good}},
		{"/wrongtotal/3.13.5/a", []string{good}},
		{"/slow/3.13.5/a", []string{bare}},
		{"/late/3.13.5/a", []string{good}},
		{"/nolength/3.13.5/a", []string{`200 -1 "abcdef"`}},
		{"/undated/3.13.5/a", []string{good}},
		{"/untagged/3.13.5/a", []string{bare}},

		{"/3.13.5/a.asc", []string{`200 6 "signed"` + tag}},
		{"/unsigned/3.13.5/a.asc", []string{none}},
		{"/unsigned/3.13.5/a", []string{good}},
		{"/unsignedx1/3.13.5/a.asc", []string{none, `200 6 "signed"` + tag}},
		{"/wrongkey/3.13.5/a.asc", []string{`200 6 "forged"` + tag}},
		{"/wrongkey/3.13.5/b.tgz.asc", []string{none}},
		{"/wrongkey/3.13.5/a", []string{good}},
		{"/othersig/3.13.5/b.tgz.asc", []string{`200 2 "xz" "10-2"`}},
		{"/othersig/3.13.5/b.tar.xz.asc", []string{`200 3 "tgz" "10-3"`}},
		{"/othersig/3.13.5/b.tgz.sigstore", []string{`200 2 "xz" "10-2"`}},
		{"/othersig/3.13.5/b.tar.xz.sigstore", []string{`200 3 "tgz" "10-3"`}},
		{"/othersig/3.13.5/a.asc", []string{`200 6 "signed"` + tag}},
		{"/othersig/3.13.5/a", []string{good}},
		{"/flip-sig/3.13.5/a.asc", []string{`200 6 "sigoed"`}},
		{"/flip-sig/3.13.5/a", []string{good}},
		{"/503-sigx1/3.13.5/a.asc", []string{`503 20 "Service "`, `200 6 "signed"` + tag}},
		{"/503-sigx1/3.13.5/a", []string{good}},
		{"/404-sig/flip/3.13.5/a", []string{`200 6 "abceef"`}},
	}
	for _, tt := range tests {
		for i, want := range tt.want {
			if got := get(tt.path); got != want {
				t.Errorf("%s, request %d: got %s, want %s", tt.path, i+1, got, want)
			}
		}
	}
	parts := []struct {
		path string
		want string
	}{
		{"/", rest},
		{"/flip/", `200 6 "abceef"`},
		{"/broken/", `206 3 "d" broken 3-5/6` + tag},
		{"/norange/", good},
		{"/mixed/", `206 3 "def" 3-5/6 "another"`},
		{"/splice/", `206 3 "deg" 3-5/6` + tag},
		{"/wrongrange/", `206 2 "ef" 4-5/6` + tag},
		{"/wrongtotal/", `206 4 "def\x00" 3-6/7` + tag},
		{"/416/", `416 13 "out of r" */6`},
		{"/undated/", rest},
		{"/untagged/", bare}, // does not know the version
	}
	for _, tt := range parts {
		if got := get(tt.path+"3.13.5/a", "Range", "bytes=3-", "If-Range", strings.TrimSpace(tag)); got != tt.want {
			t.Errorf("%s, rest: got %s, want %s", tt.path, got, tt.want)
		}
	}
	if got := get("/untagged/3.13.5/a", "Range", "bytes=3-", "If-Range", "Thu, 01 Jan 1970 00:00:16 GMT"); got != `206 3 "def" 3-5/6` {
		t.Errorf("by date: got %s", got)
	}
	if one, two := get("/etag/3.13.5/a"), get("/etag/3.13.5/a"); one == two || !strings.HasPrefix(one, bare) {
		t.Errorf("etag: got %s and %s", one, two)
	}
	if got := get("/retrydate/3.13.5/a"); !strings.HasPrefix(got, `429 6 "later\n" `) || !strings.HasSuffix(got, " GMT") {
		t.Errorf("retrydate: got %s", got)
	}
}

func TestNothingOutsideTheDirectory(t *testing.T) {
	top := t.TempDir()
	for _, name := range []string{"dir/a", "outside"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	url := Server(t, filepath.Join(top, "dir")).URL
	for path, want := range map[string]int{"/a": 200, "/../a": 200, "/../outside": 404, "/flip/../../outside": 404} {
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path = path
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, resp.StatusCode, want)
		}
	}
}
