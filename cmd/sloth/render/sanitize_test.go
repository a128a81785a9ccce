package render

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestFault38Sanitize(t *testing.T) {
	for in, want := range map[string]string{
		"plain\n\ttext": "plain\n\ttext", "käse 🚀 ⏳": "käse 🚀 ⏳", "👩‍👩‍👧": "👩‍👩‍👧", "日本": "日本",
		"\x1b[31mred\x1b[0m": `\x1b[31mred\x1b[0m`, "\x1b]52;c;ZXZpbA==\x07": `\x1b]52;c;ZXZpbA==\x07`,
		"\u009b2J": `\u009b2J`, "\x9b2J": `\x9b2J`, "a\r\nb\rc": "a\nb\\rc", "\x00\x08\x7f": `\x00\x08\x7f`,
		"abc\u202egnp.exe": `abc\u202egnp.exe`, "\u2066x\u2069\u200f\u061c": `\u2066x\u2069\u200f\u061c`, "\u2028": `\u2028`, "\xff\xfe": `\xff\xfe`, "\ufffd": "\ufffd",
	} {
		if got := Sanitize(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if got := Name("a\n\tb\x1b"); got != `a\n b\x1b` {
		t.Errorf("%q", got)
	}
}

func TestLines(t *testing.T) {
	got := lines("one\r\n10%\r50%\r100%\n\x1b[K\n\nlast\n\n")
	if want := "one|100%|\\x1b[K||last"; strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func FuzzSanitize(f *testing.F) {
	for _, s := range []string{"", "a\r\n", "\x1b]0;x\x07", "\xc2\x9b", "\u202e", "\xff", "日本\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, one := range []bool{false, true} {
			got := sanitize(s, one)
			if !utf8.ValidString(got) {
				t.Fatalf("%q is no UTF-8", got)
			}
			for _, r := range got {
				if unicode.IsControl(r) && (one || r != '\n' && r != '\t') || unicode.Is(unicode.Bidi_Control, r) {
					t.Fatalf("%q holds %U", got, r)
				}
			}
			if again := sanitize(got, one); again != got {
				t.Fatalf("%q became %q", got, again)
			}
		}
	})
}

func TestWidths(t *testing.T) {
	for in, want := range map[string]int{"abc": 3, "käse": 4, "日本": 4, "🚀": 2, "e\u0301": 1, "": 0} {
		if got := columns(in); got != want {
			t.Errorf("%q: %d columns, want %d", in, got, want)
		}
	}
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"}, {"a", 0, ""}, {"ab", 1, "…"}} {
		if got := cut(c.in, c.n); got != c.want {
			t.Errorf("cut %q to %d: %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
