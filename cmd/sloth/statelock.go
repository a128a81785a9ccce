package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state/values"
)

// endWithin is how long a command has to end after it was told to.
const endWithin = 10 * time.Second

func (x *stateCommand) lock() *cobra.Command {
	wait := values.DefaultWait
	c := &cobra.Command{
		Use: "lock NAME -- COMMAND…", Short: "Run a command while nobody else holds a lock",
		Long: `Run a command while nobody else holds a lock: no script with state.with_lock and no
other sloth state lock, on any machine that shares the state. Should the lock be lost,
the command is ended. The exit code is the command's.`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) < 2 || c.ArgsLenAtDash() != 1 {
				return withHint(errors.New("sloth state lock needs a lock's name and a command"), "sloth state lock deploy -- ./deploy.sh; or sloth state lock list and lock break NAME.")
			}
			return nil
		},
		RunE: x.run(func(ctx context.Context, args []string) error {
			code := 0
			err := x.vals.WithLock(ctx, args[0], wait, func(ctx context.Context) (err error) {
				code, err = x.command(ctx, args[1:])
				return err
			})
			var locked *values.LockedError
			if errors.As(err, &locked) {
				x.app.printError(withHint(err, fmt.Sprintf("Wait longer with --wait, or look whether its holder still works and take it away: sloth state lock break %q", args[0])))
				return exitError{exitLocked}
			}
			if err == nil && code != 0 {
				return exitError{code}
			}
			return err
		}),
	}
	c.Flags().DurationVar(&wait, "wait", wait, "how long to wait for the lock")
	c.AddCommand(x.lockList(), x.lockBreak())
	return c
}

// command runs a command of the person's own in this terminal.
func (x *stateCommand) command(ctx context.Context, args []string) (int, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = x.app.stdin, x.app.stdout, x.app.stderr
	// At a terminal it stays in the group that may read from there; elsewhere
	// all that it started is ended with it.
	whom := 1
	if !terminal(x.app.stdin) {
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		whom = -1
	}
	c.Cancel = func() error { return syscall.Kill(whom*c.Process.Pid, syscall.SIGTERM) }
	c.WaitDelay = endWithin
	err := c.Run()
	if ctx.Err() != nil && whom < 0 && c.Process != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) // whoever did not heed it
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 0, fmt.Errorf("run %s: %w", args[0], err)
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return 0, withHint(fmt.Errorf("run %s: %w", args[0], err), "A command of several words in a shell is: sh -c '…'")
	}
	return 0, err
}

func (x *stateCommand) lockList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the locks that are held, and by whom", Args: cobra.NoArgs,
		RunE: x.run(func(ctx context.Context, _ []string) error {
			locks, err := x.vals.Locks(ctx)
			if err != nil {
				return err
			}
			if x.output == "json" {
				all := []map[string]any{}
				for _, l := range locks {
					all = append(all, map[string]any{"name": l.Name, "who": l.Who, "since": l.Since.UTC(), "expires": l.Expires.UTC()})
				}
				return x.print(all)
			}
			for _, l := range locks {
				fmt.Fprintln(x.app.stdout, describe(l))
			}
			return nil
		}),
	}
}

func describe(l values.Lock) string {
	who := "somebody"
	if l.Who != "" {
		who = l.Who
	}
	return render.Sanitize(fmt.Sprintf("%s: held by %s for %s, ends in %s unless renewed", l.Name, who,
		time.Since(l.Since).Round(time.Second), max(time.Until(l.Expires), 0).Round(time.Second)))
}

func (x *stateCommand) lockBreak() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "break NAME", Short: "Take a lock away from its holder", Args: cobra.ExactArgs(1),
		Long: `Take a lock away from its holder. A holder that died needs this never: its lock ends
by itself. One that still works is told when it renews, and may do harm until then.`,
		RunE: x.run(func(ctx context.Context, args []string) error {
			locks, err := x.vals.Locks(ctx)
			if err != nil {
				return err
			}
			for _, l := range locks {
				if l.Name != args[0] {
					continue
				}
				if !yes {
					ok, err := x.app.confirm(describe(l) + ". Take it away?")
					switch {
					case errors.Is(err, errNobodyToAsk):
						return withHint(errors.New(describe(l)), "Take it away with --yes.")
					case err != nil:
						return err
					case !ok:
						return nil
					}
				}
				break
			}
			was, held, err := x.vals.Break(ctx, args[0])
			switch {
			case err != nil:
				return err
			case !held:
				return withHint(fmt.Errorf("nobody holds the lock %q", args[0]), "sloth state lock list shows those that are held.")
			}
			fmt.Fprintf(x.app.stdout, "%s was taken away\n", describe(was))
			return nil
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
