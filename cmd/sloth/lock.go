package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner"
	"github.com/sloth-runner/sloth/runner/step"
	"github.com/spf13/cobra"
)

func newLock(a *app) *cobra.Command {
	c := &cobra.Command{Use: "lock", Short: "See which runs change hosts right now, and end one that hangs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(lockCommand(a, "list PATTERN", "Show who holds the lock of each host", "holder"),
		lockCommand(a, "break PATTERN", "End the worker that holds the lock of a host; its step is unknown then", "break"))
	return c
}

func lockCommand(a *app, use, short, function string) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}}
	yes := false
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1),
		Long: short + ".\n\nA lock belongs to the user whose processes make the changes: with -b that is the one tasks become.",
		RunE: func(cmd *cobra.Command, args []string) error {
			hosts, err := x.hosts(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer x.fleet.close()
			if function == "break" && !yes {
				ok, err := a.confirm(fmt.Sprintf("End what changes %d hosts right now?", len(hosts)))
				if err != nil {
					return withHint(err, "Say --yes.")
				}
				if !ok {
					return errors.New("you did not say yes: all locks are as they were")
				}
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			results := make([]render.HostOutput, len(hosts))
			each(hosts, x.flags.forks, func(i int, host string) { results[i] = x.lockCall(ctx, host, function) })
			if err := x.report(results); err != nil {
				return err
			}
			return verdict(ctx, results)
		},
	}
	x.flags.add(c.Flags(), "")
	if function == "break" {
		c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	}
	return c
}

// lockCall calls one function about the lock of a host.
func (x *adhoc) lockCall(ctx context.Context, host, function string) render.HostOutput {
	out := render.HostOutput{Host: host}
	r, err := x.lockResult(ctx, host, function)
	switch {
	case err != nil:
		out.Failure = failureOf(err)
	case r.Failure != nil:
		out.Failure = r.Failure
	default:
		out.Stdout = []byte(lockText(r.Outputs) + "\n")
		if x.flags.output == "json" || x.flags.output == "ndjson" {
			if text, err := json.Marshal(r.Outputs); err == nil {
				out.Stdout = text
			}
		}
	}
	return out
}

func (x *adhoc) lockResult(ctx context.Context, host, function string) (step.Result, error) {
	run := newRunID(time.Now())
	s, err := x.fleet.session(ctx, host, run, false, runner.SessionOptions{})
	if err != nil {
		return step.Result{}, err
	}
	defer s.Close()
	name := step.LockModule + "." + function
	seg := step.Segment{ID: run, Host: step.Host{Name: host}, Steps: []step.Spec{{ID: run, Task: name, Call: name, Become: fleetHosts{x.fleet}.Become(host)}}}
	body, err := s.Do(ctx, shim.Job{ID: run, Kind: "segment", Body: seg}, silent{})
	if err != nil {
		return step.Result{}, err
	}
	var results []step.Result
	if err := packed.Unmarshal(body, &results); err != nil {
		return step.Result{}, err
	}
	if len(results) != 1 {
		return step.Result{}, errors.New("the host gave no result")
	}
	return results[0], nil
}

func lockText(outputs any) string {
	m, ok := outputs.(map[string]any)
	if v, wrapped := m["value"].(map[string]any); wrapped {
		m, ok = v, true
	}
	if !ok {
		return "nothing is known"
	}
	text := func(k string) string { return render.Sanitize(fmt.Sprint(m[k])) }
	switch {
	case m["changed"] == true:
		return fmt.Sprintf("broken: it was held by run %s of %s", text("run"), text("owner"))
	case m["locked"] == true:
		return fmt.Sprintf("held by run %s of %s since %s, process %s", text("run"), text("owner"), text("since"), text("pid"))
	}
	return "free"
}
