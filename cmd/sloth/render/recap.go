package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/runner/event"
)

func (t *text) runDone(e event.RunDone) {
	t.flushGroups(true)
	t.ended = true
	if t.quiet {
		for _, l := range lines(e.Message) {
			t.print(l)
		}
		return
	}
	hosts := t.tally.used()
	if t.done > 0 || len(hosts) > 0 {
		t.gap()
	}
	if len(hosts) > 1 || len(hosts) == 1 && hosts[0] != "local" {
		t.recap(hosts)
	}
	t.last(e)
	for _, l := range lines(e.Message) {
		t.print("  " + l)
	}
}

// row is one line of the recap: hosts with the same numbers.
type row struct {
	hosts []string
	Recap
}

// maxRows is how many hosts have a line of their own before equal ones share.
const maxRows = 12

func (t *text) recap(hosts []string) {
	var rows []row
	for _, h := range hosts {
		r := row{[]string{h}, *t.tally.hosts[h]}
		i := slices.IndexFunc(rows, func(o row) bool { return o.Recap == r.Recap })
		if i >= 0 && len(hosts) > maxRows {
			rows[i].hosts = append(rows[i].hosts, h)
			continue
		}
		rows = append(rows, r)
	}
	width := len("host")
	for _, r := range rows {
		width = max(width, columns(t.o.Fold(r.hosts)))
	}
	width = min(width, max(20, t.o.Width-48))
	rule := strings.Repeat(t.look.rule, min(t.o.Width, width+46))
	if rule != "" {
		t.print(t.p.dim(rule))
	}
	t.print(t.p.dim(pad("host", width) + "     ok  changed  failed  skipped  unreachable"))
	for _, r := range rows {
		name := pad(cut(t.o.Fold(r.hosts), width), width)
		switch {
		case r.bad():
			name = t.p.red(name)
		case r.Changed > 0:
			name = t.p.yellow(name)
		default:
			name = t.p.green(name)
		}
		t.print(name + number(t.p.green, r.OK, 7) + number(t.p.yellow, r.Changed, 9) + number(t.p.red, r.Failed, 8) +
			number(t.p.cyan, r.Skipped, 9) + number(t.p.purple, r.Unreachable, 13))
	}
	if rule != "" {
		t.print(t.p.dim(rule))
	}
	t.print("")
}

// number right-aligns n; only what is not zero has a colour.
func number(paint func(string) string, n, width int) string {
	s := fmt.Sprintf("%*d", width, n)
	if n == 0 {
		return s
	}
	return paint(s)
}

// last is the one line that says how it all went.
func (t *text) last(e event.RunDone) {
	hosts := t.tally.used()
	bad, changed := t.tally.sum()
	took := duration(e.Duration)
	o := outOK
	var s string
	switch {
	case e.Status.Bad():
		o = outFailed
		switch e.Status {
		case event.Unreachable:
			o = outUnreachable
		case event.Cancelled:
			o = outCancelled
		case event.Unknown:
			o = outUnknown
		}
		s = fmt.Sprintf("%s in %s", Name(strings.ToLower(string(e.Status))), took)
		if len(hosts) > 1 && bad > 0 {
			s += fmt.Sprintf(": %d of %s went wrong", bad, count(len(hosts), "host"))
		}
	case t.run.Check && changed == 0:
		s = fmt.Sprintf("plan in %s: nothing would change", took)
	case t.run.Check:
		o = outChanged
		on := 0
		for _, h := range hosts {
			if t.tally.hosts[h].Changed > 0 {
				on++
			}
		}
		s = fmt.Sprintf("plan in %s: %s on %s; nothing was done", took, count(changed, "change"), count(on, "host"))
	default:
		s = fmt.Sprintf("success in %s", took)
		if len(hosts) > 1 {
			s += ": " + count(len(hosts), "host")
		}
		if t.done > 0 && !t.onlyLocal(hosts) {
			s += fmt.Sprintf(", %d changed", changed)
		}
	}
	if m := t.look.marks[o]; m != "" {
		s = m + " " + s
	}
	t.print(t.p.outcome(o, t.p.bold(s)))
}

func (t *text) onlyLocal(hosts []string) bool {
	return len(hosts) == 0 || len(hosts) == 1 && hosts[0] == "local" && t.tally.hosts["local"].Changed == 0
}
