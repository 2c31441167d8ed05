// Package prefix changes the tree on disk that a Python is installed into, and knows what it put there.
//
// It promises:
//
//   - One process at a time: everything that changes a prefix needs the lock that [Lock] takes.
//   - All or nothing, whatever happens: an error, a cancellation, kill -9, a power failure. [Prefix.Commit] and
//     [Prefix.Uninstall] compute the list of operations as a value, put what they need on the prefix's own file system, in
//     PREFIX/.pybuild-transaction, and write the list to a journal there. Only when all that is on disk is anything else
//     touched. What goes is moved there, so that each operation is a rename or can be repeated; and the prefix changes hands with
//     one rename, that of the manifest. Before it there is a way back, after it only one ahead; [Lock] goes it, before
//     anything else, when the process that should have is dead. Directories of the prefix's own path that Lock made are all
//     that can be left of an installation that never was.
//   - Nothing foreign is touched: a file that no manifest of ours lists, or that was changed since, is never replaced or
//     removed; at most, when that is asked for, it is kept aside under another name. The kernel is asked not to replace
//     (where it can be), so this also holds for a file that appears in the middle.
//   - What is installed is what the manifest says: every file is compared with its digest when nobody else can write it any more.
//   - Nothing outside is touched: every name is resolved below the prefix through an [os.Root]. A symbolic link in the prefix
//     that leads elsewhere, and any absolute link, cannot be followed.
//   - A manifest read from disk is input that somebody may have edited: it is refused unless every path in it is a clean,
//     relative one, and it can never make Uninstall remove a file whose contents it does not know, unless that is forced. The
//     same is asked of a journal, which must also be this user's, or the owner's of the prefix.
//
// It must not know what is installed, how it was built or verified, or how to talk to the user; it runs nothing.
package prefix

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"github.com/gofrs/flock"
)

// An InvalidError reports a prefix that cannot be one, whatever is on disk.
type InvalidError struct {
	Prefix string // as it was given
	Reason string // a predicate: "is not absolute"
}

func (e *InvalidError) Error() string { return fmt.Sprintf("prefix %q %s", e.Prefix, e.Reason) }

// A RefusedError reports a prefix that must not or cannot be changed.
type RefusedError struct {
	Prefix string
	Reason string // a clause with its own subject: "/usr belongs to the distribution"
	Path   string // what is in the way; empty when it is the prefix as such
	Err    error  // the operating system's reason, if it is one
}

func (e *RefusedError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("prefix %s: %s", e.Prefix, e.Reason)
	}
	return fmt.Sprintf("prefix %s: %s: %v", e.Prefix, e.Reason, e.Err)
}

func (e *RefusedError) Unwrap() error { return e.Err }

// A BusyError reports a prefix that another process, or another [Prefix] of this one, has locked.
type BusyError struct {
	Prefix string
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("prefix %s is locked by another process", e.Prefix)
}

// A Prefix is a locked installation prefix. It is not safe for use by several goroutines.
type Prefix struct {
	dir  string       // as the user calls it
	root *os.Root     // the directory that lock holds
	lock *flock.Flock // nil once unlocked
	made []string     // directories that did not exist before, parents first

	recovered *Recovery

	// fail, when set, is asked before each operation on a file, and again, with done, when it has succeeded; its error is taken as
	// the operation's. Tests inject faults with it, and kill the process.
	fail func(op, path string, done bool) error
}

// Clean returns dir in its shortest form. The error is an *[InvalidError] when dir is empty or relative, or holds white
// space or a control character, which neither CPython's makefiles nor #! lines survive.
func Clean(dir string) (string, error) {
	reason := ""
	switch {
	case dir == "":
		reason = "is empty"
	case !utf8.ValidString(dir):
		reason = "is not UTF-8"
	case strings.ContainsFunc(dir, unicode.IsControl): // before white space: a line feed is both
		reason = "holds a control character"
	case strings.ContainsFunc(dir, unicode.IsSpace):
		reason = "holds white space"
	case !filepath.IsAbs(dir):
		reason = "is not absolute"
	}
	if reason != "" {
		return "", &InvalidError{Prefix: dir, Reason: reason}
	}
	return filepath.Clean(dir), nil
}

// Lock locks the prefix for this process, creating it if need be, and makes sure that it can be written to. It does not wait.
//
// The lock is a flock(2) on the directory itself, so nothing stays behind when the process dies. The directories that Lock
// creates have mode 0755 whatever the umask; [Prefix.Unlock] removes them again if they are still empty.
//
// A change that another process began and did not live to complete is undone or finished first; [Prefix.Recovered] says so.
//
// The error is an *[InvalidError], a *[RefusedError] or a *[BusyError]; or, when an interrupted change cannot be settled, a
// *[JournalError] or *[RecoveryError]. File systems on which a directory cannot be locked, NFS among them, are refused.
func Lock(dir string) (*Prefix, error) { return lock(dir, nil) }

// attempts bounds how often Lock starts again because another process removed the directory in between.
const attempts = 10

func lock(dir string, fail func(op, path string, done bool) error) (*Prefix, error) {
	dir, err := Clean(dir)
	if err != nil {
		return nil, err
	}
	for range attempts {
		if err := Allowed(dir); err != nil {
			return nil, err
		}
		p := &Prefix{dir: dir, fail: fail}
		if err := p.acquire(); err == nil {
			return p, nil
		} else if !errors.Is(err, errMoved) {
			return nil, err
		}
	}
	return nil, &BusyError{Prefix: dir}
}

// errMoved says that the path no longer names the directory that was opened or locked.
var errMoved = errors.New("the prefix was moved or removed")

func (p *Prefix) acquire() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Unlock())
		}
	}()
	if err := p.makeDirs(); err != nil {
		return p.refuse("cannot be created", err)
	}

	l := flock.New(p.dir, flock.SetFlag(os.O_RDONLY|syscall.O_DIRECTORY))
	switch ok, err := l.TryLock(); {
	case err != nil:
		return p.refuse("cannot be locked", err)
	case !ok:
		// What was created is in use by the one who holds the lock, and stays.
		p.made = nil
		return &BusyError{Prefix: p.dir}
	}
	p.lock = l

	// The holder before us may have removed the directory, and a third process made a new one.
	if p.root, err = os.OpenRoot(p.dir); err != nil {
		return p.refuse("cannot be opened", err)
	}
	locked, err := l.Stat()
	if err != nil {
		return p.refuse("cannot be examined", err)
	}
	named, err := p.root.Stat(".")
	if err != nil {
		return p.refuse("cannot be examined", err)
	}
	if !os.SameFile(locked, named) {
		p.made = nil // names another directory now, whose holder will remove it
		return errMoved
	}
	if err := p.try("probe", p.dir, func() error { return writable(p.root) }); err != nil {
		return p.refuse("cannot be written to", err)
	}
	p.recovered, err = p.settle()
	return err
}

// refuse turns an error about the prefix into a [RefusedError], and one that says that it vanished into errMoved.
func (p *Prefix) refuse(reason string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errMoved
	}
	path := p.dir
	if e, ok := errors.AsType[*stepError](err); ok {
		err, path = e.err, e.path
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
		if filepath.IsAbs(e.Path) {
			path = e.Path
		}
	}
	return &RefusedError{Prefix: p.dir, Path: path, Reason: path + " " + reason, Err: err}
}

// makeDirs makes the missing directories of the prefix and remembers them.
func (p *Prefix) makeDirs() error {
	for _, dir := range append(parents(p.dir), p.dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			continue
		}
		err := p.try("mkdir", dir, func() error {
			err := os.Mkdir(dir, 0o755)
			if err == nil {
				p.made = append(p.made, dir)
			}
			return err
		})
		if errors.Is(err, fs.ErrExist) {
			continue // another process was faster; the directory is theirs
		} else if err != nil {
			return err
		}
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if mode := 0o755 | info.Mode()&fs.ModeSetgid; info.Mode()&^fs.ModeDir != mode {
			if err := os.Chmod(dir, mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// writableByName fails when no file can be made in the root: mode bits say little about read-only mounts, access lists and root.
func writableByName(root *os.Root) error {
	name := temporary(".")
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), root.Remove(name))
}

// Unlock releases the lock and removes the directories that [Lock] created if they are still empty. Called again it does
// nothing.
func (p *Prefix) Unlock() (err error) {
	// While the lock is held: whoever waits for it sees that the directory is gone and starts again.
	for i := len(p.made) - 1; i >= 0; i-- {
		e := syscall.Rmdir(p.made[i]) // os.Remove would also remove a link that somebody has put there
		if e == nil || errors.Is(e, fs.ErrNotExist) {
			continue
		}
		if !errors.Is(e, fs.ErrExist) && !absent(e) { // not empty, which is ErrExist too, or no longer a directory
			err = errors.Join(err, &fs.PathError{Op: "rmdir", Path: p.made[i], Err: e})
		}
		break
	}
	p.made = nil
	if p.root != nil {
		err = errors.Join(err, p.root.Close())
	}
	if p.lock != nil {
		err = errors.Join(err, p.lock.Unlock())
		p.lock = nil
	}
	return err
}

// Dir returns the prefix: the cleaned path, symbolic links not resolved.
func (p *Prefix) Dir() string { return p.dir }

// try carries out one operation on a file. Its errors say what was tried: they are *[stepError]s.
func (p *Prefix) try(op, path string, do func() error) error {
	if p.fail != nil {
		if err := p.fail(op, path, false); err != nil {
			return &stepError{op, path, err}
		}
	}
	err := do()
	if err == nil && p.fail != nil {
		err = p.fail(op, path, true)
	}
	if _, inner := errors.AsType[*stepError](err); err != nil && !inner {
		return &stepError{op, path, err}
	}
	return err
}

// A stepError says what was being done when something failed.
type stepError struct {
	op, path string
	err      error
}

func (e *stepError) Error() string {
	err := e.err
	switch system := err.(type) { // which say the same again
	case *fs.PathError:
		err = system.Err
	case *os.LinkError:
		err = system.Err
	}
	return fmt.Sprintf("%s %s: %v", e.op, e.path, err)
}

func (e *stepError) Unwrap() error { return e.err }

// Allowed refuses, with a *[RefusedError], a clean and absolute path that must not be a prefix: a directory of the distribution,
// by this name or by the one that links lead to, and what is not a directory or below something that is none. It is the part
// of [Lock] that changes nothing.
func Allowed(dir string) error {
	real, err := resolve(dir)
	if err != nil {
		return err
	}
	for _, d := range []string{dir, real} {
		if owned := distribution(d); owned != "" {
			return &RefusedError{Prefix: dir, Path: owned, Reason: owned + " belongs to the distribution"}
		}
	}
	return nil
}

// distribution returns the directory of the distribution that makes dir unfit as a prefix, or "".
func distribution(dir string) string {
	// Only these themselves: below them anybody may have directories.
	for _, d := range []string{"/", "/home", "/run", "/tmp", "/var"} {
		if dir == d {
			return d
		}
	}
	for _, d := range []string{"/usr/local", "/dev/shm"} {
		if within(dir, d) {
			return ""
		}
	}
	for _, d := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libexec", "/boot", "/dev", "/etc", "/proc", "/sys"} {
		if within(dir, d) {
			return d
		}
	}
	return ""
}

func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// resolve follows the symbolic links in the existing part of dir, all of which must be directories.
func resolve(dir string) (string, error) {
	existing, rest := dir, ""
	refuse := func(reason string, err error) error {
		return &RefusedError{Prefix: dir, Path: existing, Reason: existing + " " + reason, Err: err}
	}
	for {
		real, err := filepath.EvalSymlinks(existing)
		if err == nil {
			info, err := os.Stat(real)
			switch {
			case err == nil && !info.IsDir():
				return "", refuse("is not a directory", nil)
			case err == nil:
				return filepath.Join(real, rest), nil
			case !absent(err): // else somebody has just removed it
				return "", refuse("cannot be examined", err)
			}
		} else if !absent(err) {
			return "", refuse("cannot be examined", err)
		}
		switch info, err := os.Lstat(existing); {
		case err == nil && info.Mode().Type() == fs.ModeSymlink:
			return "", refuse("is a link to nothing", nil)
		case err == nil:
			continue // somebody has just created it
		case !absent(err):
			return "", refuse("cannot be examined", err)
		}
		existing, rest = filepath.Dir(existing), filepath.Join(filepath.Base(existing), rest)
	}
}

// parents returns the directories above dir, topmost first.
func parents(dir string) (list []string) {
	for d := filepath.Dir(dir); d != filepath.Dir(d) && d != "."; d = filepath.Dir(d) {
		list = append([]string{d}, list...)
	}
	return list
}

// absent says that err means that nothing has this name: because it does not exist, or because what should be its directory
// is a file.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// escapes says that err means that a link leads out of the root. [os.Root] has no value for it, but it is the only refusal that
// does not come from the operating system.
func escapes(err error) bool {
	_, system := errors.AsType[syscall.Errno](err)
	return err != nil && !system && !errors.Is(err, fs.ErrClosed)
}

// temporary returns a name in dir that nobody can guess.
func temporary(dir string) string { return filepath.Join(dir, ".pybuild-"+rand.Text()) }
