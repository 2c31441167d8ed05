package prefix

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// The files of a transaction. It is in the prefix itself, because that is the only directory that is sure to be there before and
// after, and because what is made here must be on the file system of what it replaces.
const (
	work        = ".pybuild-transaction" // mode 0700
	workNew     = work + "/new"          // what comes: numbered, and the manifest
	workOld     = work + "/old"          // what went, until the change is complete: numbered, and the manifest
	journalFile = work + "/journal.json"
	newManifest = workNew + "/manifest"
	oldManifest = workOld + "/manifest"
)

// The kinds of change.
const (
	kindInstall   = "install" // for the first time, or the same version again
	kindUpgrade   = "upgrade" // or the way back
	kindUninstall = "uninstall"
)

// A journal says how to undo a change. It is on disk before anything outside of the transaction's directory is touched, and
// it is gone before anything in there is.
type journal struct {
	Format     int         `json:"format"`
	Kind       string      `json:"kind"`
	Name       string      `json:"name"`
	Version    string      `json:"version"`
	Before     string      `json:"before,omitempty"` // SHA-256 of the manifest; "": there is none
	After      string      `json:"after,omitempty"`
	Operations []operation `json:"operations"`      // done in order, undone in reverse
	Prune      []string    `json:"prune,omitempty"` // directories that go, if they are empty, once the change is complete; in order
}

// What an operation does. All of them fail rather than replace or follow what is in their way.
const (
	opMkdir   = "mkdir"   // creates the directory Path with Mode
	opRmdir   = "rmdir"   // removes the empty directory Path, which has Mode, UID and GID
	opAdd     = "add"     // moves New to Path
	opReplace = "replace" // moves Path to Old, then New to Path
	opRemove  = "remove"  // moves Path to Old
	opAside   = "aside"   // moves Path to Kept
	opRestore = "restore" // moves Kept to Path
)

// An operation is one step of a change.
type operation struct {
	Do     string `json:"do"`
	Path   string `json:"path"`             // relative to the prefix, as all paths here
	New    string `json:"new,omitempty"`    // a name in workNew
	Old    string `json:"old,omitempty"`    // a name in workOld
	Kept   string `json:"kept,omitempty"`   // a path beside Path
	SHA256 string `json:"sha256,omitempty"` // of the file that comes
	Target string `json:"target,omitempty"` // of the link that comes
	Was    string `json:"was,omitempty"`    // the digest that the old manifest has of the file that goes
	Mode   string `json:"mode,omitempty"`   // of the directory
	UID    int    `json:"uid,omitempty"`
	GID    int    `json:"gid,omitempty"`
}

// A move is a rename within the prefix.
type move struct{ from, to string }

// moves are the renames that an operation consists of. That each leaves the file in one of two known places is what makes undoing
// possible without knowing how far a process came, and repeatable.
func (o *operation) moves() (list []move) {
	if o.Old != "" {
		list = append(list, move{o.Path, workOld + "/" + o.Old})
	}
	switch o.Do {
	case opAside:
		list = append(list, move{o.Path, o.Kept})
	case opRestore:
		list = append(list, move{o.Kept, o.Path})
	}
	if o.New != "" {
		list = append(list, move{workNew + "/" + o.New, o.Path})
	}
	return list
}

// A JournalError reports a journal that cannot be relied on: no pybuild wrote it so, or somebody edited it or the manifest since.
// Nothing was changed.
type JournalError struct {
	File   string // its path, or that of the transaction's directory
	Reason string // a predicate: "has format 2"
	Err    error  // why it cannot be decoded, if that is the reason
}

func (e *JournalError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("journal %s %s", e.File, e.Reason)
	}
	return fmt.Sprintf("journal %s %s: %v", e.File, e.Reason, e.Err)
}

func (e *JournalError) Unwrap() error { return e.Err }

// readJournal returns nil when there is none.
func readJournal(root *os.Root) (j *journal, err error) {
	bad := func(reason string, err error) error {
		return &JournalError{File: filepath.Join(root.Name(), journalFile), Reason: reason, Err: err}
	}
	info, err := root.Lstat(journalFile)
	switch {
	case absent(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("journal: %w", err)
	case !info.Mode().IsRegular():
		return nil, bad("is not a regular file", nil)
	}
	f, err := root.Open(journalFile)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if len(data) > maxManifest {
		return nil, bad("is too large", nil)
	}
	j, reason, err := decodeJournal(data)
	if reason != "" {
		return nil, bad(reason, err)
	}
	return j, nil
}

// decodeJournal parses a journal and says what is wrong with it, if anything is.
func decodeJournal(data []byte) (j *journal, reason string, err error) {
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, "cannot be decoded", err
	}
	if head.Format != format {
		return nil, fmt.Sprintf("has format %d", head.Format), nil
	}
	j = new(journal)
	if err := json.Unmarshal(data, j); err != nil {
		return nil, "cannot be decoded", err
	}
	if reason := j.check(); reason != "" {
		return nil, reason, nil
	}
	return j, "", nil
}

// check says what is wrong with a journal, "" when nothing is. It is input that somebody may have edited, and must not become a
// way to move files that its author could not.
func (j *journal) check() (reason string) {
	switch {
	case j.Kind != kindInstall && j.Kind != kindUpgrade && j.Kind != kindUninstall:
		return fmt.Sprintf("has the kind %q", j.Kind)
	case !validName(j.Name):
		return fmt.Sprintf("has the bad name %q", j.Name)
	case j.Before != "" && !validDigest(j.Before), j.After != "" && !validDigest(j.After),
		(j.After == "") != (j.Kind == kindUninstall), j.Before == "" && j.Kind != kindInstall:
		return fmt.Sprintf("has the digests %q and %q", j.Before, j.After)
	}
	for i := range j.Operations {
		if o := &j.Operations[i]; !o.valid() {
			return fmt.Sprintf("lists the bad operation %q of %q", o.Do, o.Path)
		}
	}
	for _, dir := range j.Prune {
		if !ours(dir) {
			return fmt.Sprintf("lists the bad path %q", dir)
		}
	}
	return ""
}

func (o *operation) valid() bool {
	_, mode := parseMode(o.Mode)
	dir := o.Do == opMkdir || o.Do == opRmdir
	comes := o.Do == opAdd || o.Do == opReplace
	goes := o.Do == opRemove || o.Do == opReplace
	moved := o.Do == opAside || o.Do == opRestore
	return (dir || comes || goes || moved) && ours(o.Path) && !strings.HasPrefix(o.Path, home+"/") &&
		dir == (o.Mode != "") && (!dir || mode) &&
		comes == (o.New != "") && (!comes || validNumber(o.New) && (validDigest(o.SHA256) != (o.Target != ""))) &&
		goes == (o.Old != "") && (!goes || validNumber(o.Old)) &&
		moved == (o.Kept != "") && (!moved || validKept(o.Path, o.Kept))
}

// ours says that a change may touch name.
func ours(name string) bool { return validPath(name) && !within(name, work) }

func validNumber(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= 0 && strconv.Itoa(n) == s
}

// suffix is what is added to the name of a file that is kept aside; a number follows when that name is taken.
const suffix = ".pybuild-old"

func validKept(name, kept string) bool {
	rest, ok := strings.CutPrefix(kept, name+suffix)
	if rest == "" {
		return ok
	}
	number, dot := strings.CutPrefix(rest, ".")
	return ok && dot && validNumber(number)
}

// isKept reports whether name is one under which something was kept aside, perhaps by an installation that is gone.
func isKept(name string) bool {
	i := strings.LastIndex(name, suffix)
	return i > 0 && validKept(name[:i], name)
}

func sum(data []byte) string {
	digest := sha256.Sum256(data)
	return hex.EncodeToString(digest[:])
}

// Pending says that a change of the prefix dir was interrupted, or is under way in another process. Until [Recover] or [Lock]
// has settled it, the prefix is neither as before nor as after. It needs no lock and changes nothing.
func Pending(dir string) (bool, error) {
	_, err := os.Lstat(filepath.Join(dir, journalFile))
	switch {
	case absent(err):
		return false, nil
	case errors.Is(err, fs.ErrPermission): // the directory is another user's; that it is there is enough
		_, err = os.Lstat(filepath.Join(dir, work))
		return err == nil, nil
	case err != nil:
		return false, fmt.Errorf("looking for an interrupted change: %w", err)
	}
	return true, nil
}

// manifestDigest returns the digest of the manifest of the Python called name, "" when there is none.
func manifestDigest(root *os.Root, name string) (string, error) {
	info, err := look(root, manifestPath(name))
	if err != nil || info == nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", &ManifestError{File: path.Join(root.Name(), manifestPath(name)), Reason: "is not a regular file"}
	}
	digest, _, err := digest(root, manifestPath(name))
	return digest, err
}
