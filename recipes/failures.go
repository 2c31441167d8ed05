package recipes

import (
	"errors"
	"io/fs"
	"regexp"
)

// A Failure is a known way in which a build goes wrong: what its log says, and what helps.
type Failure struct {
	Name    string `toml:"name"`    // "out-of-memory"
	Pattern string `toml:"pattern"` // regular expression (RE2) on one line of a log
	Summary string `toml:"summary"` // what happened, for people
	Remedy  string `toml:"remedy"`  // what to do next
	Source  string `toml:"source"`  // "made" when the excerpt in the tests was made for it, else where the words are known from

	expression *regexp.Regexp
}

// Match reports whether a line of a log is the failure's. A Failure that is not from a catalogue matches nothing.
func (f *Failure) Match(line string) bool {
	return f.expression != nil && f.expression.MatchString(line)
}

func (c *Catalogue) loadFailures(fsys fs.FS) error {
	const file = "failures.toml"
	var content struct {
		Failure []*Failure `toml:"failure"`
	}
	if err := decode(fsys, file, &content); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // a catalogue may do without
			return nil
		}
		return err
	}
	seen := make(map[string]bool)
	for _, f := range content.Failure {
		err := firstError(
			checkName(f.Name),
			checkUnseen(seen, f.Name),
			checkText("pattern", f.Pattern),
			checkText("summary", f.Summary),
			checkText("remedy", f.Remedy),
			checkText("source", f.Source),
		)
		if err == nil {
			f.expression, err = compile("pattern", f.Pattern)
		}
		if err != nil {
			return &FileError{file, entry("failure", f.Name), err}
		}
	}
	c.Failures = content.Failure
	return nil
}
