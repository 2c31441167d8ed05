package python

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// host is an inspection of the first Python of this machine, as far as the script goes. What is before the script has its effect.
func host(t *testing.T, before string, modules ...string) *inspection {
	t.Helper()
	executable, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3 to run the script with")
	}
	in := &inspection{Request: Request{Executable: executable, Work: t.TempDir()}}
	in.Exec = func(ctx context.Context, env []string, argv ...string) ([]byte, error) {
		for i, a := range argv {
			if a == script {
				argv[i] = before + script
			}
		}
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir, cmd.Env = in.Work, append(os.Environ(), env...)
		return cmd.Output()
	}
	for _, m := range modules {
		in.Modules = append(in.Modules, Module{Part: "p", Name: m})
	}
	return in
}

// TestScript makes a real Python do every piece of work that it has the modules for: the script and the judge must agree.
func TestScript(t *testing.T) {
	var names []string
	for _, w := range works {
		names = append(names, w.modules...)
	}
	for _, c := range core {
		names = append(names, c.modules...)
	}
	in := host(t, "", names...)
	f, rejected, err := in.ask(t.Context())
	if f == nil {
		t.Fatal(rejected, err)
	}
	// A distribution's Python may be cut into pieces.
	in.Modules = nil
	for name, reason := range f.Modules {
		if reason == "" {
			in.Modules = append(in.Modules, Module{Part: "p", Name: name})
		}
	}
	in.facts = f
	for _, r := range in.work() {
		var e *MismatchError
		if r.Err != nil && (errors.As(r.Err, &e) || !strings.Contains(r.Err.Error(), "ModuleNotFoundError")) {
			t.Errorf("%s: %v", r.Check, r.Err)
		}
		t.Logf("%s: %s", r.Check, r.Detail)
	}
}

// trap puts a module that does harm into the interpreter.
const trap = `
import sys
class Trap:
    def find_spec(self, name, path=None, target=None):
        if name == "pybuild_trap":
            %s
sys.meta_path.insert(0, Trap())
`

func TestStep(t *testing.T) {
	for _, row := range []struct{ name, does, err string }{
		{"crash", "import os; os.abort()", "import pybuild_trap: signal: aborted"},
		{"exit", "import os; os._exit(3)", "import pybuild_trap: exit status 3"},
		{"nothing", "pass", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := fmt.Sprintf(trap, row.does)
			_, rejected, err := host(t, before, "json", "pybuild_trap", "math").ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if rejected != nil {
				// With or without a core.
				got = strings.TrimSuffix(rejected.Error(), " (core dumped)")
			}
			var step *StepError
			if got != row.err || errors.As(rejected, &step) != (row.err != "") {
				t.Errorf("got %q, want %q", got, row.err)
			}
		})
	}
}

// TestHang ends a step that does not end by itself.
func TestHang(t *testing.T) {
	before := fmt.Sprintf(trap, "import time; time.sleep(60)")
	in := host(t, before)
	progress := in.Work + "/progress"
	q, err := json.Marshal(question{
		Modules: []string{"math", "pybuild_trap"}, Probes: []string{}, Core: []string{}, Progress: progress, Seconds: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.exec(t.Context(), nil, in.Executable, "-I", "-B", "-c", script, string(q))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(exit.Stderr), "Timeout") {
		t.Errorf("got %v, want exit status 1 because of the time", err)
	}
	if got, want := lastStep(progress), "import pybuild_trap"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
