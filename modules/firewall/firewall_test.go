package firewall

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/standin"
	"github.com/sloth-runner/sloth/modules/machine"
)

var args = standin.Args

const (
	ufwOff = "ENABLED=no\nLOGLEVEL=low\n"
	ufwDef = "IPV6=yes\nDEFAULT_INPUT_POLICY=\"DROP\"\nDEFAULT_OUTPUT_POLICY=\"ACCEPT\"\n"
)

func ufwHost(t *testing.T, on bool) *standin.Host {
	t.Helper()
	t.Setenv("SSH_CONNECTION", "")
	conf := ufwOff
	if on {
		conf = strings.Replace(conf, "=no", "=yes", 1)
	}
	h := standin.New(t, Module(), map[string]string{
		ufwConf: conf, ufwDefaults: ufwDef,
		ufwRules:  "### RULES ###\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 OpenSSH - in\n### tuple ### route:allow any any 0.0.0.0/0 any 10.0.0.0/8 in_eth0!out_eth1\n",
		ufwRules6: "### RULES ###\n### tuple ### allow tcp 22 ::/0 any ::/0 OpenSSH - in\n",
	})
	h.Shared("ufw")
	return h
}

func TestUFW(t *testing.T) {
	h := ufwHost(t, false)
	const w = "firewall (ufw) "
	h.Cycle("allow", args("port", 22.0), "", "", "")
	h.Cycle("allow", args("port", []any{443.0, "80"}, "comment", "web"), w+`rule:  -> allow in port 80,443/tcp "web"`, "ufw allow in proto tcp from any to any port 80,443 comment web", "")
	h.Cycle("allow", args("port", "443,80"), "", "", "")
	h.Cycle("allow", args("port", "80,443", "comment", "the web"), w+`rule: allow in port 80,443/tcp "web" -> ; `+w+`rule:  -> allow in port 80,443/tcp "the web"`,
		"ufw allow in proto tcp from any to any port 80,443 comment the web", "")
	h.Cycle("deny", args("port", "80,443"), w+`rule: allow in port 80,443/tcp "the web" -> ; `+w+"rule:  -> deny in port 80,443/tcp", "ufw deny in proto tcp from any to any port 80,443", "")
	h.Cycle("allow", args("from", "10.0.0.0/8", "port", "8000:8010", "proto", "udp", "interface", "eth0"), w+"rule:  -> allow in on eth0 from 10.0.0.0/8 port 8000-8010/udp",
		"ufw allow in on eth0 proto udp from 10.0.0.0/8 to any port 8000:8010", "")
	h.Cycle("reject", args("from", "2001:DB8::/32"), w+"rule:  -> reject in from 2001:db8::/32", "ufw reject in from 2001:db8::/32 to any", "")
	h.Cycle("deny", args("to", "192.0.2.1", "direction", "out"), w+"rule:  -> deny out to 192.0.2.1", "ufw deny out from any to 192.0.2.1", "")
	h.Cycle("allow", args("service", "dns"), w+"rule:  -> allow in port 53/tcp; "+w+"rule:  -> allow in port 53/udp",
		"ufw allow in proto tcp from any to any port 53; ufw allow in proto udp from any to any port 53", "")
	h.Cycle("remove", args("service", "dns"), w+"rule: allow in port 53/tcp -> ; "+w+"rule: allow in port 53/udp -> ",
		"ufw --force delete allow in proto tcp from any to any port 53; ufw --force delete allow in proto udp from any to any port 53", "")
	h.Cycle("remove", args("to", "192.0.2.1", "direction", "out"), "", "", "")
	h.Cycle("remove", args("to", "192.0.2.1", "direction", "out", "action", "deny"), w+"rule: deny out to 192.0.2.1 -> ", "ufw --force delete deny out from any to 192.0.2.1", "")
	h.Cycle("default", args("incoming", "reject", "outgoing", "allow"), w+"incoming: deny -> reject", "ufw default reject incoming", "")
	h.Cycle("enable", nil, w+"state: off -> on", "ufw --force enable", "")
	h.Cycle("allow", args("port", "80,443", "proto", "any"), "", "", `firewall.allow: port = "80,443": with several ports ufw wants one protocol; make a rule for tcp and one for udp`)
	got, _, err := h.Call("status", nil)
	if err != nil || fmt.Sprint(got) != "map[backend:ufw enabled:true incoming:reject outgoing:allow rules:4]" {
		t.Errorf("%v, %v", got, err)
	}
	got, _, err = h.Call("list", nil)
	if err != nil || fmt.Sprint(got.([]any)[2]) != "map[action:allow direction:in from:10.0.0.0/8 interface:eth0 port:8000-8010 proto:udp]" {
		t.Errorf("%v, %v", got, err)
	}
	h.Cycle("disable", nil, w+"state: on -> off", "ufw disable", "")
	// A rule that is missing for IPv6 is made again.
	h.Put(ufwRules6, "### RULES ###\n")
	h.Cycle("allow", args("port", 22.0), w+"rule:  -> allow in port 22/tcp", "ufw allow in proto tcp from any to any port 22", "")
}

func nftHost(t *testing.T) *standin.Host {
	t.Helper()
	t.Setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.1 2222")
	h := standin.New(t, Module(), map[string]string{nftConf: "#!/usr/sbin/nft -f\nflush ruleset"})
	h.Shared("nft")
	return h
}

func TestNFT(t *testing.T) {
	h := nftHost(t)
	const w = "firewall (nft) "
	h.Cycle("allow", args("port", 2222.0, "from", "10.0.0.0/24", "comment", "ssh & co"), w+`rule:  -> allow in from 10.0.0.0/24 port 2222/tcp "ssh & co"`, "", "")
	h.Cycle("reject", args("proto", "udp", "interface", "eth0"), w+"rule:  -> reject in on eth0 proto udp", "", "")
	h.Cycle("deny", args("port", "53,80", "proto", "any", "direction", "out", "to", "2001:db8::1"), w+"rule:  -> deny out to 2001:db8::1 port 53,80", "", "")
	h.Cycle("default", args("outgoing", "reject"), w+"outgoing: allow -> reject", "", "")
	if h.Text(nftConf) != "#!/usr/sbin/nft -f\nflush ruleset" || h.Text("/run/standin/nft") != "(absent)" {
		t.Error("a firewall that is off was loaded")
	}
	h.Cycle("enable", nil, w+"state: off -> on", "nft -f "+nftFile, "")
	if got, want := h.Text(nftConf), "#!/usr/sbin/nft -f\nflush ruleset\n"+nftInclude+"\n"; got != want {
		t.Errorf("the configuration is\n%s\nwanted\n%s", got, want)
	}
	want := nftHead + `# policy {"incoming":"deny","outgoing":"reject"}
table inet sloth
delete table inet sloth
table inet sloth {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iif "lo" accept
		meta l4proto { 1, 58 } accept
		ip6 saddr fe80::/10 udp dport 546 accept
		# rule {"action":"allow","direction":"in","proto":"tcp","port":"2222","from":"10.0.0.0/24","comment":"ssh \u0026 co"}
		ip saddr 10.0.0.0/24 tcp dport 2222 accept comment "ssh & co"
		# rule {"action":"reject","direction":"in","proto":"udp","interface":"eth0"}
		iifname "eth0" meta l4proto udp reject
	}
	chain output {
		type filter hook output priority 0; policy drop;
		ct state established,related accept
		oif "lo" accept
		meta l4proto { 1, 58 } accept
		# rule {"action":"deny","direction":"out","proto":"any","port":"53,80","to":"2001:db8::1"}
		ip6 daddr 2001:db8::1 meta l4proto { tcp, udp } th dport { 53, 80 } drop
		reject
	}
}
`
	if got := h.Text(nftFile); got != want {
		t.Errorf("the table is\n%s\nwanted\n%s", got, want)
	}
	h.Cycle("remove", args("proto", "udp", "interface", "eth0", "action", "reject"), w+"rule: reject in on eth0 proto udp -> ", "nft -f "+nftFile, "")
	// What somebody changes behind its back is mended.
	drift := w + "rules in force: others than are written down -> as written down"
	h.Put("/run/standin/nft", strings.Replace(h.Text("/run/standin/nft"), "\t\tiif \"lo\" accept\n", "", 1))
	h.Cycle("enable", nil, drift, "nft -f "+nftFile, "")
	h.Put(nftFile, strings.Replace(h.Text(nftFile), "10.0.0.0/24 tcp", "10.0.0.0/8 tcp", 1))
	h.Cycle("allow", args("port", 2222.0, "from", "10.0.0.0/24"), drift, "nft -f "+nftFile, "")
	h.Cycle("disable", nil, w+"state: on -> off", "nft add table inet sloth; nft delete table inet sloth", "")
	if got := h.Text(nftConf); got != "#!/usr/sbin/nft -f\nflush ruleset\n" {
		t.Errorf("the configuration is %q", got)
	}
	h.Put(nftConfRH, "")
	h.Cycle("enable", nil, w+"state: off -> on", "nft -f "+nftFile, "")
	if h.Text(nftConfRH) != nftInclude+"\n" {
		t.Errorf("the configuration is %q", h.Text(nftConfRH))
	}
	h.Cycle("disable", nil, w+"state: on -> off", "nft add table inet sloth; nft delete table inet sloth", "")
	// nft has the last word on the file.
	before := h.Text(nftFile)
	_, _, err := h.Call("allow", args("port", 1.0, "comment", "BAD"))
	if err == nil || err.Error() != "firewall.allow: write "+nftFile+": nft -c -f "+nftFile+": exit code 1: "+nftFile+":1:1-3: Error: syntax error, unexpected string" || h.Text(nftFile) != before {
		t.Errorf("%v", err)
	}
}

// Nobody is shut out by accident.
func TestGuard(t *testing.T) {
	h := nftHost(t)
	const shut = "this would shut out SSH: no rule lets tcp port 2222 in from 10.0.0.9; first firewall.allow({ port = 2222 }), or say force = true"
	h.Cycle("enable", nil, "", "", "firewall.enable: "+shut)
	for _, c := range []struct {
		function string
		args     map[string]any
		opens    bool
	}{
		{"allow", args("port", 22.0), false}, {"allow", args("port", 2222.0, "proto", "udp"), false}, {"allow", args("port", 2222.0, "from", "10.1.0.0/16"), false},
		{"allow", args("port", 2222.0, "direction", "out"), false}, {"allow", args("port", "2000-3000", "from", "10.0.0.0/24"), true}, {"default", args("incoming", "allow"), true},
		{"allow", args("from", "10.0.0.9"), true}, {"allow", args("port", 2222.0, "to", "10.0.0.1"), true}, {"allow", args("port", 2222.0, "to", "10.0.0.2"), false},
	} {
		h := nftHost(t)
		if _, _, err := h.Call(c.function, c.args); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Call("enable", nil); (err == nil) != c.opens {
			t.Errorf("%s %v: %v", c.function, c.args, err)
		}
	}
	h = nftHost(t)
	h.Cycle("allow", args("port", 2222.0), "firewall (nft) rule:  -> allow in port 2222/tcp", "", "")
	h.Cycle("enable", nil, "firewall (nft) state: off -> on", "nft -f "+nftFile, "")
	h.Cycle("remove", args("port", 2222.0), "", "", "firewall.remove: "+shut)
	h.Cycle("deny", args("port", 2222.0), "", "", "firewall.deny: "+shut)
	h.Cycle("default", args("incoming", "reject"), "firewall (nft) incoming: deny -> reject", "nft -f "+nftFile, "")
	h.Cycle("remove", args("port", 2222.0, "force", true), "firewall (nft) rule: allow in port 2222/tcp -> ", "nft -f "+nftFile, "")
	h.Cycle("allow", args("port", 80.0), "firewall (nft) rule:  -> allow in port 80/tcp", "nft -f "+nftFile, "")

	// Without a connection the configuration of sshd tells.
	u := ufwHost(t, false)
	u.Put("/etc/ssh/sshd_config", "#Port 1\nPort 2200\n")
	u.Put("/etc/ssh/sshd_config.d/x.conf", "port=2201\n")
	u.Cycle("enable", nil, "", "", "firewall.enable: this would shut out SSH: no rule lets tcp port 2200 or 2201 in; first firewall.allow({ port = 2200 }), or say force = true")
	u.Cycle("enable", args("force", true), "firewall (ufw) state: off -> on", "ufw --force enable", "")
}

func TestFirewalld(t *testing.T) {
	t.Setenv("SSH_CONNECTION", "")
	h := standin.New(t, Module(), map[string]string{"/zone/services": "ssh dns\n", "/zone/ports": "", "/zone/rich": "", "/zone/target": "default\n", "/zone/on": ""})
	tool := `
cd "$ROOT/zone"
[ "$1" != --permanent ] || shift
has() { grep -vxF "$2" "$1" > new || :; cat new > "$1"; rm new; }
case $1 in
--state) [ -e on ] ;;
--list-all) printf 'public (active)\n  target: %s\n  icmp-block-inversion: no\n  services: %s\n  ports: %s\n  forward: yes\n  icmp-blocks: \n  rich rules: \n%s\n' \
	"$(cat target)" "$(cat services)" "$(tr '\n' ' ' < ports)" "$(sed 's/^/\t/' rich)" ;;
--service=ssh) echo 22/tcp ;;
--service=dns) echo 53/tcp 53/udp ;;
--add-port=*) echo "${1#*=}" >> ports ;;
--add-rich-rule=*) echo "${1#*=}" >> rich ;;
--remove-port=*) has ports "${1#*=}" ;;
--remove-rich-rule=*) has rich "${1#*=}" ;;
--remove-service=*) sed -i "s/${1#*=}//" services ;;
--set-target=*) echo "${1#*=}" > target ;;
--reload) ;;
*) exit 99 ;;
esac`
	queries := []string{"--state", "--permanent --get", "--permanent --list", "--permanent --service", "--get", "--list", "--service"}
	h.Tool("firewall-cmd", tool, queries...)
	h.Tool("firewall-offline-cmd", tool, queries...)
	h.Tool("systemctl", `case $1 in enable) touch "$ROOT/zone/on" ;; disable) rm "$ROOT/zone/on" ;; esac`)
	const w, p, r = "firewall (firewalld) ", "firewall-cmd --permanent ", "; firewall-cmd --reload"
	h.Cycle("allow", args("service", "ssh"), "", "", "")
	h.Cycle("allow", args("port", "80,443"), w+"rule:  -> allow in port 80/tcp; "+w+"rule:  -> allow in port 443/tcp", p+"--add-port=80/tcp; "+p+"--add-port=443/tcp"+r, "")
	h.Cycle("deny", args("from", "192.0.2.0/24", "port", 22.0), w+"rule:  -> deny in from 192.0.2.0/24 port 22/tcp",
		p+`--add-rich-rule=rule family="ipv4" source address="192.0.2.0/24" port port="22" protocol="tcp" drop`+r, "")
	h.Cycle("reject", args("port", 25.0, "proto", "any"), w+"rule:  -> reject in port 25/tcp; "+w+"rule:  -> reject in port 25/udp",
		p+`--add-rich-rule=rule port port="25" protocol="tcp" reject; `+p+`--add-rich-rule=rule port port="25" protocol="udp" reject`+r, "")
	h.Cycle("remove", args("port", 53.0, "proto", "udp"), w+"rule: allow in port 53/udp -> ", p+"--remove-service=dns; "+p+"--add-port=53/tcp"+r, "")
	h.Cycle("remove", args("port", 443.0), w+"rule: allow in port 443/tcp -> ", p+"--remove-port=443/tcp"+r, "")
	h.Cycle("default", args("incoming", "deny"), w+"incoming: reject -> deny", p+"--set-target=DROP"+r, "")
	h.Cycle("default", args("outgoing", "deny"), "", "", "firewall.default: firewalld has no policy for packets that go out; use the backend nft")
	h.Cycle("allow", args("port", 1.0, "interface", "eth0"), "", "", "firewall.allow: firewalld ties interfaces to zones and has no rules for them; use the backend nft")
	h.Cycle("disable", nil, w+"state: on -> off", "systemctl disable --now firewalld.service", "")
	h.Cycle("allow", args("port", 81.0), w+"rule:  -> allow in port 81/tcp", "firewall-offline-cmd --add-port=81/tcp", "")
	h.Cycle("enable", nil, w+"state: off -> on", "systemctl enable --now firewalld.service", "")
}

func TestBadInput(t *testing.T) {
	h := nftHost(t)
	for _, c := range []struct {
		function string
		args     map[string]any
		fail     string
	}{
		{"allow", args(), "port is missing: say which packets are meant, with port, service, proto, from, to or interface"},
		{"allow", args("port", "0"), `port = "0": "0" is no port between 1 and 65535; write 22, "8000-8010" or "80,443"`},
		{"allow", args("port", "22/tcp"), `port = "22/tcp": "22/tcp" is no port between 1 and 65535; write 22, "8000-8010" or "80,443"`},
		{"allow", args("port", "9-8"), `port = "9-8": 9 is after 8`},
		{"allow", args("port", 22.0, "proto", "icmp"), `proto = "icmp": it must be one of tcp, udp, any; did you mean "tcp"?`},
		{"allow", args("from", "10.0.0.1/8"), `from = "10.0.0.1/8": the network is 10.0.0.0/8; an address of it alone goes without /8`},
		{"allow", args("from", "web-01"), `from = "web-01" is neither an address nor a network such as "10.0.0.0/8"`},
		{"allow", args("from", "10.0.0.1", "to", "::1"), `from = "10.0.0.1" and to = "::1" are of different families of addresses`},
		{"allow", args("port", 1.0, "interface", "eth0; flush ruleset"), `interface = "eth0; flush ruleset" is no name of a network interface`},
		{"allow", args("port", 1.0, "comment", `x" drop; #`), `comment = "x\" drop; #": it may have 120 characters and no quotes, backslashes or line breaks`},
		{"allow", args("service", "gopher"), `service = "gopher" is known neither here nor in /etc/services of the host; say port and proto`},
		{"allow", args("service", "ssh", "port", 22.0), "give one of service and port with proto"},
		{"allow", args("port", 1.0, "backend", "ufw"), "there is no ufw on this host; install it, or leave backend out"},
		{"allow", args("port", 1.0, "backend", "iptables"), `backend = "iptables": it must be one of ufw, firewalld, nft`},
		{"allow", args("ports", 1.0, "form", "x"), `unknown argument "form"; did you mean "from"?`},
		{"default", args(), "incoming is missing: say what becomes of packets, with incoming or outgoing"},
	} {
		h.Cycle(c.function, c.args, "", "", "firewall."+c.function+": "+c.fail)
	}
	none := standin.New(t, Module(), nil)
	none.Cycle("enable", nil, "", "", `firewall.enable: there is none of ufw, firewalld (firewall-cmd) and nft on this host; pkg.install("nftables") brings one`)
}

// A plan goes on past the package that brings the firewall.
func TestPlanOfWhatIsInstalled(t *testing.T) {
	standin.New(t, Module(), nil)
	o := machine.NewOverlay(machine.New())
	o.Note("package:nftables", "1.0")
	c := &ruleCall{match: match{Port: []string{"22"}, Direction: in}, common: common{Backend: "nft"}, action: allow}
	d, err := c.Check(t.Context(), o)
	if err != nil || !strings.Contains(d.Summary(), "firewall (nft): rule") {
		t.Fatal(d, err)
	}
	if err := c.Plan(t.Context(), d, o); err != nil {
		t.Fatal(err)
	}
	on := &switchCall{common: common{Backend: "nft"}}
	if d, err := on.Check(t.Context(), o); err != nil || d.Empty() {
		t.Error(d, err)
	}
	o.Note("package:nftables", modules.Absent)
	if _, err := (&ruleCall{match: match{Port: []string{"22"}, Direction: in}, common: common{Backend: "ufw"}, action: allow}).Check(t.Context(), o); err == nil {
		t.Error("no package brings ufw")
	}
}

func FuzzRules(f *testing.F) {
	f.Add("allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in_eth0 comment=7373")
	f.Add(`rule family="ipv4" source address="192.0.2.0/24" port port="22" protocol="tcp" drop`)
	f.Add("80,443,8000-8010")
	f.Fuzz(func(t *testing.T, text string) {
		parseTuple(text)
		if r, ok := parseRich(text); ok && r.Action == "" {
			t.Errorf("%q: %+v", text, r)
		}
		if p, err := ports(text); err == nil {
			if again, err := ports(p); err != nil || again != p {
				t.Errorf("%q: %q, then %q, %v", text, p, again, err)
			}
		}
		if a, err := address("x", text); err == nil {
			if again, err := address("x", a); err != nil || again != a {
				t.Errorf("%q: %q, then %q, %v", text, a, again, err)
			}
		}
	})
}
