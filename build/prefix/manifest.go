package prefix

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// format is the version of the manifest's own layout. A reader refuses every other.
const format = 1

// maxManifest is the size in bytes of the largest manifest that is read; one of 10 000 paths has 3 MB.
const maxManifest = 64 << 20

// home is the directory of the manifests, below the prefix. Nothing but this package puts anything there.
const home = "share/pybuild"

// A Manifest says what an installed Python is, where it came from, and which paths are its own. It is stored in
// share/pybuild/NAME.json below the prefix, readable by everybody, and holds no times: the same installation gives the same
// bytes.
type Manifest struct {
	Format     int    `json:"format"`     // 1; set by [Prefix.Commit]
	Name       string `json:"name"`       // "python3.13": what there is one of in a prefix
	Version    string `json:"version"`    // "3.13.5"
	Prefix     string `json:"prefix"`     // set by [Prefix.Commit]
	Executable string `json:"executable"` // relative to the prefix: "bin/python3.13"

	Archive   Archive   `json:"archive"`
	Signature Signature `json:"signature"`

	Profile       string   `json:"profile"`
	ConfigureArgs []string `json:"configure_args"`
	Environment   []string `json:"environment"`
	Compiler      string   `json:"compiler"`
	// Processor is what the installation uses of a processor, as the kernel calls it; empty: nothing that some of its architecture
	// lack.
	Processor []string `json:"processor,omitempty"`

	Parts  map[string]string `json:"parts"` // name to "present", "missing" or "dropped"
	Checks []Check           `json:"checks"`
	// Libraries are the shared libraries that the installation needs, and where they were found.
	Libraries []Library `json:"libraries"`
	// Quirks say what was done otherwise than usual, because of the release or the toolchain.
	Quirks []string `json:"quirks"`
	Marker string   `json:"marker"` // of PEP 668: "absent", or "present" on request

	// Options is what the user asked for, in the caller's own words: compared as a whole it tells whether the same command is
	// given again.
	Options []string `json:"options"`

	// Paths is what the installation consists of, sorted by path. A directory is listed only if an installation of ours created it.
	Paths []Entry `json:"paths"`

	// Aside is what was in the way and had to be kept under another name, sorted by that; set by [Prefix.Commit].
	Aside []Aside `json:"aside,omitempty"`
}

// An Aside is something that was in the way of an installation, as it was then.
type Aside struct {
	Path   string `json:"path"`             // what it was called
	Kept   string `json:"kept"`             // what it is called now
	Own    bool   `json:"own,omitempty"`    // it was a file of an older installation that somebody had changed
	Type   string `json:"type"`             // as in an [Entry]; "other" for what no entry can have
	Size   int64  `json:"size,omitempty"`   // of a file, in bytes
	SHA256 string `json:"sha256,omitempty"` // of a file
	Target string `json:"target,omitempty"` // of a link
}

// An Archive is the file that a Python was built from.
type Archive struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`   // bytes
	Source string `json:"source"` // the URL or path it was read from
	Proof  string `json:"proof"`  // what vouches for SHA256
}

// A Signature says who signed the archive.
type Signature struct {
	Kind     string `json:"kind"`
	Identity string `json:"identity"`
}

// A Check is one examination that the Python passed.
type Check struct {
	Name   string `json:"name"`
	Detail string `json:"detail"`
}

// A Library is a shared library that files of the installation need.
type Library struct {
	Soname string   `json:"soname"`
	Path   string   `json:"path"`   // where it was found; empty: nowhere
	Origin string   `json:"origin"` // "system", "prefix", "foreign" or "missing"
	Users  []string `json:"users"`  // the files that need it, relative to the prefix
}

// A ManifestError reports a manifest that cannot be relied on.
type ManifestError struct {
	File   string // its path
	Reason string // a predicate: "has format 2"
	Err    error  // why it cannot be decoded, if that is the reason
}

func (e *ManifestError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("manifest %s %s", e.File, e.Reason)
	}
	return fmt.Sprintf("manifest %s %s: %v", e.File, e.Reason, e.Err)
}

func (e *ManifestError) Unwrap() error { return e.Err }

// ReadManifest reads the manifest of the Python called name in the prefix dir. The error is fs.ErrNotExist when there is
// none, and a *[ManifestError] when it is not one that [Prefix.Commit] could have written.
func ReadManifest(dir, name string) (m *Manifest, err error) {
	file := filepath.Join(dir, manifestPath(name))
	if !validName(name) {
		return nil, &ManifestError{File: file, Reason: fmt.Sprintf("has the bad name %q", name)}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, missing(file, err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return readManifest(root, name)
}

// Manifests returns the manifests of all Pythons in the prefix dir: python3.9, python3.13, python3.13t. There being none, or no
// prefix, is not an error; one that cannot be relied on is a *[ManifestError].
func Manifests(dir string) (list []*Manifest, err error) {
	root, err := os.OpenRoot(dir)
	if absent(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return readManifests(root)
}

func readManifests(root *os.Root) (list []*Manifest, err error) {
	files, err := fs.ReadDir(root.FS(), home)
	if absent(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("manifests: %w", err)
	}
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !validName(name) {
			continue
		}
		m, err := readManifest(root, name)
		if err != nil {
			return nil, err
		}
		list = append(list, m)
	}
	slices.SortFunc(list, func(a, b *Manifest) int { return compareNames(a.Name, b.Name) })
	return list, nil
}

func readManifest(root *os.Root, name string) (m *Manifest, err error) {
	file := filepath.Join(root.Name(), manifestPath(name))
	info, err := root.Lstat(manifestPath(name))
	if err != nil {
		return nil, missing(file, err)
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, &ManifestError{File: file, Reason: "is not a regular file"}
	}
	f, err := root.Open(manifestPath(name))
	if err != nil {
		return nil, missing(file, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if len(data) > maxManifest {
		return nil, &ManifestError{File: file, Reason: "is too large"}
	}
	m, reason, err := decode(name, data)
	if reason != "" {
		return nil, &ManifestError{File: file, Reason: reason, Err: err}
	}
	return m, nil
}

// missing makes fs.ErrNotExist of every way in which a file can be not there.
func missing(file string, err error) error {
	if absent(err) {
		err = &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
	}
	return fmt.Errorf("manifest: %w", err)
}

// decode parses a manifest and says what is wrong with it, if anything is.
func decode(name string, data []byte) (m *Manifest, reason string, err error) {
	// First the format alone, because another one may have other types.
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, "cannot be decoded", err
	}
	if head.Format != format {
		return nil, fmt.Sprintf("has format %d", head.Format), nil
	}
	m = new(Manifest)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, "cannot be decoded", err
	}
	if m.Name != name {
		return nil, fmt.Sprintf("is of %q", m.Name), nil
	}
	if reason := m.check(); reason != "" {
		return nil, reason, nil
	}
	return m, "", nil
}

// encode is the inverse of decode.
func (m *Manifest) encode() ([]byte, error) {
	// An empty list and none are the same, and must be the same bytes.
	c := *m
	for _, list := range []*[]string{&c.ConfigureArgs, &c.Environment, &c.Quirks, &c.Options} {
		if *list == nil {
			*list = []string{}
		}
	}
	if c.Parts == nil {
		c.Parts = map[string]string{}
	}
	if c.Checks == nil {
		c.Checks = []Check{}
	}
	if c.Libraries == nil {
		c.Libraries = []Library{}
	}
	if c.Paths == nil {
		c.Paths = []Entry{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(&c); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return b.Bytes(), nil
}

// check says what is wrong with a manifest, "" when nothing is. It is what makes its paths safe to use below a root.
func (m *Manifest) check() (reason string) {
	if !validName(m.Name) {
		return fmt.Sprintf("has the bad name %q", m.Name)
	}
	if !validPath(m.Executable) {
		return fmt.Sprintf("has the bad executable %q", m.Executable)
	}
	for i, e := range m.Paths {
		if !validPath(e.Path) {
			return fmt.Sprintf("lists the bad path %q", e.Path)
		}
		if i > 0 && m.Paths[i-1].Path >= e.Path {
			return fmt.Sprintf("lists %q out of order or twice", e.Path)
		}
		if reason := e.check(); reason != "" {
			return fmt.Sprintf("lists %q %s", e.Path, reason)
		}
	}
	for i, a := range m.Aside {
		kept := ours(a.Path) && ours(a.Kept) && !within(a.Path, home) && validKept(a.Path, a.Kept)
		if !kept || i > 0 && m.Aside[i-1].Kept >= a.Kept || (a.Type == typeFile) != validDigest(a.SHA256) || (a.Type == typeLink) != (a.Target != "") {
			return fmt.Sprintf("lists the bad file %q that was kept aside", a.Kept)
		}
	}
	return ""
}

func (e *Entry) check() (reason string) {
	file, link := e.Type == typeFile, e.Type == typeLink
	_, mode := parseMode(e.Mode)
	switch {
	case !file && !link && e.Type != typeDir:
		return fmt.Sprintf("with the type %q", e.Type)
	case !mode:
		return fmt.Sprintf("with the mode %q", e.Mode)
	case e.Size < 0, !file && e.Size != 0:
		return fmt.Sprintf("with the size %d", e.Size)
	case file != (e.SHA256 != ""), file && !validDigest(e.SHA256):
		return fmt.Sprintf("with the digest %q", e.SHA256)
	case link != (e.Target != ""), strings.ContainsRune(e.Target, 0):
		return fmt.Sprintf("with the target %q", e.Target)
	// What leads to the manifests must be a directory, and what is in there belongs to nobody's installation.
	case strings.HasPrefix(e.Path, home+"/"), (e.Path == home || e.Path == path.Dir(home)) && e.Type != typeDir:
		return "where manifests are kept"
	case within(e.Path, work):
		return "where changes are prepared"
	}
	return ""
}

func manifestPath(name string) string { return home + "/" + name + ".json" }

// validName says that name is safe as the stem of a file name.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		alnum := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alnum && (i == 0 || !strings.ContainsRune("._+-", rune(c))) {
			return false
		}
	}
	return name != ""
}

// validPath says that name is relative, clean, and below what it is relative to.
func validPath(name string) bool {
	return name != "." && fs.ValidPath(name) && !strings.ContainsRune(name, 0)
}

func validDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// compareNames orders as people do: runs of digits by their value, the rest by its bytes.
func compareNames(a, b string) int {
	for a != "" && b != "" {
		x, y := leading(a), leading(b)
		a, b = a[len(x):], b[len(y):]
		if isDigit(x[0]) && isDigit(y[0]) {
			m, n := strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), strings.Compare(m, n)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(x, y); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// leading returns the longest beginning of s that is all digits or all something else; s is not empty.
func leading(s string) string {
	for i := 1; i < len(s); i++ {
		if isDigit(s[i]) != isDigit(s[0]) {
			return s[:i]
		}
	}
	return s
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
