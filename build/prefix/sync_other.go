//go:build !linux

package prefix

import "os"

// syncAll makes sure that these files and directories are on disk.
func syncAll(root *os.Root, names func() []string) error {
	for _, name := range names() {
		if err := syncFile(root, name); err != nil && !absent(err) {
			return err
		}
	}
	return nil
}

func writable(root *os.Root) error { return writableByName(root) }
