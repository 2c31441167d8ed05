// Package sigstore answers one question: is the file with this SHA-256 signed
// by this person, as vouched for by this identity provider?
//
// # What a yes means
//
// [Verify] says yes when all of this holds, and otherwise which of it does not:
//
//   - the bundle is about this very digest, and the key of the certificate in it
//     made the signature;
//   - exactly one entry of a transparency log records this digest, signature and
//     certificate, with a signed promise, an inclusion proof, or both, of a log
//     in the trusted root; what is there must verify;
//   - the time of the signature is witnessed, by that log or by a timestamp
//     authority, and the certificate, which lives ten minutes, was valid then;
//   - the certificate was issued by an authority in the trusted root, and is
//     itself recorded in a certificate transparency log in it;
//   - that certificate names exactly the pinned e-mail address, and the pinned issuer.
//
// A thief of a signer's account can sign, but not unseen: the entry is public.
// Not even the signer can sign with an old date. A signature does not say that
// nothing newer exists, nor that a name belongs to a digest: a release that was
// uploaded anew has two good bundles, and only the pinned digest tells which.
//
// # Trust
//
// A [Root] holds the keys of the logs and authorities. [ParseRoot] reads one that
// somebody names; [Embedded], [Cached] and [Refresh] give that of the public
// Sigstore instance. All three of these start at the one root of trust that is
// compiled in with sigstore-go, and follow signatures from there: neither the
// module that carries the copy, nor the cache directory, nor the network is
// trusted with it. Only Refresh knows that a root is current: what is at hand
// without a network is never too old to verify what it could verify once.
//
// The package reads no network by itself (Refresh is handed a function), runs
// nothing, prints nothing, and knows nothing of Python or of this module.
package sigstore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"google.golang.org/protobuf/encoding/protojson"
)

// MaxBundle is the size in bytes above which a bundle is not even parsed. Real
// ones have about 6 KiB.
const MaxBundle = 1 << 20

// An Identity is who must have signed. Both fields are compared exactly, and
// both are needed: another provider could vouch for the same address.
type Identity struct {
	Email  string // as in the certificate: "someone@python.org"
	Issuer string // URL of the OpenID Connect provider: "https://accounts.google.com"
}

// Facts are what a good bundle proves.
type Facts struct {
	Identity string    // e-mail address in the certificate
	Issuer   string    // URL of the provider that vouched for it
	Log      string    // base URL of the transparency log, as the trusted root has it
	LogIndex int64     // of the entry: in the whole log where it was promised, else in the tree of the inclusion proof
	Time     time.Time // when it was signed, UTC, to the second: by the log, else by the timestamp authority
}

// Verify reports what the bundle (JSON, version 0.1 to 0.3) proves about the file
// with this SHA-256 (64 hexadecimal digits, either case), signed by who.
//
// A bundle that does not prove it gives a [*RefusedError]. A question that pins
// too little, which every bundle might satisfy, gives [ErrUnpinned].
func Verify(root *Root, data []byte, digest string, who Identity) (*Facts, error) {
	want, err := hex.DecodeString(digest)
	if err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("%w: %q is not a SHA-256 digest in hexadecimal", ErrUnpinned, digest)
	}
	if root == nil || who.Email == "" || who.Issuer == "" {
		return nil, fmt.Errorf("%w: identity %q, issuer %q", ErrUnpinned, who.Email, who.Issuer)
	}
	s, err := parse(data)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(s.digest, want) {
		return nil, &RefusedError{Reason: OtherFile, Want: hex.EncodeToString(want), Got: hex.EncodeToString(s.digest)}
	}
	// The verifier of sigstore-go would take the hash from the kind of key, and
	// for the P-384 keys of older bundles try SHA-384 first, fail, and say so on
	// the terminal. The digest at hand is a SHA-256, so only that can be signed.
	if !ecdsa.VerifyASN1(s.key, want, s.signature) {
		return nil, &RefusedError{Reason: BadSignature}
	}
	facts, err := root.witness(s)
	if err != nil {
		return nil, err
	}
	name, err := certificate.SummarizeCertificate(s.leaf)
	if err != nil {
		return nil, &RefusedError{Reason: Malformed, Err: err}
	}
	// What is pinned is an address, so no name of another kind can stand in for it,
	// and no certificate has several.
	if emails := s.leaf.EmailAddresses; len(emails) > 1 {
		name.SubjectAlternativeName = strings.Join(emails, ", ")
	}
	if name.SubjectAlternativeName != who.Email || len(s.leaf.EmailAddresses) != 1 {
		return nil, &RefusedError{Reason: OtherIdentity, Want: who.Email, Got: name.SubjectAlternativeName}
	}
	if name.Issuer != who.Issuer {
		return nil, &RefusedError{Reason: OtherIssuer, Want: who.Issuer, Got: name.Issuer}
	}
	facts.Identity, facts.Issuer = name.SubjectAlternativeName, name.Issuer
	return facts, nil
}

// signed is a bundle that has every part which Verify asks for; none of them has
// been verified.
type signed struct {
	bundle    *bundle.Bundle
	digest    []byte // SHA-256 of the file, as the bundle claims
	signature []byte
	leaf      *x509.Certificate
	key       *ecdsa.PublicKey // of leaf
	entry     *tlog.Entry
}

func parse(data []byte) (*signed, error) {
	if len(data) > MaxBundle {
		return nil, &RefusedError{Reason: TooBig}
	}
	malformed := func(err error) error { return &RefusedError{Reason: Malformed, Err: err} }
	pb := new(bundlepb.Bundle)
	if err := protojson.Unmarshal(data, pb); err != nil {
		return nil, malformed(err)
	}
	msg := pb.GetMessageSignature()
	if msg == nil {
		return nil, malformed(errors.New("no signature of a file"))
	}
	if alg := msg.GetMessageDigest().GetAlgorithm(); alg != commonpb.HashAlgorithm_SHA2_256 {
		return nil, malformed(fmt.Errorf("digest is %v, not SHA2_256", alg))
	}
	// Asked before sigstore-go does, because there it is one of many complaints
	// about the form, and here the most telling of all refusals.
	if err := logged(pb); err != nil {
		return nil, &RefusedError{Reason: NotLogged, Err: err}
	}
	b, err := bundle.NewBundle(pb)
	if err != nil {
		return nil, malformed(err)
	}
	content, err := b.VerificationContent()
	if err != nil {
		return nil, malformed(err)
	}
	leaf := content.Certificate()
	if leaf == nil {
		return nil, malformed(errors.New("no certificate"))
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, malformed(fmt.Errorf("key of the certificate is %v, not ECDSA", leaf.PublicKeyAlgorithm))
	}
	entries, err := b.TlogEntries()
	if err != nil {
		return nil, malformed(err)
	}
	return &signed{
		bundle:    b,
		digest:    msg.GetMessageDigest().GetDigest(),
		signature: msg.GetSignature(),
		leaf:      leaf,
		key:       key,
		entry:     entries[0],
	}, nil
}

// logged reports whether there is one log entry, and something to verify it by.
// More than one is refused because sigstore-go passes over those that it cannot
// verify: the index in [Facts] could be that of an entry which nobody vouched for.
func logged(pb *bundlepb.Bundle) error {
	entries := pb.GetVerificationMaterial().GetTlogEntries()
	if len(entries) != 1 {
		return fmt.Errorf("%d entries, not one", len(entries))
	}
	proof := entries[0].GetInclusionProof()
	switch {
	case proof != nil && proof.GetCheckpoint().GetEnvelope() == "":
		return errors.New("inclusion proof without a signed checkpoint")
	case proof == nil && len(entries[0].GetInclusionPromise().GetSignedEntryTimestamp()) == 0:
		return errors.New("neither an inclusion promise nor an inclusion proof")
	}
	return nil
}

// witness verifies everything that somebody else than the signer vouches for: the
// log entry, the time and the certificate. Identity and issuer stay empty.
func (r *Root) witness(s *signed) (*Facts, error) {
	log, ok := r.material.RekorLogs()[hex.EncodeToString([]byte(s.entry.LogKeyID()))]
	if !ok {
		return nil, &RefusedError{Reason: UnknownLog, Got: hex.EncodeToString([]byte(s.entry.LogKeyID()))}
	}
	v, err := verify.NewVerifier(r.material,
		verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	if err != nil {
		return nil, err // the options are constant: never
	}
	// The steps of v.Verify, one by one, so that each failure is known for what it
	// is. This first one also holds the entry against the bundle's digest,
	// signature and certificate.
	times, err := v.VerifyTransparencyLogInclusion(s.bundle)
	if err != nil {
		return nil, &RefusedError{Reason: BadLogEntry, Err: err}
	}
	times, err = v.VerifyObserverTimestamps(s.bundle, times)
	if err != nil {
		return nil, &RefusedError{Reason: NoTime, Err: err}
	}
	var chains [][]*x509.Certificate
	for _, t := range times {
		chains, err = verify.VerifyLeafCertificate(t.Timestamp, s.leaf, r.material)
		if err != nil {
			return nil, &RefusedError{Reason: UnknownAuthority, Got: s.leaf.Issuer.String(), Err: err}
		}
	}
	if err := verify.VerifySignedCertificateTimestamp(chains, 1, r.material); err != nil {
		return nil, &RefusedError{Reason: NoSCT, Err: err}
	}
	// Only the promise signs the index in the whole log.
	index := s.entry.LogIndex()
	if !s.entry.HasInclusionPromise() {
		index = s.entry.TransparencyLogEntry().GetInclusionProof().GetLogIndex()
	}
	return &Facts{Log: log.BaseURL, LogIndex: index, Time: times[0].Timestamp.UTC().Truncate(time.Second)}, nil
}
