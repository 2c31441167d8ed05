package build

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"sync/atomic"
	"time"
)

// The log of a step has the time of every line before it: the seconds since the step began, in a column of timeWidth bytes with the
// space that ends it. Everything here that reads a log reads it without, through eachLogLine or Untimed.
const (
	timeWidth = len("12345.67 ")
	maxTime   = 99999.99 // what is later is said to be then
)

// maxLogLine is how many bytes of a line are kept together; what is longer becomes several lines.
const maxLogLine = 64 << 10

const (
	flushEvery = time.Second            // for those who look on
	lingering  = 500 * time.Millisecond // how long the output of a command that has ended is waited for
)

// A logWriter writes the log of one step. Every command gets a pipe of its own, because a process that escapes its group may keep
// what it was given open for as long as it likes.
type logWriter struct {
	file  *os.File
	to    *bufio.Writer
	start time.Time
	count *counter // looks at every line; nil for none

	partial []byte        // the line that has not ended
	begun   time.Duration // when it began
	err     error         // the first, after which nothing is written
}

// newLog makes the log of a step, of which there must not be one.
func newLog(name string, count *counter) (*logWriter, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	return &logWriter{file: file, to: bufio.NewWriterSize(file, 32<<10), start: time.Now(), count: count}, nil
}

// line writes a line of ours.
func (l *logWriter) line(text string) error {
	l.write([]byte(text + "\n"))
	return l.flush()
}

// command lets run write to the log, and returns how that ended, and whether its output was kept. Both are known when it returns:
// the log is whole then.
func (l *logWriter) command(run func(output *os.File) error) (failed, unkept error) {
	from, output, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	var last atomic.Pointer[time.Time]
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		l.copy(from, &last)
	}()
	failed = run(output)
	until := time.Now().Add(lingering)
	last.Store(&until)
	err = errors.Join(output.Close(), from.SetReadDeadline(until))
	<-copied
	if errors.Is(err, os.ErrClosed) { // by copy, which says why
		err = nil
	}
	if closing := from.Close(); !errors.Is(closing, os.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return failed, errors.Join(l.err, err)
}

// copy writes what comes until there is no more, or until last, which is set when the command has ended. When the log takes nothing it
// closes the pipe, so that the command ends, too.
func (l *logWriter) copy(from *os.File, last *atomic.Pointer[time.Time]) {
	buffer := make([]byte, 32<<10)
	for flushed := time.Now(); l.err == nil; {
		until := last.Load()
		if until == nil {
			l.fail(from.SetReadDeadline(flushed.Add(flushEvery)))
			until = last.Load()
		}
		if until != nil {
			l.fail(from.SetReadDeadline(*until)) // ours may have taken its place
		}
		n, err := from.Read(buffer)
		l.write(buffer[:n])
		if time.Since(flushed) >= flushEvery {
			l.fail(l.to.Flush())
			flushed = time.Now()
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && (until == nil || time.Now().Before(*until)):
		default:
			if err != io.EOF && !errors.Is(err, os.ErrDeadlineExceeded) {
				l.fail(err)
			}
			l.end()
			return
		}
	}
	_ = from.Close() // it was only read
}

func (l *logWriter) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

// write takes a piece of output apart into lines.
func (l *logWriter) write(p []byte) {
	for len(p) > 0 {
		if len(l.partial) == 0 {
			l.begun = time.Since(l.start)
		}
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if room := maxLogLine - len(l.partial); len(line) > room {
			line, rest, whole = p[:room], p[room:], true
		}
		p = rest
		if !whole {
			l.partial = append(l.partial, line...)
			return
		}
		if len(l.partial) > 0 {
			line = append(l.partial, line...)
			l.partial = line[:0]
		}
		l.put(line)
	}
}

// end ends a line that did not end itself.
func (l *logWriter) end() {
	if len(l.partial) > 0 {
		l.put(l.partial)
		l.partial = l.partial[:0]
	}
	l.fail(l.to.Flush())
}

func (l *logWriter) put(line []byte) {
	// bufio keeps the first error.
	_, _ = fmt.Fprintf(l.to, "%*.2f ", timeWidth-1, min(l.begun.Seconds(), maxTime))
	_, _ = l.to.Write(line)
	l.fail(l.to.WriteByte('\n'))
	if l.count != nil {
		l.count.line(line)
	}
}

func (l *logWriter) flush() error {
	l.fail(l.to.Flush())
	return l.err
}

// close ends the log.
func (l *logWriter) close() error { return l.file.Close() }

// untime returns a line of a log without its time. One that has none, as in the logs of others, is returned as it is.
func untime(line []byte) []byte {
	if len(line) < timeWidth || line[timeWidth-1] != ' ' || line[timeWidth-4] != '.' {
		return line
	}
	blank := true
	for i, b := range line[:timeWidth-1] {
		switch {
		case i == timeWidth-4:
		case b >= '0' && b <= '9':
			blank = false
		case b != ' ' || !blank || i >= timeWidth-5: // seconds have at least one digit
			return line
		}
	}
	return line[timeWidth:]
}

// Untimed returns a log, or a part of one that begins with a line, without the times of its lines.
func Untimed(log []byte) []byte {
	text := make([]byte, 0, len(log))
	for line := range bytes.Lines(log) {
		text = append(text, untime(line)...)
	}
	return text
}

// eachLogLine calls f with every line of the log of a step, without its time and its end.
func eachLogLine(log io.Reader, f func(line string)) error {
	return eachLine(log, func(line string) { f(string(untime([]byte(line)))) })
}

// Progress says how far a step is.
type Progress struct {
	// Step is the name of the step's log: instrument and compile are two steps that are both called compile. A configure that is
	// told what was found out before is [KnownAnswers].
	Step string
	// Unit is what is counted, empty for nothing.
	Unit string
	// Done and Total are how many of them; Total is 0 where it is not known. Done does not go back, and is less than Total until
	// the step has ended.
	Done, Total int64
}

// KnownAnswers is the Step of a configure that has little left to find out.
const KnownAnswers = "configure-known"

// What is counted.
const (
	unitChecks  = "checks"
	unitTargets = "targets"
	unitTests   = "tests"
)

// A counter counts what a step has done by the lines of its log. It is used by one goroutine at a time.
type counter struct {
	tell func(Progress)
	said Progress
	// done is how many there really were, which may be more than anybody expected.
	done int64
}

// newCounter counts for a step, of which total is expected; 0 for not known.
func newCounter(s Step, step string, total int64, tell func(Progress)) *counter {
	unit := map[string]string{"configure": unitChecks, "compile": unitTargets, "train": unitTests, "test": unitTests}[s.Name]
	return &counter{tell: tell, said: Progress{Step: step, Unit: unit, Total: max(0, total)}}
}

// regrtest is how CPython's tests begin a line about the one that has ended: "0:00:12 load avg: 2.10 [12/44/1] test_re passed".
var regrtest = regexp.MustCompile(`^\d+:\d\d:\d\d (?:load avg: \S+ )?\[ *(\d+)/(\d+)(?:/\d+)?\] `)

// output is what marks a command that makes something, in make's log as well as in what make says that it is going to do.
var output = []byte(" -o ")

// line looks at a line of the log.
func (c *counter) line(line []byte) {
	switch c.said.Unit {
	case unitChecks:
		if !bytes.HasPrefix(line, []byte("checking ")) {
			return
		}
		c.done++
	case unitTargets:
		if !bytes.Contains(line, output) {
			return
		}
		c.done++
	case unitTests:
		m := regrtest.FindSubmatch(line)
		if m == nil {
			return
		}
		var total int64
		if _, err := fmt.Sscan(string(m[1])+" "+string(m[2]), &c.done, &total); err != nil {
			return // no such number
		}
		c.said.Total = max(c.said.Total, total)
	default:
		return
	}
	c.say()
}

// expect says that there are so many more to come.
func (c *counter) expect(more int64) {
	if more > 0 {
		c.said.Total = max(c.said.Total, c.done+more)
		c.say()
	}
}

// say tells how far the step is, with less certainty than was expected where more comes than that.
func (c *counter) say() {
	c.said.Done = max(c.said.Done, c.done)
	if c.said.Total > 0 && c.said.Done >= c.said.Total {
		c.said.Done = c.said.Total - 1 // the last one is done when the step has ended
	}
	if c.tell != nil {
		c.tell(c.said)
	}
}
