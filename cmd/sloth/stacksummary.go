package main

import (
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/stack"
)

// What the history of a stack keeps of one run.
const (
	maxResults     = 200_000
	maxResultText  = 300
	maxOutputValue = 64 << 10
)

// summary is what a run leaves in the history, made of its events, from which
// secrets have been taken.
type summary struct {
	began    time.Time
	ended    time.Time
	workflow string
	changed  bool
	hosts    map[string]stack.Counts
	outputs  map[string]any
	results  []stack.Result
	end      event.RunDone
}

func newSummary() *summary {
	return &summary{began: time.Now(), hosts: map[string]stack.Counts{}, outputs: map[string]any{}, results: []stack.Result{}}
}

// add counts an event. It is called from one goroutine.
func (s *summary) add(e event.Event) {
	switch e := e.(type) {
	case event.RunStarted:
		s.workflow = e.Workflow
	case event.TaskDone:
		s.task(e)
	case event.HostLost:
		c := s.hosts[e.Host]
		c.Unreachable = 1
		s.hosts[e.Host] = c
	case event.RunDone:
		s.end, s.ended = e, time.Now()
	}
}

// settle takes the exit code that the program ends with: the file itself may say
// that it failed.
func (s *summary) settle(code int) {
	if s.end.ExitCode = code; code != exitOK && !s.end.Status.Bad() {
		s.end.Status = event.Failed
	}
}

func (s *summary) task(d event.TaskDone) {
	s.changed = s.changed || d.Changed
	if d.Host != "" {
		c := s.hosts[d.Host]
		switch {
		case d.Status == event.Skipped:
			c.Skipped++
		case d.Status == event.Success || d.Ignored || d.Nested:
			c.OK++
		case d.Status == event.Unreachable:
			c.Unreachable = 1
		default:
			c.Failed++
		}
		if d.Changed {
			c.Changed++
		}
		s.hosts[d.Host] = c
	}
	if len(s.results) < maxResults {
		text := d.Message
		if d.Failure != nil {
			text = d.Failure.Message
		}
		s.results = append(s.results, stack.Result{
			Host: d.Host, Task: d.Task, Status: string(d.Status), Changed: d.Changed, Handler: d.Handler, Attempts: d.Attempts,
			Duration: d.Duration.Round(time.Millisecond).String(), Message: shortText(text),
		})
	}
	m, ok := d.Outputs.(map[string]any)
	if !ok || d.Status != event.Success {
		return
	}
	for name, v := range m {
		v = event.Plain(v)
		if body, err := json.Marshal(v); err != nil || len(body) > maxOutputValue {
			continue // what a command printed, say; the record of the run has it
		}
		s.outputs[name] = v
	}
}

func shortText(s string) string {
	if len(s) <= maxResultText {
		return s
	}
	n := maxResultText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
