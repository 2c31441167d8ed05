package recipes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
}

// Platform returns the platform of a distribution, by its ID in os-release and, if that is not known, by its ID_LIKE, nearest
// relative first. It is nil for a stranger.
func (c *Catalogue) Platform(id string, like ...string) *Platform {
	for _, id := range append([]string{id}, like...) {
		for _, p := range c.Platforms {
			if slices.Contains(p.IDs, id) {
				return p
			}
		}
	}
	return nil
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
		checkWords("environment", p.Environment),
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
	for _, v := range p.Environment {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" {
			return fmt.Errorf("environment: %q is not NAME=value", v)
		}
	}
	for _, need := range slices.Sorted(maps.Keys(p.Packages)) {
		if !needs[need] {
			return fmt.Errorf("packages: %q is not a tool, nor a part with a probe", need)
		}
		for _, name := range p.Packages[need] {
			if !libraryPattern.MatchString(name) { // so that none is taken for an option
				return fmt.Errorf("packages: %s: malformed %q", need, name)
			}
		}
	}
	for _, need := range slices.Sorted(maps.Keys(needs)) {
		if _, ok := p.Packages[need]; !ok {
			return fmt.Errorf("packages: nothing about %q", need)
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
