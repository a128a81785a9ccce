// Package engine is the Lua world of sloth: one VM with its libraries, one
// lock, a friendly loader, and threads that can be stopped.
//
// A VM holds one set of globals. Every piece of Lua runs on a gopher-lua thread
// of its own, one at a time, under the VM's lock; Go functions that block let
// the lock go with [Block], so that other threads run meanwhile. Closures share
// variables as Lua people expect, and nothing races.
package engine
