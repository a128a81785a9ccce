package step

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
)

// Limits of what a step says; a script can print without end.
const (
	maxMessage = 64 << 10  // bytes of one message
	maxPiece   = 32 << 10  // bytes of one Output event
	maxOutput  = 64 << 20  // bytes of all of them
	maxFields  = 64 << 10  // packed fields of one log line
	maxText    = 256 << 10 // bytes of one side of a diff
	maxChanges = 1000      // rows of a diff
)

// stream is what a step says, one event at a time. Goroutines that outlive the
// command say nothing any more.
type stream struct {
	mu     sync.Mutex
	emit   func(event.Event)
	shown  int64
	closed bool
}

func (s *stream) send(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.emit(e)
	}
}

// close sends the last event.
func (s *stream) close(e event.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.emit(e)
	}
}

func (s *stream) output(w event.Where, name string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.shown > maxOutput {
		return
	}
	if s.shown += int64(len(data)); s.shown > maxOutput {
		s.emit(event.Log{Where: w, Level: "notice", Message: fmt.Sprintf("more output than %d MB: the rest is not shown", maxOutput>>20)})
		return
	}
	for piece := range slices.Chunk(data, maxPiece) {
		s.emit(event.Output{Where: w, Stream: name, Data: slices.Clone(piece)})
	}
}

func (s *stream) log(w event.Where, level, message string, fields map[string]any) {
	if len(fields) > 0 {
		if data, err := packed.Marshal(fields); err != nil || len(data) > maxFields {
			fields = map[string]any{"fields": "too large to show"}
		}
	}
	s.send(event.Log{Where: w, Level: level, Message: clip(message), Fields: fields})
}

func clip(s string) string { return clipTo(s, maxMessage) }

func clipTo(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "… (cut)"
}

func clipDiff(d modules.Diff) modules.Diff {
	out := d
	if len(out.Changes) > maxChanges {
		more := len(out.Changes) - maxChanges
		out.Changes = append(slices.Clone(out.Changes[:maxChanges]), modules.Change{What: fmt.Sprintf("%d more", more)})
	}
	for i, c := range out.Changes {
		if len(c.Before) <= maxText && len(c.After) <= maxText {
			continue
		}
		out.Changes = slices.Clone(out.Changes)
		out.Changes[i].Before, out.Changes[i].After = clipTo(c.Before, maxText), clipTo(c.After, maxText)
	}
	return out
}
