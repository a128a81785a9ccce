package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
)

// flightKey names one task on one host while it runs.
type flightKey struct{ task, host, step string }

func keyOf(w event.Where) flightKey { return flightKey{w.Task, hostOf(w), w.Step} }

const (
	maxLine    = 4096 // bytes of one line of output that is kept or waited for
	maxChanges = 5    // named in one line
	maxBlock   = 400  // lines of differences kept for one task on one host
)

// flight is one task on one host while it runs.
type flight struct {
	where    event.Where
	start    time.Time
	partial  map[string][]byte // by stream: what has no line end yet
	tail     []string          // the last lines it printed
	changes  []string
	more     int // changes beyond those
	block    []string
	cutShort bool
}

func (t *text) flight(w event.Where) *flight {
	k := keyOf(w)
	f := t.flights[k]
	if f == nil {
		f = &flight{where: w, start: t.o.Now()}
		t.flights[k] = f
	}
	return f
}

// begin begins an attempt.
func (f *flight) begin(now time.Time) { *f = flight{where: f.where, start: now} }

// add takes a piece of output and returns the lines that are complete now.
func (f *flight) add(stream string, data []byte) []string {
	if f.partial == nil {
		f.partial = map[string][]byte{}
	}
	if len(f.partial) > 4 && f.partial[stream] == nil {
		stream = "" // a stranger's idea of streams
	}
	f.partial[stream] = append(f.partial[stream], data...)
	buf := f.partial[stream]
	end := bytes.LastIndexByte(buf, '\n') + 1
	if end == 0 && len(buf) > maxLine {
		end = len(buf)
	}
	if end == 0 {
		return nil
	}
	complete := lines(string(buf[:end]))
	f.partial[stream] = slices.Clone(buf[end:])
	f.keep(complete)
	return complete
}

// rest returns what was printed without a line end.
func (f *flight) rest() []string {
	var out []string
	for _, stream := range slices.Sorted(maps.Keys(f.partial)) {
		out = append(out, lines(string(f.partial[stream]))...)
	}
	f.partial = nil
	f.keep(out)
	return out
}

func (f *flight) keep(more []string) {
	for _, l := range more {
		if len(l) > maxLine {
			l = strings.ToValidUTF8(l[:maxLine], "") + "…"
		}
		f.tail = append(f.tail, l)
	}
	if n := len(f.tail); n > maxTail {
		f.tail = slices.Clone(f.tail[n-maxTail:])
	}
}

// last are the last lines it printed, unless the message says them already.
func (f *flight) last(message string) []string {
	f.rest()
	text := strings.Join(f.tail, "\n")
	if strings.Contains(Sanitize(message), text) {
		return nil
	}
	return f.tail
}

// said reports whether the last lines it printed are those of a message.
func (f *flight) said(message []string) bool {
	n := min(len(message), maxTail)
	return n > 0 && len(f.tail) >= n && slices.Equal(message[len(message)-n:], f.tail[len(f.tail)-n:])
}

// changed notes one change, with its difference where that is wanted.
func (f *flight) changed(e event.Called, withDiff bool, p painter) {
	what := e.Message
	if what == "" {
		what = e.Diff.Summary()
	}
	if what == "" {
		what = e.Function
	}
	what = cut(Name(what), 200)
	said := true
	switch {
	case slices.Contains(f.changes, what):
	case len(f.changes) < maxChanges:
		f.changes = append(f.changes, what)
	default:
		f.more++
		said = false
	}
	if !withDiff {
		return
	}
	block := diffLines(e.Diff)
	if len(block) == 0 && !said {
		block = []string{strings.TrimSpace(Name(e.Function) + ": " + what)}
	}
	for i, l := range block {
		block[i] = p.diff(l)
	}
	switch room := maxBlock - len(f.block); {
	case f.cutShort:
	case len(block) > room:
		f.cutShort = true
		f.block = append(append(f.block, block[:room]...), p.dim("… more changes, all of them with --output json"))
	default:
		f.block = append(f.block, block...)
	}
}

// summary says in one line what changed.
func (f *flight) summary(otherwise string) string {
	s := strings.Join(f.changes, "; ")
	if f.more > 0 {
		s += fmt.Sprintf("; %d more", f.more)
	}
	if s == "" {
		return otherwise
	}
	return s
}

// fields shows the fields of a log line, by name.
func fields(all map[string]any) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(all)) {
		v, ok := all[k].(string)
		if !ok || strings.ContainsAny(v, " \t\n\"=") || v == "" {
			v = compact(all[k])
		}
		b.WriteString(" " + Name(k) + "=" + Name(v))
	}
	return b.String()
}

const maxCompact = 2000

// compact shows data on one line, as JSON.
func compact(v any) string {
	data, err := json.Marshal(event.Plain(v))
	if err != nil {
		return Name(fmt.Sprint(v))
	}
	return cut(Name(string(data)), maxCompact)
}
