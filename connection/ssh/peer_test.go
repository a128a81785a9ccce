package ssh_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// listen serves every connection with f until the test ends, and counts them.
func listen(t testing.TB, f func(net.Conn)) (*net.TCPAddr, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n.Add(1)
			wg.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().(*net.TCPAddr), &n
}

func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// hostile is an SSH server that lets everybody in and then does what f says.
func hostile(t *testing.T, f func(conn *xssh.ServerConn, chans <-chan xssh.NewChannel, reqs <-chan *xssh.Request)) connection.Target {
	t.Helper()
	key := newSigner(t)
	config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	return trusting(t, key, func(c net.Conn) {
		conn, chans, reqs, err := xssh.NewServerConn(c, config)
		if err == nil {
			f(conn, chans, reqs)
		}
	})
}

// trusting serves connections with f and gives the target that believes in key.
func trusting(t *testing.T, key xssh.Signer, f func(net.Conn)) connection.Target {
	t.Helper()
	addr, _ := listen(t, f)
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s\n", addr.Port, authorized(key.PublicKey())))
	private := keygen(t, t.TempDir(), "key", "-t", "ed25519", "-N", "")
	return connection.Target{Name: "evil", Address: "127.0.0.1", Port: addr.Port, User: "u", PrivateKeyFile: private, Options: map[string]string{
		"userknownhostsfile": known, "globalknownhostsfile": "none", "identityagent": "none", "stricthostkeychecking": "yes",
	}}
}

// isLost reports whether the connection is gone, as against refusing one thing.
func isLost(err error) bool {
	var ce *connection.Error
	return errors.As(err, &ce) && ce.Class == connection.ClassTCP
}
