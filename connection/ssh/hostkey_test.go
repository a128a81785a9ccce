package ssh_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// testKeys are three fresh keys under the names the recorded cases use.
func testKeys(t testing.TB) map[string]xssh.PublicKey {
	t.Helper()
	out := map[string]xssh.PublicKey{}
	for i := range 3 {
		out[fmt.Sprintf("ed25519_%d", i+1)] = newSigner(t).PublicKey()
	}
	return out
}

func newSigner(t testing.TB) xssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := xssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func authorized(k xssh.PublicKey) string {
	return strings.TrimSpace(string(xssh.MarshalAuthorizedKey(k)))
}

// TestRecordedKnownHosts: which lines are found, and the verdict on each key,
// for OpenSSH's own test file.
func TestRecordedKnownHosts(t *testing.T) {
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

// TestKnownLinesAgainstKeygen asks this machine's ssh-keygen about harder names.
func TestKnownLinesAgainstKeygen(t *testing.T) {
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

// asError returns the *connection.Error in err.
func asError(t *testing.T, err error) *connection.Error {
	t.Helper()
	var ce *connection.Error
	if !errors.As(err, &ce) {
		t.Fatalf("%v (%T) is no *connection.Error", err, err)
	}
	return ce
}

// expect checks class, message and hint of a refused dial. The patterns may
// use {addr}, {key} and {kh} for the server's own.
func expect(t *testing.T, s *sshdtest.Server, err error, class connection.Class, message, hint string) {
	t.Helper()
	ce := asError(t, err)
	fill := func(p string) string {
		return strings.NewReplacer("{addr}", regexp.QuoteMeta(s.Addr()), "{key}", regexp.QuoteMeta(xssh.FingerprintSHA256(s.HostKeys[0])), "{kh}", regexp.QuoteMeta(s.KnownHosts),
			"{host}", regexp.QuoteMeta(s.Host), "{port}", fmt.Sprint(s.Port)).Replace(p)
	}
	if ce.Class != class || ce.Host != s.Name {
		t.Errorf("class %s, host %q; want %s, %q", ce.Class, ce.Host, class, s.Name)
	}
	if !regexp.MustCompile("^" + fill(message) + "$").MatchString(ce.Error()) {
		t.Errorf("message\n %s\nwant\n %s", ce.Error(), fill(message))
	}
	if !regexp.MustCompile("^" + fill(hint) + "$").MatchString(ce.Hint) {
		t.Errorf("hint\n %s\nwant\n %s", ce.Hint, fill(hint))
	}
}

func TestHostKeyChanged(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Name: "web-01"})
	old := newSigner(t).PublicKey()
	name := fmt.Sprintf("[%s]:%d", s.Host, s.Port)
	write(t, s.KnownHosts, "# comment\n"+name+" "+authorized(old)+"\n")
	for _, strict := range []string{"yes", "ask", "accept-new", "no"} {
		target := s.Target()
		target.Options["stricthostkeychecking"] = strict
		d := newDialer(t, ssh.Config{HostKeyAsk: func(context.Context, ssh.HostKeyQuestion) (bool, error) {
			t.Error("somebody was asked to wave a changed key through")
			return true, nil
		}})
		_, err := d.Dial(testContext(t), target)
		expect(t, s, err, connection.ClassHostKey,
			`verify {addr}: its host key has CHANGED: it shows ssh-ed25519 {key}, but {kh}:2 says ssh-ed25519 `+regexp.QuoteMeta(xssh.FingerprintSHA256(old)),
			`somebody may be listening in; if the host really has a new key: ssh-keygen -R '\[{host}\]:{port}' -f {kh}`)
	}
	// The command in the hint does help.
	if out, err := exec.Command("ssh-keygen", "-R", name, "-f", s.KnownHosts).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	target := s.Target()
	target.Options["stricthostkeychecking"] = "accept-new"
	mustDial(t, newDialer(t, ssh.Config{}), target)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostKeyUnknown(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Name: "web-01"})
	known := filepath.Join(t.TempDir(), "new", "known_hosts")
	target := s.Target()
	target.Options["userknownhostsfile"] = known
	for _, strict := range []string{"yes", "ask"} {
		target.Options["stricthostkeychecking"] = strict
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target)
		expect(t, s, err, connection.ClassHostKey, `verify {addr}: its ssh-ed25519 key {key} is unknown`,
			`compare the fingerprint on the host's console, then: ssh-keyscan -p {port} {host} >> `+known)
	}
	if _, err := os.Stat(known); err == nil {
		t.Error("a refused key left a file")
	}

	// Asked once, for two connections at the same time; remembered in 0600.
	var asked atomic.Int32
	d := newDialer(t, ssh.Config{HostKeyAsk: func(_ context.Context, q ssh.HostKeyQuestion) (bool, error) {
		asked.Add(1)
		want := ssh.HostKeyQuestion{Host: "web-01", Address: fmt.Sprintf("[%s]:%d", s.Host, s.Port), Type: "ssh-ed25519", Fingerprint: xssh.FingerprintSHA256(s.HostKeys[0])}
		if q != want {
			t.Errorf("asked %+v, want %+v", q, want)
		}
		return true, nil
	}})
	target.Options["stricthostkeychecking"] = "ask"
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { mustDial(t, d, target) })
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	st, err := os.Stat(known)
	if err != nil {
		t.Fatal(err)
	}
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", st.Mode())
	}
	text, _ := os.ReadFile(known)
	if want := fmt.Sprintf("[%s]:%d %s\n", s.Host, s.Port, authorized(s.HostKeys[0])); string(text) != want {
		t.Errorf("file holds %q, want %q", text, want)
	}
	target.Options["stricthostkeychecking"] = "yes"
	mustDial(t, newDialer(t, ssh.Config{}), target)

	t.Run("refused by the human", func(t *testing.T) {
		target := s.Target()
		target.Options["userknownhostsfile"] = filepath.Join(t.TempDir(), "k")
		target.Options["stricthostkeychecking"] = "ask"
		d := newDialer(t, ssh.Config{HostKeyAsk: func(context.Context, ssh.HostKeyQuestion) (bool, error) { return false, nil }})
		_, err := d.Dial(testContext(t), target)
		expect(t, s, err, connection.ClassHostKey, `verify {addr}: its ssh-ed25519 key {key} was not accepted`, "")
	})
	t.Run("a slow human is not the host's fault", func(t *testing.T) {
		target := s.Target()
		target.Options["userknownhostsfile"] = filepath.Join(t.TempDir(), "k")
		target.Options["stricthostkeychecking"] = "ask"
		d := newDialer(t, ssh.Config{HandshakeTimeout: time.Second, HostKeyAsk: func(context.Context, ssh.HostKeyQuestion) (bool, error) {
			time.Sleep(1500 * time.Millisecond) // longer than the handshake may take
			return true, nil
		}})
		mustDial(t, d, target)
	})
	t.Run("accepted and hashed", func(t *testing.T) {
		target := s.Target()
		file := filepath.Join(t.TempDir(), "k")
		write(t, file, "other ssh-ed25519 AAAA") // no newline at its end
		target.Options["userknownhostsfile"] = file
		target.Options["stricthostkeychecking"] = "accept-new"
		target.Options["hashknownhosts"] = "yes"
		mustDial(t, newDialer(t, ssh.Config{}), target)
		text, _ := os.ReadFile(file)
		if strings.Contains(string(text), s.Host) || strings.Count(string(text), "\n") != 2 {
			t.Errorf("file holds %q", text)
		}
		target.Options["stricthostkeychecking"] = "yes"
		mustDial(t, newDialer(t, ssh.Config{}), target)
		if out, err := exec.Command("ssh-keygen", "-F", fmt.Sprintf("[%s]:%d", s.Host, s.Port), "-f", file).Output(); err != nil {
			t.Errorf("ssh-keygen does not find it: %v %s", err, out)
		}
	})
}

func TestHostKeyChoice(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{HostKeys: []string{"ed25519", "ecdsa", "rsa"}})
	name := fmt.Sprintf("[%s]:%d", s.Host, s.Port)
	// Whichever key is known, the server is asked for that one.
	for i, k := range s.HostKeys {
		write(t, s.KnownHosts, name+" "+authorized(k)+"\n")
		if _, err := newDialer(t, ssh.Config{}).Dial(testContext(t), s.Target()); err != nil {
			t.Errorf("only key %d is known: %v", i, err)
		}
	}
	t.Run("alias", func(t *testing.T) {
		write(t, s.KnownHosts, "my-alias "+authorized(s.HostKeys[0])+"\n")
		target := s.Target()
		if _, err := newDialer(t, ssh.Config{}).Dial(testContext(t), target); err == nil {
			t.Error("accepted without the alias")
		}
		target.Options["hostkeyalias"] = "my-alias"
		mustDial(t, newDialer(t, ssh.Config{}), target)
	})
	t.Run("second file", func(t *testing.T) {
		second := filepath.Join(t.TempDir(), "second")
		write(t, second, name+" "+authorized(s.HostKeys[0])+"\n")
		target := s.Target()
		target.Options["userknownhostsfile"] = "/no/such/file " + second
		mustDial(t, newDialer(t, ssh.Config{}), target)
		target.Options["userknownhostsfile"] = "/no/such/file"
		target.Options["globalknownhostsfile"] = second
		mustDial(t, newDialer(t, ssh.Config{}), target)
	})
	t.Run("revoked", func(t *testing.T) {
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
	})
	t.Run("sha-1", func(t *testing.T) {
		old := sshdtest.Start(t, sshdtest.Options{Name: "old", HostKeys: []string{"rsa"}, Config: []string{"HostKeyAlgorithms ssh-rsa"}})
		_, err := newDialer(t, ssh.Config{}).Dial(testContext(t), old.Target())
		expect(t, old, err, connection.ClassHostKey, `connect to {addr}: no host key algorithm in common: the host offers only ssh-rsa`,
			`update the host's SSH server, or accept the weak algorithm for this host alone: HostKeyAlgorithms \+ssh-rsa`)
		target := old.Target()
		target.Options["hostkeyalgorithms"] = "+ssh-rsa"
		mustDial(t, newDialer(t, ssh.Config{}), target)
	})
}

// TestHostCertificates uses a server whose key is signed by an authority.
func TestHostCertificates(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		sshdtest.MustSkip(t, "needs ssh-keygen")
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(keygen, args...).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
		}
	}
	for _, k := range []string{"ca", "host"} {
		run("-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, k))
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pub"))
	if err != nil {
		t.Fatal(err)
	}
	caKey, _, _, _, err := xssh.ParseAuthorizedKey(ca)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		sign    []string // arguments for ssh-keygen -s
		known   string   // {name} and {ca} are replaced
		message string   // empty: accepted
	}{
		{"right", []string{"-h", "-n", "{host}"}, "@cert-authority {name} {ca}", ""},
		{"wildcard authority", []string{"-h", "-n", "other,{host}"}, "@cert-authority * {ca}", ""},
		{"wildcard principal", []string{"-h", "-n", "other,127.*"}, "@cert-authority * {ca}", `is not valid: it is for other, 127\.\*, not for 127`},
		{"authority without port", []string{"-h", "-n", "{host}"}, "@cert-authority {ip} {ca}", ""},
		{"no authority known", []string{"-h", "-n", "{host}"}, "", `is unknown; no @cert-authority line has the key SHA256:\S+ that signed its certificate`},
		{"authority as a plain key", []string{"-h", "-n", "{host}"}, "{name} {ca}", `CHANGED`},
		{"other principal", []string{"-h", "-n", "web-02"}, "@cert-authority * {ca}", `is not valid: it is for web-02, not for 127\.`},
		{"expired", []string{"-h", "-n", "{host}", "-V", "20200101:20200102"}, "@cert-authority * {ca}", `is not valid: it expired at 2020-01-02 00:00:00 \S+, this machine's clock says 20`},
		{"not yet valid", []string{"-h", "-n", "{host}", "-V", "20900101:20900102"}, "@cert-authority * {ca}", `is not valid: it becomes valid at 2090-01-01 00:00:00 \S+, this machine's clock says 20`},
		{"authority revoked", []string{"-h", "-n", "{host}"}, "@cert-authority * {ca}\n@revoked * {ca}", `is revoked by`},
		{"key revoked", []string{"-h", "-n", "{host}"}, "@cert-authority * {ca}\n@revoked * {key}", `is revoked by`},
		{"expired, plain key known", []string{"-h", "-n", "{host}", "-V", "20200101:20200102"}, "@cert-authority * {ca}\n{name} {key}", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			key := filepath.Join(t.TempDir(), "host")
			copyFile(t, filepath.Join(dir, "host"), key)
			copyFile(t, filepath.Join(dir, "host.pub"), key+".pub")
			s := sshdtest.Start(t, sshdtest.Options{Address: "127.0.0.1", HostKeys: []string{}, Config: []string{"HostKey " + key, "HostCertificate " + key + "-cert.pub"}, BeforeStart: func(s *sshdtest.Server) error {
				args := append([]string{"-q", "-s", filepath.Join(dir, "ca"), "-I", "id"}, c.sign...)
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "{host}", s.Host)
				}
				out, err := exec.Command(keygen, append(args, key+".pub")...).CombinedOutput()
				if err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				return nil
			}})
			pub, err := os.ReadFile(key + ".pub")
			if err != nil {
				t.Fatal(err)
			}
			write(t, s.KnownHosts, strings.NewReplacer("{name}", fmt.Sprintf("[%s]:%d", s.Host, s.Port), "{ip}", s.Host, "{ca}", authorized(caKey), "{key}", string(pub)).Replace(c.known)+"\n")
			_, err = newDialer(t, ssh.Config{}).Dial(testContext(t), s.Target())
			out, sshErr := exec.Command("ssh", "-F", s.SSHConfig, "-o", "BatchMode=yes", s.Name, "true").CombinedOutput()
			if (sshErr == nil) != (err == nil) {
				t.Errorf("ssh says %v (%s), sloth %v", sshErr, out, err)
			}
			switch {
			case c.message == "" && err != nil:
				t.Error(err)
			case c.message != "" && err == nil:
				t.Error("accepted")
			case err != nil:
				if ce := asError(t, err); ce.Class != connection.ClassHostKey || !regexp.MustCompile(c.message).MatchString(ce.Error()) {
					t.Errorf("got %s: %v, want %s", ce.Class, ce, c.message)
				}
			}
		})
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}
