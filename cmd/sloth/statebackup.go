package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/state/archive"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

func (x *stateCommand) backup() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write all that is remembered, of every stack, into a file", Args: cobra.ExactArgs(1),
		Long: `Write all that is remembered, of every stack, into a file that only you can read. An
existing file is replaced when the new one is whole. Locks are not part of it.`,
		RunE: x.run(func(ctx context.Context, args []string) error {
			n := 0
			err := wholefile.Make(args[0], func(w io.Writer) (err error) {
				n, err = archive.Write(ctx, w, x.store, x.place.String())
				return err
			})
			if err != nil {
				return fmt.Errorf("back up to %s: %w", args[0], err)
			}
			fmt.Fprintf(x.app.stdout, "%s from %s to %s\n", entries(n), x.place, args[0])
			return nil
		}),
	}
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

func (x *stateCommand) restore() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup back", Args: cobra.ExactArgs(1),
		Long: `Put back what a backup holds. It is read to its end first; one that is not whole is
refused. Where a value is there already and differs, nothing is written, unless
--replace says that the state becomes what the backup is.`,
		RunE: x.run(func(ctx context.Context, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("restore: %w", err)
			}
			defer f.Close()
			info, err := archive.Verify(f)
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			n, err := archive.Restore(ctx, x.store, f, replace)
			var differs *archive.DiffersError
			if errors.As(err, &differs) {
				return withHint(fmt.Errorf("restore %s: %w", args[0], err), "Make the state what the backup is, and keep a backup of what it is now: sloth state backup NOW, then restore with --replace.")
			}
			if err != nil {
				return fmt.Errorf("restore %s: %w", args[0], err)
			}
			fmt.Fprintf(x.app.stdout, "%s of %s into %s\n", entries(n), info.Made.Local().Format(time.DateTime), x.place)
			return nil
		}),
	}
	c.Flags().BoolVar(&replace, "replace", false, "make the state what the backup is")
	return c
}

func (x *stateCommand) migrate() *cobra.Command {
	var to string
	var force bool
	c := &cobra.Command{
		Use: "migrate --to ADDRESS", Short: "Copy all that is remembered into another store", Args: cobra.NoArgs,
		Long: `Copy all that is remembered, of every stack, into another store, and check that it
arrived. What is there stays where it is. Nothing is overwritten; a copy that was cut
off is finished by the same command.`,
		RunE: x.run(func(ctx context.Context, _ []string) error {
			if to == "" {
				return withHint(errors.New("sloth state migrate needs to know where to"), "sloth state migrate --to etcd://host1,host2,host3/prefix")
			}
			place, err := parseState(to, "")
			if err != nil {
				return prefixed("--to", err)
			}
			if place.String() == x.place.String() {
				return fmt.Errorf("the state is in %s already", place)
			}
			if !force {
				if err := x.unlocked(ctx); err != nil {
					return err
				}
			}
			other := x.app.openStore(place, "state migrate", x.waitLock)
			n, err := archive.Copy(ctx, x.store, other)
			if e := other.Close(); err == nil {
				err = e
			}
			var differs *archive.DiffersError
			switch {
			case errors.As(err, &differs):
				return withHint(fmt.Errorf("migrate to %s: %w", place, err), "Choose an empty prefix or folder.")
			case err != nil:
				return fmt.Errorf("migrate to %s: %w", place, err)
			}
			fmt.Fprintf(x.app.stdout, "%s from %s to %s\n", entries(n), x.place, place)
			fmt.Fprintf(x.app.stderr, "To use it, write into sloth.yaml:\n\n  state: %s\n", to)
			return nil
		}),
	}
	c.Flags().StringVar(&to, "to", "", "where to: etcd://host1,host2/prefix, or a folder")
	c.Flags().BoolVar(&force, "force", false, "even while locks are held")
	return c
}

// unlocked refuses to go on while somebody works with the state.
func (x *stateCommand) unlocked(ctx context.Context) error {
	for e, err := range x.store.List(ctx, "lock/") {
		if err != nil {
			return err
		}
		return withHint(fmt.Errorf("a lock is held (%s): what is written meanwhile would stay behind", e.Key[len("lock/"):]),
			"Wait until its holder is done, or go on with --force.")
	}
	return nil
}
