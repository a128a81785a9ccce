package service

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
)

type (
	// fileArgs ask for files, which all arrive on one stream.
	fileArgs struct {
		Names  []string `msgpack:"n"`
		Packed bool     `msgpack:"p,omitempty"` // the stream is deflated
	}
	// fileHead goes before the content of each.
	fileHead struct {
		Size int64       `msgpack:"z"`
		Hash string      `msgpack:"h"`
		Mode fs.FileMode `msgpack:"m"`
	}
)

// maxFiles bounds what one call may ask for.
const maxFiles = 200_000

// sendFiles answers with the files themselves, on the stream that the caller
// offers: of each first what there is to know about it, then the content.
func sendFiles(ctx context.Context, svc modules.Services, a fileArgs) error {
	if len(a.Names) == 0 || len(a.Names) > maxFiles {
		return fmt.Errorf("read: a call asks for 1 to %d files, not %d", maxFiles, len(a.Names))
	}
	stream := wire.StreamOf(ctx)
	if stream == nil {
		return fmt.Errorf("read %s: the call offers no stream for the content", a.Names[0])
	}
	all := &inTurn{ctx: ctx, svc: svc, left: a.Names}
	defer all.close()
	if !a.Packed {
		return stream.Copy(ctx, all)
	}
	r, w := io.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.CloseWithError(deflate(w, all))
	}()
	err := stream.Copy(ctx, r)
	r.Close()
	<-ended
	return err
}

// deflate is as fast as a good link: the controller does it for many hosts.
func deflate(w io.Writer, src io.Reader) error {
	z, err := flate.NewWriter(w, flate.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, src); err != nil {
		return err
	}
	return z.Close()
}

// inTurn reads one file after the other, each opened when its turn comes.
type inTurn struct {
	ctx  context.Context
	svc  modules.Services
	left []string
	head []byte
	open io.ReadCloser
}

func (t *inTurn) Read(p []byte) (int, error) {
	for {
		if len(t.head) > 0 {
			n := copy(p, t.head)
			t.head = t.head[n:]
			return n, nil
		}
		if t.open != nil {
			n, err := t.open.Read(p)
			if !errors.Is(err, io.EOF) {
				return n, err
			}
			t.close()
			if n > 0 {
				return n, nil
			}
		}
		if len(t.left) == 0 {
			return 0, io.EOF
		}
		if err := t.next(); err != nil {
			return 0, err
		}
	}
}

func (t *inTurn) next() error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	f, err := t.svc.File(t.ctx, t.left[0])
	if err != nil {
		return err
	}
	t.left, t.open = t.left[1:], f.ReadCloser
	head, err := packed.Marshal(fileHead{Size: f.Size, Hash: f.Hash, Mode: f.Mode})
	if err != nil {
		return err
	}
	t.head = append([]byte{byte(len(head) >> 8), byte(len(head))}, head...)
	return nil
}

func (t *inTurn) close() {
	if t.open != nil {
		t.open.Close()
		t.open = nil
	}
}

// File opens a controller-side file. Its content arrives while it is read, in
// constant memory, and is compared with its hash at the end.
func (c *Client) File(ctx context.Context, src string) (modules.File, error) {
	if e, ok := c.ahead.Files[src]; ok {
		if data, ok := c.ahead.Blob(e.Hash); ok {
			return modules.File{ReadCloser: io.NopCloser(bytes.NewReader(data)), Size: e.Size, Hash: e.Hash, Mode: e.Mode}, nil
		}
	}
	body, err := packed.Marshal(fileArgs{Names: []string{src}})
	if err != nil {
		return modules.File{}, err
	}
	in, err := c.call.Stream(ctx, "file", body)
	if err != nil {
		return modules.File{}, err
	}
	f, r, err := readFile(in, src)
	if err != nil {
		in.Close()
		return modules.File{}, err
	}
	r.last = true
	return f, nil
}

// Files opens many, in one round trip and one deflated stream.
func (c *Client) Files(ctx context.Context, names []string) (modules.FileStream, error) {
	body, err := packed.Marshal(fileArgs{Names: names, Packed: true})
	if err != nil {
		return nil, err
	}
	in, err := c.call.Stream(ctx, "file", body)
	if err != nil {
		return nil, err
	}
	return &fileStream{in: in, plain: flate.NewReader(in), left: names}, nil
}

type fileStream struct {
	in    io.ReadCloser
	plain io.Reader
	left  []string
	open  *checked
}

// Next passes over what is left of the file before.
func (s *fileStream) Next() (modules.File, error) {
	if s.open != nil {
		if _, err := io.Copy(io.Discard, s.open); err != nil {
			return modules.File{}, err
		}
	}
	if len(s.left) == 0 {
		return modules.File{}, errors.New("no more files were asked for")
	}
	f, r, err := readFile(io.NopCloser(s.plain), s.left[0])
	if err != nil {
		return modules.File{}, err
	}
	s.left, s.open = s.left[1:], r
	return f, nil
}

func (s *fileStream) Close() error { return s.in.Close() }

// readFile reads what there is to know about the next file of a stream.
func readFile(in io.ReadCloser, src string) (modules.File, *checked, error) {
	head, err := readHead(in)
	if err == nil && head.Size < 0 {
		err = errors.New("its size is negative")
	}
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("read %s: the answer ends before it", src)
		}
		return modules.File{}, nil, err
	}
	r := &checked{in: in, src: src, head: head, sum: sha256.New()}
	return modules.File{ReadCloser: r, Size: head.Size, Hash: head.Hash, Mode: head.Mode}, r, nil
}

func readHead(in io.Reader) (fileHead, error) {
	var size [2]byte
	var head fileHead
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return head, err
	}
	text := make([]byte, int(size[0])<<8|int(size[1]))
	if _, err := io.ReadFull(in, text); err != nil {
		return head, err
	}
	return head, packed.Unmarshal(text, &head)
}

// checked reads a file and refuses to come to its end when something is missing
// or was changed on the way.
type checked struct {
	in   io.ReadCloser
	src  string
	head fileHead
	sum  hash.Hash
	read int64
	last bool // nothing follows it in the stream
}

func (r *checked) Read(p []byte) (int, error) {
	left := r.head.Size - r.read
	if left == 0 {
		return 0, r.end()
	}
	n, err := r.in.Read(p[:min(int64(len(p)), left)])
	r.sum.Write(p[:n])
	r.read += int64(n)
	if errors.Is(err, io.EOF) {
		if r.read == r.head.Size {
			return n, nil
		}
		return n, r.changed()
	}
	return n, err
}

// end compares the content. Where nothing follows, the end of the stream is
// awaited too: it says whether the sender is content.
func (r *checked) end() error {
	if r.last {
		var one [1]byte
		n, err := io.ReadFull(r.in, one[:])
		if n > 0 {
			return fmt.Errorf("read %s: it grew while it was being sent", r.src)
		}
		if !errors.Is(err, io.EOF) {
			return err
		}
	}
	if hex.EncodeToString(r.sum.Sum(nil)) != r.head.Hash {
		return r.changed()
	}
	return io.EOF
}

func (r *checked) changed() error {
	return fmt.Errorf("read %s: it changed while it was being sent (%d bytes of %d)", r.src, r.read, r.head.Size)
}

func (r *checked) Close() error { return r.in.Close() }
