package cli

import (
	"os"
	"strings"
	"testing"

	"pybuild/verify/pep668"
)

// debian12 is a machine as most people have it: the distribution's Python, one of ours, and a setting from a web page.
var debian12 = &pep668.Report{
	Answer: pep668.Answer{Command: []string{"pip"}, Python: "/usr/bin/python3", Does: pep668.Overrides},
	Pythons: []pep668.Python{
		{Executable: "/usr/local/bin/python3.13", Version: "3.13.5", Names: []pep668.Name{{Path: "/usr/local/bin/python3.13", OnPath: true}}, Owner: pep668.Owner{Kind: "pybuild"},
			Marker: pep668.Marker{State: pep668.MarkerAbsent}, Pip: &pep668.PipModule{Version: "25.1.1"}, Install: pep668.Installs},
		{Executable: "/usr/bin/python3", Version: "3.11.2", Names: []pep668.Name{{Path: "/usr/bin/python3", OnPath: true}, {Path: "/usr/bin/python3.11", OnPath: true}}, Owner: pep668.Owner{Kind: "package", Name: "python3.11-minimal"},
			Marker: pep668.Marker{Path: "/usr/lib/python3.11/EXTERNALLY-MANAGED", State: pep668.MarkerPresent, Message: "Use apt install\npython3-xyz.\n\n\x1b[31mOr venv.", Size: 44}, Pip: &pep668.PipModule{Version: "23.0.1"}, Install: pep668.Overrides},
		{Executable: "/usr/local/bin/python3.9", Names: []pep668.Name{{Path: "/usr/local/bin/python3.9", OnPath: true}}, Error: "exit status 127: libpython3.9.so.1.0: cannot open shared object file", Owner: pep668.Owner{Kind: "other"}, Install: pep668.NoStart},
	},
	Pips: []pep668.Pip{{Path: "/usr/bin/pip", Python: "/usr/bin/python3"}, {Path: "/usr/local/bin/pip3.9", Problem: "there is no /opt/python3.9/bin/python3.9"}},
	Findings: []pep668.Finding{
		{Risk: pep668.RiskHigh, Kind: "override", Path: "/etc/pip.conf", Line: 2, What: "/etc/pip.conf:2 makes every `pip install` ignore the marker: pip replaces what the distribution's own programs import, and they break.", Undo: [][]string{{"sudo", "sed", "-i", "2d", "/etc/pip.conf"}}},
		{Risk: pep668.RiskNote, Kind: "user-packages", Path: "/home/me/.local/lib/python3.11/site-packages", What: "Pip installed these.", Items: strings.Fields("a b c d e f g h i j")},
	},
	Advice: []pep668.Way{
		{Way: "package", When: "when the distribution has it", Commands: [][]string{{"sudo", "apt-get", "install", "--yes", "python3-requests"}}},
		{Way: "override", When: "never on a machine that matters", Note: "It breaks."},
	},
}

const debian12Text = "`pip install` does not refuse here, although /usr/bin/python3 (Python 3.11.2,\n" +
	`package python3.11-minimal) is marked by /usr/lib/python3.11/EXTERNALLY-MANAGED:
a setting overrides the marker. See below.

The marker says:
  | Use apt install
  | python3-xyz.
  |
  | [31mOr venv.
  | ... (44 bytes)

The Pythons of this machine, in the order of PATH
VERSION  PIP     PIP INSTALL     MARKER   OWNER               PYTHON
3.13.5   25.1.1  installs        absent   pybuild             /usr/local/bin/python3.13
3.11.2   23.0.1  overrides       present  python3.11-minimal  /usr/bin/python3
-        -       does-not-start  -        other               /usr/local/bin/python3.9
/usr/local/bin/python3.9: exit status 127: libpython3.9.so.1.0: cannot open
                          shared object file
/usr/local/bin/pip3.9: there is no /opt/python3.9/bin/python3.9

What else is the matter
` + "high   /etc/pip.conf:2 makes every `pip install` ignore the marker: pip replaces\n" +
	`       what the distribution's own programs import, and they break.
       undo it:
         sudo sed -i 2d /etc/pip.conf
note   Pip installed these.
         a
         b
         c
         d
         e
         f
         g
         h
         ... and 2 more (--verbose)

Ways out
1. The distribution's package, when the distribution has it.
     sudo apt-get install --yes python3-requests
2. Overriding, never on a machine that matters.
   It breaks.
`

func TestDoctorText(t *testing.T) {
	plain := text{width: 80}
	plain.report(debian12, false)
	if got := plain.String(); got != debian12Text {
		t.Errorf("got:\n%s\nwant:\n%s", got, debian12Text)
	}
	coloured := text{width: 80, colour: true}
	coloured.report(debian12, false)
	stripped := strings.NewReplacer("\x1b[1m", "", "\x1b[1;31m", "", "\x1b[1;33m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(coloured.String())
	if stripped != debian12Text || coloured.String() == debian12Text {
		t.Errorf("colours change more than colours: %q", coloured.String())
	}
	for _, line := range strings.Split(plain.String(), "\n") {
		if len(line) > 80 && !strings.Contains(line, "  /") {
			t.Errorf("wider than the terminal: %q", line)
		}
	}
	if got := width(os.Stdin); got < 40 || got > 120 {
		t.Errorf("width %d", got)
	}
}
