package openpgp

import (
	"crypto"
	"crypto/rsa"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// minRSABits is the size below which an RSA key proves nothing.
const minRSABits = 2048

// maxUserID bounds, in bytes, what is hashed once for every signature after it. Longer ones are not looked at.
const maxUserID = 2048

// A certificate is what a key says of itself, verified.
type certificate struct {
	parts []*part // the primary key first, then the subkeys
}

// A part is a primary key or a subkey.
type part struct {
	pub         *packet.PublicKey
	statements  []*packet.Signature // of a primary key its self-signatures, of a subkey its bindings
	revocations []*packet.Signature
}

// certificate reads what k says of itself. The error says that this copy of it is damaged, in which case the certificate
// still names the keys, but must not be relied on.
func (k *key) certificate() (certificate, error) {
	primary := &part{pub: k.primary}
	cert := certificate{parts: []*part{primary}}
	byFingerprint := map[string]*part{} // the subkeys
	type statement struct {
		subkey           *part
		userID, contents string
	}
	seen := map[statement]bool{}
	var damage error
	damaged := func(format string, args ...any) {
		if damage == nil {
			damage = &RefusedError{Reason: KeyDamaged, Key: k.fingerprint, Detail: fmt.Sprintf(format, args...)}
		}
	}

	var subkey *part   // the subkey that signatures are about, nil if none
	var userID *string // the user ID that they are about, nil if none
	for _, p := range k.packets {
		switch p.Tag {
		case tagKey, tagAttribute: // nothing is made of signatures over attributes, which are pictures
			subkey, userID = nil, nil
		case tagUserID:
			subkey, userID = nil, nil
			if len(p.Contents) <= maxUserID {
				id := string(p.Contents)
				userID = &id
			}
		case tagSubkey:
			subkey, userID = nil, nil
			pub, err := parseKey(p)
			if isUnsupported(err) {
				continue
			}
			if err != nil {
				damaged("subkey: %v", err)
				continue
			}
			name := fingerprint(pub)
			if subkey = byFingerprint[name]; subkey == nil { // no other copy of the key had it
				subkey = &part{pub: pub}
				byFingerprint[name] = subkey
				cert.parts = append(cert.parts, subkey)
			}
		case tagSignature:
			// Once is enough, lest somebody repeats a signature for as long as a keyring may be.
			this := statement{subkey: subkey, contents: string(p.Contents)}
			if userID != nil {
				this.userID = *userID
			}
			if damage != nil || seen[this] {
				continue
			}
			seen[this] = true
			sig, err := parseSignature(p)
			if isUnsupported(err) {
				if isRevocation(p.Contents) {
					damaged("a revocation cannot be read: %v", err)
				}
				continue
			}
			if err != nil {
				damaged("signature: %v", err)
				continue
			}
			if !sig.CheckKeyIdOrFingerprint(k.primary) {
				continue // by somebody else
			}
			if what := add(sig, primary, subkey, userID); what != "" {
				damaged("the %s made at %s is not by this key", what, sig.CreationTime.UTC().Format(time.RFC3339))
			}
		}
	}
	return cert, damage
}

// add gives sig, which names the primary key as its maker, to the part that it is about. It returns what sig is when the
// primary key should have made it, but did not, and an empty string otherwise.
func add(sig *packet.Signature, primary, subkey *part, userID *string) string {
	var what string
	var err error
	about := primary
	switch sig.SigType {
	case packet.SigTypeKeyRevocation:
		what, err = "revocation", primary.pub.VerifyRevocationSignature(sig)
	case packet.SigTypeDirectSignature:
		what, err = "self-signature", primary.pub.VerifyDirectKeySignature(sig)
	case packet.SigTypeGenericCert, packet.SigTypePersonaCert, packet.SigTypeCasualCert, packet.SigTypePositiveCert:
		if userID == nil {
			return ""
		}
		what, err = "self-signature", primary.pub.VerifyUserIdSignature(*userID, primary.pub, sig)
	case packet.SigTypeSubkeyRevocation:
		if subkey == nil {
			return ""
		}
		about = subkey
		what, err = "revocation of a subkey", primary.pub.VerifySubkeyRevocationSignature(sig, subkey.pub)
	case packet.SigTypeSubkeyBinding:
		// One that does not hold, perhaps because the subkey did not agree, binds nothing. That is no damage: without it,
		// less is trusted.
		if subkey == nil || !strong(sig) || primary.pub.VerifyKeySignature(subkey.pub, sig) != nil {
			return ""
		}
		about = subkey
	default:
		return ""
	}
	switch {
	case err != nil:
		return what
	case sig.SigType == packet.SigTypeKeyRevocation, sig.SigType == packet.SigTypeSubkeyRevocation:
		about.revocations = append(about.revocations, sig)
	default:
		about.statements = append(about.statements, sig)
	}
	return ""
}

// strong says whether a binding uses digests that nobody can forge. SHA-1 is the only other one that the library reads.
func strong(binding *packet.Signature) bool {
	back := binding.EmbeddedSignature
	return binding.Hash != crypto.SHA1 && (back == nil || back.Hash != crypto.SHA1)
}

// judge says whether signer, a part of cert, could make sig, and what is known about it then. It does not look at the file.
func judge(sig *packet.Signature, cert certificate, signer *part, now time.Time) (Facts, error) {
	primary, signed := cert.parts[0], sig.CreationTime.UTC()
	facts := Facts{Fingerprint: fingerprint(primary.pub), Signed: signed, Hash: sig.Hash.String()}

	if signed.After(now) {
		return facts, &RefusedError{Reason: FromTheFuture, Signed: signed, When: now.UTC()}
	}
	if end := later(sig.CreationTime, sig.SigLifetimeSecs); past(end, now) {
		return facts, &RefusedError{Reason: SignatureExpired, Signed: signed, When: end}
	}
	if err := primary.alive(signed); err != nil {
		return facts, err
	}
	facts.KeyExpires = primary.end()
	if signer == primary {
		// Flags are optional. Those of a newest self-signature that has none do not forbid anything.
		if s := primary.newest(); s != nil && s.FlagsValid && !s.FlagSign {
			return facts, &RefusedError{Reason: KeyMayNotSign, Key: facts.Fingerprint, Signed: signed}
		}
	} else {
		facts.Subkey = fingerprint(signer.pub)
		if err := signer.bound(signed); err != nil {
			return facts, err
		}
		if err := signer.alive(signed); err != nil {
			return facts, err
		}
		facts.KeyExpires = earlier(facts.KeyExpires, signer.end())
	}
	facts.KeyExpired = past(facts.KeyExpires, now)
	return facts, nil
}

// alive says why the key could not sign at that time, whatever it is meant for: too weak, not there yet, expired, revoked.
func (p *part) alive(signed time.Time) error {
	refused := RefusedError{Key: fingerprint(p.pub), Signed: signed}
	if weak := weakness(p.pub); weak != "" {
		refused.Reason, refused.Detail = WeakKey, weak
		return &refused
	}
	if created := p.pub.CreationTime.UTC(); signed.Before(created) {
		refused.Reason, refused.When = KeyTooYoung, created
		return &refused
	}
	for _, r := range p.revocations {
		revoked := r.CreationTime.UTC()
		if why, dated := revocation(r); !dated || !signed.Before(revoked) {
			refused.Reason, refused.When, refused.Detail = KeyRevoked, revoked, why
			return &refused
		}
	}
	if end := p.end(); past(end, signed) {
		refused.Reason, refused.When = KeyExpired, end
		return &refused
	}
	return nil
}

// bound says why a subkey did not belong to its primary key as one that signs at that time. The newest binding says what it is
// for; that it was bound at all has to be as old as the signature.
func (p *part) bound(signed time.Time) error {
	newest := p.newest()
	if newest == nil {
		return &RefusedError{Reason: KeyNotBound, Key: fingerprint(p.pub), Signed: signed}
	}
	if !newest.FlagSign {
		return &RefusedError{Reason: KeyMayNotSign, Key: fingerprint(p.pub), Signed: signed}
	}
	for _, s := range p.statements {
		if s.FlagSign && !s.CreationTime.After(signed) {
			return nil
		}
	}
	return &RefusedError{Reason: KeyNotBound, Key: fingerprint(p.pub), Signed: signed}
}

// newest returns the statement that counts, nil if there is none. Among those of the same second it is the one by which the key
// ends first. Signatures directly over the key that say nothing of its use, such as those that only name a revoker,
// do not count.
func (p *part) newest() *packet.Signature {
	var newest *packet.Signature
	for _, s := range p.statements {
		if s.SigType == packet.SigTypeDirectSignature && !s.FlagsValid && s.KeyLifetimeSecs == nil {
			continue
		}
		if newest == nil || s.CreationTime.After(newest.CreationTime) ||
			s.CreationTime.Equal(newest.CreationTime) && earlier(p.endBy(s), p.endBy(newest)).Equal(p.endBy(s)) {
			newest = s
		}
	}
	return newest
}

// end returns when the key expires, zero if never.
func (p *part) end() time.Time {
	if s := p.newest(); s != nil {
		return p.endBy(s)
	}
	return time.Time{}
}

// endBy returns when the key expires by what s says, zero if never. A statement that expires itself takes the key with it.
func (p *part) endBy(s *packet.Signature) time.Time {
	return earlier(later(p.pub.CreationTime, s.KeyLifetimeSecs), later(s.CreationTime, s.SigLifetimeSecs))
}

// revocation returns why r revokes its key, and whether signatures from before r are still good.
func revocation(r *packet.Signature) (why string, dated bool) {
	if r.RevocationReason == nil {
		return "no reason given", false
	}
	switch *r.RevocationReason {
	case packet.KeySuperseded:
		return "superseded", true
	case packet.KeyRetired:
		return "retired", true
	case packet.KeyCompromised:
		return "compromised", false
	}
	return "no reason given", false
}

// weakness returns what is weak about pub, empty if nothing. It does not ask whether pub can sign at all: what cannot has
// signed nothing.
func weakness(pub *packet.PublicKey) string {
	if pub.PubKeyAlgo == packet.PubKeyAlgoDSA {
		return "DSA"
	}
	if key, ok := pub.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSABits {
		return fmt.Sprintf("RSA of %d bits", key.N.BitLen())
	}
	return ""
}

func parseSignature(p *packet.OpaquePacket) (*packet.Signature, error) {
	parsed, err := p.Parse()
	if err != nil {
		return nil, err
	}
	return parsed.(*packet.Signature), nil
}

// isRevocation looks at the type of a signature that could not be parsed.
func isRevocation(contents []byte) bool {
	if len(contents) < 3 {
		return false
	}
	kind := contents[1]
	if contents[0] <= 3 { // a length comes first
		kind = contents[2]
	}
	return kind == byte(packet.SigTypeKeyRevocation) || kind == byte(packet.SigTypeSubkeyRevocation)
}

// later returns the time so many seconds after t, zero if there is no such number or it is 0, both of which mean never.
func later(t time.Time, seconds *uint32) time.Time {
	if seconds == nil || *seconds == 0 {
		return time.Time{}
	}
	return t.Add(time.Duration(*seconds) * time.Second).UTC()
}

// earlier returns the earlier of two ends, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// past says whether end has come at t. The zero end never comes.
func past(end, t time.Time) bool {
	return !end.IsZero() && !t.Before(end)
}
