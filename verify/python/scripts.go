package python

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// scriptLimit is how much of a script is read, in bytes. Those that come with
// CPython have less than 4 KiB.
const scriptLimit = 1 << 20

// scripts looks at the files in bin that belong to this Python: their names
// must carry its version, and what starts them must be this Python as it will
// be installed, or the shell. Without pip's script the promise is not kept.
func (in *inspection) scripts() (string, error) {
	bin := filepath.Join(in.Prefix, "bin")
	names := in.Programs
	if names == nil {
		entries, err := os.ReadDir(bin)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if !e.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	var findings []error
	pip := false
	for _, name := range names {
		path := filepath.Join("bin", name)
		versioned := strings.Contains(name, in.series())
		pip = pip || versioned && strings.HasPrefix(name, "pip")
		if !versioned && !slices.Contains(in.Unversioned, name) {
			findings = append(findings, &ScriptError{Path: path, Reason: "has no version in its name"})
			continue
		}
		if reason, err := in.script(filepath.Join(in.Prefix, path)); err != nil {
			findings = append(findings, err)
		} else if reason != "" {
			findings = append(findings, &ScriptError{Path: path, Reason: reason})
		}
	}
	if !pip {
		findings = append(findings, &ScriptError{Path: filepath.Join("bin", "pip"+in.series()), Reason: "is missing"})
	}
	return fmt.Sprintf("%d files in %s", len(names), bin), join(findings)
}

// script says what is wrong with one file; "" is nothing, or not a script.
func (in *inspection) script(path string) (reason string, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "is not a file", nil
	}
	text, err := head(path)
	if err != nil {
		return "", err
	}
	by := interpreter(text)
	if by == "" {
		return "", nil
	}
	if in.staged() && !strings.Contains(in.ConfiguredPrefix, in.Prefix) && bytes.Contains(text, []byte(in.Prefix)) {
		return "names the staged directory " + in.Prefix, nil
	}
	// With ABI flags ("t", "d") both names are made, and both are used.
	want := filepath.Join(in.ConfiguredPrefix, "bin", "python"+in.series())
	for _, ok := range []string{want, want + in.facts.ABIFlags, "/bin/sh"} {
		if by == ok || strings.HasPrefix(by, ok+" ") {
			return "", nil
		}
	}
	return fmt.Sprintf("is started by %s, not by %s", by, want), nil
}

// openFile opens a file for reading, and only that: a pipe would be waited
// for, and some devices act as soon as they are opened. Which file it is may be
// the interpreter's word, and what is there its work.
func openFile(name string) (*os.File, error) {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errNoFile}
	}
	// Should a pipe take its place now, this does not wait.
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}

var errNoFile = errors.New("is not a file")

// head is the beginning of a file, all of it when it is a script of any
// reasonable size.
func head(path string) (text []byte, err error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	mark := make([]byte, 2)
	if n, err := io.ReadFull(f, mark); err != nil || string(mark) != "#!" {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil
		}
		return mark[:n], err
	}
	rest, err := io.ReadAll(io.LimitReader(f, scriptLimit))
	return append(mark, rest...), err
}

// interpreter is what starts the script: what follows #! on the first line,
// or the program behind the detour through the shell that pip writes when the
// line would be too long for the kernel or has a space in it. It is "" when
// the text is not a script.
func interpreter(text []byte) string {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	by, isScript := bytes.CutPrefix(line, []byte("#!"))
	if !isScript {
		return ""
	}
	if line, _, _ := bytes.Cut(rest, []byte("\n")); string(by) == "/bin/sh" {
		detour, ok := bytes.CutPrefix(line, []byte("'''exec' "))
		detour, complete := bytes.CutSuffix(detour, []byte(` "$0" "$@"`))
		if ok && complete {
			return string(bytes.Trim(detour, `"`))
		}
	}
	return string(bytes.TrimSpace(by))
}
