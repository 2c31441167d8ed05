package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// The profile of a training is kept: some hundred files, one an object, that gcc reads when it compiles the same source with the
// same flags. They come from a build that is not trusted, and go only into another one: read and written through os.Root, plain
// files of the one kind, and not too much of them.

// What is too much.
const (
	maxProfileFiles = 5000
	maxProfileBytes = 64 << 20
)

// A profile is the content of gcc's files by their names in the source tree, slash-separated.
type profile map[string][]byte

// sourceDir stands for the directory of the source in names: up to 3.11, objects of extension modules lie below build under the
// whole path of their source.
const sourceDir = "@source@"

// encode renders the profile: its digest, then for each file the lengths of name and content, and both.
func (f profile) encode() []byte {
	var b bytes.Buffer
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var lengths []byte
		lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(name)))
		lengths = binary.BigEndian.AppendUint32(lengths, uint32(len(f[name])))
		b.Write(lengths)
		b.WriteString(name)
		b.Write(f[name])
	}
	digest := sha256.Sum256(b.Bytes())
	return append(digest[:], b.Bytes()...)
}

// decodeProfile reads what encode wrote, and knows nothing of what is not exactly that.
func decodeProfile(data []byte) (profile, bool) {
	if len(data) <= sha256.Size || len(data) > maxProfileBytes || sha256.Sum256(data[sha256.Size:]) != [sha256.Size]byte(data[:sha256.Size]) {
		return nil, false
	}
	f := profile{}
	for rest := data[sha256.Size:]; len(rest) > 0; {
		if len(rest) < 8 {
			return nil, false
		}
		name, content := uint64(binary.BigEndian.Uint32(rest)), uint64(binary.BigEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if name+content > uint64(len(rest)) {
			return nil, false
		}
		s := string(rest[:name])
		if !fs.ValidPath(s) || path.Ext(s) != ".gcda" {
			return nil, false
		}
		f[s] = rest[name : name+content]
		rest = rest[name+content:]
	}
	return f, len(f) <= maxProfileFiles && bytes.Equal(f.encode(), data)
}

// profileKey is the key of everything that decides whether a profile fits: the C source, the flags and the compiler. Empty when
// profiles are not kept, or something could not be looked at.
func (p *Plan) profileKey(ctx context.Context) string {
	configure := p.ConfigureArgs()
	if p.profiles == "" {
		return ""
	}
	h := sha256.New()
	line := func(key string, values ...string) { fmt.Fprintf(h, "%s %q\n", key, values) }
	line("profile", "1", runtime.GOARCH)
	line("flags", p.flags(append([]string{"configure"}, configure...))...)
	if _, err := p.toolchain(ctx, line); err != nil {
		return ""
	}
	if err := p.eachSource(func(name string) bool { return path.Ext(name) == ".c" || path.Ext(name) == ".h" }, func(name string, r io.Reader) error {
		return hashFile(h, name, r)
	}); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// eachSource calls f with every plain file of the source tree whose name is wanted, in the order of their names.
func (p *Plan) eachSource(wanted func(name string) bool, f func(name string, r io.Reader) error) (err error) {
	tree, err := os.OpenRoot(p.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tree.Close()) }()
	return fs.WalkDir(tree.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !wanted(name) {
			return err
		}
		file, err := tree.Open(name)
		if err != nil {
			return err
		}
		return errors.Join(f(name, file), file.Close())
	})
}

// readProfile reads what a training left in the source tree.
func (p *Plan) readProfile() (profile, error) {
	found, size := profile{}, 0
	dir := strings.TrimPrefix(filepath.ToSlash(p.Dir), "/") + "/"
	err := p.eachSource(func(name string) bool { return path.Ext(name) == ".gcda" }, func(name string, r io.Reader) error {
		content, err := io.ReadAll(io.LimitReader(r, maxProfileBytes))
		if err != nil {
			return err
		}
		if size += len(content) + len(name); size > maxProfileBytes/2 || len(found) >= maxProfileFiles {
			return fmt.Errorf("a profile of more than %d files or %d bytes", maxProfileFiles, maxProfileBytes/2)
		}
		found[strings.Replace(name, dir, sourceDir+"/", 1)] = content
		return nil
	})
	return found, err
}

func (p *Plan) keepProfile(key string) error {
	f, err := p.readProfile()
	if err != nil || len(f) == 0 {
		return err
	}
	return keep(p.profiles, key, f.encode())
}

func (p *Plan) forgetProfile(key string) error {
	if err := os.Remove(filepath.Join(p.profiles, key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// restoreProfile puts a kept profile into the source tree, and reports whether it did: one that is not there, or not whole, or
// cannot be put there, is made anew.
func (p *Plan) restoreProfile(key string) bool {
	data, err := readKept(p.profiles, key, maxProfileBytes)
	if err != nil {
		return false
	}
	f, ok := decodeProfile(data)
	if !ok {
		return false
	}
	tree, err := os.OpenRoot(p.Dir)
	if err != nil {
		return false
	}
	for name, content := range f {
		if err = p.place(tree, strings.Replace(name, sourceDir+"/", strings.TrimPrefix(p.Dir, "/")+"/", 1), content); err != nil {
			break
		}
	}
	return errors.Join(err, tree.Close()) == nil
}

// place writes a file of the profile, and makes directories for it, for whoever builds.
func (p *Plan) place(tree *os.Root, name string, content []byte) error {
	var made []string
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if _, err := tree.Lstat(dir); err == nil {
			break
		}
		made = append(made, dir)
	}
	for _, dir := range slices.Backward(made) {
		if err := tree.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	file, err := tree.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil || p.Confine == nil {
		return err
	}
	for _, entry := range append(made, name) {
		if err := tree.Lchown(entry, int(p.Confine.UID), int(p.Confine.GID)); err != nil {
			return err
		}
	}
	return nil
}

// misfit is what gcc says when a profile is not of what it compiles.
var misfit = regexp.MustCompile(`\[-W(error=)?coverage-mismatch\]|profile data may be (out of date|corrupted)|does not match its profile data|is not a gcov data file`)

// fits reports whether gcc had nothing to say against the profile while a step ran.
func (p *Plan) fits(s Step) (bool, error) {
	fits := true
	err := read(p.log(s), func(r io.Reader) error {
		return eachLogLine(r, func(line string) { fits = fits && !misfit.MatchString(line) })
	})
	return fits, err
}
