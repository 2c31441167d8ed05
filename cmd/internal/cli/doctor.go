package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"pybuild/build/host"
	"pybuild/build/run"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/ui"
	"pybuild/verify/pep668"
)

// project is the name of one, as pip has them.
var project = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [NAME...]",
		Short: "Explain externally-managed-environment on this machine, and the ways out",
		Long: `Explain why pip refuses to install on this machine (externally-managed-environment), or why it does not: every Python and every
pip, who owns them, what their markers say, which settings override them, and what pip has done already. Then the ways to
install NAME all the same, with the commands for this machine. Nothing is changed, and no network is used.`,
		Example: `  pybuild doctor
  pybuild doctor requests`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range args {
				if !project.MatchString(name) {
					return usage(cmd, "%q is not the name of a project; one is, for example, requests", name)
				}
			}
			request, err := a.examination(args)
			if err != nil {
				return err
			}
			report, err := pep668.Examine(cmd.Context(), request)
			if err != nil {
				return err
			}
			if a.json {
				return a.document(report)
			}
			t := text{width: width(a.Stdout), colour: ui.IsTerminal(a.Stdout) && a.env("NO_COLOR", "") == ""}
			t.report(report, a.verbose)
			_, err = a.Stdout.Write(t.Bytes())
			return err
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

// examination says which machine is examined: this one.
func (a *app) examination(names []string) (pep668.Request, error) {
	catalogue, err := a.recipes()
	if err != nil {
		return pep668.Request{}, err
	}
	h, err := host.Detect(a.Root, catalogue)
	if err != nil {
		return pep668.Request{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return pep668.Request{}, fmt.Errorf("finding the working directory: %w", err)
	}
	r := pep668.Request{
		Root: a.Root, Environ: a.Environ, Home: a.env("HOME", "/"), Dir: dir, Exec: a.ask, Names: names, Privilege: install.Privileged(nil),
	}
	if !strings.Contains(a.prefix, "{") {
		r.Prefixes = []string{a.prefix}
	}
	if h.Platform != nil {
		r.Install, r.Refresh = h.Platform.Install, h.Platform.Refresh
	}
	if latest, err := catalogue.Resolve("latest"); err == nil {
		r.Series = latest.Series.Name
	}
	return r, nil
}

// ask runs a command that only looks, and keeps the last line of its complaints for the error.
func (a *app) ask(ctx context.Context, argv ...string) ([]byte, error) {
	var stdout, complaints bytes.Buffer
	err := run.Run(ctx, run.Command{Argv: argv, Env: a.Environ, Stdout: &stdout, Log: &complaints})
	var failed *run.Error
	if errors.As(err, &failed) {
		err = failed.Err
		lines := strings.Split(strings.TrimSpace(complaints.String()), "\n")
		if last := lines[len(lines)-1]; last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
	}
	return stdout.Bytes(), err
}

// width is how many columns a terminal has; 80 where there is none.
func width(f any) int {
	if file, ok := f.(*os.File); ok {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col >= 40 {
			return min(int(size.Col), 120) // longer lines are hard to read
		}
	}
	return 80
}

// text is what a person reads.
type text struct {
	bytes.Buffer
	width  int
	colour bool
}

// The colours of a terminal, by what they are for.
const (
	bold   = "1"
	red    = "1;31"
	yellow = "1;33"
	green  = "32"
)

func (t *text) paint(colour, s string) string {
	if !t.colour || colour == "" || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// wrap writes words in lines that fit, the first after lead, the others below it. colour is that of the lead.
func (t *text) wrap(colour, lead, words string) {
	indent := strings.Repeat(" ", utf8.RuneCountInString(lead))
	line, column := t.paint(colour, lead), len(indent)
	for _, word := range strings.Fields(words) {
		n := utf8.RuneCountInString(word)
		if column > len(indent) && column+1+n > t.width {
			fmt.Fprintln(t, line)
			line, column = indent, len(indent)
		}
		if column > len(indent) {
			line, column = line+" ", column+1
		}
		line, column = line+word, column+n
	}
	fmt.Fprintln(t, line)
}

// commands writes each on a line of its own, however long: a person copies it.
func (t *text) commands(indent string, list [][]string) {
	for _, argv := range list {
		fmt.Fprintln(t, indent+t.paint(green, run.Quote(argv)))
	}
}

func (t *text) heading(s string) { fmt.Fprintf(t, "\n%s\n", t.paint(bold, s)) }

func (t *text) report(r *pep668.Report, all bool) {
	var python *pep668.Python
	for i := range r.Pythons {
		if r.Pythons[i].Executable == r.Answer.Python {
			python = &r.Pythons[i]
		}
	}
	t.wrap("", "", answer(r.Answer, python))
	if python != nil && python.Marker.State == pep668.MarkerPresent && python.Venv == nil {
		t.marker(python.Marker)
	}
	if len(r.Pythons) > 0 {
		t.pythons(r, all)
	}
	if len(r.Findings) > 0 {
		t.heading("What else is the matter")
		for _, f := range r.Findings {
			t.finding(f, all)
		}
	}
	t.heading("Ways out")
	for i, w := range r.Advice {
		t.wrap(bold, fmt.Sprintf("%d. ", i+1), titles[w.Way]+", "+w.When+".")
		t.commands("     ", w.Commands)
		if w.Note != "" {
			t.wrap("", "   ", w.Note)
		}
	}
}

// titles name the ways for people.
var titles = map[string]string{
	"package": "The distribution's package", "pipx": "pipx", "venv": "A virtual environment", "pybuild": "A Python of your own", "override": "Overriding",
}

// answer is why pip refuses, or does not.
func answer(a pep668.Answer, p *pep668.Python) string {
	pip := "`" + run.Quote(a.Command) + " install`"
	if p == nil {
		if a.Python == "" && len(a.Command) > 1 {
			return "There is no python3 in PATH, and no pip."
		}
		return pip + " does not start: there is no Python for it."
	}
	whose := p.Executable + " (Python " + p.Version + ", " + owner(p.Owner) + ")"
	switch a.Does {
	case pep668.Refuses:
		return pip + " refuses here (externally-managed-environment). It belongs to " + whose + ", which is marked by " + p.Marker.Path +
			": the distribution's own programs use this Python, and what pip installs could break them."
	case pep668.Installs:
		if p.Venv != nil {
			return pip + " installs into the virtual environment " + p.Venv.Dir + ", where pip looks for no marker."
		}
		if p.Marker.State == pep668.MarkerOverlooked || p.Marker.State == pep668.MarkerUnknown {
			return pip + " installs for " + whose + ", because pip does not see its marker."
		}
		return pip + " installs for " + whose + ", which has no marker: pip does not refuse."
	case pep668.Overrides:
		return pip + " does not refuse here, although " + whose + " is marked by " + p.Marker.Path + ": a setting overrides the marker. See below."
	case pep668.Ignores:
		return pip + " does not refuse here, although " + whose + " is marked by " + p.Marker.Path + ": pip " + p.Pip.Version + " is too old to know markers."
	case pep668.Demands:
		return pip + " refuses here, because its configuration demands a virtual environment. See below."
	case pep668.Crashes:
		return pip + " stops with an error of its own: it cannot read its configuration, or the marker of " + whose + ". See below."
	case pep668.NoPip:
		return "There is no pip for " + whose + "."
	}
	return p.Executable + " does not start: " + p.Error + "."
}

func owner(o pep668.Owner) string {
	switch o.Kind {
	case "package":
		return "package " + o.Name
	case "other":
		return "of unknown origin"
	case "venv":
		return "a virtual environment"
	}
	return "from " + o.Kind
}

// marker writes what the distribution has to say, a line each, as pip does.
func (t *text) marker(m pep668.Marker) {
	fmt.Fprintln(t)
	if m.Message == "" {
		words := "The marker has nothing to say"
		if m.Problem != "" {
			words += " (" + m.Problem + ")"
		}
		t.wrap("", "", words+": pip explains itself in its own words.")
		return
	}
	t.wrap("", "", "The marker says:")
	for line := range strings.Lines(m.Message) {
		fmt.Fprintln(t, strings.TrimRight("  | "+printable(line), " "))
	}
	if m.Size > len(m.Message) {
		fmt.Fprintf(t, "  | ... (%d bytes)\n", m.Size)
	}
}

// printable leaves nothing in a line that a terminal could obey.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, line)
}

// pythons writes the table. Paths come last: they are long, and nothing has to stand below them.
func (t *text) pythons(r *pep668.Report, all bool) {
	t.heading("The Pythons of this machine, in the order of PATH")
	table := tabwriter.NewWriter(&t.Buffer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "VERSION\tPIP\tPIP INSTALL\tMARKER\tOWNER\tPYTHON")
	for _, p := range r.Pythons {
		pip := "-"
		if p.Pip != nil {
			pip = p.Pip.Version
		}
		version, marker, whose := cmp.Or(p.Version, "-"), cmp.Or(p.Marker.State, "-"), p.Owner.Kind
		if p.Owner.Name != "" {
			whose = p.Owner.Name
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", version, pip, p.Install, marker, whose, p.Executable)
	}
	_ = table.Flush() // to a buffer
	for _, p := range r.Pythons {
		if p.Error != "" {
			t.wrap(yellow, p.Executable+": ", printable(p.Error))
		}
		if all {
			t.wrap("", "  ", p.Executable+" has the names "+names(p)+".")
		}
	}
	for _, pip := range r.Pips {
		switch {
		case pip.Problem != "":
			t.wrap(yellow, pip.Path+": ", pip.Problem)
		case all:
			t.wrap("", "  ", pip.Path+" runs "+pip.Python)
		}
	}
}

// names are all names of a Python.
func names(p pep668.Python) string {
	var list []string
	for _, n := range p.Names {
		name := n.Path
		if n.Shadowed {
			name += " (hidden by an earlier directory of PATH)"
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}

// few is how many items of a finding are shown, unless more is asked for.
const few = 8

func (t *text) finding(f pep668.Finding, all bool) {
	colour := map[string]string{pep668.RiskHigh: red, pep668.RiskMedium: yellow, pep668.RiskNote: bold}[f.Risk]
	t.wrap(colour, fmt.Sprintf("%-7s", f.Risk), f.What)
	for i, item := range f.Items {
		if i == few && !all {
			fmt.Fprintf(t, "         ... and %d more (--verbose)\n", len(f.Items)-few)
			break
		}
		fmt.Fprintln(t, "         "+item)
	}
	if len(f.Undo) > 0 {
		fmt.Fprintln(t, "       undo it:")
		t.commands("         ", f.Undo)
	}
}
