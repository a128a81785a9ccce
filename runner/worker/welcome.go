package worker

import (
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/sloth-runner/sloth/connection/wire"
)

// welcome says who and where this worker is.
func welcome() wire.Welcome {
	w := wire.Welcome{
		Version: wire.Version, PID: os.Getpid(), UID: os.Getuid(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		BootID: bootID(), MachineID: line("/etc/machine-id"),
	}
	if u, err := user.Current(); err == nil {
		w.User, w.Home = u.Username, u.HomeDir
	}
	if home := os.Getenv("HOME"); home != "" {
		w.Home = home
	}
	if self, err := os.Executable(); err == nil {
		w.Shim = filepath.Base(self)
	}
	return w
}

// line reads a file of one line; what is not there is empty.
func line(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) > 200 {
		return ""
	}
	return strings.TrimSpace(string(b))
}
