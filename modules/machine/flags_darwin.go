package machine

import (
	"os"

	"golang.org/x/sys/unix"
)

// dirFlags open a folder for walking.
const dirFlags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC

const missingAttribute = unix.ENOATTR

// reserve has no safe counterpart here.
func reserve(*os.File, int64) error { return nil }

const chmodFlags = unix.O_RDONLY | unix.O_NONBLOCK

func chmodFD(_ int, p place, bits uint32) error {
	return unix.Fchmodat(p.fd, p.name, bits, unix.AT_SYMLINK_NOFOLLOW)
}
