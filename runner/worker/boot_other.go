//go:build !linux

package worker

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// bootID is the second of the boot: the system has no better name for it.
func bootID() string {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return ""
	}
	return strconv.FormatInt(tv.Sec, 10)
}
