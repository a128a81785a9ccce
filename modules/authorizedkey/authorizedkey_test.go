package authorizedkey

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/sloth-runner/sloth/modules/internal/standin"
)

const (
	k1  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPt1MdqmbYEiaECdXDoAgDSYUulJuDnvFDG8TWutGXCy"
	k2  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAID3SKYZuVFCMeVNdBC9t/ImR4Xod46RDBIJX3Wc8dfyy"
	ec  = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBO/9ma428d6dXbjW3KuJbEghitBaYOKNwOkBoUxk2bg0aBFo1fEiDLCAggdYWbeI+AIzcobG/3QD9C3rO/hkalo="
	std = "/home/bob/.ssh/authorized_keys"
)

var args = standin.Args

// bob is somebody whom this process may give files to.
func bob() (uid, gid int) {
	if os.Geteuid() == 0 {
		return 4711, 4712
	}
	return os.Geteuid(), os.Getegid()
}

func newHost(t *testing.T, keys string) *standin.Host {
	t.Helper()
	uid, gid := bob()
	files := map[string]string{
		"/etc/passwd": fmt.Sprintf("root:x:0:0:root:/root:/bin/bash\nbob:x:%d:%d:Bob:/home/bob:/bin/sh\nlost:x:%d:%d:::/bin/sh\naway:x:%d:%d::/home/away:/bin/sh\n", uid, gid, uid, gid, uid, gid),
		"/home/bob/":  "", "/etc/ssh/": "",
	}
	if keys != "" {
		files[std] = keys
	}
	h := standin.New(t, Module(), files)
	if keys != "" {
		for path, mode := range map[string]os.FileMode{std: 0o600, "/home/bob/.ssh": 0o700} {
			path = filepath.Join(h.Root, path)
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(path, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.Files = map[string]string{"keys/all": "# all of us\n" + k1 + " one\n\n" + k2 + "\n", "keys/none": "# nobody\n", "keys/bad": "# all\nssh-ed25519 AAAA x\n"}
	return h
}

func TestChanges(t *testing.T) {
	uid, gid := bob()
	fresh := "/home/bob/.ssh state: absent -> directory; /home/bob/.ssh mode:  -> 0700; /home/bob/.ssh owner:  -> bob; " +
		std + " state: absent -> file; " + std + " content; " + std + " mode:  -> 0600; " + std + " owner:  -> bob"
	content := std + " content"
	for _, c := range []struct {
		name, function, before string
		args                   map[string]any
		diff, after            string
	}{
		{"first key", "present", "", args("user", "bob", "key", k1+" one"), fresh, k1 + " one\n"},
		{"several lines", "present", "", args("user", "bob", "key", "# us\n"+k1+" one\r\n\n"+k2+"\n"), fresh, k1 + " one\n" + k2 + "\n"},
		{"a file", "present", k2 + " two\n", args("user", "bob", "file", "keys/all"), content, k2 + " two\n" + k1 + " one\n"},
		{"a list", "present", k1 + "\n", args("user", "bob", "key", []any{k1, k2 + " two", ec}), content, k1 + "\n" + k2 + " two\n" + ec + "\n"},
		{"there already", "present", "# mine\n" + k1 + " one\n", args("user", "bob", "key", k1+" one"), "", "# mine\n" + k1 + " one\n"},
		{"a comment that nobody says stays", "present", k1 + " one at home\n", args("user", "bob", "key", k1), "", k1 + " one at home\n"},
		{"another comment", "present", k1 + " one\n" + k2 + "\n", args("user", "bob", "key", k1, "comment", "uno"), content, k1 + " uno\n" + k2 + "\n"},
		{"no comment", "present", k1 + " one\n", args("user", "bob", "key", k1, "comment", ""), content, k1 + "\n"},
		{"new options", "present", k1 + " one\n", args("user", "bob", "key", k1, "options", `command="echo \"a b\", c",no-pty`), content,
			`command="echo \"a b\", c",no-pty ` + k1 + " one\n"},
		{"options in another order", "present", `NO-PTY,command="a b, c" ` + k1 + " one\n", args("user", "bob", "key", `command="a b, c",no-pty `+k1), "",
			`NO-PTY,command="a b, c" ` + k1 + " one\n"},
		{"options that nobody says go", "present", `from="10.0.0.1" ` + k1 + " one\n", args("user", "bob", "key", k1), content, k1 + " one\n"},
		{"twice in the file", "present", k1 + " a\n" + k2 + "\n" + k1 + " b\n", args("user", "bob", "key", k1+" c"), content, k1 + " c\n" + k2 + "\n"},
		{"twice in the argument", "present", k2 + "\n", args("user", "bob", "key", []any{k1 + " a", k1 + " b"}), content, k2 + "\n" + k1 + " b\n"},
		{"exclusive", "present", "# kept\n" + k2 + "\nrubbish here\n" + k1 + " one\n", args("user", "bob", "key", k1, "exclusive", true), content, "# kept\n" + k1 + " one\n"},
		{"what is no key stays", "present", "rubbish here\n", args("user", "bob", "key", k1), content, "rubbish here\n" + k1 + "\n"},
		{"no newline at the end", "present", k2, args("user", "bob", "key", k1), content, k2 + "\n" + k1 + "\n"},
		{"remove", "absent", "# a\n" + k1 + " one\n" + k2 + "\n", args("user", "bob", "key", `no-pty `+k1+" other"), content, "# a\n" + k2 + "\n"},
		{"remove the last", "absent", k1 + "\n", args("user", "bob", "key", k1), content, ""},
		{"remove what is not there", "absent", k2 + "\n", args("user", "bob", "key", k1), "", k2 + "\n"},
		{"remove without a file", "absent", "", args("user", "bob", "key", k1), "", "(absent)"},
		{"remove of nobody", "absent", "", args("user", "ghost", "key", k1), "", "(absent)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.before)
			h.Tool("getent", "exit 2", "passwd ")
			h.Cycle(c.function, c.args, c.diff, "", "")
			if got := h.Text(std); got != c.after {
				t.Errorf("the file is\n%s\nwanted\n%s", got, c.after)
			}
			if c.after == "(absent)" {
				return
			}
			for path, mode := range map[string]os.FileMode{std: 0o600, "/home/bob/.ssh": 0o700} {
				st, err := os.Stat(filepath.Join(h.Root, path))
				if err != nil || st.Mode().Perm() != mode {
					t.Errorf("%s: %v, %v", path, st.Mode(), err)
				}
				if u, g := ids(st); u != uid || g != gid {
					t.Errorf("%s belongs to %d:%d", path, u, g)
				}
			}
		})
	}
}

// Loose permissions keep sshd from believing the file.
func TestPermissionsAreMended(t *testing.T) {
	h := newHost(t, k1+"\n")
	for path, mode := range map[string]os.FileMode{std: 0o664, "/home/bob/.ssh": 0o775} {
		if err := os.Chmod(filepath.Join(h.Root, path), mode); err != nil {
			t.Fatal(err)
		}
	}
	h.Cycle("present", args("user", "bob", "key", k1), "/home/bob/.ssh mode: 0775 -> 0700; "+std+" mode: 0664 -> 0600", "", "")
	h = newHost(t, k1+"\n")
	if err := os.Chmod(filepath.Join(h.Root, "/home/bob/.ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.Cycle("present", args("user", "bob", "key", k1, "manage_dir", false), "", "", "")
}

func TestAnotherPath(t *testing.T) {
	h := newHost(t, "")
	file := "/etc/ssh/bob"
	h.Cycle("present", args("user", "bob", "key", k1, "path", file), file+" state: absent -> file; "+file+" content; "+file+" mode:  -> 0600; "+file+" owner:  -> bob", "", "")
	if err := os.Chmod(filepath.Join(h.Root, file), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Cycle("present", args("user", "bob", "key", k1, "path", file), "", "", "")
	h.Cycle("present", args("user", "bob", "key", k1, "path", "/etc/keys/bob", "manage_dir", true), "/etc/keys state: absent -> directory; /etc/keys mode:  -> 0700; "+
		"/etc/keys owner:  -> bob; /etc/keys/bob state: absent -> file; /etc/keys/bob content; /etc/keys/bob mode:  -> 0600; /etc/keys/bob owner:  -> bob", "", "")
	h.Cycle("absent", args("user", "bob", "key", k1, "path", file), file+" content", "", "")
}

func TestBadInput(t *testing.T) {
	h := newHost(t, k1+"\n")
	h.Tool("getent", "exit 2", "passwd ")
	private := "-----BEGIN OPENSSH PRIVATE KEY-----\nsecretsecret\n-----END OPENSSH PRIVATE KEY-----\n"
	for _, c := range []struct {
		args map[string]any
		fail string
	}{
		{args("user", "bob", "key", "\n"+k2+"\nssh-ed25519 AAAA x"), "key, line 3: the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file"},
		{args("user", "bob", "key", []any{k1, "ssh-ed2551 AAAA"}), `key[2], line 1: "ssh-ed2551" is no type of key; did you mean "ssh-ed25519"?`},
		{args("user", "bob", "key", `command="x `+k1), "key, line 1: a quote in the options is not closed"},
		{args("user", "bob", "key", `command=x `+k1), `key, line 1: the option command needs its value in double quotes: command="…"`},
		{args("user", "bob", "key", private), "key: this is a private key, which stays where it is; give the public one (the .pub file)"},
		{args("user", "bob", "key", "# none\n"), `key holds no key; a public key is one line, such as "ssh-ed25519 AAAA… ann@example"`},
		{args("user", "bob"), "key is missing: the public key, several lines of them, or a list"},
		{args("key", k1), "user is missing: user whom the keys let in"},
		{args("user", "bob", "key", k1, "file", "keys/all"), "give one of key and file"},
		{args("user", "bob", "file", "keys/bad"), "keys/bad, line 2: the ssh-ed25519 key: it is cut off or damaged; copy the whole line of the .pub file"},
		{args("user", "bob", "file", "keys/none"), "keys/none holds no key"},
		{args("user", "bob", "file", "keys/gone"), "read keys/gone: no such file"},
		{args("user", "ghost", "key", k1), `there is no user "ghost" on this host; user.create makes one`},
		{args("user", "--help", "key", k1), `user = "--help" is no name of a user`},
		{args("user", "lost", "key", k1), `lost has no home folder (""); say the file with path`},
		{args("user", "away", "key", k1), `the folder /home/away does not exist; make it, or say another file with path`},
		{args("user", "bob", "key", k1, "options", "no-pty,,x"), `options: "" is no option of a key`},
		{args("user", "bob", "key", k1, "comment", "a\nb"), "comment has a line break in it"},
		{args("user", "bob", "key", k1, "option", "no-pty"), `unknown argument "option"; did you mean "options"?`},
	} {
		_, _, err := h.Call("present", c.args)
		if err == nil || err.Error() != "authorized_key.present: "+c.fail {
			t.Errorf("%v:\n%v\nwanted\n%s", c.args, err, c.fail)
		}
		if err != nil && strings.Contains(err.Error(), "secretsecret") {
			t.Error("the message shows the private key")
		}
	}
	if h.Text(std) != k1+"\n" {
		t.Error("a call that failed changed the file")
	}
}

// A user may make anything of what is in the own home.
func TestLinksOfTheUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	uid, gid := bob()
	h := newHost(t, "")
	h.Put("/etc/shadow", "root:$6$secret\n")
	link := func(path, to string) {
		t.Helper()
		path = filepath.Join(h.Root, path)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(h.Root, to), path); err != nil {
			t.Fatal(err)
		}
		for _, p := range []string{path, filepath.Dir(path)} {
			if err := os.Lchown(p, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	refused := func() {
		t.Helper()
		for _, function := range []string{"present", "absent", "list"} {
			a := args("user", "bob", "key", k1)
			if function == "list" {
				delete(a, "key")
			}
			_, said, err := h.Call(function, a)
			if err == nil || said != "" || !strings.Contains(err.Error(), "belongs to 4711, and is not followed") {
				t.Errorf("%s: %q, %v", function, said, err)
			}
		}
		if h.Text("/etc/shadow") != "root:$6$secret\n" {
			t.Error("it was written to")
		}
	}
	link(std, "/etc/shadow")
	refused()
	link("/home/bob/.ssh", "/etc")
	refused()
}

func TestList(t *testing.T) {
	h := newHost(t, "# mine\n"+`no-pty,command="a, b" `+k1+" one two\nrubbish\n"+ec+"\n")
	got, _, err := h.Call("list", args("user", "bob"))
	if err != nil || len(got.([]any)) != 2 {
		t.Fatal(got, err)
	}
	first := got.([]any)[0].(map[string]any)
	if first["comment"] != "one two" || first["options"] != `no-pty,command="a, b"` || first["line"] != 2 || !strings.HasPrefix(first["fingerprint"].(string), "SHA256:") {
		t.Errorf("%v", first)
	}
	if got, _, err := newHost(t, "").Call("list", args("user", "bob")); err != nil || len(got.([]any)) != 0 {
		t.Errorf("without a file: %v, %v", got, err)
	}
}

// A plan knows the user that it made.
func TestPlannedUser(t *testing.T) {
	h := newHost(t, "")
	h.Plan()
	h.Note("user:ann", "ann:x:-1:-1::/home/ann:/bin/sh")
	h.NoteDir("/home/ann")
	_, said, err := h.Call("present", args("user", "ann", "key", k1))
	if err != nil || !strings.HasPrefix(said, "/home/ann/.ssh state: absent -> directory; ") {
		t.Errorf("%q, %v", said, err)
	}
	if _, said, err := h.Call("present", args("user", "ann", "key", k1)); err != nil || said != "" {
		t.Errorf("again: %q, %v", said, err)
	}
}

func ids(st os.FileInfo) (uid, gid int) {
	sys := st.Sys().(*syscall.Stat_t)
	return int(sys.Uid), int(sys.Gid)
}

func FuzzLine(f *testing.F) {
	f.Add(`command="a \"b\", c",no-pty ` + k1 + " one")
	f.Add(ec)
	f.Add(`from="`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\r\n\x00") {
			return
		}
		e, err := parseLine(line)
		if err != nil {
			return
		}
		again, err := parseLine(e.String())
		if err != nil || !again.key.Same(e.key) || !sameOptions(again.options, e.options) {
			t.Errorf("%q: %q is not %q, %v", line, again, e, err)
		}
	})
}
