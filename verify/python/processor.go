package python

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ProcessorError says that a Python was built for a processor that can do more
// than this machine's.
type ProcessorError struct{ Lacks []string } // as the kernel calls it

func (e *ProcessorError) Error() string {
	return "built for another processor: lacks " + strings.Join(e.Lacks, ", ")
}

// Processor returns what the processors of a machine can do, in the words of
// the kernel, sorted: of several kinds of processors what all of them can. root
// is the machine's file system; nil means that it does not tell.
func Processor(root fs.FS) []string {
	text, err := fs.ReadFile(root, "proc/cpuinfo")
	if err != nil {
		return nil
	}
	var all []string
	first := true
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); key != "flags" && key != "Features" { // x86 and arm64
			continue
		}
		features := strings.Fields(value)
		if first {
			all, first = features, false
			continue
		}
		all = slices.DeleteFunc(all, func(f string) bool { return !slices.Contains(features, f) })
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Runs says whether an interpreter that uses these features of a processor runs
// on the machine of root. The error is a [*ProcessorError]. A machine that does
// not tell is taken to have them.
func Runs(root fs.FS, features []string) error {
	_, err := runs(root, features)
	return err
}

func runs(root fs.FS, features []string) (detail string, err error) {
	has := Processor(root)
	if has == nil {
		return "this machine does not say what its processor can do", nil
	}
	lacks := slices.DeleteFunc(slices.Clone(features), func(f string) bool { return slices.Contains(has, f) })
	if len(lacks) > 0 {
		return "", &ProcessorError{Lacks: lacks}
	}
	return fmt.Sprintf("has all of %d features", len(features)), nil
}
