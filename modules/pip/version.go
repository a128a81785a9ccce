package pip

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// version is one of PEP 440, so that wishes such as ">=4,<5" can be judged
// without the network.
type version struct {
	epoch     int
	release   []int
	pre       string // a, b, rc or nothing
	preN      int
	post, dev int // -1: none
	local     string
}

var versionForm = form(`(?i)^v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[._-]?(alpha|a|beta|b|preview|pre|c|rc)[._-]?(\d*))?` +
	`(?:-(\d+)|[._-]?(post|rev|r)[._-]?(\d*))?(?:[._-]?(dev)[._-]?(\d*))?(?:\+([a-z0-9]+(?:[._-][a-z0-9]+)*))?$`)

// preview is the short name of a kind of preview.
func preview(text string) string {
	switch text {
	case "alpha", "a":
		return "a"
	case "beta", "b":
		return "b"
	}
	return "rc"
}

func parseVersion(text string) (version, error) {
	m := versionForm().FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return version{}, fmt.Errorf("%q is no version", text)
	}
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil { // nothing, or more digits than any version needs
			return 0
		}
		return n
	}
	v := version{epoch: number(m[1]), post: -1, dev: -1, local: strings.ToLower(m[10])}
	for part := range strings.SplitSeq(m[2], ".") {
		v.release = append(v.release, number(part))
	}
	if m[3] != "" {
		v.pre, v.preN = preview(strings.ToLower(m[3])), number(m[4])
	}
	if m[5] != "" || m[6] != "" {
		v.post = number(m[5] + m[7])
	}
	if m[8] != "" {
		v.dev = number(m[9])
	}
	return v, nil
}

// compare orders versions; a local part counts only where all else is equal.
func (v version) compare(o version) int {
	phase := func(v version) int { // dev before a, b, rc before the release before post
		switch {
		case v.pre == "" && v.post < 0 && v.dev >= 0:
			return 0
		case v.pre != "":
			return 1
		}
		return 2
	}
	dev := func(v version) int {
		if v.dev < 0 {
			return 1 << 30
		}
		return v.dev
	}
	return cmp.Or(cmp.Compare(v.epoch, o.epoch), compareRelease(v.release, o.release), cmp.Compare(phase(v), phase(o)), cmp.Compare(v.pre, o.pre),
		cmp.Compare(v.preN, o.preN), cmp.Compare(v.post, o.post), cmp.Compare(dev(v), dev(o)))
}

func compareRelease(a, b []int) int {
	for i := range max(len(a), len(b)) {
		x, y := 0, 0
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return cmp.Compare(x, y)
		}
	}
	return 0
}

var clauseForm = form(`^(===|==|!=|<=|>=|~=|<|>)\s*(\S+)$`)

// satisfies judges a version by "==1.2.*", ">=4,<5" and the like.
func satisfies(have, wish string) (bool, error) {
	if wish == "" {
		return true, nil
	}
	v, errHave := parseVersion(have)
	for clause := range strings.SplitSeq(wish, ",") {
		m := clauseForm().FindStringSubmatch(strings.TrimSpace(clause))
		if m == nil {
			return false, fmt.Errorf("%q is no wish for a version; write \"==1.2\", \">=4,<5\" or \"~=1.4\"", wish)
		}
		if m[1] == "===" {
			if !strings.EqualFold(have, m[2]) {
				return false, nil
			}
			continue
		}
		text, star := strings.CutSuffix(m[2], ".*")
		w, err := parseVersion(text)
		if err != nil || star && m[1] != "==" && m[1] != "!=" {
			return false, fmt.Errorf("%q is no wish for a version; write \"==1.2\", \">=4,<5\" or \"~=1.4\"", wish)
		}
		if errHave != nil || !v.fits(m[1], w, star) {
			return false, nil
		}
	}
	return true, nil
}

func (v version) fits(op string, w version, star bool) bool {
	order := v.compare(w)
	begins := func(n int) bool {
		padded := append(slices.Clone(v.release), make([]int, max(0, n-len(v.release)))...)
		return v.epoch == w.epoch && slices.Equal(padded[:n], w.release[:n])
	}
	equal := order == 0 && (w.local == "" || w.local == v.local)
	if star {
		equal = begins(len(w.release))
	}
	switch op {
	case "==":
		return equal
	case "!=":
		return !equal
	case "<=":
		return order <= 0
	case ">=":
		return order >= 0
	case "<": // not a version before the release that is excluded
		return order < 0 && (w.pre != "" || v.pre == "" && v.dev < 0 || compareRelease(v.release, w.release) != 0)
	case ">":
		return order > 0 && (w.post >= 0 || v.post < 0 || compareRelease(v.release, w.release) != 0)
	}
	return len(w.release) > 1 && order >= 0 && begins(len(w.release)-1) // ~=
}

// form compiles a pattern at its first use: a host that has no need of it pays nothing.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}
