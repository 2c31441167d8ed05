package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Extend adds the releases that fsys has and c lacks. Its files are called like those of Load, cpython/3.13.toml, and hold
// nothing but [[release]] stanzas of a series that c knows; Release.Stanza writes them. That there are none is no error.
//
// What c has already stays as it is. A release that both know must have the same digests in both; one that is new is taken
// only with a signature that was verified, by a signer of its series. So a file can add to a catalogue, and change nothing
// in it.
//
// The error is a *FileError, and c is then as before. Nobody else may use c meanwhile.
func (c *Catalogue) Extend(fsys fs.FS) error {
	const dir = "cpython"
	files, err := fs.ReadDir(fsys, dir) // Glob would take a directory that cannot be read for an empty one
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return &FileError{File: dir, Err: err}
	}
	seen := newSeen()
	for _, s := range c.Series {
		for _, r := range s.Releases {
			for _, a := range r.Archives {
				_ = seen.add(a) // nothing is there twice in what was loaded
			}
		}
	}
	extended := make(map[*Series][]*Release)
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".toml")
		if !ok {
			continue
		}
		file := path.Join(dir, f.Name())
		n, ok := parseSeries(name)
		s := c.series(n[0], n[1])
		if !ok || s == nil {
			return &FileError{File: file, Err: errors.New("no such series is known")}
		}
		added, err := s.additions(fsys, file, seen)
		if err != nil {
			return err
		}
		all := slices.Concat(s.Releases, added)
		slices.SortFunc(all, func(a, b *Release) int { return b.Version.Compare(a.Version) })
		extended[s] = all
	}
	for s, releases := range extended {
		s.Releases = releases
	}
	return nil
}

// additions reads the releases of a file that s lacks, and checks all of them.
func (s *Series) additions(fsys fs.FS, file string, seen seen) (added []*Release, err error) {
	var f struct {
		Release []releaseEntry `toml:"release"`
	}
	if err := decode(fsys, file, &f); err != nil {
		return nil, err
	}
	for i, e := range f.Release {
		r, err := s.addition(e, seen)
		if err == nil {
			err = checkNewestFirst(f.Release[:i+1])
		}
		if err != nil {
			return nil, &FileError{file, entry("release", e.Version.String()), err}
		}
		if r != nil {
			added = append(added, r)
		}
	}
	return added, nil
}

// addition reads a release, and returns nil if s has it.
func (s *Series) addition(e releaseEntry, seen seen) (*Release, error) {
	if e.Signer != nil {
		return nil, errors.New("signer: not the series' own")
	}
	known := s.Release(e.Version)
	if known != nil {
		seen = newSeen() // what it repeats is compared instead
	}
	r, err := s.read(e, seen)
	if err != nil {
		return nil, err
	}
	for _, a := range r.Archives {
		if a.Proof != ProofSignature {
			return nil, fmt.Errorf("%s: proof %q is not %s", a.Name, a.Proof, ProofSignature)
		}
	}
	if known == nil {
		return r, nil
	}
	for _, a := range r.Archives {
		for _, b := range known.Archives {
			if a.Name == b.Name && a.SHA256 != b.SHA256 {
				return nil, fmt.Errorf("%s: sha256 %q is not that of the catalogue, which stays %q", a.Name, a.SHA256, b.SHA256)
			}
		}
	}
	return nil, nil
}
