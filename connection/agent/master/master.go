// Package master is the meeting point of agents and controllers: agents keep a
// stream open to it, controllers reach them through it. It lets nobody in whom
// its own authority has not certified and its records don't name.
package master

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// Options shape a master. The zero value of a duration is its default.
type Options struct {
	Dir       string // its own folder: authority, records, audit
	Version   string
	Beat      time.Duration // heartbeat: 5 s
	Misses    int           // that make an agent Reconnecting: 3
	LostAfter time.Duration // without its agent until it is Lost: 5 min
	Comeback  time.Duration // that a controller waits for one that was there lately: 8 s
	Now       func() time.Time
	Log       func(format string, args ...any)

	// Shared is where several masters keep their records; nil: in Dir, alone.
	Shared Shared
	// Advertise is where other masters reach this one, host:port.
	Advertise string

	// How many enrolments one address may try, and all together, in a burst and
	// then per second: 10 and 1, 100 and 20.
	EnrolBurst, EnrolBurstAll int
}

// Master is the server.
type Master struct {
	o         Options
	id        string // of this process; among masters that share
	authority *pki.Authority
	store     *store
	records   *auditLog
	now       func() time.Time
	log       func(format string, args ...any)

	enrolments, allEnrolments, loud, rechecks rate
	refusals                                  atomic.Int64
	jobsStarted                               atomic.Int64
	opened                                    atomic.Int64
	started                                   time.Time

	mu    sync.Mutex
	links map[string]*link    // by agent's name
	opens map[string]*opening // by id of the job
	calls map[*call]struct{}  // streams under way, to be ended when their right is gone
	ready atomic.Bool

	joined chan struct{} // closed, and made anew, when an agent comes
	peers  map[string]*route
	parted map[string]time.Time // when masters were last there that are no more

	stop      context.CancelFunc
	following sync.WaitGroup

	copies sync.WaitGroup // goroutines that end with streams
}

// call is a stream under way.
type call struct {
	caller *caller
	rule   rule
	cancel context.CancelCauseFunc
}

// New opens a master's folder, and what it shares with others. Close ends it,
// and so does ctx.
func New(ctx context.Context, o Options) (*Master, error) {
	if o.Beat <= 0 {
		o.Beat = 5 * time.Second
	}
	if o.Misses <= 0 {
		o.Misses = 3
	}
	if o.LostAfter <= 0 {
		o.LostAfter = 5 * time.Minute
	}
	if o.Comeback <= 0 {
		o.Comeback = comeback
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.EnrolBurst <= 0 {
		o.EnrolBurst = 10
	}
	if o.EnrolBurstAll <= 0 {
		o.EnrolBurstAll = 100
	}
	s, err := openStore(o.Dir)
	if err != nil {
		return nil, err
	}
	m := &Master{
		o: o, store: s, now: o.Now, log: o.Log, started: o.Now(),
		joined: make(chan struct{}), peers: map[string]*route{}, parted: map[string]time.Time{}, links: map[string]*link{}, opens: map[string]*opening{}, calls: map[*call]struct{}{},
		enrolments:    rate{burst: float64(o.EnrolBurst), per: time.Second, most: 10_000},
		allEnrolments: rate{burst: float64(o.EnrolBurstAll), per: time.Second / 20, most: 1},
		loud:          rate{burst: 5, per: 10 * time.Second, most: 1000},
		rechecks:      rate{burst: 10, per: time.Second, most: 10_000},
	}
	ctx, m.stop = context.WithCancel(ctx)
	if o.Shared != nil {
		err = s.awaitsImport(ctx, o.Shared)
	}
	if err == nil {
		m.authority, err = pki.OpenAuthority(o.Dir, o.Now)
	}
	if err == nil {
		if o.Shared == nil {
			err = s.alone()
		} else {
			err = m.share(ctx)
		}
	}
	if err == nil {
		m.records, err = openAudit(o.Dir)
	}
	if err != nil {
		m.stop()
		m.following.Wait()
		s.close()
		return nil, err
	}
	return m, nil
}

// Close lets go of the folder.
func (m *Master) Close() {
	m.stop()
	m.following.Wait()
	m.records.close()
	m.store.close()
}

// Fingerprint is that of the authority.
func (m *Master) Fingerprint() string { return m.authority.Fingerprint() }

// Authority is the certificate of the authority.
func (m *Master) Authority() (*x509.Certificate, error) {
	return x509.ParseCertificate(m.authority.Certificate())
}

// AuditFile is where calls are recorded.
func (m *Master) AuditFile() string { return filepath.Join(m.o.Dir, "audit.log") }

// Serve answers on l until ctx ends. Agents are told to come back.
func (m *Master) Serve(ctx context.Context, l net.Listener) error {
	s := grpc.NewServer(
		grpc.Creds(handshakes{credentials.NewTLS(m.tls())}),
		grpc.ForceServerCodecV2(agent.Codec{}),
		grpc.MaxRecvMsgSize(agent.MaxMessage), grpc.MaxSendMsgSize(agent.MaxMessage),
		grpc.MaxConcurrentStreams(2000), grpc.MaxHeaderListSize(16<<10), grpc.ConnectionTimeout(10*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second, MaxConnectionIdle: 2 * time.Minute}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(16<<10), grpc.WaitForHandlers(true),
		grpc.UnaryInterceptor(m.unary), grpc.StreamInterceptor(m.stream), grpc.UnknownServiceHandler(m.unknown),
	)
	m.register(s)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { m.sweep(ctx) })
	if m.store.shared != nil {
		wg.Go(func() { m.announce(ctx) })
	}
	failed := make(chan error, 1)
	wg.Go(func() { failed <- s.Serve(newGate(l)) })
	m.ready.Store(true)
	defer m.ready.Store(false)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	m.farewell()
	s.Stop()
	m.copies.Wait()
	return nil
}

func (m *Master) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Time: m.now, SessionTicketsDisabled: true,
		ClientCAs: m.authority.Pool(), ClientAuth: tls.VerifyClientCertIfGiven,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.authority.Server() },
	}
}

// track keeps a stream where it can be ended.
func (m *Master) track(ctx context.Context, r rule) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{caller: callerOf(ctx), rule: r, cancel: cancel}
	m.mu.Lock()
	m.calls[c] = struct{}{}
	m.mu.Unlock()
	return ctx, func() {
		m.mu.Lock()
		delete(m.calls, c)
		m.mu.Unlock()
		cancel(nil)
	}
}

// revoke ends all streams of somebody whose right is gone.
func (m *Master) revoke(kind, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.calls {
		if c.caller.id.Kind == kind && c.caller.id.Name == name {
			c.cancel(status.Error(codes.Unauthenticated, "the certificate was revoked"))
		}
	}
}

// sweep ends links that went silent and calls whose certificate has expired.
func (m *Master) sweep(ctx context.Context) {
	tick := time.NewTicker(max(m.o.Beat/4, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := m.now()
		m.mu.Lock()
		for _, l := range m.links {
			if time.Since(l.heard()) > time.Duration(m.o.Misses)*m.o.Beat {
				l.end(status.Error(codes.Unavailable, "the agent has gone silent"))
			}
		}
		for c := range m.calls {
			if c.caller.cert != nil && now.After(c.caller.cert.NotAfter) {
				c.cancel(status.Error(codes.Unauthenticated, "the certificate has expired"))
			}
		}
		m.mu.Unlock()
	}
}

// gate holds back those who open connections and don't get through the
// handshake: so many per address, and so many of all.
type gate struct {
	net.Listener
	mu   sync.Mutex
	each map[string]int
	all  int
}

// Connections at once. What is above is closed; agents come again.
const (
	maxConns        = 25_000
	maxConnsAddress = 5000
)

func newGate(l net.Listener) *gate { return &gate{Listener: l, each: map[string]int{}} }

func (g *gate) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := host(c.RemoteAddr().String())
		g.mu.Lock()
		full := g.all >= maxConns || g.each[from] >= maxConnsAddress
		if !full {
			g.all++
			g.each[from]++
		}
		g.mu.Unlock()
		if full {
			c.Close()
			continue
		}
		return &counted{Conn: c, leave: sync.OnceFunc(func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.all--
			if g.each[from]--; g.each[from] == 0 {
				delete(g.each, from)
			}
		})}, nil
	}
}

// counted is a connection that the gate let in.
type counted struct {
	net.Conn
	leave func()
	life  *time.Timer // of a stranger
	held  atomic.Bool // Close is not meant yet
}

func (c *counted) Close() error {
	if c.held.Load() {
		return nil
	}
	c.leave()
	return c.Conn.Close()
}

// CloseWrite ends our direction.
func (c *counted) CloseWrite() error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Listen opens the port, and says what to do where that fails.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	var op *net.OpError
	if errors.As(err, &op) {
		return nil, fmt.Errorf("listen on %s: %w", address, op.Err)
	}
	return l, err
}
