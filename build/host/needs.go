package host

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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
// directory for the test programs. The error is for what kept it from looking: the context's cause, or a work directory that
// cannot be written.
func (h *Host) Probe(ctx context.Context, root fs.FS, work string, needs Needs) (*Findings, error) {
	found := &Findings{}
	add := func(name, reason string, required bool) {
		found.Missing = append(found.Missing, Missing{Name: name, Reason: reason, Packages: h.packages(name), Required: required})
	}
	cc := Compiler(needs.Env)
	broken := false
	for _, t := range needs.Tools {
		reason := lookForTool(root, needs.Env, t)
		if t.Name == "compiler" {
			var err error
			if reason, err = tryCompiler(ctx, cc, work, needs.Env); err != nil {
				return nil, err
			}
			broken = reason != ""
		}
		if reason != "" {
			add(t.Name, reason, true)
		}
	}
	reasons, probes, errs := make([]string, len(needs.Parts)), make([]*recipes.Probe, len(needs.Parts)), make([]error, len(needs.Parts))
	if broken {
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
				probes[i], reasons[i], errs[i] = lookForPart(ctx, cc, filepath.Join(work, p.Name), needs, p)
			})
		}
		all.Wait()
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := cmp.Or(errs...); err != nil { // the first: all parts share the directory, and its fault
		return nil, err
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

// tryCompiler says what is wrong with the compiler, "" when it makes programs.
func tryCompiler(ctx context.Context, cc []string, work string, env []string) (reason string, err error) {
	if len(cc) == 0 {
		return "no C compiler in PATH", nil
	}
	output, failed, err := compile(ctx, cc, filepath.Join(work, "compiler"), env, "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n", nil, nil)
	switch line := firstError(output); {
	case err != nil || failed == nil:
		return "", err
	case line != "":
		return run.Quote(cc) + " does not work: " + line, nil
	}
	return run.Quote(cc) + " does not work: " + failed.Err.Error(), nil
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

// lookForPart tries the probes of a part in turn, each as it stands and then as pkg-config has it. It returns the one that
// worked, or why the first of them failed.
func lookForPart(ctx context.Context, cc []string, work string, needs Needs, p *recipes.Part) (found *recipes.Probe, first string, err error) {
	try := func(name string, probe *recipes.Probe, cflags, libs []string) (ok bool, err error) {
		output, failed, err := compile(ctx, cc, name, needs.Env, source(probe), cflags, libs)
		if failed != nil && first == "" {
			first = reason(probe, output, failed)
		}
		return failed == nil && err == nil, err
	}
	for i, probe := range p.Probes {
		name := fmt.Sprintf("%s-%d", work, i)
		var cflags, libs []string
		for _, dir := range probe.IncludeDirs {
			cflags = append(cflags, "-I"+dir)
		}
		for _, lib := range probe.Libs {
			libs = append(libs, "-l"+lib)
		}
		ok, err := try(name, probe, cflags, libs)
		if !ok && err == nil && len(probe.PkgConfig) > 0 {
			var known bool
			if cflags, libs, known = pkgConfig(ctx, needs.Env, probe.PkgConfig); known {
				ok, err = try(name+"-pkg-config", probe, cflags, libs)
			}
		}
		switch {
		case err != nil:
			return nil, "", err
		case ok:
			return probe, "", nil
		}
	}
	return nil, first, nil
}

// refused marks our own #error lines in the compiler's output.
const refused = "pybuild needs "

// source is a program that compiles if the headers are there and new enough, and links if the library has the symbol.
func source(probe *recipes.Probe) string {
	var b strings.Builder
	for _, header := range probe.Headers {
		fmt.Fprintf(&b, "#include <%s>\n", header)
	}
	for _, m := range probe.Minimum {
		fmt.Fprintf(&b, "#if !(%s)\n#error %s%s\n#endif\n", m.Test, refused, m.Says)
	}
	// Through a volatile pointer, so that the reference survives every optimisation.
	fmt.Fprintf(&b, "int main(void) { void *volatile symbol = (void *)&%s; return symbol == 0; }\n", probe.Symbol)
	return b.String()
}

// reason turns a compiler's complaint into a few words.
func reason(probe *recipes.Probe, output []byte, err error) string {
	for _, line := range strings.Split(string(output), "\n") {
		_, message, _ := strings.Cut(line, "error: ")
		if says, ok := strings.CutPrefix(strings.TrimPrefix(message, "#error "), refused); ok {
			return "wrong version, the build needs " + strings.TrimSpace(says)
		}
		for _, header := range probe.Headers { // and not one that this header includes: that is another thing missing
			if strings.HasPrefix(message, header+": No such file") || strings.HasPrefix(message, "'"+header+"' file not found") {
				return header + " not found"
			}
		}
		for _, lib := range probe.Libs {
			if _, after, ok := strings.Cut(line, "-l"+lib); ok && (after == "" || after[0] == ':') && (strings.Contains(line, "cannot find") || strings.Contains(line, "unable to find")) {
				return "library -l" + lib + " not found"
			}
		}
		if _, after, ok := strings.Cut(line, "undefined "); ok && strings.Contains(after, probe.Symbol) {
			return "function " + probe.Symbol + " not found"
		}
	}
	return cmp.Or(firstError(output), err.Error())
}

func firstError(output []byte) string {
	for _, line := range strings.Split(string(output), "\n") {
		if strings.Contains(line, "error:") || strings.Contains(line, "undefined reference") || strings.Contains(line, "cannot ") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// compile builds one program from text, next to name, and returns what the compiler said. failed is the compiler's refusal, err
// what kept it from being asked.
func compile(ctx context.Context, cc []string, name string, env []string, text string, cflags, libs []string) (output []byte, failed *run.Error, err error) {
	if err := os.WriteFile(name+".c", []byte(text), 0o600); err != nil {
		return nil, nil, fmt.Errorf("probing for build needs: %w", err)
	}
	dir, base := filepath.Split(name) // the compiler's messages name the file as it was given: not with a directory that is soon gone
	argv := slices.Concat(cc, strings.Fields(value(env, "CPPFLAGS")), strings.Fields(value(env, "CFLAGS")), cflags,
		[]string{base + ".c", "-o", base}, strings.Fields(value(env, "LDFLAGS")), libs)
	var log bytes.Buffer
	err = run.Run(ctx, run.Command{Argv: argv, Env: env, Dir: dir, Log: &log})
	if errors.As(err, &failed) {
		err = nil
	}
	return log.Bytes(), failed, err
}

// pkgConfig asks for the flags of packages; it knows nothing when pkg-config does not, or is not there.
func pkgConfig(ctx context.Context, env, packages []string) (cflags, libs []string, known bool) {
	var answers [2][]string
	for i, question := range []string{"--cflags", "--libs"} {
		var output bytes.Buffer
		argv := slices.Concat([]string{"pkg-config", question}, packages)
		if err := run.Run(ctx, run.Command{Argv: argv, Env: env, Stdout: &output}); err != nil {
			return nil, nil, false
		}
		answers[i] = strings.Fields(output.String())
	}
	return answers[0], answers[1], true
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
