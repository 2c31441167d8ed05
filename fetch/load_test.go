package fetch

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

// Nothing goes on after Get and Small have returned, whatever happened to them.
func TestNothingGoesOn(t *testing.T) {
	dir, _ := newSigned(t)
	before := runtime.NumGoroutine()
	faults := []string{"", "flip", "short", "brokenx1", "broken", "resetx1", "endless", "503", "html", "redirect9", "loop", "stall", "lull", "hang", "dribble"}
	for _, own := range []bool{false, true} {
		srv := httptest.NewServer(fetchtest.Handler(dir))
		for _, fault := range faults {
			c := newCache(t)
			switch {
			case hangs(fault) && own:
				continue // its time-outs are long
			case hangs(fault):
				wait(t, c, 20*time.Millisecond)
			case own:
				c.Client = nil
			}
			prefix := srv.URL + "/" + fault
			if fault != "" {
				prefix += "/"
			}
			c.Get(t.Context(), from(prefix+file)) // what they return is tested elsewhere
			c.Small(t.Context(), smallFrom(prefix+sig))
			if c.Client != nil {
				c.Client.CloseIdleConnections()
			}
		}
		srv.CloseClientConnections()
		srv.Close()
	}
	http.DefaultClient.CloseIdleConnections() // of other tests
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		now := runtime.NumGoroutine()
		if now <= before {
			return
		}
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d:\n%s", now, before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// big is an archive of the size of a real one.
func big() ([]byte, Artifact) {
	b := bytes.Repeat([]byte("0123456789abcdef"), 23<<20/16)
	return b, Artifact{Name: "big.tar.xz", SHA256: digest(b), Size: int64(len(b))}
}

// checkStream is checkDigest for large files.
func checkStream(a Artifact, f *os.File) error {
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<30)); err != nil {
		return err
	}
	if hex.EncodeToString(h.Sum(nil)) != a.SHA256 {
		return errDigest
	}
	return nil
}

// However long a file is, only a buffer of it is in memory.
func TestMemory(t *testing.T) {
	b, a := big()
	srv := serveBytes(t, b)
	req := Request{Sources: []Source{{srv, a}}, Check: checkStream}
	if _, err := newCache(t).Get(t.Context(), req); err != nil { // what is made once is made now
		t.Fatal(err)
	}
	c := newCache(t)
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	if _, err := c.Get(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&end)
	if got, most := end.TotalAlloc-start.TotalAlloc, uint64(2<<20); got > most {
		t.Errorf("%d bytes were allocated, want no more than %d", got, most)
	}
}

// BenchmarkGet is a download from loopback, its check and its sync. "hash" and
// "copy" are the parts that cannot be had for less.
func BenchmarkGet(b *testing.B) {
	content, a := big()
	srv := serveBytes(b, content)
	dir := b.TempDir()
	b.Run("get", func(b *testing.B) {
		b.SetBytes(a.Size)
		b.ReportAllocs()
		c := &Cache{Dir: filepath.Join(dir, "cache"), Client: Client()}
		defer c.Client.CloseIdleConnections()
		for b.Loop() {
			if _, err := c.Get(b.Context(), Request{Sources: []Source{{srv, a}}, Check: checkStream}); err != nil {
				b.Fatal(err)
			}
			if err := c.Remove(Entry{Artifact: a}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("hash", func(b *testing.B) {
		b.SetBytes(a.Size)
		for b.Loop() {
			sha256.Sum256(content)
		}
	})
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(a.Size)
		for b.Loop() {
			if err := copyTo(filepath.Join(dir, "copy"), srv); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func copyTo(path, url string) error {
	resp, err := http.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Sync(), f.Close())
}

func serveBytes(t testing.TB, b []byte) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(1e9, 0), bytes.NewReader(b))
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
