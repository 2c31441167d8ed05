package openpgp_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"pybuild/verify/openpgp"
)

const day = 24 * time.Hour

// Most keys here are made at made, and sign at signed.
var (
	made   = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	signed = made.Add(100 * day)
)

const content = "a release\n"

// TestVerify has the faults of signatures and keys, each beside a row that differs in the fault only.
func TestVerify(t *testing.T) {
	rm, sub, other := newKey(t, made), newKey(t, made), newKey(t, made)
	v6 := newKey(t, made)
	check(t, v6.UpgradeToV6())
	weak, good, old := newRSA(t, made, 1024), newRSA(t, made, 2048), newDSA(t, made)
	box := newBox(t, made)

	bare := func(k *packet.PrivateKey) []byte { return newCert(t, k).public.Bytes() }
	with := func(c *cert) []byte { return c.public.Bytes() }
	key := func() *cert { return newCert(t, rm) }
	by := func(k *packet.PrivateKey, at time.Time, options ...option) []byte {
		return sign(t, k, content, at, options...)
	}
	ok := by(rm, signed)
	wrong := sign(t, rm, "another release\n", signed)
	bound := func(options ...option) *cert { return key().subkey(sub, sub, made, append(options, forSigning)...) }
	// A binding to rm that the subkey agreed to, but that rm did not make: taken from a key of other.
	stolen := newCert(t, other).subkey(sub, sub, made, forSigning)

	now := time.Now().Truncate(time.Second)
	const later = 50 * day // after signed

	for _, row := range []struct {
		name      string
		keys      []byte
		signature []byte
		err       string // RM, SUB, OTHER, WEAK, OLD stand for fingerprints; "" = good
	}{
		{"bare key", bare(rm), ok, ""},
		{"another file", bare(rm), wrong, "the signature by RM does not match the file"},
		{"key with a name", with(key().user(made, forSigning)), ok, ""},
		{"key without flags", with(key().user(made)), ok, ""},
		{"key for certifying only", with(key().user(made, forCertifying)), ok, "the key RM is not meant for signing"},
		{"for certifying only, then for signing", with(key().user(made, forCertifying).user(made.Add(day), forSigning)), ok, ""},

		{"another key", join(bare(rm), bare(other)), by(other, signed), "signed by OTHER, which is not pinned"},
		{"another key is in the ring too", join(bare(other), bare(rm)), ok, ""},
		{"only another key", bare(other), by(other, signed), "no key in the keyring has the fingerprint RM"},

		{"sha-256", bare(rm), by(rm, signed, digest(crypto.SHA256)), ""},
		{"sha-384", bare(rm), by(rm, signed, digest(crypto.SHA384)), ""},
		{"sha3-256", bare(rm), by(rm, signed, digest(crypto.SHA3_256)), ""},
		{"sha3-512", bare(rm), by(rm, signed, digest(crypto.SHA3_512)), ""},
		{"sha-224", bare(rm), by(rm, signed, digest(crypto.SHA224)), "the signature is of a weak digest, SHA-224"},
		{"sha-1", bare(rm), by(rm, signed, digest(crypto.SHA1)), "the signature is of a weak digest, SHA-1"},
		{"md5", bare(rm), patched(t, ok, octet(3, 1)), "the signature is of a weak digest, MD5"},
		{"ripemd-160", bare(rm), patched(t, ok, octet(3, 3)), "the signature is of a weak digest, RIPEMD-160"},
		{"unknown digest", bare(rm), patched(t, ok, octet(3, 99)), "the signature uses digest algorithm 99, which is not supported"},
		{"text", bare(rm), by(rm, signed, kind(packet.SigTypeText)), "the signature is of text, not of a binary file"},
		{"certification", bare(rm), by(rm, signed, kind(packet.SigTypeGenericCert)), "the signature is of type 0x10, not of a binary file"},
		{"version 3", bare(rm), patched(t, ok, octet(0, 3)), "the signature uses version 3 of the format, which is not supported"},
		{"unknown algorithm", bare(rm), patched(t, ok, octet(2, 99)), "the signature uses public-key algorithm 99, which is not supported"},
		{"another algorithm", bare(rm), patched(t, ok, octet(2, 1)), "malformed OpenPGP signature: unexpected EOF"},
		{"critical notation", bare(rm), by(rm, signed, criticalNotation), "the signature uses a critical notation, which is not supported"},

		{"rsa of 2048 bits", bare(good), by(good, signed), ""},
		{"rsa of 1024 bits", bare(weak), by(weak, signed), "the key WEAK is weak, RSA of 1024 bits"},
		{"dsa", bare(old), by(old, signed), "the key OLD is weak, DSA"},
		{"weak key above a subkey", with(newCert(t, weak).subkey(sub, sub, made, forSigning)), by(sub, signed), "the key WEAK is weak, RSA of 1024 bits"},
		{"good key above a subkey", with(newCert(t, good).subkey(sub, sub, made, forSigning)), by(sub, signed), ""},
		{"key for encrypting", bare(box), renamed(t, ok, fingerprint(box)), "the signature by BOX does not match the file"},
		{"weak subkey", with(key().subkey(weak, weak, made, forSigning)), by(weak, signed), "the key WEAK is weak, RSA of 1024 bits"},
		{"good subkey", with(key().subkey(good, good, made, forSigning)), by(good, signed), ""},

		{"an hour ago", bare(rm), by(rm, now.Add(-time.Hour)), ""},
		{"in an hour", bare(rm), by(rm, now.Add(time.Hour)), "the signature was made at " + stamp(now.Add(time.Hour)) + ", and now is NOW"},
		{"when the key was made", bare(rm), by(rm, made), ""},
		{"before the key was made", bare(rm), by(rm, made.Add(-time.Second)), "the signature was made at 2023-12-31T23:59:59Z, before its key RM, which was made at 2024-01-01T00:00:00Z"},
		{"signature that expires some day", bare(rm), by(rm, now.Add(-time.Hour), signatureLives(day)), ""},
		{"signature that has expired", bare(rm), by(rm, signed, signatureLives(day)), "the signature expired at " + stamp(signed.Add(day))},

		{"key expired, but later", with(key().user(made, keyLives(100*day+time.Second))), ok, ""},
		{"key expired then", with(key().user(made, keyLives(100*day))), ok, expired("RM", signed)},
		{"key expired then, over the key itself", with(key().direct(made, keyLives(100*day))), ok, expired("RM", signed)},
		{"key expired then, by sha-1", with(key().user(made, keyLives(100*day), digest(crypto.SHA1))), ok, expired("RM", signed)},
		{"prolonged", with(key().user(made, keyLives(50*day)).user(signed.Add(later), keyLives(200*day))), ok, ""},
		{"prolonged, newest first", with(key().user(signed.Add(later), keyLives(200*day)).user(made, keyLives(50*day))), ok, ""},
		{"prolonged, in another copy", join(with(key().user(made, keyLives(50*day))), with(key().user(signed.Add(later), keyLives(200*day)))), ok, ""},
		{"shortened", with(key().user(made, keyLives(200*day)).user(made.Add(day), keyLives(50*day))), ok, expired("RM", made.Add(50*day))},
		{"two of a second, the shorter first", with(key().user(made, keyLives(50*day)).user(made)), ok, expired("RM", made.Add(50*day))},
		{"two of a second, the shorter last", with(key().user(made).user(made, keyLives(50*day))), ok, expired("RM", made.Add(50*day))},
		{"newest says nothing of use", with(key().user(made, keyLives(50*day)).direct(made.Add(day))), ok, expired("RM", made.Add(50*day))},
		{"self-signature expired then", with(key().user(made, signatureLives(50*day))), ok, expired("RM", made.Add(50*day))},
		{"self-signature expired later", with(key().user(made, signatureLives(150*day))), ok, ""},

		{"compromised later", with(key().revoke(rm, signed.Add(later), because(packet.KeyCompromised))), ok, revoked("RM", signed.Add(later), "compromised")},
		{"revoked later, no reason", with(key().revoke(rm, signed.Add(later))), ok, revoked("RM", signed.Add(later), "no reason given")},
		{"revoked later, empty reason", with(key().revoke(rm, signed.Add(later), because(packet.NoReason))), ok, revoked("RM", signed.Add(later), "no reason given")},
		{"superseded later", with(key().revoke(rm, signed.Add(later), because(packet.KeySuperseded))), ok, ""},
		{"superseded then", with(key().revoke(rm, signed, because(packet.KeySuperseded))), ok, revoked("RM", signed, "superseded")},
		{"retired later", with(key().revoke(rm, signed.Add(later), because(packet.KeyRetired))), ok, ""},
		{"retired before", with(key().revoke(rm, signed.Add(-day), because(packet.KeyRetired))), ok, revoked("RM", signed.Add(-day), "retired")},
		{"superseded later, then compromised", with(key().revoke(rm, signed.Add(later), because(packet.KeySuperseded)).revoke(rm, signed.Add(2*later), because(packet.KeyCompromised))), ok, revoked("RM", signed.Add(2*later), "compromised")},
		{"revoked by sha-1", with(key().revoke(rm, signed, because(packet.KeyCompromised), digest(crypto.SHA1))), ok, revoked("RM", signed, "compromised")},
		{"revoked in another copy", join(bare(rm), with(key().revoke(rm, signed))), ok, revoked("RM", signed, "no reason given")},
		{"revocation after the name", with(key().user(made).revoke(rm, signed)), ok, revoked("RM", signed, "no reason given")},
		{"revoked by somebody else", with(key().revoke(other, signed)), ok, ""},
		{"revocation that was changed", damaged(t, key().revoke(rm, signed)), ok, "this copy of the key RM is damaged: the revocation made at " + stamp(signed) + " is not by this key"},
		{"revocation of an unknown kind", join(bare(rm), patched(t, lastPacket(t, key().revoke(rm, signed)), octet(3, 99))), ok, "this copy of the key RM is damaged: a revocation cannot be read: openpgp: unsupported feature: hash function 99"},
		{"revocation of version 3", join(bare(rm), patched(t, lastPacket(t, key().revoke(rm, signed)), func(b []byte) []byte { return octet(2, 0x20)(octet(0, 3)(b)) })), ok, "this copy of the key RM is damaged: a revocation cannot be read: openpgp: unsupported feature: signature packet version 3"},
		{"name with a signature of an unknown kind", join(bare(rm), patched(t, lastPacket(t, key().user(made)), octet(3, 99))), ok, ""},
		{"picture", join(bare(rm), []byte{0xd1, 2, 1, 1}, lastPacket(t, key().user(made, keyLives(day)))), ok, ""},
		{"name that is too long", join(bare(rm), []byte{0xcd, 0xff, 0, 0, 8, 1}, strings.Repeat("x", 2049), lastPacket(t, key().user(made, keyLives(day)))), ok, ""},
		{"name that is just not too long", join(bare(rm), []byte{0xcd, 0xff, 0, 0, 8, 0}, strings.Repeat("x", 2048), lastPacket(t, key().user(made, keyLives(day)))), ok, "this copy of the key RM is damaged: the self-signature made at " + stamp(made) + " is not by this key"},
		{"signature that cannot be read", join(with(key().user(made)), []byte{0xc2, 1, 4}), ok, "this copy of the key RM is damaged: signature: unexpected EOF"},
		{"two damages", join(damaged(t, key().user(made)), []byte{0xc2, 1, 4}), ok, "this copy of the key RM is damaged: the self-signature made at " + stamp(made) + " is not by this key"},
		{"subkey that cannot be read", join(bare(rm), []byte{0xce, 1, 4}), ok, "this copy of the key RM is damaged: subkey: unexpected EOF"},
		{"subkey of an unknown kind", join(bare(rm), []byte{0xce, 6, 4, 0, 0, 0, 0, 99}, lastPacket(t, key().revokeSubkey(sub, signed))), ok, ""},
		{"self-signature that was changed", damaged(t, key().user(made)), ok, "this copy of the key RM is damaged: the self-signature made at " + stamp(made) + " is not by this key"},
		{"certified by somebody else", join(with(key().user(made)), certification(t, rm, other)), ok, ""},

		{"subkey", with(bound()), by(sub, signed), ""},
		{"subkey, another file", with(bound()), sign(t, sub, "another release\n", signed), "the signature by SUB does not match the file"},
		{"subkey that did not agree", with(key().subkey(sub, nil, made, forSigning)), by(sub, signed), "the subkey SUB was not bound for signing at " + stamp(signed)},
		{"subkey bound by somebody else", join(bare(rm), with(stolen)[len(bare(other)):]), by(sub, signed), "the subkey SUB was not bound for signing at " + stamp(signed)},
		{"subkey that somebody else agreed for", with(key().subkey(sub, other, made, forSigning)), by(sub, signed), "the subkey SUB was not bound for signing at " + stamp(signed)},
		{"subkey of somebody else", join(bare(rm), with(stolen)), by(sub, signed), "signed by SUB, which is not pinned"},
		{"subkey of both", join(with(stolen), with(bound())), by(sub, signed), ""},
		{"subkey bound by sha-1", with(bound(digest(crypto.SHA1))), by(sub, signed), "the subkey SUB was not bound for signing at " + stamp(signed)},
		{"subkey bound later", with(key().subkey(sub, sub, signed.Add(time.Second), forSigning)), by(sub, signed), "the subkey SUB was not bound for signing at " + stamp(signed)},
		{"subkey bound then", with(key().subkey(sub, sub, signed, forSigning)), by(sub, signed), ""},
		{"subkey for something else", with(key().subkey(sub, sub, made)), by(sub, signed), "the key SUB is not meant for signing"},
		{"subkey no more for signing", with(bound().subkey(sub, sub, signed.Add(later))), by(sub, signed), "the key SUB is not meant for signing"},
		{"subkey expired then", with(bound(keyLives(100 * day))), by(sub, signed), expired("SUB", signed)},
		{"subkey expired later", with(bound(keyLives(101 * day))), by(sub, signed), ""},
		{"subkey prolonged", with(bound(keyLives(50*day)).subkey(sub, sub, signed.Add(later), keyLives(200*day), forSigning)), by(sub, signed), ""},
		{"subkey compromised later", with(bound().revokeSubkey(sub, signed.Add(later), because(packet.KeyCompromised))), by(sub, signed), revoked("SUB", signed.Add(later), "compromised")},
		{"subkey superseded later", with(bound().revokeSubkey(sub, signed.Add(later), because(packet.KeySuperseded))), by(sub, signed), ""},
		{"subkey superseded then", with(bound().revokeSubkey(sub, signed, because(packet.KeySuperseded))), by(sub, signed), revoked("SUB", signed, "superseded")},
		{"subkey revoked, not the key", with(bound().revokeSubkey(sub, signed)), ok, ""},
		{"subkey of a key expired then", with(bound().user(made, keyLives(100*day))), by(sub, signed), expired("RM", signed)},
		{"subkey of a key expired later", with(bound().user(made, keyLives(101*day))), by(sub, signed), ""},
		{"subkey of a compromised key", with(bound().revoke(rm, signed.Add(later), because(packet.KeyCompromised))), by(sub, signed), revoked("RM", signed.Add(later), "compromised")},
		{"subkey of a key superseded later", with(bound().revoke(rm, signed.Add(later), because(packet.KeySuperseded))), by(sub, signed), ""},
		{"subkey of a key for certifying", with(key().user(made, forCertifying).subkey(sub, sub, made, forSigning)), by(sub, signed), ""},

		{"key of version 6", bare(v6), by(v6, signed), ""},
		{"key of version 6, another file", bare(v6), sign(t, v6, "another release\n", signed), "the signature by V6 does not match the file"},

		{"named by its ID only", bare(rm), by(shy(rm), signed), ""},
		{"named by its ID only, not pinned", join(bare(rm), bare(other)), by(shy(other), signed), "signed by OTHER-ID, which is not pinned"},
		{"named by its fingerprint only", bare(rm), by(rm, signed, withoutID), ""},
		{"not named", bare(rm), by(shy(rm), signed, withoutID), "malformed OpenPGP signature: does not say who made it"},
		{"two keys named", bare(rm), patched(t, ok, unsigned(join([]byte{22, 33, 4}, rm.Fingerprint, []byte{9, 16, 1, 2, 3, 4, 5, 6, 7, 8})...)), "malformed OpenPGP signature: names two keys as its maker"},
		{"named as another key", join(bare(rm), bare(other)), patched(t, ok, unsigned(join([]byte{22, 33, 4}, other.Fingerprint)...)), "signed by OTHER, which is not pinned"},

		{"two signatures, one by somebody else", bare(rm), join(by(other, signed), ok), ""},
		{"two signatures, the last by somebody else", bare(rm), join(ok, by(other, signed)), ""},
		{"two signatures, one wrong", bare(rm), join(wrong, ok), ""},
		{"two signatures, one weak", bare(rm), join(by(rm, signed, digest(crypto.SHA1)), ok), ""},
		{"two signatures, both by somebody else", bare(rm), join(by(other, signed), by(sub, signed)), "signed by OTHER, which is not pinned"},
		{"two signatures, somebody else and wrong", bare(rm), join(by(other, signed), wrong), "the signature by RM does not match the file"},
		{"two signatures, somebody else and weak", bare(rm), join(by(other, signed), by(rm, signed, digest(crypto.SHA1))), "the signature is of a weak digest, SHA-1"},
		{"two signatures, both wrong", bare(rm), join(wrong, wrong), "the signature by RM does not match the file"},
		{"16 signatures", bare(rm), join(bytes.Repeat(wrong, 15), ok), ""},
		{"17 signatures", bare(rm), join(bytes.Repeat(wrong, 16), ok), "malformed OpenPGP signature: holds more than 16 signatures"},
	} {
		t.Run(row.name, func(t *testing.T) {
			pins := []string{fingerprint(rm)}
			for _, k := range []*packet.PrivateKey{weak, good, old, v6, box} {
				if bytes.HasPrefix(row.keys, bare(k)) {
					pins = []string{fingerprint(k)}
				}
			}
			got, err := openpgp.Verify(strings.NewReader(content), row.signature, ring(t, row.keys), pins)
			want := strings.NewReplacer("OTHER-ID", fingerprint(other)[24:], "RM", fingerprint(rm), "SUB", fingerprint(sub),
				"OTHER", fingerprint(other), "WEAK", fingerprint(weak), "OLD", fingerprint(old), "V6", fingerprint(v6), "BOX", fingerprint(box)).Replace(row.err)
			if refused, ok := errors.AsType[*openpgp.RefusedError](err); ok && refused.Reason == openpgp.FromTheFuture {
				want = strings.Replace(want, "NOW", stamp(refused.When), 1)
			}
			switch {
			case message(err) != want:
				t.Errorf("got  %q\nwant %q", message(err), want)
			case err == nil && got.Fingerprint != pins[0]:
				t.Errorf("signed by %s, want %s", got.Fingerprint, pins[0])
			case err != nil && got != nil:
				t.Errorf("got %+v beside an error", got)
			}
		})
	}
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func expired(key string, at time.Time) string {
	return "the signature was made at " + stamp(signed) + ", after its key " + key + " expired at " + stamp(at)
}

func revoked(key string, at time.Time, why string) string {
	return "the key " + key + " was revoked at " + stamp(at) + ", " + why + "; the signature was made at " + stamp(signed)
}

// damaged changes the last octet of c, which belongs to the last signature on it.
func damaged(t *testing.T, c *cert) []byte {
	t.Helper()
	data := bytes.Clone(c.public.Bytes())
	data[len(data)-1] ^= 1
	return data
}

func lastPacket(t *testing.T, c *cert) []byte {
	t.Helper()
	r := packet.NewOpaqueReader(bytes.NewReader(c.public.Bytes()))
	var last bytes.Buffer
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return last.Bytes()
		}
		check(t, err)
		last.Reset()
		check(t, p.Serialize(&last))
	}
}

// certification returns a signature by which by says that the name is that of key's owner.
func certification(t *testing.T, key, by *packet.PrivateKey) []byte {
	t.Helper()
	s := newSignature(by, packet.SigTypeGenericCert, made, []option{keyLives(day)})
	check(t, s.SignUserId(name, &key.PublicKey, by, plain()))
	var out bytes.Buffer
	check(t, s.Serialize(&out))
	return out.Bytes()
}

func TestFacts(t *testing.T) {
	rm, sub := newKey(t, made), newKey(t, made)
	year, century := 365*day, 100*365*day
	for _, row := range []struct {
		name string
		keys *cert
		by   *packet.PrivateKey
		want openpgp.Facts
	}{
		{"never expires", newCert(t, rm).user(made), rm, openpgp.Facts{}},
		{"has expired", newCert(t, rm).user(made, keyLives(year)), rm, openpgp.Facts{KeyExpires: made.Add(year), KeyExpired: true}},
		{"will expire", newCert(t, rm).user(made, keyLives(century)), rm, openpgp.Facts{KeyExpires: made.Add(century)}},
		{"subkey", newCert(t, rm).subkey(sub, sub, made, forSigning), sub, openpgp.Facts{Subkey: fingerprint(sub)}},
		{"subkey has expired", newCert(t, rm).user(made, keyLives(century)).subkey(sub, sub, made, forSigning, keyLives(year)), sub,
			openpgp.Facts{Subkey: fingerprint(sub), KeyExpires: made.Add(year), KeyExpired: true}},
		{"key above has expired", newCert(t, rm).user(made, keyLives(year)).subkey(sub, sub, made, forSigning, keyLives(century)), sub,
			openpgp.Facts{Subkey: fingerprint(sub), KeyExpires: made.Add(year), KeyExpired: true}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.want.Fingerprint, row.want.Signed, row.want.Hash = fingerprint(rm), signed, "SHA-512"
			got, err := openpgp.Verify(strings.NewReader(content), sign(t, row.by, content, signed), ring(t, row.keys.public.Bytes()), []string{fingerprint(rm)})
			check(t, err)
			if *got != row.want {
				t.Errorf("got  %+v\nwant %+v", *got, row.want)
			}
		})
	}
}

func TestRefusedFields(t *testing.T) {
	rm := newKey(t, made)
	keys := ring(t, newCert(t, rm).user(made, keyLives(100*day)).public.Bytes())
	_, err := openpgp.Verify(strings.NewReader(content), sign(t, rm, content, signed), keys, []string{fingerprint(rm)})
	refused, ok := errors.AsType[*openpgp.RefusedError](err)
	if !ok {
		t.Fatalf("got %v, want a *RefusedError", err)
	}
	if want := (openpgp.RefusedError{Reason: openpgp.KeyExpired, Key: fingerprint(rm), Signed: signed, When: signed}); *refused != want {
		t.Errorf("got  %+v\nwant %+v", *refused, want)
	}
}

func TestPins(t *testing.T) {
	rm, sub, other := newKey(t, made), newKey(t, made), newKey(t, made)
	keys := ring(t, newCert(t, rm).subkey(sub, sub, made, forSigning).public.Bytes())
	full := fingerprint(rm)
	notFull := func(pin string) string {
		return fmt.Sprintf("%q is not a full OpenPGP fingerprint in hexadecimal", pin)
	}
	for _, row := range []struct {
		name string
		pins []string
		err  string
	}{
		{"full", []string{full}, ""},
		{"lower case", []string{strings.ToLower(full)}, ""},
		{"second of two", []string{fingerprint(other), full}, ""},
		{"same twice", []string{full, full}, ""},
		{"none", nil, "no fingerprint to check the signature against"},
		{"empty", []string{""}, notFull("")},
		{"long ID", []string{full[24:]}, notFull(full[24:])},
		{"short ID", []string{full[32:]}, notFull(full[32:])},
		{"one digit less", []string{full[1:]}, notFull(full[1:])},
		{"two digits less", []string{full[2:]}, notFull(full[2:])},
		{"not hexadecimal", []string{"x" + full[1:]}, notFull("x" + full[1:])},
		{"with 0x", []string{"0x" + full}, notFull("0x" + full)},
		{"with spaces", []string{full[:20] + " " + full[20:]}, notFull(full[:20] + " " + full[20:])},
		{"full and short ID", []string{full, full[32:]}, notFull(full[32:])},
		{"subkey", []string{fingerprint(sub)}, "no key in the keyring has the fingerprint " + fingerprint(sub)},
		{"two that are not there", []string{fingerprint(sub), fingerprint(other)}, "no key in the keyring has the fingerprint " + fingerprint(sub) + ", " + fingerprint(other)},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, by := range []*packet.PrivateKey{rm, sub} {
				_, err := openpgp.Verify(strings.NewReader(content), sign(t, by, content, signed), keys, row.pins)
				if message(err) != row.err {
					t.Errorf("got  %q\nwant %q", message(err), row.err)
				}
			}
		})
	}
	if _, err := openpgp.Verify(strings.NewReader(content), nil, keys, nil); !errors.Is(err, openpgp.ErrNoFingerprint) {
		t.Errorf("got %v, want %v", err, openpgp.ErrNoFingerprint)
	}
}

func TestSignatureFormat(t *testing.T) {
	rm := newKey(t, made)
	keys := ring(t, newCert(t, rm).public.Bytes())
	binary := sign(t, rm, content, signed)
	text := armored(t, "PGP SIGNATURE", binary)
	wrong := armored(t, "PGP SIGNATURE", sign(t, rm, "another release\n", signed))
	page := []byte("<!DOCTYPE html>\n<html><body>Log in to this network</body></html>\n")
	for _, row := range []struct {
		name      string
		signature []byte
		err       string // after "malformed OpenPGP signature: "
	}{
		{"binary", binary, ""},
		{"armored", text, ""},
		{"carriage returns", bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")), ""},
		{"no newline at the end", bytes.TrimSpace(text), ""},
		{"other text around it", join("Signed-by: me\n\n", text, "bye\n"), ""},
		{"no checksum", withChecksum(text, ""), ""},
		{"wrong checksum", withChecksum(text, "=AAAA\n"), ""},
		{"two blocks", join(wrong, text), ""},
		{"marker before it", join([]byte{0xca, 3, 'P', 'G', 'P'}, binary), ""},
		{"as large as it may be", join(text, strings.Repeat("\n", openpgp.MaxSignature-len(text))), ""},
		{"larger", join(text, strings.Repeat("\n", openpgp.MaxSignature-len(text)+1)), "is larger than 65536 bytes"},
		{"empty", nil, "is empty"},
		{"web page", page, `holds no "PGP SIGNATURE"`},
		{"empty block", []byte("-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n"), `holds no "PGP SIGNATURE"`},
		{"block that stops in its headers", text[:len("-----BEGIN PGP SIGNATURE-----\nComm")], `holds no "PGP SIGNATURE"`},
		{"block that stops", text[:len(text)/2], "unexpected EOF"},
		{"line too long", join("-----BEGIN PGP SIGNATURE-----\n\n", strings.Repeat("A", 97), "\n"), "openpgp: invalid data: armor invalid"},
		{"not base64", bytes.Replace(text, []byte("\n\n"), []byte("\n\n!"), 1), "illegal base64 data at input byte 0"},
		{"key", armored(t, "PGP PUBLIC KEY BLOCK", newCert(t, rm).public.Bytes()), `is a "PGP PUBLIC KEY BLOCK", not a "PGP SIGNATURE"`},
		{"key that calls itself a signature", armored(t, "PGP SIGNATURE", newCert(t, rm).public.Bytes()), "holds a packet of type 6"},
		{"message", armored(t, "PGP MESSAGE", binary), `is a "PGP MESSAGE", not a "PGP SIGNATURE"`},
		{"data after it", join(binary, []byte{0xcb, 1, 0}), "holds a packet of type 11"},
		{"rubbish after it", join(binary, "x"), "packet 2: openpgp: invalid data: tag byte does not have MSB set"},
		{"binary that stops", binary[:len(binary)-1], "packet 1: unexpected EOF"},
		{"marker only", []byte{0xca, 3, 'P', 'G', 'P'}, "holds no signature"},
		{"empty packet", []byte{0xc2, 0}, "is truncated"},
		{"packet of a header", []byte{0xc2, 4, 4, 0, 27, 10}, "unexpected EOF"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := openpgp.Verify(strings.NewReader(content), row.signature, keys, []string{fingerprint(rm)})
			want := row.err
			if want != "" {
				want = "malformed OpenPGP signature: " + want
			}
			if message(err) != want {
				t.Errorf("got  %q\nwant %q", message(err), want)
			}
			if _, ok := errors.AsType[*openpgp.FormatError](err); err != nil && !ok {
				t.Errorf("got a %T, want a *FormatError", err)
			}
		})
	}
}

func TestParseKeyring(t *testing.T) {
	rm, other := newKey(t, made), newKey(t, made)
	one, two := newCert(t, rm).user(made).public.Bytes(), newCert(t, other).user(made).public.Bytes()
	var secret bytes.Buffer
	check(t, rm.Serialize(&secret))
	v3 := patched(t, newCert(t, rm).public.Bytes(), octet(0, 3))
	block := func(data []byte) []byte { return armored(t, "PGP PUBLIC KEY BLOCK", data) }
	for _, row := range []struct {
		name string
		data []byte
		keys []*packet.PrivateKey
		err  string // after "malformed OpenPGP keyring: "
	}{
		{"binary", one, []*packet.PrivateKey{rm}, ""},
		{"armored", block(one), []*packet.PrivateKey{rm}, ""},
		{"two, binary", join(one, two), []*packet.PrivateKey{rm, other}, ""},
		{"two in a block", block(join(two, one)), []*packet.PrivateKey{other, rm}, ""},
		{"two blocks", join("first:\n", block(one), "\nsecond:\n", block(two)), []*packet.PrivateKey{rm, other}, ""},
		{"same twice", join(block(one), block(two), block(one)), []*packet.PrivateKey{rm, other}, ""},
		{"with trust, as gpg keeps it", join(one, []byte{0xcc, 1, 0}, two), []*packet.PrivateKey{rm, other}, ""},
		{"key of version 3 as well", join(v3, one[len(v3):], two), []*packet.PrivateKey{other}, ""},
		{"key of version 3", v3, nil, "holds no key that can be pinned"},
		{"as large as it may be", join(block(one), strings.Repeat("\n", openpgp.MaxKeyring-len(block(one)))), []*packet.PrivateKey{rm}, ""},
		{"larger", join(block(one), strings.Repeat("\n", openpgp.MaxKeyring-len(block(one))+1)), nil, "is larger than 8388608 bytes"},
		{"many packets", join(one, strings.Repeat("\xca\x00", 1<<16-3)), []*packet.PrivateKey{rm}, ""},
		{"too many packets", join(one, strings.Repeat("\xca\x00", 1<<16-2)), nil, "holds more than 65536 packets"},
		{"empty", nil, nil, "is empty"},
		{"web page", []byte("<html></html>"), nil, `holds no "PGP PUBLIC KEY BLOCK"`},
		{"signature", armored(t, "PGP SIGNATURE", sign(t, rm, content, signed)), nil, `is a "PGP SIGNATURE", not a "PGP PUBLIC KEY BLOCK"`},
		{"signature that calls itself a key", block(sign(t, rm, content, signed)), nil, "does not start with a key"},
		{"secret key", secret.Bytes(), nil, "holds a secret key"},
		{"secret key as well", join(one, secret.Bytes()), nil, "holds a secret key"},
		{"armored secret key", armored(t, "PGP PRIVATE KEY BLOCK", secret.Bytes()), nil, `is a "PGP PRIVATE KEY BLOCK", not a "PGP PUBLIC KEY BLOCK"`},
		{"data as well", join(one, []byte{0xcb, 1, 0}), nil, "holds a packet of type 11"},
		{"stops", one[:len(one)-1], nil, "packet 3: unexpected EOF"},
		{"key that stops", []byte{0xc6, 3, 4, 0, 0}, nil, "unexpected EOF"},
	} {
		t.Run(row.name, func(t *testing.T) {
			keys, err := openpgp.ParseKeyring(row.data)
			want := row.err
			if want != "" {
				want = "malformed OpenPGP keyring: " + want
			}
			if message(err) != want {
				t.Fatalf("got  %q\nwant %q", message(err), want)
			}
			if err != nil {
				return
			}
			var names []string
			for _, k := range row.keys {
				names = append(names, fingerprint(k))
			}
			if got := keys.Fingerprints(); strings.Join(got, " ") != strings.Join(names, " ") {
				t.Errorf("got  %q\nwant %q", got, names)
			}
			for _, k := range row.keys {
				kept := ring(t, keepOne(t, keys, strings.ToLower(fingerprint(k))))
				if got := kept.Fingerprints(); len(got) != 1 || got[0] != fingerprint(k) {
					t.Errorf("kept %q, want %s", got, fingerprint(k))
				}
				_, err := openpgp.Verify(strings.NewReader(content), sign(t, k, content, signed), kept, []string{fingerprint(k)})
				if err != nil {
					t.Errorf("with the key that was kept: %v", err)
				}
			}
		})
	}
}

func TestFind(t *testing.T) {
	rm, other := newKey(t, made), newKey(t, made)
	keys := ring(t, newCert(t, rm).public.Bytes())
	for _, row := range []struct{ name, fingerprint, err string }{
		{"there", fingerprint(rm), ""},
		{"not there", fingerprint(other), "no key in the keyring has the fingerprint " + fingerprint(other)},
		{"long ID", fingerprint(rm)[24:], fmt.Sprintf("%q is not a full OpenPGP fingerprint in hexadecimal", fingerprint(rm)[24:])},
	} {
		if _, err := keys.Find(row.fingerprint); message(err) != row.err {
			t.Errorf("%s: got %q, want %q", row.name, message(err), row.err)
		}
	}
}

// A file that cannot be read is that error, and one that need not be read is not read.
func TestReading(t *testing.T) {
	rm, other := newKey(t, made), newKey(t, made)
	keys := ring(t, newCert(t, rm).public.Bytes())
	broken := errors.New("disk is broken")
	for _, row := range []struct {
		name string
		by   *packet.PrivateKey
		file io.Reader
		err  string
	}{
		{"readable", rm, iotest.OneByteReader(strings.NewReader(content)), ""},
		{"not readable", rm, io.MultiReader(strings.NewReader(content), iotest.ErrReader(broken)), "disk is broken"},
		{"not readable, but not to be read either", other, iotest.ErrReader(broken), "signed by " + fingerprint(other) + ", which is not pinned"},
	} {
		_, err := openpgp.Verify(row.file, sign(t, row.by, content, signed), keys, []string{fingerprint(rm)})
		if message(err) != row.err {
			t.Errorf("%s: got %q, want %q", row.name, message(err), row.err)
		}
	}
}

// One octet is changed, at every place in turn.
func TestChangedOctet(t *testing.T) {
	rm := newKey(t, made)
	keys := newCert(t, rm).user(made, forSigning, keyLives(1000*day)).public.Bytes()
	signature := sign(t, rm, content, signed)
	pins := []string{fingerprint(rm)}
	facts, err := openpgp.Verify(strings.NewReader(content), signature, ring(t, keys), pins)
	check(t, err)

	for i := range content {
		for _, bit := range []byte{0x01, 0x80} {
			file := []byte(content)
			file[i] ^= bit
			_, err := openpgp.Verify(bytes.NewReader(file), signature, ring(t, keys), pins)
			if want := "the signature by " + pins[0] + " does not match the file"; message(err) != want {
				t.Errorf("file, octet %d: got %v, want %s", i, err, want)
			}
		}
	}

	// What nobody signed may say something else, as long as the facts stay the same.
	begin, end := unhashed(contents(t, signature).Contents)
	header := len(signature) - len(contents(t, signature).Contents)
	for i := range signature {
		for bit := byte(1); bit != 0; bit <<= 1 {
			changed := bytes.Clone(signature)
			changed[i] ^= bit
			got, err := openpgp.Verify(strings.NewReader(content), changed, ring(t, keys), pins)
			switch free := i >= header+begin && i < header+end; {
			case err == nil && !free:
				t.Errorf("signature, octet %d, bit %#x: passed", i, bit)
			case err == nil && *got != *facts:
				t.Errorf("signature, octet %d, bit %#x: got %+v, want %+v", i, bit, got, facts)
			}
		}
	}

	// A changed key is another key. Changes to what it says of itself may lose what it said, but never add anything.
	primary := newCert(t, rm).public.Len()
	for i := range keys {
		for bit := byte(1); bit != 0; bit <<= 1 {
			changed := bytes.Clone(keys)
			changed[i] ^= bit
			ring, err := openpgp.ParseKeyring(changed)
			if err != nil {
				continue
			}
			got, err := openpgp.Verify(strings.NewReader(content), signature, ring, pins)
			switch {
			case err == nil && i < primary:
				t.Errorf("key, octet %d, bit %#x: passed", i, bit)
			case err == nil && (got.Fingerprint != facts.Fingerprint || !got.Signed.Equal(facts.Signed)):
				t.Errorf("key, octet %d, bit %#x: got %+v, want %+v", i, bit, got, facts)
			}
			if _, err := openpgp.Verify(strings.NewReader("another release\n"), signature, ring, pins); err == nil {
				t.Errorf("key, octet %d, bit %#x: passed another file", i, bit)
			}
		}
	}
}

// The file is never in memory as a whole.
func TestMemory(t *testing.T) {
	const size = 16 << 20
	rm := newKey(t, made)
	keys := ring(t, newCert(t, rm).public.Bytes())
	signature := sign(t, rm, strings.Repeat("\x00", size), signed)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := openpgp.Verify(io.LimitReader(zeros{}, size), signature, keys, []string{fingerprint(rm)})
	runtime.ReadMemStats(&after)
	check(t, err)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes allocated for a file of %d", used, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// Whatever a keyring holds, nothing panics, and what parses is found again in what is written.
func FuzzParseKeyring(f *testing.F) {
	rm, sub := seededKey(f, 1), seededKey(f, 2)
	full := newCert(f, rm).user(made, forSigning).direct(made).subkey(sub, sub, made, forSigning).
		revokeSubkey(sub, signed, because(packet.KeySuperseded)).revoke(rm, signed, because(packet.KeyRetired)).public.Bytes()
	f.Add([]byte(nil))
	f.Add(full)
	f.Add(armored(f, "PGP PUBLIC KEY BLOCK", full))
	f.Add(newCert(f, newRSA(f, made, 1024)).user(made).public.Bytes())
	f.Add(newCert(f, newDSA(f, made)).user(made).public.Bytes())
	signature := sign(f, rm, content, signed)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := openpgp.ParseKeyring(data)
		if err != nil {
			if _, ok := errors.AsType[*openpgp.FormatError](err); !ok || keys != nil {
				t.Fatalf("got %v, %v", keys, err)
			}
			return
		}
		again := ring(t, keys.Armor())
		if got, want := again.Fingerprints(), keys.Fingerprints(); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Fatalf("got %q, want %q", got, want)
		}
		// Every key in turn is made the one that the signature names, so that all that it says of itself is read.
		for _, name := range keys.Fingerprints() {
			got, err := openpgp.Verify(strings.NewReader(content), renamed(t, signature, name), keys, []string{name})
			if err == nil && got.Fingerprint != fingerprint(rm) {
				t.Fatalf("signed by %s", got.Fingerprint)
			}
		}
	})
}

// Whatever a signature says, nothing panics, and nothing passes but what the key signed.
func FuzzSignature(f *testing.F) {
	rm, sub := seededKey(f, 1), seededKey(f, 2)
	keys := ring(f, newCert(f, rm).user(made).subkey(sub, sub, made, forSigning).public.Bytes())
	signature := sign(f, rm, content, signed)
	f.Add([]byte(nil))
	f.Add(signature)
	f.Add(armored(f, "PGP SIGNATURE", signature))
	f.Add(sign(f, sub, content, signed, digest(crypto.SHA256)))
	f.Add(sign(f, rm, content, signed, kind(packet.SigTypeText)))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := openpgp.Verify(strings.NewReader("another release\n"), data, keys, []string{fingerprint(rm)})
		if err == nil {
			t.Fatalf("another file was signed: %+v", got)
		}
		_, malformed := errors.AsType[*openpgp.FormatError](err)
		_, refused := errors.AsType[*openpgp.RefusedError](err)
		if !malformed && !refused {
			t.Fatalf("got a %T: %v", err, err)
		}
		got, err = openpgp.Verify(strings.NewReader(content), data, keys, []string{fingerprint(rm)})
		if err == nil && (got.Fingerprint != fingerprint(rm) || !got.Signed.Equal(signed)) {
			t.Fatalf("got %+v", got)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	const size = 23 << 20
	rm := newRSA(b, made, 4096)
	keys := ring(b, newCert(b, rm).user(made).public.Bytes())
	signature := sign(b, rm, strings.Repeat("\x00", size), signed)
	b.SetBytes(size)
	for b.Loop() {
		_, err := openpgp.Verify(io.LimitReader(zeros{}, size), signature, keys, []string{fingerprint(rm)})
		check(b, err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
