// Package sshdtest starts real, throw-away OpenSSH servers on loopback
// addresses, for tests and for programs that want hosts to talk to. Each server
// has its own address, host key, configuration and home folder; all of it is
// gone after Close.
package sshdtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
)

// ErrNoSSHD says that this machine has no OpenSSH server to start.
var ErrNoSSHD = errors.New("no sshd on this machine (install openssh-server)")

// Options shape one server. The zero value is a server that lets the current
// user in with the process's test key and has SFTP.
type Options struct {
	Name     string            // inventory name; default "sshd"
	Config   []string          // sshd_config lines; they win over the defaults
	NoSFTP   bool              // leave the SFTP subsystem out
	HostKeys []string          // kinds of host keys: "ed25519" (default), "ecdsa", "rsa"
	User     string            // who logs in; default the current user
	Keys     []ssh.PublicKey   // keys let in; default the test key
	Env      map[string]string // set in every session, beside HOME
	RealHome bool              // leave HOME as the account has it
	Wrapper  []string          // put before the sshd command line, as "ip netns exec x"
	Address  string            // IP to listen on; default a free 127.x.y.z
	// BeforeStart is called when all files are written and sshd is not running.
	BeforeStart func(*Server) error
}

// Server is one running sshd.
type Server struct {
	Name       string
	Host       string // IP it listens on
	Port       int
	User       string
	Dir        string // everything the server owns; removed by Close
	Home       string // HOME of its sessions
	KeyFile    string // private key that it lets in
	KnownHosts string // known_hosts file with its host keys
	SSHConfig  string // ssh_config file: `ssh -F SSHConfig NAME` gets in
	HostKeys   []ssh.PublicKey

	cmd    *exec.Cmd
	done   chan struct{}
	log    logBuffer
	once   sync.Once
	closeE error
}

// Launch starts a server and returns when it listens. Without sshd the error
// is ErrNoSSHD. The caller ends the server with Close; ctx only limits the
// start.
func Launch(ctx context.Context, o Options) (*Server, error) {
	bin := sshdPath()
	if bin == "" {
		return nil, ErrNoSSHD
	}
	var err error
	// A port may be taken between the choice and sshd's bind.
	for range 3 {
		var s *Server
		if s, err = launch(ctx, bin, o); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}

// launchAll starts n servers named NAME1…NAMEn side by side: all or none.
func launchAll(ctx context.Context, n int, o Options) ([]*Server, error) {
	if o.Name == "" {
		o.Name = "sshd"
	}
	servers := make([]*Server, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := range n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			oi := o
			oi.Name = o.Name + strconv.Itoa(i+1)
			servers[i], errs[i] = Launch(ctx, oi)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, s := range servers {
			if s != nil {
				err = errors.Join(err, s.Close())
			}
		}
		return nil, err
	}
	return servers, nil
}

func launch(ctx context.Context, bin string, o Options) (_ *Server, err error) {
	s := &Server{Name: o.Name, User: o.User, done: make(chan struct{})}
	if s.Name == "" {
		s.Name = "sshd"
	}
	if s.User == "" {
		u, err := user.Current()
		if err != nil {
			return nil, err
		}
		s.User = u.Username
	}
	if s.Dir, err = os.MkdirTemp("", "sshdtest-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(s.Dir)
		}
	}()
	// Sessions of other users must reach their files.
	if err := os.Chmod(s.Dir, 0o755); err != nil {
		return nil, err
	}
	s.Home = filepath.Join(s.Dir, "home")
	if err := os.MkdirAll(filepath.Join(s.Home, ".ssh"), 0o755); err != nil {
		return nil, err
	}
	if s.Host, s.Port, err = freeAddress(o.Address); err != nil {
		return nil, err
	}
	if err := s.writeFiles(o); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		// Where sshd keeps its unprivileged half; packages make it at boot.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			return nil, err
		}
	}
	if o.BeforeStart != nil {
		if err := o.BeforeStart(s); err != nil {
			return nil, err
		}
	}
	argv := append(append([]string{}, o.Wrapper...), bin, "-D", "-e", "-f", filepath.Join(s.Dir, "sshd_config"))
	if err := s.start(ctx, argv); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, argv []string) error {
	s.cmd = exec.Command(argv[0], argv[1:]...)
	s.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", s.mark()}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	pr, pw, err := os.Pipe()
	if err != nil {
		return err
	}
	s.cmd.Stderr = pw
	if err := s.cmd.Start(); err != nil {
		pr.Close()
		pw.Close()
		return fmt.Errorf("start sshd: %w", err)
	}
	pw.Close()
	listening := make(chan struct{})
	go s.readLog(pr, listening)
	gone := make(chan error, 1)
	go func() {
		gone <- s.cmd.Wait()
		close(s.done)
	}()
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-listening:
		return nil
	case err := <-gone:
		return fmt.Errorf("sshd ended at once: %w\n%s", err, s.Log())
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = errors.New("no answer in 20 s")
	}
	s.killAll()
	<-s.done
	return fmt.Errorf("start sshd: %w\n%s", err, s.Log())
}

// readLog keeps what sshd says and notices when it listens. Session processes
// hold the pipe too, so it may outlive the server's own process.
func (s *Server) readLog(r *os.File, listening chan<- struct{}) {
	defer r.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for said := false; sc.Scan(); {
		s.log.add(sc.Text())
		if !said && strings.HasPrefix(sc.Text(), "Server listening on ") {
			said = true
			close(listening)
		}
	}
}

// Target says how to reach the server. It brings its known_hosts file and
// leaves the developer's own agent and keys out.
func (s *Server) Target() connection.Target {
	return connection.Target{
		Name: s.Name, Kind: "ssh", Address: s.Host, Port: s.Port, User: s.User, PrivateKeyFile: s.KeyFile,
		Options: map[string]string{
			"userknownhostsfile":    s.KnownHosts,
			"globalknownhostsfile":  "/dev/null",
			"stricthostkeychecking": "yes",
			"identitiesonly":        "yes",
			"identityagent":         "none",
		},
	}
}

// Addr is "host:port".
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// Log is what sshd wrote so far, newest 1 MB.
func (s *Server) Log() string { return s.log.String() }

// Pid is the listening sshd's process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Close ends the server, every session and whatever its sessions left running,
// and removes its folder.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.killAll()
		<-s.done
		s.closeE = os.RemoveAll(s.Dir)
	})
	return s.closeE
}

// Cut ends every connection at once, as a pulled cable and a reboot would, and
// leaves the listener. What sessions had put into the background lives on.
func (s *Server) Cut() {
	for _, p := range s.sessions() {
		_ = syscall.Kill(p, syscall.SIGKILL)
	}
}

// Freeze stops every process of the server but those that sessions run:
// connections stay open and nobody answers. Thaw wakes them.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) {
	for _, p := range append(s.sessions(), s.Pid()) {
		_ = syscall.Kill(p, sig)
	}
}

func (s *Server) writeFiles(o Options) error {
	file := func(name string) string { return filepath.Join(s.Dir, name) }
	kinds := o.HostKeys
	if kinds == nil {
		kinds = []string{"ed25519"}
	}
	var conf, known bytes.Buffer
	fmt.Fprintf(&conf, "%s\n", strings.Join(o.Config, "\n"))
	for _, kind := range kinds {
		pub, private, err := newKey(kind)
		if err != nil {
			return err
		}
		s.HostKeys = append(s.HostKeys, pub)
		if err := os.WriteFile(file("host_"+kind), private, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(&conf, "HostKey %s\n", file("host_"+kind))
		fmt.Fprintf(&known, "[%s]:%d %s", s.Host, s.Port, ssh.MarshalAuthorizedKey(pub))
	}
	keys := o.Keys
	if keys == nil {
		keys = []ssh.PublicKey{TestKey().PublicKey()}
	}
	var authorized bytes.Buffer
	for _, k := range keys {
		authorized.Write(ssh.MarshalAuthorizedKey(k))
	}
	env := []string{s.mark()}
	if !o.RealHome {
		env = append(env, "HOME="+s.Home)
	}
	for k, v := range o.Env {
		env = append(env, k+"="+v)
	}
	sort.Strings(env)
	for i, e := range env {
		env[i] = strconv.Quote(e)
	}
	for _, line := range []string{
		"ListenAddress " + s.Host, "Port " + strconv.Itoa(s.Port), "PidFile none", "UseDNS no", "UsePAM no", "StrictModes no",
		"AuthorizedKeysFile " + file("authorized_keys"), "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes",
		"SetEnv " + strings.Join(env, " "), "MaxStartups 100", "PrintMotd no", "PrintLastLog no", "LogLevel VERBOSE",
	} {
		// For some the last value counts, not the first: MaxStartups.
		if keyword, _, _ := strings.Cut(line, " "); !given(o.Config, keyword) {
			fmt.Fprintln(&conf, line)
		}
	}
	if !o.NoSFTP {
		fmt.Fprintf(&conf, "Subsystem sftp internal-sftp\n")
	}
	s.KeyFile, s.KnownHosts, s.SSHConfig = file("key"), file("known_hosts"), file("ssh_config")
	client := fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  User %s\n  IdentityFile %s\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
		s.Name, s.Host, s.Port, s.User, s.KeyFile, s.KnownHosts)
	return errors.Join(
		os.WriteFile(file("sshd_config"), conf.Bytes(), 0o600),
		os.WriteFile(file("authorized_keys"), authorized.Bytes(), 0o644),
		os.WriteFile(s.KeyFile, testKey().pem, 0o600),
		os.WriteFile(s.KnownHosts, known.Bytes(), 0o600),
		os.WriteFile(s.SSHConfig, []byte(client), 0o600),
	)
}

// given reports whether lines set a keyword.
func given(lines []string, keyword string) bool {
	for _, l := range lines {
		if f := strings.Fields(l); len(f) > 0 && strings.EqualFold(f[0], keyword) {
			return true
		}
	}
	return false
}

// mark is the environment entry by which processes are known to be this
// server's, even after they have left its process tree.
func (s *Server) mark() string { return "SLOTH_SSHDTEST=" + s.Dir }

// sshdPath finds sshd, which is often outside of PATH.
func sshdPath() string {
	if p, err := exec.LookPath("sshd"); err == nil {
		if p, err = filepath.Abs(p); err == nil { // sshd wants to be called by its full path
			return p
		}
	}
	for _, p := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd"} {
		if _, err := os.Stat(p); err == nil {
			return p
		}
	}
	return ""
}

// freeAddress picks a loopback address of its own, so that limits and
// known_hosts entries that count by address don't mix between servers. Systems
// without 127.0.0.0/8 fall back to 127.0.0.1.
func freeAddress(want string) (string, int, error) {
	var b [2]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", 0, err
	}
	candidates := []string{fmt.Sprintf("127.0.%d.%d", 1+int(b[0])%250, 1+int(b[1])%250), "127.0.0.1"}
	if want != "" {
		candidates = []string{want}
	}
	var err error
	for _, ip := range candidates {
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort(ip, "0")); err == nil {
			port := l.Addr().(*net.TCPAddr).Port
			return ip, port, l.Close()
		}
	}
	if want != "" { // not an address of this network namespace: the wrapper's business
		return want, 2222, nil
	}
	return "", 0, err
}

// logBuffer keeps the newest megabyte of lines.
type logBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *logBuffer) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(append(l.b, line...), '\n')
	if len(l.b) > 1<<20 {
		l.b = append([]byte(nil), l.b[len(l.b)-1<<19:]...)
	}
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

var _ io.Closer = (*Server)(nil)
