package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxNodes bounds what Expand makes of a few characters.
const maxNodes = 1_000_000

// node is a name cut into its texts and its numbers: web-01.b7 is the texts
// "web-", ".b", "" and the numbers 01 and 7.
type node struct {
	texts   []string // one more than numbers
	numbers []number
}

// number keeps the zeros it was written with: 1 and 01 are different hosts.
type number struct {
	value int64
	width int // digits, where it begins with a zero that pads; else 0
}

func (n number) String() string { return fmt.Sprintf("%0*d", n.width, n.value) }

// maxDigits is how long a number may be; longer ones are text.
const maxDigits = 15

func parseNode(name string) node {
	var n node
	start := 0 // of the text
	for i := 0; i < len(name); {
		if name[i] < '0' || name[i] > '9' {
			i++
			continue
		}
		end := i
		for end < len(name) && name[end] >= '0' && name[end] <= '9' {
			end++
		}
		if end-i <= maxDigits {
			n.texts = append(n.texts, name[start:i])
			n.numbers = append(n.numbers, parseNumber(name[i:end]))
			start = end
		}
		i = end
	}
	n.texts = append(n.texts, name[start:])
	return n
}

// parseNumber takes a run of at most maxDigits digits.
func parseNumber(digits string) number {
	v, _ := strconv.ParseInt(digits, 10, 64) // digits only, and few: cannot fail
	n := number{value: v}
	if len(digits) > 1 && digits[0] == '0' {
		n.width = len(digits)
	}
	return n
}

// shape is what nodes that fold together have in common.
func (n node) shape() string { return strings.Join(n.texts, "%s") }

func (n node) name() string {
	var b strings.Builder
	for i, t := range n.texts {
		b.WriteString(t)
		if i < len(n.numbers) {
			b.WriteString(n.numbers[i].String())
		}
	}
	return b.String()
}

func compareNumbers(a, b number) int {
	return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.width, b.width))
}

// compareNodes orders by shape, then by the numbers as numbers.
func compareNodes(a, b node) int {
	if !slices.Equal(a.texts, b.texts) { // the shape itself costs a string
		if c := strings.Compare(a.shape(), b.shape()); c != 0 {
			return c
		}
	}
	return slices.CompareFunc(a.numbers, b.numbers, compareNumbers)
}

// Fold writes many names as few, in the notation of ClusterShell:
// web-[01-12],db[1,3]. Each name counts once; the order is by name and number.
// Expand is the way back.
func Fold(names []string) string {
	nodes := make([]node, len(names))
	for i, n := range names {
		nodes[i] = parseNode(n)
	}
	return foldNodes(nodes)
}

func foldNodes(nodes []node) string {
	shapes := map[string][]node{}
	for _, n := range nodes {
		s := n.shape()
		shapes[s] = append(shapes[s], n)
	}
	var out []string
	for _, s := range sortedKeys(shapes) {
		group := shapes[s]
		texts := group[0].texts
		for _, row := range foldRows(group) {
			var b strings.Builder
			for i, t := range texts {
				b.WriteString(t)
				if i < len(row) {
					b.WriteString(foldNumbers(row[i]))
				}
			}
			out = append(out, b.String())
		}
	}
	return strings.Join(out, ",")
}

// foldRows joins nodes that differ in one number only, the last one first, and
// goes on with what that made. A row has a set of numbers for each place.
func foldRows(nodes []node) [][][]number {
	slices.SortFunc(nodes, compareNodes)
	nodes = slices.CompactFunc(nodes, func(a, b node) bool { return compareNodes(a, b) == 0 })
	rows := make([][][]number, len(nodes))
	for i, n := range nodes {
		for _, v := range n.numbers {
			rows[i] = append(rows[i], []number{v})
		}
	}
	for place := len(nodes[0].numbers) - 1; place >= 0; place-- {
		index := map[string]int{}
		var joined [][][]number
		for _, r := range rows {
			var key strings.Builder
			for i, set := range r {
				if i != place {
					key.WriteString(foldNumbers(set) + "|")
				}
			}
			if i, ok := index[key.String()]; ok {
				joined[i][place] = append(joined[i][place], r[place]...)
				continue
			}
			index[key.String()] = len(joined)
			joined = append(joined, r)
		}
		for _, r := range joined {
			slices.SortFunc(r[place], compareNumbers)
		}
		rows = joined
	}
	return rows
}

// foldNumbers writes sorted numbers: 7 or [1-3,5]. A run keeps its padding: 09
// and 10 follow each other, 9 and 010 do not.
func foldNumbers(set []number) string {
	if len(set) == 1 {
		return set[0].String()
	}
	var parts []string
	for i := 0; i < len(set); {
		j := i
		for j+1 < len(set) && follows(set[i], set[j], set[j+1]) {
			j++
		}
		if i == j {
			parts = append(parts, set[i].String())
		} else {
			parts = append(parts, set[i].String()+"-"+set[j].String())
		}
		i = j + 1
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// follows reports whether next continues a run from first to last.
func follows(first, last, next number) bool {
	if next.value != last.value+1 {
		return false
	}
	if first.width == 0 {
		return next.width == 0
	}
	return len(next.String()) == first.width
}

// Expand gives the names that a node set means, ordered by name and number:
//
//	web-[01-12],db[1,3]  n[0-10/2]  rack[1-2]node[1-3]
//
// Parts are joined by commas or blanks, taken away by "!" or -x, cut by "&" or
// -i, and "^" or -X keeps what only one side has; they apply from left to right.
func Expand(nodeset string) ([]string, error) {
	set := map[string]node{}
	op, want := byte(','), false
	for rest := nodeset; ; {
		term, next, after := cutTerm(rest)
		rest = after
		switch {
		case term == "-x":
			op, want = '!', true
		case term == "-i":
			op, want = '&', true
		case term == "-X":
			op, want = '^', true
		case term != "":
			nodes, err := expandTerm(term, maxNodes)
			if err != nil {
				return nil, fmt.Errorf("node set %q: %w", clipped(nodeset), err)
			}
			combine(set, nodes, op)
			if len(set) > maxNodes {
				return nil, fmt.Errorf("node set %q: more than %d names", clipped(nodeset), maxNodes)
			}
			op, want = ',', false
		}
		if next == 0 {
			break
		}
		if next != ',' && next != ' ' {
			if want {
				return nil, fmt.Errorf("node set %q: a name is missing before %q", clipped(nodeset), string(next))
			}
			op, want = next, true
		}
	}
	if want {
		return nil, fmt.Errorf("node set %q: a name is missing at the end", clipped(nodeset))
	}
	nodes := make([]node, 0, len(set))
	for _, n := range set {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, compareNodes)
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.name()
	}
	return out, nil
}

// cutTerm gives the text up to the next separator outside brackets, that
// separator (0 at the end) and what follows it.
func cutTerm(s string) (term string, sep byte, rest string) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth > 0:
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			return s[:i], ' ', s[i+1:]
		case c == ',' || c == '!' || c == '&' || c == '^':
			return s[:i], c, s[i+1:]
		}
	}
	return s, 0, ""
}

func combine(set map[string]node, nodes []node, op byte) {
	if op == '&' {
		keep := make(map[string]bool, len(nodes))
		for _, n := range nodes {
			keep[n.name()] = true
		}
		for name := range set {
			if !keep[name] {
				delete(set, name)
			}
		}
		return
	}
	for _, n := range nodes {
		name := n.name()
		_, in := set[name]
		switch {
		case op == '!', op == '^' && in:
			delete(set, name)
		default:
			set[name] = n
		}
	}
}

// expandTerm expands the first bracket and what follows it.
func expandTerm(s string, room int) ([]node, error) {
	open := strings.IndexByte(s, '[')
	if open < 0 {
		if strings.IndexByte(s, ']') >= 0 {
			return nil, fmt.Errorf("] without [ in %q", clipped(s))
		}
		return []node{parseNode(s)}, nil
	}
	shut := strings.IndexByte(s, ']')
	if shut < open {
		return nil, fmt.Errorf("brackets do not match in %q", clipped(s))
	}
	values, err := expandNumbers(s[open+1:shut], room)
	if err != nil {
		return nil, err
	}
	tails, err := expandTerm(s[shut+1:], room)
	if err != nil {
		return nil, err
	}
	if len(values)*len(tails) > room {
		return nil, fmt.Errorf("more than %d names", maxNodes)
	}
	out := make([]node, 0, len(values)*len(tails))
	for _, v := range values {
		for _, t := range tails {
			out = append(out, parseNode(s[:open]+v+t.name()))
		}
	}
	return out, nil
}

// expandNumbers gives the numbers of "1-3,7,10-20/2" as text.
func expandNumbers(s string, room int) ([]string, error) {
	var out []string
	for _, part := range strings.Split(s, ",") {
		span, stepText, stepped := strings.Cut(strings.TrimSpace(part), "/")
		from, to, ranged := strings.Cut(span, "-")
		if !ranged {
			to = from
		}
		step := int64(1)
		if stepped {
			n, err := strconv.ParseInt(stepText, 10, 32)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("the step of %q is no number above 0", clipped(part))
			}
			step = n
		}
		for _, t := range []string{from, to} {
			if t == "" || len(t) > maxDigits || strings.Trim(t, "0123456789") != "" {
				return nil, fmt.Errorf("%q is no number or range", clipped(part))
			}
		}
		a, b := parseNumber(from), parseNumber(to)
		switch {
		case a.value > b.value:
			return nil, fmt.Errorf("the range %q ends before it begins", clipped(part))
		case a.width != 0 && len(from) != len(to), b.width != 0 && len(from) != len(to):
			return nil, fmt.Errorf("begin and end of %q are padded differently", clipped(part))
		case (b.value-a.value)/step >= int64(room-len(out)):
			return nil, fmt.Errorf("more than %d names", maxNodes)
		}
		for v := a.value; v <= b.value; v += step {
			out = append(out, number{v, a.width}.String())
		}
	}
	return out, nil
}

// clipped is foreign text as an error message can carry it.
func clipped(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
