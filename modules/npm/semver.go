package npm

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// version is one of semver.
type version struct {
	n   [3]int
	pre string
}

var (
	versionForm = form(`^v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$`)
	partForm    = form(`^(\^|~>?|<=|>=|<|>|=)?\s*v?(\d+|[xX*])(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$`)
	tagForm     = form(`^[A-Za-z][A-Za-z0-9._-]*$`)
	spaces      = form(`(\^|~>?|<=|>=|<|>|=)\s+`)
)

func parseVersion(text string) (version, bool) {
	m := versionForm().FindStringSubmatch(text)
	if m == nil {
		return version{}, false
	}
	v := version{pre: m[4]}
	for i := range v.n {
		n, err := strconv.Atoi(m[i+1])
		if err != nil {
			return version{}, false
		}
		v.n[i] = n
	}
	return v, true
}

func (v version) compare(o version) int {
	for i := range v.n {
		if v.n[i] != o.n[i] {
			return cmp.Compare(v.n[i], o.n[i])
		}
	}
	switch {
	case v.pre == o.pre:
		return 0
	case v.pre == "":
		return 1
	case o.pre == "":
		return -1
	}
	a, b := strings.Split(v.pre, "."), strings.Split(o.pre, ".")
	for i := range min(len(a), len(b)) {
		x, errX := strconv.Atoi(a[i])
		y, errY := strconv.Atoi(b[i])
		c := cmp.Compare(a[i], b[i])
		switch { // numbers come before words
		case errX == nil && errY == nil:
			c = cmp.Compare(x, y)
		case errX == nil:
			c = -1
		case errY == nil:
			c = 1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

// bound is one comparison: at least from (closed) or below to (open).
type bound struct {
	op string // ">=", "<", ">", "<=", "="
	v  version
}

// isTag tells a name such as "latest" from a range.
func isTag(text string) bool { return tagForm().MatchString(text) && text != "x" && text != "X" }

// satisfies judges a version by a range such as "^1.2", "1.x || >=2.5 <3".
func satisfies(have, want string) (bool, error) {
	v, ok := parseVersion(have)
	for either := range strings.SplitSeq(want, "||") {
		bounds, err := bounds(strings.TrimSpace(either), want)
		if err != nil {
			return false, err
		}
		if ok && v.within(bounds) {
			return true, nil
		}
	}
	return false, nil
}

func bounds(text, whole string) ([]bound, error) {
	var out []bound
	if first, last, ok := strings.Cut(text, " - "); ok {
		text = ">=" + strings.TrimSpace(first) + " <=" + strings.TrimSpace(last)
	}
	for _, part := range strings.Fields(spaces().ReplaceAllString(text, "$1")) {
		if part == "*" {
			continue
		}
		m := partForm().FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf("%q is neither a version, nor a range such as \"^1.2\", nor a tag such as \"latest\"", whole)
		}
		out = append(out, expand(m)...)
	}
	return out, nil
}

// expand turns one part of a range into bounds; given counts its numbers.
func expand(m []string) []bound {
	v := version{pre: m[5]}
	given := 0
	for i := range v.n {
		n, err := strconv.Atoi(m[i+2])
		if err != nil {
			break
		}
		v.n[i], given = n, i+1
	}
	if given == 0 {
		return nil
	}
	up := func(at int) bound { // below the next one at that place, not its previews either
		w := version{pre: "0"}
		copy(w.n[:at+1], v.n[:at+1])
		w.n[at]++
		return bound{"<", w}
	}
	switch op := m[1]; {
	case op == "^":
		at := 0
		for at < given-1 && v.n[at] == 0 {
			at++
		}
		return []bound{{">=", v}, up(at)}
	case strings.HasPrefix(op, "~"):
		return []bound{{">=", v}, up(min(given-1, 1))}
	case given == 3 && op == "":
		return []bound{{"=", v}}
	case given == 3:
		return []bound{{op, v}}
	case op == "" || op == "=":
		return []bound{{">=", v}, up(given - 1)}
	case op == ">":
		b := up(given - 1)
		b.v.pre = ""
		return []bound{{">=", b.v}}
	case op == "<=":
		return []bound{up(given - 1)}
	}
	return []bound{{m[1], v}}
}

// within compares; a preview fits only where a bound names one of the same version.
func (v version) within(bounds []bound) bool {
	named := v.pre == ""
	for _, b := range bounds {
		c := v.compare(b.v)
		fits := map[string]bool{">=": c >= 0, ">": c > 0, "<": c < 0, "<=": c <= 0, "=": c == 0}[b.op]
		if !fits {
			return false
		}
		named = named || b.v.pre != "" && b.v.n == v.n && b.op != "<"
	}
	return named
}

// form compiles a pattern at its first use: a host that has no need of it pays nothing.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
