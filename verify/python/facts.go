package python

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Not inspect.py: for whoever runs a Python in this directory, that would take
// the place of the standard library's.
//
//go:embed describe.py
var script string

// question is what the script is asked.
type question struct {
	Modules []string `json:"modules"`
	Probes  []string `json:"probes"`
}

// facts is what the script answers.
type facts struct {
	Version         string            `json:"version"`
	Executable      string            `json:"executable"`
	Prefix          string            `json:"prefix"`
	ExecPrefix      string            `json:"exec_prefix"`
	BasePrefix      string            `json:"base_prefix"`
	BuildTimePrefix string            `json:"build_time_prefix"`
	ABIFlags        string            `json:"abiflags"`
	Compiler        string            `json:"compiler"`
	Directory       string            `json:"directory"` // in which it runs
	FreeThreaded    bool              `json:"free_threaded"`
	Debug           bool              `json:"debug"`
	Shared          bool              `json:"shared"`
	DefaultScheme   string            `json:"default_scheme"`
	Schemes         map[string]scheme `json:"schemes"`
	Pip             string            `json:"pip"`       // version; "" when there is none
	Modules         map[string]string `json:"modules"`   // why it does not import; "" when it does
	Probes          probes            `json:"probes"`    // nil: not asked
	Libraries       []string          `json:"libraries"` // nil: this system does not tell
}

type scheme struct {
	Stdlib  string `json:"stdlib"`
	Purelib string `json:"purelib"`
	Platlib string `json:"platlib"`
	Scripts string `json:"scripts"`
}

type probes struct {
	SSL *struct {
		Error   string `json:"error"`
		Version string `json:"version"`
		Loaded  int    `json:"loaded"` // certificates of authorities in a default context
		Files   int    `json:"files"`  // entries of the directory of such certificates
		CAFile  string `json:"cafile"`
		CAPath  string `json:"capath"`
	} `json:"ssl"`
	SQLite *struct {
		Error   string `json:"error"`
		Version string `json:"version"`
		Sum     int    `json:"sum"` // of 1 to 10, by a query
		JSON    bool   `json:"json"`
		FTS5    bool   `json:"fts5"`
	} `json:"sqlite"`
	Hashlib *struct {
		Error      string            `json:"error"`
		Algorithms int               `json:"algorithms"`
		Failed     map[string]string `json:"failed"`
		SHA256     string            `json:"sha256"` // of "abc"
	} `json:"hashlib"`
	Ctypes *struct {
		Error string `json:"error"`
		Value int    `json:"value"` // 41 + 1, by a callback
	} `json:"ctypes"`
	Zlib    *codec `json:"zlib"`
	Bz2     *codec `json:"bz2"`
	Lzma    *codec `json:"lzma"`
	Zstd    *codec `json:"zstd"`
	Decimal *struct {
		Error       string `json:"error"`
		Version     string `json:"version"`
		Accelerated bool   `json:"accelerated"`
	} `json:"decimal"`
}

// codec is a round trip through a compression module.
type codec struct {
	Error   string `json:"error"`
	Same    bool   `json:"same"`
	Smaller bool   `json:"smaller"`
}

// promised says whether one of the modules must import.
func (r *Request) promised(names ...string) bool {
	return slices.ContainsFunc(r.Modules, func(m Module) bool {
		return slices.Contains(names, m.Name)
	})
}

// question leaves out what a Python without the part need not answer.
func (r *Request) question() question {
	q := question{Modules: []string{}, Probes: []string{"hashlib"}}
	for _, m := range r.Modules {
		q.Modules = append(q.Modules, m.Name)
	}
	for _, p := range []struct {
		name    string
		modules []string
	}{
		{"ssl", []string{"ssl", "_ssl"}},
		{"sqlite", []string{"sqlite3", "_sqlite3"}},
		{"ctypes", []string{"ctypes", "_ctypes"}},
		{"zlib", []string{"zlib"}},
		{"bz2", []string{"bz2", "_bz2"}},
		{"lzma", []string{"lzma", "_lzma"}},
		{"zstd", []string{"compression.zstd", "_zstd"}},
		// decimal imports without its accelerator: only _decimal promises it.
		{"decimal", []string{"_decimal"}},
	} {
		if r.promised(p.modules...) {
			q.Probes = append(q.Probes, p.name)
		}
	}
	return q
}

// ask lets the interpreter describe itself.
func (in *inspection) ask(ctx context.Context) (*facts, error) {
	argument, err := json.Marshal(in.question())
	if err != nil {
		return nil, err
	}
	// faulthandler, so that a crash says in which import it happened.
	out, err := in.exec(ctx, nil, in.Executable, "-I", "-B", "-X", "faulthandler", "-c", script, string(argument))
	if err != nil {
		return nil, err
	}
	f, err := decode(out)
	if err != nil {
		return nil, fmt.Errorf("its description of itself: %w", err)
	}
	return f, nil
}

// decode reads the script's document. The interpreter is what is in doubt
// here, so a document with anything unknown, missing or after it is an error.
func decode(data []byte) (*facts, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	f := new(facts)
	if err := d.Decode(f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the document")
	}
	if _, ok := f.Schemes[f.DefaultScheme]; !ok {
		return nil, fmt.Errorf("no paths of the default scheme %q", f.DefaultScheme)
	}
	return f, nil
}

// scheme is where pip installs.
func (f *facts) scheme() scheme { return f.Schemes[f.DefaultScheme] }
