package user

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// Systems whose users are busybox's have adduser and deluser, addgroup and
// delgroup, and nothing that changes a user. Lines are edited then.

// busybox reports whether the host has only those.
func busybox(v facts.Viewer) bool {
	has := func(name string) bool { _, err := v.LookPath(name); return err == nil }
	return !has("useradd") && !has("usermod") && has("adduser")
}

// applyBusybox creates or changes w's user. changes are the attributes that
// differ.
func (w *want) applyBusybox(ctx context.Context, m modules.Machine) error {
	if w.fresh {
		if err := command(ctx, m, w.adduser()...); err != nil {
			return err
		}
	} else if err := w.edit(ctx, m); err != nil {
		return err
	}
	for _, g := range w.joins {
		if !slices.Contains(w.had, g) {
			if err := command(ctx, m, "addgroup", w.name, g); err != nil {
				return err
			}
		}
	}
	for _, g := range w.had {
		if w.joins != nil && !slices.Contains(w.joins, g) {
			if err := command(ctx, m, "delgroup", w.name, g); err != nil {
				return err
			}
		}
	}
	if w.setExpires {
		return editShadow(ctx, m, w.name, func(f []string) { f[7] = w.expiryDays })
	}
	return nil
}

// adduser is the command line; -D: ask for no password.
func (w *want) adduser() []string {
	argv := []string{"adduser", "-D"}
	add := func(flag, value string) {
		if value != "" {
			argv = append(argv, flag, value)
		}
	}
	if !w.createHome {
		argv = append(argv, "-H")
	}
	if w.system {
		argv = append(argv, "-S")
	}
	if w.uid != nil {
		add("-u", strconv.Itoa(*w.uid))
	}
	group := w.group
	if group == "" && w.ownGroup {
		group = w.name
	}
	add("-G", group)
	add("-h", w.home)
	add("-s", w.shell)
	add("-k", w.skeleton)
	if w.comment != nil {
		add("-g", *w.comment)
	}
	return append(argv, "--", w.name)
}

// edit writes the line of passwd, and moves the home folder.
func (w *want) edit(ctx context.Context, m modules.Machine) error {
	if w.argv == nil {
		return nil
	}
	if w.moveHome && w.after.home != w.before.home {
		switch _, err := m.Lstat(w.before.home); {
		case hostfile.Missing(err):
		case err != nil:
			return err
		default:
			if err := m.Rename(w.before.home, w.after.home); err != nil {
				return err
			}
		}
	}
	return editLine(ctx, m, "/etc/passwd", w.name, 7, func(f []string) {
		f[2], f[3], f[4], f[5], f[6] = strconv.Itoa(w.after.uid), strconv.Itoa(w.after.gid), w.after.comment, w.after.home, w.after.shell
	})
}

func editShadow(ctx context.Context, m modules.Machine, name string, edit func(fields []string)) error {
	return editLine(ctx, m, "/etc/shadow", name, 9, edit)
}

// editLine changes the fields of one line of a database; the file is replaced
// as a whole.
func editLine(ctx context.Context, m modules.Machine, file, name string, fields int, edit func(fields []string)) error {
	data, err := hostfile.Read(m, file)
	if err != nil {
		return err
	}
	lines := strings.Split(string(data), "\n")
	found := false
	for i, l := range lines {
		if f := strings.Split(l, ":"); len(f) == fields && f[0] == name {
			edit(f)
			lines[i], found = strings.Join(f, ":"), true
		}
	}
	if !found {
		return fmt.Errorf("%s has no line of %q that could be changed", file, name)
	}
	return m.WriteFile(ctx, file, bytes.NewReader([]byte(strings.Join(lines, "\n"))), modules.WriteOptions{Sync: true})
}
