//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pybuild/build/prefix"
	"pybuild/build/run"
)

// A cell is a directory that pybuild, as a process of root's, sees as /mnt: a place that a confined build can see, unlike
// temporary directories.
//
//	prefix            to install into
//	cache/build/other what another build is just doing
//	etc/secret        only root may read it; outside: everybody may write there, as to the rest
type cell struct {
	t     testing.TB
	world *fakeWorld
	dir   string
	env   []string // besides what every call gets
	wrap  []string // a program that starts pybuild
}

const secret = "only root may know this"

// newCell skips the test where root cannot have cells, or builds cannot be confined.
func newCell(t testing.TB, world *fakeWorld) *cell {
	t.Helper()
	c := &cell{t: t, world: world, dir: t.TempDir()}
	check(os.Chmod(c.dir, 0o755))
	for _, dir := range []string{filepath.Dir(world.recipes), filepath.Dir(filepath.Dir(world.recipes))} {
		check(os.Chmod(dir, 0o755))
	}
	for _, dir := range []string{"prefix", "outside", "etc", "home", "cache", "cache/build", "cache/build/other", "tmp"} {
		check(os.MkdirAll(filepath.Join(c.dir, dir), 0o755))
	}
	for _, dir := range []string{"outside", "cache/build/other", "tmp"} {
		check(os.Chmod(filepath.Join(c.dir, dir), 0o777))
	}
	write(t, filepath.Join(c.dir, "outside/file"), []byte("somebody's\n"))
	write(t, filepath.Join(c.dir, "etc/passwd"), []byte("root's\n"))
	write(t, filepath.Join(c.dir, "etc/secret"), []byte(secret+"\n"))
	check(os.Chmod(filepath.Join(c.dir, "etc/secret"), 0o600))
	write(t, filepath.Join(c.dir, "root/etc/os-release"), []byte("ID=debian\nVERSION_ID=\"12\"\n"))
	write(t, filepath.Join(c.dir, "root/etc/ssl/certs/ca-certificates.crt"), []byte("certificates\n"))
	return c
}

// needsConfinement skips a test where it cannot show anything.
func needsConfinement(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root's builds are confined")
	}
	if err := run.CanConfine(t.Context()); err != nil {
		t.Skipf("builds cannot be confined here: %v", err)
	}
	for _, program := range []string{"unshare", "setpriv"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
}

// An ended is what a call of pybuild came to.
type ended struct {
	event
	Kind   string
	Hints  []string
	status int
	stderr string
}

// patience is how long one call may take before it counts as hung.
const patience = time.Minute

// command is a call of pybuild in the cell.
func (c *cell) command(ctx context.Context, args ...string) *exec.Cmd {
	const enter = `mount --bind "$1" /mnt && shift && exec "$@"`
	argv := slices.Concat([]string{"--mount", "--propagation", "private", "sh", "-c", enter, "sh", c.dir}, c.wrap, []string{"pybuild"}, args, []string{"--json"})
	cmd := exec.CommandContext(ctx, "unshare", argv...)
	cmd.Dir = "/"
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=/mnt/home", "TMPDIR=/mnt/tmp", "PYBUILD_CACHE=/mnt/cache", "PYBUILD_DATA=/mnt/data", "PYBUILD_PREFIX=/mnt/prefix", "PYBUILD_OFFLINE=1",
		"PYBUILD_MIRROR=file://" + c.world.mirror, recipesVar + "=" + filepath.Join(c.world.recipes, "fake"), rootVar + "=/mnt/root", upstreamVar + "=http://127.0.0.1:1", "GORACE=atexit_sleep_ms=0",
	}, c.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// run calls pybuild.
func (c *cell) run(args ...string) (e ended) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	cmd := c.command(ctx, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		c.t.Fatalf("pybuild %s hangs\n%s", strings.Join(args, " "), &stderr)
	}
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		e.status = failed.ExitCode()
	} else {
		check(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil {
		c.t.Fatalf("pybuild %s: status %d, %v: %q\n%s", strings.Join(args, " "), e.status, err, out, &stderr)
	}
	e.stderr = stderr.String()
	return e
}

// hooks are shell commands that a source tree runs besides what it should.
type hooks struct {
	configure  string // as configure begins; "configured": as it ends
	configured string
	compile    string
	staged     string // when everything is in the stage; $root is what will be the prefix, $lib the standard library
	inspect    string // as the interpreter; $prefix is what will be the prefix, the working directory pybuild's own
}

// at runs the same commands everywhere.
func at(commands string) hooks {
	return hooks{configure: commands, configured: commands, compile: commands, staged: commands, inspect: commands}
}

// source makes an archive of a fake 3.13.5 with the hooks, and returns the arguments that make pybuild use it.
func (c *cell) source(h hooks) []string {
	c.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for from := tar.NewReader(bytes.NewReader(sourceTar("3.13.5"))); ; {
		header, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		check(err)
		content, err := io.ReadAll(from)
		check(err)
		text := string(content)
		switch strings.TrimPrefix(header.Name, "Python-3.13.5/") {
		case "configure":
			text = strings.Replace(text, "echo \"checking", h.configure+"\necho \"checking", 1) + h.configured + "\n"
		case "Tools/fake":
			text = strings.Replace(text, "\nshift\n", "\nshift\nif [ \"$step\" = compile ]; then\n:\n"+h.compile+"\nfi\n", 1)
		case "Tools/altinstall":
			text += h.staged + "\n"
		case "Tools/python.in":
			text = strings.Replace(text, "\nstep inspect\n", "\nstep inspect\n"+h.inspect+"\n", 1)
		}
		header.Size = int64(len(text))
		check(w.WriteHeader(header))
		must(io.WriteString(w, text))
	}
	check(w.Close())
	archive := compress(newGZ, b.Bytes())
	write(c.t, filepath.Join(c.dir, "home/Python-3.13.5.tgz"), archive)
	sum := sha256.Sum256(archive)
	return []string{"3.13.5", "--source", "/mnt/home/Python-3.13.5.tgz", "--sha256", hex.EncodeToString(sum[:]), "--signature", "off"}
}

// holds says in which of the directories a file of that name is.
func (c *cell) holds(name string, dirs ...string) (list []string) {
	for _, dir := range dirs {
		if _, err := os.Lstat(filepath.Join(c.dir, dir, name)); err == nil {
			list = append(list, dir)
		}
	}
	return list
}

// grep says in which files below a directory the text is. Pipes are left alone.
func (c *cell) grep(text, dir string) (list []string) {
	check(filepath.WalkDir(filepath.Join(c.dir, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			list = append(list, path)
		}
		return err
	}))
	return list
}

// left is what pybuild left in the build directory, besides what was there.
func (c *cell) left() (list []string) {
	entries, err := os.ReadDir(filepath.Join(c.dir, "cache/build"))
	check(err)
	for _, e := range entries {
		if e.Name() != "other" && !strings.HasPrefix(e.Name(), mark) {
			list = append(list, e.Name())
		}
	}
	return list
}

// mark begins the names of files that a hook makes.
const mark = "evil-mark"

// both runs a test confined and, as its twin, unconfined.
func both(t *testing.T, f func(t *testing.T, confined bool, flags ...string)) {
	t.Helper()
	for _, confined := range []bool{true, false} {
		t.Run(map[bool]string{true: "confined", false: "unconfined"}[confined], func(t *testing.T) {
			t.Parallel()
			if confined {
				f(t, confined)
			} else {
				f(t, confined, "--unconfined")
			}
		})
	}
}

// TestContained: what a source tree tries at each step, and at the inspection, while it builds as it should. Confined it gains
// nothing; the twin shows that it would have.
func TestContained(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	world := newWorld(t)

	t.Run("writes", func(t *testing.T) {
		// The last two are where the build is, and what holds it and all the others.
		targets := []string{"prefix", "prefix/bin", "outside", "etc", "cache", "cache/build", "cache/build/other", "cache/logs", "home"}
		both(t, func(t *testing.T, confined bool, flags ...string) {
			c := newCell(t, world)
			check(os.Mkdir(filepath.Join(c.dir, "prefix/bin"), 0o777))
			more := ""
			if confined { // never tried where it would work
				more = "/etc /usr /usr/local /usr/local/bin /var/lib /root /boot /"
			}
			try := "for d in "
			for _, target := range targets {
				try += "/mnt/" + target + " "
			}
			try += more + "; do touch $d/" + mark + " $d/../" + mark + " 2>/dev/null || true; rm -f $d/file $d/passwd 2>/dev/null || true; chmod 777 $d 2>/dev/null || true; done"
			if !confined {
				try = strings.ReplaceAll(try, " $d/../"+mark, "")
			}
			system, err := describeTree("/usr/local/bin")
			check(err)
			e := c.run(append(c.source(at(try)), flags...)...)
			if e.status != 0 {
				t.Errorf("status %d\n%s", e.status, e.stderr)
			}
			got := c.holds(mark, targets...)
			_, gone := os.Lstat(filepath.Join(c.dir, "outside/file"))
			if confined && (got != nil || gone != nil) || !confined && (!slices.Equal(got, targets) || gone == nil) {
				t.Errorf("wrote to %q, and a file is gone: %v", got, gone)
			}
			if info, err := os.Stat(filepath.Join(c.dir, "etc")); err != nil || (info.Mode().Perm() == 0o755) != confined {
				t.Errorf("etc is %v (%v)", info.Mode(), err)
			}
			if is, err := describeTree("/usr/local/bin"); err != nil || is != system {
				t.Errorf("/usr/local/bin was\n%s\nis\n%s", system, is)
			}
			for _, dir := range []string{"/", "/etc", "/usr", "/usr/local", "/var/lib", "/root", "/boot"} {
				if _, err := os.Lstat(filepath.Join(dir, mark)); err == nil {
					t.Errorf("%s has it", dir)
				}
			}
			if left := c.left(); left != nil {
				t.Errorf("left %q", left)
			}
		})
	})

	t.Run("reads", func(t *testing.T) {
		both(t, func(t *testing.T, confined bool, flags ...string) {
			c := newCell(t, world)
			e := c.run(append(c.source(hooks{configure: "cat /mnt/etc/secret || true", staged: `cat /mnt/etc/secret > "$lib/secret.txt" || true`}), flags...)...)
			found := append(c.grep(secret, "cache/logs"), c.grep(secret, "prefix")...)
			if e.status != 0 || confined && found != nil || !confined && len(found) != 2 {
				t.Errorf("status %d, read into %q\n%s", e.status, found, e.stderr)
			}
		})
	})

	t.Run("network", func(t *testing.T) {
		if _, err := exec.LookPath("bash"); err != nil {
			t.Skip(err)
		}
		both(t, func(t *testing.T, confined bool, flags ...string) {
			c := newCell(t, world)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			check(err)
			var calls atomic.Int64
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					calls.Add(1)
					_ = conn.Close()
				}
			}()
			defer listener.Close()
			_, port, err := net.SplitHostPort(listener.Addr().String())
			check(err)
			e := c.run(append(c.source(at("bash -c 'exec 3<>/dev/tcp/127.0.0.1/"+port+"' 2>/dev/null || true")), flags...)...)
			if e.status != 0 || (calls.Load() == 0) != confined {
				t.Errorf("status %d, %d calls\n%s", e.status, calls.Load(), e.stderr)
			}
		})
	})

	t.Run("daemon", func(t *testing.T) {
		both(t, func(t *testing.T, confined bool, flags ...string) {
			c := newCell(t, world)
			seconds := fmt.Sprintf("7%d.%d", os.Getpid(), time.Now().UnixNano())
			e := c.run(append(c.source(at("setsid sleep "+seconds+" </dev/null >/dev/null 2>&1 &")), flags...)...)
			left := named("sleep", seconds)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
			if e.status != 0 || (left == nil) != confined {
				t.Errorf("status %d, left are %v\n%s", e.status, left, e.stderr)
			}
		})
	})

	// A root process of the build's would be seen here; pybuild itself is one.
	t.Run("users", func(t *testing.T) {
		both(t, func(t *testing.T, confined bool, flags ...string) {
			for _, row := range []struct {
				env  []string
				want string
			}{
				{nil, "65534:65534"},
				{[]string{"SUDO_UID=4711", "SUDO_GID=4712", "SUDO_USER=somebody"}, "4711:4712"},
				{[]string{"SUDO_UID=0", "SUDO_GID=0", "SUDO_USER=root"}, "65534:65534"},
			} {
				if !confined && row.env != nil {
					continue
				}
				c := newCell(t, world)
				c.env = row.env
				note := "echo user $(id -u):$(id -g) groups $(id -G) $(grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -s '\\t\\n' '  ')"
				e := c.run(append(c.source(hooks{configure: note, compile: note, staged: note}), flags...)...)
				_, gid, _ := strings.Cut(row.want, ":")
				seen := 0
				for _, file := range c.grep("user ", "cache/logs") {
					text, err := os.ReadFile(file)
					check(err)
					for _, line := range strings.Split(string(text), "\n") {
						line = line[min(len(line), len("    0.00 ")):] // the time
						if !strings.HasPrefix(line, "user ") {
							continue
						}
						seen++
						want := "user 0:0 "
						if confined {
							want = "user " + row.want + " groups " + gid + " CapEff: 0000000000000000 CapBnd: 0000000000000000 NoNewPrivs: 1"
						}
						if !strings.HasPrefix(line, want) {
							t.Errorf("%s: %s, want %s", file, line, want)
						}
					}
				}
				if seen != 3 {
					t.Errorf("%d of 3 steps said who they are\n%s", seen, e.stderr)
				}
			}
		})
	})
}

// inCell is a manifest with the prefix by the test's name.
func inCell(c *cell, m *prefix.Manifest) *prefix.Manifest {
	m.Prefix = filepath.Join(c.dir, strings.TrimPrefix(m.Prefix, "/mnt"))
	return m
}

// named are the processes of that command line.
func named(argv ...string) (pids []int) {
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is good
	for _, file := range found {
		text, err := os.ReadFile(file)
		if err == nil && string(text) == strings.Join(argv, "\x00")+"\x00" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			check(err)
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestTrickedAfterwards: what a build leaves for pybuild, which is root, to stumble over. Whatever comes of it, what the links lead to is
// neither read nor changed, nothing has rights that nobody gave it, nothing hangs, and nothing is left.
func TestTrickedAfterwards(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	world := newWorld(t)
	for _, row := range []struct {
		name   string
		hooks  hooks
		status int
		kind   string
		says   string // what the message has in it
	}{
		{"nothing", hooks{}, 0, "", ""},
		{"config.log is a link", hooks{configured: "ln -sf /mnt/etc/secret config.log"}, 1, "failed", "config.log"},
		{"config.log is a pipe", hooks{configured: "mkfifo config.log"}, 1, "failed", "config.log"},
		{"config.log is a device", hooks{configured: "ln -sf /dev/zero config.log"}, 1, "failed", "config.log"},
		{"config.log is a file", hooks{configured: "echo fine > config.log"}, 0, "", ""},
		{"Makefile is a link", hooks{configured: "ln -sf /mnt/etc/secret Makefile"}, 1, "failed", "Makefile"},
		{"Makefile is a pipe", hooks{configured: "rm Makefile; mkfifo Makefile"}, 1, "failed", "Makefile"},
		{"Makefile is a link inside", hooks{configured: "mv Makefile Makefile.real; ln -s Makefile.real Makefile"}, 0, "", ""},
		{"long output", hooks{configure: "head -c 20000000 /dev/zero"}, 0, "", ""},
		{"no end of output", hooks{inspect: "exec cat /dev/zero"}, 7, "rejected", "said more than 16 MiB"},
		{"no end of complaints", hooks{inspect: "exec cat /dev/zero >&2"}, 7, "rejected", "said more than 16 MiB"},
		{"set-user-ID", hooks{staged: `chmod 4755 "$root/bin/python3.13"`}, 7, "rejected", `"bin/python3.13"`},
		{"set-group-ID", hooks{staged: `chmod 2755 "$lib/os.py"`}, 7, "rejected", `"lib/python3.13/os.py"`},
		{"writable by everybody", hooks{staged: `chmod 666 "$lib/os.py"`}, 0, "", ""},
		{"directory writable by everybody", hooks{staged: `chmod 1777 "$lib"`}, 0, "", ""},
		{"directory that passes on its group", hooks{staged: `chmod 2755 "$lib"`}, 0, "", ""},
		{"pipe in the stage", hooks{staged: `mkfifo "$lib/pipe"`}, 7, "rejected", `"lib/python3.13/pipe"`},
		{"links out of the stage", hooks{staged: `ln -s /mnt/outside "$lib/outside"; ln -s /mnt/etc/secret "$lib/secret"; ln -s ../../../../../../../etc "$lib/up"`}, 0, "", ""},
		{"stage is a link", hooks{staged: `mv "$root" "${root%/*}/real"; ln -s real "$root"`}, 7, "rejected", "prefix"},
		{"link in the way to the stage", hooks{staged: `mv "${root%/*}" "${root%/*}-real"; ln -s mnt-real "${root%/*}"`}, 7, "rejected", "mnt"},
		{"stage is a link elsewhere", hooks{staged: `rm -r "$root"; ln -s /mnt/outside "$root"`}, 6, "stage-failed", ""},
		{"links in the probe directory", hooks{inspect: "for n in progress certificate.pem key.pem; do rm -f $n; ln -s /mnt/etc/secret $n; ln -s /mnt/outside/file $n; done 2>/dev/null"}, 0, "", ""},
		{"progress is a link", hooks{inspect: "ln -sf /mnt/etc/secret progress; exit 1"}, 7, "rejected", ""},
		{"progress is a pipe", hooks{inspect: "mkfifo progress; exit 1"}, 7, "rejected", ""},
		{"progress has no end", hooks{inspect: "truncate -s 1T progress; exit 1"}, 7, "rejected", ""},
		{"what pip installs is a pipe", hooks{inspect: `case $code in "import "*) for f in "$prefix"/bin/pybuild_probe_*; do rm "$f"; mkfifo "$f"; done ;; esac`}, 7, "rejected", "not a file"},
		{"a library is a pipe", hooks{inspect: `case $code in *build_time_prefix*) mkfifo pipe; describe "$1" | sed "s|/lib/x86_64-linux-gnu/libc.so.6|$(pwd)/pipe|"; exit ;; esac`}, 7, "rejected", "pipe"},
		{"much to say", hooks{inspect: "head -c 10000000 /dev/zero >&2"}, 0, "", ""},
		{"the stage changes", hooks{inspect: `echo more >> "$prefix/lib/python3.13/os.py"`}, 7, "rejected", "changed while they were inspected"},
		{"the stage becomes set-user-ID", hooks{inspect: `chmod 4755 "$prefix/bin/python3.13"`}, 7, "rejected", `"bin/python3.13" would run with the rights of its owner: its mode is 4755`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, world)
			outside := []string{tree(t, filepath.Join(c.dir, "outside")), tree(t, filepath.Join(c.dir, "etc")), tree(t, filepath.Join(c.dir, "prefix"))}
			e := c.run(c.source(row.hooks)...)
			if e.status != row.status || e.Kind != row.kind || !strings.Contains(e.Message, row.says) {
				t.Errorf("status %d, kind %q, message %q; want %d, %q, %q", e.status, e.Kind, e.Message, row.status, row.kind, row.says)
			}
			for i, dir := range []string{"outside", "etc", "prefix"} {
				if is := tree(t, filepath.Join(c.dir, dir)); is != outside[i] && (dir != "prefix" || e.status != 0) {
					t.Errorf("%s was\n%s\nis\n%s", dir, outside[i], is)
				}
			}
			if found := append(c.grep(secret, "cache"), c.grep(secret, "prefix")...); found != nil || strings.Contains(e.stderr, secret) {
				t.Errorf("the secret is in %q\n%s", found, e.stderr)
			}
			if e.status == 0 {
				owned(t, inCell(c, manifestOf(t, filepath.Join(c.dir, "prefix/share/pybuild/python3.13.json"))))
				if e := c.run("uninstall", "3.13.5"); e.status != 0 {
					t.Errorf("uninstall: status %d\n%s", e.status, e.stderr)
				}
				for i, dir := range []string{"outside", "etc", "prefix"} {
					if is := tree(t, filepath.Join(c.dir, dir)); is != outside[i] {
						t.Errorf("uninstalled, %s was\n%s\nis\n%s", dir, outside[i], is)
					}
				}
			}
			if left := c.left(); left != nil {
				t.Errorf("left %q", left)
			}
			if running := processes("/mnt"); len(running) > 0 {
				t.Errorf("still running: %q", running)
			}
		})
	}
}

// TestSwappedStage: in the middle of the inspection the stage becomes a link to another Python, which is the same to the last byte.
// It must not be taken away from where it is.
func TestSwappedStage(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	c := newCell(t, newWorld(t))
	// By then pip has been tried in the prefix, and is tried for one user.
	args := c.source(hooks{inspect: `case $file in */user-base/bin/*) if [ -e /mnt/victim ]; then sed 1d "$file"; mv "$prefix" "$prefix.real"; ln -s /mnt/victim "$prefix"; exit; fi ;; esac`})
	check(os.Chmod(filepath.Join(c.dir, "prefix"), 0o755))
	if e := c.run(args...); e.status != 0 { // the twin
		t.Fatalf("status %d\n%s", e.status, e.stderr)
	}
	victim := filepath.Join(c.dir, "victim")
	check(exec.Command("cp", "-a", filepath.Join(c.dir, "prefix"), victim).Run())
	check(os.RemoveAll(filepath.Join(victim, "share/pybuild")))
	if e := c.run("uninstall", "3.13.5"); e.status != 0 {
		t.Fatalf("uninstall: status %d\n%s", e.status, e.stderr)
	}
	before, empty := tree(t, victim), tree(t, filepath.Join(c.dir, "prefix"))
	e := c.run(args...)
	if e.status != 7 || e.Kind != "rejected" {
		t.Errorf("status %d, %s\n%s", e.status, e.Kind, e.stderr)
	}
	if is := tree(t, victim); is != before {
		t.Errorf("the other Python was\n%s\nis\n%s", before, is)
	}
	if is := tree(t, filepath.Join(c.dir, "prefix")); is != empty {
		t.Errorf("the prefix was\n%s\nis\n%s", empty, is)
	}
}

// TestUnconfinable: root on a machine that does not let it confine a build, as in most containers.
func TestUnconfinable(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	world := newWorld(t)
	without := []string{"setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-all"}
	nobody := []string{"setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-sys_admin", "--inh-caps", "-all"}
	for _, row := range []struct {
		name   string
		wrap   []string
		env    []string
		flags  []string
		status int
		kind   string
		user   string // who builds
	}{
		{"confined", nil, nil, nil, 0, "", "65534"},
		{"cannot", without, nil, nil, 3, "unconfined", ""},
		{"flag", without, nil, []string{"--unconfined"}, 0, "", "0"},
		{"variable", without, []string{"PYBUILD_UNCONFINED=1"}, nil, 0, "", "0"},
		{"variable, and a flag that wins", without, []string{"PYBUILD_UNCONFINED=1"}, []string{"--unconfined=false"}, 3, "unconfined", ""},
		{"variable that says no", without, []string{"PYBUILD_UNCONFINED=0"}, nil, 3, "unconfined", ""},
		{"not root", nobody, nil, nil, 0, "", "65534"},
		{"not root, by flag", nobody, nil, []string{"--unconfined"}, 0, "", "65534"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, world)
			c.wrap, c.env = row.wrap, row.env
			if slices.Contains(row.wrap, "--reuid") {
				for _, dir := range []string{"prefix", "cache", "cache/build", "home"} {
					check(os.Chown(filepath.Join(c.dir, dir), 65534, 65534))
				}
			}
			before := tree(t, filepath.Join(c.dir, "prefix"))
			e := c.run(append(c.source(hooks{configure: "echo user $(id -u)", compile: "echo network $(readlink /proc/self/ns/net)"}), row.flags...)...)
			if e.status != row.status || e.Kind != row.kind {
				t.Fatalf("status %d, %q; want %d, %q\n%s", e.status, e.Kind, row.status, row.kind, e.stderr)
			}
			if row.status != 0 {
				const message = "the build cannot be kept from the rest of the machine: mount namespace: operation not permitted"
				const hint = "run pybuild as a user who may write to the prefix, allow the container namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN), or accept that root builds: --unconfined"
				if e.Message != message || !slices.Equal(e.Hints, []string{hint}) {
					t.Errorf("message %q, hints %q", e.Message, e.Hints)
				}
				if is := tree(t, filepath.Join(c.dir, "prefix")); is != before {
					t.Errorf("prefix was\n%s\nis\n%s", before, is)
				}
				return
			}
			if c.grep("user "+row.user+"\n", "cache/logs") == nil {
				t.Errorf("not built by %s", row.user)
			}
			own, err := os.Readlink("/proc/self/ns/net")
			check(err)
			if alone := c.grep("network "+own+"\n", "cache/logs") == nil; alone != (row.name == "confined") {
				t.Errorf("a network of its own: %v", alone)
			}
		})
	}
}

// TestBuilderReaches: directories that are closed to the user who builds.
func TestBuilderReaches(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	world := newWorld(t)
	for _, row := range []struct {
		name       string
		mode       fs.FileMode // of /mnt/closed
		env, flags []string
		status     int
		kind, says string // in the message, or in what is said besides
	}{
		{"build directory", 0o700, nil, []string{"--build-dir", "/mnt/closed/build"}, 1, "build-directory", "the build directory: /mnt/closed/build is closed to the user 65534, who builds"},
		{"build directory, open", 0o711, nil, []string{"--build-dir", "/mnt/closed/build"}, 0, "", ""},
		{"build directory of who called sudo", 0o700, []string{"SUDO_UID=4711", "SUDO_GID=4711", "SUDO_USER=somebody"}, []string{"--build-dir", "/mnt/closed/build"}, 0, "", ""},
		{"cache", 0o700, []string{"PYBUILD_CACHE=/mnt/closed/cache"}, nil, 0, "", "building in /var/tmp: /mnt/closed/cache/build is closed to the user 65534, who builds"},
		{"cache, open", 0o711, []string{"PYBUILD_CACHE=/mnt/closed/cache"}, nil, 0, "", ""},
		{"archive", 0o700, nil, []string{"--source", "/mnt/closed/Python-3.13.5.tgz"}, 0, "", ""},
		{"patch", 0o700, nil, []string{"--patch", "/mnt/closed/patch"}, 0, "", ""},
		{"patch among temporary files", 0o700, nil, []string{"--patch", "TEMPORARY/pybuild-patch"}, 0, "", ""},
		{"prefix", 0o700, nil, []string{"--prefix", "/mnt/closed/prefix"}, 0, "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := newCell(t, world)
			c.env = row.env
			closed := filepath.Join(c.dir, "closed")
			check(os.Mkdir(closed, 0o755))
			args := c.source(hooks{})
			write(t, filepath.Join(closed, "Python-3.13.5.tgz"), read(t, filepath.Join(c.dir, "home/Python-3.13.5.tgz")))
			patch := []byte("--- a/Lib/json.py\n+++ b/Lib/json.py\n@@ -0,0 +1 @@\n+patched = True\n")
			write(t, filepath.Join(closed, "patch"), patch)
			write(t, filepath.Join(c.dir, "outside/pybuild-patch"), patch)
			check(os.Chmod(filepath.Join(closed, "patch"), 0o600))
			if slices.ContainsFunc(row.env, func(v string) bool { return strings.HasPrefix(v, "SUDO_UID") }) {
				check(os.Chown(closed, 4711, 4711))
			}
			check(os.Chmod(closed, row.mode))
			for _, flag := range row.flags {
				args = append(args, strings.Replace(flag, "TEMPORARY", filepath.Join(c.dir, "outside"), 1))
			}
			e := c.run(args...)
			if e.status != row.status || e.Kind != row.kind || !strings.Contains(e.stderr, row.says) {
				t.Fatalf("status %d, %q; want %d, %q, %s\n%s", e.status, e.Kind, row.status, row.kind, row.says, e.stderr)
			}
			if row.status == 0 && strings.HasPrefix(row.name, "patch") && c.grep("patched = True", "prefix") == nil {
				t.Error("not patched")
			}
			if left, err := os.ReadDir(filepath.Join(closed, "build")); err == nil && len(left) > 0 {
				t.Errorf("left %s", left[0].Name())
			}
		})
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestInstalledOwners: whoever built it and whatever the umask, what is installed is root's, everybody can read it, and only root can
// write to it.
func TestInstalledOwners(t *testing.T) {
	needsConfinement(t)
	t.Parallel()
	world := newWorld(t)
	for _, mask := range []string{"000", "077"} {
		t.Run(mask, func(t *testing.T) {
			both(t, func(t *testing.T, confined bool, flags ...string) {
				c := newCell(t, world)
				c.wrap = []string{"sh", "-c", "umask " + mask + ` && exec "$@"`, "sh"}
				c.env = []string{"SUDO_UID=4711", "SUDO_GID=4711"}
				args := append(c.source(hooks{configure: "echo user $(id -u)"}), flags...)
				e := c.run(append(args, "--prefix", "/mnt/new/prefix")...)
				if e.status != 0 {
					t.Fatalf("status %d\n%s", e.status, e.stderr)
				}
				const manifest = "share/pybuild/python3.13.json"
				m := inCell(c, manifestOf(t, filepath.Join(c.dir, "new/prefix", manifest)))
				for _, name := range []string{manifest, "share/pybuild", ".", ".."} { // which no manifest lists
					m.Paths = append(m.Paths, prefix.Entry{Path: name})
				}
				owned(t, m)
			})
		})
	}
}

// TestConcurrent: processes at once on one prefix. One at a time gets it, the others say so, and it is as good as if it had been alone.
func TestConcurrent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("cells are root's")
	}
	if _, err := exec.LookPath("unshare"); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	world := newWorld(t)
	releases := []string{"3.13.5", "3.12.2", "3.13.4", "3.12.1"}
	for _, row := range []struct {
		name                string
		processes, releases int
		prefixes            []string
	}{
		{"2, one release, one prefix", 2, 1, []string{"prefix"}},
		{"2, two series, one prefix", 2, 2, []string{"prefix"}},
		{"10, one release, one prefix", 10, 1, []string{"prefix"}},
		{"10, all releases, one prefix", 10, 4, []string{"prefix"}},
		{"2, two prefixes, one cache", 2, 1, []string{"prefix", "second"}},
		{"10, two prefixes, one cache", 10, 4, []string{"prefix", "second"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := newCell(t, world)
			c.env = []string{"PYBUILD_UNCONFINED=1"}
			check(os.MkdirAll(filepath.Join(c.dir, "second"), 0o755))
			type call struct {
				release, prefix string
				e               ended
			}
			calls := make(chan call, row.processes)
			for i := range row.processes {
				one := call{release: releases[i%row.releases], prefix: row.prefixes[i%len(row.prefixes)]}
				go func() {
					one.e = c.run(one.release, "--prefix", "/mnt/"+one.prefix)
					calls <- one
				}()
			}
			done, busy := map[string]bool{}, 0
			for range row.processes {
				one := <-calls
				switch {
				case one.e.status == 0:
					done[one.prefix+" "+one.release] = true
				case one.e.status == 8 && one.e.Kind == "prefix-busy" && one.e.Message == "prefix /mnt/"+one.prefix+" is locked by another process":
					busy++
				default:
					t.Errorf("%s: status %d\n%s", one.release, one.e.status, one.e.stderr)
				}
			}
			t.Logf("%d of %d installed something or found it there, %d were told to wait", row.processes-busy, row.processes, busy)
			for _, prefix := range row.prefixes {
				if !slices.ContainsFunc(releases, func(r string) bool { return done[prefix+" "+r] }) {
					t.Errorf("nobody got %s", prefix)
				}
				for _, series := range []string{"3.13", "3.12"} {
					file := filepath.Join(c.dir, prefix, "share/pybuild/python"+series+".json")
					if _, err := os.Lstat(file); err != nil {
						continue
					}
					m := inCell(c, manifestOf(t, file))
					if differences, err := m.Compare(m.Prefix); err != nil || len(differences) > 0 {
						t.Errorf("%s: %v, %v", file, differences, err)
					}
				}
				if left := c.holds(".pybuild-transaction", prefix); left != nil {
					t.Errorf("%s has a transaction", prefix)
				}
			}
			if err := checkTidy(filepath.Join(c.dir, "cache"), filepath.Join(c.dir, "tmp")); err != nil && len(c.left()) > 0 {
				t.Error(err)
			}
			for _, prefix := range row.prefixes { // one after the other it always works
				if e := c.run("3.12.2", "--prefix", "/mnt/"+prefix); e.status != 0 {
					t.Errorf("alone: status %d\n%s", e.status, e.stderr)
				}
			}
		})
	}
}

var confinedCache = flag.String("confined-cache", "", "BenchmarkConfined takes the archive from this cache")

// BenchmarkConfined compares a confined with an unconfined build of a real 3.13.5, one of each an iteration.
func BenchmarkConfined(b *testing.B) {
	needsConfinement(b)
	if *confinedCache == "" {
		b.Skip("builds CPython for minutes; ask for it with -confined-cache DIR")
	}
	program := program(b)
	// Neither side is the first to read the files.
	order := [][]string{nil, {"--unconfined"}}
	took := make([]time.Duration, len(order))
	for b.Loop() {
		for i, flags := range order {
			prefix := filepath.Join(b.TempDir(), "prefix")
			args := append([]string{"3.13.5", "--offline", "--prefix", prefix, "--profile", "quick", "--no-config-cache", "--quiet"}, flags...)
			cmd := exec.CommandContext(b.Context(), program, args...)
			cmd.Env = append(os.Environ(), "PYBUILD_CACHE="+*confinedCache)
			start := time.Now()
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v\n%s", err, out)
			}
			took[i] += time.Since(start)
		}
	}
	load, err := os.ReadFile("/proc/loadavg")
	check(err)
	b.Logf("load %s", load)
	b.ReportMetric(took[0].Seconds()/float64(b.N), "s/confined")
	b.ReportMetric(took[1].Seconds()/float64(b.N), "s/unconfined")
	b.ReportMetric(100*(took[0].Seconds()/took[1].Seconds()-1), "%overhead")
}
