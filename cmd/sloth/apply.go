package main

import (
	"fmt"

	"github.com/sloth-runner/sloth/runner/saved"
	"github.com/spf13/cobra"
)

func newApply(a *app) *cobra.Command {
	f := &runFlags{}
	var pf planFlags
	c := &cobra.Command{
		Use:     "apply FILE.sloth [WORKFLOW] | FILE.plan",
		Short:   "Bring hosts into the state that a file describes",
		Example: "  sloth apply -i hosts.yaml site.sloth\n  sloth apply -i hosts.yaml -l 'web-*' -b site.sloth\n  sloth apply site.plan",
		Args: func(c *cobra.Command, args []string) error {
			if f.resume != "" && len(args) == 0 {
				return nil
			}
			return cobra.RangeArgs(1, 2)(c, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.resumeAsBefore(cmd.Context(), f.resume, f.rerunUnknown)
			}
			if saved.Is(args[0]) {
				pf.only = f.check
				return a.applyPlan(cmd.Context(), args[0], args[1:], cmd.Flags(), pf)
			}
			if pf.allowUnknown || pf.key != "" {
				return withHint(fmt.Errorf("--allow-unknown and --plan-key are for saved plans, and %s is none", args[0]), "sloth plan -o FILE makes one.")
			}
			v := &invocation{app: a, flags: f, file: args[0], onHosts: true, what: "apply"}
			if len(args) == 2 {
				v.workflow = args[1]
			}
			if f.check {
				v.what = "plan"
			}
			return v.run(cmd.Context())
		},
	}
	f.add(c.Flags(), "")
	f.addDurable(c.Flags())
	pf.add(c.Flags())
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "with --check: exit 3 when there are changes")
	c.MarkFlagsMutuallyExclusive("tags", "start-at-task")
	return c
}

func newRun(a *app) *cobra.Command {
	f := &runFlags{}
	var file string
	c := &cobra.Command{
		Use:     "run -f FILE.sloth [WORKFLOW | STACK]",
		Short:   "Run a workflow on this machine, which may delegate to hosts",
		Example: "  sloth run -f deploy.sloth -v values.yaml\n  sloth run -f deploy.sloth --param version=1.2 --output json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" && f.resume != "" {
				return a.resumeAsBefore(cmd.Context(), f.resume, f.rerunUnknown)
			}
			if file == "" {
				return withHint(fmt.Errorf("no file is named"), "Name it with -f: sloth run -f deploy.sloth.")
			}
			v := &invocation{app: a, flags: f, file: file, what: "run"}
			if len(args) == 1 {
				v.workflow = args[0]
			}
			return v.run(cmd.Context())
		},
	}
	fs := c.Flags()
	f.add(fs, "fv")
	f.addDurable(fs)
	fs.StringVarP(&file, "file", "f", "", "the .sloth `file`")
	fs.BoolVar(&f.step, "interactive", false, "ask before each task")
	return c
}
