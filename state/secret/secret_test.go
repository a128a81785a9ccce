package secret

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/sloth-runner/sloth/state/secret/vault"
	"golang.org/x/crypto/ssh"
)

// sshKey writes a private key and returns its public half.
func sshKey(t *testing.T, file string, key any, passphrase string) string {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	put(t, file, string(pem.EncodeToMemory(block)))
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func ed(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// keysOf are the keys of somebody who has these files and answers questions.
func keysOf(answers []string, files ...string) *Keys {
	k := &Keys{Files: files, Must: true}
	if answers != nil {
		k.Ask = func(string) (string, error) {
			if len(answers) == 0 {
				return "", errors.New("asked too often")
			}
			a := answers[0]
			answers = answers[1:]
			return a, nil
		}
	}
	return k
}

func store(t *testing.T, f *AgeFile, name, value string) error {
	t.Helper()
	return f.Change(t.Context(), false, func(m map[string]string) error { m[name] = value; return nil })
}

func TestEveryKindOfKeyOpensTheFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	own, err := Generate(t.Context(), at("own"))
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public := map[string]string{
		"own": own, "ed": sshKey(t, at("ed"), ed(t), ""), "rsa": sshKey(t, at("rsa"), rsaKey, ""),
		"locked": sshKey(t, at("locked"), ed(t), "letmein"), "sealed": sealedKey(t, at("sealed"), "letmein"),
	}
	f := NewAgeFile(at("secrets.age"), keysOf(nil, at("own")))
	if made, err := f.Init(t.Context()); !made || err != nil {
		t.Fatal(made, err)
	}
	values := map[string]string{"db/password": "hunter2", "multi": "line 1\nline 2\n", "bytes": "\x00\xff", "number": "0123", "no": "no", "umlaut": "grün"}
	for name, v := range values {
		if err := store(t, f, name, v); err != nil {
			t.Fatal(err)
		}
	}
	err = f.SetRecipients(t.Context(), func(list []Recipient) ([]Recipient, error) {
		for who, key := range public {
			r, err := ParseRecipient(key + " " + who)
			if err != nil || r.Comment != who {
				t.Fatal(r, err)
			}
			if who != "own" {
				list = append(list, r)
			}
		}
		return list, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for who := range public {
		f := NewAgeFile(at("secrets.age"), keysOf([]string{"letmein"}, at(who)))
		for name, want := range values { // one question at most
			if v, err := f.Get(t.Context(), name); err != nil || v.Reveal() != want || fmt.Sprint(v) != "(secret)" {
				t.Errorf("%s: %s is %q, %v", who, name, v.Reveal(), err)
			}
		}
	}
	_, stranger := sshKey(t, at("other"), ed(t), ""), NewAgeFile(at("secrets.age"), keysOf(nil, at("other")))
	if _, err := stranger.Get(t.Context(), "no"); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
	for who, want := range map[string]string{"locked": "failed to decrypt SSH key file", "sealed": "the passphrase is wrong"} {
		f := NewAgeFile(at("secrets.age"), keysOf([]string{"wrong"}, at(who)))
		if _, err := f.Get(t.Context(), "no"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", who, err)
		}
		f = NewAgeFile(at("secrets.age"), keysOf(nil, at(who)))
		if _, err := f.Get(t.Context(), "no"); err == nil || !strings.Contains(err.Error(), "nobody can be asked for it") {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// sealedKey writes an age key that is encrypted with a passphrase.
func sealedKey(t *testing.T, file, passphrase string) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	to.SetWorkFactor(10)
	var out strings.Builder
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(id.String() + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		t.Fatal(err)
	}
	put(t, file, out.String())
	return id.Recipient().String()
}

// TestFault46Permissions: nothing is readable for others, whatever the umask,
// and what is readable for others is no key.
func TestFault46Permissions(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "new", "folder", "own")
	if _, err := Generate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	f := NewAgeFile(filepath.Join(dir, "secrets.age"), keysOf(nil, key))
	if _, err := f.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store(t, f, "a", "hunter2"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{"secrets.age": 0o600, "secrets.age.recipients": 0o600, "new": 0o700, "new/folder": 0o700, "new/folder/own": 0o600} {
		if st, err := os.Stat(filepath.Join(dir, path)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %o", path, st.Mode(), err, want)
		}
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 3 {
		t.Errorf("left %v", entries)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o610, 0o666} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		f := NewAgeFile(filepath.Join(dir, "secrets.age"), keysOf(nil, key))
		if _, err := f.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("others may read it (mode %04o)", mode)) {
			t.Errorf("%o: %v", mode, err)
		}
	}
	if _, err := Generate(t.Context(), key); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
}

func TestManyChangeTheFileAtOnce(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "own")
	if _, err := Generate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "secrets.age")
	if _, err := NewAgeFile(path, keysOf(nil, key)).Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			f := NewAgeFile(path, keysOf(nil, key)) // as another process has it
			if err := store(t, f, fmt.Sprintf("n%d", i), "v"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	names, err := NewAgeFile(path, keysOf(nil, key)).List(t.Context())
	if err != nil || len(names) != 8 {
		t.Errorf("%v, %v", names, err)
	}
}

func TestAFailedChangeLeavesTheFile(t *testing.T) {
	dir := t.TempDir()
	key := filepath.Join(dir, "own")
	if _, err := Generate(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	f := NewAgeFile(filepath.Join(dir, "secrets.age"), keysOf(nil, key))
	if _, err := f.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store(t, f, "a", "1"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(f.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func() error{
		"an error": func() error {
			return f.Change(t.Context(), true, func(map[string]string) error { return errors.New("no") })
		},
		"a name":    func() error { return store(t, f, "a b", "1") },
		"too large": func() error { return store(t, f, "b", strings.Repeat("x", MaxValue+1)) },
		"nobody": func() error {
			return f.SetRecipients(t.Context(), func([]Recipient) ([]Recipient, error) { return nil, nil })
		},
		"not myself": func() error {
			return f.SetRecipients(t.Context(), func([]Recipient) ([]Recipient, error) {
				r, err := ParseRecipient(sshKey(t, filepath.Join(dir, "x"), ed(t), ""))
				return []Recipient{r}, err
			})
		},
	} {
		if err := change(); err == nil {
			t.Errorf("%s: no error", name)
		}
		if after, err := os.ReadFile(f.path); err != nil || string(after) != string(before) {
			t.Errorf("%s: the file changed, %v", name, err)
		}
	}
	// The same once more is no change.
	if err := store(t, f, "a", "1"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(f.path); string(after) != string(before) {
		t.Error("written without a change")
	}
}

func TestTables(t *testing.T) {
	for text, want := range map[string]string{
		"- a":                   "what is encrypted in it is no map",
		"a: {b: c}":             `line 1: the secret "a" must be text`,
		"a: 1\na: 2":            `line 2: the secret "a" is there twice`,
		"a b: hunter2":          `line 1: "a b" is no name of a secret`,
		"a: \"hunter2":          "what is encrypted in it is no YAML",
		"hunter2":               "what is encrypted in it is no map",
		"-x: hunter2":           `"-x" is no name of a secret`,
		"a..b: hunter2":         "two dots in a row",
		`{"a": "x", "n": 1.50}`: "",
		"":                      "", "~": "", "{}": "",
	} {
		got, err := ParseTable([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

func TestVaultFile(t *testing.T) {
	path := filepath.Join("vault", "testdata", "whole.yml")
	v := NewVaultFile(path, vault.NewKeyring(vault.Password{Text: "swordfish"}))
	if _, err := v.Get(t.Context(), "db_password"); err == nil || !strings.Contains(err.Error(), path+`: line 2: the secret "nested" must be text`) {
		t.Error(err)
	}
	v = NewVaultFile(path, vault.NewKeyring())
	if _, err := v.List(t.Context()); !errors.Is(err, vault.ErrNoPassword) {
		t.Error(err)
	}
	flat := filepath.Join("vault", "testdata", "flat.yml")
	v = NewVaultFile(flat, vault.NewKeyring(vault.Password{Text: "swordfish"}))
	if s, err := v.Get(t.Context(), "db_password"); err != nil || s.Reveal() != "hunter2-horse" {
		t.Error(s.Reveal(), err)
	}
	if _, err := v.Get(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestCommand(t *testing.T) {
	c, err := NewCommand([]string{"sh", "-c", `echo "$1" >> "$0"; case $1 in quiet) ;; bad) echo "no entry" >&2; exit 2 ;; big) head -c 2000000 /dev/zero ;; *) printf 'v of %s\r\n' "$1" ;; esac`, filepath.Join(t.TempDir(), "calls"), "{name}"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v, err := c.Get(t.Context(), "db/x"); err != nil || v.Reveal() != "v of db/x" {
			t.Errorf("%q, %v", v.Reveal(), err)
		}
	}
	if calls, _ := os.ReadFile(c.Argv[3]); string(calls) != "db/x\n" {
		t.Errorf("called for %q", calls)
	}
	for name, want := range map[string]string{
		"bad": "the command sh: exit status 2: no entry", "quiet": "it printed nothing", "big": "more than 1048576 bytes", "-rf": "is no name of a secret",
	} {
		if _, err := c.Get(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, "y"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, argv := range [][]string{nil, {""}, {"pass", "show"}, {"{name}"}} {
		if _, err := NewCommand(argv); err == nil {
			t.Errorf("%q: no error", argv)
		}
	}
}

func TestChain(t *testing.T) {
	t.Setenv("SLOTH_SECRET_DB_X", "from env")
	broken := NewVaultFile(filepath.Join(t.TempDir(), "none"), vault.NewKeyring())
	c := Chain{Env{}, broken}
	if v, err := c.Get(t.Context(), "db/x"); err != nil || v.Reveal() != "from env" {
		t.Error(v.Reveal(), err)
	}
	// A place that fails is not passed over.
	if _, err := c.Get(t.Context(), "y"); err == nil || errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := (Chain{Env{}}).Get(t.Context(), "y"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if names, err := (Chain{Env{}}).List(t.Context()); err != nil || strings.Join(names, " ") != "db_x" {
		t.Error(names, err)
	}
}
