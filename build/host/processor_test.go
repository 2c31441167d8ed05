package host

import (
	"slices"
	"strings"
	"testing"
)

func TestInstructions(t *testing.T) {
	for _, test := range []struct{ name, macros, processor, want string }{
		{"nothing beyond the architecture's", "#define __SSE2__ 1\n#define __x86_64__ 1\n", "fpu sse2 avx2", "sse2"},
		{"names that differ", "#define __SSE3__ 1\n#define __SSE4_1__ 1\n#define __LZCNT__ 1\n#define __AVX512VNNI__ 1\n#define __PCLMUL__ 1\n#define __BMI__ 1\n#define __SHA__ 1\n#define __RDRND__ 1\n#define __AMX_TILE__ 1\n",
			"abm amx_tile avx512_vnni bmi1 bmi2 pclmulqdq pni rdrand sha_ni sse4_1 sse4_2", "abm amx_tile avx512_vnni bmi1 pclmulqdq pni rdrand sha_ni sse4_1"},
		{"what the kernel does not show is not asked for", "#define __AVX512F__ 1\n#define __AVX2__ 1\n", "avx2", "avx2"},
		{"arm64", "#define __ARM_FEATURE_CRC32 1\n#define __ARM_FEATURE_ATOMICS 1\n#define __ARM_FEATURE_DOTPROD 1\n#define __ARM_FEATURE_SVE 1\n", "aes asimddp atomics crc32 sha2 sve sve2", "asimddp atomics crc32 sve"},
		{"an unknown processor", "#define __AVX2__ 1\n", "", ""},
		{"no macro", "__AVX2__ 1\n#define\n#undef __AVX2__\n", "avx2", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := instructions(test.macros, strings.Fields(test.processor)); !slices.Equal(got, strings.Fields(test.want)) {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestInstructionsOf: a compiler that is told of an instruction set uses it.
func TestInstructionsOf(t *testing.T) {
	env := []string{"PATH=/usr/bin:/bin", "CFLAGS_NODIST=-g0 -D__AVX9000__=1"}
	for flags, want := range map[string][]string{"-g0 -D__AVX9000__=1": {"avx9000"}, "-g0": nil} {
		env[1] = "CFLAGS_NODIST=" + flags
		got, err := Instructions(t.Context(), env, []string{"avx9000", "avx9001"}, t.TempDir(), nil)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", flags, got, err, want)
		}
	}
	if _, err := Instructions(t.Context(), []string{"PATH=/usr/bin:/bin", "CC=false"}, nil, t.TempDir(), nil); err == nil || err.Error() != "asking the compiler which instructions it uses: false -dM -E -x c /dev/null: exit status 1" {
		t.Errorf("error %v", err)
	}
}
