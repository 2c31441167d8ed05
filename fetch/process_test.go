package fetch

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pybuild/fetch/fetchtest"
)

// A job is a Get that another process does: this test binary, run with the job in
// its environment. It says "ready" before it begins, and then what came of it.
type job struct {
	Dir   string
	URL   string
	Hosts string // where all hosts are whose name ends in .example; "" = nowhere
}

type outcome struct{ Source, Error string }

const jobVar = "FETCH_TEST_JOB"

func TestMain(m *testing.M) {
	if text := os.Getenv(jobVar); text != "" {
		work(text)
		return
	}
	m.Run()
}

func work(text string) {
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		panic(err)
	}
	c := &Cache{Dir: j.Dir, Client: Client(), sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
	base := c.Client.Transport.(*transport).base
	dial := base.DialContext
	base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); strings.HasSuffix(host, ".example") {
			addr = j.Hosts // no test asks a name server
		}
		return dial(ctx, network, addr)
	}
	fmt.Println("ready")
	var o outcome
	f, err := c.Get(context.Background(), from(j.URL))
	if err != nil {
		o.Error = err.Error()
	} else {
		o.Source = f.Source
	}
	json.NewEncoder(os.Stdout).Encode(o)
}

// start runs a job in a process of its own, and returns when that is ready.
func start(t *testing.T, j job, environ ...string) (cmd *exec.Cmd, end func() outcome) {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(environ, jobVar+"="+string(text), "GORACE=atexit_sleep_ms=0", "GOCOVERDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	return cmd, func() (o outcome) {
		err := json.NewDecoder(lines).Decode(&o)
		if err := errors.Join(err, cmd.Wait()); err != nil {
			t.Errorf("the other process: %v", err)
		}
		return o
	}
}

// Killed in the middle, and called again: no byte is sent twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	srv, l := keepLedger(t, fetchtest.Handler(dir), nil)
	c := newCache(t)
	url := srv + "/lullx1/" + file
	half := int64(len(content) / 2)
	partial := filepath.Join(c.Dir, partials()[0])

	cmd, _ := start(t, job{Dir: c.Dir, URL: url})
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(partial); err == nil && info.Size() == half {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the other process does not get to half of the file")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the other process was not killed: %v", err)
	}
	checkTree(t, c.Dir, partials()...)

	_, end := start(t, job{Dir: c.Dir, URL: url})
	if got, want := end(), (outcome{Source: url}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	checkFile(t, c, &File{filepath.Join(c.Dir, "archives", artifact().SHA256, artifact().Name), artifact(), url}, url)
	if want := []string{"", fmt.Sprintf("%d-", half)}; !slices.Equal(l.asked(), want) || l.served() != int64(len(content)) {
		t.Errorf("asked for %q and served %d bytes, want %q and %d", l.asked(), l.served(), want, len(content))
	}
}

func TestOneDownloadForTwoProcesses(t *testing.T) {
	t.Parallel()
	dir, _ := newMirror(t)
	inner := fetchtest.Handler(dir)
	release := make(chan struct{})
	srv, l := keepLedger(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		inner.ServeHTTP(w, r)
	}), nil)
	c := newCache(t)
	j := job{Dir: c.Dir, URL: srv + "/" + file}
	_, end1 := start(t, j)
	_, end2 := start(t, j)
	time.Sleep(2 * lockPoll) // both are under way: one downloads, the other waits
	close(release)
	got := []string{end1().Source, end2().Source}
	slices.Sort(got)
	if want := []string{"", j.URL}; !slices.Equal(got, want) {
		t.Errorf("came from %q, want %q", got, want)
	}
	if want := []string{""}; !slices.Equal(l.asked(), want) || l.served() != int64(len(content)) {
		t.Errorf("asked for %q and served %d bytes, want once and %d", l.asked(), l.served(), len(content))
	}
	checkTree(t, c.Dir, filepath.Join("archives", artifact().SHA256, artifact().Name))
}

// The environment says whom to trust, and the way.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "darwin" {
		t.Skip("this system asks its own store for certificates")
	}
	dir, plain := newMirror(t)
	secure := tlsServer(t, fetchtest.Handler(dir))
	certs := t.TempDir()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	write(t, filepath.Join(certs, "ca.pem"), cert)
	certFile := "SSL_CERT_FILE=" + filepath.Join(certs, "ca.pem")
	p := newProxy(t, strings.TrimPrefix(plain, "http://"), strings.TrimPrefix(secure.URL, "https://"))
	const good = ""
	tests := []struct {
		name    string
		url     string
		environ []string
		want    string // the reason
		seen    string // by the proxy
	}{
		{"nobody is trusted", "SECURE", nil, "tls: failed to verify certificate: x509: certificate signed by unknown authority", ""},
		{"a file of certificates", "SECURE", []string{certFile}, good, ""},
		{"a directory of certificates", "SECURE", []string{"SSL_CERT_DIR=" + certs}, good, ""},
		{"no such file", "SECURE", []string{certFile + ".none"}, "tls: failed to verify certificate: x509: certificate signed by unknown authority", ""},

		{"no proxy", "http://mirror.example", nil, good, ""},
		{"proxy", "http://mirror.example", []string{"HTTP_PROXY=PROXY"}, good, "GET mirror.example user:s3cret"},
		{"proxy, small letters", "http://mirror.example", []string{"http_proxy=PROXY"}, good, "GET mirror.example user:s3cret"},
		{"proxy of the other kind", "http://mirror.example", []string{"HTTPS_PROXY=PROXY"}, good, ""},
		{"but not for this host", "http://mirror.example", []string{"HTTP_PROXY=PROXY", "NO_PROXY=other.example,mirror.example"}, good, ""},
		{"but not for this domain", "http://mirror.example", []string{"HTTP_PROXY=PROXY", "NO_PROXY=.example"}, good, ""},
		{"but not for another host", "http://mirror.example", []string{"HTTP_PROXY=PROXY", "NO_PROXY=other.example"}, good, "GET mirror.example user:s3cret"},
		{"tunnel", "https://example.com", []string{"HTTPS_PROXY=PROXY", certFile}, good, "CONNECT example.com:443 user:s3cret"},
		{"tunnel, nobody is trusted", "https://example.com", []string{"HTTPS_PROXY=PROXY"}, "tls: failed to verify certificate: x509: certificate signed by unknown authority", "CONNECT example.com:443 user:s3cret"},
		{"proxy that wants another password", "http://mirror.example", []string{"HTTP_PROXY=OTHER"}, "status 407 Proxy Authentication Required", "GET mirror.example other:s3cret"},
		{"tunnel that wants another password", "https://example.com", []string{"HTTPS_PROXY=OTHER", certFile}, "Proxy Authentication Required", "CONNECT example.com:443 other:s3cret"},
		{"proxy that is away", "http://mirror.example", []string{"HTTP_PROXY=http://user:s3cret@CLOSED"}, "mirror.example:80 could not be reached: proxyconnect tcp: dial tcp CLOSED: connect: connection refused", ""},
		{"proxy that is no URL, which is none", "http://mirror.example", []string{"HTTP_PROXY=http://user:s3cret@%zz"}, good, ""},
		{"what may come from a request", "http://mirror.example", []string{"HTTP_PROXY=PROXY", "REQUEST_METHOD=GET"}, "refusing to use HTTP_PROXY value in CGI environment; see golang.org/s/cgihttpproxy", ""},
	}
	addr := strings.TrimPrefix(p.URL, "http://")
	fill := strings.NewReplacer("SECURE", secure.URL, "PROXY", "PROXY", "=PROXY", "=http://user:s3cret@"+addr, "=OTHER", "=http://other:s3cret@"+addr, "CLOSED", closedPort(t))
	for _, tt := range tests {
		c := newCache(t)
		url := fill.Replace(tt.url) + "/" + file
		var environ []string
		for _, v := range tt.environ {
			environ = append(environ, fill.Replace(v))
		}
		_, end := start(t, job{Dir: c.Dir, URL: url, Hosts: strings.TrimPrefix(plain, "http://")}, environ...)
		want := outcome{Source: url}
		if tt.want != good {
			want = outcome{Error: "no source has it:\n" + url + ": " + fill.Replace(tt.want)}
		}
		if got := end(); got != want {
			t.Errorf("%s: got  %+v\nwant %+v", tt.name, got, want)
		}
		if seen := p.takeSeen(); seen != tt.seen {
			t.Errorf("%s: the proxy saw %q, want %q", tt.name, seen, tt.seen)
		}
	}
}

// A proxy on loopback, for user:s3cret only, which leads everywhere to two servers.
type proxyServer struct {
	*httptest.Server
	plain, secure string

	mu   sync.Mutex
	seen []string
}

func newProxy(t *testing.T, plain, secure string) *proxyServer {
	t.Helper()
	p := &proxyServer{plain: plain, secure: secure}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxyServer) takeSeen() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.seen, "; ")
	p.seen = nil
	return s
}

func (p *proxyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Set("Authorization", r.Header.Get("Proxy-Authorization"))
	r.Header.Del("Proxy-Authorization")
	user, password, _ := r.BasicAuth()
	p.mu.Lock()
	p.seen = append(p.seen, fmt.Sprintf("%s %s %s:%s", r.Method, r.Host, user, password))
	p.mu.Unlock()
	if user != "user" {
		http.Error(w, "no", http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		resp, err := http.Get("http://" + p.plain + r.URL.Path)
		if err != nil {
			http.Error(w, "no", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
		return
	}
	there, err := net.Dial("tcp", p.secure)
	if err != nil {
		http.Error(w, "no", http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		io.Copy(there, here)
		there.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(here, there)
}
