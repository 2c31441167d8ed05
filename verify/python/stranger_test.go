package python_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pybuild/verify/python"
)

// A stranger is judged by what it has; its twin, of which the same was promised, is rejected.
func TestStranger(t *testing.T) {
	for _, row := range []struct {
		name     string
		set      func(f *fake)
		err      string // after "PREFIX/bin/python3.13 rejected: "
		promised bool   // that the twin is rejected
		details  map[string]string
		refused  bool
	}{
		{"all there", func(f *fake) {}, "", false, map[string]string{python.CheckPip: "pip 25.1.1", python.CheckVenv: "pip 25.1.1"}, false},
		{"no pip", func(f *fake) { f.in()["pip"] = "" }, "", true, map[string]string{python.CheckPip: "none"}, false},
		{"pip refuses", func(f *fake) { f.fail("pip install --user", "error: externally-managed-environment") }, "", true,
			map[string]string{python.CheckPip: "pip 25.1.1 refuses: externally-managed-environment"}, true},
		{"pip fails", func(f *fake) { f.fail("pip install --user", "no") }, "pip: pip install --user: exit status 1: no", true, nil, false},
		{"no ensurepip", func(f *fake) { f.fail("venv", "no"); f.answerFindSpec("False") }, "", true,
			map[string]string{python.CheckVenv: "not there: no module venv, or no ensurepip"}, false},
		{"venv fails", func(f *fake) { f.fail("venv", "no") }, "venv: make it: exit status 1: no", true, nil, false},
		{"no ssl", func(f *fake) { f.in("modules")["ssl"], f.in("modules")["_ssl"] = notFound("_ssl"), notFound("_ssl") }, "", true,
			map[string]string{python.CheckModules: "4 of 4 import"}, false},
		{"no ssl, in a distribution's words", func(f *fake) {
			f.in("modules")["ssl"], f.in("modules")["_ssl"] = "ImportError: No module named '_ssl', please install python3-ssl", notFound("_ssl")
		}, "", true, map[string]string{python.CheckModules: "4 of 4 import"}, false},
		{"broken ssl", func(f *fake) { f.in("modules")["_ssl"] = "ImportError: undefined symbol" },
			"modules: _ssl (part ssl): ImportError: undefined symbol", true, nil, false},
		{"shared, by its own word", func(f *fake) { f.in()["shared"] = true }, "", true, nil, false},
		{"commands without a version", func(f *fake) { f.write("bin/python3", "") }, "", true, nil, false},
		{"a version that nobody knows", func(f *fake) { f.in()["version"] = "2.7.18" }, `version: version "2.7.18" is not one of CPython 3.8 or later`, true, nil, false},
		{"does not start", func(f *fake) { f.fail("describe", "no") }, "start: exit status 1: no", true, nil, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			f.in()["build_time_prefix"] = f.prefix
			for _, name := range []string{"pip3.13", "pydoc3.13"} {
				f.write("bin/"+name, "#!"+f.prefix+"/bin/python3.13\n")
			}
			f.request.ConfiguredPrefix = ""
			f.answerFindSpec("True")
			row.set(f)
			promise := f.request
			f.request.Stranger, f.request.Version, f.request.Prefix = true, "", ""
			before := names(t, f.prefix)
			report, err := python.Inspect(t.Context(), f.request)
			got := ""
			if err != nil {
				got = strings.TrimPrefix(f.plain(err.Error()), "PREFIX/bin/python3.13 rejected: ")
			}
			if got != row.err {
				t.Errorf("error:\n got %q\nwant %q", got, row.err)
			}
			for check, want := range row.details {
				i := slices.IndexFunc(report.Results, func(r python.Result) bool { return r.Check == check })
				if i < 0 || report.Results[i].Detail != want {
					t.Errorf("%s: %+v, want %q", check, report.Results, want)
				}
			}
			if report.Refused != row.refused {
				t.Errorf("refused %v", report.Refused)
			}
			if slices.Contains(f.calls, "pip install") {
				t.Error("pip was tried in the prefix")
			}
			if after := names(t, f.prefix); !slices.Equal(before, after) {
				t.Errorf("the prefix has %q, had %q", after, before)
			}

			promise.ReadOnly = true
			entries, err := os.ReadDir(promise.Work)
			for _, e := range entries {
				err = errors.Join(err, os.RemoveAll(filepath.Join(promise.Work, e.Name())))
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := python.Inspect(t.Context(), promise); (err != nil) != row.promised {
				t.Errorf("with a promise: %v", err)
			}
		})
	}
}

func notFound(name string) string {
	return "ModuleNotFoundError: No module named '" + name + "'"
}

// answerFindSpec answers the question for venv and ensurepip, which looks like an import.
func (f *fake) answerFindSpec(answer string) {
	f.override["import"] = func(argv []string) ([]byte, error) {
		if strings.Contains(argv[len(argv)-1], "find_spec") {
			return []byte(answer + "\n"), nil
		}
		return f.run("import", argv)
	}
}

// A Python of a virtual environment knows no users, and its files are those of the Python behind it.
func TestStrangerInVenv(t *testing.T) {
	f := newFake(t)
	f.request.Stranger = true
	f.in()["prefix"] = f.request.Work + "/elsewhere"
	f.answerFindSpec("True")
	f.override["pip"] = func([]string) ([]byte, error) { return []byte("pip 25.1.1\n"), nil }
	report, err := python.Inspect(t.Context(), f.request)
	if err != nil {
		t.Fatal(err)
	}
	if report.Prefix != f.request.Work+"/elsewhere" || report.Pip != "25.1.1" || slices.Contains(f.calls, "pip install --user") {
		t.Errorf("%+v, called %q", report, f.calls)
	}
}

// With a marker pip must refuse, everywhere; without one it must not.
func TestManaged(t *testing.T) {
	const refusal = "error: externally-managed-environment"
	refuse := func(f *fake) { f.fail("pip install", refusal); f.fail("pip install --user", refusal) }
	for _, row := range []struct {
		name    string
		managed bool
		set     func(f *fake)
		err     string
	}{
		{"managed, refuses", true, refuse, ""},
		{"managed, installs", true, func(f *fake) {}, "pip: pip 25.1.1 installs in spite of the marker, for which pip looks since 23.0; " +
			"pip-user: pip 25.1.1 installs in spite of the marker, for which pip looks since 23.0"},
		{"managed, installs for a user", true, func(f *fake) { f.fail("pip install", refusal) },
			"pip-user: pip 25.1.1 installs in spite of the marker, for which pip looks since 23.0"},
		{"managed, fails", true, func(f *fake) { f.fail("pip install", "no"); f.fail("pip install --user", refusal) }, "pip: pip install: exit status 1: no"},
		{"not managed, refuses", false, refuse, "pip: pip install: pip refuses: externally-managed-environment: exit status 1: " + refusal +
			"; pip-user: pip install --user: pip refuses: externally-managed-environment: exit status 1: " + refusal},
		{"not managed, installs", false, func(f *fake) {}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFake(t)
			f.request.Managed = row.managed
			row.set(f)
			before := names(t, f.prefix)
			report, err := python.Inspect(t.Context(), f.request)
			got := ""
			if err != nil {
				got = strings.TrimPrefix(f.plain(err.Error()), "PREFIX/bin/python3.13 rejected: ")
			}
			if got != row.err {
				t.Errorf("error:\n got %q\nwant %q", got, row.err)
			}
			if want := row.managed && row.err == ""; report.Refused != want {
				t.Errorf("refused %v, want %v", report.Refused, want)
			}
			if after := names(t, f.prefix); !slices.Equal(before, after) {
				t.Errorf("the prefix has %q, had %q", after, before)
			}
		})
	}
}
