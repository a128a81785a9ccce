// Package modules is the contract between the language and what can be done on
// a host. A module is a folder with argument structs; everything else about it
// (argument check, documentation, editor stubs, plan) follows from their tags.
package modules

import (
	"context"
	"io"
	"io/fs"
	"time"

	"github.com/sloth-runner/sloth/facts"
)

// Module is one global table of the language, such as file_ops.
type Module struct {
	Name    string
	Aliases []string // other global names of the same table: service for systemd
	Summary string   // one sentence
	Funcs   []Func
	// Call names the function that calling the table itself means: wait_for({…})
	// is wait_for.condition({…}). Empty: the table cannot be called.
	Call string
}

// Func is one function of a module.
type Func struct {
	Name    string
	Aliases []string
	Summary string // one sentence, imperative
	Example string // one complete Lua statement that runs on a bare Debian
	// Returns describes the result for readers: "{stdout, stderr, exit_code, …}".
	Returns string
	// Methods makes the functions of the module methods of the result table:
	// client:plan({…}) calls terraform.plan with the client as first argument.
	Methods bool
	// New returns a pointer to the argument struct, filled with the defaults.
	// It implements exactly one of Changer, Querier and Tool.
	New func() any
}

// Argument structs carry these tags on exported fields:
//
//	lua:"path,required,path"     name, then options: required, primary, path
//	alias:"dest,name"            other names of the same argument
//	enum:"present,absent"        allowed values
//	doc:"Absolute path"          what it means; every field has one
//
// primary marks the field that a lone string fills, or a lone array when the
// field is a slice; positional arguments fill fields in order of pos:"1",
// pos:"2". path marks a path on the host: it arrives absolute, with ~ and the
// workdir resolved. A lone table is the named arguments, unless the field at
// pos:"1" takes a table itself (any or a map). Field types: string, bool, int,
// int64, float64, pointers to those (nil: not given), []string, []any,
// map[string]string, map[string]any, any, Mode, time.Duration (seconds or
// "5m"), Secret, Text (text or a secret), and Callback for a Lua function. An embedded struct lends its
// fields. Package spec walks all this.

// Changer is a function that brings something into a wanted state. Its methods
// are called on one filled argument struct: Check, then Apply unless the Diff
// is empty or this is a plan. It may implement Resulter too.
type Changer interface {
	// Check compares what is with what is wanted. It cannot write: a Viewer
	// has no way to.
	Check(ctx context.Context, v facts.Viewer) (Diff, error)
	// Apply makes the changes that Check described. After a nil error a Check
	// on the same machine returns an empty Diff.
	Apply(ctx context.Context, m Machine, d Diff) error
}

// Resulter adds keys to the result table of a Changer, and to the one that a
// Tool's planned call gives.
type Resulter interface {
	Result() map[string]any
}

// Planner tells the overlay of a plan what Apply would leave behind, so that
// later checks see it. Changers that touch files implement it.
type Planner interface {
	Plan(ctx context.Context, d Diff, o Overlay) error
}

// Repeater is a Changer that by its nature changes something at every call,
// such as fs.append. The contract suite does not expect rest from it.
type Repeater interface {
	Repeats() bool
}

// Querier is a function that only reports. Its values are returned to Lua.
type Querier interface {
	Query(ctx context.Context, v facts.Viewer) ([]any, error)
}

// Tool is a function that runs something whose effect only the caller knows
// (exec.run, http.get). Under plan it is not called unless PlanSafe says so; a
// planned result is returned instead.
type Tool interface {
	Run(ctx context.Context, c Call) ([]any, error)
	// PlanSafe reports whether Run changes nothing, given its arguments.
	PlanSafe() bool
}

// Diff is the difference between what is and what is wanted. Empty means that
// nothing needs doing.
type Diff struct {
	Changes []Change `msgpack:"c,omitempty" json:"changes"`
}

// Empty reports whether there is nothing to do.
func (d Diff) Empty() bool { return len(d.Changes) == 0 }

// Add appends one change.
func (d *Diff) Add(c Change) { d.Changes = append(d.Changes, c) }

// Change is one thing that differs.
type Change struct {
	What   string `msgpack:"w" json:"what"`                     // the thing: "/etc/motd", "package nginx"
	Attr   string `msgpack:"a,omitempty" json:"attr,omitempty"` // which attribute: "content", "mode", "state"
	Before string `msgpack:"b,omitempty" json:"before"`
	After  string `msgpack:"f,omitempty" json:"after"`
	// Text says that Before and After are whole texts to be shown line by line.
	Text bool `msgpack:"t,omitempty" json:"text,omitempty"`
	// Hidden says that the texts are secret: only the fact of a change is shown.
	Hidden bool `msgpack:"h,omitempty" json:"hidden,omitempty"`
	// Unknown says that After is known only once the change is made.
	Unknown bool `msgpack:"u,omitempty" json:"unknown,omitempty"`
}

// Machine is a Viewer that can also change the host. Every write is atomic:
// old or new, never mixed.
type Machine interface {
	facts.Viewer
	// WriteFile replaces path through a synced temporary file in the same
	// folder. Owner, xattrs and ACLs of an existing file are kept unless o says
	// otherwise.
	WriteFile(ctx context.Context, path string, src io.Reader, o WriteOptions) error
	Mkdir(path string, mode fs.FileMode) error // one level; an existing folder is an error
	Remove(path string) error                  // a file, link or empty folder
	RemoveAll(path string) error
	Rename(from, to string) error
	Symlink(target, path string) error // replaces an existing link atomically
	Link(target, path string) error
	Chmod(path string, mode fs.FileMode) error
	Chown(path string, uid, gid int, followLink bool) error // -1 keeps
	Chtimes(path string, mtime time.Time) error
	// Run executes a program and waits. A non-zero exit code is no error.
	Run(ctx context.Context, c Cmd) (facts.Answer, error)
}

// WriteOptions says how WriteFile leaves the file. The zero value keeps what an
// existing file has and gives a new one 0644 and the caller's owner.
type WriteOptions struct {
	Mode     *fs.FileMode
	UID, GID *int
	Sync     bool // fsync file and folder before returning
	// InPlace writes into an existing file instead of replacing it, once the new
	// content is whole beside it: for one that is a mount point, or whose other
	// names must see the change. A crash in between leaves a mixture.
	InPlace bool
	// Validate is called with the name of the finished temporary file before it
	// takes the place of path; an error keeps the old file.
	Validate func(ctx context.Context, temporary string) error
}

// Cmd is a program for Machine.Run.
type Cmd struct {
	Argv  []string
	Env   []string // appended to the inherited environment, "K=v"
	Dir   string
	Stdin io.Reader
	User  string // runs as this user (name or number); only root can; empty: as the process itself
	// Grace is the time between TERM and KILL once the context has ended; 0: 2 s.
	// Programs that must write down what they did get more.
	Grace time.Duration
	// Output is called with each piece of output while the program runs, and may be nil.
	Output func(stream string, data []byte)
}

// Overlay collects what a plan would leave behind; the plan's Viewer reads
// through it.
type Overlay interface {
	PutFile(path string, content []byte, mode fs.FileMode, uid, gid int)
	PutUnknownFile(path string, mode fs.FileMode) // exists, content known only after the change
	PutDir(path string, mode fs.FileMode)
	PutLink(path, target string)
	// PutAttrs plans mode and owner of something that is there; -1 keeps an id.
	PutAttrs(path string, mode fs.FileMode, uid, gid int)
	Remove(path string)
	// Note remembers a planned fact under a key such as "package:nginx"; Noted
	// asks for it.
	Note(key, value string)
	Noted(key string) (string, bool)
}

// Call is what surrounds one call of a module function: the machine, the task
// it belongs to, and the way back to the controller.
type Call struct {
	Machine  Machine
	Plan     bool
	Host     string // inventory name, "local" on the controller
	Workdir  string // base of relative paths on the host; empty: the process's own
	Env      []string
	NoLog    bool
	Services Services
	// Restart asks that the host is restarted once the task is over; nil: it
	// cannot be.
	Restart func(Restart)
	// Learn is told each secret that comes into being in this call, so that it is
	// hidden from now on wherever it turns up. It may be nil.
	Learn func(value string)
	// Output streams what a long command prints. It is never nil.
	Output func(stream string, data []byte)
	// Log shows one line of the task's log. It is never nil.
	Log func(level, message string, fields map[string]any)
}

// Restart is how a host is to be restarted between two tasks.
type Restart struct {
	Timeout time.Duration `msgpack:"t"` // for it to come back
	Delay   time.Duration `msgpack:"d,omitempty"`
	Settle  time.Duration `msgpack:"s,omitempty"` // once it is back
	Message string        `msgpack:"m,omitempty"`
	Command string        `msgpack:"c,omitempty"` // for the shell; empty: what the system has
}

// Callback is a Lua function among the arguments. Calling it takes the Lua
// world's lock for as long as it runs.
type Callback func(ctx context.Context, args ...any) ([]any, error)

// Services is what a function can ask of the controller. On a host every call
// crosses the wire and is untrusted there; the list is closed.
type Services interface {
	// State performs one operation of the state module (see state/values).
	State(ctx context.Context, op string, args []any) ([]any, error)
	// File opens a controller-side file, relative to the .sloth file and
	// confined to its folder. size and hash (hex SHA-256) are of the content.
	File(ctx context.Context, src string) (File, error)
	// List names the files below a controller-side folder.
	List(ctx context.Context, dir string) ([]FileEntry, error)
	// Template renders a controller-side template with vars over those of the
	// host; engine is "go", "jinja2" or "" (by the file's name).
	Template(ctx context.Context, src, engine string, vars map[string]any) ([]byte, error)
	Secret(ctx context.Context, name string) (string, error)
	// Require returns the source of a Lua library and the name for messages.
	Require(ctx context.Context, name string) (source []byte, path string, err error)
	// RunTask runs a nested task. The bytes are a shipped task, the answer a
	// shipped list of returns.
	RunTask(ctx context.Context, task []byte) ([]byte, error)
	Notify(ctx context.Context, handler string) error
	// Inventory answers "hosts" (pattern), "vars" (host), "facts" (host).
	Inventory(ctx context.Context, what, arg string) (any, error)
	SetHostVar(ctx context.Context, key string, value any) error
}

// File is an open controller-side file.
type File struct {
	io.ReadCloser
	Size int64
	Hash string
	Mode fs.FileMode
}

// FileEntry is one line of a manifest. Path is relative and slash-separated.
type FileEntry struct {
	Path string
	Mode fs.FileMode
	Size int64
	Hash string // hex SHA-256; empty for folders and links
	Link string
}
