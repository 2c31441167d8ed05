package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"pybuild/build/prefix"
)

func (a *app) recoverCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "recover",
		Short: "Finish or undo an interrupted change of --prefix",
		Long: `Bring --prefix back to a whole state after a pybuild was killed, or the machine lost power, while it changed the prefix: either as
it was before or as it should be afterwards. Every command that changes a prefix does this first; recover does only that.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := prefix.Clean(a.prefix)
			if err != nil {
				return err
			}
			r, err := prefix.Recover(cmd.Context(), dir)
			if err != nil {
				return err
			}
			switch {
			case a.json:
				a.reporter().Object(map[string]any{"event": "recovered", "prefix": dir, "recovery": r})
			case a.quiet:
			case r == nil:
				fmt.Fprintf(a.Stderr, "%s is whole, nothing to do\n", dir)
			default:
				fmt.Fprintf(a.Stderr, "%s: %v\n", dir, r)
			}
			return nil
		},
	}
}
