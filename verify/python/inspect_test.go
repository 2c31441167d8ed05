package python_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"debug/elf"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"pybuild/verify/python"
)

// configured is what the fake was configured for. Nothing is there.
const configured = "/opt/configured"

// fake is a CPython 3.13.5 in a stage, as far as Inspect can tell: files, and
// an Exec that answers like the real one. A test breaks it before Inspect.
type fake struct {
	t       *testing.T
	prefix  string
	site    string
	request python.Request
	answer  map[string]any // what the interpreter says of itself

	// Around the commands that run it, by their kind: describe, pip install,
	// pip install --user, pip uninstall, import, command, venv, venv python,
	// venv pip, ensurepip. Each may replace what the fake does.
	override map[string]func(argv []string) ([]byte, error)

	mu    sync.Mutex
	calls []string            // kinds, as they came
	env   map[string][]string // kind -> environment that came with it
	dir   string              // where the last wheel was unpacked
}

func newFake(t *testing.T) *fake {
	t.Helper()
	root := t.TempDir()
	f := &fake{
		t:        t,
		prefix:   filepath.Join(root, "stage", configured),
		override: make(map[string]func([]string) ([]byte, error)),
		env:      make(map[string][]string),
	}
	f.site = filepath.Join(f.prefix, "lib/python3.13/site-packages")
	f.write("bin/python3.13", "an interpreter")
	f.write("bin/pip3.13", "#!"+configured+"/bin/python3.13\nimport pip\n")
	f.write("bin/pydoc3.13", "#!"+configured+"/bin/python3.13\nimport pydoc\n")
	f.write("bin/python3.13-config", "#!/bin/sh\nprefix="+configured+"\n")
	f.write("lib/python3.13/site-packages/README.txt", "")
	work := filepath.Join(root, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		t.Fatal(err)
	}
	f.request = python.Request{
		Executable:       filepath.Join(f.prefix, "bin/python3.13"),
		Version:          "3.13.5",
		Prefix:           f.prefix,
		ConfiguredPrefix: configured,
		Modules: []python.Module{
			{Part: "ssl", Name: "ssl"}, {Part: "ssl", Name: "_ssl"}, {Part: "sqlite", Name: "sqlite3"},
			{Part: "ctypes", Name: "ctypes"}, {Part: "zlib", Name: "zlib"}, {Part: "decimal", Name: "_decimal"},
		},
		Work: work,
		Exec: f.exec,
	}
	lib := filepath.Join(f.prefix, "lib")
	answer := fmt.Sprintf(`{
		"version": "3.13.5", "executable": %[1]q, "prefix": %[2]q, "exec_prefix": %[2]q, "base_prefix": %[2]q,
		"build_time_prefix": %[3]q, "abiflags": "", "compiler": "GCC 12.2.0", "directory": %[4]q,
		"free_threaded": false, "debug": false, "shared": false, "pip": "25.1.1",
		"default_scheme": "posix_prefix",
		"schemes": {"posix_prefix": {"stdlib": %[5]q, "purelib": %[6]q, "platlib": %[6]q, "scripts": %[7]q}},
		"modules": {"ssl": "", "_ssl": "", "sqlite3": "", "ctypes": "", "zlib": "", "_decimal": ""},
		"probes": {
			"ssl": {
				"values": {"text through TLS": "dliubyp", "unknown certificate": "refused"}, "detail": "OpenSSL 3.0.22, TLSv1.3 on loopback",
				"authorities": {"loaded": 144, "files": 0, "cafile": "/etc/ssl/cert.pem", "capath": "/etc/ssl/certs"}
			},
			"sqlite": {"values": {"sum of 1 to 10": "55", "JSON": "42"}, "lacks": ["FTS5"], "detail": "3.40.1"},
			"hashlib": {"values": %[9]s, "detail": "14 algorithms"},
			"ctypes": {"values": {"result of a callback": "42", "strlen of pybuild": "7"}},
			"zlib": {"values": {"text after zlib": "the same", "size after zlib": "smaller"}},
			"decimal": {
				"values": {"1/7": "0.14285714285714285714285714285714285714285714285714", "decimal.Decimal": "in C"}, "detail": "libmpdec 2.5.1"
			}
		},
		"libraries": ["/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib64/libz.so.1", %[8]q]
	}`, f.request.Executable, f.prefix, configured, work, lib+"/python3.13", f.site, f.prefix+"/bin",
		lib+"/python3.13/lib-dynload/_ssl.so", digests(t))
	if err := json.Unmarshal([]byte(answer), &f.answer); err != nil {
		t.Fatal(err)
	}
	return f
}

// digests are those of "abc" that every Python must know, by other programs than Python.
func digests(t *testing.T) string {
	t.Helper()
	hash := map[string]any{
		"md5": md5.Sum([]byte("abc")), "sha1": sha1.Sum([]byte("abc")), "sha224": sha256.Sum224([]byte("abc")), "sha256": sha256.Sum256([]byte("abc")),
		"sha384": sha512.Sum384([]byte("abc")), "sha512": sha512.Sum512([]byte("abc")), "sha3_224": sha3.Sum224([]byte("abc")),
		"sha3_256": sha3.Sum256([]byte("abc")), "sha3_384": sha3.Sum384([]byte("abc")), "sha3_512": sha3.Sum512([]byte("abc")),
		"shake_128": sha3.SumSHAKE128([]byte("abc"), 32), "shake_256": sha3.SumSHAKE256([]byte("abc"), 32),
	}
	texts := map[string]string{
		// Of b2sum and RFC 7693.
		"blake2b": "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
		"blake2s": "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
	}
	for name, sum := range hash {
		texts[name] = fmt.Sprintf("%x", sum)
	}
	text, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promise adds modules that import.
func (f *fake) promise(part string, names ...string) {
	for _, name := range names {
		f.request.Modules = append(f.request.Modules, python.Module{Part: part, Name: name})
		f.in("modules")[name] = ""
	}
}

// answers makes the interpreter answer a probe with an even number of keys and values; a key without a value is lacking.
func (f *fake) answers(probe string, pairs ...string) {
	values, lacks := map[string]any{}, []any{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] == "" {
			lacks = append(lacks, pairs[i])
		} else {
			values[pairs[i]] = pairs[i+1]
		}
	}
	f.in("probes")[probe] = map[string]any{"values": values, "lacks": lacks}
}

func (f *fake) path(name string) string { return filepath.Join(f.prefix, name) }

func (f *fake) write(name, text string) {
	f.t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(text), 0o755); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fake) remove(name string) {
	f.t.Helper()
	if err := os.Remove(f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

// in is a part of the answer.
func (f *fake) in(keys ...string) map[string]any {
	m := f.answer
	for _, k := range keys {
		m = m[k].(map[string]any)
	}
	return m
}

// fail makes one kind of command fail.
func (f *fake) fail(kind, stderr string) {
	f.override[kind] = func([]string) ([]byte, error) { return nil, errors.New("exit status 1: " + stderr) }
}

func (f *fake) exec(ctx context.Context, env []string, argv ...string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, errors.New("signal: terminated")
	}
	kind := f.kind(argv)
	f.mu.Lock()
	f.calls = append(f.calls, kind)
	f.env[kind] = env
	f.mu.Unlock()
	if run, ok := f.override[kind]; ok {
		return run(argv)
	}
	return f.run(kind, argv)
}

func (f *fake) kind(argv []string) string {
	venv := filepath.Join(f.request.Work, "virtual-env/bin")
	has := func(arg string) bool { return slices.Contains(argv, arg) }
	switch {
	case has("ensurepip"):
		return "ensurepip"
	case argv[0] == venv+"/python":
		return "venv python"
	case argv[0] == venv+"/pip":
		return "venv pip"
	case argv[0] != f.request.Executable:
		return "command"
	case has("faulthandler"):
		return "describe"
	case has("venv"):
		return "venv"
	case has("uninstall"):
		return "pip uninstall"
	case has("install") && has("--user"):
		return "pip install --user"
	case has("install"):
		return "pip install"
	case has("pip"):
		return "pip"
	case has("-c"):
		return "import"
	}
	f.t.Errorf("unexpected command %q", argv)
	return ""
}

func (f *fake) run(kind string, argv []string) ([]byte, error) {
	venv := filepath.Join(f.request.Work, "virtual-env")
	switch kind {
	case "describe":
		return json.Marshal(f.answer)
	case "pip install":
		return nil, f.install(argv[len(argv)-1], f.site, f.path("bin"))
	case "pip install --user":
		base := filepath.Join(f.request.Work, "user-base")
		return nil, f.install(argv[len(argv)-1], filepath.Join(base, "lib/python3.13/site-packages"), filepath.Join(base, "bin"))
	case "pip uninstall":
		name := argv[len(argv)-1]
		return nil, errors.Join(os.Remove(filepath.Join(f.site, name+".py")),
			os.RemoveAll(filepath.Join(f.site, name+"-1.dist-info")), os.Remove(f.path("bin/"+name)))
	case "import":
		name := strings.Fields(argv[len(argv)-1])[1]
		return []byte(filepath.Join(f.dir, name+".py") + "\n"), nil
	case "command":
		return []byte(filepath.Base(argv[0]) + "\n"), nil
	case "venv python":
		return []byte(venv + "\n" + f.prefix + "\n"), nil
	case "venv pip":
		return []byte("pip 25.1.1 from " + venv + "/lib/python3.13/site-packages/pip (python 3.13)\n"), nil
	}
	return nil, nil
}

// install does with a wheel what pip does, and is as strict.
func (f *fake) install(wheel, site, bin string) error {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer z.Close()
	f.dir = site
	files := make(map[string][]byte)
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			return err
		}
		if files[entry.Name], err = io.ReadAll(r); err != nil {
			return err
		}
	}
	name, _, _ := strings.Cut(filepath.Base(wheel), "-")
	record := string(files[name+"-1.dist-info/RECORD"])
	if lines := strings.Count(record, "\n"); lines != len(files) {
		return fmt.Errorf("%d lines in RECORD for %d files", lines, len(files))
	}
	for file, data := range files {
		sum := sha256.Sum256(data)
		line := fmt.Sprintf("%s,sha256=%s,%d\n", file, base64.RawURLEncoding.EncodeToString(sum[:]), len(data))
		if strings.HasSuffix(file, "/RECORD") {
			line = file + ",,\n"
		}
		if !strings.Contains(record, line) {
			return fmt.Errorf("RECORD lacks %q", line)
		}
		target := filepath.Join(site, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, data, 0o644)); err != nil {
			return err
		}
	}
	if got, want := string(files[name+"-1.dist-info/entry_points.txt"]), "[console_scripts]\n"+name+" = "+name+":main\n"; got != want {
		return fmt.Errorf("entry points are %q, want %q", got, want)
	}
	shebang := "#!" + f.in()["executable"].(string) + "\n"
	return errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, name), []byte(shebang), 0o755))
}

// probeName is the part of a text that is another in every run.
var probeName = regexp.MustCompile(`pybuild_probe_[a-z2-7]{12}`)

// plain makes a text the same for every run.
func (f *fake) plain(text string) string {
	text = strings.ReplaceAll(text, f.prefix, "PREFIX")
	text = strings.ReplaceAll(text, f.request.Work, "WORK")
	return probeName.ReplaceAllString(text, "PROBE")
}

// elfFile is the smallest executable with a list of directories for libraries.
func elfFile(t *testing.T, runpath string) string {
	t.Helper()
	strtab := "\x00" + runpath + "\x00"
	dynamic := []elf.Dyn64{{Tag: int64(elf.DT_RUNPATH), Val: 1}, {Tag: int64(elf.DT_NULL)}}
	header := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Ehsize: 64, Shentsize: 64, Shnum: 3, Shoff: 64, Shstrndx: 2,
	}
	const data = 64 + 3*64
	sections := []elf.Section64{
		{},
		{Type: uint32(elf.SHT_DYNAMIC), Off: data, Size: 32, Link: 2, Entsize: 16},
		{Type: uint32(elf.SHT_STRTAB), Off: data + 32, Size: uint64(len(strtab))},
	}
	var b bytes.Buffer
	for _, part := range []any{header, sections, dynamic, []byte(strtab)} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// openssl is the answer about what only OpenSSL can do.
var openssl = []string{
	"hmac", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
	"pbkdf2", "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc",
	"scrypt", "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442",
}

// rows are what may be wrong, beside what is right and looks alike: a row
// without an error passes.
var rows = []struct {
	name string
	set  func(f *fake)
	err  string   // after "PREFIX/bin/python3.13 rejected: "
	left []string // paths below the prefix that stay; removed ones have a minus
}{
	{"nothing", func(f *fake) {}, "", nil},

	{"does not start", func(f *fake) { f.fail("describe", "Fatal Python error") }, "start: exit status 1: Fatal Python error", nil},
	{"says nothing", func(f *fake) { f.override["describe"] = func([]string) ([]byte, error) { return nil, nil } },
		"start: its description of itself: EOF", nil},
	{"says too much", func(f *fake) { f.in()["more"] = 1 }, `start: its description of itself: json: unknown field "more"`, nil},
	{"no paths", func(f *fake) { f.in()["default_scheme"] = "nt" }, `start: its description of itself: no paths of the default scheme "nt"`, nil},

	{"other version", func(f *fake) { f.in()["version"] = "3.13.4" }, "version: sys.version_info is 3.13.4, not 3.13.5", nil},
	{"final, not candidate", func(f *fake) { f.request.Version = "3.13.5rc2" }, "version: sys.version_info is 3.13.5, not 3.13.5rc2", nil},
	{"candidate", func(f *fake) { f.request.Version = "3.13.5rc2"; f.in()["version"] = "3.13.5rc2" }, "", nil},

	{"other prefix", func(f *fake) { f.in()["prefix"] = "/usr" }, "prefix: sys.prefix is /usr, not PREFIX", nil},
	{"other exec_prefix", func(f *fake) { f.in()["exec_prefix"] = configured }, "prefix: sys.exec_prefix is " + configured + ", not PREFIX", nil},
	{"venv", func(f *fake) { f.in()["base_prefix"] = "/usr" }, "prefix: sys.base_prefix is /usr, not PREFIX", nil},
	{"other executable", func(f *fake) { f.request.Programs = []string{"pip3.13"}; f.in()["executable"] = "/usr/bin/python3" },
		"prefix: sys.executable is /usr/bin/python3, not PREFIX/bin/python3.13", nil},
	{"prefix by a link", func(f *fake) {
		link := filepath.Join(filepath.Dir(f.request.Work), "link")
		if err := os.Symlink(f.prefix, link); err != nil {
			f.t.Fatal(err)
		}
		f.in()["prefix"] = link
	}, "", nil},
	{"configured for the stage", func(f *fake) { f.in()["build_time_prefix"] = f.prefix },
		"prefix: build-time prefix is PREFIX, not " + configured, nil},
	{"installed, not staged", func(f *fake) {
		f.request.ConfiguredPrefix = ""
		f.in()["build_time_prefix"] = f.prefix
		f.write("bin/pip3.13", "#!"+f.prefix+"/bin/python3.13\n")
		f.write("bin/pydoc3.13", "#!"+f.prefix+"/bin/python3.13\n")
	}, "", nil},
	{"library elsewhere", func(f *fake) { f.in("schemes", "posix_prefix")["stdlib"] = "/usr/lib/python3.13" },
		"prefix: stdlib of the scheme posix_prefix is /usr/lib/python3.13, not below PREFIX", nil},

	{"free-threaded", func(f *fake) { f.in()["free_threaded"] = true }, "build: free-threaded is true, not false", nil},
	{"free-threaded, as wanted", func(f *fake) {
		f.request.FreeThreaded, f.in()["free_threaded"], f.in()["abiflags"] = true, true, "t"
		f.write("bin/pydoc3.13", "#!"+configured+"/bin/python3.13t\n")
	}, "", nil},
	{"not debug", func(f *fake) { f.request.Debug = true }, "build: debug is false, not true", nil},
	{"debug, as wanted", func(f *fake) { f.request.Debug, f.in()["debug"] = true, true }, "", nil},

	{"shared, not wanted", func(f *fake) {
		f.in()["shared"] = true
		f.in()["libraries"] = []string{f.path("lib/libpython3.13.so.1.0")}
	}, "build: shared is true, not false; linkage: libpython is PREFIX/lib/libpython3.13.so.1.0, not part of the interpreter", nil},
	{"shared", func(f *fake) {
		f.request.Shared, f.in()["shared"] = true, true
		f.in()["libraries"] = []string{f.path("lib/libpython3.13.so.1.0")}
		f.write("bin/python3.13", elfFile(f.t, configured+"/lib"))
	}, "", nil},
	{"shared, without rpath", func(f *fake) {
		f.request.Shared, f.in()["shared"] = true, true
		f.in()["libraries"] = []string{f.path("lib/libpython3.13.so.1.0")}
		f.write("bin/python3.13", elfFile(f.t, "/elsewhere"))
	}, `linkage: rpath names "/elsewhere", in bin/python3.13; rpath is "/elsewhere", not ` + configured + "/lib", nil},
	{"shared, with the installed library", func(f *fake) {
		f.request.Shared, f.in()["shared"] = true, true
		f.in()["libraries"] = []string{configured + "/lib/libpython3.13.so.1.0"}
		f.write("bin/python3.13", elfFile(f.t, configured+"/lib"))
	}, "linkage: libpython is " + configured + "/lib/libpython3.13.so.1.0, not in PREFIX/lib", nil},
	{"shared, but no library and no ELF", func(f *fake) { f.request.Shared, f.in()["shared"] = true, true },
		"linkage: libpython is nowhere, not in PREFIX/lib; PREFIX/bin/python3.13 is no ELF file, not one with an rpath", nil},

	{"module missing", func(f *fake) { f.in("modules")["_ssl"] = "ModuleNotFoundError: No module named '_ssl'" },
		"modules: _ssl (part ssl): ModuleNotFoundError: No module named '_ssl'", nil},
	{"two modules missing", func(f *fake) { f.in("modules")["_ssl"] = "A"; delete(f.in("modules"), "zlib") },
		"modules: _ssl (part ssl): A; zlib (part zlib): was not tried", nil},
	{"module missing, not promised", func(f *fake) { f.in("modules")["_gdbm"] = "A" }, "", nil},

	{"crashes at once", func(f *fake) {
		f.override["describe"] = func([]string) ([]byte, error) { return nil, errors.New("signal: aborted") }
	}, "start: signal: aborted", nil},
	{"crashes in a module", func(f *fake) {
		f.override["describe"] = func([]string) ([]byte, error) {
			progress := []byte("import ssl\nimport _ssl\n")
			return nil, errors.Join(errors.New("signal: segmentation fault"), os.WriteFile(f.request.Work+"/progress", progress, 0o600))
		}
	}, "start: import _ssl: signal: segmentation fault", nil},

	{"no certificates", func(f *fake) { f.in("probes", "ssl", "authorities")["loaded"] = 0 },
		"ssl: no certificates of authorities, neither in /etc/ssl/cert.pem nor in /etc/ssl/certs", nil},
	{"certificates in a directory", func(f *fake) {
		f.in("probes", "ssl", "authorities")["loaded"], f.in("probes", "ssl", "authorities")["files"] = 0, 3
	}, "", nil},
	{"certificates not looked for", func(f *fake) { delete(f.in("probes", "ssl"), "authorities") },
		"ssl: certificates of authorities: was not tried", nil},
	{"TLS loses text", func(f *fake) { f.in("probes", "ssl", "values")["text through TLS"] = "" }, "ssl: text through TLS is , not dliubyp", nil},
	{"TLS trusts everybody", func(f *fake) { f.in("probes", "ssl", "values")["unknown certificate"] = "accepted" },
		"ssl: unknown certificate is accepted, not refused", nil},
	{"ssl fails", func(f *fake) { f.in("probes", "ssl")["error"] = "SSLError: no" }, "ssl: SSLError: no", nil},
	{"ssl not tried", func(f *fake) { delete(f.in("probes"), "ssl") }, "ssl: was not tried", nil},
	{"ssl not promised", func(f *fake) {
		delete(f.in("probes"), "ssl")
		f.request.Modules = f.request.Modules[2:]
	}, "", nil},

	{"wrong query", func(f *fake) { f.in("probes", "sqlite", "values")["sum of 1 to 10"] = "54" }, "sqlite: sum of 1 to 10 is 54, not 55", nil},
	{"wrong JSON", func(f *fake) { f.in("probes", "sqlite", "values")["JSON"] = "1" }, "sqlite: JSON is 1, not 42", nil},
	{"wrong JSON, said to be lacking", func(f *fake) {
		f.in("probes", "sqlite", "values")["JSON"] = "1"
		f.in("probes", "sqlite")["lacks"] = []string{"JSON", "FTS5"}
	}, "sqlite: JSON is 1, not 42", nil},
	{"wrong texts", func(f *fake) { f.in("probes", "sqlite", "values")["FTS5"] = "[1, 2]" }, "sqlite: FTS5 is [1, 2], not [1, 3]", nil},
	{"right texts", func(f *fake) { f.in("probes", "sqlite", "values")["FTS5"] = "[1, 3]" }, "", nil},
	{"texts not tried", func(f *fake) { f.in("probes", "sqlite")["lacks"] = []string{} }, "sqlite: FTS5: was not tried", nil},
	{"sqlite lacks what it cannot", func(f *fake) { f.answers("sqlite", "sum of 1 to 10", "", "JSON", "42", "FTS5", "") },
		"sqlite: sum of 1 to 10: was not tried", nil},
	{"sqlite fails", func(f *fake) { f.in("probes", "sqlite")["error"] = "E" }, "sqlite: E", nil},
	{"sqlite not tried", func(f *fake) { delete(f.in("probes"), "sqlite") }, "sqlite: was not tried", nil},
	{"sqlite without extras", func(f *fake) { f.answers("sqlite", "sum of 1 to 10", "55", "JSON", "", "FTS5", "") }, "", nil},

	{"no md5", func(f *fake) { f.in("probes", "hashlib", "values")["md5"] = "ValueError: B" },
		"hashlib: md5 is ValueError: B, not 900150983cd24fb0d6963f7d28e17f72", nil},
	{"wrong digest", func(f *fake) { f.in("probes", "hashlib", "values")["sha256"] = "00" },
		"hashlib: sha256 is 00, not ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", nil},
	{"digest not tried", func(f *fake) { delete(f.in("probes", "hashlib", "values"), "shake_256") }, "hashlib: shake_256: was not tried", nil},
	{"digest of the future", func(f *fake) { f.in("probes", "hashlib", "values")["sha4"] = "00" }, "", nil},
	{"hashlib fails", func(f *fake) { f.in("probes", "hashlib")["error"] = "E" }, "hashlib: E", nil},
	{"hashlib not tried", func(f *fake) { delete(f.in("probes"), "hashlib") }, "hashlib: was not tried", nil},
	{"key derivation", func(f *fake) { f.promise("hashlib", "_hashlib"); f.answers("openssl", openssl...) }, "", nil},
	{"key derivation, in part", func(f *fake) {
		f.promise("hashlib", "_hashlib")
		f.answers("openssl", append(slices.Clone(openssl[:4]), "scrypt", "")...)
	}, "", nil},
	{"key derivation, wrong", func(f *fake) {
		f.promise("hashlib", "_hashlib")
		f.answers("openssl", append(slices.Clone(openssl[:4]), "scrypt", "ValueError: no")...)
	}, "hashlib: openssl: scrypt is ValueError: no, not " + openssl[5], nil},

	{"wrong callback", func(f *fake) { f.in("probes", "ctypes", "values")["result of a callback"] = "41" },
		"ctypes: result of a callback is 41, not 42", nil},
	{"wrong call", func(f *fake) { f.in("probes", "ctypes", "values")["strlen of pybuild"] = "0" }, "ctypes: strlen of pybuild is 0, not 7", nil},
	{"ctypes fails", func(f *fake) { f.in("probes", "ctypes")["error"] = "MemoryError" }, "ctypes: MemoryError", nil},
	{"ctypes not tried", func(f *fake) { delete(f.in("probes"), "ctypes") }, "ctypes: was not tried", nil},

	{"zlib loses text", func(f *fake) { f.in("probes", "zlib", "values")["text after zlib"] = "another" },
		"compression: zlib: text after zlib is another, not the same", nil},
	{"zlib stores", func(f *fake) { f.in("probes", "zlib", "values")["size after zlib"] = "not smaller" },
		"compression: zlib: size after zlib is not smaller, not smaller", nil},
	{"zlib fails", func(f *fake) { f.in("probes", "zlib")["error"] = "E" }, "compression: zlib: E", nil},
	{"zlib not tried", func(f *fake) { delete(f.in("probes"), "zlib") }, "compression: zlib: was not tried", nil},
	{"zlib and bz2 fail", func(f *fake) {
		f.promise("bz2", "bz2")
		f.in("probes", "zlib")["error"] = "E"
	}, "compression: zlib: E; bz2: was not tried", nil},
	{"bz2 and zstd", func(f *fake) {
		f.promise("bz2", "bz2")
		f.promise("zstd", "_zstd")
		f.answers("bz2", "text after bz2", "the same", "size after bz2", "smaller")
		f.answers("zstd", "text after compression.zstd", "the same", "size after compression.zstd", "smaller")
	}, "", nil},

	{"slow decimal", func(f *fake) { f.in("probes", "decimal", "values")["decimal.Decimal"] = "in Python" },
		"decimal: decimal.Decimal is in Python, not in C", nil},
	{"wrong decimal", func(f *fake) { f.in("probes", "decimal", "values")["1/7"] = "0.14" },
		"decimal: 1/7 is 0.14, not 0.14285714285714285714285714285714285714285714285714", nil},
	{"decimal fails", func(f *fake) { f.in("probes", "decimal")["error"] = "E" }, "decimal: E", nil},
	{"decimal not tried", func(f *fake) { delete(f.in("probes"), "decimal") }, "decimal: was not tried", nil},

	{"curses", func(f *fake) { f.promise("curses", "_curses"); f.answers("curses", "terminfo", "am=1") }, "", nil},
	{"curses, no terminfo", func(f *fake) { f.promise("curses", "curses"); f.answers("curses", "terminfo", "") }, "", nil},
	{"curses, wrong", func(f *fake) { f.promise("curses", "curses"); f.answers("curses", "terminfo", "am=0") },
		"curses: terminfo is am=0, not am=1", nil},
	{"readline", func(f *fake) {
		f.promise("readline", "readline")
		f.answers("readline", "last line of history", "pybuild")
	}, "", nil},
	{"readline, wrong", func(f *fake) {
		f.promise("readline", "readline")
		f.answers("readline", "last line of history", "None")
	},
		"readline: last line of history is None, not pybuild", nil},
	{"tkinter", func(f *fake) { f.promise("tkinter", "_tkinter"); f.answers("tkinter", "expr {6 * 7}", "42") }, "", nil},
	{"tkinter, wrong", func(f *fake) { f.promise("tkinter", "tkinter"); f.answers("tkinter", "expr {6 * 7}", "6 * 7") },
		"tkinter: expr {6 * 7} is 6 * 7, not 42", nil},
	{"databases", func(f *fake) {
		f.promise("gdbm", "_gdbm")
		f.promise("ndbm", "_dbm")
		f.answers("gdbm", "text in a database of _gdbm", "pybuild")
		f.answers("ndbm", "text in a database of _dbm", "pybuild")
	}, "", nil},
	{"databases, one wrong", func(f *fake) {
		f.promise("gdbm", "_gdbm")
		f.promise("ndbm", "_dbm")
		f.answers("gdbm", "text in a database of _gdbm", "pybuild")
		f.answers("ndbm", "text in a database of _dbm", "p")
	}, "dbm: ndbm: text in a database of _dbm is p, not pybuild", nil},
	{"uuid", func(f *fake) { f.promise("uuid", "_uuid"); f.answers("uuid", "version", "1", "two of them", "differ") }, "", nil},
	{"uuid, wrong", func(f *fake) {
		f.promise("uuid", "_uuid")
		f.answers("uuid", "version", "4", "two of them", "the same")
	},
		"uuid: two of them is the same, not differ; version is 4, not 1", nil},
	{"zoneinfo", func(f *fake) {
		f.promise("core", "zoneinfo")
		f.answers("zoneinfo", "zoneinfo.ZoneInfo", "in C", "offsets of a zone", "5400 5400", "tzdata", "-18000 -14400")
	}, "", nil},
	{"zoneinfo, no tzdata", func(f *fake) {
		f.promise("core", "zoneinfo")
		f.answers("zoneinfo", "zoneinfo.ZoneInfo", "in C", "offsets of a zone", "5400 5400", "tzdata", "")
	}, "", nil},
	{"zoneinfo, slow and wrong", func(f *fake) {
		f.promise("core", "zoneinfo")
		f.answers("zoneinfo", "zoneinfo.ZoneInfo", "in Python", "offsets of a zone", "5400 5400", "tzdata", "0 0")
	}, "zoneinfo: tzdata is 0 0, not -18000 -14400; zoneinfo.ZoneInfo is in Python, not in C", nil},
	{"crypt", func(f *fake) {
		f.promise("crypt", "_crypt")
		f.answers("crypt", "method", "$6$", "same word", "good", "other word", "wrong")
	}, "", nil},
	{"crypt, wrong", func(f *fake) {
		f.promise("crypt", "_crypt")
		f.answers("crypt", "method", "$6$", "same word", "good", "other word", "good")
	}, "crypt: other word is good, not wrong", nil},
	{"core", func(f *fake) {
		f.promise("core", "math", "_socket", "_multiprocessing", "select")
		f.answers("core", "math", "6 1.414213562373095", "socket", "pybuild", "multiprocessing", "locked")
	}, "", nil},
	{"core, no shared memory", func(f *fake) { f.promise("core", "_multiprocessing"); f.answers("core", "multiprocessing", "") }, "", nil},
	{"core, wrong", func(f *fake) {
		f.promise("core", "math", "_socket", "_json")
		f.answers("core", "math", "6 1.4", "socket", "", "json", "ImportError: no")
	}, "core: json is ImportError: no, not {\"a\": [1, 2.5, null]}, in C; math is 6 1.4, not 6 1.414213562373095; socket: was not tried", nil},

	{"foreign libraries", func(f *fake) {
		f.in()["libraries"] = []string{"/usr/local/lib/libssl.so.3", "/home/linuxbrew/.linuxbrew/lib/libz.so.1", "/lib/libc.so.6"}
	}, "linkage: loaded from outside the system and the prefix: /usr/local/lib/libssl.so.3, /home/linuxbrew/.linuxbrew/lib/libz.so.1", nil},
	{"foreign library, allowed", func(f *fake) {
		f.in()["libraries"] = []string{"/usr/local/lib/libssl.so.3"}
		f.request.Libraries = []string{"/usr/local/lib"}
	}, "", nil},
	{"libraries not known", func(f *fake) { f.in()["libraries"] = nil }, "", nil},

	{"script of the stage", func(f *fake) { f.write("bin/pip3.13", "#!"+f.prefix+"/bin/python3.13\n") },
		"scripts: bin/pip3.13 names the staged directory PREFIX", nil},
	{"script with the stage inside", func(f *fake) { f.write("bin/python3.13-config", "#!/bin/sh\nprefix="+f.prefix+"\n") },
		"scripts: bin/python3.13-config names the staged directory PREFIX", nil},
	{"script of another Python", func(f *fake) { f.write("bin/pydoc3.13", "#!/usr/bin/env python3\n") },
		"scripts: bin/pydoc3.13 is started by /usr/bin/env python3, not by " + configured + "/bin/python3.13", nil},
	{"script of a Python with a longer name", func(f *fake) { f.write("bin/pydoc3.13", "#!"+configured+"/bin/python3.13t\n") },
		"scripts: bin/pydoc3.13 is started by " + configured + "/bin/python3.13t, not by " + configured + "/bin/python3.13", nil},
	{"script by a detour", func(f *fake) {
		f.write("bin/pip3.13", "#!/bin/sh\n'''exec' "+configured+`/bin/python3.13 "$0" "$@"`+"\n' '''\n")
	}, "", nil},
	{"script by a detour to another", func(f *fake) {
		f.write("bin/pip3.13", "#!/bin/sh\n'''exec' \"/a b/python3.13\" \"$0\" \"$@\"\n' '''\n")
	}, "scripts: bin/pip3.13 is started by /a b/python3.13, not by " + configured + "/bin/python3.13", nil},
	{"python3", func(f *fake) { f.write("bin/python3", "") }, "scripts: bin/python3 has no version in its name", nil},
	{"python3, as wanted", func(f *fake) { f.write("bin/python3", ""); f.request.Unversioned = []string{"python3"} }, "", nil},
	{"python3 of somebody else", func(f *fake) {
		f.write("bin/python3", "#!/usr/bin/python3\n")
		f.request.Programs = []string{"python3.13", "pip3.13"}
	}, "", nil},
	{"script that leads nowhere", func(f *fake) {
		f.remove("bin/pip3.13")
		if err := os.Symlink("none", f.path("bin/pip3.13")); err != nil {
			f.t.Fatal(err)
		}
	}, "scripts: stat PREFIX/bin/pip3.13: no such file or directory", nil},
	{"script that is a directory", func(f *fake) {
		f.request.Programs = []string{"pip3.13", "dir3.13"}
		f.write("bin/dir3.13/file", "")
	}, "scripts: bin/dir3.13 is not a file", nil},
	{"no script of pip", func(f *fake) { f.remove("bin/pip3.13") }, "scripts: bin/pip3.13 is missing", nil},

	{"no pip", func(f *fake) { f.in()["pip"] = "" },
		"pip: there is no module named pip; pip-user: there is no module named pip", nil},
	{"pip fails", func(f *fake) { f.fail("pip install", "ERROR: no") }, "pip: pip install: exit status 1: ERROR: no", nil},
	{"pip fails in the middle", func(f *fake) {
		f.override["pip install"] = func(argv []string) ([]byte, error) {
			_, err := f.run("pip install", argv)
			return nil, errors.Join(err, errors.New("exit status 1: ERROR: no space"))
		}
	}, "pip: pip install: exit status 1: ERROR: no space", nil},
	{"marker", func(f *fake) {
		f.fail("pip install", "error: externally-managed-environment")
		f.fail("pip install --user", "You can override this by passing --break-system-packages.")
	}, "pip: pip install: pip refuses: externally-managed-environment: exit status 1: error: externally-managed-environment; " +
		"pip-user: pip install --user: pip refuses: externally-managed-environment: exit status 1: " +
		"You can override this by passing --break-system-packages.", nil},
	{"pip installs elsewhere", func(f *fake) {
		f.override["pip install"] = func(argv []string) ([]byte, error) {
			return nil, f.install(argv[len(argv)-1], filepath.Join(f.request.Work, "lost"), f.path("bin"))
		}
	}, "pip: module that pip installed is WORK/lost/PROBE.py, not below PREFIX/lib/python3.13/site-packages", nil},
	{"pip makes no command", func(f *fake) {
		f.override["pip install"] = func(argv []string) ([]byte, error) {
			return nil, f.install(argv[len(argv)-1], f.site, filepath.Join(f.request.Work, "lost"))
		}
	}, "pip: command that pip installed: open PREFIX/bin/PROBE: no such file or directory", nil},
	{"pip's command is another's", func(f *fake) {
		f.override["import"] = func(argv []string) ([]byte, error) {
			out, err := f.run("import", argv)
			name := filepath.Base(strings.TrimSuffix(strings.TrimSpace(string(out)), ".py"))
			if f.dir == f.site {
				f.write("bin/"+name, "#!/usr/bin/python3\n")
			}
			return out, err
		}
	}, "pip: PREFIX/bin/PROBE is started by /usr/bin/python3, not by PREFIX/bin/python3.13", nil},
	{"pip's module does not import", func(f *fake) { f.fail("import", "SyntaxError") },
		"pip: import what pip installed: exit status 1: SyntaxError; pip-user: import what pip installed: exit status 1: SyntaxError", nil},
	{"pip's command does not run", func(f *fake) { f.fail("command", "bad interpreter") },
		"pip: run what pip installed: exit status 1: bad interpreter; pip-user: run what pip installed: exit status 1: bad interpreter", nil},
	{"pip's command says something else", func(f *fake) {
		f.override["command"] = func([]string) ([]byte, error) { return []byte("no\n"), nil }
	}, `pip: output of PREFIX/bin/PROBE is "no", not "PROBE"; pip-user: output of WORK/user-base/bin/PROBE is "no", not "PROBE"`, nil},
	{"pip does not uninstall", func(f *fake) { f.fail("pip uninstall", "ERROR: no") }, "pip: pip uninstall: exit status 1: ERROR: no", nil},
	{"pip leaves its own", func(f *fake) {
		f.override["pip uninstall"] = func(argv []string) ([]byte, error) {
			return nil, os.RemoveAll(filepath.Join(f.site, argv[len(argv)-1]+"-1.dist-info"))
		}
	}, "pip: pip left behind PREFIX/bin/PROBE, PREFIX/lib/python3.13/site-packages/PROBE.py", nil},
	{"pip leaves another's", func(f *fake) {
		f.override["pip uninstall"] = func(argv []string) ([]byte, error) {
			f.write("bin/other", "")
			return f.run("pip uninstall", argv)
		}
	}, "pip: pip left behind PREFIX/bin/other", []string{"bin/other"}},
	{"pip takes too much", func(f *fake) {
		f.override["pip uninstall"] = func(argv []string) ([]byte, error) {
			f.remove("lib/python3.13/site-packages/README.txt")
			return f.run("pip uninstall", argv)
		}
	}, "pip: pip took away PREFIX/lib/python3.13/site-packages/README.txt", []string{"-lib/python3.13/site-packages/README.txt"}},
	{"user's pip installs for everybody", func(f *fake) {
		f.override["pip install --user"] = func(argv []string) ([]byte, error) { return f.run("pip install", argv) }
	}, "pip-user: module that pip installed is PREFIX/lib/python3.13/site-packages/PROBE.py, not below WORK/user-base", nil},
	{"user's pip fails", func(f *fake) { f.fail("pip install --user", "no") }, "pip-user: pip install --user: exit status 1: no", nil},
	{"pip fails, but is not tried", func(f *fake) { f.request.ReadOnly = true; f.fail("pip install", "no") }, "", nil},

	{"venv fails", func(f *fake) { f.fail("venv", "no") }, "venv: make it: exit status 1: no", nil},
	{"venv fails without a reason", func(f *fake) { f.fail("venv", "no"); f.fail("ensurepip", "zlib") },
		"venv: make it: exit status 1: no: exit status 1: zlib", nil},
	{"venv's python fails", func(f *fake) { f.fail("venv python", "no") }, "venv: run its python: exit status 1: no", nil},
	{"venv is none", func(f *fake) {
		f.override["venv python"] = func([]string) ([]byte, error) { return []byte(f.prefix + "\n" + f.prefix + "\n"), nil }
	}, "venv: its sys.prefix is PREFIX, not WORK/virtual-env", nil},
	{"venv of another Python", func(f *fake) {
		f.override["venv python"] = func([]string) ([]byte, error) {
			return []byte(f.request.Work + "/virtual-env\n/usr\n"), nil
		}
	}, "venv: its sys.base_prefix is /usr, not PREFIX", nil},
	{"venv's pip fails", func(f *fake) { f.fail("venv pip", "no") }, "venv: run its pip: exit status 1: no", nil},
	{"venv's pip is another's", func(f *fake) {
		f.override["venv pip"] = func([]string) ([]byte, error) { return []byte("pip 1 from /usr/lib (python 3.13)"), nil }
	}, `venv: its pip says "pip 1 from /usr/lib (python 3.13)"`, nil},

	{"several", func(f *fake) {
		f.in()["version"] = "3.12.0"
		f.write("bin/python", "")
		f.fail("venv", "no")
	}, "version: sys.version_info is 3.12.0, not 3.13.5; scripts: bin/python has no version in its name; venv: make it: exit status 1: no", nil},
}

func TestInspect(t *testing.T) {
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			row.set(f)
			before := names(t, f.prefix)
			report, err := python.Inspect(t.Context(), f.request)

			want := ""
			if row.err != "" {
				want = "PREFIX/bin/python3.13 rejected: " + row.err
			}
			got := ""
			if err != nil {
				got = f.plain(err.Error())
			}
			if got != want {
				t.Errorf("error:\n got %q\nwant %q", got, want)
			}
			var rejected *python.RejectedError
			if want != "" && !errors.As(err, &rejected) {
				t.Errorf("error is a %T", err)
			}
			if report == nil {
				t.Fatal("no report")
			}
			for _, r := range report.Results {
				if failed := rejected != nil && slices.ContainsFunc(rejected.Failures, func(x python.Result) bool { return x.Check == r.Check }); failed != (r.Err != nil) {
					t.Errorf("%s: %v in the report, not so in the error", r.Check, r.Err)
				}
			}

			after := names(t, f.prefix)
			var left []string
			for _, p := range after {
				if !slices.Contains(before, p) {
					left = append(left, strings.TrimPrefix(p, f.prefix+"/"))
				}
			}
			for _, p := range before {
				if !slices.Contains(after, p) {
					left = append(left, "-"+strings.TrimPrefix(p, f.prefix+"/"))
				}
			}
			if !slices.Equal(left, row.left) {
				t.Errorf("left: got %q, want %q", left, row.left)
			}
		})
	}
}

func TestReport(t *testing.T) {
	f := newFake(t)
	f.promise("uuid", "uuid", "_uuid")
	f.in("modules")["_uuid"] = "ImportError: gone"
	f.in("probes")["uuid"] = map[string]any{"error": "ImportError: gone"}
	report, err := python.Inspect(t.Context(), f.request)
	missing := &python.ModuleError{Module: python.Module{Part: "uuid", Name: "_uuid"}, Reason: "ImportError: gone"}
	var e *python.ModuleError
	if !errors.As(err, &e) || *e != *missing {
		t.Errorf("got %v, want %v", err, missing)
	}
	want := &python.Report{
		Results: []python.Result{
			{Check: python.CheckVersion, Detail: "3.13.5"},
			{Check: python.CheckPrefix, Detail: f.prefix},
			{Check: python.CheckBuild, Detail: "GCC 12.2.0"},
			{Check: python.CheckModules, Detail: "7 of 8 import", Err: missing},
			{Check: python.CheckSSL, Detail: "OpenSSL 3.0.22, TLSv1.3 on loopback, 144 certificates"},
			{Check: python.CheckSQLite, Detail: "3.40.1, without FTS5"},
			{Check: python.CheckHashlib, Detail: "14 algorithms"},
			{Check: python.CheckCtypes},
			{Check: python.CheckCompression, Detail: "zlib"},
			{Check: python.CheckDecimal, Detail: "libmpdec 2.5.1"},
			{Check: python.CheckUUID, Err: errors.New("ImportError: gone")},
			{Check: python.CheckLinkage, Detail: "3 libraries"},
			{Check: python.CheckScripts, Detail: "4 files in " + f.prefix + "/bin"},
			{Check: python.CheckPip, Detail: "pip 25.1.1"},
			{Check: python.CheckPipUser, Detail: "pip 25.1.1"},
			{Check: python.CheckVenv, Detail: "pip 25.1.1"},
		},
		Schemes:  map[string]string{"posix_prefix": f.prefix + "/lib/python3.13"},
		Compiler: "GCC 12.2.0",
		Parts: map[string]error{
			"ssl": nil, "sqlite": nil, "ctypes": nil, "zlib": nil, "decimal": nil, "uuid": missing,
		},
		Libraries: []python.Library{},
		Version:   "3.13.5", Prefix: f.prefix, Stdlib: f.prefix + "/lib/python3.13", Pip: "25.1.1",
	}
	if !reflect.DeepEqual(report, want) {
		t.Errorf("got  %+v\nwant %+v", report, want)
	}
}

// TestEnvironment holds the variables that decide whether an answer is worth
// something.
func TestEnvironment(t *testing.T) {
	f := newFake(t)
	f.request.Shared, f.in()["shared"] = true, true
	f.in()["libraries"] = []string{f.path("lib/libpython3.13.so.1.0")}
	f.write("bin/python3.13", elfFile(t, configured+"/lib"))
	if _, err := python.Inspect(t.Context(), f.request); err != nil {
		t.Fatal(err)
	}
	all := []string{"PYTHONDONTWRITEBYTECODE=1", "LD_LIBRARY_PATH=" + f.path("lib")}
	trial := append(slices.Clone(all), "HOME="+f.request.Work, "PIP_CONFIG_FILE=/dev/null")
	user := append(slices.Clone(trial), "PYTHONUSERBASE="+f.request.Work+"/user-base",
		"PYTHONNOUSERSITE=", "PYTHONPATH=", "PYTHONHOME=", "PYTHONPLATLIBDIR=")
	for kind, want := range map[string][]string{
		"describe": all, "pip install": trial, "pip uninstall": trial, "pip install --user": user,
		"venv": trial, "venv python": trial, "venv pip": trial,
	} {
		if got := f.env[kind]; !slices.Equal(got, want) {
			t.Errorf("%s:\n got %q\nwant %q", kind, got, want)
		}
	}
}

// TestCannotLook is about errors that are no verdict.
func TestCannotLook(t *testing.T) {
	for _, row := range []struct {
		name string
		set  func(f *fake)
		err  string // after "inspect PREFIX/bin/python3.13: "
	}{
		{"version", func(f *fake) { f.request.Version = "v3.13" }, `version "v3.13" is not one of CPython 3.8 or later`},
		{"old version", func(f *fake) { f.request.Version = "3.7.17" }, `version "3.7.17" is not one of CPython 3.8 or later`},
		{"prefix", func(f *fake) { f.request.Prefix = "usr" }, `path "usr" is not absolute`},
		{"no exec", func(f *fake) { f.request.Exec = nil }, "no way to run a program"},
		{"no interpreter", func(f *fake) { f.remove("bin/python3.13") }, "stat PREFIX/bin/python3.13: no such file or directory"},
		{"no work", func(f *fake) {
			if err := os.Remove(f.request.Work); err != nil {
				f.t.Fatal(err)
			}
		}, "open WORK: no such file or directory"},
		{"work in use", func(f *fake) {
			if err := os.Mkdir(filepath.Join(f.request.Work, "x"), 0o755); err != nil {
				f.t.Fatal(err)
			}
		}, "work directory WORK is not empty"},
		{"other directory", func(f *fake) { f.in()["directory"] = "/" }, "programs are run in /, not in WORK"},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			row.set(f)
			report, err := python.Inspect(t.Context(), f.request)
			if report != nil {
				t.Errorf("there is a report: %v", report)
			}
			if want := "inspect PREFIX/bin/python3.13: " + row.err; err == nil || f.plain(err.Error()) != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
}

// TestCancel cancels at every command: nothing may stay in the prefix, and the
// error must say why, not what broke first.
func TestCancel(t *testing.T) {
	for _, kind := range []string{
		"describe", "pip install", "pip install --user", "pip uninstall", "import", "command", "venv", "venv python", "venv pip",
	} {
		t.Run(kind, func(t *testing.T) {
			f := newFake(t)
			before := names(t, f.prefix)
			ctx, cancel := context.WithCancelCause(t.Context())
			f.override[kind] = func(argv []string) ([]byte, error) {
				_, err := f.run(kind, argv)
				cancel(errors.New("enough"))
				return nil, errors.Join(err, errors.New("signal: terminated"))
			}
			report, err := python.Inspect(ctx, f.request)
			if report != nil {
				t.Errorf("there is a report: %v", report)
			}
			if want := "inspect PREFIX/bin/python3.13: enough"; err == nil || f.plain(err.Error()) != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
			if after := names(t, f.prefix); !slices.Equal(before, after) {
				t.Errorf("before %q\nafter  %q", before, after)
			}
		})
	}
}

// TestErrors holds what a caller finds in the error.
func TestErrors(t *testing.T) {
	f := newFake(t)
	f.in()["prefix"], f.in()["base_prefix"] = "/usr", "/usr"
	f.fail("pip install", "error: externally-managed-environment")
	_, err := python.Inspect(t.Context(), f.request)
	if !errors.Is(err, python.ErrExternallyManaged) {
		t.Errorf("no %q in %v", python.ErrExternallyManaged, err)
	}
	want := python.MismatchError{What: "sys.prefix", Got: "/usr", Want: f.prefix}
	var mismatch *python.MismatchError
	if !errors.As(err, &mismatch) || *mismatch != want {
		t.Errorf("got %v, want %v", mismatch, &want)
	}
}

// TestNotClean makes cleaning up fail: that adds to the verdict.
func TestNotClean(t *testing.T) {
	f := newFake(t)
	f.override["pip uninstall"] = func(argv []string) ([]byte, error) {
		_, err := f.run("pip uninstall", argv)
		return nil, errors.Join(err, os.RemoveAll(f.site), os.WriteFile(f.site, nil, 0o644))
	}
	report, err := python.Inspect(t.Context(), f.request)
	if report == nil {
		t.Error("no report")
	}
	var rejected *python.RejectedError
	if !errors.As(err, &rejected) {
		t.Errorf("%v is no rejection", err)
	}
	want := "PREFIX/bin/python3.13 rejected: pip: pip took away PREFIX/lib/python3.13/site-packages/README.txt\n" +
		"inspect PREFIX/bin/python3.13: open PREFIX/lib/python3.13/site-packages: not a directory"
	if err == nil || f.plain(err.Error()) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
