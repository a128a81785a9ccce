// Package etcd keeps a store in an etcd cluster, for teams. Reads are
// linearizable and every write is compared and swapped by the cluster, so
// that controllers on any machine share values and locks.
package etcd

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	client "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"

	"github.com/sloth-runner/sloth/state"
)

// schema is the version of what is in the store.
const schema = 1

const (
	// DefaultTimeout limits a call with all its attempts.
	DefaultTimeout = 10 * time.Second
	// attempt limits the first question to the cluster, which may go to a node
	// that fell silent; each next one has twice the time.
	attempt = 1500 * time.Millisecond

	pauseFirst = 50 * time.Millisecond
	pauseLast  = 500 * time.Millisecond

	// A node that fell silent during a call is noticed after these. Servers hang
	// up on those who ask more often than every five seconds, or while idle.
	pingEvery  = 6 * time.Second
	pingAnswer = 2 * time.Second
)

// gRPC's own messages would stand between a run's results. It wants to be told
// before anything uses it.
func init() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) }

// Options says where a store is.
type Options struct {
	Place *Place
	// Password is asked once where the place has a user and no password file.
	Password func(ctx context.Context) (string, error)
	// Timeout limits every call; 0 means DefaultTimeout.
	Timeout time.Duration
}

// Store is a state.Store in etcd. It connects at its first use.
type Store struct {
	opt            Options
	keys, schemaAt string

	connecting chan struct{} // full while somebody connects

	mu     sync.Mutex
	client *client.Client
	ready  bool // the client's schema was checked
	stop   context.CancelFunc
	closed bool

	leases leases
}

var _ state.Store = (*Store)(nil)

// New returns the store of a place. Nothing is connected yet.
func New(o Options) *Store {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return &Store{opt: o, keys: o.Place.Prefix + "/k/", schemaAt: o.Place.Prefix + "/schema", connecting: make(chan struct{}, 1), leases: leases{shared: map[int]shared{}}}
}

// connected returns the client, and connects it before the first use.
func (s *Store) connected(ctx context.Context) (*client.Client, error) {
	s.mu.Lock()
	c, ready, closed := s.client, s.ready, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, state.ErrClosed
	case ready:
		return c, nil
	}
	// One connects, the others wait for it.
	limit, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	select {
	case s.connecting <- struct{}{}:
		defer func() { <-s.connecting }()
	case <-limit.Done():
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, &NoAnswerError{Place: s.opt.Place, Waited: s.opt.Timeout}
	}
	s.mu.Lock()
	c, ready, closed = s.client, s.ready, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, state.ErrClosed
	case ready:
		return c, nil
	case c == nil:
		var err error
		if c, err = s.connect(ctx); err != nil {
			return nil, err
		}
	}
	if err := s.try(ctx, func(ctx context.Context) error { return s.check(ctx, c) }); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
	return c, nil
}

func (s *Store) connect(ctx context.Context) (*client.Client, error) {
	cfg, err := s.config(ctx)
	if err != nil {
		return nil, err
	}
	var stop context.CancelFunc
	// The connection outlives the call that made it.
	cfg.Context, stop = context.WithCancel(context.WithoutCancel(ctx))
	var c *client.Client
	err = s.try(ctx, func(context.Context) (err error) {
		c, err = client.New(cfg)
		return err
	})
	if err != nil {
		stop()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		stop()
		return nil, errors.Join(state.ErrClosed, c.Close())
	}
	s.client, s.stop = c, stop
	return c, nil
}

func (s *Store) config(ctx context.Context) (cfg client.Config, err error) {
	p := s.opt.Place
	cfg = client.Config{
		DialTimeout: 2 * attempt, DialKeepAliveTime: pingEvery, DialKeepAliveTimeout: pingAnswer,
		Username: p.User, Logger: zap.NewNop(),
		// try asks again, and remembers what the last answer was.
		MaxUnaryRetries: 2, DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(failFast)},
	}
	if cfg.TLS, err = p.tls(); err != nil {
		return cfg, err
	}
	scheme := "http://"
	if p.TLS {
		scheme = "https://"
	}
	for _, h := range p.Hosts {
		cfg.Endpoints = append(cfg.Endpoints, scheme+h)
	}
	switch {
	case p.User == "":
	case p.PasswordFile != "":
		cfg.Password, err = p.password()
	case s.opt.Password != nil:
		cfg.Password, err = s.opt.Password(ctx)
	default:
		err = fmt.Errorf("the user %q of %s needs a password-file", p.User, p)
	}
	return cfg, err
}

// failFast makes a call fail with what keeps hosts from being reached, where
// the client would wait until its deadline and say only that.
func failFast(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return call(ctx, method, req, reply, cc, append(opts, grpc.WaitForReady(false))...)
}

// check reads the schema, and writes it where nobody was before.
func (s *Store) check(ctx context.Context, c *client.Client) error {
	r, err := c.Get(ctx, s.schemaAt)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		_, err := c.Txn(ctx).If(client.Compare(client.CreateRevision(s.schemaAt), "=", 0)).
			Then(client.OpPut(s.schemaAt, strconv.Itoa(schema))).Commit()
		return err
	}
	has, err := strconv.Atoi(string(r.Kvs[0].Value))
	switch {
	case err != nil:
		return &ForeignError{s.opt.Place, s.schemaAt}
	case has > schema:
		return &NewerError{Place: s.opt.Place, Has: has, Known: schema}
	}
	return nil
}

// Close ends the use of the store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.client
	s.closed, s.client = true, nil
	if c == nil {
		return nil
	}
	s.stop()
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("leave %s: %w", s.opt.Place, err)
	}
	return nil
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// use runs fn with the client until it is answered, up to the timeout.
func (s *Store) use(ctx context.Context, fn func(context.Context, *client.Client) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.connected(ctx)
	if err != nil {
		return err
	}
	return s.try(ctx, func(ctx context.Context) error { return fn(ctx, c) })
}

// A stored value begins with how it expires, its time of expiry in Unix
// nanoseconds, and a number that tells the write that made it.
const header = 17

const (
	never   = '-'
	byLease = 'l' // when the cluster takes its lease away; the time only informs
	byClock = 'c' // at its time; the lease only cleans up
)

func pack(value []byte, how byte, expires time.Time, write uint64) string {
	b := make([]byte, header, header+len(value))
	b[0] = how
	if how != never {
		binary.BigEndian.PutUint64(b[1:], uint64(expires.UnixNano()))
	}
	binary.BigEndian.PutUint64(b[9:], write)
	return string(append(b, value...))
}

// stored is an entry with how it is kept.
type stored struct {
	state.Entry
	how   byte
	write uint64
}

func (s *Store) unpack(kv *mvccpb.KeyValue) (e stored, err error) {
	v := kv.Value
	if len(v) < header || !strings.ContainsRune("-lc", rune(v[0])) || !strings.HasPrefix(string(kv.Key), s.keys) {
		return e, &ForeignError{s.opt.Place, string(kv.Key)}
	}
	e.Key, e.Revision, e.Value = string(kv.Key[len(s.keys):]), state.Revision(kv.ModRevision), append([]byte{}, v[header:]...)
	e.how, e.write = v[0], binary.BigEndian.Uint64(v[9:])
	if e.how != never {
		e.Expires = time.Unix(0, int64(binary.BigEndian.Uint64(v[1:])))
	}
	return e, nil
}

func (e *stored) live() bool { return e.how != byClock || time.Now().Before(e.Expires) }

// Get returns the entry of key.
func (s *Store) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := state.CheckSize(key, nil); err != nil {
		return state.Entry{}, err
	}
	var e stored
	err := s.use(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := c.Get(ctx, s.keys+key)
		if err != nil {
			return err
		}
		if len(r.Kvs) == 0 {
			return state.ErrNotFound
		}
		if e, err = s.unpack(r.Kvs[0]); err == nil && !e.live() {
			err = state.ErrNotFound
		}
		return err
	})
	if err != nil {
		return state.Entry{}, err
	}
	return e.Entry, nil
}

const (
	pageFirst = 64
	pageMost  = 512
	pageBytes = 4 << 20
)

// List yields the entries under prefix as they were when it began.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[state.Entry, error] {
	return func(yield func(state.Entry, error) bool) {
		_, err := s.list(ctx, prefix, func(e stored) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !yield(e.Entry, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(state.Entry{}, err)
		}
	}
}

var errEnough = errors.New("that is enough")

// list calls fn with what is under prefix, page by page, and returns the
// cluster's revision that it shows.
func (s *Store) list(ctx context.Context, prefix string, fn func(stored) error) (at int64, err error) {
	from, end, limit := s.keys+prefix, client.GetPrefixRangeEnd(s.keys+prefix), int64(pageFirst)
	for {
		var r *client.GetResponse
		err := s.use(ctx, func(ctx context.Context, c *client.Client) (err error) {
			r, err = c.Get(ctx, from, client.WithRange(end), client.WithLimit(limit), client.WithRev(at))
			if errors.Is(err, rpctypes.ErrCompacted) && at != 0 {
				// What is left is listed as it is now.
				r, err = c.Get(ctx, from, client.WithRange(end), client.WithLimit(limit))
			}
			return err
		})
		if err != nil {
			return 0, err
		}
		if at == 0 {
			at = r.Header.Revision
		}
		size := 0
		for _, kv := range r.Kvs {
			size += len(kv.Key) + len(kv.Value)
			e, err := s.unpack(kv)
			if err != nil {
				return 0, err
			}
			if !e.live() {
				continue
			}
			if err := fn(e); err != nil {
				return 0, err
			}
		}
		if !r.More || len(r.Kvs) == 0 {
			return at, nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		if size > pageBytes {
			limit = max(limit/2, 1)
		} else {
			limit = min(limit*2, pageMost)
		}
	}
}
