package openpgp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// maxPackets bounds the memory that a keyring of empty packets takes.
const maxPackets = 1 << 16

// Types of packets, from RFC 9580, section 5. The library reads them, but does not export their numbers.
const (
	tagSignature    = 2
	tagSecretKey    = 5
	tagKey          = 6
	tagSecretSubkey = 7
	tagMarker       = 10
	tagTrust        = 12
	tagUserID       = 13
	tagSubkey       = 14
	tagAttribute    = 17
	tagPadding      = 21
	tagNonCritical  = 40 // and above: to be ignored by those who do not know it
)

// dearmor returns the contents of every armored block of data, one after the other, or data itself when it is binary. All
// blocks have to be of the kind.
func dearmor(data []byte, kind string) ([]byte, error) {
	if len(data) == 0 {
		return nil, errors.New("is empty")
	}
	if data[0]&0x80 != 0 { // as the first octet of every packet, and of no text in ASCII
		return data, nil
	}
	// Decode goes on with a reader that is a bufio.Reader already, so that the next call finds the next block. The size is
	// that of data because Decode appends to a header once for every buffer that the header fills.
	r := bufio.NewReaderSize(bytes.NewReader(data), max(len(data), 128))
	var out []byte
	for {
		block, err := armor.Decode(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if block.Type != kind {
			return nil, fmt.Errorf("is a %.40q, not a %q", block.Type, kind)
		}
		contents, err := io.ReadAll(block.Body)
		if err != nil {
			return nil, err
		}
		out = append(out, contents...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("holds no %q", kind)
	}
	return out, nil
}

// split cuts data into packets, without looking into them, and drops those that mean nothing.
func split(data []byte) ([]*packet.OpaquePacket, error) {
	r := packet.NewOpaqueReader(bytes.NewReader(data))
	var packets []*packet.OpaquePacket
	for n := 1; ; n++ {
		p, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return packets, nil
		case err != nil:
			return nil, fmt.Errorf("packet %d: %w", n, err)
		case n > maxPackets:
			return nil, fmt.Errorf("holds more than %d packets", maxPackets)
		case p.Tag != tagMarker && p.Tag != tagTrust && p.Tag != tagPadding && p.Tag < tagNonCritical:
			packets = append(packets, p)
		}
	}
}

// readSignatures returns the signature packets of a signature file, at least one.
func readSignatures(data []byte) ([]*packet.OpaquePacket, error) {
	malformed := func(format string, args ...any) ([]*packet.OpaquePacket, error) {
		return nil, &FormatError{What: "signature", Detail: fmt.Sprintf(format, args...)}
	}
	if len(data) > MaxSignature {
		return malformed("is larger than %d bytes", MaxSignature)
	}
	binary, err := dearmor(data, "PGP SIGNATURE")
	if err != nil {
		return malformed("%v", err)
	}
	packets, err := split(binary)
	if err != nil {
		return malformed("%v", err)
	}
	for _, p := range packets {
		if p.Tag != tagSignature {
			return malformed("holds a packet of type %d", p.Tag)
		}
	}
	switch {
	case len(packets) == 0:
		return malformed("holds no signature")
	case len(packets) > MaxSignatures:
		return malformed("holds more than %d signatures", MaxSignatures)
	}
	return packets, nil
}

// checkHeader judges a signature by its first octets: its type, its algorithm and its digest. The library cannot read those that
// use what it finds too weak, and could not say why.
func checkHeader(contents []byte) error {
	if len(contents) < 4 {
		return &FormatError{What: "signature", Detail: "is truncated"}
	}
	version, kind, algorithm, digest := contents[0], contents[1], contents[2], contents[3]
	if version != 4 && version != 6 {
		return &RefusedError{Reason: Unsupported, Detail: fmt.Sprintf("version %d of the format", version)}
	}
	if kind != byte(packet.SigTypeBinary) {
		name := fmt.Sprintf("type 0x%02x", kind)
		if kind == byte(packet.SigTypeText) {
			name = "text"
		}
		return &RefusedError{Reason: NotBinary, Detail: name}
	}
	switch digest {
	case 8, 9, 10, 12, 14: // SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-512
	case 1:
		return &RefusedError{Reason: WeakDigest, Detail: "MD5"}
	case 2:
		return &RefusedError{Reason: WeakDigest, Detail: "SHA-1"}
	case 3:
		return &RefusedError{Reason: WeakDigest, Detail: "RIPEMD-160"}
	case 11:
		return &RefusedError{Reason: WeakDigest, Detail: "SHA-224"}
	default:
		return &RefusedError{Reason: Unsupported, Detail: fmt.Sprintf("digest algorithm %d", digest)}
	}
	switch packet.PublicKeyAlgorithm(algorithm) {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA,
		packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448, packet.PubKeyAlgoDSA:
		return nil // DSA is refused when the key is known, so that the error can name it
	}
	return &RefusedError{Reason: Unsupported, Detail: fmt.Sprintf("public-key algorithm %d", algorithm)}
}
