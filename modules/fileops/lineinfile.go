package fileops

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Places for insertafter and insertbefore beside a regular expression.
const (
	endOfFile   = "EOF"
	startOfFile = "BOF"
)

// LineInFile is file_ops.lineinfile. Its rules are those of Ansible's module.
type LineInFile struct {
	Path         string  `lua:"path,required,path" pos:"1" alias:"dest,destfile,name" doc:"The file to change"`
	Line         *string `lua:"line" pos:"2" alias:"value" doc:"The line as it should be, without its end"`
	Regexp       string  `lua:"regexp" alias:"regex" doc:"Which line it replaces: the last match; with state = \"absent\" all matches go. Go's syntax (RE2)"`
	SearchString string  `lua:"search_string" doc:"Text to look for instead of regexp"`
	State        string  `lua:"state" enum:"present,absent" doc:"Whether the line must be there"`
	InsertAfter  string  `lua:"insertafter" alias:"insert_after" doc:"Where a new line goes: after the last match of this regular expression, or EOF (so when not said)"`
	InsertBefore string  `lua:"insertbefore" alias:"insert_before" doc:"Where a new line goes: before the last match of this regular expression, or BOF"`
	FirstMatch   bool    `lua:"firstmatch" alias:"first_match" doc:"Take the first match instead of the last"`
	Backrefs     bool    `lua:"backrefs" doc:"Fill \\1 and \\g<name> in line from regexp; without a match the file stays as it is"`
	Create       bool    `lua:"create" doc:"Make the file when it does not exist"`
	Edited

	re, after, before *regexp.Regexp
}

// Validate checks what the tags cannot say, and the regular expressions.
func (l *LineInFile) Validate() error {
	switch {
	case l.Regexp != "" && l.SearchString != "":
		return errors.New("regexp and search_string exclude each other; give one")
	case l.InsertAfter != "" && l.InsertBefore != "":
		return errors.New("insertafter and insertbefore exclude each other; give one")
	case l.State == modules.Present && l.Line == nil:
		return errors.New("line is missing: the line as it should be")
	case l.State == modules.Absent && l.Line == nil && l.Regexp == "" && l.SearchString == "":
		return errors.New("regexp, search_string or line is missing: which lines should go")
	case l.Backrefs && l.Regexp == "":
		return errors.New("backrefs needs regexp, whose groups it fills in")
	case l.Line != nil && strings.ContainsAny(*l.Line, "\r\n") && l.State == modules.Present:
		return errors.New("line has more than one line; use file_ops.blockinfile")
	}
	var err error
	pick := func(arg, pattern string) (re *regexp.Regexp) {
		if err == nil && pattern != "" && pattern != endOfFile && pattern != startOfFile {
			re, err = compile(arg, "", pattern)
		}
		return re
	}
	if l.Regexp != "" {
		if l.re, err = compile("regexp", "", l.Regexp); err != nil {
			return err
		}
	}
	l.after, l.before = pick("insertafter", l.InsertAfter), pick("insertbefore", l.InsertBefore)
	return err
}

// Check edits a copy and compares.
func (l *LineInFile) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if l.State == modules.Absent {
		return l.edit(ctx, v, l.Path, missingLeaves, func(old []byte) ([]byte, error) {
			lines := slices.DeleteFunc(splitLines(old), l.matches)
			return []byte(strings.Join(lines, "")), nil
		})
	}
	when := missingFails
	if l.Create {
		when = missingEmpty
	}
	return l.edit(ctx, v, l.Path, when, l.present)
}

// matches reports whether a line is the one spoken of.
func (l *LineInFile) matches(line string) bool {
	switch {
	case l.re != nil:
		return l.re.MatchString(bare(line))
	case l.SearchString != "":
		return strings.Contains(line, l.SearchString)
	}
	return bare(line) == *l.Line
}

func (l *LineInFile) present(old []byte) ([]byte, error) {
	lines, eol := splitLines(old), lineEnd(old)
	if at := l.find(lines); at >= 0 {
		line := *l.Line
		if l.Backrefs {
			src := bare(lines[at])
			var err error
			if line, err = expand(l.re, line, src, l.re.FindStringSubmatchIndex(src)); err != nil {
				return nil, err
			}
		}
		end := endOf(lines[at])
		if end == "" && bare(lines[at]) != line {
			end = eol
		}
		lines[at] = line + end
		return []byte(strings.Join(lines, "")), nil
	}
	if l.Backrefs {
		return old, nil
	}
	if at := slices.IndexFunc(lines, func(s string) bool { return bare(s) == *l.Line }); at >= 0 {
		return old, nil
	}
	at := l.insertAt(lines)
	if at > 0 && endOf(lines[at-1]) == "" {
		lines[at-1] += eol
	}
	return []byte(strings.Join(slices.Insert(lines, at, *l.Line+eol), "")), nil
}

// find is the index of the line that regexp or search_string means, or -1.
func (l *LineInFile) find(lines []string) int {
	if l.re == nil && l.SearchString == "" {
		return -1
	}
	found := -1
	for i, line := range lines {
		if l.matches(line) {
			if found = i; l.FirstMatch {
				break
			}
		}
	}
	return found
}

func (l *LineInFile) insertAt(lines []string) int {
	if l.InsertBefore == startOfFile || l.InsertAfter == startOfFile {
		return 0
	}
	re, offset := l.after, 1
	if l.before != nil {
		re, offset = l.before, 0
	}
	found := len(lines)
	for i, line := range lines {
		if re != nil && re.MatchString(bare(line)) {
			if found = i + offset; l.FirstMatch {
				break
			}
		}
	}
	return found
}
