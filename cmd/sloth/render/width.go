package render

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// columns is how many columns of a terminal s takes. Sanitized text only.
func columns(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case r == 0x200b, r == 0x200c, r == 0x200d, unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// pad fills s up to n columns.
func pad(s string, n int) string {
	if c := columns(s); c < n {
		return s + strings.Repeat(" ", n-c)
	}
	return s
}

// cut shortens s to at most n columns.
func cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	c := 0
	at := 0 // where to cut so that an ellipsis fits
	for i, r := range s {
		w := runeColumns(r)
		if c+w > n {
			return s[:at] + "…"
		}
		c += w
		if c <= n-1 {
			at = i + len(string(r))
		}
	}
	return s
}
