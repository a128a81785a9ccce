package event

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"unicode/utf8"
)

// base64Key is the only key of the object that stands for a text which is no
// UTF-8; JSON can't hold such a text, and mending it would change it.
const base64Key = "base64"

// Plain gives v a form that JSON can hold: keys become text, numbers that are
// none become "NaN" and "Infinity", and text that is no UTF-8 becomes the
// object {"base64": "…"}.
func Plain(v any) any {
	switch t := v.(type) {
	case string:
		if !utf8.ValidString(t) {
			return map[string]any{base64Key: base64.StdEncoding.EncodeToString([]byte(t))}
		}
	case []byte:
		return Plain(string(t))
	case float64:
		switch {
		case math.IsNaN(t):
			return "NaN"
		case math.IsInf(t, 1):
			return "Infinity"
		case math.IsInf(t, -1):
			return "-Infinity"
		}
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = Plain(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[k] = Plain(item)
		}
		return out
	case map[any]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[fmt.Sprint(k)] = Plain(item)
		}
		return out
	}
	return v
}

// unplain turns the objects that Plain made back into text, and whole numbers
// back into int64.
func unplain(v any) any {
	switch t := v.(type) {
	case float64:
		if t == math.Trunc(t) && math.Abs(t) <= 1<<53 {
			return int64(t)
		}
	case []any:
		for i, item := range t {
			t[i] = unplain(item)
		}
	case map[string]any:
		if s, ok := t[base64Key].(string); ok && len(t) == 1 {
			if raw, err := base64.StdEncoding.DecodeString(s); err == nil && !utf8.Valid(raw) {
				return string(raw)
			}
		}
		for k, item := range t {
			t[k] = unplain(item)
		}
	}
	return v
}

type outputJSON struct {
	Where
	Stream string  `json:"stream"`
	Text   *string `json:"text,omitempty"`
	Base64 []byte  `json:"base64,omitempty"`
}

// MarshalJSON writes the data as "text", or as "base64" where it is no UTF-8.
func (o Output) MarshalJSON() ([]byte, error) {
	out := outputJSON{Where: o.Where, Stream: o.Stream}
	if utf8.Valid(o.Data) {
		text := string(o.Data)
		out.Text = &text
	} else {
		out.Base64 = o.Data
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (o *Output) UnmarshalJSON(b []byte) error {
	var in outputJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*o = Output{Where: in.Where, Stream: in.Stream, Data: in.Base64}
	if in.Text != nil {
		o.Data = []byte(*in.Text)
	}
	return nil
}
