package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// The window of a raw stream is how much its sender may send ahead of its
// reader. It grows while the reader has to wait for more, so that a file fills
// a long line too.
const (
	firstWindow = 256 << 10
	lastWindow  = 4 << 20
	maxIncoming = 256
	ahead       = 4 // chunks that one stream may have in the queue
)

// ErrTooMany is what a reader gets who opens too many streams.
var ErrTooMany = fmt.Errorf("more than %d transfers at once", maxIncoming)

// ErrStopped is what a writer gets whose reader wants no more.
var ErrStopped = errors.New("the other side wants no more of this stream")

// streams are the raw streams of a Conn. Numbers are given by the side that
// reads, which names one to the other in a message and then waits for data.
type streams struct {
	mu   sync.Mutex
	last uint32 // number of the newest incoming stream
	in   map[uint32]*Incoming
	out  map[uint32]*Outgoing
	err  error
}

func (s *streams) init() { s.in, s.out = map[uint32]*Incoming{}, map[uint32]*Outgoing{} }

// Incoming is a raw stream that the other side fills.
type Incoming struct {
	c   *Conn
	ctx context.Context
	id  uint32

	mu       sync.Mutex
	wake     *sync.Cond
	buf      []byte // what has arrived
	off      int    // and been read already
	arrived  int64
	consumed int64
	granted  int64
	window   int64
	grown    int64 // value of arrived when the window last grew
	err      error // after buf: io.EOF or why it broke
	ended    bool  // the other side sends nothing more
	stop     func() bool
}

// Incoming makes a stream to read from. ctx bounds every wait for it; the caller
// closes it.
func (c *Conn) Incoming(ctx context.Context) (*Incoming, error) {
	s := &c.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if len(s.in) >= maxIncoming {
		return nil, ErrTooMany
	}
	s.last++
	in := &Incoming{c: c, ctx: ctx, id: s.last, window: firstWindow, granted: firstWindow}
	in.wake = sync.NewCond(&in.mu)
	in.stop = context.AfterFunc(ctx, func() { in.Fail(context.Cause(ctx)) })
	s.in[in.id] = in
	return in, nil
}

// ID is what the other side has to be told.
func (in *Incoming) ID() uint32 { return in.id }

// Read implements io.Reader.
func (in *Incoming) Read(p []byte) (int, error) {
	in.mu.Lock()
	if in.off == len(in.buf) && in.err == nil && len(p) > 0 {
		if in.window < lastWindow && in.arrived-in.grown >= in.window {
			in.window *= 2
			in.grown = in.arrived
		}
		for in.off == len(in.buf) && in.err == nil {
			in.wake.Wait()
		}
	}
	if in.off == len(in.buf) {
		defer in.mu.Unlock()
		return 0, in.err
	}
	n := copy(p, in.buf[in.off:])
	in.off += n
	in.consumed += int64(n)
	if in.off == len(in.buf) {
		in.buf, in.off = in.buf[:0], 0
		if cap(in.buf) > 2*firstWindow {
			in.buf = nil
		}
	}
	var credit int64
	if want := in.consumed + in.window - in.granted; want >= in.window/2 && !in.ended {
		credit = want
		in.granted += want
	}
	in.mu.Unlock()
	if credit > 0 {
		_ = in.c.signal(kindCredit, in.id, credit) // a broken link is the next Read's error
	}
	return n, nil
}

// Fail makes Read return err once what has arrived is read. The first error
// stays.
func (in *Incoming) Fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err == nil {
		in.err = err
	}
	in.wake.Broadcast()
}

// Close tells the other side to stop, unless it has ended the stream itself.
func (in *Incoming) Close() error {
	in.stop()
	s := &in.c.streams
	s.mu.Lock()
	_, open := s.in[in.id]
	delete(s.in, in.id)
	s.mu.Unlock()
	in.mu.Lock()
	ended := in.ended
	in.buf, in.off, in.ended = nil, 0, true
	if in.err == nil {
		in.err = ErrClosed
	}
	in.wake.Broadcast()
	in.mu.Unlock()
	if open && !ended {
		_ = in.c.signal(kindStop, in.id, 0) // on a broken link nobody sends anyway
	}
	return nil
}

// take stores what has arrived.
func (in *Incoming) take(data []byte) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.arrived += int64(len(data)); in.arrived > in.granted {
		return fmt.Errorf("%w: a stream sent more than it was allowed to", ErrProtocol)
	}
	if in.ended {
		return nil
	}
	if in.off > 0 && in.off >= len(in.buf)/2 {
		in.buf = in.buf[:copy(in.buf, in.buf[in.off:])]
		in.off = 0
	}
	in.buf = append(in.buf, data...)
	in.wake.Broadcast()
	return nil
}

func (in *Incoming) finish(err error) {
	in.mu.Lock()
	in.ended = true
	in.mu.Unlock()
	in.Fail(err)
}

// Outgoing is a raw stream that the other side reads. One goroutine writes.
type Outgoing struct {
	c  *Conn
	id uint32

	mu      sync.Mutex
	wake    *sync.Cond
	credit  int64
	waiting int   // chunks in the queue
	err     error // why nothing more is sent
	over    bool  // the end was sent
	skip    int64 // bytes that the reader has already
}

// Skip leaves out the first n bytes of what Copy sends: the reader has them from
// a stream that broke.
func (o *Outgoing) Skip(n int64) { o.skip = n }

type streamKey struct{}

// WithStream gives whoever answers a call the stream that its caller offers for
// what is too big for a reply.
func WithStream(ctx context.Context, o *Outgoing) context.Context {
	return context.WithValue(ctx, streamKey{}, o)
}

// StreamOf is the stream offered for the answer, or nil.
func StreamOf(ctx context.Context) *Outgoing {
	o, _ := ctx.Value(streamKey{}).(*Outgoing)
	return o
}

// Outgoing opens the stream of that number, which the other side has named.
func (c *Conn) Outgoing(id uint32) (*Outgoing, error) {
	s := &c.streams
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	if s.out[id] != nil {
		return nil, fmt.Errorf("%w: stream %d is in use", ErrProtocol, id)
	}
	o := &Outgoing{c: c, id: id, credit: firstWindow}
	o.wake = sync.NewCond(&o.mu)
	s.out[id] = o
	return o, nil
}

// Copy sends all of src and then the end of the stream. When src fails, or ctx
// ends, the reader gets that as an error and so does the caller.
func (o *Outgoing) Copy(ctx context.Context, src io.Reader) error {
	stop := context.AfterFunc(ctx, func() { o.fail(context.Cause(ctx)) })
	defer stop()
	var err error
	if o.skip > 0 {
		_, err = io.CopyN(io.Discard, src, o.skip)
	}
	for err == nil {
		var n int64
		if n, err = o.wait(); err != nil {
			break
		}
		b := buffers.Get().(*buffer)
		var size int
		size, err = io.ReadFull(src, b[header:header+min(n, MaxPayload)])
		if size == 0 || !o.put(chunk{frame: frame{kind: kindData, stream: o.id, payload: b[header : header+size], own: b}, from: o}, int64(size)) {
			buffers.Put(b)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return o.finish(err)
}

// wait returns how much may be sent now.
func (o *Outgoing) wait() (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.err == nil && (o.credit <= 0 || o.waiting >= ahead) {
		o.wake.Wait()
	}
	return o.credit, o.err
}

func (o *Outgoing) put(k chunk, size int64) bool {
	o.mu.Lock()
	o.credit -= size
	o.waiting++
	o.mu.Unlock()
	return o.c.push(k)
}

// Close ends a stream that Copy was not called for.
func (o *Outgoing) Close() { _ = o.finish(errors.New("nothing was sent")) }

// finish says, once, that nothing more comes.
func (o *Outgoing) finish(cause error) error {
	o.mu.Lock()
	again := o.over
	o.over = true
	o.mu.Unlock()
	if again {
		return cause
	}
	s := &o.c.streams
	s.mu.Lock()
	delete(s.out, o.id)
	s.mu.Unlock()
	var f finish
	if cause != nil {
		f.Err = clip(cause.Error(), 1000)
	}
	body, err := msgpack.Marshal(f)
	if err != nil {
		return err
	}
	o.c.push(chunk{frame: frame{kind: kindFinish, stream: o.id, payload: body}, from: o})
	return cause
}

func (o *Outgoing) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
	o.wake.Broadcast()
}

// chunk is a frame of a raw stream.
type chunk struct {
	frame frame
	from  *Outgoing
}

// taken makes room for the stream's next chunk.
func (k chunk) taken() {
	k.from.mu.Lock()
	defer k.from.mu.Unlock()
	k.from.waiting--
	k.from.wake.Broadcast()
}

// push queues a chunk; false when the link is broken.
func (c *Conn) push(k chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return false
	}
	c.chunks = append(c.chunks, k)
	c.work.Signal()
	return true
}

type finish struct {
	Err string `msgpack:"e,omitempty"`
}

// signal sends a small urgent frame about a stream.
func (c *Conn) signal(kind Kind, stream uint32, n int64) error {
	var body []byte
	if kind == kindCredit {
		var err error
		if body, err = msgpack.Marshal(n); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(c.urgent) >= maxUrgent {
		return errors.New("the other side takes nothing")
	}
	c.urgent = append(c.urgent, message{kind: kind, stream: stream, data: body})
	c.work.Signal()
	return nil
}

// handle deals with one frame of a stream. Frames of streams that were closed
// may still be on their way; of streams that never were there are none.
func (s *streams) handle(c *Conn, kind Kind, id uint32, body []byte) error {
	s.mu.Lock()
	in, out, known := s.in[id], s.out[id], id > 0 && id <= s.last
	s.mu.Unlock()
	switch kind {
	case kindData, kindFinish:
		if !known {
			return fmt.Errorf("%w: %s for a stream that nobody asked for", ErrProtocol, kind)
		}
		if in == nil {
			return nil
		}
		if kind == kindData {
			return in.take(body)
		}
		var f finish
		if err := Decode(kind, body, &f); err != nil {
			return err
		}
		if f.Err != "" {
			in.finish(errors.New(f.Err))
		} else {
			in.finish(io.EOF)
		}
	case kindCredit:
		var n int64
		if err := Decode(kind, body, &n); err != nil {
			return err
		}
		if n <= 0 || n > 2*lastWindow {
			return fmt.Errorf("%w: a credit of %d bytes", ErrProtocol, n)
		}
		if out != nil {
			out.mu.Lock()
			out.credit = min(out.credit+n, 2*lastWindow)
			out.wake.Broadcast()
			out.mu.Unlock()
		}
	case kindStop:
		if out != nil {
			out.fail(ErrStopped)
		}
	}
	return nil
}

// fail ends every stream.
func (s *streams) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = err
	}
	ins, outs := make([]*Incoming, 0, len(s.in)), make([]*Outgoing, 0, len(s.out))
	for _, in := range s.in {
		ins = append(ins, in)
	}
	for _, out := range s.out {
		outs = append(outs, out)
	}
	s.mu.Unlock()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the link's end is not the stream's
	}
	for _, in := range ins {
		in.Fail(err)
	}
	for _, out := range outs {
		out.fail(err)
	}
}
