package python

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// judge compares the facts with the promise.
func (in *inspection) judge() []Result {
	p := &in.facts.Probes
	results := []Result{
		result(CheckVersion)(in.version()),
		result(CheckPrefix)(in.prefix()),
		result(CheckBuild)(in.build()),
		result(CheckModules)(in.modules()),
	}
	add := func(applies bool, check string, f func() (string, error)) {
		if applies {
			results = append(results, result(check)(f()))
		}
	}
	q := in.question()
	asked := func(probes ...string) bool {
		return slices.ContainsFunc(probes, func(s string) bool { return slices.Contains(q.Probes, s) })
	}
	add(asked("ssl"), CheckSSL, p.ssl)
	add(asked("sqlite"), CheckSQLite, p.sqlite)
	add(asked("hashlib"), CheckHashlib, p.hashlib)
	add(asked("ctypes"), CheckCtypes, p.ctypes)
	add(asked("zlib", "bz2", "lzma", "zstd"), CheckCompression, func() (string, error) { return p.compression(q.Probes) })
	add(asked("decimal"), CheckDecimal, p.decimal)
	add(in.facts.Libraries != nil, CheckLinkage, in.linkage)
	add(true, CheckScripts, in.scripts)
	return results
}

func (in *inspection) version() (string, error) {
	if in.facts.Version != in.Version {
		return "", &MismatchError{What: "sys.version_info", Got: in.facts.Version, Want: in.Version}
	}
	return in.facts.Version, nil
}

// prefix compares every directory in which the interpreter believes to live.
func (in *inspection) prefix() (string, error) {
	f, s := in.facts, in.facts.scheme()
	var findings []error
	for _, row := range []struct{ what, got, want string }{
		{"sys.executable", f.Executable, in.Executable},
		{"sys.prefix", f.Prefix, in.Prefix},
		{"sys.exec_prefix", f.ExecPrefix, in.Prefix},
		{"sys.base_prefix", f.BasePrefix, in.Prefix},
	} {
		if !samePath(row.got, row.want) {
			findings = append(findings, &MismatchError{What: row.what, Got: row.got, Want: row.want})
		}
	}
	// A text in generated files: here the same place by another name is wrong.
	if f.BuildTimePrefix != in.ConfiguredPrefix {
		findings = append(findings, &MismatchError{What: "build-time prefix", Got: f.BuildTimePrefix, Want: in.ConfiguredPrefix})
	}
	for _, row := range []struct{ what, dir string }{
		{"stdlib", s.Stdlib}, {"purelib", s.Purelib}, {"platlib", s.Platlib}, {"scripts", s.Scripts},
	} {
		if !below(row.dir, in.Prefix) && !below(row.dir, f.Prefix) {
			findings = append(findings, &MismatchError{
				What: fmt.Sprintf("%s of the scheme %s", row.what, f.DefaultScheme), Got: row.dir, Want: "below " + in.Prefix,
			})
		}
	}
	return f.Prefix, join(findings)
}

func (in *inspection) build() (string, error) {
	var findings []error
	var detail []string
	for _, row := range []struct {
		what      string
		got, want bool
	}{
		{"free-threaded", in.facts.FreeThreaded, in.FreeThreaded},
		{"debug", in.facts.Debug, in.Debug},
		{"shared", in.facts.Shared, in.Shared},
	} {
		if row.got != row.want {
			findings = append(findings, &MismatchError{What: row.what, Got: fmt.Sprint(row.got), Want: fmt.Sprint(row.want)})
		}
		if row.got {
			detail = append(detail, row.what)
		}
	}
	return strings.Join(append(detail, in.facts.Compiler), ", "), join(findings)
}

// moduleError is nil when the module imports.
func (in *inspection) moduleError(m Module) error {
	reason, tried := in.facts.Modules[m.Name]
	switch {
	case !tried:
		return &ModuleError{Module: m, Reason: "was not tried"}
	case reason != "":
		return &ModuleError{Module: m, Reason: reason}
	}
	return nil
}

func (in *inspection) modules() (string, error) {
	var findings []error
	for _, m := range in.Modules {
		if err := in.moduleError(m); err != nil {
			findings = append(findings, err)
		}
	}
	return fmt.Sprintf("%d of %d import", len(in.Modules)-len(findings), len(in.Modules)), join(findings)
}

func (in *inspection) parts() map[string]error {
	findings := make(map[string][]error)
	for _, m := range in.Modules {
		all := findings[m.Part]
		if err := in.moduleError(m); err != nil {
			all = append(all, err)
		}
		findings[m.Part] = all
	}
	parts := make(map[string]error)
	for part, all := range findings {
		parts[part] = join(all)
	}
	return parts
}

// errNotAnswered is for a probe that the script was asked to make and did not.
var errNotAnswered = errors.New("was not tried")

func (p *probes) ssl() (string, error) {
	switch a := p.SSL; {
	case a == nil:
		return "", errNotAnswered
	case a.Error != "":
		return "", errors.New(a.Error)
	case a.Loaded+a.Files == 0:
		return a.Version, fmt.Errorf("no certificates of authorities, neither in %s nor in %s", a.CAFile, a.CAPath)
	case a.Loaded == 0:
		return fmt.Sprintf("%s, certificates in %s", a.Version, a.CAPath), nil
	default:
		return fmt.Sprintf("%s, %d certificates", a.Version, a.Loaded), nil
	}
}

func (p *probes) sqlite() (string, error) {
	a := p.SQLite
	switch {
	case a == nil:
		return "", errNotAnswered
	case a.Error != "":
		return "", errors.New(a.Error)
	case a.Sum != 55:
		return a.Version, &MismatchError{What: "sum of 1 to 10", Got: fmt.Sprint(a.Sum), Want: "55"}
	}
	with := func(has bool, name string) string {
		if has {
			return "with " + name
		}
		return "without " + name
	}
	return strings.Join([]string{a.Version, with(a.JSON, "JSON"), with(a.FTS5, "FTS5")}, ", "), nil
}

func (p *probes) hashlib() (string, error) {
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	a := p.Hashlib
	switch {
	case a == nil:
		return "", errNotAnswered
	case a.Error != "":
		return "", errors.New(a.Error)
	}
	var findings []error
	for _, name := range slices.Sorted(maps.Keys(a.Failed)) {
		findings = append(findings, fmt.Errorf("%s: %s", name, a.Failed[name]))
	}
	if a.SHA256 != abc {
		findings = append(findings, &MismatchError{What: "sha256 of abc", Got: a.SHA256, Want: abc})
	}
	return fmt.Sprintf("%d algorithms", a.Algorithms), join(findings)
}

func (p *probes) ctypes() (string, error) {
	switch a := p.Ctypes; {
	case a == nil:
		return "", errNotAnswered
	case a.Error != "":
		return "", errors.New(a.Error)
	case a.Value != 42:
		return "", &MismatchError{What: "result of a callback", Got: fmt.Sprint(a.Value), Want: "42"}
	}
	return "", nil
}

func (p *probes) compression(asked []string) (string, error) {
	var names []string
	var findings []error
	for _, row := range []struct {
		name   string
		answer *codec
	}{
		{"zlib", p.Zlib}, {"bz2", p.Bz2}, {"lzma", p.Lzma}, {"zstd", p.Zstd},
	} {
		if !slices.Contains(asked, row.name) {
			continue
		}
		names = append(names, row.name)
		switch a := row.answer; {
		case a == nil:
			findings = append(findings, fmt.Errorf("%s: %w", row.name, errNotAnswered))
		case a.Error != "":
			findings = append(findings, fmt.Errorf("%s: %s", row.name, a.Error))
		case !a.Same:
			findings = append(findings, fmt.Errorf("%s: text is not the same after a round trip", row.name))
		case !a.Smaller:
			findings = append(findings, fmt.Errorf("%s: text does not get smaller", row.name))
		}
	}
	return strings.Join(names, ", "), join(findings)
}

func (p *probes) decimal() (string, error) {
	switch a := p.Decimal; {
	case a == nil:
		return "", errNotAnswered
	case a.Error != "":
		return "", errors.New(a.Error)
	case !a.Accelerated:
		return "", errors.New("decimal.Decimal is the one written in Python")
	default:
		return "libmpdec " + a.Version, nil
	}
}

// samePath says whether two names are of one file.
func samePath(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// below says whether path is inside dir, by name.
func below(path, dir string) bool {
	return strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
