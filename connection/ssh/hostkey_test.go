package ssh_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

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

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
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
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}
