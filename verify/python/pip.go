package python

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// pip installs the wheel into the interpreter's own site-packages, uses it and
// removes it again. The option that overrides a marker is never given, nor can
// an environment variable or a file give it: that pip installs is pip's own
// proof that no marker is in force.
func (in *inspection) pip(ctx context.Context, w *wheel) (string, error) {
	// -I does not only ignore the environment: without user site-packages
	// pip cannot fall back to them where the prefix is not writable.
	flags := []string{"-I", "-B"}
	if in.Managed {
		return in.refusal(ctx, nil, flags, w.install()...)
	}
	s := in.facts.scheme()
	return in.unchanged(func() error {
		if err := in.runPip(ctx, nil, flags, w.install()...); err != nil {
			return fmt.Errorf("pip install: %w", err)
		}
		if err := in.use(ctx, w, nil, flags, s.Purelib, s.Scripts); err != nil {
			return err
		}
		if err := in.runPip(ctx, nil, flags, "uninstall", "--yes", "--disable-pip-version-check", w.name); err != nil {
			return fmt.Errorf("pip uninstall: %w", err)
		}
		return nil
	})
}

// pipUser installs the wheel the way a user without rights does, below Work.
func (in *inspection) pipUser(ctx context.Context, w *wheel) (string, error) {
	// Here and below, no name in Work is one that could be imported.
	base := filepath.Join(in.Work, "user-base")
	// No -I here: it would switch off what is tried. Empty means unset.
	flags := []string{"-B"}
	env := []string{
		"PYTHONUSERBASE=" + base,
		"PYTHONNOUSERSITE=", "PYTHONPATH=", "PYTHONHOME=", "PYTHONPLATLIBDIR=",
	}
	if in.Managed {
		return in.refusal(ctx, env, flags, w.install("--user")...)
	}
	return in.unchanged(func() error {
		if err := in.runPip(ctx, env, flags, w.install("--user")...); err != nil {
			return fmt.Errorf("pip install --user: %w", err)
		}
		return in.use(ctx, w, env, flags, base, filepath.Join(base, "bin"))
	})
}

// refusal makes pip refuse because of the marker.
func (in *inspection) refusal(ctx context.Context, env, flags []string, args ...string) (string, error) {
	detail, err := in.unchanged(func() error {
		switch err := in.runPip(ctx, env, flags, args...); {
		case errors.Is(err, ErrExternallyManaged):
			return nil
		case err != nil:
			return fmt.Errorf("pip install: %w", err)
		}
		return &NotRefusedError{Pip: in.facts.Pip}
	})
	if err == nil {
		detail += " refuses: externally-managed-environment"
	}
	return detail, err
}

// installDirs is where pip may put something.
func (in *inspection) installDirs() []string {
	s := in.facts.scheme()
	return slices.Compact([]string{s.Purelib, s.Platlib, s.Scripts})
}

// unchanged makes a trial of pip, after which the prefix must be as before.
func (in *inspection) unchanged(trial func() error) (detail string, err error) {
	if in.facts.Pip == "" {
		return "", errors.New("there is no module named pip")
	}
	before, err := listing(in.installDirs())
	if err != nil {
		return "", err
	}
	if err := trial(); err != nil {
		return "", err
	}
	after, err := listing(in.installDirs())
	if err != nil {
		return "", err
	}
	return "pip " + in.facts.Pip, leftover(before, after)
}

// try runs argv with nothing of the user's and the host's to decide for it.
func (in *inspection) try(ctx context.Context, env []string, argv ...string) ([]byte, error) {
	base := []string{
		"HOME=" + in.Work,
		// With this one pip reads no configuration file at all: a host that
		// overrides the marker there would make every answer worthless.
		"PIP_CONFIG_FILE=" + os.DevNull,
	}
	return in.exec(ctx, append(base, env...), argv...)
}

// runPip runs pip by the interpreter and recognises its refusal.
func (in *inspection) runPip(ctx context.Context, env, flags []string, args ...string) error {
	// --isolated ignores pip's variables, the overriding one among them.
	argv := slices.Concat([]string{in.Executable}, flags, []string{"-m", "pip", "--isolated"}, args)
	_, err := in.try(ctx, env, argv...)
	if err != nil && externallyManaged(err.Error()) {
		return fmt.Errorf("%w: %w", ErrExternallyManaged, err)
	}
	return err
}

// externallyManaged recognises pip's refusal by its first line, or, where the
// text of a long marker has pushed that out of what was kept, by its last.
func externallyManaged(text string) bool {
	return strings.Contains(text, "externally-managed-environment") ||
		strings.Contains(text, "--break-system-packages")
}

// use imports the wheel's module and runs its command, and checks that both
// are where they belong.
func (in *inspection) use(ctx context.Context, w *wheel, env, flags []string, library, bin string) error {
	argv := slices.Concat([]string{in.Executable}, flags, []string{"-c", "import " + w.name + " as m; print(m.__file__)"})
	out, err := in.try(ctx, env, argv...)
	if err != nil {
		return fmt.Errorf("import what pip installed: %w", err)
	}
	if file := strings.TrimSpace(string(out)); !below(file, library) {
		return &MismatchError{What: "module that pip installed", Got: file, Want: "below " + library}
	}
	command := filepath.Join(bin, w.name)
	text, err := head(command)
	if err != nil {
		return fmt.Errorf("command that pip installed: %w", err)
	}
	if by := interpreter(text); by != in.facts.Executable {
		return &ScriptError{Path: command, Reason: fmt.Sprintf("is started by %s, not by %s", by, in.facts.Executable)}
	}
	out, err = in.try(ctx, env, command)
	if err != nil {
		return fmt.Errorf("run what pip installed: %w", err)
	}
	if got := strings.TrimSpace(string(out)); got != w.name {
		return &MismatchError{What: "output of " + command, Got: fmt.Sprintf("%q", got), Want: fmt.Sprintf("%q", w.name)}
	}
	return nil
}

// venv makes a virtual environment and runs its python and its pip.
func (in *inspection) venv(ctx context.Context) (string, error) {
	dir := filepath.Join(in.Work, "virtual-env")
	exe := filepath.Join(dir, "bin", "python")
	if _, err := in.try(ctx, nil, in.Executable, "-I", "-B", "-m", "venv", dir); err != nil {
		// It does not tell what went wrong with pip, so that is asked again.
		if _, reason := in.try(ctx, nil, exe, "-I", "-B", "-m", "ensurepip", "--default-pip"); reason != nil {
			err = fmt.Errorf("%w: %w", err, reason)
		}
		return "", fmt.Errorf("make it: %w", err)
	}
	out, err := in.try(ctx, nil, exe, "-I", "-B", "-c",
		"import sys; print(sys.prefix); print(sys.base_prefix)")
	if err != nil {
		return "", fmt.Errorf("run its python: %w", err)
	}
	prefix, base, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\n")
	var findings []error
	if !samePath(prefix, dir) {
		findings = append(findings, &MismatchError{What: "its sys.prefix", Got: prefix, Want: dir})
	}
	if !samePath(base, in.Prefix) {
		findings = append(findings, &MismatchError{What: "its sys.base_prefix", Got: base, Want: in.Prefix})
	}
	if findings != nil {
		return "", join(findings)
	}
	out, err = in.try(ctx, nil, filepath.Join(dir, "bin", "pip"), "--isolated", "--disable-pip-version-check", "--version")
	if err != nil {
		return "", fmt.Errorf("run its pip: %w", err)
	}
	version, from, ok := strings.Cut(strings.TrimSpace(string(out)), " from ")
	if !ok || !below(from, prefix) {
		return "", fmt.Errorf("its pip says %q", strings.TrimSpace(string(out)))
	}
	return version, nil
}

// listing is every path below the directories, sorted. A directory that is
// not there has none.
func listing(dirs []string) ([]string, error) {
	var paths []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			// Somebody else may remove something from a shared prefix.
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			paths = append(paths, path)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// leftover is the difference of two listings.
func leftover(before, after []string) error {
	var e LeftoverError
	for _, p := range after {
		if _, there := slices.BinarySearch(before, p); !there {
			e.Added = append(e.Added, p)
		}
	}
	for _, p := range before {
		if _, there := slices.BinarySearch(after, p); !there {
			e.Removed = append(e.Removed, p)
		}
	}
	if e.Added == nil && e.Removed == nil {
		return nil
	}
	return &e
}

// sweep removes what carries the wheel's name from the directories. In one
// that is not there nothing does.
func (w *wheel) sweep(dirs []string) error {
	var errs []error
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), w.name) {
				errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}
