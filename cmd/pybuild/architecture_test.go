package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The packages of pybuild and what each may know. A row lists, of our own packages, all that a package may import directly, and
// the standard packages that it must not.
var architecture = []struct {
	name string
	ours []string
	not  []string
}{
	{"recipes", nil, []string{"os", "net", "net/http", "os/exec"}},
	{"fetch", nil, []string{"os/exec"}},
	{"fetch/apt", nil, []string{"net/http", "os/exec", "os"}},
	{"fetch/fetchtest", nil, []string{"os/exec"}},
	{"verify", nil, []string{"net", "net/http", "os/exec"}},
	{"verify/openpgp", nil, []string{"net", "net/http", "os", "os/exec"}},
	{"verify/sigstore", nil, []string{"net", "net/http", "os/exec"}},
	{"verify/sigstore/sigstoretest", nil, []string{"net", "net/http", "os", "os/exec"}},
	{"verify/python", nil, []string{"net", "net/http", "os/exec"}},
	{"verify/pep668", nil, []string{"net", "net/http", "os/exec"}},
	{"build", []string{"build/run", "recipes"}, []string{"net", "net/http", "os/exec"}},
	{"build/host", []string{"build/run", "recipes"}, []string{"net", "net/http", "os/exec"}},
	{"build/unpack", nil, []string{"net", "net/http", "os/exec"}},
	{"build/run", nil, []string{"net", "net/http"}},
	{"build/prefix", nil, []string{"net", "net/http", "os/exec"}},
	{"cmd/internal/ui", []string{"cmd/internal/install"}, []string{"net", "net/http", "os/exec"}},
	{"cmd/internal/report", nil, []string{"net", "net/http", "os", "os/exec"}},
	{"cmd/internal/install", []string{"build", "build/host", "build/prefix", "build/run", "build/unpack", "fetch", "fetch/apt", "recipes", "verify", "verify/openpgp", "verify/pep668", "verify/python", "verify/sigstore"}, []string{"net", "os/exec"}},
	{"cmd/internal/cli", []string{"build", "build/host", "build/prefix", "build/run", "build/unpack", "cmd/internal/install", "cmd/internal/report", "cmd/internal/ui", "fetch", "recipes", "verify/pep668"}, []string{"net", "os/exec"}},
	{"cmd/pybuild", []string{"build/run", "cmd/internal/cli"}, []string{"net", "os/exec"}},
	{"cmd/benchmark", []string{"build/run", "recipes"}, []string{"net", "net/http", "os/exec"}},
}

// Packages that only one of ours may import, so that they can be replaced in one place.
var fenced = map[string]string{
	"github.com/ProtonMail/go-crypto/...": "verify/openpgp",
	"github.com/sigstore/...":             "verify/sigstore",
	"os/exec":                             "build/run",
	"github.com/ulikunitz/xz/...":         "build/unpack",
	"github.com/spf13/cobra":              "cmd/internal/cli",
	"github.com/schollz/progressbar/v3":   "cmd/internal/ui",
	"golang.org/x/term":                   "cmd/internal/ui",
	"github.com/BurntSushi/toml":          "recipes",
	"github.com/hashicorp/go-version":     "recipes",
	"github.com/rogpeppe/go-internal/...": "", // tests only
}

// Test helpers may import what is fenced off for the package that they help to test.
var helpers = map[string]string{"verify/sigstore/sigstoretest": "verify/sigstore"}

func TestArchitecture(t *testing.T) {
	imports := importsOfOurs(t)
	for _, row := range architecture {
		got, ok := imports[row.name]
		if !ok {
			t.Errorf("package %s is gone; remove its row", row.name)
			continue
		}
		delete(imports, row.name)
		for _, path := range got {
			if inner, ok := strings.CutPrefix(path, "pybuild/"); ok && !slices.Contains(row.ours, inner) {
				t.Errorf("%s imports %s", row.name, inner)
			}
			if slices.Contains(row.not, path) {
				t.Errorf("%s imports %s", row.name, path)
			}
			for fence, owner := range fenced {
				prefix, tree := strings.CutSuffix(fence, "/...")
				if (path == prefix || tree && strings.HasPrefix(path, prefix+"/")) && row.name != owner && helpers[row.name] != owner {
					t.Errorf("%s imports %s, which belongs to %q", row.name, path, owner)
				}
			}
		}
	}
	for name := range imports {
		t.Errorf("package %s has no row: what may it know?", name)
	}
}

func importsOfOurs(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "pybuild/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	imports := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return imports
		} else if err != nil {
			t.Fatal(err)
		}
		imports[strings.TrimPrefix(p.ImportPath, "pybuild/")] = p.Imports
	}
}
