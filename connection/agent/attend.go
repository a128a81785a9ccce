package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
)

// Options say what an agent is. The zero value of a duration is its default.
type Options struct {
	Masters []string // addresses, tried in turn
	Keep    *Keep
	Host    connection.Conn // this machine, on which the jobs are done
	Hello   Hello           // what it says of itself; instance and ticket are filled in
	Load    func() float64  // nil: nobody knows
	Log     func(format string, args ...any)

	Registered func(master string) // hears of every welcome; nil: nobody does

	First, Longest time.Duration // waits between attempts: 5 s, doubled up to 60 s
	Connect        time.Duration // limit of one attempt: 10 s
}

// Agent keeps a stream open to a master and does what comes over it.
type Agent struct {
	o     Options
	carry carrier
	mu    sync.Mutex
	jobs  map[string]context.CancelFunc
	seen  map[string]time.Time // jobs that were opened, until they have expired
	state string
}

// errLeave says that the master wants this agent to stop.
var errLeave = errors.New("the master stopped this agent")

// New returns an agent that is enrolled already.
func New(o Options) *Agent {
	if o.First <= 0 {
		o.First = 5 * time.Second
	}
	if o.Longest <= 0 {
		o.Longest = time.Minute
	}
	if o.Connect <= 0 {
		o.Connect = connectLimit
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) //nolint:gosec // crypto/rand, which never fails
	o.Hello.Instance, o.Hello.Protocol = hex.EncodeToString(b[:]), Protocol
	return &Agent{o: o, carry: carrier{host: o.Host}, jobs: map[string]context.CancelFunc{}, seen: map[string]time.Time{}, state: StateReconnecting}
}

// State is one of StateActive and StateReconnecting.
func (a *Agent) State() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

func (a *Agent) setState(s string) {
	a.mu.Lock()
	a.state = s
	a.mu.Unlock()
}

// Run serves until ctx ends, the master stops the agent (nil), or the master
// will never have it.
func (a *Agent) Run(ctx context.Context) error {
	wait := a.o.First
	for at := 0; ; at++ {
		master := a.o.Masters[at%len(a.o.Masters)]
		began := time.Now()
		up, err := a.attend(ctx, master)
		a.setState(StateReconnecting)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, errLeave):
			a.o.Log("stopped: %v", err)
			return nil
		case final(err):
			a.o.Log("refused by %s: %v", master, err)
			return err
		}
		a.o.Log("Lost connection to %s: %v", master, err)
		if up && time.Since(began) > a.o.Longest {
			wait = a.o.First
		}
		pause := Jitter(wait)
		a.o.Log("Reconnecting in %s", pause.Round(time.Millisecond))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait = min(2*wait, a.o.Longest)
	}
}

// Jitter is a time between a half and all of d: many that lost the same master
// at once must not come back at once.
func Jitter(d time.Duration) time.Duration { return d/2 + randN(max(d/2, 1)) }

// final reports whether coming again can't help.
func final(err error) bool {
	var c *connection.Error
	return errors.As(err, &c) && c.Class != connection.ClassTCP && c.Class != connection.ClassDNS && c.Class != connection.ClassShim
}

// attend keeps one stream. up reports whether the master had welcomed us.
func (a *Agent) attend(ctx context.Context, master string) (up bool, err error) {
	d := a.o.Keep.Dialer(master)
	d.Limit = a.o.Connect
	link, err := d.Dial(ctx)
	if err != nil {
		return false, clockIsTemporary(err)
	}
	defer link.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(a.o.Connect, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := link.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, MethodAttend)
	hello := a.o.Hello
	hello.Ticket = a.o.Keep.Ticket
	if err == nil {
		err = stream.SendMsg(&ToMaster{Hello: &hello})
	}
	var m ToAgent
	if err == nil || errors.Is(err, io.EOF) {
		err = stream.RecvMsg(&m)
	}
	if err != nil {
		if why := link.Rejected(d.Certificate, time.Now(), err); why != nil {
			return false, clockIsTemporary(why)
		}
		return false, a.ended(ctx, master, err)
	}
	w := m.Welcome
	if w == nil || w.Protocol < Floor {
		return false, &connection.Error{Class: connection.ClassChannel, Op: "talk to the master " + master,
			Err: fmt.Errorf("it speaks an older protocol than this agent accepts (%d)", Floor), Hint: "Upgrade the master."}
	}
	if err := a.o.Keep.setTicket(w.Ticket); err != nil {
		return false, err
	}
	w.Beat = min(max(w.Beat, 10*time.Millisecond), time.Hour)
	patience := w.Beat * time.Duration(min(max(w.Misses, 1), 100))
	a.setState(StateActive)
	a.o.Log("registered with %s as %s (sloth %s)", master, a.o.Keep.Name(), w.Version)
	if a.o.Registered != nil {
		a.o.Registered(master)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() { a.beat(ctx, stream, w) })
	wg.Go(func() { a.renew(ctx, link) })
	offset := time.Since(w.Now) // of our clock against the master's
	for {
		silence.Reset(patience)
		var m ToAgent
		if err := stream.RecvMsg(&m); err != nil {
			return true, a.ended(ctx, master, err)
		}
		switch {
		case m.Leave != nil && m.Leave.Stop:
			return true, fmt.Errorf("%w: %s", errLeave, shown(m.Leave.Reason))
		case m.Leave != nil:
			return true, errors.New(shown(m.Leave.Reason))
		case m.Cancel != "":
			a.cancelJob(m.Cancel)
		case m.Open != nil:
			if why := a.admit(m.Open, time.Now().Add(-offset)); why != "" {
				a.o.Log("refused a job: %s", why)
				continue
			}
			jobCtx, end := context.WithCancel(ctx)
			a.mu.Lock()
			a.jobs[m.Open.ID] = end
			a.mu.Unlock()
			wg.Go(func() {
				defer a.cancelJob(m.Open.ID)
				// How a job ended is its controller's to know.
				_ = a.carry.carry(jobCtx, link.ClientConn, m.Open)
			})
		}
	}
}

// admit refuses a job that was seen before, or is too old to be new.
func (a *Agent) admit(o *Open, now time.Time) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, until := range a.seen {
		if now.After(until) {
			delete(a.seen, id)
		}
	}
	switch _, again := a.seen[o.ID]; {
	case len(o.ID) < 16:
		return "it has no proper id"
	case again:
		return "it was given before"
	case now.After(o.Expires):
		return "it has expired"
	case o.Expires.Sub(now) > time.Hour:
		return "it would be valid for too long"
	case len(a.jobs) >= maxJobs:
		return "too many are under way"
	}
	a.seen[o.ID] = o.Expires
	return ""
}

// maxJobs is how many commands may run on a host over its agent at once.
const maxJobs = 1000

func (a *Agent) cancelJob(id string) {
	a.mu.Lock()
	end := a.jobs[id]
	delete(a.jobs, id)
	a.mu.Unlock()
	if end != nil {
		end()
	}
}

func (a *Agent) beat(ctx context.Context, stream grpc.ClientStream, w *Welcome) {
	tick := time.NewTicker(w.Beat)
	defer tick.Stop()
	for {
		b := &Beat{Ticket: w.Ticket}
		if a.o.Load != nil {
			b.Load = a.o.Load()
		}
		a.mu.Lock()
		b.Works = len(a.jobs)
		a.mu.Unlock()
		if err := stream.SendMsg(&ToMaster{Beat: b}); err != nil {
			return // the reader knows why
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// ended explains the end of the stream.
func (a *Agent) ended(ctx context.Context, master string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the master ended it")
	}
	switch status.Code(err) {
	case codes.Unauthenticated, codes.PermissionDenied, codes.FailedPrecondition, codes.InvalidArgument, codes.NotFound:
		return Explain(master, err)
	}
	return &connection.Error{Class: connection.ClassTCP, Op: "talk to the master " + master, Err: errors.New(shown(status.Convert(err).Message()))}
}

// clockIsTemporary lets an agent whose clock is wrong come again: at boot that
// mends itself.
func clockIsTemporary(err error) error {
	var clock *ClockError
	var c *connection.Error
	if errors.As(err, &clock) && errors.As(err, &c) {
		c.Class = connection.ClassTCP
	}
	return err
}
