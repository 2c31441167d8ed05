package sigstore

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUnpinned refuses to answer a question that leaves out the digest, the
// identity, the issuer or the trusted root.
var ErrUnpinned = errors.New("not pinned")

// A Reason is the first thing that a bundle lacks. The values are part of no
// file format, but stay as they are.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	TooBig           Reason = "too-big"           // more than [MaxBundle] bytes
	Malformed        Reason = "malformed"         // not a bundle, or not one with which a certificate signs a file
	NotLogged        Reason = "not-logged"        // not exactly one log entry, or nothing to verify it by
	OtherFile        Reason = "other-file"        // of the file with the digest Got
	BadSignature     Reason = "bad-signature"     // not made by the key of the certificate over this digest
	UnknownLog       Reason = "unknown-log"       // the log whose key has the ID Got is not in the trusted root, which may be too old
	BadLogEntry      Reason = "bad-log-entry"     // promise or proof is wrong, or the entry is of another signature
	NoTime           Reason = "no-time"           // neither log nor timestamp authority vouches for the time
	UnknownAuthority Reason = "unknown-authority" // the certificate, by Got, was issued by none in the trusted root, or not valid at the time
	NoSCT            Reason = "no-sct"            // the certificate is recorded in no certificate log of the trusted root
	OtherIdentity    Reason = "other-identity"    // a good signature, but by Got
	OtherIssuer      Reason = "other-issuer"      // the right name, but vouched for by Got
)

// A RefusedError says why a bundle does not prove what it was asked for.
type RefusedError struct {
	Reason    Reason
	Want, Got string // where the reason is about two values, or one that is not known
	Err       error  // what exactly failed, or nil
}

func (e *RefusedError) Error() string {
	s := string(e.Reason)
	switch e.Reason {
	case TooBig:
		s = fmt.Sprintf("bundle has more than %d bytes", MaxBundle)
	case Malformed:
		s = "not a sigstore bundle of a file"
	case NotLogged:
		s = "signature is in no transparency log"
	case OtherFile:
		s = fmt.Sprintf("signature is of another file: sha256 %s, want %s", e.Got, e.Want)
	case BadSignature:
		s = "signature is wrong"
	case UnknownLog:
		s = "signature is in a transparency log that the trusted root does not have: key " + e.Got
	case BadLogEntry:
		s = "entry in the transparency log is wrong"
	case NoTime:
		s = "nobody vouches for the time of the signature"
	case UnknownAuthority:
		s = fmt.Sprintf("certificate by %q is not from an authority in the trusted root", e.Got)
	case NoSCT:
		s = "certificate is in no certificate log of the trusted root"
	case OtherIdentity:
		s = fmt.Sprintf("signed by %s, want %s", e.Got, e.Want)
	case OtherIssuer:
		s = fmt.Sprintf("signer vouched for by %s, want %s", e.Got, e.Want)
	}
	if e.Err == nil {
		return s
	}
	// A dump of several lines, as that of two hashes, tells nobody more than what
	// is said already. Inside a line the protobuf library puts odd spaces.
	detail := e.Err.Error()
	if strings.Contains(detail, "\n") {
		return s
	}
	return s + ": " + strings.Join(strings.Fields(detail), " ")
}

func (e *RefusedError) Unwrap() error { return e.Err }

// A RootError says that a trusted root cannot be used.
type RootError struct {
	Err error
}

func (e *RootError) Error() string { return "trusted root: " + e.Err.Error() }
func (e *RootError) Unwrap() error { return e.Err }

// A RefreshError says why no current trusted root could be had. What was cached
// before is still there.
type RefreshError struct {
	URL string // of the repository
	Err error
}

func (e *RefreshError) Error() string { return fmt.Sprintf("refresh from %s: %v", e.URL, e.Err) }
func (e *RefreshError) Unwrap() error { return e.Err }
