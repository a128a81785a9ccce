package inventory

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// parseAddress splits "host", "host:port", "[host]:port" and addresses, where
// every part of a name may be a range such as [1:9]. port is 0 when none is
// given. It accepts exactly what Ansible accepts.
func parseAddress(s string, ranges bool) (host string, port int, err error) {
	host = s
	if m := bracketedPort.FindStringSubmatch(host); m != nil {
		host, port = m[1], portNumber(m[2])
	}
	if m := hostPort.FindStringSubmatch(host); m != nil {
		host, port = m[1], portNumber(m[2])
	}
	if !isIPv4(host) && !isHostname(host) && !ipv6().MatchString(host) {
		return "", 0, fmt.Errorf("not a valid network hostname: %s", host)
	}
	if !ranges && strings.Contains(host, "[") {
		return "", 0, errors.New("a range is not allowed here")
	}
	return host, port, nil
}

var (
	bracketedPort = regexp.MustCompile(`^\[(.+)\]:([0-9]+)$`)
	hostPort      = regexp.MustCompile(`^((?:[^:\[\]]|\[[^\]]*\])*):([0-9]+)$`)
	numericRange  = regexp.MustCompile(`^\[[0-9]+:[0-9]+(?::[0-9]+)?\]$`)
	labelRange    = regexp.MustCompile(`(?i)^\[(?:[a-z]:[a-z]|[0-9]+:[0-9]+)(?::[0-9]+)?\]`)
	octet         = regexp.MustCompile(`^(?:[01]?[0-9]{1,2}|2[0-4][0-9]|25[0-5])$`)
	// ipv6 is large and seldom asked for.
	ipv6 = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(ipv6Expression()) })
)

// portNumber turns digits into a number that is too big for a port rather than
// wrong when there are many of them; whoever uses it says so.
func portNumber(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 1 << 30
	}
	return n
}

// ipv6Expression spells out how eight groups may be written, one "::" standing
// for at least one of them. As in Ansible only the last form must reach the end
// of the text: whatever follows a complete address is taken as part of the name.
func ipv6Expression() string {
	const c = `(?:[0-9a-f]{1,4}|\[[0-9a-f]+:[0-9a-f]+(?::[0-9]+)?\])`
	forms := []string{
		`(?:` + c + `:){7}` + c,
		`(?:` + c + `:){1,6}:`,
	}
	for before := 1; before <= 6; before++ {
		forms = append(forms, fmt.Sprintf(`(?:%s:){%d}(?::%s){1,%d}`, c, before, c, 7-before))
	}
	forms = append(forms,
		`:(?::`+c+`){1,6}`,
		c+`?::`,
		`(?:0:){6}(?:`+c+`\.){3}`+c,
		`::(?:ffff:)?(?:`+c+`\.){3}`+c,
		`(?:0:){5}ffff:(?:`+c+`\.){3}`+c+`$`,
	)
	return `(?i)^(?:` + strings.Join(forms, `|`) + `)`
}

func isIPv4(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) != 4 {
		return false
	}
	for _, p := range parts {
		if !octet.MatchString(p) && !numericRange.MatchString(p) {
			return false
		}
	}
	return true
}

// isHostname checks names of dotted labels. A label is made of letters, digits,
// "_", "-" and ranges, and neither starts with "-" nor ends in "-" or "_".
func isHostname(s string) bool {
	start, last := true, rune(0)
	for i := 0; i < len(s); {
		if s[i] == '[' {
			m := labelRange.FindString(s[i:])
			if m == "" {
				return false
			}
			i += len(m)
			start, last = false, ']'
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		i += size
		switch {
		case r == '.':
			if start || last == '-' || last == '_' {
				return false
			}
			start = true
			continue
		case r == '-':
			if start {
				return false
			}
		case !isWord(r):
			return false
		}
		start, last = false, r
	}
	return !start && last != '-' && last != '_'
}

// isWord is what a regular expression calls \w.
func isWord(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
}

// maxRange bounds how many hosts one pattern may stand for, maxHosts how many
// an inventory may have.
const (
	maxRange = 1_000_000
	maxHosts = 2_000_000
)

// expandHosts gives the names that a host pattern such as web[01:50]:2222
// stands for, and the port behind it, 0 when there is none.
func expandHosts(pattern string) (names []string, port int, err error) {
	name := pattern
	if strings.ContainsAny(pattern, ":[") {
		if host, p, err := parseAddress(pattern, true); err == nil {
			name, port = host, p
		}
	}
	if !strings.Contains(name, "[") {
		return []string{name}, port, nil
	}
	names, err = expandRange(nil, name)
	return names, port, err
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// expandRange appends to out every name that s stands for. Each range is
// [begin:end] or [begin:end:step] over numbers or letters, both ends included;
// a leading zero sets the width.
func expandRange(out []string, s string) ([]string, error) {
	open := strings.IndexByte(s, '[')
	if open < 0 {
		if len(out) >= maxRange {
			return nil, fmt.Errorf("the range stands for more than %d hosts", maxRange)
		}
		return append(out, s), nil
	}
	end := strings.IndexByte(s, ']')
	if end < open || strings.Contains(s[:end], "|") || strings.Contains(s[end:], "|") {
		return nil, errors.New("a range is [begin:end]; [, ] and | mean nothing else in a name")
	}
	head, inner, tail := s[:open], s[open+1:end], s[end+1:]
	seq, err := rangeOf(inner)
	if err != nil {
		return nil, err
	}
	// The list is built front to back, so the first range varies slowest.
	for _, item := range seq {
		if out, err = expandRange(out, head+item+tail); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func rangeOf(inner string) ([]string, error) {
	bounds := strings.Split(inner, ":")
	if len(bounds) != 2 && len(bounds) != 3 {
		return nil, fmt.Errorf("a range is [begin:end] or [begin:end:step], got [%s]", inner)
	}
	begin, end, step := bounds[0], bounds[1], 1
	if begin == "" {
		begin = "0"
	}
	if end == "" {
		return nil, fmt.Errorf("the range [%s] has no end", inner)
	}
	if len(bounds) == 3 {
		n, err := strconv.Atoi(bounds[2])
		if err != nil || n < 1 {
			return nil, fmt.Errorf("the step of the range [%s] must be a number from 1", inner)
		}
		step = n
	}
	width := 0
	if len(begin) > 1 && begin[0] == '0' {
		if width = len(begin); width != len(end) {
			return nil, fmt.Errorf("the ends of the range [%s] must have the same number of digits", inner)
		}
	}
	if b, e := strings.Index(letters, begin), strings.Index(letters, end); b >= 0 && e >= 0 {
		if b > e {
			return nil, fmt.Errorf("the range [%s] ends before it begins", inner)
		}
		var out []string
		for i := b; i <= e; i += step {
			out = append(out, letters[i:i+1])
		}
		return out, nil
	}
	b, err1 := strconv.Atoi(begin)
	e, err2 := strconv.Atoi(end)
	switch {
	case err1 != nil || err2 != nil:
		return nil, fmt.Errorf("the range [%s] must be between two numbers or two letters", inner)
	case b > e:
		return nil, fmt.Errorf("the range [%s] ends before it begins", inner)
	case (e-b)/step >= maxRange:
		return nil, fmt.Errorf("the range [%s] stands for more than %d hosts", inner, maxRange)
	}
	out := make([]string, 0, (e-b)/step+1)
	for i := b; i <= e; i += step {
		out = append(out, fmt.Sprintf("%0*d", width, i))
	}
	return out, nil
}
