package inventory

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Candidate is one value that a variable of a host might have had.
type Candidate struct {
	Value  any // as in Vars
	File   string
	Line   int // from 1; 0 where there is none
	Column int
	Source string // what kind of place it is: "group web in the inventory"
	Won    bool   // exactly one of them did
	Why    string // why it won, or lost to the one above it

	text string
}

// Explain lists every value that is set for the variable of host, the winner
// first and each before those it beats. No candidates means that the host does
// not have the variable.
func (inv *Inventory) Explain(host, variable string) ([]Candidate, error) {
	h := inv.lookup(host)
	if h == nil {
		return nil, fmt.Errorf("no host is called %q%s", host, inv.near(host))
	}
	layers := append(slices.Clip(inv.comboOf(h).layers), inv.hostLayers(h)...)
	slices.Reverse(layers)
	var out []Candidate
	var above *layer
	seen := map[*varset]bool{} // the same folder may be beside several sources
	for i := range layers {
		l := &layers[i]
		v := l.vars.get(variable)
		if v == nil || seen[l.vars] {
			continue
		}
		seen[l.vars] = true
		c := Candidate{
			Value: plain(v.val), Source: inv.describeLayer(l, h), Won: above == nil,
			Line: int(v.pos.line), Column: int(v.pos.col), text: jsonLine(v.val),
		}
		if v.pos.file != nil {
			c.File = v.pos.file.name
		}
		if above != nil {
			c.Why = inv.whyLost(l, above)
		}
		out = append(out, c)
		above = l
	}
	if len(out) == 1 {
		out[0].Why = "nobody else sets it"
	} else if len(out) > 1 {
		out[0].Why = whyWon(&layers[slices.IndexFunc(layers, func(l layer) bool { return l.vars.get(variable) != nil })])
	}
	return out, nil
}

func (inv *Inventory) describeLayer(l *layer, h *host) string {
	switch l.kind {
	case fromAll, fromGroup:
		return "group " + l.group.name + " in the inventory"
	case fromAllFile, fromGroupFile:
		return "group_vars of " + l.group.name + " beside the inventory"
	case fromAllScript, fromGroupScript:
		return "group_vars of " + l.group.name + " " + inv.besideScript()
	case fromHost:
		return "host " + h.name + " in the inventory"
	case fromHostFile:
		return "host_vars of " + h.name + " beside the inventory"
	case fromHostScript:
		return "host_vars of " + h.name + " " + inv.besideScript()
	case fromImplicitHost:
		return "what localhost has by itself"
	}
	return "the command line"
}

// besideScript names the folder of the script, which may be that of the
// inventory as well or, where nothing is run, the one that sloth is started in.
func (inv *Inventory) besideScript() string {
	switch {
	case slices.Contains(inv.beside, inv.script):
		return "beside the inventory"
	case inv.opt.ScriptDir == ".":
		return "in the working folder"
	}
	return "beside the script"
}

func whyWon(l *layer) string {
	switch l.kind {
	case fromExtra:
		return "the command line beats everything"
	case fromHost, fromHostFile, fromHostScript, fromImplicitHost:
		return "it is of the host itself, which beats all groups"
	}
	return "it comes last among the groups of the host"
}

// whyLost compares a place with the one that beats it.
func (inv *Inventory) whyLost(l, above *layer) string {
	if above.kind == fromExtra {
		return "the command line beats everything"
	}
	if l.group != nil && above.group == nil {
		return "a variable of the host beats those of its groups"
	}
	if l.kind == above.kind {
		if l.group == nil || l.group == above.group {
			return "the file above is read later"
		}
		return whyGroup(l.group, above.group)
	}
	switch above.kind {
	case fromHostScript, fromGroupScript, fromAllScript:
		if l.kind == fromHostFile || l.kind == fromGroupFile || l.kind == fromAllFile {
			if l.group != nil && l.group.name == "all" && above.group.name != "all" {
				break
			}
			return "files " + inv.besideScript() + " beat those beside the inventory"
		}
	}
	switch l.kind {
	case fromAllFile, fromAllScript, fromAll:
		if above.group != nil && above.group.name != "all" {
			return "every other group beats all"
		}
	}
	if l.kind == fromAll || l.kind == fromGroup || l.kind == fromHost || l.kind == fromImplicitHost {
		return "files of variables beat what the inventory itself says"
	}
	return "the place above is read later"
}

func whyGroup(g, above *group) string {
	switch {
	case g.depth != above.depth:
		return fmt.Sprintf("group %s is %s deep, group %s %s: the deeper one wins", g.name, levels(g.depth), above.name, levels(above.depth))
	case g.priority != above.priority:
		return fmt.Sprintf("both are %s deep, and ansible_group_priority is %d for %s but %d for %s", levels(g.depth), g.priority, g.name, above.priority, above.name)
	case g.name != above.name:
		return fmt.Sprintf("both are %s deep with the same priority, and %s comes after %s in the alphabet", levels(g.depth), above.name, g.name)
	}
	return "the file above is read later"
}

func levels(n int) string {
	if n == 1 {
		return "1 level"
	}
	return fmt.Sprintf("%d levels", n)
}

// jsonLine is a value on one line, short enough for a terminal.
func jsonLine(v any) string {
	var text bytes.Buffer
	if err := writeJSON(&text, v, sortable(v)); err != nil {
		return "" // a buffer takes everything
	}
	var b strings.Builder
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		if b.Len() > 0 && !strings.HasSuffix(b.String(), "[") && !strings.HasPrefix(line, "]") {
			b.WriteByte(' ')
		}
		if b.WriteString(line); b.Len() > 200 {
			break
		}
	}
	return printable(b.String(), 200)
}

// WriteExplain prints the answer of Explain for people.
func WriteExplain(w io.Writer, host, variable string, candidates []Candidate) error {
	var b strings.Builder
	if len(candidates) == 0 {
		fmt.Fprintf(&b, "%s has no variable %s\n", host, variable)
	}
	for i, c := range candidates {
		if i == 0 {
			fmt.Fprintf(&b, "%s of %s is %s\n", variable, host, c.text)
		}
		mark := " "
		if c.Won {
			mark = "*"
		}
		place := c.File
		if c.Line > 0 {
			place = fmt.Sprintf("%s:%d", c.File, c.Line)
		}
		fmt.Fprintf(&b, "%s %d. %s\n", mark, i+1, c.text)
		if place != "" {
			fmt.Fprintf(&b, "     %s, %s\n", place, c.Source)
		} else {
			fmt.Fprintf(&b, "     %s\n", c.Source)
		}
		fmt.Fprintf(&b, "     %s\n", c.Why)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
