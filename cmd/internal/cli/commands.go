package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/cmd/internal/install"
	"pybuild/fetch"
	"pybuild/recipes"
)

// document writes one JSON document to standard output.
func (a *app) document(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (a *app) listCommand() *cobra.Command {
	var all, installed bool
	cmd := &cobra.Command{
		Use:   "list [SPEC]",
		Short: "List known releases, newest first",
		Long: `List the newest release of every series that this pybuild knows, newest first. SPEC narrows the list to a series (3.13) or to
one release. SIGNED says which signatures CPython publishes for it, PROOF how the digest was proven: signature-verified, agreed (several independent projects record the same),
or single-source.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.recipes()
			if err != nil {
				return err
			}
			find := a.rows
			if installed {
				find = a.installedRows
			}
			rows, err := find(cmd, c, args, all)
			if err != nil {
				return err
			}
			if a.json {
				return a.document(rows)
			}
			t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "VERSION\tSTATUS\tDATE\tSIGNED\tPROOF\tINSTALLED")
			for _, r := range rows {
				mark := ""
				if r.Installed {
					mark = r.Prefix
				}
				proof := ""
				if len(r.Archives) > 0 {
					proof = r.Archives[0].Proof
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Version, r.Status, r.Date, strings.Join(r.Signed, ","), proof, mark)
			}
			return t.Flush()
		},
		ValidArgsFunction: a.completeVersions,
	}
	cmd.Flags().BoolVar(&all, "all", false, "every patch release, and pre-releases")
	cmd.Flags().BoolVar(&installed, "installed", false, "what is installed in --prefix, every release and build of it")
	return cmd
}

// row is one line of the list.
type row struct {
	Version    string            `json:"version"`
	Series     string            `json:"series"`
	Status     string            `json:"status"`
	Date       string            `json:"date"`
	Signed     []string          `json:"signed"`
	Signer     string            `json:"signer"`
	Installed  bool              `json:"installed"`
	Prefix     string            `json:"prefix,omitempty"`
	Executable string            `json:"executable,omitempty"`
	Profile    string            `json:"profile,omitempty"`
	Archives   []install.Archive `json:"archives"`
}

// newRow describes a release.
func newRow(r *recipes.Release) row {
	entry := row{Version: r.Version.String(), Series: r.Series.Name, Status: r.Series.Status, Date: r.Date, Signed: []string{}, Signer: r.Series.ReleaseManager, Archives: []install.Archive{}}
	if r.HasSigstore() {
		entry.Signed, entry.Signer = append(entry.Signed, "sigstore"), r.Signer().Identity
	}
	if r.HasOpenPGP() {
		entry.Signed = append(entry.Signed, "openpgp")
	}
	for _, archive := range r.Archives {
		entry.Archives = append(entry.Archives, install.Archive{Name: archive.Name, SHA256: archive.SHA256, Proof: archive.Proof})
	}
	return entry
}

// installedRows is what the manifests in --prefix say is there; where the prefix depends on the version, those of all releases.
func (a *app) installedRows(_ *cobra.Command, c *recipes.Catalogue, args []string, _ bool) ([]row, error) {
	var dirs []string
	for _, s := range c.Series {
		for _, r := range s.Releases {
			dir, err := a.prefixFor(&recipes.Selection{Release: r})
			if err != nil {
				return nil, err
			}
			if !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	rows := []row{}
	for _, dir := range dirs {
		if pending, err := prefix.Pending(dir); err == nil && pending {
			a.reporter().Warn(fmt.Sprintf("a change of %s was interrupted, or is under way: `pybuild recover --prefix %s` settles it", dir, dir))
		}
		manifests, err := prefix.Manifests(dir)
		if err != nil {
			return nil, err
		}
		for _, m := range slices.Backward(manifests) { // newest first
			entry := row{Version: m.Version, Signed: []string{}, Archives: []install.Archive{}}
			if rel, err := c.Resolve(m.Version); err == nil {
				entry = newRow(rel.Release)
				entry.Version = m.Version // with the "t" of a free-threaded build
			}
			entry.Installed, entry.Prefix, entry.Executable, entry.Profile = true, dir, filepath.Join(dir, m.Executable), m.Profile
			if len(args) == 0 || m.Version == args[0] || entry.Series == args[0] {
				rows = append(rows, entry)
			}
		}
	}
	return rows, nil
}

func (a *app) rows(cmd *cobra.Command, c *recipes.Catalogue, args []string, all bool) ([]row, error) {
	rows := []row{}
	add := func(r *recipes.Release) error {
		rel := &recipes.Selection{Release: r}
		dir, err := a.prefixFor(rel)
		if err != nil {
			return err
		}
		entry := newRow(r)
		if m, err := prefix.ReadManifest(dir, rel.Executable()); err == nil && m.Version == entry.Version {
			entry.Installed, entry.Prefix, entry.Executable, entry.Profile = true, dir, filepath.Join(dir, m.Executable), m.Profile
		}
		rows = append(rows, entry)
		return nil
	}
	if len(args) == 1 {
		rel, err := c.Resolve(args[0])
		if err != nil {
			return nil, a.unknown(cmd, args[0], err)
		}
		if args[0] != rel.Series.Name || !all {
			return rows, errors.Join(add(rel.Release))
		}
		for _, r := range rel.Series.Releases {
			if err := add(r); err != nil {
				return nil, err
			}
		}
		return rows, nil
	}
	for _, s := range c.Series {
		for _, r := range s.Releases {
			if !all && !r.Version.IsFinal() {
				continue
			}
			if err := add(r); err != nil {
				return nil, err
			}
			if !all {
				break
			}
		}
	}
	return rows, nil
}

func (a *app) depsCommand() *cobra.Command {
	var names, installNeeds, yes bool
	var distribution, profile string
	var with, without []string
	cmd := &cobra.Command{
		Use:   "deps [VERSION]",
		Short: "Show what the build needs and what this host lacks",
		Long: `Show every build need of VERSION (default: the newest release), whether this host has it, and the distribution's packages for
it. Headers and libraries are looked for by compiling and linking. With --for, the packages of another distribution are
shown without looking.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"latest"}
			}
			releases, err := a.resolve(cmd, args)
			if err != nil {
				return err
			}
			in, err := a.installer(true)
			if err != nil {
				return err
			}
			f := installFlags{profile: profile, with: with, without: without, installNeeds: installNeeds, yes: yes, launcher: install.LauncherNone, pgo: pgoModes[0]}
			o, err := a.options(cmd, &f, in)
			if err != nil {
				return err
			}
			if err := fits(cmd, in.Catalogue, releases[0], o); err != nil {
				return err
			}
			if distribution != "" {
				if in.Host, err = host.Named(distribution, in.Catalogue); err != nil {
					return err
				}
				names = names || !a.json
			}
			needs := in.Needs(releases[0], o)
			if names && !a.json {
				_, err := fmt.Fprintln(a.Stdout, strings.Join(in.Host.Packages(needs), "\n"))
				return err
			}
			var found *host.Findings
			if distribution == "" {
				if found, err = in.Provide(cmd.Context(), releases[0], o); err != nil {
					return err
				}
			}
			if err := a.showNeeds(in.Host, needs, found, releases[0]); err != nil || found == nil {
				return err
			}
			return in.Host.Require(found.Missing)
		},
		ValidArgsFunction: a.completeVersions,
	}
	cmd.Flags().BoolVar(&names, "print", false, "print only the names of the packages, whether they are installed or not")
	cmd.Flags().StringVar(&distribution, "for", "", "the packages of another distribution, `ID:VERSION_ID` as in debian:13")
	cmd.Flags().BoolVar(&installNeeds, "install", false, "install what is missing with the distribution's package manager")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask before installing")
	cmd.Flags().StringVar(&profile, "profile", a.env("PYBUILD_PROFILE", defaultProfile), "the profile that will be built")
	cmd.Flags().StringSliceVar(&with, "with", nil, "parts that must be there")
	cmd.Flags().StringSliceVar(&without, "without", nil, "parts to leave out on purpose")
	return cmd
}

// need is one line of the table of deps.
type need struct {
	Name     string   `json:"name"`
	Tier     string   `json:"tier"`
	State    string   `json:"state"` // present, missing; absent: the distribution does not have it; unknown: nobody looked
	Reason   string   `json:"reason,omitempty"`
	Packages []string `json:"packages"`
}

// showNeeds writes the table. found is nil where nobody has looked, because the needs are those of another distribution.
func (a *app) showNeeds(h *host.Host, needs host.Needs, found *host.Findings, rel *recipes.Selection) error {
	var list []need
	add := func(name, tier string) {
		n := need{Name: name, Tier: tier, State: "present", Packages: []string{}}
		if h.Platform != nil {
			n.Packages = append(n.Packages, h.Platform.Packages[name]...)
		}
		if found == nil {
			n.State = "unknown"
			if h.Platform != nil && slices.Contains(h.Platform.Absent, name) {
				n.State = "absent"
			}
			list = append(list, n)
			return
		}
		for _, m := range found.Missing {
			if m.Name == name {
				n.State, n.Reason = "missing", m.Reason
			}
		}
		list = append(list, n)
	}
	for _, t := range needs.Tools {
		add(t.Name, recipes.TierRequired)
	}
	for _, p := range needs.Parts {
		if len(p.Probes) > 0 {
			add(p.Name, p.Tier)
		}
	}
	document := map[string]any{"version": rel.String(), "distribution": h.Name, "needs": list, "packages": h.Packages(needs)}
	if h.Platform != nil && len(h.Platform.Says) > 0 {
		document["notes"] = h.Platform.Says
	}
	if found != nil {
		t := found.Toolchain
		document["install"] = h.Install(found.Missing)
		document["toolchain"] = map[string]string{"compiler": t.Compiler, "compiler_version": t.CompilerVersion, "libc": t.Libc, "libc_version": t.LibcVersion}
	}
	if a.json {
		return a.document(document)
	}
	t := tabwriter.NewWriter(a.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NEED\tTIER\tSTATE\tPACKAGES\tREASON")
	for _, n := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Tier, n.State, strings.Join(n.Packages, " "), n.Reason)
	}
	return t.Flush()
}

func (a *app) fetchCommand() *cobra.Command {
	var f sourceFlags
	var output string
	cmd := &cobra.Command{
		Use:   "fetch VERSION...",
		Short: "Download and verify archives into the cache, and print their paths",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			releases, in, err := a.named(cmd, args, &f)
			if err != nil {
				return err
			}
			var o install.Options
			f.apply(&o)
			for _, rel := range releases {
				file, signature, err := in.Fetch(cmd.Context(), rel, o)
				if err != nil {
					return err
				}
				path := file.Path
				if output != "" {
					if path, err = export(cmd.Context(), in, rel, file, output); err != nil {
						return fmt.Errorf("writing to %s: %w", output, err)
					}
				}
				if a.json {
					a.reporter().Object(map[string]any{"event": "fetched", "version": rel.String(), "path": path, "sha256": file.Artifact.SHA256, "source": file.Source, "signature": signature})
					continue
				}
				fmt.Fprintln(a.Stdout, path)
			}
			return nil
		},
		ValidArgsFunction: a.completeVersions,
	}
	a.addSourceFlags(cmd, &f)
	cmd.Flags().StringVar(&output, "output", "", "also copy them to `DIR`, which then serves as --mirror file://DIR")
	return cmd
}

// export writes a verified archive, and the signatures that the cache keeps of it, to the place in dir that they have on a mirror.
func export(ctx context.Context, in *install.Installer, rel *recipes.Selection, file *fetch.File, dir string) (path string, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, file.Artifact.Name) // of a file that only the user vouches for
	for _, a := range rel.Archives {
		if a.SHA256 == file.Artifact.SHA256 {
			path = filepath.Join(dir, filepath.FromSlash(a.Path))
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	signatures, err := in.Signatures(ctx, file)
	if err != nil {
		return "", err
	}
	for suffix, data := range signatures {
		if err := renameio.WriteFile(path+suffix, data, 0o644); err != nil {
			return "", err
		}
	}
	source, err := os.Open(file.Path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, target.Cleanup()) }()
	if _, err := io.Copy(target, source); err != nil {
		return "", err
	}
	return path, target.CloseAtomicallyReplace()
}

func (a *app) uninstallCommand() *cobra.Command {
	var force, purge bool
	cmd := &cobra.Command{
		Use:   "uninstall VERSION",
		Short: "Remove a Python that pybuild installed in --prefix, and nothing else",
		Long: `Remove the files that pybuild put into --prefix for VERSION, a release (3.13.5) or a series (3.13). Files that were changed
since are kept and named, as is everything that pip or anybody else put there; --force removes the former, --purge the latter.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			releases, err := a.resolve(cmd, args)
			if err != nil {
				return err
			}
			rel := releases[0]
			dir, err := a.prefixFor(rel)
			if err != nil {
				return err
			}
			name := rel.Executable()
			if r, err := prefix.Recover(cmd.Context(), dir); err != nil {
				return err
			} else if r != nil {
				a.reporter().Warn(fmt.Sprintf("%s: %v", dir, r))
			}
			m, err := prefix.ReadManifest(dir, name)
			if errors.Is(err, fs.ErrNotExist) {
				return &UsageError{Message: fmt.Sprintf("no %s of pybuild's is installed in %s", name, dir), Hints: []string{"`pybuild list --installed --all` shows what is there; --prefix names another place"}}
			}
			if err != nil {
				return err
			}
			if args[0] != rel.Series.Name && args[0] != rel.Series.Name+"t" && m.Version != rel.String() {
				return &UsageError{Message: fmt.Sprintf("%s in %s is Python %s, not %s", name, dir, m.Version, rel), Hints: []string{"remove it with `pybuild uninstall " + m.Version + "`"}}
			}
			in := &install.Installer{Reporter: a.reporter()}
			kept, err := in.Uninstall(cmd.Context(), m, dir, force, purge)
			if err != nil {
				return err
			}
			for _, k := range kept {
				a.reporter().Warn(fmt.Sprintf("kept %s: %s", filepath.Join(dir, k.Path), k.What))
			}
			if a.json {
				if kept == nil {
					kept = []prefix.Difference{} // a list in JSON, too
				}
				a.reporter().Object(map[string]any{"event": "uninstalled", "version": m.Version, "prefix": dir, "kept": kept})
			} else if !a.quiet {
				fmt.Fprintf(a.Stderr, "Python %s removed from %s\n", m.Version, dir)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also remove files that were changed since they were installed")
	cmd.Flags().BoolVar(&purge, "purge", false, "also remove the packages that pip installed into this Python")
	return cmd
}

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "Show or empty the cache of downloads", Args: cobra.NoArgs}
	cmd.AddCommand(
		&cobra.Command{Use: "dir", Short: "Print the cache directory", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			dir, err := a.cacheDir()
			if err == nil {
				_, err = fmt.Fprintln(a.Stdout, dir)
			}
			return err
		}},
		&cobra.Command{Use: "list", Short: "List the downloaded archives", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			_, entries, err := a.cached()
			if err != nil {
				return err
			}
			if a.json {
				list := []cached{}
				for _, e := range entries {
					list = append(list, cached{e.Artifact.Name, e.Artifact.SHA256, e.Artifact.Size, e.Path, e.Partial})
				}
				return a.document(list)
			}
			for _, e := range entries {
				note := ""
				if e.Partial {
					note = "  (incomplete)"
				}
				fmt.Fprintf(a.Stdout, "%s  %s  %.1f MiB%s\n", e.Artifact.SHA256, e.Artifact.Name, float64(e.Artifact.Size)/(1<<20), note)
			}
			return nil
		}},
		&cobra.Command{Use: "prune", Short: "Remove the downloaded archives, and what builds found out or compiled for later ones", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
			cache, entries, err := a.cached()
			if err != nil {
				return err
			}
			for _, e := range entries {
				if err := cache.Remove(e); err != nil {
					return err
				}
			}
			for _, kept := range append(install.LauncherDirs(), "known") {
				if err := os.RemoveAll(filepath.Join(cache.Dir, kept)); err != nil {
					return err
				}
			}
			fmt.Fprintf(a.Stderr, "%d archives removed\n", len(entries))
			return nil
		}},
	)
	return cmd
}

// cached is one archive of the cache.
type cached struct {
	Name    string `json:"name"`
	SHA256  string `json:"sha256"`
	Size    int64  `json:"size"`
	Path    string `json:"path"`
	Partial bool   `json:"partial"` // a download that goes on or was broken off, verified by nobody
}

func (a *app) cached() (*fetch.Cache, []fetch.Entry, error) {
	dir, err := a.cacheDir()
	if err != nil {
		return nil, nil, err
	}
	cache := &fetch.Cache{Dir: dir, Offline: true}
	entries, err := cache.List()
	return cache, entries, err
}

// unpackCommand is what the program runs as another user.
func (a *app) unpackCommand() *cobra.Command {
	return &cobra.Command{
		Use: install.UnpackCommand + " ARCHIVE DIR", Short: "Unpack an archive, for pybuild itself", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return install.Unpack(cmd.Context(), args[0], args[1], json.NewEncoder(a.Stdout).Encode)
		},
	}
}

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man", Short: "Write the manual page to standard output", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return doc.GenMan(cmd.Root(), &doc.GenManHeader{Title: "PYBUILD", Section: "1", Source: "pybuild " + version()}, a.Stdout)
		},
	}
}
