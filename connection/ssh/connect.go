package ssh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// maxRefusals is how often a host may hang up before the key exchange until
// it is believed; with the pauses between, about six seconds.
const maxRefusals = 6

// refusedError is a host that hung up before it had shown its key: too many
// beginners at once, a penalty, or no SSH server at all.
type refusedError struct {
	err  error
	said string
}

func (r *refusedError) Error() string {
	msg := "the host hung up before the key exchange"
	if r.said != "" {
		msg += fmt.Sprintf(", saying %q", r.said)
	}
	return msg
}

func (r *refusedError) Unwrap() error { return r.err }

// connect opens the connection to an endpoint, again and again with pauses
// when sshd refuses to talk for want of a free place.
func (d *Dialer) connect(ctx context.Context, e *endpoint, via []string) (*Conn, error) {
	for attempt := 0; ; attempt++ {
		c, err := d.connectOnce(ctx, e, via)
		var refused *refusedError
		if err == nil || !errors.As(err, &refused) || attempt+1 >= maxRefusals {
			return c, err
		}
		// Jitter keeps fifty who were refused together from coming back together.
		pause := time.Duration(float64(d.refusalPause<<attempt) * (0.5 + rand.Float64()))
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

func (d *Dialer) connectOnce(ctx context.Context, e *endpoint, via []string) (*Conn, error) {
	// The way through the bastions first: it must not hold a place at the gate.
	link, release, err := d.route(ctx, e, via)
	if err != nil {
		return nil, err
	}
	g := d.gate(strings.Join(e.jump, ",") + ">" + e.address())
	if err := g.enter(ctx); err != nil {
		release()
		return nil, err
	}
	var refused *refusedError
	c, err := d.handshake(ctx, e, link)
	g.leave(errors.As(err, &refused))
	if err != nil {
		release()
		return nil, err
	}
	c.release = release
	return c, nil
}

// handshake makes an authenticated connection of a fresh link.
func (d *Dialer) handshake(ctx context.Context, e *endpoint, link func(context.Context) (net.Conn, error)) (*Conn, error) {
	nc, err := link(ctx)
	if err != nil {
		return nil, err
	}
	w := newWire(nc)
	stop := context.AfterFunc(ctx, func() { w.fail(ctx.Err()) })
	defer stop()

	p := &phases{w: w, d: d, e: e}
	if command, ok := nc.(*proxy); ok {
		p.complaint = command.complaint
	}
	keys := &hostKeys{e: e, files: &d.known, ask: d.config.HostKeyAsk, asking: &d.asking, now: time.Now, pause: p.pause}
	algorithms, err := keys.algorithms()
	if err != nil {
		nc.Close()
		return nil, keys.fail(err, "")
	}
	auth := &authenticator{d: d, e: e, ctx: ctx, pause: p.pause}
	config := &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: e.kex, Ciphers: e.ciphers, MACs: e.macs},
		User:              e.user,
		Auth:              auth.methods(),
		AuthCallback:      auth.note,
		HostKeyAlgorithms: algorithms,
		BannerCallback:    func(string) error { return nil },
		ClientVersion:     "SSH-2.0-sloth",
		HostKeyCallback: func(_ string, remote net.Addr, key ssh.PublicKey) error {
			if err := keys.check(ctx, remote, key); err != nil {
				p.verdict(err)
				return err
			}
			p.authenticating()
			return nil
		},
	}
	p.begin()
	client, chans, reqs, err := ssh.NewClientConn(w, e.address(), config)
	p.end()
	if err != nil {
		w.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, p.explain(err, auth)
	}
	w.loggedIn()
	if auth.asked {
		d.passwordWorked(e)
	}
	return newConn(d, e, w, client, chans, reqs), nil
}

// phases keeps the clock of a handshake and knows where it stands.
type phases struct {
	w *wire
	d *Dialer
	e *endpoint

	mu    sync.Mutex
	auth  bool  // the host's key was accepted
	wrong error // the host's key was not
	over  bool
	stop  func()

	complaint func() string // of a ProxyCommand
}

func (p *phases) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock()
}

// clock starts the time of the phase that it is.
func (p *phases) clock() {
	if p.auth {
		p.stop = p.w.within(p.d.config.AuthTimeout, "login")
	} else {
		p.stop = p.w.within(p.d.config.HandshakeTimeout, "SSH handshake")
	}
}

func (p *phases) authenticating() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.auth && !p.over { // re-keying asks again
		p.auth = true
		p.clock()
	}
}

func (p *phases) verdict(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = err
}

func (p *phases) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.stop()
}

// pause stops the clock while a human is asked.
func (p *phases) pause() func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return func() {}
	}
	p.stop()
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.over {
			p.clock()
		}
	}
}

// explain gives a failed handshake its class and the next step.
func (p *phases) explain(err error, auth *authenticator) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.e
	if p.wrong != nil {
		return p.wrong
	}
	fail := func(class connection.Class, err error, hint string) error {
		return &connection.Error{Class: class, Host: e.label, Op: "connect to " + e.address(), Err: err, Hint: hint}
	}
	if cause := p.w.reason(); cause != nil {
		err = cause
	}
	var timeout *timeoutError
	var negotiation *ssh.AlgorithmNegotiationError
	var hop *hopLostError
	switch {
	case errors.As(err, &timeout) && p.auth:
		return fail(connection.ClassAuth, err, "the host's login is slow: DNS or a directory service it asks may be down")
	case errors.As(err, &timeout):
		if said := p.w.heard(); said != "" {
			return fail(connection.ClassTCP, fmt.Errorf("%w; the host said %q", err, said), "is this port an SSH server?")
		}
		return fail(connection.ClassTCP, fmt.Errorf("%w; the host accepts connections and says nothing", err), "is this port an SSH server, and is the host healthy?")
	case errors.As(err, &negotiation):
		return negotiationError(e, negotiation)
	case p.auth:
		// sshd says why it gives up; an end without a word is the link's. Only
		// with a password that may be wrong nobody should try again on that.
		if broken(err) && (!auth.asked || p.d.wasLetIn(e)) {
			return fail(connection.ClassTCP, fmt.Errorf("the connection broke during login: %w", err), "")
		}
		return auth.failure(err)
	case errors.As(err, &hop):
		return fail(connection.ClassTCP, err, hop.hint())
	case broken(err) && p.complaint != nil:
		what := "the ProxyCommand ended before the key exchange"
		if said := p.complaint(); said != "" {
			what += fmt.Sprintf(", saying %q", said)
		}
		return fail(connection.ClassTCP, errors.New(what), "the command was: "+e.command)
	case broken(err):
		said := p.w.heard()
		if i := strings.Index(said, "SSH-"); i > 0 {
			said = strings.TrimSpace(said[:i])
		} else if i == 0 {
			said = ""
		}
		return fail(connection.ClassTCP, &refusedError{err, said},
			"the host may limit new connections (MaxStartups, PerSourcePenalties, fail2ban); wait a little, or lower --forks")
	}
	if said := p.w.heard(); said != "" && !strings.HasPrefix(said, "SSH-") {
		return fail(connection.ClassTCP, fmt.Errorf("no SSH server answers there: %w; the host said %q", err, said), "check address and port")
	}
	return fail(connection.ClassTCP, err, "")
}

// broken reports whether the other side, or the way to it, went away.
func broken(err error) bool {
	var hop *hopLostError
	return errors.As(err, &hop) || errors.Is(err, errLinkEnded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// negotiationError names the algorithms, and how to accept one.
func negotiationError(e *endpoint, n *ssh.AlgorithmNegotiationError) error {
	option := map[string]string{
		"host key": "HostKeyAlgorithms", "key exchange": "KexAlgorithms",
		"client to server cipher": "Ciphers", "server to client cipher": "Ciphers",
		"client to server MAC": "MACs", "server to client MAC": "MACs",
	}[n.What]
	// Two names in the list are marks of the protocol, no algorithms.
	offers := slices.DeleteFunc(slices.Clone(n.RequestedAlgorithms), func(a string) bool {
		return strings.HasPrefix(a, "kex-strict-") || strings.HasPrefix(a, "ext-info-")
	})
	insecure := ssh.InsecureAlgorithms()
	weak := slices.Concat(insecure.Ciphers, insecure.HostKeys, insecure.KeyExchanges, insecure.MACs)
	hint := "update the host's SSH server"
	for _, a := range offers {
		if slices.Contains(weak, a) && option != "" {
			hint = fmt.Sprintf("update the host's SSH server, or accept the weak algorithm for this host alone: %s +%s", option, a)
			break
		}
	}
	class := connection.ClassTCP
	if n.What == "host key" {
		class = connection.ClassHostKey
	}
	err := fmt.Errorf("no %s algorithm in common: the host offers only %s", n.What, clean(strings.Join(offers, ", ")))
	return &connection.Error{Class: class, Host: e.label, Op: "connect to " + e.address(), Err: err, Hint: hint}
}
