package connection

import "strings"

// Printable makes text of another machine fit for a message: one line of at
// most limit bytes, in which ? stands for what a terminal would obey and for
// bytes that are no UTF-8.
func Printable(s string, limit int) string {
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
}
