package ssh_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault27HostCertificates uses a server whose key is signed by an authority.
func TestFault27HostCertificates(t *testing.T) {
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
