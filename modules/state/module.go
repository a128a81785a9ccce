// Package statemod is the module state: values that tasks share, on every host
// and across runs. What they mean is in state/values on the controller.
package statemod

import (
	"context"
	"errors"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module state.
func Module() modules.Module {
	return modules.Module{
		Name:    "state",
		Summary: "Share values between tasks, hosts and runs of a stack; they keep their type.",
		Funcs: []modules.Func{
			{
				Name: "set", Summary: "Store a value; nil deletes it. The task reads it at once; others once the task ends, calls one of the atomic functions below, or a second has passed.", Returns: "true",
				Example: `state.set("release", { version = "1.4", hosts = 3 }, 3600)`,
				New:     func() any { return &set{} },
			},
			{
				Name: "get", Summary: "Read a value.", Returns: "the value, or default",
				Example: `local version = state.get("version", "none")`,
				New:     func() any { return &get{} },
			},
			{
				Name: "delete", Summary: "Delete a value.", Returns: "whether it existed",
				Example: `state.delete("version")`,
				New:     func() any { return &remove{} },
			},
			{
				Name: "exists", Summary: "Ask whether a key has a value.", Returns: "true or false",
				Example: `if state.exists("version") then log.info("deployed before") end`,
				New:     func() any { return &exists{} },
			},
			{
				Name: "keys", Summary: "List the keys that a pattern matches.", Returns: "a sorted list",
				Example: `for _, key in ipairs(state.keys("release/*")) do log.info(key) end`,
				New:     func() any { return &keys{Pattern: "*"} },
			},
			{
				Name: "clear", Summary: "Delete the values whose keys a pattern matches.", Returns: "how many there were",
				Example: `state.clear("cache/*")`,
				New:     func() any { return &clearKeys{Pattern: "*"} },
			},
			{
				Name: "stats", Summary: "Count what the stack keeps.", Returns: "{stack, keys, bytes, expiring, locks}",
				Example: `log.info(state.stats().keys .. " keys")`,
				New:     func() any { return &stats{} },
			},
			{
				Name: "set_ttl", Summary: "Let an existing value expire.", Returns: "whether the key has a value",
				Example: `state.set_ttl("version", "10m")`,
				New:     func() any { return &setTTL{} },
			},
			{
				Name: "get_ttl", Summary: "Ask how long a value stays.", Returns: "seconds, -1 for ever, nil without a value",
				Example: `local left = state.get_ttl("version")`,
				New:     func() any { return &getTTL{} },
			},
			{
				Name: "increment", Summary: "Add to a number; without a value it counts as 0.", Returns: "the new number",
				Example: `local n = state.increment("deployments")`,
				New:     func() any { return &increment{By: 1} },
			},
			{
				Name: "decrement", Summary: "Subtract from a number; without a value it counts as 0.", Returns: "the new number",
				Example: `local n = state.decrement("free_slots", 2)`,
				New:     func() any { return &decrement{By: 1} },
			},
			{
				Name: "append", Summary: "Put text behind a text, or a value behind a list.", Returns: "the new length",
				Example: `state.append("journal", "deployed\n")`,
				New:     func() any { return &appendTo{} },
			},
			{
				Name: "list_push", Summary: "Put a value at the end of a list.", Returns: "the new length",
				Example: `state.list_push("queue", { host = "web-01" })`,
				New:     func() any { return &listPush{} },
			},
			{
				Name: "list_pop", Summary: "Take the value at the end of a list away.", Returns: "the value, nil when the list is empty",
				Example: `local job = state.list_pop("queue")`,
				New:     func() any { return &listPop{} },
			},
			{
				Name: "list_length", Summary: "Count the values of a list.", Returns: "a number, 0 without a list",
				Example: `local n = state.list_length("queue")`,
				New:     func() any { return &listLength{} },
			},
			{
				Name: "compare_swap", Summary: "Replace a value if it is still the old one.", Returns: "whether it was",
				Example: `local mine = state.compare_swap("leader", nil, "web-01")`,
				New:     func() any { return &compareSwap{} },
			},
			{
				Name: "with_lock", Summary: "Run a function while nobody else holds the lock.", Returns: "what the function returns",
				Example: `local n = state.with_lock("deploy", function() return state.increment("n") end, 30)`,
				New:     func() any { return &withLock{Timeout: defaultWait} },
			},
			{
				Name: "lock", Summary: "Take a lock, waiting for it; raises when it is not free in time. It is given back at the end of the run.", Returns: "true",
				Example: `state.lock("migration", 60)
state.unlock("migration")`,
				New: func() any { return &lock{Timeout: defaultWait} },
			},
			{
				Name: "try_lock", Summary: "Take a lock if it is free.", Returns: "whether it was",
				Example: `if state.try_lock("backup") then state.unlock("backup") end`,
				New:     func() any { return &tryLock{} },
			},
			{
				Name: "unlock", Summary: "Give back a lock that this run took.", Returns: "whether this run held it",
				Example: `state.unlock("migration")`,
				New:     func() any { return &unlock{} },
			},
		},
	}
}

// defaultWait is how long a lock is waited for.
const defaultWait = 5 * time.Minute

// safe makes a function part of a plan: the controller gives a plan a layer
// whose writes are thrown away.
type safe struct{}

// PlanSafe is true for every function of state.
func (safe) PlanSafe() bool { return true }

var errNoState = errors.New("there is no state here: a file is read without it, and only a run has it")

func ask(ctx context.Context, c modules.Call, op string, args ...any) ([]any, error) {
	if c.Services == nil {
		return nil, errNoState
	}
	return c.Services.State(ctx, op, args)
}

type key struct {
	Key string `lua:"key,required,primary" pos:"1" doc:"Name of the value; up to 512 bytes"`
}

type set struct {
	safe
	key
	Value any           `lua:"value" pos:"2" doc:"Text, number, boolean or table; up to 1 MiB"`
	TTL   time.Duration `lua:"ttl" pos:"3" doc:"Seconds, or text such as \"5m\", after which it is gone; 0 is never"`
}

func (f *set) Run(ctx context.Context, c modules.Call) ([]any, error) {
	if s, ok := c.Services.(modules.Setter); ok {
		return []any{true}, s.SetLater(ctx, f.Key, f.Value, f.TTL)
	}
	return ask(ctx, c, "set", f.Key, f.Value, f.TTL.Seconds())
}

type get struct {
	safe
	key
	Default any `lua:"default" pos:"2" doc:"What to return when there is no value"`
}

func (f *get) Run(ctx context.Context, c modules.Call) ([]any, error) {
	out, err := ask(ctx, c, "get", f.Key)
	if err == nil && (len(out) == 0 || out[0] == nil) {
		out = []any{f.Default}
	}
	return out, err
}

type remove struct {
	safe
	key
}

func (f *remove) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "delete", f.Key)
}

type exists struct {
	safe
	key
}

func (f *exists) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "exists", f.Key)
}

type keys struct {
	safe
	Pattern string `lua:"pattern,primary" pos:"1" doc:"Which keys: * stands for any text, ? for one character, [a-c] for one of a set"`
}

func (f *keys) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "keys", f.Pattern)
}

type clearKeys struct {
	safe
	Pattern string `lua:"pattern,primary" pos:"1" doc:"Which keys, as in keys"`
}

func (f *clearKeys) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "clear", f.Pattern)
}

type stats struct{ safe }

func (f *stats) Run(ctx context.Context, c modules.Call) ([]any, error) { return ask(ctx, c, "stats") }

type setTTL struct {
	safe
	key
	TTL time.Duration `lua:"ttl,required" pos:"2" doc:"Seconds from now, or text such as \"5m\"; 0 is never"`
}

func (f *setTTL) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "set_ttl", f.Key, f.TTL.Seconds())
}

type getTTL struct {
	safe
	key
}

func (f *getTTL) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "get_ttl", f.Key)
}

type increment struct {
	safe
	key
	By float64 `lua:"by" alias:"n" pos:"2" doc:"How much to add"`
}

func (f *increment) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "increment", f.Key, f.By)
}

type decrement struct {
	safe
	key
	By float64 `lua:"by" alias:"n" pos:"2" doc:"How much to subtract"`
}

func (f *decrement) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "decrement", f.Key, f.By)
}

type appendTo struct {
	safe
	key
	Value any `lua:"value,required" pos:"2" doc:"What to put at the end"`
}

func (f *appendTo) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "append", f.Key, f.Value)
}

type listPush struct {
	safe
	key
	Value any `lua:"value,required" pos:"2" doc:"What to put at the end"`
}

func (f *listPush) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "list_push", f.Key, f.Value)
}

type listPop struct {
	safe
	key
}

func (f *listPop) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "list_pop", f.Key)
}

type listLength struct {
	safe
	key
}

func (f *listLength) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "list_length", f.Key)
}

type compareSwap struct {
	safe
	key
	Old any `lua:"old" pos:"2" doc:"What the value must be; nil: there must be none"`
	New any `lua:"new" pos:"3" doc:"What it becomes; nil deletes it"`
}

func (f *compareSwap) Run(ctx context.Context, c modules.Call) ([]any, error) {
	return ask(ctx, c, "compare_swap", f.Key, f.Old, f.New)
}
