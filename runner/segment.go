package runner

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// Files that steps name travel with the segment up to these sizes; larger ones
// are asked for when they are needed.
const (
	maxAhead      = 256 << 10
	maxAheadTotal = 8 << 20
)

// snapshot is a task's functions as they travel. It holds for as long as no
// Lua has run on the controller since.
type snapshot struct {
	world  int64
	parcel ship.Parcel
	digest [sha256.Size]byte
	vars   map[string]any // of the task, for templates
	names  []string       // string constants of its functions
}

// blob is content that travels ahead of a segment.
type blob struct {
	hash string
	data []byte
}

// sentTo is what one host was given; it may ask for nothing else.
type sentTo struct {
	chunks map[string]bool
	names  map[string]bool // string constants of the functions sent
}

// outputsOf gives the outputs of a finished task by host.
type outputsOf func(task string) map[string]step.Result

// snapshot encodes t's functions with all they capture. The error names the
// variable that cannot travel.
func (r *Runner) snapshot(t *dsl.Task, to string) (*snapshot, error) {
	world := r.world.Load()
	r.mu.Lock()
	s := r.snaps[t]
	r.mu.Unlock()
	if s != nil && s.world == world {
		return s, nil
	}
	s = &snapshot{world: world}
	var err error
	r.opt.VM.Do(func(L *lua.LState) {
		table := step.TaskCallbacks(t).Table(L)
		if t.Vars != nil {
			if v, e := bind.ToGo(t.Vars); e == nil {
				s.vars, _ = v.(map[string]any)
			}
		}
		s.parcel, err = ship.EncodeIn(L, table, ship.Options{To: to})
	})
	if err != nil {
		return nil, err
	}
	s.names = s.parcel.Constants
	s.digest = sha256.Sum256(s.parcel.Data)
	r.mu.Lock()
	r.snaps[t] = s
	r.mu.Unlock()
	return s, nil
}

// canSend encodes every task that goes to a host once, so that what cannot
// travel is found before any host is touched.
func (r *Runner) canSend(p *plan) error {
	var problems []error
	for _, t := range p.tasks {
		to := slices.IndexFunc(p.hosts[t], func(h string) bool { return h != Local })
		if to < 0 && t.Target.Func == nil {
			continue
		}
		name := "a host"
		if to >= 0 {
			name = p.hosts[t][to]
		}
		if _, err := r.snapshot(t, name); err != nil {
			problems = append(problems, err)
		}
	}
	return joinErrors(problems)
}

// usesAllHosts reports whether t may read deps.DEP.hosts: whether both words
// are among the constants of one of its functions.
func usesAllHosts(t *dsl.Task, dep string) bool {
	for _, f := range t.Callbacks() {
		if names := dsl.Constants(f); slices.Contains(names, "hosts") && slices.Contains(names, dep) {
			return true
		}
	}
	return false
}

// segment is what host is sent for cells, and the contents that go ahead.
func (r *Runner) segment(host string, cells []*cell, outputs outputsOf) (step.Segment, []blob, error) {
	id := r.identity("segment", host, cells[0].node.task.Name, nil)
	if r.opt.Before != nil { // a worker may remember those of earlier controllers
		id = fmt.Sprintf("%s.%d", id, len(r.opt.Before.Resumed))
	}
	seg := step.Segment{ID: id, Host: r.host(host), Check: r.opt.Check, Values: packed.Carry(r.opt.Values)}
	seg.Seal = r.seal(host)
	seg.Host.Vars = packed.CarryMap(seg.Host.Vars)
	b := &builder{r: r, seg: &seg, host: host, have: map[string]bool{}}
	here := map[string]bool{}
	for _, c := range cells {
		if err := b.add(c, outputs, here); err != nil {
			return seg, nil, err
		}
		here[c.node.task.Name] = true
	}
	return seg, b.blobs, nil
}

// builder collects one segment.
type builder struct {
	r     *Runner
	seg   *step.Segment
	host  string
	blobs []blob
	have  map[string]bool // sources, files and templates that are in
	size  int64
}

func (b *builder) add(c *cell, outputs outputsOf, here map[string]bool) error {
	r, t := b.r, c.node.task
	snap, err := r.snapshot(t, b.host)
	if err != nil {
		return err
	}
	if err := r.identify(c, b.host); err != nil {
		return err
	}
	spec := r.baseSpec(c.node)
	spec.ID, spec.Become, spec.Params = c.id, r.become(t, b.host), r.params
	if len(t.Callbacks()) > 0 || t.Vars != nil {
		spec.Snapshot = snap.parcel.Data
	}
	if spec.Expect, err = r.expect(c); err != nil {
		return err
	}
	fillDeps(&spec, c, outputs, here)
	b.seg.Steps = append(b.seg.Steps, spec)

	for _, hash := range snap.parcel.Chunks {
		if err := b.source(hash); err != nil {
			return err
		}
	}
	r.remember(b.host, snap)
	for _, name := range snap.names {
		b.file(name, snap.vars)
	}
	return nil
}

// baseSpec copies what a task says that needs no Lua.
func (r *Runner) baseSpec(n *node) step.Spec {
	t := n.task
	return step.Spec{
		Task: t.Name, Shell: t.Shell, Workdir: t.Workdir, Env: t.Env, Timeout: t.Timeout,
		Retries: t.Retries, Backoff: t.Backoff, IgnoreErrors: t.IgnoreErrors, NoLog: t.NoLog,
		Notify: t.Notify, Artifacts: t.Artifacts, Consumes: t.Consumes, Handler: t.Handler, Nested: n.nested,
		Call: n.call, Args: n.args,
	}
}

// fillDeps gives the step the outputs that are known by now: those of the same
// host, or of the one place where the other task ran.
func fillDeps(spec *step.Spec, c *cell, outputs outputsOf, here map[string]bool) {
	for _, d := range c.node.after {
		name := d.task.Name
		spec.After = append(spec.After, name)
		if here[name] || outputs == nil {
			continue
		}
		results := outputs(name)
		if spec.Deps == nil {
			spec.Deps = map[string]any{}
		}
		res, ok := results[c.host]
		if !ok && len(results) == 1 {
			for _, only := range results {
				res, ok = only, true
			}
		}
		if ok {
			spec.Deps[name] = res.Outputs
		}
		if usesAllHosts(c.node.task, name) {
			byHost := map[string]any{}
			for h, res := range results {
				byHost[h] = res.Outputs
			}
			if spec.DepHosts == nil {
				spec.DepHosts = map[string]map[string]any{}
			}
			spec.DepHosts[name] = byHost
		}
	}
}

// source adds a chunk that the snapshots refer to.
func (b *builder) source(hash string) error {
	if b.have["source:"+hash] {
		return nil
	}
	b.have["source:"+hash] = true
	chunk, ok := b.r.opt.VM.Chunk(hash)
	if !ok {
		return fmt.Errorf("the source %s of a function is not loaded", hash)
	}
	b.seg.Sources = append(b.seg.Sources, step.Source{Name: chunk.Name, Hash: hash})
	b.blobs = append(b.blobs, blob{hash, chunk.Source})
	return nil
}

// file adds the controller-side file of that name, if a function's constant
// names one, and what it renders to, if it is a template.
func (b *builder) file(name string, vars map[string]any) {
	if b.have["file:"+name] || !looksLikeFile(name) {
		return
	}
	b.have["file:"+name] = true
	f, err := b.r.root.open(name)
	if err != nil {
		return // the word names no file of ours, or the step will say so itself
	}
	defer f.Close()
	if f.Size > maxAhead || b.size+f.Size > maxAheadTotal {
		return
	}
	data, err := io.ReadAll(io.LimitReader(f, maxAhead+1))
	if err != nil || int64(len(data)) != f.Size {
		return
	}
	b.size += f.Size
	if isTemplate(name) {
		text, err := b.r.render(b.host, data, name, "", vars)
		if err == nil {
			sum := sha256.Sum256(text)
			hash := hex.EncodeToString(sum[:])
			b.seg.Rendered = append(b.seg.Rendered, step.Rendered{Src: name, Hash: hash})
			b.blobs = append(b.blobs, blob{hash, text})
		}
		return
	}
	b.seg.Files = append(b.seg.Files, step.File{Src: name, Hash: f.Hash, Size: f.Size, Mode: uint32(f.Mode)})
	b.blobs = append(b.blobs, blob{f.Hash, data})
}

func looksLikeFile(name string) bool {
	return name != "" && len(name) < 1024 && !strings.ContainsAny(name, "\x00\n") && strings.ContainsAny(name, "./")
}

// isTemplate goes by the name, as the template function does.
func isTemplate(name string) bool {
	switch filepath.Ext(name) {
	case ".j2", ".jinja", ".jinja2", ".tmpl", ".tpl", ".gotmpl":
		return true
	}
	return false
}

// identity names a step for good: what it is, where, and how often the same
// came before. An edited script keeps the identities of what is unchanged.
func (r *Runner) identity(task, host, salt string, digest []byte) string {
	h := sha256.New()
	for _, s := range []string{task, host, salt} {
		_ = binary.Write(h, binary.BigEndian, uint32(len(s)))
		h.Write([]byte(s))
	}
	h.Write(digest)
	key := hex.EncodeToString(h.Sum(nil)[:12])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.occurs[key]++
	return fmt.Sprintf("%s-%d", key, r.occurs[key])
}

// remember notes what host was given.
func (r *Runner) remember(host string, s *snapshot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.sent[host]
	if to == nil {
		to = &sentTo{chunks: map[string]bool{}, names: map[string]bool{}}
		r.sent[host] = to
	}
	for _, c := range s.parcel.Chunks {
		to.chunks[c] = true
	}
	for _, n := range s.names {
		to.names[n] = true
	}
}

// become is the user that t runs as on host; empty: the login user.
func (r *Runner) become(t *dsl.Task, host string) string {
	switch {
	case t.BecomeUser != "":
		return t.BecomeUser
	case t.Become:
		return "root"
	case r.opt.Hosts == nil:
		return ""
	}
	return r.opt.Hosts.Become(host)
}

// host is what steps learn about where they run.
func (r *Runner) host(name string) step.Host {
	h := step.Host{Name: name, Address: name, Vars: map[string]any{}}
	if name != Local && r.opt.Hosts != nil {
		h.Address, h.Groups = r.opt.Hosts.Address(name), r.opt.Hosts.Groups(name)
		h.Vars = maps.Clone(r.opt.Hosts.Vars(name))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(h.Vars, r.hostVars[name])
	return h
}

// dynamicTargets asks t's function for its hosts, now that its turn has come.
func (r *Runner) dynamicTargets(ctx context.Context, t *dsl.Task) ([]string, error) {
	where := fmt.Sprintf("%s:%d: task %q: delegate_to", t.Pos.File, t.Pos.Line, t.Name)
	r.world.Add(1)
	vals, err := r.opt.VM.Call(ctx, t.Target.Func)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if len(vals) == 0 || vals[0] == lua.LNil {
		return nil, nil
	}
	v, err := bind.ToGo(vals[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	var parts []string
	switch v := v.(type) {
	case string:
		parts = []string{v}
	case []any:
		for _, x := range v {
			s, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("%s: the function returned a list with %v in it; it must hold host patterns", where, x)
			}
			parts = append(parts, s)
		}
	default:
		return nil, fmt.Errorf("%s: the function returned %T; it must return a pattern or a list of them", where, v)
	}
	if len(parts) == 0 {
		return nil, nil
	}
	hosts, err := r.match(strings.Join(parts, ","))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return hosts, nil
}
