// Package stack remembers what a set of runs belongs to: a stack has a name,
// what its last run gave, the history of its runs with what is needed to run
// one of them again, and handlers that a run left pending.
package stack

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/values"
)

// The prefixes of what is kept, each followed by the escaped name of a stack.
// Values, locks and calls are those of package values.
const (
	records = "stack/"
	history = "history/"
	pending = "pending/"
)

// locks are those of stacks themselves, apart from the locks of scripts.
const locks = "#stack"

var (
	// ErrNone is returned for a stack that does not exist.
	ErrNone = errors.New("there is no such stack")
	// ErrExists is returned for a name that is taken.
	ErrExists = errors.New("there is such a stack already")
)

// Stack is one stack.
type Stack struct {
	ID          string         `json:"id"`
	Name        string         `json:"name"`
	Description string         `json:"description,omitempty"`
	Created     time.Time      `json:"created"`
	CreatedBy   string         `json:"created_by,omitempty"`
	Outputs     map[string]any `json:"outputs"` // of the last run that succeeded
	LastRun     string         `json:"last_run,omitempty"`
	LastStatus  string         `json:"last_status,omitempty"`
	LastTime    time.Time      `json:"last_time,omitzero"`
	// Moving and Coming are the other name while a stack is being renamed: the
	// new one in the old record, and the reverse.
	Moving string `json:"moving,omitempty"`
	Coming string `json:"coming,omitempty"`
	// Moved says that the new name counts already.
	Moved bool `json:"moved,omitempty"`
}

// Stacks are the stacks of a store. Methods may be called from several
// goroutines at once.
type Stacks struct {
	store state.Store
	// Who is written into locks for others to read: "apply site.sloth, pid 7".
	Who string
	now func() time.Time
}

// New returns the stacks in a store, which stays the caller's to close.
func New(store state.Store) *Stacks { return &Stacks{store: store, now: time.Now} }

var goodName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,127}$`)

// CheckName refuses names that a stack cannot be given.
func CheckName(name string) error {
	if !goodName.MatchString(name) || strings.Contains(name, "//") || strings.HasSuffix(name, "/") {
		return fmt.Errorf("%.140q is no name for a stack: letters, digits and . _ - / can be in it, 128 at most, and it begins with a letter or a digit", name)
	}
	return nil
}

// Default is the stack of the scripts in a folder.
func Default(dir string) string { return "default@" + dir }

// Folder is the folder of a default stack.
func Folder(name string) (string, bool) { return strings.CutPrefix(name, "default@") }

// IDOf is the id of a default stack, which needs no record to have one.
func IDOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func recordKey(name string) string { return records + url.PathEscape(name) }

// Create makes a stack. It is ErrExists where there is one of that name.
func (s *Stacks) Create(ctx context.Context, t Stack) (Stack, error) {
	if err := CheckName(t.Name); err != nil {
		return t, err
	}
	if len(t.Description) > 4096 {
		return t, fmt.Errorf("the description of a stack has %d bytes; it takes up to 4096", len(t.Description))
	}
	t.ID, t.Created = newID(), s.now()
	err := s.put(ctx, t, 0)
	if errors.Is(err, state.ErrConflict) {
		return t, fmt.Errorf("%q: %w", t.Name, ErrExists)
	}
	return t, err
}

// Get gives a stack. It is ErrNone where there is none of that name.
func (s *Stacks) Get(ctx context.Context, name string) (Stack, error) {
	t, _, err := s.get(ctx, name)
	if err == nil && t.Moving+t.Coming != "" {
		from, to := name, t.Moving
		if t.Coming != "" {
			from, to = t.Coming, name
		}
		return t, fmt.Errorf("the stack %q is being renamed to %q; if that was cut off, finish it: sloth stack rename %s %s", from, to, from, to)
	}
	return t, err
}

func (s *Stacks) get(ctx context.Context, name string) (Stack, state.Revision, error) {
	e, err := s.store.Get(ctx, recordKey(name))
	if errors.Is(err, state.ErrNotFound) {
		return Stack{}, 0, fmt.Errorf("%q: %w", name, ErrNone)
	}
	if err != nil {
		return Stack{}, 0, err
	}
	t, err := readStack(e)
	return t, e.Revision, err
}

func readStack(e state.Entry) (t Stack, err error) {
	if err = json.Unmarshal(e.Value, &t); err != nil {
		err = fmt.Errorf("the record %q of a stack cannot be read: %w", e.Key, err)
	}
	return t, err
}

func (s *Stacks) put(ctx context.Context, t Stack, at state.Revision) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	_, err = s.store.Put(ctx, recordKey(t.Name), data, 0, at)
	return err
}

// Describe changes the description of a stack.
func (s *Stacks) Describe(ctx context.Context, name, text string) error {
	for {
		t, at, err := s.get(ctx, name)
		if err != nil {
			return err
		}
		t.Description = text
		if err = s.put(ctx, t, at); !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

// List gives all stacks in the order of their names.
func (s *Stacks) List(ctx context.Context) ([]Stack, error) {
	var out []Stack
	for e, err := range s.store.List(ctx, records) {
		if err != nil {
			return nil, err
		}
		t, err := readStack(e)
		if err != nil {
			return nil, err
		}
		if !t.Moved && t.Coming == "" {
			out = append(out, t)
		}
	}
	return out, nil
}

// Hold runs fn while nobody else holds the stack, and waits for it up to wait.
// The error for a stack that is held says by whom.
func (s *Stacks) Hold(ctx context.Context, name string, wait time.Duration, fn func(context.Context) error) error {
	v := values.New(s.store, locks)
	v.Who = s.Who
	return v.WithLock(ctx, name, wait, fn)
}

// parts are the prefixes under which everything of a stack is.
func parts(name string) []string {
	n := url.PathEscape(name) + "/"
	return []string{"value/" + n, "call/" + n, history + n, pending + n}
}

// Delete removes a stack with its values, its history and what is pending. The
// texts of its runs go with the next Sweep.
func (s *Stacks) Delete(ctx context.Context, name string) error {
	if _, _, err := s.get(ctx, name); err != nil {
		return err
	}
	for _, prefix := range parts(name) {
		if err := s.clear(ctx, prefix); err != nil {
			return err
		}
	}
	return s.store.Delete(ctx, recordKey(name), state.Any)
}

// clear removes all under prefix.
func (s *Stacks) clear(ctx context.Context, prefix string) error {
	var gone []state.Op
	for e, err := range s.store.List(ctx, prefix) {
		if err != nil {
			return err
		}
		gone = append(gone, state.Op{Kind: state.OpDelete, Key: e.Key, If: state.Any})
	}
	return s.commit(ctx, gone)
}

// commit makes writes in as many transactions as they need.
func (s *Stacks) commit(ctx context.Context, ops []state.Op) error {
	for len(ops) > 0 {
		n, size := 0, 0
		for n < len(ops) && n < state.MaxOps {
			size += len(ops[n].Key) + len(ops[n].Value)
			if n > 0 && size > state.MaxCommit {
				break
			}
			n++
		}
		if _, err := s.store.Commit(ctx, ops[:n]); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}
