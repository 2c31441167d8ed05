package host

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"pybuild/build/run"
)

// features are those of a processor whose names the compiler and the kernel do not agree on: the end of a macro, without
// underscores and in lower case, and the kernel's word. All others are the same but for that.
var features = map[string]string{
	// x86: https://gcc.gnu.org/onlinedocs/gcc/x86-Options.html; arch/x86/include/asm/cpufeatures.h of Linux
	"sse3":   "pni",
	"lzcnt":  "abm",
	"sha":    "sha_ni",
	"rdrnd":  "rdrand",
	"bmi":    "bmi1",
	"pclmul": "pclmulqdq",
	"prfchw": "3dnowprefetch",
	// arm64: https://github.com/ARM-software/acle; Documentation/arch/arm64/elf_hwcaps.rst of Linux
	"dotprod":              "asimddp",
	"fp16vectorarithmetic": "asimdhp",
	"fp16scalararithmetic": "fphp",
	"jcvt":                 "jscvt",
	"complex":              "fcma",
	"rcpc":                 "lrcpc",
	"matmulint8":           "i8mm",
	"qrdmx":                "asimdrdm",
}

// Instructions returns which of the features of this machine's processor, in the kernel's words, the compiler uses in the
// environment env of a build: those that are on with the flags that it has for CPython alone. The compiler runs in dir.
func Instructions(ctx context.Context, env []string, processor []string, dir string, confine *run.Confinement) ([]string, error) {
	argv := slices.Concat(Compiler(env), strings.Fields(value(env, "CFLAGS")), strings.Fields(value(env, "CFLAGS_NODIST")), []string{"-dM", "-E", "-x", "c", "/dev/null"})
	var macros, log bytes.Buffer
	if err := run.Run(ctx, run.Command{Argv: argv, Env: env, Dir: dir, Confine: confine, Stdout: &macros, Log: &log}); err != nil {
		return nil, fmt.Errorf("asking the compiler which instructions it uses: %w", err)
	}
	return instructions(macros.String(), processor), nil
}

// instructions are those of the processor's features for which the compiler has a macro: "#define __AVX512F__ 1",
// "#define __ARM_FEATURE_CRC32 1".
func instructions(macros string, processor []string) (list []string) {
	on := map[string]bool{}
	for line := range strings.Lines(macros) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "#define" {
			name := strings.TrimPrefix(fields[1], "__ARM_FEATURE_")
			on[plainName(name)] = true
			if word := features[plainName(name)]; word != "" {
				on[plainName(word)] = true
			}
		}
	}
	for _, f := range processor {
		if on[plainName(f)] {
			list = append(list, f)
		}
	}
	return list
}

// plainName is a name as neither the compiler nor the kernel writes it: they differ in where they put underscores.
func plainName(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "")) }
