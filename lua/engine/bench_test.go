package engine

import (
	"context"
	"testing"

	lua "github.com/yuin/gopher-lua"
)

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(Options{}).Close()
	}
}

// BenchmarkNewEverything makes every library table too.
func BenchmarkNewEverything(b *testing.B) {
	for b.Loop() {
		vm := New(Options{})
		vm.Do(func(L *lua.LState) { vm.loadAll(L) })
		vm.Close()
	}
}

func BenchmarkLoadKnownChunk(b *testing.B) {
	vm := New(Options{})
	defer vm.Close()
	src := []byte("return 1")
	for b.Loop() {
		if _, err := vm.Load("x.lua", src); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkSource(b *testing.B, src string) {
	vm := New(Options{})
	defer vm.Close()
	c, err := vm.Load("bench.lua", []byte(src))
	if err != nil {
		b.Fatal(err)
	}
	fn := vm.Function(c)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for b.Loop() {
		if _, err := vm.Call(ctx, fn); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCall(b *testing.B)  { benchmarkSource(b, "return 1") }
func BenchmarkPCall(b *testing.B) { benchmarkSource(b, "for i = 1, 1000 do pcall(type, i) end") }
func BenchmarkLoop(b *testing.B)  { benchmarkSource(b, "local n = 0 for i = 1, 10000 do n = n + i end") }
func BenchmarkGsub(b *testing.B) {
	benchmarkSource(b, `local s = ("hello world "):rep(1000) return (s:gsub("%w+", "<%0>"))`)
}
