package openpgp_test

import (
	"bytes"
	"crypto"
	"crypto/dsa" //lint:ignore SA1019 keys that have to be refused are made with it
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/ed25519"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ProtonMail/go-crypto/openpgp/x25519"
)

// A cert is a key in the making: the private key, and what was published of it so far, in binary.
type cert struct {
	t      testing.TB
	priv   *packet.PrivateKey
	public bytes.Buffer
}

func newCert(t testing.TB, priv *packet.PrivateKey) *cert {
	t.Helper()
	c := &cert{t: t, priv: priv}
	check(t, priv.PublicKey.Serialize(&c.public))
	return c
}

// newKey returns an elliptic-curve key, the cheapest to make.
func newKey(t testing.TB, created time.Time) *packet.PrivateKey {
	t.Helper()
	k, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	return packet.NewEd25519PrivateKey(created, k)
}

// seededKey returns the same key for the same n every time, so that what the fuzzer keeps stays of use.
func seededKey(t testing.TB, n byte) *packet.PrivateKey {
	t.Helper()
	k, err := ed25519.GenerateKey(bytes.NewReader(bytes.Repeat([]byte{n}, ed25519.SeedSize)))
	check(t, err)
	return packet.NewEd25519PrivateKey(made, k)
}

// newBox returns a key that cannot sign.
func newBox(t testing.TB, created time.Time) *packet.PrivateKey {
	t.Helper()
	k, err := x25519.GenerateKey(rand.Reader)
	check(t, err)
	return packet.NewX25519PrivateKey(created, k)
}

// shy returns k as a key that does not put its fingerprint into signatures.
func shy(k *packet.PrivateKey) *packet.PrivateKey {
	c := *k
	c.Fingerprint = nil
	return &c
}

func newRSA(t testing.TB, created time.Time, bits int) *packet.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	check(t, err)
	return packet.NewRSAPrivateKey(created, k)
}

// newDSA takes its parameters of 1024 bits from here, because to find some takes seconds.
func newDSA(t testing.TB, created time.Time) *packet.PrivateKey {
	t.Helper()
	k := new(dsa.PrivateKey)
	for _, n := range []struct {
		to  **big.Int
		hex string
	}{{&k.P, dsaP}, {&k.Q, dsaQ}, {&k.G, dsaG}} {
		var ok bool
		if *n.to, ok = new(big.Int).SetString(n.hex, 16); !ok {
			t.Fatal("bad DSA parameter")
		}
	}
	check(t, dsa.GenerateKey(k, rand.Reader))
	return packet.NewDSAPrivateKey(created, k)
}

// An option changes a signature before it is made.
type option func(*packet.Signature)

func digest(h crypto.Hash) option        { return func(s *packet.Signature) { s.Hash = h } }
func kind(k packet.SignatureType) option { return func(s *packet.Signature) { s.SigType = k } }
func keyLives(d time.Duration) option {
	return func(s *packet.Signature) { s.KeyLifetimeSecs = seconds(d) }
}
func signatureLives(d time.Duration) option {
	return func(s *packet.Signature) { s.SigLifetimeSecs = seconds(d) }
}
func because(r packet.ReasonForRevocation) option {
	return func(s *packet.Signature) { s.RevocationReason = &r }
}
func forSigning(s *packet.Signature)    { s.FlagsValid, s.FlagSign, s.FlagCertify = true, true, true }
func forCertifying(s *packet.Signature) { s.FlagsValid, s.FlagSign, s.FlagCertify = true, false, true }
func withoutID(s *packet.Signature)     { s.IssuerKeyId = nil }
func criticalNotation(s *packet.Signature) {
	s.Notations = []*packet.Notation{{Name: "x@example.org", IsHumanReadable: true, IsCritical: true}}
}

// plain asks for signatures without a salt of the library's own, for which it wants a strong digest.
func plain() *packet.Config {
	return &packet.Config{NonDeterministicSignaturesViaNotation: packet.BoolPointer(false)}
}

func seconds(d time.Duration) *uint32 {
	s := uint32(d / time.Second)
	return &s
}

func newSignature(by *packet.PrivateKey, kind packet.SignatureType, at time.Time, options []option) *packet.Signature {
	id := by.KeyId
	s := &packet.Signature{
		Version: by.Version, SigType: kind, PubKeyAlgo: by.PubKeyAlgo, Hash: crypto.SHA512, CreationTime: at, IssuerKeyId: &id,
	}
	for _, o := range options {
		o(s)
	}
	return s
}

func (c *cert) add(s *packet.Signature) *cert {
	c.t.Helper()
	check(c.t, s.Serialize(&c.public))
	return c
}

const name = "Release Manager <rm@example.org>"

// user adds a user ID with a self-signature.
func (c *cert) user(at time.Time, options ...option) *cert {
	c.t.Helper()
	check(c.t, packet.NewUserId("Release Manager", "", "rm@example.org").Serialize(&c.public))
	s := newSignature(c.priv, packet.SigTypePositiveCert, at, options)
	check(c.t, s.SignUserId(name, &c.priv.PublicKey, c.priv, plain()))
	return c.add(s)
}

// direct adds a self-signature directly over the key.
func (c *cert) direct(at time.Time, options ...option) *cert {
	c.t.Helper()
	s := newSignature(c.priv, packet.SigTypeDirectSignature, at, options)
	check(c.t, s.SignDirectKeyBinding(&c.priv.PublicKey, c.priv, plain()))
	return c.add(s)
}

// revoke adds a revocation of c that by made.
func (c *cert) revoke(by *packet.PrivateKey, at time.Time, options ...option) *cert {
	c.t.Helper()
	s := newSignature(by, packet.SigTypeKeyRevocation, at, options)
	check(c.t, s.RevokeKey(&c.priv.PublicKey, by, plain()))
	return c.add(s)
}

// subkey adds a subkey that agreed to be one, if back is its own private key, or did not if back is nil.
func (c *cert) subkey(sub *packet.PrivateKey, back *packet.PrivateKey, at time.Time, options ...option) *cert {
	c.t.Helper()
	public := sub.PublicKey
	public.IsSubkey = true
	check(c.t, public.Serialize(&c.public))
	s := newSignature(c.priv, packet.SigTypeSubkeyBinding, at, options)
	if back != nil {
		s.EmbeddedSignature = newSignature(back, packet.SigTypePrimaryKeyBinding, at, nil)
		s.EmbeddedSignature.Hash = s.Hash
		check(c.t, s.EmbeddedSignature.CrossSignKey(&sub.PublicKey, &c.priv.PublicKey, back, plain()))
	}
	check(c.t, s.SignKey(&sub.PublicKey, c.priv, plain()))
	return c.add(s)
}

// revokeSubkey has to follow the subkey.
func (c *cert) revokeSubkey(sub *packet.PrivateKey, at time.Time, options ...option) *cert {
	c.t.Helper()
	s := newSignature(c.priv, packet.SigTypeSubkeyRevocation, at, options)
	check(c.t, s.RevokeSubkey(&sub.PublicKey, c.priv, plain()))
	return c.add(s)
}

// sign returns a binary signature packet.
func sign(t testing.TB, by *packet.PrivateKey, data string, at time.Time, options ...option) []byte {
	t.Helper()
	s := newSignature(by, packet.SigTypeBinary, at, options)
	h, err := s.PrepareSign(nil)
	check(t, err)
	h.Write([]byte(data))
	check(t, s.Sign(h, by, plain()))
	var out bytes.Buffer
	check(t, s.Serialize(&out))
	return out.Bytes()
}

// contents returns the only packet of data.
func contents(t testing.TB, data []byte) *packet.OpaquePacket {
	t.Helper()
	p, err := packet.NewOpaqueReader(bytes.NewReader(data)).Next()
	check(t, err)
	return p
}

// patched returns the only packet of data with its contents changed.
func patched(t testing.TB, data []byte, change func([]byte) []byte) []byte {
	t.Helper()
	p := contents(t, data)
	p.Contents = change(p.Contents)
	var out bytes.Buffer
	check(t, p.Serialize(&out))
	return out.Bytes()
}

// octet sets one octet.
func octet(at int, to byte) func([]byte) []byte {
	return func(b []byte) []byte {
		b[at] = to
		return b
	}
}

// unhashed returns where the area of a version 4 signature that nobody signed begins, and where it ends.
func unhashed(b []byte) (begin, end int) {
	begin = 6 + int(b[4])<<8 + int(b[5])
	return begin, begin + 2 + int(b[begin])<<8 + int(b[begin+1])
}

// unsigned replaces that area.
func unsigned(area ...byte) func([]byte) []byte {
	return func(b []byte) []byte {
		begin, end := unhashed(b)
		return bytes.Join([][]byte{b[:begin], {byte(len(area) >> 8), byte(len(area))}, area, b[end:]}, nil)
	}
}

func armored(t testing.TB, kind string, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, map[string]string{"Comment": "made for a test"})
	check(t, err)
	_, err = w.Write(data)
	check(t, err)
	check(t, w.Close())
	out.WriteByte('\n')
	return out.Bytes()
}

func fingerprint(k *packet.PrivateKey) string {
	return strings.ToUpper(hex.EncodeToString(k.Fingerprint))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	dsaP = "" +
		"919230824a251afa3cddcfdf1415b61ced9e1af9e970cec581f2e204ff9878364689de9760e967baa22a041e3f074d6a4fd9" +
		"ff29350272dd86a843b15dfc439128da85ffb01af9499c8ea76ef722e0460a2bd89b1124f411ab52a8d1eba30105947b8749" +
		"506af4a040bdd61df53dafe1608cc9f4c17495b5d81cf5c4c9ffbd47"
	dsaQ = "" +
		"d613a5961ce95a3e4aa468a975ec750fc605475f"
	dsaG = "" +
		"43152f8445a8279bef46b53be504cd4d5b3138622bbcf34e6f7f2f1c30e4167387c95041c4b112d0386b0fd05b9cd2e8ec81" +
		"b7426bcad27686a0de7aaf1e35864838f98e3d3a95816de3d99cfeb5d87f08f3147bfba2fe9b67df4fa60550b809db4449aa" +
		"202323ab55c2275f96167d87e38da47f3a663713f3143c4f5c5f38f7"
)

// join puts texts and octets together.
func join(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

// withChecksum returns an armored block with another line for its checksum.
func withChecksum(text []byte, line string) []byte {
	return regexp.MustCompile(`(?m)^=.{4}\n`).ReplaceAll(text, []byte(line))
}

// renamed returns the signature as one that names the key with this fingerprint as its maker.
func renamed(t testing.TB, signature []byte, fingerprint string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(fingerprint)
	check(t, err)
	version := byte(4)
	if len(raw) == 32 {
		version = 6
	}
	return patched(t, signature, unsigned(join([]byte{byte(len(raw) + 2), 33, version}, raw)...))
}
