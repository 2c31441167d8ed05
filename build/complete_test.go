package build

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each of the processes that byte-compile does its share, wherever that is: a file is compiled once, under the name that it will
// have, and one that is no Python, or is skipped, is left alone.
func TestCompile(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 here: ", err)
	}
	stage := filepath.Join(t.TempDir(), strings.Repeat("long/", 30)) // a socket's name has 107 bytes
	lib := filepath.Join(stage, "opt", "lib")
	for name, text := range map[string]string{
		"a.py": "import sys\nname = sys._getframe().f_code.co_filename\n", "b/c.py": "x = 1\n", "b/wrong.py": "x = (\n", "skipped/d.py": "x = 1\n",
	} {
		path := filepath.Join(lib, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	compiled := func() (names []string) {
		err := filepath.WalkDir(lib, func(path string, _ fs.DirEntry, err error) error {
			if name, ok := strings.CutPrefix(path, lib+"/"); ok && strings.HasSuffix(path, ".pyc") {
				names = append(names, strings.Split(name, ".")[0])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	want := ""
	for share, added := range []string{"__pycache__/a", "b/__pycache__/c"} { // of a, b/c, b/wrong, skipped/d
		if out, err := exec.CommandContext(t.Context(), python, "-I", "complete.py", "compile", stage, lib, "skipped/", string(rune('0'+share)), "2").CombinedOutput(); err != nil {
			t.Fatalf("share %d: %v\n%s", share, err, out)
		}
		want = strings.TrimSpace(want + " " + added)
		if got := strings.Join(compiled(), " "); got != want {
			t.Errorf("after share %d: %s, want %s", share, got, want)
		}
	}
	check := "import sys; sys.path.insert(0, sys.argv[1]); import importlib.util as u, runpy; print(runpy.run_path(u.cache_from_source(sys.argv[1] + '/a.py'))['name'])"
	if out, err := exec.CommandContext(t.Context(), python, "-I", "-c", check, lib).CombinedOutput(); err != nil || string(out) != "/opt/lib/a.py\n" {
		t.Errorf("the compiled file is called %q, %v", out, err)
	}
}
