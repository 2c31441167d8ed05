package recipes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// A Matrix says which Pythons are tried on which distributions. Vagrant reads the same file; what it needs besides is checked here
// so far that a misspelt key is found.
type Matrix struct {
	Distributions []MatrixDistribution `json:"distributions"`
	// Publishers say who makes boxes, and for how long: "cloud-image" of "cloud-image/debian-13".
	Publishers map[string]string `json:"publishers,omitempty"`
	Pythons    []string          `json:"pythons"`  // versions: "3.13.5"
	Profiles   []string          `json:"profiles"` // names: "quick"
	// Upgrades are the newer patch releases to which Pythons are upgraded once they are proven: "3.13.5": "3.13.15".
	Upgrades map[string]string `json:"upgrades,omitempty"`
	// Tests are the cells in which CPython's own tests have to pass: "debian-13/3.13.5".
	Tests    []string        `json:"tests,omitempty"`
	Failures []MatrixFailure `json:"failures"`
}

// A MatrixDistribution is one release of a distribution.
type MatrixDistribution struct {
	Name  string            `json:"name"`            // "debian-13": of the cell and of Vagrant's machine
	ID    string            `json:"id"`              // "debian:13", as for pybuild deps --for
	Boxes map[string]string `json:"boxes,omitempty"` // by Vagrant's provider
	Suite string            `json:"suite,omitempty"` // for debootstrap: "trixie"
	Image string            `json:"image,omitempty"` // for Docker, made by this project's own script
}

// A MatrixFailure says what cannot work, and why. An empty profile means all of them.
type MatrixFailure struct {
	Distribution string `json:"distribution"`
	Python       string `json:"python"`
	Profile      string `json:"profile,omitempty"`
	Reason       string `json:"reason"`
}

// A MatrixCell is one Python on one distribution.
type MatrixCell struct {
	Distribution, Python, Profile string
	Failure                       string // why it cannot work, else ""
}

// ReadMatrix reads a matrix. Unknown keys, names that come twice and failures of no cell are errors.
func ReadMatrix(r io.Reader) (*Matrix, error) {
	m := new(Matrix)
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("matrix: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("matrix: something follows it")
	}
	if len(m.Distributions) == 0 || len(m.Pythons) == 0 || len(m.Profiles) == 0 {
		return nil, errors.New("matrix: no distribution, Python or profile")
	}
	var names []string
	for _, d := range m.Distributions {
		names = append(names, d.Name)
	}
	for _, list := range [][]string{names, m.Pythons, m.Profiles} {
		seen := make(map[string]bool)
		for _, name := range list {
			if name == "" || seen[name] {
				return nil, fmt.Errorf("matrix: %q is empty or comes twice", name)
			}
			seen[name] = true
		}
	}
	for from, to := range m.Upgrades {
		if !slices.Contains(m.Pythons, from) || to == "" {
			return nil, fmt.Errorf("matrix: the upgrade of %s to %q is of no Python here, or to none", from, to)
		}
	}
	for _, cell := range m.Tests {
		distribution, python, _ := strings.Cut(cell, "/")
		if !slices.Contains(names, distribution) || !slices.Contains(m.Pythons, python) {
			return nil, fmt.Errorf("matrix: the tests of %q are of no cell", cell)
		}
	}
	for _, f := range m.Failures {
		if !slices.Contains(names, f.Distribution) || !slices.Contains(m.Pythons, f.Python) || f.Profile != "" && !slices.Contains(m.Profiles, f.Profile) {
			return nil, fmt.Errorf("matrix: the failure %s %s %s is of no cell", f.Distribution, f.Python, f.Profile)
		}
		if f.Reason == "" {
			return nil, fmt.Errorf("matrix: the failure %s %s %s has no reason", f.Distribution, f.Python, f.Profile)
		}
	}
	return m, nil
}

// Cells lists every cell, in the order of the file.
func (m *Matrix) Cells() (list []MatrixCell) {
	for _, d := range m.Distributions {
		for _, python := range m.Pythons {
			for _, profile := range m.Profiles {
				c := MatrixCell{Distribution: d.Name, Python: python, Profile: profile}
				for _, f := range m.Failures {
					if f.Distribution == d.Name && f.Python == python && (f.Profile == "" || f.Profile == profile) {
						c.Failure = f.Reason
					}
				}
				list = append(list, c)
			}
		}
	}
	return list
}
