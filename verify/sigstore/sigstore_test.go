package sigstore

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssepb "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	rekorpb "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"pybuild/verify/sigstore/sigstoretest"
)

var (
	hugo     = Identity{Email: "hugo@python.example", Issuer: "https://login.example"}
	tarXZ    = sha256.Sum256([]byte("Python-3.14.0.tar.xz"))
	tgz      = sha256.Sum256([]byte("Python-3.14.0.tgz"))
	tarXZHex = hex.EncodeToString(tarXZ[:])
	tgzHex   = hex.EncodeToString(tgz[:])
)

const logIndex = 4711

// An edit changes a good bundle.
type edit func(b *bundlepb.Bundle)

func entry(b *bundlepb.Bundle) *rekorpb.TransparencyLogEntry {
	return b.VerificationMaterial.TlogEntries[0]
}
func noPromise(b *bundlepb.Bundle)   { entry(b).InclusionPromise = nil }
func noProof(b *bundlepb.Bundle)     { entry(b).InclusionProof = nil }
func noTimestamp(b *bundlepb.Bundle) { b.VerificationMaterial.TimestampVerificationData = nil }
func version(v string) edit {
	return func(b *bundlepb.Bundle) { b.MediaType = "application/vnd.dev.sigstore.bundle" + v }
}

func parsed(t testing.TB, w *sigstoretest.World) *Root {
	t.Helper()
	r, err := ParseRoot(w.Trusted())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func flip(b []byte) { b[len(b)/2] ^= 1 }

// chain gives the certificate as bundles before 0.3 do.
func chain(b *bundlepb.Bundle) {
	b.VerificationMaterial.Content = &bundlepb.VerificationMaterial_X509CertificateChain{
		X509CertificateChain: &commonpb.X509CertificateChain{
			Certificates: []*commonpb.X509Certificate{b.VerificationMaterial.GetCertificate()},
		},
	}
}

func TestVerify(t *testing.T) {
	w, other := sigstoretest.New(t), sigstoretest.New(t)
	// Another authority and another certificate log, but the log and the
	// timestamps of the first: a forger who can do everything but issue.
	forger := *other
	forger.Log = w.Log
	id, err := other.Log.RekorLogID()
	if err != nil {
		t.Fatal(err)
	}
	good := sigstoretest.Signing{Email: hugo.Email, Issuer: hugo.Issuer, Digest: tarXZ[:], Index: logIndex}
	with := func(change func(s *sigstoretest.Signing)) sigstoretest.Signing {
		s := good
		change(&s)
		return s
	}
	const author = "CN=sigstore-intermediate,O=sigstore.dev"

	for _, tt := range []struct {
		name    string
		by      *sigstoretest.World
		signing sigstoretest.Signing
		edits   []edit
		digest  string
		who     Identity
		want    *RefusedError // nil when it is to be believed; Err is not compared
		detail  string        // in Err
		index   int64
	}{
		// Good ones: the twins of those below.
		{name: "promise, proof and timestamp", by: w, signing: good, index: logIndex},
		{name: "promise and proof", by: w, signing: good, edits: []edit{noTimestamp}, index: logIndex},
		{name: "proof and timestamp", by: w, signing: good, edits: []edit{noPromise}, index: 0},
		{name: "version 0.1, promise only", by: w, signing: good, edits: []edit{noProof, noTimestamp, chain, version("+json;version=0.1")}, index: logIndex},
		{name: "version 0.2, promise and proof", by: w, signing: good, edits: []edit{noTimestamp, chain, version("+json;version=0.2")}, index: logIndex},
		{name: "P-384 over SHA-256", by: w, signing: with(func(s *sigstoretest.Signing) { s.Curve = elliptic.P384() }), index: logIndex},
		{name: "other file, asked for", by: w, signing: with(func(s *sigstoretest.Signing) { s.Digest = tgz[:] }), digest: tgzHex, index: logIndex},
		{name: "digest in capitals", by: w, signing: good, digest: strings.ToUpper(tarXZHex), index: logIndex},

		// The file.
		{name: ".tgz for .tar.xz", by: w, signing: with(func(s *sigstoretest.Signing) { s.Digest = tgz[:] }),
			want: &RefusedError{Reason: OtherFile, Want: tarXZHex, Got: tgzHex}},
		{name: "digest rewritten", by: w, signing: with(func(s *sigstoretest.Signing) { s.Digest = tgz[:] }),
			edits: []edit{func(b *bundlepb.Bundle) { b.GetMessageSignature().MessageDigest.Digest = tarXZ[:] }},
			want:  &RefusedError{Reason: BadSignature}},

		// The signature.
		{name: "signature flipped", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { flip(b.GetMessageSignature().Signature) }},
			want:  &RefusedError{Reason: BadSignature}},
		{name: "certificate of another key", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { b.VerificationMaterial.Content = w.Sign(good).VerificationMaterial.Content }},
			want:  &RefusedError{Reason: BadSignature}},

		// The signer.
		{name: "other identity", by: w, signing: good, who: Identity{Email: "thomas@python.example", Issuer: hugo.Issuer},
			want: &RefusedError{Reason: OtherIdentity, Want: "thomas@python.example", Got: hugo.Email}},
		{name: "identity in capitals", by: w, signing: good, who: Identity{Email: "Hugo@python.example", Issuer: hugo.Issuer},
			want: &RefusedError{Reason: OtherIdentity, Want: "Hugo@python.example", Got: hugo.Email}},
		{name: "identity is part of the pinned one", by: w, signing: good, who: Identity{Email: hugo.Email + ".example", Issuer: hugo.Issuer},
			want: &RefusedError{Reason: OtherIdentity, Want: hugo.Email + ".example", Got: hugo.Email}},
		{name: "a second address", by: w, signing: with(func(s *sigstoretest.Signing) { s.Emails = []string{hugo.Email, "eve@evil.example"} }),
			want: &RefusedError{Reason: OtherIdentity, Want: hugo.Email, Got: hugo.Email + ", eve@evil.example"}},
		{name: "other issuer", by: w, signing: good, who: Identity{Email: hugo.Email, Issuer: "https://accounts.example"},
			want: &RefusedError{Reason: OtherIssuer, Want: "https://accounts.example", Got: hugo.Issuer}},
		{name: "issuer with a slash", by: w, signing: good, who: Identity{Email: hugo.Email, Issuer: hugo.Issuer + "/"},
			want: &RefusedError{Reason: OtherIssuer, Want: hugo.Issuer + "/", Got: hugo.Issuer}},

		// The log.
		{name: "no log entry", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { b.VerificationMaterial.TlogEntries = nil }},
			want:  &RefusedError{Reason: NotLogged}, detail: "0 entries, not one"},
		{name: "two log entries", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.VerificationMaterial.TlogEntries = append(other.Sign(good).VerificationMaterial.TlogEntries, entry(b))
			}},
			want: &RefusedError{Reason: NotLogged}, detail: "2 entries, not one"},
		{name: "neither promise nor proof", by: w, signing: good, edits: []edit{noPromise, noProof},
			want: &RefusedError{Reason: NotLogged}, detail: "neither an inclusion promise nor an inclusion proof"},
		{name: "proof without checkpoint", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { entry(b).InclusionProof.Checkpoint = nil }},
			want:  &RefusedError{Reason: NotLogged}, detail: "inclusion proof without a signed checkpoint"},
		{name: "entry of an unknown log", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.VerificationMaterial.TlogEntries = other.Sign(good).VerificationMaterial.TlogEntries
			}},
			want: &RefusedError{Reason: UnknownLog, Got: id}},
		{name: "entry of another signature", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.VerificationMaterial.TlogEntries = w.Sign(good).VerificationMaterial.TlogEntries
			}},
			want: &RefusedError{Reason: BadLogEntry}, detail: "signature does not match"},
		{name: "promise flipped", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { flip(entry(b).InclusionPromise.SignedEntryTimestamp) }},
			want:  &RefusedError{Reason: BadLogEntry}, detail: "not enough verified log entries"},
		{name: "index rewritten", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { entry(b).LogIndex++ }},
			want:  &RefusedError{Reason: BadLogEntry}, detail: "not enough verified log entries"},
		{name: "time rewritten", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { entry(b).IntegratedTime++ }},
			want:  &RefusedError{Reason: BadLogEntry}, detail: "not enough verified log entries"},
		{name: "proof flipped", by: w, signing: good,
			edits: []edit{noPromise, func(b *bundlepb.Bundle) { flip(entry(b).InclusionProof.Hashes[0]) }},
			want:  &RefusedError{Reason: BadLogEntry}, detail: "root"},
		{name: "good promise, proof flipped", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { flip(entry(b).InclusionProof.RootHash) }},
			want:  &RefusedError{Reason: BadLogEntry}, detail: "root"},
		{name: "checkpoint of another log", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { entry(b).InclusionProof = entry(other.Sign(good)).InclusionProof }},
			want:  &RefusedError{Reason: BadLogEntry}},
		{name: "logged after the certificate ended", by: w, signing: with(func(s *sigstoretest.Signing) { s.Late = 11 * time.Minute }),
			want: &RefusedError{Reason: BadLogEntry}, detail: "integrated time outside certificate validity"},

		// The time.
		{name: "no witness of the time", by: w, signing: good, edits: []edit{noPromise, noTimestamp},
			want: &RefusedError{Reason: NoTime}, detail: "0 < 1"},
		{name: "timestamp of an unknown authority", by: w, signing: good,
			edits: []edit{noPromise, func(b *bundlepb.Bundle) {
				stamp, err := other.Log.TimestampResponse(b.GetMessageSignature().Signature)
				if err != nil {
					t.Fatal(err)
				}
				b.VerificationMaterial.TimestampVerificationData.Rfc3161Timestamps[0].SignedTimestamp = stamp
			}},
			want: &RefusedError{Reason: NoTime}, detail: "0 < 1"},
		{name: "timestamp of another signature", by: w, signing: good,
			edits: []edit{noPromise, func(b *bundlepb.Bundle) {
				b.VerificationMaterial.TimestampVerificationData = w.Sign(good).VerificationMaterial.TimestampVerificationData
			}},
			want: &RefusedError{Reason: NoTime}, detail: "0 < 1"},

		// The certificate.
		{name: "forged chain", by: &forger, signing: good,
			want: &RefusedError{Reason: UnknownAuthority, Got: author}, detail: "leaf certificate verification failed"},
		{name: "everything forged", by: other, signing: good,
			want: &RefusedError{Reason: UnknownLog, Got: id}},
		{name: "certificate without SCT", by: w, signing: with(func(s *sigstoretest.Signing) { s.NoSCT = true }),
			want: &RefusedError{Reason: NoSCT}},
		{name: "SCT of an unknown log", by: w, signing: with(func(s *sigstoretest.Signing) { s.CT = other.CT }),
			want: &RefusedError{Reason: NoSCT}, detail: "only able to verify 0 SCT entries"},

		// The form.
		{name: "signature of an envelope", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.Content = &bundlepb.Bundle_DsseEnvelope{DsseEnvelope: &dssepb.Envelope{Payload: []byte("{}")}}
			}},
			want: &RefusedError{Reason: Malformed}, detail: "no signature of a file"},
		{name: "SHA-512", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.GetMessageSignature().MessageDigest.Algorithm = commonpb.HashAlgorithm_SHA2_512
			}},
			want: &RefusedError{Reason: Malformed}, detail: "digest is SHA2_512, not SHA2_256"},
		{name: "public key instead of certificate", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) {
				b.VerificationMaterial.Content = &bundlepb.VerificationMaterial_PublicKey{PublicKey: &commonpb.PublicKeyIdentifier{Hint: "x"}}
			}},
			want: &RefusedError{Reason: Malformed}, detail: "no certificate"},
		{name: "certificate garbled", by: w, signing: good,
			edits: []edit{func(b *bundlepb.Bundle) { b.VerificationMaterial.GetCertificate().RawBytes[0] = 0 }},
			want:  &RefusedError{Reason: Malformed}, detail: "x509"},
		{name: "version 0.3 with a chain", by: w, signing: good, edits: []edit{chain},
			want: &RefusedError{Reason: Malformed}, detail: "cannot be X.509 certificate chain"},
		{name: "version 0.4", by: w, signing: good, edits: []edit{version(".v0.4+json")},
			want: &RefusedError{Reason: Malformed}, detail: "not yet supported"},
		{name: "no version", by: w, signing: good, edits: []edit{version("")},
			want: &RefusedError{Reason: Malformed}, detail: "unsupported media type"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := tt.by.Sign(tt.signing)
			for _, e := range tt.edits {
				e(b)
			}
			if tt.digest == "" {
				tt.digest = tarXZHex
			}
			if tt.who == (Identity{}) {
				tt.who = hugo
			}
			root, data := parsed(t, w), sigstoretest.Marshal(t, b)
			facts, err := Verify(root, data, tt.digest, tt.who)
			var upstream error
			if tt.signing.Curve == nil { // with P-384 it writes to standard error
				upstream = upstreamVerify(root, data, tt.digest, tt.who)
			}
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				if facts.Identity != hugo.Email || facts.Issuer != hugo.Issuer || facts.Log != "https://rekor.localhost" ||
					facts.LogIndex != tt.index || time.Since(facts.Time) > 5*time.Minute || facts.Time.Location() != time.UTC {
					t.Errorf("facts are %+v", *facts)
				}
				if upstream != nil {
					t.Errorf("sigstore-go refuses: %v", upstream)
				}
				return
			}
			if facts != nil {
				t.Errorf("refused, but facts are %+v", *facts)
			}
			checkRefused(t, err, tt.want, tt.detail)
			// Here, and only here, more is asked for than sigstore-go would.
			stricter := map[string]bool{"two log entries": true, "a second address": true}
			if upstream == nil && !stricter[tt.name] {
				t.Error("sigstore-go accepts")
			}
		})
	}
}

// checkRefused holds an error against the one that is wanted, and its Err against
// the detail.
func checkRefused(t *testing.T, err error, want *RefusedError, detail string) {
	t.Helper()
	var got *RefusedError
	if !errors.As(err, &got) {
		t.Fatalf("error is %v, want a RefusedError: %v", err, want)
	}
	if got.Reason != want.Reason || got.Want != want.Want || got.Got != want.Got {
		t.Fatalf("refused as %#v, want %#v", got, want)
	}
	if detail != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), detail)) {
		t.Errorf("detail is %v, want %q in it", got.Err, detail)
	}
	if s := err.Error(); !strings.HasPrefix(s, want.Error()) || strings.ContainsAny(s, "\n\u00a0") {
		t.Errorf("message is %q, want %q and no more than a line", s, want)
	}
}

// upstreamVerify asks sigstore-go's own verifier the same question.
func upstreamVerify(r *Root, data []byte, digest string, who Identity) error {
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); err != nil {
		return err
	}
	v, err := verify.NewVerifier(r.material,
		verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1), verify.WithSignedCertificateTimestamps(1))
	if err != nil {
		return err
	}
	raw, err := hex.DecodeString(digest)
	if err != nil {
		return err
	}
	id, err := verify.NewShortCertificateIdentity(who.Issuer, "", who.Email, "")
	if err != nil {
		return err
	}
	_, err = v.Verify(b, verify.NewPolicy(verify.WithArtifactDigest("sha256", raw), verify.WithCertificateIdentity(id)))
	return err
}

func TestVerifyForm(t *testing.T) {
	w := sigstoretest.New(t)
	root := parsed(t, w)
	good := sigstoretest.Marshal(t, w.Sign(sigstoretest.Signing{Email: hugo.Email, Issuer: hugo.Issuer, Digest: tarXZ[:]}))
	padded := func(n int) []byte { return append(bytes.Clone(good), bytes.Repeat([]byte(" "), n-len(good))...) }
	for _, tt := range []struct {
		name   string
		data   []byte
		want   *RefusedError
		detail string
	}{
		{"as it is", good, nil, ""},
		{"as long as may be", padded(MaxBundle), nil, ""},
		{"a byte longer", padded(MaxBundle + 1), &RefusedError{Reason: TooBig}, ""},
		{"empty", nil, &RefusedError{Reason: Malformed}, "unexpected token"},
		{"a web page", []byte("<!doctype html>"), &RefusedError{Reason: Malformed}, "invalid value <"},
		{"cut", good[:len(good)/2], &RefusedError{Reason: Malformed}, "unexpected EOF"},
		{"two of them", append(bytes.Clone(good), good...), &RefusedError{Reason: Malformed}, "unexpected token"},
		{"an empty object", []byte("{}"), &RefusedError{Reason: Malformed}, "no signature of a file"},
		{"null", []byte("null"), &RefusedError{Reason: Malformed}, "unexpected token"},
		{"an unknown key", append([]byte(`{"x":1,`), good[1:]...), &RefusedError{Reason: Malformed}, `unknown field "x"`},
		{"a key twice", append([]byte(`{"mediaType":"x",`), good[1:]...), &RefusedError{Reason: Malformed}, "duplicate field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := Verify(root, tt.data, tarXZHex, hugo)
			if tt.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if facts != nil {
				t.Errorf("refused, but facts are %+v", *facts)
			}
			checkRefused(t, err, tt.want, tt.detail)
		})
	}
}

func TestVerifyUnpinned(t *testing.T) {
	w := sigstoretest.New(t)
	root := parsed(t, w)
	data := sigstoretest.Marshal(t, w.Sign(sigstoretest.Signing{Email: hugo.Email, Issuer: hugo.Issuer, Digest: tarXZ[:]}))
	for _, tt := range []struct {
		name   string
		root   *Root
		digest string
		who    Identity
		want   string // "" when it is to be answered
	}{
		{"all of it", root, tarXZHex, hugo, ""},
		{"no root", nil, tarXZHex, hugo, `not pinned: identity "hugo@python.example", issuer "https://login.example"`},
		{"no identity", root, tarXZHex, Identity{Issuer: hugo.Issuer}, `not pinned: identity "", issuer "https://login.example"`},
		{"no issuer", root, tarXZHex, Identity{Email: hugo.Email}, `not pinned: identity "hugo@python.example", issuer ""`},
		{"no digest", root, "", hugo, `not pinned: "" is not a SHA-256 digest in hexadecimal`},
		{"short digest", root, tarXZHex[2:], hugo, `not pinned: "` + tarXZHex[2:] + `" is not a SHA-256 digest in hexadecimal`},
		{"no hexadecimal", root, "xy" + tarXZHex[2:], hugo, `not pinned: "xy` + tarXZHex[2:] + `" is not a SHA-256 digest in hexadecimal`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := Verify(tt.root, data, tt.digest, tt.who)
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if facts != nil || !errors.Is(err, ErrUnpinned) || err.Error() != tt.want {
				t.Errorf("got %v, %v; want %s", facts, err, tt.want)
			}
		})
	}
}

// FuzzVerify: whatever is offered as a bundle either is refused as one, or proves
// what the good one proves. The good one is another in every process, so what is
// varied is a patch to it, and at an offset outside it the patch is all there is.
func FuzzVerify(f *testing.F) {
	w := sigstoretest.New(f)
	root := parsed(f, w)
	good := sigstoretest.Marshal(f, w.Sign(sigstoretest.Signing{Email: hugo.Email, Issuer: hugo.Issuer, Digest: tarXZ[:], Index: logIndex}))
	want, err := Verify(root, good, tarXZHex, hugo)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte("{"))
	f.Add(len(good)/2, []byte("AAAA"))
	for _, key := range []string{"logIndex", "integratedTime", "inclusionPromise", "inclusionProof", "rawBytes", "signedTimestamp"} {
		f.Add(bytes.Index(good, []byte(key))+len(key)+3, []byte(`9`))
	}
	f.Add(-1, []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":""},`+
		`"tlogEntries":[{"inclusionProof":{"checkpoint":{"envelope":"x"}}}]},"messageSignature":{"messageDigest":{"algorithm":"SHA2_256"}}}`))
	f.Fuzz(func(t *testing.T, at int, patch []byte) {
		data := patch
		if at >= 0 && at <= len(good) {
			data = bytes.Clone(good)
			copy(data[at:], patch)
		}
		facts, err := Verify(root, data, tarXZHex, hugo)
		if err != nil {
			if facts != nil || !errors.As(err, new(*RefusedError)) {
				t.Errorf("got %v, %v", facts, err)
			}
			return
		}
		if facts.Identity != want.Identity || facts.Issuer != want.Issuer {
			t.Errorf("facts are %+v", *facts)
		}
	})
}
