package main

import (
	"errors"

	"github.com/sloth-runner/sloth/inventory"
	"github.com/spf13/cobra"
)

func newInventory(a *app) *cobra.Command {
	f := &hostFlags{vault: vaultFlags{late: true}}
	var list, graph, vars bool
	var host, dir string
	load := func(cmd *cobra.Command) (*inventory.Inventory, error) {
		fl, err := a.openFleet(cmd.Context(), f, dir)
		if err != nil {
			return nil, err
		}
		fl.close()
		return fl.inv, nil
	}
	c := &cobra.Command{
		Use:     "inventory --list | --graph [PATTERN] | --host HOST",
		Short:   "Show hosts, groups and variables as ansible-inventory does",
		Example: "  sloth inventory -i hosts.yaml --graph\n  sloth inventory -i hosts.yaml explain web-01 ansible_port",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !list && !graph && host == "" {
				return withHint(errors.New("there is nothing to show"), "Say one of --list, --graph and --host HOST, or: explain HOST VARIABLE.")
			}
			inv, err := load(cmd)
			if err != nil {
				return err
			}
			switch {
			case graph:
				pattern := "all"
				if len(args) == 1 {
					pattern = args[0]
				}
				return inv.WriteGraph(a.stdout, pattern, vars)
			case host != "":
				return inv.WriteHost(a.stdout, host)
			}
			return inv.WriteList(a.stdout)
		},
	}
	fs := c.PersistentFlags()
	f.vault.add(fs)
	fs.StringArrayVarP(&f.inventory, "inventory", "i", nil, "inventory file, folder, script or `host,list` (repeatable)")
	fs.StringArrayVarP(&f.extra, "extra-vars", "e", nil, "variables that win over all others")
	fs.StringVar(&dir, "playbook-dir", workingDir, "`folder` whose group_vars and host_vars count too")
	c.Flags().BoolVar(&list, "list", false, "everything, as JSON")
	c.Flags().BoolVar(&graph, "graph", false, "the groups as a tree")
	c.Flags().BoolVar(&vars, "vars", false, "with --graph: variables too")
	c.Flags().StringVar(&host, "host", "", "the variables of one `host`, as JSON")
	c.MarkFlagsMutuallyExclusive("list", "graph", "host")
	c.AddCommand(&cobra.Command{
		Use:   "explain HOST VARIABLE",
		Short: "Show every place that sets a variable, and why one won",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := load(cmd)
			if err != nil {
				return err
			}
			found, err := inv.Explain(args[0], args[1])
			if err != nil {
				return err
			}
			return inventory.WriteExplain(a.stdout, args[0], args[1], found)
		},
	})
	return c
}
