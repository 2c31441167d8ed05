package pep668

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// config is a file as Python's configparser reads it, without interpolation, for pip reads both its own configuration and the
// marker with that: sections of options, names of options in lower case.
type config map[string]map[string]option

// option is a value and where it stands: its first and last line, counted from 1.
type option struct {
	value       string
	line, until int
}

// defaults is the section whose options every other one has as well.
const defaults = "DEFAULT"

// get returns an option of a section, or of the defaults if the section exists.
func (c config) get(section, key string) (option, bool) {
	options, ok := c[section]
	if !ok || section == defaults {
		return option{}, false
	}
	if o, ok := options[key]; ok {
		return o, true
	}
	o, ok := c[defaults][key]
	return o, ok
}

// configError says why configparser does not read a file.
type configError struct {
	line   int // 0: the file as a whole
	reason string
	// duplicate says that a section or an option is there twice, of which pip is not aware that it can happen in a marker.
	duplicate bool
}

func (e *configError) Error() string {
	if e.line == 0 {
		return e.reason
	}
	return fmt.Sprintf("line %d: %s", e.line, e.reason)
}

// parseConfig reads text. The error is a *configError.
func parseConfig(text []byte) (config, error) {
	if !utf8.Valid(text) {
		return nil, &configError{reason: "not UTF-8"}
	}
	p := parser{config: config{}}
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n")
	for n, line := range lines {
		if n == len(lines)-1 && line == "" {
			break // what follows the last end of a line is no line
		}
		if err := p.line(n+1, line); err != nil {
			return nil, err
		}
	}
	if p.bad != nil {
		return nil, p.bad
	}
	p.end()
	return p.config, nil
}

// parser is what configparser remembers from line to line.
type parser struct {
	config  config
	section map[string]option // nil before the first
	key     string            // the option that a deeper line continues; "" for none
	values  []string
	until   int
	indent  int
	bad     error // a line that is none; the first counts, but duplicates behind it count more
}

func (p *parser) line(n int, line string) error {
	value := strings.TrimFunc(line, space)
	if comment := strings.HasPrefix(value, "#") || strings.HasPrefix(value, ";"); value == "" || comment {
		if !comment && p.key != "" {
			p.values = append(p.values, "")
		}
		return nil
	}
	indent := utf8.RuneCountInString(line) - utf8.RuneCountInString(strings.TrimLeftFunc(line, space))
	if p.key != "" && indent > p.indent {
		p.values, p.until = append(p.values, value), n
		return nil
	}
	p.indent = indent
	// The last bracket counts, and whatever follows it does not.
	if end := strings.LastIndexByte(value, ']'); value[0] == '[' && end > 1 {
		return p.header(n, value[1:end])
	}
	if p.section == nil {
		return &configError{line: n, reason: "no section before it"}
	}
	i := strings.IndexAny(value, "=:")
	if i < 0 {
		p.fail(n, "neither a section nor an option")
		return nil
	}
	key := strings.ToLower(strings.TrimRightFunc(value[:i], space))
	if key == "" {
		p.fail(n, "an option without a name")
	}
	if _, ok := p.section[key]; ok {
		return &configError{line: n, reason: fmt.Sprintf("the option %q is there twice", key), duplicate: true}
	}
	p.end()
	p.section[key] = option{line: n}
	p.key, p.values, p.until = key, []string{strings.TrimFunc(value[i+1:], space)}, n
	return nil
}

func (p *parser) header(n int, name string) error {
	if _, ok := p.config[name]; ok && name != defaults {
		return &configError{line: n, reason: fmt.Sprintf("the section %q is there twice", name), duplicate: true}
	} else if !ok {
		p.config[name] = map[string]option{}
	}
	p.end()
	p.section = p.config[name]
	return nil
}

func (p *parser) fail(n int, reason string) {
	if p.bad == nil {
		p.bad = &configError{line: n, reason: reason}
	}
}

// end closes the option that was being read.
func (p *parser) end() {
	if p.key != "" {
		o := p.section[p.key]
		o.value, o.until = strings.TrimRightFunc(strings.Join(p.values, "\n"), space), p.until
		p.section[p.key] = o
	}
	p.key = ""
}

// space is white space as Python has it.
func space(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
