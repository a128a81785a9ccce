package pkg

import (
	"context"
	"fmt"
	"slices"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type upgrade struct {
	Names []string `lua:"name,primary" alias:"names,package,packages" doc:"The packages; all that are installed without it"`
	options

	m    manager
	todo []wish
}

// Validate checks names.
func (u *upgrade) Validate() error {
	for _, n := range u.Names {
		if err := checkName(n); err != nil {
			return err
		}
	}
	return nil
}

// Check asks what is newer.
func (u *upgrade) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = u.within(ctx)
	var d modules.Diff
	var err error
	u.todo = nil
	if u.m, err = detect(v); err != nil {
		return d, err
	}
	is, err := have(ctx, v, u.m, u.Names)
	if err != nil {
		return d, err
	}
	var newer map[string]string
	if len(u.Names) > 0 {
		newer, err = u.m.candidates(ctx, v, u.Names)
	} else {
		newer, err = u.m.upgradable(ctx, v)
	}
	if err != nil {
		return d, err
	}
	names := u.Names
	if len(names) == 0 {
		for n := range newer {
			names = append(names, n)
		}
		slices.Sort(names)
	}
	for _, n := range names {
		switch {
		case is[n] == "" && len(u.Names) > 0:
			return d, fmt.Errorf("package %q is not installed; pkg.install it", n)
		case newer[n] == "" || newer[n] == is[n]:
		default:
			u.todo = append(u.todo, wish{name: n})
			d.Add(modules.Change{What: "package " + n, Attr: "version", Before: is[n], After: newer[n]})
		}
	}
	return d, nil
}

// Apply upgrades.
func (u *upgrade) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	if len(u.Names) == 0 {
		return run(ctx, mc, u.m, u.options, u.m.command(doUpgradeAll, u.options, nil))
	}
	return run(ctx, mc, u.m, u.options, u.m.command(doUpgrade, u.options, u.todo))
}

// Plan notes the versions.
func (u *upgrade) Plan(_ context.Context, d modules.Diff, o modules.Overlay) error {
	for i, w := range u.todo {
		o.Note("package:"+w.name, d.Changes[i].After)
	}
	return nil
}
