//go:build linux

package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRealSignature verifies upstream's own archive of 3.13.5 by its own Sigstore bundle and its own OpenPGP signature, and then
// with one bit of each thing that matters changed. The signatures are test data that does not belong to the project.
func TestRealSignature(t *testing.T) {
	if *realVersions == "" {
		t.Skip("fetches a real archive; ask for it with -real 3.13.5")
	}
	data, err := filepath.Abs("../../../shared/data")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		t.Skip("the real bundles and keys are not beside this checkout")
	}
	const version, name = "3.13.5", "3.13.5/Python-3.13.5.tar.xz"
	program, cache := program(t), cacheFor(t)
	fetched := pybuild(t, "fetched", program, cache, "fetch", version, "--signature", "auto")
	files := map[string]string{ // what the case works with, and where it comes from
		"archive":      fetched.Path,
		"bundle":       filepath.Join(data, "sigstore/bundles/Python-3.13.5.tar.xz.sigstore"),
		"signature":    filepath.Join(data, "pgp/Python-3.13.5.tar.xz.asc"),
		"key":          filepath.Join(data, "pgp/keys/debian-python3.13-upstream-signing-key.asc"),
		"look-alikes":  filepath.Join(data, "pgp/keys/evil32-lookalikes.asc"),
		"root":         filepath.Join(data, "sigstore/trusted_root.json"),
		"other-bundle": filepath.Join(data, "sigstore/bundles/Python-3.13.4.tar.xz.sigstore"),
		"tgz-bundle":   filepath.Join(data, "sigstore/bundles/Python-3.13.5.tgz.sigstore"),
	}
	for _, test := range []struct {
		name  string
		use   string // which signature lies beside the archive, and what it is checked with
		flip  string // of which file one bit is changed
		after string // behind which text
		want  string // who signed, or the error
	}{
		{"sigstore", "bundle", "", "", "thomas@python.org"},
		{"sigstore, root of one's own", "bundle root", "", "", "thomas@python.org"},
		{"openpgp", "signature key", "", "", "7169605F62C751356D054A26A821E680E5FA6305"},
		{"archive changed", "bundle", "archive", "", "refused: sha256 is "},
		{"bundle changed", "bundle", "bundle", `"signature"`, "refused: signature is wrong"},
		{"root changed", "bundle root", "root", `"rawBytes": "`, "trusted root"},
		{"signature changed", "signature key", "signature", "\n\niQ", "signature"},
		{"key changed", "signature key", "key", "\n\nmQ", "key"},
		{"look-alikes", "signature look-alikes", "", "", "no key in the keyring has the fingerprint 7169605F62C751356D054A26A821E680E5FA6305"},
		{"bundle of another release", "other-bundle", "", "", "another file"},
		{"bundle of the .tgz", "tgz-bundle", "", "", "another file"},
		{"no signature", "", "", "", "needs a good signature (--signature require)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			cache, mirror := filepath.Join(dir, "cache"), filepath.Join(dir, "mirror")
			args := []string{"fetch", version, "--offline", "--signature", "require", "--mirror", "file://" + mirror, "--json"}
			place := func(file, target string) {
				content, err := os.ReadFile(files[file])
				if err != nil {
					t.Fatal(err)
				}
				if file == test.flip {
					i := bytes.Index(content, []byte(test.after)) + len(test.after) + 40
					if test.after == "" {
						i = len(content) / 2
					}
					content = bytes.Clone(content)
					content[i] = changed(content[i])
				}
				if err := errors.Join(os.MkdirAll(filepath.Dir(target), 0o755), os.WriteFile(target, content, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			place("archive", filepath.Join(mirror, name))
			for _, file := range strings.Fields(test.use) {
				switch file {
				case "bundle", "other-bundle", "tgz-bundle":
					place(file, filepath.Join(mirror, name+".sigstore"))
				case "signature":
					place(file, filepath.Join(mirror, name+".asc"))
				case "key", "look-alikes":
					place(file, filepath.Join(dir, "keyring"))
					args = append(args, "--keyring", filepath.Join(dir, "keyring"))
				case "root":
					place(file, filepath.Join(dir, "root"))
					args = append(args, "--trusted-root", filepath.Join(dir, "root"))
				}
			}
			cmd := exec.CommandContext(t.Context(), program, args...)
			cmd.Env = append([]string{"PYBUILD_PROFILE=quick"}, append(os.Environ(), "PYBUILD_CACHE="+cache)...) // unless the caller has another
			out, err := cmd.CombinedOutput()
			status := 4
			if test.flip == "" && !strings.Contains(test.want, " ") {
				status = 0
			}
			if code := cmd.ProcessState.ExitCode(); code != status || !strings.Contains(string(out), test.want) {
				t.Errorf("status %d, want %d and %q (%v)\n%s", code, status, test.want, err, out)
			}
			t.Logf("%s", lastLine(out))
			kept, err := filepath.Glob(filepath.Join(cache, "small", "*", "*"))
			if err != nil || status != 0 && len(kept) > 0 {
				t.Errorf("kept %v, %v", kept, err)
			}
		})
	}
}

// changed is another octet of the same kind, so that what is changed is the content and not the encoding of it.
func changed(octet byte) byte {
	if octet == 'A' {
		return 'B'
	}
	if octet >= 'a' && octet <= 'z' || octet >= 'A' && octet <= 'Z' || octet >= '0' && octet <= '9' || octet == '+' || octet == '/' {
		return 'A'
	}
	return octet ^ 1
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
