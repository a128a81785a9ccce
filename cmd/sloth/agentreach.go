package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
)

// kindAgent is how the inventory names this kind of connection.
const kindAgent = "agent"

// dialAgent reaches an agent through its master: the one that the host's
// variable sloth_master names, or the last login.
func (fl *fleet) dialAgent(ctx context.Context, t connection.Target) (connection.Conn, error) {
	address := fl.master
	if address == "" {
		address, _ = fl.inv.Vars(t.Name)["sloth_master"].(string)
	}
	route, err := fl.route(address)
	if err != nil {
		return nil, &connection.Error{Class: connection.ClassAuth, Host: t.Name, Op: "reach the agent " + t.Address, Err: err, Hint: hintOf(err)}
	}
	c, err := route.Dial(ctx, t.Address)
	if err != nil {
		var e *connection.Error
		if errors.As(err, &e) {
			e.Host = t.Name
		}
		return nil, err
	}
	return c, nil
}

// route leads to the agents of a master; an empty address means the last login.
// What a login needs is read from the disk once, not for each agent.
func (fl *fleet) route(address string) (*agent.Router, error) {
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if r := fl.routes[address]; r != nil {
		return r, nil
	}
	k, full, err := masterKeep(address)
	if err != nil {
		return nil, err
	}
	if fl.routes == nil {
		fl.routes = map[string]*agent.Router{}
	}
	r := fl.routes[full]
	if r == nil { // it may have been named otherwise before
		d := k.Dialer(full)
		d.Limit, d.Stack = fl.flags.timeout, fl.stack
		r = agent.NewRouter(d)
	}
	fl.routes[address], fl.routes[full] = r, r
	return r, nil
}

// addAgents makes hosts of those names in pattern that only the master knows.
// Nothing is asked where nobody has logged in.
func (fl *fleet) addAgents(names []string) {
	if len(names) == 0 || fl.listAgents == nil {
		return
	}
	if fl.agents == nil {
		fl.agents = map[string]agent.Status{}
		list, err := fl.listAgents()
		if err != nil {
			fl.warn(fmt.Sprintf("the master was not asked for agents: %v", err))
		}
		for _, s := range list {
			// What the inventory knows is what it says, whoever else has that name.
			if s.State != agent.StatePending && fl.inv.Vars(s.Name) == nil {
				fl.agents[s.Name] = s
			}
		}
	}
	for name := range fl.agents {
		if slices.ContainsFunc(names, func(n string) bool { ok, _ := path.Match(n, name); return ok }) {
			fl.inv.AddHost(name, "the master of agents")
		}
	}
}

// isAgent reports whether a host is one that only the master knows.
func (fl *fleet) isAgent(host string) bool {
	_, ok := fl.agents[host]
	return ok && !fl.saysKind(host)
}

// busyFor is how long what the master says of its agents' load is believed.
const busyFor = 5 * time.Second

// busy is the load of an agent, and whether it is not connected. Of other hosts
// nothing is known.
func (fl *fleet) busy(host string) (load float64, away bool) {
	t, _, err := fl.target(host)
	if err != nil || t.Kind != kindAgent || fl.listAgents == nil {
		return 0, false
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	if time.Since(fl.asked) > busyFor {
		fl.asked = time.Now()
		list, err := fl.listAgents()
		if err != nil {
			return 0, false // who is away shows when it is dialled
		}
		fl.status = list
	}
	for _, s := range fl.status {
		if s.Name == t.Address {
			return s.Load, s.State != agent.StateActive
		}
	}
	return 0, false
}

// Busy implements runner.Balancer.
func (h fleetHosts) Busy(host string) (load float64, away bool) { return h.busy(host) }

// agentLister asks the master for its agents; nil where nobody has logged in.
func agentLister(ctx context.Context, address string) func() ([]agent.Status, error) {
	if _, _, err := masterKeep(address); err != nil {
		return nil
	}
	return func() ([]agent.Status, error) {
		return listMaster[agent.Status](ctx, address, agent.MethodList)
	}
}

func newAgentRun(a *app, address *string) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}}
	c := &cobra.Command{
		Use: "run PATTERN COMMAND", Aliases: []string{"exec"}, Short: "Run one command on agents", Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listMaster[agent.Status](cmd.Context(), *address, agent.MethodList)
			if err != nil {
				return err
			}
			var names []string
			for _, s := range list {
				if ok, _ := path.Match(args[0], s.Name); ok && s.State != agent.StatePending || s.Name == args[0] {
					names = append(names, s.Name)
				}
			}
			if len(names) == 0 {
				return withHint(fmt.Errorf("no agent matches %s", args[0]), "`sloth agent list` shows the agents there are.")
			}
			x.command = strings.Join(args[1:], " ")
			x.flags.inventory, x.flags.kind, x.flags.forks = []string{strings.Join(names, ",") + ","}, kindAgent, 64
			x.master = *address
			return x.run(cmd.Context(), "all")
		},
	}
	c.Flags().BoolVarP(&x.flags.become, "become", "b", false, "run as another user (root by default)")
	c.Flags().StringVar(&x.flags.becomeUser, "become-user", "", "the `user` to become")
	c.Flags().BoolVar(&x.stream, "stream", false, "show output as it comes, each line behind its host")
	c.Flags().DurationVar(&x.limit, "command-timeout", 0, "end the command after this long")
	c.Flags().StringVar(&x.flags.output, "output", "", "how results look: basic, json or ndjson")
	return c
}
