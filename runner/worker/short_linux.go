package worker

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// shortPath gives a name of dir that fits into the address of a socket, however
// deep dir lies. It is good until done is called.
func shortPath(dir string) (short string, done func(), err error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), func() { unix.Close(fd) }, nil
}
