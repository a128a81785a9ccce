// Package service carries modules.Services across the wire: Client on the
// host, Dispatch on the controller. The list of services is closed.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
)

// maxBody bounds the arguments of one call.
const maxBody = 32 << 20

type (
	stateArgs struct {
		Op   string `msgpack:"o"`
		Args []any  `msgpack:"a"`
	}
	templateArgs struct {
		Src    string         `msgpack:"s"`
		Engine string         `msgpack:"e"`
		Vars   map[string]any `msgpack:"v"`
	}
	requireReply struct {
		Source []byte `msgpack:"s"`
		Path   string `msgpack:"p"`
	}
	inventoryArgs struct {
		What string `msgpack:"w"`
		Arg  string `msgpack:"a"`
	}
	setArgs struct {
		Key   string `msgpack:"k"`
		Value any    `msgpack:"v"`
	}
)

// Dispatch serves one call. service and body are a stranger's.
func Dispatch(ctx context.Context, svc modules.Services, service string, body []byte) ([]byte, error) {
	if len(body) > maxBody {
		return nil, fmt.Errorf("%s: %d bytes are over the limit of %d", service, len(body), maxBody)
	}
	reply, err := dispatch(ctx, svc, service, body)
	if err != nil {
		return nil, err
	}
	return packed.Marshal(reply)
}

// looks are the operations of the state module that change nothing.
var looks = map[string]bool{"get": true, "exists": true, "keys": true, "stats": true, "get_ttl": true, "list_length": true}

// Changes reports whether a call of a service may change something, here or
// elsewhere: a step that asked for it must not run a second time.
func Changes(service string, body []byte) bool {
	switch service {
	case "run", "notify", "flush", "host.set":
		return true
	case "state":
		a, err := decode[stateArgs](body)
		return err != nil || !looks[a.Op]
	}
	return false
}

// decode reads arguments of one type.
func decode[T any](body []byte) (T, error) {
	var v T
	err := packed.Unmarshal(body, &v)
	return v, err
}

func dispatch(ctx context.Context, svc modules.Services, service string, body []byte) (any, error) {
	switch service {
	case "state":
		a, err := decode[stateArgs](body)
		if err != nil {
			return nil, err
		}
		return svc.State(ctx, a.Op, a.Args)
	case "file":
		a, err := decode[fileArgs](body)
		if err != nil {
			return nil, err
		}
		return nil, sendFiles(ctx, svc, a)
	case "list":
		dir, err := decode[string](body)
		if err != nil {
			return nil, err
		}
		return svc.List(ctx, dir)
	case "template":
		a, err := decode[templateArgs](body)
		if err != nil {
			return nil, err
		}
		return svc.Template(ctx, a.Src, a.Engine, a.Vars)
	case "secret":
		name, err := decode[string](body)
		if err != nil {
			return nil, err
		}
		return svc.Secret(ctx, name)
	case "require":
		name, err := decode[string](body)
		if err != nil {
			return nil, err
		}
		source, path, err := svc.Require(ctx, name)
		return requireReply{source, path}, err
	case "run":
		task, err := decode[[]byte](body)
		if err != nil {
			return nil, err
		}
		return svc.RunTask(ctx, task)
	case "assert":
		return nil, assert(ctx, svc, body)
	case "notify":
		name, err := decode[string](body)
		if err != nil {
			return nil, err
		}
		return nil, svc.Notify(ctx, name)
	case "flush":
		if f, ok := svc.(interface {
			FlushHandlers(ctx context.Context) error
		}); ok {
			return nil, f.FlushHandlers(ctx)
		}
		return nil, errors.New("flush_handlers: there are no handlers here")
	case "inventory":
		a, err := decode[inventoryArgs](body)
		if err != nil {
			return nil, err
		}
		return svc.Inventory(ctx, a.What, a.Arg)
	case "keep":
		return keep(ctx, svc, body)
	case "host.set":
		a, err := decode[setArgs](body)
		if err != nil {
			return nil, err
		}
		return nil, svc.SetHostVar(ctx, a.Key, a.Value)
	}
	return nil, fmt.Errorf("there is no service %.40q", service)
}

// Caller is the way to the controller.
type Caller interface {
	// Call sends one call and waits for its answer.
	Call(ctx context.Context, service string, body []byte) ([]byte, error)
	// Stream sends a call that is answered with a stream. What goes wrong on the
	// way is an error of reading it.
	Stream(ctx context.Context, service string, body []byte) (io.ReadCloser, error)
}

// Ahead is what travelled with a segment and so costs no call.
type Ahead struct {
	Files    map[string]modules.FileEntry // by the name the script uses; Hash and Size set
	Rendered map[string]string            // template name -> blob hash
	Blob     func(hash string) ([]byte, bool)
}

// Client answers from what travelled ahead, and asks for the rest.
type Client struct {
	call  Caller
	ahead Ahead
	sets  *Sets
}

var _ modules.Services = (*Client)(nil)

// NewClient returns the services as a step on a host has them, for as long as
// life.
func NewClient(life context.Context, call Caller, ahead Ahead) *Client {
	if ahead.Blob == nil {
		ahead.Blob = func(string) ([]byte, bool) { return nil, false }
	}
	c := &Client{call: call, ahead: ahead}
	c.sets = NewSets(life, func(ctx context.Context, op string, args []any) ([]any, error) {
		return ask[[]any](ctx, c, "state", stateArgs{op, args})
	})
	return c
}

func ask[T any](ctx context.Context, c *Client, service string, args any) (T, error) {
	var out T
	body, err := packed.Marshal(args)
	if err != nil {
		return out, fmt.Errorf("%s: %w", service, err)
	}
	reply, err := c.call.Call(ctx, service, body)
	if err != nil {
		return out, err
	}
	if err := packed.Unmarshal(reply, &out); err != nil {
		return out, fmt.Errorf("%s: the answer cannot be read: %w", service, err)
	}
	return out, nil
}

// State performs one operation of the state module, see Sets.
func (c *Client) State(ctx context.Context, op string, args []any) ([]any, error) {
	return c.sets.State(ctx, op, args)
}

// List names the files below a controller-side folder.
func (c *Client) List(ctx context.Context, dir string) ([]modules.FileEntry, error) {
	return ask[[]modules.FileEntry](ctx, c, "list", dir)
}

// Template renders on the controller, unless that was done ahead.
func (c *Client) Template(ctx context.Context, src, engine string, vars map[string]any) ([]byte, error) {
	if len(vars) == 0 && engine == "" {
		if hash, ok := c.ahead.Rendered[src]; ok {
			if text, ok := c.ahead.Blob(hash); ok {
				return text, nil
			}
		}
	}
	return ask[[]byte](ctx, c, "template", templateArgs{src, engine, packed.CarryMap(vars)})
}

// Secret asks for a secret by name.
func (c *Client) Secret(ctx context.Context, name string) (string, error) {
	return ask[string](ctx, c, "secret", name)
}

// Require asks for the source of a library.
func (c *Client) Require(ctx context.Context, name string) ([]byte, string, error) {
	r, err := ask[requireReply](ctx, c, "require", name)
	return r.Source, r.Path, err
}

// RunTask asks for a nested run and waits for its end.
func (c *Client) RunTask(ctx context.Context, task []byte) ([]byte, error) {
	if err := c.sets.store(ctx); err != nil {
		return nil, err
	}
	return ask[[]byte](ctx, c, "run", task)
}

// Notify queues a handler for this host.
func (c *Client) Notify(ctx context.Context, handler string) error {
	_, err := ask[any](ctx, c, "notify", handler)
	return err
}

// FlushHandlers runs this host's pending handlers now.
func (c *Client) FlushHandlers(ctx context.Context) error {
	if err := c.sets.store(ctx); err != nil {
		return err
	}
	_, err := ask[any](ctx, c, "flush", nil)
	return err
}

// Inventory asks what the inventory knows.
func (c *Client) Inventory(ctx context.Context, what, arg string) (any, error) {
	return ask[any](ctx, c, "inventory", inventoryArgs{what, arg})
}

// SetHostVar keeps a variable of this host for the run.
func (c *Client) SetHostVar(ctx context.Context, key string, value any) error {
	_, err := ask[any](ctx, c, "host.set", setArgs{key, packed.Carry(value)})
	return err
}
