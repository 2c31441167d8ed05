package unpack

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"slices"

	"github.com/ulikunitz/xz/lzma"
)

const xzMagic = "\xfd7zXZ\x00"

// maxDictionary is what xz -9 uses.
const maxDictionary = 64 << 20

// An xzReader decodes an xz file of one stream, after which nothing may come.
//
// Only what is inside the blocks is left to package lzma. Its sibling for the rest sets aside as much memory as a block
// asks for, up to 4 GiB, and takes a file that is cut off before or in the header of a block for a whole one.
type xzReader struct {
	src *source
	buf *bufio.Reader // of src

	flags [2]byte   // of the stream: zero and the kind of check
	check hash.Hash // of the current block's contents

	block   *lzma.Reader2 // the current one, or nil
	header  blockHeader
	start   int64 // where in the file the block does, with its header
	body    int64 // where it goes on after its header
	decoded int64 // bytes of it

	blocks uint64
	index  []byte // what the index must say about them
}

// A blockHeader says how to decode a block.
type blockHeader struct {
	encodedSize int64 // -1 if it does not say
	decodedSize int64
	dictionary  int64
}

// newXZ reads the header of the stream, which starts with the magic bytes.
func newXZ(src *source, buf *bufio.Reader) (*xzReader, error) {
	x := &xzReader{src: src, buf: buf}
	head, err := x.take(12)
	if err != nil {
		return nil, err
	}
	copy(x.flags[:], head[6:])
	if x.flags[0] != 0 || binary.LittleEndian.Uint32(head[8:]) != crc32.ChecksumIEEE(x.flags[:]) {
		return nil, errors.New("xz: invalid header")
	}
	switch x.flags[1] {
	case 0:
		return nil, &RefusedError{Reason: "is an xz file without checksums"}
	case 1:
		x.check = crc32.NewIEEE()
	case 4:
		x.check = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		x.check = sha256.New()
	default:
		return nil, fmt.Errorf("xz: unknown kind of checksum: %d", x.flags[1])
	}
	return x, nil
}

// Read implements io.Reader. The file is whole only when it returns io.EOF.
func (x *xzReader) Read(p []byte) (n int, err error) {
	if x.block == nil {
		if err := x.next(); err != nil {
			return 0, err
		}
	}
	n, err = x.block.Read(p)
	x.check.Write(p[:n])
	x.decoded += int64(n)
	switch {
	case err == io.ErrUnexpectedEOF, err == io.EOF && !x.block.EOS():
		err = x.short()
	case err == io.EOF:
		err = x.end()
		x.block = nil
	}
	return n, err
}

// short returns why a chunk has less data than is needed to decode it.
func (x *xzReader) short() error {
	if _, err := x.buf.Peek(1); err != nil {
		return unexpected(err) // because the file has
	}
	return errors.New("xz: invalid chunk")
}

// next starts a block. It returns io.EOF after the last one.
func (x *xzReader) next() error {
	x.start = x.pos()
	size, err := x.take(1) // in units of four bytes, without the first
	if err != nil {
		return err
	}
	if size[0] == 0 {
		return x.finish()
	}
	rest, err := x.take(4*int(size[0]) + 3)
	if err != nil {
		return err
	}
	if x.header, err = parseBlockHeader(append(size, rest...)); err != nil {
		return err
	}
	if x.header.dictionary > maxDictionary {
		return &RefusedError{Reason: fmt.Sprintf("needs a dictionary of %d bytes, more than %d", x.header.dictionary, maxDictionary)}
	}
	x.body, x.decoded = x.pos(), 0
	x.check.Reset()
	x.block, err = lzma.Reader2Config{DictCap: int(x.header.dictionary)}.NewReader2(x.buf)
	return err
}

// end reads what comes after the contents of a block.
func (x *xzReader) end() error {
	encoded := x.pos() - x.body
	if h := x.header; h.encodedSize >= 0 && h.encodedSize != encoded || h.decodedSize >= 0 && h.decodedSize != x.decoded {
		return errors.New("xz: wrong size of block")
	}
	padding, err := x.take(padding(encoded))
	if err != nil {
		return err
	}
	want, err := x.take(x.check.Size())
	if err != nil {
		return err
	}
	sum := x.check.Sum(nil)
	if x.check.Size() < sha256.Size {
		slices.Reverse(sum) // CRCs are little endian
	}
	if !allZero(padding) || !bytes.Equal(sum, want) {
		return errors.New("xz: wrong checksum of block")
	}
	x.blocks++
	x.index = binary.AppendUvarint(x.index, uint64(x.pos()-x.start)-uint64(len(padding)))
	x.index = binary.AppendUvarint(x.index, uint64(x.decoded))
	return nil
}

// finish reads the index, whose first byte has been read, and the footer. Only one spelling of them is valid.
func (x *xzReader) finish() error {
	tail := binary.AppendUvarint([]byte{0}, x.blocks)
	tail = append(tail, x.index...)
	tail = append(tail, make([]byte, padding(int64(len(tail))))...)
	tail = binary.LittleEndian.AppendUint32(tail, crc32.ChecksumIEEE(tail))

	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(tail)/4-1))
	footer = append(footer, x.flags[:]...)
	tail = binary.LittleEndian.AppendUint32(tail, crc32.ChecksumIEEE(footer))
	tail = append(tail, footer...)
	tail = append(tail, "YZ"...)

	got, err := x.take(len(tail) - 1)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, tail[1:]) {
		return errors.New("xz: wrong index")
	}
	if _, err := x.buf.Peek(1); err != nil {
		return err
	}
	return &RefusedError{Reason: trailing}
}

// pos returns how many bytes of the file have been used.
func (x *xzReader) pos() int64 { return x.src.done - int64(x.buf.Buffered()) }

// take reads n bytes.
func (x *xzReader) take(n int) ([]byte, error) {
	p := make([]byte, n)
	_, err := io.ReadFull(x.buf, p)
	return p, unexpected(err)
}

// unexpected returns err as it is to be where the file cannot end.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// padding returns how many bytes n is short of a multiple of four.
func padding(n int64) int { return int(-n & 3) }

// parseBlockHeader parses a whole block header, which has at least eight bytes.
func parseBlockHeader(p []byte) (h blockHeader, err error) {
	p, sum := p[:len(p)-4], p[len(p)-4:]
	if binary.LittleEndian.Uint32(sum) != crc32.ChecksumIEEE(p) {
		return h, errors.New("xz: wrong checksum of block header")
	}
	flags := p[1]
	r := bytes.NewReader(p[2:])
	size := func(present byte) (int64, error) {
		if flags&present == 0 {
			return -1, nil
		}
		n, err := binary.ReadUvarint(r)
		if err != nil || n > 1<<62 {
			return 0, errors.New("xz: invalid size in block header")
		}
		return int64(n), nil
	}
	if h.encodedSize, err = size(0x40); err != nil {
		return h, err
	}
	if h.decodedSize, err = size(0x80); err != nil {
		return h, err
	}
	// Package lzma knows one filter: LZMA2, whose number is 0x21, and which has one byte of properties.
	var filter [3]byte
	if _, err := io.ReadFull(r, filter[:]); err != nil || flags&0x3f != 0 || filter[0] != 0x21 || filter[1] != 1 {
		return h, &RefusedError{Reason: "uses xz filters other than LZMA2"}
	}
	if !allZero(p[len(p)-r.Len():]) {
		return h, errors.New("xz: invalid block header")
	}
	h.dictionary, err = lzma.DecodeDictCap(filter[2])
	return h, err
}
