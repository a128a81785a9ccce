// Package inventory knows hosts, groups and variables, and reads them the way
// Ansible does: from YAML, INI, executables, folders and lists, with the files
// in group_vars/ and host_vars/ beside them. It knows nothing of what runs on
// the hosts and never touches the network.
//
// Two things are stricter than in Ansible. Loading is all or nothing, where
// Ansible warns and goes on with what it understood; and a pattern that matches
// nothing is an error.
package inventory

import (
	"maps"
	"slices"
	"sync"
)

// Inventory is a loaded inventory. Its methods may be called from several
// goroutines at once, AddHost excepted.
type Inventory struct {
	hostData
	opt    Options
	beside []*varsFolder // of each source that is a file or folder, in order
	script *varsFolder   // beside the .sloth file; nil: there is none
	extra  varset

	mu      sync.Mutex
	combos  map[string]*combo
	members map[*group][]*host
	guests  map[string]*host // hosts that are in no group: AddHost, localhost

	guestList []string // those of AddHost, in order
}

// combo is what hosts with the same groups have in common.
type combo struct {
	groups []*group // without all, those that win come last
	names  []string // sorted, without all
	layers []layer  // variables of all of them, those that win come last
	vars   map[string]any
	list   *dict          // the same merged, as a list shows them
	at     map[string]int // where in list a name is
}

// layer is one place where variables come from.
type layer struct {
	vars  *varset
	group *group // nil: it is of the host, or of the command line
	kind  layerKind
}

type layerKind int

// The kinds of places, from the weakest to the strongest.
const (
	fromAll          layerKind = iota // group all, in the inventory
	fromGroup                         // other groups, in the inventory
	fromAllFile                       // group_vars/all beside the inventory
	fromAllScript                     // group_vars/all beside the script
	fromGroupFile                     // group_vars/ beside the inventory
	fromGroupScript                   // group_vars/ beside the script
	fromHost                          // the host, in the inventory
	fromHostFile                      // host_vars/ beside the inventory
	fromHostScript                    // host_vars/ beside the script
	fromExtra                         // -e
	fromImplicitHost                  // what localhost has without being written anywhere; like fromHost
)

// reset drops everything that was computed.
func (inv *Inventory) reset() {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	inv.combos, inv.members = map[string]*combo{}, map[*group][]*host{}
	if inv.guests == nil {
		inv.guests = map[string]*host{}
	}
}

// comboOf gives what h shares with hosts of the same groups.
func (inv *Inventory) comboOf(h *host) *combo {
	key := comboKey(h.direct)
	inv.mu.Lock()
	defer inv.mu.Unlock()
	c := inv.combos[key]
	if c == nil {
		c = inv.newCombo(h.direct)
		inv.combos[key] = c
	}
	return c
}

func (inv *Inventory) newCombo(direct []*group) *combo {
	all := inv.groups["all"]
	c := &combo{}
	for _, g := range closure(direct) {
		if g != all {
			c.groups = append(c.groups, g)
			c.names = append(c.names, g.name)
		}
	}
	slices.SortFunc(c.groups, byPrecedence)
	slices.Sort(c.names)

	add := func(kind layerKind, g *group, vars *varset) {
		if len(vars.list) > 0 {
			c.layers = append(c.layers, layer{vars: vars, group: g, kind: kind})
		}
	}
	files := func(kind layerKind, f *varsFolder, groups ...*group) {
		if f == nil {
			return
		}
		for _, g := range groups {
			for _, v := range f.groups[g.name] {
				add(kind, g, &v.vars)
			}
		}
	}
	add(fromAll, all, &all.vars)
	for _, g := range c.groups {
		add(fromGroup, g, &g.vars)
	}
	for _, f := range inv.beside {
		files(fromAllFile, f, all)
	}
	files(fromAllScript, inv.script, all)
	for _, f := range inv.beside {
		files(fromGroupFile, f, c.groups...)
	}
	files(fromGroupScript, inv.script, c.groups...)

	c.list = &dict{}
	c.at = overlay(c.list, c.layers, nil)
	c.vars = map[string]any{}
	for _, l := range c.layers {
		for i := range l.vars.list {
			c.vars[l.vars.list[i].name] = plain(l.vars.list[i].val)
		}
	}
	return c
}

// hostLayers are the places that only h has.
func (inv *Inventory) hostLayers(h *host) []layer {
	var out []layer
	add := func(kind layerKind, vars *varset) {
		if len(vars.list) > 0 {
			out = append(out, layer{vars: vars, kind: kind})
		}
	}
	files := func(kind layerKind, f *varsFolder) {
		if f == nil {
			return
		}
		for _, v := range f.hosts[h.name] {
			add(kind, &v.vars)
		}
	}
	if h.source == implicitSource {
		add(fromImplicitHost, &h.vars)
	} else {
		add(fromHost, &h.vars)
	}
	for _, f := range inv.beside {
		files(fromHostFile, f)
	}
	files(fromHostScript, inv.script)
	add(fromExtra, &inv.extra)
	return out
}

const implicitSource = "implicit"

// lookup finds a host by name, making localhost when somebody asks for it.
func (inv *Inventory) lookup(name string) *host {
	if h := inv.hosts[name]; h != nil {
		return h
	}
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if h := inv.guests[name]; h != nil {
		return h
	}
	if !slices.Contains(localNames, name) {
		return nil
	}
	h := &host{name: name, source: implicitSource}
	h.vars.set(variable{name: "ansible_connection", val: "local"})
	inv.guests[name] = h
	return h
}

// AddHost adds a host that comes from elsewhere, such as an alias of
// ~/.ssh/config; source says where from, for people. It is in no group, not
// even in all: it must be named, and a pattern finds it only where it matches
// nothing of the inventory. It has the variables of all, of its host_vars and
// of the command line; a mistake in its host_vars is an error when the host is
// matched. A name that is known already stays what it is, and so does
// localhost.
func (inv *Inventory) AddHost(name, source string) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if checkHostName(name) != "" || slices.Contains(localNames, name) || inv.hosts[name] != nil || inv.guests[name] != nil {
		return
	}
	l := &loader{opt: inv.opt, inv: inv}
	folders := append(slices.Clone(inv.beside), inv.script)
	for _, f := range folders {
		if f == nil || f.hosts[name] != nil {
			continue
		}
		if list := l.varsFiles(f, "host_vars", name); list != nil {
			f.hosts[name] = list
		}
	}
	l.forget()
	inv.guests[name] = &host{name: name, source: source, pos: pos{file: &file{name: source}}, broken: l.probs.err()}
	inv.guestList = append(inv.guestList, name)
}

// Vars returns the variables of host, merged. Values are nil, bool, int64,
// float64, string, []any, map[string]any and Encrypted; nested ones are shared
// between hosts and must not be changed. An unknown host gives nil.
func (inv *Inventory) Vars(host string) map[string]any {
	h := inv.lookup(host)
	if h == nil {
		return nil
	}
	out := maps.Clone(inv.comboOf(h).vars)
	for _, l := range inv.hostLayers(h) {
		for i := range l.vars.list {
			out[l.vars.list[i].name] = plain(l.vars.list[i].val)
		}
	}
	return out
}

// variable finds the one of host that wins, and where it comes from.
func (inv *Inventory) variable(h *host, name string) *variable {
	own := inv.hostLayers(h)
	for i := len(own) - 1; i >= 0; i-- {
		if v := own[i].vars.get(name); v != nil {
			return v
		}
	}
	shared := inv.comboOf(h).layers
	for i := len(shared) - 1; i >= 0; i-- {
		if v := shared[i].vars.get(name); v != nil {
			return v
		}
	}
	return nil
}

// isOwn says whether v is set for h itself, not for a group.
func (inv *Inventory) isOwn(h *host, v *variable) bool {
	return slices.ContainsFunc(inv.hostLayers(h), func(l layer) bool { return l.vars.get(v.name) == v })
}

// Groups returns the groups that host is in, directly or through others,
// sorted, without all.
func (inv *Inventory) Groups(host string) []string {
	h := inv.lookup(host)
	if h == nil {
		return nil
	}
	return slices.Clone(inv.comboOf(h).names)
}

// Hosts returns every host, in the order of the inventory: by level of the
// groups that hold them. Localhost is among them only when it is written down.
func (inv *Inventory) Hosts() []string { return names(inv.hostsOf(inv.groups["all"])) }

// GroupNames returns every group, sorted, all and ungrouped included.
func (inv *Inventory) GroupNames() []string { return sortedKeys(inv.groups) }

// HostsOf returns the hosts of group and of the groups in it; nil when there is
// no such group.
func (inv *Inventory) HostsOf(group string) []string {
	g := inv.groups[group]
	if g == nil {
		return nil
	}
	return names(inv.hostsOf(g))
}

func (inv *Inventory) hostsOf(g *group) []*host {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	list, ok := inv.members[g]
	if !ok {
		list = g.collect(len(inv.hostList))
		inv.members[g] = list
	}
	return list
}

func names(hosts []*host) []string {
	out := make([]string, len(hosts))
	for i, h := range hosts {
		out[i] = h.name
	}
	return out
}
