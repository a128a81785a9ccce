package ssh_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault27RecordedKnownHosts: which lines are found, and the verdict on each key,
// for OpenSSH's own test file.
func TestFault27RecordedKnownHosts(t *testing.T) {
	dir := spec(t, "inventories/18-openssh-known-hosts")
	file := filepath.Join(dir, "known_hosts")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "expected/ssh-keygen-F.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]struct {
		Found []string `json:"found_lines"`
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	for host, want := range expected {
		if got := ssh.KnownLines(file, text, host); !slices.Equal(got, want.Found) {
			t.Errorf("%s:\n got %q\nwant %q", host, got, want.Found)
		}
	}
	key := func(name string) xssh.PublicKey {
		b, err := os.ReadFile(filepath.Join(dir, "keys", name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		k, _, _, _, err := xssh.ParseAuthorizedKey(b)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for _, c := range []struct {
		host, key string
		port      int
		want      string // regular expression; empty: accepted
	}{
		{"sisyphus.example.com", "ed25519_1", 22, ""},
		{"SISYPHUS.example.com", "ed25519_1", 22, ""},
		{"sisyphus.example.com", "rsa_1", 22, ""},
		{"sisyphus.example.com", "ecdsa_1", 22, ""},
		{"sisyphus.example.com", "ed25519_3", 22, ""}, // by wildcard
		{"sisyphus.example.com", "ed25519_4", 22, `revoked by .*:33`},
		{"sisyphus.example.com", "ed25519_2", 22, `CHANGED: it shows ssh-ed25519 SHA256:\S+, but .*known_hosts:3 says ssh-ed25519 SHA256:`},
		{"sisyphus.example.com", "ed25519_1", 2222, ""}, // OpenSSH falls back to the plain name
		{"sisyphus.example.com", "ed25519_2", 2222, `is unknown`},
		{"prometheus.example.com", "ed25519_2", 22, ""},
		{"192.0.2.1", "ed25519_2", 22, ""},
		{"2001:db8::1", "rsa_2", 22, ""},
		{"192.0.2.77", "ed25519_3", 22, ""},
		{"sisyphus.example.com", "ed25519_5", 22, ""}, // hashed
		{"prometheus.example.com", "ed25519_6", 22, ""},
		{"192.0.2.1", "ed25519_6", 22, ""},
		{"nohost.org", "ed25519_1", 22, `ssh-ed25519 key SHA256:\S+ is unknown`},
		{"other.example.com", "ed25519_4", 22, `CHANGED`},
	} {
		err := ssh.Verdict(file, c.host, c.port, key(c.key))
		if c.want == "" && err != nil {
			t.Errorf("%s:%d with %s: %v", c.host, c.port, c.key, err)
		}
		if c.want != "" && (err == nil || !regexp.MustCompile(c.want).MatchString(err.Error())) {
			t.Errorf("%s:%d with %s: %v, want %s", c.host, c.port, c.key, err, c.want)
		}
	}
}

// TestFault27KnownHostsAsKeygen asks this machine's ssh-keygen about harder names.
func TestFault27KnownHostsAsKeygen(t *testing.T) {
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		sshdtest.MustSkip(t, "needs ssh-keygen")
	}
	k := authorized(newSigner(t).PublicKey())
	text := strings.Join([]string{
		"[h]:2222 " + k, "h,g,[x]:22 " + k, "*.a.b,!c.a.b " + k, "!c.a.b,*.a.b " + k, "H " + k, "? " + k, "[h]:* " + k, "\th " + k, "h\t" + k + "  comment ",
		"@revoked * " + k, "@cert-authority *.a.b " + k, "@revoked @cert-authority h " + k, "@nonsense h " + k, "h ssh-ed25519", "h", "# h " + k, "",
		"h,, " + k, ",h " + k, "|1|bad|bad " + k, "|2|AAAA|AAAA " + k, "h ssh-unknown AAAA", k, "127.0.0.1 " + k, "h " + strings.Replace(k, "AAAA", "AAA!", 1),
	}, "\n") + "\n"
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	hashed := filepath.Join(t.TempDir(), "hashed")
	if err := os.WriteFile(hashed, []byte("h "+k+"\n[h]:2222 "+k+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(bin, "-H", "-f", hashed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range []string{file, hashed} {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"h", "H", "g", "x", "[x]:22", "[h]:2222", "a.a.b", "c.a.b", "a.b", "127.0.0.1", "other", "[h]:1"} {
			if f == hashed && host == "H" {
				continue // ssh-keygen hashes what it is given, ssh the name in lower case
			}
			out, _ := exec.Command(bin, "-F", host, "-f", f).Output() // exit 1: nothing found
			var want []string
			for line := range strings.Lines(string(out)) {
				if strings.HasPrefix(line, "# Host ") {
					want = append(want, strings.TrimSuffix(line, "\n"))
				}
			}
			if got := ssh.KnownLines(f, text, host); !slices.Equal(got, want) {
				t.Errorf("%s in %s:\n got %q\nwant %q", host, filepath.Base(f), got, want)
			}
		}
	}
}

// TestFault27Revoked: a revoked key is refused, wherever the revocation stands.
func TestFault27Revoked(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	name := fmt.Sprintf("[%s]:%d", s.Host, s.Port)
	write(t, s.KnownHosts, name+" "+authorized(s.HostKeys[0])+"\n@revoked * "+authorized(s.HostKeys[0])+"\n")
	_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), s.Target())
	expect(t, s, err, connection.ClassHostKey, `verify {addr}: its host key {key} is revoked by {kh}:2`, `give the host a new key; .*`)
	list := filepath.Join(t.TempDir(), "revoked")
	write(t, list, authorized(s.HostKeys[0])+"\n")
	write(t, s.KnownHosts, name+" "+authorized(s.HostKeys[0])+"\n")
	target := s.Target()
	target.Options["revokedhostkeys"] = list
	_, err = newDialer(t, ssh.Config{}).Dial(testContext(t), target)
	expect(t, s, err, connection.ClassHostKey, `verify {addr}: its host key {key} is revoked by `+list, "")
	target.Options["revokedhostkeys"] = list + ".missing"
	if _, err = newDialer(t, ssh.Config{}).Dial(testContext(t), target); err == nil {
		t.Error("a missing list of revoked keys lets every key pass")
	}
}
