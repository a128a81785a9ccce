package user

import (
	"context"
	"os"
	"slices"

	"github.com/sloth-runner/sloth/facts"
)

const (
	firstHuman = 1000
	nobodyID   = 65534
)

type field struct {
	one
	what string
}

// Query returns what was asked about the user.
func (q *field) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	if q.what == "locked" {
		is, err := locked(ctx, v, q.Name)
		return []any{is}, err
	}
	a, err := find(ctx, v, q.Name)
	if err != nil {
		return nil, err
	}
	if q.what == "exists" {
		return []any{a != nil}, nil
	}
	if a == nil {
		if q.what == "system" {
			return []any{false}, nil
		}
		return []any{nil}, nil
	}
	switch q.what {
	case "uid":
		return []any{id(a.uid)}, nil
	case "gid":
		return []any{id(a.gid)}, nil
	case "home":
		return []any{a.home}, nil
	case "shell":
		return []any{a.shell}, nil
	case "comment":
		return []any{a.comment}, nil
	case "system":
		return []any{a.uid != unknownID && (a.uid < firstHuman || a.uid == nobodyID)}, nil
	}
	t, err := a.table(v)
	if err != nil {
		return nil, err
	}
	if q.what == "groups" {
		return []any{t["groups"]}, nil
	}
	return []any{t}, nil
}

func (a account) table(v facts.Viewer) (map[string]any, error) {
	joins, err := memberships(v, a.name)
	if err != nil {
		return nil, err
	}
	primary := a.name
	if a.gid != unknownID {
		primary = groupName(v, a.gid)
	}
	joins = slices.DeleteFunc(joins, func(g string) bool { return g == primary })
	return map[string]any{
		"name": a.name, "uid": id(a.uid), "gid": id(a.gid), "group": primary, "groups": texts(append([]string{primary}, joins...)),
		"comment": a.comment, "home": a.home, "shell": a.shell,
	}, nil
}

type list struct {
	System *bool `lua:"system" pos:"1" doc:"Only users of the system, or only others"`
}

// Query lists them in the order of the file.
func (l *list) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	all, err := accounts(v)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, a := range all {
		if l.System != nil && *l.System != (a.uid < firstHuman || a.uid == nobodyID) {
			continue
		}
		t, err := a.table(v)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return []any{out}, nil
}

type current struct{ root bool }

// Query describes the process's own user.
func (c *current) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	uid := os.Geteuid()
	if c.root {
		return []any{uid == 0}, nil
	}
	all, err := accounts(v)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.uid == uid {
			t, err := a.table(v)
			return []any{t}, err
		}
	}
	return []any{map[string]any{"uid": uid, "gid": os.Getegid(), "groups": []any{}}}, nil
}

type validName struct {
	Name string `lua:"name,required,primary" alias:"username" doc:"The text"`
}

// Query judges it.
func (q *validName) Query(context.Context, facts.Viewer) ([]any, error) {
	if err := checkName(q.Name); err != nil {
		return []any{false, err.Error()}, nil
	}
	return []any{true}, nil
}
