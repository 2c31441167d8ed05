package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"time"
)

// How a series is maintained, as python.org calls it.
const (
	StatusFeature   = "feature"
	StatusBugfix    = "bugfix"
	StatusSecurity  = "security"
	StatusEndOfLife = "end-of-life"
)

// How well the recorded digest of an archive is known. None of them replaces the verification of a download: the digest is
// compared whatever its proof.
const (
	ProofSignature    = "signature-verified" // a signature over the archive with this digest was verified
	ProofAgreed       = "agreed"             // several independent projects record this digest
	ProofSingleSource = "single-source"      // one project records it
)

// A Series is all releases of one feature version, 3.13.
type Series struct {
	Name           string     // "3.13"
	Status         string     // StatusFeature, StatusBugfix, StatusSecurity or StatusEndOfLife, when the recipe was written
	EndOfLife      string     // day, 2029-10-01, planned or past
	ReleaseManager string     // name of a person
	OpenPGP        []string   // full fingerprints of the keys that sign; none from 3.14 on
	Sigstore       Identity   // who signs; older releases of a series may lack the signature
	ConfigureArgs  []string   // what every build of the series needs
	NoTests        NoTests    // how to leave out the test package
	Releases       []*Release // newest first, pre-releases included
}

// NoTests is how a build of a series leaves out the test package and the extension modules that only tests use.
type NoTests struct {
	ConfigureArgs []string `toml:"configure_args"` // 3.10 and newer know how themselves
	Extensions    []string `toml:"extensions"`     // not to be built, as Modules/Setup.local calls them
	Directories   []string `toml:"directories"`    // slash-separated, below the source tree; removed before the installation
}

// An Identity names who a Sigstore certificate must have been issued to, and by whom. The zero value is nobody.
type Identity struct {
	Identity string `toml:"identity"` // e-mail address
	Issuer   string `toml:"issuer"`   // URL of the OpenID provider
}

// A Release is one version that upstream published.
type Release struct {
	Version  Version
	Date     string  // day, 2025-06-11; empty where it is not known
	Series   *Series // never nil
	Archives []Archive
}

// An Archive is a source archive of a release. A release has at least one; the .tar.xz comes before the .tgz.
type Archive struct {
	Name   string // Python-3.13.5.tar.xz
	Path   string // slash-separated, below https://www.python.org/ftp/python/: 3.13.5/Python-3.13.5.tar.xz
	SHA256 string // 64 lower-case hexadecimal digits
	Size   int64  // bytes; 0 when it is not recorded
	Proof  string // ProofSignature, ProofAgreed or ProofSingleSource
}

// Newest returns the newest final release of the series, nil while there are only pre-releases.
func (s *Series) Newest() *Release {
	for _, r := range s.Releases {
		if r.Version.IsFinal() {
			return r
		}
	}
	return nil
}

// ArchiveByDigest finds the archive with this SHA-256, in hexadecimal digits of either case. Both results are nil if no recipe
// has it.
func (c *Catalogue) ArchiveByDigest(sha256 string) (*Release, *Archive) {
	for _, s := range c.Series {
		for _, r := range s.Releases {
			for i := range r.Archives {
				if strings.EqualFold(r.Archives[i].SHA256, sha256) {
					return r, &r.Archives[i]
				}
			}
		}
	}
	return nil, nil
}

// seriesFile is cpython/3.13.toml as it is written.
type seriesFile struct {
	Series         string         `toml:"series"`
	Status         string         `toml:"status"`
	EndOfLife      string         `toml:"end_of_life"`
	ReleaseManager string         `toml:"release_manager"`
	OpenPGP        []string       `toml:"openpgp"`
	Sigstore       *Identity      `toml:"sigstore"`
	ConfigureArgs  []string       `toml:"configure_args"`
	NoTests        NoTests        `toml:"no_tests"`
	Release        []releaseEntry `toml:"release"`
}

type releaseEntry struct {
	Version Version       `toml:"version"`
	Date    string        `toml:"date"`
	TarXZ   *archiveEntry `toml:"tar_xz"`
	TGZ     *archiveEntry `toml:"tgz"`
}

type archiveEntry struct {
	SHA256 string `toml:"sha256"`
	Size   *int64 `toml:"size"`
	Proof  string `toml:"proof"`
}

func (c *Catalogue) loadSeries(fsys fs.FS) error {
	files, err := glob(fsys, "cpython")
	if err != nil {
		return err
	}
	digests := make(map[string]bool) // of all series: one digest, one archive
	for _, file := range files {
		var f seriesFile
		if err := decode(fsys, file, &f); err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return &FileError{File: file, Err: err}
		}
		if file != "cpython/"+f.Series+".toml" {
			return &FileError{File: file, Err: fmt.Errorf("the file of series %s has another name", f.Series)}
		}
		s := &Series{
			Name:           f.Series,
			Status:         f.Status,
			EndOfLife:      f.EndOfLife,
			ReleaseManager: f.ReleaseManager,
			OpenPGP:        f.OpenPGP,
			ConfigureArgs:  f.ConfigureArgs,
			NoTests:        f.NoTests,
		}
		if f.Sigstore != nil {
			s.Sigstore = *f.Sigstore
		}
		for _, e := range f.Release {
			r, err := s.release(e, digests)
			if err != nil {
				return &FileError{file, "release " + e.Version.String(), err}
			}
			s.Releases = append(s.Releases, r)
		}
		c.Series = append(c.Series, s)
	}
	slices.SortFunc(c.Series, func(a, b *Series) int { return compareSeries(b.Name, a.Name) })
	return nil
}

var (
	fingerprintPattern = regexp.MustCompile(`^[0-9A-F]{40}$`)
	directoryPattern   = regexp.MustCompile(`^[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*$`) // nothing that leaves the source tree
	digestPattern      = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// check checks everything of a series but its releases.
func (f *seriesFile) check() error {
	if _, ok := parseSeries(f.Series); !ok {
		return fmt.Errorf("%q is not a series", f.Series)
	}
	if err := firstError(
		checkOneOf("status", f.Status, StatusFeature, StatusBugfix, StatusSecurity, StatusEndOfLife),
		checkDay("end_of_life", f.EndOfLife),
		checkText("release_manager", f.ReleaseManager),
		checkWords("configure_args", f.ConfigureArgs),
		checkWords("no_tests: configure_args", f.NoTests.ConfigureArgs),
		checkEach("no_tests: extensions", f.NoTests.Extensions, identifierPattern),
		checkEach("no_tests: directories", f.NoTests.Directories, directoryPattern),
	); err != nil {
		return err
	}
	for _, key := range f.OpenPGP {
		if !fingerprintPattern.MatchString(key) {
			return fmt.Errorf("openpgp: %q is not a full fingerprint, 40 upper-case hexadecimal digits", key)
		}
	}
	switch id := f.Sigstore; {
	case id == nil && len(f.OpenPGP) == 0:
		return errors.New("no signer")
	case id != nil && !strings.Contains(id.Identity, "@"):
		return fmt.Errorf("sigstore: identity %q is not an e-mail address", id.Identity)
	case id != nil && !strings.HasPrefix(id.Issuer, "https://"):
		return fmt.Errorf("sigstore: issuer %q is not an https URL", id.Issuer)
	}
	if len(f.Release) == 0 {
		return errors.New("no release")
	}
	return nil
}

// release turns an entry into a release that follows those which s has already.
func (s *Series) release(e releaseEntry, digests map[string]bool) (*Release, error) {
	if e.Version == (Version{}) {
		return nil, errors.New("no version")
	}
	if e.Version.Series() != s.Name {
		return nil, fmt.Errorf("not of series %s", s.Name)
	}
	if n := len(s.Releases); n > 0 && e.Version.Compare(s.Releases[n-1].Version) >= 0 {
		return nil, fmt.Errorf("not older than %s before it", s.Releases[n-1].Version)
	}
	if e.Date != "" {
		if err := checkDay("date", e.Date); err != nil {
			return nil, err
		}
	}
	r := &Release{Version: e.Version, Date: e.Date, Series: s}
	dir := fmt.Sprintf("%d.%d.%d", e.Version.Major, e.Version.Minor, e.Version.Micro) // that of the final release
	for _, a := range []struct {
		key, suffix string
		entry       *archiveEntry
	}{
		{"tar_xz", ".tar.xz", e.TarXZ},
		{"tgz", ".tgz", e.TGZ},
	} {
		if a.entry == nil {
			continue
		}
		if err := a.entry.check(digests); err != nil {
			return nil, fmt.Errorf("%s: %w", a.key, err)
		}
		name := "Python-" + e.Version.String() + a.suffix
		archive := Archive{Name: name, Path: dir + "/" + name, SHA256: a.entry.SHA256, Proof: a.entry.Proof}
		if a.entry.Size != nil {
			archive.Size = *a.entry.Size
		}
		r.Archives = append(r.Archives, archive)
	}
	if len(r.Archives) == 0 {
		return nil, errors.New("no archive")
	}
	return r, nil
}

func (a *archiveEntry) check(digests map[string]bool) error {
	if !digestPattern.MatchString(a.SHA256) {
		return fmt.Errorf("sha256 %q is not 64 lower-case hexadecimal digits", a.SHA256)
	}
	if a.Size != nil && *a.Size <= 0 {
		return fmt.Errorf("size %d is not a number of bytes", *a.Size)
	}
	return firstError(
		checkOneOf("proof", a.Proof, ProofSignature, ProofAgreed, ProofSingleSource),
		checkUnseen(digests, a.SHA256),
	)
}

func checkDay(key, s string) error {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return fmt.Errorf("%s %q is not a day like 2025-06-11", key, s)
	}
	return nil
}
