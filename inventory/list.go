package inventory

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// internal are the names that Ansible's own listing leaves out.
var internal = map[string]bool{
	"ansible_diff_mode": true, "ansible_config_file": true, "ansible_facts": true, "ansible_forks": true,
	"ansible_inventory_sources": true, "ansible_limit": true, "ansible_playbook_python": true, "ansible_run_tags": true,
	"ansible_skip_tags": true, "ansible_verbosity": true, "ansible_version": true, "inventory_dir": true,
	"inventory_file": true, "inventory_hostname": true, "inventory_hostname_short": true, "groups": true,
	"group_names": true, "omit": true, "playbook_dir": true,
}

// merged gives the variables of h in the order in which they were first set.
func (inv *Inventory) merged(h *host) *dict {
	c, own := inv.comboOf(h), inv.hostLayers(h)
	room := len(c.list.keys)
	for _, l := range own {
		room += len(l.vars.list)
	}
	d := &dict{make([]any, len(c.list.keys), room), make([]any, len(c.list.keys), room)}
	copy(d.keys, c.list.keys)
	copy(d.vals, c.list.vals)
	overlay(d, own, c.at)
	return d
}

func mergeLayers(layers []layer) *dict {
	d := &dict{}
	overlay(d, layers, nil)
	return d
}

// overlay lays variables over d, whose names at finds. It returns where the
// names are that it added.
func overlay(d *dict, layers []layer, at map[string]int) map[string]int {
	var added map[string]int
	for _, l := range layers {
		for i := range l.vars.list {
			v := &l.vars.list[i]
			if internal[v.name] {
				continue
			}
			n, ok := at[v.name]
			if !ok {
				n, ok = added[v.name]
			}
			if ok {
				d.vals[n] = v.val
				continue
			}
			if added == nil {
				added = make(map[string]int, len(l.vars.list))
			}
			added[v.name] = len(d.keys)
			key := v.key
			switch key {
			case nil:
				key = v.name
			case noName{}:
				key = nil
			}
			d.keys, d.vals = append(d.keys, key), append(d.vals, v.val)
		}
	}
	return added
}

// listed says whether h has a variable that a list shows.
func (inv *Inventory) listed(h *host) bool {
	shows := func(l layer) bool {
		return slices.ContainsFunc(l.vars.list, func(v variable) bool { return !internal[v.name] })
	}
	return slices.ContainsFunc(inv.comboOf(h).layers, shows) || slices.ContainsFunc(inv.hostLayers(h), shows)
}

// hasOddKeys says whether there is any map that cannot be sorted, so that the
// common case need not look at every host.
func (inv *Inventory) hasOddKeys() bool {
	odd := func(s *varset) bool {
		return slices.ContainsFunc(s.list, func(v variable) bool { return v.key != nil || !sortable(v.val) })
	}
	for _, g := range inv.groupList {
		if odd(&g.vars) {
			return true
		}
	}
	for _, h := range inv.hostList {
		if odd(&h.vars) {
			return true
		}
	}
	for _, f := range append(slices.Clip(inv.beside), inv.script) {
		if f == nil {
			continue
		}
		for _, byName := range []map[string][]*varsFile{f.groups, f.hosts} {
			for _, files := range byName {
				if slices.ContainsFunc(files, func(v *varsFile) bool { return odd(&v.vars) }) {
					return true
				}
			}
		}
	}
	return odd(&inv.extra)
}

// WriteList prints the inventory as ansible-inventory --list does: JSON with
// every group's own hosts and children, and all variables of each host.
func (inv *Inventory) WriteList(w io.Writer) error {
	top := &dict{}
	inv.listGroup(top, inv.groups["all"], map[*group]bool{})
	vars := &dict{}
	sorted, odd := true, inv.hasOddKeys()
	for _, h := range inv.hostsOf(inv.groups["all"]) {
		if !inv.listed(h) {
			continue
		}
		sorted = sorted && (!odd || sortable(inv.merged(h)))
		// Merged when it is written: all of them at once would be a lot.
		vars.keys, vars.vals = append(vars.keys, h.name), append(vars.vals, lazy(func() any { return inv.merged(h) }))
	}
	top.keys, top.vals = append(top.keys, "_meta"), append(top.vals, &dict{[]any{"hostvars"}, []any{vars}})
	return writeJSON(w, top, sorted)
}

func writeJSON(w io.Writer, v any, sorted bool) error {
	out := &jsonWriter{out: bufio.NewWriterSize(w, 64<<10), sorted: sorted}
	out.value(v, 0)
	out.put("\n")
	return out.out.Flush()
}

// listGroup adds g and what is below it to top; empty groups have no entry.
func (inv *Inventory) listGroup(top *dict, g *group, seen map[*group]bool) {
	seen[g] = true
	entry := &dict{}
	if len(g.hosts) > 0 && g.name != "all" {
		list := make([]any, len(g.hosts))
		for i, h := range g.hosts {
			list[i] = h.name
		}
		entry.keys, entry.vals = append(entry.keys, "hosts"), append(entry.vals, list)
	}
	if len(g.children) > 0 {
		list := make([]any, len(g.children))
		for i, c := range g.children {
			list[i] = c.name
		}
		entry.keys, entry.vals = append(entry.keys, "children"), append(entry.vals, list)
	}
	if len(entry.keys) > 0 {
		top.keys, top.vals = append(top.keys, g.name), append(top.vals, entry)
	}
	for _, c := range g.children {
		if !seen[c] {
			inv.listGroup(top, c, seen)
		}
	}
}

// WriteHost prints the variables of one host as ansible-inventory --host does.
func (inv *Inventory) WriteHost(w io.Writer, host string) error {
	h := inv.lookup(host)
	if h == nil {
		return fmt.Errorf("no host is called %q%s", host, inv.near(host))
	}
	d := inv.merged(h)
	return writeJSON(w, d, sortable(d))
}

// WriteGraph prints a group, all when it is empty, and what is in it as
// ansible-inventory --graph does; vars adds the variables, as --vars does.
func (inv *Inventory) WriteGraph(w io.Writer, group string, vars bool) error {
	if group == "" {
		group = "all"
	}
	g := inv.groups[group]
	if g == nil {
		return fmt.Errorf("no group is called %q%s; a graph begins at one group", group, inv.near(group))
	}
	p := &graph{inv: inv, vars: vars}
	p.group(g, 0)
	_, err := io.WriteString(w, p.String())
	return err
}

type graph struct {
	strings.Builder
	inv  *Inventory
	vars bool
}

func (p *graph) line(depth int, text string) {
	if depth > 0 {
		p.WriteString(strings.Repeat("  |", depth) + "--")
	}
	p.WriteString(text + "\n")
}

func (p *graph) group(g *group, depth int) {
	p.line(depth, "@"+g.name+":")
	depth++
	for _, c := range g.children {
		p.group(c, depth)
	}
	if g.name != "all" {
		for _, h := range g.hosts {
			p.line(depth, h.name)
			if p.vars {
				p.variables(p.inv.merged(h), depth+1)
			}
		}
	}
	if p.vars {
		p.variables(p.inv.groupVars(g), depth)
	}
}

// groupVars are the variables of g alone, with those of its files beside the
// inventory and the script.
func (inv *Inventory) groupVars(g *group) *dict {
	layers := []layer{{vars: &g.vars}}
	for _, f := range append(slices.Clip(inv.beside), inv.script) {
		if f != nil {
			for _, v := range f.groups[g.name] {
				layers = append(layers, layer{vars: &v.vars})
			}
		}
	}
	d := mergeLayers(layers)
	if g.priority != 1 {
		if i := slices.Index(d.keys, any("ansible_group_priority")); i >= 0 {
			d.vals[i] = g.priority // what group_vars say changes nothing
		} else {
			d.keys, d.vals = append(d.keys, "ansible_group_priority"), append(d.vals, g.priority)
		}
	}
	return d
}

func (p *graph) variables(d *dict, depth int) {
	lines := make([]string, len(d.keys))
	order := make([]int, len(d.keys))
	for i, k := range d.keys {
		order[i] = i
		lines[i] = fmt.Sprintf("{%s = %s}", keyText(k), pyText(d.vals[i]))
	}
	slices.SortFunc(order, func(a, b int) int { return compareKeys(d.keys[a], d.keys[b]) })
	for _, i := range order {
		p.line(depth, lines[i])
	}
}
