package cli

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"pybuild/build"
	"pybuild/build/prefix"
	"pybuild/cmd/internal/install"
	"pybuild/cmd/internal/report"
	"pybuild/fetch"
	"pybuild/recipes"
)

// UnwrittenError says that a report could not be written. It hides what it wraps from errors.Is, because its causes mean other
// things where they happen to a prefix.
type UnwrittenError struct {
	File string
	Err  error
}

func (e *UnwrittenError) Error() string { return fmt.Sprintf("the report %s: %v", e.File, e.Err) }

// reportExtensions are offered by completion.
var reportExtensions = []string{"html", "json", "xml", "md"}

// checkReport finds what keeps a report from being written, before anything is done, and makes its name absolute.
func checkReport(cmd *cobra.Command, flag, name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch there, err2 := os.Stat(path); {
	case report.Format(path) == nil:
		return "", usage(cmd, "%s is a file that ends in %s, not %q", flag, strings.Join(report.Extensions, ", "), name)
	case err != nil || !info.IsDir():
		return "", usage(cmd, "%s %s: there is no directory %s", flag, name, dir)
	case err2 == nil && there.IsDir():
		return "", usage(cmd, "%s %s is a directory", flag, name)
	case unix.Access(dir, unix.W_OK) != nil:
		return "", usage(cmd, "%s %s: no files can be made in %s", flag, name, dir)
	}
	return path, nil
}

// writeReport writes a report in the format of the file's extension, whole or not at all, for everybody to read.
func writeReport(r *report.Report, file string) error {
	var b bytes.Buffer
	err := report.Format(file)(r, &b)
	if err == nil {
		err = renameio.WriteFile(file, b.Bytes(), 0, renameio.WithStaticPermissions(0o644))
	}
	if err != nil {
		return &UnwrittenError{file, err}
	}
	return nil
}

// A timeline takes down the steps of installations, while it hands them on.
type timeline struct {
	install.Reporter
	title, distribution, profile string
	expected                     []report.Expectation
	cells                        []report.Cell // of the installations that have ended

	mu     sync.Mutex        // of what follows: steps may be told by several goroutines
	tracks map[string]*track // of the installations that go on, by version
}

// A track is what has been told of one installation.
type track struct {
	start time.Time
	steps []report.Step
	open  int // steps that have not ended
	mixed int // steps up to here were not alone on the machine: what they took of the processors is not known
}

func newTimeline(in *install.Installer, releases []*recipes.Selection, profile string) *timeline {
	id := cmp.Or(in.Host.ID, "unknown")
	if in.Host.VersionID != "" {
		id += "-" + in.Host.VersionID
	}
	t := &timeline{Reporter: in.Reporter, title: "pybuild on " + cmp.Or(in.Host.Name, id), distribution: id, profile: profile, tracks: map[string]*track{}}
	for _, rel := range releases {
		t.expected = append(t.expected, report.Expectation{Distribution: id, Python: rel.String(), Profile: profile})
	}
	return t
}

// reported writes the report of what was to be installed, and returns how that ended: a report that cannot be written changes
// nothing about an installation that failed.
func (a *app) reported(t *timeline, file string, err error) error {
	r := report.New(t.title, t.cells...)
	r.Expect(t.expected)
	unwritten := writeReport(r, file)
	if err != nil && unwritten != nil {
		a.reporter().Warn(unwritten.Error())
	}
	return cmp.Or(err, unwritten)
}

// Step is the Reporter's. What the step's commands took of the processors is known once they have ended, as they have with it.
func (t *timeline) Step(version, step string) func(error) {
	done := t.Reporter.Step(version, step)
	t.mu.Lock()
	defer t.mu.Unlock()
	own := t.tracks[version]
	if own == nil {
		own = &track{start: time.Now()}
		t.tracks[version] = own
	}
	start, before, i := time.Now(), cpuTime(), len(own.steps)
	own.steps = append(own.steps, report.Step{Name: step, Started: seconds(start.Sub(own.start)), State: report.Failed}) // unless it ends
	own.open++
	for _, other := range t.tracks {
		if other != own && other.open > 0 {
			own.mixed, other.mixed = len(own.steps), len(other.steps)
		}
	}
	return func(err error) {
		t.mu.Lock()
		s := &own.steps[i]
		s.Seconds = seconds(time.Since(start))
		if own.open--; i >= own.mixed {
			s.CPU = seconds(cpuTime() - before)
		}
		if err == nil {
			s.State = report.Passed
		}
		t.mu.Unlock()
		done(err)
	}
}

// end takes down that the installation of a release has ended, with an error or with a result.
func (t *timeline) end(ctx context.Context, rel *recipes.Selection, result *install.Result, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := report.Cell{Distribution: t.distribution, Python: rel.String(), Profile: t.profile, State: report.Passed}
	if own := t.tracks[c.Python]; own != nil { // else it came to nothing before its first step
		c.Seconds, c.Steps = seconds(time.Since(own.start)), own.steps
	}
	if err != nil {
		failed(&c, explain(ctx, err))
		// Of several sources, one that served something else tells more than the first.
		var sources *fetch.SourcesError
		if errors.As(err, &sources) {
			for _, a := range sources.Attempts {
				if refused := new(fetch.RefusedError); errors.As(a.Err, &refused) {
					c.Reason = a.URL + ": " + a.Err.Error()
					break
				}
			}
		}
	} else {
		installed(&c, rel, result)
	}
	t.cells = append(t.cells, c)
	delete(t.tracks, c.Python)
}

// failed is what a report says of a failure: the message's first line, or what that announces, the rest, and the log that the failure names.
func failed(c *report.Cell, f failure) {
	c.State, c.Status = report.Failed, f.Status
	c.Reason, c.Excerpt, _ = strings.Cut(f.Message, "\n")
	if strings.HasSuffix(c.Reason, ":") { // a list follows
		first, _, _ := strings.Cut(c.Excerpt, "\n")
		c.Reason += " " + strings.TrimSpace(first)
	}
	if f.Log != "" {
		c.LogPath, c.Log = f.Log, tail(f.Log)
	}
}

// installed is what a report says of an installed Python.
func installed(c *report.Cell, rel *recipes.Selection, result *install.Result) {
	for name, state := range result.Parts {
		if state == "missing" {
			c.Missing = append(c.Missing, name)
		}
	}
	if result.Already {
		c.Reason = "it was there already"
	}
	if m, err := prefix.ReadManifest(result.Prefix, rel.Executable()); err == nil { // or the size is not known
		for _, e := range m.Paths {
			c.Size += e.Size
		}
	}
}

// tail is the end of a log, without the times of its lines, or why there is none.
func tail(path string) string {
	text, err := func() (text []byte, err error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		// Of the shortest lines most is time.
		const most = 10 * (report.MaxLog + 1)
		if text, err = io.ReadAll(io.NewSectionReader(f, max(0, info.Size()-most), most)); err == nil {
			// One byte more than is kept, so that a cut is seen and comes to the beginning of a line.
			text = build.Untimed(text)
			text = text[max(0, len(text)-report.MaxLog-1):]
		}
		return text, err
	}()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// cpuTime is what this process and its ended children have used of the processors; 0 where that cannot be known.
func cpuTime() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	return sum
}

func seconds(d time.Duration) float64 { return max(0, d.Round(time.Millisecond).Seconds()) }

func (a *app) reportCommand() *cobra.Command {
	var outputs []string
	var matrix string
	cmd := &cobra.Command{
		Use:   "report [CELL.json or DIR]...",
		Short: "Make one report of many installations, as a page, a table or JUnit XML",
		Long: `Make one report of the files that "pybuild VERSION --report CELL.json" wrote on many machines; of a directory, all *.json in it.
Where a cell (a distribution, a Python and a profile) comes twice, the second, in the order of the names, is a later stage of
the first. A log that a cell names by log_path, and that lies beside it, is taken in.

Without --output the table is written to standard output, or the whole report with --json. The status is 7 when a cell failed
that was not expected to.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && matrix == "" {
				return usage(cmd, "no report of a cell named")
			}
			for i, name := range outputs {
				path, err := checkReport(cmd, "--output", name)
				if err != nil {
					return err
				}
				outputs[i] = path
			}
			r, err := readReports(cmd, args)
			if err != nil {
				return err
			}
			if matrix != "" {
				expected, err := readMatrix(cmd, matrix)
				if err != nil {
					return err
				}
				r.Expect(expected)
			}
			for _, file := range outputs {
				if err := writeReport(r, file); err != nil {
					return err
				}
			}
			if len(outputs) == 0 {
				write := report.Markdown
				if a.json {
					write = report.JSON
				}
				if err := write(r, a.Stdout); err != nil {
					return err
				}
			}
			return r.Err()
		},
		ValidArgsFunction: cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveFilterFileExt),
	}
	cmd.Flags().StringArrayVar(&outputs, "output", nil, "write it to `FILE`: .html, .json, .xml (JUnit) or .md; repeatable")
	_ = cmd.MarkFlagFilename("output", reportExtensions...) // fails only for a flag that does not exist
	cmd.Flags().StringVar(&matrix, "matrix", "", "the cells that there should be, and those that cannot pass, are in `FILE`, laid out like recipes/matrix.json")
	return cmd
}

// readReports reads the files that are named, and those in directories that are.
func readReports(cmd *cobra.Command, args []string) (*report.Report, error) {
	var cells []report.Cell
	for _, arg := range args {
		files := []string{arg}
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			if files, err = filepath.Glob(filepath.Join(escape(arg), "*.json")); err != nil {
				return nil, err
			}
			if len(files) == 0 {
				return nil, usage(cmd, "%s: there is no *.json in it", arg)
			}
		}
		for _, file := range files {
			more, err := readCells(file)
			if err != nil {
				return nil, usage(cmd, "%v", err)
			}
			cells = append(cells, more...)
		}
	}
	return report.New("pybuild", cells...), nil
}

// escape is a directory as a pattern that means it alone.
func escape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// readCells reads one report, and the logs beside it that it names. Such a file may come from a machine that is not trusted: it
// does not get at other files.
func readCells(file string) (cells []report.Cell, err error) {
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := root.Open(filepath.Base(file))
	if err != nil {
		return nil, err
	}
	r, err := report.Parse(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	cells = slices.Clone(r.Cells)
	for i, c := range cells {
		if c.Log != "" || c.LogPath == "" || filepath.Base(c.LogPath) != c.LogPath {
			continue
		}
		if info, err := root.Lstat(c.LogPath); err == nil && info.Mode().IsRegular() {
			if cells[i].Log = tail(filepath.Join(filepath.Dir(file), c.LogPath)); cells[i].Log == "" {
				cells[i].Log = "(empty)\n"
			}
		}
	}
	return cells, nil
}

// readMatrix reads which cells are expected.
func readMatrix(cmd *cobra.Command, file string) (list []report.Expectation, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usage(cmd, "--matrix %v", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	m, err := recipes.ReadMatrix(f)
	if err != nil {
		return nil, usage(cmd, "--matrix %s: %v", file, err)
	}
	for _, c := range m.Cells() {
		list = append(list, report.Expectation(c))
	}
	return list, nil
}
