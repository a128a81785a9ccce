package ssh_test

import (
	"context"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
)

// TestCloseWhileOpening ends the link, in the way that leaves writing
// possible, while channels are being opened: x/crypto forgets about those it
// hears of too late.
func TestCloseWhileOpening(t *testing.T) {
	key := newSigner(t)
	config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	opened := make(chan struct{}, 1000)
	cut := make(chan struct{})
	target := trusting(t, key, func(c net.Conn) {
		_, chans, reqs, err := xssh.NewServerConn(c, config)
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		wg.Go(func() { xssh.DiscardRequests(reqs) })
		wg.Go(func() {
			for ch := range chans {
				_ = ch.Reject(xssh.ConnectionFailed, "no")
				select {
				case opened <- struct{}{}:
				default:
				}
			}
		})
		<-cut
		_ = c.(*net.TCPConn).CloseWrite()
		wg.Wait()
	})
	d := newDialer(t, ssh.Config{ChannelTimeout: 30 * time.Second})
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	var before int
	for round := range rounds {
		c, err := d.Dial(testContext(t), target)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(testContext(t))
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					if _, err := c.Start(ctx, connection.Command{Line: "x"}); isLost(err) {
						return
					}
				}
			})
		}
		for range 20 {
			<-opened
		}
		cut <- struct{}{}
		wg.Wait()
		cancel()
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			buf := make([]byte, 1<<20)
			t.Fatalf("round %d: Close hangs\n%s", round, buf[:runtime.Stack(buf, true)])
		}
		if round == 0 {
			before = runtime.NumGoroutine()
		}
	}
	waitFor(t, "every goroutine to end", func() bool { return runtime.NumGoroutine() <= before })
}
