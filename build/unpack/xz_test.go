package unpack

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"
)

// patched returns the xz file data with the byte at offset in the last block header changed, and its checksum corrected.
// The header is that of package xz: twelve bytes, no sizes, LZMA2 and its dictionary at offsets 2 to 4.
func patched(t *testing.T, data []byte, offset int, value byte) []byte {
	t.Helper()
	i := bytes.LastIndex(data, []byte{2, 0, 0x21, 1})
	if i < 0 {
		t.Fatal("no block header in the xz file")
	}
	data = bytes.Clone(data)
	header := data[i : i+12]
	header[offset] = value
	binary.LittleEndian.PutUint32(header[8:], crc32.ChecksumIEEE(header[:8]))
	return data
}

// sized returns the xz file data, of one block, with the decoded size in its header, and its index corrected.
func sized(data []byte, size int) []byte {
	header := binary.AppendUvarint([]byte{3, 0x80}, uint64(size))
	header = append(header, data[14:17]...)
	header = append(header, make([]byte, 12-len(header))...)
	header = binary.LittleEndian.AppendUint32(header, crc32.ChecksumIEEE(header))

	index := len(data) - 12 - 4*(1+int(binary.LittleEndian.Uint32(data[len(data)-8:])))
	unpadded, n := binary.Uvarint(data[index+2:])
	decoded, _ := binary.Uvarint(data[index+2+n:])
	tail := binary.AppendUvarint([]byte{0, 1}, unpadded+4)
	tail = binary.AppendUvarint(tail, decoded)
	tail = append(tail, make([]byte, padding(int64(len(tail))))...)
	tail = binary.LittleEndian.AppendUint32(tail, crc32.ChecksumIEEE(tail))
	return bytes.Join([][]byte{data[:12], header, data[24:index], tail, data[len(data)-12:]}, nil)
}

// flagged returns the xz file data with that kind of checksum in its header, and the header's own corrected.
func flagged(data []byte, kind byte) []byte {
	data = bytes.Clone(data)
	data[7] = kind
	binary.LittleEndian.PutUint32(data[8:], crc32.ChecksumIEEE(data[6:8]))
	return data
}

func TestXZ(t *testing.T) {
	data := tarOf(dirE("p/"), fileE("p/a", strings.Repeat("A", 100)), fileE("p/noise", noise(100<<10)))
	const left = "p/ p/a=100 bytes p/noise=102400 bytes"
	one := xzOf(t, xz.WriterConfig{}, data)
	many := xzOf(t, xz.WriterConfig{BlockSize: 10 << 10}, data)
	index := len(one) - 12 - 4*(1+int(binary.LittleEndian.Uint32(one[len(one)-8:])))
	wrongCheck, wrongIndex := bytes.Clone(one), bytes.Clone(one)
	wrongCheck[index-1] ^= 1
	wrongIndex[index+1] = 2
	shortChunk := bytes.Clone(one)
	copy(shortChunk[24+3:], "\x00\x02")         // after both headers: the size less one of the first chunk, which is compressed
	const size64M, size96M, size4G = 28, 29, 40 // as the format has it

	for _, tt := range []struct {
		what   string
		bad    []byte
		entry  string
		reason string
		left   string
		good   []byte
	}{
		{"dictionary", patched(t, one, 4, size96M), "", "needs a dictionary of 100663296 bytes, more than 67108864", "", patched(t, one, 4, size64M)},
		{"dictionary of a later block", patched(t, many, 4, size4G), "p/noise", "needs a dictionary of 4294967295 bytes, more than 67108864",
			"p/ p/a=100 bytes p/noise=100352 bytes", patched(t, many, 4, size64M)},
		{"dictionary beyond the format", patched(t, one, 4, 41), "", "is damaged: lzma: invalid dictionary size code", "", patched(t, one, 4, size64M)},
		{"x86 filter", patched(t, one, 2, 4), "", "uses xz filters other than LZMA2", "", one},
		{"two filters", patched(t, one, 1, 1), "", "uses xz filters other than LZMA2", "", one},
		{"wrong size in a header", sized(one, len(data)+1), "", "is damaged: xz: wrong size of block", left, sized(one, len(data))},
		{"no checksums", xzOf(t, xz.WriterConfig{NoCheckSum: true}, data), "", "is an xz file without checksums", "",
			xzOf(t, xz.WriterConfig{CheckSum: xz.SHA256}, data)},
		{"unknown checksum", flagged(one, 2), "", "is damaged: xz: unknown kind of checksum: 2", "", flagged(one, 4)},
		{"reserved flag", patched(t, one, 1, 0x10), "", "uses xz filters other than LZMA2", "", patched(t, one, 1, 0)},
		{"padding of a block header", patched(t, one, 7, 1), "", "is damaged: xz: invalid block header", "", patched(t, one, 7, 0)},
		{"checksum", wrongCheck, "", "is damaged: xz: wrong checksum of block", left, // which comes last
			xzOf(t, xz.WriterConfig{CheckSum: xz.CRC32}, data)},
		{"index", wrongIndex, "", "is damaged: xz: wrong index", left, many},
		// Three bytes where a range decoder starts with five: package lzma takes that for the end of the block.
		{"short chunk", shortChunk, "", "is damaged: xz: invalid chunk", "", one},
	} {
		t.Run(tt.what, func(t *testing.T) {
			leaks(t)
			b := newBox(t)
			_, err := b.tar(tt.bad, Limits{})
			checkRefused(t, err, RefusedError{Entry: tt.entry, Reason: tt.reason})
			if got := b.left(); got != tt.left {
				t.Errorf("left on disk: %q, want %q", got, tt.left)
			}

			b = newBox(t)
			if _, err := b.tar(tt.good, Limits{}); err != nil {
				t.Errorf("twin: %v", err)
			}
			if got := b.left(); got != left {
				t.Errorf("twin unpacked to %q, want %q", got, left)
			}
		})
	}
}

// FuzzXZ compares with a decoder that is more lenient: what we take, it takes for the same.
func FuzzXZ(f *testing.F) {
	data := []byte(strings.Repeat("xz ", 1000) + noise(1000))
	f.Add(xzOf(f, xz.WriterConfig{}, data)[6:])
	f.Add(xzOf(f, xz.WriterConfig{BlockSize: 500, CheckSum: xz.CRC32}, data)[6:])
	f.Add(xzOf(f, xz.WriterConfig{CheckSum: xz.SHA256}, nil)[6:])
	f.Add(sized(xzOf(f, xz.WriterConfig{}, data), len(data))[6:])
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newDecoder(&source{r: bytes.NewReader(append([]byte(xzMagic), data...))})
		if err != nil {
			return
		}
		got, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if err != nil || len(got) == 1<<20 {
			return
		}
		other, err := xz.NewReader(bytes.NewReader(append([]byte(xzMagic), data...)))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := io.ReadAll(other); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, but otherwise %d, %v", len(got), len(want), err)
		}
	})
}
