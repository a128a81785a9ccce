// Package unxz reads xz streams with the filter LZMA2, which is what xz writes
// unasked. It is slower than the program and a fifth of the size of decoders
// that can do everything; the memory it takes is bounded in every block.
package unxz

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
)

// maxDict is the memory a stream may ask for: what xz -9 uses.
const maxDict = 64 << 20

var (
	errCorrupt = errors.New("the xz data is damaged")
	errFilter  = errors.New("its xz uses filters that are not read; pack it with xz alone")
)

// Reader reads one or more streams, one after the other.
type Reader struct {
	in    *counted
	check byte      // kind of the checksums
	sum   hash.Hash // of the block; nil: none
	model model
	win   window
	rng   ranged
	chunk []byte // compressed
	left  int    // bytes of the chunk that are to come
	raw   bool   // the chunk is not compressed
	state int    // what the next chunk must bring: 3 a new window, 2 new properties, 0 nothing
	block bool   // within a block
	err   error
}

// counted counts, for padding.
type counted struct {
	*bufio.Reader
	n int64
}

func (c *counted) full(p []byte) error {
	n, err := io.ReadFull(c.Reader, p)
	c.n += int64(n)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (c *counted) one() (byte, error) {
	var b [1]byte
	err := c.full(b[:])
	return b[0], err
}

// NewReader reads the head of the first stream.
func NewReader(in io.Reader) (*Reader, error) {
	r := &Reader{in: &counted{Reader: bufio.NewReaderSize(in, 64<<10)}}
	return r, r.stream()
}

func (r *Reader) stream() error {
	var head [12]byte
	if err := r.in.full(head[:]); err != nil {
		return err
	}
	if string(head[:6]) != "\xfd7zXZ\x00" || head[6] != 0 || crc32.ChecksumIEEE(head[6:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return errCorrupt
	}
	r.check = head[7]
	switch r.check {
	case 0:
		r.sum = nil
	case 1:
		r.sum = crc32.NewIEEE()
	case 4:
		r.sum = crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		r.sum = sha256.New()
	default:
		return fmt.Errorf("its xz has checksums of the unknown kind %d", r.check)
	}
	return nil
}

// Read decodes. At the end everything was compared with its checksum.
func (r *Reader) Read(p []byte) (int, error) {
	for r.err == nil {
		if n := copy(p, r.win.buf[r.win.read:r.win.pos]); n > 0 {
			if r.sum != nil {
				r.sum.Write(p[:n])
			}
			r.win.read += n
			return n, nil
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.win.pos == len(r.win.buf) {
			r.win.pos, r.win.read = 0, 0
		}
		r.err = r.more()
	}
	return 0, r.err
}

// more decodes what the window has room for, or goes on to what comes next.
func (r *Reader) more() error {
	switch {
	case !r.block:
		return r.header()
	case r.left == 0:
		return r.next()
	case r.raw:
		n := min(r.left, r.win.room())
		if err := r.in.full(r.win.buf[r.win.pos : r.win.pos+n]); err != nil {
			return err
		}
		r.win.pos += n
		r.win.full += uint64(n)
		r.left -= n
		return nil
	}
	n, ok := r.model.decode(&r.rng, &r.win, r.left)
	r.left -= n
	if !ok || r.left == 0 && (r.model.pending > 0 || r.rng.value != 0) {
		return errCorrupt
	}
	return nil
}

// header reads that of a block, or the index that follows the last one.
func (r *Reader) header() error {
	r.in.n = 0
	size, err := r.in.one()
	if err != nil {
		return err
	}
	if size == 0 {
		return r.index()
	}
	head := make([]byte, (int(size)+1)*4)
	head[0] = size
	if err := r.in.full(head[1:]); err != nil {
		return err
	}
	at := len(head) - 4
	if crc32.ChecksumIEEE(head[:at]) != binary.LittleEndian.Uint32(head[at:]) {
		return errCorrupt
	}
	rest := bytes.NewReader(head[2:at])
	for range int(head[1]>>6&1) + int(head[1]>>7) { // its sizes, which the end tells as well
		if _, err := binary.ReadUvarint(rest); err != nil {
			return errCorrupt
		}
	}
	var filter [3]byte
	if _, err := io.ReadFull(rest, filter[:]); err != nil {
		return errCorrupt
	}
	if head[1]&0x3f != 0 || filter[0] != 0x21 || filter[1] != 1 || filter[2] > 40 {
		return errFilter
	}
	dict := uint64(2|filter[2]&1) << (filter[2]/2 + 11)
	if filter[2] == 40 || dict > maxDict {
		return fmt.Errorf("its xz needs a dictionary of more than %d MB", maxDict>>20)
	}
	if cap(r.win.buf) < int(dict) {
		r.win.buf = make([]byte, dict)
	}
	r.win = window{buf: r.win.buf[:dict]}
	r.in.n, r.block, r.state = 0, true, 3
	if r.sum != nil {
		r.sum.Reset()
	}
	return nil
}

// next reads the head of a chunk.
func (r *Reader) next() error {
	control, err := r.in.one()
	if err != nil {
		return err
	}
	if control == 0 {
		return r.end()
	}
	var size [4]byte
	if control < 0x80 {
		if control > 2 || control == 2 && r.state == 3 {
			return errCorrupt
		}
		if err := r.in.full(size[:2]); err != nil {
			return err
		}
		if control == 1 {
			r.win.full, r.state = 0, 2
		}
		r.left, r.raw = int(binary.BigEndian.Uint16(size[:]))+1, true
		return nil
	}
	if err := r.in.full(size[:]); err != nil {
		return err
	}
	r.left, r.raw = int(control&0x1f)<<16+int(binary.BigEndian.Uint16(size[:]))+1, false
	reset := int(control >> 5 & 3)
	if reset < r.state {
		return errCorrupt
	}
	if reset == 3 {
		r.win.full = 0
	}
	if reset >= 2 {
		props, err := r.in.one()
		if err != nil {
			return err
		}
		if !r.model.props(props) {
			return errCorrupt
		}
	}
	if reset >= 1 {
		r.model.reset()
	}
	r.state = 0
	r.chunk = append(r.chunk[:0], make([]byte, int(binary.BigEndian.Uint16(size[2:]))+1)...)
	if err := r.in.full(r.chunk); err != nil {
		return err
	}
	if !r.rng.init(r.chunk) {
		return errCorrupt
	}
	return nil
}

// padding is zeros up to a multiple of four.
func (r *Reader) padding() error {
	for r.in.n%4 != 0 {
		if b, err := r.in.one(); err != nil || b != 0 {
			return errors.Join(err, errCorrupt)
		}
	}
	return nil
}

// end compares the block with its checksum.
func (r *Reader) end() error {
	if err := r.padding(); err != nil {
		return err
	}
	r.block = false
	if r.sum == nil {
		return nil
	}
	want, got := make([]byte, r.sum.Size()), r.sum.Sum(nil)
	if err := r.in.full(want); err != nil {
		return err
	}
	if r.check != 10 { // the numbers are little-endian in it
		for i, j := 0, len(want)-1; i < j; i, j = i+1, j-1 {
			want[i], want[j] = want[j], want[i]
		}
	}
	if !bytes.Equal(want, got) {
		return errors.New("the xz data does not fit its checksum")
	}
	return nil
}

// index passes over the list of blocks and the foot, to the next stream or the
// end.
func (r *Reader) index() error {
	n, err := r.uvarint()
	if err != nil {
		return err
	}
	for range 2 * n {
		if _, err := r.uvarint(); err != nil {
			return err
		}
	}
	if err := r.padding(); err != nil {
		return err
	}
	var foot [16]byte // the index's checksum, and the foot
	if err := r.in.full(foot[:]); err != nil {
		return err
	}
	if string(foot[14:]) != "YZ" || crc32.ChecksumIEEE(foot[8:14]) != binary.LittleEndian.Uint32(foot[4:]) {
		return errCorrupt
	}
	for {
		head, err := r.in.Peek(4)
		if len(head) == 0 && errors.Is(err, io.EOF) {
			return io.EOF
		}
		if err != nil {
			return errCorrupt
		}
		if !bytes.Equal(head, make([]byte, 4)) {
			return r.stream()
		}
		if _, err := r.in.Discard(4); err != nil {
			return err
		}
	}
}

func (r *Reader) uvarint() (uint64, error) {
	var v uint64
	for shift := uint(0); shift < 63; shift += 7 {
		b, err := r.in.one()
		if err != nil {
			return 0, err
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, errCorrupt
}
