package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pybuild/build/prefix"
	"pybuild/cmd/internal/install"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [PREFIX or PYTHON]",
		Short: "Check an installed Python again",
		Long: `Check the Pythons that pybuild installed into PREFIX (default: --prefix), or one of them, again: files against the manifest,
modules, linkage, pip, venv, and that no EXTERNALLY-MANAGED marker has appeared, or the one that was asked for is there. Settings
that change what its pip does are named. A PYTHON that pybuild did not install is checked for what it has. Nothing is changed.`,
		Example: `  pybuild verify /usr/local
  pybuild verify /usr/bin/python3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := a.prefix
			if len(args) == 1 {
				target = args[0]
			}
			dir, manifests, stranger, err := pythonsAt(target)
			if err != nil {
				return err
			}
			in, err := a.installer(true)
			if err != nil {
				return err
			}
			where, err := a.examination(nil)
			if err != nil {
				return err
			}
			var bad error
			list := []*install.Verification{}
			tell := func(v *install.Verification, err error) error {
				var changed *install.ChangedError
				if err != nil && !errors.As(err, &changed) {
					return err
				}
				bad = errors.Join(bad, err)
				list = append(list, v)
				if !a.json {
					a.verified(v)
				}
				return nil
			}
			if stranger != "" {
				err = tell(in.VerifyStranger(cmd.Context(), stranger, where))
			}
			for _, m := range manifests {
				if err == nil {
					err = tell(in.Verify(cmd.Context(), m, dir, where))
				}
			}
			if err != nil {
				return err
			}
			if a.json {
				if err := a.document(list); err != nil {
					return err
				}
			}
			return bad
		},
	}
}

func (a *app) verified(v *install.Verification) {
	for _, c := range v.Checks {
		state := "ok"
		if c.Error != "" {
			state = "failed: " + c.Error
		}
		// What a Python that is not ours has is news.
		if a.verbose || c.Error != "" || v.Manifest == "" && !a.quiet {
			fmt.Fprintln(a.Stderr, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", v.Version, c.Name, state, c.Detail)))
		}
	}
	if v.Manifest == "" && !a.quiet {
		var missing []string
		for _, part := range slices.Sorted(maps.Keys(v.Parts)) {
			if v.Parts[part] != "present" {
				missing = append(missing, part)
			}
		}
		fmt.Fprintf(a.Stderr, "%s parts: %d, missing: %s\n", v.Version, len(v.Parts), cmp.Or(strings.Join(missing, ", "), "none"))
		fmt.Fprintf(a.Stderr, "%s marker: %s; pybuild did not install this Python: of what it lacks nothing was promised\n", v.Version, v.Marker)
	}
	for _, f := range v.Overrides {
		a.reporter().Warn(f.What)
	}
	if v.Good {
		fmt.Fprintln(a.Stdout, v.Executable)
	}
}

// pythonsAt finds the manifests that a prefix, or the path of an interpreter in one, stands for; or the stranger, a program without
// a manifest, as an absolute path.
func pythonsAt(target string) (dir string, list []*prefix.Manifest, stranger string, err error) {
	path, err := filepath.Abs(target)
	if err != nil {
		return "", nil, "", err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, "", &UsageError{Message: target + ": there is no such file or directory", Hints: []string{"name a prefix or an interpreter, for example `pybuild verify /usr/local`"}}
	}
	if err != nil {
		return "", nil, "", err
	}
	none := &UsageError{Message: "pybuild has installed nothing at " + target, Hints: []string{"`pybuild list --installed --all --prefix DIR` shows what is in a prefix"}}
	if info.IsDir() {
		if list, err = prefix.Manifests(path); err == nil && len(list) == 0 {
			return "", nil, "", none
		}
		return path, list, "", err
	}
	names := []string{path}
	// An interpreter in a virtual environment is a link to another, and yet one of its own.
	if _, err := os.Stat(filepath.Join(filepath.Dir(filepath.Dir(path)), "pyvenv.cfg")); errors.Is(err, fs.ErrNotExist) {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			names = append(names, real)
		}
	}
	for _, name := range names {
		dir = filepath.Dir(filepath.Dir(name))
		m, err := prefix.ReadManifest(dir, filepath.Base(name))
		if err == nil {
			return dir, []*prefix.Manifest{m}, "", nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", nil, "", err
		}
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", nil, "", none
	}
	return "", nil, path, nil
}
