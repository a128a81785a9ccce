package ssh_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
)

// FuzzConfig merges foreign configuration files: no crash, no endless loop,
// and what comes out is usable.
func FuzzConfig(f *testing.F) {
	for _, text := range differential {
		f.Add(text, "a", "user=x")
	}
	f.Add("Host *\n Match exec x\n", "a.b", "proxyjump=x")
	f.Fuzz(func(t *testing.T, text, host, option string) {
		if strings.Contains(strings.ToLower(text), "include") {
			t.Skip("may read any file of this machine")
		}
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		target := connection.Target{Name: host}
		if k, v, ok := strings.Cut(option, "="); ok {
			target.Options = map[string]string{k: v}
		}
		d := ssh.NewDialer(ssh.Config{ConfigFile: file, Home: "/nowhere"})
		got, err := d.Resolved(target)
		if err != nil {
			return
		}
		if got["hostname"][0] == "" || got["port"][0] == "0" || got["user"][0] == "" {
			t.Errorf("unusable: %q", got)
		}
		again, err := d.Resolved(target)
		if err != nil || again["port"][0] != got["port"][0] || again["hostname"][0] != got["hostname"][0] {
			t.Errorf("the second reading differs: %q, %v", again, err)
		}
	})
}

// FuzzKnownHosts reads foreign known_hosts files.
func FuzzKnownHosts(f *testing.F) {
	f.Add([]byte("a ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK9ks7jkua5YWIwByRnnnc6UPJQWI75O0e/UJdPYU1JI c\n"), "a")
	f.Add([]byte("|1|JR81WxEocTP5d7goIRkl8fHBbno=|l6sj6FOsoXxgEZMzn/BnOfPKN68= ssh-ed25519 AAAA\n@revoked *,!b ssh-rsa AAAA\n@cert-authority [a]:22 ssh-rsa"), "192.0.2.10")
	key := testKeys(f)["ed25519_1"]
	f.Fuzz(func(t *testing.T, text []byte, host string) {
		for _, l := range ssh.KnownLines("k", text, host) {
			if l == "" {
				t.Error("empty line")
			}
		}
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		// A verdict of "fine" must be the file's own: without lines, never.
		if err := ssh.Verdict(file, host, 22, key); err == nil && len(ssh.KnownLines("k", text, host)) == 0 {
			t.Errorf("%q is accepted by nothing", host)
		}
	})
}

// FuzzQuote lets /bin/sh read back what was quoted.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"a", "'", `\`, "!", "\n", "é", "\xff", "$(x)", "%s%d", "-n", "a'\\!\n$x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line, err := ssh.QuoteArgv([]string{"printf", "%s", s})
		if err != nil {
			if strings.IndexByte(s, 0) < 0 {
				t.Error(err)
			}
			return
		}
		out, err := exec.Command("/bin/sh", "-c", line).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q by way of %s (%v)", s, out, line, err)
		}
	})
}

func FuzzPattern(f *testing.F) {
	f.Add("abc", "a*c")
	f.Add(strings.Repeat("a", 100), strings.Repeat("*a", 50)+"b")
	f.Fuzz(func(t *testing.T, s, p string) {
		if len(s) > 1000 || len(p) > 1000 || !utf8.ValidString(s+p) {
			t.Skip()
		}
		if !ssh.MatchPattern(s, "*") || !ssh.MatchPattern(s, s) {
			t.Errorf("%q does not match itself", s)
		}
		if ssh.MatchPattern(s, p) && !ssh.MatchPattern(s+"x", p+"*") {
			t.Errorf("%q matches %q, but not with a star", s, p)
		}
	})
}
