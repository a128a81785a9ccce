package main

import (
	"context"
	"maps"
	"slices"

	"github.com/sloth-runner/sloth/cmd/sloth/remote"
	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/all"
	"github.com/sloth-runner/sloth/modules/sshclient"
)

// modules are those of the controller: the ones of every host, of which ssh can
// connect here.
func (v *invocation) modules() []modules.Module {
	list := all.Modules()
	if v.remote == nil {
		return list // nothing runs in this command
	}
	for i := range list {
		if list[i].Name == "ssh" {
			list[i] = sshclient.Module(v.remote)
		}
	}
	return list
}

// openRemote makes the connections that the script in dir may open.
func (v *invocation) openRemote(dir string) {
	v.remote = remote.New(remote.Options{Dir: dir, Dial: v.fleet.dialFor})
}

// dialFor opens a connection of its own for a script, past the pool. What the
// script says wins over what the inventory says of that host.
func (fl *fleet) dialFor(ctx context.Context, said connection.Target) (connection.Conn, error) {
	t := connection.Target{Name: said.Name, User: fl.flags.user, PrivateKeyFile: fl.flags.key, Password: fl.password, Jump: fl.flags.jump}
	config := ""
	if fl.inv != nil && slices.Contains(fl.inv.Hosts(), said.Name) {
		known, l, err := fl.target(said.Name)
		if err != nil {
			return nil, err
		}
		t, config = known, l.SSHConfig
	}
	if said.User != "" {
		t.User = said.User
	}
	if said.Port != 0 {
		t.Port = said.Port
	}
	if said.PrivateKeyFile != "" {
		t.PrivateKeyFile = said.PrivateKeyFile
	}
	if said.Password != nil {
		t.Password = said.Password
		fl.app.hide(said.Password)
	}
	if said.Jump != "" {
		t.Jump = said.Jump
	}
	if len(said.Options) > 0 {
		options := maps.Clone(said.Options)
		for k, v := range t.Options {
			if _, over := options[k]; !over {
				options[k] = v
			}
		}
		t.Options = options
	}
	return fl.dialer(config).Dial(ctx, t)
}
