package remote

import (
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/sshclient"
)

// tunnel listens on the controller and forwards through a connection.
type tunnel struct {
	conn     *conn
	listener net.Listener
	cancel   context.CancelFunc
	all      sync.WaitGroup
}

// maxThrough is how many connections go through one tunnel at once.
const maxThrough = 100

func (c *Connections) createTunnel(ctx context.Context, call modules.Call, one *conn, a *sshclient.CreateTunnel) (any, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(a.LocalHost, strconv.Itoa(a.LocalPort)))
	if err != nil {
		return nil, err
	}
	// It outlives the call, and ends with the run at the latest.
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t := &tunnel{conn: one, listener: l, cancel: cancel}
	target := net.JoinHostPort(a.RemoteHost, strconv.Itoa(a.RemotePort))
	t.all.Go(func() {
		t.serve(inner, func(ctx context.Context) (net.Conn, error) {
			far, err := one.Forward(ctx, a.RemoteHost, a.RemotePort)
			if err != nil && ctx.Err() == nil {
				call.Log("warn", fmt.Sprintf("ssh: the tunnel to %s: %v", target, err), nil)
			}
			return far, err
		})
	})
	id, err := c.enter("tunnel", func(id string) { c.tunnels[id] = t })
	if err != nil {
		t.close()
		return nil, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return map[string]any{
		"success": true, "changed": false, "id": id, "local_host": a.LocalHost, "local_port": int64(port),
		"remote_host": a.RemoteHost, "remote_port": int64(a.RemotePort),
	}, nil
}

func (c *Connections) closeTunnel(id string) (any, error) {
	c.mu.Lock()
	t := c.tunnels[id]
	delete(c.tunnels, id)
	c.mu.Unlock()
	if t == nil {
		return nil, fmt.Errorf("there is no tunnel %q: it is closed", id)
	}
	t.close()
	return done(false), nil
}

// close ends everything that goes through, and waits for it.
func (t *tunnel) close() {
	t.cancel()
	_ = t.listener.Close()
	t.all.Wait()
}

func (t *tunnel) serve(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	slots := make(chan struct{}, maxThrough)
	for {
		near, err := t.listener.Accept()
		if err != nil {
			return // closed
		}
		select {
		case slots <- struct{}{}:
		default:
			_ = near.Close()
			continue
		}
		t.all.Go(func() {
			defer func() { <-slots }()
			defer near.Close()
			far, err := dial(ctx)
			if err != nil {
				return
			}
			defer far.Close()
			stop := context.AfterFunc(ctx, func() { _ = near.Close(); _ = far.Close() })
			defer stop()
			join(near, far)
		})
	}
}

// join copies both ways. The end of one direction is passed on; the other may
// go on.
func join(near, far net.Conn) {
	var both sync.WaitGroup
	one := func(to, from net.Conn) {
		_, err := io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
			_ = half.CloseWrite()
			return
		}
		_ = to.Close()
	}
	both.Go(func() { one(near, far) })
	both.Go(func() { one(far, near) })
	both.Wait()
}
