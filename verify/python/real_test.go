package python_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pybuild/verify/python"
)

// TestReal inspects a copy of the prefix of a real Python, so that the script
// and the arguments for pip and venv are tried, which no fake can do.
func TestReal(t *testing.T) {
	executable := os.Getenv("PYBUILD_TEST_PYTHON")
	if executable == "" {
		t.Skip("PYBUILD_TEST_PYTHON names no executable of an installed Python")
	}
	var about struct {
		Version            string
		Prefix, Configured string
		GIL, Debug, Shared bool
		Modules            []string
	}
	out, err := exec.Command(executable, "-I", "-W", "ignore", "-c", `
import importlib, json, platform, sys, sysconfig
def imports(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
all = """ssl _ssl hashlib _hashlib ctypes bz2 lzma sqlite3 zlib compression.zstd _decimal _curses curses.panel readline _tkinter
    _gdbm _dbm _uuid zoneinfo _crypt nis _asyncio _datetime _json math _multiprocessing _pickle pyexpat _socket _struct
    _posixsubprocess unicodedata""".split()
data = importlib.import_module(sysconfig._get_sysconfigdata_name())
on = lambda name: bool(sysconfig.get_config_var(name))
print(json.dumps({
    "version": platform.python_version(), "prefix": sys.base_prefix,
    "configured": data.build_time_vars["prefix"],
    "modules": [name for name in all if imports(name)],
    "gil": not on("Py_GIL_DISABLED"), "debug": on("Py_DEBUG"), "shared": on("Py_ENABLE_SHARED"),
}))`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &about); err != nil {
		t.Fatal(err)
	}
	series := strings.Join(strings.Split(about.Version, ".")[:2], ".")

	prefix := filepath.Join(t.TempDir(), "stage", about.Prefix)
	copyPrefix(t, prefix, about.Prefix)
	request := python.Request{
		Executable:       filepath.Join(prefix, "bin", "python"+series),
		Version:          about.Version,
		Prefix:           prefix,
		ConfiguredPrefix: about.Configured,
		FreeThreaded:     !about.GIL,
		Debug:            about.Debug,
		Shared:           about.Shared,
	}
	for _, name := range about.Modules {
		request.Modules = append(request.Modules, python.Module{Part: strings.Trim(name, "_3"), Name: name})
	}
	if about.Prefix == about.Configured {
		// Installed, perhaps among other things.
		for _, name := range []string{"python", "pip", "pydoc", "idle"} {
			request.Programs = append(request.Programs, name+series)
		}
	}
	before := names(t, prefix)

	var pip string
	t.Run("good", func(t *testing.T) {
		request := request
		request.Work = t.TempDir()
		request.Exec = executeIn(request.Work)
		start := time.Now()
		report, err := python.Inspect(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range report.Results {
			t.Logf("%-12s %s", r.Check, r.Detail)
			if r.Check == python.CheckPip {
				pip = r.Detail
			}
		}
		for _, l := range report.Libraries {
			t.Logf("%-12s %-28s %s, by %d", l.Origin, l.Soname, l.Path, len(l.Users))
		}
		t.Log("whole: ", time.Since(start))
		if want := filepath.Join(prefix, "lib"); !strings.HasPrefix(report.Schemes["posix_prefix"], want) {
			t.Errorf("standard library is in %s, want below %s", report.Schemes["posix_prefix"], want)
		}
	})
	t.Run("bad", func(t *testing.T) {
		request := request
		request.Work = t.TempDir()
		request.Exec = executeIn(request.Work)
		request.Version = series + ".99"
		request.Modules = append(slices.Clone(request.Modules), python.Module{Part: "none", Name: "_pybuild_none"})
		_, err := python.Inspect(t.Context(), request)
		want := fmt.Sprintf("%s rejected: version: sys.version_info is %s, not %s.99; "+
			"modules: _pybuild_none (part none): ModuleNotFoundError: No module named '_pybuild_none'",
			request.Executable, about.Version, series)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})
	t.Run("marker", func(t *testing.T) {
		var major int
		if fmt.Sscanf(pip, "pip %d.", &major); major < 23 {
			t.Skipf("%s knows no marker, 23.0 is the first that does", pip)
		}
		library := filepath.Join(prefix, "lib", "python"+series)
		if !about.GIL {
			library += "t"
		}
		marker := filepath.Join(library, "EXTERNALLY-MANAGED")
		text := "[externally-managed]\nError=" + strings.Repeat("A long explanation.\n ", 100) + "\n"
		if err := os.WriteFile(marker, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(marker)
		request := request
		request.Work = t.TempDir()
		request.Exec = executeIn(request.Work)
		report, err := python.Inspect(t.Context(), request)
		if !errors.Is(err, python.ErrExternallyManaged) {
			t.Fatalf("got %v, want %v", err, python.ErrExternallyManaged)
		}
		for _, r := range report.Results {
			refused := r.Check == python.CheckPip || r.Check == python.CheckPipUser
			if refused != errors.Is(r.Err, python.ErrExternallyManaged) || !refused && r.Err != nil {
				t.Errorf("%s: %v", r.Check, r.Err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		request := request
		request.Work = t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		request.Exec = func(ctx context.Context, env []string, argv ...string) ([]byte, error) {
			if slices.Contains(argv, "uninstall") {
				cancel()
			}
			return executeIn(request.Work)(ctx, env, argv...)
		}
		report, err := python.Inspect(ctx, request)
		want := fmt.Sprintf("inspect %s: context canceled", request.Executable)
		if report != nil || err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	})

	if after := names(t, prefix); !slices.Equal(before, after) {
		t.Errorf("the prefix has changed: %d paths before, %d after", len(before), len(after))
	}
}

// executeIn is an Exec that runs programs in dir.
func executeIn(dir string) python.Exec {
	return func(ctx context.Context, env []string, argv ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), env...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			text := stderr.Bytes()
			err = fmt.Errorf("%w: %s", err, text[max(0, len(text)-500):])
		}
		return out, err
	}
}

// copyPrefix copies what an interpreter needs. The rest is most of it.
func copyPrefix(t *testing.T, to, from string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case d.IsDir():
			parts := strings.Split(name, string(filepath.Separator))
			switch {
			case len(parts) == 1 && name != "." && name != "bin" && name != "lib",
				len(parts) == 3 && parts[2] == "test",
				len(parts) == 4 && parts[2] == "site-packages" && !strings.HasPrefix(parts[3], "pip"):
				return fs.SkipDir
			}
			return os.MkdirAll(target, 0o755)
		case d.Type()&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case filepath.Ext(name) == ".a":
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if err := os.WriteFile(target, data, info.Mode().Perm()|0o200); err != nil {
			return err
		}
		// Bytecode is valid for one time of its source.
		return os.Chtimes(target, info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// names is every path below dir.
func names(t *testing.T, dir string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}
