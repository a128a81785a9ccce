package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// located makes a syntax error with an excerpt.
func located(name string, src []byte, line, column int, message, hint string) *Error {
	return &Error{
		Message: message,
		File:    name,
		Line:    line,
		Column:  column,
		Hint:    hint,
		Excerpt: excerpt(src, line, column),
	}
}

// syntaxError explains what gopher-lua's parser or compiler said.
func syntaxError(name string, src []byte, sc *scan, err error) *Error {
	var pe *parse.Error
	if !errors.As(err, &pe) {
		var ce *lua.CompileError
		if errors.As(err, &ce) {
			line, message := ce.Line, ce.Message
			if i := strings.LastIndex(message, " at line "); i > 0 {
				// The position given is the end of the function.
				if n, err := strconv.Atoi(message[i+len(" at line "):]); err == nil {
					line, message = n, message[:i]
				}
			}
			return located(name, src, line, 0, message, "")
		}
		return &Error{File: name, Message: strings.TrimSpace(err.Error())}
	}
	if pe.Pos.Line == parse.EOF {
		return atEnd(name, src, sc, pe)
	}
	line, column := pe.Pos.Line, pe.Pos.Column
	// The position is that of the token's last byte.
	if n := len(pe.Token); n > 1 && n <= column && !strings.ContainsAny(pe.Token, "\n") {
		column -= n - 1
	}
	message := "syntax error"
	if !isPlain(pe) {
		message = lowerFirst(strings.TrimSpace(pe.Message))
	}
	if token := pe.Token; token != "" {
		if sc != nil {
			token = sc.fields.keyword(token)
		}
		if text := sourceLine(src, line); len(token) == 1 && token[0] >= utf8.RuneSelf && column >= 1 && column <= len(text) {
			// A byte of a longer character.
			r, _ := utf8.DecodeRune(text[column-1:])
			token = string(r)
		}
		message += " near '" + clip(strings.ToValidUTF8(token, "?"), 40) + "'"
	}
	hint := hintFor(src, line, pe)
	if hint == "" && sc != nil && sc.mismatch != nil && sc.mismatch.line == line && sc.odd != nil {
		hint = unclosed(src, sc)
	}
	return located(name, src, line, column, message, hint)
}

// isPlain reports whether the parser has nothing to say but that it is wrong.
func isPlain(pe *parse.Error) bool {
	return pe.Message == "syntax error" || pe.Message == "parse error"
}

func atEnd(name string, src []byte, sc *scan, pe *parse.Error) *Error {
	line := 1 + bytes.Count(bytes.TrimRight(src, "\r\n"), []byte("\n"))
	message := "the file ends too early"
	if !isPlain(pe) {
		message = lowerFirst(strings.TrimSpace(pe.Message)) + " at the end of the file"
	}
	return located(name, src, line, 0, message, unclosed(src, sc))
}

// unclosed is the hint which block or bracket lacks its end.
func unclosed(src []byte, sc *scan) string {
	if sc == nil || len(sc.open) == 0 {
		return ""
	}
	o, seems := sc.open[len(sc.open)-1], "has"
	if sc.odd != nil {
		o, seems = *sc.odd, "seems to have"
	}
	if o.word == "if" && bytes.Contains(sourceLine(src, o.line), []byte("else if")) {
		return fmt.Sprintf("the 'else if' of line %d begins a block of its own: Lua writes elseif", o.line)
	}
	want := map[string]string{"(": "')'", "[": "']'", "{": "'}'", "repeat": "'until'"}[o.word]
	if want == "" {
		want = "'end'"
	}
	return fmt.Sprintf("the '%s' of line %d %s no %s", o.word, o.line, seems, want)
}

// habits are what people bring from other languages.
var habits = []struct{ text, hint string }{
	{"!=", "Lua writes ~= for not equal"},
	{"&&", "Lua writes and"},
	{"||", "Lua writes or"},
	{"++", "Lua has no ++: write x = x + 1"},
	{"+=", "Lua has no +=: write x = x + 1"},
	{"-=", "Lua has no -=: write x = x - 1"},
	{"//", "a comment begins with --"},
	{"/*", "a long comment is --[[ … ]]"},
	{"\u201c", "these are typographic quotes: write \""},
	{"\u201d", "these are typographic quotes: write \""},
	{"\u2018", "these are typographic quotes: write '"},
	{"\u2019", "these are typographic quotes: write '"},
	{"\u00a0", "there is a non-breaking space here: write a plain one"},
}

func hintFor(src []byte, line int, pe *parse.Error) string {
	text := string(sourceLine(src, line))
	words := strings.Fields(text)
	has := func(w string) bool {
		for _, x := range words {
			if x == w {
				return true
			}
		}
		return false
	}
	switch {
	case pe.Message == "unterminated string":
		return "close the string with its quote; a string over several lines is [[ … ]]"
	case pe.Token == "=" && (has("if") || has("elseif") || has("while") || has("until")):
		return "Lua compares with =="
	case has("continue"):
		return "Lua 5.1 has no continue: put the rest of the loop into an if"
	}
	near := text
	if c := pe.Pos.Column; c > 3 && c <= len(text) {
		near = text[c-3:]
	}
	for _, h := range habits {
		if strings.Contains(near, h.text) {
			return h.hint
		}
	}
	if pe.Token == "{" || strings.HasSuffix(pe.Token, "=") {
		return ""
	}
	// A table written over several lines: the usual error is a missing comma.
	if prev := strings.TrimSpace(string(sourceLine(src, line-1))); prev != "" && strings.Contains(text, "=") &&
		!strings.HasSuffix(prev, ",") && !strings.HasSuffix(prev, "{") && strings.Contains(prev, "=") && !strings.HasPrefix(prev, "local ") {
		return fmt.Sprintf("is a comma missing at the end of line %d?", line-1)
	}
	return ""
}

func sourceLine(src []byte, line int) []byte {
	src = bytes.TrimPrefix(src, []byte("\xef\xbb\xbf"))
	for n := 1; n < line; n++ {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return nil
		}
		src = src[i+1:]
	}
	if line < 1 {
		return nil
	}
	if i := bytes.IndexByte(src, '\n'); i >= 0 {
		src = src[:i]
	}
	return bytes.TrimRight(src, "\r")
}

const maxExcerpt = 120

// excerpt shows a line with a mark under the column, at most maxExcerpt bytes
// around it.
func excerpt(src []byte, line, column int) string {
	text := string(sourceLine(src, line))
	if strings.TrimSpace(text) == "" {
		return ""
	}
	if column > maxExcerpt-20 && column <= len(text) {
		cut := column - maxExcerpt/2
		text = text[cut:]
		column -= cut
	}
	text = strings.ToValidUTF8(clip(text, maxExcerpt), "?")
	number := itoa(line)
	out := "  " + number + " | " + text
	if column < 1 || column > len(text)+1 {
		return out
	}
	pad := []byte(strings.Repeat(" ", column-1))
	for i := range pad {
		if text[i] == '\t' {
			pad[i] = '\t'
		}
	}
	return out + "\n  " + strings.Repeat(" ", len(number)) + " | " + string(pad) + "^"
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func lowerFirst(s string) string {
	if s == "" || len(s) > 1 && 'A' <= s[1] && s[1] <= 'Z' {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
