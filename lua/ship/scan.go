package ship

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Instructions of gopher-lua are 32 bits: 6 of opcode, 8 of A, 9 of C, 9 of B;
// the last 18 are Bx.
func opcode(inst uint32) int { return int(inst >> 26) }
func argB(inst uint32) int   { return int(inst & 0x1ff) }
func argBx(inst uint32) int  { return int(inst & 0x3ffff) }

// reaching are the globals through which a function can get at any other one.
var reaching = map[string]bool{
	"_G": true, "getfenv": true, "setfenv": true, "load": true, "loadstring": true,
	"dofile": true, "loadfile": true, "require": true, "include": true, "module": true,
}

// scan notes the globals and texts that a function and those inside it name.
func (g *graph) scan(fn *lua.LFunction, p *lua.FunctionProto) {
	if g.protos[p] {
		return
	}
	g.protos[p] = true
	g.scanned = append(g.scanned, p)
	for _, k := range p.Constants {
		if s, ok := k.(lua.LString); ok {
			g.constants[string(s)] = true
		}
	}
	for pc := 0; pc < len(p.Code); pc++ {
		inst := p.Code[pc]
		op := opcode(inst)
		switch op {
		case lua.OP_CLOSURE:
			// The captured variables follow as instructions that are none.
			pc += int(p.FunctionPrototypes[argBx(inst)].NumUpvalues)
			continue
		case lua.OP_GETGLOBAL, lua.OP_SETGLOBAL:
		default:
			continue
		}
		s, ok := p.Constants[argBx(inst)].(lua.LString)
		if !ok {
			continue
		}
		name := string(s)
		if reaching[name] && !g.knownLibrary(p, pc) {
			g.dynamic = true
		}
		if !g.asked[name] {
			g.asked[name] = true
			g.wanted = append(g.wanted, use{name: name, fn: fn, line: lineAt(p, pc)})
		}
	}
	for _, inner := range p.FunctionPrototypes {
		g.scan(fn, inner)
	}
}

// knownLibrary reports whether the instruction after pc is the constant name of
// a library that every machine has, as in require("goroutine").
func (g *graph) knownLibrary(p *lua.FunctionProto, pc int) bool {
	if pc+1 >= len(p.Code) || opcode(p.Code[pc+1]) != lua.OP_LOADK {
		return false
	}
	name, ok := p.Constants[argBx(p.Code[pc+1])].(lua.LString)
	return ok && g.vm.IsLibrary(string(name))
}

func lineAt(p *lua.FunctionProto, pc int) int {
	if pc < len(p.DbgSourcePositions) {
		return p.DbgSourcePositions[pc]
	}
	return p.LineDefined
}

// upvalueLine is where a function first uses a captured variable.
func upvalueLine(p *lua.FunctionProto, n int) int {
	for pc, inst := range p.Code {
		if op := opcode(inst); (op == lua.OP_GETUPVAL || op == lua.OP_SETUPVAL) && argB(inst) == n {
			return lineAt(p, pc)
		}
	}
	return p.LineDefined
}

// refuse is the error of something that cannot travel, reached by the edge.
func (g *graph) refuse(from edge, why string) error {
	to := ""
	if g.opts.To != "" {
		to = " to " + g.opts.To
	}
	place, path := g.path(from)
	return fmt.Errorf("%scannot send %s%s: %s", place, path, to, why)
}

// path names what an edge leads to, from the nearest variable on, and where
// that variable is used.
func (g *graph) path(from edge) (place, path string) {
	var steps []string
	for {
		switch from.step {
		case stepField:
			steps = append(steps, field(from.key))
		case stepKey:
			steps = append(steps, " (one of its keys)")
		case stepMeta:
			steps = append(steps, " (its metatable)")
		case stepEnv:
			steps = append(steps, " (its environment)")
		case stepCell, stepBody:
		case stepCaptured:
			return at(from), "the local '" + from.name + "'" + reversed(steps)
		case stepGlobal:
			return at(from), "the global '" + from.name + "'" + reversed(steps)
		case stepPatch:
			return "", from.name + reversed(steps)
		case stepRoot:
			return "", g.opts.Name + reversed(steps)
		}
		from = g.nodes[from.parent].from
	}
}

func at(e edge) string {
	if e.fn == nil || e.fn.Proto == nil {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", e.fn.Proto.SourceName, e.line)
}

func field(key lua.LValue) string {
	switch k := key.(type) {
	case lua.LString:
		if isName(string(k)) {
			return "." + string(k)
		}
		return fmt.Sprintf("[%q]", string(k))
	case lua.LNumber, lua.LBool:
		return "[" + k.String() + "]"
	default:
		return "[" + key.Type().String() + "]"
	}
}

func isName(s string) bool {
	if s == "" || len(s) > 60 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

func reversed(steps []string) string {
	var b strings.Builder
	for i := len(steps) - 1; i >= 0; i-- {
		b.WriteString(steps[i])
	}
	return b.String()
}
