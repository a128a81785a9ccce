package front

import (
	"os"
	"strconv"
	"syscall"
)

// Socket is the name, in a run's folder, of the socket on which its worker takes
// further links.
const Socket = "socket"

// Lasting is how many of Roots outlive a reboot.
const Lasting = 2

// Roots are the folders that may hold this user's runs, the best first.
func Roots() []string {
	uid := strconv.Itoa(os.Getuid())
	roots := []string{"", "/var/tmp/sloth-" + uid, "/run/user/" + uid + "/sloth", "/dev/shm/sloth-" + uid}
	if home := os.Getenv("HOME"); home != "" && home != "/" {
		roots[0] = home + "/.local/state/sloth"
	} else {
		roots[0] = roots[1]
	}
	return roots
}

// Ours reports whether dir is a folder, and no link, that belongs to this user
// and is closed to others.
func Ours(dir string) bool {
	var st syscall.Stat_t
	if err := syscall.Lstat(dir, &st); err != nil {
		return false
	}
	return st.Mode&syscall.S_IFMT == syscall.S_IFDIR && int(st.Uid) == os.Getuid() && st.Mode&0o77 == 0
}

// FindRun gives the folder of a run, or nothing.
func FindRun(id string) string {
	if id == "" || id[0] == '.' {
		return ""
	}
	for i := range len(id) {
		if id[i] == '/' {
			return ""
		}
	}
	for _, root := range Roots() {
		if dir := root + "/runs/" + id; Ours(root) && Ours(root+"/runs") && Ours(dir) {
			return dir
		}
	}
	return ""
}

// attach hands the streams to the worker of a run that lives already, and waits
// until it lets go of them. Where there is none it says so.
func attach(id string) int {
	dir := FindRun(id)
	if dir == "" {
		return tell("NORUN none")
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return tell("NORUN " + err.Error())
	}
	syscall.CloseOnExec(fd)
	// The name may be too long for an address.
	if err := os.Chdir(dir); err != nil {
		return tell("NORUN " + err.Error())
	}
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: Socket}); err != nil {
		return tell("NORUN gone")
	}
	if err := syscall.Sendmsg(fd, []byte{0}, syscall.UnixRights(0, 1), nil, 0); err != nil {
		return tell("NORUN gone")
	}
	if err := firstError(syscall.Close(0), syscall.Close(1)); err != nil {
		return 1
	}
	var b [1]byte
	for {
		n, err := syscall.Read(fd, b[:])
		if err == syscall.EINTR {
			continue
		}
		if n <= 0 {
			return 0
		}
	}
}

func tell(word string) int {
	os.Stdout.WriteString("\nSLOTH/1 " + word + "\n")
	return 0
}
