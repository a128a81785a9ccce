package data

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type xmlDecode struct {
	Text modules.Text `lua:"text,required,primary" alias:"xml" pos:"1" doc:"XML text"`
}

// Query reads the text. Entities beyond XML's own five are errors, so nothing is
// fetched and nothing expands.
func (x *xmlDecode) Query(ctx context.Context, _ facts.Viewer) ([]any, error) {
	return read(ctx, x.Text, decodeXML)
}

func decodeXML(text string) (any, error) {
	dec := xml.NewDecoder(strings.NewReader(text))
	dec.CharsetReader = func(charset string, input io.Reader) (io.Reader, error) {
		return nil, fmt.Errorf("the encoding %s is not known; convert the text to UTF-8", charset)
	}
	fail := func(format string, args ...any) (any, error) {
		line, column := dec.InputPos()
		return nil, fmt.Errorf("line %d, column %d: %w", line, column, fmt.Errorf(format, args...))
	}
	var open []map[string]any
	var root map[string]any
	nodes := 0
	for {
		t, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) {
				return fail("%s", syntax.Msg)
			}
			return fail("%w", err)
		}
		if nodes++; nodes > maxNodes {
			return fail("more than %d elements", maxNodes)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if len(open) >= maxDepth {
				return fail("nested deeper than %d levels", maxDepth)
			}
			e := element(t)
			switch {
			case len(open) > 0:
				up := open[len(open)-1]
				up["children"] = append(up["children"].([]any), e)
			case root != nil:
				return fail("there is a second root <%s>", e["name"])
			default:
				root = e
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 0 || open[len(open)-1]["name"] != qualified(t.Name) {
				return fail("</%s> closes nothing", qualified(t.Name))
			}
			last := open[len(open)-1]
			last["text"] = strings.TrimSpace(last["text"].(string))
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				last := open[len(open)-1]
				last["text"] = last["text"].(string) + string(t)
			} else if strings.TrimSpace(string(t)) != "" {
				return fail("there is text outside the root")
			}
		}
	}
	switch {
	case len(open) > 0:
		return fail("<%s> is not closed", open[len(open)-1]["name"])
	case root == nil:
		return fail("there is no element")
	}
	return root, nil
}

func element(t xml.StartElement) map[string]any {
	attrs := map[string]any{}
	for _, a := range t.Attr {
		attrs[qualified(a.Name)] = a.Value
	}
	return map[string]any{"name": qualified(t.Name), "attrs": attrs, "text": "", "children": []any{}}
}

func qualified(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

type xmlEncode struct {
	Value  any    `lua:"value,required,primary" pos:"1" doc:"Element {name, attrs, text, children}, or with root any table: keys are elements, lists repeat them"`
	Root   string `lua:"root" doc:"Name of the element around a plain table"`
	Indent int    `lua:"indent" doc:"Blanks for each level; 0 writes one line"`
	Header bool   `lua:"header" alias:"declaration" doc:"Begins with the XML declaration"`
}

// Query writes the value.
func (x *xmlEncode) Query(context.Context, facts.Viewer) ([]any, error) {
	if x.Indent < 0 || x.Indent > 16 {
		return nil, fmt.Errorf("indent = %d: it must be between 0 and 16", x.Indent)
	}
	return write(x.Value, func(v any) (string, error) {
		w := &xmlWriter{indent: x.Indent}
		if x.Header {
			w.b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
		}
		var err error
		if x.Root != "" {
			err = w.plain(x.Root, v, 0)
		} else {
			err = w.element(v, 0)
		}
		return w.b.String(), err
	})
}

type xmlWriter struct {
	b      strings.Builder
	indent int
}

// xmlName is what XML allows, without its exotic letters.
var xmlName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_.-]*(:[\p{L}_][\p{L}\p{N}_.-]*)?$`)
})

func (w *xmlWriter) open(name string, attrs map[string]any) error {
	if !xmlName().MatchString(name) {
		return fmt.Errorf("%q cannot be the name of an element", name)
	}
	w.b.WriteString("<" + name)
	for _, k := range keys(attrs) {
		if !xmlName().MatchString(k) {
			return fmt.Errorf("%q cannot be the name of an attribute", k)
		}
		text, err := cell(attrs[k])
		if err != nil {
			return fmt.Errorf("attribute %s %w", k, err)
		}
		w.b.WriteString(" " + k + `="`)
		if err := w.escape(text); err != nil {
			return err
		}
		w.b.WriteByte('"')
	}
	w.b.WriteByte('>')
	return nil
}

func (w *xmlWriter) escape(text string) error { return xml.EscapeText(&w.b, []byte(text)) }

func (w *xmlWriter) line(depth int) {
	if w.indent > 0 {
		w.b.WriteString("\n" + strings.Repeat(" ", w.indent*depth))
	}
}

// element writes the form that xml_decode gives.
func (w *xmlWriter) element(v any, depth int) error {
	m, ok := v.(map[string]any)
	name, named := m["name"].(string)
	if !ok || !named {
		return errors.New("an element needs a name; for a plain table say root = \"…\"")
	}
	attrs, _ := m["attrs"].(map[string]any)
	if err := w.open(name, attrs); err != nil {
		return err
	}
	text, err := cell(m["text"])
	if err != nil {
		return fmt.Errorf("<%s>: text %w", name, err)
	}
	if err := w.escape(text); err != nil {
		return err
	}
	children, _ := m["children"].([]any)
	for _, c := range children {
		w.line(depth + 1)
		if err := w.element(c, depth+1); err != nil {
			return fmt.Errorf("<%s>: %w", name, err)
		}
	}
	if len(children) > 0 {
		w.line(depth)
	}
	w.b.WriteString("</" + name + ">")
	return nil
}

// plain writes any value as the element name.
func (w *xmlWriter) plain(name string, v any, depth int) error {
	m, isMap := v.(map[string]any)
	if list, ok := v.([]any); ok {
		if depth == 0 {
			m, isMap = map[string]any{"item": list}, true
		} else {
			return fmt.Errorf("%s: a list in a list has no name", name)
		}
	}
	if !isMap {
		if err := w.open(name, nil); err != nil {
			return err
		}
		text, err := cell(v)
		if err == nil {
			err = w.escape(text)
		}
		w.b.WriteString("</" + name + ">")
		return err
	}
	if err := w.open(name, nil); err != nil {
		return err
	}
	wrote := false
	for _, k := range keys(m) {
		list, ok := m[k].([]any)
		if !ok {
			list = []any{m[k]}
		}
		for _, item := range list {
			wrote = true
			w.line(depth + 1)
			if err := w.plain(k, item, depth+1); err != nil {
				return err
			}
		}
	}
	if wrote {
		w.line(depth)
	}
	w.b.WriteString("</" + name + ">")
	return nil
}
