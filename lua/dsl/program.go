// Package dsl is the language of .sloth files: what a file says, as data. It
// knows tasks and workflows, not how or where they run.
package dsl

import (
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Program is what loading a file gives.
type Program struct {
	File      string
	Tasks     []*Task // every built task, in order of definition
	Workflows []*Workflow
	Handlers  []*Task // by definition; names are unique
	// Ran holds the tasks that :run() ran at top level while the file loaded,
	// or would have run when loading without effects.
	Ran []*Task
	// Effects counts the module calls at top level; a file with no task, no run
	// and no effect has nothing to do.
	Effects int
	// Failed says that the file itself returned false; Message is why. The run
	// then fails, whatever its tasks did.
	Failed  bool
	Message string
	// Cut is the mistake at which a reading without effects ended, where a real
	// one may go on; nil: it came to the end. What is behind it is not known.
	Cut *Problem
	// Warnings are worth telling but keep nothing from running.
	Warnings Problems
	// Uses are the functions in the file, and in those it includes, that change
	// something or may, as far as their names are written out.
	Uses []Use
}

// Use is a place where a function stands that may change something.
type Use struct {
	Pos
	Function string // "file_ops.copy"
}

// Pos is a place in a source file. Line counts from 1.
type Pos struct {
	File string
	Line int
}

// Task is one built task.
type Task struct {
	Name        string
	Description string
	Pos         Pos
	Command     *lua.LFunction // nil: Shell is the command
	Shell       string
	Workdir     string
	Target      Target
	DependsOn   []string
	Timeout     time.Duration // 0: none
	Retries     int           // attempts after the first
	Backoff     string        // "fixed", "linear", "exponential"
	Artifacts   []string
	Consumes    []string

	RunIf       *lua.LFunction
	ChangedWhen *lua.LFunction
	FailedWhen  *lua.LFunction
	OnStart     *lua.LFunction
	OnSuccess   *lua.LFunction
	OnFailure   *lua.LFunction
	OnRetry     *lua.LFunction
	OnTimeout   *lua.LFunction

	IgnoreErrors   bool
	NoLog          bool
	AnyErrorsFatal bool
	Become         bool
	BecomeUser     string // empty with Become: root
	Tags           []string
	Serial         []string // "1", "25%"; empty: all at once
	RunOnce        bool
	Env            map[string]string
	Vars           *lua.LTable // may be nil
	Notify         []string
	Async          bool

	// Handler marks a handler; it runs only when notified.
	Handler bool
	// Built is false for a builder that never saw :build() or a workflow.
	Built bool

	// chained marks a task that workflow("…"):task(…) made.
	chained bool
	depends Pos // where depends_on was last called
	// calls tells calls of one method in a chain apart; broken says that a call
	// was refused.
	calls  map[string]int
	broken bool
}

// Target says where a task runs. The zero value names no host.
type Target struct {
	Set     bool
	Pattern string         // host, group, glob or pattern; a list is joined with ","
	Func    *lua.LFunction // called on the controller when the task's turn comes; returns a pattern or list
	// Group with Strategy and Spread picks hosts of a group by load.
	Group    string
	Strategy string
	Spread   int
}

// Workflow is one defined workflow.
type Workflow struct {
	Name        string
	Description string
	Version     string
	Pos         Pos
	Tasks       []*Task
	Config      Config
	Metadata    map[string]any
	OnComplete  *lua.LFunction
	// Implicit is the workflow "default" made of tasks nobody claims.
	Implicit bool
}

// Config is the config table of a workflow.
type Config struct {
	Timeout          time.Duration
	MaxParallelTasks int // 0: unset
	Environment      string
	Retries          int // retry_policy, for tasks that set none
	Backoff          string
	FailFast         bool
	Hosts            string   // pattern
	Serial           []string // "1", "25%"
	MaxFail          string   // "5" or "10%"; empty: no limit
	Strategy         string   // "free" (default) or "linear"
	// Extra keeps keys the language does not know, for params and metadata.
	Extra map[string]any
}
