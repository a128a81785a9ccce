package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/spf13/cobra"
)

// listings answers --list-hosts, --list-tasks and --list-tags.
func (v *invocation) listings(prog *dsl.Program, w *dsl.Workflow) (bool, error) {
	f := v.flags
	if !f.listHosts && !f.listTasks && !f.listTags {
		return false, nil
	}
	if prog.Cut != nil {
		return true, prog.Cut
	}
	var tasks []*dsl.Task
	if w != nil {
		tasks = w.Tasks
		fmt.Fprintf(v.app.stdout, "workflow: %s\n", w.Name)
	} else {
		tasks = prog.Ran
	}
	var tags []string
	for _, t := range tasks {
		for _, tag := range t.Tags {
			if !slices.Contains(tags, tag) {
				tags = append(tags, tag)
			}
		}
		if f.listTasks {
			fmt.Fprintf(v.app.stdout, "  %s\tTAGS: [%s]\n", t.Name, strings.Join(t.Tags, ", "))
		}
		if f.listHosts {
			if err := v.listHosts(t, w); err != nil {
				return true, err
			}
		}
	}
	if f.listTags {
		slices.Sort(tags)
		fmt.Fprintf(v.app.stdout, "  tags: [%s]\n", strings.Join(tags, ", "))
	}
	return true, nil
}

func (v *invocation) listHosts(t *dsl.Task, w *dsl.Workflow) error {
	hosts, known, err := v.hostsOf(t, w)
	if err != nil {
		return err
	}
	if !known {
		hosts = []string{"(known when its turn comes)"}
	}
	fmt.Fprintf(v.app.stdout, "  %s (%d):\n", t.Name, len(hosts))
	for _, h := range hosts {
		fmt.Fprintf(v.app.stdout, "    %s\n", h)
	}
	return nil
}

// read loads a file without effects, for commands that only look at it.
func (a *app) read(ctx context.Context, f *runFlags, file string) (*dsl.Program, error) {
	if err := existing(file); err != nil {
		return nil, err
	}
	v := &invocation{app: a, flags: f, file: file}
	f.vault.blind = true
	sec, err := a.openSecrets(ctx, &f.vault)
	if err != nil {
		return nil, err
	}
	params, values, err := v.arguments(sec)
	if err != nil {
		return nil, err
	}
	prog, vm, err := v.load(ctx, params, values, nil)
	if err != nil {
		return nil, err
	}
	v.showEarly(a.stderr)
	if prog.Cut != nil {
		a.warn(fmt.Sprintf("%v; nothing was done above that line, so it may be good when it is: what is below was not looked at", prog.Cut))
	}
	return prog, vm.Close()
}

// taskID is stable for as long as a task keeps its file, workflow and name.
func taskID(file, workflow, task string) string {
	sum := sha256.Sum256([]byte(file + "\x00" + workflow + "\x00" + task))
	return hex.EncodeToString(sum[:6])
}

func newList(a *app) *cobra.Command {
	f := &runFlags{}
	var file string
	c := &cobra.Command{
		Use:   "list -f FILE.sloth",
		Short: "List the workflows and tasks of a file",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" && len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				return withHint(errors.New("no file is named"), "Name it with -f: sloth list -f site.sloth.")
			}
			prog, err := a.read(cmd.Context(), f, file)
			if err != nil {
				return err
			}
			if f.output == "json" {
				return a.listJSON(prog)
			}
			for _, w := range prog.Workflows {
				fmt.Fprintf(a.stdout, "%s  workflow %s %s\n", taskID(prog.File, w.Name, ""), w.Name, w.Version)
				if w.Description != "" {
					fmt.Fprintf(a.stdout, "              %s\n", w.Description)
				}
				for _, t := range w.Tasks {
					fmt.Fprintf(a.stdout, "%s    %-28s %s\n", taskID(prog.File, w.Name, t.Name), t.Name, t.Description)
				}
			}
			for _, h := range prog.Handlers {
				fmt.Fprintf(a.stdout, "%s  handler %s\n", taskID(prog.File, "handler", h.Name), h.Name)
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the .sloth `file`")
	c.Flags().StringVar(&f.values, "values", "", "values `file` (YAML)")
	c.Flags().StringVar(&f.output, "output", "", "json for programs")
	return c
}

func (a *app) listJSON(prog *dsl.Program) error {
	type task struct {
		ID          string   `json:"id"`
		Name        string   `json:"name"`
		Description string   `json:"description"`
		DependsOn   []string `json:"depends_on"`
		Tags        []string `json:"tags"`
	}
	type flow struct {
		ID          string `json:"id"`
		Name        string `json:"name"`
		Description string `json:"description"`
		Version     string `json:"version"`
		Tasks       []task `json:"tasks"`
	}
	flows := []flow{}
	for _, w := range prog.Workflows {
		x := flow{taskID(prog.File, w.Name, ""), w.Name, w.Description, w.Version, []task{}}
		for _, t := range w.Tasks {
			x.Tasks = append(x.Tasks, task{taskID(prog.File, w.Name, t.Name), t.Name, t.Description, append([]string{}, t.DependsOn...), append([]string{}, t.Tags...)})
		}
		flows = append(flows, x)
	}
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(map[string]any{"file": prog.File, "workflows": flows})
}

func newValidate(a *app) *cobra.Command {
	f := &runFlags{}
	var file string
	c := &cobra.Command{
		Use:   "validate FILE.sloth",
		Short: "Check a file, and with -i its hosts, without running anything",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" && len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				return withHint(errors.New("no file is named"), "sloth validate site.sloth.")
			}
			prog, err := a.read(cmd.Context(), f, file)
			if err != nil {
				return err
			}
			var problems []error
			for _, w := range prog.Warnings {
				fmt.Fprintf(a.stderr, "%s %s\n", a.paint("33", "warning:"), indent(w.Error()))
			}
			if len(f.inventory) > 0 {
				problems = append(problems, a.checkHosts(cmd.Context(), f, file, prog)...)
			}
			if len(problems) > 0 {
				for _, p := range problems {
					a.printError(p)
				}
				return exitError{exitUsage}
			}
			tasks := 0
			for _, w := range prog.Workflows {
				tasks += len(w.Tasks)
			}
			fmt.Fprintf(a.stdout, "%s: good: %d workflows, %d tasks, %d handlers\n", file, len(prog.Workflows), tasks, len(prog.Handlers))
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the .sloth `file`")
	c.Flags().StringArrayVarP(&f.inventory, "inventory", "i", nil, "check the host patterns against this inventory too")
	c.Flags().StringVar(&f.values, "values", "", "values `file` (YAML)")
	return c
}

// checkHosts looks up every host pattern of the file.
func (a *app) checkHosts(ctx context.Context, f *runFlags, file string, prog *dsl.Program) []error {
	dir, err := scriptDir(file)
	if err != nil {
		return []error{err}
	}
	fl, err := a.openFleet(ctx, &f.hostFlags, dir)
	if err != nil {
		return []error{err}
	}
	defer fl.close()
	var problems []error
	check := func(pos dsl.Pos, what, pattern string) {
		if pattern == "" || pattern == "local" {
			return
		}
		fl.addAliases(pattern)
		if _, err := fl.inv.Match(pattern, ""); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: %s: %w", pos.File, pos.Line, what, err))
		}
	}
	for _, w := range prog.Workflows {
		check(w.Pos, "config.hosts", w.Config.Hosts)
	}
	for _, t := range append(slices.Clone(prog.Tasks), prog.Handlers...) {
		check(t.Pos, "task "+t.Name, t.Target.Pattern)
		check(t.Pos, "task "+t.Name, t.Target.Group)
	}
	return problems
}
