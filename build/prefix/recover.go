package prefix

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"
)

// A Recovery says how an interrupted change of a prefix was settled.
type Recovery struct {
	Kind     string `json:"kind"`     // of the change: "install", "upgrade" or "uninstall"
	Name     string `json:"name"`     // of the Python: "python3.13"
	Version  string `json:"version"`  // of the Python that came, or that went: "3.13.5"
	Finished bool   `json:"finished"` // the prefix is as after the change; else the change was undone, and it is as before
}

func (r *Recovery) String() string {
	how := "undone"
	if r.Finished {
		how = "finished"
	}
	return fmt.Sprintf("an interrupted %s of %s (%s) was %s", r.Kind, r.Name, r.Version, how)
}

// A RecoveryError says that an interrupted change of the prefix could be neither undone nor finished. The next [Lock] tries again.
// Err is a *[ConflictError] when somebody put a file in the place of one that must come back.
type RecoveryError struct {
	Recovery // what was tried
	Prefix   string
	Err      error
}

func (e *RecoveryError) Error() string {
	how := "undoing"
	if e.Finished {
		how = "finishing"
	}
	return fmt.Sprintf("%s an interrupted %s of %s (%s) in %s: %v", how, e.Kind, e.Name, e.Version, e.Prefix, e.Err)
}

func (e *RecoveryError) Unwrap() error { return e.Err }

// Recover settles an interrupted change of the prefix dir: it undoes it, or finishes it if it was as good as complete. It returns
// nil when there was none. It takes the lock, so the errors are those of [Lock], and that of a context that is cancelled before.
func Recover(ctx context.Context, dir string) (r *Recovery, err error) {
	if dir, err = Clean(dir); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, work)); absent(err) {
		return nil, nil // and a prefix that does not exist is not made
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("recovering %s: %w", dir, err)
	}
	p, err := Lock(dir)
	if err != nil {
		return nil, err
	}
	return p.Recovered(), p.Unlock()
}

// Recovered says what interrupted change [Lock] found and settled, nil if there was none. What was read from the prefix before the
// lock may not be true any more when there was.
func (p *Prefix) Recovered() *Recovery { return p.recovered }

// settle brings a prefix in which a change was begun to the state before or the state after it, whichever way is open. It is
// the only way back, for the process that fails as for the one that comes after a crash: all that it relies on is on disk.
func (p *Prefix) settle() (*Recovery, error) {
	info, err := p.root.Lstat(work)
	if absent(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("recovering %s: %w", p.dir, err)
	}
	if reason, err := p.foreign(info); err != nil {
		return nil, fmt.Errorf("recovering %s: %w", p.dir, err)
	} else if reason != "" {
		return nil, &JournalError{File: path.Join(p.dir, work), Reason: reason}
	}
	j, err := readJournal(p.root)
	if err != nil {
		return nil, err
	}
	if j == nil { // nothing was changed yet, or all was
		if err := p.clear(); err != nil {
			return nil, fmt.Errorf("recovering %s: %w", p.dir, err)
		}
		return nil, nil
	}
	r := &Recovery{Kind: j.Kind, Name: j.Name, Version: j.Version}
	if r.Finished, err = p.passed(j); err != nil {
		return nil, err
	}
	if r.Finished {
		err = p.finish(j)
	} else {
		err = p.undo(j)
	}
	if err != nil {
		return r, &RecoveryError{Recovery: *r, Prefix: p.dir, Err: err}
	}
	return r, nil
}

// foreign says why the directory of the transaction cannot be ours, or somebody's who may do here as he likes anyway.
func (p *Prefix) foreign(info fs.FileInfo) (reason string, err error) {
	if !info.IsDir() {
		return "is not a directory", nil
	}
	top, err := p.root.Stat(".")
	if err != nil {
		return "", err
	}
	uid, _ := owner(info)
	if top, _ := owner(top); uid != os.Geteuid() && uid != top {
		return fmt.Sprintf("belongs to the user %d", uid), nil
	}
	if info.Mode()&0o022 != 0 {
		return "can be written to by others", nil
	}
	return "", nil
}

// passed says whether the change is complete but for tidying. What the journal says of the manifest must agree.
func (p *Prefix) passed(j *journal) (bool, error) {
	mark := newManifest
	if j.Kind == kindUninstall {
		mark = oldManifest
	}
	_, err := p.root.Lstat(mark)
	if err != nil && !absent(err) {
		return false, fmt.Errorf("recovering %s: %w", p.dir, err)
	}
	passed := (err == nil) == (j.Kind == kindUninstall)
	is, err := manifestDigest(p.root, j.Name)
	if err != nil {
		return false, err
	}
	want := j.Before
	if passed {
		want = j.After
	}
	if is != want {
		return false, &JournalError{File: path.Join(p.dir, journalFile), Reason: "does not know the manifest " + manifestPath(j.Name) + " as it is"}
	}
	return passed, nil
}

// undo takes back what was done of a change. Called again after it failed or was killed it goes on.
func (p *Prefix) undo(j *journal) error {
	if err := p.undoable(j); err != nil {
		return err
	}
	var errs []error // goes on after one, to put back as much as can be
	for _, o := range slices.Backward(j.Operations) {
		errs = append(errs, p.undoOne(&o))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := p.sync(j.directories); err != nil {
		return err
	}
	return p.discard()
}

// undoable finds, before the first step back, what somebody else did in between and would be lost, or is in the way.
func (p *Prefix) undoable(j *journal) error {
	found := make([]string, len(j.Operations))
	again := map[string]bool{} // what other operations of this change may have put where something went
	for i := range j.Operations {
		if o := &j.Operations[i]; o.Do == opMkdir || o.Do == opRestore {
			again[o.Path] = true
		}
	}
	err := each(len(j.Operations), func(i int) error {
		o := &j.Operations[i]
		if o.New == "" && o.Old == "" {
			return nil
		}
		info, err := look(p.root, o.Path)
		if err != nil || info == nil {
			return err
		}
		placed := false // what is called Path should be what the change put there
		if o.New != "" {
			placed, err = p.missing(workNew + "/" + o.New)
		}
		saved := false // and there is another one that must come back
		if err == nil && o.Old != "" {
			saved, err = p.missing(workOld + "/" + o.Old)
			saved = !saved
		}
		if err != nil {
			return err
		}
		same := false
		switch {
		case !placed && (!saved || again[o.Path]):
			return nil
		case placed && o.SHA256 != "" && info.Mode().IsRegular():
			var is string
			is, _, err = digest(p.root, o.Path)
			same = is == o.SHA256
		case placed && o.Target != "" && typeOf(info.Mode()) == typeLink:
			var is string
			is, err = p.root.Readlink(o.Path)
			same = is == o.Target
		}
		if !same {
			found[i] = o.Path
		}
		return err
	})
	if err != nil {
		return err
	}
	all := conflicts{}
	for _, name := range found {
		if name != "" {
			all[name] = obstacle{}
		}
	}
	return all.err(p.dir)
}

// missing says that nothing is called name.
func (p *Prefix) missing(name string) (bool, error) {
	info, err := look(p.root, name)
	return info == nil, err
}

func (p *Prefix) undoOne(o *operation) error {
	switch o.Do {
	case opMkdir:
		info, err := look(p.root, o.Path)
		if err != nil || info == nil || !info.IsDir() {
			return err
		}
		return p.prune(o.Path) // what somebody else has put something into stays
	case opRmdir:
		return p.remake(o)
	}
	for _, m := range slices.Backward(o.moves()) {
		undone, err := look(p.root, m.from)
		if err != nil {
			return err
		}
		done, err := look(p.root, m.to)
		if err != nil {
			return err
		}
		if undone != nil || done == nil {
			continue
		}
		if err := p.move(m.to, m.from); err != nil {
			return err
		}
	}
	return nil
}

// remake makes a directory again that was removed. Changing the owner clears set-id bits, so the mode follows.
func (p *Prefix) remake(o *operation) error {
	mode, _ := parseMode(o.Mode)
	err := p.try("mkdir", o.Path, func() error { return p.root.Mkdir(o.Path, 0o700) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := p.root.Lstat(o.Path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return conflicts{o.Path: {}}.err(p.dir)
	}
	if uid, gid := owner(info); uid != o.UID || gid != o.GID {
		if err := p.try("chown", o.Path, func() error { return p.root.Lchown(o.Path, o.UID, o.GID) }); err != nil {
			return err
		}
	}
	return p.try("chmod", o.Path, func() error { return p.root.Chmod(o.Path, mode) })
}

// finish follows a complete change. Called again after it failed or was killed it goes on.
func (p *Prefix) finish(j *journal) error {
	// The change must be on disk before that which could undo it goes.
	if err := p.sync(func() []string { return []string{home} }); err != nil {
		return err
	}
	for _, dir := range j.Prune {
		if err := p.prune(dir); err != nil {
			return err
		}
	}
	return p.discard()
}

// discard removes the journal, and then all the rest. Without a journal the rest means nothing.
func (p *Prefix) discard() error {
	if err := p.try("unlink", journalFile, func() error { return p.root.Remove(journalFile) }); err != nil {
		return err
	}
	if err := p.try("fsync", work, func() error { return syncFile(p.root, work) }); err != nil {
		return err
	}
	return p.clear()
}

// clear removes the directory of a transaction that has no journal.
func (p *Prefix) clear() error {
	for _, dir := range []string{workNew, workOld, work} {
		files, err := fs.ReadDir(p.root.FS(), dir)
		if absent(err) {
			continue
		} else if err != nil {
			return err
		}
		for _, f := range files {
			if name := dir + "/" + f.Name(); !f.IsDir() {
				if err := p.try("unlink", name, func() error { return p.root.Remove(name) }); err != nil {
					return err
				}
			}
		}
		if err := p.try("rmdir", dir, func() error { return removeDir(p.root, dir) }); err != nil {
			return err
		}
	}
	return nil
}

// prune removes a directory if it is empty.
func (p *Prefix) prune(dir string) error {
	err := p.try("rmdir", dir, func() error { return removeDir(p.root, dir) })
	if errors.Is(err, fs.ErrExist) || absent(err) || escapes(err) { // not empty, which is ErrExist too; not there, or a link
		return nil
	}
	return err
}

// move renames within the prefix, to a name that is free.
func (p *Prefix) move(from, to string) error {
	err := p.try("rename", to, func() error { return rename(p.root, from, p.root, to) })
	if errors.Is(err, fs.ErrExist) { // it was free when the change was planned
		return &stepError{"rename", to, conflicts{to: {}}.err(p.dir)}
	}
	return err
}

func owner(info fs.FileInfo) (uid, gid int) {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return -1, -1 // leaves the owner alone
}
