//go:build linux || darwin

package machine

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// maxAttribute is the size of one extended attribute; the kernel's limit.
const maxAttribute = 64 << 10

// accessACL holds who else may do what, beside owner, group and others.
const accessACL = "system.posix_acl_access"

// copyAttributes gives t the ACL, the security label and the user attributes
// of p. Capabilities are not carried over to new content, as with a write.
func copyAttributes(p, t place) error {
	names, err := listAttributes(p.via())
	if err != nil {
		return err
	}
	if !slices.Contains(names, accessACL) {
		// The folder's default ACL is for new files, which p is not.
		if err := unix.Lremovexattr(t.via(), accessACL); err != nil && !unsupported(err) && !errors.Is(err, missingAttribute) {
			return fmt.Errorf("keep it without an ACL: %w", err)
		}
	}
	if len(names) == 0 {
		return nil
	}
	buf := make([]byte, maxAttribute)
	for _, name := range names {
		label := name == "security.selinux"
		if name != accessACL && !label && !strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "com.apple.") {
			continue
		}
		n, err := unix.Lgetxattr(p.via(), name, buf)
		if errors.Is(err, missingAttribute) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read its attribute %s: %w", name, err)
		}
		err = unix.Lsetxattr(t.via(), name, buf[:n], 0)
		if err != nil && (label || strings.HasPrefix(name, "com.apple.")) && sameAttribute(t, name, buf[:n]) {
			err = nil // the folder's policy gave it already
		}
		if err != nil && !unsupported(err) {
			return fmt.Errorf("keep its attribute %s: %w", name, err)
		}
	}
	return nil
}

func sameAttribute(t place, name string, want []byte) bool {
	buf := make([]byte, maxAttribute)
	n, err := unix.Lgetxattr(t.via(), name, buf)
	return err == nil && bytes.Equal(buf[:n], want)
}

func listAttributes(path string) ([]string, error) {
	n, err := unix.Llistxattr(path, nil)
	if err == nil && n == 0 {
		return nil, nil // as most files
	}
	buf := make([]byte, maxAttribute)
	if err == nil {
		n, err = unix.Llistxattr(path, buf)
	}
	if err != nil {
		if unsupported(err) || err == unix.ENOENT {
			return nil, nil
		}
		return nil, fmt.Errorf("list its attributes: %w", err)
	}
	return strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 }), nil
}

func unsupported(err error) bool {
	return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS)
}
