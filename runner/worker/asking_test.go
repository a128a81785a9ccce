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

func TestFault25SudoThatDoesNotAnswer(t *testing.T) {
	defer func(d time.Duration) { becomeTimeout = d }(becomeTimeout)
	becomeTimeout = 200 * time.Millisecond
	playSudo(t, "exec sleep 1000")
	err := asked20(t, wire.Become{})
	var b *becomeError
	if !errors.As(err, &b) || err.Error() != "become root: sudo did not answer within 200ms" || b.hint != "It may wait for DNS or LDAP: try it by hand on the host." {
		t.Error(err)
	}
}

func TestFault22SudoWithoutAPasswordIsQuick(t *testing.T) {
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
func TestFault23ThePasswordIsGivenOnceToTheRightQuestion(t *testing.T) {
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

// A worker without a link, and with nothing to do, lets others change the host;
// one that is busy does not.
func TestFault09AnIdleWorkerLetsGo(t *testing.T) {
	defer func(d time.Duration) { restAfter = d }(restAfter)
	restAfter = 50 * time.Millisecond
	t.Setenv("HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	r := newRun(ctx, roleWorker)
	r.active["j"] = &job{}
	mine, other := &wire.Durable{Run: "a"}, &wire.Durable{Run: "b"}
	if err := r.lock.take(ctx, mine, func(string) {}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); r.awaitLink() }()
	var busy targetLock
	if err := busy.take(ctx, &wire.Durable{Run: "b", LockWait: 0.2}, func(string) {}); err == nil {
		t.Error("a busy worker let go")
	}
	r.mu.Lock()
	delete(r.active, "j")
	r.mu.Unlock()
	other.LockWait = 10
	var idle targetLock
	if err := idle.take(ctx, other, func(string) {}); err != nil {
		t.Error(err)
	}
	// And takes it again for its next step.
	if err := r.lock.take(ctx, &wire.Durable{Run: "a"}, func(string) {}); err == nil {
		t.Error("two have the lock")
	}
	cancel()
	r.links <- nil
	<-ended
}

// What waits does so by a clock that nobody sets: the time of day does not count.
func TestFault47TheClockIsSet(t *testing.T) {
	r := newRun(t.Context(), roleWorker)
	r.began = r.began.Add(-time.Hour) // has run for that long
	r.alone.Store(int64(time.Hour - time.Minute))
	if r.abandoned() {
		t.Error("alone for a minute is abandoned")
	}
	r.alone.Store(int64(time.Hour - aloneFor - time.Minute))
	if !r.abandoned() {
		t.Error("alone for too long is not abandoned")
	}
	// A journal from the future is not old.
	runs := t.TempDir()
	for name, age := range map[string]time.Duration{"future": -20 * 365 * 24 * time.Hour, "fresh": time.Hour, "old": maxAge + time.Hour} {
		dir := filepath.Join(runs, name)
		file := filepath.Join(dir, "journal")
		when := time.Now().Add(-age)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(file, nil, 0o600), os.Chtimes(file, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	prune(runs, time.Now().Add(-maxAge))
	left, err := os.ReadDir(runs)
	if err != nil || len(left) != 2 || left[0].Name() != "fresh" || left[1].Name() != "future" {
		t.Errorf("%v %v", left, err)
	}
}
