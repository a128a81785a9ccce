package modules

import (
	"fmt"
	"strings"
)

// States that a Change of Attr "state" speaks of.
const (
	Absent  = "absent"
	Present = "present"
)

// Create is the change that brings what into being.
func Create(what, kind string) Change {
	return Change{What: what, Attr: "state", Before: Absent, After: kind}
}

// Delete is the change that does away with what.
func Delete(what, kind string) Change {
	return Change{What: what, Attr: "state", Before: kind, After: Absent}
}

// Has reports whether d changes attribute attr of what.
func (d Diff) Has(what, attr string) bool {
	for _, c := range d.Changes {
		if c.What == what && c.Attr == attr {
			return true
		}
	}
	return false
}

// maxSummary is how many things Summary names.
const maxSummary = 4

// Summary says in one line what d changes: "create /etc/motd", "/etc/motd:
// content, mode".
func (d Diff) Summary() string {
	var things []string
	attrs := map[string][]string{}
	verbs := map[string]string{}
	for _, c := range d.Changes {
		_, a := attrs[c.What]
		_, v := verbs[c.What]
		if !a && !v {
			things = append(things, c.What)
		}
		switch {
		case c.Attr == "state" && c.Before == Absent:
			verbs[c.What] = "create"
		case c.Attr == "state" && c.After == Absent:
			verbs[c.What] = "remove"
		default:
			attrs[c.What] = append(attrs[c.What], c.Attr)
		}
	}
	var parts []string
	for i, t := range things {
		if i == maxSummary {
			parts = append(parts, fmt.Sprintf("%d more", len(things)-i))
			break
		}
		switch {
		case verbs[t] != "":
			parts = append(parts, verbs[t]+" "+t)
		case strings.Join(attrs[t], "") == "":
			parts = append(parts, t)
		default:
			parts = append(parts, t+": "+strings.Join(attrs[t], ", "))
		}
	}
	return strings.Join(parts, "; ")
}

// Hide keeps the fact of each change and drops the texts.
func (d Diff) Hide() Diff {
	out := Diff{Changes: make([]Change, len(d.Changes))}
	for i, c := range d.Changes {
		c.Before, c.After, c.Text, c.Hidden = "", "", false, true
		out.Changes[i] = c
	}
	return out
}
