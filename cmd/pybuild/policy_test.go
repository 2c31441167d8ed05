package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pybuild/build/prefix"
	"pybuild/cmd/internal/cli"
	"pybuild/fetch/fetchtest"
	"pybuild/verify/sigstore/sigstoretest"
)

// A bench is a world in which the program is called within the test's own process, many times and fast.
type bench struct {
	t                  *testing.T
	world              *fakeWorld
	url                string // of the mirror
	dir, cache, prefix string
	stdout, stderr     string // of the last call

	mu    sync.Mutex
	asked []string // paths
}

// newBench serves the mirror, whose files the test may not change.
func newBench(t *testing.T, world *fakeWorld, mirror string) *bench {
	t.Helper()
	b := &bench{t: t, world: world, dir: t.TempDir()}
	b.cache, b.prefix = filepath.Join(b.dir, "cache"), filepath.Join(b.dir, "prefix")
	handler := fetchtest.Handler(mirror)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		b.asked = append(b.asked, r.URL.Path)
		b.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	b.url = server.URL
	write(t, filepath.Join(b.dir, "root/etc/os-release"), []byte("ID=debian\nVERSION_ID=\"12\"\n"))
	write(t, filepath.Join(b.dir, "root/etc/ssl/certs/ca-certificates.crt"), []byte("certificates\n"))
	return b
}

// pool makes the machine one whose distribution has a mirror here.
func (b *bench) pool(url string) {
	write(b.t, filepath.Join(b.dir, "root/etc/apt/sources.list"), []byte("deb "+url+" bookworm main\n"))
}

// run calls the program, for which upstream stands for python.org, and returns its status.
func (b *bench) run(upstream string, args ...string) int {
	b.t.Helper()
	var stdout, stderr bytes.Buffer
	status := cli.Main(b.t.Context(), cli.Process{
		Args:    append(args, "--json", "--prefix", b.prefix),
		Environ: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir, "PYBUILD_UNCONFINED=1", "PYBUILD_CACHE=" + b.cache, "PYBUILD_DATA=" + filepath.Join(b.dir, "data")},
		Stdin:   &bytes.Buffer{}, Stdout: &stdout, Stderr: &stderr,
		Recipes: os.DirFS(filepath.Join(b.world.recipes, "signed")), Root: os.DirFS(filepath.Join(b.dir, "root")),
		Upstream: upstream, KeyServer: b.url + "/keys/",
	})
	b.stdout, b.stderr = stdout.String(), stderr.String()
	return status
}

// requests are the paths that were asked for since the last time.
func (b *bench) requests() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	asked := b.asked
	b.asked = nil
	return asked
}

// last is the last object on standard output.
func (b *bench) last() (o struct {
	Event, Kind, Message string
	Status               int
	Signature            prefix.Signature
	Manifest             string
}) {
	b.t.Helper()
	lines := strings.Split(strings.TrimSpace(b.stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &o); err != nil {
		b.t.Fatalf("%v: %q\n%s", err, b.stdout, b.stderr)
	}
	return o
}

// files are the names of all files below a directory of the cache, locks left out.
func (b *bench) files(dir string) []string {
	b.t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(b.cache, dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, d.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// An outcome is all that a call leaves behind that has to do with signatures.
type outcome struct {
	status    int
	kind      string // of the error
	signature prefix.Signature
	archives  []string // in the cache, under a final name
	small     []string // signatures and keys in the cache
}

// check compares, and holds the manifest, the prefix and the build against the status: what failed was never unpacked.
func (b *bench) check(status int, want outcome) {
	b.t.Helper()
	o := b.last()
	if status != want.status || o.Kind != want.kind {
		b.t.Fatalf("status %d, kind %q; want %d, %q\n%s", status, o.Kind, want.status, want.kind, b.stderr)
	}
	if got := b.files("archives"); !slices.Equal(got, want.archives) {
		b.t.Errorf("archives in the cache: %q, want %q", got, want.archives)
	}
	if got := b.files("small"); !slices.Equal(got, want.small) {
		b.t.Errorf("small files in the cache: %q, want %q", got, want.small)
	}
	if status != 0 {
		for _, dir := range []string{b.prefix, filepath.Join(b.cache, "logs"), filepath.Join(b.cache, "build")} {
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				b.t.Errorf("%s holds %s", dir, entries[0].Name())
			}
		}
		if o.Status != status || !strings.HasPrefix(b.stderr[strings.Index(b.stderr, "pybuild: error: ")+len("pybuild: error: "):], strings.SplitN(o.Message, "\n", 2)[0]) {
			b.t.Errorf("JSON says %d %q, standard error\n%s", o.Status, o.Message, b.stderr)
		}
		return
	}
	if o.Event == "installed" {
		var m prefix.Manifest
		text, err := os.ReadFile(o.Manifest)
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Signature != want.signature {
			b.t.Errorf("the manifest says signed by %+v, want %+v", m.Signature, want.signature)
		}
	}
	if o.Signature != want.signature {
		b.t.Errorf("JSON says signed by %+v, want %+v", o.Signature, want.signature)
	}
}

var (
	unsigned   = prefix.Signature{Kind: "none"}
	bySigstore = prefix.Signature{Kind: "sigstore", Identity: manager}
)

// TestSignaturePolicy is the whole policy: what is asked for, how the digest is known, and how it stands with the signature.
func TestSignaturePolicy(t *testing.T) {
	world := newWorld(t)
	given := world.file(t, "given/Python-3.13.5.tar.xz")
	// How an archive is named on the command line, and in the cache. The other archive of 3.13.5 does not count here.
	proofs := map[string]func(url string) []string{
		"agreed":        func(string) []string { return []string{"3.13.5"} },
		"single-source": func(string) []string { return []string{"3.13.4"} },
		"given": func(url string) []string {
			return []string{"3.13.5", "--source", url + "/given/Python-3.13.5.tar.xz", "--sha256", digest(given)}
		},
	}
	faults := map[string]string{"good": "", "absent": "/unsigned", "wrong": "/wrongkey", "unreachable": "/retrylong-sig"}
	const (
		need   = " needs a good signature ("
		wrong  = "the signature of ARCHIVE does not prove it: "
		warned = "ARCHIVE: its digest is right; its signature could not be had from any source"
	)
	for _, row := range []struct {
		policy, proof, signature string
		status                   int
		kind, says               string // on standard error
	}{
		{"auto", "agreed", "good", 0, "", ""},
		{"auto", "agreed", "absent", 0, "", warned},
		{"auto", "agreed", "wrong", 4, "wrong-signature", wrong},
		{"auto", "agreed", "unreachable", 0, "", warned},
		{"auto", "single-source", "good", 0, "", ""},
		{"auto", "single-source", "absent", 4, "no-signature", need + "only one source has recorded its digest)"},
		{"auto", "single-source", "wrong", 4, "wrong-signature", wrong},
		{"auto", "single-source", "unreachable", 4, "no-signature", need + "only one source has recorded its digest)"},
		{"auto", "given", "good", 0, "", ""},
		{"auto", "given", "absent", 4, "no-signature", need + "the catalogue does not know it)"},
		{"auto", "given", "wrong", 4, "wrong-signature", wrong},
		{"auto", "given", "unreachable", 4, "no-signature", need + "the catalogue does not know it)"},
		{"require", "agreed", "good", 0, "", ""},
		{"require", "agreed", "absent", 4, "no-signature", need + "--signature require)"},
		{"require", "agreed", "wrong", 4, "wrong-signature", wrong},
		{"require", "agreed", "unreachable", 4, "no-signature", need + "--signature require)"},
		{"require", "single-source", "good", 0, "", ""},
		{"require", "single-source", "absent", 4, "no-signature", need + "--signature require)"},
		{"require", "single-source", "wrong", 4, "wrong-signature", wrong},
		{"require", "single-source", "unreachable", 4, "no-signature", need + "--signature require)"},
		{"require", "given", "good", 0, "", ""},
		{"require", "given", "absent", 4, "no-signature", need + "--signature require)"},
		{"require", "given", "wrong", 4, "wrong-signature", wrong},
		{"require", "given", "unreachable", 4, "no-signature", need + "--signature require)"},
		{"off", "agreed", "good", 0, "", ""},
		{"off", "agreed", "absent", 0, "", ""},
		{"off", "agreed", "wrong", 0, "", ""},
		{"off", "agreed", "unreachable", 0, "", ""},
		{"off", "single-source", "good", 0, "", ""},
		{"off", "single-source", "absent", 0, "", ""},
		{"off", "single-source", "wrong", 0, "", ""},
		{"off", "single-source", "unreachable", 0, "", ""},
		{"off", "given", "good", 0, "", ""},
		{"off", "given", "absent", 0, "", ""},
		{"off", "given", "wrong", 0, "", ""},
		{"off", "given", "unreachable", 0, "", ""},
	} {
		t.Run(row.policy+"/"+row.proof+"/"+row.signature, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, world, world.mirror)
			upstream := b.url + faults[row.signature]
			args := append(proofs[row.proof](upstream), "--signature", row.policy, "--trusted-root", world.trusted)
			archive := map[bool]string{true: "Python-3.13.4.tar.xz", false: "Python-3.13.5.tar.xz"}[row.proof == "single-source"]
			want := outcome{status: row.status, kind: row.kind, signature: unsigned, archives: []string{archive}}
			checked := row.policy != "off" && row.signature == "good"
			switch {
			case checked:
				want.signature, want.small = bySigstore, []string{archive + ".sigstore"}
			case row.kind == "wrong-signature":
				want.archives = nil
			}
			b.check(b.run(upstream, args...), want)
			if says := strings.ReplaceAll(row.says, "ARCHIVE", archive); !strings.Contains(b.stderr, says) {
				t.Errorf("standard error is\n%s\nwant %s", b.stderr, says)
			}
			asked := slices.ContainsFunc(b.requests(), func(path string) bool { return strings.HasSuffix(path, ".sigstore") })
			if asked != (row.policy != "off") {
				t.Errorf("asked for a bundle: %v", asked)
			}
			if !checked {
				return
			}
			// What was proven once is proven again without a network.
			b.check(b.run(upstream, append(args, "--offline", "--force")...), want)
			if asked := b.requests(); asked != nil {
				t.Errorf("offline, but asked for %q", asked)
			}
		})
	}
}

// file is a file of the mirror.
func (w *fakeWorld) file(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(w.mirror, name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// mirrorOf is a mirror with some files of the world's, which the test may change.
func mirrorOf(t *testing.T, world *fakeWorld, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		write(t, filepath.Join(dir, name), world.file(t, name))
	}
	return dir
}

// A damage changes the content of one file; nil removes it.
type damage func(content []byte) []byte

// within changes one byte, the first after the mark.
func within(mark string, to byte) damage {
	return func(content []byte) []byte {
		content = bytes.Clone(content)
		i := bytes.Index(content, []byte(mark)) + len(mark)
		if content[i] == to {
			to++
		}
		content[i] = to
		return content
	}
}

func instead(content []byte) damage { return func([]byte) []byte { return content } }

// flipped changes one bit in the middle.
func flipped(content []byte) []byte {
	content = bytes.Clone(content)
	content[len(content)/2] ^= 1
	return content
}

// TestWrongSigstore: one thing is wrong with what proves 3.13.5. Nothing of it is used and nothing kept.
func TestWrongSigstore(t *testing.T) {
	world := newWorld(t)
	const name = "3.13.5/Python-3.13.5.tar.xz"
	content := world.file(t, name)
	other := func(name string) []byte { return world.file(t, name) }
	forger := &signers{t: t, sigstore: sigstoretest.New(t)}
	halfForger := &signers{t: t, sigstore: sigstoretest.New(t)}
	halfForger.sigstore.Log = world.signers.sigstore.Log
	unlogged := func(content []byte) []byte {
		var b map[string]any
		check(json.Unmarshal(content, &b))
		b["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{}
		content, err := json.Marshal(b)
		check(err)
		return content
	}
	for _, row := range []struct {
		name, file string // that is changed: in the mirror, or the trusted root
		damage     damage
		status     int
		kind, says string // what the message has in it
	}{
		{"nothing", name + ".sigstore", instead(other(name + ".sigstore")), 0, "", ""},
		{"byte of the archive", name, flipped, 4, "not-verified", ": refused: sha256 is "},
		{"byte of the signature", name + ".sigstore", sameSignature(t), 4, "wrong-signature", ": refused: signature is wrong"},
		{"byte of the form", name + ".sigstore", within(`"mediaType":`, '\''), 4, "wrong-signature", ": refused: not a sigstore bundle of a file: "},
		{"byte of the trusted root", "", within(`"rawBytes":`, 'x'), 4, "wrong-signature", "trusted root: "},
		{"another trusted root", "", instead(forger.sigstore.Trusted()), 4, "wrong-signature", ": refused: signature is in a transparency log that the trusted root does not have: "},
		{"other identity", name + ".sigstore", instead(world.signers.bundle(content, mallory, issuer)), 4, "wrong-signature", ": refused: signed by " + mallory + ", want " + manager},
		{"other issuer", name + ".sigstore", instead(world.signers.bundle(content, manager, "https://evil.example")), 4, "wrong-signature", ": refused: signer vouched for by https://evil.example, want " + issuer},
		{"another release's", name + ".sigstore", instead(other("3.13.4/Python-3.13.4.tar.xz.sigstore")), 4, "wrong-signature", ": refused: signature is of another file: sha256 "},
		{"the .tgz's", name + ".sigstore", instead(other("3.13.5/Python-3.13.5.tgz.sigstore")), 4, "wrong-signature", ": refused: signature is of another file: sha256 "},
		{"not logged", name + ".sigstore", unlogged, 4, "wrong-signature", ": refused: signature is in no transparency log: 0 entries, not one"},
		{"forged chain", name + ".sigstore", instead(halfForger.bundle(content, manager, issuer)), 4, "wrong-signature", "is not from an authority in the trusted root"},
		{"all forged", name + ".sigstore", instead(forger.bundle(content, manager, issuer)), 4, "wrong-signature", ": refused: signature is in a transparency log that the trusted root does not have: "},
		{"empty", name + ".sigstore", instead([]byte{}), 4, "wrong-signature", ": refused: not a sigstore bundle of a file: "},
		// A web page is no signature, so there is none.
		{"a web page", name + ".sigstore", instead([]byte("<!DOCTYPE html>\n<html></html>\n")), 4, "no-signature", ": a web page instead of the file"},
		{"gone", name + ".sigstore", nil, 4, "no-signature", ": status 404 Not Found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			mirror := mirrorOf(t, world, name, name+".sigstore")
			trusted, target := filepath.Join(mirror, "trusted_root.json"), filepath.Join(mirror, row.file)
			write(t, trusted, other("../trusted_root.json"))
			if row.file == "" {
				target = trusted
			}
			if row.damage == nil {
				check(os.Remove(target))
			} else {
				before, err := os.ReadFile(target)
				check(err)
				write(t, target, row.damage(before))
			}
			b := newBench(t, world, mirror)
			want := outcome{status: row.status, kind: row.kind}
			switch row.kind {
			case "":
				want.signature, want.archives, want.small = bySigstore, []string{"Python-3.13.5.tar.xz"}, []string{"Python-3.13.5.tar.xz.sigstore"}
			case "no-signature":
				want.archives = []string{"Python-3.13.5.tar.xz"} // its digest is right
			}
			b.check(b.run(b.url, "3.13.5", "--signature", "require", "--trusted-root", trusted), want)
			if message := b.last().Message; !strings.Contains(message, row.says) {
				t.Errorf("message is\n%s\nwant in it\n%s", message, row.says)
			}
		})
	}
}

// sameSignature changes one byte of the signature itself, and leaves it base64.
func sameSignature(t *testing.T) damage {
	return func(content []byte) []byte {
		var b struct {
			MessageSignature struct{ Signature string }
		}
		if err := json.Unmarshal(content, &b); err != nil {
			t.Fatal(err)
		}
		s := b.MessageSignature.Signature
		to := byte('A')
		if s[len(s)/2] == to {
			to = 'B'
		}
		i := bytes.LastIndex(content, []byte(s)) // the log has it too, in another form
		content = bytes.Clone(content)
		content[i+len(s)/2] = to
		return content
	}
}

// TestOpenPGP: where the signature of 3.12.2 and the key for it come from, and what may be wrong with either.
func TestOpenPGP(t *testing.T) {
	world := newWorld(t)
	const (
		name  = "3.12.2/Python-3.12.2.tgz"
		pool  = "debian/pool/main/p/python3.12/python3.12_3.12.2"
		pack  = pool + "-2.debian.tar.xz"
		wrong = "the signature of Python-3.12.2.tgz does not prove it: "
		none  = "Python-3.12.2.tgz needs a good signature (--signature require), and none was found: "
	)
	pinned, another := world.signers.key, world.signers.another
	key := "keys/" + fingerprint(pinned)
	archive := world.file(t, name)
	beside := []string{name, name + ".asc"}
	good := outcome{signature: prefix.Signature{Kind: "openpgp", Identity: fingerprint(pinned)}, archives: []string{"Python-3.12.2.tgz"}}
	unknown := outcome{status: 4, kind: "no-signature", archives: good.archives} // it is not known to be wrong
	refused := outcome{status: 4, kind: "wrong-signature"}
	with := func(o outcome, small ...string) outcome {
		o.small = small
		return o
	}
	const asc = "Python-3.12.2.tgz.asc"
	fetched, packaged := fingerprint(pinned)+".asc", "python3.12_3.12.2-2.debian.tar.xz"
	for _, row := range []struct {
		name    string
		files   []string // of the mirror
		file    string   // of them, that is changed
		damage  damage
		keyring []byte // nil: none is named
		want    outcome
		says    string // what the message has in it
	}{
		{"key from a keyring", beside, "", nil, public(pinned), with(good, asc), ""},
		{"keyring with others", beside, "", nil, slices.Concat(public(another), public(pinned)), with(good, asc), ""},
		{"key from the key server", slices.Concat(beside, []string{key}), "", nil, nil, with(good, fetched, asc), ""},
		{"key from the pool", slices.Concat(beside, []string{pack}), "", nil, nil, with(good, asc, packaged), ""},
		{"all from the pool", []string{pool + ".orig.tar.gz", pool + ".orig.tar.gz.asc", pack}, "", nil, nil, with(good, asc, packaged), ""},
		{"key server has another", slices.Concat(beside, []string{key, pack}), key, instead(public(another)), nil, with(good, asc, packaged), ""},
		{"key from nowhere", beside, "", nil, nil, unknown, none + "no key " + fingerprint(pinned) + ": "},
		{"only another key", slices.Concat(beside, []string{key}), key, instead(public(another)), nil, unknown, "no key in the keyring has the fingerprint " + fingerprint(pinned)},
		{"bit of the key", slices.Concat(beside, []string{key}), key, instead(otherMaterial(pinned)), nil, unknown, "no key in the keyring has the fingerprint " + fingerprint(pinned)},
		{"bit of its statement", slices.Concat(beside, []string{key}), key, instead(otherStatement(pinned)), nil, unknown, "this copy of the key " + fingerprint(pinned) + " is damaged: "},
		{"key server has a damaged one", slices.Concat(beside, []string{key, pack}), key, instead(otherStatement(pinned)), nil, with(good, asc, packaged), ""},
		{"packaging without key", slices.Concat(beside, []string{pack}), pack, instead(packaging([]byte("no key"))), nil, unknown, "malformed OpenPGP keyring: "},
		{"no signature", []string{name, key}, "", nil, nil, unknown, ".asc: status 404 Not Found"},
		{"another's keyring", beside, "", nil, public(another), refused, wrong},
		{"bit of the keyring", beside, "", nil, otherMaterial(pinned), refused, "no key in the keyring has the fingerprint " + fingerprint(pinned)},
		{"bit of its statement in the keyring", beside, "", nil, otherStatement(pinned), refused, "this copy of the key " + fingerprint(pinned) + " is damaged: "},
		{"byte of the archive", slices.Concat(beside, []string{key}), name, flipped, nil, outcome{status: 4, kind: "not-verified"}, ": refused: sha256 is "},
		{"byte of the signature", beside, name + ".asc", flipped, public(pinned), refused, wrong},
		{"another's signature", beside, name + ".asc", instead(detached(another, archive)), public(pinned), refused, ": refused: signed by " + fingerprint(another) + ", which is not pinned"},
		{"another's signature, and key", beside, name + ".asc", instead(detached(another, archive)), slices.Concat(public(another), public(pinned)), refused, "which is not pinned"},
		{"signature of another file", beside, name + ".asc", instead(detached(pinned, []byte("x"))), public(pinned), refused, ": refused: the signature by " + fingerprint(pinned) + " does not match the file"},
		{"no signature at all", beside, name + ".asc", instead([]byte("good\n")), public(pinned), refused, ": refused: malformed OpenPGP signature: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			mirror := mirrorOf(t, world, row.files...)
			if row.file != "" {
				write(t, filepath.Join(mirror, row.file), row.damage(world.file(t, row.file)))
			}
			b := newBench(t, world, mirror)
			b.pool(b.url + "/debian")
			args := []string{"3.12.2", "--signature", "require"}
			if row.keyring != nil {
				keyring := filepath.Join(b.dir, "keyring.asc")
				write(t, keyring, row.keyring)
				args = append(args, "--keyring", keyring)
			}
			b.check(b.run(b.url, args...), row.want)
			if message := b.last().Message; !strings.Contains(message, row.says) {
				t.Errorf("message is\n%s\nwant in it\n%s", message, row.says)
			}
			b.requests()
			if row.want.status != 0 {
				return
			}
			b.check(b.run(b.url, append(args, "--offline", "--force")...), row.want)
			if asked := b.requests(); asked != nil {
				t.Errorf("offline, but asked for %q", asked)
			}
		})
	}
}
