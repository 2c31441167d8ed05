package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pybuild/build"
	"pybuild/build/prefix"
	"pybuild/recipes"
	"pybuild/verify/pep668"
	"pybuild/verify/python"
)

// Verification is what a second look at an installed Python found.
type Verification struct {
	Version    string `json:"version"`
	Prefix     string `json:"prefix"`
	Executable string `json:"executable"`
	// Good says that everything is as it was installed, and works.
	Good bool `json:"good"`
	// Differences are files that are missing or were changed.
	Differences []prefix.Difference `json:"differences"`
	Checks      []Check             `json:"checks"`
	Libraries   []python.Library    `json:"libraries"`
	Marker      string              `json:"marker"`
}

// Check is the outcome of one check of a Python.
type Check struct {
	Name   string `json:"name"`
	Detail string `json:"detail,omitempty"`
	Error  string `json:"error,omitempty"`
}

// ChangedError says that an installed Python is no longer what it was.
type ChangedError struct {
	Executable string
	Reasons    []string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s is not as it was installed:\n  %s", e.Executable, strings.Join(e.Reasons, "\n  "))
}

// Verify looks again at a Python that pybuild installed: its files against the manifest, its modules, pip, venv and the marker. It
// changes nothing in the prefix. When something is wrong, the error is a *ChangedError and the verification is complete.
func (in *Installer) Verify(ctx context.Context, m *prefix.Manifest, dir string) (v *Verification, err error) {
	v = &Verification{Version: m.Version, Prefix: dir, Executable: filepath.Join(dir, m.Executable), Marker: "absent", Checks: []Check{}}
	var reasons []string
	if v.Differences, err = m.Compare(dir); err != nil {
		return nil, err
	}
	for _, d := range v.Differences {
		reasons = append(reasons, d.Path+": "+d.What)
	}
	request, err := in.reinspection(m, dir)
	if err != nil {
		return nil, err
	}
	if request.Work, err = os.MkdirTemp("", "pybuild-verify-"); err != nil {
		return nil, &DirectoryError{Purpose: "temporary", Dir: os.TempDir(), Err: err}
	}
	defer func() { err = errors.Join(err, removeAll(request.Work)) }()
	env, _ := build.Environment(nil, request.Work)
	request.Exec = executor(env, dir, request.Work, false, nil)

	report, err := python.Inspect(ctx, request)
	var rejected *python.RejectedError
	if err != nil && !errors.As(err, &rejected) {
		return nil, err
	}
	v.Libraries = report.Libraries
	for _, r := range report.Results {
		c := Check{Name: r.Check, Detail: r.Detail}
		if r.Err != nil {
			c.Error = r.Err.Error()
			reasons = append(reasons, r.Check+": "+c.Error)
		}
		v.Checks = append(v.Checks, c)
	}
	for _, stdlib := range report.Schemes {
		if err := pep668.Absent(stdlib); err != nil {
			v.Marker = "present"
			reasons = append(reasons, "marker: "+err.Error())
		}
	}
	if v.Good = len(reasons) == 0; !v.Good {
		return v, &ChangedError{Executable: v.Executable, Reasons: reasons}
	}
	return v, nil
}

// reinspection is what the Python of a manifest promised when it was installed.
func (in *Installer) reinspection(m *prefix.Manifest, dir string) (python.Request, error) {
	version, threaded := strings.CutSuffix(m.Version, "t")
	r := python.Request{
		Executable: filepath.Join(dir, m.Executable), Version: version, Prefix: dir, ConfiguredPrefix: m.Prefix, FreeThreaded: threaded,
		Debug: m.Profile == "debug", Shared: m.Parts["shared"] == "present", ReadOnly: true,
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
