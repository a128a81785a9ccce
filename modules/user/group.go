package user

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type oneGroup struct {
	Name string `lua:"name,required,primary" alias:"group" doc:"Name of the group"`
}

// Validate checks the name.
func (g *oneGroup) Validate() error { return checkName(g.Name) }

type groupCreate struct {
	oneGroup
	GID    *int `lua:"gid" pos:"2" doc:"Number of the group"`
	System bool `lua:"system" doc:"Take the number of a new group from those of the system"`

	fresh bool
}

// Check compares the group.
func (g *groupCreate) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	is, err := findGroup(ctx, v, g.Name)
	if err != nil {
		return d, err
	}
	what := "group " + g.Name
	g.fresh = is == nil
	if g.fresh {
		d.Add(modules.Create(what, modules.Present))
		is = &group{gid: unknownID}
	}
	if g.GID != nil && *g.GID != is.gid {
		before := ""
		if !g.fresh {
			before = strconv.Itoa(is.gid)
		}
		d.Add(modules.Change{What: what, Attr: "gid", Before: before, After: strconv.Itoa(*g.GID)})
	}
	return d, nil
}

// Apply creates or renumbers it.
func (g *groupCreate) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if busybox(m) {
		if !g.fresh {
			return editLine(ctx, m, "/etc/group", g.Name, 4, func(f []string) { f[2] = strconv.Itoa(*g.GID) })
		}
		argv := []string{"addgroup"}
		if g.System {
			argv = append(argv, "-S")
		}
		if g.GID != nil {
			argv = append(argv, "-g", strconv.Itoa(*g.GID))
		}
		return command(ctx, m, append(argv, "--", g.Name)...)
	}
	argv := []string{"groupmod"}
	if g.fresh {
		argv = []string{"groupadd"}
		if g.System {
			argv = append(argv, "-r")
		}
	}
	if g.GID != nil {
		argv = append(argv, "-g", strconv.Itoa(*g.GID))
	}
	return command(ctx, m, append(argv, "--", g.Name)...)
}

// Plan notes the group.
func (g *groupCreate) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	id := unknownID
	if g.GID != nil {
		id = *g.GID
	}
	o.Note("group:"+g.Name, group{name: g.Name, gid: id}.line())
	return nil
}

type groupDelete struct{ oneGroup }

// Check looks for the group.
func (g *groupDelete) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	is, err := findGroup(ctx, v, g.Name)
	if err == nil && is != nil {
		d.Add(modules.Delete("group "+g.Name, modules.Present))
	}
	return d, err
}

// Apply deletes it.
func (g *groupDelete) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if busybox(m) {
		return command(ctx, m, "delgroup", "--", g.Name)
	}
	return command(ctx, m, "groupdel", "--", g.Name)
}

// Plan notes that it is gone.
func (g *groupDelete) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	o.Note("group:"+g.Name, modules.Absent)
	return nil
}

type groupMember struct {
	set
	Name string `lua:"name,required,primary" alias:"group" doc:"Name of the group"`
	User string `lua:"user,required" alias:"username,member" pos:"2" doc:"Name of the user"`
	in   bool
}

// Validate checks the arguments.
func (g *groupMember) Validate() error {
	g.w = membership(g.User, []string{g.Name}, g.in)
	return g.w.validate()
}

type groupField struct {
	oneGroup
	what string
}

// Query returns what was asked about the group.
func (q *groupField) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	g, err := findGroup(ctx, v, q.Name)
	if err != nil {
		return nil, err
	}
	if q.what == "exists" {
		return []any{g != nil}, nil
	}
	if g == nil {
		return []any{nil}, nil
	}
	switch q.what {
	case "gid":
		return []any{id(g.gid)}, nil
	case "members":
		all, err := accounts(v)
		if err != nil {
			return nil, err
		}
		names := slices.Clone(g.members)
		for _, a := range all {
			if a.gid == g.gid && !slices.Contains(names, a.name) {
				names = append(names, a.name)
			}
		}
		slices.Sort(names)
		return []any{texts(names)}, nil
	}
	return []any{g.table()}, nil
}

// id is nil for a number that only a real run will tell.
func id(n int) any {
	if n == unknownID {
		return nil
	}
	return n
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, t := range list {
		out[i] = t
	}
	return out
}

func (g group) table() map[string]any {
	return map[string]any{"name": g.name, "gid": id(g.gid), "members": texts(g.members)}
}

type groupList struct{}

// Query lists them in the order of the file.
func (*groupList) Query(_ context.Context, v facts.Viewer) ([]any, error) {
	all, err := groups(v)
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	out := []any{}
	for _, g := range all {
		out = append(out, g.table())
	}
	return []any{out}, nil
}
