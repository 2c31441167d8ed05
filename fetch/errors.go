package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"
)

var (
	// ErrNoCheck refuses a request that does not say what is good.
	ErrNoCheck = errors.New("no check given")
	// ErrOffline is why a source was not asked: it needs the network.
	ErrOffline = errors.New("offline")
	// ErrNotAskedAgain is why a source was not asked: its host did not answer
	// earlier in the same Get.
	ErrNotAskedAgain = errors.New("not asked again")
	// ErrStalled is why a transfer was broken off: no bytes came for too long.
	ErrStalled = errors.New("transfer stalled")
	// ErrURL refuses a URL that cannot be parsed, or is neither http nor https nor
	// a file on this host.
	ErrURL = errors.New("not a http, https or file URL")
	// ErrPlainCredentials refuses a http URL with a user or a password, which
	// everybody on the way could read.
	ErrPlainCredentials = errors.New("credentials in a URL that is not encrypted")
	// ErrNotRegular refuses a directory, link or device where a file should be.
	ErrNotRegular = errors.New("not a regular file")
	// ErrBusy says that an entry of the cache is in use by another process.
	ErrBusy = errors.New("in use by another process")
)

// A SourcesError says that no source had the artifact, and why each had not.
type SourcesError struct {
	Attempts []Attempt // in order; empty when there was no source to try
}

func (e *SourcesError) Error() string {
	if len(e.Attempts) == 0 {
		return "no source to try"
	}
	var b strings.Builder
	b.WriteString("no source has it:")
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n%s: %v", a.URL, a.Err)
	}
	return b.String()
}

// Is reports whether any attempt failed for that reason; but it is fs.ErrNotExist
// only if every source was asked and none has it, see [SourcesError.Absent].
func (e *SourcesError) Is(target error) bool {
	if target == fs.ErrNotExist {
		return e.Absent()
	}
	return slices.ContainsFunc(e.Attempts, func(a Attempt) bool { return errors.Is(a.Err, target) })
}

// As finds the first attempt with such an error.
func (e *SourcesError) As(target any) bool {
	return slices.ContainsFunc(e.Attempts, func(a Attempt) bool { return errors.As(a.Err, target) })
}

// Absent reports whether there was a source, and each said that it has no such
// file. If one could not be asked, or what it has was refused, the file may exist.
func (e *SourcesError) Absent() bool {
	return len(e.Attempts) > 0 && !slices.ContainsFunc(e.Attempts, func(a Attempt) bool {
		return isRefused(a.Err) || !errors.Is(a.Err, fs.ErrNotExist)
	})
}

// Refused reports whether at least one source delivered bytes, and they were not
// the right ones. Then the artifact is not so much missing as not verified.
func (e *SourcesError) Refused() bool {
	return slices.ContainsFunc(e.Attempts, func(a Attempt) bool { return isRefused(a.Err) })
}

// A CacheError says that the cache could not be read or written: not the sources'
// fault, so no further one is tried. A full disk is in it as syscall.ENOSPC, and as
// a [*SpaceError] if that was known before.
type CacheError struct {
	Dir string // the cache's
	Err error
}

func (e *CacheError) Error() string { return fmt.Sprintf("cache %s: %v", e.Dir, e.Err) }
func (e *CacheError) Unwrap() error { return e.Err }

// A SpaceError says that a file does not fit on the disk. It is syscall.ENOSPC.
type SpaceError struct {
	Dir  string // the cache's
	Need int64  // bytes that would have to be written
	Free int64  // bytes that this process may write
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("no space left: %d bytes needed, %d free", e.Need, e.Free)
}
func (e *SpaceError) Unwrap() error { return syscall.ENOSPC }

// An ArtifactError says that an artifact has no place in a cache.
type ArtifactError struct {
	Artifact Artifact
	Field    string // "name", "sha256" or "size"
}

func (e *ArtifactError) Error() string {
	var v any = e.Artifact.Name
	switch e.Field {
	case "sha256":
		v = e.Artifact.SHA256
	case "size":
		v = e.Artifact.Size
	}
	return fmt.Sprintf("artifact with %s %#v", e.Field, v)
}

// A KeyError says that a small file has no place in a cache under that key.
type KeyError struct {
	Key string
}

func (e *KeyError) Error() string { return fmt.Sprintf("small file with key %q", e.Key) }

// A RefusedError says that bytes arrived, and were not what was wanted.
type RefusedError struct {
	Err error // from the request's Check, or a *LengthError, or ErrNotRegular
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused: %v", e.Err) }
func (e *RefusedError) Unwrap() error { return e.Err }

// A LengthError says that a file is longer or shorter than it should be.
type LengthError struct {
	Want int64 // bytes: the artifact's size, or the most that is accepted
	Got  int64 // bytes; when nothing announced them, one more than Want
}

func (e *LengthError) Error() string {
	if e.Got > e.Want {
		return fmt.Sprintf("longer than %d bytes", e.Want)
	}
	return fmt.Sprintf("%d bytes long, want %d", e.Got, e.Want)
}

// A BrokenError says that a transfer ended before the file did.
type BrokenError struct {
	Done  int64 // bytes that had arrived
	Total int64 // bytes that were expected; 0 = unknown
	Err   error
}

func (e *BrokenError) Error() string {
	if e.Total > 0 {
		return fmt.Sprintf("broke off after %d of %d bytes: %v", e.Done, e.Total, e.Err)
	}
	return fmt.Sprintf("broke off after %d bytes: %v", e.Done, e.Err)
}
func (e *BrokenError) Unwrap() error { return e.Err }

// A StatusError is an answer other than 200, or than 206 where that was asked for.
// 404 and 410 are fs.ErrNotExist.
type StatusError struct {
	Code       int
	RetryAfter time.Duration // after which the server wants to be asked again; 0 = it did not say
}

func (e *StatusError) Error() string {
	s := strings.TrimSpace(fmt.Sprintf("status %d %s", e.Code, http.StatusText(e.Code)))
	if e.RetryAfter > maxRetryAfter {
		s += fmt.Sprintf(", asks for a pause of %v", e.RetryAfter.Round(time.Second))
	}
	return s
}

// Is makes an absence one.
func (e *StatusError) Is(target error) bool {
	return target == fs.ErrNotExist && (e.Code == http.StatusNotFound || e.Code == http.StatusGone)
}

// A PageError says that a web page came instead of a file: a login page of the
// network, or an error page with the wrong status.
type PageError struct {
	ContentType string // as the server called it; "" for a file
	Host        string // with port, of a host to which redirects led; "" = the one that was asked
}

func (e *PageError) Error() string {
	if e.Host != "" {
		return "a web page of " + e.Host + " instead of the file"
	}
	return "a web page instead of the file"
}

// A RedirectError refuses to follow a redirect.
type RedirectError struct {
	To     string // like Attempt.URL
	Reason string
}

func (e *RedirectError) Error() string { return fmt.Sprintf("redirect to %s: %s", e.To, e.Reason) }

// An UnreachableError says that a host gave no sign of life: no address, no
// connection, or no answer in time.
type UnreachableError struct {
	Host string // with port
	Err  error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s could not be reached: %v", e.Host, e.Err)
}
func (e *UnreachableError) Unwrap() error { return e.Err }

// isRefused reports whether bytes were refused. What is inside is the caller's, and
// may look like any error of the package: a check may fetch something itself.
func isRefused(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}
