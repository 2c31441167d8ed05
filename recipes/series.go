package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
)

// How a series is maintained, as python.org calls it.
const (
	StatusFeature   = "feature"
	StatusBugfix    = "bugfix"
	StatusSecurity  = "security"
	StatusEndOfLife = "end-of-life"
)

// A Series is all releases of one feature version, 3.13.
type Series struct {
	Name           string     // "3.13"
	Status         string     // StatusFeature, StatusBugfix, StatusSecurity or StatusEndOfLife, when the recipe was written
	EndOfLife      string     // day, 2029-10-01, planned or past
	ReleaseManager string     // name of a person
	OpenPGP        []string   // full fingerprints of the keys that sign every release; none from 3.14 on
	Sigstore       Identity   // who signs, unless a release says otherwise; nobody: no release has a bundle
	SigstoreSince  Version    // first release that has a bundle; the zero value: all have one
	SigstoreAlso   []Version  // older releases that got one all the same
	ConfigureArgs  []string   // what every build of the series needs
	NoTests        NoTests    // how to leave out the test package
	NoStatic       []string   // arguments for configure that leave out libpython3.X.a; none: make installs it in any case
	Releases       []*Release // newest first, pre-releases included
}

// NoTests is how a build of a series leaves out the test package and the extension modules that only tests use.
type NoTests struct {
	ConfigureArgs []string `toml:"configure_args"` // 3.10 and newer know how themselves
	Extensions    []string `toml:"extensions"`     // not to be built, as Modules/Setup.local calls them
	Directories   []string `toml:"directories"`    // slash-separated, below the source tree; removed before make installs them
	Training      bool     `toml:"training"`       // tests that train a guided build need the extension modules
}

// An Identity names who a Sigstore certificate must have been issued to, and by whom. The zero value is nobody.
type Identity struct {
	Identity string `toml:"identity"` // e-mail address
	Issuer   string `toml:"issuer"`   // URL of the OpenID provider
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

// Release returns the release with this version, nil if there is none.
func (s *Series) Release(v Version) *Release {
	for _, r := range s.Releases {
		if r.Version == v {
			return r
		}
	}
	return nil
}

// seriesFile is cpython/3.13.toml as it is written.
type seriesFile struct {
	Series         string         `toml:"series"`
	Status         string         `toml:"status"`
	EndOfLife      string         `toml:"end_of_life"`
	ReleaseManager string         `toml:"release_manager"`
	OpenPGP        []string       `toml:"openpgp"`
	Sigstore       *Identity      `toml:"sigstore"`
	SigstoreSince  Version        `toml:"sigstore_since"`
	SigstoreAlso   []Version      `toml:"sigstore_also"`
	ConfigureArgs  []string       `toml:"configure_args"`
	NoTests        NoTests        `toml:"no_tests"`
	NoStatic       []string       `toml:"no_static"` // 3.10 and newer know how
	Release        []releaseEntry `toml:"release"`
}

func (c *Catalogue) loadSeries(fsys fs.FS) error {
	files, err := glob(fsys, "cpython")
	if err != nil {
		return err
	}
	seen := newSeen() // in all series
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
			SigstoreSince:  f.SigstoreSince,
			SigstoreAlso:   f.SigstoreAlso,
			ConfigureArgs:  f.ConfigureArgs,
			NoTests:        f.NoTests,
			NoStatic:       f.NoStatic,
		}
		if f.Sigstore != nil {
			s.Sigstore = *f.Sigstore
		}
		for i, e := range f.Release {
			r, err := s.read(e, seen)
			if err == nil {
				err = checkNewestFirst(f.Release[:i+1])
			}
			if err != nil {
				return &FileError{file, entry("release", e.Version.String()), err}
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
	emailPattern       = regexp.MustCompile(`^[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+$`)
	issuerPattern      = regexp.MustCompile(`^https://[A-Za-z0-9._~:/-]+$`)
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
		checkWords("no_static", f.NoStatic),
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
	if f.Sigstore == nil && len(f.OpenPGP) == 0 {
		return errors.New("no signer")
	}
	if err := firstError(checkIdentity("sigstore", f.Sigstore), f.checkSpan()); err != nil {
		return err
	}
	if len(f.Release) == 0 {
		return errors.New("no release")
	}
	return nil
}

// checkSpan checks which releases are said to have a Sigstore bundle.
func (f *seriesFile) checkSpan() error {
	since := f.SigstoreSince
	if since == (Version{}) {
		if len(f.SigstoreAlso) > 0 {
			return errors.New("sigstore_also without sigstore_since")
		}
		return nil
	}
	if f.Sigstore == nil {
		return errors.New("sigstore_since without sigstore")
	}
	for _, v := range append([]Version{since}, f.SigstoreAlso...) {
		if v.Series() != f.Series {
			return fmt.Errorf("sigstore_since, sigstore_also: %s is not of series %s", v, f.Series)
		}
	}
	for _, v := range f.SigstoreAlso {
		if v.Compare(since) >= 0 {
			return fmt.Errorf("sigstore_also: %s is not older than %s", v, since)
		}
	}
	return nil
}

// checkIdentity accepts an absent identity, and one whose parts can be written down without being quoted.
func checkIdentity(key string, id *Identity) error {
	switch {
	case id == nil:
		return nil
	case !emailPattern.MatchString(id.Identity):
		return fmt.Errorf("%s: identity %q is not an e-mail address", key, id.Identity)
	case !issuerPattern.MatchString(id.Issuer):
		return fmt.Errorf("%s: issuer %q is not an https URL", key, id.Issuer)
	}
	return nil
}
