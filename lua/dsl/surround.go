package dsl

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
	"github.com/sloth-runner/sloth/modules"
)

// VMOptions completes the options of a VM that runs .sloth code: print, output,
// environment, folder and libraries are those of the task that a thread belongs
// to, and the standard library's own ways of changing things (os.execute,
// io.open for writing, …) follow the rules of modules: not under plan, not while
// a file is only read, else recorded. What o sets stays.
func VMOptions(o engine.Options) engine.Options {
	if o.Print == nil {
		o.Print = func(ctx context.Context, line string) {
			if e := bind.EnvOf(ctx); e != nil && e.Call.Log != nil {
				e.Call.Log("print", line, nil)
				return
			}
			_, _ = os.Stdout.WriteString(line + "\n")
		}
	}
	if o.Output == nil {
		o.Output = output
	}
	if o.Env == nil {
		o.Env = func(ctx context.Context) []string {
			if e := bind.EnvOf(ctx); e != nil {
				return e.Call.Env
			}
			return nil
		}
	}
	if o.Dir == nil {
		o.Dir = func(ctx context.Context) string {
			if e := bind.EnvOf(ctx); e != nil && e.Call.Workdir != "" {
				return e.Call.Workdir
			}
			if l := loadOf(ctx); l != nil {
				return filepath.Dir(l.file)
			}
			return ""
		}
	}
	if o.Require == nil {
		o.Require = require
	}
	if o.Effects == nil {
		o.Effects = engine.EffectFunc(effect)
	}
	if o.Log == nil {
		o.Log = func(ctx context.Context, level, message string) {
			if e := bind.EnvOf(ctx); e != nil && e.Call.Log != nil {
				e.Call.Log(level, message, nil)
				return
			}
			output(ctx, "stderr", []byte(level+": "+message+"\n"))
		}
	}
	return o
}

func output(ctx context.Context, stream string, data []byte) {
	switch e := bind.EnvOf(ctx); {
	case e != nil && e.Call.Output != nil:
		e.Call.Output(stream, data)
	case stream == "stderr":
		_, _ = os.Stderr.Write(data)
	default:
		_, _ = os.Stdout.Write(data)
	}
}

// require asks the controller, or on it looks beside the file being loaded.
func require(ctx context.Context, name string) ([]byte, string, error) {
	if e := bind.EnvOf(ctx); e != nil && e.Call.Services != nil {
		return e.Call.Services.Require(ctx, name)
	}
	dir := "."
	if l := loadOf(ctx); l != nil {
		dir = filepath.Dir(l.file)
	}
	return Libraries(dir)(ctx, name)
}

// scratch are the calls that leave nothing behind to speak of.
var scratch = map[string]bool{"os.tmpname": true, "io.tmpfile": true}

// effect rules on a call of the standard libraries that changes something.
func effect(ctx context.Context, e engine.Effect) (bool, error) {
	env := bind.EnvOf(ctx)
	if env == nil {
		return true, nil
	}
	planned := env.Check || env.Inert
	r := env.Sealed(bind.Record{Function: e.Function, File: e.File, Line: e.Line, Changed: true, Planned: planned}, e.Args...)
	if !env.Call.NoLog {
		r.Message = oneLine(strings.Join(e.Args, " "))
	}
	if !planned && env.Approve != nil && !scratch[e.Function] {
		if err := env.Approve(r); err != nil {
			return false, err
		}
	}
	if !planned && env.Effect != nil {
		if err := env.Effect(ctx, e.Function); err != nil {
			return false, err
		}
	}
	if scratch[e.Function] {
		return !planned, nil
	}
	if env.Check && env.Overlay != nil {
		env.Overlay.Note(modules.NotedTool, e.Function)
	}
	if env.Called != nil {
		env.Called(r)
	}
	return !planned, nil
}

func oneLine(text string) string {
	first, rest, more := strings.Cut(strings.TrimSpace(text), "\n")
	if more && strings.TrimSpace(rest) != "" {
		first += " …"
	}
	if len(first) > 200 {
		first = strings.ToValidUTF8(first[:200], "") + "…"
	}
	return first
}
