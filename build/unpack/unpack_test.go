package unpack

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// An entry is written as it is, however odd.
type entry struct {
	name string
	flag byte
	mode int64
	link string
	body string
	size int64               // in the header, if it is not that of body
	edit func(header []byte) // before the checksum
}

func dirE(name string) entry          { return entry{name: name, flag: '5', mode: 0o755} }
func fileE(name, body string) entry   { return entry{name: name, flag: '0', mode: 0o644, body: body} }
func linkE(name, target string) entry { return entry{name: name, flag: '2', mode: 0o777, link: target} }
func typeE(name string, f byte) entry { return entry{name: name, flag: f, mode: 0o644} }
func sizeE(e entry, size int64) entry { e.size = size; return e }
func modeE(e entry, mode int64) entry { e.mode = mode; return e }

// paxE is an extended header for the entry after it (flag x) or for all (flag g).
func paxE(flag byte, records ...string) entry {
	var body strings.Builder
	for _, r := range records {
		n := len(r) + 3
		for len(fmt.Sprintf("%d %s\n", n, r)) != n {
			n++
		}
		fmt.Fprintf(&body, "%d %s\n", n, r)
	}
	return entry{name: "pax", flag: flag, body: body.String()}
}

const (
	mtime    = 1_600_000_000
	endOfTar = 1024
)

// tarOf returns the entries as a tar, with its end.
func tarOf(entries ...entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		h := make([]byte, 512)
		copy(h[:100], e.name)
		copy(h[100:], fmt.Sprintf("%07o\x00%07o\x00%07o\x00", e.mode, 1234, 1234))
		size := int64(len(e.body))
		if e.size != 0 {
			size = e.size
		}
		if size < 0 || size >= 1<<33 {
			binary.BigEndian.PutUint64(h[128:], uint64(size))
			binary.BigEndian.PutUint32(h[124:], uint32(size>>63)|0x80<<24)
		} else {
			copy(h[124:], fmt.Sprintf("%011o\x00", size))
		}
		copy(h[136:], fmt.Sprintf("%011o\x00", mtime))
		h[156] = e.flag
		copy(h[157:257], e.link)
		copy(h[257:], "ustar\x0000")
		if e.edit != nil {
			e.edit(h)
		}
		copy(h[148:], "        ")
		sum := 0
		for _, c := range h {
			sum += int(c)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		b.Write(h)
		b.WriteString(e.body)
		b.Write(make([]byte, -len(e.body)&511))
	}
	b.Write(make([]byte, endOfTar))
	return b.Bytes()
}

func gz(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func xzOf(tb testing.TB, c xz.WriterConfig, data []byte) []byte {
	tb.Helper()
	if c.DictCap == 0 {
		c.DictCap = 1 << 16
	}
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// A box is a directory to unpack into and a neighbour that must stay as it is.
type box struct {
	tb   testing.TB
	root string
}

func newBox(tb testing.TB) box {
	tb.Helper()
	b := box{tb, tb.TempDir()}
	for _, d := range []string{"out", "beside"} {
		if err := os.Mkdir(filepath.Join(b.root, d), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(b.root, "beside", "keep"), []byte("me"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return b
}

func (b box) out() string { return filepath.Join(b.root, "out") }

// archive returns an open archive with those bytes.
func (b box) archive(data []byte) *os.File {
	b.tb.Helper()
	f, err := os.Create(filepath.Join(b.root, "archive"))
	if err == nil {
		_, err = f.Write(data) // the offset stays at the end: Tar must not care
	}
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(func() { f.Close() })
	return f
}

// tar unpacks data, and returns the top directory's name instead of its path, and the error without the archive's name.
func (b box) tar(data []byte, limits Limits) (string, error) {
	b.tb.Helper()
	f := b.archive(data)
	defer f.Close()
	top, err := Tar(b.tb.Context(), f, b.out(), limits, nil)
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		if refused.Archive != f.Name() {
			b.tb.Errorf("archive in the error: %q, want %q", refused.Archive, f.Name())
		}
		refused.Archive = ""
	}
	if err == nil {
		if top, err = filepath.Rel(b.out(), top); err != nil {
			b.tb.Fatal(err)
		}
	}
	return top, err
}

// left lists what is in the output directory, and checks that nothing is anywhere else.
func (b box) left() string {
	b.tb.Helper()
	var all, out []string
	err := filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(b.root, path)
		if err != nil || name == "archive" {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			name += "/"
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			name += "->" + target
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(data) > 20 {
				data = fmt.Appendf(nil, "%d bytes", len(data))
			}
			name += "=" + string(data)
		default:
			name += "?"
		}
		if inside, ok := strings.CutPrefix(name, "out/"); ok {
			if inside != "" {
				out = append(out, inside)
			}
			return nil
		}
		all = append(all, name)
		return nil
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	if want := []string{"./", "beside/", "beside/keep=me"}; !slices.Equal(all, want) {
		b.tb.Errorf("beside the output directory: %q, want %q", all, want)
	}
	return strings.Join(out, " ")
}

// leaks fails the test if it ends with more goroutines or open files than it has now.
func leaks(t *testing.T) {
	t.Helper()
	count := func() (goroutines, files int) {
		if d, err := os.Open("/proc/self/fd"); err == nil { // where there is one
			fds, _ := d.Readdirnames(-1)
			d.Close()
			files = len(fds)
		}
		return runtime.NumGoroutine(), files
	}
	g0, f0 := count()
	t.Cleanup(func() {
		var g, f int
		for range 100 { // a goroutine that has told us of its end may take a moment to be gone
			if g, f = count(); g <= g0 && f <= f0 {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("goroutines: %d, then %d; files: %d, then %d", g0, g, f0, f)
	})
}

func TestRefused(t *testing.T) {
	// In front of an entry at fault; what it leaves on disk must stay.
	p, a := dirE("p/"), fileE("p/a", "A")
	const left = "p/ p/a=A"
	name1024 := "p/" + strings.Repeat("1234567/", 127) + "123456"

	for _, tt := range []struct {
		what   string
		bad    []entry // the last one is at fault
		reason string
		left   string
		good   []entry // much the same
		want   string  // on disk after that
	}{
		// Names.
		{"dot dot", []entry{p, a, fileE("p/../../beside/x", "")}, "has .. in its name", left,
			[]entry{p, a, fileE("p/..x", "")}, "p/ p/..x= p/a=A"},
		{"dot dot that stays inside", []entry{p, a, fileE("p/q/../x", "")}, "has .. in its name", left,
			[]entry{p, a, fileE("p/q/x..", "")}, "p/ p/a=A p/q/ p/q/x..="},
		{"dot dot first", []entry{p, a, dirE("../p")}, "has .. in its name", left,
			[]entry{p, a, dirE("p/...")}, "p/ p/.../ p/a=A"},
		{"absolute", []entry{p, a, fileE("/p/x", "")}, "has an absolute name", left,
			[]entry{p, a, fileE("./p/x", "")}, "p/ p/a=A p/x="},
		{"root", []entry{p, a, dirE("/")}, "has an absolute name", left,
			[]entry{dirE("./p/"), fileE("./p/a", "A")}, left},
		{"absolute behind a dot", []entry{p, a, fileE(".//p/x", "")}, "has an absolute name", left,
			[]entry{p, a, fileE("p/.x", "")}, "p/ p/.x= p/a=A"},
		{"empty", []entry{p, a, fileE("", "x")}, "has an empty name", left,
			[]entry{p, a, fileE("p/ ", "x")}, "p/ p/ =x p/a=A"},
		{"dot and slash", []entry{p, a, dirE("./")}, "has an empty name", left,
			[]entry{p, a, dirE("./p/x/")}, "p/ p/a=A p/x/"},
		{"dot", []entry{p, a, dirE(".")}, "has an empty part or . in its name", left,
			[]entry{p, a, fileE("p/x.", "")}, "p/ p/a=A p/x.="},
		{"dot inside", []entry{p, a, fileE("p/./x", "")}, "has an empty part or . in its name", left,
			[]entry{p, a, fileE("p/.x/y", "")}, "p/ p/.x/ p/.x/y= p/a=A"},
		{"two slashes", []entry{p, a, fileE("p//x", "")}, "has an empty part or . in its name", left,
			[]entry{p, a, fileE(`p/\x`, "")}, `p/ p/\x= p/a=A`},
		{"file with a slash", []entry{p, a, fileE("p/x/", "x")}, "has an empty part or . in its name", left,
			[]entry{p, a, {name: "p/x/", mode: 0o755}}, "p/ p/a=A p/x/"}, // a directory of the 7th edition
		{"line feed", []entry{p, a, fileE("p/x\ny", "")}, "has a control character in its name", left,
			[]entry{p, a, fileE("p/x y", "")}, "p/ p/a=A p/x y="},
		{"escape, in UTF-8", []entry{p, a, fileE("p/\u009b31m", "")}, "has a control character in its name", left,
			[]entry{p, a, fileE("p/é", "")}, "p/ p/a=A p/é="},
		{"Latin-1", []entry{p, a, fileE("p/\xe9", "")}, "has a name that is not UTF-8", left,
			[]entry{p, a, paxE('x', "path=p/é"), fileE("x", "")}, "p/ p/a=A p/é="},
		{"long", []entry{p, a, paxE('x', "path="+name1024+"7"), {name: name1024 + "7", flag: '0'}}, "has a name of more than 1024 bytes", left,
			[]entry{dirE("p/"), paxE('x', "path="+name1024), fileE("x", "")}, treeTo(name1024) + "="},

		// Types.
		{"hard link", []entry{p, a, {name: "p/x", flag: '1', link: "p/a"}}, "is a hard link", left,
			[]entry{p, a, linkE("p/x", "a")}, "p/ p/a=A p/x->a"},
		{"character device", []entry{p, a, typeE("p/x", '3')}, "is a character device", left,
			[]entry{p, a, typeE("p/x", '0')}, "p/ p/a=A p/x="},
		{"block device", []entry{p, a, typeE("p/x", '4')}, "is a block device", left,
			[]entry{p, a, typeE("p/x", 0)}, "p/ p/a=A p/x="},
		{"fifo", []entry{p, a, typeE("p/x", '6')}, "is a fifo", left,
			[]entry{p, a, typeE("p/x", '5')}, "p/ p/a=A p/x/"},
		{"reserved", []entry{p, a, typeE("p/x", '7')}, "is of unknown type '7'", left,
			[]entry{p, a, fileE("p/x", "7")}, "p/ p/a=A p/x=7"},
		{"socket, as some write it", []entry{p, a, typeE("p/x", 's')}, "is of unknown type 's'", left,
			[]entry{p, a, fileE("p/s", "")}, "p/ p/a=A p/s="},
		{"volume header", []entry{p, a, typeE("p/x", 'V')}, "is of unknown type 'V'", left,
			[]entry{p, a, paxE('g', "comment=V")}, left},
		{"GNU sparse", []entry{p, a, sparseE("p/x")}, "is a sparse file", left,
			[]entry{p, a, fileE("p/x", "")}, "p/ p/a=A p/x="},
		{"PAX sparse", []entry{p, a, paxE('x', "GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.size=1000000000",
			"GNU.sparse.numblocks=0", "GNU.sparse.map="), fileE("p/x", "")}, "is a sparse file", left,
			[]entry{p, a, paxE('x', "GNU.other=1"), fileE("p/x", "")}, "p/ p/a=A p/x="},
		{"directory with a size", []entry{p, a, sizeE(dirE("p/x"), 5)}, "is a directory with a size", left,
			[]entry{p, a, dirE("p/x")}, "p/ p/a=A p/x/"},
		{"link with a size", []entry{p, a, sizeE(linkE("p/x", "a"), 5)}, "is a symbolic link with a size", left,
			[]entry{p, a, linkE("p/x", "a")}, "p/ p/a=A p/x->a"},

		// The same name.
		{"file twice", []entry{p, a, fileE("p/a", "B")}, "has the name of an earlier file", left,
			[]entry{p, a, fileE("p/A", "B")}, "p/ p/A=B p/a=A"},
		{"file twice, spelt otherwise", []entry{p, a, fileE("./p/a", "B")}, "has the name of an earlier file", left,
			[]entry{p, a, fileE("./p/b", "B")}, "p/ p/a=A p/b=B"},
		{"directory twice", []entry{p, a, dirE("p")}, "has the name of an earlier directory", left,
			[]entry{a, dirE("p")}, left},
		{"directory, then file", []entry{p, a, dirE("p/b/"), fileE("p/b", "")}, "has the name of an earlier directory", left + " p/b/",
			[]entry{p, a, dirE("p/b/"), fileE("p/b/b", "")}, left + " p/b/ p/b/b="},
		{"directory without an entry, then file", []entry{p, a, fileE("p/b/c", ""), fileE("p/b", "")}, "has the name of an earlier directory", left + " p/b/ p/b/c=",
			[]entry{p, a, fileE("p/b/c", ""), dirE("p/b")}, left + " p/b/ p/b/c="},
		{"directory without an entry, then two", []entry{p, a, fileE("p/b/c", ""), dirE("p/b"), dirE("p/b")}, "has the name of an earlier directory", left + " p/b/ p/b/c=",
			[]entry{p, a, fileE("p/b/c", ""), dirE("p/b")}, left + " p/b/ p/b/c="},
		{"file, then directory", []entry{p, a, dirE("p/a")}, "has the name of an earlier file", left,
			[]entry{p, a, dirE("p/b")}, left + " p/b/"},
		{"link, then file", []entry{p, a, linkE("p/x", "a"), fileE("p/x", "through")}, "has the name of an earlier symbolic link", left + " p/x->a",
			[]entry{p, a, linkE("p/x", "a"), fileE("p/y", "beside")}, left + " p/x->a p/y=beside"},
		{"link, then directory", []entry{p, a, linkE("p/x", "."), dirE("p/x")}, "has the name of an earlier symbolic link", left + " p/x->.",
			[]entry{p, a, linkE("p/x", "."), dirE("p/y")}, left + " p/x->. p/y/"},
		{"file, then link", []entry{p, a, linkE("p/a", "b")}, "has the name of an earlier file", left,
			[]entry{p, a, linkE("p/b", "a")}, left + " p/b->a"},

		// What lies below what.
		{"below a file", []entry{p, a, fileE("p/a/b", "")}, `lies below the file "p/a"`, left,
			[]entry{p, a, fileE("p/aa/b", "")}, left + " p/aa/ p/aa/b="},
		{"below a link", []entry{p, a, linkE("p/l", "d"), dirE("p/d"), fileE("p/l/x/y", "")}, `lies below the symbolic link "p/l"`, left + " p/d/ p/l->d",
			[]entry{p, a, linkE("p/l", "d"), dirE("p/d"), fileE("p/d/x/y", "")}, left + " p/d/ p/d/x/ p/d/x/y= p/l->d"},
		{"two tops", []entry{p, a, fileE("q/x", "")}, `is not in the top directory "p"`, left,
			[]entry{p, a, fileE("p/q/x", "")}, left + " p/q/ p/q/x="},
		{"top and its namesake", []entry{p, a, fileE("pp", "")}, `is not in the top directory "p"`, left,
			[]entry{p, a, fileE("p/p", "")}, left + " p/p="},
		{"top is a file", []entry{fileE("p", "")}, "is not in a top directory", "",
			[]entry{fileE("p/p", "")}, "p/ p/p="},
		{"top is a link", []entry{linkE("p", "../beside")}, "is not in a top directory", "",
			[]entry{p}, "p/"},

		// Symbolic links.
		{"link to an absolute name", []entry{p, a, linkE("p/l", "/etc/passwd")}, "is a symbolic link to an absolute name", left,
			[]entry{p, a, linkE("p/l", "etc/passwd")}, left + " p/l->etc/passwd"},
		{"link out", []entry{p, a, linkE("p/l", "..")}, "is a symbolic link out of the top directory", left,
			[]entry{p, a, linkE("p/d/l", "..")}, left + " p/d/ p/d/l->.."},
		{"link out and in again", []entry{p, a, linkE("p/d/l", "../../p/a")}, "is a symbolic link out of the top directory", left,
			[]entry{p, a, linkE("p/d/l", ".././a")}, left + " p/d/ p/d/l->.././a"},
		{"link out by a link", []entry{p, a, linkE("p/d/up", ".."), linkE("p/l", "d/up/../beside")}, "is a symbolic link that goes down and up again", left + " p/d/ p/d/up->..",
			[]entry{p, a, linkE("p/d/up", ".."), linkE("p/l", "d/up/a")}, left + " p/d/ p/d/up->.. p/l->d/up/a"},
		{"link to nothing", []entry{p, a, linkE("p/l", "")}, "is a symbolic link to nothing", left,
			[]entry{p, a, linkE("p/l", "l")}, left + " p/l->l"},
		{"link to a bell", []entry{p, a, linkE("p/l", "\a")}, "is a symbolic link to a name with a control character", left,
			[]entry{p, a, linkE("p/l", `\a`)}, left + ` p/l->\a`},

		// Sizes, of which the second is to overflow something.
		{"10 GB", []entry{p, a, sizeE(fileE("p/x", ""), 10<<30)}, "goes over the limit of 2147483648 bytes", left,
			[]entry{p, a, fileE("p/x", strings.Repeat("x", 10<<10))}, left + " p/x=10240 bytes"},
		{"8 EiB", []entry{p, a, sizeE(fileE("p/x", ""), 1<<63-1)}, "goes over the limit of 2147483648 bytes", left,
			[]entry{p, a, fileE("p/x", "x")}, left + " p/x=x"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			leaks(t)
			b := newBox(t)
			_, err := b.tar(gz(tarOf(tt.bad...)), Limits{})
			checkRefused(t, err, RefusedError{Entry: tt.bad[len(tt.bad)-1].name, Reason: tt.reason})
			if left := b.left(); left != tt.left {
				t.Errorf("left on disk: %q, want %q", left, tt.left)
			}

			b = newBox(t)
			top, err := b.tar(gz(tarOf(tt.good...)), Limits{})
			if top != "p" || err != nil {
				t.Errorf("twin: %q, %v", top, err)
			}
			if left := b.left(); left != tt.want {
				t.Errorf("twin unpacked to %q, want %q", left, tt.want)
			}
		})
	}
}

// TestInsecurePath sets what makes the tar reader refuse names itself, in words of its own.
func TestInsecurePath(t *testing.T) {
	for _, debug := range []string{"tarinsecurepath=0", "tarinsecurepath=1"} {
		t.Setenv("GODEBUG", debug)
		b := newBox(t)
		_, err := b.tar(gz(tarOf(dirE("p/"), fileE("p/../../beside/x", ""))), Limits{})
		checkRefused(t, err, RefusedError{Entry: "p/../../beside/x", Reason: "has .. in its name"})
		if left := b.left(); left != "p/" {
			t.Errorf("%s: left on disk: %q", debug, left)
		}
		b = newBox(t)
		if _, err := b.tar(gz(tarOf(dirE("p/"), fileE("p/x", ""))), Limits{}); err != nil {
			t.Errorf("%s: twin: %v", debug, err)
		}
	}
}

func checkRefused(t *testing.T, err error, want RefusedError) {
	t.Helper()
	got, ok := errors.AsType[*RefusedError](err)
	if !ok || *got != want {
		t.Errorf("error %v, want %v", err, &want)
	}
}

// treeTo lists the parents of name, then name, as box.left does.
func treeTo(name string) string {
	var list []string
	for p := range parents(name) {
		list = append(list, p+"/")
	}
	return strings.Join(append(list, name), " ")
}

// sparseE is a file of GNU tar's old format, with one hole of 1 GB and no data.
func sparseE(name string) entry {
	return entry{name: name, flag: 'S', edit: func(h []byte) {
		copy(h[257:], "ustar  \x00")
		copy(h[386:], "10000000000\x0000000000000\x00")
		copy(h[483:], "10000000000\x00")
	}}
}

// TestDamaged is about archives that go wrong as a whole, or where a reader of tar cannot tell the name.
func TestDamaged(t *testing.T) {
	p, a := dirE("p/"), fileE("p/a", "A")
	good := tarOf(p, a)
	body, end := good[:len(good)-endOfTar], good[len(good)-endOfTar:]
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	xzip := func(data []byte) []byte { return xzOf(t, xz.WriterConfig{}, data) }
	edited := func(edit func(h []byte)) []byte {
		return gz(tarOf(p, a, entry{name: "p/x", flag: '0', edit: edit}))
	}
	const left = "p/ p/a=A"

	for _, tt := range []struct {
		what   string
		bad    []byte
		entry  string
		reason string
		left   string
		good   []byte
	}{
		{"no bytes", nil, "", "is neither xz nor gzip", "", gz(good)},
		{"bare tar", good, "", "is neither xz nor gzip", "", xzip(good)},
		{"no tar in gzip", gz([]byte(strings.Repeat("<html>", 100))), "", "does not hold a tar archive", "", gz(good)},
		{"no tar in xz", xzip([]byte(strings.Repeat("<html>", 100))), "", "does not hold a tar archive", "", xzip(good)},
		{"no entries", gz(end), "", "holds no entries", "", gz(join(body, end))},
		{"a global header only", gz(tarOf(paxE('g', "comment=c"))), "", "holds no entries", "", gz(tarOf(paxE('g', "comment=c"), p, a))},

		{"nothing in gzip", gz(nil), "", "is truncated", "", gz(good)},
		{"no end of the tar", gz(body), "", "is truncated", left, gz(join(body, end))},
		{"half an end", gz(join(body, end[:512])), "", "is truncated", left, gz(join(body, end[:512], end[512:]))},
		{"no padding", gz(body[:len(body)-1]), "", "is truncated", left, gz(join(body[:len(body)-1], []byte{0}, end))},
		{"half a file", gz(join(body, tarOf(fileE("p/b", strings.Repeat("b", 600)))[:512+100])), "p/b", "is truncated", left + " p/b=100 bytes",
			gz(good)},
		{"half an end, then an entry", gz(join(body, end[:512], tarOf(fileE("p/b", "")))), "", `has an invalid header after "p/a"`, left, gz(good)},
		{"data after the tar", gz(join(good, []byte{0, 1})), "", "has data after the end of the tar", left, gz(join(good, []byte{0, 0}))},
		{"a tar after the tar", gz(join(good, good)), "", "has data after the end of the tar", left, gz(join(good, make([]byte, 10240)))},

		{"data after gzip", join(gz(good), []byte{0}), "", "has data after the compressed stream", left, gz(good)},
		{"gzip after gzip", join(gz(body), gz(end)), "", "has data after the compressed stream", left, gz(good)},
		{"data after xz", join(xzip(good), []byte("x")), "", "has data after the compressed stream", left, xzip(good)},
		{"padding after xz", join(xzip(good), make([]byte, 4)), "", "has data after the compressed stream", left, xzip(good)},
		{"xz after xz", join(xzip(body), xzip(end)), "", "has data after the compressed stream", left, xzip(good)},

		{"negative size", edited(func(h []byte) { copy(h[124:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") }), "",
			`has an invalid header after "p/a"`, left, edited(func(h []byte) { copy(h[124:], "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00") })},
		{"negative size in PAX", gz(tarOf(p, a, paxE('x', "size=-1"), fileE("p/x", ""))), "",
			`has an invalid header after "p/a"`, left, gz(tarOf(p, a, paxE('x', "size=0"), fileE("p/x", "")))},
		{"NUL in PAX", gz(tarOf(p, a, paxE('x', "path=p/x\x00y"), fileE("p/x", ""))), "",
			`has an invalid header after "p/a"`, left, gz(tarOf(p, a, paxE('x', "path=p/xy"), fileE("p/x", "")))},
		{"size that is no number", edited(func(h []byte) { copy(h[124:], "x") }), "",
			`has an invalid header after "p/a"`, left, edited(func(h []byte) { copy(h[124:], "0") })},
	} {
		t.Run(tt.what, func(t *testing.T) {
			leaks(t)
			b := newBox(t)
			_, err := b.tar(tt.bad, Limits{})
			checkRefused(t, err, RefusedError{Entry: tt.entry, Reason: tt.reason})
			if left := b.left(); left != tt.left {
				t.Errorf("left on disk: %q, want %q", left, tt.left)
			}

			b = newBox(t)
			if top, err := b.tar(tt.good, Limits{}); top != "p" || err != nil {
				t.Errorf("twin: %q, %v", top, err)
			}
			if left := b.left(); !strings.HasPrefix(left, "p/ p/a=A") {
				t.Errorf("twin unpacked to %q", left)
			}
		})
	}
}

// TestEveryByte cuts an archive off before, and flips a bit of, each of its bytes.
func TestEveryByte(t *testing.T) {
	leaks(t)
	data := tarOf(dirE("p/"), fileE("p/a", "A"))
	for _, tt := range []struct {
		what  string
		data  []byte
		magic int
	}{
		{"gzip", gz(data), 2},
		{"xz", xzOf(t, xz.WriterConfig{}, data), 6},
	} {
		const good = "p/ p/a=A"
		b := newBox(t)
		again := func(data []byte) error {
			if err := os.RemoveAll(filepath.Join(b.out(), "p")); err != nil {
				t.Fatal(err)
			}
			_, err := b.tar(data, Limits{})
			return err
		}
		if err := again(tt.data); err != nil || b.left() != good {
			t.Errorf("%s: %v, %q", tt.what, err, b.left())
		}
		for i := range tt.data {
			want := "is truncated"
			if i < tt.magic {
				want = "is neither xz nor gzip"
			}
			err := again(tt.data[:i])
			if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Reason != want {
				t.Errorf("%s cut to %d bytes: error %v, want %q", tt.what, i, err, want)
			}

			flipped := bytes.Clone(tt.data)
			flipped[i] ^= 0x10
			err = again(flipped)
			_, refused := errors.AsType[*RefusedError](err)
			// Checksums cover what is unpacked. They do not cover the time in a gzip header, or the bits that fill up its
			// last byte; and package lzma can do without the encoded size of a chunk.
			if harmless := err == nil && b.left() == good; !refused && !harmless {
				t.Errorf("%s with byte %d flipped: error %v, left on disk %q", tt.what, i, err, b.left())
			}
		}
	}
}

func TestLimits(t *testing.T) {
	p, zeros := dirE("p/"), fileE("p/z", strings.Repeat("\x00", 1<<20))
	mega := tarOf(p, zeros)
	size := int64(len(mega)) // 1 MiB, two headers, end
	many := []entry{p}
	for i := range 20 {
		many = append(many, fileE(fmt.Sprintf("p/%02d", i), strings.Repeat("x", 512)))
	}
	padded := append(tarOf(p), make([]byte, 1<<20)...)
	xzip := func(data []byte) []byte { return xzOf(t, xz.WriterConfig{BlockSize: 1 << 18}, data) }

	for _, tt := range []struct {
		what   string
		data   []byte
		limits Limits // that is just passed
		entry  string
		reason string
		left   string
		good   Limits
	}{
		{"gzip, by a header", gz(mega), Limits{Bytes: 1 << 20}, "p/z", "goes over the limit of 1048576 bytes", "p/", Limits{Bytes: size}},
		{"gzip, by a sum", gz(tarOf(many...)), Limits{Bytes: 4 << 10}, "p/03", "goes over the limit of 4096 bytes",
			"p/ p/00=512 bytes p/01=512 bytes p/02=512 bytes", Limits{Bytes: 23 << 10}},
		{"gzip, by what comes after the tar", gz(padded), Limits{Bytes: 1 << 20}, "", "goes over the limit of 1048576 bytes", "p/", Limits{Bytes: 1<<20 + 1536}},
		{"gzip, by a byte", gz(mega), Limits{Bytes: size - 1}, "", "goes over the limit of 1050623 bytes", "p/ p/z=1048576 bytes", Limits{Bytes: size}},
		{"xz, by a header", xzip(mega), Limits{Bytes: 1 << 20}, "p/z", "goes over the limit of 1048576 bytes", "p/", Limits{Bytes: size}},
		{"xz, by a byte", xzip(mega), Limits{Bytes: size - 1}, "", "goes over the limit of 1050623 bytes", "p/ p/z=1048576 bytes", Limits{Bytes: size}},
		{"less than nothing", gz(mega), Limits{Bytes: -1}, "", "goes over the limit of -1 bytes", "", Limits{}},
		{"entries", gz(tarOf(many[:4]...)), Limits{Entries: 3}, "p/02", "goes over the limit of 3 entries", "p/ p/00=512 bytes p/01=512 bytes", Limits{Entries: 4}},
		{"entries without an entry", gz(tarOf(p, fileE("p/1/2/3", ""))), Limits{Entries: 3}, "p/1/2/3", "goes over the limit of 3 entries", "p/", Limits{Entries: 4}},
		{"entries after all", gz(tarOf(fileE("p/1/2/3", ""), dirE("p/1"), dirE("p"))), Limits{Entries: 3}, "p/1/2/3", "goes over the limit of 3 entries", "", Limits{Entries: 4}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			leaks(t)
			b := newBox(t)
			_, err := b.tar(tt.data, tt.limits)
			checkRefused(t, err, RefusedError{Entry: tt.entry, Reason: tt.reason})
			if left := b.left(); left != tt.left {
				t.Errorf("left on disk: %q, want %q", left, tt.left)
			}

			b = newBox(t)
			if top, err := b.tar(tt.data, tt.good); top != "p" || err != nil {
				t.Errorf("twin: %q, %v", top, err)
			}
		})
	}
}

// TestKept is about modes and times.
func TestKept(t *testing.T) {
	defer umask(0o077)()
	b := newBox(t)
	if _, err := b.tar(xzOf(t, xz.WriterConfig{}, tarOf(
		paxE('g', "mtime=1", "comment=0123456789abcdef"),
		modeE(dirE("p/"), 0o2700),
		modeE(fileE("p/configure", "#!/bin/sh\n"), 0o4755),
		modeE(fileE("p/group", "x"), 0o677),
		modeE(dirE("p/ro"), 0o555),
		modeE(fileE("p/ro/file", "x"), 0o400),
		fileE("p/no/entry", "x"),
		linkE("p/link", "configure"),
		paxE('x', "mtime=1700000000.123456789"), fileE("p/pax", "x"),
		paxE('x', "mtime=1700000000.5"), dirE("p/dir"),
		fileE("p/dir/file", "x"),
		entry{name: "p/epoch", flag: '0', edit: func(h []byte) { copy(h[136:], "00000000000") }},
	)), Limits{}); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(mtime, 0)
	for _, tt := range []struct {
		name  string
		mode  fs.FileMode
		mtime time.Time // zero: of now
	}{
		{"p", fs.ModeDir | 0o755, old},
		{"p/configure", 0o755, old},
		{"p/group", 0o644, old},
		{"p/ro", fs.ModeDir | 0o755, old},
		{"p/ro/file", 0o644, old},
		{"p/no", fs.ModeDir | 0o755, time.Time{}},
		{"p/no/entry", 0o644, old},
		{"p/pax", 0o644, time.Unix(1_700_000_000, 123_456_789)},
		{"p/dir", fs.ModeDir | 0o755, time.Unix(1_700_000_000, 500_000_000)},
		{"p/dir/file", 0o644, old},
		{"p/epoch", 0o644, time.Unix(0, 0)},
	} {
		info, err := os.Lstat(filepath.Join(b.out(), tt.name))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode() != tt.mode {
			t.Errorf("%s: mode %v, want %v", tt.name, info.Mode(), tt.mode)
		}
		if now := time.Since(info.ModTime()) < time.Hour; now != tt.mtime.IsZero() || !now && !info.ModTime().Equal(tt.mtime) {
			t.Errorf("%s: time %v, want %v", tt.name, info.ModTime(), tt.mtime)
		}
	}
	if got, err := os.Readlink(filepath.Join(b.out(), "p/link")); got != "configure" || err != nil {
		t.Errorf("link: %q, %v", got, err)
	}
}

func TestProgressAndOffset(t *testing.T) {
	leaks(t)
	b := newBox(t)
	data := gz(tarOf(fileE("p/noise", noise(4<<20))))
	f := b.archive(data)
	var calls [][2]int64
	top, err := Tar(t.Context(), f, b.out(), Limits{}, func(done, total int64) { calls = append(calls, [2]int64{done, total}) })
	if want := filepath.Join(b.out(), "p"); top != want || err != nil {
		t.Fatalf("%q, %v, want %q", top, err, want)
	}
	size := int64(len(data))
	if n := len(calls); n < 4 || calls[n-1] != [2]int64{size, size} {
		t.Errorf("progress %v, want several calls up to %d", calls, size)
	}
	if !slices.IsSortedFunc(calls, func(a, b [2]int64) int { return int(a[0] - b[0]) }) {
		t.Errorf("progress goes back: %v", calls)
	}
	if offset, err := f.Seek(0, io.SeekCurrent); offset != size || err != nil {
		t.Errorf("offset of the archive: %d, %v, want %d as before", offset, err, size)
	}
}

func TestCancel(t *testing.T) {
	data := gz(tarOf(fileE("p/a", noise(buffers*bufferSize+1<<20)), fileE("p/b", "B")))

	t.Run("before", func(t *testing.T) {
		leaks(t)
		b := newBox(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Tar(ctx, b.archive(data), b.out(), Limits{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		if left := b.left(); left != "" {
			t.Errorf("left on disk: %q", left)
		}
	})
	t.Run("during", func(t *testing.T) {
		leaks(t)
		b := newBox(t)
		ctx, cancel := context.WithCancel(t.Context())
		_, err := Tar(ctx, b.archive(data), b.out(), Limits{}, func(done, total int64) { cancel() })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		if _, refused := errors.AsType[*RefusedError](err); refused {
			t.Errorf("a cancellation is the archive's fault: %v", err)
		}
		// What was decoded ahead may still be written, and that is less than the first file.
		info, err := os.Lstat(filepath.Join(b.out(), "p/a"))
		if err != nil || info.Size() > buffers*bufferSize {
			t.Errorf("p/a: %v, %v, want at most %d bytes", info, err, buffers*bufferSize)
		}
		if left := b.left(); strings.Contains(left, "p/b") {
			t.Errorf("left on disk: %q", left)
		}
	})
	t.Run("not", func(t *testing.T) {
		leaks(t)
		b := newBox(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := Tar(ctx, b.archive(data), b.out(), Limits{}, nil); err != nil {
			t.Error(err)
		}
		if left, want := b.left(), "p/ p/a=5242880 bytes p/b=B"; left != want {
			t.Errorf("unpacked to %q, want %q", left, want)
		}
	})
}

// TestNotTheArchive is about errors that are nobody's fault, or the caller's.
func TestNotTheArchive(t *testing.T) {
	good := gz(tarOf(dirE("p/"), fileE("p/a", "A")))
	for _, tt := range []struct {
		what string
		data []byte
		edit func(b box, f *os.File) // makes it fail
		err  error
		left string
		twin func(b box, f *os.File) // does not
	}{
		{"no directory", good, func(b box, f *os.File) { os.Remove(b.out()) }, fs.ErrNotExist, "",
			func(b box, f *os.File) {}},
		{"directory not empty", good, func(b box, f *os.File) { os.Mkdir(filepath.Join(b.out(), "q"), 0o700) }, syscall.ENOTEMPTY, "q/",
			func(b box, f *os.File) {
				os.Mkdir(filepath.Join(b.out(), "q"), 0o700)
				os.Remove(filepath.Join(b.out(), "q"))
			}},
		{"archive closed", good, func(b box, f *os.File) { f.Close() }, fs.ErrClosed, "",
			func(b box, f *os.File) { os.Remove(f.Name()) }}, // still open
		{"name too long for the file system", gz(tarOf(dirE("p/"), fileE("p/a", "A"), paxE('x', "path=p/"+strings.Repeat("x", 256)), fileE("x", ""))),
			func(b box, f *os.File) {}, syscall.ENAMETOOLONG, "p/ p/a=A",
			func(b box, f *os.File) { f.Truncate(0); f.WriteAt(good, 0) }},
	} {
		t.Run(tt.what, func(t *testing.T) {
			leaks(t)
			b := newBox(t)
			f := b.archive(tt.data)
			tt.edit(b, f)
			top, err := Tar(t.Context(), f, b.out(), Limits{}, nil)
			if top != "" || !errors.Is(err, tt.err) {
				t.Errorf("%q, error %v, want %v", top, err, tt.err)
			}
			if refused, ok := errors.AsType[*RefusedError](err); ok {
				t.Errorf("the archive's fault: %v", refused)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "unpacking "+f.Name()+": ") {
				t.Errorf("error %q does not say what was being done", err)
			}
			if fi, err := os.Stat(b.out()); err == nil && fi.IsDir() {
				if left := b.left(); left != tt.left {
					t.Errorf("left on disk: %q, want %q", left, tt.left)
				}
			}

			b = newBox(t)
			f = b.archive(tt.data)
			tt.twin(b, f)
			if _, err := Tar(t.Context(), f, b.out(), Limits{}, nil); err != nil {
				t.Errorf("twin: %v", err)
			}
			if left := b.left(); left != "p/ p/a=A" {
				t.Errorf("twin unpacked to %q", left)
			}
		})
	}
}

func TestArchiveIsDirectory(t *testing.T) {
	leaks(t)
	b := newBox(t)
	d, err := os.Open(b.out())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	_, err = Tar(t.Context(), d, b.out(), Limits{}, nil)
	checkRefused(t, err, RefusedError{Archive: b.out(), Reason: "is not a regular file"})
}

func TestRefusedError(t *testing.T) {
	for _, tt := range []struct {
		err  RefusedError
		want string
	}{
		{RefusedError{"/c/P.tgz", "", "is truncated"}, "/c/P.tgz is truncated"},
		{RefusedError{"/c/P.tgz", "P/\x1b[2J", "is a fifo"}, `/c/P.tgz: entry "P/\x1b[2J" is a fifo`},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// noise returns n bytes that do not compress, the same each time.
func noise(n int) string {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(p)
	return string(p)
}

func FuzzTar(f *testing.F) {
	for _, entries := range [][]entry{
		{dirE("p/"), fileE("p/a", "A"), linkE("p/l", "a")},
		{dirE("p/"), fileE("p/../../beside/x", "")},
		{paxE('g', "comment=c"), paxE('x', "path=p/é", "mtime=1.5"), fileE("x", "x")},
		{dirE("p/"), linkE("p/d/up", ".."), linkE("p/l", "d/up/../beside"), fileE("p/l/x", "")},
		{sparseE("p/x")},
		{typeE("p/x", '1'), typeE("p/x", 'L'), typeE("p/x", 'K')},
	} {
		f.Add(tarOf(entries...))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBox(t)
		top, err := b.tar(gz(data), Limits{Bytes: 1 << 20, Entries: 100})
		b.left() // nothing outside, nothing odd inside
		if err != nil {
			if _, refused := errors.AsType[*RefusedError](err); !refused && !errors.Is(err, syscall.ENAMETOOLONG) {
				t.Errorf("neither refused nor the system's error: %v", err)
			}
			return
		}
		// Wherever links lead, it is in the top directory.
		inside, err := filepath.EvalSymlinks(filepath.Join(b.out(), top))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(inside, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Type() != fs.ModeSymlink {
				return err
			}
			to, err := filepath.EvalSymlinks(path)
			if err == nil && to != inside && !strings.HasPrefix(to, inside+"/") {
				t.Errorf("%s leads to %s", path, to)
			}
			return nil // leading nowhere, or in circles, is allowed
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkTar unpacks 8 MB in 400 files, which compress well.
func BenchmarkTar(b *testing.B) {
	words := strings.SplitAfter(noise(32<<10), "\x00")
	r := rand.New(rand.NewPCG(1, 2))
	var entries []entry
	for i := range 40 {
		entries = append(entries, dirE(fmt.Sprintf("p/%d/", i)))
		for j := range 10 {
			var body strings.Builder
			for body.Len() < 20<<10 {
				body.WriteString(words[r.IntN(len(words))])
			}
			entries = append(entries, fileE(fmt.Sprintf("p/%d/%d", i, j), body.String()))
		}
	}
	data := tarOf(entries...)
	for _, bb := range []struct {
		name string
		data []byte
	}{{"gz", gz(data)}, {"xz", xzOf(b, xz.WriterConfig{DictCap: 8 << 20}, data)}} {
		b.Run(bb.name, func(b *testing.B) {
			f := newBox(b).archive(bb.data)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				dir, err := os.MkdirTemp(b.TempDir(), "")
				if err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if _, err := Tar(b.Context(), f, dir, Limits{}, nil); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := os.RemoveAll(dir); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
