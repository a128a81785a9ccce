package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner"
	"github.com/spf13/cobra"
)

// maxFacts bounds what one host may say of itself.
const maxFacts = 16 << 20

func newFacts(a *app) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}}
	var names []string
	c := &cobra.Command{
		Use:   "facts PATTERN",
		Short: "Show what hosts are",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := knownFacts(names); err != nil {
				return err
			}
			hosts, err := x.hosts(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer x.fleet.close()
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return x.facts(ctx, hosts, names)
		},
	}
	x.flags.add(c.Flags(), "")
	c.Flags().StringSliceVar(&names, "fact", nil, "only these `facts`, or groups of them")
	_ = c.RegisterFlagCompletionFunc("fact", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return append(facts.Names(), facts.Collectors()...), cobra.ShellCompDirectiveNoFileComp
	}) // it fails for a flag that is not there
	return c
}

func (x *adhoc) facts(ctx context.Context, hosts, names []string) error {
	var mu sync.Mutex
	all := map[string]any{}
	var lost bool
	each(hosts, x.flags.forks, func(_ int, host string) {
		f, err := x.factsOf(ctx, host, names)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			lost = true
			x.app.printError(fmt.Errorf("%s: %w", host, err))
			return
		}
		all[host] = f
	})
	enc := json.NewEncoder(x.app.stdout)
	enc.SetIndent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	switch {
	case ctx.Err() != nil:
		return exitError{exitInterrupted}
	case lost:
		return exitError{exitUnreachable}
	}
	return nowhere(names, all)
}

func (x *adhoc) factsOf(ctx context.Context, host string, names []string) (map[string]any, error) {
	s, err := x.fleet.session(ctx, host, "facts", true, runner.SessionOptions{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// Never nil, which travels as no body at all.
	body, err := s.Do(ctx, shim.Job{ID: "facts", Kind: "facts", Body: append([]string{}, names...)}, silent{})
	if err != nil {
		return nil, err
	}
	if len(body) > maxFacts {
		return nil, fmt.Errorf("its facts are %d bytes, the limit is %d", len(body), maxFacts)
	}
	var f map[string]any
	return f, packed.Unmarshal(body, &f)
}

// silent is for jobs that neither say nor ask anything.
type silent struct{}

func (silent) Event(string, []byte) {}

func (silent) Call(context.Context, string, []byte) ([]byte, error) {
	return nil, errors.New("facts need nothing from the controller")
}
