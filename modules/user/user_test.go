package user

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

const (
	passwd = "root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1000:Bob:/home/bob:/bin/sh\n+nis::::::\n"
	groupF = "root:x:0:\nbob:x:1000:\nweb:x:33:bob\nops:x:50:\nann:x:70:\n"
	shadF  = "root:*:19000:0:99999:7:::\nbob:$6$a$b:19000:0:99999:7:::\n"
)

var args = modulestest.Args

// host has the databases, and stand-ins for the tools.
type host struct{ *modulestest.Host }

func fakeHost(t *testing.T) host {
	t.Helper()
	return host{modulestest.NewHost(t, Module(), map[string]string{"etc/passwd": passwd, "etc/group": groupF, "etc/shadow": shadF})}
}

func (h host) calls(t *testing.T) string {
	t.Helper()
	return strings.ReplaceAll(strings.Join(h.Programs.Calls(t), "; "), " ; ", "; ") // a tool without arguments leaves a blank
}

func TestChanges(t *testing.T) {
	secret := modules.NewSecret("hunter2")
	for _, c := range []struct {
		function          string
		args              map[string]any
		diff, calls, fail string
	}{
		{"create", args("name", "webapp", "home", "/home/webapp", "shell", "/bin/bash"),
			"user webapp state: absent -> present; user webapp home:  -> /home/webapp; user webapp shell:  -> /bin/bash",
			"useradd -m -d /home/webapp -s /bin/bash -- webapp", ""},
		{"create", args("name", "new", "uid", int64(1234), "group", "web", "groups", []any{"ops", "web"}, "comment", "A B", "system", true, "create_home", false),
			"user new state: absent -> present; user new uid:  -> 1234; user new group:  -> web; user new comment:  -> A B; user new groups:  -> ops,web",
			"useradd -M -r -u 1234 -g web -c A B -G ops,web -- new", ""},
		{"create", args("name", "new", "skeleton", "/srv/skel"), "user new state: absent -> present", "useradd -m -k /srv/skel -- new", ""},
		{"create", args("name", "ann"), "user ann state: absent -> present", "useradd -m -g ann -- ann", ""},
		{"create", args("name", "new", "password", secret), "user new state: absent -> present; user new password: hidden", "useradd -m -- new; chpasswd; < new:hunter2", ""},
		{"create", args("name", "bob", "shell", "/bin/sh", "groups", "web", "comment", "Bob", "password", "$6$a$b"), "", "", ""},
		{"create", args("name", "bob", "password", "$6$c$d"), "user bob password: hidden", "chpasswd -e; < bob:$6$c$d", ""},
		{"create", args("name", "bob", "password", secret), "", "", ""},
		{"create", args("name", "bob", "password", secret, "update_password", "always"), "user bob password: hidden", "chpasswd; < bob:hunter2", ""},
		{"modify", args("name", "bob", "groups", []any{"ops"}), "user bob groups: web -> ops,web", "usermod -G ops,web -- bob", ""},
		{"modify", args("name", "bob", "groups", []any{"ops"}, "append", false), "user bob groups: web -> ops", "usermod -G ops -- bob", ""},
		{"modify", args("name", "bob", "groups", []any{}, "append", false), "user bob groups: web -> ", "usermod -G  -- bob", ""},
		{"modify", args("name", "bob", "home", "/srv/bob", "move_home", true), "user bob home: /home/bob -> /srv/bob", "usermod -d /srv/bob -m -- bob", ""},
		{"set_shell", args("name", "bob", "shell", "/bin/zsh"), "user bob shell: /bin/sh -> /bin/zsh", "usermod -s /bin/zsh -- bob", ""},
		{"set_home", args("name", "bob", "home", "/srv/b"), "user bob home: /home/bob -> /srv/b", "usermod -d /srv/b -- bob", ""},
		{"set_comment", args("name", "bob", "comment", ""), "user bob comment: Bob -> ", "usermod -c  -- bob", ""},
		{"set_primary_group", args("name", "bob", "group", "web"), "user bob group: bob -> web", "usermod -g web -- bob", ""},
		{"set_password", args("name", "bob", "password", "$6$a$b"), "", "", ""},
		{"add_to_group", args("name", "bob", "group", "ops"), "user bob groups: web -> ops,web", "usermod -G ops,web -- bob", ""},
		{"add_to_group", args("name", "bob", "group", "web"), "", "", ""},
		{"remove_from_group", args("name", "bob", "group", "web"), "user bob groups: web -> ", "usermod -G  -- bob", ""},
		{"group_add_member", args("name", "ops", "user", "bob"), "user bob groups: web -> ops,web", "usermod -G ops,web -- bob", ""},
		{"group_remove_member", args("name", "ops", "user", "bob"), "", "", ""},
		{"lock", args("name", "bob"), "user bob password: unlocked -> locked", "usermod -L -- bob", ""},
		{"unlock", args("name", "bob"), "", "", ""},
		{"delete", args("name", "bob", "force", true), "user bob state: present -> absent", "userdel -f -- bob", ""},
		{"delete", args("name", "nobody-here"), "", "", ""},
		{"group_create", args("name", "dev", "gid", int64(99), "system", true), "group dev state: absent -> present; group dev gid:  -> 99", "groupadd -r -g 99 -- dev", ""},
		{"group_create", args("name", "web", "gid", int64(34)), "group web gid: 33 -> 34", "groupmod -g 34 -- web", ""},
		{"group_create", args("name", "web"), "", "", ""},
		{"group_delete", args("name", "ops"), "group ops state: present -> absent", "groupdel -- ops", ""},

		{"set_expiry", args("name", "bob", "expires", "2030-12-31"), "user bob expires: never -> 2030-12-31", "usermod -e 2030-12-31 -- bob", ""},
		{"set_expiry", args("name", "bob", "expires", "never"), "", "", ""},
		{"modify", args("name", "bob", "expires", "2030-12-31", "comment", "B"), "user bob comment: Bob -> B; user bob expires: never -> 2030-12-31", "usermod -c B -e 2030-12-31 -- bob", ""},
		{"create", args("name", "new", "expires", "2030-12-31"), "user new state: absent -> present; user new expires:  -> 2030-12-31", "useradd -m -e 2030-12-31 -- new", ""},
		{"create", args("name", "bob", "state", "absent"), "user bob state: present -> absent", "userdel -- bob", ""},
		{"expire_password", args("name", "bob"), "user bob password: set on 2022-01-08 -> to be changed at the next login", "chage -d 0 -- bob", ""},

		{"set_expiry", args("name", "bob", "expires", "soon"), "", "", `user.set_expiry: expires = "soon" is neither a date such as "2030-12-31" nor "never"`},
		{"expire_password", args("name", "none"), "", "", `user.expire_password: there is no user "none" on this host; user.create makes one`},
		{"modify", args("name", "none", "shell", "/bin/sh"), "", "", `user.modify: there is no user "none" on this host; user.create makes one`},
		{"create", args("name", "new", "groups", "none"), "", "", `user.create: there is no group "none" on this host; user.group_create makes one`},
		{"create", args("name", "--help"), "", "", `user.create: "--help" is no name of a user or group: letters, digits, _, - and . after a letter or _`},
		{"create", args("name", "new", "comment", "a:b"), "", "", `user.create: comment = "a:b" has a colon or line break in it, which /etc/passwd cannot hold`},
		{"create", args("name", "new", "home", "srv"), "", "", `user.create: home = "srv" is not an absolute path`},
		{"create", args("name", "new", "password", "a\nroot:b"), "", "", `user.create: the password has a line break in it`},
		{"delete", args("name", "root"), "", "", `user.delete: root is root, who is not deleted`},
	} {
		t.Run(c.function+fmt.Sprint(c.args["name"]), func(t *testing.T) {
			h := fakeHost(t)
			h.Overlay = machine.NewOverlay(h.Machine)
			check := func(when string) {
				t.Helper()
				_, said, err := h.Call(t, c.function, c.args)
				if said != c.diff || c.fail == "" && err != nil || c.fail != "" && (err == nil || err.Error() != c.fail) {
					t.Errorf("%s said %q, %v\nwanted %q, %s", when, said, err, c.diff, c.fail)
				}
			}
			check("the plan")
			if got := h.calls(t); got != "" {
				t.Errorf("the plan ran %q", got)
			}
			if _, said, err := h.Call(t, c.function, c.args); c.fail == "" && c.args["update_password"] == nil && (err != nil || said != "") {
				t.Errorf("planned twice, it said %q, %v", said, err)
			}
			h.Overlay = nil
			check("it")
			if got := h.calls(t); got != c.calls {
				t.Errorf("it ran %q, wanted %q", got, c.calls)
			}
		})
	}
}

// What a plan brings is there for the rest of the plan.
func TestPlanGoesOn(t *testing.T) {
	h := fakeHost(t)
	h.Overlay = machine.NewOverlay(h.Machine)
	for _, c := range []struct {
		function string
		args     map[string]any
		diff     string
	}{
		{"group_create", args("name", "dev"), "group dev state: absent -> present"},
		{"create", args("name", "new", "groups", "dev", "password", "$6$a$b"), "user new state: absent -> present; user new groups:  -> dev; user new password: hidden"},
		{"add_to_group", args("name", "new", "group", "web"), "user new groups: dev -> dev,web"},
		{"lock", args("name", "new"), "user new password: unlocked -> locked"},
		{"delete", args("name", "new"), "user new state: present -> absent"},
		{"delete", args("name", "new"), ""},
	} {
		if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
			t.Errorf("%s: %q, %v; wanted %q", c.function, said, err, c.diff)
		}
	}
	if got := h.calls(t); got != "" {
		t.Errorf("the plan ran %q", got)
	}
}

// A plan's later questions see who would be in a group.
func TestPlannedMembers(t *testing.T) {
	h := fakeHost(t)
	h.Overlay = machine.NewOverlay(h.Machine)
	for _, c := range []struct {
		function string
		args     map[string]any
		members  string // of web
	}{
		{"create", args("name", "new", "groups", "web"), "[bob new]"},
		{"add_to_group", args("name", "root", "group", "web"), "[bob new root]"},
		{"remove_from_group", args("name", "bob", "group", "web"), "[new root]"},
		{"remove_from_group", args("name", "new", "group", "web"), "[root]"},
		{"remove_from_group", args("name", "new", "group", "web"), "[root]"},
	} {
		if _, said, err := h.Call(t, c.function, c.args); err != nil {
			t.Errorf("%s: %q, %v", c.function, said, err)
		}
		if got, _, err := h.Call(t, "group_members", args("name", "web")); err != nil || fmt.Sprint(got) != c.members {
			t.Errorf("after %s: %v, %v; wanted %s", c.function, got, err, c.members)
		}
	}
}

func TestQueries(t *testing.T) {
	h := fakeHost(t)
	for _, c := range []struct {
		function, name string
		want           string
	}{
		{"exists", "bob", "true"}, {"exists", "nis", "false"}, {"get_uid", "bob", "1000"}, {"get_gid", "bob", "1000"}, {"get_uid", "none", "<nil>"},
		{"get_home", "bob", "/home/bob"}, {"get_shell", "bob", "/bin/sh"}, {"get_comment", "bob", "Bob"}, {"get_groups", "bob", "[bob web]"},
		{"is_locked", "bob", "false"}, {"is_system_user", "root", "true"}, {"is_system_user", "bob", "false"},
		{"get_info", "bob", "map[comment:Bob gid:1000 group:bob groups:[bob web] home:/home/bob name:bob shell:/bin/sh uid:1000]"},
		{"group_exists", "web", "true"}, {"group_get_gid", "web", "33"}, {"group_members", "web", "[bob]"}, {"group_members", "bob", "[bob]"},
		{"group_get_info", "web", "map[gid:33 members:[bob] name:web]"}, {"group_get_info", "none", "<nil>"}, {"validate_username", "a b", "false"},
	} {
		if got, _, err := h.Call(t, c.function, args("name", c.name)); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%s %s: %v, %v; wanted %s", c.function, c.name, got, err, c.want)
		}
	}
	if got, _, err := h.Call(t, "list", nil); err != nil || len(got.([]any)) != 2 {
		t.Errorf("list: %v, %v", got, err)
	}
	if got, _, err := h.Call(t, "group_list", nil); err != nil || len(got.([]any)) != 5 {
		t.Errorf("group_list: %v, %v", got, err)
	}
}

func FuzzDatabase(f *testing.F) {
	f.Add("bob:x:1000:1000:Bob:/home/bob:/bin/sh")
	f.Add("web:x:33:bob,ann")
	f.Fuzz(func(t *testing.T, line string) {
		if a, ok := parseAccount(line); ok {
			if b, ok := parseAccount(a.line()); !ok || a != b {
				t.Errorf("%q: %+v is not %+v", line, a, b)
			}
		}
		if g, ok := parseGroup(line); ok && g.name == "" {
			t.Errorf("%q is a group", line)
		}
		if checkName(line) == nil && (line[0] == '-' || strings.ContainsAny(line, ": \n/,")) {
			t.Errorf("%q is a name", line)
		}
	})
}
