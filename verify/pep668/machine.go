package pep668

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
)

// machine reads a file system as a process would whose root it is: by absolute names, and with links that stay inside.
type machine struct{ fsys fs.FS }

// maxLinks is how many links the kernel follows, too.
const maxLinks = 40

var errLinks = errors.New("too many levels of symbolic links")

// fsName is an absolute path as io/fs has it.
func fsName(file string) string {
	if file = strings.TrimPrefix(path.Clean(file), "/"); file == "" {
		return "."
	}
	return file
}

// resolve returns the path of what file, which is absolute, stands for, without links.
func (m machine) resolve(file string) (string, error) {
	at, rest := "/", strings.Split(file, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		if part == "" || part == "." {
			continue
		}
		if part == ".." {
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		info, err := fs.Lstat(m.fsys, fsName(next))
		if err != nil {
			return "", err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", &fs.PathError{Op: "resolve", Path: file, Err: errLinks}
		}
		target, err := fs.ReadLink(m.fsys, fsName(next))
		if err != nil {
			return "", err
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return at, nil
}

// stat follows links.
func (m machine) stat(file string) (fs.FileInfo, error) {
	real, err := m.resolve(file)
	if err != nil {
		return nil, err
	}
	return fs.Lstat(m.fsys, fsName(real))
}

// isFile and isDir say no of what cannot be looked at, like Python's functions of these names.
func (m machine) isFile(file string) bool {
	info, err := m.stat(file)
	return err == nil && info.Mode().IsRegular()
}

func (m machine) isDir(dir string) bool {
	info, err := m.stat(dir)
	return err == nil && info.IsDir()
}

// read returns the beginning of a file, at most limit bytes.
func (m machine) read(file string, limit int64) (text []byte, err error) {
	real, err := m.resolve(file)
	if err != nil {
		return nil, err
	}
	f, err := m.fsys.Open(fsName(real))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, limit))
}

// list returns the entries of a directory by name; none when it cannot be read, because every place is only a guess.
func (m machine) list(dir string) []fs.DirEntry {
	real, err := m.resolve(dir)
	if err != nil {
		return nil
	}
	entries, err := fs.ReadDir(m.fsys, fsName(real))
	if err != nil {
		return nil
	}
	return entries
}

// below returns the paths of the directories in dir, links to directories included.
func (m machine) below(dir string) (dirs []string) {
	for _, entry := range m.list(dir) {
		if sub := path.Join(dir, entry.Name()); m.isDir(sub) {
			dirs = append(dirs, sub)
		}
	}
	return dirs
}
