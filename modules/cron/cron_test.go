package cron

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	udiff "github.com/aymanbagabas/go-udiff"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/modulestest"
)

const tabs = "var/spool/cron/crontabs/"

var args = modulestest.Args

// fakeHost has crontabs, and the stand-in for the program.
func fakeHost(t *testing.T, files map[string]string) *modulestest.Host {
	t.Helper()
	all := map[string]string{
		"etc/passwd":   "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n",
		"etc/cron.d/x": "", "var/tmp/x": "",
	}
	maps.Copy(all, files)
	h := modulestest.NewHost(t, Module(), all)
	h.Workdir, h.Say = "/srv", said
	return h
}

// said has of texts the lines that differ.
func said(d modules.Diff) string {
	var out []string
	for _, c := range d.Changes {
		if c.Unknown {
			out = append(out, c.What+" "+c.Attr+": unknown")
			continue
		}
		if !c.Text {
			out = append(out, fmt.Sprintf("%s %s: %s -> %s", c.What, c.Attr, c.Before, c.After))
			continue
		}
		for line := range strings.Lines(udiff.Unified("a", "b", c.Before, c.After)) {
			if line[0] == '+' && !strings.HasPrefix(line, "+++") || line[0] == '-' && !strings.HasPrefix(line, "---") {
				out = append(out, strings.TrimSuffix(line, "\n"))
			}
		}
	}
	return strings.Join(out, "\n")
}

const bobs = `MAILTO="bob"
# by hand
*/5 * * * * /usr/bin/poll
#Ansible: report
0 6 * * 1 /usr/bin/report
#Ansible: off
#@daily /usr/bin/off
`

func TestChanges(t *testing.T) {
	me, _ := (&table{}).owner()
	for _, c := range []struct {
		name, function string
		args           map[string]any
		diff           string
		file, after    string // a file below the test's folder, and what it is afterwards
	}{
		{"new", "present", args("name", "backup", "minute", int64(15), "hour", "3", "job", "/bin/backup\n"),
			"+#Ansible: backup\n+15 3 * * * /bin/backup", tabs + me, "#Ansible: backup\n15 3 * * * /bin/backup\n"},
		{"special", "present", args("name", "up", "special_time", "reboot", "job", "/bin/up", "user", "bob"),
			"+#Ansible: up\n+@reboot /bin/up", tabs + "bob", bobs + "#Ansible: up\n@reboot /bin/up\n"},
		{"same", "present", args("name", "report", "minute", "0", "hour", "6", "weekday", "1", "job", "/usr/bin/report", "user", "bob"), "", tabs + "bob", bobs},
		{"other time", "present", args("name", "report", "minute", "0", "hour", "7", "dow", "mon-fri", "job", "/usr/bin/report", "user", "bob"),
			"-0 6 * * 1 /usr/bin/report\n+0 7 * * mon-fri /usr/bin/report", tabs + "bob", strings.Replace(bobs, "0 6 * * 1", "0 7 * * mon-fri", 1)},
		{"disabled stays", "present", args("name", "off", "special_time", "daily", "job", "/usr/bin/off", "user", "bob", "disabled", true), "", tabs + "bob", bobs},
		{"enabled again", "present", args("name", "off", "special_time", "daily", "job", "/usr/bin/off", "user", "bob"),
			"-#@daily /usr/bin/off\n+@daily /usr/bin/off", tabs + "bob", strings.Replace(bobs, "#@daily", "@daily", 1)},
		{"adopted", "present", args("name", "poll", "minute", "*/5", "job", "/usr/bin/poll", "user", "bob"),
			"+#Ansible: poll", tabs + "bob", strings.Replace(bobs, "*/5", "#Ansible: poll\n*/5", 1)},
		{"gone", "absent", args("name", "report", "user", "bob"),
			"-#Ansible: report\n-0 6 * * 1 /usr/bin/report", tabs + "bob", strings.Replace(bobs, "#Ansible: report\n0 6 * * 1 /usr/bin/report\n", "", 1)},
		{"gone by state", "present", args("name", "off", "user", "bob", "state", "absent"),
			"-#Ansible: off\n-#@daily /usr/bin/off", tabs + "bob", strings.Replace(bobs, "#Ansible: off\n#@daily /usr/bin/off\n", "", 1)},
		{"never there", "absent", args("name", "nothing", "user", "bob"), "", tabs + "bob", bobs},
		{"no crontab", "absent", args("name", "nothing"), "", tabs + me, "none"},
		{"variable", "env", args("name", "PATH", "value", "/bin", "user", "bob"), "+PATH=\"/bin\"", tabs + "bob", "PATH=\"/bin\"\n" + bobs},
		{"variable after", "env", args("name", "PATH", "value", "/bin", "user", "bob", "insertafter", "MAILTO"),
			"+PATH=\"/bin\"", tabs + "bob", strings.Replace(bobs, "# by hand", "PATH=\"/bin\"\n# by hand", 1)},
		{"variable before", "env", args("name", "PATH", "value", `a"b`, "user", "bob", "insertbefore", "MAILTO"), `+PATH='a"b'`, tabs + "bob", "PATH='a\"b'\n" + bobs},
		{"variable same", "env", args("name", "MAILTO", "value", "bob", "user", "bob"), "", tabs + "bob", bobs},
		{"variable gone", "env", args("name", "MAILTO", "user", "bob", "state", "absent"), "-MAILTO=\"bob\"", tabs + "bob", strings.TrimPrefix(bobs, "MAILTO=\"bob\"\n")},
		{"end of line", "absent", args("name", "nothing", "user", "cut"), "-* * * * * true\n+* * * * * true", tabs + "cut", "* * * * * true\n"},
		{"head", "present", args("name", "a", "job", "b", "user", "headed"), "+#Ansible: a\n+* * * * * b", tabs + "headed", "#Ansible: a\n* * * * * b\n"},
		{"twice", "present", args("name", "a", "job", "new", "user", "twice"),
			"-* * * * * one\n-#Ansible: a\n-* * * * * two\n+* * * * * new", tabs + "twice", "#Ansible: a\n* * * * * new\n"},
		{"lost its job", "present", args("name", "a", "job", "new", "user", "lost"), "+* * * * * new", tabs + "lost", "#Ansible: a\n* * * * * new\n"},

		{"file", "present", args("name", "a", "job", "/bin/a", "user", "root", "cron_file", "app"),
			"/etc/cron.d/app state: absent -> file\n+#Ansible: a\n+* * * * * root /bin/a", "etc/cron.d/app", "#Ansible: a\n* * * * * root /bin/a\n"},
		{"file of one", "absent", args("name", "a", "cron_file", "/etc/cron.d/one"), "/etc/cron.d/one state: file -> absent", "etc/cron.d/one", "none"},
		{"file of two", "absent", args("name", "a", "cron_file", "two"),
			"-#Ansible: a\n-* * * * * root a", "etc/cron.d/two", "#Ansible: b\n* * * * * root b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := fakeHost(t, map[string]string{
				tabs + "bob": bobs, tabs + "cut": "* * * * * true",
				tabs + "headed":  "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# (/tmp/crontab.x installed on Mon)\n# (Cron version -- $Id$)\n",
				tabs + "twice":   "#Ansible: a\n* * * * * one\n#Ansible: a\n* * * * * two\n",
				tabs + "lost":    "#Ansible: a\n",
				"etc/cron.d/one": "#Ansible: a\n* * * * * root a\n",
				"etc/cron.d/two": "#Ansible: a\n* * * * * root a\n#Ansible: b\n* * * * * root b\n",
			})
			h.Overlay = machine.NewOverlay(h.Machine)
			before := h.Read(t, c.file)
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
				t.Errorf("the plan said %q, %v; wanted %q", said, err, c.diff)
			}
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != "" {
				t.Errorf("planned twice, it said %q, %v", said, err)
			}
			if now := h.Read(t, c.file); now != before || h.Programs.Calls(t) != nil {
				t.Errorf("the plan changed %q into %q", before, now)
			}
			h.Overlay = nil
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != c.diff {
				t.Errorf("it said %q, %v; wanted %q", said, err, c.diff)
			}
			if now := h.Read(t, c.file); now != c.after {
				t.Errorf("it left %q, wanted %q", now, c.after)
			}
			if _, said, err := h.Call(t, c.function, c.args); err != nil || said != "" {
				t.Errorf("another run said %q, %v", said, err)
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	for _, c := range []struct {
		function string
		args     map[string]any
		fail     string
	}{
		{"present", args("name", "a", "job", "b", "minute", "60"), `cron.present: minute = "60": "60" is not from 0 to 59`},
		{"present", args("name", "a", "job", "b", "hour", "9-17/0"), `cron.present: hour = "9-17/0": the step "0" is no number above 0`},
		{"present", args("name", "a", "job", "b", "hour", "17-9"), `cron.present: hour = "17-9": the range "17-9" runs backwards`},
		{"present", args("name", "a", "job", "b", "day", "0"), `cron.present: day = "0": "0" is not from 1 to 31`},
		{"present", args("name", "a", "job", "b", "month", "juin"), `cron.present: month = "juin": "juin" is not from 1 to 12 or jan to dec`},
		{"present", args("name", "a", "job", "b", "weekday", "8"), `cron.present: weekday = "8": "8" is not from 0 to 7 or sun to sat`},
		{"present", args("name", "a", "job", "b", "minute", "5/10"), `cron.present: minute = "5/10": a step needs a range: write "5-59/10"`},
		{"present", args("name", "a", "job", "b", "minute", "1 2"), `cron.present: minute = "1 2": "1 2" is not from 0 to 59`},
		{"present", args("name", "a", "job", "b", "minute", ""), `cron.present: minute = "": it is empty; "*" is every time`},
		{"present", args("name", "a", "job", "b", "special_time", "dayly"), `cron.present: special_time = "dayly": it must be one of reboot, yearly, annually, monthly, weekly, daily, hourly; did you mean "daily"?`},
		{"present", args("name", "a", "job", "b", "special_time", "daily", "hour", "1"), `cron.present: special_time and hour exclude each other; give one`},
		{"present", args("name", "a"), `cron.present: job is missing: the command to run`},
		{"present", args("name", "a", "job", "b\nc"), `cron.present: job = "b\nc" has a line break in it, which a crontab cannot hold; write a script and name it`},
		{"present", args("name", "a\nb", "job", "b"), `cron.present: name = "a\nb" is no name: it is one line of a crontab`},
		{"present", args("name", "a", "job", "b", "cron_file", "app"), `cron.present: user is missing: a job in a cron_file says which user runs it`},
		{"present", args("name", "a", "job", "b", "cron_file", "app", "user", "ghost"), `cron.present: there is no user "ghost" on this host, and cron would not run the job; user.create makes one`},
		{"present", args("name", "a", "job", "b", "user", "-e"), `cron.present: user = "-e" is no name of a user`},
		{"present", args("name", "a", "job", "b", "cron_file", "/etc/crontab", "user", "root"), `cron.present: cron_file = "/etc/crontab" is the system's own; use a file of /etc/cron.d`},
		{"present", args("name", "a", "job", "b", "cron_file", "/srv/none/app", "user", "root"), `cron.present: the folder /srv/none does not exist; make it with file_ops.file({path = "/srv/none", state = "directory"})`},
		{"present", args("name", "a", "job", "b", "user", "ghost"), `cron.present: there is no user "ghost" on this host; user.create makes one`},
		{"present", args("name", "a", "job", "b", "user", "other"), `cron.present: crontab -l: exit code 1: must be privileged to use -u; other users' crontabs are root's business: give the task :become("root")`},
		{"env", args("name", "A B", "value", "b"), `cron.env: name = "A B" is no name of a variable`},
		{"env", args("name", "A", "value", `'"`), `cron.env: value = "'\"" has both kinds of quotes in it, which a crontab cannot hold`},
		{"env", args("name", "A", "value", "b", "insertafter", "B"), `cron.env: there is no variable "B" to put A beside`},
		{"present", args("name", "a", "job", "REFUSED"), `cron.present: crontab: exit code 1: "-":1: bad minute errors in crontab file, can't install.; the old crontab is untouched`},
	} {
		h := fakeHost(t, nil)
		if _, _, err := h.Call(t, c.function, c.args); err == nil || err.Error() != c.fail {
			t.Errorf("%v: %v\nwanted %s", c.args, err, c.fail)
		}
	}
}

func TestBackup(t *testing.T) {
	h := fakeHost(t, map[string]string{tabs + "bob": bobs, "etc/cron.d/one": "#Ansible: a\n* * * * * root a\n"})
	for _, a := range []map[string]any{args("name", "report", "user", "bob", "backup", true), args("name", "a", "cron_file", "one", "backup", true)} {
		out, _, err := h.Call(t, "absent", a)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := out.(map[string]any)["backup_file"].(string)
		if got := h.Read(t, name); got != bobs && got != "#Ansible: a\n* * * * * root a\n" {
			t.Errorf("the backup %q holds %q", name, got)
		}
	}
	if got := h.Read(t, "etc/cron.d/one"); got != "none" {
		t.Errorf("the file is still there: %q", got)
	}
}

// What a plan brings is there for the rest of the plan.
func TestPlanGoesOn(t *testing.T) {
	h := fakeHost(t, nil)
	h.Overlay = machine.NewOverlay(h.Machine)
	h.Overlay.Note("user:ghost", "ghost:x:1001:1001::/home/ghost:/bin/sh")
	for _, a := range []map[string]any{
		args("name", "a", "job", "b", "user", "ghost"), args("name", "b", "job", "b", "user", "ghost", "cron_file", "app"),
	} {
		if _, said, err := h.Call(t, "present", a); err != nil || said == "" {
			t.Errorf("%v: %q, %v", a, said, err)
		}
	}
	h.Overlay.PutUnknownFile("/etc/cron.d/drawn", 0o644)
	want := "/etc/cron.d/drawn content: unknown"
	if _, said, err := h.Call(t, "absent", args("name", "a", "cron_file", "drawn")); err != nil || said != want {
		t.Errorf("%q, %v", said, err)
	}
	if _, said, err := h.Call(t, "absent", args("name", "a", "user", "ghost")); err != nil || said != "-#Ansible: a\n-* * * * * b" {
		t.Errorf("%q, %v", said, err)
	}
}

func TestList(t *testing.T) {
	h := fakeHost(t, map[string]string{tabs + "bob": bobs, "etc/cron.d/app": "A=1\n#Ansible: a\n@hourly root  /bin/a b\n"})
	for _, c := range []struct {
		args map[string]any
		want string
	}{
		{args("user", "bob"), "[[map[day:* disabled:false hour:* job:/usr/bin/poll minute:*/5 month:* weekday:*] " +
			"map[day:* disabled:false hour:6 job:/usr/bin/report minute:0 month:* name:report weekday:1] " +
			"map[disabled:true job:/usr/bin/off name:off special_time:daily]] map[MAILTO:bob]]"},
		{args("file", "app"), "[[map[disabled:false job:/bin/a b name:a special_time:hourly user:root]] map[A:1]]"},
		{nil, "[[] map[]]"},
	} {
		if got, _, err := h.CallAll(t, "list", c.args); err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%v: %v, %v\nwanted %s", c.args, got, err, c.want)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add(bobs, "report")
	f.Add("#Ansible: a\n#Ansible: a\n", "a")
	f.Fuzz(func(t *testing.T, text, name string) {
		if checkName(name) != nil {
			return
		}
		lines := putJob(split(text), name, "* * * * * x")
		if at := findJob(lines, name); at < 0 || lines[at] != "* * * * * x" {
			t.Fatalf("%q: the job is not in %q", text, lines)
		}
		if again := putJob(lines, name, "* * * * * x"); join(again) != join(lines) {
			t.Errorf("%q: twice gives %q, not %q", text, again, lines)
		}
		if left := dropJob(lines, name); findJob(left, name) >= 0 {
			t.Errorf("%q: the job is still in %q", text, left)
		}
	})
}
