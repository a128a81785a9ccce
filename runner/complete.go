package runner

import (
	"context"
	"fmt"
	"time"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
	lua "github.com/yuin/gopher-lua"
)

// completeTimeout bounds the workflow's own hook.
const completeTimeout = 5 * time.Minute

// complete calls on_complete(success, results) on the controller.
func (p *plan) complete(ctx context.Context) error {
	fn := p.w.OnComplete
	if fn == nil || p.r.opt.Check {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, completeTimeout)
	defer cancel()
	env := p.r.Env(0)
	env.Call.Log = func(level, message string, fields map[string]any) {
		p.r.emit(event.Log{Where: event.Where{Host: Local}, Level: level, Message: message, Fields: fields})
	}
	results := map[string]any{}
	for name, rec := range p.records {
		results[name] = rec.summary()
	}
	var arg lua.LValue
	p.r.opt.VM.Do(func(L *lua.LState) { arg = bind.ToLua(L, results) })
	_, err := p.r.opt.VM.Call(bind.WithEnv(ctx, &env), fn, lua.LBool(p.r.outcome.ok()), arg)
	if err != nil {
		return fmt.Errorf("on_complete of workflow %q: %w", p.w.Name, err)
	}
	return nil
}

// summary is results[task] for on_complete.
func (rec *record) summary() map[string]any {
	hosts := map[string]any{}
	status, worst := event.Skipped, step.Result{}
	var longest time.Duration
	for i, h := range rec.order {
		res := rec.results[h]
		hosts[h] = map[string]any{"status": string(res.Status), "success": !res.Status.Bad(), "output": output(res), "error": failureText(res), "duration": res.Duration.Seconds()}
		longest = max(longest, res.Duration)
		if i == 0 || res.Status.Bad() && !status.Bad() || status == event.Skipped && !status.Bad() {
			status, worst = res.Status, res
		}
	}
	return map[string]any{
		"success": !status.Bad(), "status": string(status), "output": output(worst), "error": failureText(worst),
		"duration": longest.Seconds(), "hosts": hosts,
	}
}

func output(res step.Result) any {
	if res.Outputs != nil {
		return res.Outputs
	}
	return res.Message
}

func failureText(res step.Result) any {
	if res.Failure == nil {
		return nil
	}
	return res.Failure.Message
}
