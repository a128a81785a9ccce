package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Error is a syntax error, or an error raised by Lua code.
type Error struct {
	Message string // without the place
	File    string // as the chunk was named; may be empty
	Line    int    // from 1; 0 is unknown
	Column  int    // from 1, in bytes; 0 is unknown
	// Excerpt is the source line with a mark under the column, for syntax errors.
	Excerpt string
	Hint    string // what to do about it; may be empty
	// Traceback has one line per call, innermost first, for errors at run time.
	Traceback string
	// Value is what was raised: a string, or any other value given to error().
	// It is nil for syntax errors.
	Value lua.LValue

	cause error
}

// Error returns "file:line:column: message", leaving out what is not known.
func (e *Error) Error() string {
	return e.place() + e.Message
}

func (e *Error) place() string {
	switch {
	case e.File == "":
		return ""
	case e.Line == 0:
		return e.File + ": "
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: ", e.File, e.Line)
	default:
		return fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	}
}

// Detail returns the message with excerpt and hint, several lines.
func (e *Error) Detail() string {
	text := e.Error()
	if e.Excerpt != "" {
		text += "\n" + e.Excerpt
	}
	if e.Hint != "" {
		text += "\nhint: " + e.Hint
	}
	return text
}

// Unwrap returns the Go error behind it: one given to Raise, the cause of a
// cancelled context, or *Exit.
func (e *Error) Unwrap() error { return e.cause }

// Exit is the cause of an Error when the script called os.exit, which ends the
// task and never the process.
type Exit struct{ Code int }

func (e *Exit) Error() string { return fmt.Sprintf("os.exit(%d)", e.Code) }

// Raise raises err in L with the place of the Lua code that called; it does not
// return. Lua sees the text; Call's *Error wraps err itself.
func Raise(L *lua.LState, err error) {
	if tc := threadContextOf(L); tc != nil && tc.s != nil {
		tc.s.raised = err
	}
	L.Error(lua.LString(where(L, 0)+err.Error()), 0)
}

// stopIfOver raises when the context of L has ended; a Go function calls it
// after it blocked, so that its half result is not taken for a whole one.
func stopIfOver(L *lua.LState) {
	if ctx := Context(L); ctx.Err() != nil {
		Raise(L, context.Cause(ctx))
	}
}

// interrupted makes the error of a call whose context ended.
func (vm *VM) interrupted(tc *threadContext, e *Error) *Error {
	if e == nil {
		e = &Error{Traceback: "", Value: lua.LNil}
	}
	cause := context.Cause(tc)
	e.cause = cause
	switch {
	case errors.Is(cause, context.DeadlineExceeded):
		e.Message = "timed out"
	case errors.Is(cause, context.Canceled):
		e.Message = "cancelled"
	default:
		e.Message = "cancelled: " + cause.Error()
	}
	e.Value = lua.LString(e.Message)
	return e
}

// newError makes the error that Go sees of a failure.
func (vm *VM) newError(tc *threadContext, f *failure) *Error {
	e := &Error{Value: f.value, Message: vm.errorText(tc, f.value)}
	if f.thread != nil {
		e.File, e.Line = luaPlace(f.thread, 0)
		e.Traceback = traceback(f.thread, 0)
	}
	if f.stack != "" {
		e.Traceback += "\n" + f.stack
	}
	s := tc.s
	var inner *Error
	if errors.As(s.raised, &inner) && inner.Error() == e.Message {
		// Raised as it was, such as the syntax error of a library.
		e.File, e.Line, e.Column, e.Message = inner.File, inner.Line, inner.Column, inner.Message
		e.Hint, e.Excerpt = inner.Hint, inner.Excerpt
	} else if file, line, rest, ok := vm.splitPlace(e.Message); ok {
		e.File, e.Line, e.Message = file, line, rest
	}
	if s.exit != nil {
		e.cause = s.exit
		e.Message = s.exit.Error()
		s.exit = nil
		return e
	}
	if tc.Err() != nil {
		return vm.interrupted(tc, e)
	}
	if s.raised != nil && (strings.HasSuffix(e.Message, s.raised.Error()) || inner != nil && strings.HasSuffix(e.Message, inner.Message)) {
		e.cause = s.raised
	}
	s.raised = nil
	return e
}

// errorText is the text of a raised value: tables may carry it as message, or
// have a __tostring.
func (vm *VM) errorText(tc *threadContext, v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case *lua.LTable:
		if mt, ok := v.Metatable.(*lua.LTable); ok {
			if fn, ok := mt.RawGetString("__tostring").(*lua.LFunction); ok {
				rets, failed := vm.protect(tc, tc, fn, []lua.LValue{v})
				if failed == nil && len(rets) > 0 {
					return rets[0].String()
				}
			}
		}
		for _, key := range []string{"message", "msg", "error"} {
			if text, ok := v.RawGetString(key).(lua.LString); ok {
				return string(text)
			}
		}
		if text, ok := v.RawGetInt(1).(lua.LString); ok {
			return string(text)
		}
		return "error object is a table"
	case lua.LNumber, lua.LBool:
		return v.String()
	case *lua.LNilType, nil:
		return "nil was raised as an error"
	default:
		return "error object is a " + v.Type().String()
	}
}

// splitPlace takes the "file:line: " that Lua puts before a message off again.
func (vm *VM) splitPlace(text string) (file string, line int, rest string, ok bool) {
	for at := 0; at < len(text); {
		i := strings.IndexByte(text[at:], ':')
		if i < 0 || text[at] == '\n' {
			return "", 0, "", false
		}
		i += at
		j := i + 1
		for j < len(text) && isDigit(text[j]) {
			j++
		}
		if j > i+1 && strings.HasPrefix(text[j:], ": ") && (vm.chunks.named(text[:i]) || strings.HasPrefix(text, "[string ")) {
			line, err := strconv.Atoi(text[i+1 : j])
			return text[:i], line, text[j+2:], err == nil
		}
		at = i + 1
	}
	return "", 0, "", false
}

// frame describes the call at a level of L's stack, 0 being the innermost.
func frame(L *lua.LState, level int) (*lua.Debug, bool) {
	dbg, ok := L.GetStack(level)
	if !ok {
		return nil, false
	}
	if _, err := L.GetInfo("nSl", dbg, lua.LNil); err != nil {
		return nil, false
	}
	return dbg, true
}

// luaPlace returns file and line of the innermost Lua function at or above the
// level.
func luaPlace(L *lua.LState, level int) (string, int) {
	for ; ; level++ {
		dbg, ok := frame(L, level)
		if !ok {
			return "", 0
		}
		if dbg.CurrentLine > 0 {
			return dbg.Source, dbg.CurrentLine
		}
	}
}

// Where returns file and line of the Lua code that called the running Go
// function; an empty file where there is none.
func Where(L *lua.LState) (file string, line int) { return luaPlace(L, 1) }

// where is luaPlace as the prefix of a message.
func where(L *lua.LState, level int) string {
	file, line := luaPlace(L, level)
	if file == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", file, line)
}

// maxTraceback is how many calls a traceback shows; of more, the first and last.
const maxTraceback = 22

func traceback(L *lua.LState, level int) string {
	var lines []string
	for ; ; level++ {
		dbg, ok := frame(L, level)
		if !ok {
			break
		}
		_, more := L.GetStack(level + 1)
		lines = append(lines, describeFrame(dbg, !more))
	}
	if len(lines) > maxTraceback {
		half := maxTraceback / 2
		cut := len(lines) - 2*half
		lines = append(append(lines[:half:half], fmt.Sprintf("\t... (%d more)", cut)), lines[len(lines)-half:]...)
	}
	return "stack traceback:\n" + strings.Join(lines, "\n")
}

func describeFrame(dbg *lua.Debug, base bool) string {
	place := "[Go]"
	if dbg.CurrentLine > 0 {
		place = fmt.Sprintf("%s:%d", dbg.Source, dbg.CurrentLine)
	}
	switch {
	case dbg.Source != "" && dbg.LineDefined == 0:
		return fmt.Sprintf("\t%s: in the main chunk", place)
	case base || dbg.Name == "" || strings.HasPrefix(dbg.Name, "<") || strings.HasPrefix(dbg.Name, "("):
		if dbg.Source == "" {
			return "\t" + place + ": in a function"
		}
		return fmt.Sprintf("\t%s: in function <%s:%d>", place, dbg.Source, dbg.LineDefined)
	default:
		return fmt.Sprintf("\t%s: in function '%s'", place, dbg.Name)
	}
}
