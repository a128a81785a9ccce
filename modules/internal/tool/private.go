package tool

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Private writes text into a file that only this user can read, in memory where
// the system has such a folder: command lines and environments are no place for
// secrets. tidy removes it.
func Private(ctx context.Context, c modules.Call, name, text string) (file string, tidy func(), err error) {
	base := os.TempDir()
	if st, err := c.Machine.Stat("/dev/shm"); err == nil && st.Mode.IsDir() {
		base = "/dev/shm"
	}
	dir := path.Join(base, "sloth-private-"+rand.Text())
	if err := c.Machine.Mkdir(dir, 0o700); err != nil {
		return "", nil, err
	}
	tidy = func() {
		if err := c.Machine.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.Log("warn", "a private file stays behind", map[string]any{"folder": dir, "error": err.Error()})
		}
	}
	mode := fs.FileMode(0o600)
	file = path.Join(dir, name)
	if err := c.Machine.WriteFile(ctx, file, strings.NewReader(text), modules.WriteOptions{Mode: &mode}); err != nil {
		tidy()
		return "", nil, err
	}
	return file, tidy, nil
}
