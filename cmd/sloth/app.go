package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state/secret"
	"github.com/sloth-runner/sloth/state/secret/redact"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// app is one invocation: its streams, and what was asked of the person once.
type app struct {
	stdin          *os.File
	stdout, stderr io.Writer
	args           []string // the command line, without the program
	state          string   // --state
	// newShow makes the renderer of runs that do not make their own; nil: --output
	// says which.
	newShow func(render.Options) (render.Renderer, error)

	mu sync.Mutex // one question at a time

	protectOnce sync.Once
	redactOnce  sync.Once
	redact      *redact.Redactor // through redactor
	keysOnce    sync.Once
	keys        *secret.Keys // through ageKeys
	secrets     *secrets     // through openSecrets
	warned      sync.Map
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   programName(),
		Short: "Configure and run fleets of machines over nothing but SSH",
		Long: `sloth configures and runs fleets of machines over nothing but SSH.

  sloth apply -i hosts.yaml site.sloth                       bring hosts into the state a file describes
  sloth plan  -i hosts.yaml site.sloth                       show what apply would change
  sloth exec  'web-*' "systemctl restart nginx"              one command on many hosts
  sloth run -f deploy.sloth -v values.yaml                   a workflow on this machine`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&a.state, "state", "", "where state is kept: a `folder`, or etcd://host1,host2/prefix")
	root.SetVersionTemplate("sloth {{.Version}}\n")
	root.AddGroup(&cobra.Group{ID: "run", Title: "Run:"}, &cobra.Group{ID: "look", Title: "Look:"}, &cobra.Group{ID: "more", Title: "More:"})
	root.SetHelpCommandGroupID("more")
	root.SetCompletionCommandGroupID("more")
	for group, commands := range map[string][]*cobra.Command{
		"run":  {newApply(a), newPlan(a), newDrift(a), newExec(a), newTest(a), newPing(a), newRun(a)},
		"look": {newDoc(a), newList(a), newValidate(a), newFacts(a), newInventory(a), newRuns(a), newLock(a)},
		"more": {newStack(a), newArtifact(a), newAudit(a), newSecret(a), newState(a), newInit(a), newStubs(a), newVersion(a), newMaster(a), newAgent(a), newLogin(a)},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return withHint(err, fmt.Sprintf("%s --help shows what there is.", c.CommandPath()))
	})
	return root
}

// programName is sloth-runner for those who call it so.
func programName() string {
	if name := filepath.Base(os.Args[0]); name == "sloth-runner" {
		return name
	}
	return "sloth"
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		fmt.Fprintf(a.stdout, "sloth %s\n", version)
		return nil
	}}
}

// terminal reports whether w is one.
func terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// color reports whether w should be coloured (https://no-color.org).
func color(w any) bool {
	return terminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

func (a *app) paint(sgr, s string) string {
	if !color(a.stderr) {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

// canAsk reports whether somebody is there to answer.
func (a *app) canAsk() bool { return terminal(a.stdin) && terminal(a.stderr) }

var errNobodyToAsk = errors.New("nobody can be asked: standard input is no terminal")

// askSecret asks without echo. It reads a line from standard input where that
// is a pipe, so that a script can pass a password on.
func (a *app) askSecret(prompt string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !terminal(a.stdin) {
		line, err := readLine(a.stdin)
		if err != nil {
			return "", fmt.Errorf("%s%w", prompt, errNobodyToAsk)
		}
		return line, nil
	}
	fmt.Fprint(a.stderr, prompt)
	text, err := term.ReadPassword(int(a.stdin.Fd()))
	fmt.Fprintln(a.stderr)
	return string(text), err
}

// confirm asks a question that y or yes answers.
func (a *app) confirm(question string) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.canAsk() {
		return false, errNobodyToAsk
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(a.stdin).ReadString('\n')
	if err != nil {
		return false, err
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// readLine reads one line byte by byte: what follows belongs to others.
func readLine(r io.Reader) (string, error) {
	var line []byte
	var b [1]byte
	for len(line) < 4096 {
		n, err := r.Read(b[:])
		if n == 1 && b[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		line = append(line, b[:n]...)
		if err != nil {
			if len(line) > 0 && errors.Is(err, io.EOF) {
				return string(line), nil
			}
			return "", err
		}
	}
	return "", errors.New("what was typed is over 4096 bytes")
}

// ask asks for a line of text, hidden where it is secret.
func (a *app) ask(prompt string, secret bool) (string, error) {
	if secret {
		return a.askSecret(prompt)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.canAsk() {
		return "", errNobodyToAsk
	}
	fmt.Fprint(a.stderr, prompt)
	return readLine(a.stdin)
}
