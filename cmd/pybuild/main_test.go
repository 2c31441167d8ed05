package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pybuild/build/run"
	"pybuild/cmd/internal/cli"
	"pybuild/fetch/fetchtest"
)

// The variables by which a script's program learns of its world. Setup sets them, and a script may change them.
const (
	recipesVar  = "PYBUILD_TEST_RECIPES"  // directory
	rootVar     = "PYBUILD_TEST_ROOT"     // directory that is the machine's file system
	upstreamVar = "PYBUILD_TEST_UPSTREAM" // URL that stands for python.org/ftp/python/
	keysVar     = "PYBUILD_TEST_KEYS"     // URL that stands for the key server
)

func TestMain(m *testing.M) {
	run.Init()
	testscript.Main(m, map[string]func(){
		"pybuild": func() {
			os.Exit(mainIn(cli.Process{
				Recipes:   os.DirFS(os.Getenv(recipesVar)),
				Root:      os.DirFS(os.Getenv(rootVar)),
				Upstream:  os.Getenv(upstreamVar),
				KeyServer: os.Getenv(keysVar),
			}))
		},
	})
}

// TestScripts runs the scripts of testdata/script, which use the real program on fake CPythons. A script finds
//
//	$WORK/prefix    ($PREFIX) where to install; it is there, and empty
//	$WORK/cache     ($PYBUILD_CACHE) not yet there
//	$WORK/root      the machine: Debian 12 without package sources, unless the script brings other files
//	$WORK/reached   ($REACHED) a name for faults to make a file of
//	$MIRROR         a mirror of python.org, of which package fetchtest says how it breaks; the program takes it for python.org
//	$SIGNED         recipes whose releases are signed, for PYBUILD_TEST_RECIPES
//	$TRUSTED        the trusted root of the Sigstore instance that did it
//	$KEY            the path on the mirror of the OpenPGP key that did it too
//	$REAL           the recipes whose parts are the real ones, for PYBUILD_TEST_RECIPES
//
// and the commands of commands_test.go.
func TestScripts(t *testing.T) {
	// Under nohup it is ignored, and programs that a script starts would inherit that.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	world := newWorld(t)
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		Setup:              func(e *testscript.Env) error { return setUp(e, world) },
		Cmds:               commands,
		Condition:          condition,
		RequireUniqueNames: true,
	})
}

func setUp(e *testscript.Env, world *fakeWorld) error {
	s := &state{work: e.WorkDir, trees: map[string]string{}}
	mirror := fetchtest.Handler(world.mirror)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked(r.URL.Path)
		mirror.ServeHTTP(w, r)
	}))
	e.Defer(func() {
		server.CloseClientConnections() // Close would wait for those that hang
		server.Close()
	})
	e.Values[stateKey{}] = s

	for name, text := range map[string]string{
		"etc/os-release":                    "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
		"etc/ssl/certs/ca-certificates.crt": "certificates\n",
	} {
		file := filepath.Join(e.WorkDir, "root", name)
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			continue // the script's own
		}
		if err := cmp.Or(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			return err
		}
	}
	prefix := filepath.Join(e.WorkDir, "prefix")
	if err := os.MkdirAll(prefix, 0o755); err != nil {
		return err
	}
	// Another user must find the program and read the script's files.
	program, err := exec.LookPath("pybuild")
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(program), filepath.Dir(filepath.Dir(program)), e.WorkDir, filepath.Dir(e.WorkDir), filepath.Dir(world.recipes), filepath.Dir(filepath.Dir(world.recipes))} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(e.WorkDir, ".tmp"), 0o777|fs.ModeSticky); err != nil {
		return err
	}
	for _, v := range [][2]string{
		{recipesVar, filepath.Join(world.recipes, "fake")}, {"REAL", filepath.Join(world.recipes, "real")}, {"SIGNED", filepath.Join(world.recipes, "signed")},
		{"TRUSTED", world.trusted}, {"KEY", "/keys/" + fingerprint(world.signers.key)}, {keysVar, server.URL + "/keys/"}, {"PYBUILD_DATA", filepath.Join(e.WorkDir, "data")}, {rootVar, filepath.Join(e.WorkDir, "root")},

		{upstreamVar, server.URL}, {"MIRROR", server.URL}, {"PREFIX", prefix}, {"PYBUILD_UNCONFINED", "1"}, {"PYBUILD_CACHE", filepath.Join(e.WorkDir, "cache")},
		{"GORACE", "atexit_sleep_ms=0"}, // or every program that the race detector watches takes a second to end
		{"REACHED", filepath.Join(e.WorkDir, "reached")}, {"NOWHERE", "http://127.0.0.1:1"}, {"FILES", world.mirror},
	} {
		e.Setenv(v[0], v[1])
	}
	return nil
}

// condition knows [needs] (the host has what a real CPython needs), [root], [other-user] (pybuild can be run as one who may not write here) [mount] (small file systems can be made) and [terminal] (a terminal can be had).
func condition(name string) (bool, error) {
	switch name {
	case "root":
		return os.Geteuid() == 0, nil
	case "other-user":
		if os.Geteuid() != 0 {
			return true, nil // we are one
		}
		_, err := exec.LookPath("setpriv")
		return err == nil, nil
	case "terminal": // a container may have none to give
		f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		if err != nil {
			return false, nil
		}
		return true, f.Close()
	case "mount":
		return canMount(), nil
	case "needs":
		return hasNeeds()
	}
	return false, fmt.Errorf("unknown condition %s", name)
}

// hasNeeds asks the program itself, in the real world.
func hasNeeds() (bool, error) {
	var out bytes.Buffer
	switch status := cli.Main(context.Background(), cli.Process{Args: []string{"deps", "3.13"}, Environ: os.Environ(), Stdin: &out, Stdout: &out, Stderr: &out}); status {
	case 0:
		return true, nil
	case 3:
		return false, nil
	default:
		return false, fmt.Errorf("pybuild deps 3.13: status %d: %s", status, &out)
	}
}

// canMount says whether this process may mount file systems, found out by doing it once.
var canMount = sync.OnceValue(func() bool {
	dir, err := os.MkdirTemp("", "pybuild-mount-")
	if err != nil {
		return false
	}
	defer os.Remove(dir)
	if err := mountSmall(dir); err != nil {
		return false
	}
	return unmount(dir) == nil
})
