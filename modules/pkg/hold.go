package pkg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// holder is a manager that can keep packages at the version they have.
type holder interface {
	// held names the packages that are held, installed or not.
	held(ctx context.Context, v facts.Viewer) ([]string, error)
	holding(on bool, names []string) []string
}

// noHold says how it is done where no command does it.
var noHold = map[string]string{
	"pacman": "pacman holds packages with IgnorePkg in /etc/pacman.conf; write it there with file_ops.lineinfile",
	"apk":    "apk holds packages with a version in /etc/apk/world; pkg.install them with version",
}

func (apt) held(ctx context.Context, v facts.Viewer) ([]string, error) {
	text, err := ask(ctx, v, nil, "apt-mark", "showhold")
	return lines(text), err
}

func (apt) holding(on bool, names []string) []string {
	verb := "unhold"
	if on {
		verb = "hold"
	}
	return append([]string{"apt-mark", verb, "--"}, names...)
}

func (r rpm) held(ctx context.Context, v facts.Viewer) ([]string, error) {
	if r.tool == "zypper" {
		text, err := ask(ctx, v, nil, "zypper", "--non-interactive", "--no-refresh", "locks")
		var out []string
		for line := range strings.Lines(text) { // # | Name | Type | Repository
			if c := strings.Split(line, "|"); len(c) >= 4 && strings.TrimSpace(c[0]) != "#" {
				out = append(out, strings.TrimSpace(c[1]))
			}
		}
		return out, err
	}
	text, err := ask(ctx, v, nil, r.tool, "-q", "versionlock", "list")
	if err != nil {
		return nil, fmt.Errorf("%w; %s holds packages with its plugin versionlock (package dnf-plugins-core or python3-dnf-plugin-versionlock)", err, r.tool)
	}
	return parseVersionLocks(text), nil
}

// parseVersionLocks reads the names of "lab-toy-0:1.1-1.*": before the last
// but one dash.
func parseVersionLocks(text string) []string {
	var out []string
	for _, line := range lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, '-')
		if at < 0 || strings.ContainsAny(line, " \t!") { // ! excludes a version, and holds nothing
			continue
		}
		if at = strings.LastIndexByte(line[:at], '-'); at > 0 {
			out = append(out, line[:at])
		}
	}
	return out
}

func (r rpm) holding(on bool, names []string) []string {
	words := map[bool][]string{true: {r.tool, "-y", "versionlock", "add"}, false: {r.tool, "-y", "versionlock", "delete"}}
	if r.tool == "zypper" {
		words = map[bool][]string{true: {"zypper", "--non-interactive", "addlock"}, false: {"zypper", "--non-interactive", "removelock"}}
	}
	return append(words[on], names...)
}

func (brew) held(ctx context.Context, v facts.Viewer) ([]string, error) {
	text, err := ask(ctx, v, nil, "brew", "list", "--pinned")
	return lines(text), err
}

func (brew) holding(on bool, names []string) []string {
	if on {
		return append([]string{"brew", "pin"}, names...)
	}
	return append([]string{"brew", "unpin"}, names...)
}

type hold struct {
	Names []string `lua:"name,required,primary" alias:"names,package,packages" doc:"The packages"`
	options

	on   bool
	m    manager
	todo []string
}

// Validate checks names.
func (h *hold) Validate() error {
	if len(h.Names) == 0 {
		return errors.New("name is an empty list")
	}
	return errors.Join(each(h.Names, checkName)...)
}

func each(names []string, check func(string) error) []error {
	var out []error
	for _, n := range names {
		out = append(out, check(n))
	}
	return out
}

// Check asks which packages are held.
func (h *hold) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	ctx = h.within(ctx)
	var d modules.Diff
	var err error
	h.todo = nil
	if h.m, err = detect(v); err != nil {
		return d, err
	}
	holds, ok := h.m.(holder)
	if !ok {
		return d, errors.New(noHold[h.m.name()])
	}
	held, err := holds.held(ctx, v)
	if err != nil {
		return d, err
	}
	words := map[bool]string{true: "held", false: "free"}
	for _, n := range h.Names {
		is := slices.Contains(held, n)
		if planned, ok := modules.Noted(v, "held:"+n); ok {
			is = planned == words[true]
		}
		if is != h.on {
			h.todo = append(h.todo, n)
			d.Add(modules.Change{What: "package " + n, Attr: "hold", Before: words[is], After: words[h.on]})
		}
	}
	return d, nil
}

// Apply holds them, or lets them go.
func (h *hold) Apply(ctx context.Context, mc modules.Machine, _ modules.Diff) error {
	return run(ctx, mc, h.m, h.options, h.m.(holder).holding(h.on, h.todo))
}

// Plan notes them.
func (h *hold) Plan(_ context.Context, d modules.Diff, o modules.Overlay) error {
	for i, n := range h.todo {
		o.Note("held:"+n, d.Changes[i].After)
	}
	return nil
}
