package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/grpc"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/wire"
)

// carrier does the jobs of an agent on its own host.
type carrier struct {
	host connection.Conn // this machine
}

// sender lets several write to one stream.
type sender struct {
	mu     sync.Mutex
	stream grpc.ClientStream
}

func (s *sender) SendMsg(m any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream.SendMsg(m)
}

// output sends what is written to it.
type output struct {
	to   *sender
	kind byte
}

func (o output) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		piece := b[:min(len(b), maxChunk)]
		if err := o.to.SendMsg(&Frame{Kind: o.kind, Data: piece}); err != nil {
			return n, err
		}
		n += len(piece)
		b = b[len(piece):]
	}
	return n, nil
}

// carry opens the stream of a job and does the job. It ends with ctx, which is
// the agent's link, and with the stream, which is the controller's interest.
func (c *carrier) carry(ctx context.Context, cc *grpc.ClientConn, o *Open) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, MethodCarry)
	if err != nil {
		return err
	}
	f, err := First(&CarryRequest{ID: o.ID})
	if err != nil {
		return err
	}
	if err := stream.SendMsg(f); err != nil {
		return err
	}
	to := &sender{stream: stream}
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		err := feed(stream, w)
		if err != nil { // the controller is gone, or wants no more
			cancel()
		}
		w.CloseWithError(err)
	})
	e := outcome(c.do(ctx, &o.Job, r, to))
	// What is still sent to it finds nobody; the stream must not stop for that.
	r.CloseWithError(io.ErrClosedPipe)
	b, err := msgpack.Marshal(e)
	if err == nil {
		err = to.SendMsg(&Frame{Kind: frameEnded, Data: b})
	}
	if err == nil {
		to.mu.Lock()
		err = stream.CloseSend()
		to.mu.Unlock()
	}
	wg.Wait()
	return err
}

// feed passes on what the controller sends until its stream ends. After the end
// of the input it goes on to listen: the end of the stream is a cancel.
func feed(stream grpc.ClientStream, w *io.PipeWriter) error {
	over := false
	for {
		var f Frame
		if err := stream.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return io.ErrUnexpectedEOF
			}
			return err
		}
		switch {
		case f.Kind == frameInput && !over:
			_, _ = w.Write(f.Data) // a job that reads no more takes nothing
		case f.Kind == frameEnd:
			over = true
			w.Close()
		default:
			return fmt.Errorf("%w: frame %q to a job", wire.ErrProtocol, f.Kind)
		}
	}
}

func (c *carrier) do(ctx context.Context, j *Job, in *io.PipeReader, to *sender) error {
	if len(j.Path) > maxPath {
		return fmt.Errorf("a path of %d bytes is over the limit of %d", len(j.Path), maxPath)
	}
	switch j.Kind {
	case JobStart:
		cmd := connection.Command{Argv: j.Argv, Terminal: j.Terminal}
		if j.Line != "" {
			cmd.Argv = []string{"/bin/sh", "-c", j.Line}
		}
		return c.run(ctx, cmd, in, to)
	case JobUpload:
		return c.host.Upload(ctx, j.Path, fs.FileMode(j.Mode).Perm(), j.Size, in)
	case JobDownload:
		return c.host.Download(ctx, j.Path, output{to, frameOutput})
	}
	return fmt.Errorf("there is no job of kind %q", j.Kind)
}

// run is connection.Run for an input that may stay open when the command has
// ended.
func (c *carrier) run(ctx context.Context, cmd connection.Command, in *io.PipeReader, to *sender) error {
	p, err := c.host.Start(ctx, cmd)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { pass(output{to, frameOutput}, p.Stdout()) })
	wg.Go(func() { pass(output{to, frameError}, p.Stderr()) })
	wg.Go(func() {
		_, err := io.Copy(p.Stdin(), in)
		if err == nil {
			_ = p.Stdin().Close() // the command may have gone first
		}
	})
	err = p.Wait()
	in.CloseWithError(io.ErrClosedPipe)
	wg.Wait()
	_ = p.Stdin().Close()
	return err
}

// pass copies output; what nobody takes any more is dropped, so that the command
// is not held up while it is being ended.
func pass(to output, from io.Reader) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// outcome is how err travels.
func outcome(err error) *ended {
	var exit *connection.ExitError
	var size *connection.SizeError
	switch {
	case err == nil:
		return &ended{}
	case errors.As(err, &exit):
		return &ended{Code: exit.Code, Signal: exit.Signal}
	case errors.As(err, &size):
		return &ended{Err: err.Error(), Kind: errSize, Want: size.Want, Got: size.Got}
	case errors.Is(err, fs.ErrNotExist):
		return &ended{Err: err.Error(), Kind: errNotExist}
	case errors.Is(err, fs.ErrPermission):
		return &ended{Err: err.Error(), Kind: errDenied}
	}
	return &ended{Err: err.Error(), Kind: errStart}
}
