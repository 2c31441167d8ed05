package fetch

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	userAgent    = "pybuild"
	maxRedirects = 5
)

// timeouts of a client. There is none for a whole transfer: a slow line is not a
// broken one.
type timeouts struct {
	connect time.Duration // to a connection
	tls     time.Duration // to the end of the handshake
	header  time.Duration // to the head of the answer
	stall   time.Duration // between two bytes of the body
}

// Client returns a client for downloads. It takes its proxy from the environment,
// gives up on a host that does not answer or a transfer that stalls for 30
// seconds, and follows up to 5 redirects, but none from https to http. Credentials
// stay with the host to which they were given.
func Client() *http.Client {
	return newClient(timeouts{
		connect: 10 * time.Second,
		tls:     10 * time.Second,
		header:  30 * time.Second,
		stall:   30 * time.Second,
	})
}

func newClient(t timeouts) *http.Client {
	return &http.Client{
		CheckRedirect: checkRedirect,
		Transport: &transport{
			stall: t.stall,
			base: &http.Transport{
				Proxy:                 http.ProxyFromEnvironment,
				DialContext:           (&net.Dialer{Timeout: t.connect}).DialContext,
				TLSHandshakeTimeout:   t.tls,
				ResponseHeaderTimeout: t.header,
				IdleConnTimeout:       30 * time.Second,
				ForceAttemptHTTP2:     true, // off by default with a dialer of one's own
				// Enough for any answer; the default is ten MiB.
				MaxResponseHeaderBytes: 256 << 10,
			},
		},
	}
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	last := via[len(via)-1]
	to := redact(req.URL.String())
	if len(via) > maxRedirects {
		return &RedirectError{To: to, Reason: fmt.Sprintf("more than %d redirects", maxRedirects)}
	}
	if last.URL.Scheme == "https" && req.URL.Scheme != "https" {
		return &RedirectError{To: to, Reason: "from https to " + req.URL.Scheme}
	}
	if req.URL.Scheme == "http" && req.URL.User != nil {
		return &RedirectError{To: to, Reason: ErrPlainCredentials.Error()}
	}
	// The standard client still sends these to sub-domains and other ports, and
	// tells the next host which URL led to it.
	if hostPort(req.URL) != hostPort(via[0].URL) {
		req.Header.Del("Authorization")
		req.Header.Del("Cookie")
	}
	req.Header.Del("Referer")
	return nil
}

// transport names the program, and ends a body from which no bytes come.
type transport struct {
	base  *http.Transport
	stall time.Duration
}

func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	out := req.Clone(ctx)
	if out.Header.Get("User-Agent") == "" {
		out.Header.Set("User-Agent", userAgent)
	}
	resp, err := t.base.RoundTrip(out)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	// What the standard client says of a bad address would show it.
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		if _, err := req.URL.Parse(to); err != nil {
			resp.Body.Close() // nothing was read
			cancel(nil)
			return nil, &RedirectError{To: redact(to), Reason: "not a URL"}
		}
	}
	resp.Request = req
	timer := time.AfterFunc(t.stall, func() { cancel(ErrStalled) })
	timer.Stop() // until the first read
	resp.Body = &body{
		ReadCloser: resp.Body,
		stall:      t.stall,
		timer:      timer,
		stalled:    func() bool { return context.Cause(ctx) == ErrStalled },
		cancel:     func() { cancel(nil) },
	}
	return resp, nil
}

func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// A body cancels its request when a read takes too long. Only reads are timed: a
// reader that takes its time is no fault of the host.
type body struct {
	io.ReadCloser
	stall   time.Duration
	timer   *time.Timer // ends the request
	stalled func() bool // the timer has
	cancel  func()      // frees what the request holds
}

func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && b.stalled() {
		err = ErrStalled
	}
	return n, err
}

func (b *body) Close() error {
	b.timer.Stop()
	defer b.cancel()
	return b.ReadCloser.Close()
}
