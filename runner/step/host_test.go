package step_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/goroutine"
	"github.com/sloth-runner/sloth/lua/ship"
	"github.com/sloth-runner/sloth/runner/step"
)

// host is another machine as a worker makes it: for every attempt a fresh VM
// with the sources and the snapshot.
func host(t *testing.T, r *rig, task *dsl.Task, name string) (step.Options, step.Spec) {
	t.Helper()
	var parcel ship.Parcel
	var err error
	r.vm.Do(func(L *lua.LState) {
		parcel, err = ship.EncodeIn(L, step.TaskCallbacks(task).Table(L), ship.Options{To: name})
	})
	if err != nil {
		t.Fatal(err)
	}
	o := step.Options{
		Host: step.Host{Name: name}, Env: *r.env(), Check: r.check, Modules: r.mods, Emit: r.emit, Clock: r.clock,
		Source: func(context.Context) (*engine.VM, step.Callbacks, func(), error) {
			vm := engine.New(dsl.VMOptions(engine.Options{Linger: 100 * time.Millisecond}))
			bind.Install(vm, r.mods)
			goroutine.Install(vm)
			dsl.InstallHost(vm, dsl.HostOptions{Name: name, Address: "192.0.2.1", Groups: []string{"web"}, Vars: map[string]any{"port": int64(80)}, Values: map[string]any{"v": "1"}})
			vm.Pristine()
			for _, hash := range parcel.Chunks {
				c, ok := r.vm.Chunk(hash)
				if !ok {
					return nil, step.Callbacks{}, nil, errors.New("no chunk")
				}
				if _, err := vm.Load(c.Name, c.Source); err != nil {
					return nil, step.Callbacks{}, nil, err
				}
			}
			v, err := ship.Decode(vm, parcel.Data, ship.Limits{})
			if err != nil {
				return nil, step.Callbacks{}, nil, err
			}
			return vm, step.CallbacksOf(v), func() { vm.Close() }, nil
		},
	}
	return o, r.spec(task)
}

func TestOnAHost(t *testing.T) {
	r := newRig(t)
	task := r.load(`
local count, cfg = 0, {port = 1, tags = {"a", "b"}}
local function join(t) return table.concat(t, "+") end
task("x"):retries(2):vars({port = 99}):run_if(function(params) return params.color == "red" end)
  :on_retry(function(this, params, error) log.info("retry " .. this.attempt .. " " .. error) end)
  :command(function(this)
    count = count + 1
    cfg.port = cfg.port + 1
    if this.attempt < 3 then return false, "count " .. count end
    return true, table.concat({this.host, host.name, host.address, host.groups[1], vars.port, values.v, join(cfg.tags), count, cfg.port}, " ")
  end):build()`).Tasks[0]
	o, s := host(t, r, task, "web-01")
	res := step.Execute(context.Background(), o, s)
	// Each attempt starts from the snapshot again.
	if want := "web-01 web-01 192.0.2.1 web 99 1 a+b 1 2"; res.Message != want || res.Attempts != 3 {
		t.Errorf("got %q after %d, want %q (%+v)", res.Message, res.Attempts, want, res.Failure)
	}
	if got := strings.Join(r.logged(), "|"); got != "retry 1 count 1|retry 2 count 1" {
		t.Errorf("logged %q", got)
	}
}

// A nested run on a host asks the controller, with the closure and all it
// captured.
func TestNestedOnAHost(t *testing.T) {
	s := &services{}
	r := newRig(t, withServices(s))
	task := r.load(`
local known = task("known"):command(function(this) return true, "known on " .. this.host end):build()
function helper(n) return "item " .. n end
task("x"):command(function(this)
  local out = {}
  for i, h in ipairs({"db-01", "db-02"}) do
    local ok, said, extra = task("inner " .. i):delegate_to(h):timeout("5s"):command(function(inner)
      return true, helper(i) .. " from " .. this.host .. " on " .. inner.host, {i = i}
    end):run()
    out[#out + 1] = tostring(ok) .. " " .. said .. " " .. extra.i
  end
  out[#out + 1] = select(2, known:run())
  local ok, why = task("bad"):command(function() error("boom") end):run()
  out[#out + 1] = tostring(ok) .. " " .. why
  return true, table.concat(out, "|")
end):build()`).Tasks[1]
	s.run = func(ctx context.Context, data []byte) ([]byte, error) {
		allowed := func(ref ship.Ref) error {
			if _, ok := r.vm.Chunk(ref.Chunk); ref.Chunk != "" && !ok {
				return errors.New("a function that was not sent")
			}
			return nil
		}
		nested, err := dsl.DecodeTask(r.vm, data, ship.Limits{Allow: allowed})
		if err != nil {
			return nil, err
		}
		where := nested.Target.Pattern
		if where == "" {
			where = "local"
		}
		o, spec := host(t, r, nested, where)
		spec.Nested = true
		res := step.Execute(ctx, o, spec)
		vals, err := res.Values(r.vm)
		if err != nil {
			return nil, err
		}
		return dsl.EncodeReturns(r.vm, vals)
	}
	o, spec := host(t, r, task, "web-01")
	res := step.Execute(context.Background(), o, spec)
	want := "true item 1 from web-01 on db-01 1|true item 2 from web-01 on db-02 2|known on local|false site.sloth:13: boom"
	if res.Message != want {
		t.Errorf("got  %q\nwant %q (%+v)", res.Message, want, res.Failure)
	}
}
