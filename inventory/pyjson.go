package inventory

import (
	"bufio"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// jsonWriter writes JSON as Python's json.dumps(indent=4, ensure_ascii=False)
// does, so that the output can be compared with ansible-inventory's.
type jsonWriter struct {
	out    *bufio.Writer
	sorted bool
}

// put writes s; Flush gives the first error of any write.
func (w *jsonWriter) put(s string) { _, _ = w.out.WriteString(s) }

// lazy is a value that is made when it is written.
type lazy func() any

func (w *jsonWriter) newline(depth int) {
	w.put("\n")
	for range depth {
		w.put("    ")
	}
}

func (w *jsonWriter) value(v any, depth int) {
	switch v := v.(type) {
	case string:
		w.text(v)
	case Encrypted:
		w.text(v.String())
	case unsafeText:
		w.value(&dict{[]any{"__ansible_unsafe"}, []any{string(v)}}, depth)
	case []any:
		if len(v) == 0 {
			w.put("[]")
			return
		}
		w.put("[")
		for i, e := range v {
			if i > 0 {
				w.put(",")
			}
			w.newline(depth + 1)
			w.value(e, depth+1)
		}
		w.newline(depth)
		w.put("]")
	case *dict:
		w.dict(v, depth)
	case lazy:
		w.value(v(), depth)
	default:
		w.put(keyText(v))
	}
}

func (w *jsonWriter) dict(d *dict, depth int) {
	if len(d.keys) == 0 {
		w.put("{}")
		return
	}
	if w.sorted {
		d = &dict{slices.Clone(d.keys), slices.Clone(d.vals)}
		sort.Stable(byKey{d})
	}
	w.put("{")
	for i, k := range d.keys {
		if i > 0 {
			w.put(",")
		}
		w.newline(depth + 1)
		w.text(keyText(k))
		w.put(": ")
		w.value(d.vals[i], depth+1)
	}
	w.newline(depth)
	w.put("}")
}

// byKey sorts a map by its keys.
type byKey struct{ *dict }

func (d byKey) Len() int           { return len(d.keys) }
func (d byKey) Less(a, b int) bool { return compareKeys(d.keys[a], d.keys[b]) < 0 }
func (d byKey) Swap(a, b int) {
	d.keys[a], d.keys[b] = d.keys[b], d.keys[a]
	d.vals[a], d.vals[b] = d.vals[b], d.vals[a]
}

// compareKeys orders names by their characters and numbers by size. Mixed keys
// have no order, see sortable.
func compareKeys(a, b any) int {
	fa, na := keyNumber(a)
	fb, nb := keyNumber(b)
	if na && nb {
		switch {
		case fa < fb:
			return -1
		case fa > fb:
			return 1
		}
		return 0
	}
	return strings.Compare(keyText(a), keyText(b))
}

func keyNumber(k any) (float64, bool) {
	switch k := k.(type) {
	case bool:
		if k {
			return 1, true
		}
		return 0, true
	case int64:
		return float64(k), true
	case float64:
		return k, true
	case bigInt:
		f, err := strconv.ParseFloat(string(k), 64)
		return f, err == nil
	}
	return 0, false
}

// sortable says whether the keys of all maps in v can be sorted. Where a map
// has both names and numbers as keys, Python cannot, and Ansible's list then
// has everything in the order in which it came.
func sortable(v any) bool {
	switch v := v.(type) {
	case []any:
		return !slices.ContainsFunc(v, func(e any) bool { return !sortable(e) })
	case *dict:
		if len(v.keys) > 1 {
			_, numbers := keyNumber(v.keys[0])
			for _, k := range v.keys {
				if _, n := keyNumber(k); n != numbers || k == nil {
					return false
				}
			}
		}
		return !slices.ContainsFunc(v.vals, func(e any) bool { return !sortable(e) })
	}
	return true
}

func (w *jsonWriter) text(s string) {
	w.put("\"")
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		w.put(s[start:i])
		start = i + 1
		switch c {
		case '"', '\\':
			w.put("\\")
			w.put(string(rune(c)))
		case '\n':
			w.put(`\n`)
		case '\r':
			w.put(`\r`)
		case '\t':
			w.put(`\t`)
		case '\b':
			w.put(`\b`)
		case '\f':
			w.put(`\f`)
		default:
			w.put(`\u00`)
			w.put(string(rune("0123456789abcdef"[c>>4])))
			w.put(string(rune("0123456789abcdef"[c&15])))
		}
	}
	w.put(s[start:])
	w.put("\"")
}

// pyText shows a value as Python prints it, which is how the graph shows
// variables.
func pyText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case unsafeText:
		return string(v)
	case Encrypted:
		return v.String()
	}
	var b strings.Builder
	pyRepr(&b, v)
	return b.String()
}

func pyRepr(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case float64:
		switch s := floatText(v); s {
		case "Infinity":
			b.WriteString("inf")
		case "-Infinity":
			b.WriteString("-inf")
		case "NaN":
			b.WriteString("nan")
		default:
			b.WriteString(s)
		}
	case string:
		pyQuote(b, v)
	case unsafeText:
		pyQuote(b, string(v))
	case Encrypted:
		pyQuote(b, v.String())
	case []any:
		b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			pyRepr(b, e)
		}
		b.WriteByte(']')
	case *dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			pyRepr(b, k)
			b.WriteString(": ")
			pyRepr(b, v.vals[i])
		}
		b.WriteByte('}')
	default:
		b.WriteString(keyText(v))
	}
}

func pyQuote(b *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\' || r == rune(quote):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == ' ' || unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteString(s[i : i+size])
		case r < 0x100:
			b.WriteString(`\x`)
			b.WriteByte("0123456789abcdef"[r>>4&15])
			b.WriteByte("0123456789abcdef"[r&15])
		default:
			b.WriteString(strconv.QuoteRuneToASCII(r)[1 : len(strconv.QuoteRuneToASCII(r))-1])
		}
		i += size
	}
	b.WriteByte(quote)
}
