package fetch

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
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

// incoming is the content of a source from its start.
type incoming struct {
	io.Reader
	io.Closer
	size int64 // bytes, as announced; -1 = unknown
}

// open starts to read a source, and refuses at once what its first words betray.
func (g *getter) open(ctx context.Context, u *url.URL, a Artifact) (*incoming, error) {
	var in *incoming
	var contentType string
	var err error
	if u.Scheme == "file" {
		in, err = openFile(u.Path)
	} else {
		in, contentType, err = g.openHTTP(ctx, u)
	}
	if err != nil {
		return nil, err
	}
	head := bufio.NewReader(in.Reader)
	in.Reader = head
	switch {
	case isPage(contentType, head):
		err = &PageError{ContentType: contentType}
	case a.Size > 0 && in.size >= 0 && in.size != a.Size:
		err = &RefusedError{Err: &LengthError{Want: a.Size, Got: in.size}}
	case a.Size == 0 && in.size > g.cache.maxSize():
		err = &LengthError{Want: g.cache.maxSize(), Got: in.size}
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

func (g *getter) openHTTP(ctx context.Context, u *url.URL) (*incoming, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, "", ErrURL
	}
	// Left to itself, the client would ask for gzip and unpack it, and some servers
	// take that for leave to call a .tgz "a tar, gzipped for transfer".
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := g.client.Do(req)
	if err != nil {
		return nil, "", reason(ctx, u, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close() // only read from
		return nil, "", &StatusError{Code: resp.StatusCode}
	}
	return &incoming{Reader: resp.Body, Closer: resp.Body, size: resp.ContentLength},
		resp.Header.Get("Content-Type"), nil
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

// isPage reports whether a web page is coming.
func isPage(contentType string, r *bufio.Reader) bool {
	if t, _, err := mime.ParseMediaType(contentType); err == nil && t == "text/html" {
		return true
	}
	head, _ := r.Peek(512) // fewer if that is all; an error comes again at the next read
	head = bytes.TrimPrefix(head, []byte("\uFEFF"))
	head = bytes.ToLower(bytes.TrimSpace(head))
	return bytes.HasPrefix(head, []byte("<!doctype")) || bytes.HasPrefix(head, []byte("<html"))
}

// transfer copies all of in to dst, and stops at the first byte too many.
func (g *getter) transfer(ctx context.Context, dst io.Writer, in *incoming, a Artifact) error {
	limit, total := a.Size, a.Size
	if a.Size == 0 {
		limit, total = g.cache.maxSize(), max(in.size, 0)
	}
	var done int64
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
			if a.Size > 0 {
				err = &RefusedError{Err: err}
			}
			return err
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return &CacheError{Dir: g.cache.Dir, Err: err}
		}
		done += int64(n)
		if rerr == io.EOF && done < a.Size {
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
