package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sloth-runner/sloth/state/disk/wholefile"
	"github.com/sloth-runner/sloth/state/stack"
)

// stackOf is the stack that scripts in dir belong to: the one that was named,
// else the one selected there, else that of the folder.
func (a *app) stackOf(named, dir string) (string, error) {
	if named != "" {
		return named, nil
	}
	selected, err := selectedStack(dir)
	if err != nil || selected != "" {
		return selected, err
	}
	return stack.Default(dir), nil
}

// shortStack is a stack's name for people.
func shortStack(name string) string {
	if _, ok := stack.Folder(name); ok {
		return "default"
	}
	return name
}

// selection is the file that says which stack is selected in a folder. It
// belongs to the person and not to the store, which others may share.
func selection(dir string) (string, error) {
	home, err := stateHome()
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(home, "selected", hex.EncodeToString(sum[:12])), nil
}

func selectedStack(dir string) (string, error) {
	path, err := selection(dir)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which stack is selected: %w", err)
	}
	name := strings.TrimSpace(string(text))
	if err := stack.CheckName(name); err != nil {
		return "", fmt.Errorf("read which stack is selected, from %s: %w", path, err)
	}
	return name, nil
}

// selectStack selects a stack for the scripts in dir; empty: none.
func selectStack(dir, name string) error {
	path, err := selection(dir)
	if err != nil {
		return err
	}
	if name == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return wholefile.Write(path, []byte(name+"\n"))
}

// stackStore opens the store for stacks, for one command.
func (a *app) withStacks(ctx context.Context, what string, x *stackCommand, fn func(context.Context, *stack.Stacks) error) (err error) {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	place, err := a.findState(dir)
	if err != nil {
		return err
	}
	store := a.openStore(place, what, x.waitLock)
	s := stack.New(store)
	s.Who = a.whoLocks(what)
	x.dir, x.store = dir, store
	defer func() {
		if e := store.Close(); err == nil {
			err = e
		}
		err = a.storeError(err)
	}()
	ctx, stop := interruptible(ctx)
	defer stop()
	return fn(ctx, s)
}
