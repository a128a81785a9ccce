package dsl

import (
	"context"

	lua "github.com/yuin/gopher-lua"

	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/lua/ship"
)

// perform runs a nested task: through the runner where there is one, otherwise
// by asking the controller.
func (w *world) perform(L *lua.LState, t *Task) ([]lua.LValue, error) {
	if w.setup.runTask != nil {
		var rets []lua.LValue
		err := engine.Block(L, func(ctx context.Context) (err error) {
			rets, err = w.setup.runTask(ctx, t)
			return err
		})
		return rets, err
	}
	s := services(L, ":run()")
	parcel, err := w.encodeTask(L, t, "the controller")
	if err != nil {
		return nil, err
	}
	var answer []byte
	err = engine.Block(L, func(ctx context.Context) (err error) {
		answer, err = s.RunTask(ctx, parcel.Data)
		return err
	})
	if err != nil {
		return nil, err
	}
	return decodeReturns(L, answer, ship.Limits{})
}

// EncodeReturns packs what a command returned, for the answer to a nested run.
func EncodeReturns(vm *engine.VM, values []lua.LValue) (data []byte, err error) {
	vm.Do(func(L *lua.LState) {
		t := L.CreateTable(len(values), 1)
		for i, v := range values {
			t.RawSetInt(i+1, v)
		}
		t.RawSetString("n", lua.LNumber(len(values)))
		var p ship.Parcel
		p, err = ship.EncodeIn(L, t, ship.Options{Data: true, Name: "the return values", MaxBytes: maxReturns})
		data = p.Data
	})
	return data, err
}

const maxReturns = 8 << 20

// DecodeReturns unpacks what EncodeReturns packed. What comes from a host is
// decoded as plain data.
func DecodeReturns(vm *engine.VM, data []byte) (values []lua.LValue, err error) {
	vm.Do(func(L *lua.LState) { values, err = decodeReturns(L, data, ship.Limits{Data: true, Bytes: maxReturns}) })
	return values, err
}

func decodeReturns(L *lua.LState, data []byte, limits ship.Limits) ([]lua.LValue, error) {
	if len(data) == 0 {
		return nil, nil
	}
	v, err := ship.DecodeIn(L, data, limits)
	if err != nil {
		return nil, err
	}
	t, ok := v.(*lua.LTable)
	if !ok {
		return []lua.LValue{v}, nil
	}
	n, _ := t.RawGetString("n").(lua.LNumber)
	if n < 0 || n > 250 {
		n = lua.LNumber(min(t.Len(), 250))
	}
	out := make([]lua.LValue, int(n))
	for i := range out {
		out[i] = t.RawGetInt(i + 1)
	}
	return out, nil
}
