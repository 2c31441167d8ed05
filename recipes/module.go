package recipes

import "fmt"

// A Module is a module of the standard library, and the series that have it.
type Module struct {
	Name  string
	Since string // first series that has it; empty: all before Until
	Until string // last series that has it; empty: all from Since on
}

// UnmarshalTOML reads a name, or a table of name, since and until.
func (m *Module) UnmarshalTOML(value any) error {
	if name, ok := value.(string); ok {
		*m = Module{Name: name}
		return nil
	}
	table, ok := value.(map[string]any)
	if !ok {
		return fmt.Errorf("a module is a name or a table, not %v", value)
	}
	*m = Module{}
	for key, value := range table {
		field, ok := map[string]*string{"name": &m.Name, "since": &m.Since, "until": &m.Until}[key]
		if !ok {
			return fmt.Errorf("unknown key %q of a module", key)
		}
		if *field, ok = value.(string); !ok {
			return fmt.Errorf("%s of a module is not a string: %v", key, value)
		}
	}
	return nil
}

// modulesOf returns those of the modules that a series has.
func modulesOf(series string, modules []Module) []Module {
	var there []Module
	for _, m := range modules {
		if within(series, m.Since, m.Until) {
			there = append(there, m)
		}
	}
	return there
}
