package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pybuild/build/prefix"
	"pybuild/cmd/internal/install"
)

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [PREFIX or PYTHON]",
		Short: "Check an installed Python again",
		Long: `Check the Pythons that pybuild installed into PREFIX (default: --prefix), or one of them, again: files against the manifest,
modules, pip, venv, and that no EXTERNALLY-MANAGED marker has appeared. Nothing is changed.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target := a.prefix
			if len(args) == 1 {
				target = args[0]
			}
			dir, manifests, err := manifestsAt(target)
			if err != nil {
				return err
			}
			in, err := a.installer(true)
			if err != nil {
				return err
			}
			var bad error
			list := []*install.Verification{}
			for _, m := range manifests {
				v, err := in.Verify(cmd.Context(), m, dir)
				var changed *install.ChangedError
				if err != nil && !errors.As(err, &changed) {
					return err
				}
				bad = errors.Join(bad, err)
				list = append(list, v)
				if !a.json {
					a.verified(v)
				}
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
		if a.verbose || c.Error != "" {
			fmt.Fprintf(a.Stderr, "%s %s: %s %s\n", v.Version, c.Name, state, c.Detail)
		}
	}
	if v.Good {
		fmt.Fprintln(a.Stdout, v.Executable)
	}
}

// manifestsAt finds the manifests that a prefix, or the path of an interpreter in one, stands for.
func manifestsAt(target string) (dir string, list []*prefix.Manifest, err error) {
	path, err := filepath.Abs(target)
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, &UsageError{Message: target + ": there is no such file or directory", Hints: []string{"name a prefix or an interpreter, for example `pybuild verify /usr/local`"}}
	}
	if err != nil {
		return "", nil, err
	}
	none := &UsageError{Message: "pybuild has installed nothing at " + target, Hints: []string{"`pybuild list --installed --all --prefix DIR` shows what is in a prefix"}}
	if !info.IsDir() {
		dir = filepath.Dir(filepath.Dir(path))
		m, err := prefix.ReadManifest(dir, filepath.Base(path))
		if errors.Is(err, fs.ErrNotExist) {
			return "", nil, none
		}
		return dir, []*prefix.Manifest{m}, err
	}
	if list, err = prefix.Manifests(path); err == nil && len(list) == 0 {
		return "", nil, none
	}
	return path, list, err
}
