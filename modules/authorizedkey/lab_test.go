//go:build lab

package authorizedkey

import (
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/internal/standin"
	"github.com/sloth-runner/sloth/modules/user"
)

// A key that was let in logs in, and with a command in its options runs that.
func TestLab(t *testing.T) {
	standin.Shell(t, `userdel -rf lab-key 2>/dev/null; rm -f /root/lab-key /root/lab-key.pub; ssh-keygen -q -t ed25519 -N '' -C lab -f /root/lab-key`)
	defer standin.Shell(t, `userdel -rf lab-key 2>/dev/null; rm -f /root/lab-key /root/lab-key.pub`)
	key := strings.TrimSpace(standin.Shell(t, "cat /root/lab-key.pub"))
	standin.Lab(t, `
local key = "`+key+`"
once(user.create({ name = "lab-key", shell = "/bin/sh" }))
local function login(words) return exec.run("ssh -i /root/lab-key -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null lab-key@127.0.0.1 '" .. words .. "'") end
both(authorized_key.present, { user = "lab-key", key = key })
assert(login("id -un").stdout == "lab-key\n", "no login")
both(authorized_key.present, { user = "lab-key", key = key, options = 'command="echo forced",no-pty' })
assert(login("id -un").stdout == "forced\n", "the command was not forced")
assert(authorized_key.list("lab-key")[1].comment == "lab")
exec.run("chmod g+w /home/lab-key/.ssh/authorized_keys")
both(authorized_key.present, { user = "lab-key", key = key })
both(authorized_key.absent, { user = "lab-key", key = key })
assert(#authorized_key.list("lab-key") == 0)
exec.run("rm /home/lab-key/.ssh/authorized_keys; ln -s /etc/shadow /home/lab-key/.ssh/authorized_keys; chown -h lab-key /home/lab-key/.ssh/authorized_keys")
raises("belongs to lab-key, and is not followed", authorized_key.present, { user = "lab-key", key = key })
`, Module(), user.Module(), exec.Module())
}
