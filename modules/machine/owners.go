//go:build linux || darwin

package machine

import (
	"bytes"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"time"
)

// owners remembers the names of users and groups for as long as /etc/passwd and
// /etc/group stay as they are.
type owners struct {
	mu     sync.Mutex
	users  cache
	groups cache
}

type cache struct {
	file  string
	mtime time.Time
	size  int64
	names map[int]string
}

func newOwners() *owners {
	return &owners{users: cache{file: "/etc/passwd"}, groups: cache{file: "/etc/group"}}
}

func (o *owners) user(uid int) string {
	return o.name(&o.users, uid, "passwd", func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (o *owners) group(gid int) string {
	return o.name(&o.groups, gid, "group", func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (o *owners) name(c *cache, id int, database string, look func(string) (string, error)) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if st, err := os.Stat(c.file); err == nil && (c.names == nil || !st.ModTime().Equal(c.mtime) || st.Size() != c.size) {
		c.names, c.mtime, c.size = map[int]string{}, st.ModTime(), st.Size()
	}
	if c.names == nil {
		c.names = map[int]string{}
	}
	if name, ok := c.names[id]; ok {
		return name
	}
	text := strconv.Itoa(id)
	name, err := look(text)
	if err != nil {
		name = getent(database, text)
	}
	c.names[id] = name
	return name
}

// getent asks the system's name services (LDAP, NIS), which Go without cgo
// does not. The number stands where there is no name.
func getent(database, id string) string {
	cmd := exec.Command("getent", database, id)
	var out bytes.Buffer
	cmd.Stdout = &out
	if cmd.Start() != nil {
		return id
	}
	deadline := time.AfterFunc(2*time.Second, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	deadline.Stop()
	if name, _, ok := strings.Cut(out.String(), ":"); err == nil && ok && name != "" {
		return name
	}
	return id
}
