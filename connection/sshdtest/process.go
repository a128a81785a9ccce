package sshdtest

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sessions lists the sshd processes that serve connections: descendants of the
// listener that are sshd themselves.
func (s *Server) sessions() []int {
	var out []int
	for _, p := range descendants(s.Pid()) {
		if exe, err := os.Readlink("/proc/" + strconv.Itoa(p) + "/exe"); err == nil && strings.HasPrefix(filepath.Base(exe), "sshd") {
			out = append(out, p)
		}
	}
	return out
}

// killAll ends the listener, its descendants, and processes that left the tree
// (daemons) but still carry the server's mark in their environment.
func (s *Server) killAll() {
	pid := s.Pid()
	// A stopped listener accepts nobody while its children are ended.
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		rest := append(descendants(pid), marked(s.mark())...)
		n := 0
		for _, p := range rest {
			if p != pid && p != os.Getpid() && alive(p) {
				n++
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
		}
		if n == 0 {
			break
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// alive is false for a zombie: whoever is its parent has yet to look.
func alive(pid int) bool {
	f := statFields(pid)
	return len(f) > 0 && f[0] != "Z"
}

func descendants(root int) []int {
	children := map[int][]int{}
	for _, p := range processes() {
		if f := statFields(p); len(f) > 1 {
			if parent, err := strconv.Atoi(f[1]); err == nil {
				children[parent] = append(children[parent], p)
			}
		}
	}
	out := append([]int(nil), children[root]...)
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

func marked(mark string) []int {
	var out []int
	for _, p := range processes() {
		env, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/environ")
		if err != nil {
			continue
		}
		for _, e := range bytes.Split(env, []byte{0}) {
			if string(e) == mark {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if p, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// statFields returns /proc/PID/stat from the state on; the name before it may
// hold spaces and brackets.
func statFields(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return nil
	}
	return strings.Fields(string(b[i+1:]))
}

// endProcessesOf kills what runs as the named user and waits until it is gone.
func endProcessesOf(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return nil // never came to be
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		n := 0
		for _, p := range processes() {
			st, err := os.Stat("/proc/" + strconv.Itoa(p))
			if err != nil {
				continue
			}
			if sys, ok := st.Sys().(*syscall.Stat_t); ok && strconv.Itoa(int(sys.Uid)) == u.Uid && alive(p) {
				n++
				_ = syscall.Kill(p, syscall.SIGKILL)
			}
		}
		if n == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes outlive SIGKILL", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
