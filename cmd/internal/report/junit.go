package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// The elements of JUnit's XML, as far as CI systems read them.
type (
	testSuites struct {
		XMLName xml.Name    `xml:"testsuites"`
		Name    string      `xml:"name,attr"`
		counts              // of all
		Suites  []testSuite `xml:"testsuite"`
	}
	testSuite struct {
		Name string `xml:"name,attr"`
		counts
		Cases []testCase `xml:"testcase"`
	}
	counts struct {
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Errors   int    `xml:"errors,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Time     string `xml:"time,attr"` // seconds
		seconds  float64
	}
	testCase struct {
		Class   string   `xml:"classname,attr"`
		Name    string   `xml:"name,attr"`
		Time    string   `xml:"time,attr"`
		Failure *outcome `xml:"failure"`
		Skipped *outcome `xml:"skipped"`
		Out     string   `xml:"system-out,omitempty"`
	}
	outcome struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

func (n *counts) add(c Cell) {
	n.Tests++
	switch c.State {
	case Failed:
		n.Failures++
	case ExpectedFailure, NotRun:
		n.Skipped++
	}
	n.seconds += c.Seconds
	n.Time = fmt.Sprintf("%.3f", n.seconds)
}

// JUnit writes the report as XML that CI systems read: a suite a distribution, a case a Python and profile. An expected failure,
// and a cell that was not run, count as skipped.
func JUnit(r *Report, w io.Writer) error {
	all := testSuites{Name: r.Title, counts: counts{Time: "0.000"}}
	for _, c := range r.Cells {
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != c.Distribution {
			all.Suites = append(all.Suites, testSuite{Name: c.Distribution})
		}
		suite := &all.Suites[len(all.Suites)-1]
		all.add(c)
		suite.add(c)
		test := testCase{Class: c.Distribution + "." + c.Profile, Name: c.Python, Time: fmt.Sprintf("%.3f", c.Seconds), Out: c.Log}
		switch c.State {
		case Failed:
			test.Failure = &outcome{Message: c.Reason, Type: string(c.State), Text: c.Excerpt}
		case ExpectedFailure:
			test.Skipped = &outcome{Message: "expected failure: " + c.Reason, Text: c.Excerpt}
		case NotRun:
			test.Skipped = &outcome{Message: strings.TrimSuffix("not run: "+c.Reason, ": ")}
		}
		suite.Cases = append(suite.Cases, test)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, text)
	return err
}
