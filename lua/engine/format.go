package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// strFormat is string.format with C's meaning of the directives; gopher-lua's
// hands them to Go, which prints %!d(string=x) where Lua raises.
func (vm *VM) strFormat(L *lua.LState) int {
	format := L.CheckString(1)
	var b strings.Builder
	arg := 1
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			b.WriteByte(c)
			continue
		}
		i++
		if i == len(format) {
			L.RaiseError("invalid format (ends with '%s')", "%")
		}
		if format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		start := i
		for i < len(format) && strings.IndexByte("-+ #0", format[i]) >= 0 {
			i++
		}
		digits := i
		for i < len(format) && (isDigit(format[i]) || format[i] == '.') {
			i++
		}
		if i == len(format) || i-digits > 5 || i-start > 10 || strings.Count(format[digits:i], ".") > 1 {
			L.RaiseError("invalid format '%s'", clip("%"+format[start:], 20))
		}
		arg++
		b.WriteString(vm.directive(L, format[start:i], format[i], arg))
		vm.room(L, b.Len())
	}
	L.Push(lua.LString(b.String()))
	return 1
}

func (vm *VM) directive(L *lua.LState, flags string, verb byte, arg int) string {
	if arg > L.GetTop() {
		L.ArgError(arg, "no value for %"+flags+string(verb))
	}
	switch verb {
	case 'd', 'i':
		return integer(flags, formatNumber(L, arg))
	case 'u':
		n := formatNumber(L, arg)
		return fmt.Sprintf("%"+flags+"d", uint64(int64(n)))
	case 'c':
		return fmt.Sprintf("%"+strings.TrimLeft(flags, "0")+"s", string([]byte{byte(int64(formatNumber(L, arg)))}))
	case 'o', 'x', 'X':
		return fmt.Sprintf("%"+flags+string(verb), uint64(int64(formatNumber(L, arg))))
	case 'e', 'E', 'f', 'F', 'g', 'G':
		return float(flags, verb, formatNumber(L, arg))
	case 'a', 'A':
		return fmt.Sprintf("%"+flags+string(verb+'x'-'a'), formatNumber(L, arg))
	case 'q':
		return quote(L.CheckString(arg))
	case 's':
		text := L.ToStringMeta(L.Get(arg)).String()
		if flags == "" {
			return text
		}
		return padded(flags, text)
	}
	L.RaiseError("invalid option '%%%s%c' to 'format'", flags, verb)
	return ""
}

func formatNumber(L *lua.LState, arg int) float64 {
	switch v := L.Get(arg).(type) {
	case lua.LNumber:
		return float64(v)
	case lua.LString:
		if n, ok := parseNumber(string(v), 10); ok {
			return n
		}
	}
	L.TypeError(arg, lua.LTNumber)
	return 0
}

func integer(flags string, n float64) string {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return "-9223372036854775808" // as C casts it
	}
	return fmt.Sprintf("%"+flags+"d", int64(n))
}

// float writes inf and nan as C does.
func float(flags string, verb byte, n float64) string {
	if !math.IsNaN(n) && !math.IsInf(n, 0) {
		if (verb == 'g' || verb == 'G') && !strings.Contains(flags, ".") {
			flags += ".6" // C's default; Go's is the shortest that reads back
		}
		text := fmt.Sprintf("%"+flags+string(verb), n)
		return text
	}
	text := "nan"
	if !math.IsNaN(n) {
		text = "inf"
		if n < 0 {
			text = "-inf"
		} else if strings.Contains(flags, "+") {
			text = "+inf"
		}
	}
	width, _, _ := strings.Cut(strings.Trim(flags, "+ #0"), ".")
	return padded(width, text)
}

// padded is %s with width and precision in bytes, where Go counts runes.
func padded(flags, text string) string {
	left := strings.Contains(flags, "-")
	flags = strings.TrimLeft(flags, "-+ #0")
	width, precision, cut := strings.Cut(flags, ".")
	if cut {
		n, _ := strconv.Atoi(precision)
		text = text[:min(n, len(text))]
	}
	w, _ := strconv.Atoi(width)
	if w <= len(text) {
		return text
	}
	space := strings.Repeat(" ", w-len(text))
	if left {
		return text + space
	}
	return space + text
}

// quote writes a string that Lua reads back as the same bytes.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\', '\n':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r':
			b.WriteString(`\r`)
		case 0:
			b.WriteString(`\000`)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
