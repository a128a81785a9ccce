package user

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// busyError says that a user cannot be changed for what it does at the moment.
type busyError struct{ name, processes, advice string }

func (e busyError) Error() string {
	return fmt.Sprintf("user %q is logged in: %s; %s", e.name, e.processes, e.advice)
}

// loggedIn looks for processes of a user, other than this one. userdel and
// usermod would refuse, some after the first half of their work.
func loggedIn(v facts.Viewer, a *account, advice string) error {
	list, err := v.ReadDir("/proc")
	if hostfile.Missing(err) || hostfile.Unsure(v) {
		return nil // a plan may hold the command that ends them
	}
	if err != nil {
		return err
	}
	const most = 5
	var running []string
	for _, st := range list {
		pid, err := strconv.Atoi(st.Name)
		if err != nil || st.UID != a.uid || pid == os.Getpid() {
			continue
		}
		if len(running) == most {
			running = append(running, "…")
			break
		}
		running = append(running, fmt.Sprintf("%s (pid %d)", comm(v, st.Name), pid))
	}
	if running == nil {
		return nil
	}
	return busyError{a.name, "it runs " + strings.Join(running, ", "), advice}
}

// comm is the kernel's name of a process.
func comm(v facts.Viewer, pid string) string {
	f, err := v.Open(path.Join("/proc", pid, "comm"))
	if err != nil {
		return "a process"
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 64)).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" || err != nil && line == "" {
		return "a process"
	}
	return strings.ToValidUTF8(line, "?")
}
