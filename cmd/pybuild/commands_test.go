package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// The commands that scripts have besides those of testscript.
var commands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	// status N PROGRAM ARG...: the program ends with exactly this status. Pybuild says why it failed, and else no "error".
	"status": status,
	// as-user N PROGRAM ARG...: like status, as somebody who is not root.
	"as-user": asUser,
	// interrupt SIGNAL FILE PROGRAM ARG...: sends the signal once FILE, a pattern, is there. The program ends with status 130
	// within some seconds, and nothing that it started is left.
	"interrupt": interrupt,
	// snapshot DIR remembers what is in a directory; unchanged DIR says that all of it is the same.
	"snapshot":  snapshot,
	"unchanged": unchanged,
	// tidy: the cache holds no build directory, no partial download, and under a digest only bytes that have it; nothing is
	// left among temporary files; no process of the script's runs.
	"tidy": tidy,
	// requests [PATH...]: exactly these were asked of the mirror since the last time, in any number of times each.
	"requests": requests,
	// events FILE [VERSION]: standard output is one JSON object a line; without progress, those about VERSION are what FILE says.
	"events": events,
	// final NAME=VALUE...: fields of the last JSON object on standard output; VALUE is JSON, or text without quotes.
	"final": final,
	// wait-for FILE waits until it is there.
	"wait-for": waitFor,
	// expand FILE... replaces $NAME in files.
	"expand": expand,
	// small DIR makes it a file system of one MiB.
	"small": small,
}

// state is what the commands of one script remember.
type state struct {
	work  string
	trees map[string]string // by directory, as listed by snapshot

	mu    sync.Mutex
	paths []string // that the mirror was asked for
}

type stateKey struct{}

func stateOf(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

func (s *state) asked(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.paths, path) {
		s.paths = append(s.paths, path)
	}
}

// plain refuses arguments that a command cannot take.
func plain(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("wrong use: see commands_test.go")
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 2)
	exit(ts, args[0], args[1:])
}

func asUser(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 2)
	argv := args[1:]
	if os.Geteuid() == 0 {
		argv = append([]string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"}, argv...)
	}
	exit(ts, args[0], argv)
}

func exit(ts *testscript.TestScript, want string, argv []string) {
	got := 0
	err := ts.Exec(argv[0], argv[1:]...)
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != want {
		ts.Fatalf("status %d, want %s", got, want)
	}
	if !slices.Contains(argv, "pybuild") {
		return
	}
	if said := strings.Contains("\n"+ts.ReadFile("stderr"), "\npybuild: error: "); said != (got != 0) {
		ts.Fatalf("status %d, and an error message: %v", got, said)
	}
}

func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 3)
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	signal, ok := signals[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	program, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.Command(program, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	for _, name := range []string{"PATH", "TMPDIR", "HOME", "GORACE", "PYBUILD_CACHE", "PYBUILD_UNCONFINED", recipesVar, rootVar, upstreamVar} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if found, err := filepath.Glob(ts.MkAbs(args[1])); err != nil || len(found) > 0 {
			ts.Check(err)
			break
		}
		if len(ended) > 0 || time.Now().After(deadline) {
			_ = cmd.Process.Kill() // ended already, or is to be
			<-ended
			ts.Fatalf("never got to %s\n%s", args[1], &stderr)
		}
	}
	start := time.Now()
	ts.Check(cmd.Process.Signal(signal))
	select {
	case err = <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill() // and ended after all
		<-ended
		ts.Fatalf("goes on after SIG%s\n%s", args[0], &stderr)
	}
	ts.Logf("ended %v after SIG%s", time.Since(start).Round(time.Millisecond), args[0])
	ts.Check(second(ts.Stdout().Write(stdout.Bytes())))
	ts.Check(second(ts.Stderr().Write(stderr.Bytes())))
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok || failed.ExitCode() != 130 {
		ts.Fatalf("ended with %v, want status 130", err)
	}
	if left := processes(stateOf(ts).work); len(left) > 0 {
		ts.Fatalf("still running: %q", left)
	}
}

func second(_ int, err error) error { return err }

// processes lists the commands that run in a directory below dir.
func processes(dir string) (list []string) {
	found, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is good
	for _, link := range found {
		// One of another user's, or one that has just ended, is none of ours.
		if cwd, err := os.Readlink(link); err != nil || cwd != dir && !strings.HasPrefix(cwd, dir+"/") {
			continue
		}
		if argv, err := os.ReadFile(filepath.Join(filepath.Dir(link), "cmdline")); err == nil {
			list = append(list, strings.ReplaceAll(strings.TrimRight(string(argv), "\x00"), "\x00", " "))
		}
	}
	return list
}

func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	for _, dir := range args {
		tree, err := describeTree(ts.MkAbs(dir))
		ts.Check(err)
		stateOf(ts).trees[dir] = tree
	}
}

func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	for _, dir := range args {
		before, ok := stateOf(ts).trees[dir]
		if !ok {
			ts.Fatalf("no snapshot of %s", dir)
		}
		after, err := describeTree(ts.MkAbs(dir))
		ts.Check(err)
		if after != before {
			ts.Fatalf("%s is not what it was.\nbefore:\n%s\nafter:\n%s", dir, before, after)
		}
	}
}

// describeTree renders everything below root, and root itself.
func describeTree(root string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == root {
			b.WriteString("not there\n")
			return nil
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", info.Mode(), strings.TrimPrefix(path, root))
		switch info.Mode().Type() {
		case 0:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(content))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + target)
		}
		b.WriteString("\n")
		return nil
	})
	return b.String(), err
}

func tidy(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 0)
	ts.Check(checkTidy(ts.Getenv("PYBUILD_CACHE"), ts.Getenv("TMPDIR")))
	if left := processes(stateOf(ts).work); len(left) > 0 {
		ts.Fatalf("still running: %q", left)
	}
}

// checkTidy says what an installation left behind in the cache and among temporary files.
func checkTidy(cache, temporary string) error {
	for _, dir := range []string{filepath.Join(cache, "build"), temporary} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if len(entries) > 0 {
			return fmt.Errorf("%s still holds %s", dir, entries[0].Name())
		}
	}
	archives := filepath.Join(cache, "archives")
	return filepath.WalkDir(archives, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		if want := filepath.Base(filepath.Dir(path)); strings.HasSuffix(path, ".partial") || hex.EncodeToString(sum[:]) != want {
			return fmt.Errorf("%s holds bytes with the digest %x", path, sum)
		}
		return nil
	})
}

func requests(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 0)
	s := stateOf(ts)
	s.mu.Lock()
	got := s.paths
	s.paths = nil
	s.mu.Unlock()
	if !slices.Equal(got, args) {
		ts.Fatalf("the mirror was asked for %q, want %q", got, args)
	}
}

// objects parses standard output as one JSON object a line.
func objects(ts *testscript.TestScript) []map[string]any {
	var list []map[string]any
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
		list = append(list, o)
	}
	return list
}

func events(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	var got []string
	for _, o := range objects(ts) {
		if len(args) > 1 && o["version"] != args[1] {
			continue
		}
		switch o["event"] {
		case "progress":
		case "step":
			if seconds, ok := o["seconds"].(float64); ok != (o["state"] != "start") || seconds < 0 {
				ts.Fatalf("seconds of %v", o)
			}
			got = append(got, fmt.Sprintf("%v %v %v", o["version"], o["step"], o["state"]))
		case "error":
			got = append(got, fmt.Sprintf("error %v %v", o["status"], o["kind"]))
		case "warning":
			got = append(got, fmt.Sprintf("%v warning", o["version"]))
		default:
			got = append(got, fmt.Sprintf("%v %v", o["version"], o["event"]))
		}
	}
	if want := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n"); !slices.Equal(got, want) {
		ts.Fatalf("events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func final(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	list := objects(ts)
	if len(list) == 0 {
		ts.Fatalf("no JSON on standard output")
	}
	last := list[len(list)-1]
	for _, arg := range args {
		name, want, _ := strings.Cut(arg, "=")
		value, ok := last[name]
		got, err := json.Marshal(value)
		ts.Check(err)
		if text, isText := value.(string); !ok || string(got) != want && (!isText || text != want) {
			ts.Fatalf("%s is %s, want %s", name, got, want)
		}
	}
}

func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(ts.MkAbs(args[0])); err == nil {
			return
		}
	}
	ts.Fatalf("%s is not there after 20 seconds", args[0])
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	for _, file := range args {
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(os.Expand(ts.ReadFile(file), ts.Getenv)), 0o644))
	}
}

func small(ts *testscript.TestScript, neg bool, args []string) {
	plain(ts, neg, args, 1)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mountSmall(dir))
	ts.Defer(func() {
		if err := unmount(dir); err != nil {
			ts.Logf("unmounting %s: %v", dir, err)
		}
	})
}
