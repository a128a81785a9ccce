package template

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/Masterminds/sprig/v3"
)

// touching are Sprig's functions that look at the controller or its network,
// or burn its time.
var touching = []string{
	"env", "expandenv", "getHostByName",
	"genPrivateKey", "genCA", "genCAWithKey", "genSelfSignedCert", "genSelfSignedCertWithKey",
	"genSignedCert", "genSignedCertWithKey", "buildCustomCert",
}

// maxRepeat bounds what repeat, until, untilStep and seq make in one go.
const maxRepeat = 1_000_000

func (r *Renderer) gotemplate(b *budget, src []byte, name string, vars map[string]any) (out []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, &Error{Name: name, Message: fmt.Sprintf("the template engine failed: %v", p)}
		}
	}()
	funcs := sprig.TxtFuncMap()
	for _, f := range touching {
		delete(funcs, f)
	}
	bound(funcs)
	funcs["slothTick"] = func() (string, error) { return "", b.tick() }
	funcs["required"] = func(message string, v any) (any, error) {
		if v == nil || v == "" {
			return nil, errors.New(message)
		}
		return v, nil
	}
	funcs["include"] = func(file string, data any) (string, error) {
		if err := b.enter(); err != nil {
			return "", err
		}
		defer b.leave()
		text, file, err := r.include(name, file)
		if err != nil {
			return "", err
		}
		t, err := parseGo(string(text), file, funcs)
		if err != nil {
			return "", err
		}
		var s strings.Builder
		if err := t.Execute(&shared{b, &s}, data); err != nil {
			return "", goError(file, err)
		}
		return s.String(), nil
	}
	t, err := parseGo(string(src), name, funcs)
	if err != nil {
		return nil, err
	}
	if err := t.Execute(b, plainMap(vars)); err != nil {
		return nil, goError(name, err)
	}
	return b.out.Bytes(), nil
}

// shared writes elsewhere on the account of a budget.
type shared struct {
	b   *budget
	out *strings.Builder
}

func (s *shared) Write(p []byte) (int, error) {
	if err := s.b.tick(); err != nil {
		return 0, err
	}
	if s.out.Len()+len(p) > s.b.left {
		return 0, errSize
	}
	return s.out.Write(p)
}

// parseGo parses text and puts a tick into every loop's body.
func parseGo(text, name string, funcs template.FuncMap) (*template.Template, error) {
	// The engine's name is a prefix of its messages, where a file name with a
	// colon could not be told from the line.
	t, err := template.New("file").Funcs(funcs).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, goError(name, err)
	}
	tick, err := template.New("tick").Funcs(funcs).Parse("{{slothTick}}")
	if err != nil {
		return nil, err
	}
	for _, def := range t.Templates() {
		if def.Tree != nil {
			tickLoops(def.Root, tick.Root.Nodes[0])
		}
	}
	return t, nil
}

func tickLoops(list *parse.ListNode, tick parse.Node) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			tickLoops(n.List, tick)
			tickLoops(n.ElseList, tick)
			n.List.Nodes = append([]parse.Node{tick}, n.List.Nodes...)
		case *parse.IfNode:
			tickLoops(n.List, tick)
			tickLoops(n.ElseList, tick)
		case *parse.WithNode:
			tickLoops(n.List, tick)
			tickLoops(n.ElseList, tick)
		}
	}
}

// bound caps the functions that make much from little.
func bound(funcs template.FuncMap) {
	tooMany := func(n int) error {
		if n > maxRepeat || n < -maxRepeat {
			return fmt.Errorf("%d are more than %d", n, maxRepeat)
		}
		return nil
	}
	if f, ok := funcs["repeat"].(func(int, string) string); ok {
		funcs["repeat"] = func(n int, s string) (string, error) {
			if err := tooMany(n * max(1, len(s))); err != nil || n < 0 {
				return "", errors.Join(err, negative(n))
			}
			return f(n, s), nil
		}
	}
	if f, ok := funcs["until"].(func(int) []int); ok {
		funcs["until"] = func(n int) ([]int, error) {
			if err := tooMany(n); err != nil {
				return nil, err
			}
			return f(n), nil
		}
	}
	if f, ok := funcs["untilStep"].(func(int, int, int) []int); ok {
		funcs["untilStep"] = func(start, stop, step int) ([]int, error) {
			if err := tooMany(stop - start); err != nil {
				return nil, err
			}
			return f(start, stop, step), nil
		}
	}
	if f, ok := funcs["seq"].(func(...int) string); ok {
		funcs["seq"] = func(params ...int) (string, error) {
			for _, p := range params {
				if err := tooMany(p); err != nil {
					return "", err
				}
			}
			return f(params...), nil
		}
	}
}

func negative(n int) error {
	if n < 0 {
		return fmt.Errorf("cannot repeat %d times", n)
	}
	return nil
}

var (
	goPlace   = regexp.MustCompile(`(?s)^template: file:(\d+)(?::\d+)?: (.*)$`)
	goMissing = regexp.MustCompile(`map has no entry for key "([^"]*)"`)
	goWithin  = regexp.MustCompile(`(?s)^executing "[^"]*" at (<.*?>): (.*)$`)
)

// goError puts a message of text/template into our form.
func goError(name string, err error) error {
	if placed := (*Error)(nil); errors.As(err, &placed) {
		return placed
	}
	e := &Error{Name: name, Message: err.Error()}
	if m := goPlace.FindStringSubmatch(e.Message); m != nil {
		e.Line, _ = strconv.Atoi(m[1])
		e.Message = m[2]
	}
	if m := goWithin.FindStringSubmatch(e.Message); m != nil {
		e.Message = m[1] + ": " + m[2]
	}
	if m := goMissing.FindStringSubmatch(e.Message); m != nil {
		e.Message = "'" + m[1] + "' is undefined"
	}
	return e
}
