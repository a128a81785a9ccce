package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sloth-runner/sloth/runner/saved"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newPlan(a *app) *cobra.Command {
	f := &runFlags{}
	var out, key string
	c := &cobra.Command{
		Use:     "plan FILE.sloth [WORKFLOW]",
		Short:   "Show what apply would change, and change nothing",
		Example: "  sloth plan -i hosts.yaml site.sloth\n  sloth plan -i hosts.yaml site.sloth -o site.plan && sloth apply site.plan",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if saved.Is(args[0]) {
				return withHint(fmt.Errorf("%s is a plan already", args[0]), fmt.Sprintf("sloth apply %s applies it; with --check it tells whether it still fits.", args[0]))
			}
			f.check, f.diff = true, true
			v := &invocation{app: a, flags: f, file: args[0], onHosts: true, what: "plan"}
			if len(args) == 2 {
				v.workflow = args[1]
			}
			if out != "" {
				if err := v.savePlan(out, key, cmd.Flags()); err != nil {
					return err
				}
			}
			return v.run(cmd.Context())
		},
	}
	f.add(c.Flags(), "oC")
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit 3 when there are changes")
	c.Flags().StringVarP(&out, "out", "o", "", "save the plan in this `file`, for sloth apply FILE")
	addPlanKey(c.Flags(), &key)
	return c
}

func addPlanKey(fs *pflag.FlagSet, key *string) {
	fs.StringVar(key, "plan-key", "", "`file` with the key of saved plans (default plan.key among this user's state)")
}

// unsaved are the flags that a plan does not record: they say how this one
// command is to look, or are a plan's own.
var unsaved = []string{"out", "plan-key", "output", "verbose", "detailed-exitcode", "check", "diff", "list-hosts", "list-tasks", "list-tags"}

// recordFlags are the flags that were given, but for those named.
func recordFlags(fs *pflag.FlagSet, without []string) []saved.Flag {
	var out []saved.Flag
	fs.Visit(func(f *pflag.Flag) {
		if slices.Contains(without, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = slices.Clone(list.GetSlice())
		}
		out = append(out, saved.Flag{Name: f.Name, Values: values})
	})
	return out
}

// savePlan has the run write a plan once its check has gone well.
func (v *invocation) savePlan(path, keyFile string, fs *pflag.FlagSet) error {
	secret, err := planKey(keyFile, true)
	if err != nil {
		return err
	}
	plan := &saved.Plan{Version: version, Made: time.Now().UTC().Truncate(time.Second), Salt: saved.NewSalt(), File: v.file, Workflow: v.workflow}
	if plan.Dir, err = os.Getwd(); err != nil {
		return err
	}
	plan.Flags = recordFlags(fs, unsaved)
	v.planning = newPlanning(v, secret, plan.Salt)
	v.finish = func(code int) error {
		if code != exitOK {
			v.app.warn("no plan was saved: the check did not go well")
			return nil
		}
		found, err := v.planning.found(v.planning.rec.Hosts())
		if err != nil {
			return withHint(fmt.Errorf("save the plan: %w", err), "No plan was saved.")
		}
		plan.Inputs, plan.Hosts = found.Inputs, found.Hosts
		if err := v.noSecretIn(plan); err != nil {
			return err
		}
		if err := saved.Write(path, plan, secret); err != nil {
			return fmt.Errorf("save the plan: %w", err)
		}
		fmt.Fprintf(v.app.stderr, "the plan is in %s; apply it with: sloth apply %s\n", path, path)
		if n := len(plan.Unknown()); n > 0 {
			fmt.Fprintf(v.app.stderr, "what %d of its steps change is unknown until applied; apply asks for --allow-unknown\n", n)
		}
		return nil
	}
	return nil
}

// noSecretIn refuses a command line that would bring a secret into the file.
func (v *invocation) noSecretIn(p *saved.Plan) error {
	for _, f := range p.Flags {
		for _, text := range f.Values {
			if v.app.redactor().String(text) != text {
				return withHint(fmt.Errorf("save the plan: the value of --%s is a secret, and a plan keeps none", f.Name), "Keep it with `sloth secret set`, or give a file: -e @FILE, --values FILE.")
			}
		}
	}
	return nil
}

// fromWhere goes to the folder that a plan's names begin in, if it is there.
func fromWhere(p *saved.Plan) error {
	if filepath.IsAbs(p.Dir) {
		err := os.Chdir(p.Dir)
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil // elsewhere, such as in another job of a pipeline: here
		}
		return err
	}
	return nil
}
