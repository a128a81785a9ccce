package ssh_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault30SlowServers holds the message for each way in which a server talks
// too little, too slowly or too much.
func TestFault30SlowServers(t *testing.T) {
	for _, c := range []badServer{
		{"accepts and says nothing", drain, connection.ClassTCP,
			`connect to {addr}: SSH handshake not finished after 300ms; the host accepts connections and says nothing`, `is this port an SSH server, and is the host healthy\?`, 1, 1},
		{"drips a banner", func(c net.Conn) {
			for _, b := range []byte(strings.Repeat("SSH-2.0-slow", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}, connection.ClassTCP, `connect to {addr}: SSH handshake not finished after 300ms; the host said "SSH-2[^"]*"`, `is this port an SSH server\?`, 1, 1},
		{"never ends its banner", func(c net.Conn) {
			line := []byte(strings.Repeat("x", 100) + "\r\n")
			for {
				if _, err := c.Write(line); err != nil {
					return
				}
			}
		}, connection.ClassTCP, `connect to {addr}: no SSH server answers there: .*(overflow reading version string|more than 1 MB).*; the host said "x+.*"`, `check address and port`, 1, 1},
		{"speaks HTTP", func(c net.Conn) {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n\x1b]52;c;AAAA\a"))
			drain(c)
		}, connection.ClassTCP, `connect to {addr}: SSH handshake not finished after 300ms; the host said "HTTP/1.1 400 Bad Request\?.*\?]52;c;AAAA\?"`, `is this port an SSH server\?`, 1, 1},
		{"sends garbage after its version", func(c net.Conn) {
			_, _ = c.Write([]byte("SSH-2.0-x\r\n" + strings.Repeat("\xff", 4096)))
			drain(c)
		}, connection.ClassTCP, `connect to {addr}: .+`, `.*`, 1, 1},
		{"never stops before the login", func(c net.Conn) {
			// Ignorable packets of 32 KB, for ever.
			_, _ = c.Write([]byte("SSH-2.0-x\r\n"))
			p := make([]byte, 32<<10)
			p[2], p[3], p[4], p[5] = 0x7f, 0xfc, 4, 2
			for {
				if _, err := c.Write(p); err != nil {
					return
				}
			}
		}, connection.ClassTCP, `connect to {addr}: .+`, `.*`, 1, 6},
	} {
		t.Run(c.name, c.check)
	}
}

// badServer is one that never gets as far as a login, and what is said of it.
type badServer struct {
	name                string
	serve               func(net.Conn)
	class               connection.Class
	message, hint       string // regular expressions; {addr} is replaced
	connections, atMost int32
}

func (c badServer) check(t *testing.T) {
	t.Parallel()
	addr, n := listen(t, c.serve)
	d := newDialer(t, ssh.Config{HandshakeTimeout: 300 * time.Millisecond})
	d.Hurry()
	start := time.Now()
	_, err := d.Dial(testContext(t), connection.Target{Name: "web-01", Address: "127.0.0.1", Port: addr.Port})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	ce := asError(t, err)
	message := "^" + strings.ReplaceAll(c.message, "{addr}", regexp.QuoteMeta(addr.String())) + "$"
	if ce.Class != c.class || ce.Host != "web-01" || !regexp.MustCompile(message).MatchString(ce.Error()) || !regexp.MustCompile("^"+c.hint+"$").MatchString(ce.Hint) {
		t.Errorf("got %s, host %q\n %s\n %s", ce.Class, ce.Host, ce.Error(), ce.Hint)
	}
	if got := n.Load(); got < c.connections || got > c.atMost {
		t.Errorf("%d connections", got)
	}
	if strings.ContainsFunc(ce.Error(), func(r rune) bool { return r < ' ' || r == 0x7f }) {
		t.Errorf("control characters in %q", ce.Error())
	}
}

// TestFault30OthersUnaffected: a fleet of silent hosts delays no healthy one.
func TestFault30OthersUnaffected(t *testing.T) {
	t.Parallel()
	addr, _ := listen(t, drain)
	s := sshdtest.Start(t, sshdtest.Options{})
	ctx, cancel := context.WithCancel(testContext(t))
	d := newDialer(t, ssh.Config{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			_, err := d.Dial(ctx, connection.Target{Name: fmt.Sprint("silent-", i), Address: "127.0.0.1", Port: addr.Port})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("a silent host gave %v before the healthy one was done", err)
			}
		})
	}
	works(t, d, s.Target())
	cancel()
	wg.Wait()
}
