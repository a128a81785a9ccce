package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// planKeySize is the size of the key of saved plans, in bytes.
const planKeySize = 32

// planKey reads the key that seals plans and the digests in them; without a
// name it is this user's own, made at first use.
func planKey(file string, create bool) ([]byte, error) {
	path := file
	if path == "" {
		home, err := stateHome()
		if err != nil {
			return nil, err
		}
		path = filepath.Join(home, "plan.key")
	}
	text, err := readPlanKey(path)
	if errors.Is(err, fs.ErrNotExist) && create && file == "" {
		if err := makePlanKey(path); err != nil {
			return nil, fmt.Errorf("make the key of plans: %w", err)
		}
		text, err = readPlanKey(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withHint(fmt.Errorf("read the key of plans: %s: no such file", path),
			"A plan is applied where it was made, or with a copy of that key: --plan-key FILE. `openssl rand -hex 32` makes one for both sides.")
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(key) != planKeySize {
		return nil, withHint(fmt.Errorf("read the key of plans: %s has no key in it", path), "It holds 64 hexadecimal digits; `openssl rand -hex 32` makes them.")
	}
	return key, nil
}

func readPlanKey(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Mode().IsRegular() && st.Mode()&0o077 != 0 {
		return "", withHint(fmt.Errorf("read the key of plans: others may read %s", path), "chmod 600 "+path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the key of plans: %w", err)
	}
	return string(text), nil
}

// makePlanKey leaves the key of whoever was first.
func makePlanKey(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	key := make([]byte, planKeySize)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".plan.key-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(key) + "\n")
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err = os.Link(f.Name(), path); errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
