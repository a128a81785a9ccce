package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/agenttest"
	"github.com/sloth-runner/sloth/connection/local"
)

// memoryAndCPU are the resident memory (bytes) and the CPU time of a process.
func memoryAndCPU(t *testing.T, pid int) (int64, time.Duration) {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	n := func(i int) int64 {
		v, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return n(21) * int64(os.Getpagesize()), time.Duration(n(11)+n(12)) * 10 * time.Millisecond
}

// TestManyAgents measures a master with many agents, SLOTH_AGENTS of them; all
// its promises hold for 1,000.
func TestManyAgents(t *testing.T) {
	n, first, idle := 60, 200*time.Millisecond, time.Second
	if s := os.Getenv("SLOTH_AGENTS"); s != "" {
		n, _ = strconv.Atoi(s)
		first, idle = 0, 10*time.Second
	}
	c := newController(t, 0, "")
	dir := filepath.Join(c.dir, "master")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	keeps := agenttest.Fleet(t, dir, n)
	port := freePort(t)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var cmd *exec.Cmd
	begin := func() {
		var out *bytes.Buffer
		cmd, out = c.start("master", "start", "--bind-address", "127.0.0.1", "--port", strconv.Itoa(port), "--health-address", "off", "--dir", dir)
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			if conn, err := net.Dial("tcp", address); err == nil {
				conn.Close()
				return
			}
			if time.Now().After(end) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("the master does not listen\n%s", out)
			}
		}
	}
	stop := func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	begin()
	defer stop()
	active := func() int {
		_, out := c.sloth("agent", "list", "--master", address)
		return strings.Count(out, " Active ")
	}
	before, _ := memoryAndCPU(t, cmd.Process.Pid)

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	host := local.New()
	defer host.Close()
	began := time.Now()
	for i, k := range keeps {
		a := agent.New(agent.Options{Masters: []string{address}, Keep: k, Host: host, First: first, Hello: agent.Hello{Machine: agenttest.Machine(agenttest.FleetName(i)), Version: version}})
		wg.Go(func() { _ = a.Run(ctx) })
	}
	awaitAll := func(limit time.Duration) time.Duration {
		t.Helper()
		for at := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			if got := active(); got == n {
				return time.Since(at)
			} else if time.Since(at) > limit {
				t.Fatalf("%d of %d are there after %s", got, n, limit)
			}
		}
	}
	awaitAll(60 * time.Second)
	t.Logf("%d agents connected in %s", n, time.Since(began).Round(10*time.Millisecond))

	_, cpu := memoryAndCPU(t, cmd.Process.Pid)
	time.Sleep(idle) // what it costs to wait is what is measured
	after, cpu2 := memoryAndCPU(t, cmd.Process.Pid)
	each := (after - before) / int64(n)
	t.Logf("idle: %.1f%% of a core, %d KB an agent (resident %d KB before, %d KB after)", 100*float64(cpu2-cpu)/float64(idle), each>>10, before>>10, after>>10)
	if n >= 500 && (each > 100<<10 || float64(cpu2-cpu) > 0.05*float64(idle)) {
		t.Errorf("more than 100 KB an agent, or more than 5%% of a core")
	}

	began = time.Now()
	code, out := c.sloth("agent", "run", "sim-*", "true", "--master", address)
	t.Logf("a command to all took %s", time.Since(began).Round(10*time.Millisecond))
	if code != 0 {
		t.Errorf("exit code %d\n%.2000s", code, out)
	}

	stop()
	began = time.Now()
	begin()
	awaitAll(90 * time.Second)
	t.Logf("all back %s after a restart of the master", time.Since(began).Round(10*time.Millisecond))
}
