package runlog

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/runner/event"
	"github.com/sloth-runner/sloth/state/disk/filelock"
)

// Story is what a record tells.
type Story struct {
	Head    Head           `json:"run"`
	Met     map[string]Met `json:"met"` // by host, the last one
	Sent    []*Sent        `json:"sent"`
	Steps   []Outcome      `json:"steps"` // the last of each step, in the order of their first
	Resumed []Resumed      `json:"resumed"`
	Secrets []string       `json:"-"`   // that the run had
	End     *End           `json:"end"` // nil: it goes on, or its controller died
	// Running is the process that goes on with it; 0: none does.
	Running int `json:"pid"`
}

func tell(entries []entry) (*Story, error) {
	if len(entries) == 0 || entries[0].Head == nil {
		return nil, fmt.Errorf("%w: its beginning is missing", ErrDamaged)
	}
	s := &Story{Head: *entries[0].Head, Met: map[string]Met{}}
	with, err := sealer(s.Head.Key)
	if err != nil {
		return nil, err
	}
	s.Head.unsealArgs(with)
	at := map[string]int{}
	jobs := map[string]*Sent{}
	for _, e := range entries[1:] {
		switch {
		case e.Met != nil:
			s.Met[e.Met.Host] = *e.Met
		case e.Sent != nil:
			s.Sent = append(s.Sent, e.Sent)
			jobs[e.Sent.Job] = e.Sent
			s.End = nil
		case e.Over != "" && jobs[e.Over] != nil:
			jobs[e.Over].Over = true
		case e.Outcome != nil:
			e.Outcome.Result = unseal(with, e.Outcome.Result, e.Outcome.Step)
			if i, ok := at[e.Outcome.Step]; ok {
				s.Steps[i] = *e.Outcome
				continue
			}
			at[e.Outcome.Step] = len(s.Steps)
			s.Steps = append(s.Steps, *e.Outcome)
		case e.Secret != nil:
			s.Secrets = append(s.Secrets, string(unseal(with, e.Secret, secretName)))
		case e.Resumed != nil:
			s.Resumed = append(s.Resumed, *e.Resumed)
			s.End = nil
		case e.End != nil:
			s.End = e.End
		}
	}
	return s, nil
}

// Read tells the story of the run in dir, whether or not it goes on.
func Read(dir string) (*Story, error) {
	f, err := os.Open(filepath.Join(dir, entriesFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, _, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s, err := tell(entries)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s.Running = running(dir)
	return s, nil
}

// running is the process that holds the lock of a run, or 0.
func running(dir string) int {
	path := filepath.Join(dir, lockFile)
	if held, err := filelock.Held(path, filelock.Shared); err != nil || !held {
		return 0
	}
	if pid := filelock.HolderOf(path).PID; pid > 0 {
		return pid
	}
	return -1
}

// Resume opens the record of a run whose controller is gone, to go on with it.
func Resume(dir, owner string) (*Log, *Story, error) {
	lock, err := hold(dir)
	if err != nil {
		return nil, nil, err
	}
	l := &Log{dir: dir, lock: lock}
	if l.f, err = os.OpenFile(filepath.Join(dir, entriesFile), os.O_RDWR|os.O_APPEND, 0); err != nil {
		lock.Close()
		return nil, nil, err
	}
	s, err := l.goOn(owner)
	if err != nil {
		_ = l.Close(nil) // the first error counts
		return nil, nil, fmt.Errorf("%s: %w", dir, err)
	}
	return l, s, nil
}

func (l *Log) goOn(owner string) (*Story, error) {
	entries, size, err := read(l.f)
	if err != nil {
		return nil, err
	}
	s, err := tell(entries)
	if err != nil {
		return nil, err
	}
	if l.seal, err = sealer(s.Head.Key); err != nil {
		return nil, err
	}
	if err := l.f.Truncate(size); err != nil {
		return nil, err
	}
	if err := l.openEvents(); err != nil {
		return nil, err
	}
	r := Resumed{Time: time.Now(), Owner: owner}
	if err := l.add(entry{Resumed: &r}); err != nil {
		return nil, err
	}
	s.Resumed = append(s.Resumed, r)
	return s, l.Sync()
}

// Find gives the folder of a run in root: by its whole name, or by a beginning
// that only one has. "last" is the newest.
func Find(root, id string) (string, error) {
	names, err := List(root)
	if err != nil {
		return "", err
	}
	if id == "last" && len(names) > 0 {
		return filepath.Join(root, names[len(names)-1]), nil
	}
	var hits []string
	for _, n := range names {
		if n == id {
			return filepath.Join(root, n), nil
		}
		if id != "" && strings.HasPrefix(n, id) {
			hits = append(hits, n)
		}
	}
	switch len(hits) {
	case 0:
		return "", fmt.Errorf("there is no run %q", id)
	case 1:
		return filepath.Join(root, hits[0]), nil
	}
	return "", fmt.Errorf("there are several runs %q…: %s", id, strings.Join(hits, ", "))
}

// List names the runs in root, oldest first.
func List(root string) ([]string, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err // names begin with their time
}

// Events calls f for each event of the run in dir that is there now, and gives
// the offset behind the last one; from is where to begin.
func Events(dir string, from int64, f func(event.Event)) (int64, error) {
	file, err := os.Open(filepath.Join(dir, eventsFile))
	if err != nil {
		return from, err
	}
	defer file.Close()
	if _, err := file.Seek(from, 0); err != nil {
		return from, err
	}
	in := bufio.NewReaderSize(file, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return from, nil // the rest is being written
		}
		from += int64(len(line))
		if _, e, err := event.Unmarshal(line); err == nil {
			f(e)
		}
	}
}

// pruneUnborn removes what was left by processes that died before their run
// began.
func pruneUnborn(root string, before time.Time) error {
	dirs, err := filepath.Glob(filepath.Join(root, unborn+"*"))
	errs := []error{err}
	for _, dir := range dirs {
		if st, err := os.Stat(dir); err == nil && st.ModTime().Before(before) && running(dir) == 0 {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// Prune removes the oldest records but keep of them, and those that ended before
// a time; what goes on or could be resumed stays until it is that old.
func Prune(root string, keep int, before time.Time) error {
	names, err := List(root)
	if err != nil {
		return err
	}
	errs := []error{pruneUnborn(root, before)}
	for i, n := range names {
		dir := filepath.Join(root, n)
		st, err := os.Stat(filepath.Join(dir, entriesFile))
		if err == nil && len(names)-i <= keep && st.ModTime().After(before) || running(dir) != 0 {
			continue
		}
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}
