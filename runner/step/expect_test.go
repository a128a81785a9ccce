package step

import (
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
)

func TestCallsAreHeldToThePlan(t *testing.T) {
	plan := func(e Expect) *Expect {
		e.Calls = []Expected{
			{Function: "f", File: "s", Line: 1, Args: "a1", Seen: "s1", Changed: true, Lines: []string{"/x mode: 0600 -> 0644"}},
			{Function: "g", File: "s", Line: 2, Args: "a2", Seen: "s2", Changed: true, Runs: true},
			{Function: "f", File: "s", Line: 3, Args: "a3", Seen: "s3", Unknown: true, Changed: true},
		}
		return &e
	}
	strict, open := plan(Expect{OpenFrom: -1}), plan(Expect{Open: true, OpenFrom: 2})
	call := func(function, args, seen string, line int) bind.Record {
		return bind.Record{Function: function, File: "s", Line: line, Args: args, Seen: seen, Changed: true}
	}
	all := []bind.Record{call("f", "a1", "s1", 1), call("g", "a2", "s2", 2), call("f", "a3", "s3", 3)}
	for _, c := range []struct {
		name  string
		plan  *Expect
		calls []bind.Record
		want  string // of the first error, or of what is missed
	}{
		{"as planned", strict, all, ""},
		{"in another order", strict, []bind.Record{all[2], all[0], all[1]}, ""},
		{"one less", strict, all[:2], "f at s:3: it is in the plan and was not called"},
		{"twice", strict, []bind.Record{all[0], all[0]}, "f at s:1: its arguments are not those of the plan; it was not made"},
		{"another function", strict, []bind.Record{call("h", "a1", "s1", 1)}, "h at s:1: the plan has no such call in this step; it was not made"},
		{"other arguments", strict, []bind.Record{call("g", "b", "s2", 2)}, "g at s:2: its arguments are not those of the plan; it was not made"},
		{"another finding", strict, []bind.Record{call("f", "a1", "t", 1)},
			"f at s:1: what it would change is not what was planned; it was not made\n  planned: /x mode: 0600 -> 0644\n  now:     to be run"},
		{"unknown, and not allowed", strict, []bind.Record{all[0], all[1], call("f", "a3", "t", 3)},
			"f at s:3: what it would change is not what was planned; it was not made\n  planned: to be run\n  now:     to be run (with another content)"},
		{"behind a command, not allowed", plan(Expect{OpenFrom: 2}), []bind.Record{all[0], all[1], call("h", "b", "t", 9)},
			"h at s:9: the plan has no such call in this step; it was not made\n  it follows something whose effect the plan does not know; --allow-unknown lets it differ"},
		{"unknown, and allowed", open, []bind.Record{all[0], all[1], call("f", "a3", "t", 3)}, ""},
		{"behind a command, with other arguments", open, []bind.Record{all[0], all[1], call("f", "b", "t", 3)}, ""},
		{"behind a command, and new", open, []bind.Record{all[0], all[1], call("h", "b", "t", 9)}, ""},
		{"new before the command", open, []bind.Record{all[0], call("h", "b", "t", 9)}, "h at s:9: the plan has no such call in this step; it was not made"},
		{"left out behind a command", open, all[:2], ""},
		{"left out before it", open, all[1:], "f at s:1: it is in the plan and was not called\n  planned: /x mode: 0600 -> 0644"},
	} {
		var e expecting
		e.begin(c.plan)
		got := ""
		for _, rec := range c.calls {
			if err := e.approve(rec, false); err != nil {
				got = err.Error()
				break
			}
		}
		if e.missed(); got == "" && e.stray != nil {
			got = e.stray.Error()
		}
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}

func TestAfterOneStrayNothingIsApproved(t *testing.T) {
	var e expecting
	e.begin(&Expect{OpenFrom: -1, Calls: []Expected{{Function: "f", Args: "a", Seen: "s"}}})
	if e.approve(bind.Record{Function: "h"}, false) == nil {
		t.Fatal("a call that is not in the plan")
	}
	if e.approve(bind.Record{Function: "f", Args: "a", Seen: "s"}, false) == nil {
		t.Error("a call of the plan, behind one that was not")
	}
}

func TestAnotherAttemptMayFindWhatTheFirstDid(t *testing.T) {
	var e expecting
	e.begin(&Expect{OpenFrom: -1, Calls: []Expected{{Function: "f", Args: "a", Seen: "s", Changed: true}}})
	if err := e.approve(bind.Record{Function: "f", Args: "a", Seen: "s", Changed: true}, false); err != nil {
		t.Fatal(err)
	}
	e.again()
	if err := e.approve(bind.Record{Function: "f", Args: "a", Seen: "done"}, false); err != nil {
		t.Error(err)
	}
	if e.approve(bind.Record{Function: "f", Args: "a", Seen: "done"}, false) == nil {
		t.Error("twice in one attempt")
	}
}

func TestWhatAStrayShowsIsHiddenWhereTheStepIs(t *testing.T) {
	var e expecting
	e.begin(&Expect{OpenFrom: -1, Calls: []Expected{{Function: "f", Args: "a", Seen: "s", Lines: []string{"/x content: differs (hidden)"}}}})
	rec := bind.Record{Function: "f", Args: "a", Seen: "t", Diff: modules.Diff{Changes: []modules.Change{{What: "/x", Attr: "mode", Before: "old-text", After: "new-text"}}}}
	if err := e.approve(rec, true); err == nil || strings.Contains(err.Error(), "-text") {
		t.Errorf("%v", err)
	}
}

func TestLines(t *testing.T) {
	many := modules.Diff{}
	for range 30 {
		many.Add(modules.Change{What: "/x", Attr: "mode", After: strings.Repeat("9", 500)})
	}
	if got := Lines(many); len(got) != maxLines+1 || got[maxLines] != "10 more" || len(got[0]) > 2*maxWords {
		t.Errorf("%d lines, the last %q", len(got), got[len(got)-1])
	}
	d := modules.Diff{Changes: []modules.Change{
		{What: "/a", Attr: "state", Before: "absent", After: "file"}, {What: "/a", Attr: "content", After: "two\nlines\n", Text: true},
		{What: "/b", Attr: "content", Hidden: true}, {What: "/c", Unknown: true}, {What: "/d", Attr: "owner", After: "a\nb"},
	}}
	want := "/a state: absent -> file|/a content: 0 bytes -> 10 bytes|/b content: differs (hidden)|/c: unknown until applied|/d owner: a b"
	if got := strings.Join(Lines(d), "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
