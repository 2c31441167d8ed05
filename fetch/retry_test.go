package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

func TestRetries(t *testing.T) {
	t.Parallel()
	const second = time.Second
	tests := []struct {
		fault string
		asked int32
		least []time.Duration // what the server asks for
	}{
		{"", 1, nil},
		{"503x1/", 2, []time.Duration{0}},
		{"503/", 4, []time.Duration{0, 0, 0}},
		{"500/", 4, []time.Duration{0, 0, 0}},
		{"429/", 4, []time.Duration{0, 0, 0}},
		{"408/", 4, []time.Duration{0, 0, 0}},
		{"retryafter/", 4, []time.Duration{second, second, second}},
		{"retrydatex1/", 2, []time.Duration{second / 2}}, // of two seconds, as rounded down
		{"retrylong/", 1, nil},
		{"501/", 1, nil},
		{"511/", 1, nil},
		{"short/", 4, []time.Duration{0, 0, 0}},
		{"reset/", 4, []time.Duration{0, 0, 0}},
		{"drop/", 4, []time.Duration{0, 0, 0}},
		{"404/", 1, nil},
		{"403/", 1, nil},
		{"html/", 1, nil},
		{"flip/", 1, nil},
		{"long/", 1, nil},
		{"stall/", 2, []time.Duration{0}},
		{"lull/", 2, []time.Duration{0}},
		{"hang/", 1, nil},
		{"dribble/", 1, nil},
	}
	dir, _ := newMirror(t)
	g := &group{t: t}
	defer g.wg.Wait()
	for _, tt := range tests {
		g.run(tt.fault, tt.fault, func(t *testing.T) {
			srv, asked := count(t, fetchtest.Handler(dir))
			c := newCache(t)
			if hangs(tt.fault) {
				wait(t, c, short)
			}
			var pauses []time.Duration
			c.sleep = func(_ context.Context, d time.Duration) error {
				pauses = append(pauses, d)
				return nil
			}
			c.Get(t.Context(), from(srv+"/"+tt.fault+file)) // what it returns is tested elsewhere
			fits := slices.EqualFunc(pauses, tt.least, func(d, least time.Duration) bool {
				return d >= least && d <= max(4*firstPause, 2*least, maxRetryAfter/20)
			})
			if asked.Load() != tt.asked || !fits {
				t.Errorf("asked %d times with pauses %v, want %d and %v or a bit more", asked.Load(), pauses, tt.asked, tt.least)
			}
		})
	}
}

func TestPause(t *testing.T) {
	busy := &StatusError{Code: 503}
	waits := func(d time.Duration) error { return &StatusError{Code: 503, RetryAfter: d} }
	tests := []struct {
		failed int
		err    error
		least  time.Duration
		most   time.Duration
	}{
		{1, busy, 0, firstPause},
		{2, busy, 0, 2 * firstPause},
		{3, &BrokenError{Err: io.EOF}, 0, 4 * firstPause},
		{1, waits(100 * time.Millisecond), 100 * time.Millisecond, firstPause},
		{3, waits(time.Minute), time.Minute, time.Minute},
	}
	for _, tt := range tests {
		lowest, highest := time.Hour, time.Duration(0)
		for range 1000 {
			d := pause(tt.failed, tt.err)
			lowest, highest = min(lowest, d), max(highest, d)
		}
		if lowest < tt.least || highest > tt.most {
			t.Errorf("%d, %v: from %v to %v, want from %v to %v", tt.failed, tt.err, lowest, highest, tt.least, tt.most)
		}
		if spread := tt.most - tt.least; highest-lowest < spread/2 {
			t.Errorf("%d, %v: only from %v to %v", tt.failed, tt.err, lowest, highest)
		}
	}
}

// Who wants to go, need not wait until it is time to ask again.
func TestPauseEnds(t *testing.T) {
	t.Parallel()
	_, mirror := newMirror(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	c := newCache(t)
	c.sleep = nil
	start := time.Now()
	_, err := c.Get(ctx, from(mirror+"/retryafter/"+file))
	if took := time.Since(start); err != context.DeadlineExceeded || took > 900*time.Millisecond {
		t.Errorf("got %v after %v, want %v", err, took, context.DeadlineExceeded)
	}
	checkTree(t, c.Dir)
}

// A line that breaks again and again is good enough as long as it gets somewhere.
func TestProgressRenewsPatience(t *testing.T) {
	t.Parallel()
	big := []byte(strings.Repeat("0123456789abcdef", 7<<20/16))
	a := Artifact{Name: "big.tgz", SHA256: digest(big), Size: int64(len(big))}
	tests := []struct {
		piece int // bytes after which the line breaks
		tag   string
		asked int
		want  string
	}{
		{len(big) / 3, `"x"`, 4, ""},
		{goodProgress + 1000, `"x"`, 7, ""},
		{goodProgress / 2, `"x"`, 14, ""}, // the second makes it
		{goodProgress / 5, `"x"`, 4, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", goodProgress/5*4, len(big))},
		{goodProgress + 1000, `W/"x"`, 4, fmt.Sprintf("broke off after %d of %d bytes: unexpected EOF", goodProgress+1000, len(big))},
	}
	for _, tt := range tests {
		srv, l := keepLedger(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", tt.tag)
			http.ServeContent(&cutter{w, tt.piece}, r, "", time.Time{}, strings.NewReader(string(big)))
		}), nil)
		c := newCache(t)
		_, err := c.Get(t.Context(), Request{Sources: []Source{{srv, a}}, Check: checkDigest})
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("%+v: %v", tt, err)
		case tt.want != "" && (err == nil || err.Error() != "no source has it:\n"+srv+": "+tt.want):
			t.Errorf("%+v: got %v", tt, err)
		}
		if got := len(l.asked()); got != tt.asked {
			t.Errorf("%+v: asked for %q", tt, l.asked())
		}
	}
}

// A cutter lets so many bytes through, and then hangs up.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	c.left -= n
	if err == nil && n < len(b) {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	for _, tt := range []struct {
		text string
		want time.Duration
	}{
		{"120", 2 * time.Minute},
		{" 1 ", time.Second},
		{"0", 0},
		{"Sun, 06 Nov 1994 08:49:47 GMT", 10 * time.Second},
		{"Sunday, 06-Nov-94 08:49:47 GMT", 10 * time.Second},
		{"Sun, 06 Nov 1994 08:49:27 GMT", 0},
		{"99999999999999999999", 1 << 31 * time.Second},
		{"2147483647", (1<<31 - 1) * time.Second},
		{"-1", 0},
		{"1.5", 0},
		{"soon", 0},
		{"", 0},
	} {
		if got := parseRetryAfter(tt.text, now); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.text, got, tt.want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	now := time.Date(1994, 11, 6, 8, 49, 37, 0, time.UTC)
	f.Add("120")
	f.Add("Sun, 06 Nov 1994 08:49:47 GMT")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, text string) {
		d := parseRetryAfter(text, now)
		if d < 0 {
			t.Errorf("%q: %v", text, d)
		}
		if again := parseRetryAfter(now.Add(d).UTC().Format(http.TimeFormat), now); d < 1<<31*time.Second && again != d {
			t.Errorf("%q: %v, then %v", text, d, again)
		}
	})
}

// What "not there" takes: everybody asked, and nobody has it.
func TestAbsent(t *testing.T) {
	dir, mirror := newMirror(t)
	closed := closedPort(t)
	tests := []struct {
		urls   []string
		absent bool
	}{
		{[]string{"HTTP/404/"}, true},
		{[]string{"HTTP/410/"}, true},
		{[]string{"HTTP/404/", "file://DIR/none/"}, true},
		{nil, false},
		{[]string{"HTTP/404/", "HTTP/403/"}, false},
		{[]string{"HTTP/404/", "HTTP/503/"}, false},
		{[]string{"HTTP/404/", "HTTP/flip/"}, false},
		{[]string{"HTTP/404/", "HTTP/html/"}, false},
		{[]string{"http://CLOSED/", "HTTP/404/"}, false},
		{[]string{"ftp://mirror.example/", "HTTP/404/"}, false},
	}
	fill := strings.NewReplacer("HTTP", mirror, "DIR", dir, "CLOSED", closed)
	for _, tt := range tests {
		var urls []string
		for _, u := range tt.urls {
			urls = append(urls, fill.Replace(u)+file)
		}
		_, err := newCache(t).Get(t.Context(), from(urls...))
		if !isA[*SourcesError](err) || errors.Is(err, fs.ErrNotExist) != tt.absent {
			t.Errorf("%v: %v, absent %t", tt.urls, err, !tt.absent)
		}
	}
}
