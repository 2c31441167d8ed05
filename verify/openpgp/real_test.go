package openpgp_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pybuild/verify/openpgp"
)

// Fingerprints of release managers.
const (
	wouters  = "7169605F62C751356D054A26A821E680E5FA6305"
	peterson = "C01E1CAD5EA2C4F0B8E3571504C367C218ADD4FF"
)

// facts reads a file from the collection of real keys and signatures that lies beside a checkout of the module, if it does.
func facts(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "data", "pgp", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("needs the collection of real keys and signatures: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func ring(t testing.TB, data ...[]byte) *openpgp.Keyring {
	t.Helper()
	keys, err := openpgp.ParseKeyring(bytes.Join(data, nil))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// The real signatures without their files: everything is good about them but the file. The last row has the fakes only.
func TestRealSignatures(t *testing.T) {
	fakes := facts(t, "keys/evil32-lookalikes.asc")
	woutersKey, petersonKey := facts(t, "keys/debian-python3.13-upstream-signing-key.asc"), facts(t, "keys/"+peterson+".asc")
	all := bytes.Join([][]byte{fakes, woutersKey, petersonKey}, nil)
	for _, row := range []struct {
		name, signature string
		keys            []byte
		pinned, err     string
	}{
		{"3.13.5, another file", "Python-3.13.5.tar.xz.asc", woutersKey, wouters, "the signature by " + wouters + " does not match the file"},
		{"2.7.18, another file", "Python-2.7.18.tgz.asc", petersonKey, peterson, "the signature by " + peterson + " does not match the file"},
		{"3.13.5, among fakes", "Python-3.13.5.tar.xz.asc", all, wouters, "the signature by " + wouters + " does not match the file"},
		{"2.7.18, among fakes", "Python-2.7.18.tgz.asc", all, peterson, "the signature by " + peterson + " does not match the file"},
		{"3.13.5, another manager", "Python-3.13.5.tar.xz.asc", all, peterson, "signed by " + wouters + ", which is not pinned"},
		{"2.7.18, another manager", "Python-2.7.18.tgz.asc", all, wouters, "signed by " + peterson + ", which is not pinned"},
		{"3.13.5, fakes only", "Python-3.13.5.tar.xz.asc", fakes, wouters, "no key in the keyring has the fingerprint " + wouters},
		{"2.7.18, fakes only", "Python-2.7.18.tgz.asc", fakes, peterson, "no key in the keyring has the fingerprint " + peterson},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := openpgp.Verify(strings.NewReader("x"), facts(t, row.signature), ring(t, row.keys), []string{row.pinned})
			if got != nil || err == nil || err.Error() != row.err {
				t.Errorf("got %+v, %v, want %s", got, err, row.err)
			}
		})
	}
}

// Each of the fakes has the short ID of a real key, none its fingerprint.
func TestLookAlikes(t *testing.T) {
	fakes := ring(t, facts(t, "keys/evil32-lookalikes.asc"))
	if n := len(fakes.Fingerprints()); n != 12 {
		t.Errorf("%d fakes, want 12", n)
	}
	short := map[string]bool{}
	for _, f := range fakes.Fingerprints() {
		short[f[32:]] = true
	}
	alike := 0
	for _, name := range []string{
		"0D96DF4D4110E5C43FBFB17F2D347EA6AA65421D", "7ED10B6531D7C8E1BC296021FC624643487034E5",
		"97FC712E4C024BBEA48A61ED3A5CA953F73C700D", peterson,
	} {
		if short[name[32:]] {
			alike++
		}
		real := ring(t, facts(t, "keys/"+name+".asc"))
		if found, err := real.Find(name); err != nil || len(found.Fingerprints()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		_, err := fakes.Find(name)
		if refused, ok := errors.AsType[*openpgp.RefusedError](err); !ok || refused.Reason != openpgp.NoKey {
			t.Errorf("%s: got %v, want no such key", name, err)
		}
		_, err = fakes.Find(name[32:])
		if _, ok := errors.AsType[*openpgp.FingerprintError](err); !ok {
			t.Errorf("%s: got %v, want that a short ID is no fingerprint", name, err)
		}
	}
	if alike != 4 {
		t.Errorf("%d of 4 keys have a fake, so this proves little", alike)
	}
}

// Python-3.13.5.tar.xz itself, which is Debian's python3.13_3.13.5.orig.tar.xz too, is 23 MB and has to be given.
func TestRealRelease(t *testing.T) {
	path := os.Getenv("PYBUILD_TEST_ARCHIVE_3_13_5")
	if path == "" {
		t.Skip("needs the name of Python-3.13.5.tar.xz in PYBUILD_TEST_ARCHIVE_3_13_5")
	}
	archive, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	signature, key := facts(t, "Python-3.13.5.tar.xz.asc"), facts(t, "keys/debian-python3.13-upstream-signing-key.asc")
	keys := ring(t, facts(t, "keys/evil32-lookalikes.asc"), key)

	got, err := openpgp.Verify(bytes.NewReader(archive), signature, keys, []string{peterson, strings.ToLower(wouters)})
	if err != nil {
		t.Fatal(err)
	}
	want := openpgp.Facts{
		Fingerprint: wouters,
		Signed:      time.Date(2025, 6, 11, 17, 45, 54, 0, time.UTC),
		Hash:        "SHA-512",
		KeyExpires:  time.Date(2026, 7, 2, 13, 24, 17, 0, time.UTC),
		KeyExpired:  time.Now().After(time.Date(2026, 7, 2, 13, 24, 17, 0, time.UTC)),
	}
	if *got != want {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}

	kept := ring(t, keepOne(t, keys, wouters)) // as it is read from disk the next time
	if _, err := openpgp.Verify(bytes.NewReader(archive), signature, kept, []string{wouters}); err != nil {
		t.Errorf("with the key that was kept: %v", err)
	}

	changed := bytes.Clone(archive)
	changed[len(changed)/2] ^= 1
	_, err = openpgp.Verify(bytes.NewReader(changed), signature, keys, []string{wouters})
	if want := "the signature by " + wouters + " does not match the file"; err == nil || err.Error() != want {
		t.Errorf("one bit of the archive changed: got %v, want %s", err, want)
	}
	_, err = openpgp.Verify(bytes.NewReader(archive[:len(archive)-1]), signature, keys, []string{wouters})
	if want := "the signature by " + wouters + " does not match the file"; err == nil || err.Error() != want {
		t.Errorf("the last byte of the archive missing: got %v, want %s", err, want)
	}
}

func keepOne(t *testing.T, keys *openpgp.Keyring, fingerprint string) []byte {
	t.Helper()
	one, err := keys.Find(fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return one.Armor()
}
