//go:build linux

package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDoctor holds what the doctor says against what the distribution's pip does, tries every way out that it names, and then every
// ordinary use of pip with two Pythons of pybuild's, as root and as a user. PyPI is a directory of wheels throughout: pip is told so
// by PIP_NO_INDEX and PIP_FIND_LINKS, and every command that the doctor prints is run as it stands, but for the series of the
// Python to build, which is taken from the archives that are there.
func TestDoctor(t *testing.T) {
	d := &patient{program: throwaway(t), python: "/usr/bin/python3", wheels: "/srv/wheels", user: "tester"}
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "python3", "python3-pip")
	if _, err := os.Stat("/home/" + d.user); err != nil {
		shell(t, "useradd", "--create-home", d.user)
	}
	d.prepare(t)

	t.Run("before", d.refuses)
	t.Run("advice", d.advice)
	d.provide(t)
	t.Run("after", d.refuses)
	t.Run("pip", d.pip)
	t.Run("tools", d.tools)
	t.Run("distribution", d.distribution)
	t.Run("verify", d.verify)
	t.Run("overrides", d.overrides)
	t.Run("markers", d.markers)
	t.Run("ten", d.ten)
}

// patient is the machine that the doctor looks at.
type patient struct {
	program, python, wheels, user string
	marker                        string   // of the distribution's Python
	ours                          []string // interpreters
}

// Both versions that .ci/roots fetches anyway: one in the usual place, one elsewhere.
var doctors = []struct{ version, prefix string }{{"3.13.5", "/usr/local"}, {"3.11.2", "/opt/python/3.11"}}

// prepare makes the wheels. One is called requests, because that is what the doctor is asked for; it is an application, too.
func (d *patient) prepare(t *testing.T) {
	t.Helper()
	if err := os.MkdirAll(d.wheels, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, w := range [][2]string{{"requests", "99.0"}, {"some", "1.0"}, {"application", "1.0"}} {
		makeWheel(t, d.wheels, w[0], w[1])
	}
	d.marker = d.say(t, "", d.python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib') + '/EXTERNALLY-MANAGED')")
	write(t, "/srv/project/pyproject.toml", []byte("[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"))
	write(t, "/srv/project/src/editable.py", []byte("value = 1\n"))
	write(t, "/srv/project/backend.py", []byte(`import pathlib, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    info = "editable-1.0.dist-info/"
    source = pathlib.Path(__file__).resolve().parent / "src"
    files = {
        "editable.pth": f"{source}\n",
        info + "METADATA": "Metadata-Version: 2.1\nName: editable\nVersion: 1.0\n",
        info + "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[info + "RECORD"] = "".join(f"{name},,\n" for name in [*files, info + "RECORD"])
    name = "editable-1.0-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(directory) / name, "w") as z:
        for file, text in files.items():
            z.writestr(file, text)
    return name

build_wheel = build_editable
`))
	write(t, "/srv/requirements.txt", []byte("some==1.0\n"))
}

// makeWheel makes one with a module and a command of its name, which print the version.
func makeWheel(t *testing.T, dir, name, version string) string {
	t.Helper()
	info := name + "-" + version + ".dist-info/"
	files := [][2]string{
		{name + ".py", fmt.Sprintf("version = %q\n\ndef main():\n    print(version)\n", version)},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[console_scripts]\n" + name + "-command = " + name + ":main\n"},
	}
	record := info + "RECORD,,\n"
	for _, f := range files {
		record += f[0] + ",,\n"
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range append(files, [2]string{info + "RECORD", record}) {
		w, err := z.Create(f[0])
		if err == nil {
			_, err = io.WriteString(w, f[1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+"-"+version+"-py3-none-any.whl")
	write(t, file, b.Bytes())
	return file
}

// run runs a command as a user, "" for root, in that user's home, with more variables.
func (d *patient) run(t *testing.T, user string, more []string, argv ...string) (string, error) {
	t.Helper()
	home := "/root"
	if user != "" {
		home = "/home/" + user
		argv = append([]string{"runuser", "-u", user, "--"}, argv...)
	}
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = home
	cmd.Env = append([]string{
		"HOME=" + home, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + home + "/.local/bin", "DEBIAN_FRONTEND=noninteractive",
		"PIP_NO_INDEX=1", "PIP_FIND_LINKS=" + d.wheels + " /usr/share/python-wheels", "PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_ROOT_USER_ACTION=ignore",
	}, more...)
	for _, name := range []string{"http_proxy", "https_proxy", "PYBUILD_OFFLINE", "PYBUILD_MIRROR"} {
		if v, ok := os.LookupEnv(name); ok {
			cmd.Env = append(cmd.Env, name+"="+v)
		}
	}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// say runs a command that must succeed and returns what it said.
func (d *patient) say(t *testing.T, user string, argv ...string) string {
	t.Helper()
	out, err := d.run(t, user, nil, argv...)
	if err != nil {
		t.Errorf("%s (user %q): %v\n%s", strings.Join(argv, " "), user, err, out)
	}
	return out
}

// diagnosis is the document of doctor --json, as far as it matters here.
type diagnosis struct {
	Answer  struct{ Python, Does string }
	Pythons []struct {
		Executable, Install string
		Marker              struct{ State, Message, Key string }
	}
	Findings []symptom
	Packages []struct{ Name string }
	Advice   []struct {
		Way      string
		Commands [][]string
	}
}

type symptom struct {
	Kind, Path, What string
	Items            []string
	Undo             [][]string
}

// ask asks the doctor.
func (d *patient) ask(t *testing.T, user string, more []string, names ...string) *diagnosis {
	t.Helper()
	out, err := d.run(t, user, more, slices.Concat([]string{d.program, "doctor", "--json"}, names)...)
	var found diagnosis
	if err := errors.Join(err, json.Unmarshal([]byte(out), &found)); err != nil {
		t.Fatalf("pybuild doctor: %v\n%s", err, out)
	}
	return &found
}

// does is what the doctor says of the distribution's Python.
func (f *diagnosis) does(python string) string {
	for _, p := range f.Pythons {
		if p.Executable == python {
			return p.Install
		}
	}
	return "not found"
}

// of are the findings of one kind.
func (f *diagnosis) of(kind string) (list []symptom) {
	for _, s := range f.Findings {
		if s.Kind == kind {
			list = append(list, s)
		}
	}
	return list
}

// try lets the distribution's pip install a wheel, removes that again, and says what happened, in the doctor's words.
func (d *patient) try(t *testing.T, user string, more []string) (does, out string) {
	t.Helper()
	out, err := d.run(t, user, more, d.python, "-m", "pip", "install", "--force-reinstall", "some")
	switch {
	case err == nil:
		if gone, err := d.run(t, user, append([]string{"PIP_BREAK_SYSTEM_PACKAGES=1"}, more...), d.python, "-m", "pip", "uninstall", "--yes", "some"); err != nil {
			t.Errorf("pip uninstall: %v\n%s", err, gone)
		}
		return "installs", out
	case strings.Contains(out, "externally-managed-environment"):
		return "refuses", out
	}
	return "crashes", out
}

// refuses: the distribution's pip does, for root and for a user, and the doctor says so.
func (d *patient) refuses(t *testing.T) {
	for _, user := range []string{"", d.user} {
		does, out := d.try(t, user, nil)
		found := d.ask(t, user, nil)
		if does != "refuses" || found.Answer.Does != does || found.Answer.Python != d.python {
			t.Errorf("user %q: pip %s, the doctor says %+v\n%s", user, does, found.Answer, out)
		}
		if len(found.Findings) > 0 {
			t.Errorf("user %q: findings: %+v", user, found.Findings)
		}
	}
}

// advice: all commands that the doctor prints work.
func (d *patient) advice(t *testing.T) {
	found := d.ask(t, "", nil, "requests")
	if len(found.Packages) != 1 || found.Packages[0].Name != "python3-requests" {
		t.Errorf("packages %+v, want python3-requests", found.Packages)
	}
	var ways []string
	for _, w := range found.Advice {
		ways = append(ways, w.Way)
		for _, argv := range w.Commands {
			given := strings.Join(argv, " ")
			if w.Way == "pybuild" { // the newest series is not among the archives; ours is
				series := doctors[0].version[:strings.LastIndex(doctors[0].version, ".")]
				for i, arg := range argv {
					if i > 0 && argv[0] == "pybuild" && !strings.HasPrefix(arg, "/") && strings.HasPrefix(arg, "3.") {
						argv[i] = doctors[0].version
					}
					if strings.HasPrefix(arg, "/usr/local/bin/python3.") {
						argv[i] = "/usr/local/bin/python" + series
					}
				}
				if argv[0] == "pybuild" {
					argv[0] = d.program
				}
			}
			if out, err := d.run(t, "", nil, argv...); err != nil {
				t.Errorf("%s: %s: %v\n%s", w.Way, given, err, out[max(0, len(out)-4000):])
			} else {
				t.Logf("%-8s %s", w.Way, given)
			}
		}
	}
	if want := []string{"package", "pipx", "venv", "pybuild", "override"}; !slices.Equal(ways, want) {
		t.Errorf("ways %v, want %v", ways, want)
	}
	for _, row := range [][]string{ // what came of each
		{d.python, "-c", "import requests; assert requests.__version__ != '99.0'"},
		{"/root/.local/bin/requests-command"},
		{"/root/.venv/bin/requests-command"},
		{"/usr/local/bin/requests-command"},
	} {
		d.say(t, "", row...)
	}
	d.say(t, "", "/usr/local/bin/python3.13", "-m", "pip", "uninstall", "--yes", "requests")
	d.say(t, "", "pipx", "uninstall", "requests")
}

// provide makes sure of both Pythons; the advice has brought one of them.
func (d *patient) provide(t *testing.T) {
	t.Helper()
	for _, row := range doctors {
		last := build(t, d.program, nil, nil, row.version, "--prefix", row.prefix, "--install-deps", "--yes")
		if last.status != 0 {
			t.Fatalf("%+v", last)
		}
		d.ours = append(d.ours, last.Executable)
	}
	// What pipx and virtualenv would get from PyPI: the distribution's pip can be too old for a Python that is newer.
	wheels, err := filepath.Glob("/usr/local/lib/python3.*/ensurepip/_bundled/pip-*.whl")
	if err != nil || len(wheels) != 1 {
		t.Fatalf("%v, %v", wheels, err)
	}
	shell(t, "cp", wheels[0], d.wheels)
}

// pip: every ordinary use of it with ours, as root and as a user, and nothing of the distribution's changes.
func (d *patient) pip(t *testing.T) {
	before := d.distributions(t)
	for _, python := range d.ours {
		for _, user := range []string{"", d.user} {
			for _, row := range []struct {
				name, module string
				install      []string
			}{
				{"install", "some", []string{"some"}},
				{"--user", "some", []string{"--user", "some"}},
				{"-r", "some", []string{"-r", "/srv/requirements.txt"}},
				{"-e", "editable", []string{"-e", "/srv/project"}},
			} {
				t.Run(filepath.Base(python)+"/"+cmp.Or(user, "root")+"/"+row.name, func(t *testing.T) {
					d.say(t, user, append([]string{python, "-m", "pip", "install"}, row.install...)...)
					d.say(t, user, python, "-c", "import "+row.module)
					if row.module == "some" {
						file := d.say(t, user, python, "-c", "import some; print(some.__file__)")
						if personal := row.name == "--user" || user != ""; personal != strings.Contains(file, "/.local/") {
							t.Errorf("installed as %s", file)
						}
					}
					d.say(t, user, python, "-m", "pip", "uninstall", "--yes", row.module)
					if out, err := d.run(t, user, nil, python, "-c", "import "+row.module); err == nil || !strings.Contains(out, "ModuleNotFoundError") {
						t.Errorf("still there: %v %s", err, out)
					}
				})
			}
			t.Run(filepath.Base(python)+"/"+cmp.Or(user, "root")+"/venv", func(t *testing.T) {
				for _, more := range [][]string{nil, {"--system-site-packages"}} {
					dir := d.say(t, user, "mktemp", "-d")
					d.say(t, user, slices.Concat([]string{python, "-m", "venv", dir}, more)...)
					d.say(t, user, dir+"/bin/pip", "install", "some")
					if out := d.say(t, user, dir+"/bin/some-command"); out != "1.0" {
						t.Errorf("the command says %q", out)
					}
				}
			})
		}
	}
	if after := d.distributions(t); len(before) == 0 || difference(before, after) != "" {
		t.Errorf("the distribution's directories changed:\n%s", difference(before, after))
	}
}

// distributions is what is in the directories of the distribution's Python.
func (d *patient) distributions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{"/usr/lib/python3", filepath.Dir(d.marker), "/usr/local/lib/" + filepath.Base(filepath.Dir(d.marker))} {
		if _, err := os.Stat(dir); err != nil || slices.ContainsFunc(d.ours, func(p string) bool { return "/usr/local/bin/"+filepath.Base(dir) == p }) {
			continue // not there, or the home of ours
		}
		for name, is := range listing(t, dir) {
			if !strings.Contains(name, "__pycache__") {
				all[filepath.Join(dir, name)] = is
			}
		}
	}
	return all
}

// tools: the distribution's virtualenv, pipx and tox work with ours.
func (d *patient) tools(t *testing.T) {
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "virtualenv", "pipx", "tox")
	for _, python := range d.ours {
		series := strings.TrimPrefix(filepath.Base(python), "python")
		environment := []string{"PATH=" + filepath.Dir(python) + ":/usr/local/bin:/usr/bin:/bin"}
		t.Run(series+"/virtualenv", func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "env")
			out, err := d.run(t, "", nil, "virtualenv", "-p", python, dir)
			if err != nil && strings.Contains(out, "is unavailable") {
				t.Logf("this virtualenv has no pip for Python %s: the environment gets that of the Python itself", series)
				d.say(t, "", "virtualenv", "--no-seed", "-p", python, dir)
				d.say(t, "", dir+"/bin/python", "-m", "ensurepip", "--default-pip")
			} else if err != nil {
				t.Fatalf("virtualenv: %v\n%s", err, out)
			}
			d.say(t, "", dir+"/bin/python", "-m", "pip", "install", "some")
			d.say(t, "", dir+"/bin/some-command")
			if out := d.say(t, "", dir+"/bin/python", "-c", "import sys; print(sys.base_prefix)"); out != filepath.Dir(filepath.Dir(python)) {
				t.Errorf("made with the Python in %s", out)
			}
		})
		t.Run(series+"/pipx", func(t *testing.T) {
			wheel := makeWheel(t, d.wheels, "application", "1.0")
			d.say(t, d.user, "pipx", "install", "--python", python, "application")
			if out := d.say(t, d.user, "/home/"+d.user+"/.local/bin/application-command"); out != "1.0" {
				t.Errorf("the command says %q", out)
			}
			script := d.say(t, d.user, "head", "-n", "1", "/home/"+d.user+"/.local/bin/application-command")
			interpreter, _, _ := strings.Cut(strings.TrimPrefix(script, "#!"), " ") // newer ones have an option after it
			if out := d.say(t, d.user, interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"); out != series {
				t.Errorf("installed for Python %s", out)
			}
			newer := makeWheel(t, d.wheels, "application", "1.1")
			d.say(t, d.user, "pipx", "upgrade", "application")
			if out := d.say(t, d.user, "/home/"+d.user+"/.local/bin/application-command"); out != "1.1" {
				t.Errorf("after the upgrade the command says %q", out)
			}
			d.say(t, d.user, "pipx", "uninstall", "application")
			if err := errors.Join(os.Remove(newer), os.Remove(wheel)); err != nil {
				t.Error(err)
			}
		})
		t.Run(series+"/tox", func(t *testing.T) {
			dir := d.say(t, d.user, "mktemp", "-d")
			env := "py" + strings.ReplaceAll(series, ".", "")
			base := ""
			if filepath.Base(filepath.Dir(d.marker)) == filepath.Base(python) {
				base = "basepython = " + python + "\n" // or it takes the one that it runs with
			}
			write(t, dir+"/tox.ini", []byte("[tox]\nskipsdist = true\nno_package = true\nenvlist = "+env+
				"\n[testenv]\nskip_install = true\nlist_dependencies_command = python --version\ncommands = python -c \"import sys; print(sys.base_prefix)\"\n"+base))
			for _, more := range [][]string{nil, {"VIRTUALENV_NO_SEED=true"}} {
				out, err := d.run(t, d.user, slices.Concat(environment, more), "tox", "-c", dir+"/tox.ini", "--workdir", dir+"/work")
				switch {
				case err != nil && more == nil && strings.Contains(out, "is unavailable"):
					t.Logf("this tox has no pip for Python %s", series)
					continue
				case err != nil || !strings.Contains("\n"+out+"\n", "\n"+filepath.Dir(filepath.Dir(python))+"\n"):
					t.Errorf("tox: %v\n%s", err, out)
				}
				break
			}
		})
	}
}

// distribution: the package manager finds everything as it left it, and goes on working, for its own Python alone.
func (d *patient) distribution(t *testing.T) {
	packages := installed(t, "python3*", "libpython3*")
	if out := d.say(t, "", append([]string{"dpkg", "--verify"}, packages...)...); out != "" || len(packages) < 5 {
		t.Errorf("dpkg --verify of %d packages: %s", len(packages), out)
	}
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "python3-yaml", "python3-requests")
	for _, module := range []string{"yaml", "requests"} {
		d.say(t, "", d.python, "-c", "import "+module)
		for _, python := range d.ours {
			if out, err := d.run(t, "", nil, python, "-c", "import "+module); err == nil || !strings.Contains(out, "ModuleNotFoundError") {
				t.Errorf("%s imports the distribution's %s: %v %s", python, module, err, out)
			}
		}
	}
}

// verify: ours are as they were installed, also after all that, and of the distribution's is said what it has.
func (d *patient) verify(t *testing.T) {
	for _, row := range doctors {
		d.say(t, "", d.program, "verify", row.prefix)
	}
	for _, user := range []string{"", d.user} {
		out := d.say(t, user, d.program, "verify", d.python)
		for _, want := range []string{"refuses: externally-managed-environment", "marker: present"} {
			if !strings.Contains(out, want) {
				t.Errorf("verify of the distribution's Python does not say %q:\n%s", want, out)
			}
		}
		t.Logf("%s", out)
	}
}

// overrides: each way to switch the marker off is found and named, and taken back by the commands that are named with it.
func (d *patient) overrides(t *testing.T) {
	const setting = "[global]\nbreak-system-packages = "
	conf := func(file string) func(t *testing.T, value string) []string {
		return func(t *testing.T, value string) []string {
			write(t, file, []byte(setting+value+"\n"))
			return nil
		}
	}
	for _, row := range []struct {
		name, kind string
		path       string
		// set switches the marker off, or with "false" does nearly the same without an effect, and returns variables.
		set func(t *testing.T, value string) []string
	}{
		{"environment", "override", "", func(_ *testing.T, value string) []string { return []string{"PIP_BREAK_SYSTEM_PACKAGES=" + value} }},
		{"PIP_CONFIG_FILE", "override", "/srv/pip.conf", func(t *testing.T, value string) []string {
			write(t, "/srv/pip.conf", []byte(setting+value+"\n"))
			return []string{"PIP_CONFIG_FILE=/srv/pip.conf"}
		}},
		{"xdg", "override", "/etc/xdg/pip/pip.conf", conf("/etc/xdg/pip/pip.conf")},
		{"global", "override", "/etc/pip.conf", conf("/etc/pip.conf")},
		{"legacy user", "override", "/root/.pip/pip.conf", conf("/root/.pip/pip.conf")},
		{"user", "override", "/root/.config/pip/pip.conf", conf("/root/.config/pip/pip.conf")},
		{"site", "override", "/usr/pip.conf", conf("/usr/pip.conf")},
		{"marker removed", "marker-missing", d.marker, func(t *testing.T, value string) []string {
			if value == "true" {
				shell(t, "rm", d.marker)
			}
			return nil
		}},
		{"marker diverted", "marker-diverted", d.marker, func(t *testing.T, value string) []string {
			if value == "true" {
				shell(t, "dpkg-divert", "--rename", "--divert", d.marker+".disabled", "--add", d.marker)
			}
			return nil
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, value := range []string{"false", "true", "undone"} {
				var more []string
				if value != "undone" {
					more = row.set(t, value)
				}
				found := d.ask(t, "", more)
				does, out := d.try(t, "", more)
				list := found.of(row.kind)
				if value != "true" {
					if does != "refuses" || found.does(d.python) != "refuses" || len(list) > 0 {
						t.Errorf("%s: pip %s, the doctor says %s, %+v\n%s", value, does, found.does(d.python), list, out)
					}
					continue
				}
				if does != "installs" || found.does(d.python) != "overrides" && found.does(d.python) != "installs" {
					t.Errorf("pip %s, the doctor says %s\n%s", does, found.does(d.python), out)
				}
				if len(list) != 1 || list[0].Path != row.path || len(list[0].Undo) == 0 {
					t.Fatalf("found %+v, want one in %s", found.Findings, row.path)
				}
				t.Logf("%s", list[0].What)
				for _, argv := range list[0].Undo {
					if argv[0] != "unset" { // which only a shell can do
						d.say(t, "", argv...)
					}
				}
			}
		})
	}
	// The flag leaves nothing but what it let pip do.
	t.Run("flag", func(t *testing.T) {
		if list := d.ask(t, "", nil).of("unowned"); len(list) > 0 {
			t.Errorf("before: %+v", list)
		}
		d.say(t, "", d.python, "-m", "pip", "install", "--break-system-packages", "some")
		list := d.ask(t, "", nil).of("unowned")
		if len(list) != 1 || !slices.Equal(list[0].Items, []string{"some 1.0"}) {
			t.Fatalf("found %+v", list)
		}
		t.Logf("%s", list[0].What)
		for _, argv := range list[0].Undo {
			d.say(t, "", argv...)
		}
		if list := d.ask(t, "", nil).of("unowned"); len(list) > 0 {
			t.Errorf("undone: %+v", list)
		}
	})
}

// markers: whatever is in the place of the marker, the doctor's answer is that of the real pip.
func (d *patient) markers(t *testing.T) {
	shell(t, "apt-get", "install", "--yes", "--no-install-recommends", "locales")
	shell(t, "localedef", "-i", "de_DE", "-f", "UTF-8", "de_DE.UTF-8")
	keep := d.marker + ".kept"
	shell(t, "mv", d.marker, keep)
	defer shell(t, "mv", keep, d.marker)
	const head = "[externally-managed]\n"
	text := func(content string) func(t *testing.T) {
		return func(t *testing.T) { write(t, d.marker, []byte(content)) }
	}
	german := []string{"LC_ALL=de_DE.UTF-8"}
	for _, row := range []struct {
		name string
		set  func(t *testing.T)
		more []string
		says string // of pip and of the doctor; "" for pip's own words
	}{
		{"plain", text(head + "Error=plain words\n"), nil, "plain words"},
		{"empty", text(""), nil, ""},
		{"binary", text("\x00\xff\xfe\x80"), nil, ""},
		{"dangling link", func(t *testing.T) { shell(t, "ln", "-s", "/nowhere", d.marker) }, nil, ""},
		{"link", func(t *testing.T) {
			write(t, "/srv/marker", []byte(head+"Error=by a link\n"))
			shell(t, "ln", "-s", "/srv/marker", d.marker)
		}, nil, "by a link"},
		{"directory", func(t *testing.T) { shell(t, "mkdir", d.marker) }, nil, ""},
		{"unreadable", func(t *testing.T) {
			write(t, d.marker, []byte(head+"Error=secret\n"))
			shell(t, "chmod", "0", d.marker)
		}, nil, ""},
		{"wrong section", text("[managed]\nError=unseen\n"), nil, ""},
		{"no section", text("Error=unseen\n"), nil, ""},
		{"localized", text(head + "Error=English\nError-de_DE=Deutsch\n"), german, "Deutsch"},
		{"localized by language", text(head + "Error=English\nError-de=Allgemein\n"), german, "Allgemein"},
		{"localized for others", text(head + "Error=English\nError-fr=rien\n"), german, "English"},
		{"localized, not asked for", text(head + "Error=English\nError-de_DE=Deutsch\n"), nil, "English"},
		{"CRLF", text("[externally-managed]\r\nError=one line\r\n and more\r\n"), nil, "one line"},
		{"an option twice", text(head + "Error=a\nError=b\n"), nil, ""},
		{"10 MB", text(head + "Error=long words\n" + strings.Repeat(" "+strings.Repeat("x", 99)+"\n", 100_000)), nil, "long words"},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.set(t)
			defer shell(t, "rm", "-rf", d.marker)
			does, out := d.try(t, d.user, row.more)
			found := d.ask(t, d.user, row.more)
			if got := found.does(d.python); got != does {
				t.Errorf("pip %s, the doctor says %s\n%s", does, got, out[:min(len(out), 2000)])
			}
			message := ""
			for _, p := range found.Pythons {
				if p.Executable == d.python {
					message, _, _ = strings.Cut(p.Marker.Message, "\n")
				}
			}
			if message != row.says || row.says != "" && !strings.Contains(out, row.says) {
				t.Errorf("the doctor has %q, want %q; pip says\n%s", message, row.says, out[:min(len(out), 2000)])
			}
			t.Logf("%s, %q", does, message)
		})
	}
}

// ten: the doctor takes no second for ten Pythons, uses no network, and changes nothing, as root and as a user.
func (d *patient) ten(t *testing.T) {
	for i := range 8 {
		d.say(t, "", d.python, "-m", "venv", "--without-pip", fmt.Sprintf("/opt/environment%d", i))
	}
	for _, user := range []string{"", d.user} {
		d.ask(t, user, nil) // a first time, for the kernel's caches
		state := func() string {
			return shell(t, "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/dev", "-o", "-path", "/tmp", ")", "-prune", "-o", "-printf", "%p %m %U %s %T@ %C@\\n")
		}
		before := state()
		fastest, least := time.Hour, time.Hour
		for range 5 {
			argv := []string{"unshare", "--net", "--", d.program, "doctor", "--json"}
			if user != "" {
				argv = []string{"unshare", "--net", "--", "runuser", "-u", user, "--", d.program, "doctor", "--json"}
			}
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Dir = "/"
			start := time.Now()
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", strings.Join(argv, " "), err)
			}
			fastest, least = min(fastest, time.Since(start)), min(least, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
			var found diagnosis
			if err := json.Unmarshal(out, &found); err != nil || len(found.Pythons) < 10 {
				t.Errorf("%d Pythons: %v\n%s", len(found.Pythons), err, out)
			}
		}
		if after := state(); after != before {
			was := strings.Split(before, "\n")
			for line := range strings.Lines(after) {
				if !slices.Contains(was, strings.TrimSuffix(line, "\n")) {
					t.Errorf("changed: %s", line)
				}
			}
		}
		t.Logf("user %q: %d ms, %d ms of the processors", user, fastest.Milliseconds(), least.Milliseconds())
		if !busy(t) && fastest > time.Second || least > time.Duration(runtime.NumCPU())*time.Second {
			t.Errorf("user %q: it took %v, and %v of the processors", user, fastest, least)
		}
	}
}

// busy says whether the machine has more to do than processors, so that how long something took says nothing.
func busy(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatal(err)
	}
	return load > float64(runtime.NumCPU())
}
