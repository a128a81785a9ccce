package secret

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/state/secret/vault"
	"gopkg.in/yaml.v3"
)

// ParseTable reads the plain text of a file of secrets: a map of names and
// texts, in YAML or JSON. Errors hold no part of the text.
func ParseTable(plain []byte) (map[string]string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(plain, &doc); err != nil {
		return nil, errors.New("what is encrypted in it is no YAML") // yaml's own error quotes the text
	}
	out := map[string]string{}
	if len(doc.Content) == 0 {
		return out, nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return out, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("what is encrypted in it is no map of names and texts")
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		k, v := root.Content[i], root.Content[i+1]
		if err := CheckName(k.Value); err != nil {
			return nil, fmt.Errorf("line %d: %w", k.Line, err)
		}
		if _, twice := out[k.Value]; twice {
			return nil, fmt.Errorf("line %d: the secret %q is there twice", k.Line, k.Value)
		}
		if v.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: the secret %q must be text", k.Line, k.Value)
		}
		var text string
		if err := v.Decode(&text); err != nil {
			return nil, fmt.Errorf("line %d: the secret %q must be text", k.Line, k.Value)
		}
		if len(text) > MaxValue {
			return nil, fmt.Errorf("line %d: the secret %q has %d bytes, the limit is %d", k.Line, k.Value, len(text), MaxValue)
		}
		out[k.Value] = text
	}
	return out, nil
}

// FormatTable is the way back, in order of names.
func FormatTable(table map[string]string) ([]byte, error) {
	if len(table) == 0 {
		return []byte("{}\n"), nil
	}
	return yaml.Marshal(table)
}

// VaultFile has the secrets of a file that ansible-vault encrypted, which holds
// a map of names and texts.
type VaultFile struct {
	path string
	keys *vault.Keyring

	once  sync.Once
	table map[string]string
	err   error
}

// NewVaultFile names the file; it is read at first use.
func NewVaultFile(path string, keys *vault.Keyring) *VaultFile {
	return &VaultFile{path: path, keys: keys}
}

// Where names the file.
func (v *VaultFile) Where() string { return v.path }

func (v *VaultFile) load() (map[string]string, error) {
	v.once.Do(func() {
		data, err := os.ReadFile(v.path)
		if err != nil {
			v.err = err
			return
		}
		plain, err := v.keys.Decrypt(data)
		if err == nil {
			v.table, err = ParseTable([]byte(plain))
		}
		if err != nil {
			v.err = fmt.Errorf("%s: %w", v.path, err)
		}
	})
	return v.table, v.err
}

// Get decrypts the file at first use.
func (v *VaultFile) Get(_ context.Context, name string) (modules.Secret, error) {
	table, err := v.load()
	if err != nil {
		return modules.Secret{}, err
	}
	text, ok := table[name]
	if !ok {
		return modules.Secret{}, ErrNotFound
	}
	return modules.NewSecret(text), nil
}

// List gives the names.
func (v *VaultFile) List(context.Context) ([]string, error) {
	table, err := v.load()
	return slices.Sorted(maps.Keys(table)), err
}
