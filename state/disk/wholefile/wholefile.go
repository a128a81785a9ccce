// Package wholefile writes files of the controller's own that are whole or not
// there, whatever happens meanwhile. It is a leaf: every room may use it.
package wholefile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// Write puts data at path, for the owner's eyes only (0600). It is on the disk
// when it returns; after an error what was at path is still there.
func Write(path string, data []byte) error {
	return Make(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// Make is Write for what fn writes.
func Make(path string, fn func(io.Writer) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // 0600, whatever the umask
	if err != nil {
		return err
	}
	err = fn(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
