package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// nft keeps a table of its own in a file of its own, which the configuration of
// nftables includes while the firewall is on. Other tables are left alone.
type nft struct{}

const (
	nftFile    = "/etc/nftables.d/sloth.nft"
	nftConf    = "/etc/nftables.conf"
	nftConfRH  = "/etc/sysconfig/nftables.conf" // where Red Hat has it
	nftInclude = `include "` + nftFile + `"`
	nftUnit    = "nftables.service"
	nftWants   = "/etc/systemd/system/sysinit.target.wants/" + nftUnit
	nftRule    = "# rule "
	nftPolicy  = "# policy "
	nftHead    = "# Written by sloth (firewall). The table is replaced as a whole.\n"
)

func (nft) name() string { return "nft" }

func (nft) can(Rule) error { return nil }

func (nft) normal(rules []Rule) []Rule { return rules }

// policies are what the file says beside its rules.
type policies struct {
	Incoming string `json:"incoming"`
	Outgoing string `json:"outgoing"`
}

func (b nft) read(ctx context.Context, v facts.Viewer) (state, error) {
	s := state{Incoming: deny, Outgoing: allow}
	text, err := hostfile.Read(v, nftFile)
	if err != nil && !hostfile.Missing(err) {
		return s, err
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if data, ok := strings.CutPrefix(line, nftRule); ok {
			var r Rule
			if json.Unmarshal([]byte(data), &r) == nil {
				s.Rules = append(s.Rules, r)
			}
		}
		if data, ok := strings.CutPrefix(line, nftPolicy); ok {
			var p policies
			if json.Unmarshal([]byte(data), &p) == nil {
				s.Incoming, s.Outgoing = p.Incoming, p.Outgoing
			}
		}
	}
	conf, err := hostfile.Read(v, confOf(v))
	if err != nil && !hostfile.Missing(err) {
		return s, err
	}
	for line := range strings.Lines(string(conf)) {
		line = strings.TrimSpace(line)
		s.Enabled = s.Enabled || line == nftInclude || line == `include "`+filepath.Dir(nftFile)+`/*.nft"`
	}
	loaded, counted, err := b.loaded(ctx, v)
	if err != nil {
		return s, err
	}
	switch {
	case !s.Enabled:
		s.Enabled = loaded && len(text) > 0 // in force until the next start
		s.Adrift = s.Enabled
	default:
		s.Adrift = !loaded || counted != b.count(s) || string(text) != b.text(s)
	}
	return s, nil
}

// loaded asks the kernel whether the table is there, and for how many rules and
// which policies it has.
func (nft) loaded(ctx context.Context, v facts.Viewer) (bool, string, error) {
	a, err := v.Query(ctx, "nft", "-j", "list", "table", "inet", "sloth")
	if err != nil {
		return false, "", err
	}
	if a.ExitCode != 0 {
		if strings.Contains(string(a.Stderr), "No such file or directory") {
			return false, "", nil
		}
		return false, "", fmt.Errorf("nft list table inet sloth: %s; firewalls are root's business: give the task :become(\"root\")", strings.TrimSpace(string(a.Stderr)))
	}
	var answer struct {
		Nftables []struct {
			Chain *struct{ Name, Policy string }
			Rule  *struct{ Chain string }
		}
	}
	if err := json.Unmarshal(a.Stdout, &answer); err != nil {
		return false, "", fmt.Errorf("nft -j list table inet sloth: %w", err)
	}
	n := map[string]int{}
	policy := map[string]string{}
	for _, o := range answer.Nftables {
		if o.Chain != nil {
			policy[o.Chain.Name] = o.Chain.Policy
		}
		if o.Rule != nil {
			n[o.Rule.Chain]++
		}
	}
	return true, fmt.Sprintf("input %s %d output %s %d", policy["input"], n["input"], policy["output"], n["output"]), nil
}

// count is what loaded says of a table that is as written.
func (b nft) count(s state) string {
	incoming, outgoing := b.chain(s, in), b.chain(s, out)
	return fmt.Sprintf("input %s %d output %s %d", verdictOf(s.Incoming), incoming.rules, verdictOf(s.Outgoing), outgoing.rules)
}

// verdictOf is the policy of a chain; a chain cannot reject, its last rule does.
func verdictOf(policy string) string {
	if policy == allow {
		return "accept"
	}
	return "drop"
}

type chain struct {
	lines []string
	rules int
}

func (c *chain) rule(line string) {
	c.lines = append(c.lines, "\t\t"+line)
	c.rules++
}

// chain is all rules of one direction. What belongs to connections that are
// there, and what IPv6 cannot do without, always passes.
func (nft) chain(s state, direction string) chain {
	var c chain
	side, policy := "iif", s.Incoming
	if direction == out {
		side, policy = "oif", s.Outgoing
	}
	if policy != allow {
		c.rule("ct state established,related accept")
		c.rule(side + ` "lo" accept`)
		c.rule("meta l4proto { 1, 58 } accept") // ICMP, by number: a small system has no /etc/protocols
	}
	if policy != allow && direction == in {
		c.rule("ip6 saddr fe80::/10 udp dport 546 accept")
	}
	for _, r := range s.Rules {
		if r.Direction != direction {
			continue
		}
		data, err := json.Marshal(r)
		if err != nil {
			continue // text alone cannot fail
		}
		c.lines = append(c.lines, "\t\t"+nftRule+string(data))
		c.rule(nftLine(r))
	}
	if policy == reject {
		c.rule("reject")
	}
	return c
}

// nftLine is one rule in the language of nft. All that stands in it was checked.
func nftLine(r Rule) string {
	var words []string
	add := func(w ...string) { words = append(words, w...) }
	if r.Interface != "" {
		add(map[string]string{in: "iifname", out: "oifname"}[r.Direction], `"`+r.Interface+`"`)
	}
	for _, side := range [][2]string{{"saddr", r.From}, {"daddr", r.To}} {
		if side[1] == "" {
			continue
		}
		family := "ip"
		if r.six() {
			family = "ip6"
		}
		add(family, side[0], side[1])
	}
	switch {
	case r.Port != "":
		set := r.Port
		if strings.Contains(set, ",") {
			set = "{ " + strings.ReplaceAll(set, ",", ", ") + " }"
		}
		if r.Proto == anyProto {
			add("meta l4proto { tcp, udp } th dport", set)
		} else {
			add(r.Proto, "dport", set)
		}
	case r.Proto != anyProto:
		add("meta l4proto", r.Proto)
	}
	add(map[string]string{allow: "accept", deny: "drop", reject: "reject"}[r.Action])
	if r.Comment != "" {
		add("comment", `"`+r.Comment+`"`)
	}
	return strings.Join(words, " ")
}

// text is the whole file. Loaded, it replaces the table in one step.
func (b nft) text(s state) string {
	data, err := json.Marshal(policies{s.Incoming, s.Outgoing})
	if err != nil {
		return "" // text alone cannot fail
	}
	lines := []string{nftHead + nftPolicy + string(data), "table inet sloth", "delete table inet sloth", "table inet sloth {"}
	for _, direction := range []string{in, out} {
		hook, policy := "input", s.Incoming
		if direction == out {
			hook, policy = "output", s.Outgoing
		}
		lines = append(lines, "\tchain "+hook+" {", fmt.Sprintf("\t\ttype filter hook %s priority 0; policy %s;", hook, verdictOf(policy)))
		lines = append(lines, b.chain(s, direction).lines...)
		lines = append(lines, "\t}")
	}
	return strings.Join(append(lines, "}", ""), "\n")
}

func (b nft) move(ctx context.Context, m modules.Machine, from, to state) error {
	if _, err := m.Stat(filepath.Dir(nftFile)); hostfile.Missing(err) {
		if err := m.Mkdir(filepath.Dir(nftFile), 0o755); err != nil {
			return err
		}
	}
	mode := modules.FileMode(0o600)
	err := m.WriteFile(ctx, nftFile, strings.NewReader(b.text(to)), modules.WriteOptions{Mode: &mode, Sync: true, Validate: func(ctx context.Context, temporary string) error {
		if err := run(ctx, m, "nft", "-c", "-f", temporary); err != nil {
			return errors.New(strings.ReplaceAll(err.Error(), temporary, nftFile))
		}
		return nil
	}})
	if err != nil {
		return err
	}
	if to.Enabled {
		if err := run(ctx, m, "nft", "-f", nftFile); err != nil {
			return err
		}
	} else if from.Enabled {
		// The first of the two makes sure that there is something to delete.
		for _, verb := range []string{"add", "delete"} {
			if err := run(ctx, m, "nft", verb, "table", "inet", "sloth"); err != nil {
				return err
			}
		}
	}
	if err := b.include(ctx, m, to.Enabled); err != nil {
		return err
	}
	if _, err := m.LookPath("systemctl"); err != nil || !to.Enabled {
		return nil
	}
	if _, err := m.Lstat(nftWants); !hostfile.Missing(err) {
		return err
	}
	return run(ctx, m, "systemctl", "enable", nftUnit)
}

// confOf is the file that the service loads at start.
func confOf(v facts.Viewer) string {
	if _, err := v.Stat(nftConfRH); err == nil {
		return nftConfRH
	}
	return nftConf
}

// include puts the line that loads the file at start into the configuration of
// nftables, or takes it out.
func (nft) include(ctx context.Context, m modules.Machine, on bool) error {
	conf := confOf(m)
	data, err := hostfile.Read(m, conf)
	if err != nil && !hostfile.Missing(err) {
		return err
	}
	text := string(data)
	if hostfile.Missing(err) {
		text = "#!/usr/sbin/nft -f\n\nflush ruleset\n"
	}
	was, found := text, false
	var rest strings.Builder
	for line := range strings.Lines(text) {
		trimmed := strings.TrimSpace(line)
		if trimmed == `include "`+filepath.Dir(nftFile)+`/*.nft"` {
			found = true
		}
		if trimmed == nftInclude {
			if found = true; !on {
				continue
			}
		}
		rest.WriteString(line)
	}
	text = rest.String()
	if on && !found {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += nftInclude + "\n"
	}
	if text == was || !on && hostfile.Missing(err) {
		return nil
	}
	return m.WriteFile(ctx, conf, strings.NewReader(text), modules.WriteOptions{Sync: true})
}
