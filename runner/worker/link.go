package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
)

// The link is dead when nothing was heard for longer than silence; each side
// says something every beat.
const (
	beat    = 5 * time.Second
	silence = 20 * time.Second
)

// link is the way to whoever gave the run, for as long as it lasts. The run
// itself does not depend on it.
type link struct {
	wire  *wire.Conn
	in    io.Closer
	front io.Closer // what waits for this link's end; nil: the process's parent
	over  atomic.Bool
	gone  chan struct{} // closed when it is not the current one any more
	once  sync.Once
}

func newLink(in io.ReadCloser, out io.Writer) *link {
	return &link{wire: wire.NewConn(in, out), in: in, gone: make(chan struct{})}
}

// serve passes on what comes until the link ends; nil after an agreed end, or
// when the other side has closed it.
func (l *link) serve(r *run) error {
	stop := make(chan struct{})
	beats := make(chan struct{})
	go func() { defer close(beats); l.heartbeat(r.ctx, stop) }()
	defer func() { close(stop); <-beats }()
	for {
		kind, body, err := l.wire.Receive()
		if err == nil {
			err = l.handle(r, kind, body)
		}
		switch {
		case l.over.Load(), errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

func (l *link) handle(r *run, kind wire.Kind, body []byte) error {
	switch kind {
	case wire.KindHello:
		return decoded(kind, body, func(h wire.Hello) error { return r.greet(l, h) })
	case wire.KindBlob:
		return decoded(kind, body, r.keep)
	case wire.KindJob:
		return decoded(kind, body, r.start)
	case wire.KindCancel:
		return decoded(kind, body, r.cancelJobs)
	case wire.KindReply:
		return decoded(kind, body, r.replied)
	case wire.KindAck:
		return decoded(kind, body, func(a wire.Ack) error { return r.acknowledged(l, a) })
	case wire.KindPing:
		return l.wire.Send(r.ctx, wire.KindPong, nil)
	case wire.KindPong:
		return nil
	case wire.KindBye:
		l.over.Store(true)
		return nil
	}
	return fmt.Errorf("%w: a %s from a controller", wire.ErrProtocol, kind)
}

func decoded[T any](kind wire.Kind, body []byte, then func(T) error) error {
	var v T
	if err := wire.Decode(kind, body, &v); err != nil {
		return err
	}
	return then(v)
}

// finish ends the link from this side; what was sent before still arrives.
func (l *link) finish() {
	l.over.Store(true)
	l.in.Close()
}

// drop ends a link on which nothing more is to be said. Whoever started the
// front sees that it is over.
func (l *link) drop() {
	l.once.Do(func() {
		close(l.gone)
		l.wire.Close()
		l.in.Close()
		if l.front != nil {
			l.front.Close()
		}
	})
}

func (l *link) heartbeat(ctx context.Context, stop <-chan struct{}) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if l.wire.Quiet() > silence {
				l.wire.Close()
				l.in.Close() // ends serve
				return
			}
			_ = l.wire.Send(ctx, wire.KindPing, nil) // a broken link ends serve by itself
		}
	}
}
