package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/data"
	"github.com/sloth-runner/sloth/modules/internal/tool"
	"github.com/sloth-runner/sloth/modules/spec"
)

type vars struct {
	Client any            `lua:"client" alias:"workdir,dir" pos:"1" doc:"The folder: what init gave, or its path; the task's own by default"`
	File   string         `lua:"file" alias:"filename,path" pos:"2" doc:"Name of the file, as seen from the folder; required"`
	Values map[string]any `lua:"values" alias:"vars,variables" pos:"3" doc:"The variables; a file with secrets is only readable by its owner"`

	full, content string
	secret        bool
}

func newVars() any { return &vars{} }

// Validate reads named arguments and asks for a file.
func (v *vars) Validate() error {
	if err := tool.Named(v, v.Client, newVars); err != nil {
		return err
	}
	if v.File == "" || strings.HasSuffix(v.File, "/") {
		return errors.New("file is missing: name of the file")
	}
	return nil
}

// prepare finds out where to write what.
func (v *vars) prepare(ctx context.Context) error {
	dir, _ := v.Client.(string)
	if m, ok := v.Client.(map[string]any); ok {
		dir, _ = m["workdir"].(string)
	}
	workdir := modules.CallOf(ctx).Workdir
	dir, err := spec.HostPath(dir, workdir)
	if err != nil {
		return err
	}
	if dir == "" {
		dir = workdir
	}
	if v.full, err = spec.HostPath(v.File, dir); err != nil {
		return err
	}
	if strings.HasSuffix(v.File, ".json") {
		v.content, v.secret, err = data.EncodeJSON(v.Values)
		v.content += "\n"
		return err
	}
	v.content, v.secret, err = hcl(v.Values)
	return err
}

// Check compares the file with what is wanted.
func (v *vars) Check(ctx context.Context, view facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	if err := v.prepare(ctx); err != nil {
		return d, err
	}
	old, err := read(view, v.full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Add(modules.Create(v.full, "file"))
	case err != nil:
		return d, err
	}
	if old != v.content {
		d.Add(modules.Change{What: v.full, Attr: "content", Before: old, After: v.content, Text: true, Hidden: v.secret})
	}
	return d, nil
}

// Apply writes the file.
func (v *vars) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	o := modules.WriteOptions{}
	if v.secret {
		mode := fs.FileMode(0o600)
		o.Mode = &mode
	}
	return m.WriteFile(ctx, v.full, strings.NewReader(v.content), o)
}

// Plan shows later calls the file.
func (v *vars) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	mode := fs.FileMode(0o644)
	if v.secret {
		mode = 0o600
	}
	o.PutFile(v.full, []byte(v.content), mode, os.Geteuid(), os.Getegid())
	return nil
}

// Result names the file.
func (v *vars) Result() map[string]any {
	var content any = v.content
	if v.secret {
		content = modules.NewSecret(v.content)
	}
	return map[string]any{"filename": v.File, "full_path": v.full, "content": content}
}

const maxFile = 4 << 20

func read(v facts.Viewer, name string) (string, error) {
	f, err := v.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// contentOf is a file's content, or nothing.
func contentOf(v facts.Viewer, name string) string {
	text, err := read(v, name)
	if err != nil {
		return ""
	}
	return text
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// hcl writes variables as Terraform's own language has them.
func hcl(values map[string]any) (text string, secret bool, err error) {
	w := hclWriter{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		if !identifier.MatchString(k) {
			return "", false, fmt.Errorf("%q cannot be the name of a variable", k)
		}
	}
	if err := w.pairs(values, 0); err != nil {
		return "", false, err
	}
	return w.b.String(), w.secret, nil
}

type hclWriter struct {
	b      strings.Builder
	secret bool
}

const maxDepth = 50

// pairs writes a line for each entry; as terraform fmt does, it lines up the
// signs of entries that follow each other on one line each.
func (w *hclWriter) pairs(m map[string]any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d levels", maxDepth)
	}
	type entry struct{ key, value string }
	var group []entry
	indent := strings.Repeat("  ", depth)
	flush := func() {
		width := 0
		for _, e := range group {
			width = max(width, len(e.key))
		}
		for _, e := range group {
			w.b.WriteString(indent + e.key + strings.Repeat(" ", width-len(e.key)) + " = " + e.value + "\n")
		}
		group = nil
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		inner := hclWriter{}
		if err := inner.value(m[k], depth); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		w.secret = w.secret || inner.secret
		key := k
		if !identifier.MatchString(k) {
			key = quote(k)
		}
		e := entry{key, inner.b.String()}
		if strings.Contains(e.value, "\n") {
			flush()
			w.b.WriteString(indent + e.key + " = " + e.value + "\n")
			continue
		}
		group = append(group, e)
	}
	flush()
	return nil
}

func (w *hclWriter) value(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool, int64, int:
		fmt.Fprint(&w.b, v)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%v cannot be written", v)
		}
		w.b.WriteString(strconv.FormatFloat(v, 'f', -1, 64))
	case string:
		w.b.WriteString(quote(v))
	case modules.Secret:
		w.secret = true
		w.b.WriteString(quote(v.Reveal()))
	case []any:
		if depth > maxDepth {
			return fmt.Errorf("nested deeper than %d levels", maxDepth)
		}
		w.b.WriteByte('[')
		for i, e := range v {
			if i > 0 {
				w.b.WriteString(", ")
			}
			if err := w.value(e, depth+1); err != nil {
				return err
			}
		}
		w.b.WriteByte(']')
	case map[string]any:
		if len(v) == 0 {
			w.b.WriteString("{}")
			return nil
		}
		w.b.WriteString("{\n")
		if err := w.pairs(v, depth+1); err != nil {
			return err
		}
		w.b.WriteString(strings.Repeat("  ", depth) + "}")
	default:
		return fmt.Errorf("a %T cannot be written", v)
	}
	return nil
}

// quote writes text so that nothing in it is a template to terraform.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case (c == '$' || c == '%') && strings.HasPrefix(s[i+1:], "{"):
			b.WriteString(string(c) + string(c))
		case c < 0x20 || c == 0x7f:
			fmt.Fprintf(&b, `\u%04x`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
