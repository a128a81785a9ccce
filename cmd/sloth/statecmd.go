package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/values"
)

// stateCommand is what the commands under `sloth state` share.
type stateCommand struct {
	app      *app
	stack    string
	global   bool
	output   string
	waitLock time.Duration

	store state.Store
	vals  *values.Values
	place statePlace
}

func newState(a *app) *cobra.Command {
	x := &stateCommand{app: a}
	c := &cobra.Command{
		Use:   "state",
		Short: "Look at what scripts remember, and keep it safe",
		Long: `What scripts keep with state.set and its kind belongs to a stack: the one named with
--stack, else the one of scripts in this folder.`,
		Example: `  sloth state list 'web/*'
  sloth state set release 1.4.2 --stack shop
  sloth state lock deploy -- ./deploy.sh
  sloth state backup state.bak
  sloth state migrate --to etcd://db1,db2,db3/team`,
		Args: cobra.NoArgs,
	}
	fs := c.PersistentFlags()
	fs.StringVar(&x.stack, "stack", "", "the `name` that values and locks belong to")
	fs.BoolVar(&x.global, "global", false, "those that belong to no stack")
	fs.StringVar(&x.output, "output", "basic", "how results look: basic or json")
	fs.DurationVar(&x.waitLock, "wait-lock", 0, "how long to wait for state that another process uses")
	c.AddCommand(x.get(), x.set(), x.list(), x.remove(), x.watch(), x.lock(), x.backup(), x.restore(), x.doctor(), x.migrate())
	return c
}

// run gives a command the store and what belongs to its stack.
func (x *stateCommand) run(fn func(ctx context.Context, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) (err error) {
		if x.output != "basic" && x.output != "json" {
			return fmt.Errorf("--output %q is not known here; there are basic and json", x.output)
		}
		if x.global && x.stack != "" {
			return errors.New("--global and --stack exclude each other")
		}
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		if x.place, err = x.app.findState(dir); err != nil {
			return err
		}
		stack := x.stack
		if !x.global {
			if stack, err = x.app.stackOf(stack, dir); err != nil {
				return err
			}
		}
		what := strings.TrimPrefix(c.CommandPath(), programName()+" ")
		x.store = x.app.openStore(x.place, what, x.waitLock)
		x.vals = values.New(x.store, stack)
		x.vals.Who = x.app.whoLocks(what)
		defer func() {
			if e := x.store.Close(); err == nil {
				err = e
			}
			err = x.app.storeError(err)
		}()
		ctx, stop := interruptible(c.Context())
		defer stop()
		err = fn(ctx, args)
		if ctx.Err() != nil && c.Context().Err() == nil && errors.Is(err, context.Canceled) {
			return exitError{exitInterrupted}
		}
		return err
	}
}

func (x *stateCommand) get() *cobra.Command {
	return &cobra.Command{
		Use: "get KEY", Short: "Print a value: text as it is, others as JSON", Args: cobra.ExactArgs(1),
		RunE: x.run(func(ctx context.Context, args []string) error {
			out, err := x.vals.Do(ctx, "get", []any{args[0]})
			if err != nil {
				return err
			}
			if out[0] == nil {
				return withHint(fmt.Errorf("there is no value under %q", args[0]), "sloth state list shows the keys; --stack NAME those of another stack.")
			}
			if text, ok := out[0].(string); ok && x.output == "basic" {
				if terminal(x.app.stdout) {
					text = render.Sanitize(text)
				}
				fmt.Fprintln(x.app.stdout, text)
				return nil
			}
			return x.print(plainJSON(out[0]))
		}),
	}
}

func (x *stateCommand) set() *cobra.Command {
	var ttl time.Duration
	var text bool
	c := &cobra.Command{
		Use: "set KEY VALUE", Short: "Keep a value", Args: cobra.ExactArgs(2),
		Long: `Keep a value. What is a number, true, false, a list or an object in JSON is kept as
such, everything else as text; --text keeps it as text in any case.`,
		RunE: x.run(func(ctx context.Context, args []string) error {
			if ttl < 0 {
				return errors.New("--ttl is a time from now on, such as 90s or 24h")
			}
			value := any(args[1])
			if !text {
				value = fromJSON(args[1])
			}
			_, err := x.vals.Do(ctx, "set", []any{args[0], value, ttl.Seconds()})
			return err
		}),
	}
	c.Flags().DurationVar(&ttl, "ttl", 0, "forget it after this time")
	c.Flags().BoolVar(&text, "text", false, "keep the value as text")
	return c
}

// fromJSON is s as a value: nil would delete, so null is text.
func fromJSON(s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil || v == nil {
		return s
	}
	if _, ok := v.(string); ok {
		return s // with its quotes
	}
	return v
}

// plainJSON is v in a form that JSON has.
func plainJSON(v any) any {
	switch t := v.(type) {
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = plainJSON(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[k] = plainJSON(item)
		}
		return out
	case map[any]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[fmt.Sprint(k)] = plainJSON(item)
		}
		return out
	case float64:
		if math.IsInf(t, 0) {
			return fmt.Sprint(t)
		}
	}
	return v
}

func (x *stateCommand) print(v any) error {
	enc := json.NewEncoder(x.app.stdout)
	enc.SetEscapeHTML(false)
	if x.output == "json" {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}

// line is one value as a line of text; JSON shows what a terminal would obey.
func (x *stateCommand) line(i values.Item) error {
	b, err := json.Marshal(plainJSON(i.Value))
	if err != nil {
		return err
	}
	left := ""
	if !i.Expires.IsZero() {
		left = fmt.Sprintf("  (%s left)", max(time.Until(i.Expires), 0).Round(time.Second))
	}
	_, err = fmt.Fprintf(x.app.stdout, "%s = %s%s\n", render.Sanitize(i.Key), b, left)
	return err
}

func (x *stateCommand) list() *cobra.Command {
	return &cobra.Command{
		Use: "list [PATTERN]", Short: "List values whose keys match a pattern such as 'web/*'", Args: cobra.MaximumNArgs(1),
		RunE: x.run(func(ctx context.Context, args []string) error {
			all := map[string]any{}
			for i, err := range x.vals.List(ctx, patternOf(args)) {
				switch {
				case err != nil:
					return err
				case x.output == "json":
					all[i.Key] = plainJSON(i.Value)
				default:
					if err := x.line(i); err != nil {
						return err
					}
				}
			}
			if x.output == "json" {
				return x.print(all)
			}
			return nil
		}),
	}
}

func patternOf(args []string) string {
	if len(args) == 0 {
		return "*"
	}
	return args[0]
}

func (x *stateCommand) remove() *cobra.Command {
	return &cobra.Command{
		Use: "delete KEY…", Short: "Forget values", Args: cobra.MinimumNArgs(1),
		RunE: x.run(func(ctx context.Context, args []string) error {
			var missing []string
			for _, key := range args {
				out, err := x.vals.Do(ctx, "delete", []any{key})
				if err != nil {
					return err
				}
				if out[0] != true {
					missing = append(missing, fmt.Sprintf("%q", key))
				}
			}
			if len(missing) > 0 {
				return withHint(fmt.Errorf("there is no value under %s", strings.Join(missing, ", ")), "Whatever else was named is forgotten.")
			}
			return nil
		}),
	}
}

func (x *stateCommand) watch() *cobra.Command {
	var n int
	c := &cobra.Command{
		Use: "watch [PATTERN]", Short: "Print values, and what changes as it happens", Args: cobra.MaximumNArgs(1),
		Long: `Print the values whose keys match, and then what changes until Ctrl-C. With --output
json each line is one JSON object.`,
		RunE: x.run(func(ctx context.Context, args []string) error {
			synced := false
			for i, err := range x.vals.Watch(ctx, patternOf(args)) {
				if err != nil {
					return err
				}
				if i.Synced {
					synced = true
				} else if err := x.change(i); err != nil {
					return err
				} else if synced && n > 0 {
					if n--; n == 0 {
						return nil
					}
				}
			}
			return nil
		}),
	}
	c.Flags().IntVar(&n, "changes", 0, "stop after this many changes (0: never)")
	return c
}

func (x *stateCommand) change(i values.Item) error {
	switch {
	case x.output == "json":
		line := map[string]any{"key": i.Key, "revision": i.Revision}
		if i.Deleted {
			line = map[string]any{"key": i.Key, "deleted": true}
		} else {
			line["value"] = plainJSON(i.Value)
		}
		return json.NewEncoder(x.app.stdout).Encode(line)
	case i.Deleted:
		_, err := fmt.Fprintf(x.app.stdout, "%s is gone\n", render.Sanitize(i.Key))
		return err
	}
	return x.line(i)
}
