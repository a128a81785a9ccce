package secret

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/modules"
)

// commandPatience is how long a program may take, in which a person may have to
// touch a key or type a passphrase.
const commandPatience = 2 * time.Minute

// maxSaid bounds what is kept of a program's complaints, in bytes.
const maxSaid = 4 << 10

// Command asks a program such as pass(1) or a cloud's command line. One program
// runs at a time, so that it may ask a person; what it said is kept.
type Command struct {
	// Argv is the program and its arguments; {name} in an argument is replaced by
	// the secret's name. There is no shell.
	Argv []string

	mu    sync.Mutex
	known map[string]modules.Secret
}

// NewCommand refuses a command that does not say where the name goes.
func NewCommand(argv []string) (*Command, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("the command is empty")
	}
	if !strings.Contains(strings.Join(argv[1:], "\x00"), "{name}") {
		return nil, errors.New(`the command has no {name}, which is replaced by the secret's name: [pass, show, "{name}"]`)
	}
	return &Command{Argv: argv, known: map[string]modules.Secret{}}, nil
}

// Where names the program.
func (c *Command) Where() string { return "the command " + c.Argv[0] }

// List is not possible.
func (*Command) List(context.Context) ([]string, error) { return nil, ErrNoList }

// Get runs the program. Its output without the last line break is the secret;
// a program that fails is an error, since why it did is not known.
func (c *Command) Get(ctx context.Context, name string) (modules.Secret, error) {
	if err := CheckName(name); err != nil {
		return modules.Secret{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.known[name]; ok {
		return v, nil
	}
	args := make([]string, len(c.Argv)-1)
	for i, a := range c.Argv[1:] {
		args[i] = strings.ReplaceAll(a, "{name}", name)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, commandPatience, fmt.Errorf("it did not end within %s", commandPatience))
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], args...)
	cmd.WaitDelay = time.Second
	out, said := &capped{limit: MaxValue}, &capped{limit: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return modules.Secret{}, fmt.Errorf("%s: %w", c.Where(), context.Cause(ctx))
	case err != nil:
		text, _, _ := strings.Cut(strings.TrimSpace(string(said.data)), "\n")
		if text != "" {
			text = ": " + text
		}
		return modules.Secret{}, fmt.Errorf("%s: %w%s", c.Where(), err, text)
	case out.cut:
		return modules.Secret{}, fmt.Errorf("%s: it printed more than %d bytes", c.Where(), MaxValue)
	case len(out.data) == 0:
		return modules.Secret{}, fmt.Errorf("%s: it printed nothing", c.Where())
	}
	v := modules.NewSecret(strings.TrimSuffix(strings.TrimSuffix(string(out.data), "\n"), "\r"))
	c.known[name] = v
	return v, nil
}

// capped keeps the beginning of what is written to it.
type capped struct {
	data  []byte
	limit int
	cut   bool
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.limit-len(c.data))
	c.data = append(c.data, p[:n]...)
	c.cut = c.cut || n < len(p)
	return len(p), nil
}
