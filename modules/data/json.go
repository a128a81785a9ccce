package data

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type parseJSON struct {
	Text modules.Text `lua:"text,required,primary" alias:"json" pos:"1" doc:"JSON text"`
}

// Query reads the text.
func (p *parseJSON) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, p.Text, decodeJSON)
}

type jsonValid struct {
	Text modules.Text `lua:"text,required,primary" alias:"json" pos:"1" doc:"Text to look at"`
}

// Query answers true, or false and why.
func (p *jsonValid) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	if _, err := read(ctx, p.Text, decodeJSON); err != nil {
		return []any{false, err.Error()}, nil
	}
	return []any{true}, nil
}

type toJSON struct {
	Value  any  `lua:"value,primary" pos:"1" doc:"What to write; nil is null"`
	Indent int  `lua:"indent" doc:"Blanks for each level; 0 writes one line"`
	Pretty bool `lua:"pretty" doc:"The same as indent = 2"`

	reformat bool
}

// Query writes the value.
func (t *toJSON) Query(context.Context, facts.Viewer) ([]any, error) {
	indent := t.Indent
	if t.Pretty && indent == 0 {
		indent = 2
	}
	if indent < 0 || indent > 16 {
		return nil, fmt.Errorf("indent = %d: it must be between 0 and 16", indent)
	}
	if text, ok := t.Value.(string); ok && t.reformat && strings.ContainsAny(firstByte(text), "{[") {
		if _, err := decodeJSON(text); err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := json.Indent(&b, []byte(strings.TrimSpace(text)), "", strings.Repeat(" ", indent)); err != nil {
			return nil, err
		}
		return []any{b.String()}, nil
	}
	return write(t.Value, func(v any) (string, error) { return encodeJSON(v, indent) })
}

// EncodeJSON writes a value as Lua gives it. secret reports whether a secret was
// among it, and so the text is one.
func EncodeJSON(v any) (text string, secret bool, err error) {
	var p plainer
	plain, err := p.value(v, "", 0)
	if err != nil {
		return "", false, err
	}
	text, err = encodeJSON(plain, 0)
	return text, p.secret, err
}

// DecodeJSON reads JSON under the module's limits.
func DecodeJSON(text string) (any, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the text is larger than %d MiB", maxText>>20)
	}
	return decodeJSON(text)
}

func firstByte(s string) string {
	s = strings.TrimSpace(s)
	return s[:min(1, len(s))]
}

func encodeJSON(v any, indent int) (string, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", strings.Repeat(" ", indent))
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

func decodeJSON(text string) (any, error) {
	if err := shallow(text); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, jsonError(text, err, dec.InputOffset())
	}
	end := dec.InputOffset()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		for end < int64(len(text)) && strings.IndexByte(" \t\r\n", text[end]) >= 0 {
			end++
		}
		return nil, fmt.Errorf("%s: there is more text after the value", position(text, end))
	}
	return fromJSON(v), nil
}

// shallow refuses text that nests too deeply, or holds too much, before
// anything is built from it.
func shallow(text string) error {
	depth, nodes := 0, 0
	quoted := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		if quoted {
			switch c {
			case '\\':
				i++
			case '"':
				quoted = false
			}
			continue
		}
		switch c {
		case '"':
			quoted = true
		case '[', '{':
			nodes++
			if depth++; depth > maxDepth {
				return fmt.Errorf("%s: nested deeper than %d levels", position(text, int64(i)), maxDepth)
			}
		case ']', '}':
			depth--
		case ',', ':':
			nodes++
		}
		if nodes > maxNodes {
			return fmt.Errorf("more than %d values", maxNodes)
		}
	}
	return nil
}

func jsonError(text string, err error, at int64) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		// Its offset is after the byte it complains of.
		return fmt.Errorf("%s: %s", position(text, syntax.Offset-1), syntax.Error())
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%s: the text ends too early", position(text, int64(len(text))))
	}
	return fmt.Errorf("%s: %w", position(text, at), err)
}

// position is "line 3, column 7" of a byte offset; columns count bytes.
func position(text string, at int64) string {
	at = max(0, min(at, int64(len(text))))
	before := text[:at]
	return fmt.Sprintf("line %d, column %d", 1+strings.Count(before, "\n"), len(before)-strings.LastIndexByte(before, '\n'))
}

func fromJSON(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil && n >= -1<<53 && n <= 1<<53 {
			return n
		}
		f, _ := v.Float64()
		return whole(f)
	case []any:
		for i := range v {
			v[i] = fromJSON(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = fromJSON(v[k])
		}
	}
	return v
}
