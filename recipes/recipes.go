// Package recipes knows which releases of CPython exist, what each of them needs, and what those needs are called on each
// distribution.
//
// All of it is data: TOML files, embedded in the program, that this package reads, checks and answers questions about.
//
//	cpython/3.13.toml      one series: status, signers, and every release with the digests of its archives and their proofs
//	parts.toml             the parts of the standard library, what they need from the host, and the build tools
//	platforms/debian.toml  one family of distributions: how packages are installed, and what they are called
//	profiles.toml          how an interpreter is compiled
//	quirks.toml            what is different with some compilers and C libraries; may be missing
//	failures.toml          what the log of a failed build says, and what helps; may be missing
//	configure/*.toml       what configure finds out on every machine with some C library; may be missing
//
// A new release is a stanza in one file, a new distribution a new file. Load refuses unknown keys, malformed or repeated
// digests, proofs that are none, lists out of order and names without a counterpart, so a catalogue that loads is consistent.
// Releases that are newer than the program come from further files, by Extend, which adds and never changes.
//
// The package promises that a digest it hands out is the one recorded in its data, and that a version string means one
// release or none: there is no guessing. What it says of proofs is what somebody verified once; package verify is who verifies.
// It must not know where it runs: it reads no file of the host, no environment and no network, starts nothing, and holds no
// state.
package recipes

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

//go:embed configure/*.toml cpython/*.toml platforms/*.toml *.toml
var embedded embed.FS

// A Catalogue is everything that the recipes say. Nothing in it refers to the host. Only Extend changes it; otherwise it may be
// read by several goroutines.
type Catalogue struct {
	Series    []*Series   // newest first
	Parts     []*Part     // in the order of parts.toml
	Tools     []*Tool     // in the order of parts.toml
	Platforms []*Platform // by name
	Profiles  []*Profile  // in the order of profiles.toml, the default first
	AllQuirks []*Quirk    // in the order of quirks.toml; Quirks has those of one build
	Failures  []*Failure  // in the order of failures.toml, the most telling first
	// AllAnswers is by file name; Answers has those of one build.
	AllAnswers []*Answers
}

// A Profile is a way to compile an interpreter.
type Profile struct {
	Name          string   `toml:"name"`
	Summary       string   `toml:"summary"`
	ConfigureArgs []string `toml:"configure_args"`
	CFlags        []string `toml:"cflags"` // appended to those of CPython's own choice, for CPython alone
	CPU           string   `toml:"cpu"`    // CPUNative, or empty: any of the architecture
	Disk          int      `toml:"disk"`   // MiB that the directory of a build takes at its peak
	Memory        int      `toml:"memory"` // MiB that the largest process of a build takes
	// Seconds are how long the steps of an installation take on a machine of two processors, by name. They are where an estimate
	// begins; each machine learns its own.
	Seconds map[string]float64 `toml:"seconds"`
}

// CPUNative is the CPU of a profile whose interpreters run only where there is everything that the compiler used of the processor
// that they were built on.
const CPUNative = "native"

// Optimizations is how configure is told to guide the compilation by a profile.
const Optimizations = "--enable-optimizations"

// Guided reports whether the compilation is guided by a profile of how the interpreter is used.
func (p *Profile) Guided() bool { return slices.Contains(p.ConfigureArgs, Optimizations) }

// A FileError says which recipe is wrong, and how.
type FileError struct {
	File  string // path inside the catalogue: "cpython/3.13.toml"
	Entry string // what in it: "release 3.13.5", empty for the file as a whole
	Err   error
}

func (e *FileError) Error() string {
	if e.Entry == "" {
		return fmt.Sprintf("recipe %s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("recipe %s: %s: %v", e.File, e.Entry, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// An UnknownNameError reports a profile or a part that does not exist.
type UnknownNameError struct {
	Kind  string // "profile" or "part"
	Name  string
	Known []string
}

func (e *UnknownNameError) Error() string { return fmt.Sprintf("unknown %s %q", e.Kind, e.Name) }

// Embedded returns the catalogue that is part of the program. Every call reads it afresh; the caller keeps it.
func Embedded() (*Catalogue, error) {
	return Load(embedded)
}

// Load reads and checks a catalogue laid out like the one described in the package documentation. The error is a
// *FileError, or comes from fsys where its directories cannot be listed.
func Load(fsys fs.FS) (*Catalogue, error) {
	c := new(Catalogue)
	if err := c.loadParts(fsys); err != nil {
		return nil, err
	}
	if err := c.loadProfiles(fsys); err != nil {
		return nil, err
	}
	if err := c.loadPlatforms(fsys); err != nil {
		return nil, err
	}
	if err := c.loadQuirks(fsys); err != nil {
		return nil, err
	}
	if err := c.loadFailures(fsys); err != nil {
		return nil, err
	}
	if err := c.loadAnswers(fsys); err != nil {
		return nil, err
	}
	if err := c.loadSeries(fsys); err != nil {
		return nil, err
	}
	return c, nil
}

// Profile returns the profile of that name. The error is an *UnknownNameError.
func (c *Catalogue) Profile(name string) (*Profile, error) {
	var known []string
	for _, p := range c.Profiles {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return nil, &UnknownNameError{Kind: "profile", Name: name, Known: known}
}

func (c *Catalogue) loadProfiles(fsys fs.FS) error {
	const file = "profiles.toml"
	var content struct {
		Profile []*Profile `toml:"profile"`
	}
	if err := decode(fsys, file, &content); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, p := range content.Profile {
		if err := firstError(
			checkName(p.Name),
			checkUnseen(seen, p.Name),
			checkText("summary", p.Summary),
			checkWords("configure_args", p.ConfigureArgs),
			checkWords("cflags", p.CFlags),
			checkOneOf("cpu", p.CPU, "", CPUNative),
			checkSize("disk", p.Disk),
			checkSize("memory", p.Memory),
			checkSeconds(p.Seconds),
		); err != nil {
			return &FileError{file, entry("profile", p.Name), err}
		}
	}
	if len(content.Profile) == 0 {
		return &FileError{File: file, Err: errors.New("no profile")}
	}
	c.Profiles = content.Profile
	return nil
}

// decode reads one TOML file into v, and refuses keys that v has no place for: a misspelt key would otherwise be a fact lost.
func decode(fsys fs.FS, file string, v any) error {
	data, err := fs.ReadFile(fsys, file)
	if err != nil {
		return &FileError{File: file, Err: err}
	}
	meta, err := toml.Decode(string(data), v)
	if err != nil {
		return &FileError{File: file, Err: err}
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return &FileError{File: file, Err: fmt.Errorf("unknown key %q", unknown[0].String())}
	}
	return nil
}

// glob lists the TOML files of a directory. None at all is an error: an empty catalogue knows nothing, and says so late.
func glob(fsys fs.FS, dir string) ([]string, error) {
	files, err := fs.Glob(fsys, dir+"/*.toml")
	if err == nil && len(files) == 0 {
		err = &FileError{File: dir, Err: errors.New("no recipe")}
	}
	return files, err
}

func entry(kind, name string) string {
	if name == "" {
		return kind
	}
	return kind + " " + name
}

// firstError returns the first error of a list of checks.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func checkName(s string) error {
	if !namePattern.MatchString(s) {
		return fmt.Errorf("name %q is not lower-case letters, digits and hyphens", s)
	}
	return nil
}

func checkUnseen(seen map[string]bool, s string) error {
	if seen[s] {
		return fmt.Errorf("%q is there twice", s)
	}
	seen[s] = true
	return nil
}

func checkText(key, s string) error {
	if strings.TrimSpace(s) == "" {
		return fmt.Errorf("no %s", key)
	}
	return nil
}

// checkSeconds refuses what is no duration. A step without one is not expected to take any time.
func checkSeconds(seconds map[string]float64) error {
	for _, step := range slices.Sorted(maps.Keys(seconds)) {
		if s := seconds[step]; !(s > 0 && s < 1e6) {
			return fmt.Errorf("seconds: %v is not how long %s takes", s, step)
		}
	}
	return nil
}

func checkSize(key string, size int) error {
	if size <= 0 {
		return fmt.Errorf("%s: %d is not a number of MiB", key, size)
	}
	return nil
}

// checkWords refuses what cannot be meant as an argument or a name: an empty string, or one with white space or control
// characters in it.
func checkWords(key string, words []string) error {
	for _, w := range words {
		bad := func(r rune) bool { return r <= ' ' || r == 0x7f }
		if w == "" || strings.ContainsFunc(w, bad) {
			return fmt.Errorf("%s: %q is not one word", key, w)
		}
	}
	return nil
}

// compile reads an expression that does not match everything.
func compile(key, s string) (*regexp.Regexp, error) {
	expression, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if expression.MatchString("") {
		return nil, fmt.Errorf("%s: %q matches everything", key, s)
	}
	return expression, nil
}

func checkOneOf(key, s string, known ...string) error {
	if !slices.Contains(known, s) {
		return fmt.Errorf("%s %q is none of %s", key, s, strings.Join(known, ", "))
	}
	return nil
}

// checkSpan accepts a first and a last series, each of which may be absent.
func checkSpan(since, until string) error {
	for _, s := range []string{since, until} {
		if _, ok := parseSeries(s); s != "" && !ok {
			return fmt.Errorf("%q is not a series", s)
		}
	}
	if since != "" && until != "" && compareSeries(since, until) > 0 {
		return fmt.Errorf("since %s is after until %s", since, until)
	}
	return nil
}

// within reports whether a series lies in a span; an absent end is open.
func within(series, since, until string) bool {
	return (since == "" || compareSeries(series, since) >= 0) && (until == "" || compareSeries(series, until) <= 0)
}

// parseSeries reads the name of a series, "3.13".
func parseSeries(s string) (numbers [2]int, ok bool) {
	major, minor, ok := strings.Cut(s, ".")
	if !ok {
		return numbers, false
	}
	for i, text := range []string{major, minor} {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || strconv.Itoa(n) != text {
			return numbers, false
		}
		numbers[i] = n
	}
	return numbers, true
}

// compareSeries orders names of series by their numbers: 3.9 is before 3.10. What is no series comes first.
func compareSeries(a, b string) int {
	x, _ := parseSeries(a)
	y, _ := parseSeries(b)
	return slices.Compare(x[:], y[:])
}
