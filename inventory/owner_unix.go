//go:build unix

package inventory

import (
	"io/fs"
	"syscall"
)

// owner gives the id of the user a file belongs to.
func owner(i fs.FileInfo) (uid int, known bool) {
	st, ok := i.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}
