package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/local"
	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/runner"
)

// fleet is the hosts of one command: the inventory and the way to each.
type fleet struct {
	app   *app
	flags *hostFlags
	inv   *inventory.Inventory

	mu      sync.Mutex
	dialers map[string]*ssh.Dialer // by ssh configuration file
	pool    *connection.Pool
	shims   shim.Binaries
	options map[string]string

	password *connection.Secret
	become   *connection.Secret

	aliases    []string                       // of ssh_config, behind one empty; nil until asked
	master     string                         // of agents; empty: see dialAgent
	stack      string                         // of the run, where it has one with a name
	listAgents func() ([]agent.Status, error) // asks it; nil: nobody has logged in
	routes     map[string]*agent.Router       // by master's address
	status     []agent.Status                 // of all agents, as of asked
	asked      time.Time
	agents     map[string]agent.Status // that only the master knows; nil until asked
	// progress hears of uploads; it may be nil.
	progress func(host string, done, total int64)
}

// workingDir stands for the folder of the script where a command has none, as
// it does in Ansible.
const workingDir = "."

// openFleet reads the inventory and asks for the passwords that flags want.
// scriptDir is where the .sloth file lies; empty: there is none.
func (a *app) openFleet(ctx context.Context, f *hostFlags, scriptDir string) (*fleet, error) {
	fl := &fleet{app: a, flags: f, shims: shim.Default(), options: map[string]string{}}
	sec, err := a.openSecrets(ctx, &f.vault)
	if err != nil {
		return nil, err
	}
	extra, err := inventory.ParseSecretVars(f.extra, sec)
	if err != nil {
		return nil, err
	}
	sources := f.inventory
	if len(sources) == 0 {
		if sources, err = inventory.FindDefault("."); err != nil {
			return nil, err
		}
	}
	if scriptDir == workingDir && !fl.trustsWorkingDir() {
		scriptDir = ""
	}
	fl.inv, err = inventory.Load(ctx, sources, inventory.Options{ScriptDir: scriptDir, ExtraVars: extra, AllowEmpty: f.allowEmpty, Secrets: sec, OpenLate: f.vault.late, Warn: fl.warn})
	if err != nil {
		return nil, err
	}
	for _, o := range f.sshOptions {
		k, v, ok := strings.Cut(o, "=")
		if !ok {
			k, v, ok = strings.Cut(strings.TrimSpace(o), " ")
		}
		if !ok {
			return nil, withHint(fmt.Errorf("-o %q is no option", o), "Write it as ssh does: -o Key=Value.")
		}
		fl.options[strings.ToLower(strings.TrimSpace(k))] = strings.TrimSpace(v)
	}
	if f.askPass {
		if fl.password, err = a.password("SSH password: "); err != nil {
			return nil, err
		}
	}
	if f.askBecome {
		if fl.become, err = a.password("BECOME password: "); err != nil {
			return nil, err
		}
	}
	fl.dialers = map[string]*ssh.Dialer{}
	fl.listAgents = agentLister(ctx, "")
	fl.pool = connection.NewPool(fl.dial, connection.PoolOptions{})
	return fl, nil
}

// trustsWorkingDir says whether variables in the folder that sloth is started
// in count: variables can make it run programs, and anybody may have put them
// into a folder such as /tmp.
func (fl *fleet) trustsWorkingDir() bool {
	for _, name := range []string{"group_vars", "host_vars"} {
		err := inventory.Trusted(name)
		if _, missing := os.Lstat(name); missing == nil && err != nil {
			fl.warn(err.Error())
			return false
		}
	}
	return true
}

func (a *app) password(prompt string) (*connection.Secret, error) {
	text, err := a.askSecret(prompt)
	if err != nil {
		return nil, err
	}
	a.protectOnce.Do(protect)
	_ = a.redactor().Add("a password", text) // what is asked for is never echoed
	return connection.NewSecret(text), nil
}

// hide keeps what the inventory gives for logging in out of what is printed.
func (a *app) hide(list ...*connection.Secret) {
	for _, s := range list {
		if s != nil {
			a.protectOnce.Do(protect)
			_ = a.redactor().Add("a password", s.Reveal()) // weak ones are an old habit of inventories
		}
	}
}

// dialer reads a configuration file once for all hosts that use it.
func (fl *fleet) dialer(configFile string) *ssh.Dialer {
	if fl.flags.sshConfig != "" {
		configFile = fl.flags.sshConfig
	}
	fl.mu.Lock()
	defer fl.mu.Unlock()
	d := fl.dialers[configFile]
	if d == nil {
		d = ssh.NewDialer(fl.sshSettings(configFile))
		fl.dialers[configFile] = d
	}
	return d
}

func (fl *fleet) sshSettings(configFile string) ssh.Config {
	c := ssh.Config{ConfigFile: configFile, Options: fl.options, Warn: fl.warn}
	if t := fl.flags.timeout; t > 0 {
		c.ConnectTimeout, c.HandshakeTimeout, c.AuthTimeout, c.ChannelTimeout = t, t, t, t
	}
	if fl.app.canAsk() {
		c.HostKeyAsk = fl.askHostKey
		c.Passphrase = func(_ context.Context, file string, _ int) (*connection.Secret, error) {
			return fl.app.password(fmt.Sprintf("Passphrase of %s: ", file))
		}
	}
	return c
}

func (fl *fleet) askHostKey(_ context.Context, q ssh.HostKeyQuestion) (bool, error) {
	return fl.app.confirm(fmt.Sprintf("The host %s (%s) is not known. Its %s key is %s.\nTrust it from now on?", q.Host, q.Address, q.Type, q.Fingerprint))
}

// addAliases makes hosts of those names in pattern that only ~/.ssh/config, or
// a master of agents, knows.
func (fl *fleet) addAliases(pattern string) {
	var unknown []string
	defer func() { fl.addAgents(unknown) }()
	for _, name := range inventory.SplitPattern(pattern) {
		if name = strings.TrimLeft(name, "&!"); name == "" || name[0] == '@' {
			continue
		}
		if hosts, err := fl.inv.Match(name, ""); err == nil && len(hosts) > 0 {
			continue
		}
		if fl.aliases == nil {
			fl.aliases = append([]string{""}, ssh.Aliases(fl.flags.sshConfig, "")...)
		}
		if slices.Contains(fl.aliases[1:], name) {
			fl.inv.AddHost(name, "ssh_config")
			continue
		}
		unknown = append(unknown, name)
	}
}

func (fl *fleet) warn(message string) {
	fl.app.warn(message)
}

// warn tells people once of what is odd.
func (a *app) warn(message string) {
	if _, again := a.warned.LoadOrStore(message, true); !again {
		fmt.Fprintf(a.stderr, "%s %s\n", a.paint("33", "warning:"), indent(a.redactor().String(message)))
	}
}

func (fl *fleet) close() {
	_ = fl.pool.Close() // what is still open ends with the process
	for _, d := range fl.dialers {
		_ = d.Close()
	}
}

func (fl *fleet) dial(ctx context.Context, t connection.Target) (connection.Conn, error) {
	switch t.Kind {
	case "local":
		return local.New(), nil
	case "", "ssh", "smart", "paramiko", "paramiko_ssh":
		l, err := fl.inv.Login(t.Name)
		if err != nil {
			return nil, err
		}
		return fl.dialer(l.SSHConfig).Dial(ctx, t)
	}
	if t.Kind == kindAgent {
		return fl.dialAgent(ctx, t)
	}
	return nil, &connection.Error{Class: connection.ClassTCP, Host: t.Name, Op: "connect", Err: fmt.Errorf("there is no connection of kind %q", t.Kind), Hint: "Use ssh, local or agent."}
}

// target says how host is reached: its own settings, then the flags'.
func (fl *fleet) target(host string) (connection.Target, inventory.Login, error) {
	l, err := fl.inv.Login(host)
	if err != nil {
		return connection.Target{}, l, err
	}
	fl.app.hide(l.Password, l.BecomePassword)
	f := fl.flags
	t := connection.Target{
		Name: host, Kind: l.Kind, Address: l.Address, Port: l.Port, User: l.User, PrivateKeyFile: l.PrivateKeyFile,
		Password: l.Password, Jump: l.Jump, Options: l.Options,
	}
	// As in Ansible the inventory wins over -u, --private-key and -c, which are
	// what hosts that say nothing get.
	if t.User == "" {
		t.User = f.user
	}
	if t.PrivateKeyFile == "" {
		t.PrivateKeyFile = f.key
	}
	if f.kind != "" && !fl.saysKind(host) {
		t.Kind = f.kind
	}
	if fl.isAgent(host) {
		t.Kind = kindAgent
	}
	if t.Password == nil {
		t.Password = fl.password
	}
	if f.jump != "" {
		t.Jump = f.jump
	}
	return t, l, nil
}

// saysKind reports whether the inventory says how host is connected: a Login
// has ssh where it does not.
func (fl *fleet) saysKind(host string) bool {
	vars := fl.inv.Vars(host)
	return vars["ansible_connection"] != nil || vars["connection"] != nil
}

// conn is the one connection to host.
func (fl *fleet) conn(ctx context.Context, host string) (connection.Conn, inventory.Login, error) {
	t, l, err := fl.target(host)
	if err != nil {
		return nil, l, err
	}
	c, err := fl.pool.Get(ctx, t)
	return c, l, err
}

// becomeOf says whom tasks on host become, and how.
func (fl *fleet) becomeOf(l inventory.Login) (who string, how wire.Become) {
	f := fl.flags
	who = l.BecomeUser
	if f.becomeUser != "" {
		who = f.becomeUser
	}
	if who == "" {
		who = "root"
	}
	if !l.Become && !f.become {
		who = ""
	}
	how.Method = l.BecomeMethod
	if f.becomeMethod != "" {
		how.Method = f.becomeMethod
	}
	secret := l.BecomePassword
	if secret == nil {
		secret = fl.become
	}
	if secret != nil {
		how.Password, how.HasPassword = []byte(secret.Reveal()), true
	}
	return who, how
}

// session opens a worker on host.
func (fl *fleet) session(ctx context.Context, host, runID string, check bool, run runner.SessionOptions) (*shim.Session, error) {
	c, l, err := fl.conn(ctx, host)
	if err != nil {
		return nil, err
	}
	_, how := fl.becomeOf(l)
	if run.Durable != nil {
		// One machine may be in the inventory under several names.
		sum := sha256.Sum256([]byte(host))
		runID = fmt.Sprintf("%s-%x", runID, sum[:4])
	}
	o := shim.Options{Host: host, RunID: runID, Binaries: fl.shims, Check: check, Verify: fl.flags.verifyShim, Become: how,
		Durable: run.Durable, Adopt: run.Adopt, Settle: run.Settle, Met: run.Met, Expect: run.Expect, Link: run.Link, ReconnectFor: fl.flags.reconnectFor}
	if run.Durable != nil {
		o.Redial = func(ctx context.Context, broken connection.Conn) (connection.Conn, error) {
			broken.Close()
			c, _, err := fl.conn(ctx, host)
			return c, err
		}
	}
	if fl.progress != nil {
		o.Progress = func(done, total int64) { fl.progress(host, done, total) }
	}
	return shim.Open(ctx, c, o)
}

// fleetHosts is the inventory as the runner sees it.
type fleetHosts struct{ *fleet }

func (h fleetHosts) Match(pattern, limit string) ([]string, error) {
	return h.inv.Match(pattern, limit)
}

func (h fleetHosts) Vars(host string) map[string]any {
	vars := h.inv.Vars(host)
	if hasSealed(vars) {
		vars, _ = revealVars(vars).(map[string]any)
	}
	return vars
}

func (h fleetHosts) Groups(host string) []string { return h.inv.Groups(host) }

func (h fleetHosts) Address(host string) string {
	if l, err := h.inv.Login(host); err == nil && l.Address != "" {
		return l.Address
	}
	return host
}

func (h fleetHosts) Become(host string) string {
	l, err := h.inv.Login(host)
	if err != nil {
		return ""
	}
	who, _ := h.becomeOf(l)
	return who
}

// me is who runs this, for records and locks.
func me() string {
	u, err := user.Current()
	if err != nil {
		return "somebody"
	}
	return u.Username
}

// newRunID names a run: when it began, to the millisecond, so that names sort as
// runs began, and something that makes it the only one.
func newRunID(now time.Time) string {
	now = now.UTC()
	return fmt.Sprintf("%s-%03d%s", now.Format("20060102-150405"), now.Nanosecond()/1e6, randomText(4))
}

// scriptDir is the folder that a file's own files are in.
func scriptDir(file string) (string, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	return filepath.Dir(abs), nil
}
