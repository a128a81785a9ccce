package firewall

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// state is a firewall: as it is, or as it should be.
type state struct {
	Enabled  bool   `json:"enabled"`
	Incoming string `json:"incoming"` // allow, deny, reject
	Outgoing string `json:"outgoing"`
	Rules    []Rule `json:"rules"`
	// Adrift says that what is in force differs from what is written down.
	Adrift bool `json:"adrift,omitempty"`
}

func (s state) clone() state {
	s.Rules = slices.Clone(s.Rules)
	return s
}

// door is how this host is reached: the ports of sshd and, where it is known,
// who is connected.
type door struct {
	ports  []int
	client netip.Addr
	server netip.Addr
}

// doorOf asks the connection that this process was started through, and without
// one the configuration of sshd.
func doorOf(v facts.Viewer) door {
	var d door
	if f := strings.Fields(os.Getenv("SSH_CONNECTION")); len(f) == 4 {
		client, err := netip.ParseAddr(f[0])
		server, err2 := netip.ParseAddr(f[2])
		if n, err3 := port(f[3]); err == nil && err2 == nil && err3 == nil {
			return door{ports: []int{n}, client: client.Unmap().WithZone(""), server: server.Unmap().WithZone("")}
		}
	}
	files := []string{"/etc/ssh/sshd_config"}
	if more, err := v.ReadDir("/etc/ssh/sshd_config.d"); err == nil {
		for _, f := range more {
			if filepath.Ext(f.Name) == ".conf" {
				files = append(files, f.Path)
			}
		}
	}
	for _, path := range files {
		f, err := v.Open(path)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(io.LimitReader(f, 1<<20)); lines.Scan(); {
			words := strings.Fields(strings.ReplaceAll(lines.Text(), "=", " "))
			if len(words) == 2 && strings.EqualFold(words[0], "port") {
				if n, err := port(words[1]); err == nil {
					d.ports = append(d.ports, n)
				}
			}
		}
		f.Close()
	}
	if d.ports == nil {
		d.ports = []int{22}
	}
	return d
}

// open reports whether a new connection over SSH would get through: the first
// rule that speaks of it decides.
func (s state) open(d door) bool {
	if !s.Enabled {
		return true
	}
	return slices.ContainsFunc(d.ports, func(n int) bool {
		for _, r := range s.Rules {
			if r.Direction != in || r.Proto != anyProto && r.Proto != tcp || !hasPort(r.Port, n) {
				continue
			}
			passes := r.Action == allow || r.Action == limit
			if d.client.IsValid() {
				if !covers(r.From, d.client) || !covers(r.To, d.server) {
					continue
				}
			} else if !passes && r.From+r.To != "" {
				continue // it may be somebody else whom it speaks of
			}
			if r.Interface != "" && !passes {
				continue
			}
			return passes
		}
		return s.Incoming == allow
	})
}

// guard refuses what would shut the door that was open.
func guard(v facts.Viewer, before, after state) error {
	d := doorOf(v)
	if after.open(d) || !before.open(d) {
		return nil
	}
	var list []string
	for _, n := range d.ports {
		list = append(list, strconv.Itoa(n))
	}
	who := ""
	if d.client.IsValid() {
		who = " from " + d.client.String()
	}
	return fmt.Errorf("this would shut out SSH: no rule lets tcp port %s in%s; first firewall.allow({ port = %s }), or say force = true", strings.Join(list, " or "), who, list[0])
}

// service turns a name into ports. Services of more than one protocol give several rules.
func service(v facts.Viewer, name string) ([][2]string, error) {
	if known := serviceIn(services, strings.ToLower(name)); known != nil {
		return known, nil
	}
	data, err := hostfile.Read(v, "/etc/services")
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	out := serviceIn(string(data), name)
	if out == nil {
		return nil, fmt.Errorf("service = %q is known neither here nor in /etc/services of the host; say port and proto", name)
	}
	return out, nil
}

// serviceIn reads "ssh 22/tcp alias # comment" lines.
func serviceIn(text, name string) [][2]string {
	var out [][2]string
	for line := range strings.Lines(text) {
		line, _, _ := strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != name && !slices.Contains(f[2:], name) {
			continue
		}
		if n, proto, ok := strings.Cut(f[1], "/"); ok && (proto == tcp || proto == udp) {
			out = append(out, [2]string{proto, n})
		}
	}
	return out
}

// services are those that people name, in the form of /etc/services, which a bare
// host does not have.
const services = `
ssh 22/tcp
http 80/tcp
https 443/tcp
dns 53/tcp
dns 53/udp
ntp 123/udp
smtp 25/tcp
smtps 465/tcp
submission 587/tcp
imap 143/tcp
imaps 993/tcp
ldap 389/tcp
ldaps 636/tcp
mysql 3306/tcp
postgresql 5432/tcp
redis 6379/tcp
mongodb 27017/tcp
rsync 873/tcp
nfs 2049/tcp
snmp 161/udp
syslog 514/udp
prometheus 9090/tcp
node-exporter 9100/tcp
wireguard 51820/udp
openvpn 1194/udp
`
