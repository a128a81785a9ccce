package worker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sloth-runner/sloth/connection/wire"
)

// becomeTimeout bounds sudo, doas or su until the executor speaks; whoever asks
// LDAP or DNS in vain must not hold up the run for ever.
const becomeTimeout = 20 * time.Second

// becomeError is a refusal to become another user, and what to do about it.
type becomeError struct{ what, hint string }

func (e *becomeError) Error() string { return e.what }

// method is one way to become another user.
type method struct {
	name string
	argv func(user, shim string, password bool, marker string) []string
	// prompt finds the question for the password in what was printed so far.
	prompt func(text, marker string) bool
	onTTY  bool // asks on the terminal instead of the error output
}

var methods = map[string]method{
	"sudo": {
		name: "sudo",
		argv: func(user, shim string, password bool, marker string) []string {
			if !password {
				return []string{"sudo", "-n", "-u", user, "--", shim, "executor"}
			}
			return []string{"sudo", "-S", "-p", marker, "-u", user, "--", shim, "executor"}
		},
		prompt: func(text, marker string) bool { return strings.Contains(text, marker) },
	},
	"doas": {
		name: "doas",
		argv: func(user, shim string, password bool, _ string) []string {
			if !password {
				return []string{"doas", "-n", "-u", user, shim, "executor"}
			}
			return []string{"doas", "-u", user, shim, "executor"}
		},
		prompt: func(text, _ string) bool { return strings.Contains(strings.ToLower(text), "password:") },
		onTTY:  true,
	},
	"su": {
		name: "su",
		argv: func(user, shim string, _ bool, _ string) []string {
			return []string{"su", "-s", "/bin/sh", "-c", "exec '" + shim + "' executor", user}
		},
		prompt: func(text, _ string) bool { return strings.Contains(strings.ToLower(text), "password:") },
	},
}

// startAs starts the executor of another user and returns when it speaks.
func startAs(ctx context.Context, b wire.Become, name string) (*exec.Cmd, io.WriteCloser, io.ReadCloser, func(), error) {
	kind := b.Method
	if kind == "" {
		kind = "sudo"
	}
	m, ok := methods[kind]
	if !ok {
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("there is no become method %q", kind), "Use sudo, doas or su."}
	}
	if _, err := user.Lookup(name); err != nil || strings.HasPrefix(name, "-") {
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("become %s: there is no such user on this host", name), "Create the user first, or correct become_user."}
	}
	program, err := exec.LookPath(m.name)
	if err != nil {
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("become %s: %s is not installed on this host", name, m.name), "Install it, or choose another with --become-method."}
	}
	shim, err := readableShim(name)
	if err != nil {
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("become %s: %v", name, err), ""}
	}
	marker := newMarker()
	argv := m.argv(name, shim, b.HasPassword, marker)
	a := &asking{m: m, b: b, user: name, marker: marker, ready: make(chan error, 1)}
	cmd := exec.Command(program, argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return a.start(ctx, cmd)
}

func newMarker() string {
	var b [9]byte
	_, _ = rand.Read(b[:])
	return "[sloth-" + hex.EncodeToString(b[:]) + "] "
}

// asking is a become program under way, until the executor speaks.
type asking struct {
	m      method
	b      wire.Become
	user   string
	marker string
	ready  chan error

	mu     sync.Mutex
	said   bytes.Buffer // without the prompts, for the error
	tty    bytes.Buffer
	gave   bool
	refuse bool
}

func (a *asking) start(ctx context.Context, cmd *exec.Cmd) (*exec.Cmd, io.WriteCloser, io.ReadCloser, func(), error) {
	fail := func(err error) (*exec.Cmd, io.WriteCloser, io.ReadCloser, func(), error) {
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("become %s: %v", a.user, err), ""}
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fail(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fail(err)
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fail(err)
	}
	// A terminal of its own for those that insist on one (requiretty) or ask there.
	master, slave, err := openTerminal()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err == nil {
		cmd.ExtraFiles = []*os.File{slave}
		cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, 3
	}
	if err := cmd.Start(); err != nil {
		if master != nil {
			master.Close()
			slave.Close()
		}
		return fail(err)
	}
	var readers sync.WaitGroup
	readers.Go(func() { a.watch(stderr, stdin, &a.said, !a.m.onTTY) })
	if master != nil {
		slave.Close()
		readers.Go(func() { a.watch(master, master, &a.tty, a.m.onTTY) })
	}
	release := func() {
		if master != nil {
			master.Close()
		}
		readers.Wait()
	}
	mark := make(chan error, 1)
	go func() {
		_, err := wire.ReadMark(stdout)
		mark <- err
	}()
	limit := time.NewTimer(becomeTimeout)
	defer limit.Stop()
	kill := func() {
		_ = cmd.Process.Kill() // sudo's own; its child sees the end of its input
		stdin.Close()
	}
	select {
	case err := <-mark:
		if err == nil {
			return cmd, stdin, stdout, release, nil
		}
		kill()
		_ = cmd.Wait()
		release()
		return nil, nil, nil, nil, a.explain()
	case err := <-a.ready:
		kill()
		<-mark
		_ = cmd.Wait()
		release()
		return nil, nil, nil, nil, err
	case <-limit.C:
		kill()
		_ = cmd.Wait()
		release()
		return nil, nil, nil, nil, &becomeError{fmt.Sprintf("become %s: %s did not answer within %s", a.user, a.m.name, becomeTimeout), "It may wait for DNS or LDAP: try it by hand on the host."}
	case <-ctx.Done():
		kill()
		_ = cmd.Wait()
		release()
		return nil, nil, nil, nil, context.Cause(ctx)
	}
}

// watch reads what the program prints and answers its question once.
func (a *asking) watch(r io.Reader, answer io.Writer, keep *bytes.Buffer, asks bool) {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		a.mu.Lock()
		if keep.Len() < 8192 {
			keep.Write(buf[:n])
		}
		if asks && n > 0 && a.m.prompt(keep.String(), a.marker) {
			text := keep.String()
			keep.Reset()
			keep.WriteString(strings.ReplaceAll(text, a.marker, ""))
			a.reply(answer)
			if a.m.onTTY || a.m.name == "su" {
				keep.Reset() // the prompt has no marker of ours: do not see it again
			}
		}
		a.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// reply gives the password the first time and refuses the second: asking again
// means that it was wrong, and another attempt may lock the account.
func (a *asking) reply(w io.Writer) {
	var err error
	switch {
	case !a.b.HasPassword:
		err = &becomeError{fmt.Sprintf("become %s: %s needs a password", a.user, a.m.name), "Use -K, or let the user become " + a.user + " without one."}
	case a.gave:
		err = &becomeError{fmt.Sprintf("become %s: %s did not accept the password", a.user, a.m.name), "It was tried once only, so that no account is locked."}
	default:
		a.gave = true
		if _, err = w.Write(append(bytes.Clone(a.b.Password), '\n')); err == nil {
			return
		}
	}
	select {
	case a.ready <- err:
	default:
	}
}

// explain says why the program ended without starting the executor.
func (a *asking) explain() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := strings.TrimSpace(strings.ReplaceAll(a.said.String()+a.tty.String(), a.marker, ""))
	lower := strings.ToLower(text)
	first, _, _ := strings.Cut(text, "\n")
	first = strings.ToValidUTF8(strings.TrimSpace(first), "?")
	e := &becomeError{what: fmt.Sprintf("become %s: %s refused: %.300s", a.user, a.m.name, first)}
	switch {
	case strings.Contains(lower, "password is required"), strings.Contains(lower, "a terminal is required"),
		!a.b.HasPassword && (strings.Contains(lower, "authorization required") || strings.Contains(lower, "authentication required")):
		e.what, e.hint = fmt.Sprintf("become %s: %s needs a password", a.user, a.m.name), "Use -K, or let the user become "+a.user+" without one."
	case a.gave && (strings.Contains(lower, "incorrect password") || strings.Contains(lower, "try again") || strings.Contains(lower, "authentication fail") || strings.Contains(lower, "no password was provided") || strings.Contains(lower, "authentication failed")):
		e.what, e.hint = fmt.Sprintf("become %s: %s did not accept the password", a.user, a.m.name), "It was tried once only, so that no account is locked."
	case strings.Contains(lower, "not in the sudoers"), strings.Contains(lower, "may not run"), strings.Contains(lower, "not allowed"), strings.Contains(lower, "operation not permitted"):
		e.hint = "The login user is not allowed to: have the administrator permit it, or log in as somebody who is."
	case first == "":
		e.what = fmt.Sprintf("become %s: %s ended without a word", a.user, a.m.name)
	}
	return e
}

// readableShim is a path at which that user may start the shim. The cache is
// closed to others, so who is not root gets a copy in a folder that is not.
func readableShim(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if u, err := user.Lookup(name); err == nil && u.Uid == "0" {
		return self, nil
	}
	dir := fmt.Sprintf("/var/tmp/sloth-%d-x", os.Getuid())
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !st.IsDir() || !ok || int(sys.Uid) != os.Getuid() {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(self))
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() {
		return path, nil
	}
	return path, copyShim(self, path)
}

// copyShim writes the copy under a temporary name first.
func copyShim(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.CreateTemp(filepath.Dir(to), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name())
	_, err = io.Copy(dst, src)
	err = errors.Join(err, dst.Chmod(0o555), dst.Sync(), dst.Close())
	if err != nil {
		return err
	}
	return os.Rename(dst.Name(), to)
}
