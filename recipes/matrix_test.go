package recipes

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestMatrixFile holds the matrix to what the catalogue knows.
func TestMatrixFile(t *testing.T) {
	c, err := Embedded()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("matrix.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := ReadMatrix(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Distributions {
		id, version, ok := strings.Cut(d.ID, ":")
		if version == "testing" || version == "rolling" {
			version = ""
		}
		if !ok || c.Platform(id, version) == nil {
			t.Errorf("%s: no list of packages for %q", d.Name, d.ID)
		}
		if len(d.Boxes) == 0 && d.Image == "" {
			t.Errorf("%s: neither a box nor an image", d.Name)
		}
		if (d.Suite == "") != (d.Image == "") {
			t.Errorf("%s: images are made of what debootstrap makes: suite %q, image %q", d.Name, d.Suite, d.Image)
		}
		for provider, box := range d.Boxes {
			if !slices.Contains([]string{"virtualbox", "libvirt", "qemu"}, provider) {
				t.Errorf("%s: a box for %q, which the Vagrantfile does not know", d.Name, provider)
			}
			if publisher, _, _ := strings.Cut(box, "/"); m.Publishers[publisher] == "" {
				t.Errorf("%s: nobody is known who makes %s", d.Name, box)
			}
		}
	}
	for _, name := range m.Pythons {
		if rel, err := c.Resolve(name); err != nil || rel.String() != name {
			t.Errorf("Python %s: %v", name, err)
		}
	}
	for from, to := range m.Upgrades {
		rel, err := c.Resolve(to)
		if err != nil || rel.String() != to || !strings.HasPrefix(from, rel.Version.Series()+".") {
			t.Errorf("the upgrade of %s to %s: %v", from, to, err)
		}
	}
	for _, name := range m.Profiles {
		if _, err := c.Profile(name); err != nil {
			t.Error(err)
		}
	}
}

const smallMatrix = `{
	"distributions": [{ "name": "debian-12", "id": "debian:12" }, { "name": "debian-13", "id": "debian:13" }],
	"pythons": ["3.9.2", "3.13.5"],
	"profiles": ["quick", "debug"],
	"upgrades": { "3.13.5": "3.13.15" },
	"tests": ["debian-13/3.13.5"],
	"failures": [{ "distribution": "debian-13", "python": "3.9.2", "reason": "too old" }, { "distribution": "debian-12", "python": "3.9.2", "profile": "debug", "reason": "too slow" }]
}`

func TestMatrixCells(t *testing.T) {
	m, err := ReadMatrix(strings.NewReader(smallMatrix))
	if err != nil {
		t.Fatal(err)
	}
	want := []MatrixCell{
		{"debian-12", "3.9.2", "quick", ""}, {"debian-12", "3.9.2", "debug", "too slow"}, {"debian-12", "3.13.5", "quick", ""}, {"debian-12", "3.13.5", "debug", ""},
		{"debian-13", "3.9.2", "quick", "too old"}, {"debian-13", "3.9.2", "debug", "too old"}, {"debian-13", "3.13.5", "quick", ""}, {"debian-13", "3.13.5", "debug", ""},
	}
	if got := m.Cells(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadMatrix(t *testing.T) {
	for _, row := range []struct{ name, old, new, err string }{
		{"good", "", "", ""},
		{"key", `"id"`, `"di"`, `matrix: json: unknown field "di"`},
		{"more", "too slow\" }]\n}", "too slow\" }]\n}{}", "matrix: something follows it"},
		{"no Python", `["3.9.2", "3.13.5"]`, `[]`, "matrix: no distribution, Python or profile"},
		{"twice", `"quick", "debug"`, `"quick", "quick"`, `matrix: "quick" is empty or comes twice`},
		{"nameless", `"name": "debian-12"`, `"name": ""`, `matrix: "" is empty or comes twice`},
		{"of no cell", `"python": "3.9.2", "reason"`, `"python": "3.9", "reason"`, "matrix: the failure debian-13 3.9  is of no cell"},
		{"upgrade of none", `"3.13.5": "`, `"3.12.5": "`, `matrix: the upgrade of 3.12.5 to "3.13.15" is of no Python here, or to none`},
		{"upgrade to none", `"3.13.15"`, `""`, `matrix: the upgrade of 3.13.5 to "" is of no Python here, or to none`},
		{"tests", `-13/3.13.5"`, `-13/3.13.6"`, `matrix: the tests of "debian-13/3.13.6" are of no cell`},
		{"no reason", `"too old"`, `""`, "matrix: the failure debian-13 3.9.2  has no reason"},
	} {
		_, err := ReadMatrix(strings.NewReader(strings.Replace(smallMatrix, row.old, row.new, 1)))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != row.err {
			t.Errorf("%s: got %q, want %q", row.name, got, row.err)
		}
	}
}

func FuzzReadMatrix(f *testing.F) {
	f.Add(smallMatrix)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadMatrix(strings.NewReader(text))
		if err == nil && len(m.Cells()) != len(m.Distributions)*len(m.Pythons)*len(m.Profiles) {
			t.Errorf("%d cells", len(m.Cells()))
		}
	})
}
