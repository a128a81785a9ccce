package ssh

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// sessions counts the open sessions of a connection. sshd refuses more than
// MaxSessions without saying how many that are: the first refusal tells, and
// from then on callers wait for a free one.
type sessions struct {
	mu      sync.Mutex
	open    int
	limit   int // 0: not known
	changed chan struct{}
}

// take waits for a free session.
func (s *sessions) take(ctx context.Context, done <-chan struct{}) error {
	for {
		s.mu.Lock()
		if s.limit == 0 || s.open < s.limit {
			s.open++
			s.mu.Unlock()
			return nil
		}
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-done:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// give returns a session.
func (s *sessions) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	s.wake()
}

// refused returns a session that sshd did not open. It reports whether waiting
// for another one to end makes sense.
func (s *sessions) refused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if s.open > 0 {
		s.limit = s.open
	}
	s.wake()
	return s.open > 0
}

func (s *sessions) wake() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// session opens a session channel, waiting for a free one where sshd limits
// them. The caller calls c.sessions.give once the channel is closed.
func (c *Conn) session(ctx context.Context, wait bool) (ssh.Channel, <-chan *ssh.Request, error) {
	for alone := 0; ; {
		if !wait && c.sessions.full() {
			return nil, nil, errors.New("no free session")
		}
		if err := c.sessions.take(ctx, c.done); err != nil {
			if errors.Is(err, errClosed) {
				return nil, nil, c.lost("open a session")
			}
			return nil, nil, err
		}
		ch, reqs, err := c.openChannel(ctx, "session", nil)
		if err == nil {
			return ch, reqs, nil
		}
		var refused *ssh.OpenChannelError
		if !errors.As(err, &refused) {
			c.sessions.give()
			return nil, nil, err
		}
		others := c.sessions.refused()
		if !wait {
			return nil, nil, err
		}
		if others {
			continue
		}
		// Nobody else has one: what we had may be on its way out only.
		if alone++; alone < 3 {
			continue
		}
		return nil, nil, &connection.Error{Class: connection.ClassChannel, Host: c.e.label, Op: "open a session",
			Err: errors.New("the host refuses every session: " + clean(refused.Message)), Hint: "check MaxSessions in its sshd_config"}
	}
}

func (s *sessions) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit > 0 && s.open >= s.limit
}
