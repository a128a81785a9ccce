package ssh_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	kssh "github.com/kevinburke/ssh_config"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// spec is the folder with recorded answers of the real tools.
func spec(t *testing.T, path string) string {
	t.Helper()
	root := os.Getenv("SLOTH_SPEC")
	if root == "" {
		sshdtest.MustSkip(t, "SLOTH_SPEC is not set: the recorded answers are not at hand")
	}
	return filepath.Join(root, path)
}

// TestRecordedAnswers compares with what `ssh -G` said about somebody else's
// configuration files.
func TestRecordedAnswers(t *testing.T) {
	dir := spec(t, "inventories/17-ssh-config")
	raw, err := os.ReadFile(filepath.Join(dir, "expected/ssh-G.json"))
	if err != nil {
		t.Fatal(err)
	}
	var expected map[string]map[string]struct {
		Exit   int
		Values map[string][]string
	}
	if err := json.Unmarshal(raw, &expected); err != nil {
		t.Fatal(err)
	}
	compared := 0
	for file, hosts := range expected {
		for host, want := range hosts {
			t.Run(file+"/"+host, func(t *testing.T) {
				d := newDialer(t, ssh.Config{ConfigFile: filepath.Join(dir, "testdata", file)})
				got, err := d.Resolved(connection.Target{Name: host})
				if want.Exit != 0 {
					if err == nil {
						t.Errorf("accepted, ssh refuses it")
					} else if !strings.Contains(err.Error(), file+":") {
						t.Errorf("%v does not say where", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for key, w := range want.Values {
					if g, ok := got[key]; ok && key != "user" {
						compared++
						if !slices.Equal(g, w) {
							t.Errorf("%s = %q, ssh says %q", key, g, w)
						}
					}
				}
				if u := want.Values["user"]; u[0] != "root" && got["user"][0] != u[0] { // root: whoever recorded it
					t.Errorf("user = %q, ssh says %q", got["user"], u)
				}
			})
		}
	}
	if compared < 200 {
		t.Errorf("only %d values compared", compared)
	}
}

// differential configurations: each is given to ssh -G and to us.
var differential = map[string]string{
	"first value wins":         "Host a\n Port 1\nHost a\n Port 2\nHost *\n Port 3\n User u\n",
	"patterns":                 "Host a?\n Port 1\nHost *b\n Port 2\nHost a* !ab\n User x\n",
	"negation alone":           "Host !a\n Port 1\n",
	"negation first":           "Host !a *\n Port 1\n",
	"tabs":                     "Host\ta\tb\n\tPort\t7\n",
	"equals":                   "Host=a\nPort=7\nUser = x\nHostName= \"q\"\n",
	"two equals":               "Host a\n User==x\n",
	"quotes":                   "Host a\n IdentityFile \"/tmp/a b\"\n IdentityFile '/tmp/c d'\n IdentityFile /tmp/e\\ f\n User \"x\"\n",
	"quote inside":             "Host a\n IdentityFile /tmp/\"a b\"c\n",
	"open quote":               "Host a\n User \"x\n",
	"quoted keyword":           "Host a\n \"User\" x\n",
	"comments":                 "# c\n  # d\nHost a # e\n User x # f\n Port 7 #g\n HostName h#i\n",
	"quoted hash":              "Host a\n IdentityFile \"/tmp/#x\"\n",
	"empty argument":           "Host a\n User\n",
	"empty quoted":             "Host a\n User \"\"\n",
	"extra argument":           "Host a\n User x y\n",
	"crlf":                     "Host a\r\n  User x\r\n",
	"case of keywords":         "hOsT a\n uSeR x\n",
	"case of host":             "Host A\n User x\n",
	"HostName":                 "Host a\n HostName %h.example.com\n",
	"HostName percent":         "Host a\n HostName %%h\n",
	"HostName bad token":       "Host a\n HostName %p\n",
	"HostName upper":           "Host a\n HostName UPPER.example.COM\n",
	"match host":               "Match host a\n Port 7\n",
	"match host list":          "Match host b,a*,!ac\n Port 7\n",
	"match host after rename":  "Host a\n HostName z\nMatch host z\n User x\nMatch originalhost a\n Port 9\nMatch host a\n Port 8\n",
	"match negated":            "Match !host b\n Port 7\n",
	"match and":                "Match host a user root\n Port 7\n",
	"match user":               "Host a\n User bob\nMatch user bob\n Port 7\nMatch user root\n Port 8\n",
	"match localuser":          "Match localuser nobody-like-this\n Port 7\n",
	"match all":                "Host b\n Port 7\nMatch all\n User x\n",
	"match all with others":    "Match host a all\n User x\n",
	"match two with all":       "Match host a user root all\n User x\n",
	"match all then others":    "Match all host a\n User x\n",
	"match nothing":            "Match\n User x\n",
	"match without argument":   "Match host\n User x\n",
	"match equals":             "Match host=a\n User x\n",
	"match quoted":             "Match host \"a\"\n User x\n",
	"match comment":            "Match host a # b\n User x\n",
	"match final":              "Host a\n HostName z\nMatch final host z\n User x\nMatch final\n Port 9\n",
	"match final all":          "Match final all\n Port 9\n",
	"match canonical":          "Match canonical\n Port 9\n",
	"port 0":                   "Host b\n Port 0\n",
	"port big":                 "Port 65536\n",
	"port name":                "Port ssh\n",
	"bad port in other host":   "Host zzz\n Port x\n",
	"yes no":                   "IdentitiesOnly true\n",
	"bad yes no":               "IdentitiesOnly maybe\n",
	"yes in capitals":          "IdentitiesOnly YES\n",
	"times":                    "ServerAliveInterval 1m30s\nConnectTimeout 2\n",
	"time units":               "ServerAliveInterval 1h2m\nConnectTimeout none\n",
	"bad time":                 "ConnectTimeout 5x\n",
	"negative time":            "ConnectTimeout -5\n",
	"bad integer":              "ServerAliveCountMax x\n",
	"unknown":                  "Host b\n Nonsense 1\n",
	"ignored unknown":          "IgnoreUnknown Non*,Foo\nNonsense 1\nfoo a b\n",
	"ignored too late":         "Nonsense 1\nIgnoreUnknown Non*\n",
	"deprecated":               "Protocol 2\nRhostsRSAAuthentication yes\nUsePrivilegedPort no\nCipher x\n",
	"strict":                   "StrictHostKeyChecking accept-new\n",
	"strict off":               "StrictHostKeyChecking off\n",
	"strict bad":               "StrictHostKeyChecking sometimes\n",
	"known hosts":              "UserKnownHostsFile /a /b\nUserKnownHostsFile /c\n",
	"known hosts quoted":       "UserKnownHostsFile \"/a b\" ~/c\n",
	"proxy command":            "ProxyCommand nc -x 'a b' %h %p # not a comment\n",
	"proxy command equals":     "ProxyCommand=nc %h %p\n",
	"proxy jump":               "Host a\n ProxyJump j1,u@j2:2222\n",
	"proxy jump uri":           "Host a\n ProxyJump ssh://u@j:22\n",
	"proxy jump none":          "Host a\n ProxyJump none\nHost *\n ProxyJump j\n",
	"proxy jump then command":  "ProxyJump j\nProxyCommand c\n",
	"proxy command then jump":  "ProxyCommand c\nProxyJump j\n",
	"identities":               "IdentityFile ~/a\nIdentityFile ~/b\nIdentityFile ~/a\n",
	"identity none":            "IdentityFile none\n",
	"identity tokens":          "IdentityFile %d/.ssh/%r@%h\n",
	"certificates":             "CertificateFile ~/c\nCertificateFile ~/d\n",
	"agent":                    "IdentityAgent /run/agent\n",
	"alias":                    "HostKeyAlias x\n",
	"former names":             "ChallengeResponseAuthentication no\nIdentityFile2 ~/a\nKeepAlive no\n",
	"forward without reason":   "LocalForward 8080 localhost:80\nSendEnv LANG LC_*\nSetEnv A=b\n",
	"no value before newline":  "Host a\nUser x\nPort",
	"form feed":                "User x\f\n",
	"nul-like noise":           "Us\x01er x\n",
	"host without patterns":    "Host\n User x\n",
	"host empty pattern":       "Host \"\"\n User x\n",
	"address family":           "AddressFamily inet6\n",
	"address family bad":       "AddressFamily ipx\n",
	"canonicalize":             "CanonicalizeHostname no\nCanonicalDomains example.com\n",
	"compression":              "Compression yes\n",
	"backslash":                "Host a\n IdentityFile /tmp/a\\b\n",
	"include missing":          "Include /no/such/file\nUser x\n",
	"include relative missing": "Include no-such-*\nUser x\n",
}

// TestAgainstOpenSSH asks the ssh of this machine.
func TestAgainstOpenSSH(t *testing.T) {
	bin, err := exec.LookPath("ssh")
	if err != nil {
		sshdtest.MustSkip(t, "needs the ssh client")
	}
	for name, text := range differential {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "config")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"a", "ab", "ac", "b"} {
				compareWithSSH(t, bin, file, host)
			}
		})
	}
}

func compareWithSSH(t *testing.T, bin, file, host string) {
	t.Helper()
	out, sshErr := exec.Command(bin, "-F", file, "-G", host).Output()
	got, err := newDialer(t, ssh.Config{ConfigFile: file}).Resolved(connection.Target{Name: host})
	if (sshErr != nil) != (err != nil) {
		var exit *exec.ExitError
		if errors.As(sshErr, &exit) {
			t.Errorf("%s: ssh refuses (%s), sloth accepts", host, exit.Stderr)
		} else {
			t.Errorf("%s: ssh accepts, sloth says %v", host, err)
		}
		return
	}
	if err != nil {
		if !strings.Contains(err.Error(), file+":") && !strings.Contains(err.Error(), "HostName") {
			t.Errorf("%v does not say where", err)
		}
		return
	}
	want := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		want[k] = append(want[k], v)
	}
	// ssh -G has opened "~" in some values and not in others.
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	same := func(s string) string { return strings.NewReplacer(u.HomeDir+"/", "~/", "ssh://", "").Replace(s) }
	for key, g := range got {
		w := want[key]
		for i := range g {
			g[i] = same(g[i])
		}
		for i := range w {
			w[i] = same(w[i])
		}
		if !slices.Equal(g, w) && len(g)+len(w) > 0 {
			t.Errorf("%s: %s = %q, ssh says %q", host, key, g, w)
		}
	}
	for _, key := range []string{"proxycommand", "proxyjump", "hostkeyalias", "identityagent"} {
		if want[key] != nil && got[key] == nil {
			t.Errorf("%s: %s is missing, ssh says %q", host, key, want[key])
		}
	}
}

func TestInclude(t *testing.T) {
	home := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(home, ".ssh", name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("config", "Include conf.d/*\nHost a\n  Include only-a\n User late\nInclude ~/.ssh/after\n")
	write("conf.d/1", "Host b\n User from-1\n")
	write("conf.d/2", "Host *\n Port 2222\nHost nobody\n")
	write("only-a", "Host *\n HostName included\nHost b\n HostName wrong\n")
	write("after", "User after\n")
	for host, want := range map[string][3]string{
		"a": {"late", "2222", "included"}, "b": {"from-1", "2222", "b"}, "c": {"c-user", "2222", "c"},
	} {
		d := newDialer(t, ssh.Config{Home: home, ConfigFile: filepath.Join(home, ".ssh", "config")})
		target := connection.Target{Name: host}
		if host == "c" {
			target.User = "c-user"
		}
		got, err := d.Resolved(target)
		if err != nil {
			t.Fatal(err)
		}
		if g := [3]string{got["user"][0], got["port"][0], got["hostname"][0]}; g != want {
			t.Errorf("%s: %v, want %v", host, g, want)
		}
	}
	write("config", "Include loop\n")
	write("loop", "Include loop\n")
	_, err := newDialer(t, ssh.Config{Home: home, ConfigFile: filepath.Join(home, ".ssh", "config")}).Resolved(connection.Target{Name: "a"})
	if err == nil || !strings.Contains(err.Error(), "too many recursive") {
		t.Errorf("a loop gives %v", err)
	}
	write("loop", "User x\n Bogus y\n")
	_, err = newDialer(t, ssh.Config{Home: home, ConfigFile: filepath.Join(home, ".ssh", "config")}).Resolved(connection.Target{Name: "a"})
	if err == nil || !strings.Contains(err.Error(), "loop:2: bad configuration option: bogus") {
		t.Errorf("an error in an included file gives %v", err)
	}
}

func TestUnwritableByOthers(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(home+"/.ssh", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(home+"/.ssh/config", []byte("User x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(home+"/.ssh/config", 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := ssh.NewDialer(ssh.Config{Home: home}).Resolved(connection.Target{Name: "a"})
	if err == nil || !strings.Contains(err.Error(), "bad owner or permissions") {
		t.Errorf("got %v", err)
	}
}

// A block that only ssh can judge is skipped with a warning instead of
// refusing the file.
func TestSkippedMatch(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	text := "Match exec \"touch " + file + ".ran\"\n User wrong\nMatch host a exec true\n User wrong\nMatch weather rain\n User wrong\nMatch all\n User right\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var warnings []string
	d := newDialer(t, ssh.Config{ConfigFile: file, Warn: func(m string) { warnings = append(warnings, m) }})
	for range 2 {
		got, err := d.Resolved(connection.Target{Name: "a"})
		if err != nil {
			t.Fatal(err)
		}
		if got["user"][0] != "right" {
			t.Errorf("user = %s", got["user"])
		}
	}
	if _, err := os.Stat(file + ".ran"); err == nil {
		t.Error("the command was run")
	}
	want := []string{
		file + ":1: a Match block with 'exec' is skipped: sloth does not evaluate it",
		file + ":3: a Match block with 'exec' is skipped: sloth does not evaluate it",
		file + ":5: a Match block with 'weather' is skipped: sloth does not evaluate it",
	}
	if !reflect.DeepEqual(warnings, want) {
		t.Errorf("warnings %q, want %q", warnings, want)
	}
}

// TestPrecedence: the target's own fields, its options, general options, files.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("Host *\n User file\n Port 1\n HostName from-file\n IdentityFile /file\n HostKeyAlias alias\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDialer(t, ssh.Config{ConfigFile: file, Options: map[string]string{"user": "general", "port": "2", "connecttimeout": "7"}})
	for _, c := range []struct {
		target connection.Target
		want   map[string]string
	}{
		{connection.Target{Name: "a"}, map[string]string{"user": "general", "port": "2", "hostname": "from-file", "connecttimeout": "7", "hostkeyalias": "alias"}},
		{connection.Target{Name: "a", Options: map[string]string{"user": "option", "hostname": "h"}}, map[string]string{"user": "option", "port": "2", "hostname": "h"}},
		{connection.Target{Name: "a", User: "field", Port: 3, Options: map[string]string{"user": "option", "port": "4"}}, map[string]string{"user": "field", "port": "3"}},
		{connection.Target{Name: "a", Options: map[string]string{"hostname": "%h.x"}, Address: "10.0.0.1"}, map[string]string{"hostname": "10.0.0.1.x"}},
		{connection.Target{Name: "a", PrivateKeyFile: "/my key"}, map[string]string{"identityfile": "/my key"}},
		{connection.Target{Name: "a", Jump: "j:7"}, map[string]string{"proxyjump": "j:7"}},
	} {
		got, err := d.Resolved(c.target)
		if err != nil {
			t.Errorf("%+v: %v", c.target, err)
			continue
		}
		for k, w := range c.want {
			if g := got[k]; len(g) == 0 || g[0] != w {
				t.Errorf("%+v: %s = %q, want %q", c.target, k, g, w)
			}
		}
	}
	for _, bad := range []map[string]string{{"nonsense": "1"}, {"port": "x"}, {"host": "a"}, {"match": "all"}, {"include": "x"}, {"user": "a\nb c"}} {
		if got, err := d.Resolved(connection.Target{Name: "a", Options: bad}); err == nil {
			t.Errorf("-o %v gives %v", bad, got)
		}
	}
	for _, bad := range []connection.Target{{}, {Name: "-oProxyCommand=x"}, {Name: "a b"}, {Name: "a", Address: "-x"}, {Name: "a", Jump: "-x"}, {Name: "a", Jump: "u@"}, {Name: "a", Jump: "h:99999"}} {
		if got, err := d.Resolved(bad); err == nil {
			t.Errorf("%+v gives %v", bad, got)
		}
	}
}

// Where kevinburke/ssh_config and OpenSSH agree, so do we: plain files.
func TestAgreesWithLibrary(t *testing.T) {
	text := "Host web*\n  User deploy\n  Port 2222\n  IdentityFile ~/.ssh/a\n  IdentityFile ~/.ssh/b\nHost *.example.com !x.example.com\n  HostName inner\nHost *\n  User other\n  Port 22\n"
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lib, err := kssh.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := newDialer(t, ssh.Config{ConfigFile: file})
	for _, host := range []string{"web1", "a.example.com", "x.example.com", "other"} {
		got, err := d.Resolved(connection.Target{Name: host})
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"User", "Port", "HostName"} {
			want, _ := lib.Get(host, key)
			if want == "" && key == "HostName" {
				want = host
			}
			if g := got[strings.ToLower(key)][0]; g != want {
				t.Errorf("%s: %s = %q, the library says %q", host, key, g, want)
			}
		}
	}
}
