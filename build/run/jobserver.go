package run

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Jobserver shares out the processors among commands that run at the same time, in GNU make's way: who wants to run one more
// process takes a token, a byte, out of a pipe, and puts it back when that has ended. Every command of ours holds one token while it
// runs, which its caller takes for it with Acquire; a make that is told of the jobserver takes more by itself. It is safe for use by
// several goroutines.
type Jobserver struct {
	// The ends of the pipe, which nobody else has open in this way: make sets O_NONBLOCK on what it is given, and whoever shares
	// that would not know what a read means.
	from, to int
	// tokens is how many there are; 0 where the pipe is somebody else's, who knows.
	tokens int
	// implicit holds the token that a process has which is started by a make, without taking it; nil where nobody has started us so.
	implicit chan struct{}

	mu   sync.Mutex
	held int // tokens that our commands hold
}

// The jobserver's descriptors in a command, and what tells make of them: before version 4.2 they had another name. The beginning
// is make's own: without the space it would be letters of options.
const jobserverFlags = "MAKEFLAGS= -j --jobserver-fds=3,4 --jobserver-auth=3,4"

// maxTokens is what a pipe holds for sure. No machine has as many processors.
const maxTokens = 4096

// NewJobserver makes one for so many processes at once. It fails where the system has no /proc.
func NewJobserver(jobs int) (*Jobserver, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	j, err := openJobserver(descriptor(int(r.Fd())), descriptor(int(w.Fd())))
	_, _ = r.Close(), w.Close() // closing a pipe does not fail
	if err != nil {
		return nil, err
	}
	j.tokens = min(max(jobs, 1), maxTokens)
	if err := j.put(bytes.Repeat([]byte{'+'}, j.tokens)); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// JoinJobserver opens the jobserver that the make has which started this process with MAKEFLAGS=flags. It is nil without an error
// when there is none. That it cannot be reached is an error: make closes it to a command that it does not take for another make.
func JoinJobserver(flags string) (*Jobserver, error) {
	auth := jobserverAuth(flags)
	if auth == "" {
		return nil, nil
	}
	j, err := reachJobserver(auth)
	if err != nil {
		return nil, fmt.Errorf("jobserver %s: %w", auth, err)
	}
	j.implicit = make(chan struct{}, 1)
	j.implicit <- struct{}{}
	return j, nil
}

// jobserverAuth is how MAKEFLAGS say that a jobserver is reached, "" when they do not: "3,4" or "fifo:/tmp/GMfifo12". The last one
// counts, and behind "--" are variables.
func jobserverAuth(flags string) (auth string) {
	for _, word := range strings.Fields(flags) {
		if word == "--" {
			break
		}
		for _, name := range []string{"--jobserver-auth=", "--jobserver-fds="} {
			if value, ok := strings.CutPrefix(word, name); ok {
				auth = value
			}
		}
	}
	return auth
}

// reachJobserver opens what jobserverAuth has found.
func reachJobserver(auth string) (*Jobserver, error) {
	if path, ok := strings.CutPrefix(auth, "fifo:"); ok {
		var stat unix.Stat_t
		if err := unix.Stat(path, &stat); err != nil {
			return nil, err
		}
		if stat.Mode&unix.S_IFMT != unix.S_IFIFO {
			return nil, errors.New("not a pipe")
		}
		return openJobserver(path, path)
	}
	r, w, _ := strings.Cut(auth, ",")
	var ends [2]unix.Stat_t
	for i, s := range []string{r, w} {
		fd, err := strconv.Atoi(s)
		if err != nil || fd < 0 {
			return nil, errors.New("not two descriptors")
		}
		// One that would not outlive an exec is not inherited, but something of our own that has got a number which was free.
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC != 0 {
			err = unix.EBADF
		}
		if err == nil {
			err = unix.Fstat(fd, &ends[i])
		}
		if err != nil {
			return nil, err
		}
	}
	if ends[0].Mode&unix.S_IFMT != unix.S_IFIFO || ends[0].Dev != ends[1].Dev || ends[0].Ino != ends[1].Ino {
		return nil, errors.New("not a pipe")
	}
	return openJobserver("/proc/self/fd/"+r, "/proc/self/fd/"+w) // both are numbers
}

// openJobserver opens a pipe by the names of its ends.
func openJobserver(read, write string) (j *Jobserver, err error) {
	j = &Jobserver{}
	if j.to, err = unix.Open(write, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil { // ENXIO: nobody reads it
		return nil, err
	}
	if j.from, err = unix.Open(read, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0); err != nil {
		return nil, errors.Join(err, unix.Close(j.to))
	}
	return j, nil
}

func descriptor(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Close gives up the jobserver, which no command may use any more.
func (j *Jobserver) Close() error { return errors.Join(unix.Close(j.from), unix.Close(j.to)) }

// Tokens are leave to run as many processes.
type Tokens struct {
	server   *Jobserver
	taken    []byte // make wants back what it gave
	implicit bool
	broken   error
}

// N is how many processes may run.
func (t *Tokens) N() int {
	if t.implicit {
		return len(t.taken) + 1
	}
	return len(t.taken)
}

// Acquire waits until one process more may run, and takes as many more tokens as nobody else wants at that moment, most together.
// The error is the cause of ctx when that ends before. Who has got tokens calls Release, and waits for no others meanwhile.
func (j *Jobserver) Acquire(ctx context.Context, most int) (t *Tokens, err error) {
	fd, err := reopen(j.from, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "jobserver")
	defer file.Close() // nothing was written
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	t = &Tokens{server: j}
	waited := make(chan error, 1)
	go func() { waited <- raw.Read(func(fd uintptr) bool { return t.take(fd, 1) }) }()
	select {
	case err = <-waited:
	case <-j.implicit:
		interrupt(file, waited)
		t.implicit = true
	case <-ctx.Done():
		interrupt(file, waited)
	}
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil && t.broken == nil:
		t.without(most)
		err = raw.Control(func(fd uintptr) { t.take(fd, most) })
	}
	if err = cmp.Or(err, t.broken); err != nil {
		return nil, errors.Join(err, t.Release())
	}
	return t, nil
}

// without takes, or gives back, what needs no token, to come to at most n.
func (t *Tokens) without(n int) {
	switch {
	case t.implicit && t.N() > n: // a token came while we stopped to wait for it
		t.implicit = false
		t.server.implicit <- struct{}{}
	case !t.implicit && t.N() < n:
		select {
		case <-t.server.implicit:
			t.implicit = true
		default:
		}
	}
}

// interrupt ends the wait for a token, which may have come all the same.
func interrupt(file *os.File, waited <-chan error) {
	_ = file.SetReadDeadline(time.Unix(1, 0)) // fails only where there is no waiting either
	<-waited
}

// take reads until there are n tokens, and reports whether nothing is left to wait for. What is read is counted at the same time:
// see Release.
func (t *Tokens) take(fd uintptr, n int) bool {
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	for b := make([]byte, 1); t.N() < n && t.broken == nil; {
		switch got, err := unix.Read(int(fd), b); {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return false
		case err != nil:
			t.broken = err
		case got == 0:
			t.broken = io.ErrUnexpectedEOF // the make that had it is gone
		default:
			t.taken = append(t.taken, b[0])
			t.server.held++
		}
	}
	return true
}

// Release puts the tokens back. Called again it does nothing.
//
// A make that was killed has not put back what it took by itself. So when no command of ours runs, the pipe is made to hold what it
// should: no more, whoever has put something there.
func (t *Tokens) Release() error {
	j := t.server
	j.mu.Lock()
	defer j.mu.Unlock()
	back := t.taken
	j.held -= len(back)
	t.taken = nil
	if t.implicit {
		t.implicit = false
		j.implicit <- struct{}{}
	}
	if j.tokens > 0 && j.held == 0 && len(back) > 0 {
		for b := make([]byte, maxTokens); ; {
			if n, err := unix.Read(j.from, b); n <= 0 && err != unix.EINTR {
				break
			}
		}
		back = bytes.Repeat([]byte{'+'}, j.tokens)
	}
	return j.put(back)
}

// put writes tokens, for which there is room.
func (j *Jobserver) put(tokens []byte) error {
	for len(tokens) > 0 {
		n, err := unix.Write(j.to, tokens)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("giving back to the jobserver: %w", err)
		}
		tokens = tokens[max(n, 0):]
	}
	return nil
}

// ends opens the pipe for one command. make 4.1 and before expect that a read waits.
func (j *Jobserver) ends() (files []*os.File, err error) {
	for _, end := range []struct {
		fd, how int
	}{{j.from, unix.O_RDONLY}, {j.to, unix.O_WRONLY}} {
		fd, err := reopen(end.fd, end.how|unix.O_NONBLOCK) // else it would wait for the other end
		if err == nil {
			err = unix.SetNonblock(fd, false)
			files = append(files, os.NewFile(uintptr(fd), "jobserver"))
		}
		if err != nil {
			closeAll(files)
			return nil, err
		}
	}
	return files, nil
}

// reopen opens a pipe that this process has open once more, so that its flags are its own.
func reopen(fd, how int) (int, error) { return unix.Open(descriptor(fd), how|unix.O_CLOEXEC, 0) }

// closeAll closes files to which nothing was written.
func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
