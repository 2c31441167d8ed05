package fetch

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// tries is how often in a row a source may fail before it is given up, and
	// stalls how often by a stall, which takes long to notice.
	tries  = 4
	stalls = 2

	// firstPause is the most that passes before the second try; before each
	// further one it doubles.
	firstPause = 500 * time.Millisecond

	// maxRetryAfter is the longest pause that a server can ask for. One that asks
	// for more is given up, so that the next source has its turn.
	maxRetryAfter = time.Minute

	// goodProgress is how many bytes a failed try must have brought nearer to the
	// end, in order not to count.
	goodProgress = 1 << 20
)

// retry tries to get something from a source until it has it, or the source's
// failure is not one that passes. Reached tells how many bytes a next try need not
// bring again.
func (g *getter) retry(ctx context.Context, u *url.URL, try func() error, reached func() int64) error {
	at := reached()
	for failed := 1; ; failed++ {
		err := try()
		if err == nil {
			return nil
		}
		if is := reached(); is >= at+goodProgress {
			at, failed = is, 1
		}
		if failed >= patience(err) {
			g.note(u, err)
			return err
		}
		if err := g.sleep(ctx, pause(failed, err)); err != nil {
			return err
		}
	}
}

// note remembers a host that should not be asked again.
func (g *getter) note(u *url.URL, err error) {
	if isRefused(err) {
		return // it did answer
	}
	if e, ok := errors.AsType[*UnreachableError](err); ok {
		g.unreachable[e.Host] = true
	}
	if errors.Is(err, ErrStalled) {
		g.unreachable[hostPort(u)] = true
	}
}

// patience returns after how many failures like this one in a row a source is
// given up. What is inside a refusal is the caller's, and may look like any error.
func patience(err error) int {
	if isRefused(err) {
		return 1
	}
	if errors.Is(err, ErrStalled) {
		return stalls
	}
	if e, ok := errors.AsType[*StatusError](err); ok {
		switch {
		case e.RetryAfter > maxRetryAfter:
			return 1
		case e.Code == http.StatusNotImplemented, e.Code == http.StatusNetworkAuthenticationRequired:
			return 1 // never, and not before somebody logs in
		case e.Code >= 500, e.Code == http.StatusTooManyRequests, e.Code == http.StatusRequestTimeout:
			return tries
		}
		return 1
	}
	if _, ok := errors.AsType[*BrokenError](err); ok {
		return tries
	}
	return 1
}

// pause returns how long to wait after so many failures: any time up to a limit
// that doubles, so that clients whom one failure hit together do not come back
// together, but no less than the server asked for.
func pause(failed int, err error) time.Duration {
	d := rand.N(firstPause << (failed - 1))
	if e, ok := errors.AsType[*StatusError](err); ok {
		d = max(d, e.RetryAfter)
	}
	return d
}

// parseRetryAfter reads the header of that name, seconds or a date; what is neither,
// or past, is 0.
func parseRetryAfter(s string, now time.Time) time.Duration {
	s = strings.TrimSpace(s)
	if s != "" && strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return 1 << 31 * time.Second // too many digits
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}

func (g *getter) sleep(ctx context.Context, d time.Duration) error {
	if g.cache.sleep != nil {
		return g.cache.sleep(ctx, d)
	}
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
