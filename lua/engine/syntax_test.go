package engine

import (
	"errors"
	"strings"
	"testing"
)

// TestSyntaxErrors holds the exact words of what a user sees.
func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"local x = 1\nif x = 1 then\nend\n", `
site.sloth:2:6: syntax error near '='
  2 | if x = 1 then
    |      ^
hint: Lua compares with ==`},
		{"task(\"a\"):command(function()\n  return true\n", `
site.sloth:2: the file ends too early
  2 |   return true
hint: the 'function' of line 1 has no 'end'`},
		{"local t = {\n  a = 1,\n  b = {2,\n}\n", `
site.sloth:4: the file ends too early
  4 | }
hint: the '{' of line 1 has no '}'`},
		{"task(\"a\"):command(function()\n    if x then\n        y()\nend)\nprint(1)\n", `
site.sloth:4:4: syntax error near ')'
  4 | end)
    |    ^
hint: the 'if' of line 2 seems to have no 'end'`},
		{"if a then\n  b()\nelse if c then\n  d()\nend\n", `
site.sloth:5: the file ends too early
  5 | end
hint: the 'if' of line 1 has no 'end'`},
		{"local mode = 0o648\n", `
site.sloth:1:14: malformed number 0o648: '8' is not an octal digit
  1 | local mode = 0o648
    |              ^
hint: write octal modes as 0o644 or "0644"`},
		{"x = 0o\n", `
site.sloth:1:5: malformed number 0o: octal digits must follow 0o
  1 | x = 0o
    |     ^
hint: write octal modes as 0o644 or "0644"`},
		{"local s = \"abc\nprint(s)\n", `
site.sloth:2: unterminated string near 'abc'
  2 | print(s)
hint: close the string with its quote; a string over several lines is [[ … ]]`},
		{"if a != b then end\n", `
site.sloth:1:6: invalid token near '!'
  1 | if a != b then end
    |      ^
hint: Lua writes ~= for not equal`},
		{"local t = {\n  a = 1\n  b = 2\n}\n", `
site.sloth:3:3: syntax error near 'b'
  3 |   b = 2
    |   ^
hint: is a comma missing at the end of line 2?`},
		{"for i = 1, 3 do\n  if i == 2 then continue end\nend\n", `
site.sloth:2:27: syntax error near 'end'
  2 |   if i == 2 then continue end
    |                           ^
hint: Lua 5.1 has no continue: put the rest of the loop into an if`},
		{"goto nowhere\n", `
site.sloth:1: no visible label 'nowhere' for <goto>
  1 | goto nowhere`},
		{"print(\u201chi\u201d)\n", `
site.sloth:1:7: invalid token near '“'
  1 | print(“hi”)
    |       ^
hint: these are typographic quotes: write "`},
		{"\x1bLua\x51", "\nsite.sloth: this is compiled Lua: only source text can be loaded"},
		{"x = 1\ny = \x00\n", `
site.sloth:2: a zero byte in the source
  2 | y = ` + "\x00" + `
hint: the file is not text, or not in UTF-8`},
	} {
		vm := world(t, Options{})
		_, err := vm.Load("site.sloth", []byte(c.src))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v", c.src, err)
			continue
		}
		if got := "\n" + e.Detail(); got != c.want {
			t.Errorf("%q\n got %s\nwant %s", c.src, got, c.want)
		}
	}
}

func TestHugeSources(t *testing.T) {
	vm := world(t, Options{MaxSource: 1 << 20})
	for name, src := range map[string]string{
		"sum":       "return 1" + strings.Repeat("+1", 40_000),
		"concat":    "return ''" + strings.Repeat("..''", 20_000),
		"not":       "return " + strings.Repeat("not ", 20_000) + "1",
		"tables":    "return " + strings.Repeat("{", 20_000) + strings.Repeat("}", 20_000),
		"functions": strings.Repeat("function f() ", 8_000) + strings.Repeat("end ", 8_000),
		"elseif":    "if a then " + strings.Repeat("elseif a then ", 8_000) + "end",
		"size":      "return '" + strings.Repeat("x", 1<<20) + "'",
	} {
		if _, err := vm.Load("huge.lua", []byte(src)); err == nil {
			t.Errorf("%s: it was loaded", name)
		} else if len(err.Error()) > 200 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
	if _, err := vm.Load("wide.lua", []byte("return {"+strings.Repeat("1,", 300_000)+"}")); err != nil {
		t.Error(err)
	}
}

// FuzzLoad looks for sources that bring the loader down, or errors that point
// outside of the source.
func FuzzLoad(f *testing.F) {
	for _, src := range []string{
		"return 0o644", "#!/bin/x\nreturn 1", "\xef\xbb\xbfx = '\\\r\n'", "x = [==[ 0o1 ]==] -- 0o9", "if a then", "a = {1, 0o7}",
		"function f(...) return ... end goto x ::x::", "x = 'abc\\", "--[[", "x = 1 .. 2e10 .. 0x1f",
	} {
		f.Add([]byte(src))
	}
	vm := New(Options{})
	f.Cleanup(func() { vm.Close() })
	f.Fuzz(func(t *testing.T, src []byte) {
		text, _, err := prepare("f.lua", src, 0)
		if err == nil && len(text) != len(src) && len(text) != len(src)-3 {
			t.Errorf("the text changed its length from %d to %d", len(src), len(text))
		}
		_, err = vm.load("f.lua", src, true)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%T", err)
		}
		if e != nil && (e.Line < 0 || e.Line > 1+strings.Count(string(src), "\n")+strings.Count(string(src), "\r") || e.Column < 0) {
			t.Errorf("line %d, column %d", e.Line, e.Column)
		}
	})
}
