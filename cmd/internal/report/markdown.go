package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// markdown takes from characters what Markdown would see in them, links included. A line stays one.
var markdown = strings.NewReplacer(
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "{", `\{`, "}", `\}`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`, "|", `\|`,
	"~", `\~`, "!", `\!`, "&", `\&`, "@", `\@`, "://", `\://`, "www.", `www\.`, "\n", " ",
)

// Markdown writes the grid as a table a profile, and a line for each cell that did not pass.
func Markdown(r *Report, w io.Writer) error {
	var b bytes.Buffer
	if r.Title != "" {
		fmt.Fprintf(&b, "## %s\n\n", markdown.Replace(r.Title))
	}
	fmt.Fprintf(&b, "%s\n", r.summary())
	for _, g := range r.grids() {
		fmt.Fprintf(&b, "\n| %s |", markdown.Replace(g.Profile))
		for _, p := range g.Pythons {
			fmt.Fprintf(&b, " %s |", markdown.Replace(p))
		}
		b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(g.Pythons)) + "\n")
		for _, row := range g.Rows {
			fmt.Fprintf(&b, "| %s |", markdown.Replace(row.Distribution))
			for _, s := range row.Squares {
				fmt.Fprintf(&b, " %s |", s.brief())
			}
			b.WriteString("\n")
		}
	}
	lead := "\n"
	for _, c := range r.Cells {
		if c.State == Failed || c.State == ExpectedFailure {
			fmt.Fprintf(&b, "%s- **%s** %s: %s\n", lead, words(c.State), markdown.Replace(c.name()), markdown.Replace(c.Reason))
			lead = ""
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// brief is a square in a word or three.
func (s square) brief() string {
	switch {
	case s.Cell == nil:
		return ""
	case s.Cell.State == Failed:
		return "**failed**"
	case s.Cell.State == Passed:
		return "passed, " + duration(s.Cell.Seconds)
	}
	return words(s.Cell.State)
}
