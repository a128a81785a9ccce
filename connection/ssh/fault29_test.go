package ssh_test

import (
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault29WeakAlgorithms: a host that has nothing better is refused by name,
// and let in by that name for itself alone.
func TestFault29WeakAlgorithms(t *testing.T) {
	for _, c := range []struct {
		name, what, option, algorithm string
		class                         connection.Class
	}{
		{"host key", "host key", "HostKeyAlgorithms", "ssh-rsa", connection.ClassHostKey},
		{"key exchange", "key exchange", "KexAlgorithms", "diffie-hellman-group1-sha1", connection.ClassTCP},
		{"cipher", "client to server cipher", "Ciphers", "aes128-cbc", connection.ClassTCP},
		{"MAC", "client to server MAC", "MACs", "hmac-sha1-96", connection.ClassTCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := []string{c.option + " " + c.algorithm}
			if c.option == "MACs" {
				server = append(server, "Ciphers aes128-ctr") // one that needs a MAC
			}
			s := sshdtest.Start(t, sshdtest.Options{Name: "old", HostKeys: []string{"rsa"}, Config: server})
			d := newDialer(t, ssh.Config{})
			_, err := d.Dial(testContext(t), s.Target())
			expect(t, s, err, c.class, `connect to {addr}: no `+c.what+` algorithm in common: the host offers only `+c.algorithm,
				`update the host's SSH server, or accept the weak algorithm for this host alone: `+c.option+` \+`+c.algorithm)
			target := s.Target()
			target.Options[strings.ToLower(c.option)] = "+" + c.algorithm
			works(t, d, target)
			if _, err := d.Dial(testContext(t), s.Target()); err == nil {
				t.Error("the permission for one target holds for another")
			}
		})
	}
	t.Run("user key", func(t *testing.T) {
		t.Parallel()
		file := keygen(t, t.TempDir(), "rsa", "-t", "rsa", "-b", "2048", "-N", "")
		s := sshdtest.Start(t, sshdtest.Options{Keys: []xssh.PublicKey{publicKey(t, file)}, Config: []string{"PubkeyAcceptedAlgorithms ssh-rsa"}})
		target := s.Target()
		target.PrivateKeyFile = file
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassAuth, `log in to {addr}: .* is not let in; the host takes publickey; tried keys .*rsa \(SHA256:.*\)`, `.*`)
		if strings.Contains(s.Log(), "Accepted publickey for") {
			t.Error("signed with SHA-1 unasked")
		}
		target.Options["pubkeyacceptedalgorithms"] = "ssh-rsa"
		works(t, newDialer(t, ssh.Config{}), target)
	})
}
