package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pybuild/recipes"
)

// matrixCells are the cells of the matrix whose distribution has a suite, as .ci/matrix has them.
func matrixCells(t *testing.T) (list []string) {
	t.Helper()
	f, err := os.Open("../../recipes/matrix.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := recipes.ReadMatrix(f)
	if err != nil {
		t.Fatal(err)
	}
	suites := map[string]string{}
	for _, d := range m.Distributions {
		suites[d.Name] = d.Suite
	}
	for _, c := range m.Cells() {
		if suite := suites[c.Distribution]; suite != "" {
			newer, tests := cmp.Or(m.Upgrades[c.Python], "-"), "-"
			if slices.Contains(m.Tests, c.Distribution+"/"+c.Python) {
				tests = "tests"
			}
			list = append(list, fmt.Sprintf("%s %s %s %s %s %s", c.Distribution, c.Python, c.Profile, suite, newer, tests))
		}
	}
	return list
}

// TestMatrixScript: .ci/matrix, which has nothing but awk to read JSON with, sees the cells that Go does.
func TestMatrixScript(t *testing.T) {
	all := matrixCells(t)
	of := func(prefix string) (list []string) {
		for _, c := range all {
			if strings.HasPrefix(c, prefix+" ") {
				list = append(list, c)
			}
		}
		return list
	}
	for _, row := range []struct {
		args   []string
		status int
		want   []string
		says   string
	}{
		{nil, 0, all, ""},
		{[]string{"all"}, 0, all, ""},
		{[]string{"debian-12"}, 0, of("debian-12"), ""},
		{[]string{"debian-12/3.11.2/quick"}, 0, of("debian-12 3.11.2 quick"), ""},
		{[]string{"debian-13/3.13.5", "debian-12/3.11.2", "debian-13/3.13.5"}, 0, append(of("debian-13 3.13.5"), of("debian-12 3.11.2")...), ""},
		{[]string{"debian-1"}, 2, nil, "matrix: debian-1 is no cell that can be run here; see --list\n"},
		{[]string{"debian-12", "debian-12/3.11"}, 2, nil, "matrix: debian-12/3.11 is no cell that can be run here; see --list\n"},
		{[]string{"fedora-43"}, 2, nil, "matrix: fedora-43 is no cell that can be run here; see --list\n"}, // has no suite
		{[]string{"--break", "window"}, 2, nil, "matrix: --break takes part, digest or marker, not window\n"},
	} {
		cmd := exec.CommandContext(t.Context(), "../../.ci/matrix", append([]string{"--list"}, row.args...)...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		got := strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' })
		if cmd.ProcessState.ExitCode() != row.status || !slices.Equal(got, row.want) || stderr.String() != row.says {
			t.Errorf("%q: status %d, %q, %q", row.args, cmd.ProcessState.ExitCode(), got, &stderr)
		}
	}
}
