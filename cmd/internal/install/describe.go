package install

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pybuild/build/host"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
)

// Description is the whole plan of an installation, for somebody who wants to see it before it happens.
type Description struct {
	Event       string         `json:"event"`
	Version     string         `json:"version"`
	Prefix      string         `json:"prefix"`
	Profile     string         `json:"profile"`
	Already     bool           `json:"already"`
	Archives    []Archive      `json:"archives"`
	Signer      string         `json:"signer"`
	Sources     []string       `json:"sources"`
	Missing     []host.Missing `json:"missing"`
	Install     []string       `json:"install,omitempty"`
	Notes       []string       `json:"notes"`
	Launcher    string         `json:"launcher,omitempty"` // stands before the compiler in make
	Environment []string       `json:"environment"`
	Dropped     []string       `json:"dropped"`
	Commands    [][]string     `json:"commands"`
	Marker      string         `json:"marker"`
	Conflicts   []string       `json:"conflicts"`
}

// Archive is one of the files that will do.
type Archive struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Proof  string `json:"proof"`
}

// Describe says what Install would do. It changes nothing; needs are looked for in a temporary directory.
func (in *Installer) Describe(ctx context.Context, rel *recipes.Selection, o Options) (*Description, error) {
	look := o
	look.InstallNeeds = nil
	found, err := in.Provide(ctx, rel, look)
	if err != nil {
		return nil, err
	}
	quirks, err := in.quirks(rel, o, found.Toolchain)
	if err != nil {
		return nil, err
	}
	if err := guided(o, quirks); err != nil {
		return nil, err
	}
	b, err := in.builder(ctx, o)
	if _, unconfined := errors.AsType[*UnconfinedError](err); err != nil && !unconfined {
		return nil, err
	}
	launcher, _, err := in.launcher(o, b)
	if err != nil {
		return nil, err
	}
	plan := in.plan(rel, o, &site{found: found, quirks: quirks, launcher: launcher})
	there := in.same(rel, o)
	if err := in.runsHere(there); err != nil {
		return nil, err
	}
	d := &Description{
		Event: "plan", Version: rel.String(), Prefix: o.Prefix, Profile: o.Profile.Name, Already: there != nil,
		Signer: rel.Series.ReleaseManager, Environment: flags(plan.Env), Dropped: append([]string{}, plan.Dropped...), Conflicts: []string{},
		Notes: append([]string{}, found.Notes...), Marker: marker(o), Launcher: plan.Launcher(),
	}
	for _, q := range quirks {
		d.Notes = append(d.Notes, q.Says)
	}
	if launcher != nil && d.Launcher == "" {
		d.Notes = append(d.Notes, launcher.Name+notGuided)
	}
	if err := prefix.Allowed(o.Prefix); err != nil {
		return nil, err
	}
	if err := in.protect(ctx, rel, o); err != nil {
		return nil, err
	}
	sources, err := in.sources(rel, o)
	if err != nil {
		return nil, err
	}
	for _, s := range sources {
		d.Sources = append(d.Sources, s.URL)
	}
	for _, a := range rel.Archives {
		d.Archives = append(d.Archives, Archive{Name: a.Name, SHA256: a.SHA256, Proof: a.Proof})
	}
	d.Missing, d.Install = append([]host.Missing{}, found.Missing...), in.Host.Install(found.Missing)
	for _, s := range plan.Steps {
		d.Commands = append(d.Commands, s.Commands...)
	}
	var conflict *prefix.ConflictError
	if err := prefix.Conflicts(o.Prefix, claim(rel, o), taking(rel, o)); errors.As(err, &conflict) {
		d.Conflicts = conflict.Paths
	} else if err != nil {
		return nil, err
	}
	return d, nil
}

// Write renders the description for people.
func (d *Description) Write(w io.Writer) error {
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "Python %s into %s, profile %s\n", d.Version, d.Prefix, d.Profile)
	if d.Already {
		fmt.Fprintln(b, "It is there already: nothing would be done.")
	}
	fmt.Fprintln(b, "\nArchives, any of which will do:")
	for _, a := range d.Archives {
		fmt.Fprintf(b, "  %s  sha256 %s  (%s)\n", a.Name, a.SHA256, a.Proof)
	}
	fmt.Fprintf(b, "Release manager: %s\n", d.Signer)
	fmt.Fprintln(b, "\nSources, after the cache, in this order:")
	for _, s := range d.Sources {
		fmt.Fprintf(b, "  %s\n", s)
	}
	fmt.Fprintln(b, "\nBuild needs:")
	if len(d.Missing) == 0 {
		fmt.Fprintln(b, "  all there")
	}
	for _, m := range d.Missing {
		kind := "wanted"
		if m.Required {
			kind = "required"
		}
		fmt.Fprintf(b, "  %s is missing (%s): %s\n", m.Name, kind, m.Reason)
	}
	if d.Install != nil {
		fmt.Fprintf(b, "  to install them: %s\n", run.Quote(Privileged(d.Install)))
	}
	for _, note := range d.Notes {
		fmt.Fprintf(b, "  %s\n", note)
	}
	fmt.Fprintln(b, "\nEnvironment of the build:")
	for _, v := range d.Environment {
		fmt.Fprintf(b, "  %s\n", v)
	}
	if len(d.Dropped) > 0 {
		fmt.Fprintf(b, "  not passed on: %s\n", strings.Join(d.Dropped, ", "))
	}
	if d.Launcher != "" {
		fmt.Fprintf(b, "\nBefore the compiler, in make alone: %s\n", d.Launcher)
	}
	fmt.Fprintln(b, "\nCommands, in the source tree:")
	for _, c := range d.Commands {
		fmt.Fprintf(b, "  %s\n", run.Quote(c))
	}
	fmt.Fprintf(b, "\nMarker of PEP 668: %s\n", d.Marker)
	fmt.Fprintln(b, "\nConflicts in the prefix:")
	if len(d.Conflicts) == 0 {
		fmt.Fprintln(b, "  none")
	}
	for _, c := range d.Conflicts {
		fmt.Fprintf(b, "  %s\n", c)
	}
	return b.Flush()
}
