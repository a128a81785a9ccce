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
	// Durable asks for a run that outlives this link: the worker keeps a journal
	// and waits to be attached to again.
	Durable *Durable `msgpack:"d,omitempty"`
}

// Durable is what makes a run survive its link, its worker and its controller.
type Durable struct {
	// Key seals the journal; only the controller keeps it.
	Key []byte `msgpack:"k"`
	// Resume says that this run was here before: go on with it, whatever is left
	// of it.
	Resume bool `msgpack:"r,omitempty"`
	// From is the number of the last event that arrived; later ones are repeated.
	From uint64 `msgpack:"f,omitempty"`
	// Run is the run's name on the controller, which several hosts share; Owner is
	// who runs it and from where. Both are for others who wait.
	Run   string `msgpack:"n,omitempty"`
	Owner string `msgpack:"o,omitempty"`
	// Worker is the process that an executor serves, for that one only.
	Worker int `msgpack:"p,omitempty"`
	// Lock asks that nobody else changes the host meanwhile; LockWait, in
	// seconds, is how long to wait for somebody who does. 0: not at all.
	Lock     bool    `msgpack:"l,omitempty"`
	LockWait float64 `msgpack:"w,omitempty"`
}

// Format keeps the key out of whatever is printed.
func (d Durable) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{resume:%v from:%d}", d.Resume, d.From)
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
	// Shim is the base name of the program file, which holds its hash.
	Shim string `msgpack:"s"`

	// Of a durable run:

	// Refused says why it cannot go on here; nothing was executed and nothing
	// will be. Busy then says that a worker of this run lives: attach to it.
	Refused string `msgpack:"x,omitempty"`
	Busy    bool   `msgpack:"y,omitempty"`
	// Kept is the folder of this run; empty: there is none, for Unkept, and an
	// interrupted step will be unknown.
	Kept   string `msgpack:"k,omitempty"`
	Unkept string `msgpack:"q,omitempty"`
	// Attached says that this is the worker that was there before. It knows Jobs,
	// has the contents of Blobs, and repeats what follows event Acked.
	Attached bool     `msgpack:"at,omitempty"`
	Acked    uint64   `msgpack:"ak,omitempty"`
	Jobs     []string `msgpack:"j,omitempty"`
	Blobs    []string `msgpack:"bl,omitempty"`
	// Found is what the journal of a worker that is gone says of its steps;
	// Records is how long that journal was.
	Found []Found `msgpack:"fo,omitempty"`
	// Fresh says that Kept was made just now: nothing was there of this run.
	Fresh   bool   `msgpack:"fr,omitempty"`
	Records uint64 `msgpack:"re,omitempty"`
	// Ends says that logind ends what a login leaves behind, and that steps were
	// interrupted here: that is why.
	Ends bool `msgpack:"en,omitempty"`
}

// Found is one step that had begun, as a journal knows it.
type Found struct {
	Step   string             `msgpack:"s"`
	Job    string             `msgpack:"j"`
	Boot   string             `msgpack:"b,omitempty"`
	Ended  bool               `msgpack:"e,omitempty"`
	Result msgpack.RawMessage `msgpack:"r,omitempty"`
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
// ended is in Body. Seq is its place among the events.
type Done struct {
	Seq  uint64             `msgpack:"s,omitempty"`
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
	// Records is how many the journal has, as far as it matters to whoever reads
	// it one day.
	Records uint64 `msgpack:"r,omitempty"`
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
	// Skip is how many bytes of the stream arrived before the link broke.
	Skip int64 `msgpack:"sk,omitempty"`
	// Answered says that the replies to all calls with a smaller ID have arrived.
	Answered uint64 `msgpack:"an,omitempty"`
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
