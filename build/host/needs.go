package host

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"pybuild/build/run"
	"pybuild/recipes"
)

// Needs is what a build asks of the machine.
type Needs struct {
	Tools []*recipes.Tool
	Parts []*recipes.Part
	// Env is the environment of the build: PATH, CC, CPPFLAGS, CFLAGS, LDFLAGS, PKG_CONFIG_PATH.
	Env []string
	// Required says whether a part must be there; a part that need not be is reported as missing all the same.
	Required func(*recipes.Part) bool
}

// Missing is one need that the machine lacks.
type Missing struct {
	// Name is the tool or part: "compiler", "ssl".
	Name string `json:"name"`
	// Reason is what was looked for and how it failed: "openssl/ssl.h not found".
	Reason string `json:"reason"`
	// Packages are the distribution's names; nil when there is no list for it.
	Packages []string `json:"packages,omitempty"`
	// Required says that the build cannot go on without it.
	Required bool `json:"required"`
}

// MissingError lists every required need that is missing, and the command that would install them all.
type MissingError struct {
	Host    *Host
	Missing []Missing
	// Install is the distribution's own command for everything missing, nil when no list applies.
	Install []string
}

func (e *MissingError) Error() string {
	lines := make([]string, 0, len(e.Missing)+1)
	lines = append(lines, "build needs are missing:")
	for _, m := range e.Missing {
		lines = append(lines, fmt.Sprintf("  %s: %s", m.Name, m.Reason))
	}
	return strings.Join(lines, "\n")
}

// Require returns an error, a *MissingError, when missing holds something required.
func (h *Host) Require(missing []Missing) error {
	required := slices.DeleteFunc(slices.Clone(missing), func(m Missing) bool { return !m.Required })
	if len(required) == 0 {
		return nil
	}
	return &MissingError{Host: h, Missing: required, Install: h.Install(missing)}
}

// Install is the command that installs what is missing, nil when there is nothing to install or no list for this distribution.
func (h *Host) Install(missing []Missing) []string {
	if h.Platform == nil {
		return nil
	}
	var packages []string
	for _, m := range missing {
		packages = append(packages, m.Packages...)
	}
	if len(packages) == 0 {
		return nil
	}
	slices.Sort(packages)
	return slices.Concat(h.Platform.Install, slices.Compact(packages))
}

// Packages names what this distribution calls everything that needs asks for, whether it is there or not.
func (h *Host) Packages(needs Needs) []string {
	var packages []string
	for _, t := range needs.Tools {
		packages = append(packages, h.packages(t.Name)...)
	}
	for _, p := range needs.Parts {
		packages = append(packages, h.packages(p.Name)...)
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

func (h *Host) packages(need string) []string {
	if h.Platform == nil {
		return nil
	}
	return h.Platform.Packages[need]
}

// Findings is what a machine was found to have and to lack.
type Findings struct {
	// Missing are the needs that are not there, in the order of the recipes.
	Missing []Missing
	// ConfigureArgs is what configure must be told to use what is there.
	ConfigureArgs []string
}

// Probe looks for every need, the compile-and-link probes side by side. root is the machine's file system; work is an empty
// directory for the test programs.
func (h *Host) Probe(ctx context.Context, root fs.FS, work string, needs Needs) (*Findings, error) {
	found := &Findings{}
	add := func(name, reason string, required bool) {
		found.Missing = append(found.Missing, Missing{Name: name, Reason: reason, Packages: h.packages(name), Required: required})
	}
	cc := Compiler(needs.Env)
	broken := ""
	for _, t := range needs.Tools {
		reason := lookForTool(root, needs.Env, t)
		if t.Name == "compiler" {
			if len(cc) == 0 {
				reason = "no C compiler in PATH"
			} else if reason, broken = "", tryCompiler(ctx, cc, work, needs.Env); broken != "" {
				reason = broken
			}
			if reason != "" {
				broken = reason
			}
		}
		if reason != "" {
			add(t.Name, reason, true)
		}
	}
	reasons, probes := make([]string, len(needs.Parts)), make([]*recipes.Probe, len(needs.Parts))
	if broken != "" {
		// Without a compiler nothing can be said about libraries: name them all, so that one command installs everything.
		for i, p := range needs.Parts {
			if len(p.Probes) > 0 {
				reasons[i] = "not looked for: no working compiler"
			}
		}
	} else {
		var all sync.WaitGroup
		slots := make(chan struct{}, runtime.GOMAXPROCS(0)+1)
		for i, p := range needs.Parts {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				probes[i], reasons[i] = lookForPart(ctx, cc, filepath.Join(work, p.Name), needs, p)
			})
		}
		all.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i, p := range needs.Parts {
		if reasons[i] != "" {
			add(p.Name, reasons[i], needs.Required(p))
		} else if probes[i] != nil {
			found.ConfigureArgs = append(found.ConfigureArgs, probes[i].ConfigureArgs...)
		}
	}
	return found, nil
}

// Compiler is the command that configure will take: CC of the environment, else the first that PATH has; nil when there is none.
func Compiler(env []string) []string {
	if cc := strings.Fields(value(env, "CC")); len(cc) > 0 {
		return cc
	}
	for _, name := range []string{"gcc", "cc", "clang"} { // configure's own order
		if inPath(env, name) {
			return []string{name}
		}
	}
	return nil
}

func tryCompiler(ctx context.Context, cc []string, work string, env []string) string {
	output, err := compile(ctx, cc, filepath.Join(work, "compiler"), env, "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n", nil, nil)
	if err == nil {
		return ""
	}
	if line := firstError(output); line != "" {
		return run.Quote(cc) + " does not work: " + line
	}
	return run.Quote(cc) + " does not work: " + err.Error()
}

func lookForTool(root fs.FS, env []string, t *recipes.Tool) string {
	for _, name := range t.Commands {
		if inPath(env, name) {
			return ""
		}
	}
	for _, name := range t.Files {
		if info, err := fs.Stat(root, strings.TrimPrefix(name, "/")); err == nil && (info.IsDir() || info.Size() > 0) {
			return ""
		}
	}
	switch {
	case len(t.Commands) > 0:
		return strings.Join(t.Commands, " or ") + " not found in PATH"
	case len(t.Files) > 0:
		return t.Files[0] + " not found"
	}
	return ""
}

// lookForPart tries the probes of a part in turn and returns the one that worked, or why the first of them failed.
func lookForPart(ctx context.Context, cc []string, work string, needs Needs, p *recipes.Part) (found *recipes.Probe, first string) {
	for i, probe := range p.Probes {
		flags := [][]string{includeFlags(probe)}
		if len(probe.PkgConfig) > 0 {
			if known := pkgConfig(ctx, needs.Env, probe.PkgConfig); known != nil {
				flags = append(flags, known)
			}
		}
		for j, cflags := range flags {
			libs := make([]string, len(probe.Libs))
			for k, lib := range probe.Libs {
				libs[k] = "-l" + lib
			}
			output, err := compile(ctx, cc, fmt.Sprintf("%s-%d-%d", work, i, j), needs.Env, source(probe), cflags, libs)
			if err == nil {
				return probe, ""
			}
			if first == "" {
				first = reason(probe, output, err)
			}
		}
	}
	return nil, first
}

func includeFlags(probe *recipes.Probe) []string {
	var flags []string
	for _, dir := range probe.IncludeDirs {
		flags = append(flags, "-I"+dir)
	}
	return flags
}

// tooOld marks our own #error lines in the compiler's output.
const tooOld = "pybuild needs "

// source is a program that compiles if the headers are there and new enough, and links if the library has the symbol.
func source(probe *recipes.Probe) string {
	var b strings.Builder
	for _, header := range probe.Headers {
		fmt.Fprintf(&b, "#include <%s>\n", header)
	}
	for _, m := range probe.Minimum {
		fmt.Fprintf(&b, "#if !(%s)\n#error %s%s\n#endif\n", m.Test, tooOld, m.Says)
	}
	// Through a volatile pointer, so that the reference survives every optimisation.
	fmt.Fprintf(&b, "int main(void) { void *volatile symbol = (void *)&%s; return symbol == 0; }\n", probe.Symbol)
	return b.String()
}

// reason turns a compiler's complaint into a few words.
func reason(probe *recipes.Probe, output []byte, err error) string {
	for _, line := range strings.Split(string(output), "\n") {
		if _, says, ok := strings.Cut(line, "#error "+tooOld); ok {
			return "too old, " + strings.TrimSpace(says) + " or newer is needed"
		}
		if _, says, ok := strings.Cut(line, "error: "+tooOld); ok {
			return "too old, " + strings.Trim(says, "\" ") + " or newer is needed"
		}
		for _, header := range probe.Headers {
			if strings.Contains(line, header) && (strings.Contains(line, "No such file") || strings.Contains(line, "not found")) {
				return header + " not found"
			}
		}
		for _, lib := range probe.Libs {
			if strings.Contains(line, "-l"+lib) && (strings.Contains(line, "cannot find") || strings.Contains(line, "unable to find")) {
				return "library -l" + lib + " not found"
			}
		}
	}
	if line := firstError(output); line != "" {
		return line
	}
	return err.Error()
}

func firstError(output []byte) string {
	for _, line := range strings.Split(string(output), "\n") {
		if strings.Contains(line, "error:") || strings.Contains(line, "undefined reference") || strings.Contains(line, "cannot ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// compile builds one program from text and returns what the compiler said.
func compile(ctx context.Context, cc []string, name string, env []string, text string, cflags, libs []string) ([]byte, error) {
	if err := os.WriteFile(name+".c", []byte(text), 0o600); err != nil {
		return nil, err
	}
	argv := slices.Concat(cc, strings.Fields(value(env, "CPPFLAGS")), strings.Fields(value(env, "CFLAGS")), cflags,
		[]string{name + ".c", "-o", name}, strings.Fields(value(env, "LDFLAGS")), libs)
	var output bytes.Buffer
	err := run.Run(ctx, run.Command{Argv: argv, Env: env, Dir: filepath.Dir(name), Log: &output})
	return output.Bytes(), err
}

// pkgConfig asks for the compiler flags of packages; nil when pkg-config does not know them or is not there.
func pkgConfig(ctx context.Context, env []string, packages []string) []string {
	var output bytes.Buffer
	argv := append([]string{"pkg-config", "--cflags", "--libs"}, packages...)
	if err := run.Run(ctx, run.Command{Argv: argv, Env: env, Stdout: &output}); err != nil {
		return nil
	}
	return strings.Fields(output.String())
}

func value(env []string, name string) string {
	for _, v := range env {
		if rest, ok := strings.CutPrefix(v, name+"="); ok {
			return rest
		}
	}
	return ""
}

func inPath(env []string, name string) bool {
	_, err := run.LookPath(name, env)
	return err == nil
}
