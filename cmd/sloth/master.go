package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/master"
)

type masterStart struct {
	app       *app
	port      int
	bind      string
	dir       string
	daemon    bool
	health    string
	beat      time.Duration
	misses    int
	lostAfter time.Duration
	logFile   string
	advertise string
}

func newMaster(a *app) *cobra.Command {
	bare := &masterStart{app: a}
	c := &cobra.Command{Use: "master", Short: "Run the master that agents dial", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return bare.run(c.Context()) }}
	bare.flags(c)
	m := &masterStart{app: a}
	start := &cobra.Command{
		Use: "start", Short: "Run the master that agents dial", Args: cobra.NoArgs,
		Long: `Run the master that agents dial and that controllers reach them through.

It makes its own certificate authority on first start and logs the user who started
it in as an admin. Whoever else is to come in needs a token (sloth agent token).

Several masters that are given the same etcd with --state, and the same authority
(sloth master export, import), share all they know and reach each other's agents.`,
		RunE: func(c *cobra.Command, _ []string) error { return m.run(c.Context()) },
	}
	m.flags(start)
	c.AddCommand(start, newMasterExport(a), newMasterImport(a))
	return c
}

func (m *masterStart) flags(c *cobra.Command) {
	fs := c.Flags()
	fs.IntVar(&m.port, "port", agent.DefaultPort, "listen on this `port`")
	fs.StringVar(&m.bind, "bind-address", "0.0.0.0", "listen on this `address`")
	fs.StringVar(&m.dir, "dir", "", "keep the authority and what is known of agents in this `folder`")
	fs.BoolVar(&m.daemon, "daemon", false, "go on in the background")
	fs.StringVar(&m.health, "health-address", "", "answer /healthz, /readyz and /metrics here (default 127.0.0.1, one port above; off: nowhere)")
	fs.DurationVar(&m.beat, "heartbeat", 5*time.Second, "how often agents say that they are there")
	fs.IntVar(&m.misses, "misses", 3, "heartbeats missed until an agent counts as gone")
	fs.DurationVar(&m.lostAfter, "lost-after", 5*time.Minute, "how long an agent that is gone counts as Reconnecting")
	fs.StringVar(&m.advertise, "advertise", "", "with --state: the `address` where other masters reach this one (default: --bind-address, else this machine's name)")
	fs.StringVar(&m.logFile, "log-file", "", "with --daemon: log to this `file` (default master.log in the folder)")
}

func (m *masterStart) run(ctx context.Context) error {
	if m.port < 1 || m.port > 65535 {
		return fmt.Errorf("--port %d: a port is from 1 to 65535", m.port)
	}
	if m.beat < 100*time.Millisecond || m.misses < 1 {
		return errors.New("--heartbeat is at least 100ms, --misses at least 1")
	}
	if m.advertise != "" && m.app.state == "" {
		return errors.New("--advertise is for masters that share their records: it needs --state")
	}
	var err error
	if m.dir, err = masterDir(m.dir); err != nil {
		return err
	}
	if m.daemon {
		return m.background()
	}
	return m.serve(ctx)
}

// masterDir is the folder of a master.
func masterDir(dir string) (string, error) {
	if dir == "" {
		home, err := stateHome()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(home, "master")
	}
	return filepath.Abs(dir)
}

func (m *masterStart) background() error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for keys: %w", err)
	}
	if m.logFile == "" {
		m.logFile = filepath.Join(m.dir, "master.log")
	}
	said, pid, err := m.app.daemonize(m.logFile)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.app.stdout, "%s, pid %d, log %s\n", said, pid, m.logFile)
	return nil
}

func (m *masterStart) serve(ctx context.Context) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	// Most of its memory is for links that are silent; what a storm of agents leaves
	// behind must not stay as long as the heap is wide.
	debug.SetGCPercent(50)
	// The folder before the port: another master with this folder is named as such.
	shared, leave, err := m.share()
	if err != nil {
		return err
	}
	defer leave()
	advertise := ""
	if shared != nil {
		if advertise, err = m.advertised(); err != nil {
			return err
		}
	}
	srv, err := master.New(ctx, master.Options{
		Dir: m.dir, Version: version, Beat: m.beat, Misses: m.misses, LostAfter: m.lostAfter, Log: logger(m.app.stderr),
		Shared: shared, Advertise: advertise,
	})
	if err != nil {
		return err
	}
	defer srv.Close()
	address := net.JoinHostPort(m.bind, strconv.Itoa(m.port))
	l, err := master.Listen(ctx, address)
	if err != nil {
		return listenError(err, m.port)
	}
	defer l.Close()
	at, err := m.loginSelf(ctx, srv)
	if err != nil {
		return err
	}
	stopHealth, err := m.serveHealth(ctx, srv)
	if err != nil {
		return err
	}
	defer stopHealth()
	said := fmt.Sprintf("master listens on %s, fingerprint %s", l.Addr(), srv.Fingerprint()[:16])
	fmt.Fprintf(m.app.stderr, "%s\n", said)
	if at != "" {
		fmt.Fprintf(m.app.stderr, "you are its admin at %s\n", at)
	}
	ready(said)
	return srv.Serve(ctx, l)
}

func listenError(err error, port int) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return withHint(err, fmt.Sprintf("Something listens there already, perhaps another master (`ss -ltnp 'sport = :%d'`); end it, or take another --port.", port))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return withHint(err, "This machine has no such address; see `ip addr`, and correct --bind-address.")
	case errors.Is(err, syscall.EACCES):
		return withHint(err, "Ports below 1024 are for root; take another --port.")
	}
	return err
}

// loginSelf makes whoever owns the master's folder its admin.
func (m *masterStart) loginSelf(ctx context.Context, srv *master.Master) (string, error) {
	hostname := m.bind
	if ip := net.ParseIP(m.bind); ip == nil || ip.IsUnspecified() {
		hostname = "127.0.0.1"
	}
	address := net.JoinHostPort(hostname, strconv.Itoa(m.port))
	dir, err := loginDir(address)
	if err != nil {
		return "", err
	}
	k, err := agent.OpenKeep(dir)
	if err != nil {
		return "", err
	}
	csr, err := k.Request()
	if err != nil {
		return "", err
	}
	reply, err := srv.Grant(ctx, me(), master.Admin, csr)
	if err != nil {
		return "", err
	}
	ca, err := srv.Authority()
	if err != nil {
		return "", err
	}
	return address, k.Store(me(), address, reply.Cert, ca)
}
