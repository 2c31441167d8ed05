package recipes

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
)

// How much a part matters.
const (
	TierCore     = "core"     // there in every build: needs nothing from the host, and cannot be left out
	TierRequired = "required" // missing: the build does not start
	TierWanted   = "wanted"   // missing: said, and the build goes on
	TierOption   = "option"   // there only on request
)

// A Part is a piece of the standard library that can be there or not.
type Part struct {
	Name       string   `toml:"name"`
	Tier       string   `toml:"tier"` // TierCore, TierRequired, TierWanted or TierOption
	Summary    string   `toml:"summary"`
	Since      string   `toml:"since"`      // first series that has it; empty: all before Until
	Until      string   `toml:"until"`      // last series that has it; empty: all from Since on
	Extensions []Module `toml:"extensions"` // extension modules built for it, as Modules/Setup.local calls them
	Modules    []Module `toml:"modules"`    // what must import afterwards; not said: the extensions
	Probes     []*Probe `toml:"probe"`      // alternatives in order; none: the part needs nothing from the host
	Disk       int      `toml:"disk"`       // MiB that it adds to what the directory of a build takes
}

// A Probe is one way in which a host can have what a part needs: the headers compile, every Minimum holds after them, and a
// program that takes the address of Symbol links. It is tried as it stands, then with the flags that pkg-config gives for
// PkgConfig.
type Probe struct {
	Since         string     `toml:"since"` // first series that can use this alternative; empty: all
	Until         string     `toml:"until"` // last one; empty: all
	Headers       []string   `toml:"headers"`
	Symbol        string     `toml:"symbol"`         // a C function
	Libs          []string   `toml:"libs"`           // for -l, in the order of linking
	PkgConfig     []string   `toml:"pkg_config"`     // modules of pkg-config; empty: it does not know the library
	IncludeDirs   []string   `toml:"include_dirs"`   // searched for the headers too; may not exist
	ConfigureArgs []string   `toml:"configure_args"` // what CPython must be told to use this alternative
	Minimum       []*Minimum `toml:"minimum"`
}

// A Minimum is a condition on the version of a library.
type Minimum struct {
	Since string `toml:"since"` // first series that asks for it; empty: all
	Until string `toml:"until"` // last one; empty: all
	Test  string `toml:"test"`  // expression for #if, after the headers
	Says  string `toml:"says"`  // the same for people: "OpenSSL 1.1.1"
}

// A Tool is something every build needs on the host: a command, the first of Commands that exists, or a file, the first of
// Files.
type Tool struct {
	Name     string   `toml:"name"`
	Summary  string   `toml:"summary"`
	Commands []string `toml:"commands"`
	Files    []string `toml:"files"` // absolute paths
}

// Part returns the part of that name, with its probes and minimums for all series. The error is an *UnknownNameError.
func (c *Catalogue) Part(name string) (*Part, error) {
	var known []string
	for _, p := range c.Parts {
		if p.Name == name {
			return p, nil
		}
		known = append(known, p.Name)
	}
	return nil, &UnknownNameError{Kind: "part", Name: name, Known: known}
}

// PartsOf returns the parts that a series has, as that series needs them: extensions, modules, probes and minimums for other
// series are left out, so that every one that is there counts. The parts are copies. There are none for what is not the name of
// a series.
func (c *Catalogue) PartsOf(series string) []*Part {
	if _, ok := parseSeries(series); !ok {
		return nil
	}
	var parts []*Part
	for _, p := range c.Parts {
		if !within(series, p.Since, p.Until) {
			continue
		}
		part := *p
		part.Extensions, part.Modules, part.Probes = modulesOf(series, p.Extensions), modulesOf(series, p.Modules), nil
		for _, q := range p.Probes {
			if !within(series, q.Since, q.Until) {
				continue
			}
			probe := *q
			probe.Minimum = nil
			for _, m := range q.Minimum {
				if within(series, m.Since, m.Until) {
					probe.Minimum = append(probe.Minimum, m)
				}
			}
			part.Probes = append(part.Probes, &probe)
		}
		parts = append(parts, &part)
	}
	return parts
}

func (c *Catalogue) loadParts(fsys fs.FS) error {
	const file = "parts.toml"
	var content struct {
		Part []*Part `toml:"part"`
		Tool []*Tool `toml:"tool"`
	}
	if err := decode(fsys, file, &content); err != nil {
		return err
	}
	names := make(map[string]bool) // parts and tools: both are keys of a platform's packages
	var extensions []Module        // of all parts before
	for _, t := range content.Tool {
		if err := firstError(t.check(), checkUnseen(names, t.Name)); err != nil {
			return &FileError{file, entry("tool", t.Name), err}
		}
	}
	for _, p := range content.Part {
		if p.Modules == nil {
			p.Modules = p.Extensions
		}
		err := firstError(p.check(), checkUnseen(names, p.Name))
		for _, x := range p.Extensions {
			x = p.during(x)
			err = firstError(err, checkUnshared(extensions, x))
			extensions = append(extensions, x)
		}
		if err != nil {
			return &FileError{file, entry("part", p.Name), err}
		}
	}
	c.Parts, c.Tools = content.Part, content.Tool
	return nil
}

var (
	identifierPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	modulePattern     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
	libraryPattern    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
	headerPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+/-]*\.h$`)
	pathPattern       = regexp.MustCompile(`^(/[A-Za-z0-9_.+-]+)+$`)
)

func (t *Tool) check() error {
	if (len(t.Commands) == 0) == (len(t.Files) == 0) {
		return errors.New("not either commands or files")
	}
	return firstError(
		checkName(t.Name),
		checkText("summary", t.Summary),
		checkEach("commands", t.Commands, libraryPattern),
		checkEach("files", t.Files, pathPattern),
	)
}

func (p *Part) check() error {
	err := firstError(
		checkName(p.Name),
		checkOneOf("tier", p.Tier, TierCore, TierRequired, TierWanted, TierOption),
		checkText("summary", p.Summary),
		checkSpan(p.Since, p.Until),
		p.checkModules("extensions", p.Extensions, identifierPattern),
		p.checkModules("modules", p.Modules, modulePattern),
	)
	if err == nil && p.Disk < 0 {
		err = fmt.Errorf("disk: %d MiB", p.Disk)
	}
	if err == nil && p.Tier == TierCore && len(p.Probes) > 0 {
		err = errors.New("a core part with a probe")
	}
	for i, probe := range p.Probes {
		if err == nil {
			if err = probe.check(); err != nil {
				err = fmt.Errorf("probe %d: %w", i+1, err)
			}
		}
	}
	return err
}

func (p *Part) checkModules(key string, modules []Module, pattern *regexp.Regexp) error {
	for _, m := range modules {
		if !pattern.MatchString(m.Name) {
			return fmt.Errorf("%s: malformed %q", key, m.Name)
		}
		m = p.during(m)
		if err := checkSpan(m.Since, m.Until); err != nil {
			return fmt.Errorf("%s: %s: %w", key, m.Name, err)
		}
	}
	return nil
}

// during returns the module with the span of the part where it has none of its own.
func (p *Part) during(m Module) Module {
	m.Since, m.Until = cmp.Or(m.Since, p.Since), cmp.Or(m.Until, p.Until)
	return m
}

// checkUnshared refuses an extension that a series would have twice.
func checkUnshared(seen []Module, m Module) error {
	for _, other := range seen {
		if other.Name == m.Name && overlap(other, m) {
			return fmt.Errorf("%q is there twice", m.Name)
		}
	}
	return nil
}

// overlap reports whether a series may have both; an absent end is open.
func overlap(a, b Module) bool {
	before := func(a, b Module) bool { return a.Until != "" && b.Since != "" && compareSeries(a.Until, b.Since) < 0 }
	return !before(a, b) && !before(b, a)
}

func (p *Probe) check() error {
	err := firstError(
		checkSpan(p.Since, p.Until),
		checkEach("headers", p.Headers, headerPattern),
		checkEach("symbol", []string{p.Symbol}, identifierPattern),
		checkEach("libs", p.Libs, libraryPattern),
		checkEach("pkg_config", p.PkgConfig, libraryPattern),
		checkEach("include_dirs", p.IncludeDirs, pathPattern),
		checkWords("configure_args", p.ConfigureArgs),
	)
	if err == nil && len(p.Headers) == 0 {
		err = errors.New("no headers")
	}
	for _, m := range p.Minimum {
		err = firstError(err, checkSpan(m.Since, m.Until), checkText("test", m.Test), checkText("says", m.Says))
		if err == nil && slices.ContainsFunc([]byte(m.Test), func(b byte) bool { return b < ' ' }) {
			err = fmt.Errorf("test %q is not one line", m.Test) // it would end the #if
		}
	}
	return err
}

func checkEach(key string, values []string, pattern *regexp.Regexp) error {
	for _, v := range values {
		if !pattern.MatchString(v) {
			return fmt.Errorf("%s: malformed %q", key, v)
		}
	}
	return nil
}
