package firewall

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// ufw keeps its rules as comments ("### tuple ###") in two files, and what is on
// in two others. Only its program changes them.
type ufw struct{}

const (
	ufwRules    = "/etc/ufw/user.rules"
	ufwRules6   = "/etc/ufw/user6.rules"
	ufwConf     = "/etc/ufw/ufw.conf"
	ufwDefaults = "/etc/default/ufw"
	ufwTuple    = "### tuple ### "
)

func (ufw) name() string { return "ufw" }

func (ufw) can(r Rule) error {
	if strings.ContainsAny(r.Port, ",-") && r.Proto == anyProto {
		return fmt.Errorf("port = %q: with several ports ufw wants one protocol; make a rule for tcp and one for udp", r.Port)
	}
	return nil
}

func (ufw) normal(rules []Rule) []Rule { return rules }

func (ufw) read(_ context.Context, v facts.Viewer) (state, error) {
	s := state{Incoming: deny, Outgoing: allow}
	conf, err := settings(v, ufwConf)
	if err != nil {
		return s, err
	}
	defaults, err := settings(v, ufwDefaults)
	if err != nil {
		return s, err
	}
	s.Enabled = conf["ENABLED"] == "yes"
	policy := func(key, without string) string {
		switch defaults[key] {
		case "ACCEPT":
			return allow
		case "DROP":
			return deny
		case "REJECT":
			return reject
		}
		return without
	}
	s.Incoming, s.Outgoing = policy("DEFAULT_INPUT_POLICY", deny), policy("DEFAULT_OUTPUT_POLICY", allow)
	four, err := tuples(v, ufwRules)
	if err != nil {
		return s, err
	}
	six, err := tuples(v, ufwRules6)
	if err != nil {
		return s, err
	}
	// A rule without addresses stands in both files, where ufw does IPv6 at all.
	v6 := defaults["IPV6"] == "yes"
	for _, r := range four {
		if !v6 || r.four() || slices.ContainsFunc(six, func(o Rule) bool { return o == r }) {
			s.Rules = append(s.Rules, r)
		}
	}
	for _, r := range six {
		if r.six() {
			s.Rules = append(s.Rules, r)
		}
	}
	return s, nil
}

// settings reads NAME=value lines.
func settings(v facts.Viewer, path string) (map[string]string, error) {
	data, err := hostfile.Read(v, path)
	if err != nil && !hostfile.Missing(err) {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			out[strings.TrimSpace(key)] = strings.ToUpper(strings.Trim(strings.TrimSpace(value), `"'`))
		}
	}
	for _, key := range []string{"ENABLED", "IPV6"} {
		out[key] = strings.ToLower(out[key])
	}
	return out, nil
}

// tuples reads the rules of one file.
func tuples(v facts.Viewer, path string) ([]Rule, error) {
	data, err := hostfile.Read(v, path)
	if err != nil && !hostfile.Missing(err) {
		return nil, fmt.Errorf("%w; only root can read the rules of ufw", err)
	}
	var out []Rule
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), ufwTuple); ok {
			if r, ok := parseTuple(text); ok {
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// parseTuple reads "allow tcp 22 0.0.0.0/0 any 10.0.0.0/8 in_eth0 comment=HEX";
// with names of applications there are two fields more. Routed rules and those
// with source ports are none of ours.
func parseTuple(text string) (Rule, bool) {
	f := strings.Fields(text)
	var r Rule
	if n := len(f); n > 0 && strings.HasPrefix(f[n-1], "comment=") {
		comment, err := hex.DecodeString(strings.TrimPrefix(f[n-1], "comment="))
		if err != nil {
			return r, false
		}
		r.Comment, f = string(comment), f[:n-1]
	}
	if len(f) == 9 { // names of applications, whose ports are there too
		f = append(f[:6], f[8])
	}
	if len(f) != 7 || f[4] != "any" || strings.HasPrefix(f[0], "route:") {
		return r, false
	}
	r.Action, _, _ = strings.Cut(f[0], "_") // allow_log
	r.Proto = f[1]
	var err error
	if f[2] != "any" {
		if r.Port, err = ports(f[2]); err != nil {
			return r, false
		}
	}
	if r.To, err = address("to", f[3]); err != nil {
		return r, false
	}
	if r.From, err = address("from", f[5]); err != nil {
		return r, false
	}
	r.Direction, r.Interface, _ = strings.Cut(f[6], "_")
	return r, (r.Direction == in || r.Direction == out) && !strings.Contains(r.Interface, "!")
}

// words are the rule in the full syntax of ufw.
func (ufw) words(r Rule) []string {
	argv := []string{r.Action, r.Direction}
	if r.Interface != "" {
		argv = append(argv, "on", r.Interface)
	}
	if r.Proto != anyProto {
		argv = append(argv, "proto", r.Proto)
	}
	side := func(word, text string) {
		if text == "" {
			text = "any"
		}
		argv = append(argv, word, text)
	}
	side("from", r.From)
	side("to", r.To)
	if r.Port != "" {
		argv = append(argv, "port", strings.ReplaceAll(r.Port, "-", ":"))
	}
	return argv
}

func (b ufw) move(ctx context.Context, m modules.Machine, from, to state) error {
	for _, p := range []struct{ was, is, side string }{{from.Incoming, to.Incoming, "incoming"}, {from.Outgoing, to.Outgoing, "outgoing"}} {
		if p.was != p.is {
			if err := run(ctx, m, "ufw", "default", p.is, p.side); err != nil {
				return err
			}
		}
	}
	for _, r := range to.Rules {
		if slices.Contains(from.Rules, r) {
			continue
		}
		argv := append([]string{"ufw"}, b.words(r)...)
		if r.Comment != "" {
			argv = append(argv, "comment", r.Comment)
		}
		if err := run(ctx, m, argv...); err != nil {
			return err
		}
	}
	for _, r := range from.Rules {
		replaced := slices.ContainsFunc(to.Rules, func(o Rule) bool { return o.match() == r.match() })
		if slices.Contains(to.Rules, r) || replaced {
			continue
		}
		if err := run(ctx, m, append([]string{"ufw", "--force", "delete"}, b.words(r)...)...); err != nil {
			return err
		}
	}
	switch {
	case to.Enabled && !from.Enabled:
		return run(ctx, m, "ufw", "--force", "enable")
	case !to.Enabled && from.Enabled:
		return run(ctx, m, "ufw", "disable")
	}
	return nil
}
