package build

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// A Launcher is a program that make calls instead of the compiler, with the compiler's command as its arguments: it has kept what
// comes of that, or lets another machine do it. configure is not told: what it finds out, and what the installed Python says of
// its compiler, is the same as without.
type Launcher struct {
	// Name is the program: ccache.
	Name string
	// Env is added to the environment of the steps that it works in.
	Env []string
	// Anywhere are variables that let it take what was compiled in another directory for the same: {source} stands for the source
	// tree. Those in Undebugged do so although the compiler writes the name of its directory into debug information, and are left
	// out where there is any.
	Anywhere, Undebugged []string
}

// env is what the launcher is told for a build in the directory source.
func (l *Launcher) env(source string, debugged bool) []string {
	env := slices.Clone(l.Env)
	for _, v := range l.Anywhere {
		env = append(env, strings.ReplaceAll(v, "{source}", source))
	}
	if !debugged {
		env = append(env, l.Undebugged...)
	}
	return env
}

// through lets a step use the launcher. Not one that makes or uses a profile: the names of its files are those of the objects in this
// very directory, and a compiler on another machine would not find them, and compile without.
func (l *Launcher) through(s Step, source, cflags string) Step {
	s.Launcher = l.Name
	s.Env = append(s.Env, l.env(source, debugged(cflags))...)
	return s
}

// debugged reports whether the compiler writes debug information. CPython asks for it, and cflags come after what CPython asks for.
func debugged(cflags string) bool {
	debugged := true
	for flag := range strings.FieldsSeq(cflags) {
		if strings.HasPrefix(flag, "-g") {
			debugged = flag != undebugged
		}
	}
	return debugged
}

// undebugged is how the compiler is told to write no debug information.
const undebugged = "-g0"

// compilerLine is where the Makefile says what compiles. It may be more than configure was told: up to 3.9 "gcc -pthread".
var compilerLine = regexp.MustCompile(`^CC=\s*(\S.*?)\s*$`)

// launch gives the compiler that configure chose, behind the step's launcher, to every make of the step: on the command line, because
// then it reaches the makes below and setup.py, and is in no file. Without a launcher the step stays what it is.
func (p *Plan) launch(s Step) (Step, error) {
	if s.Launcher == "" {
		return s, nil
	}
	compiler := ""
	if err := p.readSource("Makefile", func(r io.Reader) error {
		return eachLine(r, func(line string) {
			if m := compilerLine.FindStringSubmatch(line); m != nil {
				compiler = m[1]
			}
		})
	}); err != nil {
		return s, fmt.Errorf("reading what compiles: %w", err)
	}
	if compiler == "" {
		return s, errors.New("the Makefile does not say what compiles")
	}
	if strings.HasPrefix(compiler, s.Launcher+" ") {
		return s, nil // the user's own CC goes through it, and it does not call itself
	}
	with := func(commands [][]string) (list [][]string) {
		for _, argv := range commands {
			if argv[0] == "make" {
				argv = slices.Insert(slices.Clone(argv), 1, "CC="+s.Launcher+" "+compiler)
			}
			list = append(list, argv)
		}
		return list
	}
	s.Commands, s.Fewer = with(s.Commands), with(s.Fewer)
	return s, nil
}
