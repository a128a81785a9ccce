package inventory

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/connection"
)

func TestLogin(t *testing.T) {
	secret := connection.NewSecret
	for _, c := range []struct {
		name, vars string // YAML of one host
		want       Login
	}{
		{"nothing said", "{}", Login{Kind: "ssh", Address: "web"}},
		{
			"prefixed", "{ansible_host: 10.0.0.1, ansible_port: 2222, ansible_user: deploy, ansible_ssh_private_key_file: ~/k, ansible_password: 1234, ansible_connection: smart}",
			Login{Kind: "ssh", Address: "10.0.0.1", Port: 2222, User: "deploy", PrivateKeyFile: "~/k", Password: secret("1234")},
		},
		{
			"plain names", "{host: 10.0.0.1, port: '2222', user: deploy, ssh_private_key_file: k, password: p, connection: local}",
			Login{Kind: "local", Address: "10.0.0.1", Port: 2222, User: "deploy", PrivateKeyFile: "k", Password: secret("p")},
		},
		{"prefixed wins", "{port: 1, ansible_port: 2, user: a, ansible_user: b}", Login{Kind: "ssh", Address: "web", Port: 2, User: "b"}},
		{"old names", "{ansible_ssh_host: h, ansible_ssh_port: 3, ansible_ssh_user: u, ansible_ssh_pass: p}", Login{Kind: "ssh", Address: "h", Port: 3, User: "u", Password: secret("p")}},
		{
			"become", "{ansible_become: 'yes', ansible_become_user: app, ansible_become_method: su, ansible_become_pass: x}",
			Login{Kind: "ssh", Address: "web", Become: true, BecomeUser: "app", BecomeMethod: "su", BecomePassword: secret("x")},
		},
		{"become off", "{ansible_become: 'Off', become: true}", Login{Kind: "ssh", Address: "web"}},
		{"other kinds", "{ansible_connection: docker}", Login{Kind: "docker", Address: "web"}},
		{"qualified kinds", "{ansible_connection: ansible.builtin.local}", Login{Kind: "local", Address: "web"}},
		{
			"arguments of ssh", `{ansible_ssh_common_args: "-o ProxyCommand='ssh -W %h:%p b' -oStrictHostKeyChecking=no -J j1,j2 -i k -p 22 -l u -F cfg -4A -o 'ServerAliveInterval 5'"}`,
			Login{Kind: "ssh", Address: "web", Port: 22, User: "u", PrivateKeyFile: "k", Jump: "j1,j2", SSHConfig: "cfg", Options: map[string]string{
				"proxycommand": "ssh -W %h:%p b", "stricthostkeychecking": "no", "addressfamily": "inet", "forwardagent": "yes", "serveraliveinterval": "5",
			}},
		},
		{
			"the first one counts", `{ansible_port: 1, ansible_ssh_common_args: "-p 2 -o User=a", ansible_ssh_extra_args: "-l b -o ProxyJump=x -J y"}`,
			Login{Kind: "ssh", Address: "web", Port: 1, User: "a", Jump: "x"},
		},
		{"host keys and time", "{ansible_host_key_checking: no, ansible_timeout: 7}", Login{Kind: "ssh", Address: "web", Options: map[string]string{"stricthostkeychecking": "no", "connecttimeout": "7"}}},
		{"references", `{ip: 10.0.0.9, p: 77, ansible_host: "{{ ip }}", ansible_port: "{{p}}", ansible_user: "u-{{ inventory_hostname }}"}`, Login{Kind: "ssh", Address: "10.0.0.9", Port: 77, User: "u-web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  hosts:\n    web: "+c.vars+"\n"))
			got, err := inv.Login("web")
			if err != nil {
				t.Fatal(err)
			}
			if got.Password.Reveal() != c.want.Password.Reveal() || got.BecomePassword.Reveal() != c.want.BecomePassword.Reveal() {
				t.Errorf("passwords are %q and %q", got.Password.Reveal(), got.BecomePassword.Reveal())
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, c.want)
			}
			if s := fmt.Sprintf("%+v", got); got.Password != nil && strings.Contains(s, "Password:"+got.Password.Reveal()) {
				t.Errorf("the password is printed: %s", s)
			}
		})
	}
}

func TestLoginRefuses(t *testing.T) {
	for _, c := range []struct{ vars, want string }{
		{"{ansible_port: abc}", `hosts.yml:3:25: ansible_port of host web must be a port from 1 to 65535, got "abc"`},
		{"{port: 70000}", "hosts.yml:3:17: port of host web must be a port from 1 to 65535, got the number 70000"},
		{"{ansible_port: yes}", "got the boolean true"},
		{"{ansible_become: maybe}", `ansible_become of host web must be true or false, got "maybe"`},
		{"{ansible_user: [a]}", "ansible_user of host web must be text, got a list"},
		{"{ansible_ssh_common_args: -z x}", "hosts.yml:3:36: ansible_ssh_common_args of host web: ssh's option -z is not supported"},
		{"{ansible_ssh_common_args: -o}", "-o needs a value"},
		{"{ansible_ssh_common_args: -o Foo}", `-o takes Name=value, got "Foo"`},
		{"{ansible_ssh_common_args: -p x}", "must be a port"},
		{`{ansible_ssh_common_args: "-o 'x"}`, "a quotation is not closed"},
		{"{ansible_ssh_common_args: bastion}", `"bastion" is no option`},
		{"{ansible_host: \"{{ lookup('env', 'X') }}\"}", "only {{ variable }} is understood"},
		{`{ansible_host: "{{ nope }}"}`, "there is no variable nope"},
		{`{ansible_host: "{{ ansible_host }}"}`, "it refers to itself"},
		{`{ansible_host: "{{ x"}`, "{{ is not closed"},
		{"{ansible_password: !vault x}", "ansible_password of host web is a !vault value that cannot be opened: nothing was given to open it with"},
	} {
		inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  hosts:\n    web: "+c.vars+"\n"))
		if _, err := inv.Login("web"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.vars, err, c.want)
		}
	}
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  hosts:\n    web-01:\n"))
	if _, err := inv.Login("web-02"); err == nil || !strings.Contains(err.Error(), "did you mean web-01?") {
		t.Errorf("an unknown host: %v", err)
	}
}

// A group's variable called host is a setting of some program.
func TestLoginHostOfGroup(t *testing.T) {
	inv := load(t, Options{}, put(t, filepath.Join(t.TempDir(), "hosts.yml"), "all:\n  vars: {host: 0.0.0.0, user: deploy}\n  hosts:\n    web:\n"))
	got, err := inv.Login("web")
	if err != nil || got.Address != "web" || got.User != "deploy" {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestLoginLocalhost(t *testing.T) {
	inv := load(t, Options{})
	for _, name := range localNames {
		if got, err := inv.Login(name); err != nil || got.Kind != "local" {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}
