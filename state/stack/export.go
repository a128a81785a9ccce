package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// format is the version of an export.
const format = 1

// maxExport bounds what Import reads, in bytes.
const maxExport = 1 << 30

// export is a stack as a JSON document.
type export struct {
	Format int     `json:"sloth_stack"`
	Stack  Stack   `json:"stack"`
	Items  []item  `json:"items"`
	Texts  []texty `json:"texts"`
}

// item is one entry; Kind is the prefix it is under, without the stack.
type item struct {
	Kind    string    `json:"kind"`
	Key     string    `json:"key"`
	Value   []byte    `json:"value"`
	Expires time.Time `json:"expires,omitzero"`
}

type texty struct {
	Hash string `json:"hash"`
	Text []byte `json:"text"`
}

// Export writes a stack with its values, its history and what is pending.
// Locks and the replies of calls are of this moment and stay.
func (s *Stacks) Export(ctx context.Context, name string, w io.Writer) error {
	t, err := s.Get(ctx, name)
	if err != nil {
		return err
	}
	doc := export{Format: format, Stack: t, Items: []item{}, Texts: []texty{}}
	have := map[string]bool{"": true}
	for _, kind := range []string{"value/", history, pending} {
		prefix := kind + url.PathEscape(name) + "/"
		for e, err := range s.store.List(ctx, prefix) {
			if err != nil {
				return err
			}
			doc.Items = append(doc.Items, item{Kind: strings.TrimSuffix(kind, "/"), Key: strings.TrimPrefix(e.Key, prefix), Value: e.Value, Expires: e.Expires})
			if kind != history {
				continue
			}
			r, err := readRun(e)
			if err != nil {
				return err
			}
			for _, hash := range r.texts() {
				if have[hash] {
					continue
				}
				have[hash] = true
				text, err := s.Text(ctx, hash)
				if err != nil {
					return err
				}
				doc.Texts = append(doc.Texts, texty{hash, text})
			}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(doc)
}

// Import makes a stack of what Export wrote, under the name as where that is
// not empty. Where there is such a stack it is ErrExists, unless replace says
// that it becomes what the export is. All is checked before anything is written.
func (s *Stacks) Import(ctx context.Context, r io.Reader, as string, replace bool) (Stack, error) {
	var doc export
	dec := json.NewDecoder(io.LimitReader(r, maxExport))
	if err := dec.Decode(&doc); err != nil {
		return Stack{}, fmt.Errorf("it is no export of a stack: %w", err)
	}
	if doc.Format != format {
		return Stack{}, fmt.Errorf("it is no export of a stack that this sloth reads: its format is %d, not %d", doc.Format, format)
	}
	t := doc.Stack
	if as != "" {
		t.Name, t.ID = as, newID()
	}
	if err := CheckName(t.Name); err != nil {
		return t, err
	}
	t.Moving, t.Coming, t.Moved = "", "", false
	ops, err := s.imported(t, doc)
	if err != nil {
		return t, err
	}
	was, at, err := s.get(ctx, t.Name)
	switch {
	case errors.Is(err, ErrNone):
	case err != nil:
		return t, err
	case !replace:
		return t, fmt.Errorf("%q: %w", t.Name, ErrExists)
	default:
		if t.ID == "" || as != "" {
			t.ID = was.ID
		}
		for _, prefix := range parts(t.Name) {
			if err := s.clear(ctx, prefix); err != nil {
				return t, err
			}
		}
	}
	for _, x := range doc.Texts {
		if _, err := s.PutText(ctx, x.Text); err != nil {
			return t, err
		}
	}
	if err := s.commit(ctx, ops); err != nil {
		return t, err
	}
	return t, s.put(ctx, t, at)
}

func (s *Stacks) imported(t Stack, doc export) ([]state.Op, error) {
	prefix := map[string]string{}
	for _, kind := range []string{"value/", history, pending} {
		prefix[strings.TrimSuffix(kind, "/")] = kind + url.PathEscape(t.Name) + "/"
	}
	var ops []state.Op
	for i, x := range doc.Items {
		p, ok := prefix[x.Kind]
		if !ok || x.Key == "" {
			return nil, fmt.Errorf("items[%d]: there is no kind %.40q, or the key is missing", i, x.Kind)
		}
		op := state.Op{Kind: state.OpPut, Key: p + x.Key, Value: x.Value, If: state.Any}
		if !x.Expires.IsZero() {
			if op.TTL = x.Expires.Sub(s.now()); op.TTL <= 0 {
				continue
			}
		}
		if x.Kind+"/" == history {
			r, err := readRun(state.Entry{Key: x.Key, Value: x.Value})
			if err != nil || r.ID != x.Key {
				return nil, fmt.Errorf("items[%d]: the run %.40q cannot be read", i, x.Key)
			}
			r.Stack = t.Name
			if op.Value, err = json.Marshal(r); err != nil {
				return nil, err
			}
		}
		if op.Value == nil {
			op.Value = []byte{}
		}
		if err := state.CheckSize(op.Key, op.Value); err != nil {
			return nil, fmt.Errorf("items[%d]: %w", i, err)
		}
		ops = append(ops, op)
	}
	return ops, nil
}
