package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
	"github.com/sloth-runner/sloth/modules/spec"
)

// access is how the remote is reached; git's own helpers and the ssh-agent are
// asked where nothing is given.
type access struct {
	Username string            `lua:"username" doc:"User name for https"`
	Password modules.Secret    `lua:"password" alias:"token" doc:"Password or token for https; it is handed over in a file that only git reads"`
	Env      map[string]string `lua:"env" doc:"Further variables of the environment"`
	Timeout  time.Duration     `lua:"timeout" doc:"Kills git after this long"`
}

// work runs git for one call.
type work struct {
	call    modules.Call
	dir     string // the repository; empty before there is one
	env     []string
	options []string // before the subcommand
	start   time.Time
	last    facts.Answer
	tidy    func()
}

// open prepares a call. close must be called when it ends.
func (a *access) open(ctx context.Context, c modules.Call, dir string) (*work, error) {
	if c.Machine == nil {
		return nil, errors.New("there is no machine to run git on")
	}
	if _, err := c.Machine.LookPath("git"); err != nil {
		return nil, errors.New("git is not installed on this host; install its package first")
	}
	own, err := tool.Variables(a.Env)
	if err != nil {
		return nil, err
	}
	w := &work{call: c, dir: dir, start: time.Now(), tidy: func() {}}
	w.env = append([]string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "SSH_ASKPASS_REQUIRE=never"}, own...)
	w.options = []string{
		"-c", "color.ui=false", "-c", "advice.detachedHead=false",
		// A server that stands still for a minute is gone.
		"-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=60",
	}
	if !a.Password.Empty() {
		if err := w.credential(ctx, a.Username, a.Password); err != nil {
			w.close()
			return nil, err
		}
	}
	if !given(c.Env, own, "GIT_SSH_COMMAND") {
		// Nobody is there to answer what ssh might ask.
		ssh := "ssh"
		if got, err := w.ask(ctx, "config", "--get", "core.sshCommand"); err == nil && got != "" {
			ssh = got
		}
		w.env = append(w.env, "GIT_SSH_COMMAND="+ssh+" -o BatchMode=yes")
	}
	return w, nil
}

func (w *work) close() { w.tidy() }

func given(lists ...any) bool {
	name := lists[len(lists)-1].(string)
	if os.Getenv(name) != "" {
		return true
	}
	for _, l := range lists[:len(lists)-1] {
		for _, kv := range l.([]string) {
			if strings.HasPrefix(kv, name+"=") {
				return true
			}
		}
	}
	return false
}

// credential puts a password where git's helper finds it and nobody else can:
// neither the command line nor the environment is secret enough.
func (w *work) credential(ctx context.Context, username string, password modules.Secret) error {
	if strings.ContainsAny(username+password.Reveal(), "\n\x00") {
		return errors.New("username and password must be one line each")
	}
	if username == "" {
		username = "git"
	}
	file, tidy, err := tool.Private(ctx, w.call, "credential", "username="+username+"\npassword="+password.Reveal()+"\n")
	if err != nil {
		return err
	}
	w.tidy = tidy
	w.options = append(w.options, "-c", "credential.helper=", "-c", "credential.helper=!f() { cat '"+file+"'; }; f")
	return nil
}

// try runs git; only a git that cannot run at all, or a task that ends, is an error.
func (w *work) try(ctx context.Context, stdin string, args ...string) (facts.Answer, error) {
	argv := append([]string{"git"}, w.options...)
	if w.dir != "" {
		argv = append(argv, "-C", w.dir)
	}
	cmd := modules.Cmd{Argv: append(argv, args...), Env: w.env, Output: w.call.Output}
	if stdin != "" {
		cmd.Stdin = strings.NewReader(stdin)
	}
	a, err := tool.Run(ctx, w.call, cmd)
	if err != nil {
		return a, fmt.Errorf("git %s: %w", args[0], err)
	}
	return a, nil
}

// run runs git and makes an error of its failure.
func (w *work) run(ctx context.Context, args ...string) error { return w.feed(ctx, "", args...) }

func (w *work) feed(ctx context.Context, stdin string, args ...string) error {
	a, err := w.try(ctx, stdin, args...)
	if err != nil {
		return err
	}
	w.last = a
	if a.ExitCode != 0 {
		return fmt.Errorf("git %s: %s", args[0], reason(a))
	}
	return nil
}

// reason is the line in which git says what is wrong; hints follow it.
func reason(a facts.Answer) string {
	for line := range strings.Lines(string(a.Stderr)) {
		line = strings.TrimSpace(line)
		for _, mark := range []string{"fatal: ", "error: ", "ERROR: "} {
			if text, ok := strings.CutPrefix(line, mark); ok {
				if strings.Contains(text, "dubious ownership") {
					text += "; run as its owner, or list it in the user's safe.directory"
				}
				return text
			}
		}
	}
	return tool.Failure(a, false)
}

// ask runs git quietly and gives its answer without the line's end; a failing
// git answers nothing.
func (w *work) ask(ctx context.Context, args ...string) (string, error) {
	output := w.call.Output
	w.call.Output = nil
	a, err := w.try(ctx, "", args...)
	w.call.Output = output
	if err != nil || a.ExitCode != 0 {
		return "", err
	}
	return strings.TrimSpace(string(a.Stdout)), nil
}

// head is the commit that is checked out; empty in a repository without any.
func (w *work) head(ctx context.Context) (string, error) {
	return w.ask(ctx, "rev-parse", "--verify", "--quiet", "HEAD")
}

// branch is the branch that is checked out, or empty.
func (w *work) branch(ctx context.Context) (string, error) {
	return w.ask(ctx, "symbolic-ref", "--short", "--quiet", "HEAD")
}

// result is what the functions return, once all is well.
func (w *work) result(ctx context.Context, changed bool, more map[string]any) ([]any, error) {
	head, err := w.head(ctx)
	if err != nil {
		return nil, err
	}
	branch, err := w.branch(ctx)
	if err != nil {
		return nil, err
	}
	m := tool.Result(w.last, changed, "", w.start)
	m["path"], m["head"], m["branch"], m["exit_code"] = w.dir, head, branch, 0
	for k, v := range more {
		m[k] = v
	}
	return []any{m}, nil
}

// repoArg is the first argument of what works on a repository.
type repoArg struct {
	Repo any `lua:"repo" alias:"path" pos:"1" doc:"The repository: what clone gave, or its folder; required"`
}

// dir is the repository's folder.
func (r *repoArg) dir(workdir string) (string, error) {
	text, ok := r.Repo.(string)
	if m, isMap := r.Repo.(map[string]any); isMap {
		text, ok = m["path"].(string)
	}
	if !ok || text == "" {
		return "", errors.New("repo is missing: the repository, or its folder")
	}
	return spec.HostPath(text, workdir)
}

// ref refuses what git would take for an option.
func ref(what, name string) error {
	if strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \n\x00") {
		return fmt.Errorf("%s = %q cannot be a branch, tag or commit", what, name)
	}
	return nil
}

// address is where a repository comes from.
type address struct {
	url      string // without a password
	username string
	password modules.Secret
}

// split takes a password out of a url, which would end in command lines and in
// the clone's configuration.
func split(text modules.Text) (address, error) {
	raw := strings.TrimSpace(text.Reveal())
	if raw == "" || strings.HasPrefix(raw, "-") || strings.ContainsAny(raw, "\n\x00") {
		return address{}, errors.New("url is no address of a repository")
	}
	if !strings.Contains(raw, "://") {
		return address{url: raw}, nil // host:path, or a folder
	}
	u, err := url.Parse(raw)
	if err != nil {
		return address{}, errors.New("url cannot be read: is a character in it not escaped?")
	}
	a := address{}
	if password, ok := u.User.Password(); ok {
		a.username, a.password = u.User.Username(), modules.NewSecret(password)
		u.User = url.User(a.username)
	}
	a.url = u.String()
	return a, nil
}

// same reports whether two addresses are one repository.
func same(a, b string) bool {
	trim := func(s string) string {
		s = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(s, "/"), ".git"), "file://")
		if u, err := url.Parse(s); err == nil && u.User != nil && strings.HasPrefix(u.Scheme, "http") {
			u.User = nil
			s = u.String()
		}
		return s
	}
	return trim(a) == trim(b)
}
