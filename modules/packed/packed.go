// Package packed is msgpack for data that a stranger may have sent: a host's
// events, results and arguments. It keeps the kinds that the language knows:
// nil, bool, int64, float64, string, []any, map[string]any, and map[any]any
// where keys are not all text.
package packed

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// The limits of what is decoded. MaxDepth is above what leaves Lua.
const (
	MaxDepth  = 200
	MaxValues = 1 << 20 // values in one message, each costs memory beyond its bytes
)

// Marshal packs v: plain data, or a struct with msgpack tags.
func Marshal(v any) ([]byte, error) { return msgpack.Marshal(v) }

// Compact is Marshal with integers as short as they can be.
func Compact(v any) ([]byte, error) {
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

// decoders are set up again for each use: Reset forgets everything.
var decoders = sync.Pool{New: func() any { return msgpack.NewDecoder(nil) }}

// Unmarshal decodes data into the pointer into. Data that claims more than it
// holds, nests too deeply or goes on after its end is an error before anything
// is allocated for it.
func Unmarshal(data []byte, into any) error {
	if err := Check(data); err != nil {
		return err
	}
	dec := decoders.Get().(*msgpack.Decoder)
	defer decoders.Put(dec)
	dec.Reset(bytes.NewReader(data))
	dec.UseLooseInterfaceDecoding(true)
	dec.SetMapDecoder(table)
	err := dec.Decode(into)
	dec.Reset(nil)
	return err
}

// table decodes a map without a type of its own.
func table(d *msgpack.Decoder) (any, error) {
	n, err := d.DecodeMapLen()
	if err != nil {
		return nil, err
	}
	text := make(map[string]any, n)
	var mixed map[any]any
	for range n {
		k, err := d.DecodeInterfaceLoose()
		if err != nil {
			return nil, err
		}
		v, err := d.DecodeInterfaceLoose()
		if err != nil {
			return nil, err
		}
		s, ok := k.(string)
		if ok && mixed == nil {
			text[s] = v
			continue
		}
		f, isFloat := k.(float64)
		if k == nil || !reflect.TypeOf(k).Comparable() || isFloat && math.IsNaN(f) {
			return nil, fmt.Errorf("a %T as a key", k)
		}
		if mixed == nil {
			mixed = make(map[any]any, n)
			for s, v := range text {
				mixed[s] = v
			}
		}
		mixed[k] = v
	}
	if mixed != nil {
		return mixed, nil
	}
	if s, ok := secretOf(text); ok {
		return s, nil
	}
	return text, nil
}

var errShort = errors.New("the data ends in the middle of a value")

// Check walks over data without building anything: one value, complete, within
// the limits.
func Check(data []byte) error {
	var open [MaxDepth]uint64 // values still to come, by depth
	depth, seen := 0, 0
	i := uint64(0)
	size := uint64(len(data))
	for {
		if i >= size {
			return errShort
		}
		if seen++; seen > MaxValues {
			return fmt.Errorf("more than %d values in one message", MaxValues)
		}
		head, body, items, err := shape(data[i:])
		if err != nil {
			return err
		}
		i += head
		// Every value takes at least a byte, so a count above what is left is a lie.
		if body > size-i || items > size-i {
			return errShort
		}
		i += body
		if items > 0 {
			if depth == MaxDepth {
				return fmt.Errorf("values nested deeper than %d", MaxDepth)
			}
			open[depth] = items
			depth++
			continue
		}
		for depth > 0 {
			if open[depth-1]--; open[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			if i != size {
				return fmt.Errorf("%d bytes follow the end of the value", size-i)
			}
			return nil
		}
	}
}

// shape says how long the head of the value at b[0] is, how many bytes of its
// own and how many further values follow it.
func shape(b []byte) (head, body, items uint64, err error) {
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
		return 1, 0, 0, nil
	case c <= 0x8f:
		return 1, 0, 2 * uint64(c&0x0f), nil
	case c <= 0x9f:
		return 1, 0, uint64(c & 0x0f), nil
	case c <= 0xbf:
		return 1, uint64(c & 0x1f), 0, nil
	}
	switch c {
	case 0xcc, 0xd0:
		return 1, 1, 0, nil
	case 0xcd, 0xd1:
		return 1, 2, 0, nil
	case 0xca, 0xce, 0xd2:
		return 1, 4, 0, nil
	case 0xcb, 0xcf, 0xd3:
		return 1, 8, 0, nil
	case 0xc4, 0xd9:
		n, err := count(b, 1)
		return 2, n, 0, err
	case 0xc5, 0xda:
		n, err := count(b, 2)
		return 3, n, 0, err
	case 0xc6, 0xdb:
		n, err := count(b, 4)
		return 5, n, 0, err
	case 0xdc:
		n, err := count(b, 2)
		return 3, 0, n, err
	case 0xdd:
		n, err := count(b, 4)
		return 5, 0, n, err
	case 0xde:
		n, err := count(b, 2)
		return 3, 0, 2 * n, err
	case 0xdf:
		n, err := count(b, 4)
		return 5, 0, 2 * n, err
	}
	return 0, 0, 0, fmt.Errorf("a value of kind 0x%02x, which is not spoken here", c)
}

func count(b []byte, n int) (uint64, error) {
	if len(b) < 1+n {
		return 0, errShort
	}
	var wide [8]byte
	copy(wide[8-n:], b[1:1+n])
	return binary.BigEndian.Uint64(wide[:]), nil
}
