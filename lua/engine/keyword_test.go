package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/yuin/gopher-lua/parse"
)

func TestKeywordsNameFields(t *testing.T) {
	vm := New(Options{})
	t.Cleanup(func() { vm.Close() })
	for _, c := range []struct{ src, want string }{
		{`local t = { do = 1, undo = 2 } return t.do, t.undo`, "1 2"},
		{`local t = {until = function() return "x" end} return t.until()`, "x"},
		{`local t = {} function t:end() return self.n end t.n = 3 return t:end()`, "3"},
		{`local t = {} function t.repeat() return 4 end return t.repeat()`, "4"},
		{`local t = {} t.in = {} t.in.not = 5 return t["in"]["not"]`, "5"},
		{"local t = {\n  1, goto = 2; while\n  -- why\n  = 3 } return t[1], t.goto, t.while", "1 2 3"},
		{`local t = { a = function() if true then return 1 end end, end = 2 } return t.a(), t.end`, "1 2"},
		{`local t = {or = 1} return t . or, #t`, "1 0"},
		{`local t = { nil == nil, not true, function() end } return t[1], t[2]`, "true false"},
		{`return 1.or 2`, "1"},
		{`return .5 and 1. and 2`, "2"},
		{`return (pcall(function() return "a"..nil end))`, "false"},
		{`local function f(...) return ...or 7 end return f()`, "7"},
		{`do goto x end ::x:: do end return 8`, "8"},
		{`for i = 1, 2 do ::a:: if i then end end return 9`, "9"},
		// The word for "do" has to differ from what the strings spell.
		{`local t = { do = "__", ["\95\95"] = 2, ["a\95"] = 3, ["\_\_"] = 2 } return t.do, t["a_"]`, "__ 3"},
		{`local t = {} return pcall(function() return t.do.then end)`, "false"},
	} {
		chunk, err := vm.Load("f.lua", []byte(c.src))
		if err != nil {
			if c.want != "" {
				t.Errorf("%s: %v", c.src, err)
			}
			continue
		}
		rets, err := vm.Run(context.Background(), chunk)
		if err != nil {
			t.Errorf("%s: %v", c.src, err)
			continue
		}
		var got []string
		for _, v := range rets {
			got = append(got, v.String())
		}
		if s := strings.Join(got, " "); s != c.want && !strings.HasPrefix(s, c.want+" ") {
			t.Errorf("%s: %s, want %s", c.src, s, c.want)
		}
	}
}

// TestKeywordsElsewhere are still errors, with the keyword in the message and
// the right place.
func TestKeywordsElsewhere(t *testing.T) {
	vm := New(Options{})
	t.Cleanup(func() { vm.Close() })
	for src, want := range map[string]string{
		"local t = { do = 1 }\nlocal end = 2":    "f.lua:2:7: syntax error near 'end'",
		"return { a.do = 1 }":                    "f.lua:1:15: syntax error near '='",
		"t = { do = 1, then }":                   "f.lua:1:15: syntax error near 'then'",
		"f(do = 1)":                              "f.lua:1:3: syntax error near 'do'",
		"a.do b.until":                           "f.lua:1:6: syntax error near 'b'",
		"return x.until y.until":                 "f.lua:1:16: syntax error near 'y'",
		"t = { f(end = 1) }":                     "f.lua:1:9: syntax error near 'end'",
		"t.do.end = function() end = 3":          "f.lua:1:27: syntax error near '='",
		"t = { do = function()\n  if x then }":   "f.lua:2:13: syntax error near '}'",
		"t = { do == 1 }":                        "f.lua:1:7: syntax error near 'do'",
		"wait_for.until:do(1) = 2 wait_for.then": "f.lua:1:22: syntax error near '='",
		"x = t.do\n.then = 1 . until":            "f.lua:2:7: syntax error near '='",
	} {
		_, err := vm.Load("f.lua", []byte(src))
		var e *Error
		if !errors.As(err, &e) || !strings.HasPrefix(e.Error(), want) {
			t.Errorf("%q: %v\nwant %s", src, err, want)
		}
	}
	chunk, err := vm.Load("f.lua", []byte("local t = {}\nt.x = 1\nt.do.end()"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := vm.Run(context.Background(), chunk); err == nil || !strings.HasPrefix(err.Error(), "f.lua:3:") {
		t.Errorf("%v", err)
	}
}

// FuzzKeyword holds the promise that no program changes its meaning: what
// gopher-lua itself accepts is left as it is.
func FuzzKeyword(f *testing.F) {
	for _, src := range []string{
		"return { not x, nil == y, function() end }", "x = 1. or 2 ::a:: do end", "return 'a'..nil, ...", "t = { a, b; c = 1 }",
		"for k, v in pairs { x } do if a then elseif b then else end end", "repeat local a = .5e-3 until a.b:c() ~= nil",
		"return a --[[x]] . --\n b", "goto e ::e:: while true do break end",
	} {
		f.Add([]byte(src))
	}
	files, err := filepath.Glob("../../examples/*.sloth")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		if !accepted(src) {
			return
		}
		text, s, err := prepare("f.lua", src, 0)
		if err != nil {
			return // an octal number, or what is no text
		}
		if s.fields.count > 0 {
			t.Errorf("%q became %q", src, text)
		}
	})
}

func accepted(src []byte) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	_, err := parse.Parse(bytes.NewReader(src), "f.lua")
	return err == nil
}

// FuzzKeywordField turns fields into keywords: the program stays the same but
// for their names.
func FuzzKeywordField(f *testing.F) {
	for _, src := range []string{
		"local t = { qq = 1, b = { qq = 2 } } return t.qq + t.b.qq", "function t.qq() end function t:qq() end t:qq(1)", "return { qq = { 1, qq = 3; 4 } } . qq",
	} {
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if strings.Count(src, "qq") == 0 || !accepted([]byte(src)) {
			return
		}
		text, s, err := prepare("f.lua", []byte(strings.ReplaceAll(src, "qq", "do")), 0)
		if err != nil {
			return
		}
		if s.fields.count == strings.Count(src, "qq") && !accepted(text) {
			t.Errorf("%q is read as %q", src, text)
		}
	})
}

func BenchmarkParseFields(b *testing.B) {
	var src bytes.Buffer
	src.WriteString("local t = {}\n")
	for i := range 2000 {
		fmt.Fprintf(&src, "t.a%d = { do = function() return %d end, undo = t.until }\n", i, i)
	}
	b.SetBytes(int64(src.Len()))
	for b.Loop() {
		if _, err := Parse("f.lua", src.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
}
