package prefix

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"time"
)

// A ChangeError reports a change of the prefix that failed or was cancelled, and was undone.
type ChangeError struct {
	Prefix string
	Step   string // what was being done: "place", "save", …
	Path   string // to what, relative to the prefix
	Err    error
	Undo   error // nil: the prefix is as it was; else what could not be put back, and is in share/pybuild/.undo-*
}

func (e *ChangeError) Error() string {
	if e.Undo == nil {
		return fmt.Sprintf("changing %s: %s %s: %v; everything was put back", e.Prefix, e.Step, e.Path, e.Err)
	}
	return fmt.Sprintf("changing %s: %s %s: %v; not everything could be put back: %v", e.Prefix, e.Step, e.Path, e.Err, e.Undo)
}

func (e *ChangeError) Unwrap() []error {
	if e.Undo == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Undo}
}

// A LeftoverError says that a change of the prefix is complete, but files that it made superfluous could not be removed.
type LeftoverError struct {
	Prefix string
	Err    error // names the files
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%s was changed, but not tidied: %v", e.Prefix, e.Err)
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// What an operation does. All of them fail rather than replace or follow what is in their way.
const (
	mkdir = "mkdir" // creates the directory Path with Mode
	save  = "save"  // moves Path away, to Aside
	rmdir = "rmdir" // removes the empty directory Path, which has Mode and the owner UID, GID
	place = "place" // moves Path from the stage to the prefix, a file with Mode or the link to Target
	write = "write" // creates the manifest at Path
	flush = "flush" // makes sure that the directory Path is on disk
	drop  = "drop"  // removes Path for good
	prune = "prune" // removes the directory Path if it is empty
)

// An operation is one step of a change. It is a plain value, so that a list of them can be written down.
type operation struct {
	Do       string
	Path     string // relative to the prefix, as all paths here
	Aside    string
	Target   string
	Mode     fs.FileMode
	UID, GID int
}

// A change is everything that happens to a prefix in one go.
type change struct {
	stage    *os.Root
	manifest []byte
	ops      []operation // done in order, undone in reverse
	tidy     []operation // follow once the change is complete; they cannot be undone, and their failure undoes nothing

	aside string // the directory of what was saved
	saved int
}

// begin makes the directory for what is saved. Its name cannot be guessed, so nobody can have made it before us.
func (c *change) begin() {
	c.aside = home + "/.undo-" + rand.Text()
	c.ops = append(c.ops, operation{Do: mkdir, Path: c.aside, Mode: 0o700})
}

// save moves name out of the way until the change is complete.
func (c *change) save(name string) {
	to := fmt.Sprintf("%s/%d", c.aside, c.saved)
	c.saved++
	c.ops = append(c.ops, operation{Do: save, Path: name, Aside: to})
	c.tidy = append(c.tidy, operation{Do: drop, Path: to})
}

// end removes the directory for what was saved, which by then is empty.
func (c *change) end() {
	c.tidy = append(c.tidy, operation{Do: rmdir, Path: c.aside})
}

// apply carries out the change, or leaves the prefix as it was and returns a *[ChangeError]. After a *[LeftoverError] the change
// is complete.
func (p *Prefix) apply(ctx context.Context, c *change) error {
	for i, o := range c.ops {
		err := ctx.Err()
		if err == nil {
			err = p.do(c, o)
		}
		if err != nil {
			return &ChangeError{Prefix: p.dir, Step: o.Do, Path: o.Path, Err: err, Undo: p.undo(c, c.ops[:i])}
		}
	}
	var errs []error
	for _, o := range c.tidy {
		errs = append(errs, p.do(c, o))
	}
	if err := errors.Join(errs...); err != nil {
		return &LeftoverError{Prefix: p.dir, Err: err}
	}
	return nil
}

// do carries out one operation, wholly or not at all.
func (p *Prefix) do(c *change, o operation) error {
	if o.Do == place {
		return p.place(c.stage, o)
	}
	if err := p.step(o.Do, o.Path); err != nil {
		return err
	}
	switch o.Do {
	case mkdir:
		return p.mkdir(o)
	case save:
		return rename(p.root, o.Path, p.root, o.Aside)
	case rmdir:
		return removeDir(p.root, o.Path)
	case drop:
		return p.root.Remove(o.Path)
	case write:
		return p.put(o.Path, o.Mode, time.Time{}, bytes.NewReader(c.manifest))
	case flush:
		return p.flush(o.Path)
	case prune:
		err := removeDir(p.root, o.Path)
		if errors.Is(err, fs.ErrExist) || absent(err) { // not empty, which is ErrExist too; not there, or a link
			return nil
		}
		return err
	}
	return fmt.Errorf("operation %q: %w", o.Do, errors.ErrUnsupported)
}

// undo takes back the operations, the last first. It goes on after an error, to put back as much as can be.
func (p *Prefix) undo(c *change, done []operation) error {
	var errs []error
	for _, o := range slices.Backward(done) {
		err := p.step("undo "+o.Do, o.Path)
		if err == nil {
			err = p.undoOne(c, o)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (p *Prefix) undoOne(c *change, o operation) error {
	switch o.Do {
	case mkdir:
		return removeDir(p.root, o.Path)
	case write:
		return p.root.Remove(o.Path)
	case save:
		return rename(p.root, o.Aside, p.root, o.Path)
	case rmdir:
		if err := p.mkdir(o); err != nil {
			return err
		}
		return p.chown(o)
	case place:
		if _, err := c.stage.Lstat(o.Path); err == nil {
			return p.root.Remove(o.Path) // it was copied
		}
		return rename(p.root, o.Path, c.stage, o.Path)
	}
	return nil
}

// mkdir creates a directory with exactly the operation's mode.
func (p *Prefix) mkdir(o operation) (err error) {
	if err := p.root.Mkdir(o.Path, 0o700); err != nil {
		return taken(p.dir, o.Path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeDir(p.root, o.Path))
		}
	}()
	info, err := p.root.Lstat(o.Path)
	if err != nil || info.Mode()&bits == o.Mode {
		return err
	}
	if err := p.step("chmod", o.Path); err != nil {
		return err
	}
	return p.root.Chmod(o.Path, o.Mode)
}

// chown gives a directory that was made again the owner it had. Changing the owner clears set-id bits, so the mode follows.
func (p *Prefix) chown(o operation) error {
	info, err := p.root.Lstat(o.Path)
	if err != nil {
		return err
	}
	if uid, gid := owner(info); uid == o.UID && gid == o.GID {
		return nil
	}
	if err := p.root.Lchown(o.Path, o.UID, o.GID); err != nil {
		return err
	}
	return p.root.Chmod(o.Path, o.Mode)
}

func owner(info fs.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return -1, -1 // leaves the owner alone
}

// place moves one path from the stage to the prefix, where nothing has its name. When the two are on different file systems it
// copies, and the stage keeps the original.
func (p *Prefix) place(stage *os.Root, o operation) error {
	if o.Target == "" { // before it can be seen
		if err := p.step("chmod", o.Path); err != nil {
			return err
		}
		if err := stage.Chmod(o.Path, o.Mode); err != nil {
			return err
		}
	}
	err := p.step(place, o.Path)
	if err == nil {
		err = rename(stage, o.Path, p.root, o.Path)
	}
	if errors.Is(err, syscall.EXDEV) {
		err = p.copy(stage, o)
	}
	return taken(p.dir, o.Path, err)
}

func (p *Prefix) copy(stage *os.Root, o operation) error {
	if o.Target != "" {
		if err := p.step("link", o.Path); err != nil {
			return err
		}
		return p.root.Symlink(o.Target, o.Path)
	}
	f, err := stage.Open(o.Path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // was only read: an error here must not make a failure of a success
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return p.put(o.Path, o.Mode, info.ModTime(), f)
}

// put creates a file with these contents, mode and time (zero: now) under a name that is free. Until it is complete and on disk
// it has another name beside its own.
func (p *Prefix) put(name string, mode fs.FileMode, modified time.Time, contents io.Reader) (err error) {
	if err := p.step("create", name); err != nil {
		return err
	}
	temp := temporary(path.Dir(name))
	f, err := p.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.root.Remove(temp))
		}
	}()
	if err := errors.Join(p.fill(f, temp, name, mode, modified, contents), f.Close()); err != nil {
		return err
	}
	if err := p.step("rename", name); err != nil {
		return err
	}
	return taken(p.dir, name, rename(p.root, temp, p.root, name))
}

// fill is the part of put that needs the open file.
func (p *Prefix) fill(f *os.File, temp, name string, mode fs.FileMode, modified time.Time, contents io.Reader) error {
	if err := p.step("copy", name); err != nil {
		return err
	}
	if _, err := io.Copy(f, contents); err != nil {
		return err
	}
	if err := p.step("chmod", name); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if !modified.IsZero() {
		if err := p.step("chtimes", name); err != nil {
			return err
		}
		if err := p.root.Chtimes(temp, time.Time{}, modified); err != nil {
			return err
		}
	}
	if err := p.step("fsync", name); err != nil {
		return err
	}
	return f.Sync()
}

func (p *Prefix) flush(dir string) (err error) {
	f, err := p.root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems know no such thing for directories
		return err
	}
	return nil
}

// taken makes a [ConflictError] of an error that says that the name is not free: it was when the change was planned.
func taken(dir, name string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		if _, ok := errors.AsType[*ConflictError](err); !ok {
			return conflicts{name: ""}.err(dir)
		}
	}
	return err
}
