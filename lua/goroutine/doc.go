// Package goroutine is the tables goroutine and async of the language. What they
// start are threads of the one Lua world: they share variables with their
// creator, run one at a time, and run beside each other while they block.
//
// All of them belong to the task that started them. They see its context, end
// with it, and are awaited before it ends.
package goroutine
