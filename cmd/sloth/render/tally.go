package render

import (
	"slices"

	"github.com/sloth-runner/sloth/runner/event"
)

// Recap is what became of one host. As in Ansible's, OK includes what changed.
type Recap struct {
	OK          int `json:"ok"`
	Changed     int `json:"changed"`
	Failed      int `json:"failed"`
	Skipped     int `json:"skipped"`
	Unreachable int `json:"unreachable"`
}

func (r Recap) bad() bool { return r.Failed > 0 || r.Unreachable > 0 }

// tally counts results by host.
type tally struct {
	hosts map[string]*Recap
	order []string
}

func newTally() *tally { return &tally{hosts: map[string]*Recap{}} }

func (t *tally) host(name string) *Recap {
	r := t.hosts[name]
	if r == nil {
		r = &Recap{}
		t.hosts[name] = r
		t.order = append(t.order, name)
	}
	return r
}

func (t *tally) add(d event.TaskDone) {
	r := t.host(hostOf(d.Where))
	switch {
	case d.Status == event.Skipped:
		r.Skipped++
	case d.Status == event.Success || d.Ignored:
		r.OK++
		if d.Changed {
			r.Changed++
		}
	case d.Nested:
		// The caller's affair.
	case d.Status == event.Unreachable:
		r.Unreachable = 1
	case d.Status == event.Cancelled && d.Attempts == 0:
		r.Skipped++
	default:
		r.Failed++
	}
}

func (t *tally) lost(host string) { t.host(host).Unreachable = 1 }

// sum counts hosts that failed or were lost, and changes.
func (t *tally) sum() (bad, changed int) {
	for _, r := range t.hosts {
		if r.bad() {
			bad++
		}
		changed += r.Changed
	}
	return bad, changed
}

// used are the hosts that something happened on, the bad ones last: they are
// what a person looks for above the last line.
func (t *tally) used() []string {
	var good, bad []string
	for _, h := range t.order {
		switch r := t.hosts[h]; {
		case r.bad():
			bad = append(bad, h)
		case *r != Recap{}:
			good = append(good, h)
		}
	}
	return slices.Concat(good, bad)
}

// hostOf is the host of w, "local" for the controller.
func hostOf(w event.Where) string {
	if w.Host == "" {
		return "local"
	}
	return w.Host
}
