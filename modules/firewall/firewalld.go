package firewall

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// firewalld is changed in its permanent configuration of the default zone, which
// is then loaded.
type firewalld struct{}

const firewalldUnit = "firewalld.service"

func (firewalld) name() string { return "firewalld" }

func (firewalld) can(r Rule) error {
	switch {
	case r.Direction == out:
		return errors.New("firewalld's zones know nothing of packets that go out; use the backend nft")
	case r.Interface != "":
		return errors.New("firewalld ties interfaces to zones and has no rules for them; use the backend nft")
	}
	return nil
}

func (firewalld) normal(rules []Rule) []Rule { return expand(rules) }

// program speaks with the daemon, or without it with its files.
func (firewalld) program(running bool, args ...string) []string {
	if running {
		return append([]string{"firewall-cmd", "--permanent"}, args...)
	}
	return append([]string{"firewall-offline-cmd"}, args...)
}

func (b firewalld) ask(ctx context.Context, v facts.Viewer, running bool, args ...string) (string, error) {
	argv := b.program(running, args...)
	a, err := v.Query(ctx, argv...)
	if err != nil {
		return "", err
	}
	if a.ExitCode != 0 {
		return "", fmt.Errorf("%s: %s", strings.Join(argv, " "), tool.Failure(a, false))
	}
	return strings.TrimSpace(string(a.Stdout)), nil
}

func (b firewalld) read(ctx context.Context, v facts.Viewer) (state, error) {
	s := state{Incoming: reject, Outgoing: allow}
	a, err := v.Query(ctx, "firewall-cmd", "--state")
	if err != nil {
		return s, err
	}
	s.Enabled = a.ExitCode == 0
	zone, err := b.zone(ctx, v, s.Enabled)
	if err != nil {
		return s, err
	}
	switch zone["target"] {
	case "ACCEPT":
		s.Incoming = allow
	case "DROP":
		s.Incoming = deny
	}
	named, err := b.named(ctx, v, s.Enabled, zone["services"])
	if err != nil {
		return s, err
	}
	for _, n := range named {
		s.Rules = append(s.Rules, n.rules...)
	}
	s.Rules = append(s.Rules, opened(zone["ports"])...)
	for line := range strings.Lines(zone["rich rules"]) {
		if r, ok := parseRich(strings.TrimSpace(line)); ok {
			s.Rules = slices.Insert(s.Rules, 0, r) // they come before ports and services
		}
	}
	return s, nil
}

// zone is what --list-all says of the default zone: one question, since each
// takes firewalld's tools half a second.
func (b firewalld) zone(ctx context.Context, v facts.Viewer, running bool) (map[string]string, error) {
	text, err := b.ask(ctx, v, running, "--list-all")
	if err != nil {
		return nil, err
	}
	zone := parseZone(text)
	for _, key := range []string{"target", "services", "ports", "rich rules"} {
		if _, ok := zone[key]; !ok {
			return nil, fmt.Errorf("%s says nothing of the zone's %s", strings.Join(b.program(running, "--list-all"), " "), key)
		}
	}
	return zone, nil
}

// parseZone reads lines of two spaces, a name, a colon and a value, which goes on
// in lines that are further in.
func parseZone(text string) map[string]string {
	zone := map[string]string{}
	key := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if word := strings.TrimPrefix(name, "  "); ok && word != name && word != "" && word[0] != ' ' && word[0] != '\t' {
			key = word
			zone[key] = strings.TrimSpace(value)
			continue
		}
		if key != "" {
			zone[key] += "\n" + strings.TrimSpace(line)
		}
	}
	return zone
}

// namedService is a service of the zone and what it opens.
type namedService struct {
	name  string
	rules []Rule
}

func (b firewalld) named(ctx context.Context, v facts.Viewer, running bool, list string) ([]namedService, error) {
	var out []namedService
	for _, name := range strings.Fields(list) {
		known, err := b.ask(ctx, v, running, "--service="+name, "--get-ports")
		if err != nil {
			return nil, err
		}
		out = append(out, namedService{name, opened(known)})
	}
	return out, nil
}

// opened reads "80/tcp 8000-8010/udp".
func opened(list string) []Rule {
	var out []Rule
	for _, word := range strings.Fields(list) {
		n, proto, ok := strings.Cut(word, "/")
		if p, err := ports(n); ok && err == nil {
			out = append(out, Rule{Action: allow, Direction: in, Proto: proto, Port: p})
		}
	}
	return out
}

// richRule is the rule in the rich language. A list of ports or protocols takes
// several of them, which expand makes.
func richRule(r Rule) string {
	words := []string{"rule"}
	family := ""
	switch {
	case r.six():
		family = "ipv6"
	case r.four():
		family = "ipv4"
	}
	add := func(format, value string) {
		if value != "" {
			words = append(words, fmt.Sprintf(format, value))
		}
	}
	add(`family="%s"`, family)
	add(`source address="%s"`, r.From)
	add(`destination address="%s"`, r.To)
	switch {
	case r.Port != "":
		words = append(words, fmt.Sprintf(`port port="%s" protocol="%s"`, r.Port, r.Proto))
	case r.Proto != anyProto:
		words = append(words, fmt.Sprintf(`protocol value="%s"`, r.Proto))
	}
	return strings.Join(append(words, map[string]string{allow: "accept", deny: "drop", reject: "reject"}[r.Action]), " ")
}

// parseRich reads what richRule writes; other rich rules are none of ours.
func parseRich(line string) (Rule, bool) {
	r := Rule{Direction: in, Proto: anyProto}
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "rule" {
		return r, false
	}
	var ok bool
	if r.Action, ok = map[string]string{"accept": allow, "drop": deny, "reject": reject}[fields[len(fields)-1]]; !ok {
		return r, false
	}
	part := ""
	for _, f := range fields[1 : len(fields)-1] {
		key, value, has := strings.Cut(f, "=")
		if !has {
			part = f
			continue
		}
		value = strings.Trim(value, `"`)
		switch part + " " + key {
		case " family":
		case "source address":
			r.From = value
		case "destination address":
			r.To = value
		case "port port":
			r.Port = value
		case "port protocol", "protocol value":
			r.Proto = value
		default:
			return r, false
		}
	}
	return r, true
}

// expand makes rules of one port and one protocol.
func expand(list []Rule) []Rule {
	var out []Rule
	for _, r := range list {
		r.Comment = ""
		protos := []string{r.Proto}
		if r.Proto == anyProto && r.Port != "" {
			protos = []string{tcp, udp}
		}
		for _, proto := range protos {
			for p := range strings.SplitSeq(r.Port, ",") {
				one := r
				one.Port, one.Proto = p, proto
				if !slices.Contains(out, one) {
					out = append(out, one)
				}
			}
		}
	}
	return out
}

// option is how a rule is added or removed: what only opens a port is a port.
func (firewalld) option(verb string, r Rule) string {
	if r.Action == allow && r.From == "" && r.To == "" && r.Port != "" {
		return fmt.Sprintf("--%s-port=%s/%s", verb, r.Port, r.Proto)
	}
	return fmt.Sprintf("--%s-rich-rule=%s", verb, richRule(r))
}

// steps are the options that lead from one state to another. A service that
// opens a port that is to be shut goes as a whole, and its other ports stay.
func (b firewalld) steps(was, is []Rule, named []namedService) []string {
	var out []string
	for _, n := range named {
		shut := slices.ContainsFunc(n.rules, func(r Rule) bool { return !slices.Contains(is, r) })
		if !shut {
			continue
		}
		out = append(out, "--remove-service="+n.name)
		was = slices.DeleteFunc(slices.Clone(was), func(r Rule) bool { return slices.Contains(n.rules, r) })
	}
	for _, r := range is {
		if !slices.Contains(was, r) {
			out = append(out, b.option("add", r))
		}
	}
	for _, r := range was {
		if !slices.Contains(is, r) {
			out = append(out, b.option("remove", r))
		}
	}
	return out
}

func (b firewalld) move(ctx context.Context, m modules.Machine, from, to state) error {
	zone, err := b.zone(ctx, m, from.Enabled)
	if err != nil {
		return err
	}
	named, err := b.named(ctx, m, from.Enabled, zone["services"])
	if err != nil {
		return err
	}
	steps := b.steps(expand(from.Rules), expand(to.Rules), named)
	if from.Incoming != to.Incoming {
		steps = append(steps, "--set-target="+map[string]string{allow: "ACCEPT", deny: "DROP", reject: "default"}[to.Incoming])
	}
	for _, step := range steps {
		if err := run(ctx, m, b.program(from.Enabled, step)...); err != nil {
			return err
		}
	}
	switch {
	case to.Enabled && !from.Enabled:
		return run(ctx, m, "systemctl", "enable", "--now", firewalldUnit)
	case !to.Enabled && from.Enabled:
		return run(ctx, m, "systemctl", "disable", "--now", firewalldUnit)
	case len(steps) > 0 && to.Enabled:
		return run(ctx, m, "firewall-cmd", "--reload")
	}
	return nil
}
