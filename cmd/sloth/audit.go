package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/audit"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// maxAuditHosts is how many hosts an entry names; of more it has the number.
const maxAuditHosts = 1000

func auditLog() (*audit.Log, error) {
	home, err := stateHome()
	if err != nil {
		return nil, err
	}
	return audit.New(filepath.Join(home, "audit.log")), nil
}

// note adds an entry to the audit log. That it could not is said and no more:
// whoever can write neither file nor folder may still run things.
func (a *app) note(ctx context.Context, e audit.Entry) (audit.Position, bool) {
	red := a.redactor()
	e.Who = owner()
	for _, arg := range withoutValues(a.args) {
		e.What = append(e.What, red.String(arg))
	}
	e.Dir, _ = os.Getwd()
	e.HostCount = len(e.Hosts)
	e.Hosts = e.Hosts[:min(len(e.Hosts), maxAuditHosts)]
	log, err := auditLog()
	var p audit.Position
	if err == nil {
		p, err = log.Append(context.WithoutCancel(ctx), e) // an interrupted command was one too
	}
	if err != nil {
		a.auditWarning(err)
	}
	return p, err == nil
}

// valueFlags are followed by names and values.
var valueFlags = []string{"--param", "--extra-vars", "-e", "--args", "-a"}

// withoutValues leaves the names of parameters, variables and arguments of
// modules: a value may be a secret that nothing has told of yet.
func withoutValues(args []string) []string {
	return hideValues(args, func(string) bool { return true })
}

// hideValues leaves out the values of the names that hide tells of.
func hideValues(args []string, hide func(name string) bool) []string {
	out := slices.Clone(args)
	module := slices.ContainsFunc(args, func(s string) bool { return s == "-m" || strings.HasPrefix(s, "--module") })
	for i, arg := range out {
		flag, text, joined := strings.Cut(arg, "=")
		switch {
		case slices.Contains(valueFlags, flag) && joined:
			out[i] = flag + "=" + hideValue(text, hide)
		case i > 0 && slices.Contains(valueFlags, args[i-1]):
			out[i] = hideValue(arg, hide)
		case strings.HasPrefix(arg, "-e") && len(arg) > 2:
			out[i] = "-e" + hideValue(arg[2:], hide)
		case module && joined && !strings.HasPrefix(arg, "-"):
			out[i] = hideValue(arg, hide)
		}
	}
	return out
}

func hideValue(text string, hide func(name string) bool) string {
	name, _, named := strings.Cut(text, "=")
	switch {
	case strings.HasPrefix(text, "@"):
		return text
	case !named || strings.ContainsAny(name, "{ \n"):
		name = ""
	}
	switch {
	case !hide(name):
		return text
	case name == "":
		return "…"
	}
	return name + "=…"
}

func (a *app) auditWarning(err error) {
	var damage *audit.DamageError
	if errors.As(err, &damage) {
		err = withHint(err, "What this command does is still done. sloth audit verify tells more.")
	}
	a.printError(err)
}

// seal anchors the audit log in a store.
func (a *app) seal(ctx context.Context, store state.Store, p audit.Position) {
	log, err := auditLog()
	if err == nil {
		err = log.Seal(ctx, store, p)
	}
	if err != nil {
		a.auditWarning(err)
	}
}

// sealHere does so for a command that has no store open, where the store is
// elsewhere. One beside the log vouches for little, and opening it would cost a
// short command more than all else it does here: the next command that opens it
// anchors these entries as well.
func (a *app) sealHere(ctx context.Context, p audit.Position) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stackPatience)
	defer cancel()
	dir, err := os.Getwd()
	if err != nil {
		dir = ""
	}
	place, err := a.findState(dir)
	if err != nil {
		a.auditWarning(err)
		return
	}
	if place.etcd == nil {
		return
	}
	store := a.openStore(place, "the audit log", 0)
	a.seal(ctx, store, p)
	if err := store.Close(); err != nil {
		a.auditWarning(err)
	}
}

// codeOf is the exit code that an error will have.
func codeOf(err error) int {
	var exit exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &exit):
		return exit.code
	case connection.Unreachable(err):
		return exitUnreachable
	}
	return exitUsage
}

// outcomeOf is an exit code in a word.
func outcomeOf(code int) string {
	switch code {
	case exitOK, exitChanges:
		return "Success"
	case exitUnreachable:
		return "Unreachable"
	case exitInterrupted:
		return "Cancelled"
	}
	return "Failed"
}

// auditRun notes that a run begins, and gives what notes its end.
func (v *invocation) auditRun(ctx context.Context) (ended func()) {
	if v.looks() {
		return func() {}
	}
	e := audit.Entry{Action: "run began", Run: v.runID, Stack: v.state.stack, Script: v.scriptHash}
	if v.flags.resume != "" {
		e.Action = "run resumed"
	}
	if g := gitOf(v.state.dir); g != nil {
		e.Commit = g.Commit
	}
	v.app.note(ctx, e)
	return func() {
		m := v.summary
		e.Action, e.Hosts, e.Changed, e.Outcome, e.ExitCode = "run ended", sortedKeys(m.hosts), m.changed, string(m.end.Status), &m.end.ExitCode
		if v.left.Load() {
			e.Action, e.Outcome, e.ExitCode = "run left", "", nil
		}
		p, ok := v.app.note(ctx, e)
		if _, err := v.state.stacks(); ok && err == nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stackPatience)
			defer cancel()
			v.app.seal(ctx, v.state.store, p)
		}
	}
}

func newAudit(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "See who ran what where, and prove that nobody changed that record",
		Long: `Every run, exec and change of a stack is noted: who, when, what, on which hosts, with which
outcome. Each entry holds the hash of the one before, and the store knows how far the
log went, so that a changed, removed or cut off entry is found.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditVerify(a), newAuditList(a), newAuditExport(a))
	return c
}

func newAuditVerify(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "verify", Short: "Look whether the audit log is what was written", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			log, err := auditLog()
			if err != nil {
				return err
			}
			dir, err := os.Getwd()
			if err != nil {
				return err
			}
			place, err := a.findState(dir)
			if err != nil {
				return err
			}
			store := a.openStore(place, "audit verify", 0)
			r, err := log.Verify(c.Context(), store)
			if e := store.Close(); err == nil {
				err = e
			}
			var damage *audit.DamageError
			if errors.As(err, &damage) {
				return withHint(err, "Compare it with a copy (sloth audit export). To begin another log, move this one away; that will be seen too.")
			}
			if err != nil {
				return a.storeError(err)
			}
			if output == "json" {
				return json.NewEncoder(a.stdout).Encode(r)
			}
			fmt.Fprintf(a.stdout, "%s is what was written: %s, %d of them vouched for by %s\n", r.Path, entries(int(r.Entries)), r.Anchored, place)
			return nil
		},
	}
	c.Flags().StringVar(&output, "output", "", "`how`: basic or json")
	return c
}

// auditFilter chooses entries.
type auditFilter struct {
	run, stack, who, host string
	since                 time.Duration
}

func (f *auditFilter) add(c *cobra.Command) {
	fs := c.Flags()
	fs.StringVar(&f.run, "run", "", "only entries of this `run`")
	fs.StringVar(&f.stack, "stack", "", "only those of this `stack`")
	fs.StringVar(&f.who, "who", "", "only those of this `user`, or user@machine")
	fs.StringVar(&f.host, "host", "", "only those that name this `host`")
	fs.DurationVar(&f.since, "since", 0, "only those of the last `time`, such as 24h")
}

func (f *auditFilter) match(e audit.Entry) bool {
	user, _, _ := strings.Cut(e.Who, "@")
	return (f.run == "" || strings.HasPrefix(e.Run, f.run)) && (f.stack == "" || e.Stack == f.stack) && (f.who == "" || f.who == e.Who || f.who == user) &&
		(f.host == "" || slices.Contains(e.Hosts, f.host)) && (f.since == 0 || time.Since(e.Time) < f.since)
}

// read gives the entries that match. A damaged log is read up to the damage.
func (f *auditFilter) read(ctx context.Context) ([]audit.Entry, error) {
	log, err := auditLog()
	if err != nil {
		return nil, err
	}
	var out []audit.Entry
	_, err = log.Read(ctx, func(e audit.Entry) error {
		if f.match(e) {
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

func newAuditList(a *app) *cobra.Command {
	f := &auditFilter{}
	var limit int
	var output string
	c := &cobra.Command{
		Use: "list", Short: "List what was done, the newest last", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, damaged := f.read(c.Context())
			if limit > 0 && len(list) > limit {
				list = list[len(list)-limit:]
			}
			if output == "json" {
				if list == nil {
					list = []audit.Entry{}
				}
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return errors.Join(enc.Encode(list), damaged)
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SEQ\tTIME\tWHO\tACTION\tOUTCOME\tHOSTS\tWHAT")
			for _, e := range list {
				hosts, outcome := "-", "-"
				if e.HostCount > 0 {
					hosts = fmt.Sprint(e.HostCount)
				}
				if e.Outcome != "" {
					outcome = e.Outcome
				}
				fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Seq, e.Time.Local().Format(time.DateTime), render.Sanitize(e.Who), render.Sanitize(e.Action), outcome, hosts, render.Sanitize(strings.Join(e.What, " ")))
			}
			return errors.Join(w.Flush(), damaged)
		},
	}
	f.add(c)
	c.Flags().StringVar(&output, "output", "", "`how`: basic or json")
	c.Flags().IntVarP(&limit, "number", "n", 20, "how many; 0: all")
	return c
}

func newAuditExport(a *app) *cobra.Command {
	f := &auditFilter{}
	var file string
	c := &cobra.Command{
		Use: "export", Short: "Write the entries as lines of JSON", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, damaged := f.read(c.Context())
			write := func(w io.Writer) error {
				enc := json.NewEncoder(w)
				for _, e := range list {
					if err := enc.Encode(e); err != nil {
						return err
					}
				}
				return nil
			}
			if file == "" {
				return errors.Join(write(a.stdout), damaged)
			}
			if err := wholefile.Make(file, write); err != nil {
				return fmt.Errorf("export to %s: %w", file, err)
			}
			fmt.Fprintf(a.stdout, "%s to %s\n", entries(len(list)), file)
			return damaged
		},
	}
	f.add(c)
	c.Flags().StringVar(&file, "file", "", "the `file` to write, for you alone")
	return c
}
