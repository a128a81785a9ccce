package inventory

import (
	"cmp"
	"slices"
	"strings"
)

// group is a named set of hosts and groups.
type group struct {
	name     string
	id       int // order of creation
	pos      pos // where it was first named
	vars     varset
	hosts    []*host
	children []*group
	parents  []*group
	depth    int // longest way from a group without parents
	priority int64
	prioAt   pos
}

// host is one machine.
type host struct {
	name   string
	id     int
	pos    pos
	vars   varset
	direct []*group // the groups that name it themselves
	source string   // set for hosts that come from elsewhere, see AddHost
	broken error    // what is wrong with the files of such a host
}

// edge is "child is in parent", and where that is written.
type edge struct {
	parent, child *group
	pos           pos
}

// hostData is the bare inventory: who is in what. Its rules are those of Ansible's
// own InventoryData, including that a name is looked up among groups first.
type hostData struct {
	groups    map[string]*group
	hosts     map[string]*host
	groupList []*group
	hostList  []*host
	edges     []edge
	localhost *host // the first host that has one of the local names
}

var localNames = []string{"127.0.0.1", "localhost", "::1"}

func newHostData() hostData {
	d := hostData{groups: map[string]*group{}, hosts: map[string]*host{}}
	all := d.addGroup("all", pos{})
	d.addChild(all, d.addGroup("ungrouped", pos{}), pos{})
	return d
}

func (d *hostData) addGroup(name string, at pos) *group {
	g := d.groups[name]
	if g == nil {
		g = &group{name: name, id: len(d.groupList), pos: at, priority: 1}
		d.groups[name] = g
		d.groupList = append(d.groupList, g)
	}
	return g
}

// addHost adds name to g, making the host when it is new. The port counts for
// new hosts only.
func (d *hostData) addHost(name string, g *group, port int, at pos) *host {
	h := d.hosts[name]
	if h == nil {
		h = &host{name: name, id: len(d.hostList), pos: at}
		d.hosts[name] = h
		d.hostList = append(d.hostList, h)
		if port != 0 {
			h.vars.set(variable{name: "ansible_port", val: int64(port), pos: at})
		}
		if d.localhost == nil && slices.Contains(localNames, name) {
			d.localhost = h
		}
	}
	if g != nil {
		d.join(h, g)
	}
	return h
}

func (d *hostData) join(h *host, g *group) {
	if !slices.Contains(h.direct, g) {
		h.direct = append(h.direct, g)
		g.hosts = append(g.hosts, h)
	}
}

// addChild puts child into parent. Loops are found by cycle, all at once.
func (d *hostData) addChild(parent, child *group, at pos) {
	if slices.Contains(child.parents, parent) {
		return
	}
	child.parents = append(child.parents, parent)
	parent.children = append(parent.children, child)
	d.edges = append(d.edges, edge{parent, child, at})
}

// varsOf is what variables of the entity name are kept in.
func (d *hostData) setVar(name string, v variable) *Problem {
	if g := d.groups[name]; g != nil {
		return g.set(v)
	}
	d.hosts[name].vars.set(v)
	return nil
}

// set keeps a variable, and takes ansible_group_priority out of the way: it is
// a property of the group.
func (g *group) set(v variable) *Problem {
	if v.name != "ansible_group_priority" {
		g.vars.set(v)
		return nil
	}
	n, ok := asInt(v.val)
	if !ok {
		return v.pos.problem("write a number, such as 10; the default is 1", "ansible_group_priority of %s must be a number, got %s", g.name, describe(v.val))
	}
	g.priority, g.prioAt = n, v.pos
	return nil
}

// cycle returns the edge that closed the first loop of groups, and the loop.
func (d *hostData) cycle() (edge, []string, bool) {
	if !d.hasCycle() {
		return edge{}, nil, false
	}
	// Something is wrong, so take the time to find out which line did it.
	down := map[*group][]*group{}
	for _, e := range d.edges {
		if path := findPath(down, e.child, e.parent, map[*group]bool{}); path != nil {
			names := make([]string, 0, len(path)+1)
			names = append(names, e.parent.name)
			for _, g := range path {
				names = append(names, g.name)
			}
			return e, names, true
		}
		down[e.parent] = append(down[e.parent], e.child)
	}
	return edge{}, nil, false
}

// hasCycle sorts the groups topologically and computes their depths.
func (d *hostData) hasCycle() bool {
	waits := make([]int, len(d.groupList))
	var ready []*group
	for _, g := range d.groupList {
		g.depth = 0
		if waits[g.id] = len(g.parents); waits[g.id] == 0 {
			ready = append(ready, g)
		}
	}
	done := 0
	for len(ready) > 0 {
		g := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		done++
		for _, c := range g.children {
			c.depth = max(c.depth, g.depth+1)
			if waits[c.id]--; waits[c.id] == 0 {
				ready = append(ready, c)
			}
		}
	}
	return done != len(d.groupList)
}

// findPath gives the groups from one to the other, both included.
func findPath(down map[*group][]*group, from, to *group, seen map[*group]bool) []*group {
	if from == to {
		return []*group{from}
	}
	seen[from] = true
	for _, c := range down[from] {
		if seen[c] {
			continue
		}
		if rest := findPath(down, c, to, seen); rest != nil {
			return append([]*group{from}, rest...)
		}
	}
	return nil
}

// reconcile makes every group a descendant of all, takes hosts that are in
// other groups out of ungrouped and puts those that are in none into it. There
// must be no cycle.
func (d *hostData) reconcile() {
	all, ungrouped := d.groups["all"], d.groups["ungrouped"]
	for _, g := range d.groupList {
		if g != all && len(g.parents) == 0 {
			d.addChild(all, g, g.pos)
		}
	}
	closures := map[string][]*group{}
	leave := map[*host]bool{}
	for _, h := range d.hostList {
		key := comboKey(h.direct)
		mine, ok := closures[key]
		if !ok {
			mine = closure(h.direct)
			closures[key] = mine
		}
		others := 0
		for _, g := range mine {
			if g != all && g != ungrouped {
				others++
			}
		}
		switch in := slices.Contains(mine, ungrouped); {
		case in && others > 0:
			leave[h] = true
		case !in && others == 0:
			if g := d.groups[h.name]; g != nil {
				d.addChild(ungrouped, g, h.pos)
			} else {
				d.join(h, ungrouped)
			}
		}
	}
	if len(leave) > 0 {
		ungrouped.hosts = slices.DeleteFunc(ungrouped.hosts, func(h *host) bool { return leave[h] })
		for h := range leave {
			h.direct = slices.DeleteFunc(h.direct, func(g *group) bool { return g == ungrouped })
		}
	}
}

// closure is the groups and all their ancestors, in no special order.
func closure(direct []*group) []*group {
	seen := make(map[*group]bool, 2*len(direct))
	var out []*group
	todo := slices.Clone(direct)
	for len(todo) > 0 {
		g := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[g] {
			continue
		}
		seen[g] = true
		out = append(out, g)
		todo = append(todo, g.parents...)
	}
	return out
}

// comboKey names a set of groups.
func comboKey(direct []*group) string {
	ids := make([]int, len(direct))
	for i, g := range direct {
		ids[i] = g.id
	}
	slices.Sort(ids)
	var b strings.Builder
	for _, id := range ids {
		for ; id >= 0x80; id >>= 7 {
			b.WriteByte(byte(id) | 0x80)
		}
		b.WriteByte(byte(id))
	}
	return b.String()
}

// byPrecedence orders groups so that the variables of later ones win.
func byPrecedence(a, b *group) int {
	return cmp.Or(cmp.Compare(a.depth, b.depth), cmp.Compare(a.priority, b.priority), cmp.Compare(a.name, b.name))
}

// collect gives the hosts of g and its descendants: its own first, then level
// by level.
func (g *group) collect(hosts int) []*host {
	if len(g.children) == 0 {
		return g.hosts
	}
	var out []*host
	taken := make([]uint64, hosts/64+1)
	seen := map[*group]bool{g: true}
	level := []*group{g}
	for len(level) > 0 {
		var next []*group
		for _, k := range level {
			for _, h := range k.hosts {
				if bit := uint64(1) << (h.id % 64); taken[h.id/64]&bit == 0 {
					taken[h.id/64] |= bit
					out = append(out, h)
				}
			}
			for _, c := range k.children {
				if !seen[c] {
					seen[c] = true
					next = append(next, c)
				}
			}
		}
		level = next
	}
	return out
}
