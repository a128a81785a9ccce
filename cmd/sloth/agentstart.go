package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/connection/local"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

type agentStart struct {
	app         *app
	master      *string
	name        string
	dir         string
	token       string
	tokenFile   string
	fingerprint string
	daemon      bool
	logFile     string
	port        int
	bind        string
	first       time.Duration
	longest     time.Duration
	connect     time.Duration
	enrolOnly   bool
}

func newAgentStart(a *app, address *string) *cobra.Command {
	s := &agentStart{app: a, master: address}
	c := &cobra.Command{
		Use: "start --name N", Short: "Run the agent of this host", Args: cobra.NoArgs,
		Long: `Run the agent of this host: it dials the master and does what comes over that link.

It is let in by a one-time token (sloth agent token), or, without one, waits until
an admin has compared its fingerprint (sloth agent approve). Where this user is
logged in to the master as an admin, the agent gets a token by itself.
Several addresses with commas, of one master or of masters that share their records,
are tried in turn.`,
		RunE: func(c *cobra.Command, _ []string) error { return s.run(c.Context()) },
	}
	fs := c.Flags()
	hostname, _ := os.Hostname() // a default
	fs.StringVar(&s.name, "name", hostname, "the agent's `name`")
	fs.StringVar(&s.dir, "dir", "", "keep the agent's key and certificate in this `folder`")
	fs.StringVar(&s.token, "token", "", "the join `token`; it is seen in the list of processes, so --token-file is better")
	fs.StringVar(&s.tokenFile, "token-file", "", "read the join token from this `file`; -: standard input")
	fs.StringVar(&s.fingerprint, "fingerprint", "", "without a token: the `fingerprint` of the master's authority, all 64 digits")
	fs.BoolVar(&s.daemon, "daemon", false, "go on in the background")
	fs.StringVar(&s.logFile, "log-file", "", "with --daemon: log to this `file` (default agent.log in the folder)")
	fs.IntVar(&s.port, "port", 0, "answer /healthz and /readyz on this `port`; nothing else listens")
	fs.StringVar(&s.bind, "bind-address", "127.0.0.1", "with --port: on this `address`")
	fs.DurationVar(&s.first, "reconnect-first", 5*time.Second, "first wait before the master is dialled again; doubled each time")
	fs.DurationVar(&s.longest, "reconnect-longest", time.Minute, "longest wait before the master is dialled again")
	fs.DurationVar(&s.connect, "connect-limit", 10*time.Second, "limit of one attempt to connect")
	fs.BoolVar(&s.enrolOnly, "enrol-only", false, "get a certificate, if there is none, and end")
	return c
}

func (s *agentStart) run(ctx context.Context) error {
	if err := pki.CheckName(s.name); err != nil {
		return withHint(err, "Give it with --name.")
	}
	var masters []string
	for m := range strings.SplitSeq(*s.master, ",") {
		if m = strings.TrimSpace(m); m != "" {
			masters = append(masters, masterAddress(m))
		}
	}
	if s.dir == "" {
		home, err := stateHome()
		if err != nil {
			return err
		}
		s.dir = filepath.Join(home, "agents", s.name)
	}
	var err error
	if s.dir, err = filepath.Abs(s.dir); err != nil {
		return err
	}
	k, err := agent.OpenKeep(s.dir)
	if err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if len(masters) == 0 && k.Master() != "" {
		masters = strings.Split(k.Master(), ",")
	}
	if len(masters) == 0 {
		last, err := lastLogin()
		if err != nil {
			return err
		}
		masters = strings.Split(last, ",")
	}
	if err := s.join(ctx, k, masters); err != nil {
		return err
	}
	if s.enrolOnly {
		return nil
	}
	if s.daemon {
		unlock()
		return s.background()
	}
	return s.serve(ctx, k, masters)
}

// lock keeps a second agent out of the folder.
func (s *agentStart) lock() (func(), error) {
	path := filepath.Join(s.dir, "agent.pid")
	f, err := filelock.Lock(path)
	if errors.Is(err, filelock.ErrHeld) {
		return nil, withHint(fmt.Errorf("agent %s runs already on this host, pid %d", s.name, filelock.HolderOf(path).PID), fmt.Sprintf("`sloth agent stop %s` ends it; another agent needs another --name.", s.name))
	}
	if err != nil {
		return nil, err
	}
	if err := filelock.Sign(f, ""); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// join makes the agent known where it is not, as far as that can be done while
// somebody looks on.
func (s *agentStart) join(ctx context.Context, k *agent.Keep, masters []string) error {
	token := s.token
	if s.tokenFile != "" {
		var err error
		if token, err = s.app.joinToken(s.tokenFile, "Token: "); err != nil {
			return err
		}
	}
	if k.Enrolled() && (token == "" || s.enrolOnly) {
		return nil
	}
	if token == "" {
		// Whoever may make tokens need not pass one from hand to hand.
		var t agent.TokenInfo
		q := &agent.TokenRequest{Kind: pki.KindAgent, Pattern: s.name, Life: time.Minute}
		address := strings.Join(masters, ",")
		if _, _, err := masterKeep(address); err == nil {
			if err := callMaster(ctx, address, agent.MethodToken, q, &t); err == nil {
				token = t.Text
			}
		}
	}
	if token == "" {
		return nil // see serve: it has to wait for an admin
	}
	return s.enrol(ctx, k, masters, token)
}

func (s *agentStart) enrol(ctx context.Context, k *agent.Keep, masters []string, token string) error {
	return k.Enrol(ctx, strings.Join(masters, ","), agent.Enrolment{
		Kind: pki.KindAgent, Name: s.name, Machine: machineID(k), Token: token, Fingerprint: s.fingerprint, Version: version, Limit: s.connect,
		Pending: func(meeting string) {
			said := fmt.Sprintf("agent %s waits for approval, fingerprint %s: sloth agent approve %s --fingerprint %s", s.name, meeting, s.name, meeting)
			logger(s.app.stderr)("%s", said)
			ready(said)
		},
	})
}

// machineID tells this machine from others.
func machineID(k *agent.Keep) string {
	for _, f := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if b, err := os.ReadFile(f); err == nil && len(strings.TrimSpace(string(b))) >= 16 {
			return pki.Fingerprint([]byte("sloth machine " + strings.TrimSpace(string(b))))
		}
	}
	return pki.Fingerprint([]byte("sloth key " + k.Key())) // the best there is: it is where its key is
}

func (s *agentStart) background() error {
	if s.logFile == "" {
		s.logFile = filepath.Join(s.dir, "agent.log")
	}
	said, pid, err := s.app.daemonize(s.logFile, "--token ", "--token-file ")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.app.stdout, "%s, pid %d, log %s\n", said, pid, s.logFile)
	return nil
}

func (s *agentStart) serve(ctx context.Context, k *agent.Keep, masters []string) error {
	ctx, stop := interruptible(ctx)
	defer stop()
	log := logger(s.app.stderr)
	if !k.Enrolled() {
		if err := s.enrol(ctx, k, masters, ""); err != nil {
			return err
		}
	}
	if err := settle(); err != nil {
		return err
	}
	host := local.New()
	defer host.Close()
	u, _ := user.Current() // for people
	name := ""
	if u != nil {
		name = u.Username
	}
	hostname, _ := os.Hostname() // for people
	registered, err := noteRegistered(s.dir)
	if err != nil {
		return err
	}
	run := agent.New(agent.Options{
		Masters: masters, Keep: k, Host: host, Load: load, Log: log, First: s.first, Longest: s.longest, Connect: s.connect,
		Hello: agent.Hello{Version: version, Machine: machineID(k), Host: hostname, Platform: runtime.GOOS + "/" + runtime.GOARCH, User: name, Boot: lineOf("/proc/sys/kernel/random/boot_id")},
		Registered: func(master string) {
			if err := registered(); err != nil {
				log("%v", err)
			}
			ready(fmt.Sprintf("agent %s is registered with %s", s.name, master))
		},
	})
	if s.port > 0 {
		stop, err := startHealth(ctx, net.JoinHostPort(s.bind, strconv.Itoa(s.port)), "--port", agentHealth(run))
		if err != nil {
			return err
		}
		defer stop()
	}
	err = run.Run(ctx)
	if ctx.Err() != nil {
		return nil // it was told to end
	}
	return err
}

// settle makes this process a place to start commands in, as a login would: in
// the home folder, which the environment names.
func settle() error {
	if os.Getenv("HOME") == "" {
		if u, err := user.Current(); err == nil && u.HomeDir != "" {
			if err := os.Setenv("HOME", u.HomeDir); err != nil {
				return err
			}
		}
	}
	if os.Chdir(os.Getenv("HOME")) == nil {
		return nil
	}
	return os.Chdir("/")
}

func agentHealth(run *agent.Agent) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if st := run.State(); st != agent.StateActive {
			http.Error(w, st, http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// load is that of the last minute for each processor.
func load() float64 {
	first, _, _ := strings.Cut(lineOf("/proc/loadavg"), " ")
	n, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return n / float64(runtime.NumCPU())
}

func lineOf(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}
