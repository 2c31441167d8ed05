package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	goversion "github.com/hashicorp/go-version"
)

// A Toolchain is what compiles an interpreter, as far as it decides what works.
type Toolchain struct {
	Compiler        string // "gcc" or "clang"; empty: neither
	CompilerVersion string // "12.2.0"; empty where it is not known
	Libc            string // "glibc" or "musl"; empty: neither
	LibcVersion     string // "2.36"; empty where it is not known, as with musl
	Machine         string // what it compiles for: "x86_64", with pointers of 64 bits; empty: another
}

// A Quirk is what some releases need, or cannot do, with some compilers or C libraries.
type Quirk struct {
	Name    string   `toml:"name"`
	CPython string   `toml:"cpython"` // conditions on the release, ">= 3.8, < 3.12", all of which must hold; empty: every release
	With    []string `toml:"with"`    // conditions on the toolchain, "gcc >= 14, < 15", "musl", any of which suffices; empty: every one
	Profile []string `toml:"profile"` // profiles that it concerns; empty: every one

	CFlags        []string `toml:"cflags"`
	LDFlags       []string `toml:"ldflags"`
	ConfigureArgs []string `toml:"configure_args"`
	Without       []string `toml:"without"` // arguments for configure of the profile that are taken away
	Refuse        bool     `toml:"refuse"`  // nothing helps: the build does not start

	Says   string `toml:"says"`   // for people: what is done, and why
	Source string `toml:"source"` // where that is known from
}

// Quirks returns what applies to a build of the release with a toolchain and a profile, in the order of quirks.toml. A
// pre-release counts as the release that it precedes: 3.15.0rc2 has the quirks of 3.15.0. A compiler or a C library whose
// version is not known has none of those that depend on it.
func (c *Catalogue) Quirks(r *Release, t Toolchain, profile string) []*Quirk {
	v := r.Version
	version := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	var quirks []*Quirk
	for _, q := range c.AllQuirks {
		concerns := len(q.Profile) == 0 || slices.Contains(q.Profile, profile)
		applies := len(q.With) == 0 || slices.ContainsFunc(q.With, t.satisfies)
		if concerns && applies && satisfies(version, q.CPython) {
			quirks = append(quirks, q)
		}
	}
	return quirks
}

// satisfies reports whether the toolchain meets a condition: "gcc >= 15", "musl".
func (t Toolchain) satisfies(condition string) bool {
	name, versions, _ := strings.Cut(condition, " ")
	return name == t.Compiler && satisfies(t.CompilerVersion, versions) || name == t.Libc && satisfies(t.LibcVersion, versions)
}

// satisfies reports whether a version meets every condition, ">= 3.8, < 3.12", or there is none.
func satisfies(version, conditions string) bool {
	if conditions == "" {
		return true
	}
	v, err := goversion.NewVersion(version)
	if err != nil {
		return false
	}
	c, err := goversion.NewConstraint(conditions)
	return err == nil && c.Check(v.Core())
}

func (c *Catalogue) loadQuirks(fsys fs.FS) error {
	const file = "quirks.toml"
	var content struct {
		Quirk []*Quirk `toml:"quirk"`
	}
	if err := decode(fsys, file, &content); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // a catalogue may do without
			return nil
		}
		return err
	}
	seen := make(map[string]bool)
	for _, q := range content.Quirk {
		if err := firstError(checkName(q.Name), checkUnseen(seen, q.Name), q.check(c.Profiles)); err != nil {
			return &FileError{file, entry("quirk", q.Name), err}
		}
	}
	c.AllQuirks = content.Quirk
	return nil
}

// check checks everything of a quirk but its name.
func (q *Quirk) check(profiles []*Profile) error {
	if err := checkConditions(q.CPython); q.CPython != "" && err != nil {
		return fmt.Errorf("cpython: %w", err)
	}
	for _, s := range q.With {
		if err := checkTooling(s); err != nil {
			return fmt.Errorf("with: %w", err)
		}
	}
	var names, args []string // of the profiles that it concerns
	for _, p := range profiles {
		names = append(names, p.Name)
		if len(q.Profile) == 0 || slices.Contains(q.Profile, p.Name) {
			args = append(args, p.ConfigureArgs...)
		}
	}
	for _, name := range q.Profile {
		if err := checkOneOf("profile", name, names...); err != nil {
			return err
		}
	}
	for _, arg := range q.Without {
		if !slices.Contains(args, arg) {
			return fmt.Errorf("without: %q is no argument of a profile", arg)
		}
	}
	changes := len(q.CFlags) + len(q.LDFlags) + len(q.ConfigureArgs) + len(q.Without)
	if q.Refuse == (changes > 0) {
		return errors.New("not either refused or built in another way")
	}
	return firstError(
		checkWords("cflags", q.CFlags),
		checkWords("ldflags", q.LDFlags),
		checkWords("configure_args", q.ConfigureArgs),
		checkText("says", q.Says),
		checkText("source", q.Source),
	)
}

// conditionPattern is narrower than what go-version reads, which has no use here for pre-releases and pessimism.
var conditionPattern = regexp.MustCompile(`^(>=|<=|>|<|=|!=) [0-9]{1,6}(\.[0-9]{1,6}){0,2}$`)

func checkConditions(s string) error {
	for condition := range strings.SplitSeq(s, ", ") {
		if !conditionPattern.MatchString(condition) {
			return fmt.Errorf("%q is not a condition like >= 3.8", condition)
		}
	}
	return nil
}

// checkTooling accepts a compiler or a C library, alone or with conditions on its version.
func checkTooling(s string) error {
	name, conditions, versioned := strings.Cut(s, " ")
	if err := checkOneOf("toolchain", name, "gcc", "clang", "glibc", "musl"); err != nil || !versioned {
		return err
	}
	if name == "musl" {
		return errors.New("the version of musl is never known")
	}
	return checkConditions(conditions)
}
