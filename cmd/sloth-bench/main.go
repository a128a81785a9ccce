// sloth-bench runs sloth beside its rivals on the same work and writes
// docs/benchmarks.md. The rivals' files and the harness that starts the servers
// and measures come from a folder given with -peers; it needs root.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

//go:embed work
var work embed.FS

type config struct {
	peers, sloth, out, dir string
	hosts, suites, rounds  string
	rtt                    string
	install                bool
}

func main() {
	var c config
	flag.StringVar(&c.peers, "peers", "../shared/bench", "folder with the harness bench.py and the rivals' files")
	flag.StringVar(&c.sloth, "sloth", "bin/sloth", "the sloth to measure")
	flag.StringVar(&c.out, "out", "docs/benchmarks.md", "where the tables go")
	flag.StringVar(&c.dir, "dir", "/var/tmp/sloth-bench", "data, servers and logs")
	flag.StringVar(&c.hosts, "hosts", "1,10,50", "numbers of hosts")
	flag.StringVar(&c.suites, "suites", "adhoc,deploy", "what is measured")
	flag.StringVar(&c.rounds, "rounds", "3", "rounds of the fast rows")
	flag.StringVar(&c.rtt, "rtt", "0,50", "round-trip times in ms; above 0 with 10 hosts only")
	flag.BoolVar(&c.install, "install", true, "install the rivals that apt has")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "sloth-bench:", err)
		os.Exit(1)
	}
}

func (c *config) run(ctx context.Context) error {
	if os.Getuid() != 0 {
		return errors.New("needs root: it starts servers in namespaces of their own")
	}
	if _, err := os.Stat(filepath.Join(c.peers, "bench.py")); err != nil {
		return fmt.Errorf("there is no bench.py in %s: give its folder with -peers", c.peers)
	}
	harness, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	var report strings.Builder
	c.header(ctx, &report)
	for _, rtt := range strings.Split(c.rtt, ",") {
		if err := c.measure(ctx, harness, rtt, &report); err != nil {
			return err
		}
	}
	return os.WriteFile(c.out, []byte(report.String()), 0o644)
}

// prepare copies the harness to where its Go parts can be built and writes the
// work for sloth.
func (c *config) prepare(ctx context.Context) (string, error) {
	harness := filepath.Join(c.dir, "peers")
	if err := os.RemoveAll(harness); err != nil {
		return "", err
	}
	if err := os.CopyFS(harness, os.DirFS(c.peers)); err != nil {
		return "", err
	}
	err := filepath.WalkDir(harness, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	})
	if err != nil {
		return "", err
	}
	for _, p := range []string{"gofloor", "delaytun"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", p, ".")
		cmd.Dir = filepath.Join(harness, p)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", p, err, out)
		}
	}
	if c.install {
		cmd := exec.CommandContext(ctx, "apt-get", "install", "-y", "-qq", "openssh-server", "ansible-core", "ansible", "ansible-mitogen", "clustershell", "pdsh", "python3-jinja2", "rsync")
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("install the rivals: %w\n%s", err, out)
		}
	}
	site := filepath.Join(c.dir, "work")
	if err := os.RemoveAll(site); err != nil {
		return "", err
	}
	sub, err := fs.Sub(work, "work")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(site, sub); err != nil {
		return "", err
	}
	return harness, os.CopyFS(filepath.Join(site, "files"), os.DirFS(filepath.Join(harness, "common/files")))
}

// row is one more competitor, as the harness reads it.
type row struct {
	Suite string            `json:"suite"`
	Name  string            `json:"name"`
	Cmd   string            `json:"cmd"`
	Env   map[string]string `json:"env,omitempty"`
}

func (c *config) measure(ctx context.Context, harness, rtt string, report *strings.Builder) error {
	sloth, err := filepath.Abs(c.sloth)
	if err != nil {
		return err
	}
	site := filepath.Join(c.dir, "work", "deploy.sloth")
	rows, err := json.Marshal([]row{
		{Suite: "adhoc", Name: "sloth exec", Cmd: "exec " + sloth + " exec -i {inventory} all true"},
		{Suite: "adhoc", Name: "sloth apply, first contact", Cmd: "rm -rf {lab}/hosts/*/root/.cache/sloth; exec " + sloth + " apply -i {inventory} " + filepath.Join(c.dir, "work", "first.sloth")},
		{Suite: "deploy", Name: "sloth apply, 20 tasks", Cmd: "exec " + sloth + " apply -i {inventory} " + site},
		{Suite: "facts", Name: "sloth facts", Cmd: "exec " + sloth + " facts -i {inventory} all"},
	})
	if err != nil {
		return err
	}
	extra := filepath.Join(c.dir, "rows.json")
	if err := os.WriteFile(extra, rows, 0o644); err != nil {
		return err
	}
	hosts := c.hosts
	if rtt != "0" {
		hosts = "10"
	}
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", filepath.Join(harness, "bench.py"))
	cmd.Env = append(os.Environ(), "PEERS_EXTRA="+extra, "BENCH_DIR="+c.dir, "HOSTS="+hosts, "RTT_MS="+rtt, "SUITES="+c.suites,
		"ROUNDS="+c.rounds, "SLOW_ROUNDS=1", "SKIP=pyinfra|parallel-ssh|default", "TAG=rtt"+rtt+"-"+time.Now().UTC().Format("20060102-150405"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("bench.py at %s ms: %w", rtt, err)
	}
	report.Write(out)
	return nil
}

// header says where and when, so that nobody compares seconds of two machines.
func (c *config) header(ctx context.Context, b *strings.Builder) {
	first := func(name string, args ...string) string {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
		if err != nil {
			return name + ": not there"
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(line)
	}
	fmt.Fprintf(b, "# Benchmarks\n\nWritten by `make bench`. Ratios travel between machines, seconds do not. `x` is the wall time over the first row's of its table.\n\n")
	fmt.Fprintf(b, "- %s, %s CPUs, %s\n", time.Now().UTC().Format("2006-01-02"), first("nproc"), first("uname", "-sr"))
	fmt.Fprintf(b, "- %s\n- %s\n- %s\n- %s\n", first(c.sloth, "version"), first("ssh", "-V"), first("ansible", "--version"), first("clush", "--version"))
	fmt.Fprintf(b, "- *adhoc*: one command on every host; *first contact* is a run of one step on hosts without the shim, its upload included. *deploy*: 20 operations, first and second run; the floor is one shell script over one exec. *RTT 50 ms*: the same with 50 ms between controller and hosts.\n")
}
