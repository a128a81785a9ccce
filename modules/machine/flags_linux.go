package machine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// dirFlags open a folder for walking; O_PATH needs no right to list it.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

const missingAttribute = unix.ENODATA

// reserve takes the room for a file of size bytes, or says that there is none.
func reserve(f *os.File, size int64) error {
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, size)
}

const chmodFlags = unix.O_PATH

// chmodFD changes the mode of an open O_PATH file, which fchmod refuses: older
// kernels have no other way that cannot be led astray by a link.
func chmodFD(fd int, p place, bits uint32) error {
	if procFD {
		return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), bits)
	}
	return unix.Fchmodat(p.fd, p.name, bits, 0)
}
