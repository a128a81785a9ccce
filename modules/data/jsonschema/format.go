package jsonschema

import (
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

// format says what s has against a format, nothing when it fits or the format
// is not known.
func format(name, s string) string {
	switch name {
	case "date":
		return parsed(time.DateOnly, s)
	case "time":
		return dateTime("2000-01-01T" + s)
	case "date-time":
		return dateTime(s)
	case "duration":
		if !matches(`^P(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?)$`, s) || strings.HasSuffix(s, "P") || strings.HasSuffix(s, "T") {
			return "write P1DT2H, PT5M or P2W"
		}
	case "email", "idn-email":
		return email(s)
	case "hostname", "idn-hostname":
		return hostname(s, name == "idn-hostname")
	case "ipv4":
		if a, err := netip.ParseAddr(s); err != nil || !a.Is4() {
			return "write four numbers with dots"
		}
	case "ipv6":
		if a, err := netip.ParseAddr(s); err != nil || !a.Is6() || a.Zone() != "" {
			return "it is no IPv6 address"
		}
	case "uri", "iri":
		return address(s, true)
	case "uri-reference", "iri-reference":
		return address(s, false)
	case "uri-template":
		if !matches(`^([^{}]|\{[^{}]+\})*$`, s) {
			return "a brace is not closed, or closes nothing"
		}
	case "uuid":
		if !matches(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`, s) {
			return "write 8-4-4-4-12 hexadecimal digits"
		}
	case "regex":
		if _, err := regexp.Compile(s); err != nil {
			return err.Error()
		}
	case "json-pointer":
		if !matches(`^(/([^~/]|~[01])*)*$`, s) {
			return "write /a/b, with ~0 for ~ and ~1 for /"
		}
	case "relative-json-pointer":
		if !matches(`^(0|[1-9]\d*)(#|(/([^~/]|~[01])*)*)$`, s) {
			return "write a number, then # or /a/b"
		}
	case "semver":
		if !matches(`^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`, s) {
			return "write MAJOR.MINOR.PATCH"
		}
	}
	return ""
}

// compiled are the patterns that were needed: as package variables all of them
// would be made at every start.
var compiled sync.Map

func matches(pattern, s string) bool {
	re, ok := compiled.Load(pattern)
	if !ok {
		re, _ = compiled.LoadOrStore(pattern, regexp.MustCompile(pattern))
	}
	return re.(*regexp.Regexp).MatchString(s)
}

func parsed(layout, s string) string {
	if _, err := time.Parse(layout, s); err != nil {
		return "write " + layout
	}
	return ""
}

func dateTime(s string) string {
	s = strings.ToUpper(s)
	// Go knows no leap seconds; they come at 23:59:60 UTC alone.
	if t := strings.Replace(s, ":59:60", ":59:59", 1); t != s {
		at, err := time.Parse(time.RFC3339Nano, t)
		if err == nil && at.UTC().Hour() == 23 && at.UTC().Minute() == 59 {
			return ""
		}
	}
	if !matches(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`, s) {
		return "write it like 2026-01-31T12:00:00Z"
	}
	return parsed(time.RFC3339Nano, s)
}

func email(s string) string {
	at := strings.LastIndexByte(s, '@')
	if at < 0 || len(s) > 254 {
		return "write name@host"
	}
	local, domain := s[:at], s[at+1:]
	switch {
	case len(local) > 64:
		return "the part before @ is longer than 64 characters"
	case matches(`^"[^"\\]+"$`, local):
	case !matches("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\pL\\pN-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\pL\\pN-]+)*$", local):
		return "the part before @ holds something that does not belong there"
	}
	if inner, ok := strings.CutPrefix(domain, "["); ok && strings.HasSuffix(inner, "]") {
		inner = strings.TrimPrefix(strings.TrimSuffix(inner, "]"), "IPv6:")
		if _, err := netip.ParseAddr(inner); err != nil {
			return "there is no address in the brackets"
		}
		return ""
	}
	return hostname(domain, true)
}

func hostname(s string, international bool) string {
	s = strings.TrimSuffix(s, ".")
	letters := `A-Za-z0-9`
	if international {
		letters = `\pL\pN\pM`
	}
	if len(s) > 253 || !matches(`^[`+letters+`]([`+letters+`-]{0,61}[`+letters+`])?(\.[`+letters+`]([`+letters+`-]{0,61}[`+letters+`])?)*$`, s) {
		return "it is no host name"
	}
	return ""
}

func address(s string, absolute bool) string {
	if strings.ContainsAny(s, " \\\"<>^`{|}") {
		return "it holds a character that must be escaped"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "it cannot be read"
	case absolute && u.Scheme == "":
		return "it has no scheme, such as https:"
	}
	return ""
}
