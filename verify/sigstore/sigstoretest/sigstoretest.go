// Package sigstoretest is an instance of Sigstore for tests: authority, logs and
// timestamps, all in memory and all good. What is to be wrong with a bundle is
// said in the [Signing] it is made from, or changed in it afterwards.
//
// The package is for tests only. It imports nothing else of this module, so that
// the tests of package sigstore can use it from inside.
package sigstoretest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonpb "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	rekorpb "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"
)

// A World is an instance of Sigstore: the log and the timestamp authority are
// those of sigstore-go's virtual one. Its certificates carry no SCT, and what
// would sign them is private, so the authority and the certificate log are here.
type World struct {
	Log *ca.VirtualSigstore
	CT  *ecdsa.PrivateKey // of the certificate log

	t      testing.TB
	issuer *x509.Certificate
	root   *x509.Certificate
	key    *ecdsa.PrivateKey // of issuer
}

// New makes a world that lives as long as the test.
func New(t testing.TB) *World {
	t.Helper()
	w := &World{t: t, CT: newKey(t, elliptic.P256())}
	var err error
	if w.Log, err = ca.NewVirtualSigstoreWithExistingRekorEntry(); err != nil {
		t.Fatal(err)
	}
	var rootKey *ecdsa.PrivateKey
	if w.root, rootKey, err = ca.GenerateRootCa(); err != nil {
		t.Fatal(err)
	}
	if w.issuer, w.key, err = ca.GenerateFulcioIntermediate(w.root, rootKey); err != nil {
		t.Fatal(err)
	}
	return w
}

func newKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Trusted is the world's trusted_root.json.
func (w *World) Trusted() []byte {
	w.t.Helper()
	now := time.Now()
	ctID := w.keyID(&w.CT.PublicKey)
	logs := w.Log.RekorLogs()
	for id, l := range logs {
		l.ID = w.unhex(id)
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{
			Root: w.root, Intermediates: []*x509.Certificate{w.issuer},
			ValidityPeriodStart: now.Add(-time.Hour), URI: "https://fulcio.example",
		}},
		map[string]*root.TransparencyLog{hex.EncodeToString(ctID): {
			BaseURL: "https://ct.example", ID: ctID, HashFunc: crypto.SHA256, SignatureHashFunc: crypto.SHA256,
			PublicKey: &w.CT.PublicKey, ValidityPeriodStart: now.Add(-time.Hour),
		}},
		w.Log.TimestampingAuthorities(), logs)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := tr.MarshalJSON()
	if err != nil {
		w.t.Fatal(err)
	}
	return data
}

// A Signing is how a file is signed. The zero value, filled with who and what,
// is as it should be.
type Signing struct {
	Email  string // of who signs
	Issuer string // who vouches for that
	Digest []byte // SHA-256 of the file

	Curve  elliptic.Curve    // P-256 when nil
	Emails []string          // in the certificate; Email alone when nil
	CT     *ecdsa.PrivateKey // of the log that the certificate is in; the world's when nil
	NoSCT  bool              // it is in none
	Late   time.Duration     // of the log entry after the certificate was issued
	Index  int64             // in the log
}

// Sign makes a bundle in the form of version 0.3 with everything in it: promise,
// proof and timestamp.
func (w *World) Sign(s Signing) *bundlepb.Bundle {
	w.t.Helper()
	if s.Curve == nil {
		s.Curve = elliptic.P256()
	}
	if s.CT == nil {
		s.CT = w.CT
	}
	if s.Emails == nil {
		s.Emails = []string{s.Email}
	}
	issued := time.Now().Add(-time.Minute).Truncate(time.Second)
	key := newKey(w.t, s.Curve)
	leaf := w.certificate(s, key, issued)
	sig, err := ecdsa.SignASN1(rand.Reader, key, s.Digest)
	if err != nil {
		w.t.Fatal(err)
	}
	stamp, err := w.Log.TimestampResponse(sig)
	if err != nil {
		w.t.Fatal(err)
	}
	return &bundlepb.Bundle{
		MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
		VerificationMaterial: &bundlepb.VerificationMaterial{
			Content:     &bundlepb.VerificationMaterial_Certificate{Certificate: &commonpb.X509Certificate{RawBytes: leaf}},
			TlogEntries: []*rekorpb.TransparencyLogEntry{w.record(s, leaf, sig, issued.Add(s.Late+time.Second))},
			TimestampVerificationData: &bundlepb.TimestampVerificationData{
				Rfc3161Timestamps: []*commonpb.RFC3161SignedTimestamp{{SignedTimestamp: stamp}},
			},
		},
		Content: &bundlepb.Bundle_MessageSignature{MessageSignature: &commonpb.MessageSignature{
			MessageDigest: &commonpb.HashOutput{Algorithm: commonpb.HashAlgorithm_SHA2_256, Digest: s.Digest},
			Signature:     sig,
		}},
	}
}

// certificate issues one for ten minutes, with an SCT in it.
func (w *World) certificate(s Signing, key *ecdsa.PrivateKey, issued time.Time) []byte {
	w.t.Helper()
	template := &x509.Certificate{
		SerialNumber:   big.NewInt(1),
		EmailAddresses: s.Emails,
		NotBefore:      issued,
		NotAfter:       issued.Add(10 * time.Minute),
		KeyUsage:       x509.KeyUsageDigitalSignature,
		ExtKeyUsage:    []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(s.Issuer)},
		},
	}
	create := func() []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, w.issuer, &key.PublicKey, w.key)
		if err != nil {
			w.t.Fatal(err)
		}
		return der
	}
	der := create()
	if s.NoSCT {
		return der
	}
	plain, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{
		Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: w.sct(s.CT, plain.RawTBSCertificate, issued),
	})
	return create()
}

// sct is the extension of RFC 6962, section 3.3, over a certificate without it.
func (w *World) sct(key *ecdsa.PrivateKey, tbs []byte, at time.Time) []byte {
	w.t.Helper()
	millis := binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli()))
	issuer := sha256.Sum256(w.issuer.RawSubjectPublicKeyInfo)
	signed := bytes.Join([][]byte{
		{0, 0}, millis, {0, 1}, issuer[:], {byte(len(tbs) >> 16)}, prefixed(tbs), {0, 0},
	}, nil)
	sum := sha256.Sum256(signed)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		w.t.Fatal(err)
	}
	one := bytes.Join([][]byte{{0}, w.keyID(&key.PublicKey), millis, {0, 0}, {4, 3}, prefixed(sig)}, nil)
	value, err := asn1.Marshal(prefixed(prefixed(one)))
	if err != nil {
		w.t.Fatal(err)
	}
	return value
}

// prefixed puts the length before b, in two bytes.
func prefixed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// record makes the entry of the log.
func (w *World) record(s Signing, leaf, sig []byte, at time.Time) *rekorpb.TransparencyLogEntry {
	w.t.Helper()
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf})
	type object = map[string]any
	body, err := json.Marshal(object{
		"apiVersion": "0.0.1",
		"kind":       "hashedrekord",
		"spec": object{
			"data":      object{"hash": object{"algorithm": "sha256", "value": hex.EncodeToString(s.Digest)}},
			"signature": object{"content": sig, "publicKey": object{"content": cert}},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := w.Log.RekorLogID()
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := w.Log.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(body), IntegratedTime: at.Unix(), LogIndex: s.Index, LogID: id,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	proof, err := w.Log.GetInclusionProof(body)
	if err != nil {
		w.t.Fatal(err)
	}
	var hashes [][]byte
	for _, h := range proof.Hashes {
		hashes = append(hashes, w.unhex(h))
	}
	return &rekorpb.TransparencyLogEntry{
		LogIndex:         s.Index,
		LogId:            &commonpb.LogId{KeyId: w.unhex(id)},
		KindVersion:      &rekorpb.KindVersion{Kind: "hashedrekord", Version: "0.0.1"},
		IntegratedTime:   at.Unix(),
		InclusionPromise: &rekorpb.InclusionPromise{SignedEntryTimestamp: set},
		InclusionProof: &rekorpb.InclusionProof{
			// The virtual log hashes as if the entry were the first of two, and says
			// that it is the second.
			LogIndex: 0, RootHash: w.unhex(*proof.RootHash), TreeSize: *proof.TreeSize,
			Hashes: hashes, Checkpoint: &rekorpb.Checkpoint{Envelope: *proof.Checkpoint},
		},
		CanonicalizedBody: body,
	}
}

func (w *World) keyID(key *ecdsa.PublicKey) []byte {
	w.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		w.t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

func (w *World) unhex(s string) []byte {
	w.t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// Marshal is the bundle as a file.
func Marshal(t testing.TB, b *bundlepb.Bundle) []byte {
	t.Helper()
	data, err := protojson.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
