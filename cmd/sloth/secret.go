package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/sloth-runner/sloth/cmd/sloth/render"
	"github.com/sloth-runner/sloth/state/secret"
	"github.com/spf13/cobra"
)

// secretCommand is `sloth secret` and what is below it.
type secretCommand struct {
	app   *app
	file  string
	vault vaultFlags
}

func newSecret(a *app) *cobra.Command {
	s := &secretCommand{app: a}
	c := &cobra.Command{
		Use:   "secret",
		Short: "Keep secrets, encrypted to the keys of a team",
		Long: `Secrets are kept in secrets.age (or what ` + "`secrets:`" + ` in sloth.yaml names), encrypted
with age to every key in the list of recipients beside it: age keys, and the SSH
keys a team has already. A script asks for one with secret("name"), an inventory
with !secret name. $SLOTH_SECRET_NAME wins over the file.

A key to read them with is $SLOTH_AGE_IDENTITY, ~/.config/sloth/identity, or an SSH
key of yours (~/.ssh/id_ed25519, ~/.ssh/id_rsa).`,
		Example: "  sloth secret set db_password\n  pass show db | sloth secret set db_password\n  sloth secret recipients add ~/bob.pub",
	}
	c.PersistentFlags().StringVar(&s.file, "file", "", "the `file` of secrets, instead of what sloth.yaml says")
	s.vault.add(c.PersistentFlags())
	list := &cobra.Command{Use: "list", Short: "Print the names", Args: cobra.NoArgs}
	output := list.Flags().String("output", "", "basic or json")
	list.RunE = func(cmd *cobra.Command, _ []string) error { return s.list(cmd.Context(), *output) }
	c.AddCommand(
		&cobra.Command{Use: "set NAME", Short: "Store a secret: it is asked for, or read from standard input", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.set(cmd.Context(), args[0]) }},
		&cobra.Command{Use: "get NAME", Short: "Print a secret", Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.get(cmd.Context(), args[0]) }},
		list,
		&cobra.Command{Use: "rm NAME…", Short: "Remove secrets", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.remove(cmd.Context(), args) }},
		&cobra.Command{Use: "edit", Short: "Change all secrets in $VISUAL or $EDITOR", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return s.edit(cmd.Context()) }},
		&cobra.Command{Use: "rotate", Short: "Encrypt everything anew, to the recipients of now", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return s.rotate(cmd.Context()) }},
		s.recipients(),
	)
	return c
}

// places are where secrets are looked for.
func (s *secretCommand) places(ctx context.Context) (secret.Chain, error) {
	sec, err := s.app.openSecrets(ctx, &s.vault)
	if err != nil {
		return nil, err
	}
	if s.file != "" {
		return secret.Chain{secret.NewAgeFile(s.file, s.app.ageKeys())}, nil
	}
	return sec.open()
}

// store is the file that commands change.
func (s *secretCommand) store(ctx context.Context) (*secret.AgeFile, error) {
	chain, err := s.places(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range chain {
		if f, ok := p.(*secret.AgeFile); ok {
			return f, nil
		}
	}
	return nil, withHint(fmt.Errorf("the secrets here are in %s, which sloth only reads", chain[1:].Where()), "Name a file of age with --file, or change them with their own program.")
}

// explain adds what to do about an error.
func (s *secretCommand) explain(err error) error {
	switch {
	case errors.Is(err, secret.ErrNoKey):
		return withHint(err, "Set $"+secret.EnvIdentity+" to the file of your key; sloth secret set makes one where there are no secrets yet.")
	case errors.Is(err, secret.ErrKey):
		return withHint(err, "Somebody who can read it must add your key: sloth secret recipients add KEY.")
	}
	return err
}

func (s *secretCommand) set(ctx context.Context, name string) error {
	if err := secret.CheckName(name); err != nil {
		return err
	}
	f, err := s.prepare(ctx)
	if err != nil {
		return s.explain(err)
	}
	value, err := s.value(name)
	if err != nil {
		return err
	}
	if err := s.app.redactor().Add(name, value); err != nil {
		s.app.warn(err.Error())
	}
	replaced := false
	err = f.Change(ctx, false, func(table map[string]string) error {
		_, replaced = table[name]
		table[name] = value
		return nil
	})
	if err != nil {
		return s.explain(err)
	}
	verb := "stored"
	if replaced {
		verb = "replaced"
	}
	fmt.Fprintf(s.app.stderr, "%s %s in %s\n", verb, name, f.Where())
	return nil
}

// prepare is store, and makes a key and a list of recipients for the first
// secret of all.
func (s *secretCommand) prepare(ctx context.Context) (*secret.AgeFile, error) {
	f, err := s.store(ctx)
	if err != nil {
		return nil, err
	}
	made, err := f.Init(ctx)
	if errors.Is(err, secret.ErrNoKey) && os.Getenv(secret.EnvIdentity) == "" {
		var file string
		if file, err = secret.DefaultIdentity(); err != nil {
			return nil, err
		}
		if _, err := secret.Generate(ctx, file); errors.Is(err, fs.ErrExist) {
			return nil, withHint(fmt.Errorf("%s is there, but it does not say whom to encrypt to", file), "Say so once: sloth secret recipients add age1….")
		} else if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		fmt.Fprintf(s.app.stderr, "made the key %s; keep a copy of it: without it the secrets are lost\n", file)
		s.app.forgetKeys()
		if f, err = s.store(ctx); err == nil {
			made, err = f.Init(ctx)
		}
	}
	if made {
		fmt.Fprintf(s.app.stderr, "made %s with your public key; sloth secret recipients add KEY lets others in\n", f.RecipientsFile())
	}
	return f, err
}

// value reads a secret from standard input, without the last line break, or asks
// twice at a terminal.
func (s *secretCommand) value(name string) (string, error) {
	var text string
	if terminal(s.app.stdin) {
		first, err := s.app.askSecret(name + ": ")
		if err != nil {
			return "", err
		}
		again, err := s.app.askSecret(name + " again: ")
		if err != nil {
			return "", err
		}
		if first != again {
			return "", errors.New("the two differ; nothing was stored")
		}
		text = first
	} else {
		data, err := io.ReadAll(io.LimitReader(s.app.stdin, secret.MaxValue+2))
		if err != nil {
			return "", fmt.Errorf("read the secret from standard input: %w", err)
		}
		text = strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	}
	switch {
	case text == "":
		return "", withHint(errors.New("the secret is empty; nothing was stored"), "Type it at the prompt, or pass it on standard input; never as an argument, which everybody on this machine can see.")
	case len(text) > secret.MaxValue:
		return "", fmt.Errorf("the secret %q is larger than %d bytes; nothing was stored", name, secret.MaxValue)
	}
	return text, nil
}

func (s *secretCommand) get(ctx context.Context, name string) error {
	chain, err := s.places(ctx)
	if err != nil {
		return err
	}
	v, err := chain.Get(ctx, name)
	if errors.Is(err, secret.ErrNotFound) {
		return withHint(err, "sloth secret list prints the names; sloth secret set "+name+" stores it.")
	}
	if err != nil {
		return s.explain(err)
	}
	end := ""
	if terminal(s.app.stdout) {
		end = "\n"
	}
	_, err = io.WriteString(s.app.stdout, v.Reveal()+end)
	return err
}

func (s *secretCommand) list(ctx context.Context, output string) error {
	chain, err := s.places(ctx)
	if err != nil {
		return err
	}
	names, err := chain.List(ctx)
	if err != nil {
		return s.explain(err)
	}
	switch output {
	case "json":
		return json.NewEncoder(s.app.stdout).Encode(map[string]any{"secrets": append([]string{}, names...)})
	case "", "basic":
		for _, n := range names {
			fmt.Fprintln(s.app.stdout, render.Name(n))
		}
		return nil
	}
	return fmt.Errorf("secret list has no --output %s; it has basic and json", output)
}

func (s *secretCommand) remove(ctx context.Context, names []string) error {
	f, err := s.store(ctx)
	if err != nil {
		return err
	}
	err = f.Change(ctx, false, func(table map[string]string) error {
		for _, n := range names {
			if _, ok := table[n]; !ok {
				return withHint(fmt.Errorf("secret %q: %w in %s; nothing was removed", n, secret.ErrNotFound, f.Where()), "sloth secret list prints the names.")
			}
			delete(table, n)
		}
		return nil
	})
	if err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(s.app.stderr, "removed %s from %s\n", strings.Join(names, ", "), f.Where())
	return nil
}

func (s *secretCommand) rotate(ctx context.Context) error {
	f, err := s.store(ctx)
	if err != nil {
		return err
	}
	n := 0
	if err := f.Change(ctx, true, func(table map[string]string) error { n = len(table); return nil }); err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(s.app.stderr, "encrypted %d secrets in %s anew\n", n, f.Where())
	return nil
}

func (s *secretCommand) recipients() *cobra.Command {
	c := &cobra.Command{Use: "recipients", Short: "Show or change who can read the secrets", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.listRecipients(cmd.Context()) }}
	c.AddCommand(
		&cobra.Command{Use: "list", Short: "Print the public keys", Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return s.listRecipients(cmd.Context()) }},
		&cobra.Command{Use: "add KEY|FILE…", Short: "Let others read the secrets too", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.addRecipients(cmd.Context(), args) }},
		&cobra.Command{Use: "rm KEY|COMMENT…", Short: "Keep others from reading what is stored from now on", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return s.removeRecipients(cmd.Context(), args) }},
	)
	return c
}

func (s *secretCommand) listRecipients(ctx context.Context) error {
	f, err := s.store(ctx)
	if err != nil {
		return err
	}
	list, err := f.Recipients()
	if err != nil {
		return err
	}
	for _, r := range list {
		fmt.Fprintln(s.app.stdout, render.Name(strings.TrimSpace(r.Key+" "+r.Comment)))
	}
	return nil
}

// readRecipients takes a key itself, or a file with one key a line.
func readRecipients(arg string) ([]secret.Recipient, error) {
	r, err := secret.ParseRecipient(arg)
	if err == nil {
		return []secret.Recipient{r}, nil
	}
	data, e := os.ReadFile(arg)
	if e != nil {
		if strings.HasPrefix(arg, "age1") || strings.HasPrefix(arg, "ssh-") || strings.HasPrefix(arg, "AGE-SECRET-KEY-") {
			return nil, err
		}
		return nil, fmt.Errorf("%q is neither a public key nor a file", arg)
	}
	var out []secret.Recipient
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		r, err := secret.ParseRecipient(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", arg, i+1, err)
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: there is no key in it", arg)
	}
	return out, nil
}

func (s *secretCommand) addRecipients(ctx context.Context, args []string) error {
	var add []secret.Recipient
	for _, arg := range args {
		list, err := readRecipients(arg)
		if err != nil {
			return err
		}
		add = append(add, list...)
	}
	f, err := s.store(ctx)
	if err != nil {
		return err
	}
	added := 0
	err = f.SetRecipients(ctx, func(list []secret.Recipient) ([]secret.Recipient, error) {
		for _, r := range add {
			if !slices.ContainsFunc(list, func(o secret.Recipient) bool { return o.Key == r.Key }) {
				list = append(list, r)
				added++
			}
		}
		return list, nil
	})
	if err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(s.app.stderr, "%d added; %s is encrypted anew\n", added, f.Where())
	return nil
}

func (s *secretCommand) removeRecipients(ctx context.Context, args []string) error {
	f, err := s.store(ctx)
	if err != nil {
		return err
	}
	err = f.SetRecipients(ctx, func(list []secret.Recipient) ([]secret.Recipient, error) {
		for _, arg := range args {
			n := len(list)
			list = slices.DeleteFunc(list, func(r secret.Recipient) bool {
				return r.Key == arg || r.Comment == arg || strings.HasPrefix(arg, r.Key+" ")
			})
			if len(list) == n {
				return nil, withHint(fmt.Errorf("%q is no recipient; nothing was changed", arg), "sloth secret recipients prints them.")
			}
		}
		return list, nil
	})
	if err != nil {
		return s.explain(err)
	}
	fmt.Fprintf(s.app.stderr, "removed; %s is encrypted anew\nwhat they could read before they may have kept: change those secrets where they are used\n", f.Where())
	return nil
}
