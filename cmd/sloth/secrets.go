package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/state/secret"
	"github.com/sloth-runner/sloth/state/secret/redact"
	"github.com/sloth-runner/sloth/state/secret/vault"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// vaultFlags say where the passwords of ansible-vault come from, named as
// Ansible names them.
type vaultFlags struct {
	files []string
	ids   []string
	ask   bool
	// late leaves single values until somebody logs in with one.
	late bool
	// blind leaves them for good: the command only looks at files.
	blind bool
}

func (v *vaultFlags) add(fs *pflag.FlagSet) {
	fs.StringArrayVar(&v.files, "vault-password-file", nil, "`file` with a password of ansible-vault, or a program that prints it (repeatable)")
	fs.StringArrayVar(&v.ids, "vault-id", nil, "the same for one vault id: `label@file`, or label@prompt (repeatable)")
	fs.BoolVar(&v.ask, "ask-vault-pass", false, "ask for the password of ansible-vault")
}

// given reports whether there is a password at all.
func (v *vaultFlags) given() bool { return len(v.files)+len(v.ids) > 0 || v.ask }

// secrets is where one command finds secrets. Whatever it finds is redacted
// from then on.
type secrets struct {
	app  *app
	ctx  context.Context //nolint:containedctx // inventory.Secrets has no context: loading is one call
	keys *vault.Keyring
	// blind finds nothing, which is no error.
	blind bool

	once  sync.Once
	chain secret.Chain
	err   error
}

// openSecrets reads the vault passwords, once for a command. Stores are opened
// at first use.
func (a *app) openSecrets(ctx context.Context, f *vaultFlags) (*secrets, error) {
	if a.secrets != nil {
		return a.secrets, nil
	}
	passwords, err := a.vaultPasswords(ctx, f)
	if err != nil {
		return nil, err
	}
	a.secrets = &secrets{app: a, ctx: ctx, keys: vault.NewKeyring(passwords...), blind: f.blind}
	return a.secrets, nil
}

// redactor takes the secrets of this process out of what it prints.
func (a *app) redactor() *redact.Redactor {
	a.redactOnce.Do(func() { a.redact = redact.New(modules.Hidden) })
	return a.redact
}

// learn makes value a secret, and tells once of one that cannot be hidden.
func (s *secrets) learn(name, value string) {
	s.app.protectOnce.Do(protect)
	if err := s.app.redactor().Add(name, value); err != nil {
		s.app.warn(err.Error())
	}
}

// made learns a secret that came into being on a host.
func (s *secrets) made(host, value string) { s.learn("made on "+host, value) }

// open makes the list of places: the environment, then what sloth.yaml says, or
// secrets.age.
func (s *secrets) open() (secret.Chain, error) {
	s.once.Do(func() {
		var places []secret.Provider
		if places, s.err = s.app.secretPlaces(s.keys); s.err == nil {
			s.chain = append(secret.Chain{secret.Env{}}, places...)
		}
	})
	return s.chain, s.err
}

// find is runner.Options.Secret.
func (s *secrets) find(ctx context.Context, name string) (string, error) {
	chain, err := s.open()
	if err != nil {
		return "", err
	}
	v, err := chain.Get(ctx, name)
	if errors.Is(err, secret.ErrNotFound) {
		return "", fmt.Errorf("%w; sloth secret set %s stores it", err, name)
	}
	if err != nil {
		return "", err
	}
	s.learn(name, v.Reveal())
	return v.Reveal(), nil
}

// Open opens a value of the inventory.
func (s *secrets) Open(tag, text string) (string, error) {
	if s.blind {
		return "", inventory.ErrSealed
	}
	if tag == "secret" {
		return s.find(s.ctx, text)
	}
	plain, err := s.keys.Decrypt([]byte(text))
	if errors.Is(err, vault.ErrNoPassword) {
		return "", fmt.Errorf("%w; use --vault-password-file or --ask-vault-pass", err)
	}
	if err != nil {
		return "", err
	}
	s.learn("!vault", plain)
	return plain, nil
}

// OpenFile opens a whole file.
func (s *secrets) OpenFile(data []byte) ([]byte, error) {
	plain, err := s.keys.Decrypt(data)
	if errors.Is(err, vault.ErrNoPassword) {
		err = fmt.Errorf("%w; use --vault-password-file or --ask-vault-pass", err)
	}
	return []byte(plain), err
}

// Learn hides a text of an encrypted file. Such a file has ordinary words too,
// so those that cannot be hidden are no reason to warn.
func (s *secrets) Learn(text string) {
	s.app.protectOnce.Do(protect)
	_ = s.app.redactor().Add("vault", text)
}

var _ inventory.Secrets = (*secrets)(nil)

// revealVars turns what the inventory opened into secrets as modules know them.
func revealVars(v any) any {
	switch t := v.(type) {
	case inventory.Encrypted:
		plain, _ := t.Plain()
		return modules.NewSecret(plain)
	case []any:
		out := make([]any, len(t))
		for i, item := range t {
			out[i] = revealVars(item)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(t))
		for k, item := range t {
			out[k] = revealVars(item)
		}
		return out
	}
	return v
}

// hasSealed reports whether revealVars has anything to do.
func hasSealed(v any) bool {
	switch t := v.(type) {
	case inventory.Encrypted:
		return true
	case []any:
		for _, item := range t {
			if hasSealed(item) {
				return true
			}
		}
	case map[string]any:
		for _, item := range t {
			if hasSealed(item) {
				return true
			}
		}
	}
	return false
}

// vaultPasswords reads what the flags, or else the environment, name.
func (a *app) vaultPasswords(ctx context.Context, f *vaultFlags) ([]vault.Password, error) {
	type source struct{ label, from string }
	var sources []source
	for _, file := range f.files {
		sources = append(sources, source{"", file})
	}
	for _, id := range f.ids {
		label, from, ok := strings.Cut(id, "@")
		if !ok {
			label, from = "", id
		}
		sources = append(sources, source{label, from})
	}
	if file := os.Getenv("ANSIBLE_VAULT_PASSWORD_FILE"); file != "" && !f.given() {
		sources = append(sources, source{"", file})
	}
	if f.ask {
		sources = append(sources, source{"", "prompt"})
	}
	var out []vault.Password
	for _, s := range sources {
		var text string
		var err error
		if s.from == "prompt" {
			prompt := "Vault password: "
			if s.label != "" {
				prompt = "Vault password (" + s.label + "): "
			}
			text, err = a.askSecret(prompt)
		} else {
			text, err = passwordFile(ctx, s.from)
		}
		if err != nil {
			return nil, err
		}
		if text == "" {
			return nil, fmt.Errorf("the vault password from %s is empty", s.from)
		}
		_ = a.redactor().Add("the vault password", text) // a weak one is ansible-vault's business
		out = append(out, vault.Password{Label: s.label, Text: text})
	}
	return out, nil
}

// maxPassword bounds a password file, in bytes.
const maxPassword = 64 << 10

// passwordFile reads a password, or what a program prints, as Ansible does.
func passwordFile(ctx context.Context, path string) (string, error) {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			path = filepath.Join(home, rest)
		}
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", withHint(fmt.Errorf("read the vault password: %s: no such file", path), "Name a file with the password in its first line, or use --ask-vault-pass.")
	case err != nil:
		return "", fmt.Errorf("read the vault password: %w", err)
	case !st.Mode().IsRegular() && st.Mode().Type() != fs.ModeNamedPipe && st.Mode().Type() != fs.ModeDevice|fs.ModeCharDevice:
		return "", fmt.Errorf("read the vault password: %s is no file", path)
	}
	var data []byte
	if st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
		abs, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if data, err = exec.CommandContext(ctx, abs).Output(); err != nil {
			return "", fmt.Errorf("run %s for the vault password: %w", path, err)
		}
	} else if data, err = os.ReadFile(path); err != nil {
		return "", fmt.Errorf("read the vault password: %w", err)
	}
	if len(data) > maxPassword {
		return "", fmt.Errorf("read the vault password: %s is larger than %d bytes", path, maxPassword)
	}
	return strings.TrimSpace(string(data)), nil
}

// readValues reads the text of a file for the global values, with !vault and !secret, or
// encrypted as a whole.
func (s *secrets) readValues(path string, text []byte) (any, error) {
	whole := vault.Is(text)
	if whole {
		var err error
		if text, err = s.OpenFile(text); err != nil {
			return nil, fmt.Errorf("read values %s:1: %w", path, err)
		}
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		if whole {
			return nil, fmt.Errorf("read values %s: what is encrypted in it is no YAML", path)
		}
		return nil, fmt.Errorf("read values %s: %w", path, err)
	}
	v := valuesReader{s: s, path: path, whole: whole}
	v.node(&doc)
	if v.err != nil {
		return nil, v.err
	}
	var values any
	if err := doc.Decode(&values); err != nil {
		return nil, fmt.Errorf("read values %s: %w", path, err)
	}
	return v.secrets(values), nil
}

// valuesReader puts marks in the place of secrets, and after decoding secrets
// in the place of marks.
type valuesReader struct {
	s     *secrets
	path  string
	whole bool // every text is a secret
	found []string
	err   error
}

const secretMark = "\x00secret "

func (v *valuesReader) node(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 1; i < len(n.Content); i += 2 {
			v.node(n.Content[i])
		}
		return
	}
	for _, c := range n.Content {
		v.node(c)
	}
	if n.Kind != yaml.ScalarNode || v.err != nil {
		return
	}
	var plain string
	switch {
	case n.Tag == "!vault" || n.Tag == "!vault-encrypted" || n.Tag == "!secret":
		tag := strings.TrimSuffix(n.Tag[1:], "-encrypted")
		var err error
		if plain, err = v.s.Open(tag, strings.TrimSpace(n.Value)); err != nil && !errors.Is(err, inventory.ErrSealed) {
			v.err = fmt.Errorf("read values %s:%d: %w", v.path, n.Line, err)
			return
		}
	case v.whole && n.Tag == "!!str" && n.Value != "":
		plain = n.Value
		v.s.Learn(plain)
	default:
		return
	}
	n.Tag, n.Style, n.Value = "!!str", yaml.DoubleQuotedStyle, fmt.Sprintf("%s%d", secretMark, len(v.found))
	v.found = append(v.found, plain)
}

func (v *valuesReader) secrets(x any) any {
	switch t := x.(type) {
	case string:
		if rest, ok := strings.CutPrefix(t, secretMark); ok {
			var i int
			if _, err := fmt.Sscan(rest, &i); err == nil && i >= 0 && i < len(v.found) {
				return modules.NewSecret(v.found[i])
			}
		}
	case []any:
		for i, item := range t {
			t[i] = v.secrets(item)
		}
	case map[string]any:
		for k, item := range t {
			t[k] = v.secrets(item)
		}
	case map[any]any:
		for k, item := range t {
			t[k] = v.secrets(item)
		}
	}
	return x
}
