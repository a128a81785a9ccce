package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aymanbagabas/go-udiff"
	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/state/stack"
)

// runRow is a run as runs list shows it, from its record or from history.
type runRow struct {
	runlog.Head
	Stack string      `json:"stack"`
	State string      `json:"state"`
	PID   int         `json:"pid,omitempty"`
	End   *runlog.End `json:"end"`
}

// runRows joins the records of this machine with the history of all stacks, or
// of one, the newest last.
func (a *app) runRows(ctx context.Context, stories []*runlog.Story, only string) []runRow {
	past := map[string]stack.Run{}
	err := a.withStacks(ctx, "runs list", &stackCommand{app: a}, func(ctx context.Context, s *stack.Stacks) error {
		runs, err := s.Runs(ctx, only)
		for _, r := range runs {
			past[r.ID] = r
		}
		return err
	})
	if err != nil {
		a.printError(fmt.Errorf("warning: the history of stacks cannot be read, so only runs of this machine are shown: %w", err))
	}
	var rows []runRow
	for _, s := range stories {
		r, known := past[s.Head.RunID]
		delete(past, s.Head.RunID)
		if only == "" || known {
			rows = append(rows, runRow{Head: s.Head, Stack: r.Stack, State: runState(s), PID: s.Running, End: s.End})
		}
	}
	for _, r := range past {
		rows = append(rows, runRow{
			Head:  runlog.Head{RunID: r.ID, Began: r.Began, What: r.What, File: r.File, Hash: r.Script, Argv: r.Argv, Dir: r.Dir, Owner: r.Owner},
			Stack: r.Stack, State: strings.ToLower(r.Status), End: &runlog.End{Time: r.Ended, Status: event.Status(r.Status), Code: r.ExitCode},
		})
	}
	slices.SortStableFunc(rows, func(a, b runRow) int { return a.Began.Compare(b.Began) })
	return rows
}

func (a *app) printRunRows(rows []runRow) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RUN\tBEGAN\tSTACK\tWHAT\tSTATE\tEXIT")
	for _, r := range rows {
		exit, of := "-", "-"
		if r.End != nil {
			exit = fmt.Sprint(r.End.Code)
		}
		if r.Stack != "" {
			of = shortStack(r.Stack)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s %s\t%s\t%s\n", r.RunID, r.Began.Local().Format(time.DateTime), render.Sanitize(of), r.What, render.Sanitize(filepath.Base(r.File)), r.State, exit)
	}
	return w.Flush()
}

// pastRun finds a run in the history, with its results.
func (a *app) pastRun(ctx context.Context, id string) (r stack.Run, results []stack.Result, err error) {
	err = a.withStacks(ctx, "runs show", &stackCommand{app: a}, func(ctx context.Context, s *stack.Stacks) error {
		if r, err = s.Find(ctx, "", id); err == nil {
			results, err = s.Results(ctx, r)
		}
		return err
	})
	return r, results, err
}

// showPast shows a run of which there is no record on this machine.
func (a *app) showPast(r stack.Run, results []stack.Result) error {
	fmt.Fprintf(a.stdout, "run      %s\n", r.ID)
	a.showStack(r)
	fmt.Fprintf(a.stdout, "command  sloth %s\nin       %s\nby       %s\nbegan    %s\nended    %s, exit code %d\nstate    %s\n\n",
		render.Sanitize(strings.Join(r.Argv, " ")), render.Sanitize(r.Dir), render.Sanitize(r.Owner), r.Began.Local().Format(time.DateTime),
		r.Ended.Local().Format(time.DateTime), r.ExitCode, strings.ToLower(r.Status))
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tTASK\tSTATUS\tCHANGED\tTIME\tMESSAGE")
	for _, d := range results {
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\n", render.Sanitize(d.Host), render.Sanitize(d.Task), d.Status, d.Changed, d.Duration, render.Sanitize(firstLine(d.Message)))
	}
	return w.Flush()
}

// showStack tells what only the history knows of a run.
func (a *app) showStack(r stack.Run) {
	fmt.Fprintf(a.stdout, "stack    %s\nscript   %s %s\n", render.Sanitize(shortStack(r.Stack)), render.Sanitize(r.File), short12(r.Script))
	if r.Git != nil {
		fmt.Fprintf(a.stdout, "commit   %s %s\n", short12(r.Git.Commit), render.Sanitize(r.Git.Branch))
	}
	if r.BackTo != "" {
		fmt.Fprintf(a.stdout, "back to  %s\n", r.BackTo)
	}
}

// runDiff is what differs between two runs.
type runDiff struct {
	A       string         `json:"a"`
	B       string         `json:"b"`
	Sources []textDiff     `json:"sources"`
	Values  string         `json:"values"` // as a unified diff
	Params  []valueDiff    `json:"params"`
	Outputs []valueDiff    `json:"outputs"`
	Results []resultDiff   `json:"results"`
	Stack   [2]string      `json:"stacks"`
	Status  [2]string      `json:"statuses"`
	Commits [2]string      `json:"commits"`
	NotKept map[string]any `json:"not_kept,omitempty"`
}

type textDiff struct {
	Name string `json:"name"`
	Diff string `json:"diff"`
}

type valueDiff struct {
	Name   string `json:"name"`
	Before any    `json:"before"` // null: it was not there
	After  any    `json:"after"`
}

type resultDiff struct {
	Host    string `json:"host"`
	Task    string `json:"task"`
	Before  string `json:"before"`
	After   string `json:"after"`
	Message string `json:"message,omitempty"`
}

func newRunsDiff(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "diff A B", Short: "Show in what two runs differ: script, values, outputs, results", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "" && output != "basic" && output != "json" {
				return fmt.Errorf("--output %q is not known here; there are basic and json", output)
			}
			var d *runDiff
			err := a.withStacks(c.Context(), "runs diff", &stackCommand{app: a}, func(ctx context.Context, s *stack.Stacks) (err error) {
				d, err = diffRuns(ctx, s, args[0], args[1])
				return err
			})
			if err != nil {
				return withHint(err, "sloth runs list shows them; the newest is last.")
			}
			if output == "json" {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(d)
			}
			d.print(a)
			return nil
		},
	}
	c.Flags().StringVar(&output, "output", "", "`how`: basic or json")
	return c
}

func diffRuns(ctx context.Context, s *stack.Stacks, first, second string) (*runDiff, error) {
	a, err := s.Find(ctx, "", first)
	if err != nil {
		return nil, err
	}
	b, err := s.Find(ctx, "", second)
	if err != nil {
		return nil, err
	}
	d := &runDiff{A: a.ID, B: b.ID, Sources: []textDiff{}, Stack: [2]string{a.Stack, b.Stack}, Status: [2]string{a.Status, b.Status},
		Params: diffValues(a.Params, b.Params), Outputs: diffValues(a.Outputs, b.Outputs)}
	for i, r := range []stack.Run{a, b} {
		if r.Git != nil {
			d.Commits[i] = r.Git.Commit
		}
		if len(r.NotKept) > 0 {
			if d.NotKept == nil {
				d.NotKept = map[string]any{}
			}
			d.NotKept[r.ID] = r.NotKept
		}
	}
	if err := d.texts(ctx, s, a, b); err != nil {
		return nil, err
	}
	ra, err := s.Results(ctx, a)
	if err != nil {
		return nil, err
	}
	rb, err := s.Results(ctx, b)
	if err != nil {
		return nil, err
	}
	d.Results = diffResults(ra, rb)
	return d, nil
}

func (d *runDiff) texts(ctx context.Context, s *stack.Stacks, a, b stack.Run) error {
	unified := func(name, before, after string) (string, error) {
		if before == after {
			return "", nil
		}
		var text [2]string
		for i, hash := range []string{before, after} {
			if hash == "" {
				continue
			}
			body, err := s.Text(ctx, hash)
			if err != nil {
				return "", err
			}
			text[i] = string(body)
		}
		return udiff.Unified(a.ID+"/"+name, b.ID+"/"+name, text[0], text[1]), nil
	}
	hashes := map[string]*[2]string{}
	var names []string
	for i, r := range []stack.Run{a, b} {
		for _, src := range r.Sources {
			if hashes[src.Name] == nil {
				hashes[src.Name] = &[2]string{}
				names = append(names, src.Name)
			}
			hashes[src.Name][i] = src.Hash
		}
	}
	for _, name := range names {
		text, err := unified(name, hashes[name][0], hashes[name][1])
		if err != nil {
			return err
		}
		if text != "" {
			d.Sources = append(d.Sources, textDiff{name, text})
		}
	}
	var err error
	d.Values, err = unified("values", a.Values, b.Values)
	return err
}

func diffValues(a, b map[string]any) []valueDiff {
	out := []valueDiff{}
	names := append(sortedKeys(a), sortedKeys(b)...)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !reflect.DeepEqual(a[name], b[name]) {
			out = append(out, valueDiff{name, a[name], b[name]})
		}
	}
	return out
}

func diffResults(a, b []stack.Result) []resultDiff {
	type place struct{ host, task string }
	worst := func(list []stack.Result) (map[place]stack.Result, []place) {
		m := map[place]stack.Result{}
		var order []place
		for _, r := range list {
			p := place{r.Host, r.Task}
			if was, again := m[p]; !again {
				order = append(order, p)
			} else if event.Status(was.Status).Bad() {
				continue
			}
			m[p] = r
		}
		return m, order
	}
	ma, oa := worst(a)
	mb, ob := worst(b)
	word := func(r stack.Result, ok bool) string {
		switch {
		case !ok:
			return "not run"
		case r.Changed:
			return r.Status + ", changed"
		}
		return r.Status
	}
	out := []resultDiff{}
	seen := map[place]bool{}
	for _, p := range append(oa, ob...) {
		ra, inA := ma[p]
		rb, inB := mb[p]
		before, after := word(ra, inA), word(rb, inB)
		if seen[p] || before == after {
			continue
		}
		seen[p] = true
		one := resultDiff{Host: p.host, Task: p.task, Before: before, After: after}
		if event.Status(rb.Status).Bad() && inB {
			one.Message = rb.Message
		}
		out = append(out, one)
	}
	return out
}

func (d *runDiff) print(a *app) {
	say := func(format string, args ...any) { fmt.Fprintf(a.stdout, format+"\n", args...) }
	same := true
	for _, s := range d.Sources {
		same = false
		say("%s", strings.TrimRight(render.Sanitize(s.Diff), "\n"))
	}
	if d.Values != "" {
		same = false
		say("%s", strings.TrimRight(render.Sanitize(d.Values), "\n"))
	}
	for _, part := range []struct {
		what string
		list []valueDiff
	}{{"param", d.Params}, {"output", d.Outputs}} {
		for _, v := range part.list {
			same = false
			say("%s %s: %s -> %s", part.what, render.Sanitize(v.Name), inWord(v.Before), inWord(v.After))
		}
	}
	for _, r := range d.Results {
		same = false
		line := fmt.Sprintf("%s %s: %s -> %s", render.Sanitize(r.Host), render.Sanitize(r.Task), r.Before, r.After)
		if r.Message != "" {
			line += ": " + render.Sanitize(firstLine(r.Message))
		}
		say("%s", strings.TrimSpace(line))
	}
	for _, id := range sortedKeys(d.NotKept) {
		say("not compared, of %s: %v", id, d.NotKept[id])
	}
	if same {
		say("the runs %s and %s do not differ in script, values, outputs and results", d.A, d.B)
	}
}

func inWord(v any) string {
	if v == nil {
		return "nothing"
	}
	body, err := json.Marshal(v)
	if err != nil {
		return "?"
	}
	return render.Sanitize(string(body))
}
