//go:build linux || darwin

package facts

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
)

// trusted refuses a program that somebody else than root or we could have put
// there.
func trusted(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	if sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is not run: it belongs to user %d", path, sys.Uid)
	}
	if st.Mode()&0o002 != 0 {
		return fmt.Errorf("%s is not run: everybody may write to it", path)
	}
	return nil
}

func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
