package values

import (
	"fmt"
	"path"
	"strings"
)

// glob is a pattern: * any text, ? one character, [a-c] or [!a-c] one of a set,
// \ takes the next character as it is.
type glob string

// path.Match stops a star at a slash. Keys are no paths, and hold no zero byte.
var flat = strings.NewReplacer("/", "\x00")

func compile(pattern string) (glob, error) {
	g := glob(strings.ReplaceAll(flat.Replace(pattern), "[!", "[^"))
	if _, err := path.Match(string(g), ""); err != nil {
		return "", fmt.Errorf("the pattern %q is incomplete: a [ needs its ], a backslash something after it", short(pattern))
	}
	return g, nil
}

func (g glob) match(key string) bool {
	ok, _ := path.Match(string(g), flat.Replace(key)) // compile has seen the pattern
	return ok
}
