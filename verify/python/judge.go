package python

import (
	"fmt"
	"os"
	"strings"
)

// judge compares the facts with the promise.
func (in *inspection) judge() []Result {
	results := []Result{result(CheckVersion)(in.version())}
	if !in.Stranger {
		results = append(results, result(CheckPrefix)(in.prefix()), result(CheckBuild)(in.build()))
	}
	results = append(append(results, result(CheckModules)(in.modules())), in.work()...)
	// A system that does not tell, and no ELF files: another way of linking.
	if in.facts.Libraries != nil || len(in.files) > 0 {
		results = append(results, result(CheckLinkage)(in.linkage()))
	}
	if !in.Stranger {
		results = append(results, result(CheckScripts)(in.scripts()))
	}
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
