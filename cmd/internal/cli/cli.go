// Package cli is the command line of pybuild: it turns arguments and variables into the requests of package install, and typed
// errors into messages, advice and an exit status. It is the only package that gives advice and the only one that knows cobra.
package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/ui"
	"pybuild/fetch"
	"pybuild/recipes"
)

// Process is what a program is given by whoever starts it.
type Process struct {
	Args           []string
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer

	// The world as pybuild sees it. The zero values mean the real one; tests make their own.

	// Recipes is laid out like the directory recipes; nil means the embedded ones.
	Recipes fs.FS
	// Root is the machine's file system, read for its configuration.
	Root fs.FS
	// Upstream is the base URL that is laid out like, and stands for, python.org/ftp/python/.
	Upstream string
	// KeyServer is the base URL below which OpenPGP keys lie by fingerprint.
	KeyServer string
}

// Main runs the program and returns its exit status.
func Main(ctx context.Context, p Process) int {
	if p.Root == nil {
		p.Root = os.DirFS("/")
	}
	if p.Upstream == "" {
		p.Upstream = install.Upstream
	}
	if p.KeyServer == "" {
		p.KeyServer = install.KeyServer
	}
	a := &app{Process: p}
	root := a.root()
	root.SetArgs(p.Args)
	root.SetIn(p.Stdin)
	root.SetOut(p.Stdout)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.fail(ctx, err)
}

// app is one call of the program.
type app struct {
	Process
	prefix         string
	json           bool
	quiet, verbose bool
	progress       string
	ui             *ui.UI
	catalogue      *recipes.Catalogue
}

func (a *app) root() *cobra.Command {
	cmd := a.installCommand()
	cmd.Version = version()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.CompletionOptions.HiddenDefaultCmd = false
	cmd.SetVersionTemplate("pybuild {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// What comes after the wrong flag was not looked at, and a program that reads JSON wants its object all the same.
		end := slices.Index(append(slices.Clone(a.Args), "--"), "--")
		a.json = a.json || slices.Contains(a.Args[:end], "--json")
		return usage(cmd, "%v", err)
	})
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.prefix, "prefix", a.env("PYBUILD_PREFIX", "/usr/local"), "where the Python lives; {version} and {series} are replaced [PYBUILD_PREFIX]")
	flags.BoolVar(&a.json, "json", false, "write JSON to standard output")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but warnings and errors")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more")
	flags.StringVar(&a.progress, "progress", "auto", "how to show progress: "+strings.Join(ui.Modes, ", "))
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		if !slices.Contains(ui.Modes, a.progress) {
			return usage(cmd, "--progress is one of %s, not %q", strings.Join(ui.Modes, ", "), a.progress)
		}
		a.reporter()
		return nil
	}
	cmd.AddCommand(a.listCommand(), a.depsCommand(), a.fetchCommand(), a.verifyCommand(), a.reportCommand(), a.doctorCommand(), a.uninstallCommand(), a.recoverCommand(), a.updateCommand(), a.cacheCommand(), a.manCommand(), a.unpackCommand())
	cmd.InitDefaultCompletionCmd()
	strict(cmd)
	return cmd
}

// strict makes usage errors, for cmd and all below it, of a wrong number of arguments, and of a command that lacks the one below
// it, for which cobra would show the help and call that success.
func strict(cmd *cobra.Command) {
	if !cmd.Runnable() {
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "%s takes one of %s", cmd.Name(), strings.Join(names, ", "))
		}
	}
	if accept := cmd.Args; accept != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := accept(cmd, args); err != nil {
				return usage(cmd, "%v", err)
			}
			return nil
		}
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// reporter is the ui of this call, made once the flags are known.
func (a *app) reporter() *ui.UI {
	if a.ui == nil {
		o := ui.Options{Out: a.Stderr, Progress: a.progress, Quiet: a.quiet, Verbose: a.verbose}
		if a.json {
			o.JSON = a.Stdout
		}
		a.ui = ui.New(o)
	}
	return a.ui
}

// version is the module's version as the Go toolchain recorded it, or the revision it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel " + s.Value
		}
	}
	return "devel"
}

// env is the value of a variable of the caller, or otherwise when it is unset or empty.
func (a *app) env(name, otherwise string) string {
	for _, v := range slices.Backward(a.Environ) {
		if value, ok := strings.CutPrefix(v, name+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

// recipes is the catalogue, parsed when the first command needs it, and extended by what earlier updates found.
func (a *app) recipes() (*recipes.Catalogue, error) {
	if a.catalogue != nil {
		return a.catalogue, nil
	}
	c, err := a.base()
	if err != nil {
		return nil, err
	}
	if err := c.Extend(os.DirFS(a.dataDir())); err != nil {
		a.reporter().Warn(fmt.Sprintf("going on without the releases in %s: %v", a.dataDir(), err))
	}
	a.catalogue = c
	return c, nil
}

// installer puts together what every command that does something needs.
func (a *app) installer(offline bool) (*install.Installer, error) {
	catalogue, err := a.recipes()
	if err != nil {
		return nil, err
	}
	h, err := host.Detect(a.Root, catalogue)
	if err != nil {
		return nil, err
	}
	dir, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return &install.Installer{
		Catalogue: catalogue, Host: h, Root: a.Root, Upstream: a.Upstream, KeyServer: a.KeyServer, Cache: &fetch.Cache{Dir: dir, Offline: offline}, Reporter: a.reporter(), Environ: a.Environ,
	}, nil
}

// cacheDir is where downloads, logs and builds go.
func (a *app) cacheDir() (string, error) {
	dir := a.env("PYBUILD_CACHE", "")
	switch {
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/cache/pybuild"
	case a.env("XDG_CACHE_HOME", "") != "":
		dir = filepath.Join(a.env("XDG_CACHE_HOME", ""), "pybuild")
	case a.env("HOME", "") != "":
		dir = filepath.Join(a.env("HOME", ""), ".cache", "pybuild")
	}
	if !filepath.IsAbs(dir) {
		return "", &UsageError{Message: fmt.Sprintf("the cache directory must be an absolute path, not %q", dir), Hints: []string{"set PYBUILD_CACHE to a directory for downloads, builds and logs"}}
	}
	return filepath.Clean(dir), nil
}

// prefixFor is --prefix for a release: clean, with the placeholders replaced.
func (a *app) prefixFor(rel *recipes.Selection) (string, error) {
	return prefix.Clean(strings.NewReplacer("{version}", rel.String(), "{series}", rel.Series.Name).Replace(a.prefix))
}

// resolve turns the arguments of a command into releases.
func (a *app) resolve(cmd *cobra.Command, args []string) ([]*recipes.Selection, error) {
	catalogue, err := a.recipes()
	if err != nil {
		return nil, err
	}
	var list []*recipes.Selection
	for _, arg := range args {
		rel, err := catalogue.Resolve(arg)
		if err != nil {
			return nil, a.unknown(cmd, arg, err)
		}
		list = append(list, rel)
	}
	return list, nil
}

// unknown adds to an unknown version the commands that may have been meant.
func (a *app) unknown(cmd *cobra.Command, arg string, err error) error {
	root := cmd.Root()
	if cmd != root || !strings.ContainsFunc(arg, func(r rune) bool { return r >= 'a' && r <= 'z' }) || strings.ContainsAny(arg, "0123456789") {
		return err
	}
	root.SuggestionsMinimumDistance = 2
	if names := root.SuggestionsFor(arg); len(names) > 0 {
		return &UsageError{Message: fmt.Sprintf("unknown command or version %q", arg), Hints: []string{"did you mean `pybuild " + strings.Join(names, "` or `pybuild ") + "`?"}}
	}
	return &UsageError{Message: fmt.Sprintf("unknown command or version %q", arg), Hints: []string{"`pybuild --help` lists the commands, `pybuild list` the versions"}}
}
