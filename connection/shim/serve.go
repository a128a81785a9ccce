package shim

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// Limits on what a host may ask for at once.
const (
	maxCalls    = 32   // that are served at the same time
	maxWaiting  = 2000 // that are served or wait for it
	callTimeout = 10 * time.Minute
)

// long names the services whose calls take as long as somebody else's work or a
// transfer: they end with their job, and others do not wait for them.
var long = map[string]bool{"run": true, "file": true, "flush": true, "assert": true}

type callKey struct{}

// CallID names the call that a Handler serves, for good: one that comes again
// after a broken link, or to another controller, has the same name.
func CallID(ctx context.Context) string {
	id, _ := ctx.Value(callKey{}).(string)
	return id
}

// receive serves everything the worker says until the link ends.
func (s *Session) receive(p *process) error {
	for {
		s.reading.Store(int64(max(1, time.Since(s.began)))) // clocks may be set, time goes on
		kind, body, err := p.wire.Receive()
		s.reading.Store(0)
		if err != nil {
			return err
		}
		if err := s.handle(p, kind, body); err != nil {
			return err
		}
	}
}

func (s *Session) handle(link *process, kind wire.Kind, body []byte) error {
	switch kind {
	case wire.KindWelcome:
		return s.welcomed(body)
	case wire.KindEvent:
		var e wire.Event
		if err := wire.Decode(kind, body, &e); err != nil {
			return err
		}
		if err := s.follows(e.Seq, e.Records); err != nil {
			return err
		}
		defer s.confirm(len(body))
		if p := s.job(e.Job); p != nil {
			p.mu.Lock()
			defer p.mu.Unlock()
			if !p.over {
				p.h.Event(e.Kind, e.Body)
			}
		}
	case wire.KindDone:
		var d wire.Done
		if err := wire.Decode(kind, body, &d); err != nil {
			return err
		}
		if err := s.follows(d.Seq, 0); err != nil {
			return err
		}
		defer s.confirm(maxUnconfirmed)
		// Nobody may wait any more for the end of a job that was cancelled.
		s.mu.Lock()
		p, owed := s.jobs[d.Job], s.owed[d.Job]
		delete(s.owed, d.Job)
		s.mu.Unlock()
		if !owed {
			return fmt.Errorf("%w: a result of job %.40q, which has none to give", wire.ErrProtocol, d.Job)
		}
		if p != nil {
			if k, ok := p.h.(Keeper); ok {
				k.Keep(d.Body, d.Err != "")
			}
			p.done <- d
		}
	case wire.KindCall:
		var c wire.Call
		if err := wire.Decode(kind, body, &c); err != nil {
			return err
		}
		return s.serve(link, c)
	case wire.KindPing:
		return s.send(s.ctx, wire.KindPong, nil)
	case wire.KindPong:
	default:
		return fmt.Errorf("%w: a %s from a worker", wire.ErrProtocol, kind)
	}
	return nil
}

// How much may be unconfirmed before a word is sent about it.
const (
	maxUnconfirmed = 512 << 10 // bytes
	maxUnheard     = 1000      // events
)

// follows takes the number of the next event or result. Numbers have no gap.
func (s *Session) follows(seq, records uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq != s.seq+1 {
		return fmt.Errorf("%w: event %d came after event %d", wire.ErrProtocol, seq, s.seq)
	}
	s.seq = seq
	s.records = max(s.records, records)
	return nil
}

// confirm tells the worker what has been dealt with, so that it may forget it.
func (s *Session) confirm(size int) {
	if s.opt.Durable == nil {
		return
	}
	s.mu.Lock()
	s.heard += size
	due := s.seq > s.acked && (s.heard >= maxUnconfirmed || s.seq-s.acked >= maxUnheard)
	seq := s.seq
	if due {
		s.acked, s.heard = seq, 0
	}
	s.mu.Unlock()
	if due && (s.opt.Settle == nil || s.opt.Settle() == nil) {
		_ = s.send(s.ctx, wire.KindAck, wire.Ack{Seq: seq}) // a broken link ends by itself
	}
}

// welcomed takes the first word of the first worker.
func (s *Session) welcomed(body []byte) error {
	w, err := decodeWelcome(body)
	if err != nil {
		return err
	}
	select {
	case <-s.welcome:
		return fmt.Errorf("%w: the worker said welcome twice", wire.ErrProtocol)
	default:
	}
	s.limit.Stop()
	if w.Refused != "" {
		return s.refused(w)
	}
	s.mu.Lock()
	s.greet = w
	s.records = w.Records
	s.mu.Unlock()
	s.met(w)
	close(s.welcome)
	return nil
}

func (s *Session) met(w wire.Welcome) {
	if s.opt.Met != nil {
		s.opt.Met(w)
	}
}

func decodeWelcome(body []byte) (wire.Welcome, error) {
	var w wire.Welcome
	if err := wire.Decode(wire.KindWelcome, body, &w); err != nil {
		return w, err
	}
	if w.Version != wire.Version {
		return w, fmt.Errorf("%w: the worker speaks version %d, this is version %d", wire.ErrProtocol, w.Version, wire.Version)
	}
	return w, nil
}

func (s *Session) job(id string) *pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[id]
}

// serve answers a call in a goroutine of its own, so that the answer to one may
// depend on what comes later.
func (s *Session) serve(link *process, c wire.Call) error {
	again, known := s.served.begin(c, s.opt.Durable != nil)
	if again != nil {
		return s.send(s.ctx, wire.KindReply, *again)
	}
	if known {
		return nil // its answer is on the way
	}
	if s.calls.Add(1) > maxWaiting {
		return fmt.Errorf("%w: more than %d calls at once", wire.ErrProtocol, maxWaiting)
	}
	s.wg.Go(func() {
		defer s.calls.Add(-1)
		r := wire.Reply{ID: c.ID}
		body, err := s.answer(link, c)
		if err != nil {
			r.Err = err.Error()
			if r.Err == "" {
				r.Err = "it failed without saying why"
			}
		} else {
			r.Body = body
		}
		m, err := wire.Encode(wire.KindReply, r)
		if err != nil {
			r = wire.Reply{ID: c.ID, Err: err.Error()} // too large
		}
		s.served.end(c, r)
		if err != nil {
			_ = s.send(s.ctx, wire.KindReply, r) // a broken link ends by itself
			return
		}
		_ = s.post(s.ctx, m, nil)
	})
	return nil
}

func (s *Session) answer(link *process, c wire.Call) ([]byte, error) {
	p := s.job(c.Job)
	if p == nil {
		return nil, errors.New("this job is not under way")
	}
	ctx := p.ctx
	if !long[c.Service] {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTimeout)
		defer cancel()
	}
	stop := context.AfterFunc(s.ctx, p.cancel)
	defer stop()
	s.mu.Lock()
	worker := sha256.Sum256(fmt.Appendf(nil, "%s %d", s.greet.BootID, s.greet.PID))
	s.mu.Unlock()
	ctx = context.WithValue(ctx, callKey{}, fmt.Sprintf("%x-%d", worker[:6], c.ID))
	if c.Stream != 0 {
		out, err := link.wire.Outgoing(c.Stream)
		if err != nil {
			return nil, err
		}
		defer out.Close()
		out.Skip(c.Skip)
		ctx = wire.WithStream(ctx, out)
	}
	return p.h.Call(ctx, c.Service, c.Body)
}

// heartbeat keeps the link in use and notices when the other side is silent.
func (s *Session) heartbeat() {
	tick := time.NewTicker(min(beat, s.opt.Silence/3))
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.ended:
			return
		case <-tick.C:
			s.mu.Lock()
			p := s.proc
			s.mu.Unlock()
			// While a handler is busy nothing is read, and nothing can be heard.
			quiet := p.wire.Quiet()
			since := s.reading.Load()
			if since != 0 && quiet > s.opt.Silence && time.Since(s.began)-time.Duration(since) > s.opt.Silence && p.lost.Load() == nil {
				var err error = &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "talk to the worker",
					Err: fmt.Errorf("silent for %s", quiet.Round(time.Second)), Hint: "Is the host up, and the network between?"}
				if !s.durable() {
					s.cancel(err)
					return
				}
				p.lost.Store(&err)
				s.wg.Go(func() { p.conn.Close() }) // nothing else ends a reading that hears nothing
				continue
			}
			s.confirm(maxUnconfirmed)
			_ = s.send(s.ctx, wire.KindPing, nil) // a broken link ends the session by itself
		}
	}
}
