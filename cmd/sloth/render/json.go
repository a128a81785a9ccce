package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/runner/event"
)

// The document of --output json. Every key is always there.
type (
	jsonRun struct {
		Status   string               `json:"status"`
		Duration string               `json:"duration"`
		Stack    Stack                `json:"stack"`
		Tasks    map[string]jsonTask  `json:"tasks"`
		Outputs  any                  `json:"outputs"`
		RunID    string               `json:"run_id"`
		Workflow string               `json:"workflow"`
		Check    bool                 `json:"check"`
		Changed  bool                 `json:"changed"`
		ExitCode int                  `json:"exit_code"`
		Message  any                  `json:"message"`
		Hosts    map[string]jsonRecap `json:"hosts"`
	}
	jsonRecap struct {
		Recap
		// Error says why the host was lost.
		Error *jsonFailure `json:"error"`
	}
	jsonTask struct {
		Status   event.Status        `json:"status"`
		Duration string              `json:"duration"`
		Changed  bool                `json:"changed"`
		Error    *jsonFailure        `json:"error"`
		Hosts    map[string]jsonHost `json:"hosts"`
	}
	jsonHost struct {
		Status   event.Status `json:"status"`
		Changed  bool         `json:"changed"`
		Ignored  bool         `json:"ignored"`
		Duration string       `json:"duration"`
		Attempts int          `json:"attempts"`
		Message  any          `json:"message"`
		Diff     []jsonChange `json:"diff"`
		// DiffTruncated says that there were more changes than are kept.
		DiffTruncated bool         `json:"diff_truncated"`
		Outputs       any          `json:"outputs"`
		Error         *jsonFailure `json:"error"`
	}
	jsonFailure struct {
		Class   string `json:"class"`
		Message any    `json:"message"`
		File    string `json:"file"`
		Line    int    `json:"line"`
		Hint    any    `json:"hint"`
	}
	jsonChange struct {
		Function string `json:"function"`
		File     string `json:"file"`
		Line     int    `json:"line"`
		Planned  bool   `json:"planned"`
		Message  any    `json:"message"`
		What     any    `json:"what"`
		Attr     string `json:"attr"`
		Before   any    `json:"before"`
		After    any    `json:"after"`
		Text     bool   `json:"text"`
		Hidden   bool   `json:"hidden"`
		Unknown  bool   `json:"unknown"`
	}
)

func failureJSON(f *event.Failure) *jsonFailure {
	if f == nil {
		return nil
	}
	return &jsonFailure{Class: f.Class, Message: event.Plain(f.Message), File: f.File, Line: f.Line, Hint: event.Plain(f.Hint)}
}

func (c *changes) json() []jsonChange {
	out := make([]jsonChange, len(c.list))
	for i, d := range c.list {
		out[i] = jsonChange{
			Function: d.function, File: d.file, Line: d.line, Planned: d.planned, Message: event.Plain(d.message), What: event.Plain(d.What), Attr: d.Attr,
			Before: event.Plain(d.Before), After: event.Plain(d.After), Text: d.Text, Hidden: d.Hidden, Unknown: d.Unknown,
		}
	}
	return out
}

func (t *taskResult) json() jsonTask {
	status, changed, took, failure := t.sum()
	out := jsonTask{Status: status, Duration: seconds(took), Changed: changed, Error: failureJSON(failure), Hosts: map[string]jsonHost{}}
	for name, h := range t.hosts {
		out.Hosts[name] = jsonHost{
			Status: h.status, Changed: h.changed, Ignored: h.ignored, Duration: seconds(h.duration), Attempts: h.attempts, Message: event.Plain(h.message),
			Diff: h.json(), DiffTruncated: h.truncated, Outputs: event.Plain(h.outputs), Error: failureJSON(h.failure),
		}
	}
	return out
}

func writeJSON(w io.Writer, c *collector) error {
	status, took, code, message := c.outcome()
	_, changed := c.tally.sum()
	doc := jsonRun{
		Status: status, Duration: seconds(took), Stack: c.o.Stack, Tasks: map[string]jsonTask{}, Outputs: event.Plain(c.outputs),
		RunID: c.run.RunID, Workflow: c.run.Workflow, Check: c.run.Check, Changed: changed > 0, ExitCode: code, Message: event.Plain(message), Hosts: map[string]jsonRecap{},
	}
	for name, t := range c.tasks {
		doc.Tasks[name] = t.json()
	}
	for name, r := range c.tally.hosts {
		doc.Hosts[name] = jsonRecap{Recap: *r}
	}
	for _, l := range c.lost {
		r := doc.Hosts[l.Host]
		r.Error = failureJSON(&l.Failure)
		doc.Hosts[l.Host] = r
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(harmless(data), '\n'))
	return err
}

// harmless writes the characters of JSON that a terminal would obey as \u….
// The document means the same.
func harmless(data []byte) []byte {
	if clean(string(data), false) {
		return data
	}
	var out bytes.Buffer
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		if risky(r, false) && r >= 0x7f {
			fmt.Fprintf(&out, `\u%04x`, r)
		} else {
			out.Write(data[:n])
		}
		data = data[n:]
	}
	return out.Bytes()
}

// ndjson writes each event as a line, as it comes.
type ndjson struct {
	q   *queue
	now func() time.Time
	seq uint64
	err error
	run string // the id of the run that has begun
}

func newNDJSON(w io.Writer, o Options) *ndjson { return &ndjson{q: newQueue(w), now: o.Now} }

func (n *ndjson) Handle(e event.Event) {
	if s, ok := e.(event.RunStarted); ok {
		if s.RunID != "" && s.RunID == n.run {
			return // a workflow of the same run
		}
		n.run = s.RunID
	}
	n.seq++
	line, err := event.Marshal(n.seq, n.now().UTC(), e)
	if err != nil {
		// A reader that counts sees the gap; the run goes on.
		if n.err == nil {
			n.err = fmt.Errorf("event %d (%s): %w", n.seq, event.Kind(e), err)
		}
		return
	}
	_, _ = n.q.Write(append(harmless(line), '\n'))
}

func (n *ndjson) Close() error {
	if err := n.q.close(); err != nil {
		return err
	}
	return n.err
}
