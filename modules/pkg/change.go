package pkg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Words of the argument version.
const (
	latest  = "latest"
	present = "present"
)

type install struct {
	Names       []string      `lua:"name,required,primary" alias:"names,package,packages" doc:"The packages; NAME=VERSION asks for that version"`
	Version     string        `lua:"version" doc:"Version wanted: a whole one, its first parts with a * after them, \"latest\" for the newest, or \"present\" for any"`
	State       string        `lua:"state" enum:"present,installed,latest,absent,removed" doc:"Another way to ask for the newest version, or for the packages to be gone"`
	UpdateCache bool          `lua:"update_cache" doc:"Refresh the lists first when they are older than cache_age, also when they know the packages"`
	CacheAge    time.Duration `lua:"cache_age" alias:"cache_valid_time" doc:"How old lists may be before they are refreshed, where that is asked for or a package is in none of them"`
	options

	m       manager
	refresh bool
	todo    []wish
	gone    *remove
}

func newInstall() any {
	return &install{Version: present, State: present, CacheAge: time.Hour, options: newOptions()}
}

// Validate checks names, and that there is one package to a version.
func (p *install) Validate() error {
	if len(p.Names) == 0 {
		return errors.New("name is an empty list")
	}
	for _, w := range p.wishes() {
		if err := checkName(w.name); err != nil {
			return err
		}
		if strings.ContainsAny(w.version, " \t\n;|&") {
			return fmt.Errorf("version %q is no version", w.version)
		}
	}
	if len(p.Names) > 1 && p.Version != latest && p.Version != present {
		return fmt.Errorf("version = %q cannot be that of %d packages; write NAME=VERSION for each", p.Version, len(p.Names))
	}
	if p.State == "absent" || p.State == "removed" {
		p.gone = &remove{Names: p.Names, options: p.options}
	}
	return nil
}

func (p *install) wishes() []wish {
	var out []wish
	for _, n := range p.Names {
		w := wish{name: n, version: p.Version}
		if name, version, ok := strings.Cut(n, "="); ok {
			w = wish{name, version}
		}
		if p.State == latest && w.version == present {
			w.version = latest
		}
		if w.version == "" {
			w.version = present
		}
		out = append(out, w)
	}
	return out
}

func names(ws []wish) []string {
	var out []string
	for _, w := range ws {
		out = append(out, w.name)
	}
	return out
}

// Check compares what is installed with what is wanted.
func (p *install) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = p.within(ctx)
	if p.gone != nil {
		return p.gone.Check(ctx, v)
	}
	var d modules.Diff
	var err error
	p.refresh, p.todo = false, nil
	if p.m, err = detect(v); err != nil {
		return d, err
	}
	wishes := p.wishes()
	have, err := have(ctx, v, p.m, names(wishes))
	if err != nil {
		return d, err
	}
	var ask []wish // what the lists have to be asked about
	for _, w := range wishes {
		is, there := have[w.name]
		if !there || w.version == latest || w.version != present && !VersionMatches(is, w.version) {
			ask = append(ask, w)
		}
	}
	if len(ask) == 0 {
		return d, nil
	}
	newest, err := p.m.candidates(ctx, v, names(ask))
	if err != nil {
		return d, err
	}
	if _, newestOnly := p.m.(pacman); newestOnly {
		for _, w := range ask {
			if w.version != latest && w.version != present && newest[w.name] != "" && !VersionMatches(newest[w.name], w.version) {
				return d, fmt.Errorf("pacman has only the newest version of a package, which of %s is %s and not %s; pkg.install_local installs others", w.name, newest[w.name], w.version)
			}
		}
	}
	old := time.Since(p.m.refreshed(v)) > p.CacheAge
	p.refresh = p.UpdateCache && old
	for _, w := range ask {
		if newest[w.name] == "" && have[w.name] == "" && !old && !planning(v) {
			return d, unknownPackage(p.m, w.name)
		}
		p.refresh = p.refresh || newest[w.name] == "" && have[w.name] == "" && old
	}
	for _, w := range ask {
		c := modules.Change{What: "package " + w.name, Attr: "version", Before: have[w.name], After: w.version}
		switch {
		case w.version == latest || w.version == present:
			c.After = newest[w.name]
			c.Unknown = c.After == "" || p.refresh
			if c.After == c.Before && !p.refresh {
				continue
			}
			w.version = ""
		case VersionMatches(newest[w.name], w.version):
			c.After = newest[w.name]
		}
		if c.Before == "" {
			c.Attr, c.Before = "state", modules.Absent
			c.After = strings.TrimSpace(modules.Present + " " + c.After)
		}
		p.todo = append(p.todo, w)
		d.Add(c)
	}
	return d, nil
}

// planning reports whether a plan holds changes that could bring packages into
// the lists, such as a new repository.
func planning(v facts.Viewer) bool {
	_, change := modules.Noted(v, modules.NotedChange)
	_, tool := modules.Noted(v, modules.NotedTool)
	return v.Planned() && (change || tool)
}

func unknownPackage(m manager, name string) error {
	return fmt.Errorf("no package is called %q in the lists of %s; check the name, or add the repository that has it", name, m.name())
}

// have is what is installed, as a plan would leave it.
func have(ctx context.Context, v facts.Viewer, m manager, names []string) (map[string]string, error) {
	out, err := m.installed(ctx, v, names)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		switch planned, ok := modules.Noted(v, "package:"+n); {
		case !ok:
		case planned == modules.Absent:
			delete(out, n)
		default:
			out[n] = planned
		}
	}
	return out, nil
}

// Apply installs all in one transaction.
func (p *install) Apply(ctx context.Context, mc modules.Machine, d modules.Diff) error {
	if p.gone != nil {
		return p.gone.Apply(ctx, mc, d)
	}
	if p.refresh {
		if err := refreshLists(ctx, mc, p.m, p.options); err != nil {
			return err
		}
		newest, err := p.m.candidates(ctx, mc, names(p.todo))
		if err != nil {
			return err
		}
		for _, w := range p.todo {
			if newest[w.name] == "" {
				return unknownPackage(p.m, w.name)
			}
		}
	}
	return run(ctx, mc, p.m, p.options, p.m.command(doInstall, p.options, p.todo))
}

// Plan notes the packages.
func (p *install) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if p.gone != nil {
		return p.gone.Plan(ctx, d, o)
	}
	for i, w := range p.todo {
		version := strings.TrimSpace(strings.TrimPrefix(d.Changes[i].After, modules.Present))
		if version == "" {
			version = "unknown until applied"
		}
		o.Note("package:"+w.name, version)
	}
	o.Note(modules.NotedTool, "pkg.install") // the files of a package are there from then on
	return nil
}

func refreshLists(ctx context.Context, mc modules.Machine, m manager, o options) error {
	if err := run(ctx, mc, m, o, m.command(doRefresh, o, nil)); err != nil {
		return err
	}
	keeps, ok := m.(lister)
	if !ok || keeps.lists() == "" {
		return nil
	}
	return mc.Chtimes(keeps.lists(), time.Now())
}

type remove struct {
	Names []string `lua:"name,required,primary" alias:"names,package,packages" doc:"The packages"`
	Purge bool     `lua:"purge" doc:"Remove their configuration files too"`
	options

	m    manager
	todo []wish
}

// Validate checks names.
func (r *remove) Validate() error {
	if len(r.Names) == 0 {
		return errors.New("name is an empty list")
	}
	for _, n := range r.Names {
		if err := checkName(n); err != nil {
			return err
		}
	}
	return nil
}

// Check looks for what is still installed.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = r.within(ctx)
	var d modules.Diff
	var err error
	r.todo = nil
	if r.m, err = detect(v); err != nil {
		return d, err
	}
	have, err := have(ctx, v, r.m, r.Names)
	if err != nil {
		return d, err
	}
	for _, n := range r.Names {
		if version, ok := have[n]; ok {
			r.todo = append(r.todo, wish{name: n})
			d.Add(modules.Delete("package "+n, strings.TrimSpace(modules.Present+" "+version)))
		}
	}
	return d, nil
}

// Apply removes all in one transaction.
func (r *remove) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	do := doRemove
	if r.Purge {
		do = doPurge
	}
	return run(ctx, mc, r.m, r.options, r.m.command(do, r.options, r.todo))
}

// Plan notes the packages.
func (r *remove) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	for _, w := range r.todo {
		o.Note("package:"+w.name, modules.Absent)
	}
	return nil
}

type refresh struct {
	CacheAge time.Duration `lua:"cache_age" alias:"cache_valid_time" pos:"1" doc:"How old the lists may be without being refreshed; without it they always are"`
	options

	m manager
}

// Repeats is true without an age.
func (r *refresh) Repeats() bool { return r.CacheAge == 0 }

// Check looks how old the lists are.
func (r *refresh) Check(_ context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	var err error
	if r.m, err = detect(v); err != nil {
		return d, err
	}
	at := r.m.refreshed(v)
	if r.CacheAge > 0 && time.Since(at) <= r.CacheAge {
		return d, nil
	}
	before := "of unknown age"
	if !at.IsZero() {
		before = "of " + at.UTC().Format(time.DateTime)
	}
	d.Add(modules.Change{What: "package lists", Before: before, After: "refreshed"})
	return d, nil
}

// Apply refreshes.
func (r *refresh) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	return refreshLists(ctx, mc, r.m, r.options)
}
