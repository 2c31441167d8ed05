package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"pybuild/cmd/internal/install"
	"pybuild/recipes"
)

// dataDir is where releases are kept that were learnt after this pybuild was made.
func (a *app) dataDir() string {
	switch {
	case a.env("PYBUILD_DATA", "") != "":
		return a.env("PYBUILD_DATA", "")
	case os.Geteuid() == 0:
		return "/var/lib/pybuild"
	case a.env("XDG_DATA_HOME", "") != "":
		return filepath.Join(a.env("XDG_DATA_HOME", ""), "pybuild")
	}
	return filepath.Join(a.env("HOME", "/"), ".local", "share", "pybuild")
}

// base is the catalogue that this pybuild came with.
func (a *app) base() (*recipes.Catalogue, error) {
	if a.Recipes != nil {
		return recipes.Load(a.Recipes)
	}
	return recipes.Embedded()
}

func (a *app) updateCommand() *cobra.Command {
	var trustedRoot string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Refresh the list of releases from python.org, verified",
		Long: `Ask python.org which releases there are, and add those that this pybuild does not know. A release is added only if its
Sigstore bundle proves its digests to be signed by the release manager of its series; what is known already never changes.
The additions are kept in $PYBUILD_DATA, else /var/lib/pybuild for root, else $XDG_DATA_HOME/pybuild or
~/.local/share/pybuild.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			in, err := a.installer(false)
			if err != nil {
				return err
			}
			base, err := a.base()
			if err != nil {
				return err
			}
			u, err := in.Update(cmd.Context(), base, a.dataDir(), install.Options{TrustedRoot: trustedRoot})
			if err != nil {
				return err
			}
			added := []string{}
			for _, r := range u.Added {
				added = append(added, r.Version.String())
				if !a.json {
					fmt.Fprintln(a.Stdout, r.Version)
				}
			}
			var wrong error
			for _, s := range u.Skipped {
				a.reporter().Warn(fmt.Sprintf("Python %s is not added: %s", s.Version, s.Reason))
				if s.Wrong {
					wrong = &install.SignatureError{Archive: "Python " + s.Version, Wrong: true, Err: fmt.Errorf("%s", s.Reason)}
				}
			}
			if a.json {
				a.reporter().Object(map[string]any{"event": "updated", "added": added, "skipped": append([]install.Skipped{}, u.Skipped...)})
			} else if len(added) == 0 && !a.quiet {
				fmt.Fprintln(a.Stderr, "no new release")
			}
			return wrong
		},
	}
	cmd.Flags().StringVar(&trustedRoot, "trusted-root", "", "trust the Sigstore instance in this `FILE` instead of the public one")
	return cmd
}
