package recipes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// neverRecorded are the final releases that the catalogue lacks between others that it has, and why.
var neverRecorded = map[string]string{
	"3.13.17": "nobody who records digests had it when 3.13.18 was in a distribution's index already",
	"3.15.1":  "nobody who records digests had it when 3.15.2 was in a distribution's index already",
}

// Every profile says how long each step takes that it has, and no other.
func TestEmbeddedSeconds(t *testing.T) {
	for _, p := range loadEmbedded(t).Profiles {
		want := []string{"commit", "compile", "configure", "configure-known", "inspect", "stage", "unpack"}
		if slices.Contains(p.ConfigureArgs, "--enable-optimizations") {
			want = append(want, "instrument", "train")
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(p.Seconds)); !slices.Equal(got, want) {
			t.Errorf("%s: seconds of %q, want %q", p.Name, got, want)
		}
	}
}

// TestEmbeddedReleases holds every release and archive of the embedded data to the rules, whether or not Load enforces them.
func TestEmbeddedReleases(t *testing.T) {
	c := loadEmbedded(t)
	digests := make(map[string]string) // whose they are
	logIndexes := make(map[int64]string)
	proofs := make(map[string]int)
	gaps := maps.Clone(neverRecorded)
	for i, s := range c.Series {
		if i > 0 && compareSeries(s.Name, c.Series[i-1].Name) >= 0 {
			t.Errorf("%s comes after %s", s.Name, c.Series[i-1].Name)
		}
		if s.Sigstore == (Identity{}) {
			t.Errorf("%s: no Sigstore identity", s.Name)
		}
		if hasKeys := compareSeries(s.Name, "3.14") < 0; hasKeys != (len(s.OpenPGP) > 0) { // PEP 761
			t.Errorf("%s: OpenPGP keys %q", s.Name, s.OpenPGP)
		}
		finals := make(map[int]bool)
		for j, r := range s.Releases {
			if j > 0 && r.Version.Compare(s.Releases[j-1].Version) >= 0 {
				t.Errorf("%s comes after %s", r.Version, s.Releases[j-1].Version)
			}
			if r.Series != s || r.Version.Series() != s.Name {
				t.Errorf("%s is in series %s", r.Version, s.Name)
			}
			if r.Version.IsFinal() {
				finals[r.Version.Micro] = true
			} else if i > 0 && s.Newest() != nil {
				t.Errorf("%s: pre-release of a series with final releases that is not the newest", r.Version)
			}
			if !r.Signed() {
				t.Errorf("%s: upstream signs every release", r.Version)
			}
			if !strings.HasSuffix(r.Archives[0].Name, ".tar.xz") {
				t.Errorf("%s: %s comes first", r.Version, r.Archives[0].Name)
			}
			for k, a := range r.Archives {
				checkEmbeddedArchive(t, r, a)
				if k > 0 && !strings.HasSuffix(a.Name, ".tgz") {
					t.Errorf("%s is a second archive", a.Name)
				}
				if other := digests[a.SHA256]; other != "" {
					t.Errorf("%s and %s have one digest", a.Name, other)
				}
				digests[a.SHA256] = a.Name
				if p := a.Sigstore; p != nil {
					if other := logIndexes[p.LogIndex]; other != "" {
						t.Errorf("%s and %s have one entry in the log", a.Name, other)
					}
					logIndexes[p.LogIndex] = a.Name
				}
				proofs[a.Proof]++
			}
		}
		if newest := s.Newest(); newest != nil {
			for micro := range newest.Version.Micro {
				v := Version{newest.Version.Major, newest.Version.Minor, micro, ""}.String()
				if _, explained := gaps[v]; finals[micro] == explained {
					t.Errorf("%s: there %t, explained %t", v, finals[micro], explained)
				}
				delete(gaps, v)
			}
		}
	}
	for v := range gaps {
		t.Errorf("%s: a gap that is none", v)
	}
	t.Logf("%d digests: %v", len(digests), proofs)
}

func checkEmbeddedArchive(t *testing.T, r *Release, a Archive) {
	t.Helper()
	v := r.Version
	if !strings.HasPrefix(a.Name, "Python-"+v.String()+".t") || a.Path != fmt.Sprintf("%d.%d.%d/%s", v.Major, v.Minor, v.Micro, a.Name) {
		t.Errorf("%s of %s is at %s", a.Name, v, a.Path)
	}
	if len(a.SHA256) != 64 || strings.Trim(a.SHA256, "0123456789abcdef") != "" {
		t.Errorf("%s: sha256 %q", a.Name, a.SHA256)
	}
	if a.Size != 0 && (a.Size < 15e6 || a.Size > 50e6) {
		t.Errorf("%s: %d bytes", a.Name, a.Size)
	}
	if signed := a.Sigstore != nil || a.OpenPGP != nil; signed != (a.Proof == ProofSignature) {
		t.Errorf("%s: proof %q, signed %t", a.Name, a.Proof, signed)
	}
	// An archive is signed on the eve of its release at the earliest; some were signed, or signed again, long after it.
	var times []time.Time
	if p := a.Sigstore; p != nil {
		times = append(times, p.Time)
		if !r.HasSigstore() || p.LogIndex <= 0 {
			t.Errorf("%s: %+v", a.Name, p)
		}
	}
	if p := a.OpenPGP; p != nil {
		times = append(times, p.Time)
		if !slices.Contains(r.Series.OpenPGP, p.Fingerprint) {
			t.Errorf("%s: %+v", a.Name, p)
		}
	}
	for _, signed := range times {
		earliest := time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC) // no release was signed with Sigstore before, and no older proof is recorded
		if r.Date != "" {
			released, err := time.Parse(time.DateOnly, r.Date)
			if err != nil {
				t.Error(err)
			}
			earliest = released.AddDate(0, 0, -2)
		}
		if signed.Before(earliest) {
			t.Errorf("%s: signed on %v, released on %s", a.Name, signed, r.Date)
		}
	}
}

// TestEmbeddedSignatures states which releases upstream signs, and how.
func TestEmbeddedSignatures(t *testing.T) {
	c := loadEmbedded(t)
	const (
		lukasz = "lukasz@langa.pl https://github.com/login/oauth"
		pablo  = "pablogsal@python.org https://accounts.google.com"
		thomas = "thomas@python.org https://accounts.google.com"
		hugo   = "hugo@python.org https://github.com/login/oauth"
	)
	for _, row := range []struct {
		version           string
		sigstore, openpgp bool
		signer            string
	}{
		{"3.8.0", false, true, lukasz},
		{"3.8.13", false, true, lukasz},
		{"3.8.14", true, true, lukasz},
		{"3.9.13", false, true, lukasz},
		{"3.9.14", true, true, lukasz},
		{"3.9.25", true, true, lukasz},
		{"3.10.0", false, true, pablo},
		{"3.10.1", true, true, pablo},
		{"3.10.2", false, true, pablo},
		{"3.10.6", false, true, pablo},
		{"3.10.7", true, true, pablo},
		{"3.10.14", true, true, pablo},
		{"3.10.22", true, true, pablo},
		{"3.11.0", true, true, pablo},
		{"3.12.0", true, true, thomas},
		{"3.13.0", true, true, thomas},
		{"3.13.18", true, true, thomas},
		{"3.14.0", true, false, hugo},
		{"3.15.0a1", true, false, hugo},
		{"3.15.2", true, false, hugo},
	} {
		r, err := c.Resolve(row.version)
		if err != nil {
			t.Error(err)
			continue
		}
		signer := r.Signer().Identity + " " + r.Signer().Issuer
		if r.HasSigstore() != row.sigstore || r.HasOpenPGP() != row.openpgp || signer != row.signer {
			t.Errorf("%s: Sigstore %t, OpenPGP %t, %s; want %t, %t, %s",
				row.version, r.HasSigstore(), r.HasOpenPGP(), signer, row.sigstore, row.openpgp, row.signer)
		}
	}
}

func TestEmbeddedRelease(t *testing.T) {
	c := loadEmbedded(t)
	for _, row := range []struct {
		spec string
		want Archive
	}{
		{"3.13.5", Archive{
			Name: "Python-3.13.5.tar.xz", Path: "3.13.5/Python-3.13.5.tar.xz",
			SHA256: "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640", Size: 22856016, Proof: ProofSignature,
			Sigstore: &SigstoreProof{235130253, time.Date(2025, 6, 11, 17, 46, 23, 0, time.UTC)},
			OpenPGP:  &OpenPGPProof{"7169605F62C751356D054A26A821E680E5FA6305", time.Date(2025, 6, 11, 17, 45, 54, 0, time.UTC)},
		}},
		{"3.8.0", Archive{
			Name: "Python-3.8.0.tgz", Path: "3.8.0/Python-3.8.0.tgz",
			SHA256: "f1069ad3cae8e7ec467aa98a6565a62a48ef196cb8f1455a245a08db5e1792df", Size: 23949883, Proof: ProofAgreed,
		}},
		{"3.15.0rc3", Archive{
			Name: "Python-3.15.0rc3.tar.xz", Path: "3.15.0/Python-3.15.0rc3.tar.xz",
			SHA256: "506630aa66d5441188f34df22c0760bfe87fc92212630493ebc9ff3b3a7a1d49", Proof: ProofSignature,
			Sigstore: &SigstoreProof{3062011159, time.Date(2026, 10, 2, 21, 0, 37, 0, time.UTC)},
		}},
		{"3.15.2", Archive{
			Name: "Python-3.15.2.tar.xz", Path: "3.15.2/Python-3.15.2.tar.xz",
			SHA256: "8b5536d280142ecf6cdfe15d12a21ba1c65e300bbf7b28a8d0cdb849575797de", Size: 27960396, Proof: ProofSingleSource,
		}},
	} {
		s, err := c.Resolve(row.spec)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, digest := range []string{row.want.SHA256, strings.ToUpper(row.want.SHA256)} {
			if r, a := c.ArchiveByDigest(digest); r != s.Release || a == nil || !reflect.DeepEqual(*a, row.want) {
				t.Errorf("%s: %v, %+v, want %+v", digest, r, a, row.want)
			}
		}
	}
	for _, digest := range []string{
		"", "93e583f2", strings.Repeat("0", 64),
		"b0c5f904f685e32d9232f7bdcbece9819a892929063b6e385414ad2dd6a23622", // Python-3.6.0.tar.xz: too old
	} {
		if r, a := c.ArchiveByDigest(digest); r != nil || a != nil {
			t.Errorf("%q: %v, %v", digest, r, a)
		}
	}
}

// recordedArchive is an archive as the collection of facts has it.
type recordedArchive struct {
	Path       string
	SHA256     string
	Size       int64
	Confidence string
	Sigstore   *struct{ Identity, Issuer string }
	OpenPGP    *struct {
		Fingerprint string
		SignedAt    time.Time `json:"signed_at"`
	}
}

// recordedBundle is what was found when a Sigstore bundle was verified.
type recordedBundle struct {
	Artifact         string
	ArtifactSHA256   string `json:"artifact_sha256"`
	Identity, Issuer string
	Times            string // Tlog@2025-06-11T17:46:23Z, and perhaps others after a comma
	LogIndex         int64  `json:"logIndex,string"`
}

// readRecorded reads one file of the collection of facts that the recipes were made from, and skips the test where that is
// absent.
func readRecorded(t *testing.T, name string, v any) {
	t.Helper()
	file := filepath.Join("..", "..", "shared", "data", filepath.FromSlash(name))
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no %s beside the module: the recipes are not compared with their source", file)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// TestRecorded compares every digest, size, proof and date with the collection they were taken from, where that is at hand.
func TestRecorded(t *testing.T) {
	var recorded struct {
		Releases []struct {
			Version, Series, Date string
			Prerelease            bool
			TarXZ                 *recordedArchive `json:"tar_xz"`
			TGZ                   *recordedArchive
		}
	}
	readRecorded(t, "releases.json", &recorded)
	var bundles []recordedBundle
	readRecorded(t, "sigstore/index.json", &bundles)
	proofs := make(map[string]recordedBundle)
	for _, b := range bundles {
		proofs[b.Artifact] = b
	}

	c := loadEmbedded(t)
	compared := make(map[string]bool)
	for _, want := range recorded.Releases {
		s, err := c.Resolve(want.Version)
		if err != nil {
			known := slices.ContainsFunc(c.Series, func(s *Series) bool { return s.Name == want.Series })
			// A 0 is not a pre-release but a file that was never announced.
			if known && (!want.Prerelease || want.Series == c.Series[0].Name && !strings.HasSuffix(want.Version, "a0")) {
				t.Errorf("%s is missing", want.Version)
			}
			continue
		}
		compared[want.Version] = true
		if s.Date != want.Date {
			t.Errorf("%s: date %q, want %q", want.Version, s.Date, want.Date)
		}
		var archives []Archive
		for _, a := range []*recordedArchive{want.TarXZ, want.TGZ} {
			if a == nil {
				continue
			}
			archive := Archive{Name: filepath.Base(a.Path), Path: a.Path, SHA256: a.SHA256, Size: a.Size, Proof: a.Confidence}
			if a.OpenPGP != nil {
				archive.OpenPGP = &OpenPGPProof{a.OpenPGP.Fingerprint, a.OpenPGP.SignedAt}
			}
			b, ok := proofs[archive.Name]
			if ok != (a.Sigstore != nil) || ok && b.ArtifactSHA256 != a.SHA256 {
				t.Errorf("%s: the collection contradicts itself", archive.Name)
			}
			if ok {
				if signer := (Identity{b.Identity, b.Issuer}); s.Signer() != signer {
					t.Errorf("%s: signer %v, want %v", archive.Name, s.Signer(), signer)
				}
				logged, _, _ := strings.Cut(strings.TrimPrefix(b.Times, "Tlog@"), ",")
				when, err := time.Parse(time.RFC3339, logged)
				if err != nil {
					t.Errorf("%s: %v", archive.Name, err)
				}
				archive.Sigstore = &SigstoreProof{b.LogIndex, when}
			}
			archives = append(archives, archive)
		}
		if !reflect.DeepEqual(s.Archives, archives) {
			t.Errorf("%s: %s\nwant %s", want.Version, s.Stanza(), (&Release{Version: s.Version, Archives: archives}).Stanza())
		}
	}
	for _, s := range c.Series {
		for _, r := range s.Releases {
			if !compared[r.Version.String()] {
				t.Errorf("%s is in no collection", r.Version)
			}
		}
	}
}

// TestRecordedSigners compares the people with the collection they were taken from, where that is at hand.
func TestRecordedSigners(t *testing.T) {
	var recorded struct {
		Series []struct {
			Series         string
			ReleaseManager string `json:"release_manager"`
			EndOfLife      string `json:"end_of_life"`
			Sigstore       *Identity
			OpenPGP        []struct{ Fingerprint string }
		}
	}
	readRecorded(t, "signers.json", &recorded)
	c := loadEmbedded(t)
	compared := 0
	for _, want := range recorded.Series {
		i := slices.IndexFunc(c.Series, func(s *Series) bool { return s.Name == want.Series })
		if i < 0 {
			continue
		}
		compared++
		s := c.Series[i]
		var keys []string
		for _, k := range want.OpenPGP {
			keys = append(keys, k.Fingerprint)
		}
		if s.ReleaseManager != want.ReleaseManager || s.EndOfLife != want.EndOfLife || s.Sigstore != *want.Sigstore || !slices.Equal(s.OpenPGP, keys) {
			t.Errorf("%s: %s, %s, %v, %q\nwant %s, %s, %v, %q",
				s.Name, s.ReleaseManager, s.EndOfLife, s.Sigstore, s.OpenPGP, want.ReleaseManager, want.EndOfLife, *want.Sigstore, keys)
		}
	}
	if compared != len(c.Series) {
		t.Errorf("%d of %d series compared", compared, len(c.Series))
	}
}

// TestEmbeddedStanzas: what Stanza writes is what the file has, letter for letter.
func TestEmbeddedStanzas(t *testing.T) {
	c := loadEmbedded(t)
	for _, s := range c.Series {
		data, err := fs.ReadFile(embedded, "cpython/"+s.Name+".toml")
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		if n := strings.Count(text, "[[release]]"); n != len(s.Releases) {
			t.Errorf("%s: %d stanzas, %d releases", s.Name, n, len(s.Releases))
		}
		for _, r := range s.Releases {
			if !strings.Contains(text+"\n", r.Stanza()+"\n") {
				t.Errorf("%s: the recipe does not have\n%s", s.Name, r.Stanza())
			}
			reread(t, r)
		}
	}
}
