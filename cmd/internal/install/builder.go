package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"pybuild/build/run"
)

// A builder is the user who does everything before the prefix is changed, when root has started pybuild: without rights, without a
// network, and unable to write anywhere but in the build directory. A nil builder is who started pybuild.
type builder struct {
	uid, gid uint32
	name     string // empty where only the number is known
}

// UnconfinedError says that root's builds cannot be confined on this machine.
type UnconfinedError struct{ Err error }

func (e *UnconfinedError) Error() string {
	return fmt.Sprintf("the build cannot be kept from the rest of the machine: %v", e.Err)
}
func (e *UnconfinedError) Unwrap() error { return e.Err }

// builder returns who builds. The error is an *UnconfinedError where root would have to do it, and nobody has allowed that.
func (in *Installer) builder(ctx context.Context, o Options) (*builder, error) {
	if os.Geteuid() != 0 || o.Unconfined {
		return nil, nil
	}
	if err := run.CanConfine(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, &UnconfinedError{Err: err}
	}
	uid, gid, name, err := run.Unprivileged(in.Environ, in.Root)
	if err != nil {
		return nil, fmt.Errorf("choosing the user who builds: %w", err)
	}
	return &builder{uid: uid, gid: gid, name: name}, nil
}

// String is for people.
func (b *builder) String() string {
	if b.name != "" {
		return b.name
	}
	return strconv.Itoa(int(b.uid))
}

// confine lets commands write into these directories only, and see others that would be hidden.
func (b *builder) confine(writable []string, visible ...string) *run.Confinement {
	if b == nil {
		return nil
	}
	return &run.Confinement{UID: b.uid, GID: b.gid, Writable: writable, ReadOnly: visible}
}

// own makes a directory for the builder alone.
func (b *builder) own(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if err == nil && b != nil {
		err = os.Lchown(dir, int(b.uid), int(b.gid))
	}
	return err
}

// share makes a directory in which pybuild and the builder both make files, and neither can replace the other's.
func (b *builder) share(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil && b != nil {
		err = errors.Join(os.Lchown(dir, 0, int(b.gid)), os.Chmod(dir, os.ModeSticky|0o770))
	}
	return err
}

// reaches says whether the builder gets as far as dir: somebody's home is closed to others. What is not there yet will be open.
func (b *builder) reaches(dir string) bool {
	if b == nil || slices.ContainsFunc([]string{"/tmp/", "/var/tmp/"}, func(open string) bool { return len(dir) > len(open) && dir[:len(open)] == open }) {
		return true // a confinement has these directories of its own, with open ways to what it may see
	}
	for d := dir; ; d = filepath.Dir(d) {
		if info, err := os.Stat(d); err == nil && info.Mode()&0o001 == 0 && !ownedBy(info, b.uid, b.gid) {
			return false
		}
		if d == filepath.Dir(d) {
			return true
		}
	}
}

// borrow copies files to dir, because the builder may be kept from where they are, and returns what they are called there.
func (b *builder) borrow(files []string, dir string) (copies []string, err error) {
	if b == nil {
		return files, nil
	}
	for i, name := range files {
		to := filepath.Join(dir, fmt.Sprintf("%d-%s", i+1, filepath.Base(name)))
		if err := copyFile(to, name, 0o644); err != nil {
			return nil, fmt.Errorf("copying what the build reads: %w", err)
		}
		copies = append(copies, to)
	}
	return copies, nil
}

// copyFile copies a file to a new one.
func copyFile(to, from string, mode os.FileMode) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}
