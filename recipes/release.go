package recipes

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// How well the recorded digest of an archive is known. None of them replaces the verification of a download: the digest is
// compared whatever its proof.
const (
	ProofSignature    = "signature-verified" // a signature over the archive with this digest was verified
	ProofAgreed       = "agreed"             // several independent projects record this digest
	ProofSingleSource = "single-source"      // one project records it
)

// A Release is one version that upstream published.
type Release struct {
	Version  Version
	Date     string  // day, 2025-06-11; empty where it is not known
	Series   *Series // never nil
	Archives []Archive

	signer Identity // another than that of the series; usually nobody
}

// An Archive is a source archive of a release. A release has at least one; the .tar.xz comes before the .tgz.
type Archive struct {
	Name     string         // Python-3.13.5.tar.xz
	Path     string         // slash-separated, below https://www.python.org/ftp/python/: 3.13.5/Python-3.13.5.tar.xz
	SHA256   string         // 64 lower-case hexadecimal digits
	Size     int64          // bytes; 0 when it is not recorded
	Proof    string         // ProofSignature, ProofAgreed or ProofSingleSource
	Sigstore *SigstoreProof // the bundle that was verified when the recipe was written; nil: none was
	OpenPGP  *OpenPGPProof  // the signature that was verified when the recipe was written; nil: none was
}

// A SigstoreProof is where the public log has the signature that Release.Signer made over an archive.
type SigstoreProof struct {
	LogIndex int64     // in Rekor, over all its shards
	Time     time.Time // when it entered the log: UTC, to the second
}

// An OpenPGPProof is which key made a detached signature over an archive.
type OpenPGPProof struct {
	Fingerprint string    // one of Series.OpenPGP
	Time        time.Time // as the signature has it: UTC, to the second
}

// Signer returns who must have signed the Sigstore bundles of the release: whom the release names, else whom its series does.
func (r *Release) Signer() Identity {
	if r.signer != (Identity{}) {
		return r.signer
	}
	return r.Series.Sigstore
}

// HasSigstore reports whether upstream publishes a Sigstore bundle beside each archive of the release. It may, without the
// recipe recording a proof: not every bundle was at hand when it was written.
func (r *Release) HasSigstore() bool {
	s := r.Series
	return r.Signer() != (Identity{}) && (r.Version.Compare(s.SigstoreSince) >= 0 || slices.Contains(s.SigstoreAlso, r.Version))
}

// HasOpenPGP reports whether upstream publishes an OpenPGP signature beside each archive of the release.
func (r *Release) HasOpenPGP() bool { return len(r.Series.OpenPGP) > 0 }

// Signed reports whether upstream publishes a signature of either kind beside each archive of the release.
func (r *Release) Signed() bool { return r.HasSigstore() || r.HasOpenPGP() }

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

// Stanza returns the release as a recipe has it, in TOML. Load and Extend read from it what they would have from the original,
// and check it: Stanza itself does not.
func (r *Release) Stanza() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[[release]]\nversion = %q\n", r.Version)
	if r.Date != "" {
		fmt.Fprintf(&b, "date = %q\n", r.Date)
	}
	if r.signer != (Identity{}) {
		fmt.Fprintf(&b, "signer = { identity = %q, issuer = %q }\n", r.signer.Identity, r.signer.Issuer)
	}
	for _, a := range r.Archives {
		key := "tgz"
		if strings.HasSuffix(a.Name, ".tar.xz") {
			key = "tar_xz"
		}
		fmt.Fprintf(&b, "%s = { sha256 = %q", key, a.SHA256)
		if a.Size != 0 {
			fmt.Fprintf(&b, ", size = %d", a.Size)
		}
		fmt.Fprintf(&b, ", proof = %q", a.Proof)
		if p := a.Sigstore; p != nil {
			fmt.Fprintf(&b, ", sigstore = { log_index = %d, time = %q }", p.LogIndex, p.Time.UTC().Format(timeLayout))
		}
		if p := a.OpenPGP; p != nil {
			fmt.Fprintf(&b, ", openpgp = { fingerprint = %q, time = %q }", p.Fingerprint, p.Time.UTC().Format(timeLayout))
		}
		b.WriteString(" }\n")
	}
	return b.String()
}

// releaseEntry is a [[release]] as it is written.
type releaseEntry struct {
	Version Version       `toml:"version"`
	Date    string        `toml:"date"`
	Signer  *Identity     `toml:"signer"`
	TarXZ   *archiveEntry `toml:"tar_xz"`
	TGZ     *archiveEntry `toml:"tgz"`
}

type archiveEntry struct {
	SHA256   string         `toml:"sha256"`
	Size     *int64         `toml:"size"`
	Proof    string         `toml:"proof"`
	Sigstore *sigstoreEntry `toml:"sigstore"`
	OpenPGP  *openpgpEntry  `toml:"openpgp"`
}

type sigstoreEntry struct {
	LogIndex int64  `toml:"log_index"`
	Time     string `toml:"time"`
}

type openpgpEntry struct {
	Fingerprint string `toml:"fingerprint"`
	Time        string `toml:"time"`
}

// seen is what no two archives of a catalogue may share. A digest or a log entry that is there twice was copied.
type seen struct {
	digests    map[string]bool
	logIndexes map[int64]bool
}

func newSeen() seen {
	return seen{make(map[string]bool), make(map[int64]bool)}
}

func (s seen) add(a Archive) error {
	if s.digests[a.SHA256] {
		return fmt.Errorf("sha256 %q is there twice", a.SHA256)
	}
	s.digests[a.SHA256] = true
	if a.Sigstore != nil {
		if s.logIndexes[a.Sigstore.LogIndex] {
			return fmt.Errorf("sigstore: log_index %d is there twice", a.Sigstore.LogIndex)
		}
		s.logIndexes[a.Sigstore.LogIndex] = true
	}
	return nil
}

// read turns an entry into a release of s, and remembers its archives.
func (s *Series) read(e releaseEntry, seen seen) (*Release, error) {
	if e.Version == (Version{}) {
		return nil, errors.New("no version")
	}
	if e.Version.Series() != s.Name {
		return nil, fmt.Errorf("not of series %s", s.Name)
	}
	if e.Date != "" {
		if err := checkDay("date", e.Date); err != nil {
			return nil, err
		}
	}
	if err := checkIdentity("signer", e.Signer); err != nil {
		return nil, err
	}
	r := &Release{Version: e.Version, Date: e.Date, Series: s}
	if e.Signer != nil {
		r.signer = *e.Signer
	}
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
		archive := newArchive(e.Version, a.suffix)
		err := a.entry.read(&archive, r)
		if err == nil {
			err = seen.add(archive)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.key, err)
		}
		r.Archives = append(r.Archives, archive)
	}
	if len(r.Archives) == 0 {
		return nil, errors.New("no archive")
	}
	return r, nil
}

// checkNewestFirst checks the last of some entries against the one before it.
func checkNewestFirst(entries []releaseEntry) error {
	if n := len(entries); n > 1 && entries[n-1].Version.Compare(entries[n-2].Version) >= 0 {
		return fmt.Errorf("not older than %s before it", entries[n-2].Version)
	}
	return nil
}

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

// read fills in what the entry says about a, an archive of r.
func (e *archiveEntry) read(a *Archive, r *Release) (err error) {
	if !digestPattern.MatchString(e.SHA256) {
		return fmt.Errorf("sha256 %q is not 64 lower-case hexadecimal digits", e.SHA256)
	}
	if e.Size != nil && *e.Size <= 0 {
		return fmt.Errorf("size %d is not a number of bytes", *e.Size)
	}
	if err := checkOneOf("proof", e.Proof, ProofSignature, ProofAgreed, ProofSingleSource); err != nil {
		return err
	}
	a.SHA256, a.Proof = e.SHA256, e.Proof
	if e.Size != nil {
		a.Size = *e.Size
	}
	if e.Sigstore != nil {
		if a.Sigstore, err = e.Sigstore.read(r); err != nil {
			return fmt.Errorf("sigstore: %w", err)
		}
	}
	if e.OpenPGP != nil {
		if a.OpenPGP, err = e.OpenPGP.read(r); err != nil {
			return fmt.Errorf("openpgp: %w", err)
		}
	}
	switch signed := a.Sigstore != nil || a.OpenPGP != nil; {
	case !signed && a.Proof == ProofSignature:
		return fmt.Errorf("proof %q, but by no signature", a.Proof)
	case signed && a.Proof != ProofSignature:
		return fmt.Errorf("proof %q, but there is a signature", a.Proof)
	}
	return nil
}

func (e *sigstoreEntry) read(r *Release) (*SigstoreProof, error) {
	if !r.HasSigstore() {
		return nil, errors.New("the release has no bundle")
	}
	if e.LogIndex <= 0 {
		return nil, fmt.Errorf("log_index %d is not a place in the log", e.LogIndex)
	}
	t, err := parseTime(e.Time)
	return &SigstoreProof{LogIndex: e.LogIndex, Time: t}, err
}

func (e *openpgpEntry) read(r *Release) (*OpenPGPProof, error) {
	if !slices.Contains(r.Series.OpenPGP, e.Fingerprint) {
		return nil, fmt.Errorf("%q is not a key of the series", e.Fingerprint)
	}
	t, err := parseTime(e.Time)
	return &OpenPGPProof{Fingerprint: e.Fingerprint, Time: t}, err
}

// timeLayout is UTC to the second, and the only way to write a time: what is read is written back as it was.
const timeLayout = "2006-01-02T15:04:05Z"

func parseTime(s string) (time.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Format(timeLayout) != s { // Parse takes fractions of a second, too
		return time.Time{}, fmt.Errorf("time %q is not one like 2025-06-11T17:46:23Z", s)
	}
	return t, nil
}

func checkDay(key, s string) error {
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return fmt.Errorf("%s %q is not a day like 2025-06-11", key, s)
	}
	return nil
}

// ArchivesOf returns the archives that upstream publishes of a version, by name and path alone.
func ArchivesOf(v Version) []Archive {
	return []Archive{newArchive(v, ".tar.xz"), newArchive(v, ".tgz")}
}

// newArchive returns the archive of v that has this suffix. Pre-releases lie in the directory of the final release.
func newArchive(v Version, suffix string) Archive {
	name := "Python-" + v.String() + suffix
	return Archive{Name: name, Path: fmt.Sprintf("%d.%d.%d/%s", v.Major, v.Minor, v.Micro, name)}
}
