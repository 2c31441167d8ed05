package recipes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Platform is a family of distributions that share a package manager and the names of its packages.
type Platform struct {
	Name        string              `toml:"name"`        // "debian"
	IDs         []string            `toml:"ids"`         // values of ID and ID_LIKE in os-release
	Refresh     []string            `toml:"refresh"`     // argv that fetches the lists of packages; empty: not needed
	Install     []string            `toml:"install"`     // argv that installs without a question, before the names of packages
	Environment []string            `toml:"environment"` // NAME=value, for both
	Pool        string              `toml:"pool"`        // where a mirror has upstream's archive, see PoolPath; may be empty
	Packaging   string              `toml:"packaging"`   // where it has what the distribution adds to it, see PackagingPath; may be empty
	Packages    map[string][]string `toml:"packages"`    // by part and tool; none: the C library has it, or nobody
	Absent      []string            `toml:"absent"`      // parts and tools that the distribution does not have; nothing in Packages
	Busy        string              `toml:"busy"`        // RE2 on what the package manager prints when another one holds its lock
	Says        []string            `toml:"-"`           // for people: what the variants that apply say
	Variants    []*Variant          `toml:"variant"`     // in order; Platform has applied those that fit
	Sources     []*Source           `toml:"source"`      // where the names of packages are known from
}

// A Variant is what is different on some distributions of a platform, or on some releases of them.
type Variant struct {
	IDs         []string            `toml:"ids"`         // as in Platform.IDs; empty: all of them
	Since       string              `toml:"since"`       // first VERSION_ID; empty: all before Until
	Until       string              `toml:"until"`       // last one, as far as it goes: "8" includes 8.10; empty: all from Since on
	Refresh     []string            `toml:"refresh"`     // instead of the platform's, where the key is there
	Install     []string            `toml:"install"`     // likewise
	Environment []string            `toml:"environment"` // likewise
	Packages    map[string][]string `toml:"packages"`    // each instead of the platform's
	Absent      []string            `toml:"absent"`      // besides the platform's
	Says        string              `toml:"says"`        // for people: why, or what they must do first; may be empty
}

// A Source is where names of packages are known from.
type Source struct {
	At       string   `toml:"at"`
	Packages []string `toml:"packages"`
}

// Platform returns the platform of a distribution, by its ID in os-release and, if that is not known, by its ID_LIKE, nearest
// relative first. It is nil for a stranger.
//
// The platform is a copy with the variants applied that fit the distribution and its VERSION_ID. One that is no number, or is
// not there, is newer than every other: rolling distributions have none. The version of a relative is not the platform's, so
// that a variant with since or until is only for the IDs that the platform lists.
func (c *Catalogue) Platform(id, versionID string, like ...string) *Platform {
	for _, known := range append([]string{id}, like...) {
		for _, p := range c.Platforms {
			if slices.Contains(p.IDs, known) {
				return p.on(id, versionID)
			}
		}
	}
	return nil
}

// on returns p as it is on a release of a distribution.
func (p *Platform) on(id, versionID string) *Platform {
	q := *p
	q.Packages, q.Absent = make(map[string][]string), nil
	maps.Copy(q.Packages, p.Packages)
	q.lack(p.Absent)
	for _, v := range p.Variants {
		if !v.fits(id, versionID, slices.Contains(p.IDs, id)) {
			continue
		}
		if v.Refresh != nil {
			q.Refresh = v.Refresh
		}
		if v.Install != nil {
			q.Install = v.Install
		}
		if v.Environment != nil {
			q.Environment = v.Environment
		}
		for need, names := range v.Packages {
			q.Packages[need] = names
			q.Absent = slices.DeleteFunc(q.Absent, func(absent string) bool { return absent == need })
		}
		q.lack(v.Absent)
		if v.Says != "" {
			q.Says = append(q.Says, v.Says)
		}
	}
	return &q
}

// lack notes what the distribution does not have, each need once.
func (p *Platform) lack(needs []string) {
	for _, need := range needs {
		p.Packages[need] = nil
		if !slices.Contains(p.Absent, need) {
			p.Absent = append(p.Absent, need)
		}
	}
}

// fits reports whether the variant is for a release of a distribution, which the platform lists or which is only akin.
func (v *Variant) fits(id, versionID string, listed bool) bool {
	if len(v.IDs) > 0 && !slices.Contains(v.IDs, id) {
		return false
	}
	if v.Since == "" && v.Until == "" {
		return true
	}
	version, ok := parseVersionID(versionID)
	if !ok { // newer than every number
		return listed && v.Until == ""
	}
	since, _ := parseVersionID(v.Since)
	until, _ := parseVersionID(v.Until)
	return listed && compareVersionID(version, since) >= 0 && (v.Until == "" || compareVersionID(version, until) <= 0)
}

// parseVersionID reads numbers between dots: "24.04". Nothing else is ok.
func parseVersionID(s string) (numbers []int, ok bool) {
	for field := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(field)
		if err != nil || strings.Trim(field, digits) != "" {
			return nil, false
		}
		numbers = append(numbers, n)
	}
	return numbers, true
}

// compareVersionID compares as many numbers as the bound has: 8.10 is equal to the bound 8. A number that the version lacks
// is 0.
func compareVersionID(version, bound []int) int {
	padded := append(slices.Clone(version), make([]int, len(bound))...)
	return slices.Compare(padded[:len(bound)], bound)
}

// IsBusy reports whether the package manager, which failed, says that another one holds its lock.
func (p *Platform) IsBusy(output string) bool {
	busy, err := regexp.MatchString(p.Busy, output)
	return p.Busy != "" && busy && err == nil
}

// PoolPath returns the path, slash-separated and relative to the root of the distribution's mirror, at which that distribution
// may keep a as the source of a package of its own. It is empty where there is no such place. The bytes are upstream's only if
// the digest says so.
func (p *Platform) PoolPath(r *Release, a Archive) string {
	var compression string
	switch {
	case strings.HasSuffix(a.Name, ".tar.xz"):
		compression = "xz"
	case strings.HasSuffix(a.Name, ".tgz"):
		compression = "gz"
	}
	if p.Pool == "" || compression == "" {
		return ""
	}
	return packaged(r, p.Pool, "{compression}", compression)
}

// PackagingPath returns the path, like that of PoolPath, at which the distribution may keep what it adds to the release as its
// revision, the public key of upstream's signer included. It is empty where there is no such place.
func (p *Platform) PackagingPath(r *Release, revision int) string {
	if p.Packaging == "" {
		return ""
	}
	return packaged(r, p.Packaging, "{revision}", strconv.Itoa(revision))
}

// packaged fills in a path, with one more place-holder than the release has.
func packaged(r *Release, path, holder, value string) string {
	version := r.Version
	if !version.IsFinal() {
		version.Pre = "~" + version.Pre // sorts before the final release, in Debian's order
	}
	return strings.NewReplacer("{series}", r.Version.Series(), "{version}", version.String(), holder, value).Replace(path)
}

func (c *Catalogue) loadPlatforms(fsys fs.FS) error {
	files, err := glob(fsys, "platforms")
	if err != nil {
		return err
	}
	needs := make(map[string]bool) // what a platform must have packages for
	for _, t := range c.Tools {
		needs[t.Name] = true
	}
	for _, p := range c.Parts {
		if len(p.Probes) > 0 {
			needs[p.Name] = true
		}
	}
	ids := make(map[string]bool)
	for _, file := range files {
		p := new(Platform)
		if err := decode(fsys, file, p); err != nil {
			return err
		}
		if err := p.check(needs, ids); err != nil {
			return &FileError{File: file, Err: err}
		}
		if file != "platforms/"+p.Name+".toml" {
			return &FileError{File: file, Err: fmt.Errorf("the file of platform %s has another name", p.Name)}
		}
		c.Platforms = append(c.Platforms, p)
	}
	slices.SortFunc(c.Platforms, func(a, b *Platform) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func (p *Platform) check(needs, ids map[string]bool) error {
	if err := firstError(
		checkName(p.Name),
		checkWords("ids", p.IDs),
		checkWords("refresh", p.Refresh),
		checkWords("install", p.Install),
		checkEnvironment(p.Environment),
		checkPool("pool", p.Pool, "{compression}"),
		checkPool("packaging", p.Packaging, "{revision}"),
	); err != nil {
		return err
	}
	switch {
	case len(p.IDs) == 0:
		return errors.New("no ids")
	case len(p.Install) == 0:
		return errors.New("no install")
	}
	for _, id := range p.IDs {
		if err := checkUnseen(ids, id); err != nil {
			return fmt.Errorf("ids: %w", err)
		}
	}
	if p.Busy != "" {
		if _, err := compile("busy", p.Busy); err != nil {
			return err
		}
	}
	if err := checkPackages(p.Packages, p.Absent, needs); err != nil {
		return err
	}
	for _, need := range slices.Sorted(maps.Keys(needs)) {
		if _, ok := p.Packages[need]; !ok && !slices.Contains(p.Absent, need) {
			return fmt.Errorf("packages: nothing about %q", need)
		}
	}
	for i, v := range p.Variants {
		if err := v.check(p, needs); err != nil {
			return fmt.Errorf("variant %d: %w", i+1, err)
		}
	}
	if len(p.Sources) == 0 { // a catalogue may not say where it knows them from
		return nil
	}
	return p.checkSources()
}

// checkSources holds every name of a package against the sources, and every name that a source has against the packages.
func (p *Platform) checkSources() error {
	used, known := make(map[string]bool), make(map[string]bool)
	note := func(packages map[string][]string) {
		for _, names := range packages {
			for _, name := range names {
				used[name] = true
			}
		}
	}
	note(p.Packages)
	for _, v := range p.Variants {
		note(v.Packages)
	}
	for i, s := range p.Sources {
		if err := checkText("at", s.At); err != nil {
			return fmt.Errorf("source %d: %w", i+1, err)
		}
		for _, name := range s.Packages {
			if !used[name] {
				return fmt.Errorf("source %d: %q is in no packages", i+1, name)
			}
			known[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !known[name] {
			return fmt.Errorf("packages: no source has %q", name)
		}
	}
	return nil
}

func (v *Variant) check(p *Platform, needs map[string]bool) error {
	for _, id := range v.IDs {
		if !slices.Contains(p.IDs, id) {
			return fmt.Errorf("ids: %q is not an id of the platform", id)
		}
	}
	since, sinceOK := parseVersionID(v.Since)
	until, untilOK := parseVersionID(v.Until)
	switch {
	case v.Since != "" && !sinceOK:
		return fmt.Errorf("since %q is not numbers between dots", v.Since)
	case v.Until != "" && !untilOK:
		return fmt.Errorf("until %q is not numbers between dots", v.Until)
	case sinceOK && untilOK && compareVersionID(since, until) > 0:
		return fmt.Errorf("since %s is after until %s", v.Since, v.Until)
	case v.Install != nil && len(v.Install) == 0:
		return errors.New("no install")
	case v.Refresh == nil && v.Install == nil && v.Environment == nil && len(v.Packages)+len(v.Absent) == 0 && v.Says == "":
		return errors.New("nothing is different")
	}
	return firstError(
		checkWords("refresh", v.Refresh),
		checkWords("install", v.Install),
		checkEnvironment(v.Environment),
		checkPackages(v.Packages, v.Absent, needs),
	)
}

// checkPackages checks names of packages, and which needs there are none for.
func checkPackages(packages map[string][]string, absent []string, needs map[string]bool) error {
	for _, need := range slices.Sorted(maps.Keys(packages)) {
		if !needs[need] {
			return fmt.Errorf("packages: %q is not a tool, nor a part with a probe", need)
		}
		if slices.Contains(absent, need) && len(packages[need]) > 0 {
			return fmt.Errorf("packages: %q is absent", need)
		}
		for _, name := range packages[need] {
			if !libraryPattern.MatchString(name) { // so that none is taken for an option
				return fmt.Errorf("packages: %s: malformed %q", need, name)
			}
		}
	}
	for _, need := range absent {
		if !needs[need] {
			return fmt.Errorf("absent: %q is not a tool, nor a part with a probe", need)
		}
	}
	return nil
}

func checkEnvironment(variables []string) error {
	if err := checkWords("environment", variables); err != nil {
		return err
	}
	for _, v := range variables {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("environment: %q is not NAME=value", v)
		}
	}
	return nil
}

// checkPool accepts a relative path with the place-holders of a release and one more.
func checkPool(key, pool, holder string) error {
	if pool == "" {
		return nil
	}
	path := pool
	for _, name := range []string{"{series}", "{version}", holder} {
		if !strings.Contains(path, name) {
			return fmt.Errorf("%s: no %s", key, name)
		}
		path = strings.ReplaceAll(path, name, "x")
	}
	if !fs.ValidPath(path) || strings.ContainsAny(path, "{}") {
		return fmt.Errorf("%s: malformed %q", key, pool)
	}
	return nil
}
