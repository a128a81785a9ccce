package unxz

// Sizes and names follow the LZMA specification by Igor Pavlov.
const (
	kStates       = 12
	kPosStates    = 16
	kAlignBits    = 4
	kEndPosModel  = 14
	kFullDistance = 1 << (kEndPosModel / 2)
	kMinMatch     = 2
	probInit      = 1024
)

type prob = uint16

// ranged is the range decoder over one chunk. Reading past its end is
// remembered and yields zeros.
type ranged struct {
	in    []byte
	at    int
	over  bool
	rng   uint32
	value uint32
}

func (r *ranged) init(in []byte) bool {
	*r = ranged{in: in, rng: 0xffffffff}
	if len(in) < 5 || in[0] != 0 {
		return false
	}
	for _, b := range in[1:5] {
		r.value = r.value<<8 | uint32(b)
	}
	r.at = 5
	return true
}

func (r *ranged) normalize() {
	if r.rng >= 1<<24 {
		return
	}
	r.rng <<= 8
	r.value <<= 8
	if r.at < len(r.in) {
		r.value |= uint32(r.in[r.at])
		r.at++
	} else {
		r.over = true
	}
}

func (r *ranged) bit(p *prob) uint32 {
	r.normalize()
	bound := (r.rng >> 11) * uint32(*p)
	if r.value < bound {
		r.rng = bound
		*p += (1<<11 - *p) >> 5
		return 0
	}
	r.rng -= bound
	r.value -= bound
	*p -= *p >> 5
	return 1
}

func (r *ranged) direct(n uint32) uint32 {
	var v uint32
	for ; n > 0; n-- {
		r.normalize()
		r.rng >>= 1
		t := uint32(0)
		if r.value >= r.rng {
			r.value -= r.rng
			t = 1
		}
		v = v<<1 | t
	}
	return v
}

func (r *ranged) tree(probs []prob, bits uint32) uint32 {
	m := uint32(1)
	for range bits {
		m = m<<1 | r.bit(&probs[m])
	}
	return m - 1<<bits
}

func (r *ranged) reverse(probs []prob, bits uint32) uint32 {
	m, v := uint32(1), uint32(0)
	for i := range bits {
		b := r.bit(&probs[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

// lengths decodes the length of a match.
type lengths struct {
	choice [2]prob
	low    [kPosStates][8]prob
	mid    [kPosStates][8]prob
	high   [256]prob
}

func (l *lengths) decode(r *ranged, pos uint32) uint32 {
	switch {
	case r.bit(&l.choice[0]) == 0:
		return r.tree(l.low[pos][:], 3)
	case r.bit(&l.choice[1]) == 0:
		return 8 + r.tree(l.mid[pos][:], 3)
	}
	return 16 + r.tree(l.high[:], 8)
}

// model is all that LZMA learns; all of it is probabilities but the state.
type model struct {
	isMatch, isRep0Long           [kStates][kPosStates]prob
	isRep, isRep0, isRep1, isRep2 [kStates]prob
	slots                         [4][64]prob
	special                       [1 + kFullDistance - kEndPosModel]prob
	align                         [1 << kAlignBits]prob
	matchLen, repLen              lengths
	literals                      []prob
	lc, lp, pb                    uint32
	state                         uint32
	rep                           [4]uint32
	pending                       uint32 // of a match that the window had no room for
}

func fill(p []prob) {
	for i := range p {
		p[i] = probInit
	}
}

func (l *lengths) reset() {
	fill(l.choice[:])
	for i := range l.low {
		fill(l.low[i][:])
		fill(l.mid[i][:])
	}
	fill(l.high[:])
}

// props sets what one byte says; only what LZMA2 allows.
func (m *model) props(b byte) bool {
	if b >= 9*5*5 {
		return false
	}
	n := uint32(b)
	m.lc, m.lp, m.pb = n%9, n/9%5, n/45
	m.literals = make([]prob, 0x300<<(m.lc+m.lp))
	return m.lc+m.lp <= 4
}

func (m *model) reset() {
	for i := range kStates {
		fill(m.isMatch[i][:])
		fill(m.isRep0Long[i][:])
	}
	for _, p := range [][]prob{m.isRep[:], m.isRep0[:], m.isRep1[:], m.isRep2[:], m.special[:], m.align[:], m.literals} {
		fill(p)
	}
	for i := range m.slots {
		fill(m.slots[i][:])
	}
	m.matchLen.reset()
	m.repLen.reset()
	m.state, m.rep, m.pending = 0, [4]uint32{}, 0
}

// window is the last bytes written, in a circle.
type window struct {
	buf  []byte
	pos  int    // where the next byte goes
	read int    // up to where it was handed out
	full uint64 // bytes written since the last reset
}

// room is how much can be written before it must be handed out.
func (w *window) room() int { return len(w.buf) - w.pos }

func (w *window) put(b byte) {
	w.buf[w.pos] = b
	w.pos++
	w.full++
}

func (w *window) at(dist uint32) byte {
	i := w.pos - int(dist) - 1
	if i < 0 {
		i += len(w.buf)
	}
	return w.buf[i]
}

func (w *window) has(dist uint32) bool {
	return uint64(dist) < w.full && uint64(dist) < uint64(len(w.buf))
}

// decode writes up to n bytes, fewer only when the window's end is reached. It
// reports whether the input made sense.
func (m *model) decode(r *ranged, w *window, n int) (int, bool) {
	n = min(n, w.room())
	for done := 0; done < n; {
		if m.pending > 0 {
			if !w.has(m.rep[0]) {
				return done, false
			}
			for ; m.pending > 0 && done < n; done++ {
				w.put(w.at(m.rep[0]))
				m.pending--
			}
			continue
		}
		pos := uint32(w.full) & (1<<m.pb - 1)
		if r.bit(&m.isMatch[m.state][pos]) == 0 {
			if !m.literal(r, w) {
				return done, false
			}
			done++
		} else if !m.match(r, w, pos) {
			return done, false
		}
		if r.over {
			return done, false
		}
	}
	return n, true
}

func (m *model) literal(r *ranged, w *window) bool {
	prev := uint32(0)
	if w.full > 0 {
		prev = uint32(w.at(0))
	}
	i := (uint32(w.full)&(1<<m.lp-1))<<m.lc | prev>>(8-m.lc)
	probs := m.literals[0x300*i : 0x300*(i+1)]
	symbol := uint32(1)
	if m.state >= 7 {
		if !w.has(m.rep[0]) {
			return false
		}
		match := uint32(w.at(m.rep[0]))
		for symbol < 0x100 {
			hint := match >> 7 & 1
			match <<= 1
			b := r.bit(&probs[(1+hint)<<8+symbol])
			symbol = symbol<<1 | b
			if hint != b {
				break
			}
		}
	}
	for symbol < 0x100 {
		symbol = symbol<<1 | r.bit(&probs[symbol])
	}
	w.put(byte(symbol))
	switch {
	case m.state < 4:
		m.state = 0
	case m.state < 10:
		m.state -= 3
	default:
		m.state -= 6
	}
	return true
}

// after is the state after a match, a short one or one of old distances.
func (m *model) after(early, late uint32) {
	if m.state < 7 {
		m.state = early
	} else {
		m.state = late
	}
}

func (m *model) match(r *ranged, w *window, pos uint32) bool {
	if r.bit(&m.isRep[m.state]) == 0 {
		m.rep[3], m.rep[2], m.rep[1] = m.rep[2], m.rep[1], m.rep[0]
		n := m.matchLen.decode(r, pos)
		m.after(7, 10)
		m.rep[0] = m.distance(r, n)
		m.pending = n + kMinMatch
		return m.rep[0] != 0xffffffff && w.has(m.rep[0]) // LZMA2 has no mark for the end
	}
	if w.full == 0 {
		return false
	}
	if r.bit(&m.isRep0[m.state]) == 0 {
		if r.bit(&m.isRep0Long[m.state][pos]) == 0 {
			m.after(9, 11)
			m.pending = 1
			return w.has(m.rep[0])
		}
	} else {
		i := 1
		if r.bit(&m.isRep1[m.state]) != 0 {
			i = 2 + int(r.bit(&m.isRep2[m.state]))
		}
		dist := m.rep[i]
		copy(m.rep[1:i+1], m.rep[:i])
		m.rep[0] = dist
	}
	n := m.repLen.decode(r, pos)
	m.after(8, 11)
	m.pending = n + kMinMatch
	return w.has(m.rep[0])
}

func (m *model) distance(r *ranged, length uint32) uint32 {
	slot := r.tree(m.slots[min(length, 3)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := slot>>1 - 1
	dist := (2 | slot&1) << bits
	if slot < kEndPosModel {
		return dist + r.reverse(m.special[dist-slot:], bits)
	}
	dist += r.direct(bits-kAlignBits) << kAlignBits
	return dist + r.reverse(m.align[:], kAlignBits)
}
