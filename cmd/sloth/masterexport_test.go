package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection/agent/pki"
)

// TestMasterExport: an authority goes from one master to another, sealed.
func TestMasterExport(t *testing.T) {
	c := newController(t, 0, "")
	for _, dir := range []string{"a", "other"} {
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := pki.OpenAuthority(filepath.Join(c.dir, dir), nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"phrase": "correct horse battery\n", "wrong": "correct horse cattery\n", "short": "horse\n", "none": "hello"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		args string
		code int
		want string
	}{
		{"export x.age --dir none-there --passphrase-file phrase", 1, "sloth: there is no authority in DIR/none-there: sloth master start makes one\n"},
		{"export x.age --dir a --passphrase-file short", 1, "sloth: the passphrase has 5 characters: take at least 12, whoever has this file and guesses it can let anybody in\n"},
		{"export x.age --dir a --passphrase-file phrase", 0, "the authority of DIR/a is in x.age: sloth master import x.age\n"},
		{"import none --dir b --passphrase-file phrase", 1, "sloth: none is no export of a master: "},
		{"import x.age --dir b --passphrase-file wrong", 1, "sloth: x.age was sealed with another passphrase\n"},
		{"import x.age --dir b --passphrase-file phrase", 0, "the master in DIR/b has the authority "},
	} {
		code, out := c.sloth(append([]string{"master"}, strings.Fields(x.args)...)...)
		if got := strings.ReplaceAll(out, c.dir, "DIR"); code != x.code || !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: exit code %d\n got %q\nwant %q", x.args, code, got, x.want)
		}
	}
	a, err := pki.Export(filepath.Join(c.dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := pki.Export(filepath.Join(c.dir, "b"))
	if err != nil || !bytes.Equal(a, b) {
		t.Errorf("what arrived is something else (%v)", err)
	}
	if _, err := pki.Import(filepath.Join(c.dir, "other"), a); err == nil || !strings.Contains(err.Error(), "other has an authority of its own, ") {
		t.Errorf("over another one: %v", err)
	}
	for _, f := range []string{"x.age", "b/ca.key", "b/ca.crt"} {
		st, err := os.Stat(filepath.Join(c.dir, f))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f, st.Mode(), err)
		}
	}
	if code, out := c.sloth("master", "start", "--dir", "b", "--state", "elsewhere"); code != 1 || !strings.Contains(out, "masters share a cluster, not a folder") {
		t.Errorf("a folder to share: exit code %d\n%s", code, out)
	}
	if code, out := c.sloth("master", "start", "--dir", "b", "--advertise", "b.example"); code != 1 || !strings.Contains(out, "it needs --state") {
		t.Errorf("--advertise alone: exit code %d\n%s", code, out)
	}
}
