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
	// Confine keeps compilers and their programs from what they do not need; nil does not. They write into the work directory.
	Confine *run.Confinement
	// Required says whether a part must be there; a part that need not be is reported as missing all the same.
	Required func(*recipes.Part) bool
}

// Missing is one need that the machine lacks.
type Missing struct {
	// Name is the tool or part: "compiler", "ssl".
	Name string `json:"name"`
	// Reason is what was looked for and how it failed: "openssl/ssl.h not found".
	Reason string `json:"reason"`
	// Libraries are what it takes, whatever a distribution calls it, any one of them: "zlib.h and libz". Empty for a tool.
	Libraries []string `json:"libraries,omitempty"`
	// Packages are the distribution's names; nil when there is no list for it, or no package would help.
	Packages []string `json:"packages,omitempty"`
	// Absent says that the distribution has no package for it.
	Absent bool `json:"absent,omitempty"`
	// Required says that the build cannot go on without it.
	Required bool `json:"required"`
}

// MissingError lists every required need that is missing, and the command that would install them all.
type MissingError struct {
	Host    *Host
	Missing []Missing
	// Install is the distribution's own command for everything missing, what is only wanted included. It is nil when no list
	// applies or no package would help.
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
// What the distribution does not have is left out.
func (h *Host) Install(missing []Missing) []string {
	if h.Platform == nil {
		return nil
	}
	var packages []string
	for _, m := range missing {
		if !m.Absent {
			packages = append(packages, m.Packages...)
		}
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
	if h.Platform == nil || slices.Contains(h.Platform.Absent, need) {
		return nil
	}
	return h.Platform.Packages[need]
}

// lacks is what there is to say about a need that is missing.
func (h *Host) lacks(name, reason string, required bool) Missing {
	m := Missing{Name: name, Reason: reason, Packages: h.packages(name), Required: required}
	if h.Platform != nil && slices.Contains(h.Platform.Absent, name) {
		m.Absent = true
		m.Reason += "; " + cmp.Or(h.Name, h.ID) + " has no package for it"
		if len(h.Platform.Says) > 0 {
			m.Reason += ": " + strings.Join(h.Platform.Says, "; ")
		}
	}
	return m
}

// Findings is what a machine was found to have and to lack.
type Findings struct {
	// Missing are the needs that are not there, in the order of the recipes.
	Missing []Missing
	// ConfigureArgs is what configure must be told to use what is there.
	ConfigureArgs []string
	// Toolchain is what will compile; empty when the tools that were asked for hold no compiler, or it does not work.
	Toolchain recipes.Toolchain
	// Env takes the place of the same names in the environment of the build.
	Env []string
	// Notes are for people: what they should know although nothing is missing.
	Notes []string
}

// Probe looks for every need, the compile-and-link probes side by side. root is the machine's file system; work is an empty
// directory for the test programs, on the file system of the build. The error is for what kept it from looking: the context's
// cause, or a work directory that cannot be written.
func (h *Host) Probe(ctx context.Context, root fs.FS, work string, needs Needs) (*Findings, error) {
	found := &Findings{}
	cc := Compiler(needs.Env)
	broken, err := h.probeTools(ctx, root, cc, work, needs, found)
	if err != nil {
		return nil, err
	}
	if jobs, cpus := Jobs(root), runtime.GOMAXPROCS(0); jobs < cpus {
		available, _ := Memory(root)
		found.Notes = append(found.Notes, fmt.Sprintf("%d CPUs, but memory for %d compilers at once: %s available", cpus, jobs, mib(available)))
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
			m := h.lacks(p.Name, reasons[i], needs.Required(p))
			m.Libraries = libraries(p)
			found.Missing = append(found.Missing, m)
		} else if probes[i] != nil {
			found.ConfigureArgs = append(found.ConfigureArgs, probes[i].ConfigureArgs...)
		}
	}
	return found, nil
}

// probeTools looks for the tools. broken says that the compiler makes nothing at all.
func (h *Host) probeTools(ctx context.Context, root fs.FS, cc []string, work string, needs Needs, found *Findings) (broken bool, err error) {
	for _, t := range needs.Tools {
		var reason string
		var tried verdict
		switch t.Name {
		case "compiler":
			tried, err = probeCompiler(ctx, cc, work, needs, found)
			reason, broken = tried.reason, !tried.compiles
		case "make":
			reason, err = tryMake(ctx, root, work, needs, t)
		default:
			reason = lookForTool(root, needs.Env, t)
		}
		if err != nil {
			return false, err
		}
		if reason != "" {
			m := h.lacks(t.Name, reason, true)
			if tried.compiles { // it is there, and no package makes its programs run
				m.Packages = nil
			}
			found.Missing = append(found.Missing, m)
		}
	}
	return broken, nil
}

// probeCompiler tries the compiler and, when it works, notes what it is and what its C library lacks.
func probeCompiler(ctx context.Context, cc []string, work string, needs Needs, found *Findings) (tried verdict, err error) {
	if tried, err = tryCompiler(ctx, cc, work, needs); err != nil || tried.reason != "" {
		return tried, err
	}
	if !tried.utf8 {
		found.Env = append(found.Env, "LC_ALL=C")
		found.Notes = append(found.Notes, "this system has no locale C.UTF-8: the build runs in the locale C")
	}
	found.Toolchain, err = toolchain(ctx, cc, work, needs)
	return tried, err
}

// libraries says what a part takes, once for each of its probes.
func libraries(p *recipes.Part) (list []string) {
	for _, probe := range p.Probes {
		names := slices.DeleteFunc(slices.Clone(probe.Headers), func(header string) bool { return header == "stdio.h" }) // every compiler has it
		for _, lib := range probe.Libs {
			names = append(names, "lib"+lib)
		}
		if n := len(names); n > 1 {
			names = []string{strings.Join(names[:n-1], ", "), names[n-1]}
		}
		if text := strings.Join(names, " and "); text != "" && !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}

// tryMake says what is wrong with make, "" when one of the commands carries out a rule. Any make will do.
func tryMake(ctx context.Context, root fs.FS, work string, needs Needs, t *recipes.Tool) (reason string, err error) {
	if reason := lookForTool(root, needs.Env, t); reason != "" {
		return reason, nil
	}
	if err := os.WriteFile(filepath.Join(work, "make.mk"), []byte("all:\n\t@exit 0\n"), 0o644); err != nil {
		return "", fmt.Errorf("probing for build needs: %w", err)
	}
	for _, name := range t.Commands {
		if !inPath(needs.Env, name) {
			continue
		}
		var log bytes.Buffer
		err := run.Run(ctx, run.Command{Argv: []string{name, "-f", "make.mk"}, Dir: work, Env: needs.Env, Confine: needs.Confine, Log: &log})
		var failed *run.Error
		if !errors.As(err, &failed) { // it works, or could not be asked
			return "", err
		}
		if reason == "" {
			reason = name + " does not work: " + whyNot(log.Bytes(), failed.Err)
		}
	}
	return reason, nil
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
		output, failed, err := compile(ctx, cc, name, needs, source(probe), cflags, libs)
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
			if cflags, libs, known = pkgConfig(ctx, filepath.Dir(work), needs, probe.PkgConfig); known {
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

// pkgConfig asks for the flags of packages; it knows nothing when pkg-config does not, or is not there.
func pkgConfig(ctx context.Context, work string, needs Needs, packages []string) (cflags, libs []string, known bool) {
	var answers [2][]string
	for i, question := range []string{"--cflags", "--libs"} {
		var output bytes.Buffer
		argv := slices.Concat([]string{"pkg-config", question}, packages)
		if err := run.Run(ctx, run.Command{Argv: argv, Dir: work, Env: needs.Env, Stdout: &output, Confine: needs.Confine}); err != nil {
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
