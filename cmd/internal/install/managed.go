package install

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pybuild/build/prefix"
	"pybuild/recipes"
	"pybuild/verify/pep668"
	"pybuild/verify/python"
)

// markerPath is where the marker of a Python would be, relative to the prefix.
func markerPath(executable string) string {
	return path.Join("lib", executable, pep668.MarkerName)
}

// ourText is what a marker says when nobody has written anything better.
const ourText = `This Python %[1]s was built by pybuild for %[2]s and marked as managed:
pip does not install into it.

To install packages, make a virtual environment, and use the pip in it:

%[2]s/bin/%[3]s -m venv .venv
.venv/bin/python -m pip install NAME

Whoever installed this Python can remove the mark: the same pybuild command
without --mark-managed builds it anew.
`

// mark puts the marker that was asked for into the tree that stands for the file system's root during the installation. There it is
// inspected and listed like every other file.
func mark(tree string, rel *recipes.Selection, o Options) (err error) {
	if !o.Managed {
		return nil
	}
	text := o.ManagedText
	if text == "" {
		text = fmt.Sprintf(ourText, rel, o.Prefix, rel.Executable())
	}
	content, err := pep668.Format(text)
	if err != nil {
		return fmt.Errorf("writing the marker: %w", err)
	}
	// The tree is the builder's, who may have put links into it, also on the way to the prefix.
	root, err := os.OpenRoot(tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.OpenFile(filepath.Join(strings.TrimPrefix(o.Prefix, "/"), markerPath(rel.Executable())), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("writing the marker: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}

// marked checks that a marker is in the stage exactly if it was asked for, in the directory where pip looks for it.
func marked(stage string, rel *recipes.Selection, o Options, report *python.Report) error {
	markers, err := pep668.Find(stage)
	if err != nil {
		return err
	}
	own := filepath.Join(stage, markerPath(rel.Executable()))
	if !o.Managed {
		for _, dir := range report.Schemes {
			err = errors.Join(err, pep668.Absent(dir))
		}
		if len(markers) > 0 {
			return &pep668.MarkerError{Path: markers[0]}
		}
		return err
	}
	for _, m := range markers {
		if m != own {
			return &pep668.MarkerError{Path: m}
		}
	}
	// Where pip will look, which a configure argument may have moved.
	if m := pep668.Read(os.DirFS("/"), report.Stdlib, ""); !slices.Contains(markers, own) || m.State != pep668.MarkerPresent || m.Key == "" {
		return &UnmarkedError{Path: m.Path}
	}
	return nil
}

// UnmarkedError says that a marker that was asked for is not there, or not one that pip reads.
type UnmarkedError struct{ Path string }

func (e *UnmarkedError) Error() string { return "no marker that pip reads at " + e.Path }

// marker is what Manifest.Marker will be.
func marker(o Options) string {
	if o.Managed {
		return pep668.MarkerPresent
	}
	return pep668.MarkerAbsent
}

// managed says whether the Python of a manifest is to carry a marker.
func managed(m *prefix.Manifest) bool { return m.Marker == pep668.MarkerPresent }
