package mount

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// row is one line of fstab.
type row struct {
	src, path, fstype, opts string
	dump, pass              int
}

func (r row) String() string {
	return strings.Join([]string{escape(r.src), escape(r.path), escape(r.fstype), escape(r.opts), strconv.Itoa(r.dump), strconv.Itoa(r.pass)}, " ") + "\n"
}

var (
	escaper   = strings.NewReplacer(`\`, `\134`, " ", `\040`, "\t", `\011`, "\n", `\012`)
	swapNames = map[string]bool{"none": true, "swap": true}
)

func escape(text string) string { return escaper.Replace(text) }

// unescape undoes \ and three octal digits, whatever they stand for.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// parseRow reads one line; ok is false for comments and what is none.
func parseRow(line string) (r row, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || len(f) > 6 || strings.HasPrefix(f[0], "#") {
		return row{}, false
	}
	r = row{src: unescape(f[0]), path: unescape(f[1]), fstype: unescape(f[2]), opts: unescape(f[3])}
	for i, into := range []*int{&r.dump, &r.pass} {
		if len(f) > 4+i {
			n, err := strconv.Atoi(f[4+i])
			if err != nil {
				return row{}, false
			}
			*into = n
		}
	}
	if len(r.path) > 1 {
		r.path = strings.TrimRight(r.path, "/")
	}
	return r, true
}

// is reports whether two rows speak of the same mount. Swap has no folder of
// its own, and is known by its device.
func (r row) is(other row) bool {
	if swapNames[r.path] && swapNames[other.path] {
		return r.src == other.src
	}
	return r.path == other.path
}

// put makes want the line of its mount, and returns the row that was there.
func put(text string, want row) (after string, old *row) {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		r, ok := parseRow(line)
		switch {
		case !ok || !r.is(want):
			out.WriteString(line)
		case old != nil: // a second line for the same folder would be mounted over it
		case r == want:
			old = &r
			out.WriteString(line)
		default:
			old = &r
			out.WriteString(want.String())
		}
	}
	if old == nil {
		out.WriteString(want.String())
	}
	return out.String(), old
}

// drop takes the lines of a mount away.
func drop(text string, gone row) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if r, ok := parseRow(line); !ok || !r.is(gone) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// fstab is the file that lists mounts.
type fstab struct {
	Fstab  string `lua:"fstab,path" doc:"File to list it in"`
	Backup bool   `lua:"backup" doc:"Keep the old fstab beside the new one, as NAME.TIME~"`

	want    hostfile.Want
	unknown bool // a plan cannot know what is in it
}

// check compares the file with what change makes of it.
func (f *fstab) check(ctx context.Context, v facts.Viewer, change func(string) string) (modules.Diff, error) {
	f.want, f.unknown = hostfile.Want{}, false
	b, err := hostfile.Read(v, f.Fstab)
	if errors.Is(err, modules.ErrUnknown) {
		f.unknown = true
		return modules.Diff{Changes: []modules.Change{{What: f.Fstab, Attr: "content", Unknown: true}}}, nil
	}
	if err != nil && !hostfile.Missing(err) {
		return modules.Diff{}, err
	}
	after := change(string(b))
	if after == string(b) {
		return modules.Diff{}, nil
	}
	f.want = hostfile.Want{Path: f.Fstab, Source: hostfile.Bytes([]byte(after), false), Keep: hostfile.Keep{Backup: f.Backup}, Follow: true}
	return f.want.Check(ctx, v)
}

func (f *fstab) write(ctx context.Context, m modules.Machine) error {
	if f.want.Path == "" {
		return nil
	}
	return f.want.Apply(ctx, m)
}

func (f *fstab) plan(ctx context.Context, o modules.Overlay) error {
	if f.unknown {
		o.PutUnknownFile(f.Fstab, 0o644)
	}
	if f.want.Path == "" {
		return nil
	}
	return f.want.Plan(ctx, o)
}

func (f *fstab) result(folder string) map[string]any {
	out := map[string]any{"path": folder, "fstab": f.Fstab}
	if b := f.want.BackupFile(); b != "" {
		out["backup_file"] = b
	}
	return out
}
