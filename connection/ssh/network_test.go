package ssh_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
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

// TestUnreachable holds the message for each way in which there is no SSH
// server to talk to.
func TestUnreachable(t *testing.T) {
	for _, c := range []struct {
		name                string
		serve               func(net.Conn)
		class               connection.Class
		message, hint       string // regular expressions; {addr} is replaced
		connections, atMost int32
	}{
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
		{"hangs up", func(net.Conn) {}, connection.ClassTCP,
			`connect to {addr}: the host hung up before the key exchange`, `the host may limit new connections .*`, 6, 6},
		{"hangs up with a reason", func(c net.Conn) { _, _ = c.Write([]byte("Not allowed at this time\r\n")) }, connection.ClassTCP,
			`connect to {addr}: the host hung up before the key exchange, saying "Not allowed at this time"`, `the host may limit new connections .*`, 6, 6},
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
		t.Run(c.name, func(t *testing.T) {
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
		})
	}
	t.Run("connection refused", func(t *testing.T) {
		addr, _ := listen(t, drain)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		_, err = newDialer(t, ssh.Config{}).Dial(testContext(t), connection.Target{Name: "127.0.0.1", Port: port})
		ce := asError(t, err)
		if want := fmt.Sprintf("dial 127.0.0.1:%d: connection refused", port); ce.Error() != want || ce.Class != connection.ClassTCP ||
			ce.Hint != fmt.Sprintf("nothing listens on port %d there: is sshd running, is the port right?", port) {
			t.Errorf("got %s: %v (%s), want %s", ce.Class, ce, ce.Hint, want)
		}
		_ = addr
	})
	t.Run("no such name", func(t *testing.T) {
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), connection.Target{Name: "web-01", Address: "no-such-host.invalid"})
		ce := asError(t, err)
		if ce.Class != connection.ClassDNS || !strings.HasPrefix(ce.Error(), "dial no-such-host.invalid:22: the name no-such-host.invalid does not resolve: ") ||
			ce.Hint != "check the name, or give web-01 an address (ansible_host, HostName)" {
			t.Errorf("got %s: %v (%s)", ce.Class, ce, ce.Hint)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		addr, _ := listen(t, drain)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		_, err := newDialer(t, ssh.Config{}).Dial(ctx, connection.Target{Name: "127.0.0.1", Port: addr.Port})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("configuration", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "config")
		write(t, file, "Host *\n  Prot 22\n")
		_, err := newDialer(t, ssh.Config{ConfigFile: file}).Dial(testContext(t), connection.Target{Name: "web-01"})
		if ce := asError(t, err); ce.Error() != "prepare connection to web-01: "+file+":2: bad configuration option: prot" {
			t.Errorf("got %v", ce)
		}
		_, err = newDialer(t, ssh.Config{ConfigFile: file + ".missing"}).Dial(testContext(t), connection.Target{Name: "web-01"})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("both address families", func(t *testing.T) {
		s := sshdtest.Start(t, sshdtest.Options{Address: "127.0.0.1"})
		target := s.Target()
		target.Address = "localhost" // may be ::1 first, where nobody listens
		target.Options["hostkeyalias"] = fmt.Sprintf("[%s]:%d", s.Host, s.Port)
		works(t, newDialer(t, ssh.Config{}), target)
	})
}

// TestMaxStartups: an sshd that takes few newcomers gets few at a time, and
// those it drops come again.
func TestMaxStartups(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxStartups 2:100:2"}})
	dialMany(t, newDialer(t, ssh.Config{}), s, 20)
	if !strings.Contains(s.Log(), "MaxStartups throttling") {
		t.Error("no connection was dropped: the test shows nothing")
	}
}

// TestUnauthenticatedLimit counts who is between connect and login.
func TestUnauthenticatedLimit(t *testing.T) {
	t.Parallel()
	var now, most atomic.Int32
	key := newSigner(t)
	config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) {
		time.Sleep(5 * time.Millisecond) // lets others come, if they may
		return nil, nil
	}}
	config.AddHostKey(key)
	addr, _ := listen(t, func(c net.Conn) {
		n := now.Add(1)
		for {
			m := most.Load()
			if n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		conn, chans, reqs, err := xssh.NewServerConn(c, config)
		now.Add(-1)
		if err != nil {
			return
		}
		go xssh.DiscardRequests(reqs)
		go func() {
			for range chans {
			}
		}()
		_ = conn.Wait()
	})
	known := filepath.Join(t.TempDir(), "known_hosts")
	write(t, known, fmt.Sprintf("[127.0.0.1]:%d %s\n", addr.Port, authorized(key.PublicKey())))
	d := newDialer(t, ssh.Config{})
	target := connection.Target{Name: "127.0.0.1", Port: addr.Port, PrivateKeyFile: keygen(t, t.TempDir(), "key", "-t", "ed25519", "-N", ""),
		Options: map[string]string{"userknownhostsfile": known, "identityagent": "none"}}
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), target)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	// The server counts a login a moment longer than the client.
	if m := most.Load(); m < 4 || m > 10 {
		t.Errorf("%d were let in at once", m)
	}
}

func dialMany(t *testing.T, d *ssh.Dialer, s *sshdtest.Server, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			c, err := d.Dial(testContext(t), s.Target())
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
}

func TestMaxSessions(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxSessions 1"}})
	c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
	first, err := c.Start(testContext(t), connection.Command{Argv: []string{"cat"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Start(ctx, connection.Command{Argv: []string{"true"}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second session gives %v", err)
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		if err := c.Download(testContext(t), "/etc/passwd", io.Discard); err != nil {
			t.Error(err)
		}
	})
	if err := first.Stdin().Close(); err != nil {
		t.Error(err)
	}
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	t.Run("none at all", func(t *testing.T) {
		s := sshdtest.Start(t, sshdtest.Options{Config: []string{"MaxSessions 0"}})
		c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
		_, err := c.Start(testContext(t), connection.Command{Argv: []string{"true"}})
		expect(t, s, err, connection.ClassChannel, `open a session: the host refuses every session: .*`, `check MaxSessions in its sshd_config`)
	})
}

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

// TestHostileServer: nothing a host asks for is granted, and none of it hangs us.
func TestHostileServer(t *testing.T) {
	t.Parallel()
	t.Run("channels and requests back", func(t *testing.T) {
		results := make(chan string, 20)
		target := hostile(t, func(conn *xssh.ServerConn, chans <-chan xssh.NewChannel, reqs <-chan *xssh.Request) {
			go xssh.DiscardRequests(reqs)
			go func() {
				for ch := range chans {
					_ = ch.Reject(xssh.Prohibited, "")
				}
			}()
			for _, kind := range []string{"auth-agent@openssh.com", "x11", "forwarded-tcpip", "session", "direct-tcpip", "forwarded-streamlocal@openssh.com"} {
				if _, _, err := conn.OpenChannel(kind, nil); err == nil {
					results <- "opened " + kind
				}
			}
			for _, kind := range []string{"tcpip-forward", "hostkeys-00@openssh.com", "no-more-sessions@openssh.com"} {
				if ok, _, _ := conn.SendRequest(kind, true, nil); ok {
					results <- "granted " + kind
				}
			}
			close(results)
			_ = conn.Wait()
		})
		mustDial(t, newDialer(t, ssh.Config{}), target)
		for r := range results {
			t.Errorf("the host %s", r)
		}
	})
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

// TestNoise: what a host says around the session reaches nobody.
func TestNoise(t *testing.T) {
	t.Parallel()
	banner := filepath.Join(t.TempDir(), "banner")
	write(t, banner, strings.Repeat("WELCOME\n", 1000))
	s := sshdtest.Start(t, sshdtest.Options{Config: []string{"Banner " + banner, "PrintMotd yes"}})
	write(t, s.Home+"/.bashrc", "echo noise from bashrc\n")
	c := mustDial(t, newDialer(t, ssh.Config{}), s.Target())
	p, err := c.Start(testContext(t), connection.Command{Argv: []string{"echo", "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for sc := bufio.NewScanner(p.Stdout()); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	// A shell's own start-up files are the caller's to see through.
	if n := len(lines); n == 0 || n > 2 || lines[n-1] != "hello" {
		t.Errorf("got %q", lines)
	}
}
