package recipes

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Version is the version of one release, as CPython spells it: 3.13.5, 3.15.0rc2. The zero value is no version.
type Version struct {
	Major, Minor, Micro int
	Pre                 string // "" for a final release, else a1, b2, rc1
}

// A SyntaxError says why a text is not the version of a release.
type SyntaxError struct {
	Text   string
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("malformed version %q: %s", e.Text, e.Reason)
}

// ParseVersion reads the version of one release: three numbers without leading zeros, and for a pre-release a, b or rc with a
// number. Nothing else is accepted, so that what parses renders back as it was. The error is a *SyntaxError.
func ParseVersion(s string) (Version, error) {
	numbers, pre, reason := scan(s)
	if reason == "" && len(numbers) < 3 {
		reason = "a release has three numbers"
	}
	if reason != "" {
		return Version{}, &SyntaxError{s, reason}
	}
	return Version{numbers[0], numbers[1], numbers[2], pre}, nil
}

func (v Version) String() string {
	return fmt.Sprintf("%d.%d.%d%s", v.Major, v.Minor, v.Micro, v.Pre)
}

// Series returns the first two numbers: "3.13".
func (v Version) Series() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// IsFinal reports whether v is not a pre-release.
func (v Version) IsFinal() bool { return v.Pre == "" }

// Compare returns -1, 0 or 1 as v was or would be released before, is, or comes after w. 3.15.0a10 is after 3.15.0a9, and
// 3.15.0 after both.
func (v Version) Compare(w Version) int {
	vStage, vNumber := v.stage()
	wStage, wNumber := w.stage()
	return cmp.Or(
		cmp.Compare(v.Major, w.Major),
		cmp.Compare(v.Minor, w.Minor),
		cmp.Compare(v.Micro, w.Micro),
		cmp.Compare(vStage, wStage),
		cmp.Compare(vNumber, wNumber),
	)
}

// stage splits Pre into what orders a, b and rc, as strings do by themselves, and their number: a10 is after a9. A final
// release is after all of them.
func (v Version) stage() (rank string, number int) {
	if v.IsFinal() {
		return "~", 0 // after every letter in ASCII
	}
	rank = strings.TrimRight(v.Pre, digits)
	number, _ = strconv.Atoi(v.Pre[len(rank):])
	return rank, number
}

// MarshalText implements encoding.TextMarshaler.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; it accepts what ParseVersion accepts.
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion(string(text))
	return err
}

const digits = "0123456789"

// scan takes apart one to three numbers and the mark of a pre-release, which only three numbers may have. A reason means that
// s is no version, and numbers and pre are not to be used.
func scan(s string) (numbers []int, pre, reason string) {
	if s == "" {
		return nil, "", "it is empty"
	}
	first := strings.IndexAny(s, digits)
	if first < 0 {
		return nil, "", "not a version"
	}
	if first > 0 {
		return nil, "", fmt.Sprintf("a version has no leading %q", s[:first])
	}
	fields := strings.Split(s, ".")
	if len(fields) > 3 {
		return nil, "", "a version has at most three numbers"
	}
	for i, field := range fields {
		rest := strings.TrimLeft(field, digits)
		number := field[:len(field)-len(rest)]
		switch {
		case field == "":
			return nil, "", "a number is missing"
		case number == "", rest != "" && (i < len(fields)-1 || !isLetter(rest[0])):
			return nil, "", fmt.Sprintf("%q is not a number", field)
		case rest != "":
			if reason := scanPre(rest); reason != "" {
				return nil, "", reason
			}
			if len(fields) < 3 {
				return nil, "", "a pre-release has three numbers"
			}
			pre = rest
		}
		if reason := scanNumber(number); reason != "" {
			return nil, "", reason
		}
		n, _ := strconv.Atoi(number) // cannot fail: a few digits
		numbers = append(numbers, n)
	}
	return numbers, pre, ""
}

func isLetter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

// scanPre returns the reason why s is not the mark of a pre-release. Candidates are numbered from 1.
func scanPre(s string) (reason string) {
	for _, stage := range []string{"a", "b", "rc"} {
		number, ok := strings.CutPrefix(s, stage)
		if !ok || number == "" || strings.Trim(number, digits) != "" {
			continue
		}
		if number == "0" {
			break
		}
		return scanNumber(number)
	}
	return fmt.Sprintf("%q is not a pre-release", s)
}

func scanNumber(s string) (reason string) {
	switch {
	case len(s) > 1 && s[0] == '0':
		return "a number has no leading zero"
	case len(s) > 6:
		return "a number is too large"
	}
	return ""
}
