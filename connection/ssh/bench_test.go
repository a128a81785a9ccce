package ssh_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	xssh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// BenchmarkFleet runs one command on fifty hosts at once, cold: "sloth" the way
// this package does it, "floor" as the shortest loop over x/crypto/ssh.
func BenchmarkFleet(b *testing.B) {
	const n = 50
	servers := sshdtest.StartAll(b, n, sshdtest.Options{Name: "bench"})
	all := func(b *testing.B, one func(s *sshdtest.Server) error) {
		var wg sync.WaitGroup
		for _, s := range servers {
			wg.Go(func() {
				if err := one(s); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	// One known_hosts file for all, as a user has it.
	var known []byte
	for _, s := range servers {
		text, err := os.ReadFile(s.KnownHosts)
		if err != nil {
			b.Fatal(err)
		}
		known = append(known, text...)
	}
	file := filepath.Join(b.TempDir(), "known_hosts")
	if err := os.WriteFile(file, known, 0o600); err != nil {
		b.Fatal(err)
	}
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			check, err := knownhosts.New(file)
			if err != nil {
				b.Fatal(err)
			}
			config := &xssh.ClientConfig{User: "root", Auth: []xssh.AuthMethod{xssh.PublicKeys(sshdtest.TestKey())}, HostKeyCallback: check, HostKeyAlgorithms: []string{"ssh-ed25519"}}
			all(b, func(s *sshdtest.Server) error { return bare(s, config) })
		}
	})
	b.Run("sloth", func(b *testing.B) {
		for b.Loop() {
			d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
			p := connection.NewPool(d.Dial, connection.PoolOptions{})
			all(b, func(s *sshdtest.Server) error {
				t := s.Target()
				t.Options["userknownhostsfile"] = file
				c, err := p.Get(b.Context(), t)
				if err != nil {
					return err
				}
				var out bytes.Buffer
				return connection.Run(b.Context(), c, connection.Command{Line: "true"}, nil, &out, nil)
			})
			if err := p.Close(); err != nil {
				b.Error(err)
			}
			d.Close()
		}
	})
}

// quick acknowledges at once, as the floor is defined.
type quick struct{ *net.TCPConn }

func (q quick) Read(b []byte) (int, error) {
	n, err := q.TCPConn.Read(b)
	if rc, e := q.SyscallConn(); e == nil {
		_ = rc.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, 12, 1) })
	}
	return n, err
}

func bare(s *sshdtest.Server, config *xssh.ClientConfig) error {
	nc, err := net.Dial("tcp", s.Addr())
	if err != nil {
		return err
	}
	conn, chans, reqs, err := xssh.NewClientConn(quick{nc.(*net.TCPConn)}, s.Addr(), config)
	if err != nil {
		return err
	}
	c := xssh.NewClient(conn, chans, reqs)
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return err
	}
	_, err = session.CombinedOutput("true")
	return err
}

// BenchmarkKnownHosts looks fifty hosts up in a file of 10,000 hashed names.
func BenchmarkKnownHosts(b *testing.B) {
	var text bytes.Buffer
	key := xssh.MarshalAuthorizedKey(newSigner(b).PublicKey())
	for i := range 10_000 {
		fmt.Fprintf(&text, "%s %s", knownhosts.HashHostname(fmt.Sprintf("host-%d", i)), key)
	}
	b.ResetTimer()
	for b.Loop() {
		if n := ssh.LookUp(text.Bytes(), "host-1", 50); n == 0 {
			b.Fatal("nothing found")
		}
	}
}

// TestMain lets the test binary be the server of BenchmarkIdle, whose memory
// must not be counted as ours.
func TestMain(m *testing.M) {
	if os.Getenv("SLOTH_IDLE_SERVER") != "" {
		if err := idleServer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// idleServer accepts everybody and every session, and does nothing. It ends
// with its standard input.
func idleServer() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	key, err := xssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	config := &xssh.ServerConfig{PublicKeyCallback: func(xssh.ConnMetadata, xssh.PublicKey) (*xssh.Permissions, error) { return nil, nil }}
	config.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("%s %s", l.Addr(), xssh.MarshalAuthorizedKey(key.PublicKey()))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			_, chans, reqs, err := xssh.NewServerConn(nc, config)
			if err != nil {
				return
			}
			go xssh.DiscardRequests(reqs)
			for ch := range chans {
				_, reqs, err := ch.Accept()
				if err != nil {
					return
				}
				go func() {
					for r := range reqs {
						_ = r.Reply(r.Type == "exec", nil)
					}
				}()
			}
		}()
	}
}

// BenchmarkIdle measures the memory of 1,000 idle connections, without and with
// an open session each, as a run has them.
func BenchmarkIdle(b *testing.B) {
	for _, session := range []bool{false, true} {
		b.Run(fmt.Sprintf("session=%v", session), func(b *testing.B) { idle(b, session) })
	}
}

func idle(b *testing.B, session bool) {
	const n = 1000
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SLOTH_IDLE_SERVER=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() {
		stdin.Close()
		_ = cmd.Wait()
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr, key, _ := strings.Cut(strings.TrimSpace(line), " ")
	host, port, _ := net.SplitHostPort(addr)
	known := filepath.Join(b.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("["+host+"]:"+port+" "+key+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	server := sshdtest.Start(b, sshdtest.Options{}) // for its key file
	d := ssh.NewDialer(ssh.Config{ConfigFile: "none"})
	defer d.Close()
	for b.Loop() {
		before := memory()
		conns := make([]connection.Conn, n)
		var wg sync.WaitGroup
		for i := range conns {
			wg.Go(func() {
				t := server.Target()
				t.Address, t.Name, t.Port = host, host, 0
				t.Options["port"], t.Options["userknownhostsfile"] = port, known
				c, err := d.Dial(context.Background(), t)
				if err != nil {
					b.Error(err)
					return
				}
				conns[i] = c
				if session {
					if _, err := c.Start(context.Background(), connection.Command{Line: "wait"}); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if b.Failed() {
			return
		}
		b.ReportMetric(float64(memory()-before)/n/1024, "KB/conn")
		b.ReportMetric(float64(runtime.NumGoroutine())/n, "goroutines/conn")
		for _, c := range conns {
			wg.Go(func() { c.Close() })
		}
		wg.Wait()
	}
}

// memory is what the process holds, stacks included, after a collection.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
