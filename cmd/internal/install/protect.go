package install

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pybuild/build/prefix"
	"pybuild/build/run"
	"pybuild/recipes"
)

// Linkable are the unversioned names that Options.Link may ask for, and what each leads to in the same directory; the series takes
// the place of %s.
var Linkable = map[string]string{
	"python": "python%s", "python3": "python%s", "python3-config": "python%s-config",
	"pip": "pip%s", "pip3": "pip%s", "pydoc": "pydoc%s", "pydoc3": "pydoc%s", "idle": "idle%s", "idle3": "idle%s",
}

// links are the names that are wanted, and the names of files beside them that they lead to.
func links(rel *recipes.Selection, o Options) map[string]string {
	list := map[string]string{}
	for _, name := range o.Link {
		target := fmt.Sprintf(Linkable[name], rel.Series.Name)
		if rest, ok := strings.CutPrefix(target, "python"+rel.Series.Name); ok {
			target = rel.Executable() + rest
		}
		list[name] = target
	}
	return list
}

// ordinaryPath is where a shell looks for programs when nobody has changed that.
var ordinaryPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// protect refuses an installation that would change what the distribution's own programs do. The error is a
// *prefix.RefusedError.
func (in *Installer) protect(ctx context.Context, rel *recipes.Selection, o Options) error {
	for _, refuse := range []func(context.Context, *recipes.Selection, Options) error{in.shadowed, in.overloaded, in.foreign, in.shared} {
		if err := refuse(ctx, rel, o); err != nil {
			return err
		}
	}
	return nil
}

// shadowed refuses a link that a shell would find before the distribution's program of that name.
func (in *Installer) shadowed(_ context.Context, _ *recipes.Selection, o Options) error {
	bin := filepath.Join(o.Prefix, "bin")
	ours := slices.Index(ordinaryPath, bin)
	if ours < 0 {
		return nil
	}
	for _, name := range o.Link {
		for _, dir := range ordinaryPath[ours+1:] {
			if file := path.Join(dir, name); in.exists(file) {
				return &prefix.RefusedError{Prefix: o.Prefix, Path: file, Reason: fmt.Sprintf("%s would be found before the distribution's %s", filepath.Join(bin, name), file)}
			}
		}
	}
	return nil
}

func (in *Installer) exists(file string) bool {
	_, err := fs.Lstat(in.Root, strings.TrimPrefix(file, "/"))
	return !errors.Is(err, fs.ErrNotExist)
}

// overloaded refuses a libpython where the distribution's own programs would load it instead of theirs.
func (in *Installer) overloaded(_ context.Context, rel *recipes.Selection, o Options) error {
	if !slices.Contains(o.With, "shared") || (o.Prefix != "/usr/local" && !strings.HasPrefix(o.Prefix, "/usr/local/")) {
		return nil
	}
	library := "lib" + rel.Executable() + ".so.1.0"
	for _, pattern := range []string{"usr/lib/*/", "usr/lib/", "usr/lib64/"} {
		found, err := fs.Glob(in.Root, pattern+library)
		if err != nil {
			return err
		}
		if len(found) > 0 {
			return &prefix.RefusedError{Prefix: o.Prefix, Path: "/" + found[0],
				Reason: fmt.Sprintf("%s would be loaded instead of the distribution's /%s", filepath.Join(o.Prefix, "lib", library), found[0])}
		}
	}
	return nil
}

// foreign refuses a standard library that somebody manages: it carries the marker of PEP 668, and none of our manifests has it.
func (in *Installer) foreign(_ context.Context, rel *recipes.Selection, o Options) error {
	marker := markerPath(rel.Executable())
	file := filepath.Join(o.Prefix, marker)
	if _, err := os.Lstat(file); err != nil {
		return nil // what cannot be looked at is found when the prefix is locked
	}
	m, err := prefix.ReadManifest(o.Prefix, rel.Executable())
	if err == nil && slices.ContainsFunc(m.Paths, func(e prefix.Entry) bool { return e.Path == marker }) {
		return nil
	}
	return &prefix.RefusedError{Prefix: o.Prefix, Path: file, Reason: file + " says that somebody else manages the Python there"}
}

// shared refuses a directory of packages that the distribution's Python of the same series reads, too. Fedora's and its kin's do:
// their pip installs into /usr/local.
func (in *Installer) shared(ctx context.Context, rel *recipes.Selection, o Options) error {
	python := "/usr/bin/python" + rel.Series.Name
	if rel.FreeThreaded || !in.exists(python) {
		return nil
	}
	ours := filepath.Join(o.Prefix, "lib", rel.Executable(), "site-packages")
	dirs, err := sitePackages(ctx, python)
	if err != nil {
		// A Python that does not start reads nobody's packages.
		in.Reporter.Detail(fmt.Sprintf("asking %s for its directories: %v", python, err))
		return nil
	}
	if slices.Contains(dirs, ours) {
		return &prefix.RefusedError{Prefix: o.Prefix, Path: ours, Reason: fmt.Sprintf("%s belongs to the distribution's %s, too, which would see every package that is installed there", ours, python)}
	}
	if o.Prefix == "/usr/local" {
		in.Reporter.Note(fmt.Sprintf("scripts that start with #!/usr/bin/env python%s will run with the new Python, which has none of the distribution's packages; %s stays what it is", rel.Series.Name, python))
	}
	return nil
}

// sitePackages asks an interpreter where it looks for packages.
func sitePackages(ctx context.Context, python string) (dirs []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var stdout bytes.Buffer
	argv := []string{python, "-I", "-B", "-c", "import json, site; print(json.dumps(site.getsitepackages()))"}
	if err := run.Run(ctx, run.Command{Argv: argv, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, Stdout: &stdout}); err != nil {
		return nil, err
	}
	return dirs, json.Unmarshal(stdout.Bytes(), &dirs)
}

// SecurePath returns the directories in which sudo looks for programs, nil when it says nothing or what it says cannot be read,
// as by anybody but root.
func SecurePath(root fs.FS) (dirs []string) {
	files, err := fs.Glob(root, "etc/sudoers.d/*")
	if err != nil {
		return nil
	}
	for _, file := range append([]string{"etc/sudoers"}, files...) {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			fields := strings.Fields(strings.ReplaceAll(lines.Text(), "=", " = "))
			if i := slices.Index(fields, "secure_path"); i > 0 && fields[0] == "Defaults" && len(fields) == i+3 && fields[i+1] == "=" {
				dirs = strings.Split(strings.Trim(fields[i+2], `"`), ":") // the last one counts
			}
		}
	}
	return dirs
}

// label gives what was installed the SELinux labels that the policy wants for where it now is: a file that was made elsewhere and
// renamed keeps those of its birthplace. Without SELinux, or where it only watches, there is nothing to do.
func (in *Installer) label(ctx context.Context, m *prefix.Manifest) {
	enforcing, err := fs.ReadFile(in.Root, "sys/fs/selinux/enforce")
	if err != nil || strings.TrimSpace(string(enforcing)) != "1" {
		return
	}
	argv := []string{"restorecon", "-F"}
	for _, e := range m.Paths {
		argv = append(argv, filepath.Join(m.Prefix, e.Path))
	}
	var log bytes.Buffer
	if err := run.Run(ctx, run.Command{Argv: argv, Env: []string{"PATH=/usr/sbin:/sbin:/usr/bin:/bin"}, Log: &log}); err != nil {
		in.Reporter.Warn(fmt.Sprintf("the SELinux labels of the new files could not be set: %v: %s", err, strings.TrimSpace(log.String())))
	}
}
