// Package modulestest is what every module must pass: the contract that its
// tags, its example and its Check and Apply keep, and cases that are files.
//
// A case is modules/testdata/MODULE/NAME.txtar with these sections, all but
// task optional:
//
//	-- task --          Lua, run with an empty folder as its workdir
//	-- before/PATH --   a file that is there before; PATH/ is a folder
//	-- src/PATH --      a file of the controller
//	-- src/NAME.tar.gz!PATH --  an entry of an archive, there or in before/; "PATH -> TARGET" a link
//	-- diff --          what the plan shows, and then apply reports
//	-- after/PATH --    a file as it is afterwards; others are as before
//	-- modes --         "0600 PATH" lines, before
//	-- links --         "PATH -> TARGET" lines, before; "PATH => FILE" is a second name
//	-- state --         "0600 PATH", "PATH -> TARGET" and "no PATH" lines, afterwards
//	-- error --         the message the task ends with; nothing is changed then
//
// In bodies \r and \0 written as ␍ and ␀ stand for those bytes, and a last ␃
// takes away the newline before it. In the name of a backup TIME stands for the
// time ("f.TIME~"). A first line "repeats" in the comment says
// that another run changes something again, and "rooted" that the folder stands
// for / of a host that has no programs but those of Programs.
//
// The arguments of a changing function are each proved to matter by
// modules/testdata/MODULE/FUNCTION.vary: like a case, with a section vary.lua
// that returns a list of {base, {name = value}, …}: each of the tables after
// the base, put over it, must give another outcome than the base alone.
package modulestest
