package verify

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	abc      = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	abcd     = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"
	emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func TestChecks(t *testing.T) {
	tests := []struct {
		name    string
		content string
		check   Check
		want    string // "" = good
	}{
		{"size", "abc", Size(3), ""},
		{"size, one more", "abcd", Size(3), "size is 4, want 3"},
		{"size, one less", "ab", Size(3), "size is 2, want 3"},
		{"size of nothing", "", Size(0), ""},
		{"size nothing, but something there", "a", Size(0), "size is 1, want 0"},
		{"sha256", "abc", SHA256(abc), ""},
		{"sha256, other bytes", "abcd", SHA256(abc), "sha256 is " + abcd + ", want " + abc},
		{"sha256, upper case", "abc", SHA256(strings.ToUpper(abc)), ""},
		{"sha256, empty file", "", SHA256(emptySum), ""},
		{"sha256, no digest", "", SHA256(""), `"" is not a SHA-256 digest in hexadecimal`},
		{"sha256, a digit short", "abc", SHA256(abc[1:]), `"` + abc[1:] + `" is not a SHA-256 digest in hexadecimal`},
		{"sha256, two digits long", "abc", SHA256(abc + "00"), `"` + abc + `00" is not a SHA-256 digest in hexadecimal`},
		{"sha256, not hexadecimal", "abc", SHA256("x" + abc[1:]), `"x` + abc[1:] + `" is not a SHA-256 digest in hexadecimal`},
		{"all", "abc", All(Size(3), SHA256(abc)), ""},
		{"all, first refuses", "abcd", All(Size(3), SHA256(abc)), "size is 4, want 3"},
		{"all, second refuses", "abcd", All(Size(4), SHA256(abc)), "sha256 is " + abcd + ", want " + abc},
		{"all of nothing", "abc", All(), "nothing to check against"},
		{"all with a nil", "abc", All(Size(3), nil), "nothing to check against"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := open(t, tt.content)
			if got := message(tt.check(f)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMismatchFields(t *testing.T) {
	err := SHA256(abc)(open(t, "abcd"))
	var m *MismatchError
	if !errors.As(err, &m) {
		t.Fatalf("got %v, want a *MismatchError", err)
	}
	if want := (MismatchError{Name: "a.tar", What: "sha256", Want: abc, Got: abcd}); *m != want {
		t.Errorf("got %+v, want %+v", *m, want)
	}
}

// The offset is wherever a download left it; a check neither minds nor moves it.
func TestChecksReadFromTheStart(t *testing.T) {
	f := open(t, "abc")
	if _, err := f.Seek(2, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := All(Size(3), SHA256(abc), SHA256(abc))(f); err != nil {
		t.Error(err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 2 || err != nil {
		t.Errorf("offset is %d, %v, want 2", at, err)
	}
}

func TestClosedFileIsRefused(t *testing.T) {
	f := open(t, "abc")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, check := range map[string]Check{"size": Size(3), "sha256": SHA256(abc)} {
		if err := check(f); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("%s: got %v, want %v", name, err, fs.ErrClosed)
		}
	}
}

// What SHA256 takes for a digest is what it can match; nothing else gets by.
func FuzzSHA256(f *testing.F) {
	f.Add("")
	f.Add(abc)
	f.Add(strings.ToUpper(abc))
	f.Add(abc + "\n")
	f.Fuzz(func(t *testing.T, digest string) {
		err := SHA256(digest)(open(t, "abc"))
		var bad *DigestError
		var other *MismatchError
		switch {
		case err == nil:
			if !strings.EqualFold(digest, abc) {
				t.Errorf("%q was accepted", digest)
			}
		case errors.As(err, &bad):
			if bad.Digest != digest {
				t.Errorf("got %q, want %q", bad.Digest, digest)
			}
		case errors.As(err, &other):
			if len(digest) != 64 || other.Want != strings.ToLower(digest) {
				t.Errorf("%q was compared as %q", digest, other.Want)
			}
		default:
			t.Error(err)
		}
	})
}

func open(t *testing.T, content string) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "a.tar")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
