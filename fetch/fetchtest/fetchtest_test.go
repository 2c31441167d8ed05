package fetchtest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestServer(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "outside"), []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "3.13.5"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "3.13.5", "a"), []byte("abcdef"), 0o644); err != nil {
		t.Fatal(err)
	}
	url := Server(t, dir).URL
	client := &http.Client{Timeout: 250 * time.Millisecond}
	get := func(path string) string {
		resp, err := client.Get(url + path)
		if err != nil {
			return "no answer"
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 8))
		end := ""
		if err != nil {
			end = " broken"
		}
		return fmt.Sprintf("%d %d %.8q%s", resp.StatusCode, resp.ContentLength, b, end)
	}
	const good = `200 6 "abcdef"`
	tests := []struct {
		path string
		want []string // of one request after the other
	}{
		{"/3.13.5/a", []string{good}},
		{"/3.13.5/b", []string{`404 19 "404 page"`}},
		{"/3.13.5/", []string{`404 19 "404 page"`}},
		{"/misspelt/3.13.5/a", []string{`404 19 "404 page"`}},
		{"/misspeltx1/3.13.5/a", []string{`404 19 "404 page"`}},
		{"/flip/3.13.5/a", []string{`200 6 "abceef"`, `200 6 "abceef"`}},
		{"/flip/3.13.5/b", []string{`404 19 "404 page"`}},
		{"/cut/3.13.5/a", []string{`200 3 "abc"`}},
		{"/short/3.13.5/a", []string{`200 6 "abc" broken`}},
		{"/unsized/3.13.5/a", []string{`200 -1 "abc"`}},
		{"/long/3.13.5/a", []string{`200 7 "abcdef\x00"`}},
		{"/endless/3.13.5/a", []string{`200 -1 "abcdef\x00\x00"`}},
		{"/404/3.13.5/a", []string{`404 10 "Not Foun"`}},
		{"/503x2/3.13.5/a", []string{`503 20 "Service "`, `503 20 "Service "`, good, good}},
		{"/shortx1/3.13.5/a", []string{`200 6 "abc" broken`, good}},
		{"/html/3.13.5/a", []string{`200 92 "<!DOCTYP"`}},
		{"/page/3.13.5/a", []string{`200 92 "<!DOCTYP"`}},
		{"/drop/3.13.5/a", []string{"no answer"}},
		{"/slow/3.13.5/a", []string{good}},
		{"/stall/3.13.5/a", []string{`200 6 "abc" broken`}},
		{"/hang/3.13.5/a", []string{"no answer"}},
		{"/redirect9/3.13.5/a", []string{good}},
		{"/redirect11/3.13.5/a", []string{"no answer"}}, // the client has enough
	}
	for _, tt := range tests {
		for i, want := range tt.want {
			if got := get(tt.path); got != want {
				t.Errorf("%s, request %d: got %s, want %s", tt.path, i+1, got, want)
			}
		}
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
