package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// route finds the way to an endpoint: a function that makes a fresh link, and
// one that gives up the share in the bastions on the way.
func (d *Dialer) route(ctx context.Context, e *endpoint, via []string) (link func(context.Context) (net.Conn, error), release func(), err error) {
	switch {
	case len(e.jump) > 0:
		b, err := d.through(ctx, e, via)
		if err != nil {
			return nil, nil, err
		}
		open := func(ctx context.Context) (net.Conn, error) {
			if b != nil {
				c, err := b.forward(ctx, e)
				if !errors.Is(err, errBastionBroke) {
					return c, err
				}
				// It broke, and nobody knew yet: a new connection to it, once.
				b.forget()
				b = nil
			}
			again, err := d.through(ctx, e, via)
			if err != nil {
				return nil, err
			}
			b = again
			return b.forward(ctx, e)
		}
		return open, func() {
			if b != nil {
				b.release()
			}
		}, nil
	case e.command != "":
		return func(ctx context.Context) (net.Conn, error) { return startProxy(e) }, func() {}, nil
	}
	return func(ctx context.Context) (net.Conn, error) { return d.tcp(ctx, e) }, func() {}, nil
}

// tcp connects directly. net.Dialer tries both address families side by side.
func (d *Dialer) tcp(ctx context.Context, e *endpoint) (net.Conn, error) {
	timeout := e.connectTimeout
	if timeout == 0 {
		timeout = d.config.ConnectTimeout
	}
	nd := net.Dialer{Timeout: timeout, KeepAlive: -1, Resolver: d.resolver} // SSH has its own keep-alive
	if e.bind != "" {
		ip := net.ParseIP(e.bind)
		if ip == nil {
			return nil, &connection.Error{Class: connection.ClassTCP, Host: e.label, Op: "dial " + e.address(), Err: fmt.Errorf("BindAddress %q is no IP address", e.bind)}
		}
		nd.LocalAddr = &net.TCPAddr{IP: ip}
	}
	c, err := nd.DialContext(ctx, e.network, e.address())
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	class, hint := connection.ClassTCP, ""
	var dns *net.DNSError
	var ne net.Error
	switch {
	case errors.As(err, &dns):
		class = connection.ClassDNS
		hint = fmt.Sprintf("check the name, or give %s an address (ansible_host, HostName)", e.label)
		err = fmt.Errorf("the name %s does not resolve: %s", dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		err = errors.New("connection refused")
		hint = fmt.Sprintf("nothing listens on port %d there: is sshd running, is the port right?", e.port)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		err = errors.New("no route to the host")
		hint = "is the host up, and is there a way to its network?"
	case errors.As(err, &ne) && ne.Timeout():
		err = fmt.Errorf("no answer in %v", timeout)
		hint = "is the host up, and does a firewall drop the packets?"
	}
	return nil, &connection.Error{Class: class, Host: e.label, Op: "dial " + e.address(), Err: err, Hint: hint}
}

// bastion is the one connection to a jump host that everybody behind it shares.
type bastion struct {
	d    *Dialer
	name string // as ProxyJump spells it, earlier hops first

	ready chan struct{} // closed once conn or err is set
	conn  *Conn
	err   error

	users int // guarded by d.mu
}

// through joins the bastion in front of an endpoint, connecting to it if
// nobody has. The connection ends with its last user.
func (d *Dialer) through(ctx context.Context, e *endpoint, via []string) (*bastion, error) {
	name := strings.Join(e.jump, ",")
	if slices.Contains(via, name) || len(via) > 8 {
		return nil, &connection.Error{Class: connection.ClassChannel, Host: e.label, Op: "find the way to " + e.label,
			Err: fmt.Errorf("ProxyJump goes in a circle: %s", strings.Join(append(via, name), " > "))}
	}
	for {
		b, first := d.join(name)
		if first {
			b.conn, b.err = d.dialHop(ctx, e.jump, append(slices.Clone(via), name))
			close(b.ready)
		}
		select {
		case <-b.ready:
		case <-ctx.Done():
			b.release()
			return nil, ctx.Err()
		}
		if b.err != nil {
			b.forget()
			var ce *connection.Error
			switch {
			case ctx.Err() != nil:
				return nil, ctx.Err()
			case errors.As(b.err, &ce):
				return nil, &connection.Error{Class: ce.Class, Host: e.label, Op: "reach the jump host " + name, Err: ce, Hint: ce.Hint}
			}
			continue // it was somebody else's time that ran out
		}
		select {
		case <-b.conn.Done(): // it broke; the next one gets a new connection
			b.forget()
		default:
			return b, nil
		}
	}
}

func (d *Dialer) join(name string) (b *bastion, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if b = d.bastion[name]; b == nil {
		b, first = &bastion{d: d, name: name, ready: make(chan struct{})}, true
		d.bastion[name] = b
	}
	b.users++
	return b, first
}

// dialHop connects to the last of several hops, through the ones before it.
// As with ssh -J, a hop is configured by ssh_config alone: neither the
// target's options nor its user or key are meant for it.
func (d *Dialer) dialHop(ctx context.Context, hops, via []string) (*Conn, error) {
	t, err := parseJump(hops[len(hops)-1])
	if err != nil {
		return nil, err
	}
	if len(hops) > 1 {
		t.Jump = strings.Join(hops[:len(hops)-1], ",")
	}
	e, err := d.endpoint(t, nil)
	if err != nil {
		return nil, &connection.Error{Class: connection.ClassChannel, Host: t.Name, Op: "prepare connection to " + t.Name, Err: err}
	}
	// `Host *` with ProxyJump means everybody but the jump host itself.
	if len(e.jump) == 1 && t.Jump == "" {
		if self, err := parseJump(e.jump[0]); err == nil && self.Address == t.Address {
			e.jump = nil
		}
	}
	return d.connect(ctx, e, via)
}

// release gives up one share; the last one ends the connection.
func (b *bastion) release() {
	b.d.mu.Lock()
	b.users--
	last := b.users == 0
	if last && b.d.bastion[b.name] == b {
		delete(b.d.bastion, b.name)
	}
	b.d.mu.Unlock()
	if last {
		_ = b.close()
	}
}

// forget makes the next one who comes connect anew.
func (b *bastion) forget() {
	b.d.mu.Lock()
	if b.d.bastion[b.name] == b {
		delete(b.d.bastion, b.name)
	}
	b.d.mu.Unlock()
	b.release()
}

func (b *bastion) close() error {
	if b.conn == nil {
		return nil
	}
	return b.conn.Close()
}

// forward opens a channel through the bastion to an endpoint.
func (b *bastion) forward(ctx context.Context, e *endpoint) (net.Conn, error) {
	payload := ssh.Marshal(&struct {
		Host       string
		Port       uint32
		OriginHost string
		OriginPort uint32
	}{e.host, uint32(e.port), "127.0.0.1", 0})
	ch, reqs, err := b.conn.openChannel(ctx, "direct-tcpip", payload)
	if err == nil {
		b.conn.spawn(func() { ssh.DiscardRequests(reqs) }) // ends with the channel
		return newChannelConn(b, ch, e.address()), nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	fail := func(err error, hint string) error {
		return &connection.Error{Class: connection.ClassTCP, Host: e.label, Op: fmt.Sprintf("dial %s through %s", e.address(), b.name), Err: err, Hint: hint}
	}
	var refused *ssh.OpenChannelError
	if errors.As(err, &refused) {
		said := clean(refused.Message)
		if refused.Reason == ssh.Prohibited {
			return nil, fail(fmt.Errorf("the jump host %s forbids forwarding (%s)", b.name, said),
				fmt.Sprintf("on %s check AllowTcpForwarding, DisableForwarding and PermitOpen in sshd_config, and no-port-forwarding and restrict in authorized_keys; or use another jump host", b.name))
		}
		return nil, fail(fmt.Errorf("the jump host cannot reach it: %s", said), fmt.Sprintf("check the address as seen from %s, and the firewall between them", b.name))
	}
	return nil, fail(fmt.Errorf("%w %s: %w", errBastionBroke, b.name, err), "")
}

var errBastionBroke = errors.New("the jump host")
