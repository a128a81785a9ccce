package ssh_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"testing"

	xssh "golang.org/x/crypto/ssh"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault26HostKeyChanged: no setting and no human lets a changed key pass.
func TestFault26HostKeyChanged(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{Name: "web-01"})
	other := sshdtest.Start(t, sshdtest.Options{Name: "web-02"})
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
		works(t, d, other.Target()) // the others go on
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
