package wire

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
)

// What a side says travels deflated once it has said about as much as TCP carries
// in the first round trip of a line: a short run is not worth the time of it. A
// controller says it all at once, right behind what logging in took.
const (
	PackController = 6 << 10   // bytes of messages that go as they are
	PackWorker     = 12 << 10  // the same
	packMessage    = 512 << 10 // a larger message goes as it is
	packBlob       = 32 << 10  // and so does a larger blob: it may be packed already
	packBatch      = 47 << 10  // as much goes together
	maxUnpacked    = 112 << 10 // a batch may end with a frame of full size
	packLevel      = 2         // each level above costs more than it saves on short events
)

// packer deflates frames. All it packs is one stream, so that each frame is
// short where it resembles one before it.
type packer struct {
	said int // bytes of messages so far
	raw  bytes.Buffer
	out  bytes.Buffer
	z    *flate.Writer
}

// takes reports whether the frame is to be packed, and counts it.
func (p *packer) takes(f frame, from int) bool {
	if !f.small {
		return false
	}
	p.said += header + len(f.payload)
	return p.said > from
}

// add puts a frame into the batch.
func (p *packer) add(f frame) {
	var h [header]byte
	f.head(h[:])
	p.raw.Write(h[:])
	p.raw.Write(f.payload)
}

// full reports whether the batch is to be sent before anything else is added.
func (p *packer) full() bool { return p.raw.Len() >= packBatch }

// flush writes the batch, as one frame and where that must be several.
func (p *packer) flush(w io.Writer) error {
	if p.raw.Len() == 0 {
		return nil
	}
	if p.z == nil {
		z, err := flate.NewWriter(&p.out, packLevel)
		if err != nil {
			return err
		}
		p.z = z
	}
	size := p.raw.Len()
	if _, err := p.z.Write(p.raw.Bytes()); err != nil {
		return err
	}
	p.raw.Reset()
	if err := p.z.Flush(); err != nil {
		return err
	}
	defer p.out.Reset()
	for first := true; p.out.Len() > 0; first = false {
		b := buffers.Get().(*buffer)
		payload := b[header:header]
		if first {
			payload = binary.BigEndian.AppendUint32(payload, uint32(size))
		}
		payload = append(payload, p.out.Next(MaxPayload-len(payload))...)
		f := frame{kind: kindPacked, payload: payload, own: b}
		if p.out.Len() > 0 {
			f.kind |= more
		}
		if err := f.write(w); err != nil {
			return err
		}
	}
	return nil
}

// unpacker is the other end of a packer.
type unpacker struct {
	in   bytes.Buffer // deflated
	z    io.Reader
	left []byte // inflated frames that were not read yet
}

// take inflates what a packed frame holds. It claims its size, and neither more
// nor less may come of it.
func (u *unpacker) take(payload []byte) error {
	if len(payload) < 4 {
		return fmt.Errorf("%w: a packed frame of %d bytes", ErrProtocol, len(payload))
	}
	size := binary.BigEndian.Uint32(payload)
	if size == 0 || size > maxUnpacked {
		return fmt.Errorf("%w: a packed frame that holds %d bytes, the limit is %d", ErrProtocol, size, maxUnpacked)
	}
	u.in.Write(payload[4:])
	if u.z == nil {
		u.z = flate.NewReader(&u.in)
	}
	u.left = make([]byte, size)
	if _, err := io.ReadFull(u.z, u.left); err != nil {
		return fmt.Errorf("%w: a packed frame: %w", ErrProtocol, unexpected(err))
	}
	if u.in.Len() > maxTrailer {
		return fmt.Errorf("%w: a packed frame with %d bytes behind its end", ErrProtocol, u.in.Len())
	}
	return nil
}

// maxTrailer is what the end of a flush takes beside its data.
const maxTrailer = 16

// Read gives the inflated bytes.
func (u *unpacker) Read(p []byte) (int, error) {
	n := copy(p, u.left)
	if u.left = u.left[n:]; n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
