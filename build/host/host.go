// Package host says what machine this is and what a build of CPython lacks on it: which distribution (os-release), which
// platform list of the recipes applies, which needs are missing, what compiles, and whether memory, clock and a directory to
// build in will do. Needs are found by compiling and linking with the very compiler, flags and environment of the build, never by
// asking the package database: a header that is there counts wherever it came from, and a package that is installed but broken
// does not.
//
// It promises to name everything that is missing at once. It must not install anything, print, or know how a build runs.
package host

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"pybuild/recipes"
)

// Host is a machine as far as the recipes can tell it apart.
type Host struct {
	// ID and VersionID are os-release's: "debian", "13". VersionID is empty on a rolling distribution.
	ID, VersionID string
	// Name is for people: "Debian GNU/Linux 13 (trixie)".
	Name string
	// Platform lists the packages of this distribution or of its nearest kin; nil when no list applies.
	Platform *recipes.Platform
}

// Detect reads os-release below root, the file system of the machine. A machine without the file is a Host without a name.
func Detect(root fs.FS, catalogue *recipes.Catalogue) (*Host, error) {
	var text []byte
	var err error
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		if text, err = fs.ReadFile(root, name); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("finding out which distribution this is: %w", err)
	}
	fields := parseOSRelease(text)
	h := &Host{ID: fields["ID"], VersionID: fields["VERSION_ID"], Name: fields["PRETTY_NAME"]}
	h.Platform = catalogue.Platform(h.ID, h.VersionID, strings.Fields(fields["ID_LIKE"])...)
	return h, nil
}

// Named is the host that "debian:13" stands for, whatever machine this is. Without a version, or with a name that distributions
// give to what has none, as "debian:testing", it is newer than every release. The error is an *UnknownError.
func Named(name string, catalogue *recipes.Catalogue) (*Host, error) {
	id, version, versioned := strings.Cut(name, ":")
	switch version { // what distributions call that which has no VERSION_ID
	case "testing", "sid", "unstable", "rawhide", "edge", "rolling":
		version, versioned = "", false
	}
	h := &Host{ID: id, VersionID: version, Name: name, Platform: catalogue.Platform(id, version)}
	if malformed := versioned && !versionPattern.MatchString(version); h.Platform == nil || malformed {
		return nil, &UnknownError{Name: name, Malformed: h.Platform != nil, Known: known(catalogue)}
	}
	return h, nil
}

// versionPattern is a VERSION_ID: numbers, and what Alpine puts behind those of its next release.
var versionPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)*(_[a-z0-9]+)?$`)

// UnknownError says that no list of packages is known for a distribution, or that its version is none.
type UnknownError struct {
	Name string
	// Malformed says that the distribution is known, and that what follows the colon is not a VERSION_ID of os-release.
	Malformed bool
	// Known are the distributions.
	Known []string
}

func (e *UnknownError) Error() string {
	if e.Malformed {
		id, version, _ := strings.Cut(e.Name, ":")
		return fmt.Sprintf("malformed VERSION_ID %q of the distribution %q", version, id)
	}
	return fmt.Sprintf("no list of packages for the distribution %q", e.Name)
}

func known(catalogue *recipes.Catalogue) []string {
	var ids []string
	for _, p := range catalogue.Platforms {
		ids = append(ids, p.IDs...)
	}
	return ids
}

// parseOSRelease reads the lines NAME=value of os-release(5), whose values may be quoted as in a shell.
func parseOSRelease(text []byte) map[string]string {
	fields := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = unescape(value[1 : n-1])
		}
		fields[name] = value
	}
	return fields
}

// unescape removes the backslashes that os-release puts before a quote, dollar, backslash or back-tick; others stay, as in a shell.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"'$`\\", s[i+1]) >= 0 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
