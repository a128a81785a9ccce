package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrClosed is returned once a Conn was closed.
var ErrClosed = errors.New("the link is closed")

// queued is how many bytes Send lets wait before it makes its caller wait.
const queued = 4 << 20

// Conn sends and receives messages over one stream. Send may be called from
// several goroutines, Receive from one.
type Conn struct {
	r reader
	w io.Writer

	mu     sync.Mutex
	room   *sync.Cond
	work   *sync.Cond
	normal []message
	urgent []message
	bytes  int
	stream uint32
	err    error // why nothing can be sent any more
	done   chan struct{}
}

type message struct {
	kind   Kind
	stream uint32
	data   []byte
}

// NewConn starts the goroutine that writes; Close ends it.
func NewConn(r io.Reader, w io.Writer) *Conn {
	c := &Conn{r: reader{r: r}, w: w, done: make(chan struct{})}
	c.room, c.work = sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	go c.write()
	return c
}

// Send queues v, encoded with msgpack, as a message of that kind. It returns
// when there was room for it, not when it has arrived; order is kept, save that
// urgent kinds overtake. A nil v is a message without a body.
func (c *Conn) Send(ctx context.Context, kind Kind, v any) error {
	var data []byte
	if v != nil {
		var err error
		if data, err = msgpack.Marshal(v); err != nil {
			return fmt.Errorf("encode %s: %w", kind, err)
		}
	}
	if len(data) > MaxMessage {
		return fmt.Errorf("encode %s: %d bytes are over the limit of %d", kind, len(data), MaxMessage)
	}
	stop := context.AfterFunc(ctx, func() { c.mu.Lock(); c.room.Broadcast(); c.mu.Unlock() })
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && ctx.Err() == nil && !kind.urgent() && c.bytes > 0 && c.bytes+len(data) > queued {
		c.room.Wait()
	}
	if c.err != nil {
		return c.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.stream++
	m := message{kind: kind, stream: c.stream, data: data}
	if kind.urgent() {
		c.urgent = append(c.urgent, m)
	} else {
		c.normal = append(c.normal, m)
		c.bytes += len(data)
	}
	c.work.Signal()
	return nil
}

// write sends frame by frame; between two frames of a long message whatever is
// urgent goes first.
func (c *Conn) write() {
	defer close(c.done)
	for {
		kind, stream, payload, ok := c.next()
		if !ok {
			return
		}
		if err := writeFrame(c.w, kind, stream, payload); err != nil {
			c.fail(fmt.Errorf("send: %w", err))
			return
		}
	}
}

// next waits for the next frame to write.
func (c *Conn) next() (Kind, uint32, []byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.urgent) == 0 && len(c.normal) == 0 {
		if c.err != nil {
			return 0, 0, nil, false
		}
		c.work.Wait()
	}
	if c.err != nil && !errors.Is(c.err, ErrClosed) {
		return 0, 0, nil, false
	}
	if len(c.urgent) > 0 {
		m := c.urgent[0]
		c.urgent = c.urgent[1:]
		return m.kind, m.stream, m.data, true
	}
	m := &c.normal[0]
	n := min(len(m.data), MaxPayload)
	payload := m.data[:n]
	m.data = m.data[n:]
	c.bytes -= n
	c.room.Broadcast()
	kind, stream := m.kind, m.stream
	if len(m.data) > 0 {
		return kind | more, stream, payload, true
	}
	if c.normal = c.normal[1:]; len(c.normal) == 0 {
		c.normal = nil
	}
	return kind, stream, payload, true
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil || errors.Is(c.err, ErrClosed) {
		c.err = err
	}
	c.room.Broadcast()
	c.work.Broadcast()
}

// Receive returns the next message. The body is the caller's.
func (c *Conn) Receive() (Kind, []byte, error) { return c.r.next() }

// Drain sends what is queued and lets nothing more in. It returns when all is
// written, the stream failed, or ctx ended.
func (c *Conn) Drain(ctx context.Context) error {
	c.fail(ErrClosed)
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close lets nothing more be sent. Whoever owns the stream closes that, which
// ends a Receive under way; Close must be followed by it.
func (c *Conn) Close() {
	c.mu.Lock()
	c.normal, c.urgent, c.bytes = nil, nil, 0
	c.mu.Unlock()
	c.fail(ErrClosed)
}

// Decode reads the body of a message. The bytes may be a stranger's.
func Decode(kind Kind, body []byte, v any) error {
	if err := CheckDepth(body); err != nil {
		return err
	}
	if err := msgpack.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrProtocol, kind, err)
	}
	return nil
}
