package redact

import "slices"

// span is a part of a text.
type span struct{ from, to int }

// search finds all forms. A trie takes one pass over the text, however many it
// has (Aho and Corasick).
type search struct{ exact, packed []*trie }

func (f *forms) compile() *search {
	return &search{exact: []*trie{newTrie(f.exact)}, packed: []*trie{newTrie(f.packed)}}
}

// trie is the automaton. Node 0 is the root.
type trie struct {
	root  [256]int32
	nodes []node
}

type node struct {
	edges []edge
	fail  int32
	depth int32
	found int32 // size of the longest form that ends here; 0: none
}

type edge struct {
	c  byte
	to int32
}

func (t *trie) child(n int32, c byte) int32 {
	if n == 0 {
		return t.root[c]
	}
	for _, e := range t.nodes[n].edges {
		if e.c == c {
			return e.to
		}
	}
	return 0
}

func newTrie(words map[string]bool) *trie {
	t := &trie{nodes: make([]node, 1)}
	for w := range words {
		at := int32(0)
		for i := range len(w) {
			next := t.child(at, w[i])
			if next == 0 {
				next = int32(len(t.nodes))
				t.nodes = append(t.nodes, node{depth: t.nodes[at].depth + 1})
				if at == 0 {
					t.root[w[i]] = next
				}
				t.nodes[at].edges = append(t.nodes[at].edges, edge{w[i], next})
			}
			at = next
		}
		t.nodes[at].found = int32(len(w))
	}
	for queue := []int32{0}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		for _, e := range t.nodes[n].edges {
			queue = append(queue, e.to)
			if n == 0 {
				continue
			}
			to := &t.nodes[e.to]
			to.fail = t.step(t.nodes[n].fail, e.c)
			to.found = max(to.found, t.nodes[to.fail].found)
		}
	}
	return t
}

// step is the longest beginning of a form that the text ends with, one byte on.
func (t *trie) step(n int32, c byte) int32 {
	for n != 0 {
		if next := t.child(n, c); next != 0 {
			return next
		}
		n = t.nodes[n].fail
	}
	return t.root[c]
}

// maxGap is how many blanks in a row may stand within a packed form.
const maxGap = 32

func gap(c byte) bool { return c == '\n' || c == '\r' || c == ' ' || c == '\t' || c == ':' }

// find gives what is to be hidden, in order and apart from each other. What
// begins at open may go on behind the end of b; len(b): nothing does.
func (m *search) find(b []byte) (found []span, open int) {
	open = len(b)
	for _, t := range m.exact {
		at := int32(0)
		for i, c := range b {
			if at = t.step(at, c); at == 0 {
				continue
			}
			if n := t.nodes[at].found; n > 0 {
				found = append(found, span{i + 1 - int(n), i + 1})
			}
		}
		open = min(open, len(b)-int(t.nodes[at].depth))
	}
	for _, t := range m.packed {
		var from int
		found, from = t.findPacked(b, found)
		open = min(open, from)
	}
	return merge(found), open
}

// findPacked adds to found, and says what is open, where gaps do not count.
func (t *trie) findPacked(b []byte, found []span) (all []span, open int) {
	at, blanks := int32(0), 0
	for i, c := range b {
		if at != 0 && gap(c) {
			if blanks++; blanks > maxGap {
				at = 0
			}
			continue
		}
		blanks = 0
		if at = t.step(at, c); at == 0 {
			continue
		}
		if n := t.nodes[at].found; n > 0 {
			found = append(found, span{back(b, i+1, int(n)), i + 1})
		}
	}
	open = len(b)
	if n := t.nodes[at].depth; n > 0 {
		open = back(b, open-blanks, int(n))
	}
	return found, open
}

// back is where the last n characters before end begin, gaps not counted.
func back(b []byte, end, n int) int {
	for n > 0 {
		end--
		if !gap(b[end]) {
			n--
		}
	}
	return end
}

func merge(spans []span) []span {
	if len(spans) < 2 {
		return spans
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	out := spans[:1]
	for _, s := range spans[1:] {
		if last := &out[len(out)-1]; s.from < last.to {
			last.to = max(last.to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}
