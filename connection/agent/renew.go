package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/pki"
)

func randN(d time.Duration) time.Duration {
	return rand.N(d) //nolint:gosec // so that not all come at once
}

// renewEvery is how often a certificate that should be renewed is tried again.
const renewEvery = time.Hour

// dueIn is how long a certificate is good enough: until a third of its life is
// left.
func (k *Keep) dueIn(now time.Time) time.Duration {
	leaf := k.cert.Leaf
	return leaf.NotAfter.Add(-leaf.NotAfter.Sub(leaf.NotBefore) / 3).Sub(now)
}

// Due reports whether a certificate should be renewed.
func (k *Keep) Due(now time.Time) bool { return k.cert != nil && k.dueIn(now) <= 0 }

// renew gets another certificate before the one we have expires.
func (a *Agent) renew(ctx context.Context, link *Link) {
	k := a.o.Keep
	for {
		due := time.NewTimer(max(k.dueIn(time.Now()), 0) + randN(time.Minute))
		select {
		case <-due.C:
		case <-ctx.Done():
			due.Stop()
			return
		}
		if err := k.Renew(ctx, link, MethodRenew); err != nil {
			a.o.Log("the certificate, good until %s, was not renewed: %v", k.cert.Leaf.NotAfter.Format(time.RFC3339), err)
			select {
			case <-time.After(renewEvery):
			case <-ctx.Done():
				return
			}
			continue
		}
		a.o.Log("the certificate was renewed, until %s", k.cert.Leaf.NotAfter.Format(time.RFC3339))
	}
}

// Renew asks the master for another certificate for the same key.
func (k *Keep) Renew(ctx context.Context, link *Link, method string) error {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	csr, err := pki.Request(k.key)
	if err != nil {
		return err
	}
	var reply EnrolReply
	if err := link.Invoke(ctx, method, &RenewRequest{Request: csr}, &reply); err != nil {
		return Explain(link.address, err)
	}
	if len(reply.Cert) == 0 {
		return fmt.Errorf("the master %s sent no certificate", link.address)
	}
	return k.Store(k.kept.Name, k.kept.Master, reply.Cert, link.Trusted)
}
