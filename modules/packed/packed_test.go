package packed

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
)

func TestKindsSurvive(t *testing.T) {
	for _, v := range []any{
		nil, true, int64(0), int64(-7), int64(1 << 53), 1.5, math.Inf(1), "", "text", "\xff\x00",
		[]any{}, []any{int64(1), "a", []any{nil}}, map[string]any{}, map[string]any{"k": map[string]any{"n": int64(1)}},
		map[any]any{"k": int64(1), int64(2): "two", true: false, 1.5: nil},
		[]any{map[any]any{int64(1): map[any]any{int64(1): "x"}}},
	} {
		data, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%#v became %#v, %v", v, got, err)
		}
	}
}

func TestStructsWithPlainData(t *testing.T) {
	type thing struct {
		Name string         `msgpack:"n"`
		Raw  []byte         `msgpack:"r"`
		Any  any            `msgpack:"a"`
		Map  map[string]any `msgpack:"m"`
	}
	in := thing{"x", []byte{0, 255}, map[any]any{int64(1): "a", "b": int64(2)}, map[string]any{"k": []any{int64(3)}}}
	data, err := Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out thing
	if err := Unmarshal(data, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%#v became %#v, %v", in, out, err)
	}
}

func TestSecretsTravelOnlyWhenCarried(t *testing.T) {
	s := modules.NewSecret("hunter2")
	in := map[string]any{"a": s, "l": []any{s, map[string]any{"k": s}}, "m": map[any]any{int64(1): s}, "n": int64(1)}
	data, err := Marshal(CarryMap(in))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := Unmarshal(data, &got); err != nil || !reflect.DeepEqual(got, in) {
		t.Errorf("%#v, %v", got, err)
	}
	data, err = Marshal(in)
	if err != nil || strings.Contains(string(data), "hunter2") {
		t.Errorf("%q, %v", data, err)
	}
	plain := map[string]any{"x": []any{int64(1)}}
	if out := CarryMap(plain); !reflect.DeepEqual(out, plain) {
		t.Errorf("%#v", out)
	}
}

func TestLiesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"nothing":          {nil, "ends in the middle"},
		"deep":             {bytes.Repeat([]byte{0x91}, 1<<20), "nested deeper"},
		"huge map":         {[]byte{0xdf, 0xff, 0xff, 0xff, 0xff}, "ends in the middle"},
		"huge array":       {[]byte{0xdd, 0x7f, 0xff, 0xff, 0xff, 0xc0}, "ends in the middle"},
		"huge text":        {[]byte{0xdb, 0xff, 0xff, 0xff, 0xff, 'a'}, "ends in the middle"},
		"half a length":    {[]byte{0xda, 0x00}, "ends in the middle"},
		"tail":             {[]byte{0xc0, 0xc0}, "follow the end"},
		"extension":        {[]byte{0xd4, 0x01, 0x00}, "not spoken"},
		"a list as a key":  {[]byte{0x81, 0x91, 0xc0, 0xc0}, "as a key"},
		"a table as a key": {[]byte{0x81, 0x80, 0xc0}, "as a key"},
		"nan as a key":     {[]byte{0x81, 0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 1, 0xc0}, "as a key"},
		"nil as a key":     {[]byte{0x81, 0xc0, 0xc0}, "as a key"},
		"many values":      {append([]byte{0xdd, 0, 0x20, 0, 0}, bytes.Repeat([]byte{0xc0}, 0x200000)...), "more than"},
	} {
		var v any
		if err := Unmarshal(c.data, &v); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want …%s…", name, err, c.want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, v := range []any{map[any]any{int64(1): []any{"x"}}, "t", 1.5} {
		data, _ := Marshal(v)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v any
		if Unmarshal(data, &v) != nil {
			return
		}
		again, err := Marshal(v)
		if err != nil {
			t.Fatalf("%#v came out of %x and cannot go back: %v", v, data, err)
		}
		if err := Check(again); err != nil {
			t.Fatal(err)
		}
	})
}
