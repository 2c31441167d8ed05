package pep668_test

import (
	"context"
	"crypto/md5"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pybuild/verify/pep668"
)

// A fake is a machine that exists only in memory.
type fake struct {
	files   fstest.MapFS
	pythons map[string]answer // what an interpreter says of itself, by its path without links
	lists   map[string]string // candidate version by package, "+" in front when it is installed
	ran     []string          // commands that are not interpreters
}

// answer is what probe.py prints.
type answer struct {
	Version, Prefix, Stdlib, Purelib, Platlib, User_site, Language string
	Site                                                           []string
}

var unpacked = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fake) file(name, text string) {
	f.files[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text), Mode: 0o644, ModTime: unpacked}
}

func (f *fake) program(name, text string) {
	f.files[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(text), Mode: 0o755, ModTime: unpacked}
}

func (f *fake) link(name, to string) {
	f.files[strings.TrimPrefix(name, "/")] = &fstest.MapFile{Data: []byte(to), Mode: fs.ModeSymlink | 0o777}
}

func (f *fake) remove(name string) { delete(f.files, strings.TrimPrefix(name, "/")) }

// pkg installs a package with these files, and everything that dpkg writes down of it.
func (f *fake) pkg(name string, files ...string) {
	var list, sums strings.Builder
	for _, file := range files {
		fmt.Fprintln(&list, file)
		if m, ok := f.files[file[1:]]; ok && m.Mode.IsRegular() {
			fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(m.Data), file[1:])
		}
	}
	f.file("/var/lib/dpkg/info/"+name+".list", list.String())
	f.file("/var/lib/dpkg/info/"+name+".md5sums", sums.String())
}

// own puts a Python without a marker, and its pip, into a prefix, under the name python3.13.
func (f *fake) own(prefix, version string) {
	series := version[:strings.LastIndexByte(version, '.')]
	python := path.Join(prefix, "bin/python"+series)
	f.program(python, "ELF "+python)
	site := path.Join(prefix, "lib/python"+series, "site-packages")
	f.file(path.Join(site, "pip-25.1.dist-info/METADATA"), "")
	f.file(path.Join(prefix, "lib/python"+series, "ensurepip/__init__.py"), "")
	f.pythons[python] = answer{Version: version, Prefix: prefix, Stdlib: path.Join(prefix, "lib/python"+series), Purelib: site, Platlib: site, Site: []string{site}, User_site: "/home/me/.local/lib/python" + series + "/site-packages"}
}

const (
	marker = "/usr/lib/python3.11/EXTERNALLY-MANAGED"
	dist   = "/usr/lib/python3/dist-packages"
	local  = "/usr/local/lib/python3.11/dist-packages"
	user   = "/home/me/.local/lib/python3.11/site-packages"
)

// debian is a fresh Debian 12 with pip and requests.
func debian() *fake {
	f := &fake{files: fstest.MapFS{}, pythons: map[string]answer{}, lists: map[string]string{
		"pipx": "1.1.0-1", "python3-venv": "3.11.2-1", "python3.11-venv": "3.11.2-6", "python3-requests": "+2.28.1", "python3-yaml": "6.0-3", "yt-dlp": "2023.03.04", "cowsay": "3.03",
	}}
	f.program("/usr/bin/python3.11", "ELF")
	f.link("/usr/bin/python3", "python3.11")
	f.link("/bin", "usr/bin")
	f.program("/usr/bin/python3-config", "#!/bin/sh\n")
	for _, pip := range []string{"pip", "pip3", "pip3.11"} {
		f.program("/usr/bin/"+pip, "#!/usr/bin/python3\n")
	}
	f.file(marker, marked("Use apt.\n\n See /usr/share/doc/python3.11/README.venv."))
	f.file(dist+"/pip-23.0.1.dist-info/METADATA", "")
	f.file(dist+"/requests-2.28.1.egg-info/PKG-INFO", "")
	f.file(dist+"/requests/__init__.py", "good")
	f.file("/var/lib/dpkg/status", "")
	f.file("/var/lib/apt/lists/mirror.example_debian_dists_bookworm_main_binary-amd64_Packages", "")
	f.pkg("python3.11-minimal", "/usr/bin/python3.11")
	f.pkg("python3-minimal", "/usr/bin/python3")
	f.pkg("libpython3.11-stdlib:amd64", "/usr/lib/python3.11", marker)
	f.pkg("python3-pip", "/usr/bin/pip", dist, dist+"/pip-23.0.1.dist-info", dist+"/pip-23.0.1.dist-info/METADATA")
	f.pkg("python3-requests", dist, dist+"/requests-2.28.1.egg-info", dist+"/requests-2.28.1.egg-info/PKG-INFO", dist+"/requests", dist+"/requests/__init__.py")
	f.pythons["/usr/bin/python3.11"] = answer{Version: "3.11.2", Prefix: "/usr", Stdlib: "/usr/lib/python3.11", Purelib: local, Platlib: local, Site: []string{local, dist}, User_site: user, Language: "de_DE"}
	return f
}

// exec is the machine's commands.
func (f *fake) exec(_ context.Context, argv ...string) ([]byte, error) {
	if slices.Contains(argv, "-c") {
		if strings.HasPrefix(argv[0], "/home/me/project/") {
			panic("ran " + argv[0])
		}
		if a, ok := f.pythons[f.real(argv[0])]; ok {
			if venv := path.Dir(path.Dir(argv[0])); f.files[venv[1:]+"/pyvenv.cfg"] != nil {
				a.Prefix, a.Site = venv, []string{venv + "/lib/python3/site-packages"}
			}
			out, err := json.Marshal(a)
			return []byte(strings.ToLower(string(out[:1])) + lowerKeys(string(out[1:]))), err
		}
		return nil, errors.New("exit status 127: cannot execute")
	}
	f.ran = append(f.ran, strings.Join(argv, " "))
	if strings.Join(argv[:4], " ") == "env LC_ALL=C apt-cache depends" {
		return []byte(argv[4] + "\n  Depends: " + map[string]string{"yt-dlp": "python3:any", "cowsay": "perl"}[argv[4]] + "\n"), nil
	}
	if strings.Join(argv[:4], " ") != "env LC_ALL=C apt-cache policy" {
		return nil, errors.New("exit status 1")
	}
	var out strings.Builder
	for _, name := range argv[4:] {
		version, ok := f.lists[name]
		if !ok {
			continue
		}
		installed := "(none)"
		if v, ok := strings.CutPrefix(version, "+"); ok {
			installed, version = v, v
		}
		fmt.Fprintf(&out, "%s:\n  Installed: %s\n  Candidate: %s\n  Version table:\n     %s 500\n", name, installed, version, version)
	}
	return []byte(out.String()), nil
}

// lowerKeys makes the names of Go's fields those of Python's.
func lowerKeys(s string) string {
	for _, key := range []string{"Version", "Prefix", "Stdlib", "Purelib", "Platlib", "User_site", "Language", "Site"} {
		s = strings.Replace(s, `"`+key+`":`, `"`+strings.ToLower(key)+`":`, 1)
	}
	return s
}

// real follows links of the last name only, which is all that the fakes have.
func (f *fake) real(file string) string {
	for range 10 {
		m := f.files[file[1:]]
		if m == nil || m.Mode&fs.ModeSymlink == 0 {
			break
		}
		if to := string(m.Data); path.IsAbs(to) {
			file = to
		} else {
			file = path.Join(path.Dir(file), to)
		}
	}
	return file
}

func (f *fake) request(environ ...string) pep668.Request {
	return pep668.Request{
		Root: f.files, Environ: append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/me"}, environ...), Home: "/home/me", Dir: "/home/me/project", Exec: f.exec,
		Install: []string{"apt-get", "install", "--yes"}, Refresh: []string{"apt-get", "update"}, Privilege: []string{"sudo"}, Series: "3.13",
	}
}

func examine(t *testing.T, r pep668.Request) *pep668.Report {
	t.Helper()
	report, err := pep668.Examine(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// brief are the findings without their words.
func brief(r *pep668.Report) (list []string) {
	for _, f := range r.Findings {
		s := f.Risk + " " + f.Kind
		if f.Path != "" {
			s += " " + f.Path
		}
		if f.Line > 0 {
			s += fmt.Sprintf(":%d", f.Line)
		}
		list = append(list, s)
	}
	return list
}

// undo are the commands of all findings, a line each.
func undo(r *pep668.Report) (list []string) {
	for _, f := range r.Findings {
		for _, argv := range f.Undo {
			list = append(list, strings.Join(argv, " "))
		}
	}
	return list
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

func TestOverrides(t *testing.T) {
	const (
		site   = "/usr/pip.conf"
		global = "/etc/pip.conf"
		xdg    = "/etc/xdg/pip/pip.conf"
		own    = "/home/me/.config/pip/pip.conf"
		legacy = "/home/me/.pip/pip.conf"
		yes    = "[global]\nbreak-system-packages = true\n"
		no     = "[install]\nbreak_system_packages = no\n"
	)
	type files map[string]string
	for _, row := range []struct {
		name     string
		environ  string // divided by |
		files    files
		does     string
		findings []string
		undo     []string
	}{
		{"nothing", "", nil, "refuses", nil, nil},
		{"variable", "PIP_BREAK_SYSTEM_PACKAGES=1", nil, "overrides", []string{"high override"}, []string{"unset PIP_BREAK_SYSTEM_PACKAGES"}},
		{"variable, other words", "PIP_Break_System_Packages=Yes", nil, "overrides", []string{"high override"}, []string{"unset PIP_Break_System_Packages"}},
		{"variable says no", "PIP_BREAK_SYSTEM_PACKAGES=off", nil, "refuses", nil, nil},
		{"variable is empty", "PIP_BREAK_SYSTEM_PACKAGES=", nil, "refuses", nil, nil},
		{"variable is nonsense", "PIP_BREAK_SYSTEM_PACKAGES=maybe", nil, "crashes", []string{"medium configuration"}, []string{"unset PIP_BREAK_SYSTEM_PACKAGES"}},
		{"variable set by the shell", "PIP_BREAK_SYSTEM_PACKAGES=1", files{"/home/me/.bashrc": "# PIP_BREAK_SYSTEM_PACKAGES=1\nexport PIP_BREAK_SYSTEM_PACKAGES=1\n"}, "overrides",
			[]string{"high override /home/me/.bashrc:2"}, []string{"unset PIP_BREAK_SYSTEM_PACKAGES", "sed -i 2d /home/me/.bashrc"}},
		{"variable set for all", "PIP_BREAK_SYSTEM_PACKAGES=1", files{"/etc/environment": "PIP_BREAK_SYSTEM_PACKAGES=1\n"}, "overrides",
			[]string{"high override /etc/environment:1"}, []string{"unset PIP_BREAK_SYSTEM_PACKAGES", "sudo sed -i 1d /etc/environment"}},
		{"shell sets it for others", "", files{"/home/me/.bashrc": "export PIP_BREAK_SYSTEM_PACKAGES=1\n"}, "refuses", nil, nil},
		{"global", "", files{global: yes}, "overrides", []string{"high override /etc/pip.conf:2"}, []string{"sudo sed -i 2d /etc/pip.conf"}},
		{"global says no", "", files{global: no}, "refuses", nil, nil},
		{"global of XDG", "", files{xdg: yes}, "overrides", []string{"high override /etc/xdg/pip/pip.conf:2"}, []string{"sudo sed -i 2d /etc/xdg/pip/pip.conf"}},
		{"other XDG", "XDG_CONFIG_DIRS=/a:/b", files{xdg: yes, "/b/pip/pip.conf": no}, "refuses", nil, nil},
		{"user", "", files{own: yes}, "overrides", []string{"high override /home/me/.config/pip/pip.conf:2"}, []string{"sed -i 2d /home/me/.config/pip/pip.conf"}},
		{"user's XDG", "XDG_CONFIG_HOME=/home/me/c", files{own: no, "/home/me/c/pip/pip.conf": yes}, "overrides", []string{"high override /home/me/c/pip/pip.conf:2"}, []string{"sed -i 2d /home/me/c/pip/pip.conf"}},
		{"user, old place", "", files{legacy: yes}, "overrides", []string{"high override /home/me/.pip/pip.conf:2"}, []string{"sed -i 2d /home/me/.pip/pip.conf"}},
		{"site", "", files{site: yes}, "overrides", []string{"high override /usr/pip.conf:2"}, []string{"sudo sed -i 2d /usr/pip.conf"}},
		{"two lines, which pip does not join", "", files{global: "[install]\nbreak-system-packages =\n  1\n"}, "crashes", []string{"medium configuration /etc/pip.conf:2"}, []string{"sudo sed -i 2,3d /etc/pip.conf"}},
		{"other section", "", files{global: "[freeze]\nbreak-system-packages = 1\n"}, "refuses", nil, nil},
		{"defaults", "", files{global: "[DEFAULT]\nbreak-system-packages = 1\n[global]\n"}, "overrides", []string{"high override /etc/pip.conf:2"}, []string{"sudo sed -i 2d /etc/pip.conf"}},
		{"defaults of nothing", "", files{global: "[DEFAULT]\nbreak-system-packages = 1\n"}, "refuses", nil, nil},
		{"user over global", "", files{global: yes, own: "[global]\nbreak-system-packages = 0\n"}, "refuses", nil, nil},
		{"user empties global", "", files{global: yes, own: "[global]\nbreak-system-packages =\n"}, "refuses", nil, nil},
		{"install over global, whatever the file", "", files{global: no, own: yes}, "refuses", nil, nil},
		{"variable over all", "PIP_BREAK_SYSTEM_PACKAGES=0", files{global: yes, own: yes, site: yes}, "refuses", nil, nil},
		{"all, and the strongest is named", "", files{global: yes, own: yes, site: yes}, "overrides", []string{"high override /usr/pip.conf:2"}, []string{"sudo sed -i 2d /usr/pip.conf"}},
		{"file of its own", "PIP_CONFIG_FILE=/home/me/x", files{"/home/me/x": yes, site: "[global]\nbreak-system-packages = 0\n"}, "overrides", []string{"high override /home/me/x:2"}, []string{"sed -i 2d /home/me/x"}},
		{"file of its own instead of the user's", "PIP_CONFIG_FILE=x", files{"/home/me/project/x": "", own: yes}, "refuses", nil, nil},
		{"file of its own is not there", "PIP_CONFIG_FILE=x", files{own: yes}, "overrides", []string{"high override /home/me/.config/pip/pip.conf:2"}, []string{"sed -i 2d /home/me/.config/pip/pip.conf"}},
		{"no file at all", "PIP_CONFIG_FILE=/dev/null", files{global: yes, own: yes, site: yes}, "refuses", nil, nil},
		{"broken file", "", files{own: "break-system-packages = 1\n"}, "crashes", []string{"medium configuration /home/me/.config/pip/pip.conf:1"}, nil},
		{"option twice", "", files{own: yes + "break-system-packages = 1\n"}, "crashes", []string{"medium configuration /home/me/.config/pip/pip.conf:3"}, nil},
		{"not UTF-8", "", files{own: "[global]\n# \xff\n"}, "crashes", []string{"medium configuration /home/me/.config/pip/pip.conf"}, nil},
		{"target", "PIP_TARGET=/srv/x", nil, "overrides", []string{"medium target"}, []string{"unset PIP_TARGET"}},
		{"prefix", "", files{own: "[install]\nprefix = /srv/x\n"}, "overrides", []string{"medium target /home/me/.config/pip/pip.conf:2"}, []string{"sed -i 2d /home/me/.config/pip/pip.conf"}},
		{"user site", "PIP_USER=1", nil, "refuses", []string{"note user"}, []string{"unset PIP_USER"}},
		{"environment demanded", "PIP_REQUIRE_VIRTUALENV=1", nil, "demands", []string{"note require-virtualenv"}, nil},
		{"environment not demanded", "PIP_REQUIRE_VIRTUALENV=0", nil, "refuses", nil, nil},
		{"other Python", "PIP_PYTHON=/opt/x/bin/python", nil, "refuses", []string{"note python"}, []string{"unset PIP_PYTHON"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			for file, text := range row.files {
				f.file(file, text)
			}
			var environ []string
			if row.environ != "" {
				environ = strings.Split(row.environ, "|")
			}
			r := examine(t, f.request(environ...))
			if r.Answer.Does != row.does || r.Answer.Python != "/usr/bin/python3" {
				t.Errorf("got %+v, want %s", r.Answer, row.does)
			}
			equal(t, "findings", brief(r), row.findings)
			equal(t, "undo", undo(r), row.undo)
		})
	}
}

func TestMarkers(t *testing.T) {
	for _, row := range []struct {
		name     string
		change   func(*fake)
		does     string
		state    string
		findings []string
		undo     []string
	}{
		{"as it should be", func(*fake) {}, "refuses", "present", nil, nil},
		{"deleted", func(f *fake) { f.remove(marker) }, "installs", "absent", []string{"high marker-missing " + marker}, []string{"sudo apt-get install --yes --reinstall libpython3.11-stdlib"}},
		{"of no package", func(f *fake) {
			f.remove(marker)
			f.pkg("libpython3.11-stdlib:amd64", "/usr/lib/python3.11")
		}, "installs", "absent", nil, nil},
		{"diverted", func(f *fake) {
			f.remove(marker)
			f.file("/var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n"+marker+"\n"+marker+".away\n:\n")
		}, "installs", "absent", []string{"high marker-diverted " + marker}, []string{"sudo dpkg-divert --rename --remove " + marker}},
		{"diverted and replaced", func(f *fake) { f.file("/var/lib/dpkg/diversions", marker+"\n"+marker+".away\n:\n") }, "refuses", "present", []string{"note marker-diverted " + marker}, nil},
		{"something else diverted", func(f *fake) { f.file("/var/lib/dpkg/diversions", "/bin/sh\n/bin/sh.distrib\ndash\n") }, "refuses", "present", nil, nil},
		{"empty", func(f *fake) { f.file(marker, "") }, "refuses", "present", nil, nil},
		{"dangling link", func(f *fake) { f.link(marker, "nowhere") }, "installs", "overlooked", []string{"high marker-overlooked " + marker},
			[]string{"sudo rm -r " + marker, "sudo apt-get install --yes --reinstall libpython3.11-stdlib"}},
		{"broken", func(f *fake) { f.file(marker, "[a]\n[a]\n") }, "crashes", "broken", []string{"medium marker-broken " + marker}, []string{"sudo apt-get install --yes --reinstall libpython3.11-stdlib"}},
		{"older pip", func(f *fake) {
			f.remove(dist + "/pip-23.0.1.dist-info/METADATA")
			f.file(dist+"/pip-22.3.1.dist-info/METADATA", "")
			f.pkg("python3-pip", dist+"/pip-22.3.1.dist-info")
		}, "ignores", "present", nil, nil},
		{"first pip that looks", func(f *fake) {
			f.remove(dist + "/pip-23.0.1.dist-info/METADATA")
			f.file(dist+"/pip-23.0.dist-info/METADATA", "")
			f.pkg("python3-pip", dist+"/pip-23.0.dist-info")
			f.file("/etc/pip.conf", "[global]\nbreak-system-packages=1\n") // which it does not know
		}, "refuses", "present", []string{"high override /etc/pip.conf:2"}, []string{"sudo sed -i 2d /etc/pip.conf"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			row.change(f)
			r := examine(t, f.request())
			if got := r.Pythons[0].Marker.State; r.Answer.Does != row.does || got != row.state {
				t.Errorf("got %s, marker %s; want %s, %s", r.Answer.Does, got, row.does, row.state)
			}
			equal(t, "findings", brief(r), row.findings)
			equal(t, "undo", undo(r), row.undo)
		})
	}
}

func TestDamage(t *testing.T) {
	stray := func(dir, project, installer string) func(*fake) {
		return func(f *fake) {
			metadata := path.Join(dir, project+"-9.0.dist-info")
			f.file(metadata+"/INSTALLER", installer+"\n")
			f.file(path.Join(dir, project, "__init__.py"), "bad")
			f.file(metadata+"/RECORD", project+"/__init__.py,,\n"+path.Base(metadata)+"/RECORD,,\n../../../etc/passwd,,\n")
		}
	}
	later := func(text string) func(*fake) {
		return func(f *fake) {
			f.file(dist+"/requests/__init__.py", text)
			f.files[dist[1:]+"/requests/__init__.py"].ModTime = unpacked.Add(time.Hour)
		}
	}
	for _, row := range []struct {
		name     string
		change   func(*fake)
		findings []string
		items    []string
		undo     []string
	}{
		{"none", func(*fake) {}, nil, nil, nil},
		{"pip as root", stray(local, "demo", "pip"), []string{"medium unowned " + local}, []string{"demo 9.0"}, []string{"sudo /usr/bin/python3 -m pip uninstall --yes --break-system-packages demo"}},
		{"another installer", stray(local, "demo", "conda"), nil, nil, nil},
		{"pip as root, over the distribution's", stray(local, "Requests", "pip"), []string{"high unowned " + local}, []string{"Requests 9.0 (hides the distribution's 2.28.1)"},
			[]string{"sudo /usr/bin/python3 -m pip uninstall --yes --break-system-packages Requests"}},
		{"pip as the user", stray(user, "demo", "pip"), []string{"note user-packages " + user}, []string{"demo 9.0"}, []string{"/usr/bin/python3 -m pip uninstall --yes --break-system-packages demo"}},
		{"pip among the distribution's", stray(dist, "demo", "pip"), []string{"medium unowned " + dist}, []string{"demo 9.0"}, []string{"sudo rm -r " + dist + "/demo-9.0.dist-info " + dist + "/demo"}},
		{"pip over the distribution's files", func(f *fake) { stray(dist, "requests", "pip")(f); later("bad")(f) }, []string{"high changed " + dist + "/requests", "medium unowned " + dist},
			[]string{dist + "/requests/__init__.py", "requests 9.0"}, []string{"sudo apt-get install --yes --reinstall python3-requests", "sudo rm -r " + dist + "/requests-9.0.dist-info"}},
		{"changed", later("bad"), []string{"high changed " + dist + "/requests"}, []string{dist + "/requests/__init__.py"}, []string{"sudo apt-get install --yes --reinstall python3-requests"}},
		{"written again, the same", later("good"), nil, nil, nil},
		{"gone", func(f *fake) { f.remove(dist + "/requests/__init__.py") }, []string{"high changed " + dist + "/requests"}, []string{dist + "/requests/__init__.py (gone)"}, []string{"sudo apt-get install --yes --reinstall python3-requests"}},
		{"caches", func(f *fake) { f.file(dist+"/requests/__pycache__/__init__.cpython-311.pyc", "x") }, nil, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			if row.name == "gone" { // with its directory, which a MapFS only has as long as there is something in it
				f.file(dist+"/requests/other.py", "x")
			}
			row.change(f)
			r := examine(t, f.request())
			var items []string
			for _, f := range r.Findings {
				items = append(items, f.Items...)
			}
			equal(t, "findings", brief(r), row.findings)
			equal(t, "items", items, row.items)
			equal(t, "undo", undo(r), row.undo)
		})
	}
}

func TestPythons(t *testing.T) {
	for _, row := range []struct {
		name    string
		change  func(*fake)
		environ []string
		want    []string // executable, version, owner, what pip does, other names
		command string   // of the answer, and its Python
	}{
		{"Debian", func(*fake) {}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"ours", func(f *fake) {
			f.own("/usr/local", "3.13.5")
			f.file("/usr/local/share/pybuild/python3.13.json", "{}")
		}, nil, []string{"/usr/local/bin/python3.13 3.13.5 pybuild installs", "/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"ours elsewhere", func(f *fake) {
			f.own("/opt/python/3.13", "3.13.5")
			f.file("/opt/python/3.13/share/pybuild/python3.13.json", "{}")
			f.own("/srv/py", "3.12.1")
			f.file("/srv/py/share/pybuild/python3.12.json", "{}")
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/srv/py/bin/python3.12 3.12.1 pybuild installs", "/opt/python/3.13/bin/python3.13 3.13.5 pybuild installs"}, "pip /usr/bin/python3"},
		{"by hand", func(f *fake) { f.own("/usr/local", "3.13.5") }, nil, []string{"/usr/local/bin/python3.13 3.13.5 other installs", "/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"uv", func(f *fake) {
			f.own("/home/me/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu", "3.13.1")
			f.link("/home/me/.local/bin/python3.13", "/home/me/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13")
		}, []string{"PATH=/home/me/.local/bin:/usr/bin"}, []string{"/home/me/.local/bin/python3.13 3.13.1 uv installs /home/me/.local/share/uv/python/cpython-3.13.1-linux-x86_64-gnu/bin/python3.13", "/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"uv elsewhere", func(f *fake) { f.own("/srv/uv/cpython-3.13.1", "3.13.1") }, []string{"UV_PYTHON_INSTALL_DIR=/srv/uv"},
			[]string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/srv/uv/cpython-3.13.1/bin/python3.13 3.13.1 uv installs"}, "pip /usr/bin/python3"},
		{"conda", func(f *fake) {
			f.own("/home/me/miniconda3", "3.12.1")
			f.file("/home/me/miniconda3/conda-meta/history", "")
			f.own("/home/me/miniconda3/envs/x", "3.10.1")
			f.file("/home/me/miniconda3/envs/x/conda-meta/history", "")
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/me/miniconda3/bin/python3.12 3.12.1 conda installs", "/home/me/miniconda3/envs/x/bin/python3.10 3.10.1 conda installs"}, "pip /usr/bin/python3"},
		{"conda active", func(f *fake) {
			f.own("/data/env", "3.12.1")
			f.file("/data/env/conda-meta/history", "")
		}, []string{"CONDA_PREFIX=/data/env"}, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/data/env/bin/python3.12 3.12.1 conda installs"}, "pip /usr/bin/python3"},
		{"Homebrew, which marks its own", func(f *fake) {
			f.own("/home/linuxbrew/.linuxbrew", "3.13.1")
			f.file("/home/linuxbrew/.linuxbrew/lib/python3.13/EXTERNALLY-MANAGED", marked("brew"))
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/linuxbrew/.linuxbrew/bin/python3.13 3.13.1 homebrew refuses"}, "pip /usr/bin/python3"},
		{"asdf and mise", func(f *fake) {
			f.own("/home/me/.asdf/installs/python/3.10.1", "3.10.1")
			f.own("/home/me/.local/share/mise/installs/python/3.9.1", "3.9.1")
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/me/.asdf/installs/python/3.10.1/bin/python3.10 3.10.1 asdf installs",
			"/home/me/.local/share/mise/installs/python/3.9.1/bin/python3.9 3.9.1 mise installs"}, "pip /usr/bin/python3"},
		{"pyenv", func(f *fake) {
			f.own("/home/me/.pyenv/versions/3.12.1", "3.12.1")
			f.own("/home/me/.pyenv/versions/3.8.1", "3.8.1")
			f.link("/home/me/.pyenv/versions/3.12.1/bin/python3", "python3.12")
			f.program("/home/me/.pyenv/versions/3.12.1/bin/pip", "#!/home/me/.pyenv/versions/3.12.1/bin/python3.12\n")
			for _, shim := range []string{"python3", "python3.12", "python3.8", "pip"} {
				f.program("/home/me/.pyenv/shims/"+shim, "#!/usr/bin/env bash\n")
			}
			f.file("/home/me/.pyenv/version", "3.8.1\n")
			f.file("/home/me/.python-version", "# here\n3.12\n")
		}, []string{"PATH=/home/me/.pyenv/shims:/usr/bin"}, []string{
			"/home/me/.pyenv/versions/3.12.1/bin/python3 3.12.1 pyenv installs /home/me/.pyenv/shims/python3 /home/me/.pyenv/shims/python3.12 /home/me/.pyenv/versions/3.12.1/bin/python3.12",
			"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses (/usr/bin/python3) /usr/bin/python3.11",
			"/home/me/.pyenv/versions/3.8.1/bin/python3.8 3.8.1 pyenv installs"}, "pip /home/me/.pyenv/versions/3.12.1/bin/python3"},
		{"pyenv means the system's", func(f *fake) {
			f.own("/home/me/.pyenv/versions/3.12.1", "3.12.1")
			f.program("/home/me/.pyenv/shims/python3", "#!/usr/bin/env bash\n")
			f.file("/home/me/.pyenv/version", "system\n")
		}, []string{"PATH=/home/me/.pyenv/shims:/usr/bin"}, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/me/.pyenv/versions/3.12.1/bin/python3.12 3.12.1 pyenv installs"}, "pip /usr/bin/python3"},
		{"environment beside us", func(f *fake) {
			f.file("/home/me/project/.venv/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11.2\n")
			f.program("/home/me/project/.venv/bin/python", "somebody's program, which is not run")
			f.file("/home/me/project/.venv/lib/python3/site-packages/pip-23.0.1.dist-info/METADATA", "")
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/me/project/.venv/bin/python 3.11.2 venv installs"}, "pip /usr/bin/python3"},
		{"no environment beside us", func(f *fake) { f.program("/home/me/project/venv/bin/python", "somebody's program, which is not run") }, nil,
			[]string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11", "/home/me/project/venv/bin/python  other does-not-start"}, "pip /usr/bin/python3"},
		{"environment that is active", func(f *fake) {
			f.file("/srv/v/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = TRUE\n")
			f.link("/srv/v/bin/python", "/usr/bin/python3.11")
			f.link("/srv/v/bin/python3", "python")
			f.program("/srv/v/bin/pip", "#!/bin/sh\n'''exec' \"/srv/v/bin/python3\" \"$0\" \"$@\"\n' '''\n")
			f.file("/srv/v/lib/python3/site-packages/pip-23.0.1.dist-info/METADATA", "")
		}, []string{"VIRTUAL_ENV=/srv/v", "PATH=/srv/v/bin:/usr/bin"}, []string{"/srv/v/bin/python 3.11.2 venv installs /srv/v/bin/python3", "/usr/bin/python3 3.11.2 package:python3.11-minimal refuses (/usr/bin/python3) /usr/bin/python3.11"}, "pip /srv/v/bin/python"},
		{"does not start", func(f *fake) { f.program("/usr/local/bin/python3.9", "ELF for another machine") }, nil,
			[]string{"/usr/local/bin/python3.9  other does-not-start", "/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"no programs", func(f *fake) {
			f.file("/usr/local/bin/python3.9", "not executable")
			f.link("/usr/local/bin/python3.10", "nowhere")
			f.link("/usr/local/bin/python3.12", "python3.12")
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "pip /usr/bin/python3"},
		{"no pip program", func(f *fake) {
			maps.DeleteFunc(f.files, func(name string, _ *fstest.MapFile) bool { return strings.HasPrefix(name, "usr/bin/pip") })
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal refuses /usr/bin/python3.11"}, "python3 -m pip /usr/bin/python3"},
		{"no pip", func(f *fake) {
			maps.DeleteFunc(f.files, func(name string, _ *fstest.MapFile) bool { return strings.Contains(name, "/pip") })
		}, nil, []string{"/usr/bin/python3 3.11.2 package:python3.11-minimal no-pip /usr/bin/python3.11"}, "python3 -m pip /usr/bin/python3"},
		{"no Python", func(f *fake) { clear(f.files) }, nil, nil, "python3 -m pip "},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			row.change(f)
			request := f.request(row.environ...)
			request.Prefixes = []string{"/srv/py"}
			r := examine(t, request)
			var got []string
			for _, p := range r.Pythons {
				s := p.Executable + " " + p.Version + " " + p.Owner.Kind
				if p.Owner.Name != "" {
					s += ":" + p.Owner.Name
				}
				s += " " + p.Install
				for _, n := range p.Names {
					switch {
					case n.Shadowed:
						s += " (" + n.Path + ")"
					case n.Path != p.Executable:
						s += " " + n.Path
					}
				}
				got = append(got, s)
			}
			equal(t, "Pythons", got, row.want)
			if got := strings.Join(r.Answer.Command, " ") + " " + r.Answer.Python; got != row.command {
				t.Errorf("answer %q, want %q", got, row.command)
			}
		})
	}
}

func TestPips(t *testing.T) {
	for _, row := range []struct {
		name, text string
		want       string // Python or problem
		findings   []string
	}{
		{"same Python", "#!/usr/bin/python3.11\n", "/usr/bin/python3", nil},
		{"by env", "#!/usr/bin/env python3\n", "/usr/bin/python3", nil},
		{"other Python", "#!/opt/x/bin/python3.13\n", "/opt/x/bin/python3.13", []string{"note mismatch /usr/local/bin/pip3"}},
		{"Python that is gone", "#!/opt/y/bin/python3.13\n", "there is no /opt/y/bin/python3.13", nil},
		{"long path", "#!/bin/sh\n'''exec' /opt/x/bin/python3.13 \"$0\" \"$@\"\n", "/opt/x/bin/python3.13", []string{"note mismatch /usr/local/bin/pip3"}},
		{"shell script", "#!/bin/sh\nexec something\n", "its first line names no interpreter", nil},
		{"program", "\x7fELF", "its first line names no interpreter", nil},
		{"empty", "", "its first line names no interpreter", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			f.own("/opt/x", "3.13.5")
			f.program("/usr/local/bin/pip3", row.text)
			r := examine(t, f.request())
			if p := r.Pips[0]; p.Path != "/usr/local/bin/pip3" || p.Python+p.Problem != row.want || p.Shadowed {
				t.Errorf("got %+v, want %s", p, row.want)
			}
			for _, p := range r.Pips[1:] {
				if p.Shadowed != (p.Path == "/usr/bin/pip3") {
					t.Errorf("shadowed: %+v", p)
				}
			}
			equal(t, "findings", brief(r), row.findings)
		})
	}
}

func TestAdvice(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(*fake)
		names  []string
		want   []string // way: command; command
	}{
		{"nothing asked", func(*fake) {}, nil, []string{
			"package:",
			"pipx: sudo apt-get install --yes pipx; pipx install NAME",
			"venv: sudo apt-get install --yes python3.11-venv; python3 -m venv .venv; .venv/bin/python -m pip install NAME",
			"pybuild: sudo pybuild 3.13 --prefix /usr/local --install-deps --yes; sudo /usr/local/bin/python3.13 -m pip install NAME",
			"override:"}},
		{"packages", func(f *fake) {
			f.program("/usr/bin/pipx", "#!/usr/bin/python3\n")
			f.file("/usr/lib/python3.11/ensurepip/__init__.py", "")
			f.own("/opt/python/3.13", "3.13.5")
			f.file("/opt/python/3.13/share/pybuild/python3.13.json", "{}")
		}, []string{"PyYAML", "yt_dlp", "python-requests", "cowsay"}, []string{
			"package: sudo apt-get install --yes python3-yaml yt-dlp",
			"pipx: pipx install PyYAML; pipx install yt_dlp; pipx install python-requests; pipx install cowsay",
			"venv: python3 -m venv .venv; .venv/bin/python -m pip install PyYAML yt_dlp python-requests cowsay",
			"pybuild: sudo /opt/python/3.13/bin/python3.13 -m pip install PyYAML yt_dlp python-requests cowsay",
			"override:"}},
		{"no lists", func(f *fake) {
			clear(f.lists)
			f.remove("/var/lib/apt/lists/mirror.example_debian_dists_bookworm_main_binary-amd64_Packages")
		}, []string{"flask"}, []string{
			"package: sudo apt-get update",
			"venv: sudo apt-get install --yes python3-venv; python3 -m venv .venv; .venv/bin/python -m pip install flask",
			"pybuild: sudo pybuild 3.13 --prefix /usr/local --install-deps --yes; sudo /usr/local/bin/python3.13 -m pip install flask",
			"override:"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := debian()
			row.change(f)
			request := f.request()
			request.Names = row.names
			var got []string
			for _, w := range examine(t, request).Advice {
				var commands []string
				for _, argv := range w.Commands {
					commands = append(commands, strings.Join(argv, " "))
				}
				got = append(got, strings.TrimSpace(w.Way+": "+strings.Join(commands, "; ")))
			}
			equal(t, "advice", got, row.want)
		})
	}
}

// TestManagers asks each package manager in its own words.
func TestManagers(t *testing.T) {
	for _, row := range []struct {
		tool    string
		answers map[string]string // by the command without env
		owner   string
		pkg     string // for requests
	}{
		{"dnf", map[string]string{
			`rpm --query --queryformat %{NAME}\n --file /usr/bin/python3.12`: "python3\n",
			"rpm --query --list python3":                                     "/usr/bin/python3.12\n", "rpm --query --list python3-libs": "/usr/lib/python3.12/EXTERNALLY-MANAGED\n",
			"dnf --quiet --cacheonly repoquery python3-requests": "python3-requests-0:2.28.2-1.noarch\n"}, "python3", "python3-requests"},
		{"zypper", map[string]string{
			`rpm --query --queryformat %{NAME}\n --file /usr/bin/python3.12`: "python312-base\n", "rpm --query --list python312-base": "/usr/lib/python3.12/EXTERNALLY-MANAGED\n",
			"zypper --non-interactive --quiet --no-refresh search --match-exact python3-requests": "  | python3-requests | x | package\n"}, "python312-base", "python3-requests"},
		{"pacman", map[string]string{
			"pacman --query --owns /usr/bin/python3.12": "/usr/bin/python3.12 is owned by python 3.12.7-1\n", "pacman --query --list --quiet python": "/usr/lib/python3.12/EXTERNALLY-MANAGED\n",
			"pacman --sync --info python-requests": "Name : python-requests\n"}, "python", "python-requests"},
		{"apk", map[string]string{
			"apk info --who-owns /usr/bin/python3.12": "/usr/bin/python3.12 is owned by python3-3.12.7-r0\n", "apk info --contents python3": "python3-3.12.7-r0 contains:\nusr/lib/python3.12/EXTERNALLY-MANAGED\n",
			"apk search --exact py3-requests": "py3-requests-2.32.3-r0\n"}, "python3", "py3-requests"},
		{"xbps-install", map[string]string{
			"xbps-query --ownedby /usr/bin/python3.12": "python3-3.12.7_1: /usr/bin/python3.12 (regular file)\n", "xbps-query --files python3": "/usr/lib/python3.12/EXTERNALLY-MANAGED\n",
			"xbps-query --repository --property pkgver python3-requests": "python3-requests-2.32.3_1\n"}, "python3", "python3-requests"},
	} {
		t.Run(row.tool, func(t *testing.T) {
			f := &fake{files: fstest.MapFS{}, pythons: map[string]answer{}}
			f.own("/usr", "3.12.7")
			request := f.request()
			request.Install, request.Names = []string{row.tool, "install"}, []string{"Requests"}
			request.Exec = func(ctx context.Context, argv ...string) ([]byte, error) {
				if argv[0] != "env" {
					return f.exec(ctx, argv...)
				}
				out, ok := row.answers[strings.Join(argv[2:], " ")]
				if !ok {
					return nil, errors.New("exit status 1")
				}
				return []byte(out), nil
			}
			r := examine(t, request)
			if got := r.Pythons[0].Owner; got != (pep668.Owner{Kind: "package", Name: row.owner}) {
				t.Errorf("owner: got %+v, want %s", got, row.owner)
			}
			if got := r.Packages[0]; got.Name != row.pkg || got.Installed {
				t.Errorf("package: got %+v, want %s", got, row.pkg)
			}
			equal(t, "findings", brief(r), []string{"high marker-missing /usr/lib/python3.12/EXTERNALLY-MANAGED"})

			f.file("/usr/lib/python3.12/EXTERNALLY-MANAGED", marked("x"))
			equal(t, "findings with the marker", brief(examine(t, request)), nil)
		})
	}
}

func TestPatience(t *testing.T) {
	f := debian()
	request := f.request()
	request.Patience = time.Millisecond
	request.Exec = func(ctx context.Context, argv ...string) ([]byte, error) {
		if argv[0] == "env" {
			return f.exec(ctx, argv...)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if got := examine(t, request).Pythons[0].Error; got != "did not end within 1ms" {
		t.Errorf("got %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := pep668.Examine(ctx, request); r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v, %v", r, err)
	}
}

// TestNothingElse holds that nothing but interpreters and queries is run.
func TestNothingElse(t *testing.T) {
	f := debian()
	examine(t, f.request())
	equal(t, "commands", f.ran, []string{"env LC_ALL=C apt-cache policy pipx python3-venv python3.11-venv"})
}

func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{"[global]\nbreak-system-packages = true\n", "[install]\nuser=1\n x\n", "[DEFAULT]\nprefix:/x\n[global]\n", "a", "\xff", "[global]\ntarget=\n\n"} {
		f.Add([]byte(seed))
	}
	base := debian()
	f.Fuzz(func(t *testing.T, text []byte) {
		machine := &fake{files: maps.Clone(base.files), pythons: base.pythons, lists: base.lists}
		machine.file("/etc/pip.conf", string(text))
		r := examine(t, machine.request())
		lines := strings.Count(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(text)), "\n") + 1
		for _, finding := range r.Findings {
			if finding.Line > lines {
				t.Errorf("line %d of %d", finding.Line, lines)
			}
		}
		if r.Answer.Does == pep668.Overrides != slices.ContainsFunc(r.Findings, func(f pep668.Finding) bool { return f.Kind == "override" || f.Kind == "target" }) {
			t.Errorf("pip %s, with %q", r.Answer.Does, brief(r))
		}
	})
}
