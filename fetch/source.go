package fetch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// parseURL accepts the URLs that can be fetched.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, ErrURL // the parser's own error would show the URL
	}
	switch u.Scheme {
	case "http":
		if u.User != nil {
			return nil, ErrPlainCredentials
		}
		fallthrough
	case "https":
		if u.Hostname() == "" {
			return nil, ErrURL
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.Path == "" {
			return nil, ErrURL
		}
	default:
		return nil, ErrURL
	}
	return u, nil
}

// redact returns the URL without what may be secret in it: user and password, and
// the query, where signed URLs have their token. What is no URL is cut at the same
// places by hand, generously.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		if i := strings.LastIndexByte(raw, '@'); i >= 0 {
			raw = raw[i+1:]
		}
		raw, _, _ = strings.Cut(raw, "?")
		raw, _, _ = strings.Cut(raw, "#")
		return raw
	}
	u.User = nil
	u.RawQuery, u.ForceQuery = "", false
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

// hostPort names what a URL connects to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// A want is what is asked of a source.
type want struct {
	size  int64 // bytes of the whole file; 0 = unknown
	limit int64 // bytes accepted if the size is unknown
	from  int64 // bytes that are here already
	mark  mark  // of those
}

// incoming is the content of a source.
type incoming struct {
	io.Reader
	io.Closer
	size int64 // bytes of the whole file, as announced; -1 = unknown
	from int64 // at which byte it begins: where it was asked to, or 0
	mark mark  // of the whole file
}

// errStale says that what is here already cannot be continued from this source.
var errStale = errors.New("another version of the file")

// open starts to read a source, and refuses at once what its first words betray.
// The error is errStale if the source shall be asked again, from the first byte.
func (g *getter) open(ctx context.Context, u *url.URL, w want) (*incoming, error) {
	var in *incoming
	var page PageError
	var err error
	if u.Scheme == "file" {
		in, err = openFile(u.Path)
	} else {
		in, page, err = g.openHTTP(ctx, u, w)
	}
	if err != nil {
		return nil, err
	}
	head := bufio.NewReader(in.Reader)
	in.Reader = head
	switch {
	case isPage(page.ContentType, in.from, head):
		err = &page
	case w.size > 0 && in.size >= 0 && in.size != w.size:
		err = &RefusedError{Err: &LengthError{Want: w.size, Got: in.size}}
	case w.size == 0 && in.size > w.limit:
		err = &LengthError{Want: w.limit, Got: in.size}
	}
	if err != nil {
		in.Close() // only read from
		return nil, err
	}
	return in, nil
}

func openFile(path string) (*incoming, error) {
	// Non-blocking, or opening a pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		f.Close() // only read from
		return nil, err
	}
	return &incoming{Reader: f, Closer: f, size: info.Size()}, nil
}

// openHTTP asks a server. The page says what a web page would be called.
func (g *getter) openHTTP(ctx context.Context, u *url.URL, w want) (in *incoming, page PageError, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, page, ErrURL
	}
	// Left to itself, the client would ask for gzip and unpack it, and some servers
	// take that for leave to call a .tgz "a tar, gzipped for transfer".
	req.Header.Set("Accept-Encoding", "identity")
	if w.from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", w.from))
		req.Header.Set("If-Range", w.mark.ifRange())
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, page, reason(ctx, u, err)
	}
	in = &incoming{Reader: resp.Body, Closer: resp.Body, size: resp.ContentLength, mark: markOf(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusPartialContent && w.from > 0:
		r, ok := parseContentRange(resp.Header.Get("Content-Range"))
		fits := ok && r.first == w.from && r.last == r.size-1 && (w.size == 0 || r.size == w.size)
		if !fits || !w.mark.fits(resp.Header) {
			err = errStale
		}
		in.size, in.from, in.mark = r.size, w.from, w.mark
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && w.from > 0:
		err = errStale
	default:
		err = &StatusError{Code: resp.StatusCode, RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	}
	if err != nil {
		resp.Body.Close() // only read from
		return nil, page, err
	}
	page.ContentType = resp.Header.Get("Content-Type")
	if last := hostPort(resp.Request.URL); last != hostPort(u) {
		page.Host = last
	}
	return in, page, nil
}

// A contentRange is the part of a file that an answer holds.
type contentRange struct {
	first, last int64 // bytes, from 0, both inclusive
	size        int64 // bytes of the whole file
}

func (r contentRange) String() string { return fmt.Sprintf("bytes %d-%d/%d", r.first, r.last, r.size) }

// parseContentRange reads the header of that name. A file of unknown length, which
// the header could speak of, has no end to go on to.
func parseContentRange(s string) (contentRange, bool) {
	unit, rest, _ := strings.Cut(s, " ")
	part, whole, _ := strings.Cut(rest, "/")
	first, last, _ := strings.Cut(part, "-")
	var r contentRange
	ok := strings.EqualFold(unit, "bytes") && parseBytes(first, &r.first) && parseBytes(last, &r.last) && parseBytes(whole, &r.size)
	if !ok || r.first > r.last || r.last >= r.size {
		return contentRange{}, false
	}
	return r, true
}

func parseBytes(s string, n *int64) bool {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return false
	}
	v, err := strconv.ParseInt(s, 10, 64)
	*n = v
	return err == nil
}

// reason makes an error of the package out of one of http.Client.Do.
func reason(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	host := hostPort(u)
	timeout := false
	// A *url.Error shows the URL, user included. Its URL is where the redirects led.
	if e, ok := errors.AsType[*url.Error](err); ok {
		if last, perr := url.Parse(e.URL); perr == nil && last.Hostname() != "" {
			host = hostPort(last)
		}
		timeout = e.Timeout()
		err = e.Err
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok || timeout {
		return &UnreachableError{Host: host, Err: err}
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && (e.Op == "dial" || e.Op == "proxyconnect") {
		return &UnreachableError{Host: host, Err: err}
	}
	for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, cut) {
			return &BrokenError{Err: err}
		}
	}
	return err
}

// isPage reports whether a web page is coming. In the middle of a file, anything may
// look like the start of one.
func isPage(contentType string, from int64, r *bufio.Reader) bool {
	if t, _, err := mime.ParseMediaType(contentType); err == nil && (t == "text/html" || t == "application/xhtml+xml") {
		return true
	}
	if from > 0 {
		return false
	}
	head, _ := r.Peek(512) // fewer if that is all; an error comes again at the next read
	head = bytes.TrimPrefix(head, []byte("\uFEFF"))
	head = bytes.ToLower(bytes.TrimSpace(head))
	for _, start := range []string{"<!doctype", "<html", "<head", "<script", "<meta", "<!--"} {
		if bytes.HasPrefix(head, []byte(start)) {
			return true
		}
	}
	return false
}

// transfer copies all of in to dst, and stops at the first byte too many.
func (g *getter) transfer(ctx context.Context, dst io.Writer, in *incoming, w want) error {
	limit, total := w.size, w.size
	if w.size == 0 {
		limit, total = w.limit, max(in.size, 0)
	}
	done := in.from
	buf := make([]byte, 128<<10)
	for {
		if g.req.Progress != nil {
			g.req.Progress(done, total)
		}
		n, rerr := in.Read(buf)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if done+int64(n) > limit {
			err := error(&LengthError{Want: limit, Got: limit + 1})
			if w.size > 0 {
				err = &RefusedError{Err: err}
			}
			return err
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return &CacheError{Dir: g.cache.Dir, Err: err}
		}
		done += int64(n)
		if rerr == io.EOF && done < max(w.size, in.size) {
			// Nothing announced a length, so nothing but the size shows the cut.
			rerr = io.ErrUnexpectedEOF
		}
		if rerr == io.EOF {
			if g.req.Progress != nil {
				g.req.Progress(done, total)
			}
			return nil
		}
		if rerr != nil {
			return &BrokenError{Done: done, Total: total, Err: rerr}
		}
	}
}
