package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/ui"
	"pybuild/recipes"
	"pybuild/verify/pep668"
)

// sourceFlags say where archives come from; install and fetch share them.
type sourceFlags struct {
	source, sha256 string
	mirrors        []string
	offline        bool

	signature, trustedRoot, keyring string
}

func (a *app) addSourceFlags(cmd *cobra.Command, f *sourceFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.source, "source", "", "use this `FILE-or-URL` instead of every other source")
	flags.StringVar(&f.sha256, "sha256", "", "digest of --source in `HEX`, for a file that the catalogue does not know")
	flags.StringArrayVar(&f.mirrors, "mirror", strings.Fields(a.env("PYBUILD_MIRROR", "")), "ask this `URL` first, laid out like python.org/ftp/python/; repeatable [PYBUILD_MIRROR]")
	flags.BoolVar(&f.offline, "offline", a.env("PYBUILD_OFFLINE", "") == "1", "use no network: only the cache, --source and file:// mirrors [PYBUILD_OFFLINE=1]")
	flags.StringVar(&f.signature, "signature", install.SignatureAuto, "auto: verify it when the release has one; require: stop without one; off")
	flags.StringVar(&f.trustedRoot, "trusted-root", "", "trust the Sigstore instance in this `FILE` instead of the public one")
	flags.StringVar(&f.keyring, "keyring", "", "take OpenPGP keys from this `FILE`")
	_ = cmd.RegisterFlagCompletionFunc("signature", cobra.FixedCompletions(install.SignaturePolicies, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that does not exist
}

// check finds what can be wrong with the flags before anything is done, and makes a file name absolute.
func (f *sourceFlags) check(cmd *cobra.Command, versions int) error {
	if f.sha256 != "" && (len(f.sha256) != 64 || strings.Trim(strings.ToLower(f.sha256), "0123456789abcdef") != "") {
		return usage(cmd, "--sha256 is 64 hexadecimal digits, not %q", f.sha256)
	}
	f.sha256 = strings.ToLower(f.sha256)
	for _, m := range f.mirrors {
		if scheme, _, ok := strings.Cut(m, "://"); !ok || scheme != "http" && scheme != "https" && scheme != "file" {
			return usage(cmd, "--mirror is a URL that begins with https://, http:// or file://, not %q", m)
		}
	}
	if !slices.Contains(install.SignaturePolicies, f.signature) {
		return usage(cmd, "--signature is one of %s, not %q", strings.Join(install.SignaturePolicies, ", "), f.signature)
	}
	for _, file := range [][2]string{{"--trusted-root", f.trustedRoot}, {"--keyring", f.keyring}} {
		if info, err := os.Stat(file[1]); file[1] != "" && (err != nil || !info.Mode().IsRegular()) {
			return usage(cmd, "%s %s: there is no such file", file[0], file[1])
		}
	}
	switch {
	case f.source == "" && f.sha256 != "":
		return usage(cmd, "--sha256 is the digest of a --source")
	case f.source == "":
		return nil
	case versions > 1:
		return usage(cmd, "--source is one archive, and %d versions are named", versions)
	case strings.HasPrefix(f.source, "http://"), strings.HasPrefix(f.source, "https://"):
		return nil
	}
	name := strings.TrimPrefix(f.source, "file://")
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return usage(cmd, "--source %s: there is no such file", f.source)
	}
	if err != nil {
		return fmt.Errorf("reading --source: %w", err)
	}
	if !info.Mode().IsRegular() {
		return usage(cmd, "--source %s is not a file", f.source)
	}
	f.source, err = filepath.Abs(name)
	return err
}

func (f *sourceFlags) apply(o *install.Options) {
	o.Source, o.SHA256, o.Mirrors = f.source, f.sha256, f.mirrors
	o.Signature, o.TrustedRoot, o.Keyring = f.signature, f.trustedRoot, f.keyring
}

// named turns arguments and source flags into the releases that are asked for and the installer that can get them.
func (a *app) named(cmd *cobra.Command, args []string, f *sourceFlags) ([]*recipes.Selection, *install.Installer, error) {
	releases, err := a.resolve(cmd, args)
	if err != nil {
		return nil, nil, err
	}
	if err := f.check(cmd, len(releases)); err != nil {
		return nil, nil, err
	}
	in, err := a.installer(f.offline)
	return releases, in, err
}

// installFlags are the flags of the main command.
type installFlags struct {
	sourceFlags
	profile                string
	with, without, link    []string
	installNeeds, yes      bool
	jobs                   int
	force, keep, test, dry bool
	unconfined             bool
	launcher, pgo          string
	noConfigCache          bool
	timeout                time.Duration
	patches, configureArgs []string
	buildDir, report       string
	managed                string // a file, or defaultText
}

// pgoModes are the values of --pgo, the default first.
var pgoModes = []string{"auto", "require"}

// defaultProfile is for those who wait once and use the interpreter for years.
const defaultProfile = "release"

// defaultText is the value of --mark-managed without one. A file of this name is ./default.
const defaultText = "default"

func (a *app) installCommand() *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "pybuild VERSION... [flags] [-- CONFIGURE-ARG...]",
		Short: "Build CPython from source and install it safely",
		Long: `Pybuild builds CPython from source, proves that the result works, and only then installs it.

VERSION is a release (3.13.5), a series (3.13: its newest release), "latest", a pre-release (3.15.0rc2), or a constraint in
quotes (">=3.11,<3.13"). A "t" at the end (3.13t) asks for the free-threaded build.

Several versions are built at the same time. One that fails does not stop the others; the exit status is that of the first one
named that failed. Started by a make, in a line that begins with +, pybuild shares its jobserver, unless --jobs is given.

The last line on standard output is the path of the installed interpreter. The distribution's python3 is never touched.`,
		Example: `  pybuild 3.13.5 --prefix /usr/local
  pybuild 3.11 3.13 --prefix /opt/python/{series} --install-deps --yes`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				f.configureArgs = append(f.configureArgs, args[n:]...)
				args = args[:n]
			}
			return a.install(cmd, args, &f)
		},
		ValidArgsFunction: a.completeVersions,
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.profile, "profile", a.env("PYBUILD_PROFILE", defaultProfile), "how the interpreter is compiled: release, quick, native, debug [PYBUILD_PROFILE]")
	flags.StringSliceVar(&f.with, "with", nil, "parts that must be there: tkinter, gdbm, ndbm, tests, shared, static, debug-info, ...")
	flags.StringSliceVar(&f.without, "without", nil, "parts to leave out on purpose")
	flags.BoolVar(&f.installNeeds, "install-deps", false, "install missing build dependencies with the distribution's package manager")
	flags.BoolVarP(&f.yes, "yes", "y", false, "do not ask before installing build dependencies")
	a.addSourceFlags(cmd, &f.sourceFlags)
	flags.IntVarP(&f.jobs, "jobs", "j", 0, "how many compilers may run at once, all versions together (default: as many as the machine can take)")
	flags.BoolVar(&f.force, "force", false, "build again even if it is there, and keep files that are in the way aside")
	flags.StringSliceVar(&f.link, "link", nil, "also make these unversioned `NAMES`: python3, python, pip3, pip, ...; refused where they would shadow the distribution's")
	flags.StringVar(&f.managed, "mark-managed", "", "give it a marker because of which its pip refuses, with the text in `TEXT-FILE`, else one of pybuild's")
	flags.Lookup("mark-managed").NoOptDefVal = defaultText
	flags.StringArrayVar(&f.patches, "patch", nil, "apply this `FILE` to the source; repeatable")
	flags.StringArrayVar(&f.configureArgs, "configure-arg", nil, "one more `ARG` for configure; repeatable")
	flags.StringVar(&f.buildDir, "build-dir", "", "make the build directory in `DIR` (default: in the cache)")
	flags.BoolVar(&f.keep, "keep-build", false, "keep the build directory")
	flags.BoolVar(&f.unconfined, "unconfined", a.env("PYBUILD_UNCONFINED", "") == "1", "as root: build without an unprivileged user and namespaces, where they cannot be had [PYBUILD_UNCONFINED=1]")
	flags.StringVar(&f.launcher, "launcher", a.env("PYBUILD_LAUNCHER", install.LauncherNone), "what make calls the compiler through: "+strings.Join(install.Launchers(), ", ")+"; not what is guided by a profile [PYBUILD_LAUNCHER]")
	flags.StringVar(&f.pgo, "pgo", pgoModes[0], "what a profile-guided compilation needs of its training: auto (what fails is left out, and said), require (all of it)")
	flags.DurationVar(&f.timeout, "timeout", 6*time.Hour, "how long one command of the build may take; 0 is for ever")
	flags.BoolVar(&f.noConfigCache, "no-config-cache", false, "let configure find out everything by itself, instead of telling it what is known: from an earlier build, or of the C library")
	flags.BoolVar(&f.test, "test", false, "also run CPython's own tests before installing")
	flags.StringVar(&f.report, "report", "", "also write what happened, and how long it took, to `FILE`: .html, .json, .xml (JUnit) or .md")
	flags.BoolVar(&f.dry, "dry-run", false, "show what would be done, and do nothing")
	_ = cmd.MarkFlagFilename("report", reportExtensions...) // fails only for a flag that does not exist
	for _, name := range []string{"profile", "with", "without"} {
		_ = cmd.RegisterFlagCompletionFunc(name, a.completeNames(name)) // fails only for a flag that does not exist
	}
	for name, values := range map[string][]string{"launcher": install.Launchers(), "pgo": pgoModes} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("link", cobra.FixedCompletions(slices.Sorted(maps.Keys(install.Linkable)), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (a *app) install(cmd *cobra.Command, args []string, f *installFlags) (err error) {
	if len(args) == 0 {
		return &UsageError{Message: "no version named", Hints: []string{"for example `pybuild 3.13`; `pybuild list` shows the versions, `pybuild --help` the rest"}}
	}
	releases, in, err := a.named(cmd, args, &f.sourceFlags)
	if err != nil {
		return err
	}
	o, err := a.options(cmd, f, in)
	if err != nil {
		return err
	}
	prefixes := make([]string, len(releases))
	taken := map[string]string{}
	for i, rel := range releases {
		if prefixes[i], err = a.prefixFor(rel); err != nil {
			return err
		}
		if err := fits(cmd, in.Catalogue, rel, o); err != nil {
			return err
		}
		place := filepath.Join(prefixes[i], rel.Executable())
		if other := taken[place]; other == rel.String() {
			return usage(cmd, "%s is named twice", other)
		} else if other != "" {
			return usage(cmd, "%s and %s cannot both be %s in %s", other, rel, rel.Executable(), prefixes[i])
		}
		taken[place] = rel.String()
	}
	if f.report != "" {
		if f.dry {
			return usage(cmd, "--report is of an installation, and --dry-run does none")
		}
		if f.report, err = checkReport(cmd, "--report", f.report); err != nil {
			return err
		}
		t := newTimeline(in, releases, f.profile)
		in.Reporter = t
		defer func() { err = a.reported(t, f.report, err) }()
	}
	if !f.dry {
		done := a.share(in, &o, len(releases))
		defer func() { err = errors.Join(err, done()) }()
	}
	var orders []install.Order
	for i, rel := range releases {
		o.Prefix, o.Exact = prefixes[i], args[i] == rel.String()
		if f.dry {
			if err := a.dryRun(cmd.Context(), in, rel, o); err != nil {
				return err
			}
			continue
		}
		orders = append(orders, install.Order{Release: rel, Options: o})
	}
	switch len(orders) {
	case 0:
		return nil
	case 1:
		result, err := in.Install(cmd.Context(), orders[0].Release, orders[0].Options)
		if t, ok := in.Reporter.(*timeline); ok {
			t.end(cmd.Context(), orders[0].Release, result, err)
		}
		if err != nil {
			return err
		}
		a.tell(result)
		if !a.json {
			fmt.Fprintln(a.Stdout, result.Executable)
		}
		return nil
	default:
		return a.several(cmd.Context(), in, orders)
	}
}

// options checks the flags that hold for every version.
func (a *app) options(cmd *cobra.Command, f *installFlags, in *install.Installer) (install.Options, error) {
	o := install.Options{With: f.with, Without: f.without, Link: f.link, Jobs: f.jobs, Force: f.force, ConfigureArgs: f.configureArgs, KeepBuild: f.keep, Test: f.test, Unconfined: f.unconfined, NoConfigCache: f.noConfigCache, Timeout: f.timeout}
	f.apply(&o)
	profile, err := in.Catalogue.Profile(f.profile)
	if err != nil {
		return o, usage(cmd, "%v", err)
	}
	o.Profile = profile
	if !slices.Contains(install.Launchers(), f.launcher) {
		return o, usage(cmd, "--launcher is one of %s, not %q", strings.Join(install.Launchers(), ", "), f.launcher)
	}
	o.Launcher, o.Strict = f.launcher, f.pgo == "require"
	if !slices.Contains(pgoModes, f.pgo) {
		return o, usage(cmd, "--pgo is one of %s, not %q", strings.Join(pgoModes, ", "), f.pgo)
	}
	if cmd.Flags().Changed("pgo") && !profile.Guided() {
		return o, usage(cmd, "--pgo is about a compilation that is guided by a profile, and that of --profile %s is not", profile.Name)
	}
	if f.timeout < 0 {
		return o, usage(cmd, "--timeout is not negative, as %s is", f.timeout)
	}
	if cmd.Flags().Changed("jobs") && f.jobs < 1 {
		return o, usage(cmd, "--jobs is at least 1, not %d", f.jobs)
	}
	for _, name := range f.with {
		if slices.Contains(f.without, name) {
			return o, usage(cmd, "%s is asked for with --with and left out with --without", name)
		}
	}
	for _, name := range f.link {
		if _, ok := install.Linkable[name]; !ok {
			return o, usage(cmd, "--link takes %s, not %q", strings.Join(slices.Sorted(maps.Keys(install.Linkable)), ", "), name)
		}
	}
	for _, name := range f.patches {
		path, err := filepath.Abs(name)
		if err != nil {
			return o, err
		}
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return o, usage(cmd, "--patch %s: there is no such file", name)
		}
		o.Patches = append(o.Patches, path)
	}
	if cmd.Flags().Changed("mark-managed") {
		o.Managed = true
		if o.ManagedText, err = markerText(cmd, f.managed); err != nil {
			return o, err
		}
	}
	if f.buildDir != "" {
		if o.BuildDir, err = filepath.Abs(f.buildDir); err != nil {
			return o, err
		}
	}
	if f.yes && !f.installNeeds {
		return o, usage(cmd, "--yes answers the question of --install-deps")
	}
	if f.installNeeds {
		if !f.yes && !ui.IsTerminal(a.Stdin) {
			return o, usage(cmd, "--install-deps asks before it installs, and standard input is not a terminal: add --yes")
		}
		o.InstallNeeds = func(command []string) bool { return a.confirm(command, f.yes) }
	}
	return o, nil
}

// markerText reads what a marker is to say; "" is for words of pybuild's.
func markerText(cmd *cobra.Command, name string) (text string, err error) {
	if name == defaultText {
		return "", nil
	}
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return "", usage(cmd, "--mark-managed=%s: there is no such file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("reading the text of --mark-managed: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data, err := io.ReadAll(io.LimitReader(f, pep668.TextLimit+1))
	if err != nil {
		return "", fmt.Errorf("reading the text of --mark-managed: %w", err)
	}
	if _, err := pep668.Format(string(data)); err != nil {
		return "", usage(cmd, "--mark-managed=%s: %v", name, err)
	}
	return string(data), nil
}

// fits checks the names of parts against the release.
func fits(cmd *cobra.Command, c *recipes.Catalogue, rel *recipes.Selection, o install.Options) error {
	parts := c.PartsOf(rel.Series.Name)
	var known []string
	for _, p := range parts {
		if p.Tier != recipes.TierCore {
			known = append(known, p.Name)
		}
	}
	for _, name := range slices.Concat(o.With, o.Without) {
		switch i := slices.IndexFunc(parts, func(p *recipes.Part) bool { return p.Name == name }); {
		case i < 0:
			return usage(cmd, "Python %s has no part %q; it has %s", rel, name, strings.Join(known, ", "))
		case parts[i].Tier == recipes.TierCore:
			return usage(cmd, "%s is in every Python: it is neither asked for nor left out", name)
		}
	}
	return nil
}

// confirm shows the command that would install what is missing and asks, unless the answer is given already.
func (a *app) confirm(command []string, yes bool) bool {
	if yes {
		return true
	}
	defer a.reporter().Alone()()
	fmt.Fprintf(a.Stderr, "pybuild: build needs are missing. Run %s? [y/N] ", run.Quote(install.Privileged(command)))
	line, _ := bufio.NewReader(a.Stdin).ReadString('\n')
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes"
}

// tell says that a Python is installed: an object with JSON, else lines for people.
func (a *app) tell(r *install.Result) {
	if a.json {
		a.reporter().Object(struct {
			Event string `json:"event"`
			*install.Result
		}{"installed", r})
		return
	}
	if a.quiet {
		return
	}
	if r.Already {
		a.reporter().Print(fmt.Sprintf("Python %s is there already, nothing to do\n", r.Version))
		return
	}
	marker := "no EXTERNALLY-MANAGED marker: pip installs into it freely"
	if r.Marker != pep668.MarkerAbsent {
		marker = "marked EXTERNALLY-MANAGED: pip refuses to install into it, except into virtual environments"
	}
	a.reporter().Print(fmt.Sprintf("Python %s installed into %s in %.0f s; %s; %s\n", r.Version, r.Prefix, r.Seconds, signed(r.Signature), marker) + a.onPath(r))
}

// signed says who signed the archive.
func signed(s prefix.Signature) string {
	if s.Identity == "" {
		return "signature not checked"
	}
	return "signed by " + s.Identity + " (" + s.Kind + ")"
}

// onPath says what the interpreter's name now means to the shell that started pybuild, when that is not the new one.
func (a *app) onPath(r *install.Result) (text string) {
	name := filepath.Base(r.Executable)
	found, _ := run.LookPath(name, a.Environ)
	switch {
	case found == "":
		text = fmt.Sprintf("%s is not in PATH: add %s to it, or use the whole path\n", name, filepath.Dir(r.Executable))
	case filepath.Clean(found) != r.Executable:
		text = fmt.Sprintf("in PATH, %s is %s: use the whole path\n", name, found)
	default:
		text = fmt.Sprintf("in PATH, %s is this one\n", name)
	}
	if secure := install.SecurePath(a.Root); secure != nil && !slices.Contains(secure, filepath.Dir(r.Executable)) {
		text += fmt.Sprintf("sudo does not find it: its secure_path lacks %s\n", filepath.Dir(r.Executable))
	}
	return text
}

func (a *app) dryRun(ctx context.Context, in *install.Installer, rel *recipes.Selection, o install.Options) error {
	d, err := in.Describe(ctx, rel, o)
	if err != nil {
		return err
	}
	if a.json {
		a.reporter().Object(d)
		return nil
	}
	return d.Write(a.Stdout)
}

// completeVersions offers the releases that the catalogue knows.
func (a *app) completeVersions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	c, err := a.recipes()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, s := range c.Series {
		names = append(names, s.Name)
		for _, r := range s.Releases {
			names = append(names, r.Version.String())
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeNames offers profiles or parts.
func (a *app) completeNames(flag string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		c, err := a.recipes()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []string
		if flag == "profile" {
			for _, p := range c.Profiles {
				names = append(names, p.Name+"\t"+p.Summary)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		}
		for _, p := range c.Parts {
			if p.Tier != recipes.TierCore {
				names = append(names, p.Name+"\t"+p.Summary)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
