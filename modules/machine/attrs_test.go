//go:build linux || darwin

package machine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sloth-runner/sloth/modules"
)

func TestWriteFileKeepsAnACL(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("POSIX ACLs are Linux's")
	}
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old")
	// u::rw-, u:1234:r--, g::r--, m::r--, o::r--, as setfacl would write it.
	acl := []byte{2, 0, 0, 0}
	for _, e := range [][]byte{{1, 0, 6, 0, 255, 255, 255, 255}, {2, 0, 4, 0, 0xd2, 4, 0, 0}, {4, 0, 4, 0, 255, 255, 255, 255}, {16, 0, 4, 0, 255, 255, 255, 255}, {32, 0, 4, 0, 255, 255, 255, 255}} {
		acl = append(acl, e...)
	}
	if err := unix.Setxattr(path, "system.posix_acl_access", acl, 0); err != nil {
		mustRun(t, "this file system has no ACLs: "+err.Error())
	}
	if err := New().WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 200)
	n, err := unix.Getxattr(path, "system.posix_acl_access", buf)
	if err != nil || !bytes.Equal(buf[:n], acl) {
		t.Errorf("the ACL is now %v, %v", buf[:max(n, 0)], err)
	}
}

// TestADefaultACLIsForNewFiles: a file that is replaced does not become one that
// others may read.
func TestADefaultACLIsForNewFiles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("POSIX ACLs are Linux's")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "old")
	acl := []byte{2, 0, 0, 0}
	for _, e := range [][]byte{{1, 0, 6, 0, 255, 255, 255, 255}, {2, 0, 6, 0, 0xd2, 4, 0, 0}, {4, 0, 4, 0, 255, 255, 255, 255}, {16, 0, 6, 0, 255, 255, 255, 255}, {32, 0, 0, 0, 255, 255, 255, 255}} {
		acl = append(acl, e...)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl, 0); err != nil {
		mustRun(t, "this file system has no ACLs: "+err.Error())
	}
	m := New()
	if err := m.WriteFile(context.Background(), path, strings.NewReader("new"), modules.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Getxattr(path, accessACL, nil); !errors.Is(err, missingAttribute) {
		t.Errorf("the replaced file has an ACL of %d bytes, %v", n, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode() != 0o644 {
		t.Error(st, err)
	}
	fresh := filepath.Join(dir, "fresh")
	if err := m.WriteFile(context.Background(), fresh, strings.NewReader("new"), modules.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Getxattr(fresh, accessACL, nil); err != nil || n != len(acl) {
		t.Errorf("the new file's ACL has %d bytes, %v", n, err)
	}
}
