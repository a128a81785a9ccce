package render

import (
	"slices"
	"strings"
	"time"
)

// group is one result that one or more hosts had.
type group struct {
	outcome outcome
	task    string // empty: the host as a whole
	hosts   []string
	detail  string // rest of the line
	nested  bool
	note    string   // beside the outcome: the class of a failure
	block   []string // lines below
	longest time.Duration
	since   time.Time
	joined  time.Time // the last of hosts
}

// due reports whether g has waited long enough. Hosts that take about as long as
// those it has would be there by now; one that is slower is not waited for.
func (g *group) due(now time.Time) bool {
	if g.outcome >= outFailed {
		return now.Sub(g.since) >= failedFor
	}
	return now.Sub(g.since) >= groupFor || now.Sub(g.joined) >= failedFor+2*g.longest
}

func (g *group) same(h *group) bool {
	return g.outcome == h.outcome && g.task == h.task && g.detail == h.detail && g.note == h.note && slices.Equal(g.block, h.block)
}

// add shows g for host, together with other hosts that did the same.
func (t *text) add(g *group, host string) {
	now := t.o.Now()
	g.hosts, g.since, g.joined = []string{host}, now, now
	if !t.several || t.o.Verbosity > 0 {
		t.show(g)
		return
	}
	for _, other := range t.groups {
		if other.same(g) {
			other.hosts, other.joined = append(other.hosts, host), now
			other.longest = max(other.longest, g.longest)
			return
		}
	}
	t.groups = append(t.groups, g)
}

// flushGroups shows the groups that are complete or have waited long enough.
// Where all hosts did one thing, nothing before it will get any longer.
func (t *text) flushGroups(all bool) {
	now := t.o.Now()
	complete := -1
	for i, g := range t.groups {
		if len(g.hosts) >= len(t.run.Hosts) || all {
			complete = i
		}
	}
	i := -1
	t.groups = slices.DeleteFunc(t.groups, func(g *group) bool {
		i++
		if i > complete && !g.due(now) {
			return false
		}
		t.show(g)
		return true
	})
}

func (t *text) show(g *group) {
	t.print(t.heading(g))
	for _, l := range g.block {
		t.print(strings.TrimRight("    "+l, " "))
	}
}

// heading is the first line of a group.
func (t *text) heading(g *group) string {
	detail := g.detail
	if g.note != "" {
		detail = strings.TrimSpace("(" + g.note + ") " + detail)
	}
	if t.look.marks != nil && g.outcome >= outFailed {
		// A sign alone does not tell a lost host from a failed task.
		detail = strings.TrimSpace(words[g.outcome] + " " + detail)
	}
	return t.line(g.outcome, g.task, g.hosts, detail, g.longest)
}

// line is one result: sign, task, hosts, what happened, how long.
func (t *text) line(o outcome, task string, hosts []string, detail string, took time.Duration) string {
	var parts []string
	if task != "" {
		parts = append(parts, pad(cut(Name(task), 2*maxTaskWidth), t.taskWidth))
	}
	if t.several || task == "" || len(hosts) > 1 {
		parts = append(parts, t.p.bold(pad(t.o.Fold(hosts), t.hostWidth)))
	}
	if detail != "" {
		parts = append(parts, detail)
	}
	s := t.look.mark(t.p, o, t.run.Check) + " " + strings.TrimRight(strings.Join(parts, "  "), " ")
	if took >= 100*time.Millisecond {
		s += "  " + t.p.dim("("+duration(took)+")")
	}
	return s
}
