package faultproxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

const patience = 10 * time.Second

// server records what reaches it and answers with the same.
type server struct {
	addr  string
	ended chan error // how each connection's input ended

	mu  sync.Mutex
	got []byte
}

func (s *server) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.got)
}

func echo(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), ended: make(chan error, 100)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					s.mu.Lock()
					s.got = append(s.got, buf[:n]...)
					s.mu.Unlock()
					if err != nil {
						s.ended <- err
						return
					}
					if _, err := c.Write(buf[:n]); err != nil { // the kernel tells of a reset once
						s.ended <- err
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return s
}

func setup(t *testing.T) (*faultproxy.Proxy, *server) {
	t.Helper()
	s := echo(t)
	return faultproxy.Start(t, s.addr), s
}

func dial(t *testing.T, p *faultproxy.Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("got %q, %v; want %q", got[:n], err, want)
	}
}

func talk(t *testing.T, c net.Conn, s string) {
	t.Helper()
	send(t, c, s)
	expect(t, c, s)
}

func await[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// quiet fails when something arrives within a moment.
func quiet(t *testing.T, c net.Conn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(make([]byte, 100)); !isTimeout(err) {
		t.Errorf("got %d bytes, %v; want silence", n, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func TestForwards(t *testing.T) {
	p, s := setup(t)
	c := dial(t, p)
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() { _, _ = c.Write(data); _ = c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes back, %v", len(got), err)
	}
	if err := await(t, "the server's end", s.ended); !errors.Is(err, io.EOF) {
		t.Errorf("the server saw %v", err)
	}
	if up, down := p.Bytes(); up != int64(len(data)) || down != up {
		t.Errorf("counted %d up, %d down", up, down)
	}
	if p.Accepted() != 1 {
		t.Errorf("accepted %d", p.Accepted())
	}
}

// TestAfterByte: faults come exactly behind byte n, whatever the writes were.
func TestAfterByte(t *testing.T) {
	for _, n := range []int64{0, 1, 9, 10, 25} {
		for name, fault := range map[string]func(*faultproxy.Proxy) <-chan struct{}{
			"cut":   func(p *faultproxy.Proxy) <-chan struct{} { return p.CutAfter(n, faultproxy.ToServer) },
			"reset": func(p *faultproxy.Proxy) <-chan struct{} { return p.ResetAfter(n, faultproxy.ToServer) },
		} {
			p, s := setup(t)
			fired := fault(p)
			c := dial(t, p)
			var clientEnd error
			for range 3 {
				if _, err := io.WriteString(c, "0123456789"); clientEnd == nil {
					clientEnd = err
				}
			}
			await(t, "the fault", fired)
			serverEnd := await(t, "the server's end", s.ended)
			if _, err := io.ReadAll(c); clientEnd == nil {
				clientEnd = err
			}
			if name == "cut" && (clientEnd != nil || !errors.Is(serverEnd, io.EOF)) {
				t.Errorf("cut after %d: client %v, server %v", n, clientEnd, serverEnd)
			}
			if name == "reset" && (!isReset(clientEnd) || !isReset(serverEnd)) {
				t.Errorf("reset after %d: client %v, server %v", n, clientEnd, serverEnd)
			}
			// A reset may overtake what has been sent, a cut may not.
			if got := s.received(); name == "cut" && int64(len(got)) != n || int64(len(got)) > n {
				t.Errorf("%s after %d: the server got %q", name, n, got)
			}
			if up, _ := p.Bytes(); up != n {
				t.Errorf("%s after %d: counted %d", name, n, up)
			}
			talk(t, dial(t, p), "again") // it happens once
		}
	}
}

func TestAfterInTheOtherDirection(t *testing.T) {
	p, s := setup(t)
	c := dial(t, p)
	fired := p.CutAfter(4, faultproxy.ToClient)
	send(t, c, "0123456789")
	await(t, "the fault", fired)
	if got, err := io.ReadAll(c); err != nil || string(got) != "0123" {
		t.Errorf("got %q, %v", got, err)
	}
	if s.received() != "0123456789" {
		t.Errorf("the server got %q", s.received())
	}
	c = dial(t, p)
	p.CutAfter(1, faultproxy.ToServer)
	p.Disarm()
	talk(t, c, "goes on")
}

func TestNow(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(*faultproxy.Proxy)
		err   error
	}{
		"cut": {(*faultproxy.Proxy).Cut, io.EOF}, "reset": {(*faultproxy.Proxy).Reset, syscall.ECONNRESET},
		"one": {func(p *faultproxy.Proxy) { p.Links()[0].Reset() }, syscall.ECONNRESET},
	} {
		p, s := setup(t)
		conn, other := dial(t, p), dial(t, p)
		talk(t, conn, "hello")
		talk(t, other, "hello")
		link := p.Links()[0]
		c.fault(p)
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, c.err) {
			t.Errorf("%s: the client saw %v", name, err)
		}
		conn.Close()
		if err := await(t, "the server's end", s.ended); !errors.Is(err, c.err) {
			t.Errorf("%s: the server saw %v", name, err)
		}
		await(t, "the link's end", link.Done())
		if name == "one" {
			talk(t, other, "still here")
		}
		talk(t, dial(t, p), "again")
	}
}

func TestStall(t *testing.T) {
	p, s := setup(t)
	c := dial(t, p)
	talk(t, c, "before")
	p.Stall(faultproxy.ToClient)
	send(t, c, "one way")
	quiet(t, c)
	late := dial(t, p)
	send(t, late, "late")
	quiet(t, late)
	p.Heal()
	expect(t, c, "one way")
	expect(t, late, "late")

	fired := p.StallAfter(3, faultproxy.ToServer)
	send(t, c, "012345")
	await(t, "the fault", fired)
	quiet(t, c)
	p.Links()[0].Stall(faultproxy.Both) // and this one for longer
	if got := s.received(); got != "beforeone waylate012" && got != "beforelateone way012" {
		t.Errorf("the server got %q", got)
	}
	c.CloseWrite() // an end is held back too
	select {
	case err := <-s.ended:
		t.Errorf("the server saw %v through a stalled link", err)
	default:
	}
	p.Heal()
	if got, err := io.ReadAll(c); err != nil || string(got) != "012345" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBlackhole(t *testing.T) {
	p, s := setup(t)
	c := dial(t, p)
	talk(t, c, "before")
	fired := p.BlackholeAfter(2, faultproxy.ToServer)
	send(t, c, "012345")
	await(t, "the fault", fired)
	fresh := dial(t, p)
	send(t, fresh, "lost")
	quiet(t, fresh)
	p.Heal()
	send(t, c, "lost for ever")
	quiet(t, c)
	if got := s.received(); got != "before01" && got != "before" {
		t.Errorf("the server got %q", got)
	}
	talk(t, dial(t, p), "again")
	select {
	case err := <-s.ended:
		t.Errorf("the server saw %v through a black hole", err)
	default:
	}
}

func TestRefuse(t *testing.T) {
	p, _ := setup(t)
	c := dial(t, p)
	p.Refuse(true)
	p.Refuse(true)
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	talk(t, c, "open ones go on")
	p.Refuse(false)
	talk(t, dial(t, p), "again")
	p.Refuse(true)
	p.Heal()
	talk(t, dial(t, p), "again")
}

func TestDelay(t *testing.T) {
	p, _ := setup(t)
	const rtt = 60 * time.Millisecond
	p.Delay(rtt, 5*time.Millisecond)
	c := dial(t, p)
	begin := time.Now()
	talk(t, c, "x")
	if took := time.Since(begin); took < rtt {
		t.Errorf("a round trip took %v", took)
	}
	// Pieces overtake nobody, and many are under way at once.
	var all []byte
	for i := range 100 {
		b := []byte{byte(i)}
		all = append(all, b...)
		send(t, c, string(b))
	}
	begin = time.Now()
	expect(t, c, string(all))
	if took := time.Since(begin); took > 50*rtt {
		t.Errorf("a hundred pieces took %v", took)
	}
	p.Delay(0, 0)
	talk(t, c, "y")
}

func TestServerGone(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := faultproxy.Start(t, l.Addr().String())
	l.Close()
	c, err := net.DialTimeout("tcp", p.Addr(), patience)
	if err == nil {
		defer c.Close()
		_, err = c.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}

// TestClose: nothing is left, whatever state the links were in.
func TestClose(t *testing.T) {
	s := echo(t)
	before := runtime.NumGoroutine()
	for _, fault := range []func(*faultproxy.Proxy){
		func(*faultproxy.Proxy) {},
		func(p *faultproxy.Proxy) { p.Stall(faultproxy.Both) },
		func(p *faultproxy.Proxy) { p.Blackhole() },
		func(p *faultproxy.Proxy) { p.Cut() },
		func(p *faultproxy.Proxy) { p.Refuse(true) },
		func(p *faultproxy.Proxy) { p.Delay(time.Hour, 0) },
	} {
		p, err := faultproxy.Listen(s.addr)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, p)
		talk(t, c, "hello")
		fault(p)
		send(t, c, "more")
		closed := make(chan struct{})
		go func() { p.Close(); close(closed) }()
		await(t, "Close", closed)
		c.Close()
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestSSHTarget(t *testing.T) {
	s := sshdtest.Start(t, sshdtest.Options{})
	p := faultproxy.Start(t, s.Addr())
	got := p.Target(s.Target())
	want := connection.Target{Name: s.Name, Address: p.Host(), Port: p.Port(), User: s.User}
	if got.Name != want.Name || got.Address != want.Address || got.Port != want.Port || got.User != want.User {
		t.Errorf("got %+v", got)
	}
	if _, there := s.Target().Options["hostkeyalias"]; there || got.Options["hostkeyalias"] == "" {
		t.Error("the alias is not there, or in the server's own target too")
	}
	c := dial(t, p)
	expect(t, c, "SSH-2.0-")
}
