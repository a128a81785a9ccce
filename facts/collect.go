package facts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Errors is the key under which Collect explains what is missing: fact or
// collector name to reason.
const Errors = "_errors"

// collector finds a few facts that belong together.
type collector struct {
	name  string
	facts []string // the names it may give; others may come on top of them
	// limit is how long it may take; collectors that only read /proc never need
	// the default.
	limit time.Duration
	find  func(h host, ctx context.Context) (map[string]any, error) // a method of host
}

const defaultLimit = 2 * time.Second

// Collect returns facts of this machine under Ansible's names without their
// prefix: "os_family", "default_ipv4". Names choose facts or whole collectors
// ("network"); without names every fact is returned. Collectors run side by
// side, each with its own deadline, so that a dead mount or a stuck script hides
// its own facts only; what is missing is explained under "_errors". The values
// are nil, bool, int, float64, string, []any and map[string]any.
func Collect(ctx context.Context, names ...string) map[string]any {
	return host{root: "/"}.collect(ctx, collectors, names)
}

// Names lists the facts that Collect knows, sorted, without those that depend
// on the machine, such as the names of interfaces.
func Names() []string {
	var all []string
	for _, c := range collectors {
		all = append(all, c.facts...)
	}
	slices.Sort(all)
	return all
}

// Collectors lists the groups of facts that Collect knows by name.
func Collectors() []string {
	var all []string
	for _, c := range collectors {
		all = append(all, c.name)
	}
	return all
}

type found struct {
	collector string
	facts     map[string]any
	err       error
}

func (h host) collect(ctx context.Context, from []collector, names []string) map[string]any {
	out := map[string]any{}
	missing := map[string]any{}
	want, chosen := choose(from, names, missing)
	answers := make(chan found, len(chosen))
	for _, c := range chosen {
		limit := c.limit
		if limit == 0 {
			limit = defaultLimit
		}
		go func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			answers <- c.within(ctx, h)
		}()
	}
	got := map[string]found{}
	for range chosen {
		a := <-answers
		got[a.collector] = a
	}
	// In the order of the list: a name given twice stays the first one's.
	for _, c := range chosen {
		a := got[c.name]
		for name, v := range a.facts {
			if _, taken := out[name]; !taken && (want == nil || want[name] || want[c.name]) {
				out[name] = v
			}
		}
		if a.err != nil {
			missing[c.name] = a.err.Error()
		}
	}
	for name := range want {
		if _, ok := out[name]; !ok && missing[name] == nil && !isCollector(from, name) {
			missing[name] = "this machine does not have it"
		}
	}
	if len(missing) > 0 {
		out[Errors] = missing
	}
	return out
}

// within answers at the latest when ctx ends. A system call that never returns
// keeps its goroutine, which holds nothing that anybody waits for.
func (c collector) within(ctx context.Context, h host) found {
	done := make(chan found, 1)
	go func() {
		f := found{collector: c.name}
		defer func() {
			if p := recover(); p != nil {
				f.err = fmt.Errorf("the collector failed: %v", p)
			}
			done <- f
		}()
		f.facts, f.err = c.find(h, ctx)
	}()
	start := time.Now()
	select {
	case f := <-done:
		return f
	case <-ctx.Done():
		err := fmt.Errorf("no answer within %s", time.Since(start).Round(time.Millisecond))
		if errors.Is(ctx.Err(), context.Canceled) {
			err = context.Canceled
		}
		return found{collector: c.name, err: err}
	}
}

// choose picks the collectors that the names need. A nil want means everything.
func choose(from []collector, names []string, missing map[string]any) (want map[string]bool, chosen []collector) {
	if len(names) == 0 {
		return nil, from
	}
	want = map[string]bool{}
	need := map[string]bool{}
	for _, name := range names {
		name = strings.TrimPrefix(name, "ansible_")
		want[name] = true
		at := slices.IndexFunc(from, func(c collector) bool { return c.name == name || slices.Contains(c.facts, name) })
		if at < 0 {
			// It may be the name of an interface.
			at = slices.IndexFunc(from, func(c collector) bool { return c.name == "network" })
		}
		if at < 0 {
			missing[name] = "there is no such fact"
			continue
		}
		need[from[at].name] = true
	}
	for _, c := range from {
		if need[c.name] {
			chosen = append(chosen, c)
		}
	}
	return want, chosen
}

func isCollector(from []collector, name string) bool {
	return slices.ContainsFunc(from, func(c collector) bool { return c.name == name })
}

// host is a machine as seen through its files below root.
type host struct{ root string }

// maxFile is how much of a file is read; everything here is small.
const maxFile = 1 << 20

func (h host) path(name string) string { return filepath.Join(h.root, name) }

// read returns a file of the host without the blanks around it, or "".
func (h host) read(name string) string {
	b, _ := h.bytes(name)
	return strings.TrimSpace(string(b))
}

func (h host) bytes(name string) ([]byte, error) { return readCapped(h.path(name), maxFile) }

func (h host) exists(name string) bool {
	_, err := os.Lstat(h.path(name))
	return err == nil
}

func (h host) lines(name string) []string {
	b, err := h.bytes(name)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

// put sets m[key] unless v is empty.
func put(m map[string]any, key, v string) {
	if v != "" {
		m[key] = v
	}
}

func anyList[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
