package cli

import (
	"errors"
	"testing"

	"pybuild/build/host"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/report"
	"pybuild/cmd/internal/ui"
	"pybuild/recipes"
)

// Installations that overlap have their own steps; what these took of the processors is told only of those that were alone.
func TestTimeline(t *testing.T) {
	c, err := recipes.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	var releases []*recipes.Selection
	for _, version := range []string{"3.11.2", "3.13.5"} {
		rel, err := c.Resolve(version)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, rel)
	}
	line := newTimeline(&install.Installer{Host: &host.Host{}, Reporter: ui.New(ui.Options{Progress: "none"})}, releases, "quick")
	line.Step("3.11.2", "resolve")(nil)
	fetch := line.Step("3.11.2", "fetch")
	other := line.Step("3.13.5", "fetch")
	line.Step("3.11.2", "verify")(nil)
	fetch(nil)
	other(errors.New("no"))
	line.Step("3.13.5", "commit")(nil)
	mixed := map[string]int{"3.11.2": line.tracks["3.11.2"].mixed, "3.13.5": line.tracks["3.13.5"].mixed}
	if mixed["3.11.2"] != 3 || mixed["3.13.5"] != 1 {
		t.Errorf("steps up to these were not alone: %v", mixed)
	}
	for _, rel := range releases {
		line.end(t.Context(), rel, nil, errors.New("no"))
	}
	want := []struct {
		python, steps string
		state         report.State
	}{{"3.11.2", "resolve passed, fetch passed, verify passed, ", report.Failed}, {"3.13.5", "fetch failed, commit passed, ", report.Failed}}
	for i, cell := range line.cells {
		steps := ""
		for _, s := range cell.Steps {
			steps += s.Name + " " + string(s.State) + ", "
		}
		if cell.Python != want[i].python || steps != want[i].steps || cell.State != want[i].state {
			t.Errorf("%s %s %s, want %v", cell.Python, steps, cell.State, want[i])
		}
	}
}
