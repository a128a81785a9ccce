package inventory

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// yamlBools are the words that YAML 1.1 reads as booleans: all lower case, all
// upper case, or capitalised.
var yamlBools = map[string]bool{
	"yes": true, "true": true, "on": true,
	"no": false, "false": false, "off": false,
}

// resolvePlain gives a scalar without quotes its YAML 1.1 type.
func resolvePlain(s string) any {
	if s == "" {
		return nil
	}
	switch c := s[0]; c {
	case 'y', 'Y', 'n', 'N', 't', 'T', 'f', 'F', 'o', 'O':
		if len(s) > 5 {
			return s
		}
		lower := strings.ToLower(s)
		if s != lower && s != strings.ToUpper(s) && s[1:] != lower[1:] {
			return s
		}
		if b, ok := yamlBools[lower]; ok {
			return b
		}
		if lower == "null" {
			return nil
		}
	case '~':
		if s == "~" {
			return nil
		}
	case '-', '+', '.', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return resolveNumber(s)
	}
	return s
}

func resolveNumber(s string) any {
	// Addresses are the most common thing that starts with a digit.
	if strings.Count(s, ".") > 1 {
		return s
	}
	if yamlIntText.MatchString(s) {
		if v, ok := yamlInt(s); ok {
			return v
		}
		return s
	}
	if yamlFloatText.MatchString(s) {
		if v, ok := yamlFloat(s); ok {
			return v
		}
		return s
	}
	if len(s) >= 8 && yamlTimeText.MatchString(s) {
		if v, ok := yamlTime(s); ok {
			return v
		}
	}
	return s
}

// reserved says what is wrong with a scalar that is neither a value nor, in
// YAML 1.1, plain text; empty: nothing.
func reserved(s string) string {
	switch {
	case s == "=" || s == "<<":
		return fmt.Sprintf("%s means something else in YAML and cannot be a value", s)
	case len(s) < 8 || s[0] < '0' || s[0] > '9' || s[4] != '-' || !yamlTimeText.MatchString(s):
		return ""
	}
	if _, ok := yamlTime(s); !ok && !loneDate(s) {
		return fmt.Sprintf("there is no such date or time: %s", s)
	}
	return ""
}

// loneDate is a date that YAML takes for text, as its month or day has one
// digit only.
func loneDate(s string) bool {
	m := yamlTimeText.FindStringSubmatch(s)
	return m[4] == "" && (len(m[2]) != 2 || len(m[3]) != 2)
}

var (
	yamlIntText   = regexp.MustCompile(`^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$`)
	yamlFloatText = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$`)
	yamlTimeText  = regexp.MustCompile(`^(\d{4})-(\d\d?)-(\d\d?)(?:(?:[Tt]|[ \t]+)(\d\d?):(\d\d):(\d\d)(?:\.(\d*))?(?:[ \t]*(Z|([-+])(\d\d?)(?::(\d\d))?))?)?$`)
)

// yamlInt reads what YAML 1.1 calls a whole number: with a leading 0 it is
// octal, with colons it counts in sixties.
func yamlInt(s string) (any, bool) {
	s = strings.ReplaceAll(s, "_", "")
	negative := strings.HasPrefix(s, "-")
	s = strings.TrimLeft(s, "+-")
	switch {
	case s == "":
		return nil, false
	case s == "0":
		return int64(0), true
	case strings.HasPrefix(s, "0b"):
		return integer(s[2:], 2, negative)
	case strings.HasPrefix(s, "0x"):
		return integer(s[2:], 16, negative)
	case strings.Contains(s, ":"):
		total := int64(0)
		for _, part := range strings.Split(s, ":") {
			n, err := strconv.ParseInt(part, 10, 32)
			if err != nil || total > math.MaxInt64/120 {
				return nil, false
			}
			total = total*60 + n
		}
		if negative {
			total = -total
		}
		return total, true
	case s[0] == '0':
		return integer(s, 8, negative)
	}
	return integer(s, 10, negative)
}

func yamlFloat(s string) (any, bool) {
	s = strings.ToLower(strings.ReplaceAll(s, "_", ""))
	sign := 1.0
	if strings.HasPrefix(s, "-") {
		sign = -1
	}
	s = strings.TrimLeft(s, "+-")
	switch {
	case s == ".inf":
		return math.Inf(int(sign)), true
	case s == ".nan":
		return math.NaN(), true
	case strings.Contains(s, ":"):
		total := 0.0
		for _, part := range strings.Split(s, ":") {
			f, err := strconv.ParseFloat(part, 64)
			if err != nil {
				return nil, false
			}
			total = total*60 + f
		}
		return sign * total, true
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, false
	}
	return sign * f, true
}

// yamlTime gives dates and times the text that Ansible's list shows for them;
// a date that does not exist stays text.
func yamlTime(s string) (any, bool) {
	m := yamlTimeText.FindStringSubmatch(s)
	if m == nil {
		return nil, false
	}
	n := func(i int) int { v, _ := strconv.Atoi(m[i]); return v }
	if m[4] == "" {
		if len(m[2]) != 2 || len(m[3]) != 2 || !validDate(n(1), n(2), n(3)) {
			return nil, false
		}
		return s, true
	}
	if !validDate(n(1), n(2), n(3)) || n(4) > 23 || n(5) > 59 || n(6) > 59 {
		return nil, false
	}
	out := fmt.Sprintf("%04d-%02d-%02dT%02d:%02d:%02d", n(1), n(2), n(3), n(4), n(5), n(6))
	if micro := (m[7] + "000000")[:6]; micro != "000000" {
		out += "." + micro
	}
	switch {
	case m[8] == "Z":
		out += "+00:00"
	case m[8] != "":
		out += fmt.Sprintf("%s%02d:%02d", m[9], n(10), n(11))
	}
	return out, true
}

func validDate(y, m, d int) bool {
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	return y > 0 && t.Year() == y && int(t.Month()) == m && t.Day() == d
}

// asInt is what Python's int() makes of a value.
func asInt(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case float64:
		if math.Abs(v) < 1<<53 {
			return int64(v), true
		}
	case string:
		n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func asFloat(v any) (any, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case bigInt:
		f, err := strconv.ParseFloat(string(v), 64)
		return f, err == nil
	}
	return nil, false
}

// describe names the type of a value, with its article, for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case bool:
		return fmt.Sprintf("the boolean %t", v)
	case int64, bigInt:
		return fmt.Sprintf("the number %v", v)
	case float64:
		return "the number " + floatText(v)
	case Encrypted:
		return "a " + v.kind + " value"
	case []any:
		return "a list"
	case *dict, map[string]any:
		return "a map"
	}
	return "text"
}
