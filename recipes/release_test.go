package recipes

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// reread holds r against what the loader reads from the stanza of r.
func reread(tb testing.TB, r *Release) {
	tb.Helper()
	var f struct {
		Release []releaseEntry `toml:"release"`
	}
	meta, err := toml.Decode(r.Stanza(), &f)
	if err != nil || len(f.Release) != 1 || len(meta.Undecoded()) != 0 {
		tb.Fatalf("%s: %v, %d releases, undecoded %v, from\n%s", r.Version, err, len(f.Release), meta.Undecoded(), r.Stanza())
	}
	again, err := r.Series.read(f.Release[0], newSeen())
	if err != nil || !reflect.DeepEqual(again, r) {
		tb.Fatalf("%s: %v, %+v, from\n%s", r.Version, err, again, r.Stanza())
	}
}

func TestStanza(t *testing.T) {
	day := time.Date(2026, 11, 22, 23, 30, 0, 5e8, time.FixedZone("", -3600)) // written as UTC, to the second
	xz, gz := digestOf("xz"), digestOf("gz")
	key := strings.Repeat("A0", 20)
	for _, row := range []struct {
		release Release
		want    string
	}{
		{
			Release{Archives: []Archive{{Name: "Python-3.13.19.tgz", SHA256: gz, Proof: ProofAgreed}}},
			"[[release]]\nversion = \"3.13.19\"\ntgz = { sha256 = \"" + gz + "\", proof = \"agreed\" }\n",
		},
		{
			Release{
				Date:   "2026-11-22",
				signer: Identity{"b@example.org", "https://accounts.example/b"},
				Archives: []Archive{
					{Name: "Python-3.13.19.tar.xz", SHA256: xz, Size: 1000, Proof: ProofSignature, Sigstore: &SigstoreProof{3028519171, day}},
					{Name: "Python-3.13.19.tgz", SHA256: gz, Size: 2000, Proof: ProofSignature, OpenPGP: &OpenPGPProof{key, day}},
				},
			},
			"[[release]]\nversion = \"3.13.19\"\ndate = \"2026-11-22\"\n" +
				"signer = { identity = \"b@example.org\", issuer = \"https://accounts.example/b\" }\n" +
				"tar_xz = { sha256 = \"" + xz + "\", size = 1000, proof = \"signature-verified\", sigstore = { log_index = 3028519171, time = \"2026-11-23T00:30:00Z\" } }\n" +
				"tgz = { sha256 = \"" + gz + "\", size = 2000, proof = \"signature-verified\", openpgp = { fingerprint = \"" + key + "\", time = \"2026-11-23T00:30:00Z\" } }\n",
		},
		{ // nothing gets out of its quotes
			Release{Date: "\"\n[[x]]", Archives: []Archive{{Name: "Python-3.13.19.tgz", SHA256: gz, Proof: ProofAgreed}}},
			"[[release]]\nversion = \"3.13.19\"\ndate = \"\\\"\\n[[x]]\"\ntgz = { sha256 = \"" + gz + "\", proof = \"agreed\" }\n",
		},
	} {
		row.release.Version = Version{3, 13, 19, ""}
		if got := row.release.Stanza(); got != row.want {
			t.Errorf("got\n%swant\n%s", got, row.want)
		}
	}
	for _, s := range loadSmall(t).Series {
		for _, r := range s.Releases {
			reread(t, r)
		}
	}
}

// TestSigner: a release may have been signed by somebody else than its series, and may have no bundle where its series has.
func TestSigner(t *testing.T) {
	series, other := Identity{"a@example.org", "https://accounts.example"}, Identity{"b@example.org", "https://b.example"}
	const signer = "signer = { identity = \"b@example.org\", issuer = \"https://b.example\" }\n"
	for _, row := range []struct {
		name              string
		header, stanza    string // put before openpgp, and into 3.13.1
		drop              string
		want              Identity
		sigstore, openpgp bool
	}{
		{"as the series", "", "", "", series, true, true},
		{"another signer", "", signer, "", other, true, true},
		{"another signer, the series has none", "", signer, smallIdentity, other, true, true},
		{"no signer at all", "", "", smallIdentity, Identity{}, false, true},
		{"since", "sigstore_since = \"3.13.1\"\n", "", "", series, true, true},
		{"later", "sigstore_since = \"3.13.2\"\n", "", "", series, false, true},
		{"later, but also", "sigstore_since = \"3.13.2\"\nsigstore_also = [\"3.13.1\"]\n", "", "", series, true, true},
		{"no keys", "", "", smallKeys, series, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := strings.Replace(smallSeries("3.13", "3.13.1"), `signature-verified", `+smallProofs("3.13.1"), `agreed"`, 1)
			text = strings.Replace(text, "openpgp = ", row.header+"openpgp = ", 1)
			text = strings.Replace(text, "tar_xz = ", row.stanza+"tar_xz = ", 1)
			files := smallFiles()
			files["cpython/3.13.toml"] = strings.Replace(text, row.drop, "", 1)
			c, err := Load(fsOf(files))
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.Resolve("3.13.1")
			if err != nil {
				t.Fatal(err)
			}
			if s.Signer() != row.want || s.HasSigstore() != row.sigstore || s.HasOpenPGP() != row.openpgp || s.Signed() != (row.sigstore || row.openpgp) {
				t.Errorf("signer %v, Sigstore %t, OpenPGP %t, signed %t", s.Signer(), s.HasSigstore(), s.HasOpenPGP(), s.Signed())
			}
			reread(t, s.Release)
		})
	}
}
