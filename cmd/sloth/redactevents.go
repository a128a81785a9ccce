package main

import (
	"strings"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/secret/redact"
)

// eventRedactor takes secrets out of the stream of a run before anybody sees
// it. Output of one stream is looked at as one text, however it is cut; what may
// be the beginning of a secret waits for the next piece, or for the step's end.
type eventRedactor struct {
	r    *redact.Redactor
	next func(event.Event)
	open map[streamOf]*openStream
	line []streamOf // the open ones in order
}

type streamOf struct{ host, task, step, name string }

type openStream struct {
	where event.Where
	s     *redact.Stream
}

func newEventRedactor(r *redact.Redactor, next func(event.Event)) *eventRedactor {
	return &eventRedactor{r: r, next: next, open: map[streamOf]*openStream{}}
}

// handle takes the next event. It is called from one goroutine.
func (e *eventRedactor) handle(ev event.Event) {
	if e.r.Empty() {
		e.next(ev)
		return
	}
	switch t := ev.(type) {
	case event.Output:
		if t.Stream != "stdout" && t.Stream != "stderr" {
			t.Data = e.r.Bytes(t.Data) // no stream that ends
			e.next(t)
			return
		}
		if t.Data = e.output(t); len(t.Data) > 0 {
			e.next(t)
		}
		return
	case event.TaskStarted:
		e.flush(t.Where)
	case event.TaskRetry:
		e.flush(t.Where)
		t.Failure = e.failure(t.Failure)
		ev = t
	case event.TaskDone:
		e.flush(t.Where)
		t.Message, t.Outputs = e.r.String(t.Message), e.r.Any(t.Outputs)
		if t.Failure != nil {
			f := e.failure(*t.Failure)
			t.Failure = &f
		}
		ev = t
	case event.Log:
		t.Message = e.r.String(t.Message)
		if t.Fields != nil {
			t.Fields, _ = e.r.Any(t.Fields).(map[string]any)
		}
		ev = t
	case event.Called:
		t.Message, t.Diff = e.r.String(t.Message), e.diff(t.Diff)
		ev = t
	case event.HostLost:
		t.Failure = e.failure(t.Failure)
		ev = t
	case event.Progress:
		t.What = e.r.String(t.What)
		ev = t
	case event.RunDone:
		for len(e.line) > 0 {
			e.end(e.line[0])
		}
		t.Message = e.r.String(t.Message)
		ev = t
	}
	e.next(ev)
}

func (e *eventRedactor) output(t event.Output) []byte {
	key := streamOf{t.Host, t.Task, t.Step, t.Stream}
	o := e.open[key]
	if o == nil {
		o = &openStream{s: e.r.Stream()}
		e.open[key] = o
		e.line = append(e.line, key)
	}
	o.where = t.Where
	return o.s.Feed(t.Data)
}

// flush ends the streams of one step.
func (e *eventRedactor) flush(w event.Where) {
	for _, name := range []string{"stdout", "stderr"} {
		e.end(streamOf{w.Host, w.Task, w.Step, name})
	}
}

func (e *eventRedactor) end(key streamOf) {
	o := e.open[key]
	if o == nil {
		return
	}
	delete(e.open, key)
	for i, k := range e.line {
		if k == key {
			e.line = append(e.line[:i], e.line[i+1:]...)
			break
		}
	}
	if rest := o.s.Flush(); len(rest) > 0 {
		e.next(event.Output{Where: o.where, Stream: key.name, Data: rest})
	}
}

func (e *eventRedactor) failure(f event.Failure) event.Failure {
	f.Message, f.Hint = e.r.String(f.Message), e.r.String(f.Hint)
	return f
}

// diff looks at each text as a whole; where a line of it is hidden on one side
// alone, the change is still to be seen.
func (e *eventRedactor) diff(d modules.Diff) modules.Diff {
	out := d
	out.Changes = make([]modules.Change, len(d.Changes))
	for i, c := range d.Changes {
		before, after := e.r.String(c.Before), e.r.String(c.After)
		if before == after && c.Before != c.After {
			// The change is in the secret itself.
			before, after = strings.ReplaceAll(before, modules.Hidden, modules.Hidden+" before"), strings.ReplaceAll(after, modules.Hidden, modules.Hidden+" after")
		}
		c.What, c.Before, c.After = e.r.String(c.What), before, after
		out.Changes[i] = c
	}
	return out
}
