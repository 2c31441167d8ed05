package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// fakeWorld is what scripts see instead of python.org and the embedded recipes: archives of fake CPythons, which are built of
// shell scripts in a few milliseconds, and recipes that know them.
//
//	mirror/3.13.5/Python-3.13.5.tar.xz       archives, laid out like python.org
//	mirror/debian/pool/main/p/python3.13/…   the same as a distribution has them
//	recipes/fake/                            parts that need nothing of the host
//	recipes/real/                            the project's own parts, platforms and profiles
//	recipes/signed/                          like fake, of the releases that are signed, see signed_test.go
type fakeWorld struct {
	mirror, recipes string
	trusted         string // file
	signers         *signers
}

// fakeReleases is the whole history of the fake CPython, newest first.
var fakeReleases = []struct {
	version string
	// Archives, by the end of their names, and what makes them.
	xz, gz func(version string) []byte
	// pool is the end of the name under which the distribution has the archive too, "" when it has none.
	pool string
}{
	{"3.15.0rc2", goodXZ, nil, ""},
	{"3.14.0", goodXZ, nil, ""}, // needs what no host has
	{"3.13.5", goodXZ, goodGZ, "xz"},
	{"3.13.4", goodXZ, nil, ""},
	{"3.12.2", nil, goodGZ, "gz"},
	{"3.12.1", nil, bigGZ, ""}, // more than a MiB
	// Archives with the digest that the recipes name, so that they get as far as the unpacking.
	{"3.11.9", nil, zeros, ""},
	{"3.11.8", nil, text("this is no archive at all"), ""},
	{"3.11.7", odd(tar.Header{Name: "Lib/os.py", Typeflag: tar.TypeReg, Size: 5}), nil, ""},
	{"3.11.6", odd(tar.Header{Name: "device", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}), nil, ""},
	{"3.11.5", odd(tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "Python-3.11.5/configure"}), nil, ""},
	{"3.11.4", odd(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "Lib"}, tar.Header{Name: "link/evil", Typeflag: tar.TypeReg, Size: 5}), nil, ""},
	{"3.11.3", odd(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, tar.Header{Name: "link/evil", Typeflag: tar.TypeReg, Size: 5}), nil, ""},
	{"3.11.2", odd(tar.Header{Name: "/evil", Typeflag: tar.TypeReg, Size: 5}), nil, ""},
	{"3.11.1", odd(tar.Header{Name: "../../evil", Typeflag: tar.TypeReg, Size: 5}), nil, ""},
	{"3.11.0", truncated, nil, ""},
}

func goodXZ(version string) []byte { return compress(newXZ, sourceTar(version)) }
func goodGZ(version string) []byte { return compress(newGZ, sourceTar(version)) }

// bigGZ holds a file that does not compress, of 3 MiB.
func bigGZ(version string) []byte {
	noise := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	return compress(newGZ, sourceTar(version, entry{tar.Header{Name: "Lib/noise.bin", Typeflag: tar.TypeReg, Size: int64(len(noise))}, noise}))
}

// truncated is an archive whose second half is missing.
func truncated(version string) []byte {
	whole := goodXZ(version)
	return whole[:len(whole)/2]
}

func text(s string) func(string) []byte { return func(string) []byte { return []byte(s) } }

// odd is an otherwise good archive with more entries, named below its top directory or absolutely.
func odd(headers ...tar.Header) func(version string) []byte {
	return func(version string) []byte {
		var more []entry
		for _, h := range headers {
			more = append(more, entry{h, bytes.Repeat([]byte("x"), int(h.Size))})
		}
		return compress(newXZ, sourceTar(version, more...))
	}
}

// zeros holds a file of 10 GB of zeros, which compress to 10 MB.
func zeros(version string) []byte {
	const size, pieces = 1 << 20, 10_000
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	must(z.Write(tarOf("Python-"+version, []entry{
		{tar.Header{Name: "", Typeflag: tar.TypeDir}, nil},
		{tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: size * pieces}, nil},
	})))
	// A flushed piece refers to nothing but zeros before it, so from the second on the same bytes can follow as often as one likes.
	var start int
	for range 2 {
		start = b.Len()
		must(z.Write(make([]byte, size)))
		check(z.Flush())
	}
	piece := bytes.Clone(b.Bytes()[start:])
	for range pieces - 2 {
		b.Write(piece)
	}
	b.Write([]byte{3, 0})      // an empty last block
	b.Write(make([]byte, 4+4)) // checksum and size are wrong, but nobody gets that far
	return b.Bytes()
}

// An entry is a member of an archive, named below its top directory or absolutely.
type entry struct {
	tar.Header
	content []byte
}

// sourceTar is the source of a fake CPython as a tar, followed by more entries.
func sourceTar(version string, more ...entry) []byte {
	entries := []entry{{tar.Header{Name: "", Typeflag: tar.TypeDir}, nil}}
	source := os.DirFS("testdata/source")
	check(fs.WalkDir(source, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if d.IsDir() {
			entries = append(entries, entry{tar.Header{Name: name, Typeflag: tar.TypeDir}, nil})
			return nil
		}
		content, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if name == "configure" {
			mode = 0o755
		}
		entries = append(entries, entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content))}, content})
		return nil
	}))
	number := []byte(version + "\n")
	entries = append(entries, entry{tar.Header{Name: "VERSION", Typeflag: tar.TypeReg, Size: int64(len(number))}, number})
	return append(tarOf("Python-"+version, append(entries, more...)), make([]byte, 1024)...)
}

// tarOf is a tar without its end.
func tarOf(top string, entries []entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		h := e.Header
		h.ModTime = time.Unix(1_750_000_000, 0)
		switch {
		case strings.HasPrefix(h.Name, "/"):
		case h.Typeflag == tar.TypeDir:
			h.Name = path.Join(top, h.Name) + "/"
		default:
			h.Name = top + "/" + h.Name
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		w := tar.NewWriter(&b) // a new one each time, because only it insists on contents
		check(w.WriteHeader(&h))
		b.Write(e.content)
		if n := len(e.content) % 512; n > 0 {
			b.Write(make([]byte, 512-n))
		}
	}
	return b.Bytes()
}

func newGZ(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }

func newXZ(w io.Writer) (io.WriteCloser, error) {
	return xz.WriterConfig{DictCap: 1 << 20}.NewWriter(w)
}

func compress(to func(io.Writer) (io.WriteCloser, error), content []byte) []byte {
	var b bytes.Buffer
	w, err := to(&b)
	check(err)
	must(w.Write(content))
	check(w.Close())
	return b.Bytes()
}

// Making the fake world out of nothing but memory and files of this directory fails only when the test itself is wrong.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must(_ int, err error) { check(err) }

// newWorld makes a fake world in a directory of the test's.
func newWorld(t testing.TB) *fakeWorld {
	t.Helper()
	dir := t.TempDir()
	w := &fakeWorld{mirror: filepath.Join(dir, "mirror"), recipes: filepath.Join(dir, "recipes")}
	series := map[string]string{}
	for _, r := range fakeReleases {
		final, _, _ := strings.Cut(r.version, "rc")
		name := final[:strings.LastIndex(final, ".")]
		if series[name] == "" {
			series[name] = fmt.Sprintf("series = %q\nstatus = \"bugfix\"\nend_of_life = \"2029-10-01\"\nrelease_manager = \"Nobody\"\n"+
				"sigstore = { identity = \"nobody@python.example\", issuer = \"https://accounts.example\" }\n"+
				"sigstore_since = \"%s.99\"\n"+ // unsigned, unless a script is about signatures
				"\n[no_tests]\nconfigure_args = [\"--disable-test-modules\"]\n", name, name)
		}
		series[name] += fmt.Sprintf("\n[[release]]\nversion = %q\ndate = \"2025-06-11\"\n", r.version)
		for _, a := range []struct {
			key, suffix, pool string
			make              func(string) []byte
		}{{"tar_xz", ".tar.xz", "xz", r.xz}, {"tgz", ".tgz", "gz", r.gz}} {
			if a.make == nil {
				continue
			}
			content := a.make(r.version)
			sum := sha256.Sum256(content)
			series[name] += fmt.Sprintf("%s = { sha256 = %q, size = %d, proof = \"agreed\" }\n", a.key, hex.EncodeToString(sum[:]), len(content))
			write(t, filepath.Join(w.mirror, final, "Python-"+r.version+a.suffix), content)
			if r.pool == a.pool {
				write(t, filepath.Join(w.mirror, "debian/pool/main/p/python"+name, "python"+name+"_"+r.version+".orig.tar."+a.pool), content)
			}
		}
	}
	signed := w.sign(t)
	for kind, from := range map[string]string{"fake": "testdata/recipes", "real": "../../recipes", "signed": "testdata/recipes"} {
		to := filepath.Join(w.recipes, kind)
		texts := series
		if kind == "signed" {
			texts = signed
		}
		for name, text := range texts {
			write(t, filepath.Join(to, "cpython", name+".toml"), []byte(text))
		}
		files, err := filepath.Glob(from + "/platforms/*.toml")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(files, from+"/parts.toml", "../../recipes/profiles.toml") {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			to := filepath.Join(to, filepath.Base(file))
			if filepath.Base(filepath.Dir(file)) == "platforms" {
				to = filepath.Join(filepath.Dir(to), "platforms", filepath.Base(file))
			}
			if filepath.Base(file) == "profiles.toml" && kind != "real" {
				content = modest.ReplaceAll(content, []byte("${1}1\n")) // a fake Python takes less than a MiB
			}
			write(t, to, content)
		}
	}
	return w
}

// modest finds the room that the profile quick takes.
var modest = regexp.MustCompile(`(?s)(name = "quick".*?\ndisk = )\d+\n`)

// write makes a file, and the directories it is in, which everybody can read.
func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}
