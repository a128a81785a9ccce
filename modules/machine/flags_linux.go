package machine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// dirFlags open a folder for walking; O_PATH needs no right to list it.
const dirFlags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC

const missingAttribute = unix.ENODATA

const chmodFlags = unix.O_PATH

// chmodFD changes the mode of an open O_PATH file, which fchmod refuses: older
// kernels have no other way that cannot be led astray by a link.
func chmodFD(fd int, p place, bits uint32) error {
	if procFD {
		return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), bits)
	}
	return unix.Fchmodat(p.fd, p.name, bits, 0)
}
