package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
	"github.com/sloth-runner/sloth/state/stack"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func exportTo(ctx context.Context, s *stack.Stacks, name, file string) error {
	if err := wholefile.Make(file, func(w io.Writer) error { return s.Export(ctx, name, w) }); err != nil {
		return fmt.Errorf("export to %s: %w", file, err)
	}
	return nil
}

func (x *stackCommand) history() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "history [NAME]", Short: "List the runs of a stack, the newest last", Args: cobra.MaximumNArgs(1),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			runs, err := s.Runs(ctx, t.Name)
			if err != nil {
				return err
			}
			if limit > 0 && len(runs) > limit {
				runs = runs[len(runs)-limit:]
			}
			if x.output == "json" {
				if runs == nil {
					runs = []stack.Run{}
				}
				return x.print(runs)
			}
			w := tabwriter.NewWriter(x.app.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "RUN\tBEGAN\tWHAT\tSTATUS\tCHANGED\tBY\tSCRIPT\tCOMMIT")
			for _, r := range runs {
				commit := "-"
				if r.Git != nil {
					commit = short12(r.Git.Commit)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%v\t%s\t%s\t%s\n", r.ID, r.Began.Local().Format(time.DateTime), render.Sanitize(whatRan(r)), r.Status, r.Changed,
					render.Sanitize(r.Owner), short12(r.Script), commit)
			}
			return w.Flush()
		}),
	}
	c.Flags().IntVarP(&limit, "number", "n", 20, "how many; 0: all")
	return c
}

func short12(s string) string { return s[:min(len(s), 12)] }

// whatRan is a run in a few words.
func whatRan(r stack.Run) string {
	what := r.What + " " + baseName(r.File)
	if r.BackTo != "" {
		what += " as in " + r.BackTo
	}
	return what
}

func baseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// again runs the command of an earlier run with more flags, where it was given.
func (x *stackCommand) again(ctx context.Context, r stack.Run, more ...string) error {
	if err := os.Chdir(r.Dir); err != nil {
		return withHint(fmt.Errorf("go to where run %s was begun: %w", r.ID, err), "It was begun by "+r.Owner+"; the inventory and the files that its script names are looked for there.")
	}
	args := slices.DeleteFunc(slices.Clone(r.Argv), func(s string) bool {
		return s == "--rerun-unknown" || s == "--check" || s == "-C" || strings.HasPrefix(s, "--resume=") || strings.HasPrefix(s, "--back-to=")
	})
	args = append(args, "--stack="+r.Stack)
	again := newRoot(x.app)
	x.app.args = slices.Concat(args, more)
	again.SetArgs(x.app.args)
	return again.ExecuteContext(ctx)
}

// lastGood is the last run of a stack that succeeded.
func lastGood(ctx context.Context, s *stack.Stacks, name string) (stack.Run, error) {
	runs, err := s.Runs(ctx, name)
	if err != nil {
		return stack.Run{}, err
	}
	for _, r := range slices.Backward(runs) {
		if r.ExitCode == exitOK {
			return r, nil
		}
	}
	return stack.Run{}, withHint(fmt.Errorf("no run of the stack %q has succeeded yet", shortStack(name)), "sloth stack history shows its runs.")
}

func (x *stackCommand) drift() *cobra.Command {
	var commands bool
	c := &cobra.Command{
		Use: "drift [NAME]", Short: "Tell where hosts differ from what the last good run left", Args: cobra.MaximumNArgs(1),
		Long: `Check the hosts of the last good run of a stack against the script and the values it had
then, as sloth drift does. It changes nothing. The exit code is 3 when there is drift.`,
		RunE: func(c *cobra.Command, args []string) error {
			var r stack.Run
			err := x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
				t, err := x.find(ctx, s, args)
				if err != nil {
					return err
				}
				if r, err = lastGood(ctx, s, t.Name); err != nil {
					return err
				}
				return r.Repeatable()
			})(c, args)
			if err != nil {
				return err
			}
			var report *driftReport
			x.app.newShow = func(render.Options) (render.Renderer, error) {
				report, err = newDriftReport(x.output, commands, x.app.stdout, x.app.stderr)
				return report, err
			}
			if err := x.again(c.Context(), r, "--back-to="+r.ID, "--check"); err != nil {
				return err
			}
			if report != nil && len(report.found) > 0 {
				return exitError{exitChanges}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&commands, "commands", false, "commands that would run are drift too")
	return c
}

func (x *stackCommand) rollback() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "rollback [NAME] --to RUN", Short: "Run the script of an earlier run again, with the values it had", Args: cobra.MaximumNArgs(1),
		Long: `Run the command of an earlier run again, with the script, its includes and the values
of then. First it is shown as a plan; then it is asked whether to go on, or --yes says so.
The inventory, templates and files that the script copies are those of now.`,
		Example: "  sloth stack rollback shop/prod --to 20260102-101500-3fa1c2",
		RunE: func(c *cobra.Command, args []string) error {
			if to == "" {
				return withHint(errors.New("sloth stack rollback needs to know which run to go back to"), "sloth stack history shows them; say --to RUN.")
			}
			var r stack.Run
			err := x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
				t, err := x.find(ctx, s, args)
				if err != nil {
					return err
				}
				if r, err = s.Find(ctx, t.Name, to); err != nil {
					return withHint(err, "sloth stack history shows them.")
				}
				return r.Repeatable()
			})(c, args)
			if err != nil {
				return err
			}
			if err := x.again(c.Context(), r, "--back-to="+r.ID, "--check", "--diff"); err != nil {
				return err
			}
			if err := x.sure(fmt.Sprintf("Go back to run %s of %s?", r.ID, r.Began.Local().Format(time.DateTime))); err != nil {
				return err
			}
			return x.again(c.Context(), r, "--back-to="+r.ID)
		},
	}
	c.Flags().StringVar(&to, "to", "", "the `run` to go back to")
	c.Flags().BoolVar(&x.yes, "yes", false, "do not ask")
	return c
}
