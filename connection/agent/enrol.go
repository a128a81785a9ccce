package agent

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// Enrolment is how somebody becomes known to a master.
type Enrolment struct {
	Kind        string // pki.KindAgent, pki.KindUser
	Name        string
	Machine     string // of an agent, see MachineID
	Token       string // as pki.Token.Text; empty: an admin has to approve
	Fingerprint string // of the master's authority, where there is no token
	Version     string
	Limit       time.Duration // of one connection; 0: 10 s
	// Pending hears once that approval is waited for, and what to compare.
	Pending func(meeting string)
	// Poll is how often a pending one asks again; 0: 5 s.
	Poll time.Duration
}

// Enrol asks the master at address for a certificate and keeps it. Without a
// token it waits for the approval, as long as ctx lasts.
func (k *Keep) Enrol(ctx context.Context, address string, e Enrolment) error {
	if err := pki.CheckName(e.Name); err != nil {
		return err
	}
	var token pki.Token
	d := &Dialer{Address: address, Authority: k.authority, Fingerprint: e.Fingerprint, Limit: e.Limit}
	if e.Token != "" {
		var err error
		if token, err = pki.ParseToken(e.Token); err != nil {
			return err
		}
		d.Authority, d.Fingerprint = nil, token.Authority // it may be another master than last time
	}
	csr, err := pki.Request(k.key)
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // for people only
	req := &EnrolRequest{Kind: e.Kind, Name: e.Name, Machine: e.Machine, Token: token.Secret, Request: csr, Protocol: Protocol, Version: e.Version, Host: host}
	poll := e.Poll
	if poll <= 0 {
		poll = 5 * time.Second
	}
	said := false
	for {
		reply, authority, err := k.ask(ctx, d, req)
		if err != nil {
			if !said || !errors.Is(err, errRetry) {
				return err
			}
		} else if !reply.Pending {
			return k.Store(e.Name, address, reply.Cert, authority)
		} else if !said {
			said = true
			if err := k.Trust(authority); err != nil {
				return err
			}
			d.Authority = authority
			if e.Pending != nil {
				e.Pending(pki.Meeting(k.Key(), pki.KeyOf(authority)))
			}
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// errRetry marks what may be otherwise at the next attempt.
var errRetry = errors.New("try again")

func (k *Keep) ask(ctx context.Context, d *Dialer, req *EnrolRequest) (*EnrolReply, *x509.Certificate, error) {
	link, err := d.Dial(ctx)
	if err != nil {
		return nil, nil, retriable(err)
	}
	defer link.Close()
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	var reply EnrolReply
	if err := link.Invoke(ctx, MethodEnrol, req, &reply); err != nil {
		return nil, nil, retriable(Explain(d.Address, err))
	}
	if !reply.Pending {
		leaf, err := x509.ParseCertificate(reply.Cert)
		if err == nil {
			err = leaf.CheckSignatureFrom(link.Trusted)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the master %s issued a certificate that is not its own: %w", d.Address, err)
		}
	}
	return &reply, link.Trusted, nil
}

type retry struct{ error }

func (r retry) Unwrap() []error { return []error{r.error, errRetry} }

func retriable(err error) error {
	var c *connection.Error
	if errors.As(err, &c) && (c.Class == connection.ClassTCP || c.Class == connection.ClassDNS) {
		return retry{err}
	}
	return err
}

// Explain turns what a master said into an error for people.
func Explain(master string, err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	e := &connection.Error{Class: connection.ClassAuth, Op: "ask the master " + master, Err: errors.New(shown(st.Message()))}
	switch st.Code() {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		e.Class, e.Hint = connection.ClassTCP, "The link broke; try again."
	case codes.ResourceExhausted:
		e.Class, e.Hint = connection.ClassTCP, "Wait a little and try again."
	case codes.Unauthenticated:
		e.Hint = "`sloth agent token` on the master, or somewhere logged in to it, makes a new token."
	case codes.AlreadyExists:
		e.Hint = "Choose another --name; or, where this machine takes the place of the other, first `sloth agent delete NAME`."
	case codes.PermissionDenied:
		e.Hint = "Ask an admin of the master."
	case codes.FailedPrecondition, codes.NotFound, codes.InvalidArgument, codes.Aborted:
		e.Class = connection.ClassChannel
	}
	return e
}
