package python

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// settle takes what a stranger says of itself for what was promised, and no
// module that it simply does not have.
func (in *inspection) settle() error {
	f := in.facts
	if !versionSyntax.MatchString(f.Version) {
		return &VersionError{Version: f.Version}
	}
	in.Version = f.Version
	// A virtual environment works with the files of the Python behind it.
	in.Prefix, in.ConfiguredPrefix = f.BasePrefix, f.BasePrefix
	in.Programs = []string{filepath.Base(realPath(in.Executable))}
	in.Modules = slices.DeleteFunc(slices.Clone(in.Modules), func(m Module) bool {
		// By these words, not by the kind of the error: Debian's tell which package to install.
		return strings.Contains(in.facts.Modules[m.Name], "No module named")
	})
	return nil
}

// inVenv says whether the interpreter is one of a virtual environment.
func (in *inspection) inVenv() bool { return in.facts.Prefix != in.facts.BasePrefix }

// strangersPip installs the wheel for one user, if there is a pip and it does
// not refuse.
func (in *inspection) strangersPip(ctx context.Context, w *wheel) (detail string, refused bool, err error) {
	switch {
	case in.facts.Pip == "":
		return "none", false, nil
	case in.inVenv(): // where pip knows no users
		err := in.runPip(ctx, nil, []string{"-I", "-B"}, "--disable-pip-version-check", "--version")
		return "pip " + in.facts.Pip, false, err
	}
	detail, err = in.pipUser(ctx, w)
	if errors.Is(err, ErrExternallyManaged) {
		return "pip " + in.facts.Pip + " refuses: externally-managed-environment", true, nil
	}
	return detail, false, err
}

// strangersVenv makes a virtual environment, if the modules for it are there:
// distributions have them in packages of their own.
func (in *inspection) strangersVenv(ctx context.Context) (string, error) {
	const question = "import importlib.util as u; print(all(u.find_spec(m) for m in ('venv', 'ensurepip')))"
	out, err := in.try(ctx, nil, in.Executable, "-I", "-B", "-c", question)
	if err != nil {
		return "", fmt.Errorf("look for it: %w", err)
	}
	if strings.TrimSpace(string(out)) != "True" {
		return "not there: no module venv, or no ensurepip", nil
	}
	return in.venv(ctx)
}
