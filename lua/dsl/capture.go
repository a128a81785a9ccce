package dsl

import (
	"slices"

	lua "github.com/yuin/gopher-lua"
)

// Instructions of gopher-lua are 32 bits: 6 of opcode, 8 of A, 9 of C, 9 of B;
// the last 18 are Bx. An operand from 256 on is a constant.
func opcode(i uint32) int { return int(i >> 26) }
func argA(i uint32) int   { return int(i >> 18 & 0xff) }
func argB(i uint32) int   { return int(i & 0x1ff) }
func argC(i uint32) int   { return int(i >> 9 & 0x1ff) }
func argBx(i uint32) int  { return int(i & 0x3ffff) }

const firstConstant = 256

// Constants are the texts that appear literally in fn and the functions written
// inside it, sorted: candidates for names of files, templates and secrets.
func Constants(fn *lua.LFunction) []string {
	if fn == nil || fn.Proto == nil {
		return nil
	}
	seen := map[string]bool{}
	var walk func(p *lua.FunctionProto)
	walk = func(p *lua.FunctionProto) {
		for _, k := range p.Constants {
			if s, ok := k.(lua.LString); ok {
				seen[string(s)] = true
			}
		}
		for _, inner := range p.FunctionPrototypes {
			walk(inner)
		}
	}
	walk(fn.Proto)
	out := make([]string, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return out
}

// runners finds the tasks that functions run themselves with :run(), so that
// those do not run once more by default.
type runners struct {
	globals *lua.LTable
	seen    map[*lua.LFunction]bool
	found   map[*Task]bool
}

// function looks at fn and at the functions it can call.
func (r *runners) function(fn *lua.LFunction) {
	if fn == nil || fn.Proto == nil || r.seen[fn] {
		return
	}
	r.seen[fn] = true
	captured := make([]lua.LValue, len(fn.Upvalues))
	for i, cell := range fn.Upvalues {
		captured[i] = cell.Value()
		if inner, ok := captured[i].(*lua.LFunction); ok {
			r.function(inner)
		}
	}
	if r.proto(fn.Proto, captured) {
		// Something else is run, perhaps a task out of a table.
		for _, v := range captured {
			r.table(v, 3)
		}
	}
}

// proto looks at the code of one function. It reports whether :run() is called
// on something that is neither a captured variable nor a global.
func (r *runners) proto(p *lua.FunctionProto, captured []lua.LValue) (loose bool) {
	var from lua.LValue // what the instruction before loaded
	register := -1
	for pc := 0; pc < len(p.Code); pc++ {
		inst := p.Code[pc]
		switch opcode(inst) {
		case lua.OP_GETUPVAL:
			from, register = nil, argA(inst)
			if b := argB(inst); b < len(captured) {
				from = captured[b]
			}
			continue
		case lua.OP_GETGLOBAL:
			from, register = nil, argA(inst)
			if name, ok := p.Constants[argBx(inst)].(lua.LString); ok {
				from = r.globals.RawGetString(string(name))
				if fn, ok := from.(*lua.LFunction); ok {
					r.function(fn)
				}
			}
			continue
		case lua.OP_SELF:
			if constantText(p, argC(inst)) == "run" {
				if argB(inst) != register {
					loose = true
				} else if t := taskOf(from); t != nil {
					r.found[t] = true
				} else {
					loose = true
				}
			}
		case lua.OP_CLOSURE:
			inner := p.FunctionPrototypes[argBx(inst)]
			cells := make([]lua.LValue, inner.NumUpvalues)
			for i := range cells {
				pc++
				// A captured variable of this function, or a local: unknown.
				if b := argB(p.Code[pc]); opcode(p.Code[pc]) == lua.OP_GETUPVAL && b < len(captured) {
					cells[i] = captured[b]
				}
			}
			loose = r.proto(inner, cells) || loose
		}
		from, register = nil, -1
	}
	return loose
}

func (r *runners) table(v lua.LValue, depth int) {
	if t := taskOf(v); t != nil && depth < 3 {
		r.found[t] = true
		return
	}
	if t, ok := v.(*lua.LTable); ok && depth > 0 {
		t.ForEach(func(_, item lua.LValue) { r.table(item, depth-1) })
	}
}

func constantText(p *lua.FunctionProto, operand int) string {
	if i := operand - firstConstant; i >= 0 && i < len(p.Constants) {
		s, _ := p.Constants[i].(lua.LString)
		return string(s)
	}
	return ""
}
