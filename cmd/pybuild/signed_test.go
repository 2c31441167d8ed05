package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"pybuild/verify/sigstore/sigstoretest"
)

// Who signs fake releases, and who only would like to.
const (
	manager = "manager@python.example"
	mallory = "mallory@python.example"
	issuer  = "https://accounts.example"
)

// signers are what signatures of the fake world are made with.
type signers struct {
	t            testing.TB
	sigstore     *sigstoretest.World
	key, another *openpgp.Entity // only the first is pinned
}

// signedSeries is the history of the fake CPython as the signed recipes know it.
var signedSeries = []struct {
	name              string
	sigstore, openpgp bool
	releases          []signedRelease
}{
	{"3.15", true, false, []signedRelease{{"3.15.0rc2", "agreed", []string{".tar.xz"}}}},
	{"3.13", true, true, []signedRelease{
		{"3.13.5", "agreed", []string{".tar.xz", ".tgz"}}, {"3.13.4", "single-source", []string{".tar.xz"}},
	}},
	{"3.12", false, true, []signedRelease{{"3.12.2", "agreed", []string{".tgz"}}}},
}

type signedRelease struct {
	version, proof string
	suffixes       []string
}

// sign puts beside the archives of the mirror, and of its pool, the signatures that they have on python.org, and returns the
// recipes that know of them, by series. Further files:
//
//	3.13.5/Python-3.13.5.tar.xz.sigstore.wrongkey  a good bundle, but mallory's; and so on
//	given/Python-3.13.5.tar.xz                     an archive that no recipe knows, signed
//	keys/FINGERPRINT                               the key
//	3.13.6/Python-3.13.6.tgz                       a release that no recipe knows, but the API in api/
//	debian/…/python3.12_3.12.2-2.debian.tar.xz     the packaging, with the key
func (w *fakeWorld) sign(t testing.TB) map[string]string {
	t.Helper()
	w.signers = &signers{t: t, sigstore: sigstoretest.New(t), key: newKey(manager), another: newKey(mallory)}
	w.trusted = filepath.Join(filepath.Dir(w.mirror), "trusted_root.json")
	write(t, w.trusted, w.signers.sigstore.Trusted())
	write(t, filepath.Join(w.mirror, "keys", fingerprint(w.signers.key)), public(w.signers.key))
	write(t, filepath.Join(w.mirror, "given/Python-3.13.5.tar.xz"),
		compress(newXZ, sourceTar("3.13.5", entry{tar.Header{Name: "Lib/given.py", Typeflag: tar.TypeReg}, nil})))
	w.signFile(t, "given/Python-3.13.5.tar.xz")
	write(t, filepath.Join(w.mirror, "3.13.6/Python-3.13.6.tgz"), goodGZ("3.13.6"))
	announced := w.signFile(t, "3.13.6/Python-3.13.6.tgz")
	// The mirror does not care for queries and slashes at the end.
	write(t, filepath.Join(w.mirror, "api/v2/downloads/release"), []byte(`[
		{"name": "Python 3.13.6", "version": 3, "is_published": true, "release_date": "2025-08-06T16:00:00Z", "resource_uri": "https://www.python.org/api/v2/downloads/release/1042/"},
		{"name": "Python 3.13.5", "version": 3, "is_published": true, "release_date": "2025-06-11T16:00:00Z", "resource_uri": "https://www.python.org/api/v2/downloads/release/1037/"},
		{"name": "Python install manager 25.0", "version": 100, "is_published": true, "resource_uri": "https://www.python.org/api/v2/downloads/release/1041/"}]`))
	write(t, filepath.Join(w.mirror, "api/v2/downloads/release_file"), fmt.Appendf(nil,
		`[{"url": "https://www.python.org/ftp/python/3.13.6/Python-3.13.6.tgz", "sha256_sum": %q, "filesize": %d}]`, digest(announced), len(announced)))
	pool := "debian/pool/main/p/python3.12/python3.12_3.12.2"
	write(t, filepath.Join(w.mirror, pool+"-2.debian.tar.xz"), packaging(public(w.signers.key)))

	texts := map[string]string{}
	for _, s := range signedSeries {
		text := fmt.Sprintf("series = %q\nstatus = \"bugfix\"\nend_of_life = \"2029-10-01\"\nrelease_manager = \"Manager\"\n", s.name)
		if s.sigstore {
			text += fmt.Sprintf("sigstore = { identity = %q, issuer = %q }\n", manager, issuer)
		}
		if s.openpgp {
			text += fmt.Sprintf("openpgp = [%q]\n", fingerprint(w.signers.key))
		}
		text += "\n[no_tests]\nconfigure_args = [\"--disable-test-modules\"]\n"
		for _, r := range s.releases {
			text += fmt.Sprintf("\n[[release]]\nversion = %q\ndate = \"2025-06-11\"\n", r.version)
			final, _, _ := strings.Cut(r.version, "rc")
			for _, suffix := range r.suffixes {
				name := final + "/Python-" + r.version + suffix
				content := w.signFile(t, name)
				text += fmt.Sprintf("%s = { sha256 = %q, size = %d, proof = %q }\n",
					map[string]string{".tar.xz": "tar_xz", ".tgz": "tgz"}[suffix], digest(content), len(content), r.proof)
			}
		}
		texts[s.name] = text
	}
	asc, err := os.ReadFile(filepath.Join(w.mirror, "3.12.2/Python-3.12.2.tgz.asc"))
	check(err)
	write(t, filepath.Join(w.mirror, pool+".orig.tar.gz.asc"), asc)
	return texts
}

// signFile writes the signatures of a file of the mirror, and returns the file.
func (w *fakeWorld) signFile(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(w.mirror, name))
	check(err)
	for suffix, signature := range map[string][]byte{
		".sigstore":          w.signers.bundle(content, manager, issuer),
		".sigstore.wrongkey": w.signers.bundle(content, mallory, issuer),
		".asc":               detached(w.signers.key, content),
		".asc.wrongkey":      detached(w.signers.another, content),
	} {
		write(t, filepath.Join(w.mirror, name+suffix), signature)
	}
	return content
}

func (s *signers) bundle(content []byte, email, issuer string) []byte {
	sum := sha256.Sum256(content)
	return sigstoretest.Marshal(s.t, s.sigstore.Sign(sigstoretest.Signing{Email: email, Issuer: issuer, Digest: sum[:], Index: 4711}))
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// newKey makes an elliptic-curve key, the cheapest to make.
func newKey(email string) *openpgp.Entity {
	key, err := openpgp.NewEntity("Somebody", "", email, &packet.Config{
		Algorithm: packet.PubKeyAlgoEd25519, Time: func() time.Time { return time.Now().Add(-time.Hour) },
	})
	check(err)
	return key
}

func fingerprint(key *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(key.PrimaryKey.Fingerprint))
}

// public is the key as a file.
func public(key *openpgp.Entity) []byte { return armored(binary(key)) }

func binary(key *openpgp.Entity) []byte {
	var b bytes.Buffer
	check(key.Serialize(&b))
	return b.Bytes()
}

func armored(binary []byte) []byte {
	var b bytes.Buffer
	a, err := armor.Encode(&b, "PGP PUBLIC KEY BLOCK", nil)
	check(err)
	must(a.Write(binary))
	check(a.Close())
	b.WriteByte('\n')
	return b.Bytes()
}

// otherMaterial is the key with one bit of the primary key itself changed, which makes it another one.
func otherMaterial(key *openpgp.Entity) []byte {
	var primary bytes.Buffer
	check(key.PrimaryKey.Serialize(&primary))
	b := binary(key)
	b[primary.Len()-1] ^= 1
	return armored(b)
}

// otherStatement is the key with one bit of what it says about itself changed.
func otherStatement(key *openpgp.Entity) []byte {
	var statement bytes.Buffer
	check(key.PrimaryIdentity().SelfSignature.Serialize(&statement))
	b := binary(key)
	b[bytes.Index(b, statement.Bytes())+statement.Len()-1] ^= 1
	return armored(b)
}

// detached is an armored signature.
func detached(key *openpgp.Entity, content []byte) []byte {
	var b bytes.Buffer
	check(openpgp.ArmoredDetachSign(&b, key, bytes.NewReader(content), nil))
	return b.Bytes()
}

// packaging is what a distribution adds to a release, with the key of its signer.
func packaging(key []byte) []byte {
	return compress(newXZ, append(tarOf("debian", []entry{
		{tar.Header{Name: "", Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "upstream", Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: path.Join("upstream", "signing-key.asc"), Typeflag: tar.TypeReg, Size: int64(len(key))}, key},
	}), make([]byte, 1024)...))
}
