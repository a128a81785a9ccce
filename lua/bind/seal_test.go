package bind

import (
	"context"
	"testing"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

type sealed struct {
	Name    string            `lua:"name"`
	Text    modules.Text      `lua:"text"`
	Token   modules.Secret    `lua:"token"`
	Tags    []string          `lua:"tags"`
	Env     map[string]string `lua:"env"`
	Any     any               `lua:"any"`
	Count   *int              `lua:"count"`
	Force   bool              `lua:"force"`
	Found   string            // what a check keeps
	private string
	embedded
}

type embedded struct {
	Mode modules.Mode `lua:"mode"`
}

func (*sealed) Check(context.Context, facts.Viewer) (modules.Diff, error)  { return modules.Diff{}, nil }
func (*sealed) Apply(context.Context, modules.Machine, modules.Diff) error { return nil }

func TestEveryArgumentIsSealed(t *testing.T) {
	e := &Env{Seal: []byte("key")}
	one := 1
	base := e.sealArgs("m.f", &sealed{Name: "a"})
	seen := map[string]string{base: "the base"}
	for name, v := range map[string]*sealed{
		"name": {Name: "b"}, "text": {Name: "a", Text: modules.PlainText("x")}, "empty text": {Name: "a", Text: modules.PlainText("")},
		"secret text": {Name: "a", Text: modules.SecretText(modules.NewSecret("x"))}, "token": {Name: "a", Token: modules.NewSecret("x")},
		"another token": {Name: "a", Token: modules.NewSecret("y")}, "tags": {Name: "a", Tags: []string{"x", "y"}}, "joined tags": {Name: "a", Tags: []string{"xy"}},
		"env": {Name: "a", Env: map[string]string{"x": "y"}}, "any": {Name: "a", Any: map[string]any{"x": []any{int64(1)}}}, "any text": {Name: "a", Any: "1"},
		"any number": {Name: "a", Any: int64(1)}, "count": {Name: "a", Count: &one}, "force": {Name: "a", Force: true}, "mode": {Name: "a", embedded: embedded{Mode: "0600"}},
	} {
		s := e.sealArgs("m.f", v)
		if other, again := seen[s]; again {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[s] = name
	}
	if e.sealArgs("m.g", &sealed{Name: "a"}) == base || (&Env{Seal: []byte("other")}).sealArgs("m.f", &sealed{Name: "a"}) == base {
		t.Error("function or key do not count")
	}
	if e.sealArgs("m.f", &sealed{Name: "a", Found: "x", private: "y"}) != base {
		t.Error("what a check keeps for itself counts")
	}
	many := map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": "5"}
	first := e.sealArgs("m.f", &sealed{Env: many})
	for range 20 {
		if e.sealArgs("m.f", &sealed{Env: many}) != first {
			t.Fatal("the order of a map counts")
		}
	}
	if (&Env{}).sealArgs("m.f", &sealed{}) != "" {
		t.Error("a digest without a key")
	}
}

func TestADifferenceIsSealedBeforeItIsHidden(t *testing.T) {
	e := &Env{Seal: []byte("key")}
	diff := func(after string) modules.Diff {
		return modules.Diff{Changes: []modules.Change{{What: "/x", Attr: "content", After: after}}}
	}
	a, b := e.seen(Record{Changed: true, Diff: diff("1")}), e.seen(Record{Changed: true, Diff: diff("2")})
	if a.Seen == b.Seen || a.Seen == "" || len(a.Seen) != 2*SealSize {
		t.Errorf("%q, %q", a.Seen, b.Seen)
	}
	if e.seen(Record{}).Seen == e.seen(Record{Changed: true}).Seen {
		t.Error("a command to be run and one that is not look alike")
	}
}
