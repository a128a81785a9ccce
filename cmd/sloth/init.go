package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

const (
	starterHosts = `# Hosts, groups and variables. Ansible reads this form too.
all:
  vars:
    greeting: hello
  children:
    web:
      hosts:
        # web-[01:03].example.com:
        #   ansible_user: admin
        localhost:
          ansible_connection: local
`
	starterSite = `-- What the hosts should look like.
--
--   sloth plan  site.sloth     shows what would change
--   sloth apply site.sloth     changes it

local motd = task("motd")
    :description("Greet whoever logs in")
    :command(function()
        file_ops.copy({
            dest = "/tmp/sloth-hello",
            content = vars.greeting .. " from " .. host.name .. "\n",
            mode = "0644",
        })
    end)
    :build()

workflow.define("site", {
    description = "The whole site",
    version = "1.0",
    tasks = { motd },
    config = { hosts = "web" },
})
`
	starterConfig = `# Settings of this project; flags win over them.
inventory: hosts.yaml
`
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write hosts.yaml, site.sloth and sloth.yaml to start from",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			return a.writeStarters(dir)
		},
	}
}

// writeStarters writes all files or, where one is in the way, none.
func (a *app) writeStarters(dir string) error {
	starters := []struct{ name, text string }{
		{"hosts.yaml", starterHosts}, {"site.sloth", starterSite}, {"sloth.yaml", starterConfig},
	}
	for _, s := range starters {
		if _, err := os.Lstat(filepath.Join(dir, s.name)); !errors.Is(err, fs.ErrNotExist) {
			return withHint(fmt.Errorf("write %s: it is there already", filepath.Join(dir, s.name)), "Move it away, or name an empty folder: sloth init FOLDER.")
		}
	}
	for _, s := range starters {
		path := filepath.Join(dir, s.name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.WriteString(s.text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "wrote %s\n", path)
	}
	next := "sloth plan site.sloth"
	if filepath.Clean(dir) != "." {
		next = fmt.Sprintf("cd %s && %s", dir, next)
	}
	fmt.Fprintf(a.stdout, "\nNext: %s\n", next)
	return nil
}
