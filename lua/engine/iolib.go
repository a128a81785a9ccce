package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// ioLibrary is the state of one VM's io library.
type ioLibrary struct {
	vm     *VM
	meta   *lua.LTable
	input  *lua.LUserData // io.read reads
	output *lua.LUserData // io.write writes
}

func (vm *VM) openIO(L *lua.LState) lua.LValue {
	lib := &ioLibrary{vm: vm, meta: L.CreateTable(0, 12)}
	methods := L.CreateTable(0, 8)
	for name, fn := range map[string]lua.LGFunction{
		"close":   lib.fileClose,
		"flush":   lib.fileFlush,
		"lines":   lib.fileLines,
		"read":    func(L *lua.LState) int { return lib.read(L, checkFile(L, 1), 2) },
		"seek":    lib.fileSeek,
		"setvbuf": func(L *lua.LState) int { checkFile(L, 1); L.Push(lua.LTrue); return 1 },
		"write":   func(L *lua.LState) int { return lib.write(L, L.Get(1), checkFile(L, 1), 2) },
	} {
		methods.RawSetString(name, L.NewFunction(fn))
	}
	lib.meta.RawSetString("__index", methods)
	lib.meta.RawSetString("__tostring", L.NewFunction(func(L *lua.LState) int {
		L.Push(lua.LString(checkFile(L, 1).String()))
		return 1
	}))
	t := L.CreateTable(0, 16)
	for name, fn := range map[string]lua.LGFunction{
		"close":   lib.ioClose,
		"flush":   func(L *lua.LState) int { return lib.flush(L, lib.output.Value.(*file)) },
		"input":   func(L *lua.LState) int { return lib.standard(L, &lib.input, "r") },
		"lines":   lib.ioLines,
		"open":    lib.ioOpen,
		"output":  func(L *lua.LState) int { return lib.standard(L, &lib.output, "w") },
		"popen":   lib.ioPopen,
		"read":    func(L *lua.LState) int { return lib.read(L, lib.input.Value.(*file), 1) },
		"tmpfile": lib.ioTmpfile,
		"type":    ioType,
		"write":   func(L *lua.LState) int { return lib.write(L, lib.output, lib.output.Value.(*file), 1) },
	} {
		t.RawSetString(name, L.NewFunction(fn))
	}
	stdin := vm.opts.Stdin
	if stdin == nil {
		stdin = emptyInput{}
	}
	lib.input = lib.handle(&file{name: "stdin", standard: true, r: bufio.NewReader(stdin)})
	lib.output = lib.handle(&file{name: "stdout", standard: true, stream: "stdout"})
	t.RawSetString("stdin", lib.input)
	t.RawSetString("stdout", lib.output)
	t.RawSetString("stderr", lib.handle(&file{name: "stderr", standard: true, stream: "stderr"}))
	return t
}

func (lib *ioLibrary) handle(f *file) *lua.LUserData {
	return &lua.LUserData{Value: f, Env: lib.vm.globals, Metatable: lib.meta}
}

func checkFile(L *lua.LState, n int) *file {
	f, ok := L.CheckUserData(n).Value.(*file)
	if !ok {
		L.ArgError(n, "file expected")
	}
	return f
}

// checkOpen raises unless f is open.
func checkOpen(L *lua.LState, f *file) {
	if f.closed {
		L.RaiseError("attempt to use a closed file")
	}
}

// openModes are those of C's fopen.
var openModes = map[string]int{
	"r":  os.O_RDONLY,
	"w":  os.O_WRONLY | os.O_CREATE | os.O_TRUNC,
	"a":  os.O_WRONLY | os.O_CREATE | os.O_APPEND,
	"r+": os.O_RDWR,
	"w+": os.O_RDWR | os.O_CREATE | os.O_TRUNC,
	"a+": os.O_RDWR | os.O_CREATE | os.O_APPEND,
}

// openFile opens path for the function named function.
func (lib *ioLibrary) openFile(L *lua.LState, function, path, mode string) (*file, error) {
	flags, ok := openModes[strings.Replace(mode, "b", "", 1)]
	if !ok {
		L.ArgError(2, "invalid mode '"+mode+"' (r, w, a, r+, w+ or a+)")
	}
	if flags != os.O_RDONLY && !lib.vm.effect(L, function, path, mode) {
		return &file{name: path, planned: true, r: bufio.NewReader(emptyInput{})}, nil
	}
	var f *os.File
	err := Block(L, func(ctx context.Context) error {
		full := lib.vm.path(ctx, path)
		if info, err := os.Stat(full); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
			// Opening one waits for its other end, and nothing could stop that.
			return &os.PathError{Op: "open", Path: path, Err: errors.New("it is a named pipe: use exec.run or io.popen")}
		}
		var err error
		f, err = os.OpenFile(full, flags, 0o666)
		return err
	})
	if err != nil {
		return nil, err
	}
	opened := &file{name: path, f: f, writable: flags&(os.O_WRONLY|os.O_RDWR) != 0}
	if flags&os.O_WRONLY == 0 {
		opened.r = bufio.NewReader(f)
	}
	lib.vm.files.add(opened)
	return opened, nil
}

func (lib *ioLibrary) ioOpen(L *lua.LState) int {
	f, err := lib.openFile(L, "io.open", L.CheckString(1), L.OptString(2, "r"))
	if err != nil {
		return pushOutcome(L, err)
	}
	L.Push(lib.handle(f))
	return 1
}

func (lib *ioLibrary) ioTmpfile(L *lua.LState) int {
	if !lib.vm.effect(L, "io.tmpfile") {
		L.Push(lib.handle(&file{name: "tmpfile", planned: true, r: bufio.NewReader(emptyInput{})}))
		return 1
	}
	var f *os.File
	err := Block(L, func(context.Context) (err error) {
		if f, err = os.CreateTemp("", "lua_*"); err != nil {
			return err
		}
		return os.Remove(f.Name()) // it lives as long as it is open
	})
	if err != nil {
		return pushOutcome(L, err)
	}
	opened := &file{name: "tmpfile", f: f, writable: true, r: bufio.NewReader(f)}
	lib.vm.files.add(opened)
	L.Push(lib.handle(opened))
	return 1
}

func (lib *ioLibrary) ioPopen(L *lua.LState) int {
	line, mode := L.CheckString(1), strings.Replace(L.OptString(2, "r"), "b", "", 1)
	if mode != "r" && mode != "w" {
		L.ArgError(2, "invalid mode '"+mode+"' (r or w)")
	}
	vm := lib.vm
	if !vm.effect(L, "io.popen", line, mode) {
		f := &file{name: line, planned: true, command: true}
		if mode == "r" {
			f.r = bufio.NewReader(emptyInput{})
		}
		L.Push(lib.handle(f))
		return 1
	}
	ctx := Context(L)
	out := func(data []byte) { vm.output(ctx, "stdout", data) }
	if mode == "r" {
		out = nil
	}
	p, err := vm.startShell(ctx, line, vm.setenv, &mode, out, func(data []byte) { vm.output(ctx, "stderr", data) })
	if err != nil {
		return pushOutcome(L, err)
	}
	f := &file{name: line, process: p, command: true, writable: mode == "w", r: p.stdout}
	vm.files.add(f)
	L.Push(lib.handle(f))
	return 1
}

// standard is io.input and io.output: get, or set to a file or to a path.
func (lib *ioLibrary) standard(L *lua.LState, current **lua.LUserData, mode string) int {
	switch v := L.Get(1).(type) {
	case *lua.LNilType:
	case lua.LString:
		f, err := lib.openFile(L, "io.output", string(v), mode)
		if err != nil {
			Raise(L, errors.New(plainError(err)))
		}
		*current = lib.handle(f)
	default:
		checkFile(L, 1)
		*current = L.CheckUserData(1)
	}
	L.Push(*current)
	return 1
}

func (lib *ioLibrary) ioClose(L *lua.LState) int {
	if L.GetTop() == 0 {
		return lib.close(L, lib.output.Value.(*file))
	}
	return lib.fileClose(L)
}

func (lib *ioLibrary) ioLines(L *lua.LState) int {
	if L.Get(1) == lua.LNil {
		return lib.lines(L, lib.input.Value.(*file), 2, false)
	}
	f, err := lib.openFile(L, "io.lines", L.CheckString(1), "r")
	if err != nil {
		Raise(L, errors.New(plainError(err)))
	}
	return lib.lines(L, f, 2, true)
}

func (lib *ioLibrary) fileLines(L *lua.LState) int {
	return lib.lines(L, checkFile(L, 1), 2, false)
}

// lines pushes an iterator; the formats follow from argument from on.
func (lib *ioLibrary) lines(L *lua.LState, f *file, from int, closeAtEnd bool) int {
	checkOpen(L, f)
	formats := arguments(L, from)
	L.Push(L.NewFunction(func(L *lua.LState) int {
		checkOpen(L, f)
		L.SetTop(0)
		pushAll(L, formats)
		n := lib.read(L, f, 1)
		if closeAtEnd && n > 0 && L.Get(-n) == lua.LNil {
			lib.close(L, f)
			L.SetTop(0)
			L.Push(lua.LNil)
			return 1
		}
		return n
	}))
	return 1
}

func ioType(L *lua.LState) int {
	ud, _ := L.CheckAny(1).(*lua.LUserData)
	if ud == nil {
		L.Push(lua.LNil)
		return 1
	}
	f, ok := ud.Value.(*file)
	switch {
	case !ok:
		L.Push(lua.LNil)
	case f.closed:
		L.Push(lua.LString("closed file"))
	default:
		L.Push(lua.LString("file"))
	}
	return 1
}

func (lib *ioLibrary) fileClose(L *lua.LState) int { return lib.close(L, checkFile(L, 1)) }

func (lib *ioLibrary) close(L *lua.LState, f *file) int {
	checkOpen(L, f)
	var code int
	var signal bool
	err := Block(L, func(context.Context) (err error) {
		code, signal, err = f.close()
		return err
	})
	lib.vm.files.remove(f)
	if err != nil {
		return pushOutcome(L, err)
	}
	if f.command {
		L.Push(lua.LNumber(code))
		L.Push(lua.LString(map[bool]string{true: "signal", false: "exit"}[signal]))
		L.Push(lua.LNumber(code))
		return 3
	}
	L.Push(lua.LTrue)
	return 1
}

func (lib *ioLibrary) fileFlush(L *lua.LState) int { return lib.flush(L, checkFile(L, 1)) }

// flush has nothing to do: writes are not buffered.
func (lib *ioLibrary) flush(L *lua.LState, f *file) int {
	checkOpen(L, f)
	L.Push(lua.LTrue)
	return 1
}

func (lib *ioLibrary) write(L *lua.LState, self lua.LValue, f *file, from int) int {
	checkOpen(L, f)
	var parts []string
	for i := from; i <= L.GetTop(); i++ {
		parts = append(parts, L.CheckString(i))
	}
	err := Block(L, func(ctx context.Context) error {
		return f.write(ctx, lib.vm, strings.Join(parts, ""))
	})
	if err != nil {
		return pushOutcome(L, err)
	}
	L.Push(self)
	return 1
}

func (lib *ioLibrary) fileSeek(L *lua.LState) int {
	f := checkFile(L, 1)
	checkOpen(L, f)
	whence, ok := map[string]int{"set": io.SeekStart, "cur": io.SeekCurrent, "end": io.SeekEnd}[L.OptString(2, "cur")]
	if !ok {
		L.ArgError(2, "invalid option (set, cur or end)")
	}
	pos, err := f.seek(int64(L.OptNumber(3, 0)), whence)
	if err != nil {
		return pushOutcome(L, err)
	}
	L.Push(lua.LNumber(pos))
	return 1
}

// read reads by the formats that follow from argument from on.
func (lib *ioLibrary) read(L *lua.LState, f *file, from int) int {
	checkOpen(L, f)
	if f.r == nil {
		return pushOutcome(L, fmt.Errorf("%s: not open for reading", f.name))
	}
	formats := arguments(L, from)
	if len(formats) == 0 {
		formats = []lua.LValue{lua.LString("*l")}
	}
	for n, format := range formats {
		want, err := parseFormat(format)
		if err != nil {
			L.ArgError(from+n, err.Error())
		}
		var got lua.LValue
		err = Block(L, func(ctx context.Context) (err error) {
			stop := context.AfterFunc(ctx, f.interrupt)
			defer stop()
			got, err = f.read(want, lib.vm.opts.MaxString)
			return err
		})
		stopIfOver(L)
		if errors.Is(err, errTooLarge) {
			lib.vm.room(L, lib.vm.opts.MaxString+1)
		}
		if err != nil {
			return pushOutcome(L, err)
		}
		L.Push(got)
		if got == lua.LNil {
			return n + 1
		}
	}
	return len(formats)
}
