package saved

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/modules"
)

// Canonical writes plain data so that equal data gives equal text. Secrets in it
// are written out: the text is for Key.Input alone.
func Canonical(v any) string {
	var b strings.Builder
	canonical(&b, v)
	return b.String()
}

func canonical(b *strings.Builder, v any) {
	switch t := v.(type) {
	case nil:
		b.WriteString("null")
	case modules.Secret:
		b.WriteString("secret" + strconv.Quote(t.Reveal()))
	case string:
		b.WriteString(strconv.Quote(t))
	case []byte:
		b.WriteString(strconv.Quote(string(t)))
	case []any:
		b.WriteByte('[')
		for _, x := range t {
			canonical(b, x)
			b.WriteByte(',')
		}
		b.WriteByte(']')
	case map[string]any:
		keys := make([]string, 0, len(t))
		for k := range t {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b.WriteByte('{')
		for _, k := range keys {
			b.WriteString(strconv.Quote(k) + ":")
			canonical(b, t[k])
			b.WriteByte(',')
		}
		b.WriteByte('}')
	case map[any]any:
		plain := make(map[string]any, len(t))
		for k, x := range t {
			plain[fmt.Sprintf("%T %v", k, k)] = x
		}
		canonical(b, plain)
	default:
		fmt.Fprintf(b, "%T %v", v, v)
	}
}
