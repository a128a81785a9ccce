package knownhosts

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/sshfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

// place are the arguments that say which host and which file.
type place struct {
	Name string `lua:"name,required" alias:"host" pos:"1" doc:"The host: a name, an address, [host]:port, or a pattern as it stands in the file"`
	Path string `lua:"path,path" doc:"The file; without it .ssh/known_hosts in the home of the user the task runs as"`

	name string // in the form that is looked for
}

func (p *place) resolve() error {
	var err error
	if p.Path == "" {
		if p.Path, err = spec.HostPath("~/.ssh/known_hosts", ""); err != nil {
			return err
		}
	}
	p.name, err = nameOf(p.Name)
	return err
}

func keysOf(texts []string, name string) ([]entry, error) {
	var out []entry
	for i, text := range texts {
		where := "key"
		if len(texts) > 1 {
			where = fmt.Sprintf("key[%d]", i+1)
		}
		some, err := parseKeys(where, text, name)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	return out, nil
}

type present struct {
	place
	Key  []string `lua:"key,required" alias:"keys" pos:"2" doc:"The public keys, several lines or a list; a line may begin with a marker and names, as in the file"`
	Hash bool     `lua:"hash_host" alias:"hash" doc:"Hide the name as ssh does with HashKnownHosts"`

	file file
}

// Validate checks name and keys.
func (p *present) Validate() error {
	if err := p.resolve(); err != nil {
		return err
	}
	want, err := keysOf(p.Key, p.name)
	if err != nil {
		return err
	}
	for i, w := range want {
		if slices.ContainsFunc(want[:i], func(o entry) bool {
			return o.marker == w.marker && o.key.Type == w.key.Type && !o.key.Same(w.key) && w.marker == ""
		}) {
			return fmt.Errorf("key holds two keys of the type %s; a host has one of each", w.key.Type)
		}
	}
	if p.Hash && strings.ContainsAny(p.name, "*?!") {
		return errors.New("a pattern cannot be hashed: ssh looks for the hash of the very name")
	}
	return nil
}

// Result adds the path.
func (p *present) Result() map[string]any { return map[string]any{"path": p.Path} }

// Check compares the file with the keys wanted.
func (p *present) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	want, err := keysOf(p.Key, p.name)
	if err != nil {
		return modules.Diff{}, err
	}
	p.file = file{path: p.Path}
	return p.file.check(ctx, v, func(lines []string) []string { return merge(lines, want, p.name, p.Hash) })
}

// Apply writes it.
func (p *present) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return p.file.apply(ctx, m)
}

// Plan lets later checks see it.
func (p *present) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return p.file.plan(ctx, o)
}

// merge leaves a line of the name with the right key as it is, takes the name
// off lines with another key of a type that is wanted, and puts new lines at the
// end. Lines with a marker answer to keys with that marker alone.
func merge(lines []string, want []entry, name string, hidden bool) []string {
	done := make([]bool, len(want))
	var out []string
	for _, line := range lines {
		e, err := parseLine(line, false)
		at := -1
		if !sshfile.IsComment(line) && err == nil {
			at = e.at(name)
		}
		if at < 0 {
			out = append(out, line)
			continue
		}
		same := slices.IndexFunc(want, func(w entry) bool { return w.marker == e.marker && w.key.Same(e.key) })
		typed := slices.ContainsFunc(want, func(w entry) bool { return w.marker == "" && e.marker == "" && w.key.Type == e.key.Type })
		switch {
		case same >= 0 && !done[same] && (!hidden || e.hashed()):
			done[same] = true
			out = append(out, line)
		case same >= 0 && (done[same] || hidden), typed:
			if e.names = slices.Delete(e.names, at, at+1); len(e.names) > 0 {
				out = append(out, e.String())
			}
		default:
			out = append(out, line)
		}
	}
	for i, w := range want {
		if done[i] || slices.ContainsFunc(want[:i], func(o entry) bool { return o.marker == w.marker && o.key.Same(w.key) }) {
			continue
		}
		if hidden {
			w.names = []string{hash(name)}
		}
		out = append(out, w.String())
	}
	return out
}

type absent struct {
	place
	Key []string `lua:"key" alias:"keys" pos:"2" doc:"Keys to forget; without it all those of the host that have no marker"`

	file file
}

// Validate checks name and keys.
func (a *absent) Validate() error {
	if err := a.resolve(); err != nil {
		return err
	}
	_, err := keysOf(a.Key, a.name)
	return err
}

// Result adds the path.
func (a *absent) Result() map[string]any { return map[string]any{"path": a.Path} }

// Check looks for the name.
func (a *absent) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	keys, err := keysOf(a.Key, a.name)
	if err != nil {
		return modules.Diff{}, err
	}
	a.file = file{path: a.Path}
	return a.file.check(ctx, v, func(lines []string) []string {
		var out []string
		for _, line := range lines {
			e, err := parseLine(line, false)
			at := -1
			if !sshfile.IsComment(line) && err == nil {
				at = e.at(a.name)
			}
			meant := len(keys) == 0 && e.marker == "" || slices.ContainsFunc(keys, func(k entry) bool { return k.marker == e.marker && k.key.Same(e.key) })
			if at < 0 || !meant {
				out = append(out, line)
				continue
			}
			if e.names = slices.Delete(e.names, at, at+1); len(e.names) > 0 {
				out = append(out, e.String())
			}
		}
		return out
	})
}

// Apply writes the rest.
func (a *absent) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return a.file.apply(ctx, m)
}

// Plan lets later checks see it.
func (a *absent) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return a.file.plan(ctx, o)
}

type list struct {
	Name string `lua:"name" alias:"host" pos:"1" doc:"Only the keys of this host"`
	Path string `lua:"path,path" doc:"The file; without it .ssh/known_hosts in the home of the user the task runs as"`
}

// Validate checks the name.
func (l *list) Validate() error {
	p := place{Name: l.Name, Path: l.Path}
	if l.Name == "" {
		p.Name = "any"
	}
	err := p.resolve()
	l.Path = p.Path
	if l.Name != "" {
		l.Name = p.name
	}
	return err
}

// Query reads the file.
func (l *list) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	text, err := sshfile.Read(v, filepath.Clean(l.Path))
	if err != nil {
		return nil, err
	}
	out := []any{}
	for i, line := range sshfile.Lines(text) {
		e, err := parseLine(line, false)
		if sshfile.IsComment(line) || err != nil || l.Name != "" && e.at(l.Name) < 0 {
			continue
		}
		names := make([]any, len(e.names))
		for i, n := range e.names {
			names[i] = n
		}
		out = append(out, map[string]any{
			"names": names, "marker": e.marker, "type": e.key.Type, "key": e.key.Base64, "comment": e.key.Comment,
			"hashed": e.hashed(), "fingerprint": e.key.Fingerprint(), "line": i + 1,
		})
	}
	return []any{out}, nil
}
