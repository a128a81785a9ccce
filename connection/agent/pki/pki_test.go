package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/pki"
)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"web-01": "", "db.example_1": "",
		"": "is empty", "-x": `begins with "-"`, "..": `begins with "."`, "a/b": `has the character '/'`, "a b": "has the character ' '", "a\x1b[0m": "has the character",
		"příbor": "has the character 'ř'", "*": "has the character '*'", strings.Repeat("a", 65): "the limit is 64",
	} {
		err := pki.CheckName(name)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q gives %v, want %q", name, err, want)
		}
	}
}

func TestTokenText(t *testing.T) {
	token := pki.NewToken(strings.Repeat("a", 64))
	got, err := pki.ParseToken(" " + token.Text() + "\n")
	if err != nil || got != token {
		t.Errorf("got %v, %v", got, err)
	}
	if strings.Contains(token.Hash(), token.Secret) || pki.NewToken(token.Authority).Hash() == token.Hash() {
		t.Error("the hash says too much, or two tokens are the same")
	}
	for _, text := range []string{"", "x", token.Secret, token.Text()[1:], token.Text()[:40], token.Text() + "a"} {
		if _, err := pki.ParseToken(text); err == nil {
			t.Errorf("%q is a token", text)
		}
	}
}

func TestAuthority(t *testing.T) {
	dir := t.TempDir()
	a, err := pki.OpenAuthority(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := pki.OpenAuthority(dir, nil)
	if err != nil || again.Fingerprint() != a.Fingerprint() {
		t.Fatalf("opened again it is another one: %v", err)
	}
	key, err := pki.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := pki.Request(key)
	if err != nil {
		t.Fatal(err)
	}
	id := pki.Identity{Kind: pki.KindAgent, Name: "web-1", Machine: pki.Fingerprint([]byte("m"))}
	der, err := a.Issue(csr, id, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pki.IdentityOf(leaf); err != nil || got != id {
		t.Errorf("it speaks for %v, %v", got, err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("an agent's certificate is good for a server")
	}
	// Neither a changed request nor another kind of key gets anything.
	csr[len(csr)-1] ^= 1
	if _, err := a.Issue(csr, id, time.Hour); err == nil {
		t.Error("a request with a wrong signature was signed")
	}
	other, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if csr, err = pki.Request(other); err == nil {
		if _, err := a.Issue(csr, id, time.Hour); err == nil {
			t.Error("a weak key was certified")
		}
	}
	server, err := a.Server()
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(server.Certificate[0]); err != nil || time.Since(pki.ClockOf(leaf)).Abs() > time.Minute {
		t.Errorf("the master's clock is said to be %v, %v", pki.ClockOf(leaf), err)
	}
}

func TestKeysAreClosed(t *testing.T) {
	dir := t.TempDir()
	if _, err := pki.OpenAuthority(dir, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.key")
	if err := os.Chmod(file, 0o644); err != nil { //nolint:gosec // the point
		t.Fatal(err)
	}
	if _, err := pki.OpenAuthority(dir, nil); err == nil || !strings.Contains(err.Error(), "is open to others") {
		t.Errorf("a key that all can read gives %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.OpenAuthority(dir, nil); err == nil || !strings.Contains(err.Error(), "restore the key from a backup") {
		t.Errorf("without its key it gives %v", err)
	}
}
