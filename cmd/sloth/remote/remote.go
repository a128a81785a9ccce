// Package remote is what stands behind the functions of the module ssh that
// need a connection: those that scripts open from the controller.
package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/pkg/sftp"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/sshclient"
)

// Conn is a connection that can do what the module offers.
type Conn interface {
	connection.Conn
	// SFTP runs work with the connection's SFTP session. When ctx ends it
	// returns at once, while work may still be in a call.
	SFTP(ctx context.Context, op string, work func(*sftp.Client) error) error
	// Forward connects from the host to an address that it can reach.
	Forward(ctx context.Context, host string, port int) (net.Conn, error)
}

// Options say where connections come from.
type Options struct {
	// Dir is the folder of the .sloth file: the base of local paths.
	Dir string
	// Dial connects to t.Name. Fields of t that are not set are as the
	// inventory and ~/.ssh/config say.
	Dial func(ctx context.Context, t connection.Target) (connection.Conn, error)
}

// maxOpen is how many connections and tunnels a run may have at once.
const maxOpen = 200

// Connections are those of one run. It is an sshclient.Provider.
type Connections struct {
	o Options

	mu      sync.Mutex
	last    int
	conns   map[string]*conn
	tunnels map[string]*tunnel
	closed  bool
}

var _ sshclient.Provider = (*Connections)(nil)

type conn struct {
	Conn
	host string
}

// New returns Connections that has none yet.
func New(o Options) *Connections {
	return &Connections{o: o, conns: map[string]*conn{}, tunnels: map[string]*tunnel{}}
}

// Close ends all tunnels and connections.
func (c *Connections) Close() error {
	c.mu.Lock()
	c.closed = true
	conns, tunnels := c.conns, c.tunnels
	c.conns, c.tunnels = map[string]*conn{}, map[string]*tunnel{}
	c.mu.Unlock()
	var errs []error
	for _, t := range tunnels {
		t.close()
	}
	for _, one := range conns {
		errs = append(errs, one.Close())
	}
	return errors.Join(errs...)
}

// Do performs one call of the module.
func (c *Connections) Do(ctx context.Context, call modules.Call, args any) (any, error) {
	switch a := args.(type) {
	case *sshclient.Connect:
		return c.connect(ctx, a)
	case *sshclient.CloseTunnel:
		return c.closeTunnel(a.ID())
	}
	h, ok := args.(interface{ ID() string })
	if !ok {
		return nil, fmt.Errorf("%T is no call of the module ssh", args)
	}
	one, err := c.find(h.ID())
	if err != nil {
		return nil, err
	}
	out, err := c.on(ctx, call, one, args)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", one.host, err)
	}
	return out, nil
}

func (c *Connections) find(id string) (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.conns[id]
	if one == nil {
		return nil, fmt.Errorf("there is no connection %q: it is closed, or was opened in another run", id)
	}
	return one, nil
}

func (c *Connections) on(ctx context.Context, call modules.Call, one *conn, args any) (any, error) {
	switch a := args.(type) {
	case *sshclient.Disconnect:
		return c.disconnect(a.ID())
	case *sshclient.Exec:
		return one.exec(ctx, call, a)
	case *sshclient.Exists:
		return one.exists(ctx, home(a.Path.Path))
	case *sshclient.Stat:
		return one.stat(ctx, home(a.Path.Path))
	case *sshclient.ListDir:
		return one.listDir(ctx, home(a.Path.Path))
	case *sshclient.Mkdir:
		return one.mkdir(ctx, home(a.Path.Path), a.Mode, a.Parents)
	case *sshclient.Remove:
		return one.remove(ctx, home(a.Path.Path), a.Recursive)
	case *sshclient.Chmod:
		return one.chmod(ctx, home(a.Path.Path), a.Mode)
	case *sshclient.Chown:
		return one.chown(ctx, home(a.Path.Path), a.Owner, a.Group)
	case *sshclient.Rename:
		return one.rename(ctx, home(a.From), home(a.To))
	case *sshclient.Upload:
		local, err := c.local(a.Local)
		if err != nil {
			return nil, err
		}
		if a.Dir {
			return one.uploadDir(ctx, local, home(a.Remote), a.Mode)
		}
		return one.uploadFile(ctx, local, home(a.Remote), a.Mode)
	case *sshclient.Download:
		local, err := c.local(a.Local)
		if err != nil {
			return nil, err
		}
		if a.Dir {
			return one.downloadDir(ctx, home(a.Remote), local, a.Mode)
		}
		return one.downloadFile(ctx, home(a.Remote), local, a.Mode)
	case *sshclient.CreateTunnel:
		return c.createTunnel(ctx, call, one, a)
	}
	return nil, fmt.Errorf("%T is no call of the module ssh", args)
}

// local resolves a path of the controller.
func (c *Connections) local(name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		dir, err := os.UserHomeDir()
		return filepath.Join(dir, rest), err
	}
	if filepath.IsAbs(name) {
		return filepath.Clean(name), nil
	}
	return filepath.Join(c.o.Dir, name), nil
}

// home takes the ~ off: SFTP begins there.
func home(name string) string {
	if name == "~" {
		return "."
	}
	return path.Clean(strings.TrimPrefix(name, "~/"))
}

// enter gives something new its name.
func (c *Connections) enter(kind string, add func(id string)) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return "", errors.New("the run is over, and its connections are closed")
	}
	if len(c.conns)+len(c.tunnels) >= maxOpen {
		return "", fmt.Errorf("more than %d connections and tunnels are open; close those that are not needed", maxOpen)
	}
	c.last++
	id := fmt.Sprintf("%s-%d", kind, c.last)
	add(id)
	return id, nil
}

func (c *Connections) connect(ctx context.Context, a *sshclient.Connect) (any, error) {
	t := connection.Target{Name: a.Host, Port: a.Port, User: a.User, Jump: a.Jump, Options: map[string]string{}}
	for k, v := range a.SSHOptions {
		t.Options[strings.ToLower(k)] = v
	}
	if text := a.Password.Reveal(); text != "" {
		t.Password = connection.NewSecret(text)
	}
	if a.Key != "" {
		key, err := c.local(a.Key)
		if err != nil {
			return nil, err
		}
		t.PrivateKeyFile = key
	}
	if a.Timeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, a.Timeout, fmt.Errorf("%s did not answer within %s", a.Host, a.Timeout))
		defer cancel()
		ctx = limited
	}
	opened, err := c.o.Dial(ctx, t)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	able, ok := opened.(Conn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is reached without SSH, which the functions of ssh need; give its tasks to it with :delegate_to", a.Host), opened.Close())
	}
	one := &conn{Conn: able, host: a.Host}
	id, err := c.enter("ssh", func(id string) { c.conns[id] = one })
	if err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	out := map[string]any{"success": true, "changed": false, "id": id, "host": a.Host}
	if a.User != "" {
		out["user"] = a.User
	}
	if a.Port != 0 {
		out["port"] = int64(a.Port)
	}
	return out, nil
}

func (c *Connections) disconnect(id string) (any, error) {
	c.mu.Lock()
	one := c.conns[id]
	delete(c.conns, id)
	var through []*tunnel
	for name, t := range c.tunnels {
		if t.conn == one {
			through = append(through, t)
			delete(c.tunnels, name)
		}
	}
	c.mu.Unlock()
	for _, t := range through {
		t.close()
	}
	if one != nil {
		_ = one.Close() // what it could still say does not matter any more
	}
	return map[string]any{"success": true, "changed": false}, nil
}

// done is the result of a function that may change something.
func done(changed bool) map[string]any {
	return map[string]any{"success": true, "changed": changed}
}

// modeOf is the mode that a new file gets.
func modeOf(m modules.Mode, otherwise fs.FileMode) (fs.FileMode, error) {
	if m == "" {
		return otherwise, nil
	}
	return m.Of(otherwise, false)
}
