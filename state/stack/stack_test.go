package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/mem"
	"github.com/sloth-runner/sloth/state/values"
)

// each runs a test on the kinds of store.
func each(t *testing.T, test func(t *testing.T, store state.Store, s *Stacks)) {
	for name, open := range map[string]func() state.Store{
		"mem":    func() state.Store { return mem.New() },
		"badger": func() state.Store { return badger.New(badger.Options{Dir: t.TempDir()}) },
	} {
		t.Run(name, func(t *testing.T) {
			store := open()
			defer store.Close()
			test(t, store, New(store))
		})
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestStacksAreMadeAndListed(t *testing.T) {
	each(t, func(t *testing.T, _ state.Store, s *Stacks) {
		ctx := t.Context()
		a := must[Stack](t)(s.Create(ctx, Stack{Name: "shop/prod", Description: "the shop", CreatedBy: "me@here"}))
		must[Stack](t)(s.Create(ctx, Stack{Name: "blog"}))
		if _, err := s.Create(ctx, Stack{Name: "blog"}); !errors.Is(err, ErrExists) {
			t.Errorf("%v", err)
		}
		got := must[Stack](t)(s.Get(ctx, "shop/prod"))
		if got.ID != a.ID || got.ID == "" || got.Description != "the shop" {
			t.Errorf("%+v", got)
		}
		if list := must[[]Stack](t)(s.List(ctx)); len(list) != 2 || list[0].Name != "blog" {
			t.Errorf("%+v", list)
		}
		if err := s.Delete(ctx, "blog"); err != nil {
			t.Error(err)
		}
		if _, err := s.Get(ctx, "blog"); !errors.Is(err, ErrNone) {
			t.Error(err)
		}
	})
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"shop": true, "a/b": true, "v1.2-x_y": true, "": false, "/a": false, "a/": false, "a//b": false, "-x": false, "a b": false, "#stack": false, "a\n": false, strings.Repeat("x", 129): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func record(ctx context.Context, s *Stacks, name, id string, code int, at time.Time, script string) error {
	return s.Record(ctx, Run{ID: id, Stack: name, Began: at, Ended: at, ExitCode: code, Status: "x", Script: "h", Outputs: map[string]any{"url": id}},
		[]Result{{Host: "web", Task: "t", Status: "Success"}}, []Content{{Name: "site.sloth", Text: []byte(script)}}, []byte("a: 1"))
}

func TestHistory(t *testing.T) {
	each(t, func(t *testing.T, store state.Store, s *Stacks) {
		ctx := t.Context()
		at := time.Now().Add(-48 * time.Hour)
		s.now = func() time.Time { return at }
		large := strings.Repeat("0123456789abcdef", 100)
		for i := range 5 {
			code := 0
			if i == 4 {
				code = 2
			}
			if err := record(ctx, s, "shop", fmt.Sprintf("r%d", i), code, at.Add(time.Duration(i)*time.Minute), large+fmt.Sprint(i/2)); err != nil {
				t.Fatal(err)
			}
		}
		got := must[Stack](t)(s.Get(ctx, "shop"))
		if got.LastRun != "r4" || got.Outputs["url"] != "r3" {
			t.Errorf("%+v", got)
		}
		r := must[Run](t)(s.Find(ctx, "shop", "r1"))
		if text := must[[]byte](t)(s.Text(ctx, r.Sources[0].Hash)); string(text) != large+"0" {
			t.Errorf("%q", text)
		}
		if res := must[[]Result](t)(s.Results(ctx, r)); len(res) != 1 || res[0].Host != "web" {
			t.Errorf("%+v", res)
		}
		if r := must[Run](t)(s.Find(ctx, "", "last")); r.ID != "r4" {
			t.Errorf("%+v", r)
		}
		if _, err := s.Find(ctx, "shop", "r"); err == nil || !strings.Contains(err.Error(), `several runs begin with "r"`) {
			t.Error(err)
		}
		s.now = time.Now // texts are old now, and may go
		if n := must[int](t)(s.Prune(ctx, "shop", 1, time.Time{})); n != 3 {
			t.Errorf("%d forgotten", n)
		}
		runs := must[[]Run](t)(s.Runs(ctx, "shop"))
		if len(runs) != 2 || runs[0].ID != "r3" || runs[1].ID != "r4" {
			t.Errorf("%+v", runs)
		}
		if _, err := s.Text(ctx, r.Sources[0].Hash); err == nil {
			t.Error("the script of a forgotten run is still there")
		}
		for _, r := range runs {
			must[[]byte](t)(s.Text(ctx, r.Sources[0].Hash))
			must[[]byte](t)(s.Text(ctx, r.Values))
		}
	})
}

// A text has many parts, is kept once, and is noticed when it was changed.
func TestTexts(t *testing.T) {
	each(t, func(t *testing.T, store state.Store, s *Stacks) {
		ctx := t.Context()
		var b bytes.Buffer
		for x := uint64(88172645463325252); b.Len() < 2<<20; x ^= x << 17 { // it does not shrink
			x ^= x << 13
			x ^= x >> 7
			fmt.Fprintf(&b, "%016x", x)
		}
		hash := must[string](t)(s.PutText(ctx, b.Bytes()))
		if got := must[[]byte](t)(s.Text(ctx, hash)); !bytes.Equal(got, b.Bytes()) {
			t.Error("it came back changed")
		}
		if again := must[string](t)(s.PutText(ctx, b.Bytes())); again != hash {
			t.Error(again)
		}
		e := must[state.Entry](t)(store.Get(ctx, partKey(hash, 1)))
		e.Value[100] ^= 1
		must[state.Revision](t)(store.Put(ctx, e.Key, e.Value, 0, state.Any))
		if _, err := s.Text(ctx, hash); err == nil || !strings.Contains(err.Error(), "is damaged in the store") {
			t.Error(err)
		}
	})
}

func TestRenameTakesAllAlong(t *testing.T) {
	each(t, func(t *testing.T, store state.Store, s *Stacks) {
		ctx := t.Context()
		a := must[Stack](t)(s.Create(ctx, Stack{Name: "old"}))
		must[[]any](t)(values.New(store, "old").Do(ctx, "set", []any{"k", int64(7)}))
		if err := errors.Join(record(ctx, s, "old", "r1", 0, time.Now(), "x"), s.SavePending(ctx, "old", []Handler{{"web", "restart"}}, nil)); err != nil {
			t.Fatal(err)
		}
		must[Stack](t)(s.Create(ctx, Stack{Name: "taken"}))
		if err := s.Rename(ctx, "old", "taken"); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		must[[]any](t)(values.New(store, "used").Do(ctx, "set", []any{"k", int64(1)}))
		if err := s.Rename(ctx, "old", "used"); err == nil || !strings.Contains(err.Error(), `kept under "used" already`) {
			t.Error(err)
		}
		// Cut off at each of its writes, it is finished by the same call.
		for cut := 1; ; cut++ {
			c := &cutStore{Store: store, left: cut}
			err := New(c).Rename(ctx, "old", "new")
			if err == nil {
				break
			}
			if !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if _, err := New(store).Get(ctx, "old"); err != nil && !strings.Contains(err.Error(), "sloth stack rename old new") {
				t.Fatal(err)
			}
			if cut > 50 {
				t.Fatal("it never ends")
			}
		}
		got := must[Stack](t)(s.Get(ctx, "new"))
		if got.ID != a.ID || got.LastRun != "r1" {
			t.Errorf("%+v", got)
		}
		if v := must[[]any](t)(values.New(store, "new").Do(ctx, "get", []any{"k"})); v[0] != int64(7) {
			t.Error(v)
		}
		if r := must[Run](t)(s.Find(ctx, "new", "r1")); r.Stack != "new" {
			t.Errorf("%+v", r)
		}
		if p := must[map[string][]string](t)(s.Pending(ctx, "new")); len(p) != 1 {
			t.Error(p)
		}
		for _, prefix := range append(parts("old"), recordKey("old")) {
			for e := range store.List(ctx, prefix) {
				t.Errorf("%s is left", e.Key)
			}
		}
	})
}

var errCut = errors.New("cut")

// cutStore fails at its nth write.
type cutStore struct {
	state.Store
	left int
}

func (c *cutStore) Commit(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if c.left--; c.left < 0 {
		return 0, errCut
	}
	return c.Store.Commit(ctx, ops)
}

func (c *cutStore) Delete(ctx context.Context, key string, at state.Revision) error {
	if c.left--; c.left < 0 {
		return errCut
	}
	return c.Store.Delete(ctx, key, at)
}

func TestExportAndImport(t *testing.T) {
	each(t, func(t *testing.T, store state.Store, s *Stacks) {
		ctx := t.Context()
		must[Stack](t)(s.Create(ctx, Stack{Name: "shop", Description: "d"}))
		must[[]any](t)(values.New(store, "shop").Do(ctx, "set", []any{"k", []any{"x", true}}))
		if err := record(ctx, s, "shop", "r1", 0, time.Now(), "script"); err != nil {
			t.Fatal(err)
		}
		var doc bytes.Buffer
		if err := s.Export(ctx, "shop", &doc); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Import(ctx, bytes.NewReader(doc.Bytes()), "", false); !errors.Is(err, ErrExists) {
			t.Error(err)
		}
		other := mem.New()
		defer other.Close()
		o := New(other)
		got := must[Stack](t)(o.Import(ctx, bytes.NewReader(doc.Bytes()), "copy", false))
		if got.Name != "copy" || got.Description != "d" {
			t.Errorf("%+v", got)
		}
		if v := must[[]any](t)(values.New(other, "copy").Do(ctx, "get", []any{"k"})); !reflect.DeepEqual(v[0], []any{"x", true}) {
			t.Error(v)
		}
		r := must[Run](t)(o.Find(ctx, "copy", "r1"))
		if text := must[[]byte](t)(o.Text(ctx, r.Sources[0].Hash)); string(text) != "script" || r.Stack != "copy" {
			t.Errorf("%q %+v", text, r)
		}
		for bad, want := range map[string]string{
			"":                  "it is no export of a stack",
			"{}":                "its format is 0, not 1",
			`{"sloth_stack":1}`: "is no name for a stack",
			`{"sloth_stack":1,"stack":{"name":"x"},"items":[{"kind":"lock","key":"a"}]}`:                   `items[0]: there is no kind "lock"`,
			`{"sloth_stack":1,"stack":{"name":"x"},"items":[{"kind":"history","key":"a","value":"e30="}]}`: `items[0]: the run "a" cannot be read`,
		} {
			if _, err := o.Import(ctx, strings.NewReader(bad), "", false); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", bad, err)
			}
		}
	})
}

func TestOneAtATime(t *testing.T) {
	each(t, func(t *testing.T, _ state.Store, s *Stacks) {
		s.Who = "apply site.sloth, pid 7, ann"
		err := s.Hold(t.Context(), "shop", 0, func(ctx context.Context) error {
			var held *values.LockedError
			if err := s.Hold(ctx, "shop", 0, func(context.Context) error { return nil }); !errors.As(err, &held) || held.Who != s.Who {
				t.Errorf("%v", err)
			}
			return s.Hold(ctx, "blog", 0, func(context.Context) error { return nil })
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestPending(t *testing.T) {
	each(t, func(t *testing.T, _ state.Store, s *Stacks) {
		ctx := t.Context()
		var many []Handler
		for i := range 100 {
			many = append(many, Handler{fmt.Sprintf("h/%03d", i), "restart nginx/now"})
		}
		if err := s.SavePending(ctx, "shop", many, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.SavePending(ctx, "shop", nil, many[1:]); err != nil {
			t.Fatal(err)
		}
		got := must[map[string][]string](t)(s.Pending(ctx, "shop"))
		if want := map[string][]string{"h/000": {"restart nginx/now"}}; !reflect.DeepEqual(got, want) {
			t.Errorf("%v", got)
		}
		if err := s.SavePending(ctx, "shop", []Handler{{"h", strings.Repeat("x", 2000)}}, nil); err == nil {
			t.Error("a key that is too long was taken")
		}
	})
}
