package inventory

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// word is a token of a line and the column, in characters from 1, where it
// starts.
type word struct {
	text string
	col  int
}

// splitWords splits a line as a POSIX shell does, without expansion. With
// comments, # starts one wherever it is not quoted, also inside a word, because
// that is how Ansible reads its INI files.
func splitWords(line string, comments bool) ([]word, error) {
	const (
		between = iota
		inWord
		quoted
		escaped
	)
	var (
		out    []word
		token  strings.Builder
		state  = between
		back   int  // where to go after an escape
		quote  rune // the quote we are in
		start  int
		filled bool // the word exists, even when it is empty: ""
	)
	emit := func() {
		if token.Len() > 0 || filled {
			out = append(out, word{token.String(), start})
		}
		token.Reset()
		filled = false
		state = between
	}
	col := 0
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRuneInString(line[i:])
		text := line[i : i+size] // a broken byte stays as it is
		i += size
		col++
		switch state {
		case between, inWord:
			if state == between {
				start = col
			}
			switch {
			case r == ' ' || r == '\t' || r == '\r' || r == '\n':
				emit()
			case r == '#' && comments:
				for i < len(line) && line[i] != '\n' {
					i++
				}
				emit()
			case r == '\\':
				back, state = inWord, escaped
			case r == '\'' || r == '"':
				quote, state, filled = r, quoted, true
			default:
				token.WriteString(text)
				state = inWord
			}
		case quoted:
			switch {
			case r == quote:
				state = inWord
			case r == '\\' && quote == '"':
				back, state = quoted, escaped
			default:
				token.WriteString(text)
			}
		case escaped:
			// Inside quotes only the quote and the backslash can be escaped.
			if back == quoted && r != '\\' && r != quote {
				token.WriteByte('\\')
			}
			token.WriteString(text)
			state = back
		}
	}
	switch state {
	case quoted:
		return nil, errors.New("a quotation is not closed")
	case escaped:
		return nil, errors.New("nothing follows the last backslash")
	}
	emit()
	return out, nil
}
