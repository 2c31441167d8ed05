package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"pybuild/build/run"
)

// configure asks the machine some 700 questions, and that is the serial part of a build. What it was told is kept, and given to
// the next run of the same script in which nothing could be different: see ask. The answers come from a build that is not
// trusted, and are shell code when the next configure reads them; so only what has the form of a plain assignment is kept, and
// quoted anew.

// answers are values by the names that configure caches them under, "ac_cv_func_fork": "yes".
type answers map[string]string

// An answer as config.log has it. Values that need more than these characters are not kept, and asked for again.
var assignment = regexp.MustCompile(`^(ac_cv_[A-Za-z0-9_]+)=(?:([A-Za-z0-9_./+:,@-]*)|'([A-Za-z0-9_./+:,@ =-]*)')$`)

// families are the beginnings of the names under which autoconf's own macros cache. These promise to do nothing else while they
// look for an answer, so that it can be given to them.
var families = regexp.MustCompile(`^ac_cv_(alignof|c|func|have_decl|header|lib|member|prog_cc|search|sizeof|type)_`)

// proven are names of CPython's own that are given too: with all of these the Makefile, pyconfig.h and everything else that
// configure writes for 3.9.2, 3.11.2 and 3.13.5 are the same byte by byte. Not so with ac_cv_wl_no_as_needed and
// ac_cv_gcc_asm_for_x64, which set something else on the way. What depends on a mounted file system or on the network is not here
// either. Whatever is missing, new names of a new series too, is asked again.
var proven = strings.Fields(`
	aligned_required broken_mbstowcs broken_nice broken_poll broken_unsetenv builtin_atomic can_raw_fd_frames
	can_raw_join_filters cc_name cc_supports_fstrict_overflow cc_supports_og clock_t_time_h compile_o2 computed_gotos crypt_crypt
	cxx_thread defined_IPV6_INRIA_VERSION_netinet_in_h defined___GLIBC___features_h defined___KAME___netinet_in_h device_macros
	dirent_d_type disable_int_conversion_warning disable_missing_field_initializers disable_missing_field_initializers_warning
	disable_unused_parameter_warning disable_unused_result_warning enable_extra_warning
	enable_implicit_function_declaration_error enable_sign_compare_warning enable_strict_prototypes_warning
	enable_unreachable_code_warning enable_visibility extra_warnings flock_decl function_prototypes gcc_asm_for_mc68881
	gcc_asm_for_x87 gcc_compat getrandom_syscall has_le64toh has_makedev has_x509_verify_param_set1_host have_chflags
	have_getc_unlocked have_lchflags have_pthread_t have_size_t_format kpthread kthread libatomic_needed mvwdelch_is_expression
	no_strict_aliasing pthread pthread_is_default pthread_key_t_is_arithmetic_type pthread_system_supported
	readline_append_history readline_rl_completion_display_matches_hook readline_rl_completion_matches readline_rl_pre_input_hook
	readline_rl_resize_terminal readline_rl_startup_hook_takes_args rshift_extends_sign safe_to_define___extensions__
	should_define__xopen_source stat_tv_nsec stat_tv_nsec2 stdarg_prototypes struct_addrinfo struct_sockaddr_alg
	struct_sockaddr_sa_len struct_sockaddr_storage struct_tm wchar_t_signed window_has_flags working_openssl_hashlib
	working_openssl_ssl working_signed_char_c working_tzset x87_double_rounding`)

// parseAnswers reads answers that may be given to another run, a line each; all other lines are passed over.
func parseAnswers(r io.Reader) (answers, error) {
	a := answers{}
	err := eachLine(r, func(line string) {
		m := assignment.FindStringSubmatch(line)
		if m != nil && (families.MatchString(m[1]) || slices.Contains(proven, strings.TrimPrefix(m[1], "ac_cv_"))) {
			a[m[1]] = m[2] + m[3]
		}
	})
	return a, err
}

// site renders the answers as a script for CONFIG_SITE. What the user has said on the command line of configure stays.
func (a answers) site() string {
	var b strings.Builder
	b.WriteString("# What configure would find out; it asks whatever is not here.\n")
	for _, name := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, "%s=${%[1]s='%s'}\n", name, a[name])
	}
	return b.String()
}

// encode renders the answers to be kept: their digest, then a line each.
func (a answers) encode() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, "%s='%s'\n", name, a[name])
	}
	return append(fmt.Appendf(nil, "%x\n", sha256.Sum256(b.Bytes())), b.Bytes()...)
}

// decodeAnswers reads what encode wrote, and knows nothing of what is not exactly that.
func decodeAnswers(data []byte) (answers, bool) {
	a, err := parseAnswers(bytes.NewReader(data))
	if err != nil || len(a) == 0 || !bytes.Equal(a.encode(), data) {
		return nil, false
	}
	return a, true
}

// maxAnswers is how many bytes of kept answers are read.
const maxAnswers = 1 << 20

// recall reads what is kept under a key. there says that something is, although it may be of no use: then a is empty.
func (p *Plan) recall(key string) (a answers, there bool) {
	if key == "" {
		return nil, false
	}
	data, err := readKept(p.known, key, maxAnswers)
	if err != nil {
		return nil, !errors.Is(err, fs.ErrNotExist)
	}
	a, _ = decodeAnswers(data)
	return a, true
}

// doubt takes away what is kept under a key, and leaves in its place that the next run must ask for everything.
func (p *Plan) doubt(key string) error { return keep(p.known, key, nil) }

// remember keeps what configure found out.
func (p *Plan) remember(key string) (err error) {
	a := answers{}
	err = p.readSource("config.log", func(r io.Reader) (err error) {
		a, err = parseAnswers(r)
		return err
	})
	if err != nil {
		return err
	}
	if len(a) == 0 {
		return nil
	}
	return keep(p.known, key, a.encode())
}

// keep writes a file as a whole. Another process may do the same at the same time: whoever renames last has written the same.
func keep(dir, name string, data []byte) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(dir, name+".*.partial")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(data)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(dir, name))
}

// configure runs configure, with what is known when that is safe: what an earlier run found out here, else what is proven of this
// toolchain. A run that fails with it is repeated without: only what configure found out by itself counts.
func (m *making) configure(ctx context.Context, s Step) (others []ModuleFailure, err error) {
	key := ""
	if m.known != "" {
		if key, err = m.ask(ctx, s); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			key = "" // what could not be looked at may have changed
		}
	}
	told, there := m.recall(key)
	kept := len(told) > 0
	if key != "" && !there { // what is there and of no use is a doubt
		told = m.certain
	}
	if len(told) > 0 {
		if err := m.tell(told.site()); err != nil {
			return nil, fmt.Errorf("telling configure what is known: %w", err)
		}
		m.told = kept
		others, err = m.run(ctx, s)
		if ctx.Err() != nil {
			return others, err
		}
		if err == nil {
			if m.given = key; kept {
				return others, nil
			}
			return others, m.learn(ctx, s, key)
		}
		if err := m.again(s); err != nil {
			return nil, fmt.Errorf("configuring again: %w", err)
		}
		m.told = false
		if err := m.doubt(key); err != nil {
			m.note("what configure found out before cannot be replaced: " + err.Error())
		}
		m.note("configure failed with what was known before, and was run again without")
	}
	if others, err = m.run(ctx, s); err != nil || key == "" {
		return others, err
	}
	return others, m.learn(ctx, s, key)
}

// learn keeps what configure found out, if nothing has changed since it was asked for key. What keeps it from that is noted; the
// error is only that ctx has ended.
func (m *making) learn(ctx context.Context, s Step, key string) error {
	after, err := m.ask(ctx, s)
	if err == nil && after == key { // else the answers are about neither
		err = m.remember(key)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		m.note("what configure found out is not kept: " + err.Error())
	}
	return nil
}

// tell writes what configure is told. The directory belongs to the build, which may have put anything there by now.
func (p *Plan) tell(script string) (err error) {
	home, err := os.OpenRoot(filepath.Dir(p.site))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, home.Close()) }()
	name := filepath.Base(p.site)
	if err := home.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := home.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(script)
	return errors.Join(err, file.Close())
}

// again makes ready for another run of configure that is told nothing. The logs of the first are kept.
func (p *Plan) again(s Step) error {
	return errors.Join(p.tell(""), aside(p.log(s), "known"), aside(p.configLog(), "known"))
}

// aside renames a log, if it is there, to make room for another of its name.
func aside(log, suffix string) error {
	if err := os.Rename(log, strings.TrimSuffix(log, ".log")+"-"+suffix+".log"); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ask returns the key of everything that decides what configure finds out: the script, what the recipes tell it, its arguments and
// environment, the kernel, who runs it, what the compiler says of itself, and name, size and time of every header and library that
// the compiler, the linker and pkg-config can find. An error means that something could not be looked at.
func (p *Plan) ask(ctx context.Context, s Step) (string, error) {
	h := sha256.New()
	line := func(key string, values ...string) { fmt.Fprintf(h, "%s %q\n", key, values) }
	line("answers", "1", runtime.GOARCH, string(p.certain.encode()))
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "", err
	}
	line("kernel", string(kernel))
	if p.Confine != nil {
		line("confined", fmt.Sprint(p.Confine.UID, p.Confine.GID))
	} else {
		line("user", fmt.Sprint(os.Geteuid(), os.Getegid()))
	}
	for _, name := range []string{"configure", "pyconfig.h.in"} {
		if err := p.readSource(name, func(r io.Reader) error { return hashFile(h, name, r) }); err != nil {
			return "", err
		}
	}
	flags := p.flags(s.Commands[0])
	line("flags", flags...)
	found, err := p.toolchain(ctx, line)
	if err != nil {
		return "", err
	}
	w := walker{hash: h, seen: map[string]bool{}}
	for _, path := range append(found.headers, paths(flags)...) {
		w.walk(path, true)
	}
	multiarch, err := filepath.Glob("/usr/local/lib/*-linux-*")
	if err != nil {
		return "", err
	}
	for _, path := range slices.Concat(found.libraries, multiarch, []string{"/usr/local/lib", "/usr/local/lib64", "/lib64", "/usr/lib64"}) { // the linker's own
		w.walk(path, false)
	}
	return hex.EncodeToString(h.Sum(nil)), w.err
}

// flags are the arguments of configure and the variables that shape a build, wherever it happens and will live.
func (p *Plan) flags(configure []string) (flags []string) {
	for _, arg := range configure[1:] {
		if !strings.HasPrefix(arg, "--prefix=") {
			flags = append(flags, arg)
		}
	}
	for _, v := range p.Env { // PATH is always the same
		if name, _, _ := strings.Cut(v, "="); name != "HOME" && name != "TMPDIR" && name != "PATH" {
			flags = append(flags, v)
		}
	}
	return flags
}

func hashFile(h hash.Hash, name string, r io.Reader) error {
	content := sha256.New()
	if _, err := io.Copy(content, r); err != nil {
		return err
	}
	fmt.Fprintf(h, "file %q %x\n", name, content.Sum(nil))
	return nil
}

// searched are the directories in which a build finds what it needs.
type searched struct{ headers, libraries []string }

// toolchain tells line what compiles and links, and returns where it looks.
func (p *Plan) toolchain(ctx context.Context, line func(key string, values ...string)) (found searched, err error) {
	env := func(name string) []string {
		for _, v := range p.Env {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return strings.Fields(value)
			}
		}
		return nil
	}
	cc := env("CC")
	if len(cc) == 0 { // configure's own order
		cc = []string{"gcc"}
		if _, err := run.LookPath("gcc", p.Env); err != nil {
			cc = []string{"cc"}
		}
	}
	for _, name := range []string{cc[0], "as", "ld", "ar", "pkg-config"} {
		path, err := run.LookPath(name, p.Env)
		if err != nil {
			line("no tool", name)
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return found, err
		}
		line("tool", path, fmt.Sprint(info.Size(), info.ModTime().UnixNano()))
	}
	output := func(argv ...string) (string, error) {
		var b bytes.Buffer
		err := run.Run(ctx, run.Command{Argv: argv, Dir: p.Dir, Env: p.Env, Log: &b, Confine: p.Confine, Timeout: p.Timeout})
		line("says", b.String())
		return b.String(), err
	}
	said, err := output(slices.Concat(cc, env("CPPFLAGS"), env("CFLAGS"), []string{"-E", "-v", "-x", "c", "/dev/null"})...)
	if err != nil {
		return found, err
	}
	_, list, _ := strings.Cut(said, "search starts here:\n")
	list, _, ok := strings.Cut(list, "End of search list.")
	if !ok {
		return found, errors.New("the compiler does not say where it looks for headers")
	}
	for l := range strings.Lines(list) {
		if dir := strings.TrimSpace(l); filepath.IsAbs(dir) {
			found.headers = append(found.headers, dir)
		}
	}
	if said, err = output(append(cc, "-print-search-dirs")...); err != nil {
		return found, err
	}
	_, list, ok = strings.Cut(said, "libraries: =")
	if !ok {
		return found, errors.New("the compiler does not say where it looks for libraries")
	}
	list, _, _ = strings.Cut(list, "\n")
	found.libraries = filepath.SplitList(list)
	if _, err := run.LookPath("pkg-config", p.Env); err == nil {
		if said, err = output("pkg-config", "--variable=pc_path", "pkg-config"); err != nil {
			return found, err
		}
		found.libraries = slices.Concat(found.libraries, filepath.SplitList(strings.TrimSpace(said)))
	}
	return found, nil
}

// absolute is a path in a flag: -I/x, --with-openssl=/x, -Wl,-rpath,/x.
var absolute = regexp.MustCompile(`(?:^|[\s,:="']|-[IL])(/[^\s,:="']+)`)

// paths are the absolute paths that flags and arguments name.
func paths(flags []string) (list []string) {
	for _, flag := range flags {
		for _, m := range absolute.FindAllStringSubmatch(flag, -1) {
			list = append(list, m[1])
		}
	}
	return list
}

// maxEntries is how many files are looked at: a machine on which more could matter configures afresh.
const maxEntries = 200_000

// A walker hashes what can be seen of directories from the outside. Its first error stays.
type walker struct {
	hash    io.Writer
	seen    map[string]bool
	entries int
	err     error
}

// ours are the names of what other Pythons install, where CPython's configure has nothing to look for: an installation must not
// make the next one slow.
var ours = regexp.MustCompile(`^(lib)?python[0-9]`)

// walk looks at what is in a directory, and where deep is set below it, too. That there is none is something to know as well.
func (w *walker) walk(path string, deep bool) {
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(w.hash, "none %q\n", path)
		return
	}
	if err != nil || w.err != nil {
		w.err = errors.Join(w.err, err)
		return
	}
	if w.seen[real] {
		return
	}
	w.seen[real] = true
	if info, err := os.Stat(real); err == nil && !info.IsDir() {
		w.entry(path, info)
		return
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		w.err = err
		return
	}
	fmt.Fprintf(w.hash, "directory %q\n", path)
	for _, e := range entries {
		if ours.MatchString(e.Name()) {
			continue
		}
		name := filepath.Join(real, e.Name())
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			info, err = e.Info() // a link that leads nowhere
		}
		if err != nil {
			w.err = err
			return
		}
		if w.entry(name, info); info.IsDir() && deep {
			w.walk(name, true)
		}
	}
}

// entry hashes what is known of one entry. The size and time of a directory are left out: they change with what is ours in it.
func (w *walker) entry(path string, info fs.FileInfo) {
	if w.entries++; w.entries > maxEntries && w.err == nil {
		w.err = fmt.Errorf("more than %d files to look at", maxEntries)
	}
	fmt.Fprintf(w.hash, "%q %v", path, info.Mode())
	if !info.IsDir() {
		fmt.Fprintf(w.hash, " %d %d", info.Size(), info.ModTime().UnixNano())
	}
	fmt.Fprintln(w.hash)
}
