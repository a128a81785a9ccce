package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/audit"
)

// maxKept is how much of one host's output is kept for the end.
const maxKept = 4 << 20

// adhoc is one command on many hosts, over plain SSH.
type adhoc struct {
	app     *app
	flags   *hostFlags
	fleet   *fleet
	command string
	master  string // of agents; empty: see dialAgent
	stream  bool
	list    bool // only say which hosts it would be
	limit   time.Duration

	stop *stages

	audited string // what the audit log calls it; empty: nothing
	matched []string

	mu sync.Mutex // guards what is streamed
}

func newExec(a *app) *cobra.Command {
	x := &adhoc{app: a, flags: &hostFlags{}, audited: "exec"}
	var module string
	var moduleArgs []string
	c := &cobra.Command{
		Use:   "exec PATTERN COMMAND | exec PATTERN -m MODULE [KEY=VALUE…]",
		Short: "Run one command, or one module function, on many hosts",
		Example: `  sloth exec 'web-*' "systemctl restart nginx" -b
  sloth exec all -m file_ops.stat path=/etc/hosts
  sloth exec all -b -m service -a 'name=nginx state=restarted'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			defer func() { x.audit(cmd.Context(), err) }()
			switch {
			case x.list:
				return x.listHosts(cmd.Context(), args[0])
			case module != "":
				return x.callModule(cmd.Context(), args[0], module, append(moduleArgs, args[1:]...))
			case len(args) < 2:
				return withHint(errors.New("there is no command to run"), `sloth exec PATTERN "COMMAND".`)
			}
			x.command = strings.Join(args[1:], " ")
			return x.run(cmd.Context(), args[0])
		},
	}
	x.flags.add(c.Flags(), "")
	c.Flags().StringVarP(&module, "module", "m", "", "call this `function` of a module instead; service, pkg and user alone mean a wanted state")
	_ = c.RegisterFlagCompletionFunc("module", func(_ *cobra.Command, _ []string, word string) ([]string, cobra.ShellCompDirective) {
		return completeFunctions(word, true)
	}) // it fails for a flag that is not there
	c.Flags().StringArrayVarP(&moduleArgs, "args", "a", nil, "arguments for -m, as `KEY=VALUE` pairs or YAML; they may also follow the pattern")
	x.addListHosts(c)
	c.Flags().BoolVar(&x.stream, "stream", false, "show output as it comes, each line behind its host")
	c.Flags().DurationVar(&x.limit, "command-timeout", 0, "end the command after this long")
	c.Flags().SetInterspersed(true)
	return c
}

// hosts opens the fleet and matches the pattern.
func (x *adhoc) hosts(ctx context.Context, pattern string) ([]string, error) {
	x.flags.vault.late = true // logins are all that is needed
	fl, err := x.app.openFleet(ctx, x.flags, workingDir)
	if err != nil {
		return nil, err
	}
	x.fleet = fl
	fl.master = x.master
	fl.addAliases(pattern)
	hosts, err := fl.inv.Match(pattern, x.flags.limit)
	if err == nil && len(hosts) > 1 && !x.list {
		err = enoughDescriptors(len(hosts))
	}
	if err == nil && x.audited != "" && !x.list {
		x.matched = hosts
		x.app.note(ctx, audit.Entry{Action: x.audited + " began", Hosts: hosts})
	}
	return hosts, err
}

func (x *adhoc) addListHosts(c *cobra.Command) {
	c.Flags().BoolVar(&x.list, "list-hosts", false, "print the hosts that the pattern means and stop")
}

// listHosts prints what a pattern means, as Ansible does.
func (x *adhoc) listHosts(ctx context.Context, pattern string) error {
	hosts, err := x.hosts(ctx, pattern)
	if err != nil {
		return err
	}
	defer x.fleet.close()
	fmt.Fprintf(x.app.stdout, "  hosts (%d):\n", len(hosts))
	for _, h := range hosts {
		fmt.Fprintf(x.app.stdout, "    %s\n", h)
	}
	return nil
}

// audit notes how it ended.
func (x *adhoc) audit(ctx context.Context, err error) {
	if x.matched == nil {
		return
	}
	code := codeOf(err)
	if p, ok := x.app.note(ctx, audit.Entry{Action: x.audited + " ended", Hosts: x.matched, Outcome: outcomeOf(code), ExitCode: &code}); ok {
		x.app.sealHere(ctx, p)
	}
}

func (x *adhoc) run(ctx context.Context, pattern string) error {
	hosts, err := x.hosts(ctx, pattern)
	if err != nil {
		return err
	}
	defer x.fleet.close()
	whole := ctx
	x.stop = &stages{app: x.app, leave: func() { x.audit(whole, exitError{exitInterrupted}) }}
	ctx, stop := x.stop.watch(ctx)
	defer stop()
	results := make([]render.HostOutput, len(hosts))
	each(hosts, x.flags.forks, func(i int, host string) {
		if !x.stop.begin(host) {
			results[i] = render.HostOutput{Host: host, Failure: failureOf(errNotBegun)}
			return
		}
		defer x.stop.end(host)
		results[i] = x.one(ctx, host)
	})
	if err := x.report(results); err != nil {
		return err
	}
	if x.stop.interrupted() {
		return exitError{exitInterrupted}
	}
	return verdict(ctx, results)
}

// each calls f for every host, n at once.
func each(hosts []string, n int, f func(i int, host string)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(n, 1))
	for i, h := range hosts {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i, h)
		})
	}
	wg.Wait()
}

// one runs the command on one host.
func (x *adhoc) one(ctx context.Context, host string) render.HostOutput {
	out := render.HostOutput{Host: host}
	if x.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.limit, fmt.Errorf("it did not end within %s (--command-timeout) and was ended", x.limit))
		defer cancel()
	}
	c, l, err := x.fleet.conn(ctx, host)
	if err != nil {
		out.Failure = failureOf(err)
		return out
	}
	line, stdin := x.command, io.Reader(nil)
	who, how := x.fleet.becomeOf(l)
	mark := newMark()
	if who != "" {
		if line, err = becomeLine(how.Method, who, x.command, "sloth-command-"+mark, how.HasPassword); err != nil {
			out.Failure = failureOf(err)
			return out
		}
		if how.HasPassword {
			stdin = bytes.NewReader(append(bytes.Clone(how.Password), '\n'))
		}
	}
	stdout, stderr := &kept{limit: maxKept}, &kept{limit: maxKept}
	var w1, w2 io.Writer = stdout, stderr
	if x.stream {
		l1, l2 := &lines{x: x, host: host, to: x.app.stdout}, &lines{x: x, host: host, to: x.app.stderr}
		r1, r2 := x.app.redactor().Writer(l1), x.app.redactor().Writer(l2)
		defer func() { _ = errors.Join(r1.Close(), r2.Close()); l1.flush(); l2.flush() }() // lines never fail
		w1, w2 = io.MultiWriter(stdout, r1), io.MultiWriter(stderr, r2)
	}
	b := &begun{Conn: c}
	err = connection.Run(ctx, b, connection.Command{Line: line}, stdin, w1, w2)
	var lost *connection.Error
	hide := x.app.redactor()
	out.Stdout, out.Stderr, out.Truncated = hide.Bytes(stdout.data), hide.Bytes(stderr.data), stdout.cut || stderr.cut
	var exit *connection.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal == "":
		out.ExitCode = exit.Code
		if who != "" && bytes.Contains(out.Stderr, []byte("password is required")) {
			out.Failure = &event.Failure{Class: "become", Message: "sudo needs a password", Hint: "Use -K."}
		}
	case b.asked && errors.As(err, &lost) && lost.Class == connection.ClassTCP:
		out.Failure = broken(err)
	case err != nil:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
			if who != "" && b.asked {
				err = errors.Join(err, x.endAs(ctx, c, how, who, mark))
			}
		}
		out.Failure = failureOf(err)
	}
	return out
}

// becomeLine wraps a command line for another user; name is what its shell is
// called.
func becomeLine(method, who, command, name string, password bool) (string, error) {
	inner := "/bin/sh -c " + quote(command) + " " + name
	switch method {
	case "", "sudo":
		if password {
			return "sudo -S -p '' -u " + quote(who) + " -- " + inner, nil
		}
		return "sudo -n -u " + quote(who) + " -- " + inner, nil
	case "doas":
		return "doas -n -u " + quote(who) + " " + inner, nil
	case "su":
		return "su -s /bin/sh -c " + quote(command) + " " + quote(who) + " " + name, nil
	}
	return "", fmt.Errorf("there is no become method %q; use sudo, doas or su", method)
}

// quote makes text one word for any login shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'" }

func failureOf(err error) *event.Failure {
	var c *connection.Error
	if errors.As(err, &c) {
		return &event.Failure{Class: string(c.Class), Message: c.Error(), Hint: c.Hint}
	}
	return &event.Failure{Class: string(connection.ClassTask), Message: err.Error()}
}

// report shows all results, folded where they are the same.
func (x *adhoc) report(results []render.HostOutput) error {
	switch x.flags.output {
	case "json", "ndjson":
		return x.reportJSON(results)
	case "", "basic", "enhanced", "rich", "modern":
	default:
		return fmt.Errorf("exec has no --output %s; it has basic, json and ndjson", x.flags.output)
	}
	if x.stream {
		for i := range results {
			results[i].Stdout, results[i].Stderr = nil, nil
		}
		results = onlyBad(results)
	}
	return render.WriteFolded(x.app.stdout, results, render.Options{Color: color(x.app.stdout), Fold: inventory.Fold})
}

func onlyBad(results []render.HostOutput) []render.HostOutput {
	var out []render.HostOutput
	for _, r := range results {
		if r.Failure != nil || r.ExitCode != 0 {
			out = append(out, r)
		}
	}
	return out
}

type hostJSON struct {
	Host     string         `json:"host"`
	ExitCode int            `json:"exit_code"`
	Stdout   string         `json:"stdout"`
	Stderr   string         `json:"stderr"`
	Cut      bool           `json:"truncated"`
	Error    *event.Failure `json:"error"`
}

func (x *adhoc) reportJSON(results []render.HostOutput) error {
	enc := json.NewEncoder(x.app.stdout)
	rows := make([]hostJSON, len(results))
	for i, r := range results {
		rows[i] = hostJSON{r.Host, r.ExitCode, string(r.Stdout), string(r.Stderr), r.Truncated, r.Failure}
		if x.flags.output == "ndjson" {
			if err := enc.Encode(rows[i]); err != nil {
				return err
			}
		}
	}
	if x.flags.output == "ndjson" {
		return nil
	}
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"hosts": rows})
}

// verdict is the exit code of many hosts: a command whose end nobody knows
// outranks one that failed, and that a host that could not be reached.
func verdict(ctx context.Context, results []render.HostOutput) error {
	code := exitOK
	for _, r := range results {
		switch {
		case ctx.Err() != nil:
			return exitError{exitInterrupted}
		case r.Failure != nil && r.Failure.Class == unknownClass:
			code = exitUnknown
		case code == exitUnknown:
		case r.ExitCode != 0, r.Failure != nil && (r.Failure.Class == "task" || r.Failure.Class == "become"):
			code = exitFailed
		case r.Failure != nil && code == exitOK:
			code = exitUnreachable
		}
	}
	if code != exitOK {
		return exitError{code}
	}
	return nil
}

// kept keeps the beginning of what is written to it.
type kept struct {
	data  []byte
	limit int
	cut   bool
}

func (k *kept) Write(p []byte) (int, error) {
	n := min(len(p), k.limit-len(k.data))
	k.data = append(k.data, p[:n]...)
	k.cut = k.cut || n < len(p)
	return len(p), nil
}

// lines shows whole lines behind the host's name.
type lines struct {
	x    *adhoc
	host string
	to   io.Writer
	rest []byte
}

const maxLine = 64 << 10

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 && len(l.rest) < maxLine {
			return len(p), nil
		}
		if i < 0 {
			i = len(l.rest) - 1
		}
		l.line(l.rest[:i])
		l.rest = append(l.rest[:0], l.rest[i+1:]...)
	}
}

func (l *lines) line(b []byte) {
	l.x.mu.Lock()
	defer l.x.mu.Unlock()
	fmt.Fprintf(l.to, "%s | %s\n", render.Name(l.host), render.Sanitize(string(b)))
}

func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.line(l.rest)
		l.rest = nil
	}
}
