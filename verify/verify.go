// Package verify turns bytes that came from somewhere into bytes that are
// trusted or refused.
//
// # Threat model
//
// The bytes of a source archive pass through hands that nobody vouches for. The
// package assumes that each of them may be hostile or broken:
//
//   - a mirror that serves another file under the right name;
//   - a network that changes, cuts or replaces what passes through it, or
//     answers with its own login page;
//   - a cache whose disk rots, or in which somebody else has written;
//   - an upload that was replaced, under the same name, after it was recorded.
//
// [SHA256] proves that the file is bit for bit the one whose digest was pinned
// when the recipe was written: none of the four gets past it. [Size] proves
// nothing that the digest does not; it is cheap, is asked first, and its error
// is the clearer one ("half a file") when both would fail.
//
// What they do not prove is that the pinned digest is the right one. That is the
// business of signatures, in the packages below this one, and of the policy, which
// package install has on one page:
//
//   - Size and digest always, and before anything else. A signature alone does not
//     stop a release from being uploaded anew by its own signer (3.14.0a5 was); the
//     pinned digest does.
//   - A signature is verified when upstream made one and it can be had; a wrong one
//     always stops, and so does the want of one where the digest is known from a
//     single source, or from the user alone. "require" needs one of every release,
//     "off" looks at none: then the user vouches.
//
// Held against who may be hostile:
//
//   - A hostile mirror or network can withhold an archive or a signature. It cannot
//     make another one pass, nor an old one: the version was chosen before, here.
//   - Stolen python.org: files and digests may be replaced, the catalogue's cannot.
//     A release that is new to pybuild enters by pybuild update only with a Sigstore
//     bundle of the release manager who is pinned for its series.
//   - A stolen release key or account can sign a malicious release. What is in the
//     catalogue is not affected. A Sigstore signature cannot be made unseen or
//     backdated, because it has to be in a public log; an OpenPGP one can, which is
//     why it is asked second, and why a key that its owner revoked as compromised
//     proves nothing any more, whatever the date.
//   - An old client knows no releases, signers or revocations that came later. It
//     says what it does not know (an unknown series is an error, its signer is not
//     guessed), refreshes the trusted root of Sigstore when it is a week old, and
//     accepts what it accepted before when there is no network to ask.
//   - A hostile recipe is out of scope: whoever can change this program's catalogue
//     can change this program. Files of pybuild update can only add releases, proven,
//     of known series.
//
// A check reads an open file, never a name: what was checked is what was opened,
// and the caller gives it its final name only afterwards.
//
// The package knows nothing of networks, commands or other packages of this
// module.
package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// A Check reads the open file from its start and returns nil when it is good. It
// neither uses nor moves the file's offset, so checks can follow each other in
// any order. An error is a [*MismatchError] when the bytes are not the promised
// ones, and anything else when that could not be found out; both mean refused.
type Check func(f *os.File) error

// ErrNoCheck refuses a file about which nothing was asked.
var ErrNoCheck = errors.New("nothing to check against")

// A MismatchError says that a file is not what was promised.
type MismatchError struct {
	Name string // base name of the file that was read
	What string // "size" (in bytes, decimal) or "sha256" (lower-case hexadecimal)
	Want string
	Got  string
}

func (e *MismatchError) Error() string {
	return fmt.Sprintf("%s is %s, want %s", e.What, e.Got, e.Want)
}

// A DigestError says that what should be a digest is not one, so that nothing can
// match it.
type DigestError struct {
	Digest string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%q is not a SHA-256 digest in hexadecimal", e.Digest)
}

// Size accepts files of exactly so many bytes. Size(0) accepts only the empty
// file: a caller that does not know the size leaves the check out.
func Size(bytes int64) Check {
	return func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Size() != bytes {
			return mismatch(f, "size", strconv.FormatInt(bytes, 10), strconv.FormatInt(info.Size(), 10))
		}
		return nil
	}
}

// SHA256 accepts files with this digest, 64 hexadecimal digits in either case.
// Anything else as a digest accepts nothing: the check returns a [*DigestError].
func SHA256(digest string) Check {
	return func(f *os.File) error {
		want := strings.ToLower(digest)
		if raw, err := hex.DecodeString(want); err != nil || len(raw) != sha256.Size {
			return &DigestError{Digest: digest}
		}
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, math.MaxInt64)); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			return mismatch(f, "sha256", want, got)
		}
		return nil
	}
}

// All accepts what every check accepts, and returns the error of the first that
// does not. No check at all, or a nil one, is [ErrNoCheck]: a list that was left
// empty by mistake must not let everything through.
func All(checks ...Check) Check {
	return func(f *os.File) error {
		if len(checks) == 0 {
			return ErrNoCheck
		}
		for _, check := range checks {
			if check == nil {
				return ErrNoCheck
			}
			if err := check(f); err != nil {
				return err
			}
		}
		return nil
	}
}

func mismatch(f *os.File, what, want, got string) error {
	return &MismatchError{Name: filepath.Base(f.Name()), What: what, Want: want, Got: got}
}
