package inventory

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// safe opens "sealed X" as X and knows the secret named known.
type safe struct{ learnt []string }

func (s *safe) Open(tag, text string) (string, error) {
	plain, ok := strings.CutPrefix(strings.TrimSpace(text), "sealed ")
	switch {
	case tag == "vault" && ok:
		return plain, nil
	case tag == "vault" && text == "late":
		return "", ErrSealed
	case tag == "secret" && text == "known":
		return "hunter2", nil
	}
	return "", errors.New("the password is wrong")
}

func (s *safe) OpenFile(data []byte) ([]byte, error) {
	_, body, _ := strings.Cut(string(data), "\n")
	if strings.HasPrefix(body, "wrong") {
		return nil, errors.New("the password is wrong")
	}
	return []byte(body), nil
}

func (s *safe) Learn(text string) { s.learnt = append(s.learnt, text) }

func loadSecrets(t *testing.T, o Options, files map[string]string) (*Inventory, error) {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Load(t.Context(), []string{"hosts.yml"}, o)
}

func TestSecretsAreOpened(t *testing.T) {
	s := &safe{}
	inv, err := loadSecrets(t, Options{Secrets: s}, map[string]string{
		"hosts.yml":          "all:\n  hosts:\n    web:\n      ansible_password: !vault sealed letmein\n      ansible_become_password: \"{{ sudo }}\"\n      sudo: !secret known\n      list: [!secret known, plain]\n      later: !vault late\n",
		"group_vars/all.yml": "$ANSIBLE_VAULT;1.1;AES256\ndb: {user: app, port: 5432}\nwords: [one, two]\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := inv.Login("web")
	if err != nil || l.Password.Reveal() != "letmein" || l.BecomePassword.Reveal() != "hunter2" {
		t.Errorf("%+v, %v", l, err)
	}
	vars := inv.Vars("web")
	for _, v := range []any{vars["list"].([]any)[0], vars["db"].(map[string]any)["user"], vars["words"].([]any)[1]} {
		if plain, open := v.(Encrypted).Plain(); !open || plain == "" || fmt.Sprint(v) != "[secret]" {
			t.Errorf("%v: %q, %v", v, plain, open)
		}
	}
	if vars["db"].(map[string]any)["port"] != int64(5432) || vars["list"].([]any)[1] != "plain" {
		t.Errorf("%v", vars)
	}
	if _, open := vars["later"].(Encrypted).Plain(); open {
		t.Error("what cannot be opened is open")
	}
	if got := strings.Join(s.learnt, " "); got != "app one two" {
		t.Errorf("learnt %q", got)
	}
}

func TestLateSecretsWaitForALogin(t *testing.T) {
	inv, err := loadSecrets(t, Options{Secrets: &safe{}, OpenLate: true}, map[string]string{
		"hosts.yml": "all:\n  hosts:\n    web: {ansible_password: !vault sealed letmein, other: !vault nonsense}\n    db: {ansible_password: !vault nonsense}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	if l, err := inv.Login("web"); err != nil || l.Password.Reveal() != "letmein" {
		t.Errorf("%+v, %v", l, err)
	}
	if _, err := inv.Login("db"); err == nil || !strings.Contains(err.Error(), "hosts.yml:4:28: ansible_password of host db is a !vault value that cannot be opened: the password is wrong") {
		t.Error(err)
	}
}

func TestSecretsThatDoNotOpen(t *testing.T) {
	for text, want := range map[string]string{
		"all:\n  vars:\n    a: !vault nonsense\n": "hosts.yml:3:8: the !vault value cannot be opened: the password is wrong",
		"all:\n  vars:\n    a: [!secret other]\n": "hosts.yml:3:9: the !secret value cannot be opened: the password is wrong",
		"$ANSIBLE_VAULT;1.1;AES256\nwrong":        "hosts.yml:1:1: the file cannot be decrypted: the password is wrong",
	} {
		if _, err := loadSecrets(t, Options{Secrets: &safe{}}, map[string]string{"hosts.yml": text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	// The plain text of an encrypted file is in no message.
	_, err := loadSecrets(t, Options{Secrets: &safe{}}, map[string]string{
		"hosts.yml": "all:\n", "group_vars/all": "$ANSIBLE_VAULT;1.1;AES256\npassword: hunter2\npassword: hunter3\n",
	})
	if err == nil || !strings.Contains(err.Error(), `group_vars/all:2:1: duplicate key "password"`) || strings.Contains(err.Error(), "hunter") {
		t.Error(err)
	}
}
