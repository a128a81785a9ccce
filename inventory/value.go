package inventory

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Inside the package a variable's value is one of nil, bool, int64, float64,
// string, bigInt, unsafeText, Encrypted, []any and *dict. plain makes what
// callers get.
type (
	// bigInt is a whole number that int64 cannot hold, in decimal.
	bigInt string
	// unsafeText is text tagged !unsafe. sloth evaluates no variables, so it is
	// plain text to everybody but the list in Ansible's format.
	unsafeText string
	// dict is a map in the order it was written, with keys of any scalar type.
	dict struct{ keys, vals []any }
)

// Encrypted is a value tagged !vault or !secret, or a text of a file that was
// encrypted as a whole. It prints itself as
// "[secret]" wherever it is formatted or marshalled.
type Encrypted struct {
	kind, text string
	plain      string
	open       bool
}

// Kind is "vault" or "secret".
func (e Encrypted) Kind() string { return e.kind }

// Reveal returns what is written in the file: the cipher text of a vault
// value, the name of a secret.
func (e Encrypted) Reveal() string { return e.text }

// Plain returns what is behind the value, and whether it was opened.
func (e Encrypted) Plain() (string, bool) { return e.plain, e.open }

// String hides the text from every fmt verb that asks for a string.
func (e Encrypted) String() string { return "[secret]" }

// GoString hides the text from %#v.
func (e Encrypted) GoString() string { return "[secret]" }

// MarshalText hides the text from encoders.
func (e Encrypted) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// unsafe marks all texts in v as what stands below the tag !unsafe.
func unsafe(v any) any {
	switch v := v.(type) {
	case string:
		return unsafeText(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = unsafe(e)
		}
		return out
	case *dict:
		out := &dict{keys: v.keys, vals: make([]any, len(v.vals))}
		for i, e := range v.vals {
			out.vals[i] = unsafe(e)
		}
		return out
	}
	return v
}

// plain turns a value into plain Go data: nil, bool, int64, float64, string,
// []any, map[string]any, and Encrypted, which is opaque.
func plain(v any) any {
	switch v := v.(type) {
	case bigInt:
		return string(v) // all digits matter more than the type
	case unsafeText:
		return string(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case *dict:
		out := make(map[string]any, len(v.keys))
		for i, k := range v.keys {
			out[keyText(k)] = plain(v.vals[i])
		}
		return out
	}
	return v
}

// fromPlain is the way back, for variables that callers bring.
func fromPlain(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case float32:
		return float64(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = fromPlain(e)
		}
		return out
	case map[string]any:
		d := &dict{}
		for _, k := range sortedKeys(v) {
			d.keys, d.vals = append(d.keys, k), append(d.vals, fromPlain(v[k]))
		}
		return d
	}
	return v
}

// keyText is the name a key has in JSON.
func keyText(k any) string {
	switch k := k.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(k)
	case int64:
		return strconv.FormatInt(k, 10)
	case float64:
		return floatText(k)
	case bigInt:
		return string(k)
	case unsafeText:
		return string(k)
	case string:
		return k
	}
	return ""
}

// floatText writes a float the way Python does: 1.0, 1e+16, 1e-05.
func floatText(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// integer gives the smallest type that holds the digits.
func integer(digits string, base int, negative bool) (any, bool) {
	n, ok := new(big.Int).SetString(digits, base)
	if !ok {
		return nil, false
	}
	if negative {
		n.Neg(n)
	}
	if n.IsInt64() {
		return n.Int64(), true
	}
	return bigInt(n.String()), true
}
