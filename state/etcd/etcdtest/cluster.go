// Package etcdtest starts real etcd clusters for tests.
package etcdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	client "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const readyWithin = 30 * time.Second

// Options says which cluster to start.
type Options struct {
	Nodes int      // 0 means one
	TLS   bool     // clients must come over TLS
	Args  []string // more arguments for every node
}

// Cluster is a running etcd.
type Cluster struct {
	Hosts []string // host:port of every node
	// CA, Cert and Key are files for clients of a cluster with TLS.
	CA, Cert, Key string

	nodes []*node
}

type node struct {
	args []string
	log  bytes.Buffer

	mu  sync.Mutex
	cmd *exec.Cmd // nil while it is down
}

// Start starts a cluster that ends with the test. Where there is no etcd it
// skips the test, or fails it under SLOTH_MUST_RUN.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("there is no etcd; docs/ci/deps.sh installs it")
		}
		t.Skip("there is no etcd")
	}
	c := &Cluster{}
	n := max(o.Nodes, 1)
	ports := freePorts(t, 2*n)
	scheme, dir := "http://", t.TempDir()
	var tls []string
	if o.TLS {
		scheme = "https://"
		tls = c.certificates(t, dir)
	}
	var initial []string
	for i := range n {
		c.Hosts = append(c.Hosts, ports[i])
		initial = append(initial, fmt.Sprintf("n%d=http://%s", i, ports[n+i]))
	}
	for i := range n {
		args := append([]string{
			program, "--name", fmt.Sprintf("n%d", i), "--data-dir", filepath.Join(dir, fmt.Sprintf("n%d", i)),
			"--listen-client-urls", scheme + ports[i], "--advertise-client-urls", scheme + ports[i],
			"--listen-peer-urls", "http://" + ports[n+i], "--initial-advertise-peer-urls", "http://" + ports[n+i],
			"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-token", filepath.Base(dir), "--logger", "zap", "--log-outputs", "stderr", "--log-level", "error",
		}, append(tls, o.Args...)...)
		c.nodes = append(c.nodes, &node{args: args})
		c.Restart(t, i)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.Kill(i)
		}
		if t.Failed() {
			for i, n := range c.nodes {
				t.Logf("node %d said: %.2000s", i, n.log.String())
			}
		}
	})
	if !o.TLS {
		c.await(t)
	}
	return c
}

// freePorts returns addresses nobody listened on a moment ago.
func freePorts(t testing.TB, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().String())
	}
	return ports
}

// Client connects to the given hosts, to all where there are none.
func (c *Cluster) Client(t testing.TB, hosts ...string) *client.Client {
	t.Helper()
	if len(hosts) == 0 {
		hosts = c.Hosts
	}
	var urls []string
	for _, h := range hosts {
		urls = append(urls, "http://"+h)
	}
	cl, err := client.New(client.Config{Endpoints: urls, Logger: zap.NewNop(), DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

func (c *Cluster) await(t testing.TB) {
	t.Helper()
	cl := c.Client(t)
	for end := time.Now().Add(readyWithin); ; {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := cl.Get(ctx, "ready")
		cancel()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("etcd is not ready after %s: %v", readyWithin, err)
		}
	}
}

// Kill ends a node as kill -9 does.
func (c *Cluster) Kill(i int) {
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Kill()
		_ = n.cmd.Wait() // it says that it was killed
		n.cmd = nil
	}
}

// Freeze stops a node without ending it: its connections stay, and nothing
// answers. Thaw lets it go on.
func (c *Cluster) Freeze(t testing.TB, i int) { c.nodes[i].signal(t, syscall.SIGSTOP) }

// Thaw ends Freeze.
func (c *Cluster) Thaw(t testing.TB, i int) { c.nodes[i].signal(t, syscall.SIGCONT) }

func (n *node) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Restart starts a node that was killed, with its data.
func (c *Cluster) Restart(t testing.TB, i int) {
	t.Helper()
	n := c.nodes[i]
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cmd = exec.Command(n.args[0], n.args[1:]...)
	n.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	n.cmd.Stderr = &n.log
	// Should the test be killed, the node goes too.
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		n.cmd = nil
		t.Fatal(err)
	}
}

// Leader returns the node that leads, awaiting an election.
func (c *Cluster) Leader(t testing.TB) int {
	t.Helper()
	cl := c.Client(t)
	for end := time.Now().Add(readyWithin); time.Now().Before(end); {
		for i, h := range c.Hosts {
			if leads(t.Context(), cl, h) {
				return i
			}
		}
	}
	t.Fatal(errors.New("nobody leads"))
	return -1
}

func leads(ctx context.Context, cl *client.Client, host string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	r, err := cl.Status(ctx, "http://"+host)
	return err == nil && r.Leader == r.Header.MemberId
}
