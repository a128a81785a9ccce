package step

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/dsl"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/packed"
	"github.com/sloth-runner/sloth/runner/event"
)

// Limits of what a command may return.
const (
	maxOutputs = 8 << 20 // bytes, packed
	maxString  = 1 << 20 // bytes of one text in them
	maxNesting = 100
)

// returned says what a command's returns mean. Text among them is never
// executed, whatever it looks like.
func (w *world) returned(rets []lua.LValue) Result {
	at := func(i int) lua.LValue {
		if i < len(rets) {
			return rets[i]
		}
		return lua.LNil
	}
	first, second, third := at(0), at(1), at(2)
	res := Result{Status: event.Success}
	outputs := lua.LNil
	tail := rets // what :run() gives behind the success flag
	switch v := first.(type) {
	case *lua.LTable:
		outputs = v
		if text, ok := second.(lua.LString); ok {
			res.Message = string(text)
		}
	case lua.LBool, *lua.LNilType:
		if len(tail) > 0 {
			tail = tail[1:]
		}
		// nil and a message is Lua's way to say no; nil alone is nothing.
		if first == lua.LFalse || first == lua.LNil && second != lua.LNil {
			res.Status = event.Failed
		}
		outputs = third
		if t, ok := second.(*lua.LTable); ok {
			outputs = t
		} else if second != lua.LNil {
			res.Message = w.text(second)
		}
	default:
		res.Message = w.text(first)
		if t, ok := second.(*lua.LTable); ok {
			outputs = t
		}
	}
	if outputs != lua.LNil {
		data, err := w.plain(outputs)
		if err != nil {
			return failed(err)
		}
		w.outputs, w.data, res.Outputs = outputs, data, data
	}
	if _, ok := first.(*lua.LTable); ok {
		if m, ok := w.data.(map[string]any); ok {
			told := res.Message
			res = resultTable(m)
			res.Outputs = w.data
			if told != "" && !res.Status.Bad() {
				res.Message = told
			}
		}
		tail = []lua.LValue{lua.LString(res.Message), first}
	}
	res.Message = clip(res.Message)
	if res.Status.Bad() && res.Failure == nil {
		if res.Message == "" {
			res.Message = "the command returned false"
		}
		res.Failure = &event.Failure{Class: classTask, Message: res.Message}
	}
	if w.r.s.Nested {
		res.tail, res.returned = tail, true
	}
	return w.settle(res)
}

// settle makes a failure of a plan that only guessed what it is.
func (w *world) settle(res Result) Result {
	if !res.Status.Bad() || !w.guessing() {
		return res
	}
	out := w.shortfall("not known until applied: " + res.Message)
	out.Outputs = res.Outputs
	return out
}

// hand gives the returns of the last attempt to the :run() that waits for them.
func (w *world) hand(res *Result) {
	if !res.returned {
		return
	}
	if w.r.o.Returned != nil {
		w.r.o.Returned(res.tail)
		return
	}
	var err error
	if res.Returns, err = dsl.EncodeReturns(w.vm, res.tail); err != nil {
		*res = failed(err)
	}
}

// Values is what :run() returns for r: whether it succeeded, then what the
// command returned behind that. Where it did not come to return anything, the
// error's message follows.
func (r Result) Values(vm *engine.VM) ([]lua.LValue, error) {
	rest, err := dsl.DecodeReturns(vm, r.Returns)
	if err != nil {
		return nil, err
	}
	return r.WithReturns(rest, len(r.Returns) > 0), nil
}

// WithReturns is Values for what Options.Returned was given; returned says
// whether it was called.
func (r Result) WithReturns(rest []lua.LValue, returned bool) []lua.LValue {
	ok := !r.Status.Bad()
	if !returned {
		rest = nil
	}
	if !ok && !returned {
		message := text(r.Failure)
		if message == "" {
			message = r.Message
		}
		rest = []lua.LValue{lua.LString(message)}
	}
	return append([]lua.LValue{lua.LBool(ok)}, rest...)
}

// resultTable reads {success=, stdout=, error=, …}. A table without success is
// the outputs of a success.
func resultTable(m map[string]any) Result {
	res := Result{Status: event.Success}
	success, said := m["success"].(bool)
	if !said || success {
		for _, key := range []string{"stdout", "message"} {
			if s, ok := m[key].(string); ok && s != "" && (said || key == "message") {
				res.Message = clip(s)
				break
			}
		}
		return res
	}
	message := ""
	for _, key := range []string{"error", "stderr", "message"} {
		if s, ok := m[key].(string); ok && strings.TrimSpace(s) != "" {
			message = strings.TrimSpace(s)
			break
		}
	}
	if message == "" {
		message = "it did not succeed"
		if code, ok := m["exit_code"]; ok {
			message = fmt.Sprintf("exit code %v", code)
		}
	}
	res.Status, res.Message = event.Failed, clip(message)
	res.Failure = &event.Failure{Class: classTask, Message: res.Message}
	return res
}

// text is tostring(v).
func (w *world) text(v lua.LValue) string {
	s := v.String()
	w.vm.Do(func(L *lua.LState) { s = L.ToStringMeta(v).String() })
	return s
}

// plain turns outputs into what travels. Functions and objects among them mean
// nothing elsewhere: they are left out, and the log says so.
func (w *world) plain(v lua.LValue) (any, error) {
	c := outputs{}
	var out any
	w.vm.Do(func(*lua.LState) { out = c.value(v, "outputs", nil) })
	for _, what := range c.dropped {
		w.r.out.log(w.r.here(), "warn", what, nil)
	}
	if data, err := packed.Marshal(out); err != nil || len(data) > maxOutputs {
		if err == nil {
			err = fmt.Errorf("%d bytes, the limit is %d", len(data), maxOutputs)
		}
		return nil, fmt.Errorf("the outputs cannot be passed on: %w", err)
	}
	return out, nil
}

// outputs copies Lua values as data.
type outputs struct{ dropped []string }

func (c *outputs) drop(path, why string) {
	if len(c.dropped) < 10 {
		c.dropped = append(c.dropped, path+" "+why)
	}
}

func (c *outputs) value(v lua.LValue, path string, open []*lua.LTable) any {
	switch v := v.(type) {
	case *lua.LTable:
		return c.table(v, path, open)
	case lua.LString:
		if len(v) > maxString {
			c.drop(path, fmt.Sprintf("is a text of %d bytes and was cut to %d", len(v), maxString))
			return clipTo(string(v), maxString)
		}
	case *lua.LUserData:
		if _, secret := v.Value.(modules.Secret); !secret {
			c.drop(path, "is an object, which is not data: it was left out")
			return nil
		}
	case *lua.LFunction, *lua.LState, lua.LChannel:
		c.drop(path, "is a "+v.Type().String()+", which is not data: it was left out")
		return nil
	}
	out, err := bind.ToGo(v)
	if err != nil {
		c.drop(path, err.Error())
	}
	return out
}

func (c *outputs) table(t *lua.LTable, path string, open []*lua.LTable) any {
	if slices.Contains(open, t) || len(open) >= maxNesting {
		c.drop(path, "contains itself, or is nested too deeply: it was left out")
		return nil
	}
	open = append(open, t)
	n := 0
	for t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	count := 0
	named := map[string]any{}
	other := map[any]any{}
	t.ForEach(func(k, v lua.LValue) {
		count++
		switch k := k.(type) {
		case lua.LString:
			if item := c.value(v, path+"."+string(k), open); item != nil {
				named[string(k)] = item
			}
		case lua.LNumber, lua.LBool:
			key, _ := bind.ToGo(k)
			if item := c.value(v, fmt.Sprintf("%s[%v]", path, key), open); item != nil {
				other[key] = item
			}
		default:
			c.drop(path, "has a "+k.Type().String()+" as a key, which is not data: it was left out")
		}
	})
	if n > 0 && n == count {
		list := make([]any, n)
		for i := range list {
			list[i] = other[int64(i+1)]
		}
		return list
	}
	if len(other) == 0 {
		return named
	}
	for k, v := range maps.All(named) {
		other[k] = v
	}
	return other
}
