// Package bind makes the functions of modules callable: from Lua as global
// tables, from Go by name. It checks arguments, keeps plans from writing, and
// records what was changed and from which line.
package bind
