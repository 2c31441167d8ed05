package prefix

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// A ChangeError reports a change of the prefix that failed or was cancelled, and was undone.
type ChangeError struct {
	Prefix string
	Step   string // what was being done: "rename", "unlink", …
	Path   string // to what, relative to the prefix
	Err    error
	Undo   error // nil: the prefix is as it was; else why it is not, and the next Lock tries again
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

// A LeftoverError says that a change of the prefix is complete, but what it made superfluous could not be removed. The next [Lock]
// tries again.
type LeftoverError struct {
	Prefix string
	Err    error // names the files
}

func (e *LeftoverError) Error() string {
	return fmt.Sprintf("%s was changed, but not tidied: %v", e.Prefix, e.Err)
}

func (e *LeftoverError) Unwrap() error { return e.Err }

// A change is everything that happens to a prefix in one go.
type change struct {
	journal
	stage    *os.Root
	incoming []incoming
	manifest []byte // of the new state; nil: there is none
	saved    int
}

// An incoming file or link is in the stage, at the path of its entry, and is wanted in workNew.
type incoming struct {
	Entry
	name string // in workNew
	gid  int
}

// save returns a name in workOld.
func (c *change) save() string {
	c.saved++
	return strconv.Itoa(c.saved - 1)
}

// apply carries out the change, or leaves the prefix as it was and returns a *[ChangeError] or *[TreeError]. After a
// *[LeftoverError] the change is complete.
func (p *Prefix) apply(ctx context.Context, c *change) error {
	err := p.run(ctx, c)
	if err == nil {
		if err := p.finish(&c.journal); err != nil {
			return &LeftoverError{Prefix: p.dir, Err: err}
		}
		return nil
	}
	// However far it came is told by what is on disk, and whoever asked for this may have cancelled it.
	r, undo := p.settle()
	if r != nil && r.Finished {
		return &LeftoverError{Prefix: p.dir, Err: errors.Join(err, undo)}
	}
	if tree, ok := errors.AsType[*TreeError](err); ok && undo == nil {
		return tree
	}
	failed := &ChangeError{Prefix: p.dir, Step: "begin", Path: work, Err: err, Undo: undo}
	if step, ok := errors.AsType[*stepError](err); ok {
		failed.Step, failed.Path, failed.Err = step.op, step.path, step.err
	}
	return failed
}

// run brings a change to the point after which it is complete.
func (p *Prefix) run(ctx context.Context, c *change) error {
	if err := p.prepare(ctx, c); err != nil {
		return err
	}
	if err := p.record(c); err != nil {
		return err
	}
	for i := range c.Operations {
		o := &c.Operations[i]
		if err := ctx.Err(); err != nil {
			return &stepError{o.Do, o.Path, err}
		}
		if err := p.do(o); err != nil {
			return err
		}
	}
	// All that the manifest will speak of must be on disk before it. The next step is the point: until it is done the journal is
	// read backwards, and then no more.
	if err := p.sync(c.directories); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return &stepError{"rename", manifestPath(c.Name), err}
	}
	if c.Kind == kindUninstall {
		return p.move(manifestPath(c.Name), oldManifest)
	}
	return p.try("rename", manifestPath(c.Name), func() error { return p.root.Rename(newManifest, manifestPath(c.Name)) })
}

// prepare puts all that comes into the directory of the transaction, on disk, as it will be.
func (p *Prefix) prepare(ctx context.Context, c *change) (err error) {
	for _, dir := range []string{work, workNew, workOld} {
		if err := p.try("mkdir", dir, func() error { return p.root.Mkdir(dir, 0o700) }); err != nil {
			return err
		}
		if dir == work { // files made below it must not inherit the group of the prefix
			if err := p.try("chown", dir, func() error { return p.root.Lchown(dir, -1, os.Getegid()) }); err != nil {
				return err
			}
			if err := p.try("chmod", dir, func() error { return p.root.Chmod(dir, 0o700) }); err != nil {
				return err
			}
		}
	}
	root, err := p.root.OpenRoot(workNew)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for i := range c.incoming {
		in := &c.incoming[i]
		if err := ctx.Err(); err != nil {
			return &stepError{"prepare", in.Path, err}
		}
		if err := p.bring(c.stage, root, in); err != nil {
			return err
		}
	}
	err = p.try("verify", workNew, func() error {
		return each(len(c.incoming), func(i int) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			in := &c.incoming[i]
			same, err := in.same(root, in.name)
			if err == nil && !same {
				err = &TreeError{Dir: c.stage.Name(), Path: in.Path, Reason: "is not what the manifest says"}
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if c.manifest != nil {
		if err := p.create(newManifest, 0o644, c.manifest); err != nil {
			return err
		}
	}
	return p.sync(func() []string {
		names := []string{work, workNew, ".", newManifest}
		for _, in := range c.incoming {
			if in.Type == typeFile {
				names = append(names, workNew+"/"+in.name)
			}
		}
		return names
	})
}

// same says that the file or link called name is what the entry says, owner and mode aside.
func (e *Entry) same(root *os.Root, name string) (bool, error) {
	info, err := root.Lstat(name)
	if err != nil || typeOf(info.Mode()) != e.Type {
		return false, err
	}
	switch e.Type {
	case typeLink:
		target, err := root.Readlink(name)
		return target == e.Target, err
	case typeFile:
		if info.Size() != e.Size {
			return false, nil
		}
		sum, _, err := digest(root, name)
		return sum == e.SHA256, err
	}
	return true, nil
}

// bring moves or copies one path from the stage to its name in new. A file is moved only if it was this user's alone. What it is,
// is looked at afterwards, when nobody else can change it.
func (p *Prefix) bring(stage, new *os.Root, in *incoming) error {
	if in.Type == typeLink {
		if err := p.try("link", in.Path, func() error { return new.Symlink(in.Target, in.name) }); err != nil {
			return err
		}
		info, err := new.Lstat(in.name)
		if err != nil {
			return &stepError{"link", in.Path, err}
		}
		return p.group(new, in, info)
	}
	mode, _ := parseMode(in.Mode) // check saw to it
	info, err := stage.Lstat(in.Path)
	if absent(err) {
		return &TreeError{Dir: stage.Name(), Path: in.Path, Reason: "is only in the manifest"}
	} else if err != nil {
		return &stepError{"move", in.Path, err}
	}
	moved := false
	if exclusive(info) {
		err := p.try("move", in.Path, func() error { return rename(stage, in.Path, new, in.name) })
		if moved = err == nil; !moved && !errors.Is(err, syscall.EXDEV) {
			return err
		}
	}
	if !moved {
		if err := p.copy(stage, new, in); err != nil {
			return err
		}
	}
	if info, err = new.Lstat(in.name); err != nil {
		return &stepError{"move", in.Path, err}
	}
	if !exclusive(info) {
		return &TreeError{Dir: stage.Name(), Path: in.Path, Reason: "was changed while it was moved"}
	}
	if err := p.group(new, in, info); err != nil {
		return err
	}
	if info.Mode()&bits == mode && mode&^fs.ModePerm == 0 {
		return nil
	}
	return p.try("chmod", in.Path, func() error { return new.Chmod(in.name, mode) })
}

// exclusive says that a file belongs to this user, has no second name, and cannot be open for writing elsewhere but by its owner.
func exclusive(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().IsRegular() && int(s.Uid) == os.Geteuid() && s.Nlink == 1 && info.Mode()&0o022 == 0
}

// group gives a path in new the group that it will have. A directory's set-group-id bit gives its group even to files of users
// who are not in it; for them it cannot be had this way, and their own stays.
func (p *Prefix) group(new *os.Root, in *incoming, info fs.FileInfo) error {
	if _, gid := owner(info); gid == in.gid || gid < 0 {
		return nil
	}
	err := p.try("chown", in.Path, func() error { return new.Lchown(in.name, -1, in.gid) })
	if errors.Is(err, syscall.EPERM) && os.Geteuid() != 0 {
		return nil
	}
	return err
}

// copy makes a copy of a file in the stage, its time included: what Python compiled from it remembers that.
func (p *Prefix) copy(stage, new *os.Root, in *incoming) (err error) {
	// A pipe that somebody puts there now would be waited for.
	from, err := stage.OpenFile(in.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return &stepError{"copy", in.Path, err}
	}
	defer func() { _ = from.Close() }() // was only read: an error here must not make a failure of a success
	info, err := from.Stat()
	if err != nil {
		return &stepError{"copy", in.Path, err}
	}
	if !info.Mode().IsRegular() {
		return &TreeError{Dir: stage.Name(), Path: in.Path, Reason: "is not what the manifest says"}
	}
	err = p.try("create", in.Path, func() error {
		to, err := new.OpenFile(in.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = p.try("copy", in.Path, func() error {
			_, err := io.Copy(to, io.LimitReader(from, in.Size+1)) // one more, to see that it grew
			return err
		})
		return errors.Join(err, to.Close())
	})
	if err != nil {
		return err
	}
	return p.try("chtimes", in.Path, func() error { return new.Chtimes(in.name, time.Time{}, info.ModTime()) })
}

// create makes a file with exactly this mode.
func (p *Prefix) create(name string, mode fs.FileMode, data []byte) error {
	return p.try("create", name, func() error {
		f, err := p.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		err = p.try("write", name, func() error {
			_, err := io.Copy(f, bytes.NewReader(data))
			return err
		})
		if err == nil {
			err = p.try("chmod", name, func() error { return f.Chmod(mode) })
		}
		return errors.Join(err, f.Close())
	})
}

// record writes the journal. When it has its name it is on disk, and so is all that it speaks of.
func (p *Prefix) record(c *change) error {
	c.Format = format
	if reason := c.check(); reason != "" { // what cannot be read again must not be written
		return &JournalError{File: path.Join(p.dir, journalFile), Reason: reason}
	}
	data, err := json.Marshal(&c.journal)
	if err != nil {
		return err
	}
	const temp = journalFile + ".part"
	if err := p.create(temp, 0o600, append(data, '\n')); err != nil {
		return err
	}
	if err := p.try("fsync", temp, func() error { return syncFile(p.root, temp) }); err != nil {
		return err
	}
	if err := p.try("rename", journalFile, func() error { return p.root.Rename(temp, journalFile) }); err != nil {
		return err
	}
	return p.try("fsync", work, func() error { return syncFile(p.root, work) })
}

// do carries out one operation.
func (p *Prefix) do(o *operation) error {
	switch o.Do {
	case opMkdir:
		return p.mkdir(o)
	case opRmdir:
		return p.try("rmdir", o.Path, func() error { return removeDir(p.root, o.Path) })
	}
	for _, m := range o.moves() {
		if err := p.move(m.from, m.to); err != nil {
			return err
		}
	}
	return nil
}

// mkdir creates a directory with exactly the operation's mode.
func (p *Prefix) mkdir(o *operation) error {
	mode, _ := parseMode(o.Mode)
	err := p.try("mkdir", o.Path, func() error { return p.root.Mkdir(o.Path, 0o700) })
	if errors.Is(err, fs.ErrExist) {
		return &stepError{"mkdir", o.Path, conflicts{o.Path: {}}.err(p.dir)}
	} else if err != nil {
		return err
	}
	info, err := p.root.Lstat(o.Path)
	if err != nil {
		return &stepError{"mkdir", o.Path, err}
	}
	if info.Mode()&bits == mode {
		return nil
	}
	return p.try("chmod", o.Path, func() error { return p.root.Chmod(o.Path, mode) })
}

// sync makes sure that everything that was done so far is on disk; names are what that may concern.
func (p *Prefix) sync(names func() []string) error {
	return p.try("sync", p.dir, func() error { return syncAll(p.root, names) })
}

// directories are those in which the operations change something.
func (j *journal) directories() []string {
	list := []string{workNew, workOld, home}
	for i := range j.Operations {
		list = append(list, path.Dir(j.Operations[i].Path))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// syncFile makes sure that a file or directory is on disk.
func syncFile(root *os.Root, name string) (err error) {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems know no such thing for directories
		return err
	}
	return nil
}
