package ssh

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/connection"
)

// execLine makes the text of an exec request. The marker is empty for a Line.
func execLine(c connection.Command) (line, marker string, err error) {
	switch {
	case (len(c.Argv) > 0) == (c.Line != ""):
		return "", "", errors.New("exactly one of Argv and Line must be set")
	case c.Line != "":
		if strings.IndexByte(c.Line, 0) >= 0 {
			return "", "", errors.New("a command cannot hold a NUL byte")
		}
		return c.Line, "", nil
	}
	marker = newMarker()
	argv := append([]string{"env", "SLOTH_SESSION=" + marker}, c.Argv...)
	if strings.Contains(c.Argv[0], "=") { // env would take it for a variable
		argv = append([]string{"env", "SLOTH_SESSION=" + marker, "/bin/sh", "-c", `exec "$0" "$@"`}, c.Argv...)
	}
	line, err = quoteArgv(argv)
	return "exec " + line, marker, err
}

// quoteArgv writes argv so that sh, bash, zsh, fish and csh all read it back
// unchanged. They agree on little: inside single quotes fish knows \\ and \',
// csh wants ! and newlines escaped. So these few are escaped outside of quotes,
// and arguments with control bytes or broken UTF-8 travel as octal numbers
// through an extra /bin/sh.
func quoteArgv(argv []string) (string, error) {
	plain := true
	words := make([]string, len(argv))
	for i, a := range argv {
		if strings.IndexByte(a, 0) >= 0 {
			return "", fmt.Errorf("argument %d holds a NUL byte", i)
		}
		if !utf8.ValidString(a) || strings.ContainsFunc(a, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			plain = false
		}
		words[i] = quoteWord(a)
	}
	if plain {
		return strings.Join(words, " "), nil
	}
	// printf turns the octal text into a command for sh, whose quotes are simple.
	var octal strings.Builder
	for i, a := range argv {
		if i > 0 {
			octal.WriteByte(' ')
		}
		octal.WriteString(`\047`)
		for _, c := range []byte(a) {
			switch {
			case c == '\'':
				octal.WriteString(`\047\134\047\047`)
			case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("/.,:_-@", c) >= 0:
				octal.WriteByte(c)
			default:
				fmt.Fprintf(&octal, `\%03o`, c)
			}
		}
		octal.WriteString(`\047`)
	}
	return `/bin/sh -c 'eval "exec $(printf "$0")"' ` + `'` + octal.String() + `'`, nil
}

// quoteWord quotes one argument without control bytes.
func quoteWord(a string) string {
	if a == "" {
		return "''"
	}
	safe := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("/.,:_-+@", c) >= 0
	}
	simple := true
	for i := range len(a) {
		simple = simple && (safe(a[i]) || a[i] == '=' && i > 0)
	}
	if simple {
		return a
	}
	var b strings.Builder
	quoted := false
	toggle := func(want bool) {
		if quoted != want {
			b.WriteByte('\'')
			quoted = want
		}
	}
	for i := range len(a) {
		switch c := a[i]; c {
		case '\'', '\\', '!':
			toggle(false)
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			toggle(true)
			b.WriteByte(c)
		}
	}
	toggle(false)
	return b.String()
}
