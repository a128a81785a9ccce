package ssh_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// keygen makes a key with ssh-keygen and returns its file.
func keygen(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		sshdtest.MustSkip(t, "needs ssh-keygen")
	}
	file := filepath.Join(dir, name)
	if out, err := exec.Command(bin, append([]string{"-q", "-f", file}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return file
}

func publicKey(t testing.TB, file string) xssh.PublicKey {
	t.Helper()
	text, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	k, _, _, _, err := xssh.ParseAuthorizedKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// works runs a command, so that a connection counts only when it can be used.
func works(t testing.TB, d *ssh.Dialer, target connection.Target) {
	t.Helper()
	c := mustDial(t, d, target)
	if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"true"}}, nil, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestKeyFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const pass = "correct horse"
	keys := map[string]string{
		"ed25519":           keygen(t, dir, "ed25519", "-t", "ed25519", "-N", ""),
		"rsa":               keygen(t, dir, "rsa", "-t", "rsa", "-b", "2048", "-N", ""),
		"ecdsa":             keygen(t, dir, "ecdsa", "-t", "ecdsa", "-N", ""),
		"pem":               keygen(t, dir, "pem", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""),
		"encrypted":         keygen(t, dir, "encrypted", "-t", "ed25519", "-a", "4", "-N", pass),
		"encrypted pem":     keygen(t, dir, "encrypted-pem", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", pass),
		"encrypted without": keygen(t, dir, "encrypted2", "-t", "ed25519", "-a", "4", "-N", pass),
	}
	// The newer format has the public half inside; the file beside is not needed.
	if err := os.Remove(keys["encrypted without"] + ".pub"); err != nil {
		t.Fatal(err)
	}
	var let []xssh.PublicKey
	for name, file := range keys {
		if name == "encrypted without" {
			private, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s, err := xssh.ParsePrivateKeyWithPassphrase(private, []byte(pass))
			if err != nil {
				t.Fatal(err)
			}
			let = append(let, s.PublicKey())
			continue
		}
		let = append(let, publicKey(t, file))
	}
	s := sshdtest.Start(t, sshdtest.Options{Keys: let})
	var asked atomic.Int32
	d := newDialer(t, ssh.Config{Passphrase: func(_ context.Context, file string, attempt int) (*connection.Secret, error) {
		asked.Add(1)
		if !strings.Contains(file, "encrypted") {
			t.Errorf("asked for %s", file)
		}
		if attempt == 1 {
			return connection.NewSecret("wrong"), nil
		}
		return connection.NewSecret(pass), nil
	}})
	for name, file := range keys {
		asked.Store(0)
		target := s.Target()
		target.PrivateKeyFile = file
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { works(t, d, target) })
		}
		wg.Wait()
		want := int32(0)
		if strings.HasPrefix(name, "encrypted") {
			want = 2 // once wrong, once right, for all three connections
		}
		if n := asked.Load(); n != want {
			t.Errorf("%s: asked %d times, want %d", name, n, want)
		}
	}

	t.Run("nobody to ask", func(t *testing.T) {
		target := s.Target()
		target.PrivateKeyFile = keys["encrypted"]
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassAuth,
			`log in to {addr}: \S+ is not let in; the host takes publickey; tried keys `+keys["encrypted"]+` \(SHA256:\S+\); key `+keys["encrypted"]+` is encrypted and nobody can be asked for its passphrase`,
			`load the key into an agent: ssh-add`)
	})
	t.Run("wrong for ever", func(t *testing.T) {
		var asked int
		d := newDialer(t, ssh.Config{Passphrase: func(context.Context, string, int) (*connection.Secret, error) {
			asked++
			return connection.NewSecret("wrong"), nil
		}})
		target := s.Target()
		target.PrivateKeyFile = keys["encrypted"]
		for range 2 {
			if _, err := d.Dial(testContext(t), target); err == nil || !strings.Contains(err.Error(), "wrong passphrase for "+keys["encrypted"]+", three times") {
				t.Errorf("got %v", err)
			}
		}
		if asked != 3 {
			t.Errorf("asked %d times", asked)
		}
	})
	t.Run("not asked for keys the host does not want", func(t *testing.T) {
		other := keygen(t, t.TempDir(), "other", "-t", "ed25519", "-a", "4", "-N", pass)
		d := newDialer(t, ssh.Config{Passphrase: func(context.Context, string, int) (*connection.Secret, error) {
			t.Error("asked for nothing")
			return nil, errors.New("no")
		}})
		target := s.Target()
		target.PrivateKeyFile = other
		target.Options["identityfile"] = keys["rsa"]
		works(t, d, target)
	})
	t.Run("open to others", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "key")
		copyFile(t, keys["ed25519"], file)
		if err := os.Chmod(file, 0o644); err != nil {
			t.Fatal(err)
		}
		target := s.Target()
		target.PrivateKeyFile = file
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassAuth, `.*; there was nothing to try; others may read `+file+`: chmod 600 `+file, `name a key with --private-key, .*`)
	})
	t.Run("missing", func(t *testing.T) {
		target := s.Target()
		target.PrivateKeyFile = "/no/such/key"
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassAuth, `.*; there was nothing to try; /no/such/key: no such file or directory`, `name a key .*`)
	})
	t.Run("default identities", func(t *testing.T) {
		home := t.TempDir()
		if err := os.Mkdir(home+"/.ssh", 0o700); err != nil {
			t.Fatal(err)
		}
		copyFile(t, keys["ecdsa"], home+"/.ssh/id_ecdsa")
		target := s.Target()
		target.PrivateKeyFile = ""
		works(t, newDialer(t, ssh.Config{Home: home}), target)
	})
	t.Run("not let in", func(t *testing.T) {
		file := keygen(t, t.TempDir(), "stranger", "-t", "ed25519", "-N", "")
		target := s.Target()
		target.PrivateKeyFile = file
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		user := target.User
		expect(t, s, err, connection.ClassAuth, `log in to {addr}: `+user+` is not let in; the host takes publickey; tried keys `+file+` \(`+regexp.QuoteMeta(xssh.FingerprintSHA256(publicKey(t, file)))+`\)`,
			`check the user name \(`+user+`\), or put one of the keys there: ssh-copy-id`)
	})
	t.Run("too many", func(t *testing.T) {
		dir := t.TempDir()
		var lines []string
		for _, n := range strings.Split("abcdefgh", "") {
			lines = append(lines, "IdentityFile "+keygen(t, dir, n, "-t", "ed25519", "-N", ""))
		}
		config := filepath.Join(dir, "config")
		write(t, config, strings.Join(lines, "\n")+"\n")
		target := s.Target()
		target.PrivateKeyFile = ""
		_, err := newDialer(t, ssh.Config{ConfigFile: config}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassAuth, `.*; the host counted too many failures`, `name the right key with --private-key .*`)
	})
}

func TestUserCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := keygen(t, dir, "ca", "-t", "ed25519", "-N", "")
	key := keygen(t, dir, "key", "-t", "ed25519", "-N", "")
	user := sshdtest.Start(t, sshdtest.Options{}).User
	if out, err := exec.Command("ssh-keygen", "-q", "-s", ca, "-I", "me", "-n", user, key+".pub").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := sshdtest.Start(t, sshdtest.Options{Keys: []xssh.PublicKey{}, Config: []string{"TrustedUserCAKeys " + ca + ".pub"}})
	target := s.Target()
	target.PrivateKeyFile = key
	works(t, newDialer(t, ssh.Config{}), target) // KEY-cert.pub is found by its name
	elsewhere := filepath.Join(t.TempDir(), "cert")
	if err := os.Rename(key+"-cert.pub", elsewhere); err != nil {
		t.Fatal(err)
	}
	if _, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target); err == nil {
		t.Error("let in without the certificate")
	}
	target.Options["certificatefile"] = elsewhere
	works(t, newDialer(t, ssh.Config{}), target)
	target.PrivateKeyFile = ca
	_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
	expect(t, s, err, connection.ClassAuth, `.*`+elsewhere+`: no key at hand belongs to it`, `.*`)
}

// startAgent runs a real ssh-agent with the given keys.
func startAgent(t testing.TB, keys ...string) string {
	t.Helper()
	for _, tool := range []string{"ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(tool); err != nil {
			sshdtest.MustSkip(t, "needs "+tool)
		}
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("ssh-agent", "-D", "-a", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	waitFor(t, "the agent's socket", func() bool { _, err := os.Stat(socket); return err == nil })
	for _, k := range keys {
		add := exec.Command("ssh-add", "-q", k)
		add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket)
		if out, err := add.CombinedOutput(); err != nil {
			t.Fatalf("ssh-add: %v: %s", err, out)
		}
	}
	return socket
}

func TestAgent(t *testing.T) {
	dir := t.TempDir()
	key := keygen(t, dir, "key", "-t", "rsa", "-b", "2048", "-N", "")
	other := keygen(t, dir, "other", "-t", "ed25519", "-N", "")
	s := sshdtest.Start(t, sshdtest.Options{Keys: []xssh.PublicKey{publicKey(t, key)}})
	socket := startAgent(t, other, key)
	base := s.Target()
	base.PrivateKeyFile = ""
	base.Options["identitiesonly"] = "no"
	target := func(options ...string) connection.Target {
		out := base
		out.Options = map[string]string{}
		for k, v := range base.Options {
			out.Options[k] = v
		}
		for i := 0; i < len(options); i += 2 {
			out.Options[options[i]] = options[i+1]
		}
		return out
	}
	t.Run("IdentityAgent", func(t *testing.T) {
		d := newDialer(t, ssh.Config{})
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() { works(t, d, target("identityagent", socket)) })
		}
		wg.Wait()
	})
	t.Run("SSH_AUTH_SOCK", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", socket)
		without := target()
		delete(without.Options, "identityagent")
		works(t, newDialer(t, ssh.Config{}), without)
		if _, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target("identityagent", "none")); err == nil {
			t.Error("IdentityAgent none still asks the agent")
		}
	})
	t.Run("only the public half on disk", func(t *testing.T) {
		public := filepath.Join(t.TempDir(), "key.pub")
		copyFile(t, key+".pub", public)
		works(t, newDialer(t, ssh.Config{}), target("identityagent", socket, "identitiesonly", "yes", "identityfile", public))
		works(t, newDialer(t, ssh.Config{}), target("identityagent", socket, "identitiesonly", "yes", "identityfile", strings.TrimSuffix(public, ".pub")))
	})
	t.Run("IdentitiesOnly", func(t *testing.T) {
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target("identityagent", socket, "identitiesonly", "yes", "identityfile", other))
		if ce := asError(t, err); strings.Contains(ce.Error(), xssh.FingerprintSHA256(publicKey(t, key))) {
			t.Errorf("the agent's other key was offered: %v", ce)
		}
	})
	t.Run("no agent there", func(t *testing.T) {
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target("identityagent", "/no/such/agent"))
		expect(t, s, err, connection.ClassAuth, `.*there was nothing to try; reach the ssh-agent: dial unix /no/such/agent: connect: no such file or directory`, `name a key .*`)
	})
}

func TestPassword(t *testing.T) {
	t.Parallel()
	a := sshdtest.AddAccount(t, "")
	for _, c := range []struct {
		name   string
		config []string
	}{
		{"password", []string{"PasswordAuthentication yes"}},
		{"keyboard-interactive", []string{"UsePAM yes", "KbdInteractiveAuthentication yes"}},
		{"both", []string{"UsePAM yes", "KbdInteractiveAuthentication yes", "PasswordAuthentication yes"}},
		{"after a key", []string{"PasswordAuthentication yes", "AuthenticationMethods publickey,password"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.Contains(strings.Join(c.config, " "), "UsePAM yes") {
				if _, err := os.Stat("/etc/pam.d/sshd"); err != nil {
					sshdtest.MustSkip(t, "needs PAM")
				}
			}
			s := sshdtest.Start(t, sshdtest.Options{User: a.Name, Config: c.config, RealHome: true})
			target := s.Target()
			if c.name != "after a key" {
				target.PrivateKeyFile = ""
			}
			target.Password = connection.NewSecret(a.Password)
			works(t, newDialer(t, ssh.Config{}), target)

			target.Password = connection.NewSecret("wrong")
			_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
			if ce := asError(t, err); ce.Class != connection.ClassAuth || !strings.Contains(ce.Error(), "the password") || strings.Contains(ce.Error(), "wrong") {
				t.Errorf("got %s: %v", ce.Class, ce)
			}
			closed := regexp.MustCompile(`(?s)Accepted .*\n(Connection|Disconnected|Received disconnect).*\[preauth\]`)
			tries := func() int {
				return strings.Count(s.Log(), "Failed password") + strings.Count(s.Log(), "Failed keyboard-interactive/pam")
			}
			waitFor(t, "failure and end in the log", func() bool { return tries() > 0 && closed.MatchString(s.Log()) })
			if n := tries(); n != 1 {
				t.Errorf("the wrong password was tried %d times", n)
			}
			if strings.Contains(s.Log(), a.Password) {
				t.Error("the password is in the log")
			}

			target.Password = nil
			_, err = newDialer(t, ssh.Config{}).Dial(testContext(t), target)
			if ce := asError(t, err); c.name != "after a key" && ce.Hint != "this host wants a password: use -k" {
				t.Errorf("hint %q for %v", ce.Hint, ce)
			}
		})
	}
}
