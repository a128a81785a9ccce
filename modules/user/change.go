package user

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

const onCreate = "on_create"

type one struct {
	Name string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
}

// Validate checks the name.
func (o *one) Validate() error { return checkName(o.Name) }

type create struct {
	one
	UID        *int           `lua:"uid" doc:"Number of the user"`
	Group      string         `lua:"group" alias:"gid,primary_group" doc:"Primary group, which must exist; without it a new user gets one of its own name"`
	Groups     []string       `lua:"groups" doc:"Groups to be a member of besides the primary one; they must exist"`
	Append     bool           `lua:"append" doc:"Keep other memberships; false: groups is all of them"`
	Home       string         `lua:"home" doc:"Home folder"`
	CreateHome bool           `lua:"create_home" alias:"createhome" doc:"Make the home folder of a new user"`
	Skeleton   string         `lua:"skeleton" alias:"skel" doc:"Folder whose files a new home gets, instead of /etc/skel"`
	Shell      string         `lua:"shell" doc:"Login shell"`
	Comment    *string        `lua:"comment" alias:"gecos,full_name" doc:"Comment, often the full name"`
	System     bool           `lua:"system" doc:"Take the number of a new user from those of the system"`
	Password   modules.Secret `lua:"password" doc:"Password as a crypt hash ($6$…), or as a secret in the clear"`
	Update     string         `lua:"update_password" enum:"on_create,always" doc:"When a password in the clear is set: where there is none yet, or at every call"`
	Expires    string         `lua:"expires" alias:"expiry" doc:"Date such as \"2030-12-31\" from which on nobody can log in as the user, or \"never\""`
	State      string         `lua:"state" enum:"present,absent" doc:"Whether the user must exist; absent is user.delete"`
	RemoveHome bool           `lua:"remove_home" alias:"remove" doc:"With state = \"absent\": remove the home folder and mail too"`
	Force      bool           `lua:"force" doc:"With state = \"absent\": also while processes of the user run"`

	w    want
	gone *remove
}

// Validate checks what the tags cannot say.
func (c *create) Validate() error {
	if c.State == modules.Absent {
		c.gone = &remove{one: c.one, RemoveHome: c.RemoveHome, Force: c.Force}
		return c.gone.Validate()
	}
	c.w = want{
		name: c.Name, uid: c.UID, group: c.Group, groups: c.Groups, append: c.Append, home: c.Home, shell: c.Shell, comment: c.Comment,
		password: c.Password, always: c.Update != onCreate, create: true, createHome: c.CreateHome, system: c.System, skeleton: c.Skeleton, expires: c.Expires,
	}
	return c.w.validate()
}

// Check compares the user.
func (c *create) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	if c.gone != nil {
		return c.gone.Check(ctx, v)
	}
	return c.w.check(ctx, v)
}

// Apply creates or changes it.
func (c *create) Apply(ctx context.Context, m modules.Machine, d modules.Diff) error {
	if c.gone != nil {
		return c.gone.Apply(ctx, m, d)
	}
	return c.w.apply(ctx, m)
}

// Plan notes the user.
func (c *create) Plan(ctx context.Context, d modules.Diff, o modules.Overlay) error {
	if c.gone != nil {
		return c.gone.Plan(ctx, d, o)
	}
	c.w.plan(o)
	return nil
}

type modify struct {
	one
	UID      *int           `lua:"uid" doc:"Number of the user"`
	Group    string         `lua:"group" alias:"gid,primary_group" doc:"Primary group, which must exist"`
	Groups   []string       `lua:"groups" doc:"Groups to be a member of besides the primary one; they must exist"`
	Append   bool           `lua:"append" doc:"Keep other memberships; false: groups is all of them"`
	Home     string         `lua:"home" doc:"Home folder"`
	MoveHome bool           `lua:"move_home" doc:"Move the old home folder there"`
	Shell    string         `lua:"shell" doc:"Login shell"`
	Comment  *string        `lua:"comment" alias:"gecos,full_name" doc:"Comment, often the full name"`
	Password modules.Secret `lua:"password" doc:"Password as a crypt hash ($6$…), or as a secret in the clear"`
	Update   string         `lua:"update_password" enum:"on_create,always" doc:"When a password in the clear is set: where there is none yet, or at every call"`
	Expires  string         `lua:"expires" alias:"expiry" doc:"Date such as \"2030-12-31\" from which on nobody can log in as the user, or \"never\""`

	w want
}

// Validate checks what the tags cannot say.
func (c *modify) Validate() error {
	c.w = want{
		name: c.Name, uid: c.UID, group: c.Group, groups: c.Groups, append: c.Append, home: c.Home, moveHome: c.MoveHome,
		shell: c.Shell, comment: c.Comment, password: c.Password, always: c.Update != onCreate, expires: c.Expires,
	}
	return c.w.validate()
}

// Check compares the user.
func (c *modify) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return c.w.check(ctx, v)
}

// Apply changes it.
func (c *modify) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return c.w.apply(ctx, m)
}

// Plan notes the user.
func (c *modify) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	c.w.plan(o)
	return nil
}

// set is what the functions share that change one attribute.
type set struct{ w want }

// Check compares the user.
func (s *set) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return s.w.check(ctx, v)
}

// Apply changes it.
func (s *set) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	return s.w.apply(ctx, m)
}

// Plan notes the user.
func (s *set) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	s.w.plan(o)
	return nil
}

type setShell struct {
	set
	Name  string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Shell string `lua:"shell,required" pos:"2" doc:"Login shell"`
}

// Validate checks the arguments.
func (s *setShell) Validate() error {
	s.w = want{name: s.Name, shell: s.Shell}
	return s.w.validate()
}

type setHome struct {
	set
	Name string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Home string `lua:"home,required" pos:"2" doc:"Home folder"`
	Move bool   `lua:"move_home" alias:"move" pos:"3" doc:"Move the old home folder there"`
}

// Validate checks the arguments.
func (s *setHome) Validate() error {
	s.w = want{name: s.Name, home: s.Home, moveHome: s.Move}
	return s.w.validate()
}

type setComment struct {
	set
	Name    string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Comment string `lua:"comment,required" pos:"2" doc:"The comment"`
}

// Validate checks the arguments.
func (s *setComment) Validate() error {
	s.w = want{name: s.Name, comment: &s.Comment}
	return s.w.validate()
}

type setPrimary struct {
	set
	Name  string `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Group string `lua:"group,required" pos:"2" doc:"The group"`
}

// Validate checks the arguments.
func (s *setPrimary) Validate() error {
	s.w = want{name: s.Name, group: s.Group}
	return s.w.validate()
}

type setPassword struct {
	set
	Name     string         `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Password modules.Secret `lua:"password,required" pos:"2" doc:"Password as a crypt hash ($6$…), or as a secret in the clear, which is set at every call"`
}

// Validate checks the arguments.
func (s *setPassword) Validate() error {
	if s.Password.Empty() {
		return errors.New("the password is empty; user.lock makes it useless")
	}
	s.w = want{name: s.Name, password: s.Password, always: true}
	return s.w.validate()
}

type member struct {
	set
	Name  string   `lua:"name,required,primary" alias:"username,user" doc:"Name of the user"`
	Group []string `lua:"group,required" alias:"groups" pos:"2" doc:"The group, or a list of them"`
	in    bool
}

// Validate checks the arguments.
func (s *member) Validate() error {
	s.w = membership(s.Name, s.Group, s.in)
	return s.w.validate()
}

func membership(name string, groups []string, in bool) want {
	if in {
		return want{name: name, groups: groups, append: true}
	}
	return want{name: name, leaveGroups: groups}
}

type remove struct {
	one
	RemoveHome bool `lua:"remove_home" alias:"remove" doc:"Remove the home folder and mail too"`
	Force      bool `lua:"force" doc:"Also while processes of the user run"`
}

// Check looks for the user.
func (r *remove) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	is, err := find(ctx, v, r.Name)
	if err != nil || is == nil {
		return d, err
	}
	if is.uid == 0 {
		return d, fmt.Errorf("%s is root, who is not deleted", r.Name)
	}
	if !r.Force {
		if err := loggedIn(v, is, "end that first, or say force = true"); err != nil {
			return d, err
		}
	}
	d.Add(modules.Delete("user "+r.Name, modules.Present))
	if r.RemoveHome {
		if _, err := v.Lstat(is.home); err == nil {
			d.Add(modules.Delete(is.home, "directory"))
		}
	}
	return d, nil
}

// Apply deletes it.
func (r *remove) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if busybox(m) {
		argv := []string{"deluser"}
		if r.RemoveHome {
			argv = append(argv, "--remove-home")
		}
		return command(ctx, m, append(argv, "--", r.Name)...)
	}
	argv := []string{"userdel"}
	if r.RemoveHome {
		argv = append(argv, "-r")
	}
	if r.Force {
		argv = append(argv, "-f")
	}
	return command(ctx, m, append(argv, "--", r.Name)...)
}

// Plan notes that it is gone.
func (r *remove) Plan(_ context.Context, d modules.Diff, o modules.Overlay) error {
	o.Note("user:"+r.Name, modules.Absent)
	for _, c := range d.Changes[1:] {
		o.Remove(c.What)
	}
	return nil
}

type lock struct {
	one
	lock bool
}

// Check reads the shadow file.
func (l *lock) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	is, err := locked(ctx, v, l.Name)
	if err != nil || is == l.lock {
		return d, err
	}
	words := map[bool]string{true: "locked", false: "unlocked"}
	d.Add(modules.Change{What: "user " + l.Name, Attr: "password", Before: words[is], After: words[l.lock]})
	return d, nil
}

// locked reports whether the password cannot be used since it was locked.
func locked(ctx context.Context, v facts.Viewer, name string) (bool, error) {
	if planned, ok := modules.Noted(v, "locked:"+name); ok {
		return planned == "true", nil
	}
	is, err := find(ctx, v, name)
	if err != nil {
		return false, err
	}
	if is == nil {
		return false, noUser(name)
	}
	f, err := shadow(v, name)
	if err != nil {
		return false, fmt.Errorf("%w; only root can see whether a password is locked", err)
	}
	if f == nil && v.Planned() { // a new user is locked, unless it gets a password
		_, password := modules.Noted(v, "password:"+name)
		return !password, nil
	}
	return f != nil && strings.HasPrefix(f[1], "!"), nil
}

// Apply locks or unlocks.
func (l *lock) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if busybox(m) {
		return editShadow(ctx, m, l.Name, func(f []string) {
			f[1] = strings.TrimPrefix(f[1], "!")
			if l.lock {
				f[1] = "!" + f[1]
			}
		})
	}
	flag := "-U"
	if l.lock {
		flag = "-L"
	}
	return command(ctx, m, "usermod", flag, "--", l.Name)
}

// Plan notes it.
func (l *lock) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	o.Note("locked:"+l.Name, fmt.Sprint(l.lock))
	return nil
}
