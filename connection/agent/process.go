package agent

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/internal/stream"
)

// process is a command on an agent's host.
type process struct {
	conn     *Conn
	stream   grpc.ClientStream
	ctx      context.Context
	cancel   context.CancelCauseFunc
	stdin    *input
	out, err *stream.Output

	once   sync.Once
	done   chan struct{}
	result error
}

// Start implements connection.Conn. A Line is run by /bin/sh.
func (c *Conn) Start(ctx context.Context, cmd connection.Command) (connection.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if (len(cmd.Argv) > 0) == (cmd.Line != "") {
		return nil, &connection.Error{Class: connection.ClassChannel, Host: c.name, Op: "start command", Err: errors.New("exactly one of Argv and Line must be set")}
	}
	if err := c.enter(); err != nil {
		return nil, err
	}
	s, inner, cancel, err := c.open(ctx, Job{Kind: JobStart, Argv: cmd.Argv, Line: cmd.Line, Terminal: cmd.Terminal})
	if err != nil {
		c.wg.Done()
		return nil, err
	}
	p := &process{conn: c, stream: s, ctx: inner, cancel: cancel, stdin: &input{stream: s}, out: stream.NewOutput(), err: stream.NewOutput(), done: make(chan struct{})}
	out, errOut := newQueue(), newQueue()
	var copies sync.WaitGroup
	copies.Go(func() { p.out.Copy(out) })
	copies.Go(func() { p.err.Copy(errOut) })
	stop := context.AfterFunc(inner, func() {
		err := context.Cause(inner)
		p.out.Stop(err)
		p.err.Stop(err)
		out.end(err)
		errOut.end(err)
		p.settle(err)
	})
	go func() {
		defer c.wg.Done()
		e, err := p.receive(out, errOut)
		if err == nil {
			out.end(io.EOF)
			errOut.end(io.EOF)
			copies.Wait() // readers have everything
			err = e.err(c.name, "start command")
		} else {
			p.out.Stop(err)
			p.err.Stop(err)
			out.end(err)
			errOut.end(err)
		}
		stop()
		if cause := context.Cause(inner); cause != nil {
			err = cause
		}
		p.settle(err)
		cancel(err)
		copies.Wait()
	}()
	return p, nil
}

// receive takes frames until the command has ended.
func (p *process) receive(out, errOut *queue) (*ended, error) {
	for {
		var f Frame
		if err := p.stream.RecvMsg(&f); err != nil {
			if p.ctx.Err() != nil {
				return nil, context.Cause(p.ctx)
			}
			return nil, p.conn.broke("talk to the agent "+p.conn.name, err)
		}
		switch f.Kind {
		case frameOutput:
			out.put(f.Data)
		case frameError:
			errOut.put(f.Data)
		case frameEnded:
			e := &ended{}
			return e, decode(f.Data, e)
		}
	}
}

func (p *process) settle(err error) {
	p.once.Do(func() {
		// Stopped outputs say nothing more: nobody's buffer is written to from now on.
		p.out.Stop(io.EOF)
		p.err.Stop(io.EOF)
		p.result = err
		close(p.done)
	})
}

func (p *process) Stdin() io.WriteCloser { return p.stdin }
func (p *process) Stdout() io.Reader     { return p.out }
func (p *process) Stderr() io.Reader     { return p.err }

func (p *process) Wait() error {
	<-p.done
	return p.result
}

// input is what is sent to a job; closing it twice is no error.
type input struct {
	stream interface{ SendMsg(any) error }

	mu     sync.Mutex
	closed bool
	err    error
}

func (i *input) Write(b []byte) (n int, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return 0, io.ErrClosedPipe
	}
	for len(b) > 0 && i.err == nil {
		piece := b[:min(len(b), maxChunk)]
		if i.err = i.stream.SendMsg(&Frame{Kind: frameInput, Data: piece}); i.err == nil {
			n += len(piece)
			b = b[len(piece):]
		}
	}
	if errors.Is(i.err, io.EOF) { // gRPC's word for a stream that has ended
		return n, io.ErrClosedPipe
	}
	return n, i.err
}

func (i *input) Close() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed || i.err != nil {
		i.closed = true
		return nil
	}
	i.closed = true
	_ = i.stream.SendMsg(&Frame{Kind: frameEnd}) // a stream that has ended needs no end
	return nil
}

// maxQueue is how much output waits for a reader while the other stream of the
// command goes on.
const maxQueue = 128 << 10

// queue keeps what arrived for one output.
type queue struct {
	mu      sync.Mutex
	changed sync.Cond
	pieces  [][]byte
	size    int
	err     error
}

func newQueue() *queue {
	q := &queue{}
	q.changed.L = &q.mu
	return q
}

// put waits while the queue is full.
func (q *queue) put(b []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.size >= maxQueue && q.err == nil {
		q.changed.Wait()
	}
	if q.err == nil && len(b) > 0 {
		q.pieces = append(q.pieces, b)
		q.size += len(b)
		q.changed.Broadcast()
	}
}

// end lets reads return err once all was read; another error than io.EOF drops
// what is left.
func (q *queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil || errors.Is(q.err, io.EOF) {
		q.err = err
	}
	if !errors.Is(err, io.EOF) {
		q.pieces, q.size = nil, 0
	}
	q.changed.Broadcast()
}

func (q *queue) Read(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 && q.err == nil {
		q.changed.Wait()
	}
	if len(q.pieces) == 0 {
		return 0, q.err
	}
	n := copy(p, q.pieces[0])
	if q.pieces[0] = q.pieces[0][n:]; len(q.pieces[0]) == 0 {
		q.pieces = q.pieces[1:]
	}
	q.size -= n
	q.changed.Broadcast()
	return n, nil
}
