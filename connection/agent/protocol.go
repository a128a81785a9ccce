// Package agent is the connection to hosts that dial out: a resident agent on
// the host keeps a stream open to a master, and controllers reach the host
// through that master. All of it is gRPC over mutual TLS 1.3; what a command
// reads and writes travels as raw bytes in a stream of its own, so that each
// has its own window and its own end.
package agent

import "time"

// Protocol is the version of what is said here; Floor is the oldest that is
// still spoken.
const (
	Protocol = 1
	Floor    = 1
)

// The methods. Each service is for one kind of peer.
const (
	ServiceEnrol = "sloth.Enrol" // without a certificate; nothing else is
	ServiceAgent = "sloth.Agent"
	ServiceUser  = "sloth.User"
	ServicePeer  = "sloth.Peer" // between masters

	MethodEnrol = "/sloth.Enrol/Enrol"

	MethodAttend = "/sloth.Agent/Attend"
	MethodCarry  = "/sloth.Agent/Carry"
	MethodRenew  = "/sloth.Agent/Renew"

	MethodReach   = "/sloth.User/Reach"
	MethodRun     = "/sloth.User/Run"
	MethodList    = "/sloth.User/List"
	MethodWhoami  = "/sloth.User/Whoami"
	MethodRefresh = "/sloth.User/Refresh"
	MethodToken   = "/sloth.User/Token"
	MethodTokens  = "/sloth.User/Tokens"
	MethodApprove = "/sloth.User/Approve"
	MethodDelete  = "/sloth.User/Delete"
	MethodStop    = "/sloth.User/Stop"

	// What a master asks of the one that has an agent's stream.
	MethodPeerReach = "/sloth.Peer/Reach"
	MethodPeerRun   = "/sloth.Peer/Run"
	MethodPeerStop  = "/sloth.Peer/Stop"
	MethodPeerList  = "/sloth.Peer/List"
)

// Limits.
const (
	maxChunk   = 32 << 10  // of data in one message
	MaxMessage = 128 << 10 // of any message
	maxPath    = 4096
)

// DefaultPort is where a master listens.
const DefaultPort = 50053

// EnrolRequest asks for a certificate.
type EnrolRequest struct {
	Kind     string `msgpack:"k"` // pki.KindAgent or KindUser
	Name     string `msgpack:"n"`
	Machine  string `msgpack:"m"`
	Token    string `msgpack:"t"` // the secret part; empty: wait for approval
	Request  []byte `msgpack:"r"` // certificate request, DER
	Protocol int    `msgpack:"p"`
	Version  string `msgpack:"v"`
	Host     string `msgpack:"h"` // what it calls itself, for people
}

// EnrolReply is a certificate, or none yet.
type EnrolReply struct {
	Pending   bool   `msgpack:"p"`
	Cert      []byte `msgpack:"c"`
	Authority []byte `msgpack:"a"`
}

// RenewRequest asks for another certificate for the same name.
type RenewRequest struct {
	Request []byte `msgpack:"r"`
}

// ToMaster is what an agent says on its stream. The first has Hello.
type ToMaster struct {
	Hello *Hello `msgpack:"h,omitempty"`
	Beat  *Beat  `msgpack:"b,omitempty"`
}

// Hello is the first message of an agent.
type Hello struct {
	Protocol int    `msgpack:"p"`
	Version  string `msgpack:"v"`
	Machine  string `msgpack:"m"`
	Instance string `msgpack:"i"` // of this process
	Ticket   string `msgpack:"t"` // that the last Welcome brought
	Host     string `msgpack:"h"`
	Platform string `msgpack:"f"` // os/arch
	User     string `msgpack:"u"`
	Boot     string `msgpack:"b"`
}

// Beat says that an agent is there, and how busy.
type Beat struct {
	Load   float64 `msgpack:"l"` // of the last minute, divided by processors
	Works  int     `msgpack:"w"` // commands under way
	Ticket string  `msgpack:"t"` // that it has on its disk
}

// ToAgent is what a master says on an agent's stream. The first has Welcome.
type ToAgent struct {
	Welcome *Welcome `msgpack:"w,omitempty"`
	Open    *Open    `msgpack:"o,omitempty"`
	Cancel  string   `msgpack:"c,omitempty"` // the ID of a job that nobody waits for any more
	Leave   *Leave   `msgpack:"l,omitempty"`
	// Neither of them: a beat.
}

// Welcome is the first message of a master.
type Welcome struct {
	Protocol int           `msgpack:"p"`
	Version  string        `msgpack:"v"`
	Now      time.Time     `msgpack:"n"`
	Beat     time.Duration `msgpack:"b"` // how often each side says something
	Misses   int           `msgpack:"s"`
	Ticket   string        `msgpack:"t"`
}

// Open asks an agent to carry one command: it opens a stream and names ID first.
type Open struct {
	ID      string    `msgpack:"i"` // never used twice
	Expires time.Time `msgpack:"e"` // by the master's clock
	Job     Job       `msgpack:"j"`
}

// Leave asks an agent to end its stream: to come back (the master ends), or not.
type Leave struct {
	Stop   bool   `msgpack:"s"`
	Reason string `msgpack:"r"`
}

// The things one can do on a host.
const (
	JobStart    = "start"
	JobUpload   = "upload"
	JobDownload = "download"
)

// Job is one operation of a connection.Conn.
type Job struct {
	Kind     string   `msgpack:"k"`
	Argv     []string `msgpack:"a,omitempty"`
	Line     string   `msgpack:"l,omitempty"`
	Terminal bool     `msgpack:"t,omitempty"`
	Path     string   `msgpack:"p,omitempty"`
	Mode     uint32   `msgpack:"m,omitempty"`
	Size     int64    `msgpack:"s,omitempty"`
}

// RunRequest is the first thing a controller says when it starts a job.
type RunRequest struct {
	Agent string `msgpack:"n"`
	Link  string `msgpack:"l"` // of the agent, as Reached named it
	Stack string `msgpack:"s,omitempty"`
	Job   Job    `msgpack:"j"`
}

// CarryRequest is the first thing an agent says on the stream of a job.
type CarryRequest struct {
	ID string `msgpack:"i"`
}

// ReachRequest asks for the way to an agent.
type ReachRequest struct {
	Agent string `msgpack:"n"`
	Stack string `msgpack:"s,omitempty"` // of the run that asks, by its own account
}

// Reached is said at once when the agent is there, and again as a beat.
type Reached struct {
	Link string        `msgpack:"l"`
	Beat time.Duration `msgpack:"b"`
}

// ended is how a job came to its end.
type ended struct {
	Code   int    `msgpack:"c"`
	Signal string `msgpack:"s,omitempty"`
	Err    string `msgpack:"e,omitempty"` // it was none of the command's own
	Kind   string `msgpack:"k,omitempty"` // of Err
	Want   int64  `msgpack:"w,omitempty"`
	Got    int64  `msgpack:"g,omitempty"`
}

// The kinds of ended.Err.
const (
	errNotExist = "not-exist"
	errDenied   = "denied"
	errSize     = "size"
	errStart    = "start"
)

// Status is what a master knows about an agent.
type Status struct {
	Name     string    `msgpack:"n" json:"name"`
	State    string    `msgpack:"s" json:"status"`
	Address  string    `msgpack:"a" json:"address"`
	LastBeat time.Time `msgpack:"b" json:"last_heartbeat"`
	Version  string    `msgpack:"v" json:"version"`
	Host     string    `msgpack:"h" json:"host"`
	Platform string    `msgpack:"f" json:"platform"`
	User     string    `msgpack:"u" json:"user"`
	Load     float64   `msgpack:"l" json:"load"`
	Works    int       `msgpack:"w" json:"commands"`
	Since    time.Time `msgpack:"i" json:"connected_since"`
	Until    time.Time `msgpack:"x" json:"certificate_until"`
	Meeting  string    `msgpack:"m" json:"fingerprint"`
	Reason   string    `msgpack:"r" json:"reason,omitempty"`
	Master   string    `msgpack:"y,omitempty" json:"master,omitempty"` // that has its stream, where there are several
}

// The states of an agent.
const (
	StatePending      = "Pending"
	StateActive       = "Active"
	StateReconnecting = "Reconnecting"
	StateLost         = "Lost"
	StateRefused      = "Refused" // its identity is used by two machines
)

// Name is a request about one agent, user or token.
type Name struct {
	Name        string `msgpack:"n"`
	Fingerprint string `msgpack:"f,omitempty"` // Approve: what was compared; empty: nothing was
	Kind        string `msgpack:"k,omitempty"` // Delete: agent, user or token
	Reason      string `msgpack:"r,omitempty"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Kind    string        `msgpack:"k"`
	Pattern string        `msgpack:"n"` // names that it is good for
	Life    time.Duration `msgpack:"l"`
	Role    string        `msgpack:"r"`           // of a user
	Hosts   string        `msgpack:"h"`           // that a user may reach
	Allow   string        `msgpack:"a,omitempty"` // STACKS@HOSTS;…: for runs in these stacks alone
}

// TokenInfo is a token, without its secret but for once.
type TokenInfo struct {
	Text    string    `msgpack:"t" json:"token,omitempty"`
	ID      string    `msgpack:"i" json:"id"`
	Kind    string    `msgpack:"k" json:"kind"`
	Pattern string    `msgpack:"n" json:"pattern"`
	Expires time.Time `msgpack:"x" json:"expires"`
	Role    string    `msgpack:"r" json:"role,omitempty"`
	Hosts   string    `msgpack:"h" json:"hosts,omitempty"`
	Allow   string    `msgpack:"a,omitempty" json:"allow,omitempty"`
}

// Me is who a controller is for a master.
type Me struct {
	Name    string    `msgpack:"n"`
	Role    string    `msgpack:"r"`
	Hosts   string    `msgpack:"h"`
	Allow   string    `msgpack:"a,omitempty"`
	Until   time.Time `msgpack:"u"`
	Version string    `msgpack:"v"`
}

// Nothing is an empty request or reply.
type Nothing struct{}
