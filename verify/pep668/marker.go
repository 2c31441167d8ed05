package pep668

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// What pip makes of a marker.
const (
	// MarkerAbsent: there is none.
	MarkerAbsent = "absent"
	// MarkerPresent: pip refuses, with the marker's words or with its own.
	MarkerPresent = "present"
	// MarkerOverlooked: the name is there, but pip wants a file: a directory, a link to nowhere.
	MarkerOverlooked = "overlooked"
	// MarkerBroken: pip neither installs nor explains, but ends with an error of its own.
	MarkerBroken = "broken"
	// MarkerUnknown: this user may not look, and pip run by this user sees none.
	MarkerUnknown = "unknown"
)

// A Marker is the marker of one Python, as its pip reads it.
type Marker struct {
	Path  string `json:"path"`
	State string `json:"state"`
	// Message is the marker's text for the user; empty where pip has to use its own words. Size is its length in bytes, of which
	// at most 8 KiB are here.
	Message string `json:"message,omitempty"`
	Size    int    `json:"size,omitempty"`
	// Key is the option that the text comes from: "Error-de_DE".
	Key string `json:"key,omitempty"`
	// Problem says why there is no message, or why pip overlooks the marker.
	Problem string `json:"problem,omitempty"`
}

const (
	markerLimit  = 64 << 20 // bytes of a marker that are read; pip has no limit
	messageLimit = 8 << 10
)

// Read reads the marker in stdlib, the absolute path of a standard library below root, as pip does for a user with this
// language, "de_DE"; "" is that of the C locale.
func Read(root fs.FS, stdlib, language string) Marker {
	m := Marker{Path: path.Join(stdlib, MarkerName), State: MarkerAbsent}
	from := machine{root}
	dir, err := from.resolve(stdlib)
	if err == nil {
		_, err = fs.Lstat(root, fsName(path.Join(dir, MarkerName)))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return m
	} else if err != nil {
		m.State, m.Problem = MarkerUnknown, reason(err)
		return m
	}
	info, err := from.stat(m.Path)
	if err != nil || !info.Mode().IsRegular() {
		m.State, m.Problem = MarkerOverlooked, "not a file"
		if err != nil {
			m.Problem = "a link that leads nowhere"
		}
		return m
	}
	m.State = MarkerPresent
	text, err := from.read(m.Path, markerLimit)
	if err != nil {
		m.Problem = reason(err)
		return m
	}
	m.message(text, language)
	return m
}

// message finds the words for the user.
func (m *Marker) message(text []byte, language string) {
	c, err := parseConfig(text)
	var bad *configError
	if errors.As(err, &bad) {
		m.Problem = bad.Error()
		if bad.duplicate {
			m.State = MarkerBroken
		}
		return
	}
	const section = "externally-managed"
	if _, ok := c[section]; !ok {
		m.Problem = "no section [" + section + "]"
		return
	}
	for _, key := range keys(language) {
		if o, ok := c.get(section, strings.ToLower(key)); ok {
			m.Key, m.Size, m.Message = key, len(o.value), strings.ToValidUTF8(o.value[:min(len(o.value), messageLimit)], "")
			return
		}
	}
	m.Problem = "no option Error"
}

// keys are the options that may hold the message, best first.
func keys(language string) []string {
	var list []string
	if language != "" {
		list = append(list, "Error-"+language)
		for _, separator := range []string{"-", "_"} {
			if before, _, ok := strings.Cut(language, separator); ok {
				list = append(list, "Error-"+before)
			}
		}
	}
	return append(list, "Error")
}

// reason is the cause of an error, without the path that is told already.
func reason(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
