package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
)

// TestHostileServer: whatever a host does to a session, it hangs nobody.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	accept := func(f func(xssh.Channel, <-chan *xssh.Request)) connection.Target {
		return hostile(t, func(conn *xssh.ServerConn, chans <-chan xssh.NewChannel, reqs <-chan *xssh.Request) {
			go xssh.DiscardRequests(reqs)
			var wg sync.WaitGroup
			for n := range chans {
				ch, reqs, err := n.Accept()
				if err != nil {
					break
				}
				wg.Go(func() { f(ch, reqs) })
			}
			wg.Wait()
		})
	}
	start := func(t *testing.T, target connection.Target, c ssh.Config) (connection.Process, error) {
		conn, err := newDialer(t, c).Dial(testContext(t), target)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn.Start(testContext(t), connection.Command{Line: "x"})
	}
	t.Run("channel never opened", func(t *testing.T) {
		target := hostile(t, func(conn *xssh.ServerConn, chans <-chan xssh.NewChannel, reqs <-chan *xssh.Request) {
			go xssh.DiscardRequests(reqs)
			_ = conn.Wait()
		})
		_, err := start(t, target, ssh.Config{ChannelTimeout: 200 * time.Millisecond})
		if ce := asError(t, err); ce.Class != connection.ClassChannel || ce.Error() != "open a session channel: no answer in 200ms" {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
	})
	t.Run("exec never answered", func(t *testing.T) {
		target := accept(func(ch xssh.Channel, reqs <-chan *xssh.Request) {
			for range reqs {
			}
		})
		_, err := start(t, target, ssh.Config{ChannelTimeout: 200 * time.Millisecond})
		if ce := asError(t, err); ce.Class != connection.ClassChannel || ce.Error() != "start a command: the host does not answer" {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
	})
	t.Run("exec refused", func(t *testing.T) {
		target := accept(func(ch xssh.Channel, reqs <-chan *xssh.Request) {
			for r := range reqs {
				_ = r.Reply(false, nil)
			}
		})
		_, err := start(t, target, ssh.Config{})
		if ce := asError(t, err); ce.Class != connection.ClassChannel || ce.Error() != "start a command: the host refuses to run commands" {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
	})
	run := func(f func(ch xssh.Channel)) connection.Target {
		return accept(func(ch xssh.Channel, reqs <-chan *xssh.Request) {
			for r := range reqs {
				_ = r.Reply(true, nil)
				if r.Type == "exec" {
					f(ch)
				}
			}
		})
	}
	t.Run("no exit status", func(t *testing.T) {
		p, err := start(t, run(func(ch xssh.Channel) { ch.Close() }), ssh.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if ce := asError(t, p.Wait()); ce.Class != connection.ClassChannel || ce.Error() != "wait for the command: it ended without an exit status" {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
	})
	t.Run("broken exit status", func(t *testing.T) {
		p, err := start(t, run(func(ch xssh.Channel) {
			_, _ = ch.SendRequest("exit-status", false, []byte{1})
			ch.Close()
		}), ssh.Config{})
		if err != nil {
			t.Fatal(err)
		}
		asError(t, p.Wait())
	})
	t.Run("escape characters in a signal", func(t *testing.T) {
		p, err := start(t, run(func(ch xssh.Channel) {
			_, _ = ch.SendRequest("exit-signal", false, xssh.Marshal(&struct {
				Signal string
				Core   bool
				A, B   string
			}{"\x1b[31mKILL", false, "", ""}))
			ch.Close()
		}), ssh.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Wait(); strings.Contains(err.Error(), "\x1b") {
			t.Errorf("got %q", err)
		}
	})
	t.Run("data after the exit status", func(t *testing.T) {
		// Sends for ever; the exit status alone must not end the stream, a
		// cancel must.
		target := run(func(ch xssh.Channel) {
			_, _ = ch.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
			for {
				if _, err := ch.Write(make([]byte, 1000)); err != nil {
					return
				}
			}
		})
		conn := mustDial(t, newDialer(t, ssh.Config{}), target)
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		err := connection.Run(ctx, conn, connection.Command{Line: "x"}, nil, io.Discard, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("login that never ends", func(t *testing.T) {
		block := make(chan struct{})
		config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) {
			<-block
			return nil, errors.New("no")
		}}
		key := newSigner(t)
		config.AddHostKey(key)
		addr, _ := listen(t, func(c net.Conn) { _, _, _, _ = xssh.NewServerConn(c, config) })
		t.Cleanup(func() { close(block) })
		known := filepath.Join(t.TempDir(), "known_hosts")
		write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s\n", addr.Port, authorized(key.PublicKey())))
		_, err := newDialer(t, ssh.Config{AuthTimeout: 200 * time.Millisecond}).Dial(testContext(t), connection.Target{
			Name: "127.0.0.1", Port: addr.Port, PrivateKeyFile: keygen(t, t.TempDir(), "key", "-t", "ed25519", "-N", ""),
			Options: map[string]string{"userknownhostsfile": known, "identityagent": "none"},
		})
		if ce := asError(t, err); ce.Class != connection.ClassAuth || !strings.Contains(ce.Error(), "login not finished after 200ms") {
			t.Errorf("got %s: %v", ce.Class, ce)
		}
	})
}
