package hostname

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

const (
	maxLabel = 63
	maxName  = 64 // what Linux keeps
)

var label = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$`)

// validate holds a name against RFC 1123.
func validate(name string) error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("name = %q is no name of a host: %s", name, fmt.Sprintf(format, args...))
	}
	switch {
	case name == "":
		return wrong("it is empty")
	case len(name) > maxName:
		return wrong("it is longer than the %d characters that Linux keeps", maxName)
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return wrong("it is an address")
	}
	for part := range strings.SplitSeq(name, ".") {
		switch {
		case part == "":
			return wrong("a part between dots is empty")
		case len(part) > maxLabel:
			return wrong("the part %q is longer than %d characters", part, maxLabel)
		case strings.Contains(part, "_"):
			return wrong("%q has a _; RFC 1123 allows letters, digits and -", part)
		case !label.MatchString(part):
			return wrong("%q is not made of letters and digits, with - between them", part)
		}
	}
	return nil
}

// withHost is /etc/hosts with a line for the name: Debian's way of letting a
// host find itself without a network.
func withHost(text, name string) string {
	names := name
	if short, _, dotted := strings.Cut(name, "."); dotted {
		names += " " + short
	}
	line := own + "\t" + names + "\n"
	var out strings.Builder
	done, lines := false, strings.SplitAfter(text, "\n")
	after := -1
	for i, l := range lines {
		if f := strings.Fields(l); len(f) > 0 && f[0] == "127.0.0.1" {
			after = i
		}
		if is(l) && strings.Join(strings.Fields(code(l))[1:], " ") == names {
			return text
		}
		done = done || is(l)
	}
	put := done
	for i, l := range lines {
		switch {
		case is(l) && put:
			out.WriteString(line)
			put = false
		case is(l):
		default:
			if l != "" && !strings.HasSuffix(l, "\n") {
				l += "\n"
			}
			out.WriteString(l)
		}
		if !done && i == after {
			out.WriteString(line)
			done = true
		}
	}
	if !done {
		return line + out.String()
	}
	return out.String()
}

// own is the address that Debian gives a host's own name.
const own = "127.0.1.1"

func is(line string) bool {
	f := strings.Fields(line)
	return len(f) > 1 && f[0] == own
}

// code is a line without its comment.
func code(line string) string {
	line, _, _ = strings.Cut(line, "#")
	return line
}
