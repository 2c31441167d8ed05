package pep668

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// TextLimit is the length in bytes of the longest text of a marker that is written.
const TextLimit = 64 << 10

// A TextError says why a text cannot be the message of a marker.
type TextError struct {
	Line   int    // counted from 1; 0: the text as a whole
	Reason string // a predicate
}

func (e *TextError) Error() string {
	if e.Line == 0 {
		return "the text " + e.Reason
	}
	return fmt.Sprintf("line %d of the text %s", e.Line, e.Reason)
}

// Format returns a marker whose message is text, without the white space around each line, which pip does not show either. The
// error is a *[TextError].
func Format(text string) ([]byte, error) {
	switch {
	case len(text) > TextLimit:
		return nil, &TextError{Reason: fmt.Sprintf("is longer than %d bytes", TextLimit)}
	case !utf8.ValidString(text):
		return nil, &TextError{Reason: "is not UTF-8"}
	}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		line = strings.TrimFunc(line, space)
		// Whoever is refused has it on a terminal.
		if strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
			return nil, &TextError{Line: i + 1, Reason: "holds a control character"}
		}
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			return nil, &TextError{Line: i + 1, Reason: "begins with " + line[:1] + ", and pip would take it for a comment"}
		}
		lines[i] = line
	}
	message := strings.Trim(strings.Join(lines, "\n"), "\n")
	if message == "" {
		return nil, &TextError{Reason: "is empty"}
	}
	// A line that is indented belongs to the option above it, and so does an empty one.
	return []byte("[externally-managed]\nError=" + strings.ReplaceAll(strings.ReplaceAll(message, "\n", "\n "), "\n \n", "\n\n") + "\n"), nil
}
