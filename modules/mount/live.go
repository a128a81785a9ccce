package mount

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/tool"
)

const (
	mountinfo = "/proc/self/mountinfo"
	// planned is where a plan notes the table as it would be.
	planned = "mounts"
)

// live is one line of the kernel's table.
type live struct {
	path, root, dev  string
	src, fstype      string
	opts, superOpts  string
	network, covered bool
}

// mounts reads the kernel's table, in the order of mounting.
func mounts(v facts.Viewer) ([]live, error) {
	text, ok := modules.Noted(v, planned)
	if !ok {
		b, err := hostfile.Read(v, mountinfo)
		if err != nil {
			return nil, fmt.Errorf("%w; without it nobody can tell what is mounted", err)
		}
		text = string(b)
	}
	return parseMounts(text), nil
}

// parseMounts reads lines such as
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMounts(text string) []live {
	var out []live
	for line := range strings.Lines(text) {
		left, right, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " - ")
		f, g := strings.Fields(left), strings.Split(right, " ")
		if !ok || len(f) < 6 || len(g) < 2 {
			continue
		}
		m := live{dev: f[2], root: unescape(f[3]), path: unescape(f[4]), opts: f[5], fstype: g[0], src: unescape(g[1])}
		if len(g) > 2 {
			m.superOpts = g[2]
		}
		m.network = networked(m.fstype)
		for i := range out {
			out[i].covered = out[i].covered || out[i].path == m.path
		}
		out = append(out, m)
	}
	return out
}

func (m live) line() string {
	return fmt.Sprintf("0 0 %s %s %s %s - %s %s %s\n", m.dev, escape(m.root), escape(m.path), m.opts, m.fstype, escape(m.src), m.superOpts)
}

// note tells a plan's later checks what would be mounted.
func note(o modules.Overlay, all []live) {
	var text strings.Builder
	for _, m := range all {
		text.WriteString(m.line())
	}
	o.Note(planned, text.String())
}

// networked tells file systems whose server may be gone, or that mount another
// one as soon as somebody looks.
func networked(fstype string) bool {
	name, _, _ := strings.Cut(fstype, ".")
	return strings.HasPrefix(name, "nfs") || slices.Contains([]string{
		"cifs", "smb3", "smbfs", "ceph", "glusterfs", "afs", "9p", "lustre", "ocfs2", "gfs2", "beegfs", "fuse", "autofs",
	}, name)
}

// at is what is on top at a folder, or nil.
func at(all []live, folder string) *live {
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].path == folder {
			return &all[i]
		}
	}
	return nil
}

// over is the mount that a path is in.
func over(all []live, file string) *live {
	for dir := file; ; dir = path.Dir(dir) {
		if m := at(all, dir); m != nil || dir == "/" {
			return m
		}
	}
}

// real follows the links in a path, as mount does. It looks at nothing in a
// network file system, nor at a folder that something is mounted at.
func real(v facts.Viewer, all []live, file string) (string, error) {
	todo := strings.Split(strings.Trim(path.Clean(file), "/"), "/")
	here, links := "/", 0
	for len(todo) > 0 {
		name := todo[0]
		next := path.Join(here, name)
		todo = todo[1:]
		if m := at(all, next); m != nil {
			if m.network {
				return path.Join(append([]string{next}, todo...)...), nil
			}
			here = next
			continue
		}
		st, err := v.Lstat(next)
		if hostfile.Missing(err) || hostfile.NotFolder(err) {
			return path.Join(append([]string{next}, todo...)...), nil
		}
		if err != nil {
			return "", err
		}
		if st.Link == "" {
			here = next
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("%s: too many levels of symbolic links", file)
		}
		if path.IsAbs(st.Link) {
			here = "/"
		}
		todo = append(strings.Split(path.Clean(path.Join(here, st.Link))[1:], "/"), todo...)
		here = "/"
	}
	return here, nil
}

// answerTime is how long a server may take to describe one folder.
const answerTime = 10 * time.Second

// isFolder tells whether a folder is there. Below a network file system another
// program looks, which can be given up.
func isFolder(ctx context.Context, v facts.Viewer, all []live, dir string) (bool, error) {
	m := over(all, dir)
	if m == nil || !m.network || m.path == dir {
		if m != nil && m.path == dir {
			return true, nil
		}
		st, err := v.Stat(dir)
		switch {
		case hostfile.Missing(err), hostfile.NotFolder(err):
			return false, nil
		case err == nil && !st.Mode.IsDir():
			return false, fmt.Errorf("%s is no folder, and nothing can be mounted there", dir)
		}
		return err == nil, err
	}
	ctx, cancel := tool.Within(ctx, answerTime)
	defer cancel()
	a, err := v.Query(ctx, "test", "-d", dir)
	if err != nil {
		return false, fmt.Errorf("%s is in %s, which does not answer (%w)", dir, m.src, err)
	}
	return a.ExitCode == 0, nil
}

// limit bounds the programs that are run. Waiting for a server can be killed.
type limit struct {
	Timeout time.Duration `lua:"timeout" doc:"How long mount or umount may take; a dead server holds nothing up for longer"`
}

func (l limit) run(ctx context.Context, m modules.Machine, what string, argv ...string) error {
	if l.Timeout <= 0 {
		l.Timeout = patience
	}
	ctx, cancel := tool.Within(ctx, l.Timeout)
	defer cancel()
	a, err := m.Run(ctx, modules.Cmd{Argv: argv, Env: []string{"LC_ALL=C"}})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if a.ExitCode == 0 {
		return nil
	}
	a.Stderr = []byte(reason(string(a.Stderr)))
	text := tool.Failure(a, false)
	if strings.Contains(text, "superuser") || strings.Contains(text, "only root") || strings.Contains(text, "not permitted") {
		text += "; mounting is root's business: give the task :become(\"root\")"
	}
	return fmt.Errorf("%s: %s", what, text)
}

// reason is what mount complained of; what follows is advice about dmesg.
func reason(said string) string {
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "(hint)") {
			return line
		}
	}
	return ""
}

// bring mounts, and sees that it is mounted.
func (l limit) bring(ctx context.Context, m modules.Machine, src, fstype, opts, folder string) error {
	argv := []string{"mount", "-t", fstype}
	if opts != "" && opts != "defaults" {
		argv = append(argv, "-o", opts)
	}
	if err := l.run(ctx, m, "mount "+src, append(argv, "--", src, folder)...); err != nil {
		return err
	}
	all, err := mounts(m)
	if err == nil && at(all, folder) == nil {
		err = fmt.Errorf("mount %s: it ended well, but nothing is mounted at %s", src, folder)
	}
	return err
}

// again gives what is mounted other options.
func (l limit) again(ctx context.Context, m modules.Machine, src, opts, folder string) error {
	err := l.run(ctx, m, "remount "+folder, "mount", "-o", "remount,"+opts, "--", src, folder)
	if err != nil {
		return fmt.Errorf("%w; options that cannot change while it is mounted need mount.unmounted(%q) first", err, folder)
	}
	return nil
}

// most is how many mounts on top of each other are taken away.
const most = 16

// away unmounts all that is mounted at a folder.
func (l limit) away(ctx context.Context, m modules.Machine, folder string, lazy bool) error {
	argv := []string{"umount"}
	if lazy {
		argv = append(argv, "-l")
	}
	for range most {
		all, err := mounts(m)
		if err != nil || at(all, folder) == nil {
			return err
		}
		if err := l.run(ctx, m, "umount "+folder, append(argv, "--", folder)...); err != nil {
			if strings.Contains(err.Error(), "busy") {
				return fmt.Errorf("%w; `fuser -vm %s` says who uses it, lazy = true detaches it all the same", err, folder)
			}
			return err
		}
	}
	return fmt.Errorf("umount %s: something is mounted there again and again", folder)
}
