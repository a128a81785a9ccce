package firewall

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// backend is one of the firewalls.
type backend interface {
	name() string
	// read tells how it is, without changing it.
	read(ctx context.Context, v facts.Viewer) (state, error)
	// can refuses what this firewall cannot express.
	can(r Rule) error
	// normal takes rules apart that it keeps as several.
	normal(rules []Rule) []Rule
	// move brings it from one state to another.
	move(ctx context.Context, m modules.Machine, from, to state) error
}

// common are the arguments of all functions.
type common struct {
	Backend string `lua:"backend" enum:"ufw,firewalld,nft" doc:"Which firewall is meant; without it the one that is on, or else the first of ufw, firewalld and nft that is there"`

	b        backend
	from, to state
}

// Result adds the backend.
func (c *common) Result() map[string]any {
	if c.b == nil {
		return nil
	}
	return map[string]any{"backend": c.b.name()}
}

func backends() []backend { return []backend{ufw{}, firewalld{}, nft{}} }

// program is what a firewall is driven with.
func program(name string) string {
	if name == "firewalld" {
		return "firewall-cmd"
	}
	return name
}

// find chooses the firewall and reads it.
func (c *common) find(ctx context.Context, v facts.Viewer) error {
	var there []backend
	for _, b := range backends() {
		if c.Backend != "" && c.Backend != b.name() {
			continue
		}
		if _, err := v.LookPath(program(b.name())); err == nil || coming(v, b) {
			there = append(there, b)
		}
	}
	if len(there) == 0 && c.Backend != "" {
		return fmt.Errorf("there is no %s on this host; install it, or leave backend out", program(c.Backend))
	}
	if len(there) == 0 {
		return errors.New("there is none of ufw, firewalld (firewall-cmd) and nft on this host; pkg.install(\"nftables\") brings one")
	}
	for i, b := range there {
		s, err := readState(ctx, v, b)
		if err != nil {
			return err
		}
		if i == 0 || s.Enabled {
			c.b, c.from, c.to = b, s, s.clone()
		}
		if s.Enabled {
			break
		}
	}
	return nil
}

// coming reports whether a plan installs the package of a firewall whose first
// state is known: off, with nothing in it.
func coming(v facts.Viewer, b backend) bool {
	name := map[string]string{"nft": "nftables", "ufw": "ufw"}[b.name()]
	planned, ok := modules.Noted(v, "package:"+name)
	return ok && planned != modules.Absent
}

func note(b backend) string { return "firewall:" + b.name() }

// readState reads through the plan.
func readState(ctx context.Context, v facts.Viewer, b backend) (state, error) {
	if planned, ok := modules.Noted(v, note(b)); ok {
		var s state
		err := json.Unmarshal([]byte(planned), &s)
		return s, err
	}
	if _, err := v.LookPath(program(b.name())); err != nil {
		return state{Incoming: deny, Outgoing: allow}, nil
	}
	return b.read(ctx, v)
}

// diff says what the way from one state to the other is.
func (c *common) diff() modules.Diff {
	var d modules.Diff
	what := "firewall (" + c.b.name() + ")"
	set := func(attr, before, after string) {
		if before != after {
			d.Add(modules.Change{What: what, Attr: attr, Before: before, After: after})
		}
	}
	words := map[bool]string{true: "on", false: "off"}
	set("incoming", c.from.Incoming, c.to.Incoming)
	set("outgoing", c.from.Outgoing, c.to.Outgoing)
	for _, r := range c.from.Rules {
		if !slices.Contains(c.to.Rules, r) {
			set("rule", r.String(), "")
		}
	}
	for _, r := range c.to.Rules {
		if !slices.Contains(c.from.Rules, r) {
			set("rule", "", r.String())
		}
	}
	set("state", words[c.from.Enabled], words[c.to.Enabled])
	if c.from.Adrift && c.to.Enabled {
		set("rules in force", "others than are written down", "as written down")
	}
	return d
}

// Apply goes the way.
func (c *common) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return c.b.move(ctx, m, c.from, c.to)
}

// Plan lets later checks see where it leads.
func (c *common) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	to := c.to
	to.Adrift = false
	data, err := json.Marshal(to)
	if err != nil {
		return err
	}
	o.Note(note(c.b), string(data))
	return nil
}

// match are the arguments that say which packets are meant.
type match struct {
	Port      []string `lua:"port" alias:"ports" pos:"1" doc:"Port, range (\"8000-8010\") or list of them"`
	Proto     string   `lua:"proto" alias:"protocol" enum:"tcp,udp,any" doc:"Protocol; tcp where there is a port, or else any"`
	Service   string   `lua:"service" doc:"Name of a service instead of port and proto: \"ssh\", \"https\", or one of /etc/services"`
	From      string   `lua:"from" alias:"source,src" doc:"Address or network that the packets come from"`
	To        string   `lua:"to" alias:"destination,dest" doc:"Address or network that they go to"`
	Interface string   `lua:"interface" alias:"iface" doc:"Network interface that they pass"`
	Direction string   `lua:"direction" enum:"in,out" doc:"Whether they come in or go out"`
	Comment   string   `lua:"comment" doc:"What the rule is for; firewalld keeps no comments"`
}

func newMatch() match { return match{Direction: in} }

var interfaceForm = form(`^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,14}$`)

const maxComment = 120

func (m *match) validate() error {
	switch {
	case m.Service != "" && (len(m.Port) > 0 || m.Proto != ""):
		return errors.New("give one of service and port with proto")
	case m.Service == "" && len(m.Port) == 0 && m.Proto == "" && m.From == "" && m.To == "" && m.Interface == "":
		return errors.New("port is missing: say which packets are meant, with port, service, proto, from, to or interface")
	case m.Interface != "" && !interfaceForm().MatchString(m.Interface):
		return fmt.Errorf("interface = %q is no name of a network interface", m.Interface)
	case strings.ContainsAny(m.Comment, "\"'\\\r\n\x00") || len(m.Comment) > maxComment:
		return fmt.Errorf("comment = %q: it may have %d characters and no quotes, backslashes or line breaks", m.Comment, maxComment)
	}
	_, err := m.plain("")
	return err
}

// plain is the rule without the service.
func (m *match) plain(action string) (Rule, error) {
	r := Rule{Action: action, Direction: m.Direction, Proto: m.Proto, Interface: m.Interface, Comment: m.Comment}
	var err error
	if len(m.Port) > 0 {
		if r.Port, err = ports(strings.Join(m.Port, ",")); err != nil {
			return r, err
		}
	}
	if r.Proto == "" {
		r.Proto = anyProto
		if r.Port != "" {
			r.Proto = tcp
		}
	}
	if r.From, err = address("from", m.From); err != nil {
		return r, err
	}
	if r.To, err = address("to", m.To); err != nil {
		return r, err
	}
	if r.From != "" && r.To != "" && strings.Contains(r.From, ":") != strings.Contains(r.To, ":") {
		return r, fmt.Errorf("from = %q and to = %q are of different families of addresses", m.From, m.To)
	}
	return r, nil
}

// rules are the rules that the arguments mean.
func (m *match) rules(v facts.Viewer, action string) ([]Rule, error) {
	r, err := m.plain(action)
	if err != nil || m.Service == "" {
		return []Rule{r}, err
	}
	list, err := service(v, m.Service)
	var out []Rule
	for _, s := range list {
		r.Proto, r.Port = s[0], s[1]
		out = append(out, r)
	}
	return out, err
}

// ruleCall is firewall.allow.
type ruleCall struct {
	match
	common
	action string
	force  bool
}

// Validate checks the arguments.
func (c *ruleCall) Validate() error { return c.validate() }

// Check looks for the rule; one for the same packets with another action is
// replaced where it is.
func (c *ruleCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := c.find(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	want, err := c.rules(v, c.action)
	if err != nil {
		return modules.Diff{}, err
	}
	for _, r := range c.b.normal(want) {
		if err := c.b.can(r); err != nil {
			return modules.Diff{}, err
		}
		at := slices.IndexFunc(c.to.Rules, func(is Rule) bool { return is.match() == r.match() })
		switch {
		case at < 0:
			c.to.Rules = append(c.to.Rules, r)
		case c.to.Rules[at].Action != r.Action || r.Comment != "" && r.Comment != c.to.Rules[at].Comment:
			c.to.Rules[at] = r
		}
	}
	if !c.force {
		if err := guard(v, c.from, c.to); err != nil {
			return modules.Diff{}, err
		}
	}
	return c.diff(), nil
}

// refuseCall is firewall.deny and firewall.reject.
type refuseCall struct {
	ruleCall
	Force bool `lua:"force" doc:"Also when it shuts out SSH"`
}

// Check looks for the rule.
func (c *refuseCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	c.force = c.Force
	return c.ruleCall.Check(ctx, v)
}

// removeCall is firewall.remove.
type removeCall struct {
	match
	common
	Action string `lua:"action" enum:"allow,deny,reject,limit" doc:"What the rule does"`
	Force  bool   `lua:"force" doc:"Also when it shuts out SSH"`
}

// Validate checks the arguments.
func (c *removeCall) Validate() error { return c.validate() }

// Check looks for the rule. A comment is of no matter.
func (c *removeCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := c.find(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	gone, err := c.rules(v, c.Action)
	if err != nil {
		return modules.Diff{}, err
	}
	gone = c.b.normal(gone)
	c.to.Rules = slices.DeleteFunc(c.to.Rules, func(is Rule) bool {
		return slices.ContainsFunc(gone, func(r Rule) bool {
			return r.match() == is.match() && r.Action == is.Action && (r.Comment == "" || r.Comment == is.Comment)
		})
	})
	if !c.Force {
		if err := guard(v, c.from, c.to); err != nil {
			return modules.Diff{}, err
		}
	}
	return c.diff(), nil
}

// policyCall is firewall.default.
type policyCall struct {
	common
	Incoming string `lua:"incoming" enum:"allow,deny,reject" doc:"What becomes of packets that come in"`
	Outgoing string `lua:"outgoing" enum:"allow,deny,reject" doc:"What becomes of packets that go out"`
	Force    bool   `lua:"force" doc:"Also when it shuts out SSH"`
}

// Validate asks for one of them.
func (c *policyCall) Validate() error {
	if c.Incoming == "" && c.Outgoing == "" {
		return errors.New("incoming is missing: say what becomes of packets, with incoming or outgoing")
	}
	return nil
}

// Check compares the policies.
func (c *policyCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := c.find(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	if c.Incoming != "" {
		c.to.Incoming = c.Incoming
	}
	if c.Outgoing != "" {
		c.to.Outgoing = c.Outgoing
	}
	if c.b.name() == "firewalld" && c.to.Outgoing != allow {
		return modules.Diff{}, errors.New("firewalld has no policy for packets that go out; use the backend nft")
	}
	if !c.Force {
		if err := guard(v, c.from, c.to); err != nil {
			return modules.Diff{}, err
		}
	}
	return c.diff(), nil
}

// switchCall is firewall.enable.
type switchCall struct {
	common
	Force bool `lua:"force" doc:"Also when it shuts out SSH"`
}

// Check compares the state.
func (c *switchCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := c.find(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	c.to.Enabled = true
	if !c.Force {
		if err := guard(v, c.from, c.to); err != nil {
			return modules.Diff{}, err
		}
	}
	return c.diff(), nil
}

// offCall is firewall.disable.
type offCall struct{ common }

// Check compares the state.
func (c *offCall) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if err := c.find(ctx, v); err != nil {
		return modules.Diff{}, err
	}
	c.to.Enabled = false
	return c.diff(), nil
}

// status is firewall.status and firewall.list.
type status struct {
	common
	rules bool
}

// Query reads the state.
func (s *status) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	if err := s.find(ctx, v); err != nil {
		return nil, err
	}
	rules := []any{}
	for _, r := range s.from.Rules {
		rules = append(rules, r.table())
	}
	if s.rules {
		return []any{rules}, nil
	}
	return []any{map[string]any{
		"backend": s.b.name(), "enabled": s.from.Enabled, "incoming": s.from.Incoming, "outgoing": s.from.Outgoing, "rules": len(rules),
	}}, nil
}

// run runs a program of a firewall.
func run(ctx context.Context, m modules.Machine, argv ...string) error {
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}, Stdin: strings.NewReader("")})
	if err != nil {
		return err
	}
	if a.ExitCode == 0 {
		return nil
	}
	text := tool.Failure(a, false)
	// nft says first what is wrong, and then points at it in lines of its own.
	for line := range strings.Lines(string(a.Stderr)) {
		if strings.Contains(line, "Error:") {
			text = tool.Failure(facts.Answer{ExitCode: a.ExitCode, Signal: a.Signal, Stderr: []byte(line)}, false)
			break
		}
	}
	if strings.Contains(text, "be root") || strings.Contains(text, "ermission denied") || strings.Contains(text, "not permitted") {
		text += "; firewalls are root's business: give the task :become(\"root\")"
	}
	return fmt.Errorf("%s: %s", strings.Join(argv, " "), text)
}

// form compiles a pattern at its first use: a host that has no need of it pays nothing.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
