package recipes

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
)

// Answers are what CPython's configure finds out on every machine with some compilers and some releases of a C library, whatever
// else is there.
type Answers struct {
	Machine string            `toml:"machine"` // the processor, as Toolchain has it
	With    []string          `toml:"with"`    // conditions on the toolchain, all of which must hold
	Values  map[string]string `toml:"answers"` // by the names under which configure caches them
}

// Answers returns what configure would find out with a toolchain, by the names under which it caches; nil where nothing is proven
// of that toolchain. A version that is not known is not proven. The caller must not change the map.
func (c *Catalogue) Answers(t Toolchain) map[string]string {
	for _, a := range c.AllAnswers {
		proven := a.Machine == t.Machine
		for _, condition := range a.With {
			proven = proven && t.satisfies(condition)
		}
		if proven {
			return a.Values
		}
	}
	return nil
}

func (c *Catalogue) loadAnswers(fsys fs.FS) error {
	files, err := fs.Glob(fsys, "configure/*.toml") // a catalogue may do without
	if err != nil {
		return err
	}
	for _, file := range files {
		a := new(Answers)
		if err := decode(fsys, file, a); err != nil {
			return err
		}
		if err := a.check(); err != nil {
			return &FileError{File: file, Err: err}
		}
		c.AllAnswers = append(c.AllAnswers, a)
	}
	return nil
}

var (
	// answerName is a name under which macros of autoconf's own cache what a C library decides. A macro of that kind does nothing
	// but look, so that its answer can be given to it. What other macros find out does not belong here: it can be the work of
	// the compiler, or mean something else in the next release.
	answerName = regexp.MustCompile(`^ac_cv_(alignof|func|have_decl|header|lib|member_struct|sizeof|type)_[A-Za-z0-9_]+$`)
	// answerValue is what a shell takes for one plain word.
	answerValue = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

func (a *Answers) check() error {
	if a.Machine == "" { // else it would be for every processor that nobody knows
		return errors.New("no machine")
	}
	if len(a.With) == 0 || len(a.Values) == 0 {
		return errors.New("not both conditions and answers")
	}
	for _, s := range a.With {
		if err := checkTooling(s); err != nil {
			return fmt.Errorf("with: %w", err)
		}
	}
	for name, value := range a.Values {
		if !answerName.MatchString(name) || !answerValue.MatchString(value) {
			return fmt.Errorf("%s = %q is no answer about a C library", name, value)
		}
	}
	return nil
}
