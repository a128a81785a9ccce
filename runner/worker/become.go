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
var becomeTimeout = 20 * time.Second

// refusedGrace is how long a program that refused may take to end by itself.
const refusedGrace = 3 * time.Second

// becomeError is a refusal to become another user, and what to do about it.
type becomeError struct{ what, hint string }

func (e *becomeError) Error() string { return e.what }

// method is one way to become another user.
type method struct {
	name string
	argv func(user, shim string, password bool, marker string) []string
	// prompt finds the question for the password at the end of what was printed,
	// and returns what is left without it.
	prompt func(text, marker string) (rest string, found bool)
	onTTY  bool // asks on a terminal only
}

var methods = map[string]method{
	"sudo": {
		name: "sudo",
		argv: func(user, shim string, password bool, marker string) []string {
			if !password {
				return []string{"sudo", "-H", "-n", "-u", user, "--", shim, "executor"}
			}
			return []string{"sudo", "-H", "-S", "-p", marker, "-u", user, "--", shim, "executor"}
		},
		prompt: func(text, marker string) (string, bool) {
			before, after, found := strings.Cut(text, marker)
			return before + after, found
		},
	},
	"doas": {
		name: "doas",
		argv: func(user, shim string, password bool, _ string) []string {
			if !password {
				return []string{"doas", "-n", "-u", user, shim, "executor"}
			}
			return []string{"doas", "-u", user, shim, "executor"}
		},
		prompt: lastLineAsks,
		onTTY:  true,
	},
	"su": {
		name: "su",
		argv: func(user, shim string, _ bool, _ string) []string {
			return []string{"su", "-s", "/bin/sh", "-c", "exec '" + shim + "' executor", user}
		},
		prompt: lastLineAsks,
	},
}

// lastLineAsks is for programs whose prompt cannot be chosen.
func lastLineAsks(text, _ string) (string, bool) {
	i := strings.LastIndexByte(text, '\n') + 1
	line := strings.ToLower(strings.TrimSpace(text[i:]))
	return text[:i], strings.Contains(line, "password") && strings.HasSuffix(line, ":")
}

// child is an executor that was started through a become program.
type child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  io.ReadCloser
	tty  *os.File // our end of its terminal; nil: it has none
	wait chan struct{}
	// held is the other end, kept until the executor speaks: doas closes what it
	// was given before it opens the terminal anew, and without anybody at the
	// other end ours would be at its end too.
	held *os.File
}

// startAs starts the executor of another user and returns when it speaks.
func startAs(ctx context.Context, b wire.Become, name string) (*child, error) {
	m, err := chooseMethod(b.Method, name)
	if err != nil {
		return nil, err
	}
	program, err := exec.LookPath(m.name)
	if err != nil {
		return nil, &becomeError{fmt.Sprintf("become %s: %s is not installed on this host", name, m.name), "Install it, or choose another with --become-method."}
	}
	shim, err := readableShim(name)
	if err != nil {
		return nil, &becomeError{fmt.Sprintf("become %s: %v", name, err), "The user needs a folder from which it may start programs: /var/tmp must be writable and not mounted noexec."}
	}
	a := &asking{m: m, b: b, user: name, marker: newMarker(), patience: becomeTimeout, refused: make(chan error, 1)}
	cmd := exec.Command(program, m.argv(name, shim, b.HasPassword, a.marker)[1:]...)
	// Their words are looked at; the executor goes back to the login's locale.
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	return a.start(ctx, cmd)
}

// chooseMethod finds the become method by its name; empty is sudo.
func chooseMethod(kind, name string) (method, error) {
	if name == "" || strings.HasPrefix(name, "-") || strings.ContainsAny(name, "\x00\n") {
		return method{}, &becomeError{fmt.Sprintf("there is no user named %q", name), "Correct become_user."}
	}
	if kind == "" {
		kind = "sudo"
		// To root su asks nothing, and it is always there.
		if _, err := exec.LookPath(kind); err != nil && os.Getuid() == 0 {
			kind = "su"
		}
	}
	m, ok := methods[kind]
	if !ok {
		return method{}, &becomeError{fmt.Sprintf("there is no become method %q", kind), "Use sudo, doas or su."}
	}
	return m, nil
}

func newMarker() string {
	var b [9]byte
	_, _ = rand.Read(b[:])
	return "[sloth-" + hex.EncodeToString(b[:]) + "] "
}

// asking is a become program under way, until the executor speaks.
type asking struct {
	m        method
	b        wire.Become
	user     string
	marker   string
	patience time.Duration // until the executor speaks
	refused  chan error

	mu   sync.Mutex
	said []byte // on its error output, without the prompts, for the error
	tty  []byte // on its terminal
	gave bool   // the password
	over bool   // the executor speaks: nothing is answered any more
}

func (a *asking) start(ctx context.Context, cmd *exec.Cmd) (*child, error) {
	c := &child{cmd: cmd, wait: make(chan struct{})}
	stderr, err := a.launch(c)
	if err != nil {
		return nil, &becomeError{fmt.Sprintf("become %s: %v", a.user, err), ""}
	}
	if c.held != nil {
		defer c.held.Close()
	}
	// These two end with the streams; the error output is read all along.
	var readers sync.WaitGroup
	readers.Go(func() { a.watch(stderr, c.in, &a.said) })
	if c.tty != nil {
		readers.Go(func() { a.watch(c.tty, c.tty, &a.tty) })
	}
	go func() {
		readers.Wait()
		_ = cmd.Wait() // how it ended says nothing that it has not said
		close(c.wait)
	}()
	mark := make(chan error, 1)
	go func() {
		_, err := wire.ReadMark(io.TeeReader(c.out, asked{a, c.in}))
		a.mu.Lock()
		a.over = err == nil
		a.mu.Unlock()
		mark <- err
	}()
	limit := time.NewTimer(a.patience)
	defer limit.Stop()
	select {
	case err = <-mark:
		if err == nil {
			return c, nil
		}
		c.end(refusedGrace)
		return nil, a.explain()
	case err = <-a.refused:
	case <-limit.C:
		err = &becomeError{fmt.Sprintf("become %s: %s did not answer within %s", a.user, a.m.name, a.patience), "It may wait for DNS or LDAP: try it by hand on the host."}
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.end(refusedGrace)
	return nil, err
}

// launch starts the program with pipes for the frames, and a terminal of its
// own for those that insist on one (requiretty) or ask there.
func (a *asking) launch(c *child) (stderr io.ReadCloser, err error) {
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if stderr, err = c.cmd.StderrPipe(); err != nil {
		return nil, err
	}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	master, slave, err := openTerminal()
	if err == nil {
		c.tty, c.held = master, slave
		c.cmd.ExtraFiles = []*os.File{slave}
		c.cmd.SysProcAttr.Setctty, c.cmd.SysProcAttr.Ctty = true, 3
	} else if a.m.onTTY {
		return nil, fmt.Errorf("%s asks on a terminal, and there is none to be had: %w", a.m.name, err)
	}
	if err := c.cmd.Start(); err != nil {
		if c.tty != nil {
			c.tty.Close()
			c.held.Close()
		}
		return nil, err
	}
	return stderr, nil
}

// end closes the program's input, which ends the executor, or sudo at its
// question: it then writes down by itself what was refused. One that goes on
// loses its terminal too, and is killed if it may be: it may belong to root, or
// hang where nobody can help.
func (c *child) end(grace time.Duration) {
	c.in.Close()
	if c.held != nil {
		c.held.Close() // else the terminal has no end to be waited for
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.wait:
	case <-timer.C:
	}
	if c.tty != nil {
		c.tty.Close()
	}
	_ = c.cmd.Process.Kill()
	timer.Reset(time.Second)
	select {
	case <-c.wait:
	case <-timer.C:
	}
}

// asked watches the output of a program that asks there, as busybox su does.
type asked struct {
	a      *asking
	answer io.Writer
}

func (w asked) Write(p []byte) (int, error) {
	w.a.hear(p, w.answer, &w.a.said)
	return len(p), nil
}

// watch reads what the program prints and answers its question once.
func (a *asking) watch(r io.Reader, answer io.Writer, keep *[]byte) {
	buf := make([]byte, 1024)
	for {
		n, err := r.Read(buf)
		a.hear(buf[:n], answer, keep)
		if err != nil {
			return
		}
	}
}

// maxSaid is how much of a program's words is kept: the newest, since a lecture
// may come before the question.
const maxSaid = 8 << 10

func (a *asking) hear(p []byte, answer io.Writer, keep *[]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over || len(p) == 0 {
		return
	}
	*keep = append(*keep, p...)
	if n := len(*keep) - maxSaid; n > 0 {
		*keep = (*keep)[n:]
	}
	if rest, ok := a.m.prompt(string(*keep), a.marker); ok {
		*keep = append((*keep)[:0], rest...)
		a.reply(answer)
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
	case a.refused <- err:
	default:
	}
}

// explain says why the program ended without starting the executor.
func (a *asking) explain() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(a.said)+"\n"+string(a.tty), "?"))
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
	case strings.Contains(lower, "unknown user"), strings.Contains(lower, "unknown uid"), strings.Contains(lower, "does not exist"):
		e.what, e.hint = fmt.Sprintf("become %s: there is no such user on this host", a.user), "Create the user first, or correct become_user."
	case strings.Contains(lower, "not in the sudoers"), strings.Contains(lower, "may not run"), strings.Contains(lower, "not allowed"), strings.Contains(lower, "operation not permitted"):
		e.hint = "The login user is not allowed to: have the administrator permit it, or log in as somebody who is."
	case first == "":
		e.what = fmt.Sprintf("become %s: %s ended without a word", a.user, a.m.name)
	}
	return e
}

// readableShim is a path at which that user may start the shim. The cache is
// closed to others, so who is not root gets a copy in a folder that is not. Root
// does too where the cache lies on a network: there it is a nobody.
func readableShim(name string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if u, err := user.Lookup(name); err == nil && u.Uid == "0" && !overNetwork(self) {
		return self, nil
	}
	var problems []error
	for _, base := range []string{"/var/tmp", "/tmp", "/dev/shm"} {
		path, err := copyTo(fmt.Sprintf("%s/sloth-%d-x", base, os.Getuid()), self)
		if err == nil {
			return path, nil
		}
		problems = append(problems, err)
	}
	return "", errors.Join(problems...)
}

// copyTo puts the shim into a folder of ours that others may pass through.
func copyTo(dir, self string) (string, error) {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	st, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !st.IsDir() || !mine(st) {
		return "", fmt.Errorf("%s belongs to somebody else", dir)
	}
	if noExec(dir) {
		return "", fmt.Errorf("%s is mounted noexec", dir)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return "", err
	}
	path := filepath.Join(dir, filepath.Base(self))
	if st, err := os.Lstat(path); err == nil && st.Mode() == 0o555 && mine(st) {
		touchShim(path, time.Now())
		return path, nil
	}
	if err := copyShim(self, path); err != nil {
		return "", err
	}
	tidyShims(path, time.Now())
	return path, nil
}

func mine(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
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
