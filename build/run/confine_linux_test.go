package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	Init()
	if len(os.Args) > 2 && os.Args[1] == "attempt" {
		fmt.Print(attempt(os.Args[2], os.Args[3:]...))
		syscall.Exit(0) // os.Exit takes a second under the race detector
	}
	os.Exit(m.Run())
}

// attempt is what a confined program tries; it returns "done", the reason why it could not be, or what it saw. Nothing of it does
// harm where it is not confined.
func attempt(what string, args ...string) string {
	switch what {
	case "each": // of several, which a comma ends: the results, a line each
		var out strings.Builder
		for len(args) > 0 {
			end := slices.Index(args, ",")
			fmt.Fprintln(&out, attempt(args[0], args[1:end]...))
			args = args[end+1:]
		}
		return out.String()
	case "processes":
		found, _ := filepath.Glob("/proc/[0-9]*")
		return strconv.FormatBool(len(found) > 2) // process 1 and itself
	case "kill": // only asks whether it could
		return result(unix.Kill(number(args[0]), 0))
	case "trace":
		err := unix.PtraceSeize(number(args[0]))
		return result(err)
	case "memory":
		return open("/proc/"+args[0]+"/mem", unix.O_RDONLY)
	case "open":
		return open(args[0], unix.O_WRONLY)
	case "read":
		return open(args[0], unix.O_RDONLY)
	case "write":
		return open(filepath.Join(args[0], "written"), unix.O_WRONLY|unix.O_CREAT)
	case "descriptor":
		_, err := unix.FcntlInt(uintptr(number(args[0])), unix.F_GETFD, 0)
		return result(err)
	case "connect":
		c, err := net.DialTimeout(args[0], args[1], 5*time.Second)
		if err != nil {
			return result(err)
		}
		return result(c.Close())
	case "loopback":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return result(err)
		}
		return attempt("connect", "tcp", l.Addr().String())
	case "routes":
		text, _ := os.ReadFile("/proc/net/route")
		return strconv.Itoa(bytes.Count(text, []byte("\n")) - 1)
	case "interfaces":
		all, err := net.Interfaces()
		var names []string
		for _, i := range all {
			names = append(names, i.Name)
		}
		return fmt.Sprint(names, err)
	case "chroot":
		return result(unix.Chroot("/"))
	case "mount":
		return result(unix.Mount("tmpfs", args[0], "tmpfs", 0, ""))
	case "remount":
		return result(unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	case "unmount":
		return result(unix.Unmount("/tmp", unix.MNT_DETACH))
	case "device":
		return result(unix.Mknod(filepath.Join(args[0], "null"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	case "unshare":
		return result(unix.Unshare(number(args[0])))
	case "user namespace": // not with unshare, which a program of several threads may not
		cmd := exec.Command("/proc/self/exe", "attempt", "who")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		return result(cmd.Run())
	case "root":
		return result(unix.Setresuid(0, 0, 0))
	case "group":
		return result(unix.Setgroups([]int{0}))
	case "enter":
		fd, err := unix.Open("/proc/1/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return result(err)
		}
		return result(unix.Setns(fd, unix.CLONE_NEWNET))
	case "host name":
		name, err := os.Hostname()
		if err != nil {
			return result(err)
		}
		return result(unix.Sethostname([]byte(name)))
	case "status":
		text, _ := os.ReadFile("/proc/" + args[0] + "/status")
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); key == args[1] {
				return strings.TrimSpace(value)
			}
		}
	case "who":
		return fmt.Sprint(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid())
	case "whoever": // a program with the set-user-ID bit
		out, err := exec.Command(args[0], "attempt", "who").Output()
		return fmt.Sprint(string(out), err)
	case "limit":
		var core unix.Rlimit
		err := unix.Getrlimit(unix.RLIMIT_CORE, &core)
		return fmt.Sprint(core.Cur, core.Max, err)
	case "umask":
		return fmt.Sprintf("%03o", unix.Umask(0))
	case "directory":
		dir, err := os.Getwd()
		return fmt.Sprint(dir, err)
	case "list":
		entries, err := os.ReadDir(args[0])
		return fmt.Sprint(len(entries), err)
	case "terminal":
		return open("/dev/tty", unix.O_RDWR)
	case "pty":
		return open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY)
	case "daemon": // leaves one behind in a session of its own, once that has started
		cmd := exec.Command("/proc/self/exe", "attempt", "stay", args[0])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return result(err)
		}
		return strconv.FormatBool(eventually(func() bool { return exists(filepath.Join(args[0], "started")) }))
	case "stay":
		_ = os.WriteFile(filepath.Join(args[0], "started"), nil, 0o600)
		time.Sleep(time.Minute)
	case "join": // the jobserver of whoever started it, and two processes
		return join(os.Getenv("MAKEFLAGS"))
	case "confine": // runs itself, confined, and stays
		return fmt.Sprint(Run(context.Background(), Command{Argv: []string{args[0], "attempt", "stay", args[1]}, Dir: args[1],
			Confine: &Confinement{UID: nobody, GID: nobody, Writable: []string{args[1]}, ReadOnly: []string{filepath.Dir(args[0])}}}))
	}
	return "what?"
}

func open(name string, how int) string {
	fd, err := unix.Open(name, how|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return result(err)
	}
	return result(unix.Close(fd))
}

func result(err error) string {
	if err == nil {
		return "done"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// directory is one that others may pass.
func directory(t testing.TB) string {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// self copies this program to where a confined one finds it.
func self(t testing.TB) (program string) {
	t.Helper()
	program = filepath.Join(directory(t), "self")
	from, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := os.OpenFile(program, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close(), os.Chmod(program, 0o755)); err != nil {
		t.Fatal(err)
	}
	return program
}

// Each row is tried confined, and unconfined by root, who can do it: so it is the confinement that forbids it.
func TestConfinement(t *testing.T) {
	confinement(t)
	program := self(t)
	work := directory(t) // as a build directory: the user's, in one that is root's
	build, kept, open777 := filepath.Join(work, "build"), filepath.Join(work, "build", "prefix"), filepath.Join(work, "open")
	hidden := directory(t)
	for _, dir := range []string{build, kept, open777} {
		if err := errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
	}
	c := &Confinement{UID: nobody, GID: nobody, Writable: []string{build},
		ReadOnly: []string{filepath.Dir(program), kept, open777, filepath.Join(work, "not there")}}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	abstract, err := net.Listen("unix", "@pybuild-test-"+strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	// One that our own caller may have left open.
	leak, err := unix.FcntlInt(0, unix.F_DUPFD, 50)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // which nohup ignores, and whoever runs these tests may use that
	signal.Ignore(syscall.SIGUSR1, syscall.SIGINT, syscall.SIGTSTP)
	defer signal.Reset()
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bystander.Process.Kill(), bystander.Wait() }()
	other := strconv.Itoa(bystander.Process.Pid)
	const anything = "*" // depends on the machine

	tests := []struct {
		name           string
		argv           []string
		confined, open string
	}{
		{"sees no other process", []string{"processes"}, "false", "true"},
		{"signals no other process", []string{"kill", other}, "ESRCH", "done"},
		{"traces no other process", []string{"trace", other}, "ESRCH", "done"},
		{"reads no other memory", []string{"memory", other}, "ENOENT", "done"},
		{"traces not process 1", []string{"trace", "1"}, "EPERM", anything},
		{"reads not process 1's memory", []string{"memory", "1"}, "EACCES", anything},
		{"enters no namespace", []string{"enter"}, "EACCES", anything},

		{"reaches nobody", []string{"connect", "tcp", listener.Addr().String()}, "ECONNREFUSED", "done"},
		{"reaches no abstract socket", []string{"connect", "unix", abstract.Addr().String()}, "ECONNREFUSED", "done"},
		{"has no way out", []string{"connect", "tcp", "192.0.2.1:80"}, "ENETUNREACH", anything},
		{"has no routes", []string{"routes"}, "0", anything},
		{"has one interface", []string{"interfaces"}, "[lo] <nil>", anything},
		{"has a loopback", []string{"loopback"}, "done", "done"},

		{"writes where it may", []string{"write", build}, "done", "done"},
		{"writes not what is kept", []string{"write", kept}, "EROFS", "done"},
		{"writes not what all may", []string{"write", open777}, "EROFS", "done"},
		{"writes not above", []string{"write", work}, "EACCES", "done"},
		{"writes not elsewhere", []string{"write", "/usr"}, "EROFS", anything},
		{"writes temporary files", []string{"write", "/tmp"}, "done", anything},
		{"writes shared memory", []string{"write", "/dev/shm"}, "done", anything},
		{"sees its parents only", []string{"list", hidden}, "0 open " + hidden + ": no such file or directory", "0 <nil>"},
		{"changes no kernel parameter", []string{"open", "/proc/sys/kernel/hostname"}, "EACCES", "done"},
		{"reads not what only root may", []string{"read", "/etc/shadow"}, "EACCES", anything},

		{"does not change the root", []string{"chroot"}, "EPERM", "done"},
		{"does not mount", []string{"mount", build}, "EPERM", anything},
		{"does not remount", []string{"remount"}, "EPERM", anything},
		{"does not unmount", []string{"unmount"}, "EPERM", anything},
		{"makes no device", []string{"device", build}, "EPERM", "done"},
		{"makes no namespace", []string{"unshare", strconv.Itoa(unix.CLONE_NEWNET)}, "EPERM", "done"},
		{"makes no user namespace", []string{"user namespace"}, "EPERM", anything},
		{"becomes not root", []string{"root"}, "EPERM", "done"},
		{"joins no group", []string{"group"}, "EPERM", "done"},
		{"does not name the host", []string{"host name"}, "EPERM", "done"},

		{"is somebody else", []string{"who"}, "65534 65534 65534 65534", "0 0 0 0"},
		{"nor is process 1 root", []string{"status", "1", "Uid"}, "65534\t65534\t65534\t65534", "0\t0\t0\t0"},
		{"has no groups", []string{"status", "self", "Groups"}, "", anything},
		{"has no capabilities", []string{"status", "self", "CapEff"}, "0000000000000000", anything},
		{"permits no capabilities", []string{"status", "self", "CapPrm"}, "0000000000000000", anything},
		{"inherits no capabilities", []string{"status", "self", "CapInh"}, "0000000000000000", anything},
		{"gets no capabilities", []string{"status", "self", "CapBnd"}, "0000000000000000", anything},
		{"gets no privileges", []string{"status", "self", "NoNewPrivs"}, "1", "0"},
		{"blocks no signals", []string{"status", "self", "SigBlk"}, "0000000000000000", "0000000000000000"},
		{"has no other files", []string{"descriptor", strconv.Itoa(leak)}, "EBADF", "done"},
		{"has no terminal", []string{"terminal"}, "ENXIO", anything},
		{"has terminals of its own", []string{"pty"}, "done", anything},
		{"dumps no core", []string{"limit"}, "0 0 <nil>", anything},
		{"has an umask", []string{"umask"}, "022", anything},
		{"is at the root", []string{"directory"}, "/<nil>", anything},
	}
	all := []string{program, "attempt", "each"}
	for _, test := range tests {
		all = append(append(all, test.argv...), ",")
	}
	var out bytes.Buffer
	if err := Run(t.Context(), Command{Argv: all, Env: inPath, Log: &out, Confine: c}); err != nil {
		t.Fatal(err)
	}
	results := strings.Split(out.String(), "\n")
	if len(results) != len(tests)+1 {
		t.Fatalf("%d results of %d:\n%s", len(results)-1, len(tests), &out)
	}
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := results[i]; got != test.confined && test.confined != anything {
				t.Errorf("confined: %q, want %q", got, test.confined)
			}
			if test.open == anything {
				return // or of no interest, or no place to try it
			}
			var out bytes.Buffer
			err := Run(t.Context(), Command{Argv: slices.Concat([]string{program, "attempt"}, test.argv), Env: inPath, Log: &out})
			if err != nil || out.String() != test.open {
				t.Errorf("unconfined: %q, %v; want %q", &out, err, test.open)
			}
		})
	}

	if names, err := filepath.Glob(filepath.Join(build, "*")); err != nil || !slices.Equal(names, []string{filepath.Join(build, "null"), kept, filepath.Join(build, "written")}) {
		t.Errorf("in the build directory are %v (%v)", names, err)
	}
}

// What is ignored here must not be there. Programs in Go do not show it: their runtime catches most signals.
func TestIgnoresNoSignal(t *testing.T) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // which nohup ignores, and whoever runs these tests may use that
	signal.Ignore(syscall.SIGUSR1, syscall.SIGINT, syscall.SIGTSTP)
	defer signal.Reset()
	for _, mode := range modes {
		want := "SigIgn:\t0000000000000000\n"
		if mode.name == "unconfined" {
			want = "SigIgn:\t0000000000080202\n"
		}
		t.Run(mode.name, func(t *testing.T) {
			var out bytes.Buffer
			err := Run(t.Context(), Command{Argv: []string{"grep", "SigIgn", "/proc/self/status"}, Env: inPath, Log: &out, Confine: mode.confinement(t)})
			if err != nil || out.String() != want {
				t.Errorf("%q, %v; want %q", &out, err, want)
			}
		})
	}
}

// A set-user-ID program of root's makes who is nobody root, but not when he is confined.
func TestSetUserID(t *testing.T) {
	confinement(t)
	program := self(t)
	if err := os.Chmod(program, fs.ModeSetuid|0o755); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Run(t.Context(), Command{Argv: []string{program, "attempt", "who"}, Log: &out,
		Confine: &Confinement{UID: nobody, GID: nobody, Writable: []string{filepath.Dir(program)}}})
	if err != nil || out.String() != "65534 65534 65534 65534" {
		t.Errorf("confined: %q, %v", &out, err)
	}

	cmd := exec.CommandContext(t.Context(), program, "attempt", "who")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var stat unix.Statfs_t
	if err := unix.Statfs(program, &stat); err != nil {
		t.Fatal(err)
	}
	if stat.Flags&unix.ST_NOSUID != 0 {
		t.Skipf("%s ignores set-user-ID bits for everybody", program)
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "65534 0 65534 65534" {
		t.Errorf("unconfined: %q, %v", out, err)
	}
}

// The files are the user's whom it runs as.
func TestOwner(t *testing.T) {
	dir := directory(t)
	if err := Run(t.Context(), Command{Argv: []string{"touch", "file"}, Env: inPath, Dir: dir, Confine: confinement(t, dir)}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != nobody || stat.Gid != nobody || info.Mode() != 0o644 {
		t.Errorf("%d:%d %v", stat.Uid, stat.Gid, info.Mode())
	}
}

// A daemon leaves its group and session, but not the namespace.
func TestDaemon(t *testing.T) {
	confinement(t)
	program := self(t)
	for _, test := range []struct {
		name  string
		stays bool
	}{{"unconfined", true}, {"confined", false}} {
		t.Run(test.name, func(t *testing.T) {
			dir := directory(t)
			var c *Confinement
			if !test.stays {
				c = confinement(t, dir)
				c.ReadOnly = []string{filepath.Dir(program)}
			}
			var out bytes.Buffer
			if err := Run(t.Context(), Command{Argv: []string{program, "attempt", "daemon", dir}, Dir: dir, Log: &out, Confine: c}); err != nil || out.String() != "true" {
				t.Fatalf("%q, %v", &out, err)
			}
			left := workingIn(dir)
			if (len(left) > 0) != test.stays {
				t.Errorf("left: %v", left)
			}
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			leftIn(t, dir)
		})
	}
}

// Whoever runs a confined command can be killed, and nothing of the command stays.
func TestCallerKilled(t *testing.T) {
	dir := directory(t)
	confinement(t, dir)
	program := self(t)
	caller := exec.Command(program, "attempt", "confine", program, dir)
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	started := eventually(func() bool { return exists(filepath.Join(dir, "started")) })
	running := workingIn(dir)
	if err := caller.Process.Kill(); err != nil {
		t.Error(err)
	}
	if err := caller.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the caller ended with %v", err)
	}
	if !started || len(running) != 1 {
		t.Errorf("started: %v, running: %v", started, running)
	}
	leftIn(t, dir)
}

// At whatever moment the cancel comes, it is heeded, and nothing stays.
func TestCancelAnywhere(t *testing.T) {
	dir := directory(t)
	c := confinement(t, dir)
	cause := errors.New("the user said stop")
	for i := range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Duration(i)*time.Millisecond/2, func() { cancel(cause) })
		start := time.Now()
		err := Run(ctx, Command{Argv: []string{"sleep", "60"}, Env: inPath, Dir: dir, Confine: c})
		if took := time.Since(start); err != cause || took > DefaultGrace {
			t.Errorf("after %d/2 ms: %v, in %v", i, err, took)
		}
	}
	leftIn(t, dir)
}

func TestConfineError(t *testing.T) {
	confinement(t)
	for _, test := range []struct {
		name string
		c    Command
		want string
	}{
		{"root", Command{Confine: &Confinement{}}, "confining root: unsupported operation"},
		{"root's group", Command{Confine: &Confinement{UID: 1}}, "confining root: unsupported operation"},
		{"terminal", Command{Terminal: true, Confine: &Confinement{UID: nobody, GID: nobody}}, "terminal: unsupported operation"},
		{"no such directory", Command{Confine: &Confinement{UID: nobody, GID: nobody, Writable: []string{"/no/such"}}}, "finding its directories: no such file or directory"},
		{"no directory", Command{Confine: &Confinement{UID: nobody, GID: nobody, Writable: []string{"/etc/passwd"}}}, "opening /etc/passwd: not a directory"},
		{"relative", Command{Confine: &Confinement{UID: nobody, GID: nobody, ReadOnly: []string{"tmp"}}}, "finding its directories: invalid argument"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := directory(t)
			test.c.Argv = []string{"touch", filepath.Join(dir, "file")}
			test.c.Env = inPath
			err := Run(t.Context(), test.c)
			if _, ok := errors.AsType[*ConfineError](err); !ok || err.Error() != test.want {
				t.Errorf("error %#v: %v; want %s", err, err, test.want)
			}
			if exists(filepath.Join(dir, "file")) {
				t.Error("it ran")
			}
		})
	}
}

// Who is not root is told so, and which namespace could not be had is told by its name.
func TestCannotConfine(t *testing.T) {
	if os.Geteuid() != 0 {
		if err := CanConfine(t.Context()); err == nil || err.Error() != "not root: operation not permitted" {
			t.Errorf("error %v", err)
		}
		return
	}
	if err := CanConfine(t.Context()); err != nil {
		t.Skipf("nothing can be confined here: %v", err)
	}
	if err := forbidden(syscall.ENOSPC); err.Error() != "starting itself again: no space left on device" {
		t.Errorf("with all namespaces to be had: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := CanConfine(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// No argument and no variable makes a program one that confines.
func TestInitByAccident(t *testing.T) {
	for _, argv := range [][]string{{initName, "attempt", "who"}, {"pybuild", "attempt", "who"}} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Args = argv
		want := attempt("who")
		if out, err := cmd.Output(); err != nil || string(out) != want {
			t.Errorf("%q: %q, %v; want %q", argv, out, err, want)
		}
	}
	defer func(args []string) { os.Args = args }(os.Args)
	os.Args = []string{initName}
	Init() // returns: we are not process 1
}

// A program that does not call Init ends up here in its second life, and not in a third.
func TestInitForgotten(t *testing.T) {
	c := confinement(t)
	defer func(args []string) { os.Args = args }(os.Args)
	os.Args = []string{initName}
	err := Run(t.Context(), Command{Argv: []string{"true"}, Env: inPath, Confine: c})
	if _, ok := errors.AsType[*ConfineError](err); !ok || err.Error() != "starting itself again: the program does not call run.Init" {
		t.Errorf("error %v", err)
	}
}
