package report

import (
	"cmp"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// escapes are what a terminal obeys: colours and cursors, titles and links, and what else begins with ESC.
var escapes = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]|\x1b[]PX^_][^\x07\x1b]*(\x07|\x1b\\\\)?|\x1b[ -/]*[0-~]?")

// clean is text as it may be shown, and as XML may hold it: valid UTF-8 without escape sequences, control characters, and those
// that reverse the direction of writing.
func clean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = escapes.ReplaceAllString(s, "")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\uFFFE', r == '\uFFFF':
			return -1
		}
		return r
	}, s)
}

// end is at most the last MaxLog bytes of a log, from the beginning of a line where there is one.
func end(log string) string {
	if len(log) <= MaxLog {
		return log
	}
	log = log[len(log)-MaxLog:]
	if i := strings.IndexByte(log, '\n'); i >= 0 && i < len(log)-1 {
		return log[i+1:]
	}
	for !utf8.RuneStart(log[0]) {
		log = log[1:]
	}
	return log
}

// natural compares names so that debian-9 comes before debian-11, and 3.9.2 before 3.13.5.
func natural(a, b string) int {
	for x, y := a, b; x != "" && y != ""; {
		var p, q string
		p, x = run(x)
		q, y = run(y)
		number := p[0] >= '0' && p[0] <= '9' && q[0] >= '0' && q[0] <= '9'
		if number {
			m, n := strings.TrimLeft(p, "0"), strings.TrimLeft(q, "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n)); c != 0 {
				return c
			}
		} else if c := cmp.Compare(p, q); c != 0 {
			return c
		}
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// run splits off the digits, or the other characters, that a string begins with.
func run(s string) (first, rest string) {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	i := 1
	for i < len(s) && digit(s[i]) == digit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}
