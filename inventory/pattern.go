package inventory

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrNoHosts is wrapped by the errors of patterns and limits that match
// nothing.
var ErrNoHosts = errors.New("no host matches")

// Match returns the hosts that pattern names and limit leaves, in the order of
// the inventory. Both may hold several patterns, separated by commas or colons:
// names of hosts and groups, globs, ~regular expressions, each perhaps with a
// subscript such as [0], [-1], [1:3] or [2:]; "&x" keeps what is in x too and
// "!x" takes x away; "@file" reads patterns from a file, one a line. An empty
// limit leaves everything. Localhost needs no inventory.
//
// Matching nothing is an error that wraps ErrNoHosts, unless Options.AllowEmpty
// is set.
func (inv *Inventory) Match(pattern, limit string) ([]string, error) {
	parts, err := patternList(pattern)
	if err != nil {
		return nil, err
	}
	m := &matcher{inv: inv}
	hosts, err := m.all(parts)
	if err != nil {
		return nil, err
	}
	if len(hosts) == 0 {
		return inv.nothing(m, "the pattern", pattern)
	}
	if parts, err = patternList(limit); err != nil {
		return nil, err
	}
	if len(parts) > 0 {
		limiter := &matcher{inv: inv}
		left, err := limiter.all(parts)
		if err != nil {
			return nil, err
		}
		keep := make(map[*host]bool, len(left))
		local := false
		for _, h := range left {
			keep[h] = true
			local = local || h.source == implicitSource
		}
		hosts = slices.DeleteFunc(hosts, func(h *host) bool {
			// All names of a localhost that nobody wrote down mean the same one.
			return !keep[h] && (!local || h.source != implicitSource)
		})
		switch {
		case len(left) == 0:
			return inv.nothing(limiter, "the limit", limit)
		case len(hosts) == 0 && !inv.opt.AllowEmpty:
			return nil, fmt.Errorf("%w: the limit %q leaves none of the hosts of %q", ErrNoHosts, limit, pattern)
		}
		m.missing = append(m.missing, limiter.missing...)
	}
	for _, p := range m.missing {
		inv.opt.Warn(fmt.Sprintf("no host or group is called %s%s", p, inv.near(p)))
	}
	return uniqueNames(hosts)
}

func uniqueNames(hosts []*host) ([]string, error) {
	seen := make(map[*host]bool, len(hosts))
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		if seen[h] {
			continue
		}
		if h.broken != nil {
			return nil, h.broken
		}
		seen[h] = true
		out = append(out, h.name)
	}
	return out, nil
}

// nothing is the answer to a pattern that matched nothing.
func (inv *Inventory) nothing(m *matcher, what, pattern string) ([]string, error) {
	if inv.opt.AllowEmpty {
		return nil, nil
	}
	near := inv.notRange(pattern)
	if near == "" && len(m.missing) > 0 {
		near = inv.near(m.missing[0])
	}
	switch {
	case len(inv.hostList) == 0 && len(inv.guestList) == 0:
		near = "; the inventory has no hosts"
	case near == "" && len(m.missing) > 0:
		near = "; sloth inventory --graph shows what there is"
	}
	return nil, fmt.Errorf("%w %s %q%s", ErrNoHosts, what, pattern, near)
}

// near says which names are like p.
func (inv *Inventory) near(p string) string {
	if strings.HasPrefix(p, "~") {
		return ""
	}
	known := make([]string, 0, len(inv.groupList)+len(inv.hostList)+len(inv.guestList))
	for _, g := range inv.groupList {
		known = append(known, g.name)
	}
	for _, h := range inv.hostList {
		known = append(known, h.name)
	}
	known = append(known, inv.guestList...)
	switch like := likely(p, known); len(like) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; did you mean %s?", like[0])
	default:
		return fmt.Sprintf("; did you mean %s or %s?", strings.Join(like[:len(like)-1], ", "), like[len(like)-1])
	}
}

// notRange explains a subscript that was meant as a range of names.
func (inv *Inventory) notRange(pattern string) string {
	sub := subscripted.FindStringSubmatch(pattern)
	if sub == nil || sub[4] == "" {
		return ""
	}
	if !slices.ContainsFunc(inv.hostList, func(h *host) bool { return strings.HasPrefix(h.name, sub[1]) }) {
		return ""
	}
	return fmt.Sprintf("; [%s%s%s] picks from the hosts of a group and is no range of names: write %s* or %s[0-9]", sub[3], sub[4], sub[5], sub[1], sub[1])
}

// patternList splits a pattern or limit and reads the files it names.
func patternList(s string) ([]string, error) {
	var out []string
	for _, p := range splitPattern(s) {
		if p[0] != '@' {
			out = append(out, p)
			continue
		}
		data, err := readCapped(p[1:])
		if err != nil {
			if st, e := os.Stat(p[1:]); e == nil && st.IsDir() {
				return nil, fmt.Errorf("read the limit %s: it is a folder", p)
			}
			return nil, fmt.Errorf("read the limit %s: %s", p, reason(err))
		}
		before := len(out)
		for line := range strings.Lines(string(data)) {
			if line = strings.TrimSpace(line); line != "" {
				out = append(out, line)
			}
		}
		if len(out) == before {
			// No pattern at all means every host, which an empty list of hosts
			// surely does not.
			return nil, fmt.Errorf("%w: %s names none", ErrNoHosts, p)
		}
	}
	return out, nil
}

// colonParts finds what stands between colons, keeping brackets together.
var colonParts = regexp.MustCompile(`(?:[^\s:\[\]]|\[[^\]]*\])+`)

// splitPattern separates patterns at commas or, where there are none, at
// colons; what is an address, even one of IPv6, stays whole.
func splitPattern(s string) []string {
	var parts []string
	if strings.Contains(s, ",") {
		parts = strings.Split(s, ",")
	} else if _, _, err := parseAddress(s, true); err == nil {
		parts = []string{s}
	} else {
		parts = colonParts.FindAllString(s, -1)
	}
	out := parts[:0:0]
	for _, p := range parts {
		if p = strings.TrimFunc(p, isSpace); p != "" {
			out = append(out, p)
		}
	}
	return out
}

// SplitPattern gives the parts of a pattern, each still with its & or !, and
// "@file" as it stands.
func SplitPattern(pattern string) []string { return splitPattern(pattern) }

// matcher evaluates patterns and remembers which ones are unknown.
type matcher struct {
	inv     *Inventory
	missing []string
}

// all applies plain patterns first, then the intersections, then the
// exclusions. Without a plain one it starts from all hosts.
func (m *matcher) all(parts []string) ([]*host, error) {
	var plain, and, not []string
	for _, p := range parts {
		switch p[0] {
		case '!':
			not = append(not, p)
		case '&':
			and = append(and, p)
		default:
			plain = append(plain, p)
		}
	}
	if len(plain) == 0 {
		plain = []string{"all"}
	}
	var hosts []*host
	have := map[*host]bool{}
	for _, p := range plain {
		found, err := m.one(p)
		if err != nil {
			return nil, err
		}
		for _, h := range found {
			if !have[h] {
				have[h] = true
				hosts = append(hosts, h)
			}
		}
	}
	for _, p := range append(and, not...) {
		if h := m.inv.hosts[p]; h != nil { // a host may be called !x
			hosts = append(hosts, h)
			continue
		}
		if len(p) == 1 {
			continue
		}
		found, err := m.picked(p[1:])
		if err != nil {
			return nil, err
		}
		in := make(map[*host]bool, len(found))
		for _, h := range found {
			in[h] = true
		}
		hosts = slices.DeleteFunc(hosts, func(h *host) bool { return in[h] == (p[0] == '!') })
	}
	return hosts, nil
}

// subscripted is a pattern with [n], [n:], [n:m] or, as it once was, [n-m].
var subscripted = regexp.MustCompile(`^(.+)\[(?:(-?[0-9]+)|([0-9]+)([:-])([0-9]*))\]$`)

// one gives the hosts of a plain pattern: a host of that name comes before a
// group.
func (m *matcher) one(p string) ([]*host, error) {
	if h := m.inv.hosts[p]; h != nil {
		return []*host{h}, nil
	}
	return m.picked(p)
}

// picked gives the hosts of a pattern, subscript applied. A group comes before
// a host of the same name, which is what Ansible does after & and !.
func (m *matcher) picked(p string) ([]*host, error) {
	sub := subscripted.FindStringSubmatch(p)
	if sub == nil || p[0] == '~' {
		return m.find(p)
	}
	hosts, err := m.find(sub[1])
	if err != nil || len(hosts) == 0 {
		return hosts, err
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			return 1 << 40 // beyond any inventory
		}
		return n
	}
	if sub[2] != "" {
		return m.index(hosts, number(sub[2]), p)
	}
	if sub[4] == "-" {
		m.inv.opt.Warn(fmt.Sprintf("%s: a range of hosts is written [x:y], both included", p))
	}
	start, end := number(sub[3]), len(hosts)-1
	if sub[5] != "" {
		if end = number(sub[5]); end == 0 {
			return m.index(hosts, start, p) // as Ansible reads [x:0]
		}
	}
	end = min(end, len(hosts)-1)
	if start > end {
		return nil, nil
	}
	return hosts[start : end+1], nil
}

func (m *matcher) index(hosts []*host, i int, p string) ([]*host, error) {
	at := i
	if at < 0 {
		at += len(hosts)
	}
	if at < 0 || at >= len(hosts) {
		return nil, fmt.Errorf("%w: the pattern %q asks for number %d of %d hosts (the first is [0])", ErrNoHosts, p, i, len(hosts))
	}
	return hosts[at : at+1], nil
}

// find gives the hosts of matching groups and, for globs and regular
// expressions or where no group matches, matching hosts. A host may occur
// twice; subscripts count it twice, as in Ansible.
func (m *matcher) find(p string) ([]*host, error) {
	inv := m.inv
	match, exact, err := compilePattern(p)
	if err != nil {
		return nil, err
	}
	var out []*host
	groups := 0
	if exact {
		if g := inv.groups[p]; g != nil {
			groups, out = 1, slices.Clone(inv.hostsOf(g))
		}
	} else {
		for _, g := range inv.groupList {
			if match(g.name) {
				groups++
				out = append(out, inv.hostsOf(g)...)
			}
		}
	}
	if groups == 0 || p[0] == '~' || strings.ContainsAny(p, ".?*[") {
		if exact {
			if h := inv.hosts[p]; h != nil {
				out = append(out, h)
			}
		} else {
			for _, h := range inv.hostList {
				if match(h.name) {
					out = append(out, h)
				}
			}
		}
	}
	if len(out) == 0 && groups == 0 {
		out = inv.findGuests(p, match)
	}
	if len(out) == 0 && slices.Contains(localNames, p) {
		if inv.localhost != nil {
			return []*host{inv.localhost}, nil
		}
		return []*host{inv.lookup(p)}, nil
	}
	if len(out) == 0 && groups == 0 && p != "all" {
		m.missing = append(m.missing, p)
	}
	return out, nil
}

// findGuests looks among the hosts that AddHost brought.
func (inv *Inventory) findGuests(p string, match func(string) bool) []*host {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	var out []*host
	for _, name := range inv.guestList {
		if name == p || match != nil && match(name) {
			out = append(out, inv.guests[name])
		}
	}
	return out
}
