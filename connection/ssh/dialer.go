// Package ssh reaches hosts over SSH. It reads ~/.ssh/config, known_hosts,
// keys and the agent as OpenSSH does, and refuses what OpenSSH refuses.
//
// Deliberately left out: the agent is never forwarded, no environment is sent,
// Match exec is not evaluated, and StrictHostKeyChecking=no lets no changed
// key pass.
package ssh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection"
)

// Config says how a Dialer behaves. The zero value is `ssh` without options
// and without anybody to ask.
type Config struct {
	// ConfigFile is read instead of ~/.ssh/config and /etc/ssh/ssh_config, as
	// with ssh -F; "none" reads nothing.
	ConfigFile string
	// Options are -o options for every host, keys in lower case. A target's
	// own options come before them.
	Options map[string]string
	// Home is where "~" is; default the account's home folder, whatever $HOME
	// says, as with ssh.
	Home string
	// Passphrase asks for the passphrase of a key file: at most three times
	// (attempt 1 to 3) a file, and once right, never again.
	Passphrase func(ctx context.Context, file string, attempt int) (*connection.Secret, error)
	// HostKeyAsk is asked about an unknown host key under
	// StrictHostKeyChecking=ask, the default. Calls don't overlap. Without it
	// unknown keys are refused.
	HostKeyAsk func(ctx context.Context, q HostKeyQuestion) (bool, error)
	// Warn is told what was skipped in configuration files, each once.
	Warn func(message string)

	// Limits of the phases; zero means the default.
	ConnectTimeout   time.Duration // TCP; 10 s; ConnectTimeout of ssh_config wins
	HandshakeTimeout time.Duration // banner and key exchange; 15 s
	AuthTimeout      time.Duration // 30 s, while nobody is being asked
	ChannelTimeout   time.Duration // to open one; 15 s

	// KeepAlive is how long a silent host is left in peace, and KeepAliveCount
	// how many such spans it may stay silent in all, since the last byte that
	// came from it, before it counts as lost: at least 2. Defaults 5 s and 3,
	// so 15 s; ServerAliveInterval of ssh_config wins.
	KeepAlive      time.Duration
	KeepAliveCount int

	// Unauthenticated is how many connections to one address may be in the
	// making at once; default 8, below sshd's MaxStartups of 10.
	Unauthenticated int
}

// Dialer opens connections. What it has read once (configuration, known hosts,
// keys, the agent's list) serves all of them.
type Dialer struct {
	config        Config
	home, account string
	accountErr    error
	refusalPause  time.Duration // after the first refusal; doubles
	resolver      *net.Resolver // nil: the system's

	loadOnce sync.Once
	loaded   *configFiles
	loadErr  error

	known  knownFiles
	asking sync.Mutex // one question at a time

	mu      sync.Mutex
	warned  map[string]bool
	keys    map[string]*keyFile
	agents  map[string]*agentKeys
	gates   map[string]*gate
	bastion map[string]*bastion
	letIn   map[string]bool // accounts that a password has opened
	closed  bool
}

// NewDialer returns a Dialer; it reads nothing before the first Dial.
func NewDialer(config Config) *Dialer {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&config.ConnectTimeout, 10*time.Second)
	set(&config.HandshakeTimeout, 15*time.Second)
	set(&config.AuthTimeout, 30*time.Second)
	set(&config.ChannelTimeout, 15*time.Second)
	set(&config.KeepAlive, 5*time.Second)
	if config.KeepAliveCount <= 0 {
		config.KeepAliveCount = 3
	}
	if config.Unauthenticated <= 0 {
		config.Unauthenticated = 8
	}
	d := &Dialer{
		config: config, home: config.Home, refusalPause: 100 * time.Millisecond,
		warned: map[string]bool{}, keys: map[string]*keyFile{}, agents: map[string]*agentKeys{},
		gates: map[string]*gate{}, bastion: map[string]*bastion{},
		letIn: map[string]bool{},
	}
	u, err := user.Current()
	if err != nil {
		d.accountErr = fmt.Errorf("find out who I am: %w", err)
		return d
	}
	d.account = u.Username
	if d.home == "" {
		d.home = u.HomeDir
	}
	return d
}

// Dial opens a connection to a target. Errors are *connection.Error, or ctx's
// own. Targets that jump through the same bastion share one connection to it.
func (d *Dialer) Dial(ctx context.Context, t connection.Target) (connection.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c, err := d.dial(ctx, t)
	if err != nil {
		return nil, err // not c: a nil *Conn in an interface is not nil
	}
	return c, nil
}

func (d *Dialer) dial(ctx context.Context, t connection.Target) (*Conn, error) {
	fail := func(err error) error {
		return &connection.Error{Class: connection.ClassChannel, Host: t.Name, Op: "prepare connection to " + t.Name, Err: err}
	}
	if d.accountErr != nil {
		return nil, fail(d.accountErr)
	}
	d.mu.Lock()
	closed := d.closed
	d.mu.Unlock()
	if closed {
		return nil, fail(errors.New("the dialer is closed"))
	}
	e, err := d.endpoint(t, d.config.Options)
	if err != nil {
		return nil, fail(err)
	}
	return d.connect(ctx, e, nil)
}

// Close ends the bastions' connections and the one to the agent. Connections
// that were handed out live on, except those behind a bastion.
func (d *Dialer) Close() error {
	d.mu.Lock()
	d.closed = true
	agents, bastions := d.agents, d.bastion
	d.agents, d.bastion = map[string]*agentKeys{}, map[string]*bastion{}
	d.mu.Unlock()
	for _, a := range agents {
		a.close()
	}
	var errs []error
	for _, b := range bastions {
		errs = append(errs, b.close())
	}
	return errors.Join(errs...)
}

// files are the configuration files, read once.
func (d *Dialer) files() (*configFiles, error) {
	d.loadOnce.Do(func() {
		d.loaded, d.loadErr = loadConfig(d.config.ConfigFile, d.home, d.account, d.warn)
	})
	return d.loaded, d.loadErr
}

// warn passes a message on, once.
func (d *Dialer) warn(message string) {
	d.mu.Lock()
	seen := d.warned[message]
	d.warned[message] = true
	d.mu.Unlock()
	if !seen && d.config.Warn != nil {
		d.config.Warn(message)
	}
}

func (d *Dialer) passwordWorked(e *endpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.letIn[e.user+"@"+e.address()] = true
}

// wasLetIn reports whether the account's password is known to be right.
func (d *Dialer) wasLetIn(e *endpoint) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.letIn[e.user+"@"+e.address()]
}

func (d *Dialer) getenv(name string) string { return os.Getenv(name) }

func (d *Dialer) key(path string) *keyFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.keys[path]
	if k == nil {
		k = &keyFile{path: path, ask: d.config.Passphrase}
		d.keys[path] = k
	}
	return k
}

func (d *Dialer) agent(socket string) *agentKeys {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.agents[socket]
	if a == nil {
		a = &agentKeys{socket: socket}
		d.agents[socket] = a
	}
	return a
}

func (d *Dialer) gate(address string) *gate {
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.gates[address]
	if g == nil {
		g = newGate(d.config.Unauthenticated)
		d.gates[address] = g
	}
	return g
}
