package report

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"testing"
	"time"
)

// A browser is a headless Chromium that a test drives by WebDriver, https://www.w3.org/TR/webdriver2/, through chromedriver.
type browser struct {
	t       *testing.T
	client  *http.Client
	session string // the address of the session, on loopback
	width   int    // of the window, since show
}

// element is what WebDriver calls an element in its JSON.
const element = "element-6066-11e4-a52e-4f735466cecf"

// keys as WebDriver writes them.
const (
	tab   = "\uE004"
	enter = "\uE006"
	space = " "
)

// openBrowser starts Chromium; it ends with the test. Nobody but this machine can be reached from its pages.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	for _, program := range []string{"chromedriver", "chromium"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: apt-get install chromium chromium-driver", err)
		}
	}
	home := t.TempDir() // of the settings, caches and the profile
	driver := exec.Command("chromedriver", "--port=0")
	driver.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME=", "TMPDIR="+home)
	// A group of its own, so that the browser ends even if the driver does not end it. What kills the test kills the driver, and
	// a browser on a pipe ends with that.
	driver.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := driver.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, client: &http.Client{Timeout: 2 * time.Minute}}
	t.Cleanup(func() {
		if b.session != "" {
			if err := b.try(http.MethodDelete, "", nil, nil); err != nil {
				t.Errorf("the browser does not end: %v", err)
			}
		}
		if err := syscall.Kill(-driver.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		_ = driver.Wait() // it was killed
		// The last processes of the browser may still be writing into their home.
		for end := time.Now().Add(5 * time.Second); os.RemoveAll(home) != nil && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
	})
	var port string
	for lines := bufio.NewScanner(out); port == "" && lines.Scan(); {
		if m := regexp.MustCompile(`started successfully on port (\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
	}
	if port == "" {
		t.Fatal("chromedriver did not start")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it ends
	args := []string{
		"--headless=new", "--remote-debugging-pipe", "--user-data-dir=" + filepath.Join(home, "profile"), "--window-size=1600,1000", "--force-device-scale-factor=1",
		"--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
	}
	if os.Geteuid() == 0 {
		args = append(args, "--no-sandbox") // which needs a user
	}
	var made struct{ SessionID string }
	b.session = "http://127.0.0.1:" + port + "/session"
	err = b.try(http.MethodPost, "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":        "chrome",
		"goog:chromeOptions": map[string]any{"args": args},
		"goog:loggingPrefs":  map[string]any{"browser": "ALL", "performance": "ALL"},
	}}}, &made)
	if err != nil {
		b.session = ""
		t.Fatal(err)
	}
	b.session += "/" + made.SessionID
	return b
}

// of is the browser for a subtest.
func (b *browser) of(t *testing.T) *browser {
	own := *b
	own.t = t
	return &own
}

// try sends one command, and decodes what comes back into the pointer value, if there is one.
func (b *browser) try(method, path string, body, value any) error {
	var text io.Reader = http.NoBody
	if method == http.MethodPost {
		if body == nil {
			body = map[string]any{}
		}
		encoded, err := json.Marshal(body)
		if err != nil {
			return err
		}
		text = bytes.NewReader(encoded)
	}
	request, err := http.NewRequest(method, b.session+path, text)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return err
	}
	var document struct{ Value json.RawMessage }
	if err := json.Unmarshal(answer, &document); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if response.StatusCode != http.StatusOK {
		var failure struct{ Error, Message string }
		err := json.Unmarshal(document.Value, &failure)
		return errors.Join(fmt.Errorf("%s %s: %s: %s", method, path, failure.Error, failure.Message), err)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(document.Value, value)
}

func (b *browser) get(path string, value any) {
	b.t.Helper()
	if err := b.try(http.MethodGet, path, nil, value); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) post(path string, body, value any) {
	b.t.Helper()
	if err := b.try(http.MethodPost, path, body, value); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page that lies in a file, and forgets what was logged before.
func (b *browser) open(file string) {
	b.t.Helper()
	b.post("/url", map[string]any{"url": "about:blank"}, nil)
	b.log("browser")
	b.log("performance")
	b.post("/url", map[string]any{"url": "file://" + file}, nil)
}

// run evaluates the body of a function, which may wait, in the page.
func (b *browser) run(value any, script string, args ...any) {
	b.t.Helper()
	b.post("/execute/sync", map[string]any{"script": script, "args": append([]any{}, args...)}, value)
}

// devtools sends a command of Chromium's own.
func (b *browser) devtools(value any, command string, params map[string]any) {
	b.t.Helper()
	b.post("/goog/cdp/execute", map[string]any{"cmd": command, "params": params}, value)
}

// A screen is what a page is shown on.
type screen struct {
	name          string
	width         int
	media, scheme string // "screen" or "print", "light" or "dark"
}

// show makes the window that of a screen; a phone's when it is narrow, where a page that does not say that it fits is laid out
// wider.
func (b *browser) show(s screen) {
	b.t.Helper()
	b.width = s.width
	b.devtools(nil, "Emulation.setDeviceMetricsOverride", map[string]any{"width": s.width, "height": 900, "deviceScaleFactor": 1, "mobile": s.width < 600})
	b.devtools(nil, "Emulation.setEmulatedMedia", map[string]any{"media": s.media, "features": []any{map[string]any{"name": "prefers-color-scheme", "value": s.scheme}}})
}

// screenshot writes the whole page, as far as anybody would look, into a file.
func (b *browser) screenshot(file string) {
	b.t.Helper()
	var size struct{ Width, Height float64 }
	b.run(&size, `return {width: innerWidth, height: Math.min(document.documentElement.scrollHeight, 6000)}`)
	var shot struct{ Data string }
	b.devtools(&shot, "Page.captureScreenshot", map[string]any{"captureBeyondViewport": true, "clip": map[string]any{"x": 0, "y": 0, "width": size.Width, "height": size.Height, "scale": 1}})
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, image, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// press presses and releases a key.
func (b *browser) press(key string) {
	b.t.Helper()
	b.post("/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": []any{
		map[string]any{"type": "keyDown", "value": key}, map[string]any{"type": "keyUp", "value": key},
	}}}}, nil)
}

// elements are those that a selector finds, as WebDriver's references.
func (b *browser) elements(selector string) (list []string) {
	b.t.Helper()
	var found []map[string]string
	b.post("/elements", map[string]any{"using": "css selector", "value": selector}, &found)
	for _, e := range found {
		list = append(list, e[element])
	}
	return list
}

// role and name are what a screen reader is told of an element.
func (b *browser) role(e string) (role string) {
	b.t.Helper()
	b.get("/element/"+e+"/computedrole", &role)
	return role
}

func (b *browser) name(e string) (name string) {
	b.t.Helper()
	b.get("/element/"+e+"/computedlabel", &name)
	return name
}

// An entry is a line of one of the browser's logs.
type entry struct{ Level, Message string }

// log takes the entries of a log, browser or performance, since it was last asked.
func (b *browser) log(kind string) (entries []entry) {
	b.t.Helper()
	b.post("/se/log", map[string]any{"type": kind}, &entries)
	return entries
}
