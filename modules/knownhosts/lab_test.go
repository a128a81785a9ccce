//go:build lab

package knownhosts

import (
	"testing"

	"github.com/sloth-runner/sloth/modules/exec"
	"github.com/sloth-runner/sloth/modules/internal/standin"
)

// A host that was made known is believed, under a hashed name too, and one that
// was forgotten is not.
func TestLab(t *testing.T) {
	defer standin.Shell(t, "rm -f /root/lab-known")
	standin.Lab(t, `
local key = exec.run("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").stdout
local file = "/root/lab-known"
exec.run("rm -f " .. file)
local function known()
    local ok, r = pcall(exec.run, "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostKeyAlgorithms=ssh-ed25519 -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=" .. file .. " -o PreferredAuthentications=none nobody@127.0.0.1 true 2>&1; true")
    return not string.find(tostring(r.stdout), "Host key verification failed", 1, true)
end
assert(not known())
both(known_hosts.present, { name = "127.0.0.1", key = key, path = file })
assert(known())
both(known_hosts.present, { name = "127.0.0.1", key = key, path = file, hash_host = true })
assert(known() and known_hosts.list({ path = file })[1].hashed)
both(known_hosts.absent, { name = "127.0.0.1", path = file })
assert(not known())
`, Module(), exec.Module())
}
