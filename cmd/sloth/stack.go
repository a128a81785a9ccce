package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/audit"
	"github.com/sloth-runner/sloth/state/stack"
)

// stackCommand is what the commands under `sloth stack` share.
type stackCommand struct {
	app      *app
	output   string
	waitLock time.Duration
	yes      bool

	dir   string // where the command was given
	store state.Store
}

func newStack(a *app) *cobra.Command {
	x := &stackCommand{app: a}
	c := &cobra.Command{
		Use:   "stack",
		Short: "Keep apart what runs belong to: values, outputs, history",
		Long: `A stack is what runs belong to: the values of their scripts, what the last run gave,
the history of runs, and handlers that are still pending. Scripts of one folder share
a stack unless one is named or selected.`,
		Example: `  sloth stack new shop/prod --description "the shop"
  sloth run shop/prod -f deploy.sloth
  sloth stack outputs shop/prod
  sloth stack history shop/prod
  sloth stack rollback shop/prod --to 20260102-101500`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	fs := c.PersistentFlags()
	fs.StringVar(&x.output, "output", "basic", "how results look: basic or json")
	fs.DurationVar(&x.waitLock, "wait-lock", 0, "how long to wait for state or a stack that another process uses")
	c.AddCommand(x.create(), x.list(), x.show(), x.remove(), x.choose(), x.outputs(), x.history(), x.export(), x.load(), x.rename(), x.drift(), x.rollback())
	return c
}

// run gives a command the stacks of the store.
func (x *stackCommand) run(fn func(ctx context.Context, s *stack.Stacks, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if x.output != "basic" && x.output != "json" {
			return fmt.Errorf("--output %q is not known here; there are basic and json", x.output)
		}
		return x.app.withStacks(c.Context(), "stack "+c.Name(), x, func(ctx context.Context, s *stack.Stacks) error { return fn(ctx, s, args) })
	}
}

// named is the stack of the first argument, or the one of this folder.
func (x *stackCommand) named(args []string) (string, error) {
	if len(args) > 0 && args[0] != "" {
		return args[0], nil
	}
	return x.app.stackOf("", x.dir)
}

// find gives a stack, or an error that says how to see which there are.
func (x *stackCommand) find(ctx context.Context, s *stack.Stacks, args []string) (stack.Stack, error) {
	name, err := x.named(args)
	if err != nil {
		return stack.Stack{}, err
	}
	t, err := s.Get(ctx, name)
	if errors.Is(err, stack.ErrNone) {
		what := fmt.Errorf("there is no stack %q", name)
		if dir, ok := stack.Folder(name); ok {
			what = fmt.Errorf("nothing has run in %s yet, and no stack is selected there", dir)
		}
		return t, withHint(what, "sloth stack list shows them; sloth stack new NAME makes one.")
	}
	return t, err
}

func (x *stackCommand) print(v any) error {
	enc := json.NewEncoder(x.app.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// note tells the audit log.
func (x *stackCommand) note(ctx context.Context, action, name string) {
	if p, ok := x.app.note(ctx, audit.Entry{Action: action, Stack: name, Outcome: "Success"}); ok {
		x.app.seal(ctx, x.store, p)
	}
}

// say tells people what was done, where they read.
func (x *stackCommand) say(format string, args ...any) {
	if x.output == "basic" {
		fmt.Fprintf(x.app.stdout, format+"\n", args...)
	}
}

func (x *stackCommand) create() *cobra.Command {
	var description string
	var pick bool
	c := &cobra.Command{
		Use: "new NAME", Short: "Make a stack", Args: cobra.ExactArgs(1),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := s.Create(ctx, stack.Stack{Name: args[0], Description: description, CreatedBy: owner()})
			if errors.Is(err, stack.ErrExists) {
				return withHint(fmt.Errorf("there is a stack %q already", args[0]), "sloth stack show "+args[0]+" tells about it.")
			}
			if err != nil {
				return err
			}
			if pick {
				if err := selectStack(x.dir, t.Name); err != nil {
					return err
				}
			}
			if x.output == "json" {
				return x.print(t)
			}
			x.say("made the stack %s (%s)", t.Name, t.ID)
			return nil
		}),
	}
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().BoolVar(&pick, "select", false, "select it for the scripts in this folder")
	return c
}

func (x *stackCommand) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List stacks", Args: cobra.NoArgs, Aliases: []string{"ls"},
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, _ []string) error {
			all, err := s.List(ctx)
			if err != nil {
				return err
			}
			here, err := x.app.stackOf("", x.dir)
			if err != nil {
				return err
			}
			if x.output == "json" {
				if all == nil {
					all = []stack.Stack{}
				}
				return x.print(all)
			}
			w := tabwriter.NewWriter(x.app.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "STACK\tLAST RUN\tSTATUS\tDESCRIPTION")
			for _, t := range all {
				mark := ""
				if t.Name == here {
					mark = " *"
				}
				last, status := "-", "-"
				if !t.LastTime.IsZero() {
					last, status = t.LastTime.Local().Format(time.DateTime), t.LastStatus
				}
				fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\n", render.Sanitize(t.Name), mark, last, status, render.Sanitize(t.Description))
			}
			return w.Flush()
		}),
	}
}

func (x *stackCommand) show() *cobra.Command {
	return &cobra.Command{
		Use: "show [NAME]", Short: "Tell about a stack", Args: cobra.MaximumNArgs(1),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			pending, err := s.Pending(ctx, t.Name)
			if err != nil {
				return err
			}
			runs, err := s.Runs(ctx, t.Name)
			if err != nil {
				return err
			}
			if x.output == "json" {
				return x.print(struct {
					stack.Stack
					Runs    int                 `json:"runs"`
					Pending map[string][]string `json:"pending_handlers"`
				}{t, len(runs), pending})
			}
			w := tabwriter.NewWriter(x.app.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(w, "stack\t%s\nid\t%s\n", render.Sanitize(t.Name), t.ID)
			if t.Description != "" {
				fmt.Fprintf(w, "about\t%s\n", render.Sanitize(t.Description))
			}
			fmt.Fprintf(w, "made\t%s by %s\nruns\t%d\n", t.Created.Local().Format(time.DateTime), render.Sanitize(t.CreatedBy), len(runs))
			if t.LastRun != "" {
				fmt.Fprintf(w, "last\t%s %s at %s\n", t.LastRun, t.LastStatus, t.LastTime.Local().Format(time.DateTime))
			}
			for host, names := range pending {
				fmt.Fprintf(w, "pending\t%s: %s\n", render.Sanitize(host), render.Sanitize(fmt.Sprint(names)))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			return x.printOutputs(t)
		}),
	}
}

func (x *stackCommand) printOutputs(t stack.Stack) error {
	for _, name := range sortedKeys(t.Outputs) {
		body, err := json.Marshal(t.Outputs[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(x.app.stdout, "%s = %s\n", render.Sanitize(name), render.Sanitize(string(body)))
	}
	return nil
}

func (x *stackCommand) outputs() *cobra.Command {
	c := &cobra.Command{
		Use: "outputs [NAME] [OUTPUT]", Short: "Print what the last good run gave, or one value of it", Args: cobra.MaximumNArgs(2),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			if len(args) == 2 {
				v, ok := t.Outputs[args[1]]
				if !ok {
					return withHint(fmt.Errorf("the stack %q has no output %q", t.Name, args[1]), "sloth stack outputs "+t.Name+" shows them.")
				}
				if text, ok := v.(string); ok && x.output == "basic" {
					if terminal(x.app.stdout) {
						text = render.Sanitize(text)
					}
					fmt.Fprintln(x.app.stdout, text)
					return nil
				}
				return x.print(v)
			}
			if x.output == "json" {
				if t.Outputs == nil {
					t.Outputs = map[string]any{}
				}
				return x.print(t.Outputs)
			}
			return x.printOutputs(t)
		}),
	}
	return c
}

func (x *stackCommand) choose() *cobra.Command {
	var none bool
	c := &cobra.Command{
		Use: "select [NAME]", Short: "Let the scripts in this folder belong to a stack", Args: cobra.MaximumNArgs(1),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			switch {
			case none && len(args) > 0:
				return errors.New("--none and a name exclude each other")
			case none:
				return selectStack(x.dir, "")
			case len(args) == 0:
				name, err := x.app.stackOf("", x.dir)
				if err == nil {
					fmt.Fprintln(x.app.stdout, shortStack(name))
				}
				return err
			}
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			if err := stack.CheckName(t.Name); err != nil {
				return err
			}
			if err := selectStack(x.dir, t.Name); err != nil {
				return err
			}
			x.say("scripts in %s belong to the stack %s now", x.dir, t.Name)
			return nil
		}),
	}
	c.Flags().BoolVar(&none, "none", false, "none is selected any more")
	return c
}

// sure asks, or is told by --yes.
func (x *stackCommand) sure(question string) error {
	if x.yes {
		return nil
	}
	ok, err := x.app.confirm(question)
	if errors.Is(err, errNobodyToAsk) {
		return withHint(err, "Say --yes.")
	}
	if err == nil && !ok {
		fmt.Fprintln(x.app.stderr, "nothing was done")
		return exitError{exitUsage}
	}
	return err
}

func (x *stackCommand) remove() *cobra.Command {
	c := &cobra.Command{
		Use: "delete NAME", Short: "Forget a stack: its values, outputs and history", Args: cobra.ExactArgs(1), Aliases: []string{"rm"},
		Long: `Forget a stack with its values, outputs, history and pending handlers. What its runs
made on hosts stays there.`,
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			if err := x.sure(fmt.Sprintf("Forget the stack %s, its values and its history?", t.Name)); err != nil {
				return err
			}
			return x.app.holdStack(ctx, s, t.Name, x.waitLock, func(ctx context.Context) error {
				if err := s.Delete(ctx, t.Name); err != nil {
					return err
				}
				if _, err := s.Sweep(ctx); err != nil {
					return err
				}
				if name, err := selectedStack(x.dir); err == nil && name == t.Name {
					if err := selectStack(x.dir, ""); err != nil {
						return err
					}
				}
				x.note(ctx, "stack delete", t.Name)
				x.say("forgot the stack %s", t.Name)
				return nil
			})
		}),
	}
	c.Flags().BoolVar(&x.yes, "yes", false, "do not ask")
	return c
}

func (x *stackCommand) rename() *cobra.Command {
	return &cobra.Command{
		Use: "rename OLD NEW", Short: "Give a stack another name", Args: cobra.ExactArgs(2),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			from, to := args[0], args[1]
			if from == to {
				return fmt.Errorf("the stack is called %q already", to)
			}
			err := x.app.holdStack(ctx, s, from, x.waitLock, func(ctx context.Context) error {
				return x.app.holdStack(ctx, s, to, x.waitLock, func(ctx context.Context) error { return s.Rename(ctx, from, to) })
			})
			if err != nil {
				return err
			}
			if name, err := selectedStack(x.dir); err == nil && name == from {
				if err := selectStack(x.dir, to); err != nil {
					return err
				}
			}
			x.note(ctx, "stack rename", to)
			x.say("the stack %s is called %s now", from, to)
			return nil
		}),
	}
}

func (x *stackCommand) export() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "export [NAME]", Short: "Write a stack as JSON", Args: cobra.MaximumNArgs(1),
		Long: `Write a stack with its values, outputs and history as JSON: to standard output, or with
--file into a file that only you can read.`,
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			t, err := x.find(ctx, s, args)
			if err != nil {
				return err
			}
			if file == "" {
				return s.Export(ctx, t.Name, x.app.stdout)
			}
			return exportTo(ctx, s, t.Name, file)
		}),
	}
	c.Flags().StringVar(&file, "file", "", "the `file` to write")
	return c
}

func (x *stackCommand) load() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use: "import FILE [NAME]", Short: "Make a stack of what export wrote", Args: cobra.RangeArgs(1, 2),
		RunE: x.run(func(ctx context.Context, s *stack.Stacks, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("import: %w", err)
			}
			defer f.Close()
			as := ""
			if len(args) == 2 {
				as = args[1]
			}
			t, err := s.Import(ctx, f, as, replace)
			if errors.Is(err, stack.ErrExists) {
				return withHint(fmt.Errorf("import %s: there is a stack %q already", args[0], t.Name), "Give another name behind the file, or let it become what the file has with --replace.")
			}
			if err != nil {
				return fmt.Errorf("import %s: %w", args[0], err)
			}
			x.note(ctx, "stack import", t.Name)
			x.say("made the stack %s of %s", t.Name, args[0])
			return nil
		}),
	}
	c.Flags().BoolVar(&replace, "replace", false, "a stack of that name becomes what the file has")
	return c
}
