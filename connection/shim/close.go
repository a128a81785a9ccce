package shim

import (
	"context"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// AwaitRestart waits until the host, which is about to be restarted, has come
// back with another boot id, for at most limit. The session goes on with it.
func (s *Session) AwaitRestart(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s.mu.Lock()
	s.restart = limit
	before := s.greet.BootID
	s.mu.Unlock()
	defer func() { s.mu.Lock(); s.restart = 0; s.mu.Unlock() }()
	for {
		s.mu.Lock()
		now, turned := s.greet.BootID, s.turned
		s.mu.Unlock()
		if now != before {
			return nil
		}
		select {
		case <-turned:
		case <-s.ctx.Done():
			return s.lost(s.ctx, context.Cause(s.ctx))
		case <-ctx.Done():
			return &connection.Error{Class: connection.ClassTCP, Host: s.opt.Host, Op: "wait for the restart",
				Err: fmt.Errorf("the host has not come back with another boot id within %s", limit), Hint: "Look at its console. `sloth runs resume` goes on with the run."}
		}
	}
}

// Leave ends the session and lets a durable run go on without it.
func (s *Session) Leave() error {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	return s.Close()
}

// Close lets the worker end, with what it still runs, and waits for what belongs
// to the session. The connection stays open. Another Close waits too.
func (s *Session) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	if !again {
		s.bye()
	}
	s.wg.Wait()
	return nil
}

// farewell tells a worker on a new link that everything has arrived and nothing
// follows.
func (s *Session) farewell(w *wire.Conn) error {
	s.mu.Lock()
	seq := s.seq
	s.mu.Unlock()
	if s.opt.Settle == nil || s.opt.Settle() == nil {
		if err := w.Send(s.ctx, wire.KindAck, wire.Ack{Seq: seq}); err != nil {
			return err
		}
	}
	return w.Send(s.ctx, wire.KindBye, nil)
}

func (s *Session) bye() {
	select {
	case <-s.started:
	default:
		s.cancel(wire.ErrClosed) // nothing has begun that would have to end well
		return
	}
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	s.mu.Lock()
	seq := s.seq
	leaving := s.leaving
	s.mu.Unlock()
	if s.opt.Settle == nil || s.opt.Settle() == nil {
		_ = s.send(s.ctx, wire.KindAck, wire.Ack{Seq: seq})
	}
	if leaving {
		s.cancel(wire.ErrClosed)
		return
	}
	if s.send(s.ctx, wire.KindBye, nil) == nil {
		select {
		case <-s.ended:
		case <-s.ctx.Done():
		case <-grace.C: // then its connection ends it
		}
	}
	s.cancel(wire.ErrClosed)
}
