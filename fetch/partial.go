package fetch

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// A mark is what a server says about which version of a file it serves: an ETag
// or, where it has no strong one, the time of the last change. The zero mark is
// none.
//
// It is kept beside a partial file, as JSON, without the URL: who else serves the
// same version, as mirrors do that keep the times of their files, may go on.
type mark struct {
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"`
}

// maxMark is more than any mark takes, in bytes of JSON.
const maxMark = 4 << 10

// markOf reads the mark of an answer.
func markOf(h http.Header) mark {
	m := mark{ETag: h.Get("ETag")}
	if !m.valid() {
		m = mark{Modified: h.Get("Last-Modified")}
	}
	if !m.valid() {
		return mark{}
	}
	return m
}

// parseMark reads what String wrote. Anything else, which a crash may have left,
// is no mark.
func parseMark(text []byte) mark {
	var m mark
	if json.Unmarshal(text, &m) != nil || !m.valid() {
		return mark{}
	}
	return m
}

func (m mark) String() string {
	b, _ := json.Marshal(m) // two strings
	return string(b)
}

// valid reports whether there is exactly one of the two, fit to be sent back. A
// weak ETag is not: it says that two versions mean the same, not that they are.
// The date is not strong either, by a second; the check of the whole file decides.
func (m mark) valid() bool {
	if m.ETag == "" {
		_, err := http.ParseTime(m.Modified)
		return err == nil && len(m.Modified) <= maxMark/2
	}
	inner, quoted := strings.CutPrefix(m.ETag, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	return m.Modified == "" && quoted && closed && len(inner) <= maxMark/8 && // each byte may take six
		!strings.ContainsFunc(inner, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f })
}

// ifRange is the value of the header of that name.
func (m mark) ifRange() string { return m.ETag + m.Modified }

// fits reports whether an answer does not speak of another version.
func (m mark) fits(h http.Header) bool {
	etag, modified := h.Get("ETag"), h.Get("Last-Modified")
	return (m.ETag == "" || etag == "" || etag == m.ETag) &&
		(m.Modified == "" || modified == "" || modified == m.Modified)
}

// A partial is the file of the cache that becomes an artifact. The caller holds
// the artifact's lock.
//
// What a broken download left can be continued if its mark lies beside it. The
// mark is written after the partial file is made and removed before that is, so it
// never lies there alone.
type partial struct {
	cache    *Cache
	artifact Artifact
	file     *os.File // nil when there is nothing yet
	held     int64    // bytes that the file takes, whatever becomes of it
	kept     int64    // bytes of it that need not come again
	mark     mark     // of file
	begun    bool     // by this process
	named    bool     // has its final name
}

func (c *Cache) partialPath(a Artifact) string { return c.path(a) + partialSuffix }
func (c *Cache) markPath(a Artifact) string    { return c.path(a) + markSuffix }

// partial finds out whether there is something to continue. Whatever stands in the
// way of that is no error: then the download begins anew.
func (c *Cache) partial(a Artifact) *partial {
	p := &partial{cache: c, artifact: a}
	if info, err := os.Lstat(c.partialPath(a)); err == nil && info.Mode().IsRegular() {
		p.held = info.Size()
	}
	text, err := readFile(c.markPath(a), maxMark)
	if err != nil {
		return p
	}
	m := parseMark(text)
	if m == (mark{}) {
		return p
	}
	f, err := os.OpenFile(c.partialPath(a), os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return p
	}
	info, err := f.Stat()
	// Another name of the file may be precious to somebody.
	if err != nil || !info.Mode().IsRegular() || links(info) != 1 || info.Size() == 0 || a.Size > 0 && info.Size() > a.Size {
		f.Close() // nothing was written
		return p
	}
	p.file, p.kept, p.mark = f, info.Size(), m
	if p.kept == a.Size {
		p.kept-- // there is always something to ask for
	}
	if p.kept == 0 {
		f.Close() // nothing was written
		p.file = nil
	}
	return p
}

// begin makes the file ready to be written to, from its end if the kept bytes are
// continued, else from its start, with the mark that the source gave.
func (p *partial) begin(continued bool, m mark) error {
	if continued {
		p.begun = true
		err := p.file.Truncate(p.kept)
		if err == nil {
			_, err = p.file.Seek(p.kept, io.SeekStart)
		}
		return p.failure(err)
	}
	if err := p.drop(); err != nil {
		return err
	}
	if err := p.cache.mkdirs(archivesDir, p.artifact.SHA256); err != nil {
		return err
	}
	f, err := create(p.cache.partialPath(p.artifact))
	if err != nil {
		return p.failure(err)
	}
	p.file, p.begun, p.mark = f, true, m
	if m == (mark{}) {
		return nil
	}
	side, err := create(p.cache.markPath(p.artifact))
	if err != nil {
		return p.failure(err)
	}
	_, err = io.WriteString(side, m.String())
	if cerr := side.Close(); err == nil {
		err = cerr
	}
	return p.failure(err)
}

// drop removes what there is of a download, and what lies in its place.
func (p *partial) drop() error {
	if p.file != nil {
		p.file.Close() // what was written is thrown away
		p.file = nil
	}
	p.kept = 0
	for _, path := range []string{p.cache.markPath(p.artifact), p.cache.partialPath(p.artifact)} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return p.failure(err)
		}
	}
	return nil
}

// commit gives the file its final name. Its bytes are on the disk before the name
// is; whether the name survives a power cut does not matter, since without it the
// file is fetched again.
func (p *partial) commit() error {
	if err := p.file.Sync(); err != nil {
		return p.failure(err)
	}
	if err := os.Remove(p.cache.markPath(p.artifact)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.failure(err)
	}
	if err := os.Rename(p.file.Name(), p.cache.path(p.artifact)); err != nil {
		return p.failure(err)
	}
	p.named = true
	return nil
}

// end closes the file. If it has no final name it is removed, unless it can be of
// use, or was only looked at.
func (p *partial) end(useful bool) error {
	if p.begun && !p.named && !(useful && p.continuable()) {
		return p.drop()
	}
	if p.file != nil {
		p.file.Close() // synced if it matters
	}
	return nil
}

// continuable reports whether partial will find something.
func (p *partial) continuable() bool {
	if p.file == nil || p.mark == (mark{}) {
		return false
	}
	info, err := p.file.Stat()
	return err == nil && info.Size() > 0
}

func (p *partial) failure(err error) error {
	if err == nil {
		return nil
	}
	return &CacheError{Dir: p.cache.Dir, Err: err}
}

// create makes a new file, readable for all and writable for nobody else whatever
// the umask.
func create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o644); err != nil {
		f.Close() // empty
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

// readFile reads a regular file that is no link. A longer one is a *LengthError.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, &LengthError{Want: limit, Got: limit + 1}
	}
	return b, nil
}

// openRegular opens a file to read it. Anything else under its name is
// ErrNotRegular: a link could point anywhere, later elsewhere, and opening a pipe
// would wait.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, ErrNotRegular
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = ErrNotRegular
	}
	if err != nil {
		f.Close() // nothing was read
		return nil, err
	}
	return f, nil
}

// links counts the names of a file.
func links(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
