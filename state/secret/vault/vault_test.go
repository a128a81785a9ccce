package vault

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The files in testdata were written by ansible-vault with the password
// swordfish.
func TestFilesOfAnsible(t *testing.T) {
	k := NewKeyring(Password{Text: "wrong"}, Password{Label: "prod", Text: "swordfish"})
	for name, want := range map[string]string{
		"whole.yml": string(read(t, "plain.yml")), "labelled.yml": string(read(t, "plain.yml")), "one.vault": "x",
	} {
		for range 2 { // the second time from memory
			if got, err := k.Decrypt(read(t, name)); err != nil || got != want {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		indented := strings.ReplaceAll(string(read(t, name)), "\n", "\r\n      ")
		if got, err := NewKeyring(Password{Text: "swordfish"}).Decrypt([]byte(indented)); err != nil || got != want {
			t.Errorf("%s indented: %q, %v", name, got, err)
		}
	}
}

func TestWhatDoesNotOpen(t *testing.T) {
	whole := string(read(t, "whole.yml"))
	if _, err := NewKeyring(Password{Text: "sword"}).Decrypt([]byte(whole)); !errors.Is(err, ErrPassword) {
		t.Error(err)
	}
	if _, err := NewKeyring().Decrypt([]byte(whole)); !errors.Is(err, ErrNoPassword) {
		t.Error(err)
	}
	k := NewKeyring(Password{Text: "swordfish"})
	lines := strings.Split(whole, "\n")
	flipped := []byte(whole)
	flipped[len(flipped)-2] ^= 1
	for text, want := range map[string]string{
		"":                                       "it is not encrypted by ansible-vault",
		"a: b\n":                                 "it is not encrypted by ansible-vault",
		"$ANSIBLE_VAULT;1.1":                     "its first line is cut off",
		"$ANSIBLE_VAULT;1.0;AES\n30":             `its format "1.0" is not supported`,
		"$ANSIBLE_VAULT;1.1;ROT13\n30":           `its cipher "ROT13" is not supported`,
		"$ANSIBLE_VAULT;1.1;AES256\n":            "cut off or damaged",
		"$ANSIBLE_VAULT;1.1;AES256\nzz":          "cut off or damaged",
		"$ANSIBLE_VAULT;1.1;AES256\n300a":        "cut off or damaged",
		strings.Join(lines[:3], "\n"):            "cut off or damaged",
		strings.Join(lines[:len(lines)-2], "\n"): "none of the vault passwords opens it, or it is damaged",
		string(flipped):                          "damaged",
	} {
		if got, err := k.Decrypt([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || got != "" {
			t.Errorf("%.60q: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestAgainstAnsible(t *testing.T) {
	tool, err := exec.LookPath("ansible-vault")
	if err != nil {
		t.Skip("there is no ansible-vault; the files in testdata are its work")
	}
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("pässword \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 16, 70_001} {
		want := strings.Repeat("ü\n", n/3) + strings.Repeat("x", n%3)
		cmd := exec.CommandContext(t.Context(), tool, "encrypt", "--vault-password-file", password, "--output", "-")
		cmd.Stdin = strings.NewReader(want)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ansible-vault: %v", err)
		}
		if got, err := NewKeyring(Password{Text: "pässword"}).Decrypt(out); err != nil || got != want {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	f.Add(read(f, "one.vault"))
	f.Add([]byte("$ANSIBLE_VAULT;1.2;AES256;x\n300a300a30"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if e, err := parse(data); err == nil && (len(e.sum) != 32 || len(e.cipher) == 0) {
			t.Fatalf("%+v", e)
		}
	})
}

func BenchmarkDecrypt(b *testing.B) {
	data := read(b, "one.vault")
	for b.Loop() {
		if _, err := NewKeyring(Password{Text: "swordfish"}).Decrypt(data); err != nil {
			b.Fatal(err)
		}
	}
}
