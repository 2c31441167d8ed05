// Package apt reads from a machine's apt configuration where that machine gets
// its packages: the mirrors that its administrator has chosen, and that can be
// reached from where it stands.
//
// It promises the base URIs of the package sources, as apt would use them, and no
// more: nothing is asked over the network, and which files lie below a base is the
// caller's to know. It reads through an fs.FS, so the configuration may be that of
// another root. It knows nothing of Python and imports nothing else of this module.
//
// The URIs may hold a user and a password. They are kept, since the mirror cannot
// be used without; who shows a URI to somebody must leave them out. Credentials
// that apt keeps apart, in auth.conf, are not read.
package apt

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
)

const (
	listFile = "etc/apt/sources.list"
	partsDir = "etc/apt/sources.list.d"
)

// BaseURIs returns the http, https and file URIs of the package sources that are
// enabled below root, in the order in which apt reads them: etc/apt/sources.list,
// then the .list and .sources files of etc/apt/sources.list.d by name. They have
// no slash at the end, and none comes twice. Entries of a mirror+file list are
// among them; other ways of getting packages (cdrom:, mirror:, tor+http:) are not.
//
// What apt could not understand is left out. A file that is there but cannot be
// read is an error, an [*fs.PathError]; without any file there are no URIs.
func BaseURIs(root fs.FS) ([]string, error) {
	files, err := configFiles(root)
	if err != nil {
		return nil, fmt.Errorf("apt sources: %w", err)
	}
	var bases []string
	add := func(uri string) {
		if base, ok := parseBase(uri); ok && !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	for _, name := range files {
		text, err := readFile(root, name)
		if err != nil {
			return nil, fmt.Errorf("apt sources: %w", err)
		}
		parse := parseList
		if strings.HasSuffix(name, ".sources") {
			parse = parseDeb822
		}
		for _, uri := range parse(text) {
			list, ok := mirrorFile(uri)
			if !ok {
				add(uri)
				continue
			}
			text, err := readFile(root, list)
			if err != nil {
				return nil, fmt.Errorf("apt sources: %w", err)
			}
			for _, uri := range parseMirrors(text) {
				add(uri)
			}
		}
	}
	return bases, nil
}

// configFiles names the files that apt reads, in its order.
func configFiles(root fs.FS) ([]string, error) {
	files := []string{listFile}
	entries, err := fs.ReadDir(root, partsDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if !isPart(e.Name()) {
			continue
		}
		name := path.Join(partsDir, e.Name())
		info, err := fs.Stat(root, name) // not e.Info: it may be a link
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if info.Mode().IsRegular() {
			files = append(files, name)
		}
	}
	return files, nil
}

// isPart reports whether apt reads a file of this name in sources.list.d. Backups
// and what package managers leave behind have other names.
func isPart(name string) bool {
	if ext := path.Ext(name); ext != ".list" && ext != ".sources" || name[0] == '.' {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-:.", r))
	})
}

// readFile returns a file's text; one that is not there is empty.
func readFile(root fs.FS, name string) (string, error) {
	text, err := fs.ReadFile(root, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// parseBase returns the URI in one spelling if it can be the base of others.
func parseBase(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(uri, "$(") {
		return "", false // $(ARCH): packages of one architecture only
	}
	switch u.Scheme {
	case "http", "https":
		// The parser lets more pass for a host than any resolver does.
		if u.Hostname() == "" || strings.ContainsAny(u.Host, "\"<> ") {
			return "", false
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || !strings.HasPrefix(u.Path, "/") {
			return "", false
		}
		u.Host = ""
		u.OmitHost = false // file:/srv and file:///srv are one
	default:
		return "", false
	}
	u.Host = strings.ToLower(u.Host)
	base := strings.TrimRight(u.String(), "/")
	if base == "file:" { // the root directory
		return "", false
	}
	return base, true
}

// mirrorFile returns the file, as a path below the root, to which a mirror+file
// URI leads.
func mirrorFile(uri string) (string, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "mirror+file" || u.Host != "" || !strings.HasPrefix(u.Path, "/") {
		return "", false
	}
	name := path.Clean(u.Path)[1:]
	return name, name != "" && fs.ValidPath(name)
}

// parseMirrors returns the URIs of a list of mirrors: one a line, then perhaps a
// tab and what is special about it.
func parseMirrors(text string) []string {
	var uris []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 0 {
			uris = append(uris, f[0])
		}
	}
	return uris
}

// parseList returns the URIs of a file in the one-line format:
//
//	deb [ option=value … ] URI suite component …
//
// where the suite ends in a slash instead if there are no components.
func parseList(text string) []string {
	var uris []string
	for line := range strings.Lines(text) {
		words, ok := splitLine(line)
		if !ok || len(words) == 0 || words[0] != "deb" && words[0] != "deb-src" {
			continue
		}
		words = words[1:]
		if len(words) > 0 && strings.HasPrefix(words[0], "[") {
			words = words[1:]
		}
		if len(words) > 2 || len(words) == 2 && strings.HasSuffix(words[1], "/") {
			uris = append(uris, words[0])
		}
	}
	return uris
}

// splitLine splits a line at white space, but not within quotes, which are dropped,
// or brackets, which are kept. A # outside brackets ends the line. It fails when a
// quote or bracket is left open.
func splitLine(line string) (words []string, ok bool) {
	var word strings.Builder
	inWord, quoted, bracket := false, false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, inWord = !quoted, true
			continue
		case quoted:
		case r == '[':
			bracket = true
		case r == ']':
			bracket = false
		case bracket:
		case r == '#' || strings.ContainsRune(" \t\r\n", r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			if r == '#' {
				return words, true
			}
			continue
		}
		inWord = true
		word.WriteRune(r)
		if r == ']' && !quoted && word.String()[0] == '[' {
			// The URI may follow the options without a space.
			words = append(words, word.String())
			word.Reset()
			inWord = false
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, !quoted && !bracket
}

// parseDeb822 returns the URIs of a file of stanzas:
//
//	Types: deb deb-src
//	URIs: URI …
//	Suites: …
func parseDeb822(text string) []string {
	var uris []string
	stanza := map[string]string{} // by lower-case name
	end := func() {
		types := strings.Fields(stanza["types"])
		ours := slices.Contains(types, "deb") || slices.Contains(types, "deb-src")
		if ours && strings.TrimSpace(stanza["suites"]) != "" && !isNo(stanza["enabled"]) {
			uris = append(uris, strings.Fields(stanza["uris"])...)
		}
		clear(stanza)
	}
	field := ""
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "#"):
			// A comment does not even end a field that goes on after it.
		case strings.TrimSpace(line) == "":
			end()
			field = ""
		case line[0] == ' ' || line[0] == '\t':
			if field != "" {
				stanza[field] += " " + line
			}
		default:
			name, value, ok := strings.Cut(line, ":")
			if field = ""; ok {
				field = strings.ToLower(strings.TrimSpace(name))
				stanza[field] = value
			}
		}
	}
	end()
	return uris
}

// isNo reports whether apt takes the value of a field for no.
func isNo(value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "no", "false", "without", "off", "disable", "0":
		return true
	}
	return false
}
