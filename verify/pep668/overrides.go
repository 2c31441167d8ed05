package pep668

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

const configLimit = 1 << 20 // bytes of a configuration file that are read

// setting is the value of an option of pip's, and where it comes from.
type setting struct {
	value string
	// file, line and until are the place in a configuration; variable is the name of one in the environment.
	file        string
	line, until int
	variable    string
}

func (s setting) String() string {
	if s.variable != "" {
		return s.variable + "=" + s.value
	}
	return fmt.Sprintf("%s:%d", s.file, s.line)
}

// settings are those in force for `pip install` in a Python, by the name of the option.
type settings map[string]setting

// The options that decide where pip installs to, and whether it looks for the marker.
var options = []string{"break-system-packages", "target", "prefix", "root", "user", "require-virtualenv", "require-venv", "python"}

// files are the configuration files that pip reads for a Python, the one that counts most last.
func (e *examination) files(prefix string) []string {
	own, given := e.env("PIP_CONFIG_FILE")
	if own == "/dev/null" {
		return nil
	}
	var list []string
	dirs, _ := e.env("XDG_CONFIG_DIRS")
	if strings.TrimSpace(dirs) == "" {
		dirs = "/etc/xdg"
	}
	for dir := range strings.SplitSeq(dirs, ":") {
		list = append(list, path.Join(e.absolute(dir), "pip/pip.conf"))
	}
	list = append(list, "/etc/pip.conf")
	if given {
		own = e.absolute(own)
	}
	exists := given && own != ""
	if exists {
		_, err := e.stat(own)
		exists = err == nil
	}
	if !exists {
		user, _ := e.env("XDG_CONFIG_HOME")
		if strings.TrimSpace(user) == "" {
			user = path.Join(e.Home, ".config")
		}
		list = append(list, path.Join(e.Home, ".pip/pip.conf"), path.Join(e.absolute(user), "pip/pip.conf"))
	}
	list = append(list, path.Join(prefix, "pip.conf"))
	if exists {
		list = append(list, own)
	}
	return list
}

// settingsOf puts together what pip reads before it installs into a prefix. The error is that of a file that pip cannot read, and
// then pip does nothing at all.
func (e *examination) settingsOf(prefix string) (s settings, file string, err error) {
	// Files override each other option by option of a section; only then [install] overrides [global], wherever it was.
	merged := map[string]setting{}
	for _, file := range e.files(prefix) {
		text, err := e.read(file, configLimit)
		if err != nil {
			continue // pip passes over what is not there, or what it may not read
		}
		c, err := parseConfig(text)
		if err != nil {
			return nil, file, err
		}
		for section, own := range c {
			if section == defaults {
				continue
			}
			for _, group := range []map[string]option{c[defaults], own} {
				for name, o := range group {
					merged[section+"."+normal(name)] = setting{value: o.value, file: file, line: o.line, until: o.until}
				}
			}
		}
	}
	for _, v := range e.Environ {
		name, value, _ := strings.Cut(v, "=")
		if key, ok := strings.CutPrefix(name, "PIP_"); ok {
			merged[":env:."+normal(key)] = setting{value: value, variable: name}
		}
	}
	s = settings{}
	for _, section := range []string{"global", "install", ":env:"} {
		for _, key := range options {
			if v, ok := merged[section+"."+key]; ok && v.value != "" {
				s[key] = v
			}
		}
	}
	return s, "", nil
}

// normal is the name of an option, as pip compares them.
func normal(key string) string {
	return strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(key), "_", "-"), "--")
}

// truth is what pip takes a value for; ok is false for one that it refuses.
func truth(value string) (is, ok bool) {
	switch strings.ToLower(value) {
	case "y", "yes", "t", "true", "on", "1":
		return true, true
	case "n", "no", "f", "false", "off", "0":
		return false, true
	}
	return false, false
}

// judge finds out what the pip of every Python does, and reports the settings that change it.
func (e *examination) judge() {
	marked := slices.ContainsFunc(e.report.Pythons, func(p Python) bool { return p.Marker.State == MarkerPresent })
	for i := range e.report.Pythons {
		p := &e.report.Pythons[i]
		switch {
		case p.Error != "":
			p.Install = NoStart
		case p.Pip == nil:
			p.Install = NoPip
		default:
			p.Install = e.does(p)
		}
		if p.Error == "" {
			e.override(p, marked)
		}
	}
}

// does is what `pip install` does with a Python that has a pip.
func (e *examination) does(p *Python) string {
	s, _, err := e.settingsOf(p.Prefix)
	if err != nil {
		return Crashes
	}
	marker := p.Venv == nil && p.Marker.State == MarkerPresent
	for key, v := range s {
		if is, ok := truth(v.value); boolean(key) && !ok {
			return Crashes
		} else if is && strings.HasPrefix(key, "require-") && p.Venv == nil {
			return Demands
		}
	}
	overridden := false
	for _, key := range options[:4] {
		v, ok := s[key]
		is, _ := truth(v.value)
		// The first pip that looks for the marker has no such option yet.
		overridden = overridden || ok && (key != options[0] || is && newer(p.Pip.Version, 23, 0, 1))
	}
	switch {
	case p.Venv == nil && p.Marker.State == MarkerBroken && newer(p.Pip.Version, 23, 0) && !overridden:
		return Crashes
	case !marker:
		return Installs
	case !newer(p.Pip.Version, 23, 0):
		return Ignores
	case overridden:
		return Overrides
	}
	return Refuses
}

// Settings returns the findings about settings in force, of the environment and of pip's configuration, that change what the pip of
// p does, worst first. Of p only Prefix, Venv and Marker matter, and of r only Root, Environ, Home, Dir and Privilege.
func Settings(r Request, p Python) []Finding {
	e := &examination{Request: r, machine: machine{r.Root}, report: &Report{Findings: []Finding{}}}
	marked := p.Marker.State == MarkerPresent
	e.override(&p, marked)
	list := slices.DeleteFunc(e.report.Findings, func(f Finding) bool { return f.Kind == "override" && !marked })
	slices.SortStableFunc(list, func(a, b Finding) int { return rank(a) - rank(b) })
	return list
}

func boolean(key string) bool {
	return key == "break-system-packages" || key == "user" || strings.HasPrefix(key, "require-")
}

// override reports the settings that are in force for a Python.
func (e *examination) override(p *Python, marked bool) {
	s, file, err := e.settingsOf(p.Prefix)
	if err != nil {
		f := Finding{Risk: RiskMedium, Kind: "configuration", Path: file, What: "pip stops, because it cannot read " + file + ": " + reason(err) + "."}
		if bad := (*configError)(nil); errors.As(err, &bad) {
			f.Line = bad.line
		}
		e.find(f)
		return
	}
	for _, key := range options {
		v, ok := s[key]
		if !ok {
			continue
		}
		f := Finding{Path: v.file, Line: v.line, Undo: e.unset(v)}
		is, valid := truth(v.value)
		switch {
		case boolean(key) && !valid:
			f.Risk, f.Kind = RiskMedium, "configuration"
			f.What = fmt.Sprintf("pip stops, because %s is %q, which is neither yes nor no (%s).", key, v.value, v)
		case boolean(key) && !is:
			continue
		case p.Venv != nil && key != "target" && key != "prefix" && key != "root":
			continue // there pip looks for no marker, and installs into the environment
		case key == "break-system-packages":
			f.Risk, f.Kind = RiskHigh, "override"
			f.What = fmt.Sprintf("%s makes every `pip install` ignore the marker: pip replaces what the distribution's own programs import, and they break.", v)
			if !marked {
				f.Risk = RiskNote
				f.What = fmt.Sprintf("%s would make `pip install` ignore a marker; no Python here has one.", v)
			}
		case key == "user":
			f.Risk, f.Kind = RiskNote, key
			f.What = fmt.Sprintf("%s makes pip install for this user alone. Pip refuses all the same where there is a marker.", v)
		case key == "python":
			f.Risk, f.Kind = RiskNote, key
			f.What = fmt.Sprintf("%s makes every pip work on the Python %s.", &v, v.value)
		case strings.HasPrefix(key, "require-"):
			f.Risk, f.Kind, f.Undo = RiskNote, "require-virtualenv", nil // it protects
			f.What = fmt.Sprintf("%s makes pip refuse outside of virtual environments, before it looks for a marker and with another message.", v)
		default:
			f.Risk, f.Kind = RiskMedium, "target"
			f.What = fmt.Sprintf("%s makes pip install below %s, and then it does not look for the marker.", &v, v.value)
		}
		if v.variable != "" {
			f.Path, f.Line = e.assigned(v.variable)
			if f.Path != "" && f.Undo != nil {
				f.What += fmt.Sprintf(" %s:%d sets it.", f.Path, f.Line)
				f.Undo = append(f.Undo, e.deleteLines(f.Path, f.Line, f.Line))
			}
		}
		e.find(f)
	}
}

// unset takes a setting back.
func (e *examination) unset(v setting) [][]string {
	if v.variable != "" {
		return [][]string{{"unset", v.variable}}
	}
	return [][]string{e.deleteLines(v.file, v.line, v.until)}
}

func (e *examination) deleteLines(file string, line, until int) []string {
	lines := fmt.Sprintf("%dd", line)
	if until > line {
		lines = fmt.Sprintf("%d,%dd", line, until)
	}
	argv := []string{"sed", "-i", lines, file}
	if strings.HasPrefix(file, e.Home+"/") && e.Home != "/" {
		return argv
	}
	return e.root(argv...)
}

// assigned is where a shell or PAM gives a variable its value; "" when it is not one of the usual places.
func (e *examination) assigned(variable string) (file string, line int) {
	files := []string{"/etc/environment", "/etc/profile", "/etc/bash.bashrc", "/etc/bashrc", "/etc/zsh/zshenv"}
	for _, entry := range e.list("/etc/profile.d") {
		files = append(files, path.Join("/etc/profile.d", entry.Name()))
	}
	for _, base := range []string{".profile", ".bash_profile", ".bashrc", ".zshenv", ".zshrc", ".config/environment.d/pip.conf"} {
		files = append(files, path.Join(e.Home, base))
	}
	for _, file := range files {
		text, err := e.read(file, configLimit)
		if err != nil {
			continue
		}
		n := 0
		for l := range strings.Lines(string(text)) {
			n++
			l = strings.TrimPrefix(strings.TrimSpace(l), "export ")
			if strings.HasPrefix(strings.TrimSpace(l), variable+"=") {
				return file, n
			}
		}
	}
	return "", 0
}
