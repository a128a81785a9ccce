package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/runlog"
	"github.com/sloth-runner/sloth/state/stack"
	"github.com/spf13/cobra"
)

func newRuns(a *app) *cobra.Command {
	c := &cobra.Command{Use: "runs", Short: "Look at runs, watch them, stop them, go on with them", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	c.AddCommand(newRunsList(a), newRunsShow(a), newRunsDiff(a), newRunsAttach(a), newRunsStop(a), newRunsResume(a), newRunsPrune(a))
	return c
}

// state of a run in one word.
func runState(s *runlog.Story) string {
	switch {
	case s.Running != 0:
		return "running"
	case s.End == nil:
		return "interrupted"
	}
	return strings.ToLower(string(s.End.Status))
}

func newRunsList(a *app) *cobra.Command {
	var output, only string
	var limit int
	c := &cobra.Command{
		Use: "list", Short: "List runs, the newest last", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := runsHome()
			if err != nil {
				return err
			}
			names, err := runlog.List(root)
			if err != nil {
				return err
			}
			stories := make([]*runlog.Story, 0, len(names))
			for _, n := range names {
				s, err := runlog.Read(filepath.Join(root, n))
				if err != nil {
					fmt.Fprintf(a.stderr, "%s %v\n", a.paint("33", "warning:"), err)
					continue
				}
				stories = append(stories, s)
			}
			rows := a.runRows(c.Context(), stories, only)
			if limit > 0 && len(rows) > limit {
				rows = rows[len(rows)-limit:]
			}
			if output == "json" {
				return writeRunsJSON(a, rows)
			}
			return a.printRunRows(rows)
		},
	}
	c.Flags().StringVar(&output, "output", "", "`how`: text or json")
	c.Flags().StringVar(&only, "stack", "", "only the runs of this `stack`")
	c.Flags().IntVarP(&limit, "number", "n", 20, "how many; 0: all")
	return c
}

func writeRunsJSON(a *app, rows []runRow) error {
	if rows == nil {
		rows = []runRow{}
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(rows)
}

// findRun gives the folder and the story of a run.
func findRun(id string) (string, *runlog.Story, error) {
	root, err := runsHome()
	if err != nil {
		return "", nil, err
	}
	dir, err := runlog.Find(root, id)
	if err != nil {
		return "", nil, withHint(err, "sloth runs list names them; last is the newest.")
	}
	s, err := runlog.Read(dir)
	if err != nil {
		return "", nil, damagedRecord(err)
	}
	return dir, s, nil
}

func newRunsShow(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "show RUN", Short: "Show what a run did, step by step", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, s, err := findRun(args[0])
			if err != nil {
				past, results, none := a.pastRun(c.Context(), args[0])
				switch {
				case none != nil:
					return err
				case output == "json":
					past.Results = results
					enc := json.NewEncoder(a.stdout)
					enc.SetIndent("", "  ")
					return enc.Encode(past)
				}
				return a.showPast(past, results)
			}
			if output == "json" {
				enc := json.NewEncoder(a.stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(s)
			}
			past, _, none := a.pastRun(c.Context(), s.Head.RunID)
			if none != nil {
				past = stack.Run{}
			}
			return showRun(a, dir, s, past)
		},
	}
	c.Flags().StringVar(&output, "output", "", "`how`: text or json")
	return c
}

func showRun(a *app, dir string, s *runlog.Story, past stack.Run) error {
	fmt.Fprintf(a.stdout, "run      %s\n", s.Head.RunID)
	if past.ID != "" {
		a.showStack(past)
	}
	fmt.Fprintf(a.stdout, "command  sloth %s\nin       %s\nby       %s\nbegan    %s\n", strings.Join(s.Head.Argv, " "), s.Head.Dir, s.Head.Owner, s.Head.Began.Format(time.DateTime))
	for _, r := range s.Resumed {
		fmt.Fprintf(a.stdout, "resumed  %s by %s\n", r.Time.Format(time.DateTime), r.Owner)
	}
	fmt.Fprintf(a.stdout, "state    %s\n", runState(s))
	if s.End != nil {
		fmt.Fprintf(a.stdout, "ended    %s, exit code %d\n", s.End.Time.Format(time.DateTime), s.End.Code)
	}
	fmt.Fprintln(a.stdout)
	type where struct{ host, task string }
	var order []where
	last := map[where]event.TaskDone{}
	_, err := runlog.Events(dir, 0, func(e event.Event) {
		if d, ok := e.(event.TaskDone); ok {
			w := where{d.Host, d.Task}
			if _, again := last[w]; !again {
				order = append(order, w)
			}
			last[w] = d
		}
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tTASK\tSTATUS\tCHANGED\tTIME\tMESSAGE")
	for _, k := range order {
		d := last[k]
		fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\t%s\n", render.Sanitize(k.host), render.Sanitize(k.task), d.Status, d.Changed, d.Duration.Round(time.Millisecond), render.Sanitize(firstLine(d.Message)))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, j := range s.Sent {
		if !j.Over && s.Running == 0 && s.End == nil {
			fmt.Fprintf(a.stdout, "\nmay still go on on %s: %s\n", j.Host, taskList(j.Steps))
		}
	}
	if s.Running == 0 && (s.End == nil || s.End.Status != event.Success) {
		fmt.Fprintf(a.stdout, "\nGo on with it: sloth runs resume %s\n", s.Head.RunID)
	}
	return nil
}

func firstLine(s string) string { line, _, _ := strings.Cut(s, "\n"); return line }

func taskList(steps []runlog.Step) string {
	names := make([]string, 0, len(steps))
	for _, s := range steps {
		names = append(names, s.Task)
	}
	if len(names) > 8 {
		names = append(names[:8], fmt.Sprintf("and %d more", len(names)-8))
	}
	return strings.Join(names, ", ")
}

func newRunsAttach(a *app) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "attach RUN", Short: "Watch a run that another process conducts", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, s, err := findRun(args[0])
			if err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			return watchRun(ctx, a, dir, s, output)
		},
	}
	c.Flags().StringVar(&output, "output", "", "how it looks: basic, enhanced, json, ndjson or junit")
	return c
}

// watchPoll is how often a run that goes on is looked at.
const watchPoll = 200 * time.Millisecond

func watchRun(ctx context.Context, a *app, dir string, s *runlog.Story, output string) error {
	show, err := render.New(output, a.stdout, a.stderr, render.Options{Color: color(a.stdout), Interactive: color(a.stdout), Fold: inventory.Fold})
	if err != nil {
		return fmt.Errorf("--%w", err)
	}
	var offset int64
	var ended *event.RunDone
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	for {
		running := s.Running != 0
		offset, err = runlog.Events(dir, offset, func(e event.Event) {
			ended = nil
			if d, ok := e.(event.RunDone); ok {
				ended = &d
			}
			show.Handle(e)
		})
		if err != nil {
			return err
		}
		if ended != nil || !running {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = show.Close() // the run itself goes on
			return exitError{exitInterrupted}
		}
		if s, err = runlog.Read(dir); err != nil {
			return damagedRecord(err)
		}
	}
	if err := show.Close(); err != nil {
		return err
	}
	if ended == nil {
		return withHint(fmt.Errorf("run %s was interrupted: nobody conducts it", s.Head.RunID), "Go on with it: sloth runs resume "+s.Head.RunID+".")
	}
	if ended.ExitCode != exitOK {
		return exitError{ended.ExitCode}
	}
	return nil
}

func newRunsStop(a *app) *cobra.Command {
	var hard bool
	c := &cobra.Command{
		Use: "stop RUN", Short: "Stop a run after its current steps", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_, s, err := findRun(args[0])
			return stopRun(a, s, err, hard)
		},
	}
	c.Flags().BoolVar(&hard, "kill", false, "end the current steps too")
	return c
}

func stopRun(a *app, s *runlog.Story, err error, hard bool) error {
	switch {
	case err != nil:
		return err
	case s.Running > 0:
		sig := syscall.SIGINT
		if hard {
			sig = syscall.SIGTERM
		}
		if err := syscall.Kill(s.Running, sig); err != nil {
			return fmt.Errorf("stop process %d, which conducts run %s: %w", s.Running, s.Head.RunID, err)
		}
		fmt.Fprintf(a.stdout, "told process %d to stop\n", s.Running)
		return nil
	case s.End != nil:
		return fmt.Errorf("run %s ended at %s", s.Head.RunID, s.End.Time.Format(time.DateTime))
	}
	return withHint(fmt.Errorf("nobody conducts run %s", s.Head.RunID), "Its hosts finish what they were sent and begin nothing more. `sloth runs resume` goes on with it; stop that.")
}

func newRunsResume(a *app) *cobra.Command {
	var rerun bool
	c := &cobra.Command{
		Use: "resume RUN", Short: "Go on with a run that was interrupted or failed, as it was begun", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.resumeAsBefore(cmd.Context(), args[0], rerun) },
	}
	c.Flags().BoolVar(&rerun, "rerun-unknown", false, "run steps again whose outcome nobody knows")
	return c
}

func newRunsPrune(a *app) *cobra.Command {
	var keep int
	var age time.Duration
	c := &cobra.Command{
		Use: "prune", Short: "Forget old runs", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := runsHome()
			if err != nil {
				return err
			}
			before, err := runlog.List(root)
			if err != nil {
				return err
			}
			if err := runlog.Prune(root, keep, time.Now().Add(-age)); err != nil {
				return err
			}
			after, err := runlog.List(root)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "forgot %d runs, kept %d\n", len(before)-len(after), len(after))
			return a.withStacks(c.Context(), "runs prune", &stackCommand{app: a}, func(ctx context.Context, s *stack.Stacks) error {
				n, err := s.Prune(ctx, "", keep, time.Now().Add(-age))
				if err == nil && n > 0 {
					fmt.Fprintf(a.stdout, "forgot %d runs in the history of stacks\n", n)
				}
				return err
			})
		},
	}
	c.Flags().IntVar(&keep, "keep", keepRuns, "how many to keep, here and of each stack")
	c.Flags().DurationVar(&age, "older-than", keepRunFor, "forget those that are older")
	return c
}
