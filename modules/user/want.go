package user

import (
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

// want is a user as it should be; what is nil or empty does not matter.
type want struct {
	name        string
	uid         *int
	group       string
	groups      []string // nil: not said
	append      bool
	home        string
	moveHome    bool
	shell       string
	comment     *string
	password    modules.Secret
	always      bool // set a password that is no hash at every call
	create      bool
	createHome  bool
	system      bool
	skeleton    string
	leaveGroups []string
	expires     string // a date or never; empty: not said

	argv []string // of useradd or usermod; nil: not needed
	// pass is what chpasswd is told; hashed says that it is a hash.
	pass          modules.Secret
	hashed        bool
	before, after account
	// had and joins are the supplementary groups before and after; joins is nil
	// where nothing is said of them.
	had, joins []string
	members    []group // those groups that gain or lose this user, as they will be
	fresh      bool
	ownGroup   bool   // a group of the new user's name is there already
	expiryDays string // as /etc/shadow has it
	setExpires bool
}

var crypt = regexp.MustCompile(`^\$[a-z0-9]+\$[^:\s]+$`)

func isHash(text string) bool { return crypt.MatchString(text) || text == "!" || text == "*" }

func (w *want) validate() error {
	errs := []error{checkName(w.name), clean("home", w.home), clean("shell", w.shell)}
	if w.comment != nil {
		errs = append(errs, clean("comment", *w.comment))
	}
	if w.home != "" && !path.IsAbs(w.home) {
		errs = append(errs, fmt.Errorf("home = %q is not an absolute path", w.home))
	}
	if w.shell != "" && !path.IsAbs(w.shell) {
		errs = append(errs, fmt.Errorf("shell = %q is not an absolute path", w.shell))
	}
	if p := w.password.Reveal(); strings.ContainsAny(p, "\n\r\x00") {
		errs = append(errs, errors.New("the password has a line break in it"))
	}
	if w.uid != nil && *w.uid < 0 {
		errs = append(errs, fmt.Errorf("uid = %d is below 0", *w.uid))
	}
	if w.expires != "" {
		days, err := parseExpiry(w.expires)
		w.expiryDays = days
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (w *want) check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	w.argv, w.pass, w.joins, w.members, w.setExpires = nil, modules.Secret{}, nil, nil, false
	is, err := find(ctx, v, w.name)
	if err != nil {
		return d, err
	}
	what := "user " + w.name
	if is == nil && !w.create {
		return d, noUser(w.name)
	}
	w.fresh = is == nil
	var args []string
	if w.fresh {
		d.Add(modules.Create(what, modules.Present))
		is = &account{name: w.name, uid: unknownID, gid: unknownID, home: path.Join("/home", w.name)}
		if args, err = w.birth(ctx, v); err != nil {
			return d, err
		}
	}
	w.before, w.after = *is, *is
	set := func(attr, before, after string, flag ...string) {
		if w.fresh {
			before = ""
		}
		d.Add(modules.Change{What: what, Attr: attr, Before: before, After: after})
		args = append(args, flag...)
	}
	if w.uid != nil && *w.uid != is.uid {
		text := strconv.Itoa(*w.uid)
		set("uid", strconv.Itoa(is.uid), text, "-u", text)
		w.after.uid = *w.uid
	}
	if w.group != "" {
		id, err := w.primary(ctx, v)
		if err != nil {
			return d, err
		}
		if w.fresh || id != is.gid {
			before := ""
			if !w.fresh {
				before = groupName(v, is.gid)
			}
			set("group", before, w.group, "-g", w.group)
			w.after.gid = id
		}
	}
	if w.home != "" && (w.fresh || w.home != is.home) {
		flags := []string{"-d", w.home}
		if w.moveHome && !w.fresh {
			flags = append(flags, "-m")
		}
		set("home", is.home, w.home, flags...)
		w.after.home = w.home
	}
	if w.shell != "" && (w.fresh || w.shell != is.shell) {
		set("shell", is.shell, w.shell, "-s", w.shell)
		w.after.shell = w.shell
	}
	if w.comment != nil && *w.comment != is.comment {
		set("comment", is.comment, *w.comment, "-c", *w.comment)
		w.after.comment = *w.comment
	}
	if err := w.supplementary(ctx, v, set); err != nil {
		return d, err
	}
	if err := w.checkExpiry(v, set); err != nil {
		return d, err
	}
	if !w.fresh && (w.after.uid != is.uid || w.moveHome && w.after.home != is.home) {
		if err := loggedIn(v, is, "its number and home folder cannot be changed meanwhile: end that first"); err != nil {
			return d, err
		}
	}
	if w.fresh {
		w.argv = append(append([]string{"useradd"}, args...), "--", w.name)
	} else if len(args) > 0 {
		w.argv = append(append([]string{"usermod"}, args...), "--", w.name)
	}
	return d, w.checkPassword(v, what, &d)
}

// birth are the flags of useradd that mean nothing later.
func (w *want) birth(ctx context.Context, v facts.Viewer) ([]string, error) {
	args := []string{"-M"}
	if w.createHome {
		args = []string{"-m"}
	}
	if w.system {
		args = append(args, "-r")
	}
	if w.skeleton != "" {
		args = append(args, "-k", w.skeleton)
	}
	if w.group == "" { // useradd makes a group of the user's name, and fails where there is one
		g, err := findGroup(ctx, v, w.name)
		if err != nil {
			return nil, err
		}
		if w.ownGroup = g != nil; w.ownGroup {
			args = append(args, "-g", w.name)
		}
	}
	return args, nil
}

func (w *want) primary(ctx context.Context, v facts.Viewer) (int, error) {
	if id, err := strconv.Atoi(w.group); err == nil {
		return id, nil
	}
	g, err := findGroup(ctx, v, w.group)
	if err != nil {
		return 0, err
	}
	if g == nil {
		return 0, noGroup(w.group)
	}
	return g.gid, nil
}

func noGroup(name string) error {
	return fmt.Errorf("there is no group %q on this host; user.group_create makes one", name)
}

// joined gives the groups that had and joins differ in.
func (w *want) joined(ctx context.Context, v facts.Viewer) ([]group, error) {
	var out []group
	for i, name := range append(slices.Clone(w.had), w.joins...) {
		in := i >= len(w.had)
		if slices.Contains(w.had, name) && slices.Contains(w.joins, name) {
			continue
		}
		g, err := findGroup(ctx, v, name)
		if err != nil {
			return nil, err
		}
		if g == nil {
			continue
		}
		g.members = slices.DeleteFunc(g.members, func(m string) bool { return m == w.name })
		if in {
			g.members = append(g.members, w.name)
		}
		out = append(out, *g)
	}
	return out, nil
}

func (w *want) supplementary(ctx context.Context, v facts.Viewer, set func(attr, before, after string, flag ...string)) error {
	if w.groups == nil && w.leaveGroups == nil {
		return nil
	}
	has, err := memberships(v, w.name)
	if err != nil {
		return err
	}
	wanted := slices.Clone(w.groups)
	for _, g := range wanted {
		found, err := findGroup(ctx, v, g)
		if err != nil {
			return err
		}
		if found == nil {
			return noGroup(g)
		}
	}
	if w.append || w.leaveGroups != nil {
		wanted = append(wanted, has...)
	}
	wanted = slices.DeleteFunc(wanted, func(g string) bool { return slices.Contains(w.leaveGroups, g) })
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	w.had, w.joins = has, wanted
	if w.members, err = w.joined(ctx, v); err != nil {
		return err
	}
	if !slices.Equal(wanted, has) {
		set("groups", strings.Join(has, ","), strings.Join(wanted, ","), "-G", strings.Join(wanted, ","))
	}
	return nil
}

func (w *want) checkExpiry(v facts.Viewer, set func(attr, before, after string, flag ...string)) error {
	if w.expires == "" || w.fresh && w.expires == never {
		return nil
	}
	before, planned := modules.Noted(v, "expires:"+w.name)
	if !planned && !w.fresh {
		f, err := shadow(v, w.name)
		if err != nil {
			return fmt.Errorf("%w; only root can see when a user expires", err)
		}
		before = never
		if f != nil {
			before = expiryText(f[7])
		}
	}
	if before == w.expires {
		return nil
	}
	flag := w.expires
	if flag == never {
		flag = ""
	}
	set("expires", before, w.expires, "-e", flag)
	w.setExpires = true
	return nil
}

func (w *want) checkPassword(v facts.Viewer, what string, d *modules.Diff) error {
	if w.password.Empty() {
		return nil
	}
	text := w.password.Reveal()
	w.hashed = isHash(text)
	if _, planned := modules.Noted(v, "password:"+w.name); planned && !w.always {
		return nil
	}
	if !w.fresh {
		f, err := shadow(v, w.name)
		if err != nil {
			return fmt.Errorf("%w; only root can see whether a password differs", err)
		}
		has := ""
		if f != nil {
			has = f[1]
		}
		switch {
		case w.hashed && has == text:
			return nil
		case !w.hashed && !w.always && has != "" && has[0] != '!' && has[0] != '*':
			return nil // nobody can tell from a hash whether the password is another one
		}
	}
	w.pass = w.password
	d.Add(modules.Change{What: what, Attr: "password", Hidden: true})
	return nil
}

func (w *want) apply(ctx context.Context, m modules.Machine) error {
	switch {
	case w.argv == nil:
	case busybox(m):
		if err := w.applyBusybox(ctx, m); err != nil {
			return err
		}
	default:
		if err := command(ctx, m, w.argv...); err != nil {
			return err
		}
	}
	if w.pass.Empty() {
		return nil
	}
	argv := []string{"chpasswd"}
	if w.hashed {
		argv = append(argv, "-e")
	}
	return feed(ctx, m, w.name+":"+w.pass.Reveal()+"\n", argv...)
}

func (w *want) plan(o modules.Overlay) {
	o.Note("user:"+w.name, w.after.line())
	if w.joins != nil {
		o.Note("groups:"+w.name, strings.Join(w.joins, ","))
	}
	for _, g := range w.members {
		o.Note("group:"+g.name, g.line())
	}
	if !w.pass.Empty() {
		o.Note("password:"+w.name, modules.Present)
	}
	if w.setExpires {
		o.Note("expires:"+w.name, w.expires)
	}
	if !w.fresh {
		return
	}
	if w.group == "" {
		if _, ok := o.Noted("group:" + w.name); !ok {
			o.Note("group:"+w.name, group{name: w.name, gid: unknownID}.line())
		}
	}
	if w.createHome {
		o.PutDir(w.after.home, 0o700)
	}
}

func (g group) line() string {
	return fmt.Sprintf("%s:x:%d:%s", g.name, g.gid, strings.Join(g.members, ","))
}

func command(ctx context.Context, m modules.Machine, argv ...string) error {
	return feed(ctx, m, "", argv...)
}

// feed runs one of the shadow suite's tools. Secrets come over stdin alone.
func feed(ctx context.Context, m modules.Machine, stdin string, argv ...string) error {
	if _, err := m.LookPath(argv[0]); err != nil {
		return fmt.Errorf("%s is not on this host; user needs the tools of the shadow suite (package passwd, shadow or shadow-utils) or busybox adduser", argv[0])
	}
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}, Stdin: strings.NewReader(stdin)})
	if err != nil {
		return err
	}
	if a.ExitCode == 0 {
		return nil
	}
	text := tool.Failure(a, false)
	if strings.Contains(text, "Permission denied") || strings.Contains(text, "cannot lock") {
		text += "; users are root's business: give the task :become(\"root\")"
	}
	return fmt.Errorf("%s: %s", argv[0], text)
}
