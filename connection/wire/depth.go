package wire

import (
	"encoding/binary"
	"fmt"
)

// maxDepth is how deep arrays and maps may be nested. A decoder recurses, and
// running out of stack cannot be caught.
const maxDepth = 200

// CheckDepth walks msgpack bytes without recursion and refuses what is nested
// deeper than maxDepth. Whatever else may be wrong is left to the decoder.
func CheckDepth(b []byte) error {
	var open []int64 // values still to come, per level
	for len(b) > 0 {
		for len(open) > 0 && open[len(open)-1] == 0 {
			open = open[:len(open)-1]
		}
		if len(open) > 0 {
			open[len(open)-1]--
		}
		skip, children := token(b)
		if children > 0 {
			if len(open) >= maxDepth {
				return fmt.Errorf("%w: data nested deeper than %d", ErrProtocol, maxDepth)
			}
			open = append(open, children)
		}
		if skip > len(b) {
			return nil // cut off: the decoder says so
		}
		b = b[skip:]
	}
	return nil
}

// token reads one msgpack head: how many bytes it and its text take, and how
// many values follow inside it. See the msgpack specification, "Formats".
func token(b []byte) (skip int, children int64) {
	c := b[0]
	size := func(n int) int64 {
		if len(b) < 1+n {
			return 0
		}
		switch n {
		case 1:
			return int64(b[1])
		case 2:
			return int64(binary.BigEndian.Uint16(b[1:]))
		}
		return int64(binary.BigEndian.Uint32(b[1:]))
	}
	text := func(head, n int) (int, int64) { return int(min(int64(1+head+n)+size(head), 1<<31-1)), 0 }
	switch {
	case c < 0x80, c >= 0xe0: // fixint
		return 1, 0
	case c < 0x90:
		return 1, 2 * int64(c&0x0f)
	case c < 0xa0:
		return 1, int64(c & 0x0f)
	case c < 0xc0:
		return 1 + int(c&0x1f), 0
	}
	switch c {
	case 0xc4, 0xd9: // bin 8, str 8
		return text(1, 0)
	case 0xc5, 0xda:
		return text(2, 0)
	case 0xc6, 0xdb:
		return text(4, 0)
	case 0xc7: // ext 8: size, then a type byte
		return text(1, 1)
	case 0xc8:
		return text(2, 1)
	case 0xc9:
		return text(4, 1)
	case 0xcc, 0xd0:
		return 2, 0
	case 0xcd, 0xd1:
		return 3, 0
	case 0xca, 0xce, 0xd2:
		return 5, 0
	case 0xcb, 0xcf, 0xd3:
		return 9, 0
	case 0xd4:
		return 3, 0
	case 0xd5:
		return 4, 0
	case 0xd6:
		return 6, 0
	case 0xd7:
		return 10, 0
	case 0xd8:
		return 18, 0
	case 0xdc:
		return 3, size(2)
	case 0xdd:
		return 5, size(4)
	case 0xde:
		return 3, 2 * size(2)
	case 0xdf:
		return 5, 2 * size(4)
	}
	return 1, 0
}
