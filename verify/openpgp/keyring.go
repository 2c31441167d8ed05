package openpgp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const keyBlock = "PGP PUBLIC KEY BLOCK"

// A Keyring holds public keys as they were read, none of them trusted. The zero Keyring holds none. It is not changed
// once made.
type Keyring struct {
	keys []*key // no two with the same fingerprint
}

// A key is a primary key with all that came after it.
type key struct {
	fingerprint string // upper-case hexadecimal
	primary     *packet.PublicKey
	packets     []*packet.OpaquePacket // all of it, the primary key first; several copies one after the other
}

// ParseKeyring reads public keys, armored or binary; armored blocks may follow each other, with other text between them.
// Copies of the same key become one with all that either says. Keys of a kind that cannot be pinned, such as those of
// version 3, are left out. The error is a [*FormatError].
//
// Only the structure is checked here. What the keys say of themselves is checked by [Verify], of the pinned ones.
func ParseKeyring(data []byte) (*Keyring, error) {
	malformed := func(format string, args ...any) (*Keyring, error) {
		return nil, &FormatError{What: "keyring", Detail: fmt.Sprintf(format, args...)}
	}
	if len(data) > MaxKeyring {
		return malformed("is larger than %d bytes", MaxKeyring)
	}
	binary, err := dearmor(data, keyBlock)
	if err != nil {
		return malformed("%v", err)
	}
	packets, err := split(binary)
	if err != nil {
		return malformed("%v", err)
	}

	ring := new(Keyring)
	byFingerprint := map[string]*key{}
	var current *key // nil while reading what belongs to a key that is left out
	for i, p := range packets {
		switch p.Tag {
		case tagKey:
			primary, err := parseKey(p)
			if isUnsupported(err) {
				current = nil
				continue
			}
			if err != nil {
				return malformed("%v", err)
			}
			name := fingerprint(primary)
			if current = byFingerprint[name]; current == nil {
				current = &key{fingerprint: name, primary: primary}
				byFingerprint[name] = current
				ring.keys = append(ring.keys, current)
			}
		case tagSubkey, tagUserID, tagAttribute, tagSignature:
			if i == 0 {
				return malformed("does not start with a key")
			}
		case tagSecretKey, tagSecretSubkey:
			return malformed("holds a secret key")
		default:
			return malformed("holds a packet of type %d", p.Tag)
		}
		if current != nil {
			current.packets = append(current.packets, p)
		}
	}
	if len(ring.keys) == 0 {
		return malformed("holds no key that can be pinned")
	}
	return ring, nil
}

// Fingerprints returns those of the primary keys, in upper-case hexadecimal, in the order in which they were read.
func (r *Keyring) Fingerprints() []string {
	var names []string
	for _, k := range r.keys {
		names = append(names, k.fingerprint)
	}
	return names
}

// Find returns a keyring with only the key that has this full fingerprint, in either case. The error is a
// [*FingerprintError], or a [*RefusedError] for [NoKey].
func (r *Keyring) Find(fingerprint string) (*Keyring, error) {
	keys, err := r.pinned([]string{fingerprint})
	if err != nil {
		return nil, err
	}
	return &Keyring{keys: keys}, nil
}

// Armor returns the keys as text that [ParseKeyring] reads. No packet that could matter is lost or changed.
func (r *Keyring) Armor() []byte {
	var text bytes.Buffer
	// Writing to memory does not fail, and none of the packets has a size that could not be written.
	w, _ := armor.Encode(&text, keyBlock, nil)
	for _, k := range r.keys {
		for _, p := range k.packets {
			_ = p.Serialize(w)
		}
	}
	_ = w.Close()
	text.WriteByte('\n')
	return text.Bytes()
}

// pinned returns the keys that have one of the fingerprints, at least one, each once.
func (r *Keyring) pinned(fingerprints []string) ([]*key, error) {
	if len(fingerprints) == 0 {
		return nil, ErrNoFingerprint
	}
	var names []string
	for _, f := range fingerprints {
		if raw, err := hex.DecodeString(f); err != nil || len(raw) != 20 && len(raw) != 32 {
			return nil, &FingerprintError{Fingerprint: f}
		}
		names = append(names, strings.ToUpper(f))
	}
	var found []*key
	for _, k := range r.keys {
		if slices.Contains(names, k.fingerprint) {
			found = append(found, k)
		}
	}
	if len(found) == 0 {
		return nil, &RefusedError{Reason: NoKey, Key: strings.Join(names, ", ")}
	}
	return found, nil
}

func parseKey(p *packet.OpaquePacket) (*packet.PublicKey, error) {
	parsed, err := p.Parse()
	if err != nil {
		return nil, err
	}
	pub, ok := parsed.(*packet.PublicKey)
	if !ok {
		return nil, pgperrors.StructuralError("not a public key")
	}
	return pub, nil
}

func isUnsupported(err error) bool {
	_, ok := errors.AsType[pgperrors.UnsupportedError](err)
	return ok
}

func fingerprint(pub *packet.PublicKey) string {
	return strings.ToUpper(hex.EncodeToString(pub.Fingerprint))
}

// issuer returns who made sig according to sig: a fingerprint, or a key ID if it says no more.
func issuer(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return strings.ToUpper(hex.EncodeToString(sig.IssuerFingerprint))
	}
	return fmt.Sprintf("%016X", *sig.IssuerKeyId)
}
