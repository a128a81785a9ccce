package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/inventory"
	"github.com/sloth-runner/sloth/state/secret"
	"github.com/sloth-runner/sloth/state/secret/vault"
	"gopkg.in/yaml.v3"
)

// secretPlaces is what `secrets:` of a sloth.yaml says, the project's before the
// user's; without it secrets.age of this folder.
func (a *app) secretPlaces(keys *vault.Keyring) ([]secret.Provider, error) {
	configs := []string{"sloth.yaml"}
	if id, err := secret.DefaultIdentity(); err == nil {
		configs = append(configs, filepath.Join(filepath.Dir(id), "sloth.yaml"))
	}
	for _, c := range configs {
		places, err := a.configuredPlaces(c, keys)
		if err != nil || len(places) > 0 {
			return places, err
		}
	}
	return []secret.Provider{secret.NewAgeFile(secret.DefaultFile, a.ageKeys())}, nil
}

// ageKeys are this person's, asked for once.
func (a *app) ageKeys() *secret.Keys {
	a.keysOnce.Do(func() {
		var ask func(string) (string, error)
		if a.canAsk() {
			ask = a.askSecret
		}
		a.keys = secret.DefaultKeys(ask)
	})
	return a.keys
}

// forgetKeys looks for keys again, after one was made.
func (a *app) forgetKeys() {
	a.keysOnce = sync.Once{}
	if s := a.secrets; s != nil {
		s.once = sync.Once{}
	}
}

func (a *app) configuredPlaces(config string, keys *vault.Keyring) ([]secret.Provider, error) {
	data, err := os.ReadFile(config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var doc struct {
		Secrets yaml.Node `yaml:"secrets"`
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", config, err)
	}
	if doc.Secrets.Kind == 0 {
		return nil, nil
	}
	// It may name a program.
	if err := inventory.Trusted(config); err != nil {
		return nil, err
	}
	nodes := []*yaml.Node{&doc.Secrets}
	if doc.Secrets.Kind == yaml.SequenceNode {
		nodes = doc.Secrets.Content
	}
	var out []secret.Provider
	for _, n := range nodes {
		p, err := a.place(config, n, keys)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: secrets: %w", config, n.Line, err)
		}
		out = append(out, p)
	}
	return out, nil
}

var errPlace = errors.New(`name a file, or one of {age: FILE}, {vault: FILE} and {command: [PROGRAM, "{name}"]}`)

// place makes one provider.
func (a *app) place(config string, n *yaml.Node, keys *vault.Keyring) (secret.Provider, error) {
	if n.Kind == yaml.ScalarNode && n.Value != "" {
		path := besideFile(config, n.Value)
		if isVault, err := beginsAsVault(path); err != nil || isVault {
			return secret.NewVaultFile(path, keys), err
		}
		return secret.NewAgeFile(path, a.ageKeys()), nil
	}
	if n.Kind != yaml.MappingNode || len(n.Content) != 2 {
		return nil, errPlace
	}
	kind, v := n.Content[0].Value, n.Content[1]
	switch {
	case kind == "age" && v.Kind == yaml.ScalarNode:
		return secret.NewAgeFile(besideFile(config, v.Value), a.ageKeys()), nil
	case kind == "vault" && v.Kind == yaml.ScalarNode:
		return secret.NewVaultFile(besideFile(config, v.Value), keys), nil
	case kind == "command":
		var argv []string
		if err := v.Decode(&argv); err != nil {
			return nil, errors.New(`the command must be a list: [pass, show, "{name}"]`)
		}
		return secret.NewCommand(argv)
	}
	return nil, errPlace
}

// besideFile makes a path of a settings file one for this process.
func besideFile(config, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(config), path)
}

// beginsAsVault looks at the beginning of a file that may not be there yet.
func beginsAsVault(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, len(vault.Header))
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return false, err
	}
	return bytes.Equal(head[:n], []byte(vault.Header)), nil
}
