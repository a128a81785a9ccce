// Package event is the one stream that a run consists of for everybody who
// watches it: terminal, JSON, JUnit, history. A controller numbers the events
// of a run in one goroutine; a worker numbers those of its host.
package event

import (
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Status is how a task ended on one host, or as a whole.
type Status string

// The statuses, spelled as people and scripts read them.
const (
	Success     Status = "Success"
	Failed      Status = "Failed"
	Skipped     Status = "Skipped"
	Timeout     Status = "Timeout"
	Cancelled   Status = "Cancelled"
	Unreachable Status = "Unreachable"
	Unknown     Status = "Unknown"
)

// Bad reports whether s counts as a failure.
func (s Status) Bad() bool { return s != Success && s != Skipped }

// Failure says what went wrong, where, and what to do next.
type Failure struct {
	Class   string `msgpack:"c" json:"class"` // connection.Class values, or "task"
	Message string `msgpack:"m" json:"message"`
	File    string `msgpack:"f,omitempty" json:"file"`
	Line    int    `msgpack:"l,omitempty" json:"line"`
	Hint    string `msgpack:"h,omitempty" json:"hint"`
}

// Where names the task a step-level event belongs to.
type Where struct {
	Task    string `msgpack:"t,omitempty" json:"task"`
	Host    string `msgpack:"h,omitempty" json:"host"` // inventory name, "local" for the controller
	Step    string `msgpack:"s,omitempty" json:"step,omitempty"`
	Attempt int    `msgpack:"a,omitempty" json:"attempt,omitempty"`
	Handler bool   `msgpack:"hd,omitempty" json:"handler,omitempty"`
}

// Event is one of the structs below.
type Event interface{ kind() string }

// Kind returns the stable name of e's type as used in records ("task_done").
func Kind(e Event) string { return e.kind() }

// RunStarted opens the stream.
type RunStarted struct {
	RunID    string   `json:"run_id"`
	Workflow string   `json:"workflow"`
	Tasks    []string `json:"tasks"`
	Hosts    []string `json:"hosts"`
	Check    bool     `json:"check"`
}

// TaskStarted says that an attempt begins.
type TaskStarted struct{ Where }

// Output is raw bytes a command printed. Stream is "stdout" or "stderr".
type Output struct {
	Where
	Stream string `msgpack:"st" json:"stream"`
	Data   []byte `msgpack:"d" json:"data"`
}

// Log is one line of the log module, or of sloth itself (Level "notice").
type Log struct {
	Where
	Level   string         `msgpack:"l" json:"level"` // debug info warn error success print notice
	Message string         `msgpack:"m" json:"message"`
	Fields  map[string]any `msgpack:"f,omitempty" json:"fields,omitempty"`
}

// Called is one call of a module function that changed something, or under
// plan would.
type Called struct {
	Where
	Function string       `msgpack:"fn" json:"function"` // "file_ops.copy"
	File     string       `msgpack:"fi,omitempty" json:"file"`
	Line     int          `msgpack:"li,omitempty" json:"line"`
	Changed  bool         `msgpack:"c" json:"changed"`
	Planned  bool         `msgpack:"p,omitempty" json:"planned"`
	Message  string       `msgpack:"m,omitempty" json:"message,omitempty"`
	Diff     modules.Diff `msgpack:"d" json:"diff"`
	// Args and Seen are digests for saved plans, as in bind.Record.
	Args string `msgpack:"ag,omitempty" json:"-"`
	Seen string `msgpack:"sn,omitempty" json:"-"`
}

// TaskRetry says that an attempt failed and another follows after Delay.
type TaskRetry struct {
	Where
	Failure Failure       `msgpack:"f" json:"error"`
	Delay   time.Duration `msgpack:"d" json:"delay"`
}

// TaskDone closes a task on one host.
type TaskDone struct {
	Where
	Status   Status        `msgpack:"st" json:"status"`
	Changed  bool          `msgpack:"c" json:"changed"`
	Ignored  bool          `msgpack:"i,omitempty" json:"ignored,omitempty"` // failed, but ignore_errors
	Nested   bool          `msgpack:"n,omitempty" json:"nested,omitempty"`  // run by :run(): its failure is the caller's
	Message  string        `msgpack:"m,omitempty" json:"message"`
	Duration time.Duration `msgpack:"du" json:"duration"`
	Attempts int           `msgpack:"at" json:"attempts"`
	Outputs  any           `msgpack:"o,omitempty" json:"outputs"`
	Failure  *Failure      `msgpack:"f,omitempty" json:"error"`
	Notified []string      `msgpack:"nt,omitempty" json:"-"` // handlers to queue
	// Partial says that a plan could not see to the end of the task.
	Partial bool `msgpack:"p,omitempty" json:"partial,omitempty"`
}

// HostLost says that a host cannot be used any more in this run.
type HostLost struct {
	Host    string  `json:"host"`
	Failure Failure `json:"error"`
}

// Progress is long work under way. Only a Progress may be dropped by a reader.
type Progress struct {
	Host  string `msgpack:"h" json:"host"`
	What  string `msgpack:"w" json:"what"` // "upload sloth-shim"
	Done  int64  `msgpack:"d" json:"done"`
	Total int64  `msgpack:"t" json:"total"` // 0: unknown
}

// RunDone closes the stream.
type RunDone struct {
	Status   Status        `json:"status"`
	ExitCode int           `json:"exit_code"`
	Duration time.Duration `json:"duration"`
	Message  string        `json:"message,omitempty"`
}

func (RunStarted) kind() string  { return "run_started" }
func (TaskStarted) kind() string { return "task_started" }
func (Output) kind() string      { return "output" }
func (Log) kind() string         { return "log" }
func (Called) kind() string      { return "called" }
func (TaskRetry) kind() string   { return "task_retry" }
func (TaskDone) kind() string    { return "task_done" }
func (HostLost) kind() string    { return "host_lost" }
func (Progress) kind() string    { return "progress" }
func (RunDone) kind() string     { return "run_done" }

// Located gives the place in an event of a step, and the same event elsewhere.
func Located(e Event) (w Where, at func(Where) Event, ok bool) {
	switch e := e.(type) {
	case TaskStarted:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	case Output:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	case Log:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	case Called:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	case TaskRetry:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	case TaskDone:
		return e.Where, func(w Where) Event { e.Where = w; return e }, true
	}
	return Where{}, nil, false
}
