package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-multierror"
)

// Problem is one mistake in an inventory or in a file of variables.
type Problem struct {
	File    string
	Line    int // from 1; 0 means the whole file
	Column  int // from 1, in characters; 0 is unknown
	Message string
	Hint    string // what to do about it; may be empty
	Excerpt string // the line with a mark under the column; may be empty
}

// Error is "file:line:column: message", then the excerpt and the hint on lines
// of their own.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Place())
	b.WriteString(": ")
	b.WriteString(p.Message)
	if p.Excerpt != "" {
		b.WriteString("\n" + p.Excerpt)
	}
	if p.Hint != "" {
		b.WriteString("\n    hint: " + p.Hint)
	}
	return b.String()
}

// Place is "file:line:column", as far as it is known.
func (p *Problem) Place() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// file is a text that something was read from.
type file struct {
	name string
	data []byte // dropped when loading is over

	secrets Secrets // nil: what is encrypted stays so
	late    bool    // values are opened when they are used
	hidden  bool    // data was encrypted and must not be shown
}

// pos is where a thing is written.
type pos struct {
	file      *file
	line, col int32
}

func (p pos) problem(hint, format string, args ...any) *Problem {
	if p.file == nil {
		return &Problem{Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	return &Problem{
		File: p.file.name, Line: int(p.line), Column: int(p.col),
		Message: fmt.Sprintf(format, args...), Hint: hint,
		Excerpt: p.excerpt(),
	}
}

// excerpt shows the line, unless it was encrypted.
func (p pos) excerpt() string {
	if p.file.hidden {
		return ""
	}
	return excerpt(p.file.data, int(p.line), int(p.col))
}

// String is "file:line", which is what fits into a sentence.
func (p pos) String() string {
	switch {
	case p.file == nil:
		return ""
	case p.line == 0:
		return p.file.name
	}
	return fmt.Sprintf("%s:%d", p.file.name, p.line)
}

// maxProblems is how many mistakes are shown at once; nobody reads more.
const maxProblems = 20

// problems collects what is wrong, so that people see it all at once.
type problems struct {
	list []error
	more int
}

func (ps *problems) add(err error) {
	if err == nil {
		return
	}
	if len(ps.list) >= maxProblems {
		ps.more++
		return
	}
	ps.list = append(ps.list, err)
}

func (ps *problems) empty() bool { return len(ps.list) == 0 }

func (ps *problems) err() error {
	if ps.empty() {
		return nil
	}
	more := ps.more
	ps.sort()
	return &multierror.Error{Errors: ps.list, ErrorFormat: func(list []error) string {
		var b strings.Builder
		for i, e := range list {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(e.Error())
		}
		if more > 0 {
			fmt.Fprintf(&b, "\n(and %d more)", more)
		}
		return b.String()
	}}
}

// sort brings the problems of one file into the order of its lines.
func (ps *problems) sort() {
	rank := map[string]int{}
	key := func(e error) (file, line, col int) {
		var p *Problem
		if !errors.As(e, &p) {
			return len(ps.list), 0, 0
		}
		if _, known := rank[p.File]; !known {
			rank[p.File] = len(rank)
		}
		return rank[p.File], p.Line, p.Column
	}
	for _, e := range ps.list {
		key(e) // the first to be named comes first
	}
	slices.SortStableFunc(ps.list, func(a, b error) int {
		fa, la, ca := key(a)
		fb, lb, cb := key(b)
		return cmp.Or(cmp.Compare(fa, fb), cmp.Compare(la, lb), cmp.Compare(ca, cb))
	})
}

// excerptWidth bounds an excerpt, for files with lines of a megabyte.
const excerptWidth = 100

// excerpt shows one line of data with a mark under col.
func excerpt(data []byte, line, col int) string {
	if line < 1 || data == nil {
		return ""
	}
	text := lineOf(data, line)
	runes := make([]rune, 0, 2*excerptWidth)
	skip := max(0, col-1-excerptWidth/2)
	for i, n := 0, 0; i < len(text) && len(runes) < excerptWidth; n++ {
		r, size := utf8.DecodeRune(text[i:])
		i += size
		if n >= skip {
			runes = append(runes, visible(r))
		}
	}
	shown := string(runes)
	if strings.TrimSpace(shown) == "" {
		return ""
	}
	number := fmt.Sprintf("%5d | ", line)
	out := number + strings.TrimRight(shown, " ")
	if col > 0 && col-1-skip <= len(runes) {
		out += "\n" + strings.Repeat(" ", len(number)-2) + "| " + strings.Repeat(" ", col-1-skip) + "^"
	}
	return out
}

// visible makes one column of every character and shows what would move the
// terminal's cursor.
func visible(r rune) rune {
	switch {
	case r == '\t':
		return '→'
	case r == utf8.RuneError || !unicode.IsPrint(r):
		return '�'
	}
	return r
}

// lineOf returns line n, from 1, without its end.
func lineOf(data []byte, n int) []byte {
	for ; n > 1; n-- {
		i := indexLineEnd(data)
		if i < 0 {
			return nil
		}
		data = data[i:]
	}
	if i := indexLineEnd(data); i >= 0 {
		data = data[:i]
	}
	for len(data) > 0 && (data[len(data)-1] == '\n' || data[len(data)-1] == '\r') {
		data = data[:len(data)-1]
	}
	return data
}

// indexLineEnd is where the line after the first one of data begins, or -1.
func indexLineEnd(data []byte) int {
	for i, c := range data {
		switch {
		case c == '\n':
			return i + 1
		case c == '\r' && (i+1 >= len(data) || data[i+1] != '\n'):
			return i + 1
		}
	}
	return -1
}

func (ps *problems) addProblem(p *Problem) {
	if p != nil {
		ps.add(p)
	}
}
