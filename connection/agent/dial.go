package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// rejectedWait is how long the reason of an end may take to arrive after it.
const rejectedWait = time.Second

// connectLimit is how long one attempt to reach a master may take.
const connectLimit = 10 * time.Second

// firstLimit is connectLimit where there is another address to try.
const firstLimit = 3 * time.Second

// Dialer reaches a master.
type Dialer struct {
	// Address is host:port; several with commas are those of masters that share
	// their records: the first that answers is taken, from the last one that did.
	Address string
	// Authority is the master's; nil: the one of the fingerprint, or, where that
	// is empty too, whatever the master shows, which Trusted then says.
	Authority   *x509.Certificate
	Fingerprint string
	Certificate *tls.Certificate // ours; nil: we have none yet
	Limit       time.Duration    // of one attempt; 0: 10 s
	Now         func() time.Time // this machine's clock; nil: the system's

	last  atomic.Int32 // which address answered
	Stack string       // of the run that dials; the master is told, see RunRequest
}

// Link is an open connection to a master.
type Link struct {
	*grpc.ClientConn
	Trusted *x509.Certificate // the master's authority
	seen    *witness
	address string
}

// Over reports whether the connection has ended.
func (l *Link) Over() bool {
	select {
	case <-l.seen.ended:
		return true
	default:
		return false
	}
}

// witness remembers how a connection ended: gRPC says it in prose only.
type witness struct {
	net.Conn
	clock time.Time // the master's, when it was dialled
	once  sync.Once
	ended chan struct{} // closed when err is set
	err   error
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.once.Do(func() { w.err = err; close(w.ended) })
	}
	return n, err
}

// Dial connects once: a link that broke is not mended, since whoever used it
// has to know.
func (d *Dialer) Dial(ctx context.Context) (*Link, error) {
	limit := d.Limit
	if limit <= 0 {
		limit = connectLimit
	}
	addresses := strings.Split(d.Address, ",")
	from := int(d.last.Load())
	var failed error
	for i := range addresses {
		at := (from + i) % len(addresses)
		one := limit
		if i < len(addresses)-1 {
			one = min(limit, firstLimit)
		}
		l, err := d.dial(ctx, addresses[at], one)
		if err == nil {
			d.last.Store(int32(at)) //nolint:gosec // addresses are few
			return l, nil
		}
		var c *connection.Error
		unreached := errors.As(err, &c) && (c.Class == connection.ClassTCP || c.Class == connection.ClassDNS)
		if !unreached || ctx.Err() != nil {
			return nil, err
		}
		if failed != nil {
			c.Err = fmt.Errorf("%w (and before: %w)", c.Err, failed)
		}
		failed = err
	}
	return nil, failed
}

// avoid makes the next Dial begin behind an address, if it would begin with it.
func (d *Dialer) avoid(address string) {
	addresses := strings.Split(d.Address, ",")
	if at := d.last.Load(); addresses[at] == address {
		d.last.CompareAndSwap(at, (at+1)%int32(len(addresses))) //nolint:gosec // addresses are few
	}
}

func (d *Dialer) dial(ctx context.Context, address string, limit time.Duration) (*Link, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	op := "connect to the master " + address
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, dialError(op, err)
	}
	l := &Link{address: address, seen: &witness{ended: make(chan struct{})}}
	conn := tls.Client(raw, d.config(l))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, handshakeError(op, err)
	}
	l.seen.Conn = conn
	once := make(chan net.Conn, 1)
	once <- l.seen
	cc, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(secured{conn}),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			select {
			case c := <-once:
				return c, nil
			default:
				return nil, errors.New("the link is gone")
			}
		}),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(), grpc.WithIdleTimeout(0), grpc.WithNoProxy(),
	)
	if err != nil {
		conn.Close()
		return nil, err
	}
	l.ClientConn = cc
	return l, nil
}

// config verifies the master by its authority. Its name does not matter: a
// master has one key wherever it is reached.
func (d *Dialer) config(l *Link) *tls.Config {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, Time: now,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with the master's authority
		VerifyConnection: func(s tls.ConnectionState) error {
			leaf, root := s.PeerCertificates[0], s.PeerCertificates[len(s.PeerCertificates)-1]
			want := d.Authority
			switch {
			case want != nil:
			case d.Fingerprint != "" && pki.KeyOf(root) != d.Fingerprint:
				return errOtherMaster
			default:
				want = root
			}
			pool := x509.NewCertPool()
			pool.AddCert(want)
			clock := pki.ClockOf(leaf)
			// First as if our clock were the master's: who it is comes before when.
			o := x509.VerifyOptions{Roots: pool, CurrentTime: clock, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
			if _, err := leaf.Verify(o); err != nil {
				return errOtherMaster
			}
			if id, err := pki.IdentityOf(leaf); err != nil || id.Kind != pki.KindMaster {
				return errOtherMaster
			}
			l.Trusted, l.seen.clock = want, clock
			o.CurrentTime = now()
			if _, err := leaf.Verify(o); err != nil {
				return &ClockError{Here: now(), Master: clock}
			}
			return nil
		},
	}
	if d.Certificate != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return d.Certificate, nil }
	}
	return c
}

var errOtherMaster = errors.New("this is another master: its authority is not the one that is known here")

// ClockError says that two clocks are so far apart that certificates don't hold.
type ClockError struct {
	Here, Master time.Time
}

func (e *ClockError) Error() string {
	return fmt.Sprintf("the clocks are too far apart: this machine says %s, the master about %s",
		e.Here.UTC().Format(time.RFC3339), e.Master.UTC().Format(time.RFC3339))
}

// secured tells gRPC that a connection has its TLS already.
type secured struct{ conn *tls.Conn }

func (s secured) ClientHandshake(_ context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return raw, credentials.TLSInfo{State: s.conn.ConnectionState(), CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (s secured) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("this is a client")
}
func (s secured) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}
func (s secured) Clone() credentials.TransportCredentials { return s }
func (s secured) OverrideServerName(string) error         { return nil }

func dialError(op string, err error) error {
	e := &connection.Error{Class: connection.ClassTCP, Op: op, Err: err, Hint: "Is the address right, does the master run (`sloth master start`), and does a firewall let its port through?"}
	var dns *net.DNSError
	var op2 *net.OpError
	switch {
	case errors.As(err, &dns):
		e.Class, e.Hint = connection.ClassDNS, "Correct the name, or give the master's IP address."
		e.Err = fmt.Errorf("the name %s does not resolve", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Err = syscall.ECONNREFUSED
	case errors.Is(err, context.DeadlineExceeded):
		e.Err = errors.New("no answer in time")
	case errors.As(err, &op2):
		e.Err = op2.Err
	}
	return e
}

func handshakeError(op string, err error) error {
	e := &connection.Error{Class: connection.ClassTCP, Op: op, Err: err, Hint: "Does the master run there, and is this its port? Its log says more."}
	var clock *ClockError
	var record tls.RecordHeaderError
	switch {
	case errors.Is(err, errOtherMaster):
		e.Err, e.Class = errOtherMaster, connection.ClassHostKey
		e.Hint = "Is the address right? Where the master was set up anew, enrol again with a new token."
	case errors.As(err, &clock):
		e.Class, e.Err, e.Hint = connection.ClassAuth, clock, "Set the clock that is wrong (timedatectl set-ntp true)."
	case errors.As(err, &record):
		e.Class, e.Err, e.Hint = connection.ClassAuth, errors.New("what answers there does not speak TLS"), "Is this the master's port?"
	case errors.Is(err, context.DeadlineExceeded):
		e.Err, e.Hint = errors.New("no TLS handshake in time"), "Is this the master's port?"
	case errors.Is(err, io.EOF):
		e.Err = errors.New("it hung up during the handshake")
	case strings.Contains(err.Error(), "tls: "): // an alert has no type of its own
		e.Class = connection.ClassAuth
	}
	return e
}

// Rejected says why a master ended the connection after the handshake, which a
// call noticed as err, if that was for our certificate: in TLS 1.3 it judges our certificate when we believe to be through.
func (l *Link) Rejected(own *tls.Certificate, now time.Time, err error) error {
	var c *connection.Error
	if status.Code(err) != codes.Unavailable && (!errors.As(err, &c) || c.Class != connection.ClassTCP) {
		return nil
	}
	select {
	case <-l.seen.ended:
	case <-time.After(rejectedWait): // a write may fail before the reason was read
		return nil
	}
	if err = l.seen.err; err == nil || !strings.Contains(err.Error(), "tls: ") {
		return nil
	}
	e := &connection.Error{Class: connection.ClassAuth, Op: "connect to the master " + l.address, Err: errors.New("it does not accept our certificate: " + strings.TrimPrefix(err.Error(), "remote error: tls: ")),
		Hint: "Enrol again with a new token: sloth agent start --token, or sloth login."}
	if own != nil && own.Leaf != nil {
		if c := l.seen.clock; c.Before(own.Leaf.NotBefore) || c.After(own.Leaf.NotAfter) {
			e.Err = fmt.Errorf("our certificate is valid from %s to %s: this machine's clock says %s, the master's about %s",
				own.Leaf.NotBefore.UTC().Format(time.RFC3339), own.Leaf.NotAfter.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339), c.UTC().Format(time.RFC3339))
			e.Hint = "If a clock is wrong, set it; else enrol again with a new token."
		}
	}
	return e
}
