package log

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/modules"
)

// Text writes a value as people read it: text as it is, a number without a
// needless fraction, tables as Lua would spell them, secrets hidden.
func Text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var b strings.Builder
	write(&b, plain(v), 0)
	return b.String()
}

const (
	maxDepth = 8
	maxText  = 64 << 10 // bytes of one value
)

func write(b *strings.Builder, v any, depth int) {
	switch v := v.(type) {
	case nil:
		b.WriteString("nil")
	case string:
		if depth > 0 {
			b.WriteString(strconv.Quote(v))
		} else {
			b.WriteString(v)
		}
	case float64:
		b.WriteString(strconv.FormatFloat(v, 'g', 14, 64))
	case []any:
		group(b, depth, len(v), func(i int) { write(b, v[i], depth+1) })
	case map[string]any:
		keys := slices.Sorted(maps.Keys(v))
		group(b, depth, len(keys), func(i int) {
			b.WriteString(keys[i] + " = ")
			write(b, v[keys[i]], depth+1)
		})
	default:
		fmt.Fprint(b, v)
	}
}

func group(b *strings.Builder, depth, n int, item func(int)) {
	if n == 0 {
		b.WriteString("{}")
		return
	}
	b.WriteByte('{')
	for i := range n {
		if depth >= maxDepth || b.Len() > maxText {
			b.WriteString(" …")
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		item(i)
	}
	b.WriteString(" }")
}

// plain makes every key text and hides secrets, so that the value may go on any
// wire.
func plain(v any) any {
	switch v := v.(type) {
	case modules.Secret:
		return modules.Hidden
	case modules.Callback:
		return "function"
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = plain(e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = plain(e)
		}
		return out
	case map[any]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[Text(k)] = plain(e)
		}
		return out
	}
	return v
}

// render lays a list of tables out in columns; anything else in two.
func render(v any) string {
	var rows [][]string
	switch v := v.(type) {
	case []any:
		columns := headings(v)
		if columns == nil {
			for i, e := range v {
				rows = append(rows, []string{strconv.Itoa(i + 1), Text(e)})
			}
			break
		}
		rows = append(rows, columns)
		for _, e := range v {
			m, _ := e.(map[string]any)
			row := make([]string, len(columns))
			for i, c := range columns {
				if cell, ok := m[c]; ok {
					row[i] = Text(cell)
				}
			}
			rows = append(rows, row)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			rows = append(rows, []string{k, Text(v[k])})
		}
	default:
		return Text(v)
	}
	return align(rows)
}

// headings are the keys of all rows, or nil when not every row is a table.
func headings(list []any) []string {
	keys := map[string]bool{}
	for _, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return nil
		}
		for k := range m {
			keys[k] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

func align(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(rows))
	for r, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		lines[r] = strings.TrimRight(b.String(), " ")
	}
	return strings.Join(lines, "\n")
}
