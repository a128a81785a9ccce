//go:build linux || darwin

package machine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Overlay is a host as a plan would leave it: what was planned so far, over
// what a Viewer sees. Nothing of it reaches the host. It is safe for use by
// several goroutines.
type Overlay struct {
	base   facts.Viewer
	owners *owners

	mu      sync.RWMutex
	entries map[string]entry // by absolute path with links resolved
	notes   map[string]string
}

// entry is one planned file, folder or link, or a planned absence.
type entry struct {
	mode     fs.FileMode // with type bits; meaningless when gone
	content  []byte
	link     string
	uid, gid int
	gone     bool
	unknown  bool // content is known only once the change is made
	// fresh folders hide what is below them on the host.
	fresh bool
	// attrs is set when only mode and owner are planned: size and content are
	// those on the host.
	attrs bool
}

var (
	_ facts.Viewer    = (*Overlay)(nil)
	_ modules.Overlay = (*Overlay)(nil)
)

// NewOverlay starts a plan over what v sees.
func NewOverlay(v facts.Viewer) *Overlay {
	return &Overlay{base: v, owners: newOwners(), entries: map[string]entry{}, notes: map[string]string{}}
}

// Planned is always true: even over the real host, what is planned is not there.
func (o *Overlay) Planned() bool { return true }

// PutFile plans a regular file. An id of -1 is the caller's own, -2 that of a
// user who is only planned.
func (o *Overlay) PutFile(path string, content []byte, mode fs.FileMode, uid, gid int) {
	o.put(path, entry{mode: modules.PermBits(mode), content: bytes.Clone(content), uid: uid, gid: gid})
}

// PutAttrs plans mode and owner of something that is there. Ids of -1 stay.
func (o *Overlay) PutAttrs(path string, mode fs.FileMode, uid, gid int) {
	r, err := o.resolve(path, false)
	if err != nil {
		return
	}
	var e entry
	if r.entry != nil {
		e = *r.entry
	} else {
		st, err := o.base.Lstat(r.path)
		if err != nil {
			return
		}
		e = entry{mode: st.Mode, link: st.Link, uid: st.UID, gid: st.GID, attrs: true}
	}
	if e.gone {
		return
	}
	e.mode = e.mode&^modules.PermBits(^fs.FileMode(0)) | modules.PermBits(mode)
	if uid != -1 {
		e.uid = uid
	}
	if gid != -1 {
		e.gid = gid
	}
	o.mu.Lock()
	o.entries[r.path] = e
	o.mu.Unlock()
}

// PutUnknownFile plans a file whose content only the change itself will tell.
func (o *Overlay) PutUnknownFile(path string, mode fs.FileMode) {
	o.put(path, entry{mode: modules.PermBits(mode), uid: -1, gid: -1, unknown: true})
}

// PutDir plans a folder, or another mode for one that is there.
func (o *Overlay) PutDir(path string, mode fs.FileMode) {
	e := entry{mode: modules.PermBits(mode) | fs.ModeDir, uid: -1, gid: -1, fresh: true}
	if st, err := o.Lstat(path); err == nil && st.Mode.IsDir() {
		e.uid, e.gid = st.UID, st.GID
		o.mu.RLock()
		was, planned := o.entries[o.key(path)]
		o.mu.RUnlock()
		e.fresh = planned && was.fresh
	}
	o.put(path, e)
}

// PutLink plans a symbolic link.
func (o *Overlay) PutLink(path, target string) {
	o.put(path, entry{mode: fs.ModeSymlink | 0o777, link: target, uid: -1, gid: -1})
}

// Remove plans the absence of path and of all below it.
func (o *Overlay) Remove(path string) {
	key := o.key(path)
	o.mu.Lock()
	defer o.mu.Unlock()
	for p := range o.entries {
		if strings.HasPrefix(p, key+"/") {
			delete(o.entries, p)
		}
	}
	o.entries[key] = entry{gone: true}
}

func (o *Overlay) put(path string, e entry) {
	key := o.key(path)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.entries[key] = e
}

// key resolves the links above path, planned ones too. Where that fails the
// path itself serves: what is put there may have its folder planned later.
func (o *Overlay) key(path string) string {
	r, err := o.resolve(path, false)
	if err != nil {
		return filepath.Clean(path)
	}
	return r.path
}

// Note remembers a planned fact.
func (o *Overlay) Note(key, value string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notes[key] = value
}

// Noted returns a planned fact, of this plan or one it stands on.
func (o *Overlay) Noted(key string) (string, bool) {
	o.mu.RLock()
	v, ok := o.notes[key]
	o.mu.RUnlock()
	if ok {
		return v, true
	}
	return modules.Noted(o.base, key)
}

func (o *Overlay) untouched() bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return len(o.entries) == 0
}

// found is what stands at a resolved path: a planned entry, or the host's file
// when entry is nil.
type found struct {
	path  string
	entry *entry
}

// resolve follows links through plan and host alike. A path of which something
// is planned to be gone, or that a planned folder does not have, is
// fs.ErrNotExist; the last name may be missing on the host.
func (o *Overlay) resolve(path string, follow bool) (found, error) {
	todo := strings.Split(strings.Trim(filepath.Clean(path), "/"), "/")
	at, hidden, links := "/", false, 0
	var here *entry
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		if name == "" || name == "." {
			continue
		}
		if name == ".." {
			at, here = filepath.Dir(at), nil
			hidden = o.hidden(at)
			continue
		}
		next := filepath.Join(at, name)
		o.mu.RLock()
		e, planned := o.entries[next]
		o.mu.RUnlock()
		link, isLink := "", false
		switch {
		case planned && e.gone, !planned && hidden:
			if len(todo) > 0 {
				return found{path: next}, fs.ErrNotExist
			}
			return found{path: next, entry: &entry{gone: true}}, nil
		case planned:
			hidden = hidden || e.fresh || !e.mode.IsDir()
			link, isLink = e.link, e.mode&fs.ModeSymlink != 0
			here = &e
		default:
			here = nil
			st, err := o.base.Lstat(next)
			switch {
			case err == nil:
				link, isLink = st.Link, st.Mode&fs.ModeSymlink != 0
			case len(todo) > 0 && !errors.Is(err, fs.ErrNotExist):
				return found{path: next}, err
			}
		}
		if isLink && (len(todo) > 0 || follow) {
			if links++; links > 40 {
				return found{path: next}, errors.New("too many levels of symbolic links")
			}
			todo = append(strings.Split(link, "/"), todo...)
			if filepath.IsAbs(link) {
				at = "/"
			}
			hidden, here = o.hidden(at), nil
			continue
		}
		at = next
	}
	return found{path: at, entry: here}, nil
}

// hidden reports whether the host's own files at and below path don't show.
func (o *Overlay) hidden(path string) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	for ; path != "/"; path = filepath.Dir(path) {
		if e, ok := o.entries[path]; ok && (e.gone || e.fresh || !e.mode.IsDir()) {
			return true
		}
	}
	return false
}

func (o *Overlay) info(path string, e *entry) facts.FileInfo {
	st := facts.FileInfo{
		Name: filepath.Base(path), Path: path, Mode: e.mode, Size: int64(len(e.content)),
		UID: e.uid, GID: e.gid, Link: e.link, Nlink: 1,
	}
	if st.UID == -1 {
		st.UID = os.Geteuid()
	}
	if st.GID == -1 {
		st.GID = os.Getegid()
	}
	if st.UID >= 0 {
		st.Owner = o.owners.user(st.UID)
	}
	if st.GID >= 0 {
		st.Group = o.owners.group(st.GID)
	}
	return st
}

func (o *Overlay) stat(op, path string, follow bool, ask func(string) (facts.FileInfo, error)) (facts.FileInfo, error) {
	if o.untouched() {
		return ask(path)
	}
	f, err := o.resolve(path, follow)
	if err != nil {
		return facts.FileInfo{}, &fs.PathError{Op: op, Path: path, Err: err}
	}
	if f.entry == nil {
		st, err := ask(f.path)
		st.Path, st.Name = path, filepath.Base(path)
		return st, err
	}
	if f.entry.attrs {
		st, err := ask(f.path)
		planned := o.info(path, f.entry)
		st.Path, st.Name, st.Mode, st.UID, st.GID, st.Owner, st.Group = path, planned.Name, planned.Mode, planned.UID, planned.GID, planned.Owner, planned.Group
		return st, err
	}
	if f.entry.gone {
		return facts.FileInfo{}, &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return o.info(path, f.entry), nil
}

// Lstat describes what the plan would leave at path.
func (o *Overlay) Lstat(path string) (facts.FileInfo, error) {
	return o.stat("lstat", path, false, o.base.Lstat)
}

// Stat is Lstat through links.
func (o *Overlay) Stat(path string) (facts.FileInfo, error) {
	return o.stat("stat", path, true, o.base.Stat)
}

// Open reads a file as planned. One whose content nobody can know yet is
// modules.ErrUnknown.
func (o *Overlay) Open(path string) (io.ReadCloser, error) {
	if o.untouched() {
		return o.base.Open(path)
	}
	f, err := o.resolve(path, true)
	fail := func(err error) (io.ReadCloser, error) {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	switch {
	case err != nil:
		return fail(err)
	case f.entry == nil, f.entry.attrs:
		return o.base.Open(f.path)
	case f.entry.gone:
		return fail(fs.ErrNotExist)
	case f.entry.unknown:
		return fail(modules.ErrUnknown)
	case !f.entry.mode.IsRegular():
		return fail(errors.New("it is not a regular file"))
	}
	return io.NopCloser(bytes.NewReader(f.entry.content)), nil
}

// ReadDir lists a folder as planned, by name.
func (o *Overlay) ReadDir(path string) ([]facts.FileInfo, error) {
	if o.untouched() {
		return o.base.ReadDir(path)
	}
	f, err := o.resolve(path, true)
	if err == nil && f.entry != nil && f.entry.gone {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: path, Err: err}
	}
	byName := map[string]facts.FileInfo{}
	if f.entry == nil || !f.entry.fresh {
		list, err := o.base.ReadDir(f.path)
		if err != nil {
			return nil, err
		}
		for _, st := range list {
			byName[st.Name] = st
		}
	}
	o.mu.RLock()
	for p, e := range o.entries {
		if p == "/" || filepath.Dir(p) != f.path {
			continue
		}
		if e.gone {
			delete(byName, filepath.Base(p))
			continue
		}
		st := o.info(filepath.Join(path, filepath.Base(p)), &e)
		if e.attrs {
			st.Size = byName[st.Name].Size
		}
		byName[st.Name] = st
	}
	o.mu.RUnlock()
	out := make([]facts.FileInfo, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out, nil
}

// Readlink returns the target of a link as planned.
func (o *Overlay) Readlink(path string) (string, error) {
	st, err := o.Lstat(path)
	if err != nil {
		return "", err
	}
	if st.Mode&fs.ModeSymlink == 0 {
		return "", &fs.PathError{Op: "readlink", Path: path, Err: errors.New("it is not a link")}
	}
	return st.Link, nil
}

// Query asks the real host: programs see nothing of the plan.
func (o *Overlay) Query(ctx context.Context, argv ...string) (facts.Answer, error) {
	return o.base.Query(ctx, argv...)
}

// LookPath finds a program on the real host.
func (o *Overlay) LookPath(name string) (string, error) { return o.base.LookPath(name) }
