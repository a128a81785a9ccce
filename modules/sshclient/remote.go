package sshclient

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
	"github.com/sloth-runner/sloth/modules/spec"
)

// Provider does what the functions on connections ask for. Only the controller
// has one: a host holds no keys to other hosts.
type Provider interface {
	// Do performs one call. args is a pointer to one of the argument structs of
	// this package; what it returns goes to Lua.
	Do(ctx context.Context, c modules.Call, args any) (any, error)
}

// base is what all functions on connections have in common.
type base struct{ provider Provider }

func (b base) do(ctx context.Context, c modules.Call, args any) ([]any, error) {
	if b.provider == nil {
		if c.Host != "" && c.Host != "local" {
			return nil, fmt.Errorf("connections are made by the controller alone, and this task runs on %s; give the other host a task of its own with :delegate_to, or use a task without a host", c.Host)
		}
		return nil, errors.New("there are no connections in this command; use it in a file that sloth run or apply runs")
	}
	out, err := b.provider.Do(ctx, c, args)
	if err != nil {
		return nil, err
	}
	return []any{out}, nil
}

// looks is a function that changes nothing. A plan makes no connections, and
// answers as if nothing was there.
type looks struct{ base }

// PlanSafe is true.
func (looks) PlanSafe() bool { return true }

func (l looks) look(ctx context.Context, c modules.Call, args, planned any) ([]any, error) {
	if c.Plan {
		return []any{planned}, nil
	}
	return l.do(ctx, c, args)
}

// acts is a function that may change something.
type acts struct{ base }

// PlanSafe is false.
func (acts) PlanSafe() bool { return false }

// handle is the first argument of all functions but connect.
type handle struct {
	Connection any `lua:"connection,required" alias:"conn,client" pos:"1" doc:"What connect returned; or a table with all arguments by name"`
}

// ID is the name of the connection.
func (h *handle) ID() string {
	switch v := h.Connection.(type) {
	case string:
		return v
	case map[string]any:
		id, _ := v["id"].(string)
		return id
	}
	return ""
}

// named reads the form with all arguments in one table, then wants what may
// not be empty.
func named(made any, h *handle, fresh func() any, needed func() error) error {
	if m, ok := h.Connection.(map[string]any); ok && !tool.IsResult(m) {
		// With something before it a table at the end is always the named arguments.
		again, err := spec.Parse(modules.Func{New: fresh}, []any{nil, m}, "")
		if err != nil {
			return err
		}
		reflect.ValueOf(made).Elem().Set(reflect.ValueOf(again).Elem())
	}
	if h.ID() == "" {
		return errors.New("connection must be what ssh.connect returned")
	}
	return needed()
}

func need(names []string, values ...string) error {
	for i, v := range values {
		if v == "" {
			return fmt.Errorf("%s is missing", names[i])
		}
	}
	return nil
}

// Connect opens a connection.
type Connect struct {
	looks
	Host       string            `lua:"host,required,primary" alias:"hostname,address,name" pos:"1" doc:"Host of the inventory or of ~/.ssh/config, name or address"`
	User       string            `lua:"user" alias:"username" pos:"2" doc:"Who logs in; by default what the inventory and ~/.ssh/config say"`
	Port       int               `lua:"port" doc:"Port of sshd"`
	Password   modules.Secret    `lua:"password" doc:"Password to log in with, where keys do not do"`
	Key        string            `lua:"key" alias:"key_file,private_key,key_path,identity_file" doc:"Private key file of the controller, relative to the .sloth file"`
	Jump       string            `lua:"jump" alias:"proxy_jump,bastion" doc:"Jump hosts, as for ssh -J"`
	Timeout    time.Duration     `lua:"timeout" doc:"How long connecting may take"`
	SSHOptions map[string]string `lua:"options" doc:"Options as for ssh -o"`
}

// Validate checks the port.
func (o *Connect) Validate() error {
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("port %d is not between 1 and 65535", o.Port)
	}
	return nil
}

// Run connects.
func (o *Connect) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, map[string]any{"success": true, "changed": false, "planned": true, "id": "planned", "host": o.Host})
}

// Disconnect closes a connection and its tunnels.
type Disconnect struct {
	looks
	handle
}

// Validate wants a connection.
func (o *Disconnect) Validate() error {
	return named(o, &o.handle, o.disconnect, func() error { return nil })
}

// Run disconnects.
func (o *Disconnect) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, map[string]any{"success": true, "changed": false, "planned": true})
}

// Exec runs a command.
type Exec struct {
	acts
	handle
	Command string        `lua:"command" alias:"cmd" pos:"2" doc:"Command line for the login shell"`
	Argv    []string      `lua:"argv" doc:"Program and arguments, instead of command: no quoting"`
	Stdin   modules.Text  `lua:"stdin" alias:"input" doc:"What it reads; nothing by default"`
	Timeout time.Duration `lua:"timeout" doc:"Ends the command after this long"`
	// CheckSafe commands are no change; a plan does not run them all the same.
	CheckSafe bool `lua:"check_safe" doc:"The command changes nothing, and counts as unchanged; a plan does not run it either"`
}

// Skip keeps a plan from calling it a change.
func (o *Exec) Skip(context.Context, facts.Viewer) (reason string, skip bool, err error) {
	return "not run: a plan makes no connections", o.CheckSafe, nil
}

// String is the command.
func (o *Exec) String() string { return "ssh: " + o.Command }

// Path is a function on one path of the host.
type Path struct {
	handle
	Path string `lua:"path" alias:"remote_path,name" pos:"2" doc:"Path on the host, absolute or from the home folder"`
}

func (p *Path) needed() error { return need([]string{"path"}, p.Path) }

// Exists tells whether a path is there.
type Exists struct {
	looks
	Path
}

// Run looks.
func (o *Exists) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, false)
}

// Stat describes a path.
type Stat struct {
	looks
	Path
}

// Run looks.
func (o *Stat) Run(ctx context.Context, c modules.Call) ([]any, error) { return o.look(ctx, c, o, nil) }

// ListDir lists a folder.
type ListDir struct {
	looks
	Path
}

// Run looks.
func (o *ListDir) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, []any{})
}

// Mkdir makes a folder.
type Mkdir struct {
	acts
	Path
	Mode    modules.Mode `lua:"mode" pos:"3" doc:"Mode of the folder"`
	Parents bool         `lua:"parents" alias:"recursive" doc:"Makes the folders above too; one that is there is fine then"`
}

// Remove removes a file or folder.
type Remove struct {
	acts
	Path
	Recursive bool `lua:"recursive" doc:"Removes a folder with all that is in it"`
}

// Chmod sets a mode.
type Chmod struct {
	acts
	Path
	Mode modules.Mode `lua:"mode" pos:"3" doc:"The mode"`
}

// Chown sets owner and group.
type Chown struct {
	acts
	Path
	Owner string `lua:"owner" alias:"user,uid" pos:"3" doc:"User, by name or number"`
	Group string `lua:"group" alias:"gid" pos:"4" doc:"Group, by name or number"`
}

// Rename moves a path.
type Rename struct {
	acts
	handle
	From string `lua:"from" alias:"old_path,src,path" pos:"2" doc:"Path on the host"`
	To   string `lua:"to" alias:"new_path,dest" pos:"3" doc:"Its new name, in place of what has it"`
}

// Upload copies a file, or with Dir a folder, to the host.
type Upload struct {
	acts
	handle
	Local  string       `lua:"local_path" alias:"src,local_file,source" pos:"2" doc:"File of the controller, relative to the .sloth file"`
	Remote string       `lua:"remote_path" alias:"dest,remote_file,destination" pos:"3" doc:"Path on the host, absolute or from the home folder"`
	Mode   modules.Mode `lua:"mode" doc:"Mode of the file; by default that of the controller's"`
	Dir    bool
}

// String says what it does.
func (o *Upload) String() string { return "ssh: upload " + o.Local + " to " + o.Remote }

// Download copies a file, or with Dir a folder, from the host.
type Download struct {
	acts
	handle
	Remote string       `lua:"remote_path" alias:"src,remote_file,source" pos:"2" doc:"Path on the host, absolute or from the home folder"`
	Local  string       `lua:"local_path" alias:"dest,local_file,destination" pos:"3" doc:"File of the controller, relative to the .sloth file"`
	Mode   modules.Mode `lua:"mode" doc:"Mode of the file; by default 0600"`
	Dir    bool
}

// String says what it does.
func (o *Download) String() string { return "ssh: download " + o.Remote + " to " + o.Local }

// CreateTunnel listens on the controller and forwards to what the host reaches.
type CreateTunnel struct {
	looks
	handle
	LocalPort  int    `lua:"local_port" pos:"2" doc:"Port of the controller; 0, the default, takes a free one"`
	RemoteHost string `lua:"remote_host" pos:"3" doc:"Where to, as the host sees it"`
	RemotePort int    `lua:"remote_port" pos:"4" doc:"Port there"`
	LocalHost  string `lua:"local_host" alias:"bind_address" doc:"Address of the controller to listen on"`
}

// Run listens.
func (o *CreateTunnel) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, map[string]any{"success": true, "changed": false, "planned": true, "id": "planned", "local_port": int64(o.LocalPort)})
}

// CloseTunnel ends a tunnel.
type CloseTunnel struct {
	looks
	Tunnel any `lua:"tunnel,required" alias:"id" pos:"1" doc:"What create_tunnel returned"`
}

// Run closes it.
func (o *CloseTunnel) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return o.look(ctx, c, o, map[string]any{"success": true, "changed": false, "planned": true})
}

// ID is the name of the tunnel.
func (o *CloseTunnel) ID() string { return (&handle{Connection: o.Tunnel}).ID() }
