// Package template renders the text of template files on the controller. The
// shim never links it: a host receives finished text.
//
// Two languages are known: Jinja2, as Ansible runs it (trim_blocks on, the last
// newline kept, an undefined variable is an error), and Go's text/template with
// Sprig's functions. Templates reach neither environment nor network, and no
// file but those the caller's Include hands out.
package template

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// The names of the engines.
const (
	Jinja = "jinja2"
	Go    = "go"
)

// Limits of one rendering when the Renderer sets none.
const (
	DefaultTimeout = 10 * time.Second
	DefaultSize    = 64 << 20 // bytes of output
)

// maxDepth is how deep includes and macros may call each other.
const maxDepth = 200

// Renderer renders templates under its limits. The zero value is ready to use
// and refuses includes.
type Renderer struct {
	// Include returns the source of another template. The name is clean, relative
	// to the folder that also holds the outermost template's name, and never
	// leads out of it. Nil: templates cannot include.
	Include func(name string) ([]byte, error)
	Timeout time.Duration // 0: DefaultTimeout
	MaxSize int           // 0: DefaultSize
}

// Error is a template that cannot be rendered, and where. It prints as
// "templates/x.j2:12: 'foo' is undefined".
type Error struct {
	Name    string
	Line    int // 0 when unknown
	Message string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Name + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Message)
}

// Render renders src under the default limits, without includes. Name is the
// file name for messages and for choosing the engine.
func Render(src []byte, name, engine string, vars map[string]any) ([]byte, error) {
	return (&Renderer{}).Render(src, name, engine, vars)
}

// Render renders src with vars. Engine is Jinja, Go, or empty for Engine's
// choice. Every failure of the template itself is an *Error.
func (r *Renderer) Render(src []byte, name, engine string, vars map[string]any) ([]byte, error) {
	if engine == "" {
		engine = Engine(name, src)
	}
	if vars == nil {
		vars = map[string]any{}
	}
	b := r.budget()
	switch engine {
	case Jinja:
		return r.jinja(b, src, name, vars)
	case Go:
		return r.gotemplate(b, src, name, vars)
	}
	return nil, &Error{Name: name, Message: fmt.Sprintf("there is no template engine %q: use %q or %q", engine, Jinja, Go)}
}

var goAction = regexp.MustCompile(`\{\{-?\s*(\.|\$|/\*|(if|range|with|template|define|block|end|else)\b)`)

// Engine chooses the language of a template: by its name (.j2, .jinja and
// .jinja2; .tmpl, .gotmpl and .tpl), else by its text. Text that holds an action
// only Go knows ({{ .x }}, {{ if … }}, {{ $x }}) is Go's; everything else is Jinja2.
func Engine(name string, src []byte) string {
	switch strings.ToLower(path.Ext(name)) {
	case ".j2", ".jinja", ".jinja2":
		return Jinja
	case ".tmpl", ".gotmpl", ".tpl":
		return Go
	}
	if !bytes.Contains(src, []byte("{%")) && goAction.Match(src) {
		return Go
	}
	return Jinja
}

// include reads another template, named as in the file from.
func (r *Renderer) include(from, name string) (src []byte, resolved string, err error) {
	if r.Include == nil {
		return nil, "", fmt.Errorf("cannot include %q: templates cannot include here", name)
	}
	if path.IsAbs(name) {
		return nil, "", fmt.Errorf("cannot include %q: name it relative to this template", name)
	}
	resolved = path.Join(path.Dir(from), name)
	if resolved == ".." || strings.HasPrefix(resolved, "../") || path.IsAbs(resolved) {
		return nil, "", fmt.Errorf("cannot include %q: it is outside the script's folder", name)
	}
	src, err = r.Include(resolved)
	if err != nil {
		return nil, "", fmt.Errorf("cannot include %q: %s", name, err.Error()) // messages are made of the innermost error
	}
	return src, resolved, nil
}

var (
	errTime  = errors.New("it takes too long: is there an endless loop?")
	errSize  = errors.New("its output is too large")
	errDepth = fmt.Errorf("includes or macros call each other more than %d levels deep", maxDepth)
)

// budget ends renderings that run away. The engines can't be interrupted from
// outside, so it is asked at every write and at every turn of a loop.
type budget struct {
	end   time.Time
	limit time.Duration
	left  int
	depth int
	out   bytes.Buffer
	// fail is an error that the engine met where it cannot report one.
	fail error
}

func (r *Renderer) budget() *budget {
	b := &budget{limit: r.Timeout, left: r.MaxSize}
	if b.limit == 0 {
		b.limit = DefaultTimeout
	}
	if b.left == 0 {
		b.left = DefaultSize
	}
	b.end = time.Now().Add(b.limit)
	return b
}

func (b *budget) Write(p []byte) (int, error) {
	if err := b.tick(); err != nil {
		return 0, err
	}
	if b.left -= len(p); b.left < 0 {
		return 0, errSize
	}
	return b.out.Write(p)
}

func (b *budget) tick() error {
	if time.Now().After(b.end) {
		return errTime
	}
	return b.fail
}

// enter counts a level of nesting, leave ends it.
func (b *budget) enter() error {
	if b.depth++; b.depth > maxDepth {
		return errDepth
	}
	return b.tick()
}

func (b *budget) leave() { b.depth-- }
