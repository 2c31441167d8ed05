package python

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Not inspect.py: for whoever runs a Python in this directory, that would take
// the place of the standard library's.
//
//go:embed describe.py
var script string

// stepLimit is how many seconds one import or one probe may take. On an
// emulated machine each takes a few.
const stepLimit = 60

// question is what the script is asked.
type question struct {
	Modules     []string `json:"modules"`
	Probes      []string `json:"probes"`
	Core        []string `json:"core"`
	Certificate string   `json:"certificate"`
	Key         string   `json:"key"`
	Progress    string   `json:"progress"`
	Seconds     int      `json:"seconds"`
}

// facts is what the script answers.
type facts struct {
	Version         string             `json:"version"`
	Executable      string             `json:"executable"`
	Prefix          string             `json:"prefix"`
	ExecPrefix      string             `json:"exec_prefix"`
	BasePrefix      string             `json:"base_prefix"`
	BuildTimePrefix string             `json:"build_time_prefix"`
	ABIFlags        string             `json:"abiflags"`
	Compiler        string             `json:"compiler"`
	Directory       string             `json:"directory"` // in which it runs
	FreeThreaded    bool               `json:"free_threaded"`
	Debug           bool               `json:"debug"`
	Shared          bool               `json:"shared"`
	DefaultScheme   string             `json:"default_scheme"`
	Schemes         map[string]scheme  `json:"schemes"`
	Pip             string             `json:"pip"`     // version; "" when there is none
	Modules         map[string]string  `json:"modules"` // why it does not import; "" when it does
	Probes          map[string]*answer `json:"probes"`
	Libraries       []string           `json:"libraries"` // nil: this system does not tell
}

type scheme struct {
	Stdlib  string `json:"stdlib"`
	Purelib string `json:"purelib"`
	Platlib string `json:"platlib"`
	Scripts string `json:"scripts"`
}

// answer is what came out of a probe.
type answer struct {
	Error       string            `json:"error"`
	Values      map[string]string `json:"values"`
	Lacks       []string          `json:"lacks"` // values that this host cannot give to any Python
	Detail      string            `json:"detail"`
	Authorities *authorities      `json:"authorities"` // only of ssl
}

// authorities is where certificates are trusted.
type authorities struct {
	Loaded int    `json:"loaded"` // certificates of authorities in a default context
	Files  int    `json:"files"`  // entries of the directory of such certificates
	CAFile string `json:"cafile"`
	CAPath string `json:"capath"`
}

// promised says whether one of the modules must import.
func (r *Request) promised(names ...string) bool {
	return slices.ContainsFunc(r.Modules, func(m Module) bool {
		return slices.Contains(names, m.Name)
	})
}

// question leaves out what a Python without the part need not answer.
func (r *Request) question() question {
	q := question{Modules: []string{}, Probes: []string{}, Core: []string{}, Seconds: stepLimit}
	for _, m := range r.Modules {
		q.Modules = append(q.Modules, m.Name)
	}
	for _, p := range works {
		if p.modules == nil || r.promised(p.modules...) {
			q.Probes = append(q.Probes, p.probe)
		}
	}
	for _, c := range core {
		if r.promised(c.modules...) {
			q.Core = append(q.Core, c.name)
		}
	}
	if len(q.Core) > 0 {
		q.Probes = append(q.Probes, CheckCore)
	}
	return q
}

// ask lets the interpreter describe itself. An error beside no facts is the
// interpreter's, every other one is not about it.
func (in *inspection) ask(ctx context.Context) (f *facts, rejected, err error) {
	q := in.question()
	q.Progress = filepath.Join(in.Work, "progress")
	if slices.Contains(q.Probes, "ssl") {
		q.Certificate, q.Key = filepath.Join(in.Work, "certificate.pem"), filepath.Join(in.Work, "key.pem")
		if err := writeCertificate(q.Certificate, q.Key); err != nil {
			return nil, nil, fmt.Errorf("make a certificate: %w", err)
		}
	}
	argument, err := json.Marshal(q)
	if err != nil {
		return nil, nil, err
	}
	// faulthandler, so that a crash says in which function it happened.
	out, rejected := in.exec(ctx, nil, in.Executable, "-I", "-B", "-X", "faulthandler", "-c", script, string(argument))
	if rejected != nil {
		if step := lastStep(q.Progress); step != "" {
			rejected = &StepError{Step: step, Err: rejected}
		}
		return nil, rejected, nil
	}
	if f, err = decode(out); err != nil {
		return nil, fmt.Errorf("its description of itself: %w", err), nil
	}
	return f, nil, nil
}

// progressLimit is how much of the progress is read, in bytes. A step is a word.
const progressLimit = 64 << 10

// lastStep is what the script began last; "" when it never came that far.
func lastStep(file string) string {
	// Another user may have put a link there, or a pipe, or something endless.
	dir, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return ""
	}
	defer dir.Close()
	f, err := dir.OpenFile(filepath.Base(file), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	text, err := io.ReadAll(io.LimitReader(f, progressLimit))
	if err != nil {
		return ""
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	return lines[len(lines)-1]
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
