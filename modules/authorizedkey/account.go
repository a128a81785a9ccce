package authorizedkey

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// account is whom the keys let in.
type account struct {
	name, home string
	uid, gid   int
}

const maxPasswd = 16 << 20

// find looks the user up: in the plan, in the host's file, in directory
// services. Nobody of that name is nil.
func find(ctx context.Context, v facts.Viewer, name string) (*account, error) {
	if planned, ok := modules.Noted(v, "user:"+name); ok {
		a := parse(planned, name)
		if a != nil && a.uid < 0 {
			a.uid, a.gid = hostfile.PlannedID, hostfile.PlannedID
		}
		return a, nil
	}
	f, err := v.Open("/etc/passwd")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, maxPasswd))
	for lines.Scan() {
		if a := parse(lines.Text(), name); a != nil {
			return a, nil
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read /etc/passwd: %w", err)
	}
	if _, err := v.LookPath("getent"); err != nil {
		return nil, nil
	}
	answer, err := v.Query(ctx, "getent", "passwd", name)
	if err != nil {
		return nil, err
	}
	return parse(strings.TrimSpace(string(answer.Stdout)), name), nil
}

func parse(line, name string) *account {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] != name {
		return nil
	}
	uid, err := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err != nil || err2 != nil {
		return nil
	}
	return &account{name: name, uid: uid, gid: gid, home: f[5]}
}

// checkName refuses what can be no name, before a program is asked about it.
func checkName(name string) error {
	if name == "" || name[0] == '-' || len(name) > 256 || strings.ContainsAny(name, ":/\n\x00 ,") {
		return fmt.Errorf("user = %q is no name of a user", name)
	}
	return nil
}

// keysFile is where sshd looks by default.
func (a account) keysFile() (string, error) {
	if !filepath.IsAbs(a.home) {
		return "", fmt.Errorf("%s has no home folder (%q); say the file with path", a.name, a.home)
	}
	return filepath.Join(a.home, ".ssh", "authorized_keys"), nil
}
