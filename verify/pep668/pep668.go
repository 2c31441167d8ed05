// Package pep668 knows the marker by which a distribution tells pip to keep its hands off a Python (PEP 668): whether one is in
// what was built, and what it means for the interpreters of a machine.
//
// [Absent] and [Find] promise that "absent" was seen: only the answer that there is no such name counts, whereas a directory that
// cannot be searched is an error. What kind of file has the name does not matter. Pip overlooks a link that leads nowhere, until
// the day on which it leads somewhere.
//
// [Format] makes a marker of a text, for whoever wants one. [Read] gives the answer that pip gives. [Examine] finds every Python and pip of a machine, the settings that override a marker,
// markers that the distribution lacks, and what pip has done already. It promises to change nothing, to use no network, and to
// run nothing but interpreters that the user, or the system, has installed, and queries of the package manager. It knows the
// machine only as an fs.FS, an environment and an [Exec], and must not know how a Python is built, nor how a report is shown.
package pep668

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// MarkerName is the name of the marker, in the directory of the standard
// library.
const MarkerName = "EXTERNALLY-MANAGED"

// MarkerError says that there is a marker.
type MarkerError struct{ Path string }

func (e *MarkerError) Error() string { return "found " + e.Path }

// Absent returns nil only when none of the directories, given as absolute
// paths, holds a marker; one that does not exist holds none. There is a
// [*MarkerError] in the error for every marker, and beside them why others
// could not be looked for. Of no directory at all nothing can be said, which
// is an error too.
func Absent(dirs ...string) error {
	if len(dirs) == 0 {
		return errors.New("no directory to look for " + MarkerName)
	}
	var errs []error
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) {
			errs = append(errs, fmt.Errorf("look for %s in %q: not an absolute path", MarkerName, dir))
			continue
		}
		marker := filepath.Join(dir, MarkerName)
		// Lstat: a link that leads nowhere is a marker as well.
		switch _, err := os.Lstat(marker); {
		case err == nil:
			errs = append(errs, &MarkerError{Path: marker})
		case !errors.Is(err, fs.ErrNotExist):
			errs = append(errs, fmt.Errorf("look for %s: %w", MarkerName, err))
		}
	}
	return errors.Join(errs...)
}

// Find returns every path below root, absolute if root is, that has the name
// of a marker, in lexical order. Links below root are not followed. On an
// error, such as a directory that cannot be read, no paths are returned: there
// could be more.
func Find(root string) ([]string, error) {
	var found []string
	// By an fs.FS, because that follows root itself when it is a link.
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path.Base(name) == MarkerName {
			found = append(found, filepath.Join(root, filepath.FromSlash(name)))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for %s below %s: %w", MarkerName, root, err)
	}
	return found, nil
}
