package run

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// Confinement says what a confined command may do. Besides these it has
//
//   - no other user's rights: no capability, no supplementary group, and set-user-ID programs gain it nothing;
//   - no network but a loopback of its own, which also holds none of the machine's abstract sockets;
//   - no view of other processes: it can neither see, signal nor trace one that it did not start;
//   - no terminal, no System V IPC, no keyring of the caller's;
//   - a file system that is read-only but for Writable, with empty directories in place of /tmp, /var/tmp and /dev/shm, which it
//     may write and which vanish with it, and of /run/user, /run/dbus and /run/systemd, where others' services listen.
//
// It starts with umask 022, every signal at its default, no open file but the standard three and a jobserver's, and leaves no core
// dump. Its working directory is / where Command.Dir is empty, because the caller's may be out of its reach.
type Confinement struct {
	// UID and GID are who it runs as; neither may be 0.
	UID, GID uint32
	// Writable are directories that stay what they are: it may write there if their modes let UID. They must exist. Of a
	// directory in /tmp or another that is replaced, the parents become passable.
	Writable []string
	// ReadOnly are directories that it may not write although they are below one of Writable. One that does not exist is none.
	// Where both lists hold a directory or its parents, the deepest decides, and ReadOnly if that is the same.
	ReadOnly []string
}

// ConfineError says that a confinement cannot be had here.
type ConfineError struct {
	// What could not be done, for example "network namespace".
	What string
	// Err is the reason as the operating system gave it.
	Err error
}

func (e *ConfineError) Error() string { return e.What + ": " + e.Err.Error() }
func (e *ConfineError) Unwrap() error { return e.Err }

// nobody is the user who owns nothing, by the convention of the kernel.
const nobody = 65534

// Unprivileged names who should run what root need not: who called sudo, according to environ, else the user nobody of root's
// etc/passwd, else the number that the kernel has for nobody. The name is empty where only the number is known.
func Unprivileged(environ []string, root fs.FS) (uid, gid uint32, name string, err error) {
	env := map[string]string{}
	for _, v := range environ {
		key, value, _ := strings.Cut(v, "=")
		env[key] = value
	}
	if env["SUDO_UID"] != "" && env["SUDO_GID"] != "" {
		uid, err := parseID(env["SUDO_UID"])
		if err != nil {
			return 0, 0, "", fmt.Errorf("SUDO_UID: %w", err)
		}
		gid, err := parseID(env["SUDO_GID"])
		if err != nil {
			return 0, 0, "", fmt.Errorf("SUDO_GID: %w", err)
		}
		if uid != 0 && gid != 0 {
			return uid, gid, env["SUDO_USER"], nil
		}
	}
	passwd, err := fs.ReadFile(root, "etc/passwd")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, 0, "", err
	}
	if uid, gid, ok := lookUp(string(passwd), "nobody"); ok && uid != 0 && gid != 0 {
		return uid, gid, "nobody", nil
	}
	return nobody, nobody, "", nil
}

// lookUp finds a user in a password file. Lines that are not what passwd(5) says are somebody else's business.
func lookUp(passwd, name string) (uid, gid uint32, ok bool) {
	for line := range strings.Lines(passwd) {
		fields := strings.Split(line, ":")
		if len(fields) != 7 || fields[0] != name {
			continue
		}
		uid, noUID := parseID(fields[2])
		gid, noGID := parseID(fields[3])
		if noUID == nil && noGID == nil {
			return uid, gid, true
		}
	}
	return 0, 0, false
}

// parseID reads the number of a user or group. The highest one means "unchanged" to the kernel, and so is nobody's.
func parseID(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err == nil && n == 1<<32-1 {
		err = &strconv.NumError{Func: "ParseUint", Num: s, Err: strconv.ErrRange}
	}
	return uint32(n), err
}

// rules say what of a file system may be written: the deepest directory that holds a path decides; where none does, it may not.
type rules map[string]bool

// writable says whether the absolute, clean path may be written.
func (r rules) writable(path string) bool {
	for {
		if may, ok := r[path]; ok || path == "/" {
			return may
		}
		path = filepath.Dir(path)
	}
}
