package dsl

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/sloth-runner/sloth/lua/engine"
)

// Problem is one mistake in a file.
type Problem struct {
	Pos
	Column  int // from 1; 0 is unknown
	Message string
	Hint    string // what to do about it; may be empty
	Excerpt string // the line with a mark, for syntax errors; may be empty
}

// Error is "file:line: message".
func (p Problem) Error() string {
	text := p.Message
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	switch {
	case p.File == "":
		return text
	case p.Line == 0:
		return p.File + ": " + text
	case p.Column == 0:
		return fmt.Sprintf("%s:%d: %s", p.File, p.Line, text)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, text)
}

// Problems are all that is wrong with a file, in order of place.
type Problems []Problem

// Error lists the problems, one a line.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
		if p.Excerpt != "" {
			lines[i] += "\n" + p.Excerpt
		}
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each problem as an error.
func (ps Problems) Unwrap() []error {
	out := make([]error, len(ps))
	for i, p := range ps {
		out[i] = p
	}
	return out
}

// sorted orders by place and drops what is said twice.
func (ps Problems) sorted() Problems {
	out := slices.Clone(ps)
	sort.SliceStable(out, func(i, j int) bool {
		a, b := out[i], out[j]
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) < 0
	})
	seen := map[Problem]bool{}
	return slices.DeleteFunc(out, func(p Problem) bool {
		p.Column, p.Hint, p.Excerpt = 0, "", ""
		again := seen[p]
		seen[p] = true
		return again
	})
}

// problemOf turns an error of loading or running a file into problems.
func problemOf(err error, file string) Problems {
	var many Problems
	if errors.As(err, &many) {
		return many
	}
	var one Problem
	if errors.As(err, &one) {
		return Problems{one}
	}
	var e *engine.Error
	if errors.As(err, &e) {
		// The innermost one: an error in an included file has its place there.
		for inner := e; errors.As(errors.Unwrap(inner), &inner); {
			if inner.File != "" {
				e = inner
			}
		}
		p := Problem{Pos: Pos{e.File, e.Line}, Column: e.Column, Message: e.Message, Hint: e.Hint, Excerpt: e.Excerpt}
		if p.File == "" {
			p.File = file
		}
		return Problems{p}
	}
	return Problems{{Pos: Pos{File: file}, Message: err.Error()}}
}
