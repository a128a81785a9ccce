package shim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// How a broken link is tried again.
const (
	reconnectFor  = 2 * time.Minute
	firstWait     = 200 * time.Millisecond
	longestWait   = 5 * time.Second
	greetTimeout  = 15 * time.Second
	redialTimeout = 30 * time.Second
)

// Lost is the end of a job whose worker is gone. What it had begun is in Found.
type Lost struct {
	Host string
	// Found are the steps that had begun, as the worker's journal has them; a
	// step that is not there had not begun.
	Found []wire.Found
	// Blind says that there is no journal: nothing is known.
	Blind bool
	// Rebooted says that the host was started anew meanwhile.
	Rebooted bool
	// Ends says that logind ended the worker with the session of its login.
	Ends  bool
	Cause error // of the end, as far as it is known
}

func (l *Lost) Error() string {
	what := "the worker is gone"
	if l.Rebooted {
		what = "the host was restarted"
	}
	if l.Cause == nil {
		return what
	}
	return fmt.Sprintf("%s: %v", what, l.Cause)
}

// Unwrap returns the cause.
func (l *Lost) Unwrap() error { return l.Cause }

// worthwhile reports whether coming back may help against err.
func (s *Session) worthwhile(err error) bool {
	s.mu.Lock()
	leaving := s.leaving
	s.mu.Unlock()
	var c *connection.Error
	return s.durable() && !leaving && s.ctx.Err() == nil && !errors.Is(err, wire.ErrProtocol) && !errors.Is(err, errRefused) &&
		errors.As(err, &c) && (c.Class != connection.ClassShim || s.greeted() || s.cutOff())
}

func (s *Session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// cutOff reports whether it was the connection that failed, whatever was being
// done over it.
func (s *Session) cutOff() bool {
	d, ok := s.conn.(interface{ Done() <-chan struct{} })
	if !ok {
		return false
	}
	select {
	case <-d.Done():
		return true
	default:
		return false
	}
}

// greeted reports whether a worker has spoken already.
func (s *Session) greeted() bool {
	select {
	case <-s.welcome:
		return true
	default:
		return false
	}
}

// reattach comes back after the link broke for cause: to the worker, if it
// lives, else to what it left.
func (s *Session) reattach(cause error, hash string) (*process, error) {
	s.out.park()
	if s.opt.Link != nil && cause != nil && !s.isClosed() {
		s.opt.Link(cause)
	}
	limit := s.opt.ReconnectFor
	if limit <= 0 {
		limit = reconnectFor
	}
	s.mu.Lock()
	restart := s.restart > 0
	limit = max(limit, s.restart)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		p, err := s.back(ctx, cause, hash)
		if err == nil {
			if s.opt.Link != nil && cause != nil && !s.isClosed() {
				s.opt.Link(nil)
			}
			return p, nil
		}
		if s.ctx.Err() != nil {
			return nil, context.Cause(s.ctx)
		}
		// While a host comes up it may refuse everybody but root.
		if final(err) && (!restart || !refusedLogin(err)) {
			return nil, err
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2)): //nolint:gosec // so that not all come at once
		case <-ctx.Done():
			if s.ctx.Err() != nil {
				return nil, context.Cause(s.ctx)
			}
			return nil, &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "come back to the worker",
				Err:  fmt.Errorf("no success within %s: %w", limit, err),
				Hint: "What had begun goes on there. Once the host answers, `sloth apply --resume` finds out and goes on."}
		}
	}
}

func refusedLogin(err error) bool {
	var c *connection.Error
	return errors.As(err, &c) && c.Class == connection.ClassAuth
}

// errRefused says that the worker, or what is left of one, will not go on with
// this run.
var errRefused = errors.New("refused")

// final reports whether trying again cannot help.
func final(err error) bool {
	var c *connection.Error
	return errors.Is(err, errRefused) || errors.Is(err, wire.ErrProtocol) ||
		errors.As(err, &c) && (c.Class == connection.ClassHostKey || c.Class == connection.ClassAuth)
}

func (s *Session) refused(w wire.Welcome) error {
	return &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "go on with run " + s.opt.RunID,
		Err: fmt.Errorf("%w: %s", errRefused, connection.Printable(w.Refused, 500)), Hint: "Nothing was executed. Look at the host; a new run does not depend on what is left of this one."}
}

// back makes one attempt to have a link again.
func (s *Session) back(ctx context.Context, cause error, hash string) (*process, error) {
	conn := s.conn
	if cause != nil || s.cutOff() {
		var err error
		dial, stop := context.WithTimeout(ctx, redialTimeout)
		conn, err = s.opt.Redial(dial, s.conn)
		stop()
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	// A phase that takes too long ends this attempt, not the session.
	s.limit.Stop()
	s.tooLate = func() { conn.Close() }
	s.again = true
	defer s.limit.Stop()
	p, err := s.start(nil, hash, true)
	attach := err == nil
	if errors.Is(err, errNoRun) && s.isClosed() {
		return nil, fmt.Errorf("%w: it has ended", errRefused) // there is nobody left to tell
	}
	if errors.Is(err, errNoRun) {
		p, err = s.start(nil, hash, false)
	}
	if err != nil {
		return nil, err
	}
	p.wire = newLink(p)
	w, err := s.meet(ctx, p)
	if err == nil {
		err = s.same(w, attach)
	}
	if err == nil {
		err = s.takeUp(p, w, cause)
	}
	if err != nil {
		p.kill()
		_ = p.finish()
		return nil, err
	}
	return p, nil
}

// meet says hello on a new link and waits for the answer.
func (s *Session) meet(ctx context.Context, p *process) (wire.Welcome, error) {
	late := time.AfterFunc(greetTimeout, p.kill)
	defer late.Stop()
	if err := p.wire.Send(ctx, wire.KindHello, s.hello(true)); err != nil {
		return wire.Welcome{}, err
	}
	for {
		kind, body, err := p.wire.Receive()
		switch {
		case err != nil:
			return wire.Welcome{}, fmt.Errorf("wait for the worker's first word: %w", err)
		case kind == wire.KindWelcome:
			return decodeWelcome(body)
		case kind != wire.KindPing:
			return wire.Welcome{}, fmt.Errorf("%w: a %s before welcome", wire.ErrProtocol, kind)
		}
	}
}

// same refuses to go on where this is another machine, or another's run.
func (s *Session) same(w wire.Welcome, attach bool) error {
	switch {
	case w.Busy:
		return errors.New(w.Refused) // its worker was about to end, or to listen
	case w.Refused != "":
		return s.refused(w)
	case attach != w.Attached:
		return fmt.Errorf("%w: attached: %v", wire.ErrProtocol, w.Attached)
	}
	was := s.greet.MachineID
	switch {
	case s.greeted():
	case s.opt.Expect != nil:
		was = s.opt.Expect.MachineID
	default:
		return nil
	}
	if was != w.MachineID {
		return &connection.Error{Class: connection.ClassHostKey, Host: s.opt.Host, Op: "come back to the worker",
			Err: fmt.Errorf("%w: this is another machine: its id was %.40q and is %.40q", errRefused, was, w.MachineID), Hint: "An address was given to another host, or a load balancer stands between. Nothing was executed there."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !w.Attached && len(w.Found) > 0 && w.Records < s.records {
		return &connection.Error{Class: connection.ClassShim, Host: s.opt.Host, Op: "read the journal of " + s.opt.RunID,
			Err: fmt.Errorf("%w: it had %d records and has %d: it was cut", errRefused, s.records, w.Records), Hint: "Nothing more was executed. Look into that host."}
	}
	return nil
}

// takeUp makes p the session's link and tells the worker what it does not know.
func (s *Session) takeUp(p *process, w wire.Welcome, cause error) error {
	first := s.greet
	s.met(w)
	s.mu.Lock()
	if !s.greeted() {
		s.greet = w
		close(s.welcome)
	}
	s.mu.Unlock()
	return s.out.resume(p.wire, func() error {
		if w.Attached {
			s.mu.Lock()
			s.seq = max(s.seq, w.Acked)
			s.mu.Unlock()
		} else {
			s.succeed(first, w, cause)
		}
		if err := s.retell(p, w); err != nil {
			return err
		}
		s.mu.Lock()
		s.proc = p
		s.acked = 0
		close(s.turned)
		s.turned = make(chan struct{})
		s.mu.Unlock()
		select {
		case <-s.started:
		default:
			close(s.started)
			s.wg.Go(s.heartbeat)
		}
		return nil
	})
}

// succeed ends the jobs of a worker that is gone; another one is in its place.
func (s *Session) succeed(before, w wire.Welcome, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &Lost{Host: s.opt.Host, Found: w.Found, Cause: cause, Rebooted: before.BootID != "" && before.BootID != w.BootID, Ends: w.Ends}
	l.Blind = len(w.Found) == 0 && (w.Records < s.records || w.Unkept != "" || before.Unkept != "")
	// Where no worker had spoken and none has left anything, nothing was given.
	fresh := before.PID == 0 && len(w.Found) == 0 && w.Records <= 1 && w.Unkept == ""
	// A journal that was there is gone.
	l.Blind = l.Blind || w.Fresh && (before.Kept != "" || before.Version == 0 && s.opt.Expect != nil && s.opt.Expect.Kept)
	for id, p := range s.jobs {
		if !p.sent || fresh && !p.adopted {
			continue
		}
		delete(s.owed, id)
		end := *l
		// What this controller gave nobody before, nobody had begun.
		end.Blind = l.Blind && (p.adopted || before.Version != 0)
		select {
		case p.gone <- &end:
		default:
		}
	}
	s.seq, s.acked, s.heard, s.records = 0, 0, 0, w.Records
	s.served.reset()
	s.greet = w
}

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// retell sends what may have got lost with the last link.
func (s *Session) retell(p *process, w wire.Welcome) error {
	there, known := setOf(w.Blobs), setOf(w.Jobs)
	s.blobsMu.Lock()
	type content struct {
		hash string
		data []byte
	}
	var missing []content
	for hash, data := range s.blobs {
		if !there[hash] {
			missing = append(missing, content{hash, data})
		}
	}
	s.blobsMu.Unlock()
	for _, b := range missing {
		if err := p.wire.Send(s.ctx, wire.KindBlob, wire.Blob{Hash: b.hash, Data: b.data}); err != nil {
			return err
		}
	}
	s.mu.Lock()
	var messages []wire.Message
	var cancels []wire.Cancel
	for id, j := range s.jobs {
		if !s.owed[id] || !j.sent {
			continue
		}
		switch {
		case !known[id] && j.adopted: // it never arrived
			delete(s.owed, id)
			j.gone <- &Lost{Host: s.opt.Host, Cause: errors.New("the job was never given")}
			continue
		case !known[id]:
			messages = append(messages, j.m)
		}
		cancels = append(cancels, j.cancels...)
	}
	s.mu.Unlock()
	for _, m := range messages {
		if err := p.wire.Post(s.ctx, m); err != nil {
			return err
		}
	}
	for _, c := range cancels {
		if err := p.wire.Send(s.ctx, wire.KindCancel, c); err != nil {
			return err
		}
	}
	if s.isClosed() {
		return s.farewell(p.wire)
	}
	return nil
}
