package pki

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Folder makes dir for secrets, or checks that the one that is there is ours
// and closed to others.
func Folder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder for keys: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the folder %s for keys belongs to uid %d and we are %d: use another with --dir", dir, st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the folder %s for keys is open to others (%v): close it with chmod 700 %s", dir, info.Mode().Perm(), dir)
	}
	probe, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return fmt.Errorf("the folder for keys can't be written: %w; use another with --dir", err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// ReadPair reads a certificate and its key. A key that others may read is
// refused.
func ReadPair(certFile, keyFile string) (*tls.Certificate, error) {
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the key %s is open to others (%v): close it with chmod 600, and take it for known to them", keyFile, info.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read %s and %s: %w", certFile, keyFile, err)
	}
	return &pair, nil
}
