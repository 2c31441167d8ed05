package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pybuild/build/run"
	"pybuild/recipes"
)

// bench is one call of the program.
type bench struct {
	options
	stderr  io.Writer
	environ []string

	self    string // this program
	private string // the directory that everything happens in
	logs    string
	results *Results
	// caches are of cases that were built, for those that start with what they know.
	caches map[string]string
}

// open makes the private directory, and reads or begins the results.
func (b *bench) open(ctx context.Context) (err error) {
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	begun := &Results{Version: b.version, Jobs: b.jobs, PythonBuild: b.env("PYTHON_BUILD") != "", Root: os.Geteuid() == 0}
	b.results = begun
	if b.output != "" {
		if err := os.MkdirAll(b.output, 0o755); err != nil {
			return err
		}
		earlier, err := readResults(filepath.Join(b.output, resultsName))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !b.resume && (len(earlier.Runs) > 0 && (!b.speed || b.given) || len(earlier.Samples) > 0 && b.speed):
			return &usageError{fmt.Sprintf("%s has results already: go on with -resume, or name another directory", b.output)}
		case !earlier.sameSetting(begun):
			return &usageError{fmt.Sprintf("the results in %s are of another release, number of jobs or python-build", b.output)}
		default:
			b.results = earlier
		}
	}
	if b.private, err = os.MkdirTemp(b.dir, "pybuild-benchmark-"); err != nil {
		return err
	}
	b.logs = filepath.Join(b.private, "logs")
	if b.output != "" {
		b.logs = filepath.Join(b.output, "logs")
	}
	b.caches = map[string]string{}
	// Who builds for root must get through.
	err = errors.Join(os.Chmod(b.private, 0o755), os.MkdirAll(b.logs, 0o755))
	if err == nil {
		b.results.Machine, err = b.machine(ctx)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(b.private))
	}
	return nil
}

func (b *bench) close() error { return os.RemoveAll(b.private) }

// env is a variable of the caller's.
func (b *bench) env(name string) string {
	for _, v := range b.environ {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// machine says what is measured on.
func (b *bench) machine(ctx context.Context) (m Machine, err error) {
	value := func(file, key, separator string) string {
		text, _ := os.ReadFile(file) // what is not there is not said
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, separator); ok && strings.TrimSpace(name) == key {
				return strings.Trim(strings.TrimSpace(value), `"`)
			}
		}
		return ""
	}
	m.Processor = value("/proc/cpuinfo", "model name", ":")
	if kib, err := strconv.ParseInt(strings.TrimSuffix(value("/proc/meminfo", "MemTotal", ":"), " kB"), 10, 64); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", float64(kib)/(1<<20))
	}
	m.System = value("/etc/os-release", "PRETTY_NAME", "=")
	var compiler strings.Builder
	err = run.Run(ctx, run.Command{Argv: []string{"cc", "--version"}, Dir: b.private, Env: b.plainEnv(), Stdout: &compiler})
	m.Compiler, _, _ = strings.Cut(compiler.String(), "\n")
	if ctx.Err() == nil {
		err = nil // -speed needs none
	}
	return m, err
}

// plainEnv is the environment of everything that is measured. Nothing of the caller's is in it.
func (b *bench) plainEnv(more ...string) []string {
	return append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + b.private, "TMPDIR=" + b.private, "LC_ALL=C.UTF-8"}, more...)
}

// build does the first part: every chosen case once a round.
func (b *bench) build(ctx context.Context, chosen []Case) error {
	s, err := b.prepare(ctx, chosen)
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	for round := 1; round <= b.n; round++ {
		for _, name := range order(chosen, round) {
			if b.results.has(round, name) {
				continue
			}
			run, err := b.runCase(ctx, s, round, name)
			if err != nil {
				return err
			}
			b.results.Runs = append(b.results.Runs, run)
			fmt.Fprintf(b.stderr, "round %d of %d: %-16s %7.1f s, %.2f cores busy\n", round, b.n, name, run.Wall, run.CPU/run.Wall)
			if err := b.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// save keeps what was measured so far, where it is to be kept.
func (b *bench) save() error {
	if b.output == "" {
		return nil
	}
	return b.results.write(filepath.Join(b.output, resultsName))
}

// order is in which the cases of a round come, counted from 1: every other one is reversed, so that none always has the machine that
// another has warmed up.
func order(chosen []Case, round int) (names []string) {
	for _, c := range chosen {
		names = append(names, c.Name)
	}
	if round%2 == 0 {
		slices.Reverse(names)
	}
	return names
}

// prepare gets pybuild and the archives, and returns what of the setting is the same for all runs.
func (b *bench) prepare(ctx context.Context, chosen []Case) (s setting, err error) {
	s = setting{version: b.version, pybuild: b.pybuild, pythonBuild: b.env("PYTHON_BUILD"), jobs: b.jobs}
	if s.pythonBuild != "" {
		if s.pythonBuild, err = filepath.Abs(s.pythonBuild); err != nil { // it runs elsewhere
			return s, err
		}
	}
	if s.pybuild == "" {
		// Its name is how its own processes are told from others.
		s.pybuild = filepath.Join(b.private, "pybuild")
		if err := b.command(ctx, nil, "go", "build", "-o", s.pybuild, "./cmd/pybuild"); err != nil {
			return s, err
		}
	}
	catalogue, err := recipes.Embedded()
	if err != nil {
		return s, err
	}
	release, err := catalogue.Resolve(b.version)
	if err != nil {
		return s, &usageError{err.Error()}
	}
	quick, err := catalogue.Profile("quick")
	if err != nil {
		return s, err
	}
	s.version = release.String()
	s.same = slices.Concat([]string{"--with-ensurepip=install"}, release.Series.ConfigureArgs, quick.ConfigureArgs, release.Series.NoTests.ConfigureArgs)
	s.sameEnv = []string{"CFLAGS_NODIST=" + strings.Join(quick.CFlags, " ")}
	s.remove = release.Series.NoTests.Directories

	known := b.cache
	if known == "" {
		var dir strings.Builder
		if err := b.command(ctx, &dir, s.pybuild, "cache", "dir"); err != nil {
			return s, err
		}
		known = strings.TrimSpace(dir.String())
	}
	archives := b.archives()
	for _, part := range []string{"archives", "small", "sigstore"} { // and nothing of what builds have found out
		if err := link(filepath.Join(known, part), filepath.Join(archives, part)); err != nil {
			return s, fmt.Errorf("taking archives from %s: %w", known, err)
		}
	}
	versions := []string{s.version}
	if slices.ContainsFunc(chosen, func(c Case) bool { return strings.HasPrefix(c.Name, "several") }) {
		versions = append(versions, several...)
	}
	for i, version := range versions {
		path, err := b.fetch(ctx, s.pybuild, version)
		if err != nil {
			return s, err
		}
		if i == 0 {
			s.archive = path
		}
	}
	return s, nil
}

// archives is the private cache that holds the archives, and nothing else.
func (b *bench) archives() string { return filepath.Join(b.private, "archives") }

// fetch returns the path of an archive in the private cache. Only what is not there needs a network.
func (b *bench) fetch(ctx context.Context, pybuild, version string) (path string, err error) {
	have, err := filepath.Glob(filepath.Join(b.archives(), "archives", "*", "Python-"+strings.TrimSuffix(version, "t")+".t*"))
	if err != nil {
		return "", err
	}
	argv := []string{pybuild, "fetch", version, "--quiet"}
	if len(have) > 0 {
		argv = append(argv, "--offline")
	}
	var said strings.Builder
	err = b.command(ctx, &said, argv...)
	return strings.TrimSpace(said.String()), err
}

// command runs what is not measured, with the caller's environment.
func (b *bench) command(ctx context.Context, stdout io.Writer, argv ...string) error {
	var log strings.Builder
	env := append(slices.Clone(b.environ), "PYBUILD_CACHE="+b.archives())
	if b.cache == "" && len(argv) == 3 && argv[1] == "cache" {
		env = b.environ // whose cache it is asked for
	}
	err := run.Run(ctx, run.Command{Argv: argv, Env: env, Stdout: stdout, Log: &log})
	if err != nil && ctx.Err() == nil {
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		return &RunError{What: filepath.Base(argv[0]), Tail: lines[max(0, len(lines)-15):], Err: err}
	}
	return err
}

// link makes a copy of a tree whose files are hard links where that is possible. A tree that is not there has none.
func link(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == from {
			return nil
		}
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
			return os.MkdirAll(target, 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		if err := os.Link(path, target); err == nil {
			return nil
		}
		return copyFile(target, path) // another file system, or another's file
	})
}

func copyFile(to, from string) (err error) {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	_, err = io.Copy(target, source)
	return err
}

// runCase builds one case. Where it starts with what another has found out, and that was not built here yet, that is built first,
// unmeasured.
func (b *bench) runCase(ctx context.Context, s setting, round int, name string) (r Run, err error) {
	c := find(cases(setting{}), name)
	if c.From != "" && b.caches[c.From] == "" {
		fmt.Fprintf(b.stderr, "round %d of %d: %s, so that %s can start with what it knows\n", round, b.n, c.From, name)
		if _, err := b.runCase(ctx, s, 0, c.From); err != nil {
			return r, err
		}
	}
	dir := filepath.Join(b.private, fmt.Sprintf("%d-%s", round, name))
	s.prefix, s.build = filepath.Join(dir, "prefix"), filepath.Join(dir, "build")
	if b.keep && round > 0 {
		s.prefix = filepath.Join(b.output, interpretersName, name)
	}
	if c.From != "" {
		s.cache = b.caches[c.From]
	} else if c.Own {
		if s.cache, err = b.newCache(name); err != nil {
			return r, err
		}
	}
	if err := errors.Join(os.RemoveAll(s.prefix), os.MkdirAll(filepath.Dir(s.prefix), 0o755), os.MkdirAll(s.build, 0o755)); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r = Run{Round: round, Case: name, Started: time.Now().UTC().Truncate(time.Second)}
	log := filepath.Join(b.logs, fmt.Sprintf("%d-%s.log", round, name))
	if err := os.Remove(log); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was interrupted
		return r, err
	}
	peak, stop := watchDisk([]string{dir, s.prefix})
	var all Usage
	for _, p := range find(cases(s), name).Phases {
		command := run.Command{Argv: p.argv, Dir: s.build, Env: b.plainEnv(p.env...)}
		u, err := b.measure(ctx, fmt.Sprintf("%s, round %d, %s", name, round, p.name), command, log, measureRequest{Own: c.Own})
		if err != nil {
			stop()
			return r, err
		}
		all = all.add(u)
		r.Phases = append(r.Phases, Phase{p.name, u.Wall})
	}
	stop()
	r.Usage, r.Disk, r.Peak = all, diskUsage(s.prefix), *peak
	return r, nil
}

func find(all []Case, name string) Case {
	return all[slices.IndexFunc(all, func(c Case) bool { return c.Name == name })]
}

// newCache makes a cache that knows nothing but archives. It takes the place of the one of the case's last run.
func (b *bench) newCache(name string) (dir string, err error) {
	if old := b.caches[name]; old != "" {
		delete(b.caches, name)
		if err := os.RemoveAll(old); err != nil {
			return "", err
		}
	}
	if dir, err = os.MkdirTemp(b.private, "cache-"+name+"-"); err != nil {
		return "", err
	}
	if err := errors.Join(os.Chmod(dir, 0o755), link(b.archives(), dir)); err != nil {
		return "", err
	}
	b.caches[name] = dir
	return dir, nil
}

// interpretersName is the directory of the output that kept interpreters are in.
const interpretersName = "interpreters"

// looking is how often the room that a build takes is looked at: adding up some thousand files takes some hundredths of a second.
const looking = 5 * time.Second

// watchDisk looks how many bytes the directories take together, until it is stopped; then peak is the most that was seen.
func watchDisk(dirs []string) (peak *int64, stop func()) {
	ask, stopped := make(chan struct{}), make(chan struct{})
	peak = new(int64)
	go func() {
		defer close(stopped)
		for {
			select {
			case <-ask:
				*peak = max(*peak, diskUsage(dirs...))
				return
			case <-time.After(looking):
				*peak = max(*peak, diskUsage(dirs...))
			}
		}
	}()
	return peak, func() {
		close(ask)
		<-stopped
	}
}

// diskUsage is how many bytes trees take, every file once. What vanishes meanwhile takes nothing.
func diskUsage(dirs ...string) (bytes int64) {
	type inode struct{ device, number uint64 }
	seen := map[inode]bool{}
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if err != nil {
				return nil //nolint:nilerr // it has vanished
			}
			info, err := d.Info()
			if err != nil {
				return nil //nolint:nilerr // it has vanished
			}
			if stat, ok := info.Sys().(*syscall.Stat_t); ok && !seen[inode{uint64(stat.Dev), stat.Ino}] {
				seen[inode{uint64(stat.Dev), stat.Ino}] = true
				bytes += stat.Blocks * 512
			}
			return nil
		})
	}
	return bytes
}
