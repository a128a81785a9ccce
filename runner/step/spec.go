// Package step runs one task on one machine: attempts, timeout, binding of
// callbacks, hooks, what the command's returns mean. Controller and worker both
// use it, so a task behaves the same wherever it runs.
package step

import (
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/runner/event"
)

// Spec is one step as it travels to a host. It holds no Lua values: functions
// and tables are in Snapshot, encoded by lua/ship.
type Spec struct {
	ID   string `msgpack:"id"`
	Task string `msgpack:"t"`
	// Snapshot decodes to one table with the callbacks under the names of
	// Callbacks ("command", "run_if", "on_start", …), and "vars". Empty where
	// Shell is the whole command.
	Snapshot []byte `msgpack:"sn,omitempty"`
	Shell    string `msgpack:"sh,omitempty"`
	// Call names one module function ("systemd.restart") to be called with Args
	// instead of a command; for ad-hoc use.
	Call string         `msgpack:"ca,omitempty"`
	Args map[string]any `msgpack:"ag,omitempty"`

	Workdir string            `msgpack:"wd,omitempty"`
	Env     map[string]string `msgpack:"env,omitempty"`
	Timeout time.Duration     `msgpack:"to,omitempty"`
	Retries int               `msgpack:"re,omitempty"`
	Backoff string            `msgpack:"bo,omitempty"`

	Become       string   `msgpack:"be,omitempty"` // user to become; empty: the login user
	IgnoreErrors bool     `msgpack:"ie,omitempty"`
	NoLog        bool     `msgpack:"nl,omitempty"`
	Notify       []string `msgpack:"no,omitempty"`
	Artifacts    []string `msgpack:"ar,omitempty"`
	Consumes     []string `msgpack:"co,omitempty"`
	Handler      bool     `msgpack:"ha,omitempty"`
	Nested       bool     `msgpack:"ne,omitempty"`

	Params map[string]any `msgpack:"pa,omitempty"`
	// Deps holds outputs known when the step is sent: task -> outputs on this
	// host. DepHosts holds task -> host -> outputs, for deps.X.hosts.
	Deps     map[string]any            `msgpack:"de,omitempty"`
	DepHosts map[string]map[string]any `msgpack:"dh,omitempty"`
	// After names the tasks this one depends on, directly or through others.
	// Where such a task runs in the same segment, its outputs are added to Deps
	// on the host, and when it failed there this step is not run.
	After []string `msgpack:"af,omitempty"`
	// Expect is what a saved plan says of this step; nil: there is none.
	Expect *Expect `msgpack:"ex,omitempty"`
}

// LockModule is the module of the functions that `sloth lock` calls: holder and
// break. Workers have it and scripts do not see it.
const LockModule = "target_lock"

// Segment is a list of steps for one host that need nothing from anybody else
// while they run.
type Segment struct {
	ID    string `msgpack:"id"`
	Host  Host   `msgpack:"h"`
	Check bool   `msgpack:"ck,omitempty"` // plan: change nothing
	Steps []Spec `msgpack:"s"`
	// StopOnFailure ends the segment at the first step that fails and is not
	// ignored; the rest is reported as not run.
	StopOnFailure bool `msgpack:"sf,omitempty"`
	// Values are the controller's values.yaml data, for the global "values".
	Values any `msgpack:"va,omitempty"`
	// Sources are the chunks that the snapshots refer to, Files the
	// controller-side files that the steps name, Rendered their templates. The
	// contents travel ahead as blobs, by hash, and only what the host lacks.
	Sources  []Source   `msgpack:"so,omitempty"`
	Files    []File     `msgpack:"fi,omitempty"`
	Rendered []Rendered `msgpack:"rn,omitempty"`
	// Seal is the key under which calls are digested; empty: they are not.
	Seal []byte `msgpack:"sl,omitempty"`
}

// Source is one Lua source: Name is what messages show, Hash the hex SHA-256 of
// the text.
type Source struct {
	Name string `msgpack:"n"`
	Hash string `msgpack:"h"`
}

// File is one controller-side file, under the name the script uses for it.
type File struct {
	Src  string `msgpack:"s"`
	Hash string `msgpack:"h"`
	Size int64  `msgpack:"z"`
	Mode uint32 `msgpack:"m"`
}

// Rendered is a template whose variables were known before sending.
type Rendered struct {
	Src    string `msgpack:"s"`
	Engine string `msgpack:"e,omitempty"`
	Hash   string `msgpack:"h"`
}

// Host is what a step knows about where it runs.
type Host struct {
	Name    string         `msgpack:"n"` // inventory name; "local" for the controller itself
	Address string         `msgpack:"a"`
	Groups  []string       `msgpack:"g"`
	Vars    map[string]any `msgpack:"v"` // merged inventory variables
}

// Result is how a step ended.
type Result struct {
	ID       string         `msgpack:"id"`
	Status   event.Status   `msgpack:"st"`
	Changed  bool           `msgpack:"c,omitempty"`
	Ignored  bool           `msgpack:"i,omitempty"`
	Message  string         `msgpack:"m,omitempty"`
	Outputs  any            `msgpack:"o,omitempty"`
	Failure  *event.Failure `msgpack:"f,omitempty"`
	Attempts int            `msgpack:"at,omitempty"`
	Duration time.Duration  `msgpack:"du,omitempty"`
	// Returns holds what the command returned after the success flag, encoded
	// by lua/ship; only for nested steps.
	Returns  []byte   `msgpack:"r,omitempty"`
	Notified []string `msgpack:"no,omitempty"` // handlers to queue
	NotRun   bool     `msgpack:"nr,omitempty"` // ended before it began
	Later    bool     `msgpack:"la,omitempty"` // and is to be sent again: the host restarts first
	// Restart is what the task asked for; it happens behind it.
	Restart *modules.Restart `msgpack:"rs,omitempty"`

	// Made are the secrets that came into being in the step. What holds a Result
	// is sealed.
	Made []string `msgpack:"mk,omitempty"`

	tail     []lua.LValue // what Returns will hold
	returned bool
}
