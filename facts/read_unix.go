//go:build linux || darwin

package facts

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readCapped reads at most limit bytes of a regular file. A FIFO or device in
// its place is refused without waiting for it.
func readCapped(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("read %s: it is no regular file", name)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
