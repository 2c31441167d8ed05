package run

import (
	"bufio"
	"encoding/gob"
	"errors"
	"io/fs"
	"math/bits"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init must be the first thing that a program (or its TestMain) does that runs confined commands: such a program starts itself
// again to confine them, and Init then does that and never returns. In any other process it returns at once. That it is asked to
// confine is told by the argument vector, by being process 1, and by two pipes that only Run makes; who makes them by hand gains
// nothing, because what is started has the rights of the one who did, or fewer.
func Init() {
	if len(os.Args) != 1 || os.Args[0] != initName || os.Getpid() != 1 || !isPipe(requestFD) || !isPipe(reportFD) {
		return
	}
	// What follows belongs to the thread: what is started from another has none of it.
	runtime.LockOSThread()
	requests, reports := os.NewFile(requestFD, "request"), os.NewFile(reportFD, "report")
	said := serve(requests)
	if err := gob.NewEncoder(reports).Encode(said); err != nil {
		syscall.Exit(1)
	}
	// Not os.Exit, which may have more to do. Now the kernel kills whatever the command left behind, before our caller hears of it.
	syscall.Exit(0)
}

func isPipe(fd int) bool {
	var stat unix.Stat_t
	return unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT == unix.S_IFIFO
}

// serve does what it reads that it should.
func serve(requests *os.File) report {
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, syscall.SIGTERM)
	if err := catchIgnored(); err != nil {
		return failure("signals", err)
	}
	var r request
	from := bufio.NewReader(requests)
	if b, err := from.ReadByte(); err != nil || b != requestByte {
		syscall.Exit(1) // cancelled before it was asked, or nobody is left to ask
	}
	if err := gob.NewDecoder(from).Decode(&r); err != nil {
		return failure("request", err)
	}
	go func() {
		for {
			// This fails when our caller has ended, however it did. With us goes all else.
			if _, err := from.ReadByte(); err != nil {
				syscall.Exit(1)
			}
			select {
			case terminate <- syscall.SIGTERM:
			default: // one is waiting already
			}
		}
	}()
	if what, err := confine(r.Confine); err != nil {
		return failure(what, err)
	}
	if len(r.Argv) == 0 {
		return report{}
	}
	return start(r, terminate)
}

// catchIgnored catches what our caller ignored, because children inherit that, and not what is caught: CPython's own tests fail
// under an ignored SIGINT.
func catchIgnored() error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		mask, ok := strings.CutPrefix(line, "SigIgn:")
		if !ok {
			continue
		}
		ignored, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
		if err != nil {
			return err
		}
		for ; ignored != 0; ignored &= ignored - 1 {
			signal.Notify(make(chan os.Signal, 1), syscall.Signal(bits.TrailingZeros64(ignored)+1))
		}
	}
	return nil
}

func failure(what string, err error) report {
	errno := syscall.EINVAL
	errors.As(err, &errno)
	return report{What: what, Errno: errno}
}

// start runs the command and waits for it, and for every orphan that becomes ours meanwhile.
func start(r request, terminate <-chan os.Signal) report {
	path, err := LookPath(r.Argv[0], r.Env)
	if err != nil {
		return report{NotFound: true}
	}
	if r.Dir == "" {
		r.Dir = "/"
	}
	files := []uintptr{0, 1, 2}
	for i := range r.Files {
		files = append(files, uintptr(reportFD+1+i))
	}
	var pid int
	err = untilFree(func() (err error) {
		pid, err = syscall.ForkExec(path, r.Argv, &syscall.ProcAttr{
			Dir:   r.Dir,
			Env:   r.Env,
			Files: files,
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		})
		return err
	})
	if err != nil {
		said := failure("", err)
		said.Path = path
		return said
	}
	go func() {
		for range terminate {
			_ = syscall.Kill(-pid, syscall.SIGTERM) // gone is as good
		}
	}()
	for {
		var status syscall.WaitStatus
		switch ended, err := syscall.Wait4(-1, &status, 0, nil); {
		case err == syscall.EINTR:
		case err != nil:
			return failure("waiting", err)
		case ended == pid:
			return report{Status: status}
		}
	}
}

// confine takes away all that a Confinement does not leave, or says what it was that could not be done. The order matters: each
// step needs rights that a later one drops.
func confine(c Confinement) (what string, err error) {
	if what, err := rebuild(c); err != nil {
		return what, err
	}
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"loopback interface", loopback},
		{"open files", closeOnExec},
		{"session keyring", newKeyring},
		{"bounding set", dropBounds},
		{"no new privileges", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"core dumps", func() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) }},
		{"supplementary groups", func() error { return syscall.Setgroups(nil) }},
		{"group", func() error { return syscall.Setresgid(int(c.GID), int(c.GID), int(c.GID)) }},
		{"user", func() error { return syscall.Setresuid(int(c.UID), int(c.UID), int(c.UID)) }},
		{"capabilities", func() error {
			var none [2]unix.CapUserData
			return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
		}},
		// We are the user's process now, and he must not trace us: our other threads may still do what his may not.
		{"tracing", func() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }},
	} {
		if err := step.do(); err != nil {
			return step.what, err
		}
	}
	syscall.Umask(0o022)
	return "", nil
}

func loopback() error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0) // any family will do, and this one is always there
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// closeOnExec keeps from the command what our caller inherited from its own, and passed on without knowing.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// newKeyring leaves the caller's session keyring, whose keys come with it. Where the call is forbidden, it is to the command too.
func newKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if err == unix.ENOSYS || err == unix.EPERM || err == unix.EACCES {
		return nil
	}
	return err
}

func dropBounds() error {
	for capability := uintptr(0); ; capability++ {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); {
		case err == unix.EINVAL && capability > 0:
			return nil // beyond the last that this kernel knows
		case err != nil:
			return err
		}
	}
}

// replaced are the directories in whose place the command sees empty ones.
var replaced = []struct {
	dir      string
	mode     string
	writable bool
}{
	{"/tmp", "1777", true},
	{"/var/tmp", "1777", true},
	{"/dev/shm", "1777", true},
	{"/run/user", "0755", false},
	{"/run/dbus", "0755", false},
	{"/run/systemd", "0755", false},
}

const plain = unix.MS_NOSUID | unix.MS_NODEV

// rebuild makes the file system that the command sees, out of a copy of the machine's mounts that nobody else sees.
func rebuild(c Confinement) (what string, err error) {
	// The copy has to be put somewhere, and nothing that is put into a shared mount stays private. Where / is a mount, it could be
	// made private; in a plain chroot it is none. /proc is one everywhere, and nothing of it is needed until the new one.
	const root = "/proc/root"
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"private /proc", func() error { return unix.Mount("", "/proc", "", unix.MS_PRIVATE, "") }},
		{"mounting over /proc", func() error { return unix.Mount("tmpfs", "/proc", "tmpfs", plain, "mode=0700,size=64k") }},
		{"directory of the new root", func() error { return os.Mkdir(root, 0o700) }},
		{"copy of the mounts", func() error { return unix.Mount("/", root, "", unix.MS_BIND|unix.MS_REC, "") }},
		{"private mounts", func() error { return unix.Mount("", root, "", unix.MS_PRIVATE|unix.MS_REC, "") }},
		{"changing the root", func() error { return unix.Chroot(root) }},
		{"changing the root", func() error { return unix.Chdir("/") }},
		{"mounting /proc", func() error { return unix.Mount("proc", "/proc", "proc", plain|unix.MS_NOEXEC, "") }},
	} {
		if err := step.do(); err != nil {
			return step.what, err
		}
	}
	names, rules, err := named(c)
	if err != nil {
		return "finding its directories", err
	}
	kept := make([]int, len(names)) // what the names mean before anything is put over them
	for i, name := range names {
		if kept[i], err = unix.Open(name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			return "opening " + name, err
		}
		defer unix.Close(kept[i])
	}
	if what, err := replace(rules); err != nil {
		return what, err
	}
	for i, name := range names {
		if err := os.MkdirAll(name, 0o755); err != nil {
			return "making " + name, err
		}
		if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(kept[i]), name, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "mounting " + name, err
		}
	}
	return seal(rules)
}

// named are the directories of a Confinement by their real names, parents first, and what the rules say of them.
func named(c Confinement) (names []string, r rules, err error) {
	r = rules{"/proc": true} // what is there belongs to the processes, and has its own rules
	for _, list := range []struct {
		dirs []string
		may  bool
	}{{c.Writable, true}, {c.ReadOnly, false}} {
		for _, dir := range list.dirs {
			name, err := filepath.EvalSymlinks(dir)
			if !list.may && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			if !filepath.IsAbs(name) {
				return nil, nil, syscall.EINVAL
			}
			if name != "/" { // which is read-only in any case, and has to be the one that we are in
				names, r[name] = append(names, name), list.may
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), r, nil
}

// replace puts empty directories in place of those that others use too, and notes which may be written. A terminal line that the
// command opens is one of its own for the same reason.
func replace(r rules) (what string, err error) {
	for _, d := range replaced {
		name, err := filepath.EvalSymlinks(d.dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "finding " + d.dir, err
		}
		if _, ok := r[name]; ok {
			continue // it stays what it is
		}
		if err := unix.Mount("tmpfs", name, "tmpfs", plain, "mode="+d.mode); err != nil {
			return "mounting " + name, err
		}
		r[name] = d.writable
	}
	if _, err := os.Lstat("/dev/pts"); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	const options = "newinstance,ptmxmode=0666,mode=0620"
	if err := unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, options); err != nil {
		return "mounting /dev/pts", err
	}
	return "", nil
}

// seal makes every mount ignore set-user-ID bits, and read-only unless the rules say otherwise.
func seal(r rules) (what string, err error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "reading the mounts", err
	}
	points, err := parseMountInfo(string(text))
	if err != nil {
		return "reading the mounts", err
	}
	for _, p := range points {
		flags := flagsOf(p.options) | unix.MS_NOSUID
		if !r.writable(p.path) {
			flags |= unix.MS_RDONLY
		}
		err := unix.Mount("", p.path, "", unix.MS_REMOUNT|unix.MS_BIND|flags, "")
		// A mount below another one's cover is listed, but no path leads there.
		if err != nil && err != unix.ENOENT && err != unix.EINVAL && err != unix.ENOTDIR {
			return "read-only " + p.path, err
		}
	}
	return "", nil
}

// flagsOf are the flags of a mount that it must keep when one is changed.
func flagsOf(options []string) (flags uintptr) {
	for _, o := range options {
		switch name, _, _ := strings.Cut(o, "="); name {
		case "ro":
			flags |= unix.MS_RDONLY
		case "nosuid":
			flags |= unix.MS_NOSUID
		case "nodev":
			flags |= unix.MS_NODEV
		case "noexec":
			flags |= unix.MS_NOEXEC
		case "noatime":
			flags |= unix.MS_NOATIME
		case "nodiratime":
			flags |= unix.MS_NODIRATIME
		case "relatime":
			flags |= unix.MS_RELATIME
		case "nosymfollow":
			flags |= unix.MS_NOSYMFOLLOW
		}
	}
	return flags
}
