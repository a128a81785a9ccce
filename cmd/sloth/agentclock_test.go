package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/agenttest"
	"github.com/sloth-runner/sloth/connection/agent/master"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// TestAgentClocks: a clock that is off by a year is an error that names both
// clocks, from whichever side it shows.
func TestAgentClocks(t *testing.T) {
	c := newController(t, 0, "")
	nextYear := func() time.Time { return time.Now().AddDate(1, 0, 0) }
	// As if this machine's clock were a year behind: it is the master's that is ahead.
	ahead := agenttest.Start(t, master.Options{Now: nextYear})
	root := ahead.User("root", master.Admin)
	d := root.Dialer("")
	d.Now = nextYear
	token := func(q *agent.TokenRequest) {
		ctx, cancel := context.WithTimeout(t.Context(), agenttest.Patience)
		defer cancel()
		l, err := d.Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var info agent.TokenInfo
		if err := l.Invoke(ctx, agent.MethodToken, q, &info); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(c.dir, "token-"+q.Kind), []byte(info.Text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	token(&agent.TokenRequest{Kind: pki.KindAgent, Pattern: "web-1"})
	token(&agent.TokenRequest{Kind: pki.KindUser, Pattern: "ann", Role: "operator"})

	// A certificate that was made a year from now, as where the master's clock has
	// been set right since.
	right := agenttest.Start(t, master.Options{})
	future, err := pki.OpenAuthority(right.Options.Dir, nextYear)
	if err != nil {
		t.Fatal(err)
	}
	k, err := agent.OpenKeep(filepath.Join(c.dir, "early"))
	if err != nil {
		t.Fatal(err)
	}
	csr, err := k.Request()
	if err != nil {
		t.Fatal(err)
	}
	der, err := future.Issue(csr, pki.Identity{Kind: pki.KindAgent, Name: "early", Machine: agenttest.Machine("early")}, pki.AgentLife)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := future.Root()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Store("early", right.Address, der, ca); err != nil {
		t.Fatal(err)
	}

	today, then := time.Now().UTC().Format("2006-01-02"), nextYear().UTC().Format("2006-01-02")
	apart := "sloth: connect to the master " + ahead.Address + ": the clocks are too far apart: this machine says " + today + "T, the master about " + then + "T\n       Set the clock that is wrong (timedatectl set-ntp true).\n"
	clock := regexp.MustCompile(`T\d\d:\d\d:\d\dZ`)
	for _, x := range []struct{ name, args, want string }{
		{"an agent", "agent start --name web-1 --dir a --token-file token-agent --master " + ahead.Address, apart},
		{"a user", "login " + ahead.Address + " --name ann --token-file token-user", apart},
		{"a certificate", "agent start --name early --dir early --master " + right.Address,
			"our certificate is valid from " + then + "T to " + nextYear().Add(pki.AgentLife).UTC().Format("2006-01-02") + "T: this machine's clock says " + today + "T, the master's about " + today + "T\n       If a clock is wrong, set it; else enrol again with a new token.\n"},
	} {
		code, out := c.sloth(strings.Fields(x.args)...)
		if got := clock.ReplaceAllString(out, "T"); code != 4 || !strings.HasSuffix(got, x.want) {
			t.Errorf("%s: exit code %d\n got %q\nwant %q", x.name, code, got, x.want)
		}
	}
}
