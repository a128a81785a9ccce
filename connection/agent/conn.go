package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/sloth-runner/sloth/connection"
)

var (
	errClosed = errors.New("the connection is closed")
	errSilent = errors.New("the master has gone silent")
)

// Conn is a connection.Conn to an agent's host, through its master.
type Conn struct {
	link *Link
	name string

	release func(broken bool)
	silent  atomic.Bool

	id    string // of the agent's own link, so that nothing reaches another one
	stack string // of the run, for the master

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // the watch, processes and transfers

	mu     sync.Mutex
	closed bool
}

// Dial reaches an agent, over a link to its master that it has for itself. It
// fails when the agent is not there.
func Dial(ctx context.Context, d *Dialer, name string) (*Conn, error) {
	link, err := d.Dial(ctx)
	if err != nil {
		return nil, named(err, name)
	}
	return reach(ctx, link, d, name, func(bool) { link.Close() })
}

// reach makes a Conn over link. release is called once with the end of it, and
// with whether the link itself failed.
func reach(ctx context.Context, link *Link, d *Dialer, name string, release func(broken bool)) (*Conn, error) {
	c := &Conn{link: link, name: name, stack: d.Stack, release: release}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	if err := c.reach(ctx, d); err != nil {
		c.cancel(err)
		release(link.Over())
		return nil, err
	}
	return c, nil
}

func named(err error, host string) error {
	var c *connection.Error
	if !errors.As(err, &c) {
		return err
	}
	e := *c // several may have the same
	e.Host = host
	return &e
}

// reach asks for the agent, and keeps asking: the stream ends with the agent's.
func (c *Conn) reach(ctx context.Context, d *Dialer) error {
	stop := context.AfterFunc(ctx, func() { c.cancel(context.Cause(ctx)) })
	limit := time.AfterFunc(connectLimit, func() { c.cancel(context.DeadlineExceeded) })
	stream, err := c.link.NewStream(c.ctx, &grpc.StreamDesc{ServerStreams: true}, MethodReach)
	if err == nil {
		err = errors.Join(stream.SendMsg(&ReachRequest{Agent: c.name, Stack: c.stack}), stream.CloseSend())
	}
	var first Reached
	if err == nil || errors.Is(err, io.EOF) {
		err = stream.RecvMsg(&first)
	}
	limit.Stop()
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if why := c.link.Rejected(d.Certificate, time.Now(), err); why != nil {
			return named(why, c.name)
		}
		return c.explain("reach the agent "+c.name, err)
	}
	c.id = first.Link
	patience := 3 * max(first.Beat, time.Millisecond)
	silence := time.AfterFunc(patience, func() {
		c.silent.Store(true)
		c.lose(errSilent)
	})
	c.wg.Go(func() {
		defer silence.Stop()
		for {
			var beat Reached
			if err := stream.RecvMsg(&beat); err != nil {
				c.lose(err)
				return
			}
			silence.Reset(patience)
		}
	})
	return nil
}

// lose ends everything under way.
func (c *Conn) lose(err error) { c.cancel(c.explain("talk to the agent "+c.name, err)) }

// explain turns what gRPC says into an error of the host.
func (c *Conn) explain(op string, err error) error {
	e := &connection.Error{Class: connection.ClassTCP, Host: c.name, Op: op, Err: err}
	var known *connection.Error
	if errors.As(err, &known) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		return e
	}
	e.Err = errors.New(st.Message())
	switch st.Code() {
	case codes.Unauthenticated, codes.PermissionDenied:
		e.Class, e.Hint = connection.ClassAuth, "An admin of the master gives more: see `sloth agent token --help`."
	case codes.NotFound:
		e.Hint = "`sloth agent list` shows the agents there are."
	case codes.FailedPrecondition:
		e.Hint = "`sloth agent list` shows its state; look at the agent's log on the host."
	case codes.Unavailable:
		e.Hint = "The link to the master or to the agent broke; both come back by themselves where they can."
	case codes.ResourceExhausted, codes.InvalidArgument:
		e.Class = connection.ClassChannel
	}
	return e
}

// Done is closed once the connection can't be used any more.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Close ends the connection and all that runs over it.
func (c *Conn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	c.cancel(&connection.Error{Class: connection.ClassTCP, Host: c.name, Op: "talk to the agent " + c.name, Err: errClosed})
	c.wg.Wait()
	if !again {
		c.release(c.silent.Load() || c.link.Over())
	}
	return nil
}

// enter counts one use, or refuses it after the end.
func (c *Conn) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.closed {
		return errClosed
	}
	c.wg.Add(1)
	return nil
}

// open begins a job. The context it returns is that of the stream: it ends
// with ctx and with the connection.
func (c *Conn) open(ctx context.Context, job Job) (grpc.ClientStream, context.Context, context.CancelCauseFunc, error) {
	caller := ctx
	// Without the caller's deadline, which the master would know too, and end the
	// stream a moment before us.
	ctx, end := context.WithCancelCause(context.WithoutCancel(caller))
	stop1 := context.AfterFunc(caller, func() { end(caller.Err()) })
	stop2 := context.AfterFunc(c.ctx, func() { end(context.Cause(c.ctx)) })
	cancel := func(why error) {
		stop1()
		stop2()
		end(why)
	}
	stream, err := c.link.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, MethodRun)
	if err == nil {
		var f *Frame
		if f, err = First(&RunRequest{Agent: c.name, Link: c.id, Stack: c.stack, Job: job}); err == nil {
			err = stream.SendMsg(f)
		}
		if errors.Is(err, io.EOF) {
			err = stream.RecvMsg(&Frame{}) // that has the reason
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else {
			err = c.broke("start a job", err)
		}
		cancel(err)
		return nil, nil, nil, err
	}
	return stream, ctx, cancel, nil
}

// broke explains the end of a job's stream. An end for want of the link ends
// the connection with it, so that whoever asks the pool again gets another.
func (c *Conn) broke(op string, err error) error {
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.Unavailable, "the stream ended too early")
	}
	out := c.explain(op, err)
	var e *connection.Error
	if errors.As(out, &e) && e.Class == connection.ClassTCP {
		c.cancel(out)
	}
	return out
}

// Upload implements connection.Conn.
func (c *Conn) Upload(ctx context.Context, path string, mode fs.FileMode, size int64, src io.Reader) error {
	op := "upload " + path
	if err := c.enter(); err != nil {
		return err
	}
	defer c.wg.Done()
	stream, ctx, cancel, err := c.open(ctx, Job{Kind: JobUpload, Path: path, Mode: uint32(mode.Perm()), Size: size})
	if err != nil {
		return err
	}
	defer cancel(nil)
	sent := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		in := &input{stream: stream}
		_, err := io.Copy(in, &until{ctx, src})
		if err == nil {
			err = in.Close()
		}
		if err != nil && in.err == nil { // the source's
			cancel(fmt.Errorf("%s: %w", op, err))
		}
		sent <- err
	})
	err = c.result(ctx, op, stream, nil)
	if ctx.Err() == nil {
		cancel(err)
	} else if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	wg.Wait()
	return err
}

// until stops between two reads once ctx is done.
type until struct {
	ctx context.Context
	src io.Reader
}

func (u *until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.src.Read(p)
}

// Download implements connection.Conn.
func (c *Conn) Download(ctx context.Context, path string, dst io.Writer) error {
	op := "download " + path
	if err := c.enter(); err != nil {
		return err
	}
	defer c.wg.Done()
	if err := ctx.Err(); err != nil {
		return err
	}
	stream, ctx, cancel, err := c.open(ctx, Job{Kind: JobDownload, Path: path})
	if err != nil {
		return err
	}
	defer cancel(nil)
	err = c.result(ctx, op, stream, dst)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// result reads a transfer to its end.
func (c *Conn) result(ctx context.Context, op string, stream grpc.ClientStream, dst io.Writer) error {
	for {
		var f Frame
		if err := stream.RecvMsg(&f); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return c.broke(op, err)
		}
		switch f.Kind {
		case frameOutput:
			if dst == nil {
				continue
			}
			if _, err := dst.Write(f.Data); err != nil {
				return fmt.Errorf("%s: %w", op, err)
			}
		case frameEnded:
			var e ended
			if err := decode(f.Data, &e); err != nil {
				return c.broke(op, err)
			}
			return e.err(c.name, op)
		}
	}
}

// err is the job's outcome.
func (e *ended) err(host, op string) error {
	said := shown(e.Err)
	switch e.Kind {
	case "":
		if e.Code != 0 || e.Signal != "" {
			return &connection.ExitError{Code: e.Code, Signal: shown(e.Signal)}
		}
		return nil
	case errNotExist:
		return &remoteError{said, fs.ErrNotExist}
	case errDenied:
		return &remoteError{said, fs.ErrPermission}
	case errSize:
		return fmt.Errorf("%s: %w", op, &connection.SizeError{Want: e.Want, Got: e.Got})
	}
	return &connection.Error{Class: connection.ClassChannel, Host: host, Op: op, Err: errors.New(said)}
}

// remoteError is what a host said, and what is meant by it.
type remoteError struct {
	said string
	is   error
}

func (e *remoteError) Error() string { return e.said }
func (e *remoteError) Unwrap() error { return e.is }

// shown bounds text of a stranger; whoever prints it takes care of escapes.
func shown(s string) string { return s[:min(len(s), 1000)] }

var _ connection.Conn = (*Conn)(nil)
