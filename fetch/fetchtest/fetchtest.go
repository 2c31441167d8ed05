// Package fetchtest is a mirror for tests, on loopback, which breaks on demand.
//
// It serves the files of a directory, laid out like python.org/ftp/python/. The
// first element of the URL's path picks a fault, and the rest is the path of the
// file, so that a test selects a fault by the mirror it names:
//
//	/3.13.5/Python-3.13.5.tar.xz         the file
//	/flip/3.13.5/Python-3.13.5.tar.xz    the file with one bit changed
//
// The faults:
//
//	flip         one bit of the file's middle byte is another
//	cut          half of the file, as if it were all
//	short        half of the file, although all of it is announced; then the end
//	unsized      half of the file, and no length announced
//	long         one byte more than the file, announced
//	endless      the file, no length announced, and then more without end
//	404, 503, …  any status from 400 to 599
//	html         a web page with status 200
//	page         a web page with status 200, called application/octet-stream
//	drop         the connection is closed without an answer
//	slow         the file in small pieces with short pauses; nothing is wrong
//	stall        half of the file, then nothing, for as long as the client waits
//	hang         no answer, for as long as the client waits
//	redirectN    N redirects, then the file
//
// A fault with xN at its end happens the first N times that its path is asked for,
// then no more: /503x2/, /shortx1/.
//
// The package is for tests only, and imports nothing else of this module.
package fetchtest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server starts a mirror of the directory, which ends with the test.
func Server(t testing.TB, dir string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(Handler(dir))
	t.Cleanup(func() {
		srv.CloseClientConnections() // Close would wait for those that hang
		srv.Close()
	})
	return srv
}

// Handler is the mirror of the directory, for a server of one's own.
func Handler(dir string) http.Handler {
	return &mirror{dir: dir, seen: map[string]int{}}
}

type mirror struct {
	dir string

	mu   sync.Mutex
	seen map[string]int // requests by path, of faults with a count
}

var (
	counted  = regexp.MustCompile(`^([a-z]+|[45]\d\d)x(\d{1,3})$`)
	status   = regexp.MustCompile(`^[45]\d\d$`)
	redirect = regexp.MustCompile(`^redirect(\d{1,3})$`)
)

const page = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Please log in.</body></html>\n"

// A fault answers in place of the file, whose content it is given.
type fault func(w http.ResponseWriter, r *http.Request, file []byte)

var faults = map[string]fault{
	"flip": func(w http.ResponseWriter, r *http.Request, file []byte) {
		if len(file) > 0 {
			file[len(file)/2] ^= 1
		}
		send(w, len(file), file)
	},
	"cut": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, len(file)/2, file[:len(file)/2])
	},
	"short": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, len(file), file[:len(file)/2])
	},
	"unsized": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, -1, file[:len(file)/2])
	},
	"long": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, len(file)+1, append(file, 0))
	},
	"endless": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, -1, file)
		for more := make([]byte, 4<<10); ; {
			if _, err := w.Write(more); err != nil {
				return
			}
		}
	},
	"html": func(w http.ResponseWriter, r *http.Request, file []byte) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	},
	"page": func(w http.ResponseWriter, r *http.Request, file []byte) {
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, page)
	},
	"drop": func(w http.ResponseWriter, r *http.Request, file []byte) {
		panic(http.ErrAbortHandler)
	},
	"slow": func(w http.ResponseWriter, r *http.Request, file []byte) {
		const pieces = 5
		size := len(file)
		for i := range pieces {
			send(w, size, file[i*size/pieces:(i+1)*size/pieces])
			time.Sleep(5 * time.Millisecond)
		}
	},
	"stall": func(w http.ResponseWriter, r *http.Request, file []byte) {
		send(w, len(file), file[:len(file)/2])
		<-r.Context().Done()
	},
	"hang": func(w http.ResponseWriter, r *http.Request, file []byte) {
		<-r.Context().Done()
	},
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	name := first
	if c := counted.FindStringSubmatch(first); c != nil {
		name = c[1]
		if limit, _ := strconv.Atoi(c[2]); m.count(r.URL.Path) > limit {
			name = "" // as good as gone
		}
	}
	if c := redirect.FindStringSubmatch(name); c != nil {
		n, _ := strconv.Atoi(c[1])
		to := "/" + rest
		if n > 1 {
			to = "/redirect" + strconv.Itoa(n-1) + to
		}
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	if status.MatchString(name) {
		code, _ := strconv.Atoi(name)
		http.Error(w, http.StatusText(code), code)
		return
	}
	answer := faults[name]
	file := rest
	if answer == nil && name != "" {
		file = first + "/" + rest // no fault, or a misspelt one, which is then not found
	}
	file = filepath.Join(m.dir, filepath.FromSlash(path.Clean("/"+file)))
	if answer == nil {
		f, err := os.Open(file)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", info.ModTime(), f)
		return
	}
	content, err := os.ReadFile(file)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r, content)
}

func (m *mirror) count(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen[path]++
	return m.seen[path]
}

// send writes some bytes of a file, all the way to the client, and announces
// length bytes the first time; -1 announces none.
func send(w http.ResponseWriter, length int, b []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	if length >= 0 {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	}
	if _, err := w.Write(b); err != nil {
		return // the client has gone, and that is its business
	}
	http.NewResponseController(w).Flush()
}
