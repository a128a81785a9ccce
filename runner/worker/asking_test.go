package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
)

// TestMain lets this program be an executor for the tests below.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "executor" {
		os.Exit(Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// playSudo puts a script in the place of sudo.
func playSudo(t *testing.T, script string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sudo"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return dir
}

func asked20(t *testing.T, b wire.Become) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := startAs(ctx, b, "root")
	if err == nil {
		c.end(5 * time.Second)
	}
	return err
}

func TestSudoThatDoesNotAnswer(t *testing.T) {
	defer func(d time.Duration) { becomeTimeout = d }(becomeTimeout)
	becomeTimeout = 200 * time.Millisecond
	playSudo(t, "exec sleep 1000")
	err := asked20(t, wire.Become{})
	var b *becomeError
	if !errors.As(err, &b) || err.Error() != "become root: sudo did not answer within 200ms" || b.hint != "It may wait for DNS or LDAP: try it by hand on the host." {
		t.Error(err)
	}
}

func TestSudoWithoutAPasswordIsQuick(t *testing.T) {
	dir := playSudo(t, `echo "$@" > "$0.args"; echo "sudo: a password is required" >&2; exit 1`)
	begun := time.Now()
	err := asked20(t, wire.Become{})
	var b *becomeError
	if !errors.As(err, &b) || err.Error() != "become root: sudo needs a password" || !strings.HasPrefix(b.hint, "Use -K") {
		t.Error(err)
	}
	if d := time.Since(begun); d > time.Second {
		t.Errorf("took %v", d)
	}
	args, _ := os.ReadFile(filepath.Join(dir, "sudo.args"))
	if !strings.HasPrefix(string(args), "-H -n -u root -- ") {
		t.Errorf("it was asked %q", args)
	}
}

// A question, in the middle of a lecture or of other words, is answered once.
func TestThePasswordIsGivenOnceToTheRightQuestion(t *testing.T) {
	// $4 is the prompt, a marker that nobody else knows.
	ask := `p=$4; printf '%s' "$p" >&2; read -r got; echo "$got" >> "$0.got"`
	become := wire.Become{HasPassword: true, Password: []byte("hunter2")}

	dir := playSudo(t, `i=0; while [ $i -lt 3000 ]; do echo "You are being lectured. Password: " >&2; i=$((i+1)); done
`+ask+`; shift 7; echo "Password:" >&2; exec "$@"`)
	if err := asked20(t, become); err != nil {
		t.Error(err)
	}
	got := func() string { b, _ := os.ReadFile(filepath.Join(dir, "sudo.got")); return string(b) }
	if got() != "hunter2\n" {
		t.Errorf("it was given %q", got())
	}

	dir = playSudo(t, ask+`; echo Sorry, try again. >&2; `+ask+`; exit 1`)
	err := asked20(t, become)
	var b *becomeError
	if !errors.As(err, &b) || err.Error() != "become root: sudo did not accept the password" {
		t.Error(err)
	}
	if text := got(); strings.Count(text, "hunter2") != 1 {
		t.Errorf("it was given %q", text)
	}
}

func TestWhatAProgramSaysWhenItRefuses(t *testing.T) {
	for said, want := range map[string]string{
		"sudo: unknown user: nobody-here":              "become root: there is no such user on this host",
		"joe is not in the sudoers file.":              "become root: sudo refused: joe is not in the sudoers file.",
		"sudo: a terminal is required to authenticate": "become root: sudo needs a password",
		"Sorry, user joe may not run sudo on web-1.":   "become root: sudo refused: Sorry, user joe may not run sudo on web-1.",
		"": "become root: sudo ended without a word",
		`sudo: error in /etc/sudoers near line 7\nsudo: no valid sudoers file`: "become root: sudo refused: sudo: error in /etc/sudoers near line 7",
	} {
		playSudo(t, fmt.Sprintf(`[ -z '%[1]s' ] || printf '%[1]s\n' >&2; exit 1`, said))
		if err := asked20(t, wire.Become{}); err == nil || err.Error() != want {
			t.Errorf("%q gives %v", said, err)
		}
	}
}

func TestQuestions(t *testing.T) {
	for text, want := range map[string]bool{
		"Password: ": true, "Password:": true, "doas (joe@web) password: ": true, "a\nPassword for root:": true,
		"Your password will expire:\nsoon": false, "password": false, "": false, "Password: \nx": false,
	} {
		if _, got := lastLineAsks(text, ""); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
