package runner

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/lua/dsl"
)

// selectTasks applies --tags, --skip-tags, --start-at-task and --step. As in
// Ansible a task tagged "always" runs unless it is skipped by name, and one
// tagged "never" runs only when one of its tags is asked for.
func (r *Runner) selectTasks(tasks []*dsl.Task) ([]*dsl.Task, error) {
	o := &r.opt
	var out []*dsl.Task
	started := o.StartAt == ""
	for _, t := range tasks {
		if t.Name == o.StartAt {
			started = true
		}
		if started && wanted(t.Tags, o.Tags, o.SkipTags) {
			out = append(out, t)
		}
	}
	switch {
	case !started:
		return nil, fmt.Errorf("--start-at-task: there is no task %q; the tasks are %s", o.StartAt, taskList(tasks))
	case len(out) == 0 && len(tasks) > 0 && !o.AllowEmpty:
		return nil, nothingSelected(tasks, o.Tags, o.SkipTags)
	}
	if o.Confirm != nil {
		out = slices.DeleteFunc(out, func(t *dsl.Task) bool { return !o.Confirm(t.Name) })
	}
	return out, nil
}

func wanted(tags, only, skip []string) bool {
	shares := func(list []string) bool {
		return slices.ContainsFunc(tags, func(t string) bool { return slices.Contains(list, t) })
	}
	always, never := slices.Contains(tags, "always"), slices.Contains(tags, "never")
	special := func(list []string) bool {
		return slices.Contains(list, "all") || slices.Contains(list, "tagged") && len(tags) > 0 || slices.Contains(list, "untagged") && len(tags) == 0
	}
	switch {
	case shares(skip), special(skip) && !always:
		return false
	case never:
		return shares(only)
	case len(only) == 0, always:
		return true
	}
	return shares(only) || special(only)
}

func taskList(tasks []*dsl.Task) string {
	names := make([]string, 0, len(tasks))
	for _, t := range tasks {
		names = append(names, t.Name)
	}
	if len(names) > 20 {
		names = append(names[:20], "…")
	}
	return strings.Join(names, ", ")
}

var errNoInventory = errors.New("there is no inventory: give one with -i, set $SLOTH_INVENTORY or write hosts.yaml")

// targets finds the hosts of t, before any limit on how many at once. byDefault
// is the workflow's own pattern.
func (r *Runner) targets(t *dsl.Task, byDefault string) ([]string, error) {
	pattern := t.Target.Pattern
	switch {
	case !t.Target.Set && !r.opt.HostsByDefault:
		return []string{Local}, nil
	case !t.Target.Set:
		if pattern = byDefault; pattern == "" {
			return nil, fmt.Errorf("%s:%d: task %q names no host and the workflow has no config.hosts: give --hosts PATTERN, or say :delegate_to(\"local\") if it is meant for this machine", t.Pos.File, t.Pos.Line, t.Name)
		}
	case t.Target.Group != "":
		return r.pick(t)
	}
	hosts, err := r.match(pattern)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: task %q: %w", t.Pos.File, t.Pos.Line, t.Name, err)
	}
	if t.RunOnce && len(hosts) > 1 {
		hosts = hosts[:1]
	}
	return hosts, nil
}

func (r *Runner) match(pattern string) ([]string, error) {
	if pattern == Local {
		return []string{Local}, nil
	}
	if r.opt.Hosts == nil {
		return nil, fmt.Errorf("host pattern %q: %w", pattern, errNoInventory)
	}
	hosts, err := r.opt.Hosts.Match(pattern, "")
	if err != nil || r.opt.Limit == "" {
		return hosts, err
	}
	// -l narrows every host set; a task left with none is Skipped.
	limited, err := r.limited()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(hosts, func(h string) bool { return !limited[h] }), nil
}

// limited is the set of hosts that -l leaves, found once.
func (r *Runner) limited() (map[string]bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.limit == nil {
		hosts, err := r.opt.Hosts.Match(r.opt.Limit, "")
		if err != nil {
			return nil, fmt.Errorf("--limit: %w", err)
		}
		r.limit = make(map[string]bool, len(hosts))
		for _, h := range hosts {
			r.limit[h] = true
		}
	}
	return r.limit, nil
}

// Balancer is what Hosts may also be: it knows how busy hosts are.
type Balancer interface {
	// Busy is the load of a host for each of its processors, and whether it is
	// known to be away.
	Busy(host string) (load float64, away bool)
}

// pick chooses hosts of a group by how much this run has given each already,
// and, for the least loaded, by what they do beside. Hosts that are away are
// left out, unless all are. A resumed run stays with the hosts it chose before.
func (r *Runner) pick(t *dsl.Task) ([]string, error) {
	hosts, err := r.match(t.Target.Group)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: task %q: %w", t.Pos.File, t.Pos.Line, t.Name, err)
	}
	spread := max(t.Target.Spread, 1)
	before := r.past.had(t.Name, hosts, spread)
	hosts = slices.DeleteFunc(slices.Clone(hosts), func(h string) bool { return slices.Contains(before, h) })
	there, live := r.present(hosts)
	if len(there) > 0 {
		hosts = there
	}
	n := min(spread-len(before), len(hosts))
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.rank(hosts, live, t.Target.Strategy) {
		return nil, fmt.Errorf("%s:%d: task %q: strategy %q is not one of least_loaded, round_robin, random", t.Pos.File, t.Pos.Line, t.Name, t.Target.Strategy)
	}
	hosts = append(before, hosts[:n]...)
	for _, h := range hosts {
		r.load[h]++
	}
	return hosts, nil
}

// present are those hosts that are not known to be away, and the load of each.
func (r *Runner) present(hosts []string) (there []string, live map[string]float64) {
	b, ok := r.opt.Hosts.(Balancer)
	if !ok {
		return slices.Clone(hosts), nil
	}
	live = map[string]float64{}
	for _, h := range hosts {
		load, away := b.Busy(h)
		live[h] = load
		if !away {
			there = append(there, h)
		}
	}
	return there, live
}

// rank sorts hosts, the best first; false: there is no such strategy. The
// caller holds the lock.
func (r *Runner) rank(hosts []string, live map[string]float64, strategy string) bool {
	switch strategy {
	case "", "least_loaded":
		slices.SortStableFunc(hosts, func(a, b string) int {
			return cmp.Compare(float64(r.load[a])+live[a], float64(r.load[b])+live[b])
		})
	case "round_robin":
		slices.SortStableFunc(hosts, func(a, b string) int { return r.load[a] - r.load[b] })
	case "random":
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	default:
		return false
	}
	return true
}

// nothingSelected says which flags left no task, and what tags there are.
func nothingSelected(tasks []*dsl.Task, tags, skip []string) error {
	var flags, known []string
	if len(tags) > 0 {
		flags = append(flags, "--tags "+strings.Join(tags, ","))
	}
	if len(skip) > 0 {
		flags = append(flags, "--skip-tags "+strings.Join(skip, ","))
	}
	for _, t := range tasks {
		known = append(known, t.Tags...)
	}
	slices.Sort(known)
	if known = slices.Compact(known); len(known) == 0 {
		return fmt.Errorf("%s leaves no task: none has tags", strings.Join(flags, " "))
	}
	return fmt.Errorf("%s leaves no task; the tags are %s", strings.Join(flags, " "), strings.Join(known, ", "))
}
