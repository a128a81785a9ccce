package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

const (
	maxScriptOutput = 64 << 20 // what a script may print
	maxScriptErrors = 64 << 10 // what is kept of its stderr
	scriptsAtOnce   = 8        // how many --host calls run together
)

// errNotExecutable is the kernel's word for a file that has the x bit but is
// no program.
var errNotExecutable = errors.New("not a program")

// scriptSource reads the answers of an executable inventory.
type scriptSource struct {
	inv     *hostData
	probs   *problems
	warn    func(string)
	path    string
	timeout time.Duration

	hosts   []string
	known   map[string]bool
	secrets Secrets
	late    bool
}

// parse runs the script. It returns errNotExecutable when there is nothing to
// run; everything else that goes wrong is a problem.
func (s *scriptSource) parse(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	out, err := s.run(ctx, "--list")
	if errors.Is(err, errNotExecutable) {
		return err
	}
	if err != nil {
		s.probs.add(err)
		return nil
	}
	d := s.document("--list", out)
	if d == nil {
		return nil
	}
	if d.root == nil || d.root.Kind != yaml.MappingNode {
		s.fail("--list printed no JSON object", "it must print {\"group\": {\"hosts\": [\"name\"]}, …}")
		return nil
	}
	s.known = map[string]bool{}
	var meta map[string]pair
	for _, p := range d.pairs(d.root) {
		if p.name == "_meta" {
			meta = s.meta(d, p)
		} else {
			s.group(d, p)
		}
	}
	if meta == nil {
		return s.askEach(ctx)
	}
	for _, h := range s.hosts {
		if p, ok := meta[h]; ok {
			s.vars(d, h, p.value)
		}
	}
	var stray []string
	for _, name := range sortedKeys(meta) {
		if !s.known[name] {
			stray = append(stray, name)
		}
	}
	if len(stray) > 0 {
		s.warn(fmt.Sprintf("%s: _meta has variables of hosts that are in no group, they are ignored: %s", s.path, shortList(stray)))
	}
	return nil
}

func (s *scriptSource) fail(message, hint string) {
	s.probs.add(&Problem{File: s.path, Message: message, Hint: hint})
}

// document parses what the script printed; nil after a problem.
func (s *scriptSource) document(call string, out []byte) *document {
	f := &file{name: s.path + " " + call, data: out, secrets: s.secrets, late: s.late}
	if !json.Valid(out) {
		err := json.Unmarshal(out, new(any))
		var at *json.SyntaxError
		d := document{file: f}
		p := pos{file: f}
		if errors.As(err, &at) {
			p = d.offset(out, max(0, int(at.Offset)-1))
		}
		s.probs.add(p.problem("run it by hand and look at what it prints", "it printed no valid JSON: %v", err))
		return nil
	}
	d := &document{file: f, probs: s.probs}
	d.root = parseJSON(out)
	return d
}

// meta gives the variables of each host; nil when the script has none and must
// be asked for each.
func (s *scriptSource) meta(d *document, p pair) map[string]pair {
	n := d.resolve(p.value)
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for _, q := range d.pairs(n) {
		if q.name != "hostvars" {
			continue
		}
		v := d.resolve(q.value)
		if v.Kind != yaml.MappingNode {
			d.fail(v, "", "_meta.hostvars must be a map of hosts, got %s", kindName(v))
			return map[string]pair{}
		}
		out := map[string]pair{}
		for _, h := range d.pairs(v) {
			out[h.name] = h
		}
		return out
	}
	return nil
}

// group reads one entry of --list: a list of hosts, a map of hosts, vars and
// children, or, in the oldest form, the variables of a host of that name.
func (s *scriptSource) group(d *document, p pair) {
	if p.name == "" {
		d.fail(p.key, "", "a group's name is empty")
		return
	}
	g := s.inv.addGroup(p.name, d.pos(p.key))
	n := p.value
	if n.Kind != yaml.MappingNode {
		s.groupHosts(d, g, n)
		return
	}
	entries := d.pairs(n)
	structured := false
	for _, e := range entries {
		structured = structured || e.name == "hosts" || e.name == "vars" || e.name == "children"
	}
	if !structured {
		s.host(d, g, p.name, p.key)
		s.groupVars(d, g, n)
		return
	}
	for _, e := range entries {
		switch e.name {
		case "hosts":
			s.groupHosts(d, g, e.value)
		case "vars":
			s.groupVars(d, g, e.value)
		case "children":
			if e.value.Kind != yaml.SequenceNode {
				d.fail(e.value, "", "children of group %q must be a list, got %s", g.name, kindName(e.value))
				continue
			}
			for _, c := range e.value.Content {
				if name, ok := d.value(c).(string); ok && name != "" {
					s.inv.addChild(g, s.inv.addGroup(name, d.pos(c)), d.pos(c))
				} else {
					d.fail(c, "", "a group's name must be text, got %s", kindName(c))
				}
			}
		}
	}
}

func (s *scriptSource) groupHosts(d *document, g *group, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		d.fail(n, "", "hosts of group %q must be a list, got %s", g.name, kindName(n))
		return
	}
	for _, h := range n.Content {
		name, ok := d.value(h).(string)
		if !ok {
			d.fail(h, "", "a host's name must be text, got %s", kindName(h))
			continue
		}
		s.host(d, g, name, h)
	}
}

func (s *scriptSource) host(d *document, g *group, name string, at *yaml.Node) {
	if text := checkHostName(name); text != "" {
		d.fail(at, "", "%s", text)
		return
	}
	s.inv.addHost(name, g, 0, d.pos(at))
	if !s.known[name] {
		s.known[name] = true
		s.hosts = append(s.hosts, name)
	}
}

func (s *scriptSource) groupVars(d *document, g *group, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "vars of group %q must be a map, got %s", g.name, kindName(n))
		return
	}
	for _, p := range d.pairs(n) {
		s.probs.addProblem(g.set(d.variable(p)))
	}
}

func (s *scriptSource) vars(d *document, host string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.fail(n, "", "variables of host %q must be a map, got %s", host, kindName(n))
		return
	}
	for _, p := range d.pairs(n) {
		s.probs.addProblem(s.inv.setVar(host, d.variable(p)))
	}
}

// askEach calls the script for every host, as it has no _meta.
func (s *scriptSource) askEach(ctx context.Context) error {
	answers := make([][]byte, len(s.hosts))
	var g errgroup.Group
	g.SetLimit(scriptsAtOnce)
	for i, h := range s.hosts {
		g.Go(func() error {
			var err error
			answers[i], err = s.run(ctx, "--host", h)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.probs.add(err)
		return nil
	}
	for i, h := range s.hosts {
		if len(bytes.TrimSpace(answers[i])) == 0 {
			continue
		}
		if d := s.document("--host "+h, answers[i]); d != nil {
			s.vars(d, h, d.root)
		}
	}
	return nil
}

// run calls the script and returns what it printed. Its whole process group
// dies with ctx.
func (s *scriptSource) run(ctx context.Context, args ...string) ([]byte, error) {
	call := s.path + " " + strings.Join(args, " ")
	path, err := filepath.Abs(s.path)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", call, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	kill := func() { _ = cmd.Cancel() }
	stdout := &capped{limit: maxScriptOutput, full: kill}
	stderr := &capped{limit: maxScriptErrors}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	err = cmd.Run()
	said := strings.TrimSpace(stderr.text())
	fail := func(message, hint string) error {
		if said != "" {
			message += "; it said: " + printable(said, 500)
		}
		return &Problem{File: s.path, Message: message, Hint: hint}
	}
	var exit *exec.ExitError
	switch {
	case stdout.over:
		return nil, fail(fmt.Sprintf("%s printed more than %d MiB", strings.Join(args, " "), maxScriptOutput>>20), "")
	case ctx.Err() != nil:
		return nil, fail(fmt.Sprintf("%s did not answer in %s", strings.Join(args, " "), s.timeout), "run it by hand: does it wait for something?")
	case errors.Is(err, syscall.ENOEXEC):
		return nil, errNotExecutable
	case errors.As(err, &exit):
		return nil, fail(fmt.Sprintf("%s ended with %s", strings.Join(args, " "), exit.ProcessState), "run it by hand; if this is no script, take its x permission away: chmod -x")
	case err != nil:
		return nil, fail(fmt.Sprintf("cannot be run: %v", err), "is the interpreter in its first line installed?")
	}
	if said != "" {
		s.warn(call + ": " + printable(said, 2000))
	}
	return stdout.buf.Bytes(), nil
}

// capped keeps the first limit bytes that are written to it.
type capped struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	limit int
	over  bool
	full  func()
}

func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if room := c.limit - c.buf.Len(); len(p) > room {
		c.buf.Write(p[:room])
		if !c.over && c.full != nil {
			c.full()
		}
		c.over = true
		if c.full != nil {
			return room, io.ErrShortWrite
		}
		return len(p), nil
	}
	return c.buf.Write(p)
}

func (c *capped) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

// printable shows foreign text on one line, without what a terminal would obey.
func printable(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() >= limit {
			b.WriteString("…")
			break
		}
		switch r {
		case '\n':
			b.WriteString(" / ")
		case '\t':
			b.WriteByte(' ')
		case '\r':
		default:
			b.WriteRune(visible(r))
		}
	}
	return b.String()
}

// shortList names some of many.
func shortList(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}
