package recipes

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// .ci/roots --answers DIR leaves the logs of configure in DIR, as SUITE-KIND-VERSION.log: of a system that has nothing but a compiler,
// make and the C library (bare), and of one that has every build need (cold).
var (
	answersDir = flag.String("answers", "", "compare configure/glibc-x86_64.toml with what the logs of configure in this `DIR` say")
	update     = flag.Bool("update", false, "with -answers: write it instead")
)

// elsewhere are names that something else than the C library decides, on some machine if not on those of .ci/roots: the compiler, the
// kernel's headers, and libraries that have been part of the C library or are looked for together with others.
var elsewhere = regexp.MustCompile(`^ac_cv_(type___|header_(stdatomic|linux|asm|net_if|netcan|bluetooth|libintl|crypt|uuid|rpc|sys_soundcard|sys_sdt|X11|x11)` +
	`|func_(crypt|uuid|ffi|rl_|gdbm|dbm|db|sqlite|textdomain|bind_textdomain|X509|RAND|RSA|EVP|HMAC)|have_decl_(rl|UUID|MAXLOGNAME)|type_(uuid|rl))`)

// decided are the names whose answer the C library alone decides, going by the logs: the same wherever it was asked for, with
// libraries to develop with and without. That a header or a library is not there is never said: any package may bring it.
func decided(logs map[string]map[string]string) map[string]string {
	suites, values, asked := map[string]bool{}, map[string]map[string]bool{}, map[string]map[string]bool{}
	for log, found := range logs {
		suite, rest, _ := strings.Cut(log, "-")
		kind, _, _ := strings.Cut(rest, "-")
		suites[suite] = true
		for name, value := range found {
			if values[name] == nil {
				values[name], asked[name] = map[string]bool{}, map[string]bool{}
			}
			values[name][value], asked[name][suite+"-"+kind] = true, true
		}
	}
	answers := map[string]string{}
	for name, said := range values {
		value := slices.Collect(maps.Keys(said))
		absent := value[0] == "no" && (strings.HasPrefix(name, "ac_cv_header_") || strings.HasPrefix(name, "ac_cv_lib_"))
		if len(value) == 1 && len(asked[name]) == 2*len(suites) && !absent && eligible(name, value[0]) {
			answers[name] = value[0]
		}
	}
	return answers
}

var libraries = regexp.MustCompile(`^ac_cv_lib_(c|dl|m|pthread|rt|util)_`)

func eligible(name, value string) bool {
	return answerName.MatchString(name) && answerValue.MatchString(value) && !elsewhere.MatchString(name) &&
		(!strings.HasPrefix(name, "ac_cv_lib_") || libraries.MatchString(name))
}

func TestDecided(t *testing.T) {
	good := map[string]string{"ac_cv_func_fork": "yes", "ac_cv_header_poll_h": "yes"}
	for _, test := range []struct{ name, log, answer, want string }{
		{"the same everywhere", "two-cold-3.9.2", "ac_cv_func_fork=yes", "fork poll_h"},
		{"another value in one place", "two-cold-3.9.2", "ac_cv_func_fork=no", "poll_h"},
		{"another value without libraries", "two-bare-3.9.2", "ac_cv_func_fork=no", "poll_h"},
		{"asked in one place only", "two-cold-3.9.2", "ac_cv_func_new=yes", "fork poll_h"},
		{"of another kind", "two-cold-3.9.2", "ac_cv_c_const=yes", "fork poll_h"},
	} {
		logs := map[string]map[string]string{}
		for _, log := range []string{"one-bare-3.9.2", "one-cold-3.9.2", "two-bare-3.9.2", "two-cold-3.9.2"} {
			logs[log] = maps.Clone(good)
			logs[log]["ac_cv_header_io_h"] = "no" // a package may bring it
			logs[log]["ac_cv_header_linux_can_h"] = "yes"
		}
		name, value, _ := strings.Cut(test.answer, "=")
		logs[test.log][name] = value
		var got []string
		for _, name := range slices.Sorted(maps.Keys(decided(logs))) {
			got = append(got, strings.TrimPrefix(strings.TrimPrefix(name, "ac_cv_func_"), "ac_cv_header_"))
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// TestAnswersDecided compares, or writes, the answers that the program has.
func TestAnswersDecided(t *testing.T) {
	if *answersDir == "" {
		t.Skip("needs logs of configure, which .ci/roots --answers DIR makes")
	}
	files := globFiles(t, filepath.Join(*answersDir, "*-*-*.log"))
	logs := map[string]map[string]string{}
	line := regexp.MustCompile(`^(ac_cv_\w+)=(\w+)$`)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
			if m := line.FindStringSubmatch(lines.Text()); m != nil {
				found[m[1]] = m[2]
			}
		}
		logs[strings.TrimSuffix(filepath.Base(file), ".log")] = found
	}
	answers := decided(logs)
	const file = "configure/glibc-x86_64.toml"
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := bytes.Cut(old, []byte("\n[answers]\n"))
	text := bytes.NewBuffer(slices.Concat(head, []byte("\n[answers]\n")))
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		fmt.Fprintf(text, "%s = %q\n", name, answers[name])
	}
	if *update {
		err = os.WriteFile(file, text.Bytes(), 0o644)
	} else if !bytes.Equal(text.Bytes(), old) {
		err = errors.New(file + " is not what these logs say")
	}
	if err != nil {
		t.Error(err)
	}
}

// TestAnswers: whom the small and the embedded catalogue tell something, and whom they do not.
func TestAnswers(t *testing.T) {
	c := loadEmbedded(t)
	for _, row := range []struct {
		toolchain Toolchain
		want      bool
	}{
		{Toolchain{"gcc", "12.2.0", "glibc", "2.36", "x86_64"}, true},
		{Toolchain{"gcc", "10.2.1", "glibc", "2.31", "x86_64"}, true},
		{Toolchain{"gcc", "16.1.0", "glibc", "2.43", "x86_64"}, true},
		{Toolchain{"gcc", "9.4.0", "glibc", "2.31", "x86_64"}, false},
		{Toolchain{"gcc", "17.0.0", "glibc", "2.43", "x86_64"}, false},
		{Toolchain{"gcc", "12.2.0", "glibc", "2.30", "x86_64"}, false},
		{Toolchain{"gcc", "16.1.0", "glibc", "2.44", "x86_64"}, false},
		{Toolchain{"gcc", "12.2.0", "glibc", "", "x86_64"}, false},
		{Toolchain{"gcc", "", "glibc", "2.36", "x86_64"}, false},
		{Toolchain{"gcc", "12.2.0", "musl", "", "x86_64"}, false},
		{Toolchain{"clang", "16.0.6", "glibc", "2.36", "x86_64"}, false},
		{Toolchain{"gcc", "12.2.0", "glibc", "2.36", ""}, false},
		{Toolchain{}, false},
	} {
		if got := c.Answers(row.toolchain); (len(got) > 0) != row.want {
			t.Errorf("%+v: %d answers", row.toolchain, len(got))
		}
	}
	for _, a := range c.AllAnswers {
		for name, value := range a.Values {
			if !eligible(name, value) {
				t.Errorf("%s = %q: something else than the C library decides that", name, value)
			}
		}
	}
}

func TestLoadAnswersRefuses(t *testing.T) {
	const conditions = "machine = \"x86_64\"\nwith = [\"glibc >= 2.31\"]\n"
	for _, test := range []struct{ name, text, want string }{
		{"good", conditions + "[answers]\nac_cv_func_fork = \"yes\"\n", ""},
		{"no machine", "with = [\"gcc\"]\n[answers]\nac_cv_func_fork = \"yes\"\n", "no machine"},
		{"no condition", "machine = \"x86_64\"\n[answers]\nac_cv_func_fork = \"yes\"\n", "not both conditions and answers"},
		{"no answer", conditions, "not both conditions and answers"},
		{"an unknown library", "machine = \"x86_64\"\nwith = [\"uclibc\"]\n[answers]\nac_cv_func_fork = \"yes\"\n", `with: toolchain "uclibc" is none of gcc, clang, glibc, musl`},
		{"CPython's own", conditions + "[answers]\nac_cv_working_tzset = \"yes\"\n", `ac_cv_working_tzset = "yes" is no answer about a C library`},
		{"a command", conditions + "[answers]\nac_cv_func_fork = \"$(x)\"\n", `ac_cv_func_fork = "$(x)" is no answer about a C library`},
	} {
		c := new(Catalogue)
		err := c.loadAnswers(fstest.MapFS{"configure/x.toml": {Data: []byte(test.text)}})
		if test.want == "" && (err != nil || len(c.AllAnswers) != 1) {
			t.Errorf("%s: %v", test.name, err)
		}
		if failed, ok := errors.AsType[*FileError](err); test.want != "" && (!ok || failed.Err.Error() != test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}
