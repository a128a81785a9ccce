package inventory

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?`)

// syntaxProblem says where the parser stopped. The library names a line, but
// not always the right one, and no column; so the file is read again, byte by
// byte, and the last byte that the parser asked for is the place.
func (d *document) syntaxProblem(data []byte, err error) *Problem {
	message := strings.TrimSpace(yamlLine.ReplaceAllString(err.Error(), ""))
	if errors.Is(err, errSecondDocument) {
		line := 1
		for i, l := range bytes.Split(data, []byte("\n")) {
			if i > 0 && bytes.HasPrefix(l, []byte("---")) {
				line = i + 1
			}
		}
		return d.at(line, 1).problem("keep one, and put the other into a file of its own", "%s", message)
	}
	if strings.Contains(message, "unexpected end of stream") {
		line, col := openQuote(data)
		return d.at(line, col).problem("is a quote missing?", "a quotation is not closed")
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			return d.offset(data, i).problem("is it a star that needs quotes?", "there is no anchor &%s above this alias", m[1])
		}
	}
	slow := &countingReader{data: data}
	func() {
		defer func() { _ = recover() }()
		dec := yaml.NewDecoder(slow)
		for {
			var n yaml.Node
			if dec.Decode(&n) != nil {
				return
			}
		}
	}()
	return d.placeSyntax(data, slow.read, message)
}

var unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)

// openQuote finds the first line on which a quotation seems to stay open.
func openQuote(data []byte) (line, col int) {
	for i, l := range bytes.Split(data, []byte("\n")) {
		for _, q := range []string{`"`, `'`} {
			if n := bytes.Count(l, []byte(q)); n%2 == 1 {
				return i + 1, utf8.RuneCount(l[:bytes.LastIndex(l, []byte(q))]) + 1
			}
		}
	}
	return 1, 1
}

func (d *document) placeSyntax(data []byte, read int, message string) *Problem {
	read = min(read, len(data))
	if strings.Contains(message, "cannot start any token") {
		// The parser looks a few bytes ahead of the culprit.
		for i := read - 1; i >= 0 && i >= read-8; i-- {
			if data[i] == '\t' && len(bytes.TrimLeft(data[lineStart(data, i):i], " \t")) == 0 {
				i = lineStart(data, i) + bytes.IndexByte(data[lineStart(data, i):], '\t')
				return d.offset(data, i).problem("use spaces", "a tab cannot indent YAML")
			}
		}
		for i := read - 1; i >= 0 && i >= read-8; i-- {
			if strings.IndexByte("@`%\t", data[i]) >= 0 {
				return d.offset(data, i).problem("put the value in quotes", "the character %q cannot begin a value", data[i])
			}
		}
	}
	at := read
	for at > 0 && strings.IndexByte(" \t\r\n", data[at-1]) >= 0 {
		at--
	}
	start := lineStart(data, max(at-1, 0))
	line := data[start:]
	if i := bytes.IndexAny(line, "\r\n"); i >= 0 {
		line = line[:i]
	}
	hint := ""
	place := start + len(line) - len(bytes.TrimLeft(line, " \t"))
	switch {
	case strings.Contains(message, "mapping values are not allowed"):
		i := bytes.LastIndex(data[start:min(at, start+len(line))], []byte(":"))
		if i >= 0 && bytes.IndexByte(line, ':') == i && start > 0 {
			// The first colon of its line: the line above has none and runs on.
			up := lineStart(data, start-1)
			place = up + len(data[up:start]) - len(bytes.TrimLeft(data[up:start], " \t"))
			message, hint = "a line without a colon", "a key ends in a colon: \"web-01:\""
			break
		}
		place = start + max(i, 0)
		message, hint = "a second \": \" on one line", "put the value in quotes, or the map on lines of its own"
	case strings.Contains(message, "did not find expected key"), strings.Contains(message, "did not find expected '-' indicator"):
		message, hint = "this line does not fit to those above it", "are the indents right, and is a quote or a colon missing?"
	case strings.Contains(message, "could not find expected ':'"):
		message, hint = "a line without a colon", "a key ends in a colon: \"web-01:\""
	case strings.Contains(message, "control characters"), strings.Contains(message, "UTF-8"), strings.Contains(message, "UTF-16"):
		place = max(at-1, 0)
		hint = "save the file as UTF-8 text"
	case strings.Contains(message, "cannot start any token"):
		hint = "put the value in quotes"
	case strings.Contains(message, "unknown escape character"):
		place = max(bytes.LastIndexByte(data[:at], '\\'), start)
		message, hint = "\\ begins no escape that YAML knows", "in \"double quotes\" write it twice, or use 'single quotes'"
	case strings.Contains(message, "expected ',' or"):
		message, hint = "a [ or { is not closed before this", "close it, or write the list or map over several lines without brackets"
	case strings.Contains(message, "expected node content"):
		place = max(at-1, 0)
		message = "a value was expected here"
	}
	return d.offset(data, place).problem(hint, "%s", message)
}

func lineStart(data []byte, at int) int {
	return bytes.LastIndexByte(data[:min(at, len(data))], '\n') + 1
}

// countingReader hands out one byte a time.
type countingReader struct {
	data []byte
	read int
}

func (r *countingReader) Read(p []byte) (int, error) {
	if r.read >= len(r.data) {
		return 0, io.EOF
	}
	p[0] = r.data[r.read]
	r.read++
	return 1, nil
}
