package python

import (
	"archive/zip"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// wheel is a package for pip: one module, and one command that prints its
// name. Both are called like the package.
type wheel struct {
	name string // unique, so that nobody's package is taken for it
	path string
}

// install is pip's arguments: nothing is fetched, resolved, built, compiled
// or remembered.
func (w *wheel) install(more ...string) []string {
	args := []string{"install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--disable-pip-version-check"}
	return append(append(args, more...), w.path)
}

// writeWheel makes the wheel in dir.
func writeWheel(dir string) (w *wheel, err error) {
	name := "pybuild_probe_" + strings.ToLower(rand.Text()[:12])
	w = &wheel{name: name, path: filepath.Join(dir, name+"-1-py3-none-any.whl")}
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()

	z := zip.NewWriter(f)
	info := name + "-1.dist-info/"
	var record strings.Builder
	for _, file := range []struct{ name, text string }{
		{name + ".py", "def main():\n    print(__name__)\n"},
		{info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1\n"},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: pybuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "entry_points.txt", "[console_scripts]\n" + name + " = " + name + ":main\n"},
	} {
		sum := sha256.Sum256([]byte(file.text))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", file.name, base64.RawURLEncoding.EncodeToString(sum[:]), len(file.text))
		if err := add(z, file.name, file.text); err != nil {
			return nil, err
		}
	}
	// A list of digests cannot hold its own.
	fmt.Fprintf(&record, "%sRECORD,,\n", info)
	if err := add(z, info+"RECORD", record.String()); err != nil {
		return nil, err
	}
	return w, z.Close()
}

func add(z *zip.Writer, name, text string) error {
	f, err := z.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text))
	return err
}
