package spec

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

func allowed(a *Argument, name, text string) error {
	if len(a.Enum) == 0 || slices.Contains(a.Enum, text) {
		return nil
	}
	msg := fmt.Sprintf("%s = %q: it must be one of %s", name, text, strings.Join(a.Enum, ", "))
	if n := Nearest(text, a.Enum); n != "" {
		msg += fmt.Sprintf("; did you mean %q?", n)
	}
	return fmt.Errorf("%s", msg)
}

func mode(v any, wrong func() error) (modules.Mode, error) {
	switch t := v.(type) {
	case string:
		return modules.ParseMode(t)
	case float64:
		return modules.NumberMode(t)
	case int64:
		return modules.NumberMode(float64(t))
	}
	return "", wrong()
}

func duration(v any) (time.Duration, error) {
	var d time.Duration
	n, isNumber := v.(float64)
	if i, ok := v.(int64); ok {
		n, isNumber = float64(i), true
	}
	text, isText := v.(string)
	if isText {
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			n, isNumber = f, true
		}
	}
	switch {
	case isNumber:
		if math.IsNaN(n) || n > 1e9 || n < 0 {
			return 0, fmt.Errorf("%v seconds are no duration", n)
		}
		return time.Duration(n * float64(time.Second)), nil
	case isText:
		var err error
		if d, err = time.ParseDuration(text); err != nil || d < 0 {
			return 0, fmt.Errorf(`%q is no duration; write seconds, or text such as "90s", "5m", "1h30m"`, text)
		}
		return d, nil
	}
	return 0, fmt.Errorf(`must be seconds or text such as "5m", not %s`, typeOf(v))
}

func textOf(v any) (string, bool) {
	switch t := v.(type) {
	case string:
		return t, true
	case int64:
		return strconv.FormatInt(t, 10), true
	case float64:
		return strconv.FormatFloat(t, 'g', 14, 64), true
	}
	return "", false
}

// boolean also takes the words that a command line or YAML would bring.
func boolean(v any) (bool, bool) {
	switch t := v.(type) {
	case bool:
		return t, true
	case string:
		switch strings.ToLower(t) {
		case "true", "yes", "on", "1":
			return true, true
		case "false", "no", "off", "0":
			return false, true
		}
	}
	return false, false
}

func number(v any) (float64, bool) {
	switch t := v.(type) {
	case int64:
		return float64(t), true
	case float64:
		return t, !math.IsNaN(t)
	case string:
		n, err := strconv.ParseFloat(t, 64)
		return n, err == nil
	}
	return 0, false
}

func typeOf(v any) string {
	switch t := v.(type) {
	case nil:
		return "nil"
	case bool:
		return "a boolean"
	case int64, float64:
		text, _ := textOf(v)
		return "the number " + text
	case string:
		if len(t) > 40 {
			return "text"
		}
		return fmt.Sprintf("the text %q", t)
	case []any:
		return "a list"
	case map[string]any, Mixed, map[any]any:
		return "a table"
	case modules.Callback:
		return "a function"
	case modules.Secret:
		return "a secret"
	}
	return fmt.Sprintf("a %T", v)
}

func article(typ string) string {
	switch typ {
	case "text", "any":
		return typ
	case "integer":
		return "a whole number"
	case "list of text":
		return "a list of text"
	}
	return "a " + typ
}

func lowerFirst(doc string) string {
	if doc == "" {
		return "it is required"
	}
	if len(doc) > 1 && doc[1] >= 'A' && doc[1] <= 'Z' {
		return doc
	}
	return strings.ToLower(doc[:1]) + doc[1:]
}
