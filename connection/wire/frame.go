// Package wire is how a controller and the worker on a host speak: frames on
// one byte stream; messages and raw streams in frames. docs/wire.md describes it.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Version is the protocol's. Controller and shim are always of one build, so
// another version on the other side means that something is wrong.
const Version = 3

// Limits that hold whoever is on the other side.
const (
	// MaxPayload is the most one frame carries.
	MaxPayload = 64 << 10
	// MaxMessage is the most one message is put together from.
	MaxMessage = 64 << 20
	// maxOpen is how many unfinished messages one side may have: it needs one
	// of control and one of bulk.
	maxOpen = 4
	// maxOpenBytes bounds what unfinished messages hold together.
	maxOpenBytes = MaxMessage + 8*MaxPayload
)

// Kind is the type of a frame and of the message in it.
type Kind uint8

// The kinds. A frame's type byte is the kind, with more set while further
// frames of the same message follow.
const (
	KindHello Kind = iota + 1
	KindWelcome
	KindBlob
	KindJob
	KindDone
	KindEvent
	KindCall
	KindReply
	KindCancel
	KindAck
	KindPing
	KindPong
	KindBye
	// Frames of raw streams, and packed ones. They never leave this package.
	kindData
	kindFinish
	kindCredit
	kindStop
	kindPacked // holds frames, deflated
	kindEnd    // one past the last

	more Kind = 0x80
)

// lane says which queue a kind waits in.
type lane uint8

const (
	laneUrgent  lane = iota // small, and changes what the rest means: overtakes
	laneControl             // in order
	laneBulk                // gives way to control
)

// raw reports whether frames of that kind belong to raw streams, whose numbers
// are their own.
func (k Kind) raw() bool { return k >= kindData && k <= kindStop }

// limit is the most that one of them is put together from.
func (k Kind) limit() int {
	if k == kindPacked {
		return 2 * maxUnpacked
	}
	return MaxMessage
}

func (k Kind) lane() lane {
	switch k {
	case KindCancel, KindAck, KindPing, KindPong, KindBye, kindCredit, kindStop:
		return laneUrgent
	case KindBlob, kindData, kindFinish:
		return laneBulk
	}
	return laneControl
}

var names = [...]string{"", "hello", "welcome", "blob", "job", "done", "event", "call", "reply", "cancel", "ack", "ping", "pong", "bye",
	"data", "finish", "credit", "stop", "packed"}

func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// header is type, stream, length: the stream tells apart messages whose frames
// are mixed.
const header = 1 + 4 + 4

// ErrProtocol is wrapped by every error about what the other side sent.
var ErrProtocol = errors.New("not sloth's protocol")

// buffer holds one frame.
type buffer [header + MaxPayload]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// frame is one frame to be sent. Either payload is somebody else's, or own is a
// pooled buffer that holds it already, behind room for the header.
type frame struct {
	kind    Kind
	stream  uint32
	payload []byte
	own     *buffer
	small   bool // of a message that is worth packing
}

func (f frame) head(b []byte) {
	b[0] = byte(f.kind)
	binary.BigEndian.PutUint32(b[1:], f.stream)
	binary.BigEndian.PutUint32(b[5:], uint32(len(f.payload)))
}

// write sends the frame in one Write and gives its buffer back.
func (f frame) write(w io.Writer) error {
	b := f.own
	if b == nil {
		b = buffers.Get().(*buffer)
		copy(b[header:], f.payload)
	}
	defer buffers.Put(b)
	f.head(b[:])
	_, err := w.Write(b[:header+len(f.payload)])
	return err
}

// reader puts messages together. It holds no buffer while it waits for a frame.
type reader struct {
	r      io.Reader
	open   map[uint32]*partial
	held   int
	packed unpacker
}

type partial struct {
	kind Kind
	data []byte
}

// next returns the next whole message or stream frame.
func (r *reader) next() (Kind, uint32, []byte, error) {
	for {
		from, packed := r.r, len(r.packed.left) > 0
		if packed {
			from = &r.packed
		}
		kind, stream, data, err := r.frame(from)
		switch {
		case err != nil && packed:
			return 0, 0, nil, fmt.Errorf("%w: in a packed frame: %w", ErrProtocol, err)
		case err != nil:
			return 0, 0, nil, err
		case kind == kindPacked && packed:
			return 0, 0, nil, fmt.Errorf("%w: a packed frame in another", ErrProtocol)
		case kind == kindPacked:
			if err := r.packed.take(data); err != nil {
				return 0, 0, nil, err
			}
		case kind != 0:
			return kind, stream, data, nil
		}
	}
}

// frame reads one frame. It gives the message that this makes whole; kind 0:
// more of it is to come.
func (r *reader) frame(from io.Reader) (Kind, uint32, []byte, error) {
	var h [header]byte
	if _, err := io.ReadFull(from, h[:]); err != nil {
		return 0, 0, nil, err
	}
	kind, stream, size := Kind(h[0]), binary.BigEndian.Uint32(h[1:]), binary.BigEndian.Uint32(h[5:])
	last := kind&more == 0
	kind &^= more
	if kind == 0 || kind >= kindEnd {
		return 0, 0, nil, fmt.Errorf("%w: a frame of type %d", ErrProtocol, h[0])
	}
	if size > MaxPayload {
		return 0, 0, nil, fmt.Errorf("%w: a frame of %d bytes, the limit is %d", ErrProtocol, size, MaxPayload)
	}
	// A message is split only where it must be: an endless sequence of tiny
	// pieces would cost its reader without ever reaching a limit.
	if !last && (size != MaxPayload || kind.lane() == laneUrgent || kind.raw()) {
		return 0, 0, nil, fmt.Errorf("%w: a %s in pieces of %d bytes", ErrProtocol, kind, size)
	}
	p := r.open[stream]
	if kind.raw() {
		p = nil // raw streams have numbers of their own
	}
	if p == nil && last {
		data := make([]byte, size)
		if _, err := io.ReadFull(from, data); err != nil {
			return 0, 0, nil, unexpected(err)
		}
		return kind, stream, data, nil
	}
	if err := r.append(from, p, kind, stream, int(size)); err != nil || !last {
		return 0, 0, nil, err
	}
	p = r.open[stream]
	delete(r.open, stream)
	r.held -= len(p.data)
	return kind, stream, p.data, nil
}

// append reads size bytes into the message of that stream.
func (r *reader) append(from io.Reader, p *partial, kind Kind, stream uint32, size int) error {
	switch {
	case p == nil && len(r.open) >= maxOpen:
		return fmt.Errorf("%w: more than %d unfinished messages", ErrProtocol, maxOpen)
	case p == nil:
		p = &partial{kind: kind}
		if r.open == nil {
			r.open = map[uint32]*partial{}
		}
		r.open[stream] = p
	case p.kind != kind:
		return fmt.Errorf("%w: a %s goes on as %s", ErrProtocol, p.kind, kind)
	}
	if limit := kind.limit(); len(p.data)+size > limit || r.held+size > maxOpenBytes {
		return fmt.Errorf("%w: a %s of more than %d bytes", ErrProtocol, kind, limit)
	}
	old := len(p.data)
	p.data = append(p.data, make([]byte, size)...)
	r.held += size
	if _, err := io.ReadFull(from, p.data[old:]); err != nil {
		return unexpected(err)
	}
	return nil
}

// unexpected makes the end of the stream inside a frame an error of its own.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
