package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pybuild/build"
	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
	"pybuild/verify/pep668"
	"pybuild/verify/python"
)

// Verification is what a second look at an installed Python found.
type Verification struct {
	Version    string `json:"version"`
	Prefix     string `json:"prefix"`
	Executable string `json:"executable"`
	// Manifest is the path of the list of its files; empty for a Python that pybuild did not install, of which nothing was promised.
	Manifest string `json:"manifest"`
	// Good says that everything is as it was installed, and works; of a Python that pybuild did not install, that all works that
	// is there.
	Good bool `json:"good"`
	// Differences are files that are missing or were changed; Foreign are paths among the files of the standard library that are
	// not the installation's, a directory standing for all that is in it. Both are relative to the prefix.
	Differences []prefix.Difference `json:"differences"`
	Foreign     []string            `json:"foreign"`
	Checks      []Check             `json:"checks"`
	// Parts are "present" or "missing"; of ours also "dropped".
	Parts     map[string]string `json:"parts"`
	Libraries []python.Library  `json:"libraries"`
	// Marker is one of the states of a pep668.Marker, and Managed says whether one is to be there; of a Python that is not ours,
	// whether its pip refuses because of it. Pip is the version of that one's pip.
	Marker  string `json:"marker"`
	Managed bool   `json:"managed"`
	Pip     string `json:"pip,omitempty"`
	// Overrides are settings of this machine that change what its pip does. They are no failures.
	Overrides []pep668.Finding `json:"overrides"`
}

// Check is the outcome of one check of a Python.
type Check struct {
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ChangedError says that an installed Python is no longer what it was, or, as a stranger that pybuild did not install, does not
// work.
type ChangedError struct {
	Executable string
	Stranger   bool
	Reasons    []string
}

func (e *ChangedError) Error() string {
	what := "is not as it was installed"
	if e.Stranger {
		what = "does not work"
	}
	return fmt.Sprintf("%s %s:\n  %s", e.Executable, what, strings.Join(e.Reasons, "\n  "))
}

// Verify looks again at a Python that pybuild installed: its files against the manifest, its modules, pip, venv and the marker. It
// changes nothing in the prefix. When something is wrong, the error is a *ChangedError and the verification is complete. where is
// the machine and the user whose settings of pip are looked at.
func (in *Installer) Verify(ctx context.Context, m *prefix.Manifest, dir string, where pep668.Request) (v *Verification, err error) {
	v = &Verification{
		Version: m.Version, Prefix: dir, Executable: filepath.Join(dir, m.Executable), Manifest: filepath.Join(dir, "share", "pybuild", m.Name+".json"),
		Parts: m.Parts, Marker: pep668.MarkerAbsent, Managed: managed(m), Foreign: []string{},
	}
	var reasons []string
	if v.Differences, err = m.Compare(dir); err != nil {
		return nil, err
	}
	for _, d := range v.Differences {
		reasons = append(reasons, d.Path+": "+d.What)
	}
	if v.Foreign, err = strangers(m, dir); err != nil {
		return nil, err
	}
	for _, file := range v.Foreign {
		reasons = append(reasons, file+": foreign")
	}
	request, err := in.reinspection(m, dir)
	if err != nil {
		return nil, err
	}
	report, failed, err := in.look(ctx, request, v)
	if err != nil {
		return nil, err
	}
	// A marker comes before what pip makes of it, once, though several schemes may share a directory.
	for _, stdlib := range slices.Compact(slices.Sorted(maps.Values(report.Schemes))) {
		if err := pep668.Absent(stdlib); err != nil {
			v.Marker = pep668.MarkerPresent
			if !v.Managed {
				reasons = append(reasons, "marker: "+err.Error())
			}
		}
	}
	reasons = append(reasons, failed...)
	v.Overrides = pep668.Settings(where, pep668.Python{Prefix: dir, Marker: pep668.Marker{State: v.Marker}})
	return v, v.judge(reasons)
}

// VerifyStranger looks at a Python that pybuild did not install, by the absolute path of its executable: that it starts, which parts
// it has, and that what it has works. It changes nothing. When something is wrong, the error is a *ChangedError and the
// verification is complete.
func (in *Installer) VerifyStranger(ctx context.Context, executable string, where pep668.Request) (v *Verification, err error) {
	v = &Verification{Executable: executable, Differences: []prefix.Difference{}, Foreign: []string{}, Parts: map[string]string{}, Marker: pep668.MarkerUnknown}
	request := python.Request{Executable: executable, Stranger: true}
	for _, p := range in.Catalogue.PartsOf(series(ctx, executable)) {
		if p.Tier == recipes.TierOption {
			continue
		}
		for _, m := range p.Modules {
			request.Modules = append(request.Modules, python.Module{Part: p.Name, Name: m.Name})
		}
	}
	report, reasons, err := in.look(ctx, request, v)
	if err != nil {
		return nil, err
	}
	v.Version, v.Prefix, v.Pip, v.Overrides = report.Version, report.Prefix, report.Pip, []pep668.Finding{}
	for part, lack := range report.Parts {
		v.Parts[part] = "present"
		if lack != nil {
			v.Parts[part] = "missing"
		}
	}
	if report.Stdlib != "" {
		m := pep668.Read(os.DirFS("/"), report.Stdlib, "")
		v.Marker, v.Managed = m.State, report.Refused
		p := pep668.Python{Prefix: report.Prefix, Marker: m}
		if _, err := os.Stat(filepath.Join(report.Prefix, "pyvenv.cfg")); err == nil {
			p.Venv = &pep668.Venv{Dir: report.Prefix} // where pip does not look for the marker
		}
		v.Overrides = pep668.Settings(where, p)
	}
	return v, v.judge(reasons)
}

// series asks an interpreter for its series; what is wrong with one that does not answer is found when it is inspected.
func series(ctx context.Context, executable string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var stdout bytes.Buffer
	argv := []string{executable, "-I", "-B", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"}
	_ = run.Run(ctx, run.Command{Argv: argv, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, Stdout: &stdout})
	return strings.TrimSpace(stdout.String())
}

// look inspects a Python with nothing in the environment to decide for it, and says what failed.
func (in *Installer) look(ctx context.Context, request python.Request, v *Verification) (report *python.Report, reasons []string, err error) {
	if request.Work, err = os.MkdirTemp("", "pybuild-verify-"); err != nil {
		return nil, nil, &DirectoryError{Purpose: "temporary", Dir: os.TempDir(), Err: err}
	}
	defer func() { err = errors.Join(err, removeAll(request.Work)) }()
	env, _ := build.Environment(nil, request.Work)
	request.Exec = executor(env, request.Prefix, request.Work, false, nil)

	report, err = python.Inspect(ctx, request)
	var rejected *python.RejectedError
	if err != nil && !errors.As(err, &rejected) {
		return nil, nil, err
	}
	v.Libraries, v.Checks = report.Libraries, []Check{}
	for _, r := range report.Results {
		c := Check{Name: r.Check, Detail: r.Detail}
		if r.Err != nil {
			c.Error = r.Err.Error()
			reasons = append(reasons, r.Check+": "+c.Error)
		}
		v.Checks = append(v.Checks, c)
	}
	return report, reasons, nil
}

// judge is nil when there is no reason to complain.
func (v *Verification) judge(reasons []string) error {
	if v.Good = len(reasons) == 0; v.Good {
		return nil
	}
	return &ChangedError{Executable: v.Executable, Stranger: v.Manifest == "", Reasons: reasons}
}

// strangers are the paths in the standard library of which the manifest knows nothing, sorted. What Python compiles of files that are
// listed belongs to them, what pip installs to the user, and a marker is looked for by itself.
func strangers(m *prefix.Manifest, dir string) (list []string, err error) {
	ours := map[string]bool{}
	for _, e := range m.Paths {
		ours[e.Path] = true
	}
	for _, a := range m.Aside {
		ours[a.Kept] = true // its place is known
	}
	lib := "lib/" + m.Name
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	list = []string{}
	err = fs.WalkDir(root.FS(), lib, func(name string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && name == lib:
			return nil // which is told as missing
		case err != nil:
			return err
		case name == lib+"/site-packages" || name == lib+"/dist-packages":
			return fs.SkipDir
		case name == lib || ours[name] || name == markerPath(m.Name):
			return nil
		case d.IsDir() && d.Name() == "__pycache__" && holds(ours, filepath.Dir(name)):
			return nil
		case filepath.Base(filepath.Dir(name)) == "__pycache__" && compiled(name, ours):
			return nil
		}
		list = append(list, name)
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	slices.Sort(list)
	return list, err
}

// holds says whether a directory is among ours; a Python need not list one that it shares.
func holds(ours map[string]bool, dir string) bool {
	for name := range ours {
		if strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}

// compiled says whether a file in a __pycache__ was made of one of ours: m.cpython-313.opt-1.pyc of m.py.
func compiled(name string, ours map[string]bool) bool {
	stem, _, _ := strings.Cut(filepath.Base(name), ".")
	return filepath.Ext(name) == ".pyc" && ours[filepath.Join(filepath.Dir(filepath.Dir(name)), stem+".py")]
}

// reinspection is what the Python of a manifest promised when it was installed.
func (in *Installer) reinspection(m *prefix.Manifest, dir string) (python.Request, error) {
	version, threaded := strings.CutSuffix(m.Version, "t")
	r := python.Request{
		Executable: filepath.Join(dir, m.Executable), Version: version, Prefix: dir, ConfiguredPrefix: m.Prefix, FreeThreaded: threaded,
		Debug: m.Profile == "debug", Shared: m.Parts["shared"] == "present", ReadOnly: true, Managed: managed(m),
		Processor: m.Processor, Machine: in.Root,
	}
	parsed, err := recipes.ParseVersion(version)
	if err != nil {
		return r, &prefix.ManifestError{File: m.Name, Reason: "names no version", Err: err}
	}
	for _, p := range in.Catalogue.PartsOf(parsed.Series()) {
		if m.Parts[p.Name] == "present" {
			for _, module := range p.Modules {
				r.Modules = append(r.Modules, python.Module{Part: p.Name, Name: module.Name})
			}
		}
	}
	for _, e := range m.Paths {
		if name, ok := strings.CutPrefix(e.Path, "bin/"); ok {
			r.Programs = append(r.Programs, name)
			if e.Type == "link" {
				r.Unversioned = append(r.Unversioned, name)
			}
		}
	}
	return r, nil
}
