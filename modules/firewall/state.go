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
	if known, ok := services[strings.ToLower(name)]; ok {
		return known, nil
	}
	data, err := hostfile.Read(v, "/etc/services")
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	var out [][2]string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 || !slices.Contains(append([]string{f[0]}, f[2:]...), name) {
			continue
		}
		if n, proto, ok := strings.Cut(f[1], "/"); ok && (proto == tcp || proto == udp) {
			out = append(out, [2]string{proto, n})
		}
	}
	if out == nil {
		return nil, fmt.Errorf("service = %q is known neither here nor in /etc/services of the host; say port and proto", name)
	}
	return out, nil
}

// services are those that people name; a bare host has no /etc/services.
var services = map[string][][2]string{
	"ssh": {{tcp, "22"}}, "http": {{tcp, "80"}}, "https": {{tcp, "443"}}, "dns": {{tcp, "53"}, {udp, "53"}}, "ntp": {{udp, "123"}},
	"smtp": {{tcp, "25"}}, "smtps": {{tcp, "465"}}, "submission": {{tcp, "587"}}, "imap": {{tcp, "143"}}, "imaps": {{tcp, "993"}},
	"ldap": {{tcp, "389"}}, "ldaps": {{tcp, "636"}}, "mysql": {{tcp, "3306"}}, "postgresql": {{tcp, "5432"}}, "redis": {{tcp, "6379"}},
	"mongodb": {{tcp, "27017"}}, "rsync": {{tcp, "873"}}, "nfs": {{tcp, "2049"}}, "snmp": {{udp, "161"}}, "syslog": {{udp, "514"}},
	"prometheus": {{tcp, "9090"}}, "node-exporter": {{tcp, "9100"}}, "wireguard": {{udp, "51820"}}, "openvpn": {{udp, "1194"}},
}
