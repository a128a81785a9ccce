package machine

import "golang.org/x/sys/unix"

// mountOf names the mount that path is on.
func mountOf(path string) string {
	var st unix.Statfs_t
	if unix.Statfs(existing(path), &st) != nil {
		return path
	}
	return unix.ByteSliceToString(st.Mntonname[:])
}
