package ssh

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

const (
	agentAnswer = 10 * time.Second // to list keys
	agentSign   = 60 * time.Second // somebody may have to confirm
)

// agentKeys is the ssh-agent behind one socket. One connection and one listing
// serve all hosts. It is never forwarded.
type agentKeys struct {
	socket string

	mu     sync.Mutex
	conn   net.Conn
	client agent.ExtendedAgent
	keys   []*agent.Key
	listed bool
	err    error
}

// list returns the agent's keys. An agent that can't be reached has none; the
// reason is kept for the message when nothing else lets us in.
func (a *agentKeys) list() ([]*agent.Key, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.listed {
		return a.keys, a.err
	}
	a.listed = true
	if a.err = a.connect(); a.err != nil {
		return nil, a.err
	}
	timer := time.AfterFunc(agentAnswer, func() { a.conn.Close() })
	defer timer.Stop()
	if a.keys, a.err = a.client.List(); a.err != nil {
		a.err = fmt.Errorf("ask the ssh-agent for its keys: %w", a.err)
	}
	return a.keys, a.err
}

func (a *agentKeys) connect() error {
	conn, err := net.DialTimeout("unix", a.socket, agentAnswer)
	if err != nil {
		return fmt.Errorf("reach the ssh-agent: %w", err)
	}
	a.conn, a.client = conn, agent.NewClient(conn)
	return nil
}

// signer signs with one of the agent's keys.
func (a *agentKeys) signer(key ssh.PublicKey) func(context.Context, []byte, string) (*ssh.Signature, error) {
	return func(ctx context.Context, data []byte, algorithm string) (*ssh.Signature, error) {
		var flags agent.SignatureFlags
		switch algorithm {
		case ssh.KeyAlgoRSASHA256:
			flags = agent.SignatureFlagRsaSha256
		case ssh.KeyAlgoRSASHA512:
			flags = agent.SignatureFlagRsaSha512
		}
		a.mu.Lock()
		conn, client := a.conn, a.client
		a.mu.Unlock()
		type answer struct {
			sig *ssh.Signature
			err error
		}
		done := make(chan answer, 1)
		go func() {
			sig, err := client.SignWithFlags(key, data, flags)
			done <- answer{sig, err}
		}()
		timer := time.NewTimer(agentSign)
		defer timer.Stop()
		var err error
		select {
		case got := <-done:
			if got.err != nil {
				return nil, fmt.Errorf("the ssh-agent does not sign: %w", got.err)
			}
			return got.sig, nil
		case <-ctx.Done():
			err = ctx.Err()
		case <-timer.C:
			err = fmt.Errorf("the ssh-agent has not signed in %v", agentSign)
		}
		conn.Close() // ends the pending call; an agent this slow is no help to other hosts either
		<-done
		return nil, err
	}
}

func (a *agentKeys) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.conn != nil {
		a.conn.Close()
	}
}
