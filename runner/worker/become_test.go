package worker_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/shim"
	"github.com/sloth-runner/sloth/connection/sshdtest"
	"github.com/sloth-runner/sloth/connection/wire"
	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/runner/step"
)

// rules is a server with an account that may become others as sudoers says.
type rules struct {
	t      *testing.T
	me     sshdtest.Account
	server *sshdtest.Server
}

func newRules(t *testing.T) *rules {
	t.Helper()
	me := sshdtest.AddAccount(t, "")
	return &rules{t, me, sshdtest.Start(t, sshdtest.Options{User: me.Name, RealHome: true})}
}

// sudoers writes the account's rules; ME stands for its name.
func (r *rules) sudoers(text string) {
	r.t.Helper()
	if _, err := exec.LookPath("sudo"); err != nil {
		sshdtest.MustSkip(r.t, "needs sudo")
	}
	path := filepath.Join("/etc/sudoers.d", r.me.Name)
	r.t.Cleanup(func() { os.Remove(path) })
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "ME", r.me.Name)+"\n"), 0o440); err != nil {
		r.t.Fatal(err)
	}
}

// whoami runs one step as user and gives how it ended and who it was.
func (r *rules) whoami(b wire.Become, user string) (step.Result, string) {
	r.t.Helper()
	h := open(r.t, r.server, shim.Options{Become: b})
	spec := shell("a", `echo "I am $(id -un) in $HOME, ${LC_ALL:-no locale}"; { echo > /dev/tty; } 2>/dev/null && echo terminal; env | tr '\0' '\n' | grep -c '^SUDO_ASKPASS' || true`)
	spec.Become = user
	hear := &heard{}
	got, err := h.do(within(r.t), hear, step.Segment{Steps: []step.Spec{spec}})
	if err != nil {
		r.t.Fatal(err)
	}
	var said strings.Builder
	for _, e := range hear.events {
		if o, ok := e.(event.Output); ok {
			said.Write(o.Data)
		}
	}
	if err := h.sess.Close(); err != nil {
		r.t.Error(err)
	}
	return got["a"], said.String()
}

func (r *rules) becomes(b wire.Become, user string) {
	r.t.Helper()
	res, said := r.whoami(b, user)
	if res.Status != event.Success || !strings.HasPrefix(said, "I am "+user+" in ") || strings.Contains(said, "terminal") || !strings.Contains(said, "no locale") {
		r.t.Errorf("%+v %v: it said %q", res, res.Failure, said)
	}
}

func (r *rules) refused(b wire.Become, user, message, hint string) {
	r.t.Helper()
	res, said := r.whoami(b, user)
	if res.Status != event.Failed || res.Failure == nil || said != "" {
		r.t.Fatalf("%+v: it said %q", res, said)
	}
	if f := res.Failure; f.Class != "become" || f.Message != message || f.Hint != hint {
		r.t.Errorf("class %s\n got %s | %s\nwant %s | %s", f.Class, f.Message, f.Hint, message, hint)
	}
}

func password(method, p string) wire.Become {
	return wire.Become{Method: method, Password: []byte(p), HasPassword: true}
}

const onceOnly = "It was tried once only, so that no account is locked."

func TestFault24Sudo(t *testing.T) {
	r := newRules(t)
	other := sshdtest.AddAccount(t, "")
	mine, wrong := password("sudo", r.me.Password), password("sudo", "wrong")

	r.sudoers("ME ALL=(ALL) NOPASSWD: ALL")
	r.becomes(wire.Become{}, "root")
	r.becomes(wire.Become{Method: "sudo"}, other.Name) // who cannot read the login's cache
	r.becomes(mine, "root")                            // is not asked for
	r.becomes(wire.Become{}, r.me.Name)                // is there already
	r.refused(wire.Become{}, "nobody-here", "become nobody-here: there is no such user on this host", "Create the user first, or correct become_user.")
	r.refused(wire.Become{Method: "runas"}, "root", `there is no become method "runas"`, "Use sudo, doas or su.")
	r.refused(wire.Become{}, "-u", `there is no user named "-u"`, "Correct become_user.")
	for _, d := range []string{"requiretty", "use_pty", "!use_pty", "requiretty,use_pty"} {
		t.Run("nopasswd "+d, func(t *testing.T) {
			r := &rules{t, r.me, r.server}
			r.sudoers("Defaults:ME " + d + "\nME ALL=(ALL) NOPASSWD: ALL")
			r.becomes(wire.Become{}, "root")
		})
	}
	for _, d := range []string{"!lecture", "lecture=always", "requiretty", "use_pty,lecture=always,requiretty", "!use_pty", "pwfeedback", "passprompt_override"} {
		t.Run("password "+d, func(t *testing.T) {
			r := &rules{t, r.me, r.server}
			r.sudoers("Defaults:ME timestamp_timeout=0," + d + "\nME ALL=(ALL) ALL")
			r.becomes(mine, "root")
			r.becomes(mine, other.Name)
			r.refused(wrong, "root", "become root: sudo did not accept the password", onceOnly)
			r.refused(wire.Become{}, "root", "become root: sudo needs a password", "Use -K, or let the user become root without one.")
		})
	}
	r.sudoers("# nothing for ME")
	res, _ := r.whoami(mine, "root")
	if f := res.Failure; f == nil || !strings.Contains(f.Message, "is not in the sudoers file") || f.Hint != "The login user is not allowed to: have the administrator permit it, or log in as somebody who is." {
		t.Errorf("%+v", f)
	}
}

func TestFault24Su(t *testing.T) {
	r := newRules(t)
	other := sshdtest.AddAccount(t, "")
	r.becomes(password("su", other.Password), other.Name)
	r.refused(password("su", "wrong"), other.Name, "become "+other.Name+": su did not accept the password", onceOnly)
	r.refused(wire.Become{Method: "su"}, other.Name, "become "+other.Name+": su needs a password", "Use -K, or let the user become "+other.Name+" without one.")
	r.refused(password("su", "x"), "nobody-here", "become nobody-here: there is no such user on this host", "Create the user first, or correct become_user.")
}

func TestFault24Doas(t *testing.T) {
	r := newRules(t)
	if _, err := exec.LookPath("doas"); err != nil {
		sshdtest.MustSkip(t, "needs doas")
	}
	const conf = "/etc/doas.conf"
	if exists(conf) {
		sshdtest.MustSkip(t, conf+" is in use")
	}
	rule := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text+"\n"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { os.Remove(conf) })
	other := sshdtest.AddAccount(t, "")
	rule("permit nopass " + r.me.Name)
	r.becomes(wire.Become{Method: "doas"}, "root")
	r.becomes(wire.Become{Method: "doas"}, other.Name)
	rule("permit " + r.me.Name)
	r.becomes(password("doas", r.me.Password), "root")
	r.refused(password("doas", "wrong"), "root", "become root: doas did not accept the password", onceOnly)
	r.refused(wire.Become{Method: "doas"}, "root", "become root: doas needs a password", "Use -K, or let the user become root without one.")
	r.refused(password("doas", r.me.Password), "nobody-here", "become nobody-here: there is no such user on this host", "Create the user first, or correct become_user.")
	rule("permit nopass root")
	r.refused(wire.Become{Method: "doas"}, "root", "become root: doas refused: doas: Operation not permitted", "The login user is not allowed to: have the administrator permit it, or log in as somebody who is.")
}

// A step may run for hours: its processes can be looked at by everybody.
func TestThePasswordIsInNoProcess(t *testing.T) {
	r := newRules(t)
	r.sudoers("Defaults:ME timestamp_timeout=0\nME ALL=(ALL) ALL")
	h := open(t, r.server, shim.Options{Become: password("sudo", r.me.Password)})
	spec := shell("a", "echo begun; env; while [ ! -e "+r.me.Home+"/go ]; do sleep 0.02; done")
	spec.Become = "root"
	looked := 0
	hear := &heard{}
	hear.on = func(e event.Event) {
		o, ok := e.(event.Output)
		if !ok {
			return
		}
		if bytes.Contains(o.Data, []byte(r.me.Password)) {
			t.Error("the step's environment has the password")
		}
		if looked == 0 {
			looked = scan(t, r.me.Password)
		}
		if err := os.WriteFile(r.me.Home+"/go", nil, 0o644); err != nil {
			t.Error(err)
		}
	}
	got, err := h.do(within(t), hear, step.Segment{Steps: []step.Spec{spec}})
	if err != nil || got["a"].Status != event.Success {
		t.Fatalf("%+v, %v", got, err)
	}
	if looked < 4 { // front, worker, sudo, executor at least
		t.Errorf("only %d processes were looked at", looked)
	}
}

// scan looks for text in what can be seen of every process but this one.
func scan(t *testing.T, text string) (n int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		if d == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			b, err := os.ReadFile(filepath.Join(d, file))
			if err == nil && bytes.Contains(b, []byte(text)) {
				t.Errorf("%s/%s has the password", d, file)
			}
		}
		n++
	}
	return n
}

func TestStepsOfSeveralUsersKeepTheirOrder(t *testing.T) {
	r := newRules(t)
	other := sshdtest.AddAccount(t, "")
	r.sudoers("ME ALL=(ALL) NOPASSWD: ALL")
	file := filepath.Join(r.me.Home, "order")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(r.me.Home, 0o755); err != nil {
		t.Fatal(err)
	}
	h := open(t, r.server, shim.Options{})
	var steps []step.Spec
	var want string
	for i, user := range []string{"root", "", other.Name, "root", ""} {
		s := shell(fmt.Sprint("s", i), "id -un >> "+file)
		s.Become = user
		if user == "" {
			user = r.me.Name
		}
		steps, want = append(steps, s), want+user+"\n"
	}
	got := h.must(step.Segment{Steps: steps})
	if text, err := os.ReadFile(file); err != nil || string(text) != want {
		t.Errorf("%q, %v, want %q: %+v", text, err, want, got)
	}
	// A lost link ends what runs as others too, deaf or not.
	nap, pid := naps(t, 3), h.worker()
	last := shell("last", `trap "" TERM; (trap "" TERM; sleep `+nap+`) & echo begun; wait; sleep `+nap)
	last.Become = "root"
	hear := &heard{on: func(e event.Event) {
		if _, ok := e.(event.Output); ok {
			h.Cut()
		}
	}}
	if _, err := h.do(within(t), hear, step.Segment{Steps: []step.Spec{last}}); err == nil {
		t.Error("the cut was not noticed")
	}
	begin := time.Now()
	until(t, "root's processes to end", func() bool { return !running(nap) })
	until(t, "the worker to end", func() bool { return !alive(pid) })
	if d := time.Since(begin); d > 15*time.Second {
		t.Errorf("it took %s", d)
	}
}
