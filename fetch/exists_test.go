package fetch

import (
	"fmt"
	"strings"
	"testing"
)

func TestExists(t *testing.T) {
	dir, mirror := newMirror(t)
	closed := closedPort(t)
	tests := []struct {
		url  string
		want string // the answer, and why there is none
	}{
		{"HTTP/FILE", "true <nil>"},
		{"HTTP/flip/FILE", "true <nil>"}, // which bytes is not the question
		{"HTTP/404/FILE", "false <nil>"},
		{"HTTP/410/FILE", "false <nil>"},
		{"file://DIR/FILE", "true <nil>"},
		{"file://DIR/none", "false <nil>"},
		{"file://DIR", "false not a regular file"},
		{"HTTP/403/FILE", "false status 403 Forbidden"},
		{"HTTP/503/FILE", "false status 503 Service Unavailable"},
		{"HTTP/html/FILE", "false a web page instead of the file"},
		{"HTTP/drop/FILE", "false broke off after 0 bytes: EOF"},
		{"http://CLOSED/FILE", "false CLOSED could not be reached: dial tcp CLOSED: connect: connection refused"},
		{"http://user:s3cret@mirror.example/FILE", "false credentials in a URL that is not encrypted"},
	}
	fill := strings.NewReplacer("HTTP", mirror, "FILE", file, "DIR", dir, "CLOSED", closed)
	for _, tt := range tests {
		c := newCache(t)
		there, err := c.Exists(t.Context(), fill.Replace(tt.url))
		if got, want := fmt.Sprint(there, " ", err), fill.Replace(tt.want); got != want {
			t.Errorf("%s: got %s, want %s", tt.url, got, want)
		}
		checkTree(t, c.Dir)
	}
	c := newCache(t)
	c.Offline = true
	if there, err := c.Exists(t.Context(), mirror+"/"+file); there || err != ErrOffline {
		t.Errorf("got %t, %v, want %v", there, err, ErrOffline)
	}
}
