package user

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// account is one line of /etc/passwd.
type account struct {
	name, comment, home, shell string
	uid, gid                   int
}

// group is one line of /etc/group.
type group struct {
	name    string
	gid     int
	members []string
}

const (
	maxDatabase = 16 << 20
	// unknownID is the number of somebody whom only a plan has brought.
	unknownID = -1
)

func parseAccount(line string) (account, bool) {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" || strings.HasPrefix(f[0], "+") || strings.HasPrefix(f[0], "-") {
		return account{}, false // + and - are for NIS
	}
	uid, err := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	return account{name: f[0], uid: uid, gid: gid, comment: f[4], home: f[5], shell: f[6]}, err == nil && err2 == nil
}

func (a account) line() string {
	return fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", a.name, a.uid, a.gid, a.comment, a.home, a.shell)
}

func parseGroup(line string) (group, bool) {
	f := strings.Split(line, ":")
	if len(f) != 4 || f[0] == "" || strings.HasPrefix(f[0], "+") || strings.HasPrefix(f[0], "-") {
		return group{}, false
	}
	gid, err := strconv.Atoi(f[2])
	return group{name: f[0], gid: gid, members: commas(f[3])}, err == nil
}

func commas(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
}

func readLines(v facts.Viewer, file string) ([]string, error) {
	f, err := v.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []string
	lines := bufio.NewScanner(io.LimitReader(f, maxDatabase))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		out = append(out, lines.Text())
	}
	return out, lines.Err()
}

func accounts(v facts.Viewer) ([]account, error) {
	lines, err := readLines(v, "/etc/passwd")
	var out []account
	for _, l := range lines {
		if a, ok := parseAccount(l); ok {
			out = append(out, a)
		}
	}
	return out, err
}

func groups(v facts.Viewer) ([]group, error) {
	lines, err := readLines(v, "/etc/group")
	var out []group
	for _, l := range lines {
		if g, ok := parseGroup(l); ok {
			out = append(out, g)
		}
	}
	return out, err
}

// find returns a user as a plan would leave it, or nil.
func find(ctx context.Context, v facts.Viewer, name string) (*account, error) {
	if planned, ok := modules.Noted(v, "user:"+name); ok {
		if a, ok := parseAccount(planned); ok {
			return &a, nil
		}
		return nil, nil
	}
	all, err := accounts(v)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if a.name == name {
			return &a, nil
		}
	}
	line, err := getent(ctx, v, "passwd", name)
	if a, ok := parseAccount(line); ok && a.name == name {
		return &a, err
	}
	return nil, err
}

func findGroup(ctx context.Context, v facts.Viewer, name string) (*group, error) {
	if planned, ok := modules.Noted(v, "group:"+name); ok {
		if g, ok := parseGroup(planned); ok {
			return &g, nil
		}
		return nil, nil
	}
	all, err := groups(v)
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		if g.name == name {
			return &g, nil
		}
	}
	line, err := getent(ctx, v, "group", name)
	if g, ok := parseGroup(line); ok && g.name == name {
		return &g, err
	}
	return nil, err
}

// getent asks directory services, which know users that no file has.
func getent(ctx context.Context, v facts.Viewer, database, name string) (string, error) {
	if _, err := v.LookPath("getent"); err != nil || checkName(name) != nil {
		return "", nil
	}
	a, err := v.Query(ctx, "getent", database, name)
	return strings.TrimSpace(string(a.Stdout)), err
}

// memberships are the supplementary groups of a user.
func memberships(v facts.Viewer, name string) ([]string, error) {
	if planned, ok := modules.Noted(v, "groups:"+name); ok {
		return commas(planned), nil
	}
	all, err := groups(v)
	var out []string
	for _, g := range all {
		if slices.Contains(g.members, name) {
			out = append(out, g.name)
		}
	}
	slices.Sort(out)
	return out, err
}

// groupName returns the name of a group's number.
func groupName(v facts.Viewer, gid int) string {
	all, err := groups(v)
	if err == nil {
		for _, g := range all {
			if g.gid == gid {
				return g.name
			}
		}
	}
	return strconv.Itoa(gid)
}

// shadow returns the fields of a user's line in /etc/shadow, or nil.
func shadow(v facts.Viewer, name string) ([]string, error) {
	lines, err := readLines(v, "/etc/shadow")
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		if f := strings.Split(l, ":"); len(f) >= 8 && f[0] == name {
			return f, nil
		}
	}
	return nil, nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*\$?$`)

// checkName refuses what useradd would, or would take for an option.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("the name is empty")
	case len(name) > 32:
		return fmt.Errorf("%q is longer than the 32 characters that names may have", name)
	case !nameForm.MatchString(name):
		return fmt.Errorf("%q is no name of a user or group: letters, digits, _, - and . after a letter or _", name)
	}
	return nil
}

// clean refuses text that would break the line of a database.
func clean(what, text string) error {
	if strings.ContainsAny(text, ":\n\r\x00") {
		return fmt.Errorf("%s = %q has a colon or line break in it, which /etc/passwd cannot hold", what, text)
	}
	return nil
}
