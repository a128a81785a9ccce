package firewall

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

const (
	allow  = "allow"
	deny   = "deny"
	reject = "reject"
	limit  = "limit" // ufw's: allow, but not too often

	in  = "in"
	out = "out"

	tcp      = "tcp"
	udp      = "udp"
	anyProto = "any"
)

// Rule is one rule, in the form that all firewalls are brought to. Empty fields
// are of no matter.
type Rule struct {
	Action    string `json:"action"`
	Direction string `json:"direction"`
	Proto     string `json:"proto,omitempty"` // tcp, udp; any: both, or without a port all there are
	Port      string `json:"port,omitempty"`  // "22", "8000-8010", "80,443"
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Interface string `json:"interface,omitempty"`
	Comment   string `json:"comment,omitempty"`
}

// String is the rule as people read it, and as plans show it.
func (r Rule) String() string {
	words := []string{r.Action, r.Direction}
	add := func(word, value string) {
		if value != "" {
			words = append(words, word, value)
		}
	}
	add("on", r.Interface)
	add("from", r.From)
	add("to", r.To)
	switch {
	case r.Port != "" && r.Proto != anyProto:
		words = append(words, "port", r.Port+"/"+r.Proto)
	case r.Port != "":
		words = append(words, "port", r.Port)
	case r.Proto != anyProto:
		words = append(words, "proto", r.Proto)
	}
	if r.Comment != "" {
		words = append(words, strconv.Quote(r.Comment))
	}
	return strings.Join(words, " ")
}

// match is the rule without what it does.
func (r Rule) match() Rule {
	r.Action, r.Comment = "", ""
	return r
}

// six and four report whether the rule speaks of addresses of that family; one
// without addresses speaks of both.
func (r Rule) six() bool { return strings.Contains(r.From+r.To, ":") }

func (r Rule) four() bool { return r.From+r.To != "" && !r.six() }

// table is the rule as Lua sees it.
func (r Rule) table() map[string]any {
	out := map[string]any{"action": r.Action, "direction": r.Direction, "proto": r.Proto}
	for k, v := range map[string]string{"port": r.Port, "from": r.From, "to": r.To, "interface": r.Interface, "comment": r.Comment} {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

// ports brings a port, a range or a list of them to one form.
func ports(text string) (string, error) {
	var list []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		first, last, isRange := strings.Cut(strings.ReplaceAll(part, ":", "-"), "-")
		a, err := port(first)
		b := a
		if err == nil && isRange {
			b, err = port(last)
		}
		if err != nil {
			return "", fmt.Errorf("port = %q: %w; write 22, \"8000-8010\" or \"80,443\"", text, err)
		}
		switch {
		case b < a:
			return "", fmt.Errorf("port = %q: %d is after %d", text, a, b)
		case a == b:
			list = append(list, strconv.Itoa(a))
		default:
			list = append(list, fmt.Sprintf("%d-%d", a, b))
		}
	}
	sort.Slice(list, func(i, j int) bool {
		x, _, _ := strings.Cut(list[i], "-")
		y, _, _ := strings.Cut(list[j], "-")
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return m < n
	})
	return strings.Join(slices.Compact(list), ","), nil
}

func port(text string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("%q is no port between 1 and 65535", text)
	}
	return n, nil
}

// hasPort reports whether the ports of a rule hold n.
func hasPort(list string, n int) bool {
	if list == "" {
		return true
	}
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, _ := strconv.Atoi(first)
		b := a
		if isRange {
			b, _ = strconv.Atoi(last)
		}
		if a <= n && n <= b {
			return true
		}
	}
	return false
}

// address brings an address or network to one form; any is nothing.
func address(what, text string) (string, error) {
	switch strings.ToLower(text) {
	case "", "any", "0.0.0.0/0", "::/0":
		return "", nil
	}
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return a.Unmap().String(), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return "", fmt.Errorf("%s = %q is neither an address nor a network such as \"10.0.0.0/8\"", what, text)
	}
	if p != p.Masked() {
		return "", fmt.Errorf("%s = %q: the network is %s; an address of it alone goes without /%d", what, text, p.Masked(), p.Bits())
	}
	if p.IsSingleIP() {
		return p.Addr().String(), nil
	}
	return p.String(), nil
}

// covers reports whether an address of a rule holds a.
func covers(text string, a netip.Addr) bool {
	if text == "" {
		return true
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Contains(a)
	}
	b, err := netip.ParseAddr(text)
	return err == nil && a == b
}
