package sshclient

import (
	"context"
	"errors"
	"fmt"

	"github.com/sloth-runner/sloth/modules"
)

// The functions here read their arguments in three forms:
// ssh.stat(connection, path), connection:stat(path) and
// ssh.stat({connection = connection, path = path}).

func (b base) disconnect() any { return &Disconnect{looks: looks{b}} }
func (b base) exec() any       { return &Exec{acts: acts{b}} }
func (b base) exists() any     { return &Exists{looks: looks{b}} }
func (b base) stat() any       { return &Stat{looks: looks{b}} }
func (b base) listDir() any    { return &ListDir{looks: looks{b}} }
func (b base) mkdir() any      { return &Mkdir{acts: acts{b}, Parents: true} }
func (b base) remove() any     { return &Remove{acts: acts{b}} }
func (b base) chmod() any      { return &Chmod{acts: acts{b}} }
func (b base) chown() any      { return &Chown{acts: acts{b}} }
func (b base) rename() any     { return &Rename{acts: acts{b}} }
func (b base) upload() any     { return &Upload{acts: acts{b}} }
func (b base) download() any   { return &Download{acts: acts{b}} }
func (b base) tunnel() any     { return &CreateTunnel{looks: looks{b}, LocalHost: "127.0.0.1"} }

func (b base) uploadDir() any   { return &Upload{acts: acts{b}, Dir: true} }
func (b base) downloadDir() any { return &Download{acts: acts{b}, Dir: true} }

// Validate wants a command.
func (o *Exec) Validate() error {
	return named(o, &o.handle, o.exec, func() error {
		switch {
		case o.Command == "" && len(o.Argv) == 0:
			return errors.New("command is missing: say which command to run")
		case o.Command != "" && len(o.Argv) > 0:
			return errors.New("give command or argv, not both")
		}
		return nil
	})
}

// Run runs the command. Its failure is in the result; a lost connection raises.
func (o *Exec) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// Validate wants a path.
func (o *Exists) Validate() error { return named(o, &o.handle, o.exists, o.needed) }

// Validate wants a path.
func (o *Stat) Validate() error { return named(o, &o.handle, o.stat, o.needed) }

// Validate wants a path.
func (o *ListDir) Validate() error { return named(o, &o.handle, o.listDir, o.needed) }

// Validate wants a path.
func (o *Mkdir) Validate() error { return named(o, &o.handle, o.mkdir, o.needed) }

// Run makes the folder.
func (o *Mkdir) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// String says what it does.
func (o *Mkdir) String() string { return "ssh: make the folder " + o.Path.Path }

// Validate wants a path that is not everything.
func (o *Remove) Validate() error {
	return named(o, &o.handle, o.remove, func() error {
		switch o.Path.Path {
		case "/", ".", "..", "~":
			return fmt.Errorf("path = %q: that is not removed", o.Path.Path)
		}
		return o.needed()
	})
}

// Run removes it.
func (o *Remove) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// String says what it does.
func (o *Remove) String() string { return "ssh: remove " + o.Path.Path }

// Validate wants a path and a mode.
func (o *Chmod) Validate() error {
	return named(o, &o.handle, o.chmod, func() error {
		return need([]string{"path", "mode"}, o.Path.Path, string(o.Mode))
	})
}

// Run sets the mode.
func (o *Chmod) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// String says what it does.
func (o *Chmod) String() string { return "ssh: chmod " + string(o.Mode) + " " + o.Path.Path }

// Validate wants a path and an owner or group.
func (o *Chown) Validate() error {
	return named(o, &o.handle, o.chown, func() error {
		return need([]string{"path", "owner or group"}, o.Path.Path, o.Owner+o.Group)
	})
}

// Run sets owner and group.
func (o *Chown) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// String says what it does.
func (o *Chown) String() string {
	return "ssh: chown " + o.Owner + ":" + o.Group + " " + o.Path.Path
}

// Validate wants both names.
func (o *Rename) Validate() error {
	return named(o, &o.handle, o.rename, func() error { return need([]string{"from", "to"}, o.From, o.To) })
}

// Run renames it.
func (o *Rename) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// String says what it does.
func (o *Rename) String() string { return "ssh: rename " + o.From + " to " + o.To }

// Validate wants both paths.
func (o *Upload) Validate() error {
	fresh := o.upload
	if o.Dir {
		fresh = o.uploadDir
	}
	return named(o, &o.handle, fresh, func() error {
		return need([]string{"local_path", "remote_path"}, o.Local, o.Remote)
	})
}

// Run copies.
func (o *Upload) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// Validate wants both paths.
func (o *Download) Validate() error {
	fresh := o.download
	if o.Dir {
		fresh = o.downloadDir
	}
	return named(o, &o.handle, fresh, func() error {
		return need([]string{"remote_path", "local_path"}, o.Remote, o.Local)
	})
}

// Run copies.
func (o *Download) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.do(ctx, c, o) }

// Validate wants a destination.
func (o *CreateTunnel) Validate() error {
	return named(o, &o.handle, o.tunnel, func() error {
		if o.RemotePort < 1 || o.RemotePort > 65535 || o.LocalPort < 0 || o.LocalPort > 65535 {
			return errors.New("remote_port must be between 1 and 65535, local_port between 0 and 65535")
		}
		if o.RemoteHost == "" {
			o.RemoteHost = "127.0.0.1"
		}
		return nil
	})
}

// Validate wants a tunnel.
func (o *CloseTunnel) Validate() error {
	if o.ID() == "" {
		return errors.New("tunnel must be what ssh.create_tunnel returned")
	}
	return nil
}
