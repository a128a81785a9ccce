package knownhosts

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

const (
	k1   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy"
	k2   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID3SKYZuVFCMeVNdBC9t/ImR4Xod46RDBIJX3Wc8dfyy"
	ec   = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBO/9ma428d6dXbjW3KuJbEghitBaYOKNwOkBoUxk2bg0aBFo1fEiDLCAggdYWbeI+AIzcobG/3QD9C3rO/hkalo="
	path = "/etc/ssh/ssh_known_hosts"
)

var args = standin.Args

func TestChanges(t *testing.T) {
	hw := hash("web-01")
	content := path + " content"
	fresh := path + " state: absent -> file; " + content
	for _, c := range []struct {
		name, function, before string
		args                   map[string]any
		diff, after            string
	}{
		{"new file", "present", "", args("name", "web-01", "key", k1), fresh, "web-01 " + k1 + "\n"},
		{"with its name", "present", "# x\n", args("name", "web-01", "key", "web-01,10.0.0.1 "+k1+" root@web-01\n"), content, "# x\nweb-01 " + k1 + " root@web-01\n"},
		{"there already", "present", "web-01,10.0.0.1 " + k1 + " c\n", args("name", "WEB-01", "key", k1), "", "web-01,10.0.0.1 " + k1 + " c\n"},
		{"there, hashed", "present", hw + " " + k1 + "\n", args("name", "web-01", "key", k1), "", hw + " " + k1 + "\n"},
		{"another key", "present", "web-01 " + k2 + "\nweb-02 " + k2 + "\n", args("name", "web-01", "key", k1), content, "web-02 " + k2 + "\nweb-01 " + k1 + "\n"},
		{"another key, hashed", "present", hw + " " + k2 + "\n", args("name", "web-01", "key", k1), content, "web-01 " + k1 + "\n"},
		{"other names stay", "present", "web-01,10.0.0.1 " + k2 + "\n", args("name", "web-01", "key", k1), content, "10.0.0.1 " + k2 + "\nweb-01 " + k1 + "\n"},
		{"other types stay", "present", "web-01 " + ec + "\n", args("name", "web-01", "key", k1), content, "web-01 " + ec + "\nweb-01 " + k1 + "\n"},
		{"several", "present", "web-01 " + ec + "\n", args("name", "web-01", "key", []any{ec, k1}), content, "web-01 " + ec + "\nweb-01 " + k1 + "\n"},
		{"twice", "present", "web-01 " + k1 + "\nweb-01 " + k1 + "\n", args("name", "web-01", "key", k1), content, "web-01 " + k1 + "\n"},
		{"another port", "present", "web-01 " + k2 + "\n", args("name", "web-01:2222", "key", k1), content, "web-01 " + k2 + "\n[web-01]:2222 " + k1 + "\n"},
		{"port 22 is none", "present", "web-01 " + k1 + "\n", args("name", "[web-01]:22", "key", k1), "", "web-01 " + k1 + "\n"},
		{"IPv6", "present", "", args("name", "[2001:DB8::1]:2222", "key", k1), fresh, "[2001:db8::1]:2222 " + k1 + "\n"},
		{"a marker", "present", "web-01 " + k2 + "\n", args("name", "*.example.com", "key", "@cert-authority *.example.com "+k1), content,
			"web-01 " + k2 + "\n@cert-authority *.example.com " + k1 + "\n"},
		{"marked lines are others", "present", "@revoked web-01 " + k2 + "\n", args("name", "web-01", "key", k1), content, "@revoked web-01 " + k2 + "\nweb-01 " + k1 + "\n"},
		{"rubbish stays", "present", "what is this\nweb-01 ssh-ed25519 AAAA\n", args("name", "web-01", "key", k1), content, "what is this\nweb-01 ssh-ed25519 AAAA\nweb-01 " + k1 + "\n"},
		{"forget", "absent", "web-01 " + k1 + "\n" + hw + " " + ec + "\nweb-02,web-01 " + k2 + "\n@revoked web-01 " + k2 + "\n", args("name", "web-01"), content,
			"web-02 " + k2 + "\n@revoked web-01 " + k2 + "\n"},
		{"forget a key", "absent", "web-01 " + k1 + "\nweb-01 " + ec + "\n", args("name", "web-01", "key", k1), content, "web-01 " + ec + "\n"},
		{"forget a marked key", "absent", "web-01 " + k1 + "\n@revoked web-01 " + k1 + "\n", args("name", "web-01", "key", "@revoked web-01 "+k1), content, "web-01 " + k1 + "\n"},
		{"forget a stranger", "absent", "web-010 " + k1 + "\n", args("name", "web-01"), "", "web-010 " + k1 + "\n"},
		{"forget without a file", "absent", "", args("name", "web-01"), "", "(absent)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"/etc/ssh/": ""}
			if c.before != "" {
				files[path] = c.before
			}
			h := standin.New(t, Module(), files)
			c.args["path"] = path
			h.Cycle(c.function, c.args, c.diff, "", "")
			if got := h.Text(path); got != c.after {
				t.Errorf("the file is\n%s\nwanted\n%s", got, c.after)
			}
		})
	}
}

// What is hashed here ssh-keygen finds, and the other way round.
func TestHashedNames(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		if os.Getenv("SLOTH_MUST_RUN") == "1" {
			t.Fatal("there is no ssh-keygen")
		}
		t.Skip("there is no ssh-keygen")
	}
	h := standin.New(t, Module(), map[string]string{path: "web-02 " + k2 + "\nweb-01 " + k1 + "\n"})
	file := filepath.Join(h.Root, path)
	h.Cycle("present", args("name", "[web-01]:2222", "key", ec, "path", path, "hash_host", true), path+" content", "", "")
	h.Cycle("present", args("name", "web-01", "key", k1, "path", path, "hash_host", true), path+" content", "", "")
	for name, key := range map[string]string{"[web-01]:2222": ec, "web-01": k1} {
		out, err := exec.Command("ssh-keygen", "-F", name, "-f", file).CombinedOutput() //nolint:gosec // a test
		if err != nil || !strings.Contains(string(out), key) || !strings.Contains(string(out), hashMagic) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
	if strings.Contains(h.Text(path), "web-01") {
		t.Errorf("a name is to be seen:\n%s", h.Text(path))
	}
	if out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput(); err != nil { //nolint:gosec // a test
		t.Fatal(string(out))
	}
	h.Cycle("present", args("name", "web-02", "key", k2, "path", path), "", "", "")
	h.Cycle("absent", args("name", "web-02", "path", path), path+" content", "", "")
}

func TestFolderOfTheUser(t *testing.T) {
	h := standin.New(t, Module(), map[string]string{"/home/ann/": ""})
	file := "/home/ann/.ssh/known_hosts"
	h.Cycle("present", args("name", "a", "key", k1, "path", file), "/home/ann/.ssh state: absent -> directory; /home/ann/.ssh mode:  -> 0700; "+
		file+" state: absent -> file; "+file+" content; "+file+" mode:  -> 0600", "", "")
}

func TestBadInput(t *testing.T) {
	h := standin.New(t, Module(), map[string]string{"/etc/ssh/": ""})
	for _, c := range []struct {
		args map[string]any
		fail string
	}{
		{args("name", "a,b", "key", k1), `name = "a,b" has a comma in it; write one host, such as "web-01", "10.0.0.1" or "[web-01]:2222"`},
		{args("name", "[a]:x", "key", k1), `name = "[a]:x" has no port between 1 and 65535; write one host, such as "web-01", "10.0.0.1" or "[web-01]:2222"`},
		{args("name", "a b", "key", k1), `name = "a b" has a character in it that no name has; write one host, such as "web-01", "10.0.0.1" or "[web-01]:2222"`},
		{args("name", "a", "key", "\nssh-ed25519 AAAA\n"), "key, line 2: the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file"},
		{args("name", "a", "key", "b "+k1), "key, line 1: it is a key of b, not of a"},
		{args("name", "a", "key", "@revoke a "+k1), `key, line 1: "@revoke" is no marker; there are @cert-authority and @revoked`},
		{args("name", "a", "key", []any{k1, k2}), "key holds two keys of the type ssh-ed25519; a host has one of each"},
		{args("name", "a", "key", "# none"), "key holds no key; ssh-keyscan prints those of a host, which are to be verified"},
		{args("name", "a"), "key is missing: the public keys, several lines or a list; a line may begin with a marker and names, as in the file"},
		{args("name", "*.b", "key", k1, "hash_host", true), "a pattern cannot be hashed: ssh looks for the hash of the very name"},
		{args("name", "a", "key", k1, "path", "/none/here"), `the folder /none does not exist; make it with file_ops.file({path = "/none", state = "directory"})`},
		{args("name", "a", "key", k1, "hash_hosts", true), `unknown argument "hash_hosts"; did you mean "hash_host"?`},
	} {
		if c.args["path"] == nil {
			c.args["path"] = path
		}
		if _, _, err := h.Call("present", c.args); err == nil || err.Error() != "known_hosts.present: "+c.fail {
			t.Errorf("%v:\n%v\nwanted\n%s", c.args, err, c.fail)
		}
	}
	if h.Text(path) != "(absent)" {
		t.Error("a call that failed wrote the file")
	}
}

func TestList(t *testing.T) {
	h := standin.New(t, Module(), map[string]string{path: "# x\na,b " + k1 + " c\n@revoked a " + k2 + "\n" + hash("b") + " " + ec + "\nrubbish\n"})
	for name, want := range map[string]int{"": 3, "a": 2, "b": 2, "c": 0} {
		a := args("path", path)
		if name != "" {
			a["name"] = name
		}
		got, _, err := h.Call("list", a)
		if err != nil || len(got.([]any)) != want {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
	got, _, err := h.Call("list", args("name", "a", "path", path))
	if err != nil {
		t.Fatal(err)
	}
	second := got.([]any)[1].(map[string]any)
	if second["marker"] != "@revoked" || second["line"] != 3 || second["hashed"] != false || second["key"] != strings.Fields(k2)[1] {
		t.Errorf("%v", second)
	}
}

func FuzzLine(f *testing.F) {
	f.Add("@revoked a,[b]:22 " + k1 + " c")
	f.Add("|1|c2FsdA==|c2FsdA== " + ec)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n\x00") {
			return
		}
		_, _ = nameOf(line)
		e, err := parseLine(line, false)
		if err != nil {
			return
		}
		e.at("web-01")
		again, err := parseLine(e.String(), false)
		if err != nil || !again.key.Same(e.key) || again.marker != e.marker || strings.Join(again.names, ",") != strings.Join(e.names, ",") {
			t.Errorf("%q: %q is not %q, %v", line, again, e, err)
		}
	})
}
