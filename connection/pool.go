package connection

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
)

var errPoolClosed = errors.New("the pool is closed")

// PoolOptions shape a Pool. The zero value has no limits beyond those of the
// dial function: it is the SSH dialer that knows addresses, and so holds back
// at sshd's limit of unauthenticated connections and retries what it refused.
type PoolOptions struct {
	// MaxDials is how many connections may be in the making at once, over all
	// hosts; 0 means no limit.
	MaxDials int
}

// Pool keeps one connection per host for the length of a run: everybody who
// asks for the same target gets the same Conn, which many may use at once. A
// connection that broke is dialled anew by the next Get: whoever has seen an
// operation fail with the connection and asks again does not get it back.
type Pool struct {
	dial  func(ctx context.Context, t Target) (Conn, error)
	slots chan struct{}

	mu     sync.Mutex
	conns  map[string]*pooled
	closed bool
	wg     sync.WaitGroup // dials and closes under way
}

// pooled is one connection, or the attempt to make it.
type pooled struct {
	ready chan struct{} // closed once conn or err is set
	conn  Conn
	err   error

	users  int                // Gets that wait; guarded by Pool.mu
	cancel context.CancelFunc // ends the dial when nobody waits any more
}

// NewPool returns an empty pool over dial.
func NewPool(dial func(ctx context.Context, t Target) (Conn, error), o PoolOptions) *Pool {
	p := &Pool{dial: dial, conns: map[string]*pooled{}}
	if o.MaxDials > 0 {
		p.slots = make(chan struct{}, o.MaxDials)
	}
	return p
}

// Get returns the connection to a target, dialling it if need be. Callers of
// the same target share one dial, which goes on as long as one of them waits:
// a caller whose ctx ends takes only itself away. A failed dial is not
// remembered. The connection belongs to the pool: callers don't close it.
func (p *Pool) Get(ctx context.Context, t Target) (Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	key := poolKey(t)
	for {
		c, err := p.join(ctx, key, t)
		if err != nil {
			return nil, err
		}
		select {
		case <-c.ready:
			p.left(c)
		case <-ctx.Done():
			p.left(c)
			return nil, ctx.Err()
		}
		if c.err == nil {
			return c.conn, nil
		}
		// Cancelled because the others had gone, in the moment we joined.
		if errors.Is(c.err, context.Canceled) && ctx.Err() == nil && !p.isClosed() {
			continue
		}
		return nil, c.err
	}
}

// join finds the entry for a target or starts its dial.
func (p *Pool) join(ctx context.Context, key string, t Target) (*pooled, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, &Error{Class: ClassTCP, Host: t.Name, Op: "get a connection to " + t.Name, Err: errPoolClosed}
	}
	if c := p.conns[key]; c != nil && !c.over() {
		c.users++
		return c, nil
	}
	dialCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &pooled{ready: make(chan struct{}), users: 1, cancel: cancel}
	old := p.conns[key]
	p.conns[key] = c
	if old != nil && old.conn != nil {
		// It is gone already; its remains hold nobody up.
		p.wg.Go(func() { _ = old.conn.Close() })
	}
	p.wg.Go(func() {
		defer cancel()
		defer close(c.ready)
		c.conn, c.err = p.dialOne(dialCtx, t)
		if c.err != nil {
			p.forget(key, c)
		}
	})
	return c, nil
}

func (p *Pool) dialOne(ctx context.Context, t Target) (Conn, error) {
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	conn, err := p.dial(ctx, t)
	if err == nil && conn == nil {
		err = fmt.Errorf("dial %s gave neither a connection nor an error", t.Name)
	}
	return conn, err
}

func (p *Pool) left(c *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.users--; c.users == 0 {
		select {
		case <-c.ready:
		default:
			c.cancel()
		}
	}
}

func (p *Pool) forget(key string, c *pooled) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns[key] == c {
		delete(p.conns, key)
	}
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

// over reports whether the entry's connection has broken.
func (c *pooled) over() bool {
	select {
	case <-c.ready:
	default:
		return false
	}
	if c.err != nil {
		return true
	}
	if live, ok := c.conn.(interface{ Done() <-chan struct{} }); ok {
		select {
		case <-live.Done():
			return true
		default:
		}
	}
	return false
}

// Close ends all connections and waits for them and for dials under way, which
// are cancelled. Get fails from now on.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	conns := p.conns
	p.conns = map[string]*pooled{}
	for _, c := range conns {
		c.cancel()
	}
	p.mu.Unlock()
	p.wg.Wait()
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	for _, c := range conns {
		if c.conn == nil {
			continue
		}
		wg.Go(func() {
			if err := c.conn.Close(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// poolKey tells targets apart that need a connection each: how a host is
// reached counts, its inventory name too (two names may be two hosts by
// configuration).
func poolKey(t Target) string {
	options := make([]string, 0, len(t.Options))
	for k, v := range t.Options {
		options = append(options, fmt.Sprintf("%q=%q", k, v))
	}
	sort.Strings(options)
	return fmt.Sprintf("%q %q %q %d %q %q %q %q %s", t.Name, t.Kind, t.Address, t.Port, t.User, t.PrivateKeyFile, t.Password.Reveal(), t.Jump, strings.Join(options, " "))
}
