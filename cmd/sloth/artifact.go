package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/runner/step"
	"github.com/sloth-runner/sloth/state/artifact"
)

// artifactNamed reports whether a pattern means an artifact: by its name, or a
// folder that it is in.
func artifactNamed(pattern, name string) bool { return step.MatchArtifact(pattern, name) }

// artifactCommand is what the commands under `sloth artifact` share.
type artifactCommand struct {
	app    *app
	output string
	filter artifact.Filter
}

func newArtifact(a *app) *cobra.Command {
	x := &artifactCommand{app: a}
	c := &cobra.Command{
		Use:     "artifact",
		Short:   "List, fetch and forget the files that tasks made",
		Long:    "Files that tasks name with :artifacts are kept when the task succeeds, each content once,\nand given to tasks that name them with :consumes.",
		Example: "  sloth artifact list 'dist/*'\n  sloth artifact get dist/app.tgz --host web-01 --to out\n  sloth artifact prune --versions 5 --older-than 720h",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.PersistentFlags().StringVar(&x.output, "output", "basic", "how results look: basic or json")
	c.AddCommand(x.list(), x.get(), x.prune(), x.verify())
	return c
}

func (x *artifactCommand) flags(fs *pflag.FlagSet) {
	fs.StringVar(&x.filter.Stack, "stack", "", "only those of this `stack`")
	fs.StringVar(&x.filter.Host, "host", "", "only those that this `host` made")
	fs.StringVar(&x.filter.Run, "run", "", "only those of this `run`")
}

// run gives a command the store.
func (x *artifactCommand) run(fn func(c *cobra.Command, s *artifact.Store, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if x.output != "basic" && x.output != "json" {
			return fmt.Errorf("--output %q is not known here; there are basic and json", x.output)
		}
		s, err := openArtifacts()
		if err != nil {
			return err
		}
		defer s.Close()
		return fn(c, s, args)
	}
}

func (x *artifactCommand) print(v any) error {
	enc := json.NewEncoder(x.app.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// matching lists what the flags and a pattern choose, the newest last.
func (x *artifactCommand) matching(s *artifact.Store, args []string) ([]artifact.Artifact, error) {
	list, err := s.List(x.filter)
	if err != nil || len(args) == 0 {
		return list, err
	}
	var out []artifact.Artifact
	for _, a := range list {
		if artifactNamed(args[0], a.Name) || a.ID == args[0] {
			out = append(out, a)
		}
	}
	return out, nil
}

func (x *artifactCommand) list() *cobra.Command {
	c := &cobra.Command{
		Use: "list [PATTERN]", Short: "List artifacts, the newest last", Args: cobra.MaximumNArgs(1), Aliases: []string{"ls"},
		RunE: x.run(func(_ *cobra.Command, s *artifact.Store, args []string) error {
			list, err := x.matching(s, args)
			if err != nil {
				return err
			}
			if x.output == "json" {
				if list == nil {
					list = []artifact.Artifact{}
				}
				return x.print(list)
			}
			w := tabwriter.NewWriter(x.app.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tNAME\tVERSION\tHOST\tTASK\tSTACK\tMADE\tBYTES\tSHA256")
			for _, a := range list {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\t%s\n", a.ID, render.Sanitize(a.Name), a.Version, render.Sanitize(a.Host), render.Sanitize(a.Task),
					render.Sanitize(shortStack(a.Stack)), a.Made.Local().Format(time.DateTime), a.Size, short12(a.Hash))
			}
			return w.Flush()
		}),
	}
	x.flags(c.Flags())
	return c
}

func (x *artifactCommand) get() *cobra.Command {
	var to string
	c := &cobra.Command{
		Use: "get PATTERN|ID", Short: "Write the newest version of artifacts into a folder", Args: cobra.ExactArgs(1),
		Long: `Write the newest version of each artifact whose name matches, or the one with this ID,
below a folder. What several hosts made goes into a folder for each host. Nothing is
written outside of the folder.`,
		RunE: x.run(func(c *cobra.Command, s *artifact.Store, args []string) error {
			list, err := x.matching(s, args)
			if err != nil {
				return err
			}
			type line struct{ name, host string }
			newest := map[line]artifact.Artifact{}
			hosts := map[string]bool{}
			var order []line
			for _, a := range list {
				l := line{a.Name, a.Host}
				if _, again := newest[l]; !again {
					order = append(order, l)
				}
				newest[l], hosts[a.Host] = a, true
			}
			if len(order) == 0 {
				return withHint(fmt.Errorf("there is no artifact %q", args[0]), "sloth artifact list shows them.")
			}
			for _, l := range order {
				dir := to
				if len(hosts) > 1 {
					if dir, err = hostFolder(to, l.host); err != nil {
						return err
					}
				}
				name, err := s.Get(c.Context(), newest[l], dir)
				if err != nil {
					return err
				}
				if x.output == "basic" {
					fmt.Fprintln(x.app.stdout, render.Sanitize(filepath.Join(dir, name)))
				}
			}
			return nil
		}),
	}
	x.flags(c.Flags())
	c.Flags().StringVar(&to, "to", ".", "the `folder` to write into")
	return c
}

// hostFolder is the folder of a host below another.
func hostFolder(dir, host string) (string, error) {
	if !filepath.IsLocal(host) || filepath.Base(host) != host || host == "." {
		return "", fmt.Errorf("a host named %q can have no folder; choose one with --host", host)
	}
	return filepath.Join(dir, host), nil
}

func (x *artifactCommand) prune() *cobra.Command {
	var keep artifact.Keep
	var age time.Duration
	var size int64
	c := &cobra.Command{
		Use: "prune", Short: "Forget old versions", Args: cobra.NoArgs,
		Long: `Forget versions of artifacts that are too many or too old; the newest of each name and
host stays. With --size the oldest go until all that is kept is no more than that.`,
		RunE: x.run(func(c *cobra.Command, s *artifact.Store, _ []string) error {
			if age < 0 || size < 0 || keep.Versions < 0 {
				return errors.New("--versions, --older-than and --size are not negative")
			}
			keep.Since, keep.Size = time.Now().Add(-age), size<<20
			gone, freed, err := s.Prune(c.Context(), keep)
			if err != nil {
				return err
			}
			if x.output == "json" {
				return x.print(map[string]any{"removed": len(gone), "freed": freed})
			}
			fmt.Fprintf(x.app.stdout, "forgot %d versions, freed %d bytes\n", len(gone), freed)
			return nil
		}),
	}
	fs := c.Flags()
	fs.IntVar(&keep.Versions, "versions", keepVersions, "how many of each name and host to keep; 0: any number")
	fs.DurationVar(&age, "older-than", keepArtifactFor, "forget those that are older")
	fs.Int64Var(&size, "size", keepArtifacts>>20, "how many `megabytes` to keep in all; 0: any number")
	return c
}

func (x *artifactCommand) verify() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read all artifacts and compare them with their hashes", Args: cobra.NoArgs,
		RunE: x.run(func(c *cobra.Command, s *artifact.Store, _ []string) error {
			var bad []error
			n, err := s.Verify(c.Context(), func(err error) { bad = append(bad, err) })
			if err != nil {
				return err
			}
			if len(bad) > 0 {
				return withHint(errors.Join(bad...), "Run the tasks that made them again; sloth artifact prune forgets versions.")
			}
			if x.output == "json" {
				return x.print(map[string]any{"artifacts": n, "ok": true})
			}
			fmt.Fprintf(x.app.stdout, "%d artifacts are what was kept\n", n)
			return nil
		}),
	}
}
