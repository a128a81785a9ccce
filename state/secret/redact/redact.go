// Package redact takes secrets out of text, in the forms that programs print
// them in: as they are, in base64, hexadecimal, URLs, JSON, shell words and the
// like. What is searched for grows while a run goes on; until the first secret
// is known it costs nothing.
package redact

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// minLength is the size of the shortest secret that is searched for, in bytes:
// shorter ones are part of too much that is none.
const minLength = 4

// maxLength is how much of a longer secret is searched for, in bytes.
const maxLength = 64 << 10

// maxSecrets bounds what may be added, since some comes from hosts.
const maxSecrets = 10_000

// Redactor replaces secrets by its mark. Its methods may be called from
// several goroutines at once. The zero value has no mark; use New.
type Redactor struct {
	mark string

	mu      sync.Mutex
	known   map[string]bool
	parts   []*part                // the larger ones first
	current atomic.Pointer[search] // nil: there is nothing to search for
	fresh   atomic.Bool            // current has all that is known
}

// New returns a redactor that writes mark in the place of secrets.
func New(mark string) *Redactor {
	r := &Redactor{mark: mark, known: map[string]bool{}}
	r.fresh.Store(true)
	return r
}

// Add makes value a secret. The error says that it is too short, or a word that
// is no secret by itself, so that what holds it is shown as it is; it names name
// and never the value.
func (r *Redactor) Add(name, value string) error {
	value = value[:min(len(value), maxLength)]
	r.mu.Lock()
	defer r.mu.Unlock()
	if value == "" || r.known[value] {
		return nil
	}
	r.known[value] = true // a warning once is enough
	trimmed := strings.TrimSpace(value)
	switch {
	case len(trimmed) < minLength:
		return fmt.Errorf("secret %q has %d bytes, too few to be found in what is printed: output that has it is shown as it is", name, len(trimmed))
	case slices.Contains(common, strings.ToLower(trimmed)):
		return fmt.Errorf("secret %q is a common word: output that has it is shown as it is", name)
	case len(r.known) > maxSecrets:
		return fmt.Errorf("secret %q is one too many: more than %d are not searched for in output", name, maxSecrets)
	}
	if n := len(r.parts); n == 0 || r.parts[n-1].search != nil {
		r.parts = append(r.parts, &part{})
	}
	last := r.parts[len(r.parts)-1]
	last.forms.add(value)
	last.size++
	r.fresh.Store(false)
	return nil
}

// common are words that configuration is full of. Who has one for a password
// has no secret.
var common = []string{
	"true", "false", "none", "null", "undefined", "default", "admin", "administrator", "root", "user", "username", "guest", "test", "tests",
	"testing", "pass", "passwd", "password", "passphrase", "secret", "secrets", "token", "changeme", "change_me", "example", "localhost",
	"local", "host", "yes", "enabled", "disabled", "present", "absent", "started", "stopped", "success", "failed", "error", "info", "debug",
	"warn", "warning", "http", "https", "data", "name", "file", "path", "prod", "production", "staging", "development", "server", "client",
	"service", "main", "master", "text", "json", "yaml", "linux", "debian", "ubuntu", "nginx", "apache", "mysql", "postgres", "postgresql",
	"redis", "1234", "0000", "127.0.0.1", "0.0.0.0", "8080", "3306", "5432", "6379",
}

// search is what to look for at one moment. It is nil when there is nothing.
func (r *Redactor) search() *search {
	if r.fresh.Load() {
		return r.current.Load()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fresh.Load() {
		r.current.Store(r.compile())
		r.fresh.Store(true)
	}
	return r.current.Load()
}

// part is some of the secrets, searched for together.
type part struct {
	forms  forms
	size   int
	search *search // nil: something was added
}

// compile makes the search for all that is known. Secrets come one by one while
// a run goes on, so only the last parts are made anew, and there are few.
func (r *Redactor) compile() *search {
	for n := len(r.parts); n > 1 && 4*r.parts[n-1].size >= r.parts[n-2].size; n-- {
		into, last := r.parts[n-2], r.parts[n-1]
		into.forms.join(&last.forms)
		into.size += last.size
		into.search = nil
		r.parts = r.parts[:n-1]
	}
	all := &search{}
	for _, p := range r.parts {
		if p.search == nil {
			p.search = p.forms.compile()
		}
		all.exact = append(all.exact, p.search.exact...)
		all.packed = append(all.packed, p.search.packed...)
	}
	return all
}

// Empty reports whether there is nothing to search for.
func (r *Redactor) Empty() bool { return r.fresh.Load() && r.current.Load() == nil }

// String returns s without the secrets; s itself where it has none.
func (r *Redactor) String(s string) string {
	m := r.search()
	if m == nil {
		return s
	}
	found, _ := m.find([]byte(s))
	if len(found) == 0 {
		return s
	}
	return string(r.replace(nil, []byte(s), found))
}

// Bytes is String for bytes. It may return b itself, and never changes it.
func (r *Redactor) Bytes(b []byte) []byte {
	m := r.search()
	if m == nil {
		return b
	}
	found, _ := m.find(b)
	if len(found) == 0 {
		return b
	}
	return r.replace(nil, b, found)
}

// Any returns v with all texts in it, keys too, without secrets. v is data:
// text, bytes, numbers, lists and maps of such; it is not changed.
func (r *Redactor) Any(v any) any {
	if r.Empty() {
		return v
	}
	switch t := v.(type) {
	case string:
		return r.String(t)
	case []byte:
		return r.Bytes(t)
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = r.Any(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[r.String(k)] = r.Any(item)
		}
		return out
	case map[any]any:
		out := make(map[any]any, len(t))
		for k, item := range t {
			if s, ok := k.(string); ok {
				k = r.String(s)
			}
			out[k] = r.Any(item)
		}
		return out
	}
	return v
}

// replace appends b to out, with the mark for what was found.
func (r *Redactor) replace(out, b []byte, found []span) []byte {
	at := 0
	for _, s := range found {
		out = append(out, b[at:s.from]...)
		out = append(out, r.mark...)
		at = s.to
	}
	return append(out, b[at:]...)
}

// Stream redacts text that comes in pieces. It keeps back what may be the
// beginning of a secret until the next piece tells. The zero value is of no
// use; one goroutine at a time may use a Stream.
type Stream struct {
	r    *Redactor
	held []byte
	// covered is how much of held belongs to a secret whose mark is out already.
	covered int
}

// Stream returns a new stream.
func (r *Redactor) Stream() *Stream { return &Stream{r: r} }

// Feed takes the next piece and returns what can be shown by now. The result
// may share memory with p.
func (s *Stream) Feed(p []byte) []byte { return s.next(p, false) }

// Flush ends the stream and returns what was kept back.
func (s *Stream) Flush() []byte { return s.next(nil, true) }

func (s *Stream) next(p []byte, last bool) []byte {
	m := s.r.search()
	if m == nil {
		return p // so nothing was held either
	}
	all := p
	if len(s.held) > 0 {
		all = slices.Concat(s.held, p)
	}
	found, open := m.find(all)
	if last {
		open = len(all)
	}
	begun := s.covered > 0
	if begun {
		found = merge(append(found, span{0, s.covered}))
	}
	s.held = nil
	if open > 0 {
		s.covered = 0
	}
	if open < len(all) {
		s.held = slices.Clone(all[open:])
	}
	if len(found) == 0 {
		return all[:open]
	}
	var out []byte
	at := 0
	for i, f := range found {
		if f.from >= open {
			break
		}
		out = append(out, all[at:f.from]...)
		if i > 0 || !begun {
			out = append(out, s.r.mark...)
		}
		at = min(f.to, open)
		s.covered = f.to - at
	}
	return append(out, all[at:open]...)
}

// Writer is an io.WriteCloser that redacts on the way to another.
type Writer struct {
	w io.Writer
	s *Stream
}

// Writer returns a writer to w. What may be the beginning of a secret is kept
// back until more comes, or Close.
func (r *Redactor) Writer(w io.Writer) *Writer { return &Writer{w, r.Stream()} }

// Write takes all of p, or fails.
func (w *Writer) Write(p []byte) (int, error) {
	if out := w.s.Feed(p); len(out) > 0 {
		if _, err := w.w.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close writes what was kept back. It does not close the other writer.
func (w *Writer) Close() error {
	if out := w.s.Flush(); len(out) > 0 {
		_, err := w.w.Write(out)
		return err
	}
	return nil
}
