// Package openpgp says whether a file was signed by one of the keys that were pinned for it.
//
// # What it promises
//
// A key is named by its full fingerprint and by nothing else. Key IDs, names and mail addresses are things that anybody can
// put into a key of their own; they select candidates here, and never make one trusted. So a keyring may come from
// anywhere, a hostile key server included: what is not pinned in it is not looked at. It matters only whether the pinned
// key is there.
//
// A signature is good when all of this holds:
//
//   - it was made by a pinned primary key, or by a subkey of one that was bound to it for signing, each by a signature of
//     the other, when the signature was made;
//   - it covers the file bit for bit: a binary signature, of a digest of at least 256 bits of the SHA-2 or SHA-3 family;
//   - the key is an elliptic-curve key, or RSA of at least 2048 bits, and so is the primary key above a subkey;
//   - its date lies in the past, and in the life of its key: not before the key's creation, not after its expiry, not after
//     its revocation as superseded or retired. That the key expired later changes nothing. A key that was revoked for any
//     other reason, or for none, counts as compromised: then dates prove nothing, and every signature of it is refused.
//
// A signature file may hold several signatures. One good one suffices; what else the file holds is ignored, because whoever
// could add a bad signature could as well have taken it away. When none is good, the error is about the first that has
// another fault than being somebody else's, or else about the first.
//
// # What the key itself says
//
// When a key expires is what its newest self-signature says, so an owner may prolong a key after it expired. A key
// without any self-signature, as key servers hand out when no name was confirmed, has no expiry and may sign. Such
// statements can only narrow what pinning grants, and whoever serves a key can leave them out; that is why SHA-1 is good
// enough there, as the keys of older release managers need, but not for the binding of a subkey, which widens it. Somebody
// who withholds a newer copy of a key withholds its revocation too: no signature scheme helps against that.
//
// A self-signature or revocation that names the key as its maker, and is not by it, means that this copy of the key is
// damaged, and so does a revocation, or any packet, that makes no sense. Such a copy is refused, lest a revocation be lost
// to one flipped bit. Revocations by a third key are not honoured.
//
// The checksum of the armor is not looked at, as RFC 9580 demands.
//
// # What it does not know
//
// Where the file, the signature and the keys came from, who the owners of the fingerprints are, and which releases they may
// sign. It opens no files and no connections. It is the only package that imports go-crypto.
package openpgp

import (
	"bytes"
	"hash"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Limits on what is read. Real signatures have about 1 KiB, real keys 3 to 40.
const (
	MaxSignature  = 64 << 10 // bytes of a signature file
	MaxSignatures = 16       // signatures in it; each has the file hashed once more
	MaxKeyring    = 8 << 20  // bytes of a keyring
)

// Facts says who signed a file, and when.
type Facts struct {
	Fingerprint string    // of the pinned primary key, in upper-case hexadecimal
	Subkey      string    // fingerprint of the subkey that made the signature; empty when the primary key did
	Signed      time.Time // when, according to the signature; UTC
	Hash        string    // digest that was signed, such as "SHA-512"
	KeyExpires  time.Time // when the key that signed, or the primary key above it, expires or expired; zero if never
	KeyExpired  bool      // whether that lies in the past by now; it did not when the signature was made
}

// Verify reads file to its end and says who signed it. The signature is detached, armored or binary. One of the
// fingerprints, 40 or 64 hexadecimal digits in either case, has to be that of the primary key which made it or to which
// the subkey that made it belongs.
//
// The error is a [*FingerprintError] or [ErrNoFingerprint] when the fingerprints are of no use, a [*FormatError] when the
// signature cannot be read, a [*RefusedError] when it is not good, and otherwise the error of file. Nothing is read from
// file when the answer is known without it.
func Verify(file io.Reader, signature []byte, keys *Keyring, fingerprints []string) (*Facts, error) {
	pinned, err := keys.pinned(fingerprints)
	if err != nil {
		return nil, err
	}
	packets, err := readSignatures(signature)
	if err != nil {
		return nil, err
	}

	now := time.Now()
	var candidates []*candidate
	var refused error
	refuse := func(err error) {
		// That somebody else signed as well is the least telling of reasons.
		if refused == nil || reason(refused) == NotPinned && reason(err) != NotPinned {
			refused = err
		}
	}
	for _, p := range packets {
		found, err := admit(p, pinned, now)
		if err != nil {
			refuse(err)
		}
		candidates = append(candidates, found...)
	}
	if len(candidates) == 0 {
		return nil, refused
	}

	hashes := make([]io.Writer, len(candidates))
	for i, c := range candidates {
		hashes[i] = c.hash
	}
	if _, err := io.Copy(io.MultiWriter(hashes...), file); err != nil {
		return nil, err
	}
	for _, c := range candidates {
		if c.matches() {
			facts := c.facts
			return &facts, nil
		}
		refuse(&RefusedError{Reason: WrongSignature, Key: fingerprint(c.key), Signed: c.facts.Signed})
	}
	return nil, refused
}

// A candidate is a signature to which nothing is to be objected but that the file may not be the one it signs.
type candidate struct {
	sig   *packet.Signature
	key   *packet.PublicKey
	hash  hash.Hash // of the file
	facts Facts
}

// matches may be called once: it completes the hash.
func (c *candidate) matches() bool {
	if c.key.VerifySignature(c.hash, c.sig) != nil {
		return false
	}
	// The library does not compare the start of the digest, which the signature repeats. To do so proves nothing, but
	// leaves one place less where a signature could be changed and still pass.
	return bytes.HasPrefix(c.hash.Sum(nil), c.sig.HashTag[:])
}

// admit returns a candidate for every key among the pinned ones that may have made the signature in p. The error says what
// is to be objected against the signature, or against the last such key.
func admit(p *packet.OpaquePacket, pinned []*key, now time.Time) ([]*candidate, error) {
	if err := checkHeader(p.Contents); err != nil {
		return nil, err
	}
	parsed, err := p.Parse()
	if err != nil {
		return nil, &FormatError{What: "signature", Detail: err.Error()}
	}
	sig, ok := parsed.(*packet.Signature)
	if !ok || sig.IssuerKeyId == nil {
		return nil, &FormatError{What: "signature", Detail: "does not say who made it"}
	}
	for _, n := range sig.Notations {
		if n.IsCritical {
			return nil, &RefusedError{Reason: Unsupported, Detail: "a critical notation"}
		}
	}

	var found []*candidate
	err = &RefusedError{Reason: NotPinned, Key: issuer(sig), Signed: sig.CreationTime.UTC()}
	for _, k := range pinned {
		cert, damage := k.certificate()
		for _, part := range cert.parts {
			if !sig.CheckKeyIdOrFingerprint(part.pub) {
				continue
			}
			switch {
			case *sig.IssuerKeyId != part.pub.KeyId:
				err = &FormatError{What: "signature", Detail: "names two keys as its maker"}
				continue
			case damage != nil:
				err = damage
				continue
			}
			facts, refused := judge(sig, cert, part, now)
			if refused != nil {
				err = refused
				continue
			}
			h, hashErr := sig.PrepareVerify()
			if hashErr != nil {
				err = &FormatError{What: "signature", Detail: hashErr.Error()}
				continue
			}
			found = append(found, &candidate{sig: sig, key: part.pub, hash: h, facts: facts})
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, err
}
