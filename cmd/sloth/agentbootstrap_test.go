package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// TestAgentBootstrap runs the script where it is meant to run, with a token in
// all the ways it may come.
func TestAgentBootstrap(t *testing.T) {
	x := newInstallation(t)
	b := &bootstrap{name: "db-1", at: x.address(), binary: x.program, root: x.root}
	script := func(b *bootstrap) string {
		t.Helper()
		var text bytes.Buffer
		if err := b.write(&text); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(x.root, "bootstrap.sh")
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	run := func(file, stdin string, args ...string) (string, error) {
		cmd := exec.CommandContext(x.ctx, "/bin/sh", append([]string{file}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	token := func() string {
		t.Helper()
		var info agent.TokenInfo
		if err := callMaster(x.ctx, x.address(), agent.MethodToken, &agent.TokenRequest{Kind: pki.KindAgent, Pattern: "db-1"}, &info); err != nil {
			t.Fatal(err)
		}
		return info.Text + "\n"
	}
	file := script(b)
	lib := filepath.Join(x.root, installLib)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string]func(string) string{
		"cut off": func(s string) string { return s[:len(s)-60] + "\n" },
		"replaced": func(s string) string {
			script, _, _ := strings.Cut(s, "#PROGRAM\n")
			return script + "#PROGRAM\nH4sIAAAAAAAAA8tIzcnJBwCGphA2BQAAAA==\n"
		},
	} {
		if err := os.WriteFile(file, []byte(edit(string(whole))), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := run(file, token()); err == nil || !strings.Contains(out, "nothing was installed") && !strings.Contains(out, "is not whole") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
		if _, err := os.Lstat(filepath.Join(lib, "agent")); !os.IsNotExist(err) {
			t.Errorf("%s: there is an agent: %v", what, err)
		}
	}
	file = script(b)
	open := filepath.Join(x.root, "token")
	if err := os.WriteFile(open, []byte(token()), 0o644); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, stdin string
		args        []string
		want        string
	}{
		{"an open token", "", []string{"--token-file", open}, "bootstrap: " + open + " is open to others: chmod 600 "},
		{"no token", "", nil, "bootstrap: the master did not let this host in"},
		{"an option that is none", "", []string{"--token", "x"}, "there is no option --token; there are --token-file FILE and --no-token"},
		{"a token", token(), nil, "the agent db-1 is installed and registered with " + x.address()},
		{"again, without one", "", nil, "the agent db-1 was installed already"},
	} {
		out, err := run(file, c.stdin, c.args...)
		if (err == nil) != strings.HasPrefix(c.want, "the agent") || !strings.Contains(out, c.want) {
			x.out.WriteString(out)
			x.fatal(c.name, err)
		}
	}
	first := x.current()
	// Another program, downloaded; and one that does not match.
	b.binary = x.script("sloth-2", "# another one\nexec "+x.program+" \"$@\"")
	srv := httptest.NewServer(http.FileServer(http.Dir(x.root)))
	defer srv.Close()
	b.url = srv.URL + "/sloth-1"
	if out, err := run(script(b), ""); err == nil || !strings.Contains(out, "nothing was installed") || x.current() != first {
		t.Errorf("another program at the address: %v\n%s", err, out)
	}
	b.url = srv.URL + "/sloth-2"
	if out, err := run(script(b), ""); err != nil || x.current() == first {
		x.out.WriteString(out)
		x.fatal("a download", err)
	}
}
