package main

import (
	"fmt"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/runner"
	"golang.org/x/sys/unix"
)

// What the program itself has open, and what one host adds: its connection, and
// files that are being read for it or written from it.
const (
	ownDescriptors  = 48
	hostDescriptors = 2
)

// enoughDescriptors refuses a run that would fail on most of its hosts because
// this process may not open a connection to each.
func enoughDescriptors(hosts int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil //nolint:nilerr // no limit is known
	}
	// At the start Go has raised the soft limit to the hard one.
	if need := uint64(ownDescriptors + hosts*hostDescriptors); need > limit.Cur {
		return withHint(fmt.Errorf("%d hosts need up to %d open files, and this process may have %d", hosts, need, limit.Cur),
			"Nothing was begun. Raise the limit (ulimit -n, LimitNOFILE= of a service), or work on fewer hosts with --limit.")
	}
	return nil
}

// descriptors counts the hosts that a workflow may connect to.
func (v *invocation) descriptors(w *dsl.Workflow) error {
	if w == nil || v.fleet.inv == nil {
		return nil
	}
	patterns := []string{w.Config.Hosts, v.flags.hosts}
	for _, t := range w.Tasks {
		patterns = append(patterns, t.Target.Pattern)
	}
	hosts := map[string]bool{}
	for _, p := range patterns {
		if p == "" || p == runner.Local {
			continue
		}
		names, err := v.fleet.inv.Match(p, v.flags.limit)
		if err != nil {
			continue // whoever uses it says what is wrong
		}
		for _, n := range names {
			hosts[n] = true
		}
	}
	if len(hosts) < 2 {
		return nil
	}
	return enoughDescriptors(len(hosts))
}
