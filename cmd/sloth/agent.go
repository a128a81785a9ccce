package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

func newAgent(a *app) *cobra.Command {
	c := &cobra.Command{Use: "agent", Short: "Run agents on hosts that dial out, and look after them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var address string
	c.PersistentFlags().StringVar(&address, "master", "", "the master's `address`, or several with commas (default: the last login, else 127.0.0.1:50053)")
	c.AddCommand(newAgentStart(a, &address), newAgentList(a, &address), newAgentShow(a, &address), newAgentRun(a, &address),
		newAgentStop(a, &address), newAgentDelete(a, &address), newAgentApprove(a, &address), newAgentToken(a, &address), newAgentInstall(a, &address), newAgentUpgrade(a, &address),
		newAgentBootstrap(a, &address))
	return c
}

func newAgentList(a *app, address *string) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "list", Short: "List agents", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := listMaster[agent.Status](cmd.Context(), *address, agent.MethodList)
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(a, append([]agent.Status{}, list...))
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "Name\tAddress\tStatus\tLast Heartbeat\tVersion\tLoad\tCommands")
			for _, s := range list {
				last := "never"
				if !s.LastBeat.IsZero() {
					last = ago(time.Since(s.LastBeat))
				}
				load := "-"
				if s.State == agent.StateActive {
					load = fmt.Sprintf("%.2f", s.Load)
				}
				status := s.State
				if s.State == agent.StatePending {
					status += " " + s.Meeting
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", render.Sanitize(s.Name), render.Sanitize(s.Address), status, last, render.Sanitize(s.Version), load, s.Works)
			}
			return w.Flush()
		},
	}
	c.Flags().StringVar(&output, "output", "", "`how`: text or json")
	return c
}

func ago(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%ds ago", int(max(d, 0).Seconds()))
	}
	return d.Round(time.Minute).String() + " ago"
}

func writeJSON(a *app, v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func newAgentShow(a *app, address *string) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all that is known about an agent", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := listMaster[agent.Status](cmd.Context(), *address, agent.MethodList)
			if err != nil {
				return err
			}
			for _, s := range list {
				if s.Name == args[0] {
					return writeJSON(a, s)
				}
			}
			return withHint(fmt.Errorf("there is no agent %s", args[0]), "`sloth agent list` shows the agents there are.")
		},
	}
}

func newAgentStop(a *app, address *string) *cobra.Command {
	return &cobra.Command{
		Use: "stop NAME", Short: "End an agent; it may be started again", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := callMaster(cmd.Context(), *address, agent.MethodStop, &agent.Name{Name: args[0]}, &agent.Nothing{}); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "agent %s has stopped\n", args[0])
			return nil
		},
	}
}

func newAgentDelete(a *app, address *string) *cobra.Command {
	var user, token bool
	c := &cobra.Command{
		Use: "delete NAME", Short: "Revoke an agent's certificate and forget it; with --user or --token those", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind := pki.KindAgent
			switch {
			case user && token:
				return errors.New("--user and --token exclude each other")
			case user:
				kind = pki.KindUser
			case token:
				kind = "token"
			}
			if err := callMaster(cmd.Context(), *address, agent.MethodDelete, &agent.Name{Name: args[0], Kind: kind}, &agent.Nothing{}); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "%s %s is deleted\n", kind, args[0])
			return nil
		},
	}
	c.Flags().BoolVar(&user, "user", false, "NAME is a user: none of its logins holds any more")
	c.Flags().BoolVar(&token, "token", false, "NAME is the id of a token that nobody has used yet")
	return c
}

func newAgentApprove(a *app, address *string) *cobra.Command {
	var fingerprint string
	c := &cobra.Command{
		Use: "approve NAME", Short: "Let in an agent that waits, after its fingerprint was compared", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var s agent.Status
			if err := callMaster(cmd.Context(), *address, agent.MethodApprove, &agent.Name{Name: args[0], Fingerprint: fingerprint}, &s); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "agent %s (%s) is let in, fingerprint %s\n", args[0], render.Sanitize(s.Host), s.Meeting)
			return nil
		},
	}
	c.Flags().StringVar(&fingerprint, "fingerprint", "", "the `fingerprint` that the agent shows; another one is refused")
	return c
}

func newAgentToken(a *app, address *string) *cobra.Command {
	q := &agent.TokenRequest{}
	var user string
	var allow []string
	var list bool
	c := &cobra.Command{
		Use: "token [NAME-PATTERN]", Short: "Make a one-time token that lets one agent, or one user, in",
		Example: `  sloth agent token 'web-*' --expires 30m      for an agent whose name matches
  sloth agent token --user ann --role operator --hosts 'web-*,db-1'
  sloth agent token --user ben --allow 'shop,shop-*@web-*' --allow 'billing@db-1'
  sloth agent token --list`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if list {
				return a.listTokens(cmd.Context(), *address)
			}
			q.Kind, q.Pattern = pki.KindAgent, "*"
			switch {
			case user != "" && len(args) > 0:
				return errors.New("a token is for an agent or for a user, not for both")
			case user != "":
				q.Kind, q.Pattern = pki.KindUser, user
			case len(args) > 0:
				q.Pattern = args[0]
			}
			if _, err := path.Match(q.Pattern, ""); err != nil {
				return fmt.Errorf("the pattern %q can't be read: %w", q.Pattern, err)
			}
			q.Allow = strings.Join(allow, ";")
			var t agent.TokenInfo
			if err := callMaster(cmd.Context(), *address, agent.MethodToken, q, &t); err != nil {
				return err
			}
			fmt.Fprintln(a.stdout, t.Text)
			fmt.Fprintf(a.stderr, "good once, for %s %s, until %s\n", t.Kind, t.Pattern, t.Expires.Local().Format(time.DateTime))
			return nil
		},
	}
	c.Flags().DurationVar(&q.Life, "expires", time.Hour, "how long the token is good")
	c.Flags().StringVar(&user, "user", "", "for the user of this `name`")
	c.Flags().StringVar(&q.Role, "role", "operator", "what the user may do: viewer, operator or admin")
	c.Flags().StringVar(&q.Hosts, "hosts", "", "agents that the user may see and reach: `patterns` with commas (default all)")
	c.Flags().StringArrayVar(&allow, "allow", nil, "`STACKS@HOSTS`: runs in these stacks may reach these agents, and nothing else may; patterns with commas")
	c.Flags().BoolVar(&list, "list", false, "list tokens that nobody has used yet")
	return c
}

func (a *app) listTokens(ctx context.Context, address string) error {
	list, err := listMaster[agent.TokenInfo](ctx, address, agent.MethodTokens)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tFor\tName\tExpires")
	for _, t := range list {
		who := t.Kind
		if t.Role != "" {
			who = strings.TrimSpace(t.Kind + " " + t.Role)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.ID, who, render.Sanitize(t.Pattern), t.Expires.Local().Format(time.DateTime))
	}
	return w.Flush()
}
