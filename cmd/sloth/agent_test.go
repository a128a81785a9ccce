package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/faultproxy"
)

// meeting is a master, agents that dial it over proxies, and a controller that
// is logged in, all in processes of their own.
type meeting struct {
	*controller
	port    int
	master  *exec.Cmd
	flags   []string // more of the master's
	proxies []*faultproxy.Proxy
	agents  []*exec.Cmd
	logs    []*bytes.Buffer
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func newMeeting(t *testing.T, agents int, script string) *meeting {
	t.Helper()
	m := &meeting{controller: newController(t, 0, script), port: freePort(t)}
	t.Cleanup(func() {
		for i := range m.agents {
			if t.Failed() {
				_ = m.agents[i].Process.Kill()
				_ = m.agents[i].Wait()
				t.Logf("log of %s:\n%s", m.name(i), m.logs[i])
			}
		}
	})
	m.startMaster()
	t.Cleanup(func() {
		for _, p := range append(m.agents, m.master) {
			if p != nil {
				_ = p.Process.Kill()
				_ = p.Wait()
			}
		}
	})
	inv := "web:\n  hosts:\n"
	for i := range agents {
		proxy := faultproxy.Start(t, m.address())
		m.proxies = append(m.proxies, proxy)
		m.agents, m.logs = append(m.agents, nil), append(m.logs, nil)
		m.await("a token", func() bool {
			code, out := m.sloth("agent", "token", m.name(i), "--master", m.address())
			return code == 0 && os.WriteFile(filepath.Join(m.dir, "token-"+m.name(i)), []byte(strings.Split(out, "\n")[0]), 0o600) == nil
		})
		m.startAgent(i, "--token-file", filepath.Join(m.dir, "token-"+m.name(i)))
		inv += fmt.Sprintf("    %s: {connection: agent, sloth_master: %q}\n", m.name(i), m.address())
	}
	if err := os.WriteFile(filepath.Join(m.dir, "hosts.yaml"), []byte(inv), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range agents {
		m.awaitState(i, "Active")
	}
	return m
}

func (m *meeting) name(i int) string { return fmt.Sprintf("nat-%d", i+1) }
func (m *meeting) address() string   { return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.port)) }

func (m *meeting) home(i int) string { return filepath.Join(m.dir, "home-"+m.name(i)) }

func (m *meeting) await(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("still not: %s", what)
		}
	}
}

func (m *meeting) awaitState(i int, state string) {
	m.t.Helper()
	var last string
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the list:\n%s", last)
		}
	}()
	m.await(m.name(i)+" is "+state, func() bool {
		_, last = m.sloth("agent", "list", "--master", m.address())
		for line := range strings.Lines(last) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == m.name(i) && f[2] == state {
				return true
			}
		}
		return false
	})
}

func (m *meeting) startMaster() {
	m.t.Helper()
	args := []string{"master", "start", "--bind-address", "127.0.0.1", "--port", strconv.Itoa(m.port), "--heartbeat", "500ms", "--health-address", "off"}
	m.master, _ = m.start(append(args, m.flags...)...)
}

func (m *meeting) startAgent(i int, more ...string) {
	m.t.Helper()
	home := m.home(i)
	if err := os.MkdirAll(home, 0o700); err != nil {
		m.t.Fatal(err)
	}
	cmd, out := exec.Command(m.program, append([]string{"agent", "start", "--name", m.name(i), "--master", m.proxies[i].Addr(), "--reconnect-first", "50ms", "--reconnect-longest", "400ms"}, more...)...), &bytes.Buffer{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, out, out
	cmd.Env = append(slices.Clone(m.env), "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"))
	// What it starts lives on when it is killed, and holds its output open.
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.agents[i], m.logs[i] = cmd, out
}

func (m *meeting) agentLines(i int) string {
	b, err := os.ReadFile(filepath.Join(m.home(i), "lines"))
	if err != nil && !os.IsNotExist(err) {
		m.t.Fatal(err)
	}
	return string(b)
}

// Whatever breaks between controller, master and agent while a run goes on, and
// whoever of master and agent is killed: every step runs once.
func TestAgentsExactlyOnce(t *testing.T) {
	script, want := appendLines(80)
	m := newMeeting(t, 2, script)
	rounds := 2
	if s := os.Getenv("SLOTH_STORMS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	for round := range rounds {
		for i := range m.agents {
			if err := os.RemoveAll(filepath.Join(m.home(i), "lines")); err != nil {
				t.Fatal(err)
			}
		}
		rng := rand.New(rand.NewPCG(uint64(round), 7)) //nolint:gosec // the same at every run
		cmd, out := m.start("apply", "-i", "hosts.yaml", "site.sloth")
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var did []string
		began := time.Now()
		limit := time.After(4 * time.Minute)
		for storm := 0; ; storm++ {
			var err error
			over := false
			select {
			case err = <-ended:
				over = true
			case <-limit:
				_ = cmd.Process.Kill()
				<-ended
				t.Fatalf("round %d: the run does not end\n%s", round, out)
			case <-time.After(time.Duration(50+rng.IntN(200)) * time.Millisecond):
			}
			if over {
				if err != nil {
					t.Fatalf("round %d, after %v: %v\n%s", round, did, err, out)
				}
				break
			}
			if storm >= 8 || m.agentLines(0) == "" || m.agentLines(1) == "" {
				continue // it must come to an end, too; and a host that was never reached may be given up
			}
			i := rng.IntN(len(m.agents))
			switch what := rng.IntN(5); what {
			case 0:
				did = append(did, "cut")
				m.proxies[i].Cut()
			case 1:
				did = append(did, "reset")
				m.proxies[i].Reset()
			case 2:
				did = append(did, "silence")
				m.proxies[i].Blackhole()
				m.proxies[i].Heal()
			case 3:
				did = append(did, "master killed")
				_ = m.master.Process.Kill()
				_ = m.master.Wait()
				m.startMaster()
			case 4:
				did = append(did, "agent killed")
				_ = m.agents[i].Process.Kill()
				_ = m.agents[i].Wait()
				m.startAgent(i)
			}
		}
		for i := range m.agents {
			if got := m.agentLines(i); got != want {
				t.Errorf("round %d, after %v: %s has\n%s", round, did, m.name(i), got)
			}
		}
		t.Logf("round %d: %v in %s", round, did, time.Since(began).Round(time.Millisecond))
	}
}

const pickScript = `
local tasks = {}
for i, s in ipairs({"least_loaded", "round_robin", "random"}) do
  tasks[i] = task(s):command("true"):delegate_to({group = "web", strategy = s, spread = 2}):build()
end
workflow.define("pick"):tasks(tasks)
`

// An agent is a host wherever hosts are named, in the inventory or not.
func TestAgentsAreHosts(t *testing.T) {
	script, want := appendLines(3)
	m := newMeeting(t, 2, script)
	if code, out := m.sloth("apply", "-i", "hosts.yaml", "site.sloth"); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out)
	}
	for i := range m.agents {
		if got := m.agentLines(i); got != want {
			t.Errorf("%s has %q", m.name(i), got)
		}
	}
	if code, out := m.sloth("plan", "-i", "hosts.yaml", "site.sloth"); code != 0 {
		t.Errorf("plan: exit code %d\n%s", code, out)
	}
	if code, out := m.sloth("agent", "run", "nat-*", "echo out; exit 3", "--master", m.address()); code != 2 || !strings.Contains(out, "nat-[1-2]") || !strings.Contains(out, "exit code 3") {
		t.Errorf("agent run: exit code %d\n%s", code, out)
	}
	// What is away is not given anything.
	if err := os.WriteFile(filepath.Join(m.dir, "pick.sloth"), []byte(pickScript), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := m.sloth("agent", "stop", "nat-1", "--master", m.address()); code != 0 {
		t.Fatalf("stop: exit code %d\n%s", code, out)
	}
	m.awaitState(0, "Reconnecting")
	home := filepath.Join(m.dir, "state", "sloth", "masters", "current")
	if err := os.WriteFile(home, []byte(m.address()), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := m.sloth("apply", "-i", "hosts.yaml", "pick.sloth"); code != 0 || strings.Contains(out, "nat-1") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	m.startAgent(0)
	m.awaitState(0, "Active")
	// Without an inventory, by name and by pattern, once somebody has logged in.
	_, token := m.sloth("agent", "token", "--user", "ann", "--role", "operator", "--hosts", "nat-1", "--master", m.address())
	if err := os.WriteFile(filepath.Join(m.dir, "token"), []byte(strings.Split(token, "\n")[0]), 0o600); err != nil {
		t.Fatal(err)
	}
	m.env = append(m.env, "XDG_STATE_HOME="+filepath.Join(m.dir, "ann"))
	if code, out := m.sloth("login", m.address(), "--name", "ann", "--token-file", "token"); code != 0 || !strings.Contains(out, "as ann (operator on nat-1)") {
		t.Fatalf("login: exit code %d\n%s", code, out)
	}
	if err := os.Remove(filepath.Join(m.dir, "hosts.yaml")); err != nil {
		t.Fatal(err)
	}
	for pattern, code := range map[string]int{"nat-1": 0, "nat-*": 0, "nat-2": 1} {
		got, out := m.sloth("exec", pattern, "echo hello")
		if got != code || code == 0 && !strings.Contains(out, "hello") {
			t.Errorf("exec %s: exit code %d\n%s", pattern, got, out)
		}
	}
	if code, out := m.sloth("agent", "token", "web"); code != 4 || !strings.Contains(out, "user ann is operator, this needs admin") {
		t.Errorf("a token by an operator: exit code %d\n%s", code, out)
	}
}
