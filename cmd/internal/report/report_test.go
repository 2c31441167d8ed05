package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files")

// nasty is a log by somebody who means harm.
const nasty = "\x1b[31mred\x1b[0m \x1b]0;title\x07<script src=\"https://evil.example/x.js\">alert(1)</script>\r\n]]> & </pre>\x00\x07\u202eback\xff\n"

// sample has a cell of every state, and text that wants to be more.
var sample = []Cell{
	{Distribution: "debian-12", Python: "3.13.5", Profile: "quick", State: Passed, Seconds: 95.25, Size: 200 << 20, Missing: []string{"tkinter", "gdbm"}, Steps: []Step{
		{"check", 0, 1.5, 1.2, Passed}, {"fetch", 1.5, 3, 0.3, Passed}, {"verify", 4.25, 0.25, 0.2, Passed}, {"compile", 4.5, 80, 152, Passed}, {"commit", 90, 0.004, 0.004, Passed},
	}},
	{Distribution: "debian-12", Python: "3.9.2", Profile: "quick", State: Failed, Reason: "make failed: exit status 2 <b>|*", Status: 6, Seconds: 42, Excerpt: nasty,
		Log: nasty, LogPath: "/var/cache/pybuild/logs/x/compile.log", Steps: []Step{{"configure", 0, 30, 25, Passed}, {"compile", 30, 12, 20, Failed}}},
	{Distribution: "debian-9", Python: "3.13.5", Profile: "quick", State: ExpectedFailure, Reason: "too old", Seconds: 1},
	{Distribution: "debian-12", Python: "3.13.5", Profile: "debug", State: NotRun},
}

func TestGolden(t *testing.T) {
	r := New("A <matrix>", sample...)
	for _, extension := range Extensions {
		var b bytes.Buffer
		if err := Format("x"+extension)(r, &b); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", "sample"+extension)
		if *update {
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), want) {
			t.Errorf("%s is not what it was: look at the difference, then run the test with -update\n%s", file, &b)
		}
	}
	if Format("x.pdf") != nil || Format("html") != nil {
		t.Error("a format without a name")
	}
}

// TestOrder: the same cells give the same report, however they come.
func TestOrder(t *testing.T) {
	want := New("x", sample...)
	for range 20 {
		cells := slices.Clone(sample)
		rand.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
		if got := New("x", cells...); !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	}
	var names []string
	for _, c := range want.Cells {
		names = append(names, c.name())
	}
	if want := []string{"debian-9 3.13.5 quick", "debian-12 3.9.2 quick", "debian-12 3.13.5 debug", "debian-12 3.13.5 quick"}; !slices.Equal(names, want) {
		t.Errorf("order %q, want %q", names, want)
	}
}

// TestStages: what comes twice is one cell, and the worse state tells.
func TestStages(t *testing.T) {
	stage := func(state State, reason string) Cell {
		return Cell{Distribution: "d", Python: "3", Profile: "p", State: state, Reason: reason, Seconds: 2, Steps: []Step{{"s", 1, 1, 0, Passed}}}
	}
	for _, row := range []struct {
		first, second State
		state         State
		reason        string
	}{
		{Passed, Passed, Passed, "first"},
		{Passed, Failed, Failed, "second"},
		{Failed, Passed, Failed, "first"},
		{Failed, Failed, Failed, "first"},
		{NotRun, Failed, Failed, "second"},
	} {
		c := New("", stage(row.first, "first"), stage(row.second, "second")).Cells
		want := []Cell{{Distribution: "d", Python: "3", Profile: "p", State: row.state, Reason: row.reason, Seconds: 4, Steps: []Step{{"s", 1, 1, 0, Passed}, {"s", 3, 1, 0, Passed}}}}
		if !reflect.DeepEqual(c, want) {
			t.Errorf("%s, then %s: got %+v, want %+v", row.first, row.second, c, want)
		}
	}
}

// TestFailures: cells that failed for the same reason come together, and those that were expected to fail come last.
func TestFailures(t *testing.T) {
	var cells []Cell
	for i, c := range []Cell{
		{State: ExpectedFailure, Reason: "x"}, {State: Failed, Reason: "y"}, {State: Passed, Reason: "y"}, {State: Failed, Reason: "x"}, {State: NotRun}, {State: Failed, Reason: "y"},
	} {
		c.Distribution, c.Python, c.Profile = "d", fmt.Sprint(i+1), "p"
		cells = append(cells, c)
	}
	var got []string
	for _, f := range New("", cells...).failures() {
		line := string(f.State) + " " + f.Reason
		for _, s := range f.Squares {
			line += fmt.Sprintf(" %d:%s", s.Number, s.Cell.Python)
		}
		got = append(got, line)
	}
	if want := []string{"failed y 2:2 6:6", "failed x 4:4", "expected-failure x 1:1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := New("", cells[2], cells[4]).failures(); got != nil {
		t.Errorf("without failures: got %v", got)
	}
}

func TestExpect(t *testing.T) {
	for _, row := range []struct {
		name    string
		state   State // "" for no such cell
		failure string
		want    State
		reason  string
		err     string
	}{
		{"passes", Passed, "", Passed, "why", ""},
		{"fails", Failed, "", Failed, "why", "1 of 1 cells failed:\n  d 3 p: why"},
		{"fails as expected", Failed, "too old", ExpectedFailure, "too old: why", ""},
		{"passes unexpectedly", Passed, "too old", Failed, "passed, and was expected to fail: too old", "1 of 1 cells failed:\n  d 3 p: passed, and was expected to fail: too old"},
		{"not run", "", "", NotRun, "", ""},
		{"not run, would fail", "", "too old", NotRun, "", ""},
	} {
		r := New("")
		if row.state != "" {
			r = New("", Cell{Distribution: "d", Python: "3", Profile: "p", State: row.state, Reason: "why"})
		}
		r.Expect([]Expectation{{"d", "3", "p", row.failure}})
		got := ""
		if err := r.Err(); err != nil {
			got = err.Error()
		}
		if c := r.Cells[0]; len(r.Cells) != 1 || c.State != row.want || c.Reason != row.reason || got != row.err {
			t.Errorf("%s: got %+v, error %q", row.name, c, got)
		}
	}
}

func TestParse(t *testing.T) {
	const cell = `{"distribution":"d","python":"3","profile":"p","state":"passed","seconds":1,"size":1}`
	for _, row := range []struct{ name, text, err string }{
		{"good", `{"format":1,"title":"t","cells":[` + cell + `]}`, ""},
		{"no cell", `{"format":1,"title":"t","cells":[]}`, ""},
		{"other format", `{"format":2,"title":"t","cells":[]}`, "not a report: its format is 2"},
		{"two", `{"format":1,"title":"t","cells":[]}{}`, "not a report: something follows it"},
		{"not JSON", `pybuild`, "not a report: JSON: invalid character 'p' looking for beginning of value"},
		{"unknown key", `{"format":1,"colour":"red"}`, `not a report: JSON: json: unknown field "colour"`},
		{"no name", `{"format":1,"cells":[` + strings.Replace(cell, `"d"`, `" "`, 1) + `]}`, "not a report: cell 1 has no distribution, Python or profile"},
		{"other state", `{"format":1,"cells":[` + strings.Replace(cell, `passed`, `good`, 1) + `]}`, `not a report: cell 1 has the unknown state "good"`},
		{"negative", `{"format":1,"cells":[` + strings.Replace(cell, `"seconds":1`, `"seconds":-1`, 1) + `]}`, "not a report: cell 1 has a time or size that cannot be"},
		{"nameless step", `{"format":1,"cells":[` + strings.Replace(cell, `}`, `,"steps":[{"state":"passed"}]}`, 1) + `]}`, "not a report: cell 1 has a step without a name or state"},
		{"endless step", `{"format":1,"cells":[` + strings.Replace(cell, `}`, `,"steps":[{"name":"x","state":"passed","seconds":1e300}]}`, 1) + `]}`, "not a report: cell 1 has a step x with a time that cannot be"},
	} {
		_, err := Parse(strings.NewReader(row.text))
		got := ""
		if err != nil {
			got = err.Error()
			if _, ok := errors.AsType[*InvalidError](err); !ok {
				t.Errorf("%s: %T", row.name, err)
			}
		}
		if got != row.err {
			t.Errorf("%s: got %q, want %q", row.name, got, row.err)
		}
	}
}

func TestClean(t *testing.T) {
	for _, row := range []struct{ name, in, out string }{
		{"plain", "gcc -c x.c\n\tnote\n", "gcc -c x.c\n\tnote\n"},
		{"colours", "\x1b[01;31m\x1b[Kerror:\x1b[m\x1b[K é", "error: é"},
		{"title", "\x1b]0;rm -rf\x07a\x1b]8;;https://x.example\x1b\\b", "ab"},
		{"unfinished", "a\x1b[", "a"},
		{"character sets", "a\x1b(Bb\x1b7c", "abc"},
		{"progress", "10%\r20%\r\n", "10%\n20%\n"},
		{"controls", "a\x00\x08\x7f\u0085b", "ab"},
		{"not UTF-8", "a\xff\xc3b", "a\uFFFDb"},
		{"not XML", "a\uFFFE\uFFFFb", "ab"},
		{"reversed", "a\u202e\u2066b", "ab"},
	} {
		if got := clean(row.in); got != row.out {
			t.Errorf("%s: got %q, want %q", row.name, got, row.out)
		}
	}
}

func TestEnd(t *testing.T) {
	line := strings.Repeat("é", 50) + "\n"
	lines := strings.Repeat(line, MaxLog/len(line)+10)
	for _, row := range []struct{ name, in, out string }{
		{"short", "a\nb", "a\nb"},
		{"as long as can be", strings.Repeat("x", MaxLog), strings.Repeat("x", MaxLog)},
		{"lines", lines, lines[:MaxLog/len(line)*len(line)]},
		{"one line", strings.Repeat("é", MaxLog) + "x", strings.Repeat("é", MaxLog/2-1) + "x"},
	} {
		if got := end(row.in); got != row.out || !utf8.ValidString(got) {
			t.Errorf("%s: got %d bytes, want %d", row.name, len(got), len(row.out))
		}
	}
}

// outside are all the ways in which a page can refer to something that is not in it.
var outside = regexp.MustCompile(`(?i)<(script|link|img|iframe|object|embed|base|form|audio|video|svg|frame)\b|\b(src|srcset|action|data|background|poster|ping)\s*=\s*["']|\bon[a-z]+\s*=\s*["']|url\(|@import|href="[^#]`)

// TestPage holds the page to what a browser and a screen reader need of it, and to needing nothing else.
func TestPage(t *testing.T) {
	for _, r := range []*Report{New(""), New("one", sample[0]), New("A <matrix>", sample...), New("large", many(300)...)} {
		var b bytes.Buffer
		if err := HTML(r, &b); err != nil {
			t.Fatal(err)
		}
		if found := outside.FindString(tags(b.String())); found != "" {
			t.Errorf("%s: the page refers to something outside: %s", r.Title, found)
		}
		if len(r.Cells) == 0 && strings.Contains(b.String(), "://") {
			t.Errorf("%s: an address in the page", r.Title)
		}
		wellFormed(t, r.Title, b.String())
	}
}

// tags is the markup of a page without its text, for text is harmless.
func tags(page string) string {
	return strings.Join(regexp.MustCompile(`<[^>]*>`).FindAllString(page, -1), "\n")
}

// wellFormed: the page is XML, every fragment that is linked to is there once, headings have no gaps, tables have headers.
func wellFormed(t *testing.T, name, page string) {
	t.Helper()
	ids, links := map[string]int{}, map[string]bool{}
	level := 0
	open := map[string]int{}
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		open[e.Name.Local]++
		attributes := map[string]string{}
		for _, a := range e.Attr {
			attributes[a.Name.Local] = a.Value
		}
		if id := attributes["id"]; id != "" {
			ids[id]++
		}
		if to, ok := strings.CutPrefix(attributes["href"], "#"); ok {
			links[to] = true
		}
		if to := attributes["aria-labelledby"]; to != "" {
			links[to] = true
		}
		if n := e.Name.Local; len(n) == 2 && n[0] == 'h' && n[1] >= '1' && n[1] <= '6' {
			if next := int(n[1] - '0'); next > level+1 {
				t.Errorf("%s: <%s> follows level %d", name, n, level)
			} else {
				level = next
			}
		}
		if e.Name.Local == "th" && attributes["scope"] == "" {
			t.Errorf("%s: a header of nothing", name)
		}
		if attributes["tabindex"] != "" && attributes["aria-label"] == "" && attributes["aria-labelledby"] == "" {
			t.Errorf("%s: <%s> takes the focus without a name", name, e.Name.Local)
		}
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s: id %s comes %d times", name, id, n)
		}
	}
	for to := range links {
		if ids[to] == 0 {
			t.Errorf("%s: nothing is called %s", name, to)
		}
	}
	for _, n := range []string{"html", "head", "title", "style", "body", "main", "h1"} {
		if open[n] != 1 {
			t.Errorf("%s: <%s> comes %d times", name, n, open[n])
		}
	}
	if open["table"] != open["caption"] {
		t.Errorf("%s: %d tables, %d captions", name, open["table"], open["caption"])
	}
}

// many makes a matrix of n cells with logs.
func many(n int) (cells []Cell) {
	for i := range n {
		c := sample[i%2]
		c.Distribution, c.Python, c.Log = fmt.Sprintf("distribution-%d", i/10), fmt.Sprintf("3.%d.1", i%10), strings.Repeat("gcc -c x.c\n", 20)
		cells = append(cells, c)
	}
	return cells
}

// TestXML: what CI systems read is there, and counted right.
func TestXML(t *testing.T) {
	var b bytes.Buffer
	if err := JUnit(New("A <matrix>", sample...), &b); err != nil {
		t.Fatal(err)
	}
	var got testSuites
	if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Tests != 4 || got.Failures != 1 || got.Skipped != 2 || len(got.Suites) != 2 || got.Suites[1].Tests != 3 || got.Time != "138.250" {
		t.Errorf("got %+v", got)
	}
	failed := got.Suites[1].Cases[0]
	if failed.Name != "3.9.2" || failed.Class != "debian-12.quick" || failed.Failure == nil || failed.Failure.Message != "make failed: exit status 2 <b>|*" || failed.Failure.Text != clean(nasty) {
		t.Errorf("got %+v", failed)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"format":1,"title":"t","cells":[{"distribution":"d","python":"3","profile":"p","state":"failed","seconds":1,"size":1,"log":"\u001b[1mx"}]}`)
	var b bytes.Buffer
	if err := JSON(New("x", sample...), &b); err != nil {
		f.Fatal(err)
	}
	f.Add(b.String())
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, extension := range Extensions {
			var b bytes.Buffer
			if err := Format("x"+extension)(r, &b); err != nil {
				t.Fatal(err)
			}
			switch extension {
			case ".json":
				again, err := Parse(&b)
				if err != nil || !reflect.DeepEqual(again, r) {
					t.Fatalf("%v: got %+v, want %+v", err, again, r)
				}
			case ".html":
				wellFormed(t, "fuzz", b.String())
			case ".xml":
				if err := xml.Unmarshal(b.Bytes(), new(testSuites)); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}
