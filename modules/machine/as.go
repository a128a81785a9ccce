//go:build linux || darwin

package machine

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is who a program runs as: that user's groups and the environment a
// login would set, nothing for the process's own user.
type account struct {
	attr *syscall.SysProcAttr
	env  []string
}

// become looks a user up. Only root can become somebody else.
func (m *machine) become(name string) (account, error) {
	a := account{attr: &syscall.SysProcAttr{Setpgid: true}}
	if name == "" {
		return a, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return a, fmt.Errorf("as %s: there is no such user", name)
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return a, fmt.Errorf("as %s: user id %q: %w", name, u.Uid, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return a, fmt.Errorf("as %s: group id %q: %w", name, u.Gid, err)
	}
	if int(uid) == m.euid {
		return a, nil
	}
	if m.euid != 0 {
		return a, fmt.Errorf("as %s: only root can run a program as another user; let the task become one", name)
	}
	cred := &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	ids, err := u.GroupIds()
	if err != nil {
		return a, fmt.Errorf("as %s: its groups: %w", name, err)
	}
	for _, id := range ids {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil {
			cred.Groups = append(cred.Groups, uint32(n))
		}
	}
	a.attr.Credential = cred
	a.env = []string{"HOME=" + u.HomeDir, "USER=" + u.Username, "LOGNAME=" + u.Username}
	return a, nil
}

// environment is the process's own with what the user and the caller add.
func (a account) environment(more []string) []string {
	if len(a.env) == 0 && len(more) == 0 {
		return nil
	}
	return append(append(os.Environ(), a.env...), more...)
}
