package sshfile

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
)

const ed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBhRcXGhT0mZr3l2Z2cY0d0b7wB4T3d9dmCqS6yE0qkV"

func TestParseKey(t *testing.T) {
	k, err := ParseKey("  " + ed + "   bob at home \n")
	if err != nil || k.Comment != "bob at home" || k.String() != ed+" bob at home" || !strings.HasPrefix(k.Fingerprint(), "SHA256:") {
		t.Errorf("%+v, %v", k, err)
	}
	cut, wrong := ed[:len(ed)-8], strings.Replace(ed, "ssh-ed25519", "ssh-rsa", 1)
	for text, want := range map[string]string{
		"":                     `"" is no type of key; a public key begins with one, such as ssh-ed25519 or ssh-rsa`,
		"ssh-ed25518 AAAA":     `"ssh-ed25518" is no type of key; did you mean "ssh-ed25519"?`,
		"ssh-ed25519":          `there is nothing behind ssh-ed25519; a public key goes on in base64`,
		"ssh-ed25519 ?":        `the key behind ssh-ed25519 is not base64: it is cut off or damaged; copy the whole line of the .pub file`,
		cut:                    `the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file`,
		wrong:                  `the line says ssh-rsa, but the key in it is another ("ssh-ed25519"); copy the whole line of the .pub file`,
		"ssh-ed25519 AAAA":     `the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file`,
		"ssh-ed25519 /////w==": `the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file`,
	} {
		if _, err := ParseKey(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestLinksOfOthersAreNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("this test needs root, to give files away")
		}
		t.Skip("only root gives files away")
	}
	m := machine.New()
	dir := t.TempDir()
	secret, ssh := filepath.Join(dir, "secret"), filepath.Join(dir, "home", ".ssh")
	if err := os.MkdirAll(ssh, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(secret, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(ssh, "keys")
	if err := os.Symlink(secret, file); err != nil {
		t.Fatal(err)
	}
	if text, err := Read(m, file); err != nil || text != "root's" {
		t.Errorf("root's own link: %q, %v", text, err)
	}
	give := func(path string) {
		t.Helper()
		if err := m.Chown(path, 4711, 4711, false); err != nil {
			t.Fatal(err)
		}
	}
	give(file)
	give(ssh)
	if text, err := Read(m, file); err == nil || !strings.Contains(err.Error(), "belongs to 4711, and is not followed") {
		t.Errorf("a link of somebody else: %q, %v", text, err)
	}
	// It may be a link only while it is opened.
	f, err := m.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(context.Background(), file, strings.NewReader("mine"), modules.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := unmoved(m, file, f); err == nil || !strings.Contains(err.Error(), "was replaced while it was read") {
		t.Errorf("another file was opened: %v", err)
	}
	if text, err := Read(m, file); err != nil || text != "mine" {
		t.Errorf("a file of the user: %q, %v", text, err)
	}
	other := filepath.Join(dir, "home", "other")
	if err := os.Symlink(ssh, other); err != nil {
		t.Fatal(err)
	}
	give(other)
	if text, err := Read(m, filepath.Join(other, "keys")); err == nil {
		t.Errorf("through a folder that is a link: %q", text)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(ed)
	f.Add("ssh-rsa AAAAB3NzaC1yc2E=")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			return
		}
		if again, err := ParseKey(k.String()); err != nil || !again.Same(k) {
			t.Errorf("%q: %+v is not %+v, %v", text, again, k, err)
		}
	})
}
