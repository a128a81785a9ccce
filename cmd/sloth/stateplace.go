package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/sloth-runner/sloth/state"
	"github.com/sloth-runner/sloth/state/badger"
	"github.com/sloth-runner/sloth/state/etcd"
)

// envState names the store where --state does not.
const envState = "SLOTH_STATE"

// maxSettings bounds a settings file.
const maxSettings = 1 << 20

// statePlace says where state is kept: in a folder of this machine, or in etcd.
type statePlace struct {
	dir  string
	etcd *etcd.Place
}

func (p statePlace) String() string {
	if p.etcd != nil {
		return p.etcd.String()
	}
	return p.dir
}

// findState chooses the store: what --state says, $SLOTH_STATE, `state:` in the
// sloth.yaml of dir, then in ~/.config/sloth/sloth.yaml, else this user's folder.
func (a *app) findState(dir string) (statePlace, error) {
	if a.state != "" {
		p, err := parseState(a.state, "")
		return p, prefixed("--state", err)
	}
	if s := os.Getenv(envState); s != "" {
		p, err := parseState(s, "")
		return p, prefixed("$"+envState, err)
	}
	configs := []string{filepath.Join(dir, "sloth.yaml")}
	if base, err := os.UserConfigDir(); err == nil {
		configs = append(configs, filepath.Join(base, "sloth", "sloth.yaml"))
	}
	for _, c := range configs {
		address, err := stateSetting(c)
		if err != nil {
			return statePlace{}, err
		}
		if address != "" {
			p, err := parseState(address, filepath.Dir(c))
			return p, prefixed(c+": state", err)
		}
	}
	home, err := stateHome()
	return statePlace{dir: filepath.Join(home, "db")}, err
}

func prefixed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

var errStateForm = errors.New("write etcd://host1,host2/prefix for a cluster, or the path of a folder")

// parseState reads an address. Relative paths in it belong to beside.
func parseState(s, beside string) (statePlace, error) {
	if strings.HasPrefix(s, etcd.Scheme) {
		p, err := etcd.ParsePlace(s)
		if err != nil {
			return statePlace{}, err
		}
		for _, f := range []*string{&p.CA, &p.Cert, &p.Key, &p.PasswordFile} {
			if *f != "" {
				*f = besideFolder(*f, beside)
			}
		}
		return statePlace{etcd: p}, nil
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok {
		return statePlace{}, fmt.Errorf("there is no kind of store %q: %w", scheme, errStateForm)
	}
	dir, err := filepath.Abs(besideFolder(s, beside))
	return statePlace{dir: filepath.Join(dir, "db")}, err
}

func besideFolder(path, folder string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if folder == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// stateSetting reads `state:` of a settings file. A file of somebody else's could
// send what is remembered elsewhere, so it is refused; files of root are trusted.
func stateSetting(path string) (string, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the settings: %w", err)
	}
	if info.Size() > maxSettings {
		return "", fmt.Errorf("the settings %s have %d bytes, which is over the limit of %d", path, info.Size(), maxSettings)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the settings: %w", err)
	}
	var settings struct {
		State yaml.Node `yaml:"state"`
	}
	if err := yaml.Unmarshal(text, &settings); err != nil {
		return "", fmt.Errorf("read the settings %s: %w", path, err)
	}
	n := settings.State
	switch {
	case n.IsZero():
		return "", nil
	case n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Value == "":
		return "", withHint(fmt.Errorf("%s:%d: state must be text", path, n.Line), "It is an address: "+errStateForm.Error()+".")
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case int(owner) != os.Geteuid() && owner != 0:
		return "", fmt.Errorf("%s says where state is kept, but belongs to somebody else (uid %d); use --state", path, owner)
	case info.Mode().Perm()&0o002 != 0:
		return "", fmt.Errorf("%s says where state is kept, but everybody may write it; close it: chmod o-w %s", path, path)
	}
	return n.Value, nil
}

// openStore returns the store of a place. Nothing is opened or connected before
// its first use; what says what this process does, for those who wait for it,
// and wait how long a call waits for others, or for a cluster to answer.
func (a *app) openStore(p statePlace, what string, wait time.Duration) state.Store {
	if p.etcd != nil {
		return etcd.New(etcd.Options{Place: p.etcd, Timeout: max(wait, 0), Password: func(context.Context) (string, error) {
			return a.askSecret(fmt.Sprintf("Password of %s for %s: ", p.etcd.User, p))
		}})
	}
	if wait == 0 && a.canAsk() {
		wait = lockPatience
	}
	return badger.New(badger.Options{
		Dir: p.dir, What: what, WaitLock: wait,
		Notice: func(m string) { fmt.Fprintln(a.stderr, "sloth:", m) },
	})
}

// hintInside puts the next step that a store's error knows into its text, for
// those who see the text alone.
func hintInside(err error) error {
	if hint := storeHint(err); hint != "" {
		return fmt.Errorf("%w. %s", err, hint)
	}
	return err
}

func storeHint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// storeError gives an error of a store its hint and its exit code.
func (a *app) storeError(err error) error {
	if err == nil {
		return nil
	}
	if hint := storeHint(err); hint != "" {
		err = withHint(err, hint)
	}
	if errors.Is(err, state.ErrInUse) {
		a.printError(err)
		return exitError{exitLocked}
	}
	return err
}
