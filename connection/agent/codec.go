package agent

import (
	"fmt"

	"google.golang.org/grpc/mem"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/vmihailenco/msgpack/v5"
)

// Frame is a piece of a job's stream. Its kind is the first byte on the wire,
// the rest is Data as it is, so that a master passes it on without a look.
type Frame struct {
	Kind byte
	Data []byte
}

// The kinds of frames. The first frame of a stream names its job.
const (
	frameFirst  = 'F' // RunRequest, CarryRequest
	frameInput  = 'i' // to a command, or the content of an upload
	frameEnd    = 'e' // of that
	frameOutput = 'o' // from a command, or the content of a download
	frameError  = 'r' // from a command
	frameEnded  = 'x' // ended, the last one
)

// Codec is how messages are encoded; both ends must use it.
type Codec struct{}

// Name implements encoding.CodecV2.
func (Codec) Name() string { return "sloth" }

// Marshal implements encoding.CodecV2.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*Frame)
	if !ok {
		b, err := msgpack.Marshal(v)
		return mem.BufferSlice{mem.SliceBuffer(b)}, err
	}
	b := make([]byte, 1+len(f.Data))
	b[0] = f.Kind
	copy(b[1:], f.Data)
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal implements encoding.CodecV2.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	b := data.Materialize()
	if f, ok := v.(*Frame); ok {
		if len(b) == 0 {
			return fmt.Errorf("%w: an empty frame", wire.ErrProtocol)
		}
		f.Kind, f.Data = b[0], b[1:]
		return nil
	}
	return decode(b, v)
}

// decode reads what a peer sent: data of a stranger.
func decode(b []byte, v any) error {
	if err := wire.CheckDepth(b); err != nil {
		return err
	}
	return msgpack.Unmarshal(b, v)
}

// First is the frame that begins a stream.
func First(v any) (*Frame, error) {
	b, err := msgpack.Marshal(v)
	return &Frame{Kind: frameFirst, Data: b}, err
}

// ReadFirst reads what the frame that begins a stream says.
func (f *Frame) ReadFirst(v any) error {
	if f.Kind != frameFirst {
		return fmt.Errorf("%w: the stream begins with frame %q", wire.ErrProtocol, f.Kind)
	}
	return decode(f.Data, v)
}
