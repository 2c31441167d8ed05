package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var launcher = &Launcher{Name: "cache", Env: []string{"CACHE_DIR=/c"}, Anywhere: []string{"BASE={source}"}, Undebugged: []string{"NOHASH=1"}}

// TestPlanLauncher: what goes through a launcher, and what that is told.
func TestPlanLauncher(t *testing.T) {
	const always = "CACHE_DIR=/c BASE=/b/source"
	for _, test := range []struct {
		name, profile string
		change        func(*Request)
		launcher, env string
	}{
		{"none", "quick", func(r *Request) { r.Launcher = nil }, "", ""},
		{"quick", "quick", func(*Request) {}, "cache", always + " NOHASH=1"},
		{"debug information", "quick", func(r *Request) { r.With = []string{"debug-info"} }, "cache", always},
		{"debug information by the user's own flags", "quick", func(r *Request) { r.Environ = []string{"CFLAGS=-O1 -ggdb"} }, "cache", always},
		{"other flags of the user's", "quick", func(r *Request) { r.Environ = []string{"CFLAGS=-O1"} }, "cache", always + " NOHASH=1"},
		{"debug", "debug", func(*Request) {}, "cache", always},
		{"guided by a profile", "release", func(*Request) {}, "", ""},
		{"the same for this processor", "native", func(*Request) {}, "", ""},
		{"guided by the user's own argument", "quick", func(r *Request) { r.ConfigureArgs = []string{"--enable-optimizations"} }, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := request(t, "3.11.2", test.profile)
			r.Launcher = launcher
			test.change(&r)
			p := NewPlan(r)
			if got := p.Launcher(); got != test.launcher {
				t.Errorf("launcher %q, want %q", got, test.launcher)
			}
			for _, s := range p.Steps {
				if s.Launcher != "" && (s.Name != "compile" || strings.Join(s.Env, " ") != test.env) {
					t.Errorf("%s with %q, want compile with %q", s.Name, s.Env, test.env)
				}
			}
			r.Launcher = nil
			if without := NewPlan(r); !slices.Equal(p.Env, without.Env) || !slices.Equal(p.ConfigureArgs(), without.ConfigureArgs()) {
				t.Error("configure is told of the launcher") // and would not know its own answers
			}
		})
	}
}

// TestLaunch: every make gets what configure chose, behind the launcher.
func TestLaunch(t *testing.T) {
	step := Step{Name: "compile", Launcher: "cache", Commands: [][]string{{"make", "-j2"}, {"touch", "x"}}, Fewer: [][]string{{"make", "-j1"}}}
	for _, test := range []struct{ name, makefile, want, err string }{
		{"plain", "# CC=x\nCC=\t\tgcc\nCCSHARED=-fPIC\n", "make|CC=cache gcc|-j2 touch|x make|CC=cache gcc|-j1", ""},
		{"with a flag, as in 3.9", "CC=\t\tclang -pthread \n", "make|CC=cache clang -pthread|-j2 touch|x make|CC=cache clang -pthread|-j1", ""},
		{"there already", "CC=cache gcc\n", "make|-j2 touch|x make|-j1", ""},
		{"nothing said", "CC=\nall:\n", "", "the Makefile does not say what compiles"},
		{"no Makefile", "", "", "reading what compiles: openat Makefile: no such file or directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := tree(t, "", test.makefile)
			if test.makefile == "" {
				if err := os.Remove(filepath.Join(p.Dir, "Makefile")); err != nil {
					t.Fatal(err)
				}
			}
			s, err := p.launch(step)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Errorf("error %v, want %s", err, test.err)
				}
				return
			}
			var got []string
			for _, argv := range slices.Concat(s.Commands, s.Fewer) {
				got = append(got, strings.Join(argv, "|"))
			}
			if err != nil || strings.Join(got, " ") != test.want {
				t.Errorf("%s, %v, want %s", strings.Join(got, " "), err, test.want)
			}
			if same, err := p.launch(Step{Commands: step.Commands}); err != nil || !slices.EqualFunc(same.Commands, step.Commands, slices.Equal) {
				t.Errorf("without a launcher %q, %v", same.Commands, err)
			}
		})
	}
}

// TestMakeLaunched: the launcher is in make's variables and in nothing that configure wrote.
func TestMakeLaunched(t *testing.T) {
	p := tree(t, "echo \"CC=$CC$BASE\" > asked", "CC=gcc -pthread\nall:\n\t@echo \"$(CC) $$BASE\" > compiled\naltinstall:\n\t@echo \"$(CC)\" > staged\n")
	r := request(t, "3.9.2", "quick")
	dir := filepath.Dir(p.Dir)
	r.Source, r.Stage, r.Home, r.Logs, r.Launcher = p.Dir, filepath.Join(dir, "stage"), filepath.Join(dir, "home"), p.Logs, launcher
	p = NewPlan(r)
	for i := range p.Steps {
		p.Steps[i].Commands = p.Steps[i].Commands[:min(1, len(p.Steps[i].Commands))]
	}
	p.Steps[len(p.Steps)-1].Commands = [][]string{{"make", "altinstall"}}
	if _, err := Make(t.Context(), p, func(string) func(error) { return func(error) {} }); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"asked": "CC=\n", "compiled": "cache gcc -pthread " + p.Dir + "\n", "staged": "gcc -pthread\n"} {
		if text, err := os.ReadFile(filepath.Join(p.Dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
}
