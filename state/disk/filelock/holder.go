package filelock

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Holder is who has a lock, as that process wrote into the file.
type Holder struct {
	PID  int    // 0: unknown
	What string // what it does, as it says itself: "apply site.sloth"
}

// String is the holder for people: "sloth pid 12 (apply site.sloth)".
func (h Holder) String() string {
	who := "another process"
	if h.PID > 0 {
		who = fmt.Sprintf("sloth pid %d", h.PID)
	}
	if h.What != "" {
		who += " (" + h.What + ")"
	}
	return who
}

// Sign writes into the locked file f who holds it, for those who wait: the
// number of this process on a line, and what it does, where that is known, on
// the next.
func Sign(f *os.File, what string) error {
	text := strconv.Itoa(os.Getpid()) + "\n"
	if what != "" {
		text += strings.ReplaceAll(what, "\n", " ") + "\n"
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// HolderOf reads what Sign wrote into the file at path. It may be gone or half
// there: what is not whole is unknown.
func HolderOf(path string) Holder {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return Holder{}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return Holder{}
	}
	first, rest, whole := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if !whole || err != nil || pid <= 0 {
		return Holder{}
	}
	h := Holder{PID: pid}
	if what, _, whole := strings.Cut(rest, "\n"); whole {
		h.What = what
	}
	return h
}
