package authorizedkey

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/modules/internal/sshfile"
)

// entry is one line of an authorized_keys file that holds a key.
type entry struct {
	options []string // as written: `command="ls -l"`
	key     sshfile.Key
}

// parseLine reads "OPTIONS TYPE BASE64 COMMENT", as sshd does: a line that
// begins with no type of key begins with options.
func parseLine(line string) (entry, error) {
	line = strings.TrimSpace(line)
	first, _, _ := strings.Cut(line, " ")
	first, _, _ = strings.Cut(first, "\t")
	var e entry
	var err error
	rest := line
	if !sshfile.IsType(first) {
		options, after, errOptions := cutOptions(line)
		word, _, _ := strings.Cut(strings.ReplaceAll(after, "\t", " "), " ")
		switch {
		case errOptions != nil:
			return e, errOptions
		case sshfile.IsType(word):
			if e.options, err = parseOptions(options); err != nil {
				return e, err
			}
			rest = after
		}
	}
	e.key, err = sshfile.ParseKey(rest)
	return e, err
}

// cutOptions ends the options at the first blank outside of quotes.
func cutOptions(line string) (options, rest string, err error) {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line) && line[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return line[:i], strings.TrimLeft(line[i:], " \t"), nil
		}
	}
	if quoted {
		return "", "", errors.New("a quote in the options is not closed")
	}
	return line, "", nil
}

// parseOptions splits at commas outside of quotes.
func parseOptions(text string) ([]string, error) {
	var out []string
	quoted := false
	start := 0
	add := func(end int) error {
		one := strings.TrimSpace(text[start:end])
		name, value, has := strings.Cut(one, "=")
		switch {
		case name == "" || strings.ContainsAny(name, "\" \t"):
			return fmt.Errorf("%q is no option of a key", one)
		case has && (len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"'):
			return fmt.Errorf("the option %s needs its value in double quotes: %s=\"…\"", name, name)
		}
		out = append(out, one)
		return nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n' || c == '\r' || c == 0:
			return nil, errors.New("the options have a line break in them")
		case c == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			if err := add(i); err != nil {
				return nil, err
			}
			start = i + 1
		}
	}
	if quoted {
		return nil, errors.New("a quote in the options is not closed")
	}
	return out, add(len(text))
}

// String is the line as it is written.
func (e entry) String() string {
	if len(e.options) == 0 {
		return e.key.String()
	}
	return strings.Join(e.options, ",") + " " + e.key.String()
}

// sameOptions compares options; their order means nothing, nor the case of
// their names.
func sameOptions(a, b []string) bool {
	norm := func(list []string) []string {
		var out []string
		for _, o := range list {
			name, value, has := strings.Cut(o, "=")
			name = strings.ToLower(name)
			if has {
				name += "=" + value
			}
			out = append(out, name)
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(norm(a), norm(b))
}

// parseKeys reads what an argument says the keys are. where names it in errors.
func parseKeys(where, text string) ([]entry, error) {
	if sshfile.IsPrivate(text) {
		return nil, fmt.Errorf("%s: %w", where, sshfile.ErrPrivate)
	}
	var out []entry
	n := 0
	for line := range strings.Lines(text) {
		n++
		if line = strings.TrimRight(line, "\r\n"); sshfile.IsComment(line) {
			continue
		}
		if strings.ContainsAny(line, "\r\x00") {
			return nil, fmt.Errorf("%s, line %d: there is a control character in it", where, n)
		}
		e, err := parseLine(line)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", where, n, err)
		}
		out = append(out, e)
	}
	return out, nil
}
