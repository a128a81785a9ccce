package sshclient

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

func fill(t *testing.T, function string, args ...any) (any, error) {
	t.Helper()
	for _, f := range Module(nil).Funcs {
		if f.Name == function {
			return spec.Parse(f, args, "/")
		}
	}
	t.Fatalf("there is no %s", function)
	return nil, nil
}

// apply runs a Changer, and says whether it changed something.
func apply(t *testing.T, function string, args ...any) (bool, m) {
	t.Helper()
	filled, err := fill(t, function, args...)
	if err != nil {
		t.Fatal(err)
	}
	c := filled.(modules.Changer)
	d, err := c.Check(t.Context(), machine.New())
	if err != nil {
		t.Fatal(err)
	}
	if !d.Empty() {
		if err := c.Apply(t.Context(), machine.New(), d); err != nil {
			t.Fatal(err)
		}
	}
	return !d.Empty(), c.(modules.Resulter).Result()
}

func query(t *testing.T, function string, args ...any) ([]any, error) {
	t.Helper()
	filled, err := fill(t, function, args...)
	if err != nil {
		return nil, err
	}
	return filled.(modules.Querier).Query(t.Context(), machine.New())
}

func TestKeyPairs(t *testing.T) {
	for _, c := range []struct {
		kind string
		bits int64
		want string
	}{{"ed25519", 0, "ssh-ed25519"}, {"rsa", 2048, "ssh-rsa"}, {"ecdsa", 0, "ecdsa-sha2-nistp256"}, {"ecdsa", 384, "ecdsa-sha2-nistp384"}, {"ecdsa", 521, "ecdsa-sha2-nistp521"}} {
		t.Run(fmt.Sprint(c.kind, c.bits), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			args := m{"type": c.kind, "bits": c.bits, "comment": "deploy at night"}
			changed, result := apply(t, "generate_keypair", path, args)
			if !changed || result["type"] != c.want {
				t.Fatalf("changed %t, %v", changed, result)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := ssh.ParsePrivateKey(data)
			if err != nil {
				t.Fatalf("x/crypto cannot read it: %v", err)
			}
			public := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " deploy at night"
			pub, err := os.ReadFile(path + ".pub")
			if err != nil || string(pub) != public+"\n" || result["public_key"] != public || result["fingerprint"] != ssh.FingerprintSHA256(signer.PublicKey()) {
				t.Errorf("public key %q, %v, result %v, want %q", pub, err, result, public)
			}
			if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			if tool, err := exec.LookPath("ssh-keygen"); err == nil {
				out, err := exec.CommandContext(t.Context(), tool, "-y", "-f", path).CombinedOutput()
				if err != nil || strings.TrimSpace(string(out)) != public {
					t.Errorf("ssh-keygen reads %q, %v", out, err)
				}
			}
			if changed, _ := apply(t, "generate_keypair", path, args); changed {
				t.Error("a second call made another key")
			}
			if err := os.Remove(path + ".pub"); err != nil {
				t.Fatal(err)
			}
			if changed, _ := apply(t, "generate_keypair", path); !changed {
				t.Error("the .pub was not made again")
			}
			if again, err := os.ReadFile(path + ".pub"); err != nil || !bytes.Equal(again, pub) {
				t.Errorf("made again as %q, %v", again, err)
			}
			if changed, _ := apply(t, "generate_keypair", path, m{"force": true}); !changed {
				t.Error("force made no new key")
			}
			if now, err := os.ReadFile(path); err != nil || bytes.Equal(now, data) {
				t.Errorf("force left the old key, %v", err)
			}
		})
	}
}

func TestLoadPrivateKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := newKey("rsa", 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed, err := newKey("ed25519", 0)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	ed8, err := x509.MarshalPKCS8PrivateKey(ed.ed)
	if err != nil {
		t.Fatal(err)
	}
	rsa8, err := x509.MarshalPKCS8PrivateKey(key.rsa)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(key.rsa, "mine", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	open, err := key.marshal("mine")
	if err != nil {
		t.Fatal(err)
	}
	want := key.public("")
	for _, c := range []struct {
		name      string
		data      []byte
		kind      string
		comment   any
		encrypted bool
	}{
		{"openssh", open, "ssh-rsa", "mine", false},
		{"locked", pem.EncodeToMemory(locked), "ssh-rsa", "", true},
		{"pkcs1", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.rsa)}), "ssh-rsa", "", false},
		{"pkcs8 rsa", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rsa8}), "ssh-rsa", "", false},
		{"pkcs8 ec", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), "ecdsa-sha2-nistp384", "", false},
		{"pkcs8 ed25519", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ed8}), "ssh-ed25519", "", false},
		{"sec1", pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}), "ecdsa-sha2-nistp384", "", false},
		{"old and locked", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "", nil, true},
	} {
		out, err := query(t, "load_private_key", write(c.name, c.data))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got := out[0].(m)
		kind, _ := got["type"].(string)
		if kind != c.kind || got["comment"] != c.comment || got["encrypted"] != c.encrypted {
			t.Errorf("%s: %v", c.name, got)
		}
		if !c.encrypted {
			signer, err := ssh.ParsePrivateKey(c.data)
			if err != nil || got["fingerprint"] != ssh.FingerprintSHA256(signer.PublicKey()) {
				t.Errorf("%s: fingerprint %v, %v", c.name, got["fingerprint"], err)
			}
		}
		if kind == "ssh-rsa" && got["fingerprint"] != want.Fingerprint() {
			t.Errorf("%s: fingerprint %v, want %s", c.name, got["fingerprint"], want.Fingerprint())
		}
		if secret, ok := got["private_key"].(modules.Secret); !ok || secret.Reveal() != string(c.data) {
			t.Errorf("%s: the key is no secret", c.name)
		}
	}
	for name, want := range map[string]string{
		"text":    "it holds no private key",
		"cut":     "the key in it is damaged",
		"foreign": "it holds a certificate, not a private key",
	} {
		data := map[string][]byte{
			"text": []byte("hello"), "cut": pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte(magic + "\x00\x00\x00\xff")}),
			"foreign": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
		}[name]
		if _, err := query(t, "load_private_key", write(name, data)); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestKeyArguments(t *testing.T) {
	for _, c := range []struct {
		function string
		args     []any
		want     string
	}{
		{"generate_keypair", []any{}, "path is missing: private key file; the public key goes beside it, with .pub behind the name"},
		{"generate_keypair", []any{"/k", m{"type": "dsa"}}, `type = "dsa": it must be one of ed25519, ecdsa, rsa; did you mean "rsa"?`},
		{"generate_keypair", []any{"/k", m{"type": "rsa", "bits": int64(1024)}}, "bits: an rsa key has 2048 to 8192"},
		{"generate_keypair", []any{"/k", m{"bits": int64(512)}}, "bits: an ed25519 key has 256"},
		{"generate_keypair", []any{"/k", m{"type": "ecdsa", "bits": int64(512)}}, "bits: an ecdsa key has 256, 384 or 521"},
		{"generate_keypair", []any{"/k", m{"comment": "a\nb"}}, "comment must be one line"},
		{"key_exists", []any{"root", "ssh-ed25518 AAAA"}, `key: "ssh-ed25518" is no type of key; did you mean "ssh-ed25519"?`},
	} {
		if _, err := fill(t, c.function, c.args...); err == nil || err.Error() != c.want {
			t.Errorf("%s(%v):\n got %v\nwant %s", c.function, c.args, err, c.want)
		}
	}
}

func TestAuthorizedKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authorized_keys")
	if err := os.WriteFile(path, []byte("# keys\n"+sample+" ann\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := newKey("ed25519", 0)
	if err != nil {
		t.Fatal(err)
	}
	line := other.public("bob")
	for key, want := range map[string]bool{sample: true, sample + " another comment": true, line.String(): false} {
		out, err := query(t, "key_exists", "root", key, m{"path": path})
		if err != nil || out[0] != want {
			t.Errorf("%s: %v, %v", key, out, err)
		}
	}
	if changed, _ := apply(t, "add_authorized_key", "root", line.String(), m{"path": path}); !changed {
		t.Error("nothing was added")
	}
	if out, err := query(t, "list_authorized_keys", "root", m{"path": path}); err != nil || len(out[0].([]any)) != 2 {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestConnectionsAreTheControllersAlone(t *testing.T) {
	handle := m{"success": true, "id": "ssh-1"}
	for function, args := range map[string][]any{
		"connect": {"web"}, "exec": {handle, "true"}, "stat": {handle, "/"}, "upload": {handle, "a", "b"}, "close_tunnel": {"tunnel-1"},
	} {
		filled, err := fill(t, function, args...)
		if err != nil {
			t.Fatal(err)
		}
		for host, want := range map[string]string{
			"web-01": "connections are made by the controller alone, and this task runs on web-01; give the other host a task of its own with :delegate_to, or use a task without a host",
			"local":  "there are no connections in this command; use it in a file that sloth run or apply runs",
		} {
			if _, err := filled.(modules.Tool).Run(context.Background(), modules.Call{Host: host}); err == nil || err.Error() != want {
				t.Errorf("%s on %s: %v", function, host, err)
			}
		}
	}
}

func FuzzReadPrivate(f *testing.F) {
	key, err := newKey("ed25519", 0)
	if err != nil {
		f.Fatal(err)
	}
	data, err := key.marshal("c")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = readPrivate(data) })
}
