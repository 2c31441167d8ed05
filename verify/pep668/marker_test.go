package pep668_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"pybuild/verify/pep668"
)

// marked is a marker with this text for the user.
func marked(text string) string { return "[externally-managed]\nError=" + text + "\n" }

// variants are markers, and what pip makes of them for a user whose language is German.
var variants = []struct {
	name, text     string
	state          string
	message        string // what the marker says; empty: pip uses its own words
	key, unwilling string // Marker.Key and Marker.Problem
}{
	{"plain", marked("Use apt."), "present", "Use apt.", "Error", ""},
	{"two lines", marked("Use\n apt."), "present", "Use\napt.", "Error", ""},
	{"paragraphs", marked("Use\n\n apt.\n\n"), "present", "Use\n\napt.", "Error", ""},
	{"blank lines at the end", marked("Use apt.\n\n \n"), "present", "Use apt.", "Error", ""},
	{"comments within", marked("Use\n # not this\n apt."), "present", "Use\napt.", "Error", ""},
	{"colon", "[externally-managed]\nerror : Use: apt = good\n", "present", "Use: apt = good", "Error", ""},
	{"percent", marked("100 % %(home)s %%"), "present", "100 % %(home)s %%", "Error", ""},
	{"markup", marked("[bold]Use[/bold] apt"), "present", "[bold]Use[/bold] apt", "Error", ""},
	{"CRLF", "[externally-managed]\r\nError=Use\r\n apt.\r\n", "present", "Use\napt.", "Error", ""},
	{"CR alone", "[externally-managed]\rError=Use\r apt.\r", "present", "Use\napt.", "Error", ""},
	{"no end of line", "[externally-managed]\nError=Use apt.", "present", "Use apt.", "Error", ""},
	{"upper case", "[externally-managed]\nERROR=Use apt.\n", "present", "Use apt.", "Error", ""},
	{"German of Germany", marked("a") + "Error-de=b\nError-de_DE=c\n", "present", "c", "Error-de_DE", ""},
	{"German", marked("a") + "Error-de=b\nError-fr=c\n", "present", "b", "Error-de", ""},
	{"French only", "[externally-managed]\nError-fr=c\n", "present", "", "", "no option Error"},
	{"German only", "[externally-managed]\nError-de_de=c\n", "present", "c", "Error-de_DE", ""},
	{"defaults", "[DEFAULT]\nError=d\n[externally-managed]\n", "present", "d", "Error", ""},
	{"defaults alone", "[DEFAULT]\nError=d\n", "present", "", "", "no section [externally-managed]"},
	{"defaults are overridden", "[DEFAULT]\nError=d\n[externally-managed]\nError=e\n", "present", "e", "Error", ""},
	{"empty text", "[externally-managed]\nError=\n", "present", "", "Error", ""},
	{"behind the bracket", "[externally-managed] # ours\nError=x\n", "present", "x", "Error", ""},
	{"Unicode", marked("Größe"), "present", "Größe", "Error", ""},
	{"odd white space", "[externally-managed]\x1c\n\u00a0Error\u2003=\u2003x\u3000\n", "present", "x", "Error", ""},
	{"empty", "", "present", "", "", "no section [externally-managed]"},
	{"comment alone", "# nothing\n", "present", "", "", "no section [externally-managed]"},
	{"other section", "[managed]\nError=x\n", "present", "", "", "no section [externally-managed]"},
	{"other case", "[Externally-Managed]\nError=x\n", "present", "", "", "no section [externally-managed]"},
	{"no option", "[externally-managed]\nText=x\n", "present", "", "", "no option Error"},
	{"no section", "Error=x\n", "present", "", "", "line 1: no section before it"},
	{"BOM", "\ufeff" + marked("x"), "present", "", "", "line 1: no section before it"},
	{"option without a value", "[externally-managed]\nError\n", "present", "", "", "line 2: neither a section nor an option"},
	{"a bad line behind", marked("x") + "what\n", "present", "", "", "line 3: neither a section nor an option"},
	{"no name", "[externally-managed]\n=x\n", "present", "", "", "line 2: an option without a name"},
	{"empty section", "[]\nError=x\n", "present", "", "", "line 1: no section before it"},
	{"binary", "\x7fELF\x00\xff\xfe", "present", "", "", "not UTF-8"},
	{"Latin-1", marked("Gr\xf6\xdfe"), "present", "", "", "not UTF-8"},
	{"UTF-16", "\xff\xfe[\x00e\x00", "present", "", "", "not UTF-8"},
	{"option twice", marked("x") + "error=y\n", "broken", "", "", `line 3: the option "error" is there twice`},
	{"section twice", marked("x") + marked("y"), "broken", "", "", `line 3: the section "externally-managed" is there twice`},
	{"twice behind a bad line", "[externally-managed]\nwhat\nError=x\nerror=y\n", "broken", "", "", `line 4: the option "error" is there twice`},
	{"a bad line is continued", "[externally-managed]\nError=x\nwhat\n Error=y\n", "present", "", "", "line 3: neither a section nor an option"},
	{"defaults twice", "[DEFAULT]\na=b\n[DEFAULT]\n[externally-managed]\nError=x\n", "present", "x", "Error", ""},
	{"defaults' option twice", "[DEFAULT]\na=b\n[DEFAULT]\na=b\n", "broken", "", "", `line 4: the option "a" is there twice`},
}

func TestRead(t *testing.T) {
	for _, row := range variants {
		t.Run(row.name, func(t *testing.T) {
			root := fstest.MapFS{"usr/lib/python3.11/EXTERNALLY-MANAGED": {Data: []byte(row.text)}}
			want := pep668.Marker{Path: "/usr/lib/python3.11/EXTERNALLY-MANAGED", State: row.state, Message: row.message, Size: len(row.message), Key: row.key, Problem: row.unwilling}
			if got := pep668.Read(root, "/usr/lib/python3.11", "de_DE"); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

// TestReadKinds reads what is no file.
func TestReadKinds(t *testing.T) {
	file := &fstest.MapFile{Data: []byte(marked("x"))}
	link := func(to string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
	}
	const at = "usr/lib/python3.11/EXTERNALLY-MANAGED"
	for _, row := range []struct {
		name                    string
		root                    fstest.MapFS
		state, message, problem string
	}{
		{"file", fstest.MapFS{at: file}, "present", "x", ""},
		{"absent", fstest.MapFS{"usr/lib/python3.11/os.py": file}, "absent", "", ""},
		{"no library", fstest.MapFS{}, "absent", "", ""},
		{"link", fstest.MapFS{at: link("../marker"), "usr/lib/marker": file}, "present", "x", ""},
		{"absolute link", fstest.MapFS{at: link("/etc/marker"), "etc/marker": file}, "present", "x", ""},
		{"dangling link", fstest.MapFS{at: link("nowhere")}, "overlooked", "", "a link that leads nowhere"},
		{"loop", fstest.MapFS{at: link("EXTERNALLY-MANAGED")}, "overlooked", "", "a link that leads nowhere"},
		{"link out", fstest.MapFS{at: link("../../../../../../nowhere")}, "overlooked", "", "a link that leads nowhere"},
		{"directory", fstest.MapFS{at: {Mode: fs.ModeDir | 0o755}}, "overlooked", "", "not a file"},
		{"pipe", fstest.MapFS{at: {Mode: fs.ModeNamedPipe | 0o644}}, "overlooked", "", "not a file"},
		{"library is a link", fstest.MapFS{"usr/lib/python3.11": link("/opt/lib"), "opt/lib/EXTERNALLY-MANAGED": file}, "present", "x", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := pep668.Read(row.root, "/usr/lib/python3.11", "")
			if got.State != row.state || got.Message != row.message || got.Problem != row.problem {
				t.Errorf("got %+v, want %s, %q, %q", got, row.state, row.message, row.problem)
			}
		})
	}
}

func TestReadLarge(t *testing.T) {
	text := strings.Repeat("0123456789abcde\n ", 10<<20/17)
	got := pep668.Read(fstest.MapFS{"lib/EXTERNALLY-MANAGED": {Data: []byte(marked(text))}}, "/lib", "")
	if got.State != pep668.MarkerPresent || len(got.Message) != 8<<10 || got.Size < 9<<20 || got.Key != "Error" {
		t.Errorf("got %s, %d of %d bytes of %q", got.State, len(got.Message), got.Size, got.Key)
	}
}

func TestReadLanguage(t *testing.T) {
	root := fstest.MapFS{"lib/EXTERNALLY-MANAGED": {Data: []byte("[externally-managed]\nError=a\nError-pt=b\nError-pt_BR=c\nError-zh-Hant=d\nError-zh=e\n")}}
	for _, row := range []struct{ language, want string }{
		{"", "a"}, {"C", "a"}, {"en_US", "a"}, {"pt", "b"}, {"pt_PT", "b"}, {"pt_BR", "c"}, {"PT_br", "c"}, {"zh-Hant", "d"}, {"zh-Hans", "e"}, {"zh_TW", "e"},
	} {
		if got := pep668.Read(root, "/lib", row.language).Message; got != row.want {
			t.Errorf("%q: got %q, want %q", row.language, got, row.want)
		}
	}
}

func TestReadClosed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "EXTERNALLY-MANAGED")
	if err := os.WriteFile(file, []byte(marked("x")), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		t.Skip("nothing is closed to root")
	}
	root := os.DirFS("/")
	if got := pep668.Read(root, dir, ""); got.State != pep668.MarkerPresent || got.Message != "" || got.Problem != "permission denied" {
		t.Errorf("closed file: got %+v", got)
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755) // so that it can be removed
	if got := pep668.Read(root, dir, ""); got.State != pep668.MarkerUnknown || got.Problem != "permission denied" {
		t.Errorf("closed directory: got %+v", got)
	}
}

// asPip has pip itself read markers, and writes what it makes of each: a text, null for its own words, false for a crash.
const asPip = `
import json, locale, logging, sys
from pip._internal import exceptions
logging.disable(logging.CRITICAL)
locale.getlocale = lambda category=None: (sys.argv[1], "UTF-8")
answers = []
for path in sys.argv[2:]:
    try:
        e = exceptions.ExternallyManagedEnvironment.from_config(path)
        text = str(e.context)
        answers.append(None if text == exceptions._DEFAULT_EXTERNALLY_MANAGED_ERROR else text)
    except Exception:
        answers.append(False)
json.dump(answers, sys.stdout)
`

// TestReadAsPip holds every variant against the pip of this machine.
func TestReadAsPip(t *testing.T) {
	var python string
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), name, "-B", "-c", "from pip._internal.exceptions import ExternallyManagedEnvironment").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("no python3 here has a pip that knows of PEP 668")
	}
	dir := t.TempDir()
	argv := []string{"-B", "-c", asPip, "de_DE"}
	for i, row := range variants {
		file := filepath.Join(dir, "marker-"+string(rune('a'+i/26))+string(rune('a'+i%26)))
		if err := os.WriteFile(file, []byte(row.text), 0o644); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, file)
	}
	var complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), python, argv...)
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, &complaints)
	}
	var answers []any
	if err := json.Unmarshal(out, &answers); err != nil {
		t.Fatal(err)
	}
	for i, row := range variants {
		var want any
		switch {
		case row.state == pep668.MarkerBroken:
			want = false
		case row.key != "":
			want = row.message
		}
		if answers[i] != want {
			t.Errorf("%s: pip makes of it %#v, we %#v", row.name, answers[i], want)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, row := range variants {
		f.Add([]byte(row.text), "de_DE")
	}
	f.Fuzz(func(t *testing.T, text []byte, language string) {
		got := pep668.Read(fstest.MapFS{"lib/EXTERNALLY-MANAGED": {Data: text}}, "/lib", language)
		if got.State != pep668.MarkerPresent && got.State != pep668.MarkerBroken {
			t.Errorf("a file is %s", got.State)
		}
		if (got.Key == "") != (got.Problem != "") {
			t.Errorf("neither an answer nor a problem, or both: %+v", got)
		}
		if len(got.Message) > got.Size {
			t.Errorf("%d of %d bytes", len(got.Message), got.Size)
		}
	})
}
