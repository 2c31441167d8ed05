package recipes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// alsoSaidByGoodBuilds are the failures whose words stand in the logs of some builds that go well, and what those builds do.
// They come last, so that they are found only where nothing else is.
var alsoSaidByGoodBuilds = map[string]string{
	"clock-skew":       "it is a warning of make",
	"training":         "up to 3.12 make goes on after it",
	"openssl-unusable": "a build without ssl does not need it",
}

// TestFailures holds every failure of the embedded data to its excerpt, and every excerpt to its failure.
func TestFailures(t *testing.T) {
	c := loadEmbedded(t)
	if len(c.Failures) == 0 {
		t.Fatal("no failures")
	}
	var want []string // names of excerpts
	for _, f := range c.Failures {
		want = append(want, f.Name+".log")
		t.Run(f.Name, func(t *testing.T) {
			lines := readLog(t, "testdata/failures/"+f.Name+".log")
			if len(lines) > 30 {
				t.Errorf("the excerpt has %d lines, want at most 30", len(lines))
			}
			if got := firstFailure(c, lines); got != f {
				t.Errorf("the excerpt is taken for %q, want %q", failureName(got), f.Name)
			}
			checkFailureWords(t, f)
		})
	}
	var got []string
	for _, file := range globFiles(t, "testdata/failures/*") {
		got = append(got, filepath.Base(file))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("excerpts %q, want %q", got, want)
	}
}

// TestFailuresOrder keeps the failures that prove little behind those that prove much.
func TestFailuresOrder(t *testing.T) {
	c := loadEmbedded(t)
	first := len(c.Failures) - len(alsoSaidByGoodBuilds)
	for i, f := range c.Failures {
		if _, weak := alsoSaidByGoodBuilds[f.Name]; weak != (i >= first) {
			t.Errorf("%s is at %d of %d", f.Name, i, len(c.Failures))
		}
	}
}

// TestFailuresInGoodLogs runs every failure over what builds that went well have said.
func TestFailuresInGoodLogs(t *testing.T) {
	c := loadEmbedded(t)
	for _, file := range globFiles(t, "testdata/good/*.log") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for i, line := range readLog(t, file) {
				for _, f := range c.Failures {
					if f.Match(line) {
						t.Errorf("line %d is taken for %s: %s", i+1, f.Name, line)
					}
				}
			}
		})
	}
}

// TestFailureMatch has lines that are close to each other, of which one tells and the other does not.
func TestFailureMatch(t *testing.T) {
	c := loadEmbedded(t)
	tests := []struct {
		line string
		want string // empty: none
	}{
		{"gcc: internal compiler error: Killed (program cc1)", "out-of-memory"},
		{"gcc: internal compiler error: Aborted (program cc1)", "compiler-crash"},
		{"make: *** [Makefile:1703: Parser/parser.o] Error 137", "out-of-memory"},
		{"make: *** [Makefile:1703: Parser/parser.o] Error 1", ""},
		{"make: *** [Makefile:1703: platform] Error 139", "interpreter-crash"},
		{"make: *** [platform] Segmentation fault (core dumped)", "interpreter-crash"},
		{"make[1]: ./python: Permission denied", "noexec"},
		{"/bin/sh: line 1: ./_bootstrap_python: Permission denied", "noexec"},
		{"ls: cannot open directory '/root': Permission denied", ""},
		{"checking for multiarch... configure: error: internal configure error for the platform triplet, please file a bug report", "platform-triplet"},
		{"configure: WARNING: unrecognized options: --with-ssl", ""},
		{"configure: error: unrecognized options: --with-ssl", "unknown-option"},
		{"./configure: line 8448: which: command not found", ""},
		{"/bin/sh: 1: ranlib: not found", "missing-tool"},
		{"/bin/sh: line 1: ar: command not found", "missing-tool"},
		{"checking for stdatomic.h... no", ""},
		{"Modules/_ssl.c:1821:17: warning: implicit declaration of function 'SSL_get_peer_certificate'", ""},
		{"Modules/_ssl.c:1821:17: error: implicit declaration of function 'SSL_get_peer_certificate'", "openssl-mismatch"},
		{"Python/fileutils.c:2398:9: error: implicit declaration of function 'close_range'", "implicit-declaration"},
		{"a.c:3:5: warning: passing argument 1 of 'g' from incompatible pointer type [-Wincompatible-pointer-types]", ""},
		{"a.c:3:5: error: passing argument 1 of 'g' from incompatible pointer type [-Wincompatible-pointer-types]", "compiler-too-new"},
		{"./Modules/_bz2module.c:10:10: fatal error: bzlib.h: No such file or directory", "missing-header"},
		{"./Modules/_bz2module.c:10:10: fatal error: 'bzlib.h' file not found", "missing-header"},
		{"Include/cpython/pyatomic_std.h:17:10: fatal error: stdatomic.h: No such file or directory", "compiler-too-old"},
		{"ld.lld: error: unable to find library -lbz2", "missing-library"},
		{"ld.lld: error: undefined symbol: BZ2_bzopen", "undefined-symbol"},
		{"/usr/bin/ld: at.o: in function `main': undefined reference to `__atomic_load_8'", "libatomic"},
		{"Result: FAILURE then SUCCESS", ""},
		{"== Tests result: FAILURE ==", "training"},
		{"Result: FAILURE", "training"},
		{"checking whether OpenSSL provides required ssl module APIs... yes", ""},
		{"checking whether OpenSSL provides required ssl module APIs... no", "openssl-unusable"},
	}
	for _, test := range tests {
		if got := firstFailure(c, []string{test.line}); failureName(got) != test.want {
			t.Errorf("%q is taken for %q, want %q", test.line, failureName(got), test.want)
		}
	}
	if f := (&Failure{Name: "x", Pattern: "."}); f.Match("x") {
		t.Error("a Failure that is not from a catalogue matches")
	}
}

// checkFailureWords holds what people read to the manner of every other message: no capital, no full stop, one line.
func checkFailureWords(t *testing.T, f *Failure) {
	t.Helper()
	for key, text := range map[string]string{"summary": f.Summary, "remedy": f.Remedy} {
		if strings.HasSuffix(text, ".") || strings.ContainsAny(text, "\n\t") || len(text) > 180 {
			t.Errorf("%s %q is not one line without a full stop, of at most 180 bytes", key, text)
		}
		if text[0] < 'a' || text[0] > 'z' {
			t.Errorf("%s %q does not begin with a small letter", key, text)
		}
	}
	if f.Source != "made" && !strings.HasPrefix(f.Source, "https://") {
		t.Errorf("source %q is neither made nor an address", f.Source)
	}
}

// firstFailure returns the first failure in the order of the catalogue that any of the lines is of, or nil.
func firstFailure(c *Catalogue, lines []string) *Failure {
	for _, f := range c.Failures {
		if slices.ContainsFunc(lines, f.Match) {
			return f
		}
	}
	return nil
}

func failureName(f *Failure) string {
	if f == nil {
		return ""
	}
	return f.Name
}

func readLog(t *testing.T, file string) []string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		t.Fatalf("%s is empty", file)
	}
	return strings.Split(text, "\n")
}

func globFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no %s: %v", pattern, err)
	}
	return files
}
