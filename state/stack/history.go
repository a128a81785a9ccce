package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

// Run is one run in the history of a stack. Nothing in it is a secret: who
// writes it has taken them out.
type Run struct {
	ID       string    `json:"run_id"`
	Stack    string    `json:"stack"`
	What     string    `json:"what"` // "apply", "run"
	File     string    `json:"file"`
	Workflow string    `json:"workflow,omitempty"`
	Dir      string    `json:"dir"`
	Argv     []string  `json:"argv"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Owner    string    `json:"owner"` // user@machine

	Status   string `json:"status"`
	ExitCode int    `json:"exit_code"`
	Message  string `json:"message,omitempty"`
	Changed  bool   `json:"changed"`

	Script  string         `json:"script"` // hex SHA-256 of the file's text
	Sources []Source       `json:"sources"`
	Values  string         `json:"values,omitempty"` // of the values file's text
	Params  map[string]any `json:"params,omitempty"`
	// NotKept says what of this could not be kept, and why: the run cannot be
	// gone back to.
	NotKept []string `json:"not_kept,omitempty"`
	Git     *Git     `json:"git,omitempty"`
	// BackTo is the run whose script and values this one used.
	BackTo string `json:"back_to,omitempty"`

	Hosts   map[string]Counts `json:"hosts"`
	Outputs map[string]any    `json:"outputs"`
	// Few results are here, many are in the text Tasks.
	Results []Result `json:"results,omitempty"`
	Tasks   string   `json:"tasks,omitempty"`
}

// Source is a file that a script consists of.
type Source struct {
	Name string `json:"name"` // as messages show it
	Hash string `json:"hash"`
}

// Git is where in a repository's history a script was.
type Git struct {
	Commit string `json:"commit"`
	Branch string `json:"branch,omitempty"`
}

// Counts are the results of one host.
type Counts struct {
	OK          int `json:"ok"`
	Changed     int `json:"changed"`
	Failed      int `json:"failed"`
	Skipped     int `json:"skipped"`
	Unreachable int `json:"unreachable"`
}

// Result is how one task ended on one host.
type Result struct {
	Host     string `json:"host"`
	Task     string `json:"task"`
	Status   string `json:"status"`
	Changed  bool   `json:"changed"`
	Handler  bool   `json:"handler,omitempty"`
	Attempts int    `json:"attempts"`
	Duration string `json:"duration"`
	Message  string `json:"message,omitempty"`
}

// Content is the text of a source, or of values.
type Content struct {
	Name string
	Text []byte
}

func (r *Run) texts() []string {
	out := []string{r.Tasks, r.Values}
	for _, s := range r.Sources {
		out = append(out, s.Hash)
	}
	return out
}

// Repeatable reports why a run cannot be gone back to; nil: it can.
func (r *Run) Repeatable() error {
	switch {
	case len(r.NotKept) > 0:
		return fmt.Errorf("run %s cannot be repeated: %s", r.ID, strings.Join(r.NotKept, "; "))
	case r.Script == "" || len(r.Sources) == 0:
		return fmt.Errorf("run %s cannot be repeated: its script was not kept", r.ID)
	}
	return nil
}

func runKey(stack, id string) string { return history + url.PathEscape(stack) + "/" + id }

func readRun(e state.Entry) (r Run, err error) {
	if err = json.Unmarshal(e.Value, &r); err != nil {
		err = fmt.Errorf("the record %q of a run cannot be read: %w", e.Key, err)
	}
	return r, err
}

// fewResults is how many bytes of results are kept with the run itself.
const fewResults = 32 << 10

// maxOutputs bounds what a stack keeps of outputs, in bytes of JSON.
const maxOutputs = 256 << 10

// Record adds a run that is over to the history of its stack, in one
// transaction with what the stack says of its last run. The stack is made where
// it is not there. A run that was resumed replaces what was recorded of it.
func (s *Stacks) Record(ctx context.Context, r Run, results []Result, sources []Content, values []byte) error {
	body, err := json.Marshal(results)
	if err != nil {
		return err
	}
	if len(body) <= fewResults {
		r.Results = results
	} else if r.Tasks, err = s.PutText(ctx, body); err != nil {
		return err
	}
	for _, c := range sources {
		hash, err := s.PutText(ctx, c.Text)
		if err != nil {
			return fmt.Errorf("keep %s: %w", c.Name, err)
		}
		r.Sources = append(r.Sources, Source{Name: c.Name, Hash: hash})
	}
	if values != nil {
		if r.Values, err = s.PutText(ctx, values); err != nil {
			return fmt.Errorf("keep the values: %w", err)
		}
	}
	if out, err := json.Marshal(r.Outputs); err != nil || len(out) > maxOutputs {
		r.Outputs = map[string]any{"sloth": fmt.Sprintf("the outputs have %d bytes and are not kept", len(out))}
	}
	if body, err = json.Marshal(r); err != nil {
		return err
	}
	for {
		t, at, err := s.get(ctx, r.Stack)
		if errors.Is(err, ErrNone) {
			t = Stack{ID: IDOf(r.Stack), Name: r.Stack, Created: r.Began, CreatedBy: r.Owner}
		} else if err != nil {
			return err
		}
		t.LastRun, t.LastStatus, t.LastTime = r.ID, r.Status, r.Ended
		if r.ExitCode == 0 {
			t.Outputs = r.Outputs
		}
		record, err := json.Marshal(t)
		if err != nil {
			return err
		}
		_, err = s.store.Commit(ctx, []state.Op{
			{Kind: state.OpPut, Key: runKey(r.Stack, r.ID), Value: body, If: state.Any},
			{Kind: state.OpPut, Key: recordKey(r.Stack), Value: record, If: at},
		})
		if !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

// Runs gives the runs of a stack, or of all where name is empty, the newest
// last.
func (s *Stacks) Runs(ctx context.Context, name string) ([]Run, error) {
	prefix := history
	if name != "" {
		prefix += url.PathEscape(name) + "/"
	}
	var out []Run
	for e, err := range s.store.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		r, err := readRun(e)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(a, b Run) int { return a.Began.Compare(b.Began) })
	return out, nil
}

// Find gives the run that id names: whole, by its beginning, or "last".
func (s *Stacks) Find(ctx context.Context, name, id string) (Run, error) {
	runs, err := s.Runs(ctx, name)
	if err != nil {
		return Run{}, err
	}
	if id == "last" && len(runs) > 0 {
		return runs[len(runs)-1], nil
	}
	var found []Run
	for _, r := range runs {
		if r.ID == id {
			return r, nil
		}
		if id != "" && strings.HasPrefix(r.ID, id) {
			found = append(found, r)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Run{}, fmt.Errorf("several runs begin with %q: %s and %s", id, found[0].ID, found[1].ID)
	case name != "":
		if _, folder := Folder(name); folder {
			name = "default" // as people see it
		}
		return Run{}, fmt.Errorf("the history of the stack %q has no run %q", name, id)
	}
	return Run{}, fmt.Errorf("there is no run %q in the history", id)
}

// Results gives how the tasks of a run ended.
func (s *Stacks) Results(ctx context.Context, r Run) ([]Result, error) {
	if r.Tasks == "" {
		return r.Results, nil
	}
	text, err := s.Text(ctx, r.Tasks)
	if err != nil {
		return nil, err
	}
	var out []Result
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("the results of run %s cannot be read: %w", r.ID, err)
	}
	return out, nil
}

// Prune forgets the runs of a stack, or of each where name is empty, that are
// older than before or more than keep, and returns how many. The last run that
// succeeded stays: it is what one goes back to.
func (s *Stacks) Prune(ctx context.Context, name string, keep int, before time.Time) (int, error) {
	runs, err := s.Runs(ctx, name)
	if err != nil {
		return 0, err
	}
	byStack := map[string][]Run{}
	for _, r := range runs {
		byStack[r.Stack] = append(byStack[r.Stack], r)
	}
	var gone []state.Op
	for _, list := range byStack {
		good := -1
		for i, r := range list {
			if r.ExitCode == 0 {
				good = i
			}
		}
		for i, r := range list {
			if i != good && (len(list)-i > keep || r.Began.Before(before)) {
				gone = append(gone, state.Op{Kind: state.OpDelete, Key: runKey(r.Stack, r.ID), If: state.Any})
			}
		}
	}
	if len(gone) == 0 {
		return 0, nil
	}
	if err := s.commit(ctx, gone); err != nil {
		return 0, err
	}
	_, err = s.Sweep(ctx)
	return len(gone), err
}
