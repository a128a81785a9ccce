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

// BlockInFile is file_ops.blockinfile.
type BlockInFile struct {
	Path         string `lua:"path,required,path" pos:"1" alias:"dest,destfile,name" doc:"The file to change"`
	Block        string `lua:"block" pos:"2" alias:"content" doc:"The lines between the markers; none removes the block"`
	State        string `lua:"state" enum:"present,absent" doc:"Whether the block must be there"`
	Marker       string `lua:"marker" doc:"The marker lines; {mark} stands for marker_begin or marker_end. A second block in a file needs another marker"`
	MarkerBegin  string `lua:"marker_begin" doc:"What {mark} is above the block"`
	MarkerEnd    string `lua:"marker_end" doc:"What {mark} is below the block"`
	InsertAfter  string `lua:"insertafter" alias:"insert_after" doc:"Where a new block goes: after the last match of this regular expression, or EOF (so when not said)"`
	InsertBefore string `lua:"insertbefore" alias:"insert_before" doc:"Where a new block goes: before the last match of this regular expression, or BOF"`
	Create       bool   `lua:"create" doc:"Make the file when it does not exist"`
	Edited

	insert *regexp.Regexp
}

// Validate checks the markers and the regular expressions.
func (b *BlockInFile) Validate() error {
	begin, end := b.markers()
	switch {
	case b.InsertAfter != "" && b.InsertBefore != "":
		return errors.New("insertafter and insertbefore exclude each other; give one")
	case begin == end:
		return errors.New("the markers above and below are the same; put {mark} into marker, and let marker_begin and marker_end differ")
	case strings.ContainsAny(begin+end, "\r\n"):
		return errors.New("marker has more than one line")
	}
	arg, pattern := "insertafter", b.InsertAfter
	if b.InsertBefore != "" {
		arg, pattern = "insertbefore", b.InsertBefore
	}
	if pattern == "" || pattern == endOfFile || pattern == startOfFile {
		return nil
	}
	var err error
	b.insert, err = compile(arg, "", pattern)
	return err
}

func (b *BlockInFile) markers() (begin, end string) {
	return strings.ReplaceAll(b.Marker, "{mark}", b.MarkerBegin), strings.ReplaceAll(b.Marker, "{mark}", b.MarkerEnd)
}

// Check edits a copy and compares.
func (b *BlockInFile) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	when := missingFails
	if b.Create {
		when = missingEmpty
	}
	if b.State == modules.Absent || b.Block == "" {
		when = missingLeaves
	}
	return b.edit(ctx, v, b.Path, when, func(old []byte) ([]byte, error) { return b.put(old), nil })
}

func (b *BlockInFile) put(old []byte) []byte {
	lines, eol := splitLines(old), lineEnd(old)
	begin, end := b.markers()
	from, to := -1, -1
	for i, line := range lines {
		switch bare(line) {
		case begin:
			from = i
		case end:
			to = i
		}
	}
	var block []string
	if b.State == modules.Present && b.Block != "" {
		block = append(block, begin+eol)
		for _, line := range splitLines([]byte(b.Block)) {
			block = append(block, bare(line)+eol)
		}
		block = append(block, end+eol)
	}
	at := 0
	if from >= 0 && to >= 0 {
		at = min(from, to)
		lines = slices.Delete(lines, at, max(from, to)+1)
	} else {
		if block == nil {
			return old
		}
		at = b.insertAt(lines)
	}
	if block != nil && at > 0 && endOf(lines[at-1]) == "" {
		lines[at-1] += eol
	}
	return []byte(strings.Join(slices.Insert(lines, at, block...), ""))
}

func (b *BlockInFile) insertAt(lines []string) int {
	if b.InsertBefore == startOfFile || b.InsertAfter == startOfFile {
		return 0
	}
	at := len(lines)
	if b.insert == nil {
		return at
	}
	for i, line := range lines {
		if b.insert.MatchString(bare(line)) {
			at = i
			if b.InsertAfter != "" {
				at++
			}
		}
	}
	return at
}
