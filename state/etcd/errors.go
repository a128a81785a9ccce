package etcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/state"
)

// NewerError is a store of a later version of sloth.
type NewerError struct {
	Place      *Place
	Has, Known int
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("state %s was written by a newer sloth: it has schema %d, this one knows up to %d", e.Place, e.Has, e.Known)
}

// Hint is what to do next.
func (e *NewerError) Hint() string {
	return "Nothing was changed: use that version or a newer one, or another prefix."
}

// ForeignError is a key under the store's prefix that sloth did not write.
type ForeignError struct {
	Place *Place
	Key   string
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("state %s: the key %q was not written by sloth", e.Place, e.Key)
}

// Hint is what to do next.
func (e *ForeignError) Hint() string {
	return fmt.Sprintf("Use another prefix, or remove it: etcdctl del %q", e.Key)
}

// RefusedError is a cluster that answers, but not as asked.
type RefusedError struct {
	Place *Place
	Why   string
	Err   error
	hint  string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("state %s: %s", e.Place, e.Why) }

// Unwrap returns the cluster's own words.
func (e *RefusedError) Unwrap() error { return e.Err }

// Hint is what to do next.
func (e *RefusedError) Hint() string { return e.hint }

// NoAnswerError is a cluster that did not answer in time: too few of its nodes
// are well, or they cannot be reached.
type NoAnswerError struct {
	Place *Place
	// Answer is how many of the place's hosts were reached afterwards, Led how
	// many of those know a leader.
	Answer, Led int
	Waited      time.Duration
	Err         error
}

func (e *NoAnswerError) Error() string {
	n := len(e.Place.Hosts)
	if e.Answer > 0 && e.Led == 0 {
		return fmt.Sprintf("state %s has no quorum: %d of %d hosts answer and know no leader, waited %s", e.Place, e.Answer, n, e.Waited.Round(100*time.Millisecond))
	}
	return fmt.Sprintf("state %s does not answer: %d of %d hosts were reached, waited %s: %s", e.Place, e.Answer, n, e.Waited.Round(100*time.Millisecond), plain(e.Err))
}

// Unwrap returns the last attempt's error.
func (e *NoAnswerError) Unwrap() error { return e.Err }

// Hint is what to do next.
func (e *NoAnswerError) Hint() string {
	if e.Answer > 0 && e.Led == 0 {
		return "More than half of the nodes must run and reach each other: etcdctl endpoint status --cluster"
	}
	return "Are the hosts and ports right, does etcd run there, and does it want TLS (tls=true, ca=, cert=, key=)?"
}

// plain takes a status's code off an error's text.
func plain(err error) string {
	if err == nil {
		return "no answer"
	}
	if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
		return st.Message()
	}
	return err.Error()
}

// final are answers that asking again does not change.
func (s *Store) final(err error) error {
	p := s.opt.Place
	refused := func(hint, format string, args ...any) error {
		return &RefusedError{Place: p, Why: fmt.Sprintf(format, args...), Err: err, hint: hint}
	}
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return refused("Check the name, and the password in the password file.", "it refused the user %q: wrong name or password", p.User)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return refused("Add user=NAME&password-file=FILE to the address.", "it wants a user and a password")
	case errors.Is(err, rpctypes.ErrAuthNotEnabled):
		return refused("Leave user out of the address.", "it knows no users, and was given the user %q", p.User)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return refused(fmt.Sprintf("Grant it: etcdctl role grant-permission ROLE readwrite --prefix=true %s/", p.Prefix), "the user %q may not read and write under %s/", p.User, p.Prefix)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return refused("Raise it to 1572864 or more, which is etcd's own default.", "the write is over the cluster's limit for a request, --max-request-bytes")
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return refused("Raise it to 128 or more, which is etcd's own default.", "the transaction is over the cluster's limit, --max-txn-ops")
	case errors.Is(err, rpctypes.ErrNoSpace):
		return refused("Make room: etcdctl compact, etcdctl defrag, then etcdctl alarm disarm; or raise --quota-backend-bytes.", "its database is full, nothing was written")
	case errors.Is(err, rpctypes.ErrCorrupt):
		return refused("Replace that node; etcdctl alarm list names it.", "a node found its data damaged and refuses to work")
	}
	text := plain(err)
	_, handshake, failed := strings.Cut(text, "authentication handshake failed")
	switch {
	case failed:
		return refused("Name its authority with ca=FILE, its hosts as its certificate does, and your certificate with cert= and key= where it wants one.",
			"no trusted connection: authentication handshake failed%s", handshake)
	case !transient(err):
		return refused("", "%s", text)
	}
	return nil
}

// transient reports whether the same question may be answered later.
func transient(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	var e rpctypes.EtcdError
	code := codes.Unknown
	if errors.As(err, &e) {
		code = e.Code()
	} else if st, ok := status.FromError(err); ok {
		code = st.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled, codes.Aborted:
		return true
	case codes.ResourceExhausted:
		return errors.Is(err, rpctypes.ErrTooManyRequests)
	case codes.Unknown:
		// Older servers have no code for these.
		for _, text := range []string{"proposal dropped", "EOF", "context deadline exceeded", "context canceled"} {
			if strings.Contains(err.Error(), text) {
				return true
			}
		}
	}
	return false
}

// try runs fn until it is answered, up to the timeout.
func (s *Store) try(ctx context.Context, fn func(context.Context) error) error {
	start := time.Now()
	all, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	limit := attempt
	for pause := pauseFirst; ; pause = min(pause*2, pauseLast) {
		one, done := context.WithTimeout(all, limit)
		limit *= 2
		err := fn(one)
		if one.Err() == nil {
			limit /= 2 // it failed at once: nobody was silent
		}
		done()
		switch {
		case err == nil, ours(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case s.isClosed():
			return state.ErrClosed
		}
		if final := s.final(err); final != nil {
			return final
		}
		t := time.NewTimer(pause/2 + rand.N(pause))
		select {
		case <-t.C:
			continue
		case <-all.Done():
			t.Stop()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n := &NoAnswerError{Place: s.opt.Place, Waited: time.Since(start), Err: err}
		n.Answer, n.Led = s.ask(ctx)
		return n
	}
}

// ours reports whether err is an answer of this package.
func ours(err error) bool {
	for _, e := range []error{state.ErrNotFound, state.ErrConflict, state.ErrUnknown, state.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	var newer *NewerError
	var foreign *ForeignError
	return errors.As(err, &newer) || errors.As(err, &foreign)
}

const statusAnswer = time.Second

// ask looks which hosts answer, and which of them know a leader.
func (s *Store) ask(ctx context.Context) (answer, led int) {
	s.mu.Lock()
	c := s.client
	s.mu.Unlock()
	if c == nil {
		return 0, 0
	}
	ctx, cancel := context.WithTimeout(ctx, statusAnswer)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, h := range c.Endpoints() {
		wg.Go(func() {
			r, err := c.Status(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				answer++
				if r.Leader != 0 {
					led++
				}
			case !transient(err):
				answer++
			}
		})
	}
	wg.Wait()
	return answer, led
}
