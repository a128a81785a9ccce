//go:build !linux

package worker

import "golang.org/x/sys/unix"

// noExec reports whether programs cannot be started from that folder.
func noExec(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && st.Flags&unix.MNT_NOEXEC != 0
}

// overNetwork is for systems that export home folders without root's rights.
func overNetwork(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Flags&unix.MNT_LOCAL == 0
}
