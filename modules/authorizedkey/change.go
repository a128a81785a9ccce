package authorizedkey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/sshfile"
)

// keys are the arguments that say which keys are meant.
type keys struct {
	User string   `lua:"user,required" alias:"name" pos:"1" doc:"User whom the keys let in"`
	Key  []string `lua:"key" alias:"keys" pos:"2" doc:"The public key, several lines of them, or a list; a line may begin with options"`
	File string   `lua:"file" alias:"src" doc:"File of the controller, beside the .sloth file, with such lines, instead of key"`
	Path string   `lua:"path,path" doc:"File of the host to write, instead of .ssh/authorized_keys in the home of the user"`
}

// Validate checks all but what the file says.
func (k *keys) Validate() error {
	if err := checkName(k.User); err != nil {
		return err
	}
	switch {
	case k.File != "" && len(k.Key) > 0:
		return errors.New("give one of key and file")
	case k.File == "" && len(k.Key) == 0:
		return errors.New("key is missing: the public key, several lines of them, or a list")
	}
	_, err := k.given()
	return err
}

// given reads the argument key.
func (k *keys) given() ([]entry, error) {
	var out []entry
	for i, text := range k.Key {
		where := "key"
		if len(k.Key) > 1 {
			where = fmt.Sprintf("key[%d]", i+1)
		}
		some, err := parseKeys(where, text)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	if len(out) == 0 && k.File == "" {
		return nil, errors.New("key holds no key; a public key is one line, such as \"ssh-ed25519 AAAA… ann@example\"")
	}
	return out, nil
}

const maxKeys = 1 << 20

// wanted are the keys, once each.
func (k *keys) wanted(ctx context.Context) ([]entry, error) {
	if k.File == "" {
		return k.given()
	}
	services := modules.CallOf(ctx).Services
	if services == nil {
		return nil, errors.New("there is no controller to take the file from; use key")
	}
	f, err := services.File(ctx, k.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k.File, err)
	}
	if len(data) > maxKeys {
		return nil, fmt.Errorf("%s is larger than 1 MB, which no list of keys is", k.File)
	}
	out, err := parseKeys(k.File, string(data))
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("%s holds no key", k.File)
	}
	return out, err
}

type present struct {
	keys
	Options   string  `lua:"options" alias:"key_options" doc:"Options of the keys, instead of those in their lines: 'no-pty,command=\"/bin/backup\"'"`
	Comment   *string `lua:"comment" doc:"Comment of the keys, instead of those in their lines"`
	Exclusive bool    `lua:"exclusive" doc:"Remove all other keys; comment lines stay"`
	ManageDir *bool   `lua:"manage_dir" doc:"Make the folder, and keep it 0700 and the user's; it is kept so unless path is given"`

	file file
}

// Validate checks the options too.
func (p *present) Validate() error {
	if err := p.keys.Validate(); err != nil {
		return err
	}
	if p.Options != "" {
		if _, err := parseOptions(p.Options); err != nil {
			return fmt.Errorf("options: %w", err)
		}
	}
	if p.Comment != nil && strings.ContainsAny(*p.Comment, "\r\n\x00") {
		return errors.New("comment has a line break in it")
	}
	return nil
}

// Result adds the path.
func (p *present) Result() map[string]any { return p.file.result() }

// Check compares the file with the keys wanted.
func (p *present) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	want, err := p.wanted(ctx)
	if err != nil {
		return modules.Diff{}, err
	}
	for i := range want {
		if p.Options != "" {
			if want[i].options, err = parseOptions(p.Options); err != nil {
				return modules.Diff{}, err
			}
		}
		if p.Comment != nil {
			want[i].key.Comment = strings.TrimSpace(*p.Comment)
		}
	}
	p.file = file{user: p.User, path: p.Path, manage: p.Path == ""}
	if p.ManageDir != nil {
		p.file.manage = *p.ManageDir
	}
	return p.file.check(ctx, v, func(lines []string) []string {
		return merge(lines, want, p.Exclusive, p.Comment != nil)
	})
}

// Apply writes it.
func (p *present) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return p.file.apply(ctx, m)
}

// Plan lets later checks see it.
func (p *present) Plan(ctx context.Context, _ modules.Diff, o modules.Overlay) error {
	return p.file.plan(ctx, o)
}

// merge changes the lines of keys that are there already where they are, and
// puts new ones at the end. A comment that nobody says stays.
func merge(lines []string, want []entry, exclusive, comment bool) []string {
	out := make([]string, 0, len(lines)+len(want))
	done := make([]bool, len(want))
	for _, line := range lines {
		if sshfile.IsComment(line) {
			out = append(out, line)
			continue
		}
		is, err := parseLine(line)
		at := slices.IndexFunc(want, func(w entry) bool { return err == nil && w.key.Same(is.key) })
		switch {
		case at < 0 && exclusive, at >= 0 && done[at]:
			continue
		case at < 0:
			out = append(out, line)
			continue
		}
		// The last of equal keys wins, as if one were added after the other.
		w := want[at]
		for i := range want {
			if want[i].key.Same(w.key) {
				w, done[i] = want[i], true
			}
		}
		if w.key.Comment == "" && !comment {
			w.key.Comment = is.key.Comment
		}
		if w.key.Comment != is.key.Comment || !sameOptions(w.options, is.options) {
			line = w.String()
		}
		out = append(out, line)
	}
	for i, w := range want {
		if done[i] {
			continue
		}
		for j := i; j < len(want); j++ {
			if want[j].key.Same(w.key) {
				w, done[j] = want[j], true
			}
		}
		out = append(out, w.String())
	}
	return out
}

type absent struct {
	keys
	file file
}

// Result adds the path.
func (a *absent) Result() map[string]any { return a.file.result() }

// Check looks for the keys. A user who is not there has none.
func (a *absent) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	want, err := a.wanted(ctx)
	if err != nil {
		return modules.Diff{}, err
	}
	a.file = file{user: a.User, path: a.Path, only: true}
	return a.file.check(ctx, v, func(lines []string) []string {
		return slices.DeleteFunc(slices.Clone(lines), func(line string) bool {
			is, err := parseLine(line)
			return !sshfile.IsComment(line) && err == nil && slices.ContainsFunc(want, func(w entry) bool { return w.key.Same(is.key) })
		})
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
	User string `lua:"user,required" alias:"name" pos:"1" doc:"User whom the keys let in"`
	Path string `lua:"path,path" doc:"File of the host to read, instead of .ssh/authorized_keys in the home of the user"`
}

// Validate checks the name.
func (l *list) Validate() error { return checkName(l.User) }

// Query reads the file.
func (l *list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	f := file{user: l.User, path: l.Path}
	if err := f.locate(ctx, v); err != nil {
		return nil, err
	}
	text, err := sshfile.Read(v, path.Clean(f.path))
	if err != nil {
		return nil, err
	}
	out := []any{}
	for i, line := range sshfile.Lines(text) {
		e, err := parseLine(line)
		if sshfile.IsComment(line) || err != nil {
			continue
		}
		out = append(out, map[string]any{
			"type": e.key.Type, "key": e.key.Base64, "comment": e.key.Comment, "options": strings.Join(e.options, ","),
			"fingerprint": e.key.Fingerprint(), "line": i + 1,
		})
	}
	return []any{out}, nil
}
