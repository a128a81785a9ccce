package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// The folder of a master has one file per record.

func (s *store) loadFolder() error {
	return errors.Join(load(filepath.Join(s.dir, kindAgents), s.agents), load(filepath.Join(s.dir, kindUsers), s.users), load(filepath.Join(s.dir, kindTokens), s.tokens))
}

func load[R any](dir string, into map[string]*R) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		r := new(R)
		if err := json.Unmarshal(text, r); err != nil {
			return fmt.Errorf("read %s: %w; restore it from a backup, or remove it to forget this one", filepath.Join(dir, e.Name()), err)
		}
		into[name] = r
	}
	return nil
}

// write puts a record on the disk, or removes it.
func (s *store) write(at ref, record any) error {
	file := filepath.Join(s.dir, at.kind, at.name+".json")
	if record == nil {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(record)
	if err == nil {
		err = wholefile.Write(file, text)
	}
	if err != nil {
		return fmt.Errorf("remember %s: %w", at, err)
	}
	return nil
}
