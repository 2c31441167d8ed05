package fetch

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

// A ledger is what a server was asked for, and how much it sent.
type ledger struct {
	open sync.WaitGroup // requests under way

	mu     sync.Mutex
	ranges []string // of each request; "" = all
	ifs    []string // the condition of each
	bytes  int64    // of all bodies
}

func (l *ledger) asked() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ranges)
}

// served waits for the end of all requests: a client may have its bytes before
// they are written down.
func (l *ledger) served() int64 {
	l.open.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// keepLedger starts a server of which everything is written down. Edit, if set,
// changes the head of each answer.
func keepLedger(t *testing.T, h http.Handler, edit func(http.Header)) (srvURL string, l *ledger) {
	t.Helper()
	l = new(ledger)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.open.Add(1)
		defer l.open.Done()
		l.mu.Lock()
		l.ranges = append(l.ranges, strings.TrimPrefix(r.Header.Get("Range"), "bytes="))
		l.ifs = append(l.ifs, r.Header.Get("If-Range"))
		l.mu.Unlock()
		h.ServeHTTP(&entry{ResponseWriter: w, ledger: l, edit: edit}, r)
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL, l
}

type entry struct {
	http.ResponseWriter
	ledger *ledger
	edit   func(http.Header)
	begun  bool
}

func (e *entry) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *entry) WriteHeader(code int) {
	if !e.begun && e.edit != nil {
		e.edit(e.Header())
	}
	e.begun = true
	e.ResponseWriter.WriteHeader(code)
}

func (e *entry) Write(b []byte) (int, error) {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	n, err := e.ResponseWriter.Write(b)
	e.ledger.mu.Lock()
	defer e.ledger.mu.Unlock()
	e.ledger.bytes += int64(n)
	return n, err
}

// One server a row, which breaks off and is asked again within one Get.
func TestContinue(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	size := int64(len(content))
	half := size / 2
	rest := fmt.Sprintf("%d-", half)
	noETag := func(h http.Header) { h.Del("ETag") }
	weak := func(h http.Header) { h.Set("ETag", `W/"weak"`) }
	weakAndUndated := func(h http.Header) { h.Set("ETag", `W/"weak"`); h.Del("Last-Modified") }
	const some = -1 // nobody can foretell how much, as the server is hung up on
	tests := []struct {
		path  string
		edit  func(http.Header)
		asked []string
		bytes int64
		want  string // the reason; "" = good
		kept  bool
	}{
		{"/", nil, []string{""}, size, "", false},
		{"/brokenx1/", nil, []string{"", rest}, size, "", false},
		{"/brokenx2/", nil, []string{"", rest, fmt.Sprintf("%d-", half+half/2)}, size, "", false},
		{"/resetx1/", nil, []string{"", rest}, size, "", false},
		{"/lullx1/", nil, []string{"", rest}, size, "", false},
		{"/brokenx1/503x1/", nil, []string{"", rest, rest}, size + int64(len("Service Unavailable\n")), "", false},
		{"/brokenx1/redirect2/", nil, []string{"", rest, rest, rest}, some, "", false},
		{"/brokenx1/undated/", nil, []string{"", rest}, size, "", false},
		{"/brokenx1/", noETag, []string{"", rest}, size, "", false},
		{"/brokenx1/", weak, []string{"", rest}, size, "", false},
		{"/brokenx1/", weakAndUndated, []string{"", ""}, half + size, "", false},
		{"/shortx1/", nil, []string{"", ""}, half + size, "", false},
		{"/brokenx1/norange/", nil, []string{"", rest}, half + size, "", false},
		{"/brokenx1/etag/", nil, []string{"", rest}, half + size, "", false},
		{"/brokenx1/untagged/", nil, []string{"", rest}, half + size, "", false},
		{"/brokenx1/416/", nil, []string{"", rest, ""}, half + int64(len("out of range\n")) + size, "", false},
		{"/brokenx1/mixed/", nil, []string{"", rest, ""}, some, "", false},
		{"/brokenx1/wrongrange/", nil, []string{"", rest, ""}, some, "", false},
		{"/brokenx1/wrongtotal/", nil, []string{"", rest, ""}, some, "", false},
		{"/brokenx1/splice/", nil, []string{"", rest, ""}, half + half + size, "", false},
		{"/brokenx1/drop/", nil, []string{"", rest, rest, rest}, half, "broke off after 0 bytes: EOF", true},
		{"/brokenx1/html/", nil, []string{"", rest}, half + 92, "a web page instead of the file", true},
		{"/brokenx1/flip/", nil, []string{"", rest}, half + size, "refused: wrong digest", false},
	}
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		for _, known := range []bool{true, false} {
			g.run(fmt.Sprintf("%s known size %t", tt.path, known), tt.path, func(t *testing.T) {
				srv, l := keepLedger(t, fetchtest.Handler(dir), tt.edit)
				c := newCache(t)
				if hangs(tt.path) {
					wait(t, c, short)
				}
				req := from(srv + tt.path + file)
				if !known {
					req.Sources[0].Artifact.Size = 0
				}
				f, err := c.Get(t.Context(), req)
				if tt.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					checkBytes(t, f.Path)
					checkTree(t, c.Dir, filepath.Join("archives", artifact().SHA256, artifact().Name))
				} else {
					if want := "no source has it:\n" + srv + tt.path + file + ": " + tt.want; err == nil || err.Error() != want {
						t.Errorf("got  %v\nwant %s", err, want)
					}
					var left []string
					if tt.kept {
						left = partials()
					}
					checkTree(t, c.Dir, left...)
				}
				if got := l.asked(); !slices.Equal(got, tt.asked) {
					t.Errorf("was asked for %q, want %q", got, tt.asked)
				}
				if got := l.served(); tt.bytes != some && got != tt.bytes {
					t.Errorf("%d bytes were served, want %d", got, tt.bytes)
				}
			})
		}
	}
}

// A source is bad only after it had its chance to serve all of the file.
func TestBadInBothWays(t *testing.T) {
	dir, _ := newMirror(t)
	tests := []struct {
		paths []string // one after the other
		want  string   // "" = good
	}{
		{[]string{"/broken/", "/splice/", "/flip/"}, "refused: wrong digest"},
		{[]string{"/broken/", "/splice/", "/"}, ""},
		{[]string{"/broken/", "/416/", "/flip/"}, "refused: wrong digest"},
		{[]string{"/broken/", "/416/", "/html/"}, "a web page instead of the file"},
		{[]string{"/broken/", "/416/", "/"}, ""},
	}
	for _, tt := range tests {
		mirror, n := fetchtest.Handler(dir), 0
		srv, l := keepLedger(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = tt.paths[n] + file
			n++
			mirror.ServeHTTP(w, r)
		}), nil)
		c := newCache(t)
		_, err := c.Get(t.Context(), from(srv))
		if want := []string{"", "76000-", ""}; !slices.Equal(l.asked(), want) {
			t.Errorf("%v: was asked for %q, want %q", tt.paths, l.asked(), want)
		}
		if tt.want == "" {
			if err != nil {
				t.Errorf("%v: %v", tt.paths, err)
			}
			continue
		}
		if want := "no source has it:\n" + srv + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", tt.paths, err, want)
		}
		checkTree(t, c.Dir)
	}
}

// What one Get left, a later one continues, wherever it is told to look.
func TestContinueLater(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	size := int64(len(content))
	other := t.TempDir() // the same bytes, of another time
	write(t, filepath.Join(other, file), content)
	if err := os.Chtimes(filepath.Join(other, file), time.Time{}, time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	left := size - size/16
	rest := fmt.Sprintf("%d-", left)
	tests := []struct {
		name  string
		dir   string
		path  string
		asked []string
		bytes int64
		fails bool
	}{
		{"the same", dir, "/", []string{rest}, size - left, false},
		{"a mirror that has other times", other, "/", []string{rest}, size, false},
		{"one that has nothing", t.TempDir(), "/", []string{rest}, int64(len("404 page not found\n")), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCache(t)
			if _, err := c.Get(t.Context(), from(fetchtest.Server(t, dir).URL+"/broken/"+file)); !isA[*BrokenError](err) {
				t.Fatalf("got %v, want a *BrokenError", err)
			}
			checkTree(t, c.Dir, partials()...)
			srv, l := keepLedger(t, fetchtest.Handler(tt.dir), nil)
			again := newCache(t)
			again.Dir = c.Dir
			f, err := again.Get(t.Context(), from(srv+tt.path+file))
			if tt.fails {
				if !isA[*StatusError](err) {
					t.Errorf("got %v, want a *StatusError", err)
				}
				checkTree(t, c.Dir, partials()...) // the next may have it
			} else if err != nil {
				t.Error(err)
			} else {
				checkFile(t, c, f, srv+tt.path+file)
			}
			if !slices.Equal(l.asked(), tt.asked) || l.served() != tt.bytes {
				t.Errorf("was asked for %q and served %d bytes, want %q and %d", l.asked(), l.served(), tt.asked, tt.bytes)
			}
		})
	}
	t.Run("a file on this host", func(t *testing.T) {
		c := newCache(t)
		if _, err := c.Get(t.Context(), from(fetchtest.Server(t, dir).URL+"/broken/"+file, "file://"+filepath.Join(dir, file))); err != nil {
			t.Fatal(err)
		}
		checkTree(t, c.Dir, filepath.Join("archives", artifact().SHA256, artifact().Name))
	})
}

// Of a file of which nothing has come, nothing is kept.
func TestNothingIsNotKept(t *testing.T) {
	dir := t.TempDir()
	for text, left := range map[string]int{"x": 0, "xyz": 2} { // the mirror sends half, rounded down
		a := Artifact{Name: "a.tgz", SHA256: digest([]byte(text)), Size: int64(len(text))}
		write(t, filepath.Join(dir, a.Name), []byte(text))
		c := newCache(t)
		// In the first row, each of the tries brings nothing.
		_, err := c.Get(t.Context(), Request{Sources: []Source{{fetchtest.Server(t, dir).URL + "/broken/" + a.Name, a}}, Check: checkDigest})
		if !isA[*BrokenError](err) {
			t.Errorf("got %v, want a *BrokenError", err)
		}
		entries, err := readDir(filepath.Join(c.Dir, "archives", a.SHA256))
		if err != nil || len(entries) != left {
			t.Errorf("%d bytes: got %v, %v", len(text), entries, err)
		}
	}
}

// What lies in the cache decides what is asked for, and never what is accepted.
func TestKept(t *testing.T) {
	t.Parallel()
	dir, mirror := newMirror(t)
	resp, err := http.Head(mirror + "/" + file)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	etag, date := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	good := mark{ETag: etag}.String()
	size := len(content)
	put := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) { write(t, path, b) }
	}
	half := put(content[:size/2])
	tests := []struct {
		name  string
		file  func(t *testing.T, path string)
		mark  string
		asked []string
	}{
		{"half", half, good, []string{"76000-"}},
		{"half, by date", half, mark{Modified: date}.String(), []string{"76000-"}},
		{"half of another version", half, mark{ETag: `"another"`}.String(), []string{"76000-"}},
		{"one byte", put(content[:1]), good, []string{"1-"}},
		{"all of it", put(content), good, []string{"151999-"}},
		{"all of it, rotten", put(slices.Concat([]byte("N"), content[1:])), good, []string{"151999-", ""}},
		{"half, rotten", put(make([]byte, size/2)), good, []string{"76000-", ""}},
		{"too long", put(append(slices.Clone(content), 0)), good, []string{""}},
		{"empty", put(nil), good, []string{""}},
		{"no file", func(*testing.T, string) {}, good, []string{""}},
		{"no mark", half, "", []string{""}},
		{"mark cut short", half, good[:len(good)-1], []string{""}},
		{"mark of nothing", half, "{}", []string{""}},
		{"mark that is no object", half, "[]", []string{""}},
		{"weak mark", half, `{"etag":"W/\"x\""}`, []string{""}},
		{"mark without quotes", half, `{"etag":"x"}`, []string{""}},
		{"mark with a quote inside", half, `{"etag":"\"x\"y\""}`, []string{""}},
		{"mark with a line of its own", half, `{"etag":"\"x\r\nX-Evil: yes\""}`, []string{""}},
		{"mark that is no date", half, `{"modified":"yesterday"}`, []string{""}},
		{"mark of two kinds", half, `{"etag":"\"x\"","modified":"` + date + `"}`, []string{""}},
		{"huge mark", half, mark{ETag: `"` + strings.Repeat("x", maxMark) + `"`}.String(), []string{""}},
		{"directory", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}, good, []string{""}},
		{"link", func(t *testing.T, path string) {
			half(t, path+".victim")
			if err := os.Symlink(path+".victim", path); err != nil {
				t.Fatal(err)
			}
		}, good, []string{""}},
		{"hard link", func(t *testing.T, path string) {
			half(t, path+".victim")
			if err := os.Link(path+".victim", path); err != nil {
				t.Fatal(err)
			}
		}, good, []string{""}},
	}
	a := artifact()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newCache(t)
			final := filepath.Join(c.Dir, "archives", a.SHA256, a.Name)
			if err := os.MkdirAll(filepath.Dir(final), 0o755); err != nil {
				t.Fatal(err)
			}
			tt.file(t, final+partialSuffix)
			if tt.mark != "" {
				write(t, final+markSuffix, []byte(tt.mark))
			}
			srv, l := keepLedger(t, fetchtest.Handler(dir), nil)
			f, err := c.Get(t.Context(), from(srv+"/"+file))
			if err != nil {
				t.Fatal(err)
			}
			checkBytes(t, f.Path)
			if !slices.Equal(l.asked(), tt.asked) {
				t.Errorf("was asked for %q, want %q", l.asked(), tt.asked)
			}
			left := []string{filepath.Join("archives", a.SHA256, a.Name)}
			victim := final + partialSuffix + ".victim"
			if b, err := os.ReadFile(victim); err == nil {
				left = append(left, left[0]+partialSuffix+".victim")
				if digest(b) != digest(content[:size/2]) {
					t.Error("another file was written to")
				}
			}
			checkTree(t, c.Dir, left...)
		})
	}
}

// Conditions are sent back as they came.
func TestIfRange(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	const date = "Sun, 06 Nov 1994 08:49:37 GMT"
	for _, tt := range []struct{ etag, modified, want string }{
		{`"x"`, date, `"x"`},
		{`"x"`, "", `"x"`},
		{"", date, date},
		{`W/"x"`, date, date},
		{"unquoted", date, date},
		{`W/"x"`, "yesterday", "nothing"},
		{"", "", "nothing"},
	} {
		srv, l := keepLedger(t, fetchtest.Handler(dir), func(h http.Header) {
			h.Set("ETag", tt.etag)
			h.Set("Last-Modified", tt.modified)
		})
		if _, err := newCache(t).Get(t.Context(), from(srv+"/brokenx1/"+file)); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
		want := []string{"", strings.TrimPrefix(tt.want, "nothing")}
		if !slices.Equal(l.ifs, want) {
			t.Errorf("%+v: conditions were %q, want %q", tt, l.ifs, want)
		}
	}
}

func TestRemovePartial(t *testing.T) {
	_, mirror := newMirror(t)
	c := newCache(t)
	if _, err := c.Get(t.Context(), from(mirror+"/broken/"+file)); !isA[*BrokenError](err) {
		t.Fatalf("got %v, want a *BrokenError", err)
	}
	entries, err := c.List()
	if err != nil || len(entries) != 1 || !entries[0].Partial {
		t.Fatalf("got %v, %v", entries, err)
	}
	if err := c.Remove(entries[0]); err != nil {
		t.Error(err)
	}
	checkTree(t, c.Dir)
	if left, err := readDir(filepath.Join(c.Dir, "archives")); len(left) > 0 || err != nil {
		t.Errorf("left are %v, %v", left, err)
	}
}

func TestContentRange(t *testing.T) {
	for _, tt := range []struct {
		text string
		want contentRange
		ok   bool
	}{
		{"bytes 5-9/10", contentRange{5, 9, 10}, true},
		{"Bytes 0-0/1", contentRange{0, 0, 1}, true},
		{"bytes 5-9/*", contentRange{}, false},
		{"bytes */10", contentRange{}, false},
		{"bytes 5-10/10", contentRange{}, false},
		{"bytes 9-5/10", contentRange{}, false},
		{"bytes -9/10", contentRange{}, false},
		{"bytes +5-9/10", contentRange{}, false},
		{"bytes 5-9", contentRange{}, false},
		{"bytes  5-9/10", contentRange{}, false},
		{"lines 5-9/10", contentRange{}, false},
		{"bytes 5-99999999999999999999/10", contentRange{}, false},
		{"", contentRange{}, false},
	} {
		if got, ok := parseContentRange(tt.text); got != tt.want || ok != tt.ok {
			t.Errorf("%q: got %v, %t", tt.text, got, ok)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-9/*")
	f.Add("Bytes 007-8/00010")
	f.Fuzz(func(t *testing.T, text string) {
		r, ok := parseContentRange(text)
		if !ok {
			if r != (contentRange{}) {
				t.Errorf("%q: %+v of nothing", text, r)
			}
			return
		}
		if r.first < 0 || r.last < r.first || r.size <= r.last {
			t.Errorf("%q: %+v", text, r)
		}
		if again, ok := parseContentRange(r.String()); !ok || again != r {
			t.Errorf("%q became %v, then %v", text, r, again)
		}
	})
}

func FuzzMark(f *testing.F) {
	f.Add([]byte(`{"etag":"\"5f-<&>\""}`))
	f.Add([]byte(`{"modified":"Sun, 06 Nov 1994 08:49:37 GMT"}`))
	f.Add([]byte(`{"etag":"\"x\r\n\""}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m := parseMark(text)
		if m == (mark{}) {
			return
		}
		if again := parseMark([]byte(m.String())); again != m || len(m.String()) > maxMark {
			t.Errorf("%q became %q, then %q", text, m, again)
		}
		if strings.ContainsAny(m.ifRange(), "\r\n\x00") {
			t.Errorf("%q would be sent", m.ifRange())
		}
		h := http.Header{}
		h.Set("ETag", m.ETag)
		h.Set("Last-Modified", m.Modified)
		if !m.fits(h) || markOf(h) != m {
			t.Errorf("%q is not itself", m)
		}
	})
}
