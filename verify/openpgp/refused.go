package openpgp

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrNoFingerprint refuses every signature when no key is pinned.
var ErrNoFingerprint = errors.New("no fingerprint to check the signature against")

// A FingerprintError says that what should be a full fingerprint is not one, so that no key can have it.
type FingerprintError struct {
	Fingerprint string
}

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("%q is not a full OpenPGP fingerprint in hexadecimal", e.Fingerprint)
}

// A FormatError says that a signature or a keyring is not what it should be, so that nothing can be said about it.
type FormatError struct {
	What   string // "signature" or "keyring"
	Detail string // a predicate: "is empty", or what the library says
}

func (e *FormatError) Error() string {
	return "malformed OpenPGP " + e.What + ": " + e.Detail
}

// A Reason is why a signature is refused. Its text stays as it is.
type Reason string

// The reasons, with the fields of [RefusedError] that go with each beside Reason. Signed is there whenever it is known.
const (
	NoKey            Reason = "no-key"            // the keyring has none of the pinned keys: Key, several separated by ", "
	NotPinned        Reason = "not-pinned"        // made by a key that is not pinned: Key, only its ID if the signature says no more
	WrongSignature   Reason = "wrong-signature"   // not a signature by that key over this file: Key
	NotBinary        Reason = "not-binary"        // over text or over a key, not over a file: Detail, its type
	WeakDigest       Reason = "weak-digest"       // Detail, the digest
	WeakKey          Reason = "weak-key"          // Key; Detail, its algorithm and size
	Unsupported      Reason = "unsupported"       // Detail, what this package cannot judge
	FromTheFuture    Reason = "from-the-future"   // When, the time on this machine
	SignatureExpired Reason = "signature-expired" // When, its own expiry
	KeyTooYoung      Reason = "key-too-young"     // made before the key was: Key; When, its creation
	KeyExpired       Reason = "key-expired"       // made after the key had expired: Key; When, its expiry
	KeyRevoked       Reason = "key-revoked"       // Key; When, its revocation; Detail, the reason for it
	KeyDamaged       Reason = "key-damaged"       // Key; Detail, what is wrong with this copy of it
	KeyNotBound      Reason = "key-not-bound"     // made by a subkey that was not bound for signing at that time: Key, the subkey
	KeyMayNotSign    Reason = "key-may-not-sign"  // the key's owner did not mean it for signing: Key
)

// A RefusedError says why a signature that can be read does not count. All times are UTC.
type RefusedError struct {
	Reason Reason
	Key    string    // fingerprint of the key in question, in upper-case hexadecimal
	Signed time.Time // when the signature was made, as it says itself
	When   time.Time // what Signed is held against
	Detail string
}

func (e *RefusedError) Error() string {
	signed, when := e.Signed.Format(time.RFC3339), e.When.Format(time.RFC3339)
	switch e.Reason {
	case NoKey:
		return "no key in the keyring has the fingerprint " + e.Key
	case NotPinned:
		return "signed by " + e.Key + ", which is not pinned"
	case WrongSignature:
		return "the signature by " + e.Key + " does not match the file"
	case NotBinary:
		return "the signature is of " + e.Detail + ", not of a binary file"
	case WeakDigest:
		return "the signature is of a weak digest, " + e.Detail
	case WeakKey:
		return "the key " + e.Key + " is weak, " + e.Detail
	case Unsupported:
		return "the signature uses " + e.Detail + ", which is not supported"
	case FromTheFuture:
		return "the signature was made at " + signed + ", and now is " + when
	case SignatureExpired:
		return "the signature expired at " + when
	case KeyTooYoung:
		return "the signature was made at " + signed + ", before its key " + e.Key + ", which was made at " + when
	case KeyExpired:
		return "the signature was made at " + signed + ", after its key " + e.Key + " expired at " + when
	case KeyRevoked:
		return "the key " + e.Key + " was revoked at " + when + ", " + e.Detail + "; the signature was made at " + signed
	case KeyDamaged:
		return "this copy of the key " + e.Key + " is damaged: " + e.Detail
	case KeyNotBound:
		return "the subkey " + e.Key + " was not bound for signing at " + signed
	case KeyMayNotSign:
		return "the key " + e.Key + " is not meant for signing"
	}
	return strings.TrimSpace("the signature is refused: " + string(e.Reason) + " " + e.Detail)
}

// reason returns why err refuses a signature, and nothing if it is not about that.
func reason(err error) Reason {
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return refused.Reason
	}
	return ""
}
