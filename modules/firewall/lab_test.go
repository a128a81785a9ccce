//go:build lab

package firewall

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

// both are the rules that every firewall is put through; SSH stays open.
const calls = `
raises("this would shut out SSH", firewall.enable, { backend = b })
both(firewall.allow, { port = 22, backend = b, comment = "ssh" })
both(firewall.allow, { port = "80,443", from = "10.0.0.0/8", backend = b, comment = "the web" })
both(firewall.reject, { port = 25, direction = "out", backend = b })
both(firewall.deny, { from = "192.0.2.0/24", interface = "eth0", backend = b })
both(firewall.allow, { port = "8000-8010", proto = "udp", backend = b })
both(firewall.allow, { from = "2001:db8::/32", service = "dns", backend = b })
both(firewall.enable, { backend = b })
assert(firewall.status().backend == b and firewall.status().enabled)
both(firewall.remove, { port = "8000-8010", proto = "udp" })
both(firewall.deny, { port = "80,443", from = "10.0.0.0/8" })
both(firewall.default, { incoming = "reject" })
both(firewall.default, { incoming = "deny" })
raises("this would shut out SSH", firewall.remove, { port = 22 })
raises("this would shut out SSH", firewall.deny, { port = 22 })
assert(#firewall.list() == 6, #firewall.list())
`

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("there is no %s on this host", program)
	}
}

func TestLabNFT(t *testing.T) {
	need(t, "nft")
	standin.Shell(t, "nft delete table inet sloth 2>/dev/null; rm -rf /etc/nftables.d; ! command -v ufw >/dev/null || ufw disable")
	standin.Lab(t, `local b = "nft"`+calls, Module())
	if got := standin.Shell(t, "nft list table inet sloth"); !strings.Contains(got, `ip saddr 10.0.0.0/8 tcp dport { 80, 443 } drop`) {
		t.Errorf("in force is\n%s", got)
	}
	// At the next start the same is loaded.
	standin.Shell(t, "nft flush ruleset; systemctl is-enabled nftables; nft -f /etc/nftables.conf; nft list table inet sloth")
	standin.Lab(t, `rest(firewall.enable({ backend = "nft" })) `, Module())
	standin.Shell(t, `nft add rule inet sloth input tcp dport 23 accept`)
	standin.Lab(t, `both(firewall.enable, { backend = "nft" }) both(firewall.disable)`, Module())
	standin.Shell(t, "! nft list table inet sloth 2>/dev/null")
}

func TestLabUFW(t *testing.T) {
	need(t, "ufw")
	standin.Shell(t, "ufw --force reset >/dev/null; nft delete table inet sloth 2>/dev/null; rm -rf /etc/nftables.d")
	standin.Lab(t, `local b = "ufw"`+calls, Module())
	if got := standin.Shell(t, "ufw status"); !strings.Contains(got, "80,443/tcp") || !strings.Contains(got, "Status: active") {
		t.Errorf("in force is\n%s", got)
	}
	standin.Lab(t, `both(firewall.disable)`, Module())
	standin.Shell(t, "ufw status | grep inactive; ufw --force reset")
}
