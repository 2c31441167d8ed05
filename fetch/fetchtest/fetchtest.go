// Package fetchtest is a mirror for tests, on loopback, which breaks on demand.
//
// It serves the files of a directory, laid out like python.org/ftp/python/. The
// first element of the URL's path picks a fault, and the rest is the path of the
// file, so that a test selects a fault by the mirror it names:
//
//	/3.13.5/Python-3.13.5.tar.xz         the file
//	/flip/3.13.5/Python-3.13.5.tar.xz    the file with one bit changed
//
// A file has a strong ETag and a date, and any part of it can be had. The faults,
// of which only those that mention it announce an ETag or honour a Range:
//
//	                 the bytes
//	flip             one bit of the file's middle byte is another
//	cut              half of the file, as if it were all
//	empty            nothing, as if it were all
//	long             one byte more than the file, announced
//	endless          the file, no length announced, and then more without end
//	gzip             the file compressed, and called so, though nobody asked for it
//	html             a web page with status 200
//	page             a web page with status 200, called application/octet-stream
//	portal           a redirect to the web page, at another host
//
//	                 the connection
//	short            half of the file, although all of it is announced; then the end
//	unsized          half of the file, and no length announced
//	broken           half of what was asked for, then the end; ETag and Range
//	reset            the same, but the connection is reset
//	lull             half of what was asked for, then nothing; ETag and Range
//	drop             the connection is closed without an answer
//	stall            half of the file, then nothing, for as long as the client waits
//	hang             no answer, for as long as the client waits
//	dribble          the head of the answer, a line now and then, without end
//
//	                 the answer
//	404, 503, …      any status from 400 to 599, but 416 only to a Range
//	retryafter       503, to be asked again after a second
//	retrydate        429, to be asked again at a time in two seconds
//	retrylong        503, to be asked again after an hour
//	redirectN        N redirects, then the file
//	loop             a redirect to itself
//	badredirect      a redirect to what is no URL
//	unasked          half of the file with status 206, although all was asked for
//
//	                 the answer to a Range; without one, the file
//	norange          all of the file
//	etag             all of the file, since it has a new ETag at each request
//	mixed            the part, with another ETag than the one it was asked for by
//	splice           the part with a bit changed, and the right ETag
//	wrongrange       a part that begins a byte later
//	wrongtotal       the part, of a longer file
//
//	                 beside the file
//	unsigned         404 for a signature
//	wrongkey         for the signature NAME, the file NAME.wrongkey
//	othersig         for the signature of the .tgz that of the .tar.xz, and back
//
//	                 nothing is wrong
//	slow             the file in small pieces with short pauses
//	late             the file after a short pause
//	nolength         the file, no length announced
//	undated          the file, with an ETag but without a date
//	untagged         the file, with a date but without an ETag
//
// A fault with xN at its end happens the first N times that its path is asked for,
// then no more: /503x2/, /shortx1/. One with -sig happens to signatures only, which
// are the files whose name ends in .sigstore or .asc: /flip-sig/, /503-sigx2/. What
// a fault does not happen to is served as if the fault were not in the path, which
// may name the next: /brokenx1/norange/.
//
// The package is for tests only, and imports nothing else of this module.
package fetchtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
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
	selector = regexp.MustCompile(`^([a-z]+?\d*|[45]\d\d)(-sig)?(?:x(\d{1,3}))?$`)
	status   = regexp.MustCompile(`^[45]\d\d$`)
	redirect = regexp.MustCompile(`^redirect(\d{1,3})$`)
)

const page = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>Please log in.</body></html>\n"

// A file of the mirror, as it is when it is asked for.
type file struct {
	path    string // below the mirror
	time    time.Time
	content []byte
}

func (f *file) etag() string { return fmt.Sprintf(`"%x-%x"`, f.time.Unix(), len(f.content)) }

// A fault answers in place of the file.
type fault func(w http.ResponseWriter, r *http.Request, f *file)

// sound is no fault. The ETag is the file's unless there is one already.
func sound(w http.ResponseWriter, r *http.Request, f *file) {
	if w.Header().Get("ETag") == "" {
		w.Header().Set("ETag", f.etag())
	}
	serve(w, r, f, f.time)
}

// serve sends what was asked for; a zero date is none.
func serve(w http.ResponseWriter, r *http.Request, f *file, date time.Time) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", date, bytes.NewReader(f.content))
}

var faults = map[string]fault{
	"flip": func(w http.ResponseWriter, r *http.Request, f *file) {
		if len(f.content) > 0 {
			f.content[len(f.content)/2] ^= 1
		}
		send(w, len(f.content), f.content)
	},
	"cut": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, len(f.content)/2, f.content[:len(f.content)/2])
	},
	"empty": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, 0, nil)
	},
	"long": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, len(f.content)+1, append(f.content, 0))
	},
	"endless": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, -1, f.content)
		for more := make([]byte, 4<<10); ; {
			if _, err := w.Write(more); err != nil {
				return
			}
		}
	},
	"gzip": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(f.content) // the client may have gone, and that is its business
		z.Close()
	},
	"html": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, page)
	},
	"page": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, page)
	},
	"portal": func(w http.ResponseWriter, r *http.Request, f *file) {
		// The same server under another name is another host to every client.
		host := "localhost"
		if strings.HasPrefix(r.Host, host) {
			host = "127.0.0.1"
		}
		_, port, _ := net.SplitHostPort(r.Host)
		http.Redirect(w, r, "http://"+net.JoinHostPort(host, port)+"/html/"+f.path, http.StatusFound)
	},

	"short": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, len(f.content), f.content[:len(f.content)/2])
	},
	"unsized": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, -1, f.content[:len(f.content)/2])
	},
	"broken": func(w http.ResponseWriter, r *http.Request, f *file) {
		sound(&halver{ResponseWriter: w}, r, f)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	},
	"reset": func(w http.ResponseWriter, r *http.Request, f *file) {
		sound(&halver{ResponseWriter: w}, r, f)
		http.NewResponseController(w).Flush()
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			time.Sleep(5 * time.Millisecond) // a reset overtakes what has not been read
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
		}
	},
	"lull": func(w http.ResponseWriter, r *http.Request, f *file) {
		sound(&halver{ResponseWriter: w}, r, f)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	},
	"drop": func(w http.ResponseWriter, r *http.Request, f *file) {
		panic(http.ErrAbortHandler)
	},
	"stall": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, len(f.content), f.content[:len(f.content)/2])
		<-r.Context().Done()
	},
	"hang": func(w http.ResponseWriter, r *http.Request, f *file) {
		<-r.Context().Done()
	},
	"dribble": func(w http.ResponseWriter, r *http.Request, f *file) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		for line := "HTTP/1.1 200 OK\r\n"; ; line = "X-Later: yes\r\n" {
			if _, err := io.WriteString(conn, line); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	},

	"416": func(w http.ResponseWriter, r *http.Request, f *file) {
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", len(f.content)))
			http.Error(w, "out of range", http.StatusRequestedRangeNotSatisfiable)
			return
		}
		sound(w, r, f)
	},
	"retryafter": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "later", http.StatusServiceUnavailable)
	},
	"retrydate": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Retry-After", time.Now().Add(2*time.Second).UTC().Format(http.TimeFormat))
		http.Error(w, "later", http.StatusTooManyRequests)
	},
	"retrylong": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Retry-After", "3600")
		http.Error(w, "later", http.StatusServiceUnavailable)
	},
	"loop": func(w http.ResponseWriter, r *http.Request, f *file) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	},
	"badredirect": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("Location", "http://mirror.example:port/"+f.path+"?token=s3cret")
		w.WriteHeader(http.StatusFound)
	},
	"unasked": func(w http.ResponseWriter, r *http.Request, f *file) {
		if r.Header.Get("Range") == "" {
			r = r.Clone(r.Context())
			r.Header.Set("Range", fmt.Sprintf("bytes=0-%d", len(f.content)/2))
		}
		sound(w, r, f)
	},

	"norange": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("ETag", f.etag())
		send(w, len(f.content), f.content)
	},
	"etag": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("ETag", fmt.Sprintf(`"%d"`, time.Now().UnixNano()))
		sound(w, r, f)
	},
	"mixed": func(w http.ResponseWriter, r *http.Request, f *file) {
		if r.Header.Get("Range") != "" {
			r = r.Clone(r.Context())
			r.Header.Del("If-Range")
			w.Header().Set("ETag", `"another"`)
		}
		sound(w, r, f)
	},
	"splice": func(w http.ResponseWriter, r *http.Request, f *file) {
		if r.Header.Get("Range") != "" && len(f.content) > 0 {
			f.content[len(f.content)-1] ^= 1
		}
		sound(w, r, f)
	},
	"wrongrange": func(w http.ResponseWriter, r *http.Request, f *file) {
		var from int
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			r = r.Clone(r.Context())
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", from+1))
		}
		sound(w, r, f)
	},
	"wrongtotal": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("ETag", f.etag())
		if r.Header.Get("Range") != "" {
			f.content = append(f.content, 0)
		}
		sound(w, r, f)
	},

	"slow": func(w http.ResponseWriter, r *http.Request, f *file) {
		const pieces = 5
		size := len(f.content)
		for i := range pieces {
			send(w, size, f.content[i*size/pieces:(i+1)*size/pieces])
			time.Sleep(5 * time.Millisecond)
		}
	},
	"late": func(w http.ResponseWriter, r *http.Request, f *file) {
		time.Sleep(20 * time.Millisecond)
		sound(w, r, f)
	},
	"nolength": func(w http.ResponseWriter, r *http.Request, f *file) {
		send(w, -1, f.content)
	},
	"undated": func(w http.ResponseWriter, r *http.Request, f *file) {
		w.Header().Set("ETag", f.etag())
		serve(w, r, f, time.Time{})
	},
	"untagged": func(w http.ResponseWriter, r *http.Request, f *file) {
		serve(w, r, f, f.time)
	},
}

// beside are the faults that put another file in the place of a signature; "" is
// none at all.
var beside = map[string]func(name string) string{
	"unsigned": func(string) string { return "" },
	"wrongkey": func(name string) string { return name + ".wrongkey" },
	"othersig": func(name string) string {
		for _, ext := range []string{".sigstore", ".asc"} {
			if base, ok := strings.CutSuffix(name, ".tgz"+ext); ok {
				return base + ".tar.xz" + ext
			}
			if base, ok := strings.CutSuffix(name, ".tar.xz"+ext); ok {
				return base + ".tgz" + ext
			}
		}
		return name
	},
}

func isSignature(name string) bool {
	return strings.HasSuffix(name, ".sigstore") || strings.HasSuffix(name, ".asc")
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.choose(w, r, strings.TrimPrefix(r.URL.Path, "/"))
}

// choose answers for a path whose first element may be a fault.
func (m *mirror) choose(w http.ResponseWriter, r *http.Request, full string) {
	first, rest, _ := strings.Cut(full, "/")
	name := ""
	if s := selector.FindStringSubmatch(first); s != nil && known(s[1]) {
		name = s[1]
		passed := s[2] != "" && !isSignature(rest)
		if !passed && s[3] != "" {
			limit, _ := strconv.Atoi(s[3])
			passed = m.count(full) > limit
		}
		if passed {
			m.choose(w, r, rest)
			return
		}
	}
	switch fault, replace := faults[name], beside[name]; {
	case name == "":
		m.answer(w, r, full, sound)
	case fault != nil:
		m.answer(w, r, withoutFaults(rest), fault)
	case replace != nil:
		rest = withoutFaults(rest)
		if isSignature(rest) {
			rest = replace(rest)
		}
		m.answer(w, r, rest, sound)
	case status.MatchString(name):
		code, _ := strconv.Atoi(name)
		http.Error(w, http.StatusText(code), code)
	default:
		n, _ := strconv.Atoi(redirect.FindStringSubmatch(name)[1])
		to := "/" + rest
		if n > 1 {
			to = "/redirect" + strconv.Itoa(n-1) + to
		}
		http.Redirect(w, r, to, http.StatusFound)
	}
}

// withoutFaults is the path of the file; the faults before it have not come yet.
func withoutFaults(full string) string {
	for {
		first, rest, _ := strings.Cut(full, "/")
		if s := selector.FindStringSubmatch(first); s == nil || !known(s[1]) {
			return full
		}
		full = rest
	}
}

func known(name string) bool {
	return faults[name] != nil || beside[name] != nil || status.MatchString(name) || redirect.MatchString(name)
}

// answer reads the file, and lets the fault answer.
func (m *mirror) answer(w http.ResponseWriter, r *http.Request, name string, answer fault) {
	at := filepath.Join(m.dir, filepath.FromSlash(path.Clean("/"+name)))
	info, err := os.Stat(at)
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	content, err := os.ReadFile(at)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	answer(w, r, &file{path: name, time: info.ModTime(), content: content})
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

// A halver lets through half of what the head of an answer announces.
type halver struct {
	http.ResponseWriter
	left int
}

func (h *halver) WriteHeader(code int) {
	length, _ := strconv.Atoi(h.Header().Get("Content-Length"))
	h.left = length / 2
	h.ResponseWriter.WriteHeader(code)
}

func (h *halver) Write(b []byte) (int, error) {
	n, err := h.ResponseWriter.Write(b[:min(len(b), h.left)])
	h.left -= n
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return n, err
}
