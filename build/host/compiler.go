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
	"slices"
	"strings"

	"pybuild/build/run"
	"pybuild/recipes"
)

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

// verdict is what came of trying the compiler.
type verdict struct {
	reason   string // what is wrong; empty: nothing
	compiles bool   // it makes programs, although they may not run here
	utf8     bool   // the C library has the locale C.UTF-8
}

// trial is the program that the compiler must make, and that must run.
const trial = `#include <locale.h>
#include <stdio.h>
int main(void) { return puts(setlocale(LC_ALL, "C.UTF-8") ? "yes" : "no") < 0; }
`

// tryCompiler makes a program and runs it from the directory in which it was made, as configure will.
func tryCompiler(ctx context.Context, cc []string, work string, needs Needs) (verdict, error) {
	if len(cc) == 0 {
		return verdict{reason: "no C compiler in PATH"}, nil
	}
	output, failed, err := compile(ctx, cc, filepath.Join(work, "compiler"), needs, trial, nil, nil)
	switch {
	case err != nil:
		return verdict{}, err
	case failed != nil:
		return verdict{reason: run.Quote(cc) + " does not work: " + cmp.Or(firstError(output), failed.Err.Error())}, nil
	}
	var stdout, log bytes.Buffer
	err = run.Run(ctx, run.Command{Argv: []string{"./compiler"}, Dir: work, Env: needs.Env, Confine: needs.Confine, Stdout: &stdout, Log: &log})
	if errors.As(err, &failed) {
		reason := fmt.Sprintf("%s makes programs that do not run in %s: %s", run.Quote(cc), work, whyNot(log.Bytes(), failed.Err))
		if system, err := statFileSystem(work); err == nil && system.noexec {
			reason += ", it is mounted noexec"
		}
		return verdict{reason: reason, compiles: true}, nil
	}
	return verdict{compiles: true, utf8: stdout.String() == "yes\n"}, err
}

// whyNot says why a program did not do its work: what it or its loader said first, or else the kernel.
func whyNot(output []byte, err error) string {
	if line, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n"); line != "" {
		return line
	}
	var start *fs.PathError
	if errors.As(err, &start) {
		return start.Err.Error()
	}
	return err.Error()
}

// whatCompiles is for the preprocessor: what the compiler and the C library say of themselves, in words up to a semicolon, because
// gcc breaks the line before what a system header has defined. Strings are not replaced, whatever the user defines. Compilers that only pretend to be one of the two are neither. The C library of Linux that
// has no macro of its own is musl.
const whatCompiles = `#include <limits.h>
#if defined __apple_build_version__ || defined __INTEL_COMPILER || defined __INTEL_LLVM_COMPILER || defined __NVCOMPILER || defined __TINYC__
#elif defined __clang__
"compiler" "clang" __clang_major__ __clang_minor__ __clang_patchlevel__ ;
#elif defined __GNUC__
"compiler" "gcc" __GNUC__ __GNUC_MINOR__ __GNUC_PATCHLEVEL__ ;
#endif
#if defined __UCLIBC__ || defined __BIONIC__
#elif defined __GLIBC__
"libc" "glibc" __GLIBC__ __GLIBC_MINOR__ ;
#elif defined __linux__
"libc" "musl" ;
#endif
#if defined __x86_64__ && defined __LP64__
"machine" "x86_64" ;
#endif
`

// toolchain asks the preprocessor, with the flags of the build, what it belongs to. What it does not say stays empty.
func toolchain(ctx context.Context, cc []string, work string, needs Needs) (recipes.Toolchain, error) {
	const name = "toolchain.c"
	if err := os.WriteFile(filepath.Join(work, name), []byte(whatCompiles), 0o644); err != nil {
		return recipes.Toolchain{}, fmt.Errorf("probing for build needs: %w", err)
	}
	argv := slices.Concat(cc, strings.Fields(value(needs.Env, "CPPFLAGS")), strings.Fields(value(needs.Env, "CFLAGS")), []string{"-E", "-P", name})
	var output bytes.Buffer
	err := run.Run(ctx, run.Command{Argv: argv, Env: needs.Env, Confine: needs.Confine, Dir: work, Stdout: &output})
	var failed *run.Error
	if err != nil && !errors.As(err, &failed) {
		return recipes.Toolchain{}, err
	}
	return parseToolchain(output.Bytes()), nil
}

// parseToolchain reads what the preprocessor made of whatCompiles, among lines of its own.
func parseToolchain(output []byte) (t recipes.Toolchain) {
	words := strings.Fields(string(output))
	for i, word := range words {
		if word != `"compiler"` && word != `"libc"` && word != `"machine"` {
			continue
		}
		said := words[i+1:]
		end := slices.Index(said, ";")
		if end < 1 || slices.ContainsFunc(said[1:end], func(s string) bool { return strings.Trim(s, "0123456789") != "" }) {
			continue
		}
		name, version := strings.Trim(said[0], `"`), strings.Join(said[1:end], ".")
		switch word {
		case `"compiler"`:
			t.Compiler, t.CompilerVersion = name, version
		case `"libc"`:
			t.Libc, t.LibcVersion = name, version
		default:
			t.Machine = name
		}
	}
	return t
}

// compile builds one program from text, next to name, and returns what the compiler said. failed is the compiler's refusal, err
// what kept it from being asked.
func compile(ctx context.Context, cc []string, name string, needs Needs, text string, cflags, libs []string) (output []byte, failed *run.Error, err error) {
	if err := os.WriteFile(name+".c", []byte(text), 0o644); err != nil {
		return nil, nil, fmt.Errorf("probing for build needs: %w", err)
	}
	dir, base := filepath.Split(name) // the compiler's messages name the file as it was given: not with a directory that is soon gone
	argv := slices.Concat(cc, strings.Fields(value(needs.Env, "CPPFLAGS")), strings.Fields(value(needs.Env, "CFLAGS")), cflags,
		[]string{base + ".c", "-o", base}, strings.Fields(value(needs.Env, "LDFLAGS")), libs)
	var log bytes.Buffer
	err = run.Run(ctx, run.Command{Argv: argv, Env: needs.Env, Confine: needs.Confine, Dir: dir, Log: &log})
	if errors.As(err, &failed) {
		err = nil
	}
	return log.Bytes(), failed, err
}
