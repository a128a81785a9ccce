package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// ErrClosed is returned once a Conn was closed.
var ErrClosed = errors.New("the link is closed")

// Bounds of the queues.
const (
	queued     = 4 << 20 // bytes that wait in a lane before Send makes its caller wait
	maxUrgent  = 10_000  // urgent messages that nobody takes: the link is dead
	controlRun = 8       // control frames in a row while bulk waits
)

// Conn sends and receives over one byte stream. Send may be called from
// several goroutines, Receive from one.
type Conn struct {
	r     reader
	w     io.Writer
	heard *heardReader

	mu      sync.Mutex
	room    *sync.Cond // something was taken from a queue, or all is over
	work    *sync.Cond // something was put into one
	urgent  []message
	control queue
	blobs   queue
	chunks  []chunk // of raw streams, at most a few of each
	run     int     // control frames in a row
	turn    bool    // blobs and chunks alternate
	stream  uint32
	packs   int   // what is said beyond so many bytes is packed
	err     error // why nothing can be sent any more
	done    chan struct{}

	streams streams
}

type message struct {
	kind   Kind
	stream uint32
	data   []byte
	small  bool // worth packing
}

// queue is a lane of messages that may be longer than a frame.
type queue struct {
	messages []message
	bytes    int
}

// Message is an encoded message, as Encode makes it.
type Message struct {
	kind Kind
	data []byte
}

// Len is the size of the encoded body in bytes.
func (m Message) Len() int { return len(m.data) }

// Encode turns v into a message of that kind; a nil v is one without a body.
func Encode(kind Kind, v any) (Message, error) {
	m := Message{kind: kind}
	if v == nil {
		return m, nil
	}
	var err error
	if m.data, err = marshal(v); err != nil {
		return m, fmt.Errorf("encode %s: %w", kind, err)
	}
	limit := MaxMessage
	if kind.lane() == laneUrgent {
		limit = MaxPayload
	}
	if len(m.data) > limit {
		return m, fmt.Errorf("encode %s: %d bytes are over the limit of %d", kind, len(m.data), limit)
	}
	return m, nil
}

// marshal makes integers as short as they can be.
func marshal(v any) ([]byte, error) {
	enc := msgpack.GetEncoder()
	defer msgpack.PutEncoder(enc)
	var out bytes.Buffer
	enc.Reset(&out)
	enc.UseCompactInts(true)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// NewConn starts the goroutine that writes; Close ends it.
func NewConn(r io.Reader, w io.Writer) *Conn {
	c := &Conn{w: w, done: make(chan struct{}), heard: &heardReader{r: r, born: time.Now()}}
	c.r.r = c.heard
	c.room, c.work = sync.NewCond(&c.mu), sync.NewCond(&c.mu)
	c.streams.init()
	go c.write()
	return c
}

// PackFrom says after how many bytes of messages the rest of them travels
// deflated. Without it nothing does: to the other side of a pipe that costs more
// than it saves. It is called before anything is sent.
func (c *Conn) PackFrom(n int) { c.mu.Lock(); c.packs = n; c.mu.Unlock() }

// Send queues v as a message of that kind: see Encode and Post.
func (c *Conn) Send(ctx context.Context, kind Kind, v any) error {
	m, err := Encode(kind, v)
	if err != nil {
		return err
	}
	return c.Post(ctx, m)
}

// Post queues a message. It returns when there was room for it, not when it has
// arrived. Control messages keep their order, and so do blobs among themselves;
// urgent kinds overtake both, and control overtakes blobs and raw streams.
func (c *Conn) Post(ctx context.Context, e Message) error {
	stop := context.AfterFunc(ctx, func() { c.mu.Lock(); c.room.Broadcast(); c.mu.Unlock() })
	defer stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	q := &c.control
	switch e.kind.lane() {
	case laneUrgent:
		return c.hurry(e)
	case laneBulk:
		q = &c.blobs
	}
	for c.err == nil && ctx.Err() == nil && q.bytes > 0 && q.bytes+len(e.data) > queued {
		c.room.Wait()
	}
	if c.err != nil {
		return c.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.stream++
	limit := packMessage
	if e.kind.lane() == laneBulk {
		limit = packBlob
	}
	q.messages = append(q.messages, message{e.kind, c.stream, e.data, c.packs > 0 && len(e.data) <= limit})
	q.bytes += len(e.data)
	c.work.Signal()
	return nil
}

// hurry queues an urgent message; c.mu is held. It never waits, so that whoever
// reads may answer.
func (c *Conn) hurry(e Message) error {
	if c.err != nil {
		return c.err
	}
	if len(c.urgent) >= maxUrgent {
		return errors.New("the other side takes nothing")
	}
	c.stream++
	c.urgent = append(c.urgent, message{kind: e.kind, stream: c.stream, data: e.data})
	c.work.Signal()
	return nil
}

// write sends frame by frame; between two frames of a long message whatever is
// more urgent goes first. What is packed waits for nothing: of what is ready as
// much as fits goes together.
func (c *Conn) write() {
	defer close(c.done)
	var p packer
	for {
		f, ok := c.next(true)
		if !ok {
			return
		}
		for ok && p.takes(f, c.packs) {
			p.add(f)
			if ok = !p.full(); ok {
				f, ok = c.next(false)
			}
		}
		err := p.flush(c.w)
		if err == nil && ok {
			err = f.write(c.w)
		}
		if err != nil {
			c.fail(fmt.Errorf("send: %w", err))
			return
		}
	}
}

// next gives the next frame to write. What was queued before Close goes out.
func (c *Conn) next(wait bool) (frame, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.err != nil && !errors.Is(c.err, ErrClosed) {
			return frame{}, false
		}
		if f, ok := c.pick(); ok {
			c.room.Broadcast()
			return f, true
		}
		if c.err != nil || !wait {
			return frame{}, false
		}
		c.work.Wait()
	}
}

func (c *Conn) pick() (frame, bool) {
	if len(c.urgent) > 0 {
		m := c.urgent[0]
		if c.urgent = c.urgent[1:]; len(c.urgent) == 0 {
			c.urgent = nil
		}
		return frame{kind: m.kind, stream: m.stream, payload: m.data}, true
	}
	bulk := len(c.blobs.messages) > 0 || len(c.chunks) > 0
	if len(c.control.messages) > 0 && (!bulk || c.run < controlRun) {
		c.run++
		return c.control.take(), true
	}
	c.run = 0
	if !bulk {
		return frame{}, false
	}
	c.turn = !c.turn
	if len(c.chunks) == 0 || c.turn && len(c.blobs.messages) > 0 {
		return c.blobs.take(), true
	}
	k := c.chunks[0]
	if c.chunks = c.chunks[1:]; len(c.chunks) == 0 {
		c.chunks = nil
	}
	k.taken()
	return k.frame, true
}

// take returns the next frame of a queue that is not empty.
func (q *queue) take() frame {
	m := &q.messages[0]
	n := min(len(m.data), MaxPayload)
	f := frame{kind: m.kind, stream: m.stream, payload: m.data[:n], small: m.small}
	m.data = m.data[n:]
	q.bytes -= n
	if len(m.data) > 0 {
		f.kind |= more
		return f
	}
	q.messages[0] = message{}
	if q.messages = q.messages[1:]; len(q.messages) == 0 {
		q.messages = nil
	}
	return f
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	if c.err == nil || errors.Is(c.err, ErrClosed) {
		c.err = err
	}
	c.room.Broadcast()
	c.work.Broadcast()
	c.mu.Unlock()
	c.streams.fail(err)
}

// Receive returns the next message; the body is the caller's. Frames of raw
// streams are dealt with on the way. After an error there is nothing more.
func (c *Conn) Receive() (Kind, []byte, error) {
	for {
		kind, stream, body, err := c.r.next()
		if err == nil && kind >= kindData {
			err = c.streams.handle(c, kind, stream, body)
		}
		if err != nil {
			c.streams.fail(err)
			return 0, nil, err
		}
		if kind < kindData {
			return kind, body, nil
		}
	}
}

// Quiet is how long nothing at all has arrived, a part of a frame included.
func (c *Conn) Quiet() time.Duration { return c.heard.quiet() }

// Done is closed when the writing goroutine has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

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

// Close lets nothing more be sent. Whoever owns the byte stream closes that,
// which ends a Receive under way; Close must be followed by it.
func (c *Conn) Close() {
	c.mu.Lock()
	c.urgent, c.control, c.blobs, c.chunks = nil, queue{}, queue{}, nil
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

// heardReader knows when something last arrived. Whole messages would be too
// coarse: a large one takes a while on a slow link.
type heardReader struct {
	r    io.Reader
	born time.Time
	last atomic.Int64 // since born
}

func (h *heardReader) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if n > 0 {
		h.last.Store(int64(time.Since(h.born)))
	}
	return n, err
}

func (h *heardReader) quiet() time.Duration {
	return time.Since(h.born) - time.Duration(h.last.Load())
}
