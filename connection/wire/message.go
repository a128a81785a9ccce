package wire

import (
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Hello is the controller's first message.
type Hello struct {
	Version int `msgpack:"v"`
	// Build is the controller's version, for messages.
	Build  string `msgpack:"bu,omitempty"`
	RunID  string `msgpack:"r"`
	Check  bool   `msgpack:"c,omitempty"` // a plan: nothing is changed
	Become Become `msgpack:"b"`
	// Env is added to the environment of everything that runs.
	Env map[string]string `msgpack:"e,omitempty"`
}

// Become says how to become another user. The password travels here and
// nowhere else.
type Become struct {
	Method   string `msgpack:"m,omitempty"` // sudo (default), doas, su
	Password []byte `msgpack:"p,omitempty"`
	// HasPassword tells an empty password from none.
	HasPassword bool `msgpack:"h,omitempty"`
}

// Format keeps the password out of whatever is printed.
func (b Become) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s password:%v}", b.Method, b.HasPassword)
}

// Welcome is the worker's first message.
type Welcome struct {
	Version   int    `msgpack:"v"`
	PID       int    `msgpack:"p"`
	UID       int    `msgpack:"u"`
	User      string `msgpack:"n"`
	Home      string `msgpack:"h"`
	OS        string `msgpack:"o"`
	Arch      string `msgpack:"a"`
	BootID    string `msgpack:"b"` // changes with every boot; empty where there is none
	MachineID string `msgpack:"m"` // stays; empty where there is none
	// RunDir is where this user's runs are kept, once there is something to
	// keep. It need not exist.
	RunDir string `msgpack:"d"`
	// Shim is the base name of the program file, which holds its hash.
	Shim string `msgpack:"s"`
}

// Blob is content that jobs refer to by the hex SHA-256 of it.
type Blob struct {
	Hash string `msgpack:"h"`
	Data []byte `msgpack:"d"`
}

// Job asks for work. Done answers it.
type Job struct {
	ID   string             `msgpack:"i"`
	Kind string             `msgpack:"k"`
	Body msgpack.RawMessage `msgpack:"b"`
	// Last says that no other job follows: the worker ends with it, and the
	// controller need not say so later.
	Last bool `msgpack:"l,omitempty"`
}

// Done is the end of a job. Err is a failure to do it at all; how its steps
// ended is in Body.
type Done struct {
	Job  string             `msgpack:"i"`
	Body msgpack.RawMessage `msgpack:"b,omitempty"`
	Err  string             `msgpack:"e,omitempty"`
}

// Event is something that happened in a job. Seq counts all events of a worker
// from 1 without a gap.
type Event struct {
	Seq  uint64 `msgpack:"s"`
	Job  string `msgpack:"j"`
	Kind string `msgpack:"k"`
	Body []byte `msgpack:"b"`
}

// Call asks the other side for a service. Reply answers it.
type Call struct {
	ID      uint64 `msgpack:"i"`
	Job     string `msgpack:"j"`
	Service string `msgpack:"s"`
	Body    []byte `msgpack:"b"`
	// Stream is the number of a raw stream that takes what is too big for a
	// Reply; 0: none.
	Stream uint32 `msgpack:"st,omitempty"`
}

// Reply answers a Call.
type Reply struct {
	ID   uint64 `msgpack:"i"`
	Body []byte `msgpack:"b,omitempty"`
	Err  string `msgpack:"e,omitempty"`
}

// Cancel ends a job, or with Step one step of it that has not ended. Without
// Hard a step that runs may finish, but none begins; with it the step's
// processes are ended. An empty Job means all jobs.
type Cancel struct {
	Job  string `msgpack:"j"`
	Step string `msgpack:"s,omitempty"`
	Hard bool   `msgpack:"h,omitempty"`
}

// Ack says up to which event everything has arrived, so that the worker may
// forget it.
type Ack struct {
	Seq uint64 `msgpack:"s"`
}
