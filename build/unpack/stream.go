package unpack

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// The decoder runs at most this far ahead. An xz decoder decodes up to 2 MiB at a time; with less than that
// in between, the two sides would take turns instead of working at once.
const (
	buffers    = 8
	bufferSize = 512 << 10
)

// A stream is the decompressed archive. A goroutine decodes it ahead of whoever reads.
type stream struct {
	limit    int64 // bytes it may hold
	left     int64 // of them, not yet read
	total    int64 // size of the archive
	progress func(done, total int64)

	full   chan piece    // decoded, in order
	free   chan []byte   // to decode into
	cancel func()        // tells the decoder to stop
	done   chan struct{} // closed once it has

	piece piece // being read
	ended bool  // a reader was given its err
}

// A piece of the stream.
type piece struct {
	buf  []byte // a whole buffer, to be freed
	data []byte // what of it is not yet read
	done int64  // bytes of the archive read when it was complete
	err  error  // why nothing comes after it, io.EOF at best
}

// newStream finds out how archive is compressed and starts to decode it, until the stream is closed.
func newStream(ctx context.Context, archive *os.File, limit int64, progress func(done, total int64)) (*stream, error) {
	info, err := archive.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &RefusedError{Reason: "is not a regular file"}
	}
	src := &source{r: io.NewSectionReader(archive, 0, info.Size())}
	r, err := newDecoder(src)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithCancel(ctx)
	s := &stream{
		limit: limit, left: limit, total: info.Size(), progress: progress,
		full:   make(chan piece, buffers+1), // one for each buffer and one for an error: sending never blocks
		free:   make(chan []byte, buffers),
		cancel: cancel,
		done:   make(chan struct{}),
	}
	for range buffers {
		s.free <- nil // allocated when needed
	}
	go func() {
		defer close(s.done)
		s.decode(ctx, r, src)
	}()
	return s, nil
}

// close stops the decoder and waits for it, no longer than it takes to decode a piece.
func (s *stream) close() {
	s.cancel()
	<-s.done
}

// decode fills buffers from r, which decodes src, until there is nothing more to read or ctx ends.
func (s *stream) decode(ctx context.Context, r io.Reader, src *source) {
	for {
		var p piece
		select {
		case p.buf = <-s.free:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			s.full <- piece{done: src.done, err: err}
			return
		}
		if p.buf == nil {
			p.buf = make([]byte, bufferSize)
		}
		n := 0
		for n < len(p.buf) && p.err == nil {
			var k int
			k, p.err = r.Read(p.buf[n:])
			n += k
			if p.err == nil {
				p.err = ctx.Err()
			} else if p.err != io.EOF {
				p.err = src.explain(p.err)
			}
		}
		p.data, p.done = p.buf[:n], src.done
		s.full <- p
		if p.err != nil {
			return
		}
	}
}

// Read implements io.Reader. It never returns data along with an error.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.piece.data) == 0 && s.piece.err == nil {
		if s.piece.buf != nil {
			s.free <- s.piece.buf
		}
		s.piece = <-s.full
		s.progress(s.piece.done, s.total)
	}
	if len(s.piece.data) > 0 && s.left <= 0 {
		s.piece = piece{err: &RefusedError{Reason: overLimit(s.limit)}}
	}
	if len(s.piece.data) == 0 {
		s.ended = true
		return 0, s.piece.err
	}
	n := copy(p[:min(int64(len(p)), s.left)], s.piece.data)
	s.piece.data = s.piece.data[n:]
	s.left -= int64(n)
	return n, nil
}

// drain reads the padding after the tar. It gets at the compressed stream's checksum too, which comes last.
func (s *stream) drain() error {
	var buf [8 << 10]byte
	for {
		n, err := s.Read(buf[:])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return s.explain("", "")
		}
		if !allZero(buf[:n]) {
			return &RefusedError{Reason: "has data after the end of the tar"}
		}
	}
}

// explain returns why a reader of the stream failed at entry: because of the stream, or else for reason.
func (s *stream) explain(entry, reason string) error {
	if !s.ended {
		return &RefusedError{Entry: entry, Reason: reason}
	}
	if s.piece.err == io.EOF {
		return &RefusedError{Entry: entry, Reason: truncated}
	}
	if refused, ok := errors.AsType[*RefusedError](s.piece.err); ok {
		refused.Entry = entry
	}
	return s.piece.err
}

// Reasons that several checks share.
const (
	truncated = "is truncated"
	trailing  = "has data after the compressed stream"
)

func overLimit(limit int64) string {
	return fmt.Sprintf("goes over the limit of %d bytes", limit)
}

// A source reads the archive. It remembers what decoders do not tell: how far they got, and whether the file was in
// trouble or what is in it.
type source struct {
	r    io.Reader
	done int64 // bytes read
	err  error // from the operating system
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.done += int64(n)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain returns why a decoder of s failed with err.
func (s *source) explain(err error) error {
	_, refused := errors.AsType[*RefusedError](err)
	switch {
	case s.err != nil:
		return s.err
	case refused:
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &RefusedError{Reason: truncated}
	}
	return &RefusedError{Reason: "is damaged: " + err.Error()}
}

// newDecoder returns what decompresses src.
func newDecoder(src *source) (r io.Reader, err error) {
	buf := bufio.NewReaderSize(src, 128<<10)
	magic, err := buf.Peek(len(xzMagic))
	if err != nil && err != io.EOF {
		return nil, src.explain(err)
	}
	switch {
	case string(magic) == xzMagic:
		r, err = newXZ(src, buf)
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		r, err = newGzip(buf)
	default:
		err = &RefusedError{Reason: "is neither xz nor gzip"}
	}
	if err != nil {
		return nil, src.explain(err)
	}
	return r, nil
}

// A gzipReader decodes a gzip file of one member, after which nothing may come.
type gzipReader struct {
	z    *gzip.Reader
	rest io.ByteReader // what z reads from, and no further than it must
}

func newGzip(buf *bufio.Reader) (*gzipReader, error) {
	z, err := gzip.NewReader(buf)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gzipReader{z, buf}, nil
}

// Read implements io.Reader.
func (g *gzipReader) Read(p []byte) (int, error) {
	n, err := g.z.Read(p)
	if err != io.EOF {
		return n, err
	}
	if _, err := g.rest.ReadByte(); err != nil {
		return n, err
	}
	return n, &RefusedError{Reason: trailing}
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
