package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/values"
)

func (x *stateCommand) doctor() *cobra.Command {
	var repair bool
	c := &cobra.Command{
		Use: "doctor", Short: "Check the state from end to end, and repair it", Args: cobra.NoArgs,
		Long: `Read all that is remembered and check it. With --repair a damaged folder is moved aside,
never deleted, and what can still be read of it is put into a new one.`,
		RunE: x.run(func(ctx context.Context, _ []string) error {
			err := x.examine(ctx)
			var damaged *badger.DamagedError
			if !repair || !errors.As(err, &damaged) {
				return err
			}
			x.app.printError(err)
			r, err := badger.Repair(ctx, badger.Options{Dir: x.place.dir, What: "state doctor --repair", WaitLock: x.waitLock})
			if err != nil {
				return fmt.Errorf("repair: %w", err)
			}
			fmt.Fprintf(x.app.stdout, "%s kept; the damaged state is in %s\n", entries(r.Kept), r.Aside)
			if len(r.Unread) > 0 {
				fmt.Fprintf(x.app.stdout, "could not be read: %s\n", strings.Join(r.Unread, ", "))
			}
			return nil
		}),
	}
	c.Flags().BoolVar(&repair, "repair", false, "repair a damaged state")
	return c
}

// examine reads everything once.
func (x *stateCommand) examine(ctx context.Context) error {
	kinds := map[string]int{}
	unreadable, size := 0, 0
	for e, err := range x.store.List(ctx, "") {
		if err != nil {
			return err
		}
		kind, _, _ := strings.Cut(e.Key, "/")
		kinds[kind]++
		size += len(e.Key) + len(e.Value)
		if err := values.Check(e); err != nil {
			unreadable++
			x.app.printError(fmt.Errorf("%s: %w", e.Key, err))
		}
	}
	if unreadable > 0 {
		return withHint(fmt.Errorf("state %s: %s cannot be read", x.place, entries(unreadable)), "Delete them with sloth state delete, or put a backup back.")
	}
	total := 0
	for _, n := range kinds {
		total += n
	}
	if x.output == "json" {
		return x.print(map[string]any{"place": x.place.String(), "entries": total, "bytes": size, "kinds": kinds, "ok": true})
	}
	fmt.Fprintf(x.app.stdout, "state %s is well: %s, %d bytes\n", x.place, entries(total), size)
	fmt.Fprintf(x.app.stdout, "values %d, locks %d, replies %d, others %d\n", kinds["value"], kinds["lock"], kinds["call"], total-kinds["value"]-kinds["lock"]-kinds["call"])
	if x.place.etcd == nil {
		fmt.Fprintf(x.app.stdout, "on disk: %d KiB\n", diskUse(x.place.dir)>>10)
	}
	return nil
}

// diskUse is what a folder's files take of the disk, which for logs is less
// than their size. What vanishes meanwhile is none.
func diskUse(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := os.Lstat(filepath.Join(dir, d.Name())); err == nil {
				n += info.Sys().(*syscall.Stat_t).Blocks * 512
			}
		}
		return nil
	})
	return n
}
